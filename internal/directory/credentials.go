package directory

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
)

// expirySoon is how long before the end of a tenant's own credential an alarm is raised.
const expirySoon = 30 * 24 * time.Hour

// watchCredentials raises an alarm for each of the tenant's own credentials that is refused or ends soon, and
// clears those of the others.
func (d *Directory) watchCredentials(ctx context.Context, scope *catalog.Tenant) error {
	list, err := scope.Credentials(ctx)
	if err != nil {
		return err
	}
	now := d.cfg.Now()
	for _, c := range list {
		warning := c.Warning(now, expirySoon)
		if warning == "" {
			err = scope.ClearAlarm(ctx, catalog.AlarmCredential, c.ID)
		} else {
			err = scope.RaiseAlarm(ctx, catalog.AlarmCredential, c.ID, "credential "+c.ID+" of application "+c.ClientID+": "+warning, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
