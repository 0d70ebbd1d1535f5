package catalog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// SeatMode is who assigns the seats of a tenant.
type SeatMode string

// The modes of seats.
const (
	// SeatsAutomatic gives a seat to whoever is to be protected and needs one, as long as the
	// hard quota allows, and takes it when nothing protects it any more.
	SeatsAutomatic SeatMode = "automatic"
	// SeatsManual protects those alone whom somebody has given a seat.
	SeatsManual SeatMode = "manual"
)

// SeatClass is a kind of resource as seats count it.
type SeatClass string

// The classes. A rule of a tenant says of each whether it takes a seat; one that takes none
// is protected without.
const (
	SeatUser       SeatClass = "user"       // a licensed user
	SeatShared     SeatClass = "shared"     // a shared mailbox without a licence
	SeatRoom       SeatClass = "room"       // a room's mailbox without a licence
	SeatEquipment  SeatClass = "equipment"  // equipment without a licence
	SeatUnlicensed SeatClass = "unlicensed" // any other user without a licence
	SeatGroup      SeatClass = "group"      // a Microsoft 365 group without a team
	SeatTeam       SeatClass = "team"
	SeatSite       SeatClass = "site"
	SeatDeparted   SeatClass = "departed" // one that had a seat and has left Microsoft 365, while backups of it are stored
)

// SeatClasses lists the classes.
func SeatClasses() []SeatClass {
	return []SeatClass{SeatUser, SeatShared, SeatRoom, SeatEquipment, SeatUnlicensed, SeatGroup, SeatTeam, SeatSite, SeatDeparted}
}

// Licensing is how a tenant's seats are counted.
type Licensing struct {
	Mode SeatMode
	Soft int64       // from so many seats on an alarm is raised; 0: none
	Hard int64       // newcomers beyond so many seats are not protected; 0: no end
	Take []SeatClass // the classes that take a seat
}

// usualTake is who takes a seat unless a tenant says otherwise.
var usualTake = []SeatClass{SeatUser}

// Validate returns Invalid, with the field, for what cannot be.
func (l Licensing) Validate() error {
	switch {
	case !validSeats(l.Mode):
		return tenantry.Errorf(tenantry.Invalid, "licensing: there is no mode %q", l.Mode)
	case l.Soft < 0 || l.Hard < 0:
		return tenantry.Errorf(tenantry.Invalid, "licensing: a quota is negative")
	case l.Soft > 0 && l.Hard > 0 && l.Soft > l.Hard:
		return tenantry.Errorf(tenantry.Invalid, "licensing: soft %d is above hard %d", l.Soft, l.Hard)
	}
	for _, c := range l.Take {
		if !slices.Contains(SeatClasses(), c) {
			return tenantry.Errorf(tenantry.Invalid, "licensing: there is no class %q", c)
		}
	}
	return nil
}

// takeNothing is stored of a tenant of which no class takes a seat: an empty text is the usual.
const takeNothing = "none"

func (l Licensing) rules() string {
	if len(l.Take) == 0 {
		return takeNothing
	}
	return join(slices.Sorted(slices.Values(l.Take)))
}

func seatClasses(rules string) []SeatClass {
	switch rules {
	case "":
		return slices.Clone(usualTake)
	case takeNothing:
		return nil
	}
	return split[SeatClass](rules)
}

// The causes of alarms about seats.
const (
	// AlarmQuotaSoft: a tenant uses as many seats as its soft quota, or more.
	AlarmQuotaSoft = "quota_soft"
	// AlarmQuotaHard: resources are not protected because the hard quota is used up.
	AlarmQuotaHard = "quota_hard"
)

// classOf is how seats count a resource.
func classOf(r resourceRow) SeatClass {
	switch {
	case r.Kind == tenantry.Site:
		return SeatSite
	case r.Kind == tenantry.Group && slices.Contains(split[tenantry.Workload](r.Workloads), tenantry.TeamContent):
		return SeatTeam
	case r.Kind == tenantry.Group:
		return SeatGroup
	case r.Licensed:
		return SeatUser
	}
	switch r.MailboxKind {
	case "shared":
		return SeatShared
	case "room":
		return SeatRoom
	case "equipment":
		return SeatEquipment
	}
	return SeatUnlicensed
}

// seat is one that a resource has.
type seat struct {
	Resource tenantry.ResourceID
	Since    int64
	Rule     SeatClass
	Actor    string
}

// seating gives and takes seats in one transaction under lockEnrolment.
type seating struct {
	Licensing
	t      *Tenant
	giving bool                         // with a hard quota: it is the turn of those who wait
	used   int64                        // seats that are taken, if there is a quota
	had    map[tenantry.ResourceID]seat // of the resources at hand, as SQL has them
	has    map[tenantry.ResourceID]seat // as they are to be
	stored map[tenantry.ResourceID]bool // departed resources at hand of which backups are stored
}

func (t *Tenant) licensing(ctx context.Context, db bun.IDB) (Licensing, error) {
	var found []struct {
		SeatMode           SeatMode
		SeatSoft, SeatHard int64
		SeatRules          string
	}
	err := db.NewRaw("SELECT seat_mode, seat_soft, seat_hard, seat_rules FROM tenants WHERE id = ?", t.id).Scan(ctx, &found)
	if err != nil || len(found) == 0 {
		return Licensing{Mode: SeatsAutomatic, Take: usualTake}, err
	}
	row := found[0]
	return Licensing{Mode: row.SeatMode, Soft: row.SeatSoft, Hard: row.SeatHard, Take: seatClasses(row.SeatRules)}, nil
}

func (t *Tenant) seating(ctx context.Context, tx bun.Tx) (*seating, error) {
	s := &seating{t: t}
	var err error
	if s.Licensing, err = t.licensing(ctx, tx); err != nil {
		return nil, err
	}
	if s.Soft == 0 && s.Hard == 0 {
		return s, nil // nobody asks how many are taken
	}
	return s, scan(ctx, tx, &s.used, "SELECT count(*) FROM seats WHERE tenant = ? AND until = 0", t.id)
}

// load reads the seats of some resources.
func (s *seating) load(ctx context.Context, tx bun.Tx, ids []tenantry.ResourceID) error {
	var found []seat
	err := scan(ctx, tx, &found, "SELECT resource, since, rule, actor FROM seats WHERE tenant = ? AND until = 0 AND resource IN (?)", s.t.id, bun.List(ids))
	if err != nil {
		return err
	}
	s.had = make(map[tenantry.ResourceID]seat, len(found))
	s.has = make(map[tenantry.ResourceID]seat, len(found))
	for _, row := range found {
		s.had[row.Resource], s.has[row.Resource] = row, row
	}
	s.stored = map[tenantry.ResourceID]bool{}
	if !slices.Contains(s.Take, SeatDeparted) {
		return nil
	}
	var stored []tenantry.ResourceID
	err = scan(ctx, tx, &stored, "SELECT DISTINCT resource FROM series WHERE tenant = ? AND saved_at > 0 AND resource IN (?)", s.t.id, bun.List(ids))
	for _, id := range stored {
		s.stored[id] = true
	}
	return err
}

// settle decides on the seat of a resource and returns its standing: protect says whether a
// policy would protect it, and reason why if none does.
func (s *seating) settle(r resourceRow, protect bool, reason Standing, now time.Time) Standing {
	had, seated := s.has[r.ID]
	if r.State != tenantry.Active {
		if seated && s.stored[r.ID] && slices.Contains(s.Take, SeatDeparted) {
			s.give(r.ID, SeatDeparted, had.Actor, now)
		} else {
			s.take(r.ID)
		}
		return standingNone
	}
	class := classOf(r)
	needs := slices.Contains(s.Take, class)
	switch {
	case s.Mode == SeatsManual && seated && needs:
		s.give(r.ID, class, had.Actor, now) // it is somebody's to take away
	case !protect || !needs:
		s.take(r.ID)
	case seated:
		s.give(r.ID, class, had.Actor, now)
	case s.Mode == SeatsManual:
		return StandingNoSeat
	case s.Hard > 0 && (!s.giving || s.used >= s.Hard):
		return StandingQuota // and waits, behind whoever waits longer
	default:
		s.give(r.ID, class, "", now)
	}
	if protect {
		return StandingCovered
	}
	return reason
}

func (s *seating) give(id tenantry.ResourceID, rule SeatClass, actor string, now time.Time) {
	old, seated := s.has[id]
	if seated && old.Rule == rule {
		return
	}
	if !seated {
		s.used++
	}
	s.has[id] = seat{id, micros(now), rule, actor}
}

func (s *seating) take(id tenantry.ResourceID) {
	if _, seated := s.has[id]; seated {
		s.used--
		delete(s.has, id)
	}
}

// free is how many resources that wait for a seat could get one.
func (s *seating) free() int64 {
	if s.Mode != SeatsAutomatic {
		return 0
	}
	if s.Hard == 0 {
		return maxSeated
	}
	return min(maxSeated, s.Hard-s.used)
}

// maxSeated bounds how many seats are given in one transaction to those who wait.
const maxSeated = 200_000

// store writes the seats that changed.
func (s *seating) store(ctx context.Context, tx bun.Tx, now time.Time) error {
	var ended, fresh []tenantry.ResourceID
	for id, old := range s.had {
		if next, seated := s.has[id]; !seated || next != old {
			ended = append(ended, id)
		}
	}
	for id, next := range s.has {
		if old, seated := s.had[id]; !seated || next != old {
			fresh = append(fresh, id)
		}
	}
	if len(ended) > 0 {
		// A seat of no length was none.
		for _, end := range []string{
			"DELETE FROM seats WHERE since >= ?0 AND tenant = ?1 AND until = 0 AND resource IN (?2)",
			"UPDATE seats SET until = ?0 WHERE tenant = ?1 AND until = 0 AND resource IN (?2)",
		} {
			if _, err := exec(ctx, tx, end, micros(now), s.t.id, bun.List(ended)); err != nil {
				return err
			}
		}
	}
	var values rows
	for _, id := range fresh {
		n := s.has[id]
		values = append(values, []any{s.t.id, id, n.Since, 0, n.Rule, n.Actor})
	}
	if len(values) == 0 {
		return nil
	}
	_, err := exec(ctx, tx, "INSERT INTO seats (tenant, resource, since, until, rule, actor) VALUES ?", values)
	return err
}

// alarm raises or ends the alarms about the quotas.
func (s *seating) alarm(ctx context.Context, tx bun.Tx, now time.Time) error {
	var waiting int64
	if s.Hard > 0 || s.Mode == SeatsManual {
		if err := scan(ctx, tx, &waiting, "SELECT count(*) FROM resources WHERE tenant = ? AND standing = 'quota'", s.t.id); err != nil {
			return err
		}
	}
	hard, soft := "", ""
	if waiting > 0 {
		hard = fmt.Sprintf("%d resources are not protected: all %d seats are taken", waiting, s.Hard)
	}
	if s.Soft > 0 && s.used >= s.Soft {
		soft = fmt.Sprintf("%d seats are taken, of a soft quota of %d", s.used, s.Soft)
	}
	for cause, detail := range map[string]string{AlarmQuotaHard: hard, AlarmQuotaSoft: soft} {
		var err error
		if detail == "" {
			err = s.t.clear(ctx, tx, cause, "")
		} else {
			err = s.t.raise(ctx, tx, cause, "", detail, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Licensing reads how the tenant's seats are counted, and how many are taken. NotFound.
func (t *Tenant) Licensing(ctx context.Context) (l Licensing, used int64, err error) {
	if _, err := t.Get(ctx); err != nil {
		return l, 0, err
	}
	op := "read the licensing of tenant " + string(t.id)
	if l, err = t.licensing(ctx, t.c.reader); err != nil {
		return l, 0, wrapIn(ctx, op, err)
	}
	return l, used, t.c.read(ctx, op, &used, "SELECT count(*) FROM seats WHERE tenant = ? AND until = 0", t.id)
}

// SetLicensing sets how the tenant's seats are counted, and gives or takes seats by it. A
// lower quota takes no seat away. Changed to manual, those who have a seat keep it. Invalid
// names the field; NotFound.
func (t *Tenant) SetLicensing(ctx context.Context, l Licensing, now time.Time) error {
	if err := l.Validate(); err != nil {
		return err
	}
	return t.reseat(ctx, "set the licensing", now, nil, func(ctx context.Context, tx bun.Tx) error {
		_, err := exec(ctx, tx, "UPDATE tenants SET seat_mode = ?, seat_soft = ?, seat_hard = ?, seat_rules = ? WHERE id = ?",
			l.Mode, l.Soft, l.Hard, l.rules(), t.id)
		return err
	})
}

// AssignSeats gives seats by hand, in the order given; whoever has one keeps it. All get
// one, or none does. NotFound: no such tenant, or resource that is active; Conflict: the
// hard quota does not allow so many, one needs no seat, or seats are assigned by themselves.
func (t *Tenant) AssignSeats(ctx context.Context, ids []tenantry.ResourceID, actor string, now time.Time) error {
	return t.byHand(ctx, "assign seats", ids, now, func(ctx context.Context, tx bun.Tx, s *seating) error {
		var found []resourceRow
		err := scan(ctx, tx, &found, "SELECT ? FROM resources WHERE tenant = ? AND state = 'active' AND id IN (?)", resourceColumns, t.id, bun.List(ids))
		if err != nil {
			return err
		}
		if missing := difference(ids, idsOf(found)); len(missing) > 0 {
			return tenantry.Errorf(tenantry.NotFound, "assign seats: there is no active resource %s", missing[0])
		}
		for _, r := range found {
			if class := classOf(r); !slices.Contains(s.Take, class) {
				return tenantry.Errorf(tenantry.Conflict, "assign seats: %s needs none: by the tenant's rules %s takes no seat", r.ID, class)
			}
			s.give(r.ID, classOf(r), actor, now)
		}
		if s.Hard > 0 && s.used > s.Hard {
			return tenantry.Errorf(tenantry.Conflict, "assign seats: the hard quota is %d, and with these %d seats would be taken", s.Hard, s.used)
		}
		return nil
	})
}

// RevokeSeats takes seats by hand: what has none any more and needs one is not protected.
// None is fine. NotFound: no such tenant; Conflict: seats are assigned by themselves.
func (t *Tenant) RevokeSeats(ctx context.Context, ids []tenantry.ResourceID, now time.Time) error {
	return t.byHand(ctx, "revoke seats", ids, now, func(_ context.Context, _ bun.Tx, s *seating) error {
		for _, id := range ids {
			s.take(id)
		}
		return nil
	})
}

func idsOf(found []resourceRow) []tenantry.ResourceID {
	ids := make([]tenantry.ResourceID, len(found))
	for i, r := range found {
		ids[i] = r.ID
	}
	return ids
}

func (t *Tenant) byHand(ctx context.Context, what string, ids []tenantry.ResourceID, now time.Time, change func(context.Context, bun.Tx, *seating) error) error {
	if len(ids) == 0 || len(ids) > maxPage {
		return tenantry.Errorf(tenantry.Invalid, "%s: %d resources are not in 1..%d", what, len(ids), maxPage)
	}
	return t.reseat(ctx, what, now, ids, func(ctx context.Context, tx bun.Tx) error {
		s, err := t.seating(ctx, tx)
		if err != nil {
			return err
		}
		if s.Mode != SeatsManual {
			return tenantry.Errorf(tenantry.Conflict, "%s: seats of this tenant are assigned by themselves", what)
		}
		if err := s.load(ctx, tx, ids); err != nil {
			return err
		}
		if err := change(ctx, tx, s); err != nil {
			return err
		}
		return s.store(ctx, tx, now)
	})
}

// reseat changes something about seats and enrols the named resources by it, or all.
func (t *Tenant) reseat(ctx context.Context, what string, now time.Time, ids []tenantry.ResourceID, change func(context.Context, bun.Tx) error) error {
	op := what + " of tenant " + string(t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		if err := change(ctx, tx); err != nil {
			return err
		}
		e, err := t.enroller(ctx, tx, now, nil)
		if err != nil {
			return err
		}
		if ids == nil {
			for _, state := range []tenantry.LifeState{tenantry.Active, tenantry.Inactive, tenantry.Gone} {
				if err := e.all(ctx, state, []tenantry.ResourceKind{tenantry.User, tenantry.Group, tenantry.Site}); err != nil {
					return err
				}
			}
		} else if err := e.named(ctx, ids); err != nil {
			return err
		}
		return e.finish(ctx)
	})
}

// SeatRow is a seat as a month saw it.
type SeatRow struct {
	Tenant   tenantry.TenantID
	Resource tenantry.ResourceID
	Name     string
	Address  string
	Rule     SeatClass // why it takes a seat
	Actor    string    // who assigned it, "" by itself
	Since    time.Time
	Until    time.Time // zero: still
}

// Seats lists who had a seat at any time of a UTC month, each with the last rule of the
// month, by ascending resource behind one; limit 0 is 100, at most 1000.
func (t *Tenant) Seats(ctx context.Context, year int, month time.Month, after tenantry.ResourceID, limit int) ([]SeatRow, error) {
	var found []seatRow
	from, to := monthOf(year, month)
	err := t.c.read(ctx, "list seats of tenant "+string(t.id), &found, seatQuery+`
		WHERE s.tenant = ?0 AND s.resource > ?3 AND s.since < ?2 AND (s.until = 0 OR s.until > ?1)
			AND NOT EXISTS (SELECT 1 FROM seats l WHERE l.tenant = ?0 AND l.resource = s.resource AND l.since > s.since AND l.since < ?2)
		ORDER BY s.resource LIMIT ?4`, t.id, from, to, after, page(limit))
	return seatRows(found), err
}

// SeatCount is how many seats a tenant had in a month, by rule.
type SeatCount struct {
	Tenant tenantry.TenantID
	Name   string
	Rule   SeatClass
	Seats  int64
}

// SeatCounts counts the seats of all tenants behind one in a UTC month, by tenant and rule,
// of at most limit tenants (0: 100, at most 1000). A tenant without seats has no entry.
func (f *Fleet) SeatCounts(ctx context.Context, year int, month time.Month, after tenantry.TenantID, limit int) ([]SeatCount, error) {
	var found []SeatCount
	from, to := monthOf(year, month)
	err := f.c.read(ctx, "count seats", &found, `
		SELECT s.tenant, t.name, s.rule, count(*) AS seats FROM seats s JOIN (
			SELECT id, name FROM tenants WHERE id > ?2 ORDER BY id LIMIT ?3) t ON t.id = s.tenant
		WHERE s.since < ?1 AND (s.until = 0 OR s.until > ?0)
			AND NOT EXISTS (SELECT 1 FROM seats l WHERE l.tenant = s.tenant AND l.resource = s.resource AND l.since > s.since AND l.since < ?1)
		GROUP BY s.tenant, t.name, s.rule ORDER BY s.tenant, s.rule`, from, to, after, page(limit))
	return found, err
}

type seatRow struct {
	Tenant        tenantry.TenantID
	Resource      tenantry.ResourceID
	Name, Address string
	Rule          SeatClass
	Actor         string
	Since, Until  int64
}

// seatQuery reads seats of one tenant (?0).
const seatQuery = `SELECT s.tenant, s.resource, coalesce(r.name, '') AS name, coalesce(r.address, '') AS address, s.rule, s.actor, s.since, s.until
	FROM seats s LEFT JOIN resources r ON r.tenant = ?0 AND r.id = s.resource`

func seatRows(found []seatRow) []SeatRow {
	out := make([]SeatRow, len(found))
	for i, row := range found {
		out[i] = SeatRow{
			Tenant: row.Tenant, Resource: row.Resource, Name: row.Name, Address: row.Address, Rule: row.Rule, Actor: row.Actor,
			Since: fromMicros(row.Since), Until: fromMicros(row.Until),
		}
	}
	return out
}

// monthOf is a UTC month from its beginning up to its end, in microseconds.
func monthOf(year int, month time.Month) (from, to int64) {
	return micros(time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)), micros(time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC))
}
