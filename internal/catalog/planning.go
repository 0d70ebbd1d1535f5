package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Planning is what a provider says of all policies of a tenant.
type Planning struct {
	TimeZone      string // IANA name, of the tenant's region: nights there are off-peak
	OpenSchedules bool   // its own roles may choose other schedules than daily
}

// Planning reads it. NotFound: no such tenant.
func (t *Tenant) Planning(ctx context.Context) (Planning, error) {
	var found []struct {
		TimeZone      string
		OpenSchedules int
	}
	op := "read the planning of tenant " + string(t.id)
	if err := t.c.read(ctx, op, &found, "SELECT time_zone, open_schedules FROM tenants WHERE id = ?", t.id); err != nil {
		return Planning{}, err
	}
	if len(found) == 0 {
		return Planning{}, t.notFound(op)
	}
	return Planning{found[0].TimeZone, found[0].OpenSchedules != 0}, nil
}

// SetPlanning sets it. Policies that start off-peak go by the new time zone from now on.
// Invalid: an unknown time zone; NotFound: no such tenant.
func (t *Tenant) SetPlanning(ctx context.Context, p Planning, now time.Time) error {
	if _, err := location(p.TimeZone); err != nil || p.TimeZone == "" || p.TimeZone == "Local" {
		return tenantry.Errorf(tenantry.Invalid, "planning: time_zone %q is no IANA name", p.TimeZone)
	}
	open := 0
	if p.OpenSchedules {
		open = 1
	}
	if err := t.update(ctx, "set planning", "time_zone = ?, open_schedules = ?", p.TimeZone, open); err != nil {
		return err
	}
	policies, err := t.Policies(ctx)
	if err != nil {
		return err
	}
	for _, one := range policies {
		if one.Schedule != ScheduleOffPeak || one.TimeZone == p.TimeZone {
			continue
		}
		_, err := t.ChangePolicy(ctx, one.ID, func(o Policy) (Policy, error) {
			if o.Schedule == ScheduleOffPeak {
				o.TimeZone = p.TimeZone
			}
			return o, nil
		}, now)
		if err != nil && tenantry.KindOf(err) != tenantry.NotFound { // NotFound: it was deleted meanwhile
			return err
		}
	}
	return nil
}

// Missing lists which of the resources the tenant does not have.
func (t *Tenant) Missing(ctx context.Context, ids []tenantry.ResourceID) ([]tenantry.ResourceID, error) {
	var missing []tenantry.ResourceID
	for chunk := range slices.Chunk(ids, batch) {
		var found []tenantry.ResourceID
		err := t.c.read(ctx, "look for resources of tenant "+string(t.id), &found,
			"SELECT id FROM resources WHERE tenant = ? AND id IN (?)", t.id, bun.List(chunk))
		if err != nil {
			return nil, err
		}
		missing = append(missing, difference(chunk, found)...)
	}
	return missing, nil
}
