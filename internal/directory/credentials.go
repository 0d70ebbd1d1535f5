package directory

import (
	"context"

	"github.com/tenantry/tenantry/internal/catalog"
)

// watchCredentials raises an alarm for each of the tenant's own credentials that is refused or ends soon, and
// clears those of the others.
func (d *Directory) watchCredentials(ctx context.Context, scope *catalog.Tenant) error {
	list, err := scope.Credentials(ctx)
	if err != nil {
		return err
	}
	now := d.cfg.Now()
	for _, c := range list {
		raised := c.Alarm(now)
		for _, cause := range catalog.CredentialAlarms() {
			if cause == raised {
				err = scope.RaiseAlarm(ctx, cause, c.ID, "credential "+c.ID+" of application "+c.ClientID+": "+c.Warning(now), now)
			} else {
				err = scope.ClearAlarm(ctx, cause, c.ID)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
