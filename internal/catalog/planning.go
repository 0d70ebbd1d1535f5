package catalog

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// DefaultZone is the time zone of regions, and of tenants, that are given none.
const DefaultZone = "UTC"

// Planning is what a provider says of all policies of a tenant.
type Planning struct {
	TimeZone      string // IANA name: nights there are off-peak
	OfRegion      bool   // it is the zone of the tenant's region, which it follows: the tenant was given none of its own
	OpenSchedules bool   // its own roles may choose other schedules than daily
}

// Planning reads it. NotFound: no such tenant.
func (t *Tenant) Planning(ctx context.Context) (Planning, error) {
	var found []struct {
		TimeZone      string
		RegionZone    string
		OpenSchedules int
	}
	op := "read the planning of tenant " + string(t.id)
	if err := t.c.read(ctx, op, &found, "SELECT time_zone, region_zone, open_schedules FROM tenants WHERE id = ?", t.id); err != nil {
		return Planning{}, err
	}
	if len(found) == 0 {
		return Planning{}, t.notFound(op)
	}
	row := found[0]
	return Planning{TimeZone: row.TimeZone, OfRegion: row.TimeZone == row.RegionZone, OpenSchedules: row.OpenSchedules != 0}, nil
}

// SetPlanning sets it. Policies that start off-peak go by the new time zone from now on.
// Invalid: an unknown time zone; NotFound: no such tenant.
func (t *Tenant) SetPlanning(ctx context.Context, p Planning, now time.Time) error {
	if err := validZone("planning", p.TimeZone); err != nil {
		return err
	}
	open, ofRegion := 0, ""
	if p.OpenSchedules {
		open = 1
	}
	if p.OfRegion {
		ofRegion = p.TimeZone
	}
	if err := t.update(ctx, "set planning", "time_zone = ?, region_zone = ?, open_schedules = ?", p.TimeZone, ofRegion, open); err != nil {
		return err
	}
	return t.alignNights(ctx, p.TimeZone, now)
}

// FollowZone gives the tenant the time zone of its region, if it follows that; a tenant with a zone of its own keeps
// it, and one that is not there needs none. Interrupted, it is done again. Invalid: an unknown time zone.
func (t *Tenant) FollowZone(ctx context.Context, zone string, now time.Time) error {
	if err := validZone("follow the zone of the region", zone); err != nil {
		return err
	}
	p, err := t.Planning(ctx)
	if tenantry.KindOf(err) == tenantry.NotFound || err == nil && (!p.OfRegion || p.TimeZone == zone) {
		return nil
	}
	if err != nil {
		return err
	}
	// The row is what says that there is something to do, so it comes after the policies, and they come again for
	// those that were made meanwhile.
	if err := t.alignNights(ctx, zone, now); err != nil {
		return err
	}
	err = t.c.write(ctx, "follow the zone of the region of tenant "+string(t.id), func(ctx context.Context, tx bun.Tx) error {
		_, err := exec(ctx, tx, "UPDATE tenants SET time_zone = ?0, region_zone = ?0 WHERE id = ?1 AND time_zone = region_zone", zone, t.id)
		return err
	})
	if err != nil {
		return err
	}
	if p, err = t.Planning(ctx); err != nil {
		return err
	}
	return t.alignNights(ctx, p.TimeZone, now)
}

// OffZone lists the tenants of a region that follow its time zone and have another one than it has now.
func (f *Fleet) OffZone(ctx context.Context, region, zone string) ([]tenantry.TenantID, error) {
	var found []tenantry.TenantID
	err := f.c.read(ctx, "look for tenants that follow the zone of region "+region, &found,
		"SELECT id FROM tenants WHERE region IN (?) AND time_zone = region_zone AND time_zone <> ? ORDER BY id", bun.List(regionNames(region)), zone)
	return found, err
}

// regionNames are the names of a region in rows: older programs wrote none for the default one.
func regionNames(region string) []string {
	if region == DefaultRegion {
		return []string{DefaultRegion, ""}
	}
	return []string{region}
}

func validZone(op, name string) error {
	if _, err := location(name); err != nil || name == "" || name == "Local" {
		return tenantry.Errorf(tenantry.Invalid, "%s: time_zone %q is no IANA name", op, name)
	}
	return nil
}

// alignNights gives the zone to the policies that start off-peak.
func (t *Tenant) alignNights(ctx context.Context, zone string, now time.Time) error {
	policies, err := t.Policies(ctx)
	if err != nil {
		return err
	}
	for _, one := range policies {
		if one.Schedule != ScheduleOffPeak || one.TimeZone == zone {
			continue
		}
		_, err := t.ChangePolicy(ctx, one.ID, func(o Policy) (Policy, error) {
			if o.Schedule == ScheduleOffPeak {
				o.TimeZone = zone
			}
			return o, nil
		}, now)
		if err != nil && tenantry.KindOf(err) != tenantry.NotFound { // NotFound: it was deleted meanwhile
			return err
		}
	}
	return nil
}

// ResourceNames puts what people call resources beside their IDs; those that the tenant does not have stay as they are.
func (t *Tenant) ResourceNames(ctx context.Context, names map[tenantry.ResourceID]string) error {
	for chunk := range slices.Chunk(slices.Collect(maps.Keys(names)), batch) {
		var found []struct {
			ID   tenantry.ResourceID
			Name string
		}
		err := t.c.read(ctx, "name resources of tenant "+string(t.id), &found,
			"SELECT id, CASE WHEN name = '' THEN address ELSE name END AS name FROM resources WHERE tenant = ? AND id IN (?)", t.id, bun.List(chunk))
		if err != nil {
			return err
		}
		for _, row := range found {
			names[row.ID] = row.Name
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
