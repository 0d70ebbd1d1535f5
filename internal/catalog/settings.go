package catalog

import (
	"context"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// TenantChange is a change of what people set of a tenant. What is nil stays.
type TenantChange struct {
	Name            *string
	Weight          *int           // service level, 1 to 100: the tenant's share when the fleet is busy
	ApplicationName *string        // "" is a name of ours
	SyncEvery       *time.Duration // 0 is a day; a sync that is planned is planned anew
	Cloud           *string        // only before the tenant's consent was proved
	Region          *string        // only while the tenant has no data, and together with a pool of that region
	Pool            *string        // what waits is done there, what runs ends where it is
	Seats           *SeatMode      // changed to manual, those who have a seat keep it
}

// ChangeTenant makes all of the change or none. NotFound: no such tenant; Invalid: a weight or an interval out of
// range, no such mode of seats; with the code "pool": no such pool, or one of another region. Conflict, with the code
// "region" or "cloud": the tenant cannot leave it any more.
func (f *Fleet) ChangeTenant(ctx context.Context, id tenantry.TenantID, c TenantChange, now time.Time) error {
	const what = "change settings"
	t := f.c.Tenant(id)
	if err := c.validate(what); err != nil {
		return err
	}
	change := func(ctx context.Context, tx bun.Tx) error { return t.set(ctx, tx, what, c, now) }
	if c.Seats != nil {
		return t.reseat(ctx, what, now, nil, change)
	}
	return f.c.write(ctx, what+" of tenant "+string(id), change)
}

func (c TenantChange) validate(op string) error {
	switch {
	case c.Weight != nil && !validWeight(*c.Weight):
		return tenantry.Errorf(tenantry.Invalid, "%s: weight %d is not in 1..100", op, *c.Weight)
	case c.SyncEvery != nil && *c.SyncEvery < 0:
		return tenantry.Errorf(tenantry.Invalid, "%s: a sync every %s cannot be", op, *c.SyncEvery)
	case c.Seats != nil && !validSeats(*c.Seats):
		return tenantry.Errorf(tenantry.Invalid, "%s: there is no mode of seats %q", op, *c.Seats)
	}
	return nil
}

func validWeight(weight int) bool { return weight >= 1 && weight <= 100 }

func validSeats(mode SeatMode) bool { return mode == SeatsAutomatic || mode == SeatsManual }

// set writes the columns that c names.
func (t *Tenant) set(ctx context.Context, tx bun.Tx, op string, c TenantChange, now time.Time) error {
	if err := t.exists(ctx, tx, op); err != nil {
		return err
	}
	var (
		columns []string
		args    []any
	)
	add := func(column string, values ...any) { columns, args = append(columns, column), append(args, values...) }
	if c.Name != nil {
		add("name = ?", *c.Name)
	}
	if c.Weight != nil {
		add("weight = ?", *c.Weight)
	}
	if c.ApplicationName != nil {
		add("application_name = ?", *c.ApplicationName)
	}
	if c.Seats != nil {
		add("seat_mode = ?", *c.Seats)
	}
	if err := t.move(ctx, tx, op, c, add); err != nil {
		return err
	}
	if c.SyncEvery != nil {
		next, err := t.replanned(ctx, tx, *c.SyncEvery, now)
		if err != nil {
			return err
		}
		add("sync_every = ?, next_sync_at = CASE WHEN next_sync_at > ? THEN ? ELSE next_sync_at END", c.SyncEvery.Microseconds(), micros(now), micros(next))
	}
	if len(columns) == 0 {
		return nil
	}
	_, err := exec(ctx, tx, "UPDATE tenants SET "+strings.Join(columns, ", ")+" WHERE id = ?", append(args, t.id)...)
	return err
}

// replanned is when the tenant's next sync is due at another interval.
func (t *Tenant) replanned(ctx context.Context, tx bun.Tx, every time.Duration, now time.Time) (time.Time, error) {
	var added []int64
	if err := scan(ctx, tx, &added, "SELECT added_at FROM tenants WHERE id = ?", t.id); err != nil {
		return time.Time{}, err
	}
	return NextSync(fromMicros(added[0]), now, every), nil
}

// DefaultSyncEvery is how often a tenant is synced that says nothing else. Delta links of users and groups live
// 7 days ("Delta query overview"), so that a missed day or five does no harm.
const DefaultSyncEvery = 24 * time.Hour

// NextSync returns the first time after now that is a whole number of intervals after the
// tenant was added: stable, and spread over the day as tenants came. An interval of 0 is a day.
func NextSync(added, now time.Time, every time.Duration) time.Time {
	if every <= 0 {
		every = DefaultSyncEvery
	}
	if !now.After(added) {
		return added.Add(every)
	}
	return added.Add((now.Sub(added)/every + 1) * every)
}
