package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// PolicyState is where a policy stands; the package comment draws the way.
type PolicyState string

// The states of a policy.
const (
	// PolicyDraft protects nobody but those it was activated for by name.
	PolicyDraft PolicyState = "draft"
	// PolicyActive protects what it covers and has taken in.
	PolicyActive PolicyState = "active"
	// PolicyPaused goes on holding what it protects, and starts nothing.
	PolicyPaused PolicyState = "paused"
	// In SQL a deleted policy is "deleted": its name is kept for the history of its runs.
)

// EnrolMode is when a policy takes in the resources that it covers.
type EnrolMode string

// The modes of enrolment.
const (
	// EnrolAutomatic takes in those that are there, and later ones with the sync that finds them.
	EnrolAutomatic EnrolMode = "automatic"
	// EnrolDaily takes in those that are there, and later ones at a fixed local time of day.
	EnrolDaily EnrolMode = "daily"
	// EnrolPresent takes in those that are there when it is activated, once.
	EnrolPresent EnrolMode = "present"
)

// Policy is a protection plan of a tenant: which resources, which workloads, when.
type Policy struct {
	ID        tenantry.PolicyID
	Name      string
	State     PolicyState
	Kinds     []tenantry.ResourceKind // all resources of these kinds
	Targets   Targets                 // and those that are named
	Workloads []tenantry.Workload
	Enrol     EnrolMode
	EnrolAt   int // EnrolDaily: minute of the local day, 0..1439

	Schedule  ScheduleKind
	At        int    // minute of the local day at which the window opens, 0..1439
	Window    int    // minutes over which starts are spread, 1..1440
	Hours     int    // ScheduleEvery: from one start to the next, 1..MaxEvery
	TimeZone  string // IANA name
	Blackouts []Blackout
	// Objective is the age up to which the newest backup of a workload counts as fresh.
	Objective time.Duration

	CreatedAt   time.Time
	ActivatedAt time.Time          // zero: never
	Retention   tenantry.Retention // which snapshots are kept
	Options     tenantry.BackupOptions
}

// maxObjective bounds Policy.Objective: a year.
const maxObjective = 366 * 24 * time.Hour

func (p Policy) validate() error {
	switch {
	case p.ID == "":
		return tenantry.Errorf(tenantry.Invalid, "policy: id is empty")
	case p.Name == "":
		return tenantry.Errorf(tenantry.Invalid, "policy: name is empty")
	case !slices.Contains([]PolicyState{"", PolicyDraft, PolicyActive, PolicyPaused}, p.State):
		return tenantry.Errorf(tenantry.Invalid, "policy: there is no state %q", p.State)
	case len(p.Kinds) == 0 && p.Targets.empty():
		return tenantry.Errorf(tenantry.Invalid, "policy: kinds is empty, and nothing is named")
	case len(p.Workloads) == 0:
		return tenantry.Errorf(tenantry.Invalid, "policy: workloads is empty")
	case !slices.Contains([]EnrolMode{"", EnrolAutomatic, EnrolDaily, EnrolPresent}, p.Enrol):
		return tenantry.Errorf(tenantry.Invalid, "policy: there is no enrolment %q", p.Enrol)
	case p.EnrolAt < 0 || p.EnrolAt >= dayMinutes:
		return tenantry.Errorf(tenantry.Invalid, "policy: enrol_at %d is not in 0..1439", p.EnrolAt)
	case p.Objective < 0 || p.Objective > maxObjective:
		return tenantry.Errorf(tenantry.Invalid, "policy: objective %s is not in 0 to a year", p.Objective)
	}
	if err := p.Targets.validate(); err != nil {
		return err
	}
	if err := p.validateSchedule(); err != nil {
		return err
	}
	if err := p.Options.Validate(); err != nil {
		return err
	}
	return p.Retention.Validate()
}

type policyRow struct {
	bun.BaseModel `bun:"table:policies"`

	Tenant      tenantry.TenantID
	ID          tenantry.PolicyID
	Name        string
	State       PolicyState
	Kinds       string
	Workloads   string
	Enrol       EnrolMode
	EnrolAt     int
	NextEnrolAt int64
	Schedule    ScheduleKind
	AtMinute    int
	WindowLen   int
	Hours       int
	TimeZone    string
	Blackouts   string
	Objective   int64
	CreatedAt   int64
	ActivatedAt int64
	Retention   string
	Options     string
}

const policyColumns bun.Safe = `p.tenant, p.id, p.name, p.state, p.kinds, p.workloads, p.enrol, p.enrol_at, p.next_enrol_at, p.schedule, p.at_minute,
	p.window_len, p.hours, p.time_zone, p.blackouts, p.objective, p.created_at, p.activated_at, p.retention, p.options`

func (r policyRow) policy() Policy {
	return Policy{
		ID: r.ID, Name: r.Name, State: r.State, Kinds: split[tenantry.ResourceKind](r.Kinds), Workloads: split[tenantry.Workload](r.Workloads),
		Enrol: r.Enrol, EnrolAt: r.EnrolAt, Schedule: r.Schedule, At: r.AtMinute, Window: r.WindowLen, Hours: r.Hours, TimeZone: r.TimeZone,
		Blackouts: decodeBlackouts(r.Blackouts), Objective: time.Duration(r.Objective) * time.Microsecond,
		CreatedAt: fromMicros(r.CreatedAt), ActivatedAt: fromMicros(r.ActivatedAt),
		Retention: decodeRetention(r.Retention), Options: decodeOptions(r.Options),
	}
}

// row is the policy as it is stored; now sets when newcomers are taken in next.
func (p Policy) row(t tenantry.TenantID, now time.Time) *policyRow {
	row := &policyRow{
		Tenant: t, ID: p.ID, Name: p.Name, State: p.State, Kinds: join(p.Kinds), Workloads: join(p.Workloads),
		Enrol: p.Enrol, EnrolAt: p.EnrolAt, Schedule: p.Schedule, AtMinute: p.At, WindowLen: p.Window, Hours: p.Hours, TimeZone: p.TimeZone,
		Blackouts: encodeBlackouts(p.Blackouts), Objective: p.Objective.Microseconds(),
		CreatedAt: micros(p.CreatedAt), ActivatedAt: micros(p.ActivatedAt),
		Retention: encodeRetention(p.Retention), Options: encodeOptions(p.Options),
	}
	if p.Enrol == EnrolDaily && p.State == PolicyActive {
		row.NextEnrolAt = micros(nextEnrolment(p, now))
	}
	return row
}

// join and split keep short lists of words in one column.
func join[T ~string](words []T) string {
	parts := make([]string, len(words))
	for i, word := range words {
		parts[i] = string(word)
	}
	return strings.Join(parts, ",")
}

func split[T ~string](list string) []T {
	var words []T
	for word := range strings.SplitSeq(list, ",") {
		if word != "" {
			words = append(words, T(word))
		}
	}
	return words
}

// AddPolicy stores a policy; an active one takes in what it covers, each due at its next
// slot after now. A zero State is active, a zero Schedule a window, a zero Enrol automatic,
// a zero Objective half as long again as the schedule's interval. Invalid names the field;
// Conflict: the ID is there; NotFound: no such tenant.
func (t *Tenant) AddPolicy(ctx context.Context, p Policy, now time.Time) error {
	if err := p.validate(); err != nil {
		return err
	}
	if p.CreatedAt.IsZero() {
		p.CreatedAt = now
	}
	if p.State == "" {
		p.State = PolicyActive
	}
	if p.State == PolicyActive {
		p.ActivatedAt = now
	}
	if p.Enrol == "" {
		p.Enrol = EnrolAutomatic
	}
	p = p.settled()
	op := fmt.Sprintf("add policy %s of tenant %s", p.ID, t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(p.row(t.id, now)).Exec(ctx); err != nil {
			return err
		}
		if err := t.writeTargets(ctx, tx, p); err != nil {
			return err
		}
		if p.State == PolicyDraft {
			return t.enrolAll(ctx, tx, nil, now) // some are now told that a draft covers them
		}
		return t.enrolBy(ctx, tx, now, takeIn(p.ID, causeActivation))
	})
}

// ChangePolicy replaces a policy by what change makes of it, in one transaction: its ID,
// state, times and retention stay. What an active policy covers now and did not before is
// taken in at once; what it covers no more is not protected by it. Other times of its
// schedule count from now on. Errors are those of change and of AddPolicy. NotFound.
func (t *Tenant) ChangePolicy(ctx context.Context, id tenantry.PolicyID, change func(Policy) (Policy, error), now time.Time) (Policy, error) {
	return t.changePolicy(ctx, "change", id, now, func(old Policy) (policyChange, error) {
		next, err := change(old)
		if err == nil {
			next.ID, next.State, next.Retention = old.ID, old.State, old.Retention
			next.CreatedAt, next.ActivatedAt = old.CreatedAt, old.ActivatedAt
			err = next.validate()
		}
		if err != nil {
			return policyChange{}, err
		}
		if next.Enrol == "" {
			next.Enrol = EnrolAutomatic
		}
		if next.Objective == old.Objective && old.Objective == old.usualObjective() {
			next.Objective = 0 // it goes with the schedule
		}
		c := policyChange{next: next.settled()}
		if !sameCoverage(old, next) {
			c.everybody, c.joins = true, takeInAdded(old, next)
		}
		return c, nil
	})
}

// ActivatePolicy makes a policy active. It takes in all that it covers now; asked again it
// does so once more. A paused policy goes on, with those that it had taken in. With
// resources it takes in those alone and leaves the state: a draft protects just them.
// NotFound; Invalid: the policy does not cover one of the resources.
func (t *Tenant) ActivatePolicy(ctx context.Context, id tenantry.PolicyID, only []tenantry.ResourceID, now time.Time) (Policy, error) {
	return t.changePolicy(ctx, "activate", id, now, func(p Policy) (policyChange, error) {
		if len(only) > 0 {
			return policyChange{next: p, named: only, joins: takeInThese(p.ID, only)}, nil
		}
		c := policyChange{next: p, everybody: true}
		if p.State != PolicyPaused {
			c.joins = takeIn(p.ID, causeActivation)
		}
		c.next.State = PolicyActive
		if p.ActivatedAt.IsZero() {
			c.next.ActivatedAt = now
		}
		return c, nil
	})
}

// PausePolicy lets an active policy start nothing, and take in nobody, until it is
// activated again. Whom it protects stays, and is not protected by another policy
// meanwhile. NotFound; Conflict: it is a draft.
func (t *Tenant) PausePolicy(ctx context.Context, id tenantry.PolicyID, now time.Time) (Policy, error) {
	return t.changePolicy(ctx, "pause", id, now, func(p Policy) (policyChange, error) {
		if p.State == PolicyDraft {
			return policyChange{}, tenantry.Errorf(tenantry.Conflict, "policy %s is a draft: there is nothing to pause", p.ID)
		}
		p.State = PolicyPaused
		return policyChange{next: p}, nil
	})
}

// policyChange is what becomes of a policy, and whom that concerns.
type policyChange struct {
	next      Policy
	joins     act
	everybody bool                  // all resources are enrolled anew
	named     []tenantry.ResourceID // or these; each is covered, or it is refused
}

// sameCoverage is whether two versions of a policy mean the same workloads.
func sameCoverage(a, b Policy) bool {
	return slices.Equal(a.Kinds, b.Kinds) && slices.Equal(a.Workloads, b.Workloads) && a.Enrol == b.Enrol && a.Targets.equal(b.Targets)
}

func (t *Tenant) changePolicy(ctx context.Context, what string, id tenantry.PolicyID, now time.Time, change func(Policy) (policyChange, error)) (Policy, error) {
	op := fmt.Sprintf("%s policy %s of tenant %s", what, id, t.id)
	var next Policy
	err := t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		policies, err := t.policies(ctx, op, tx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(policies, func(p Policy) bool { return p.ID == id })
		if at < 0 {
			return noPolicy(op)
		}
		c, err := change(policies[at])
		if err != nil {
			return err
		}
		next = c.next
		row := next.row(t.id, now)
		if _, err := tx.NewUpdate().Model(row).ExcludeColumn("retention").Where("tenant = ? AND id = ?", t.id, id).Exec(ctx); err != nil {
			return err
		}
		if !next.Targets.equal(policies[at].Targets) {
			if err := t.writeTargets(ctx, tx, next); err != nil {
				return err
			}
		}
		if err := t.enrolFor(ctx, tx, c, now); err != nil {
			return err
		}
		return t.reschedule(ctx, tx, policies[at], next, now)
	})
	return next, err
}

// enrolFor enrols whom a change concerns.
func (t *Tenant) enrolFor(ctx context.Context, tx bun.Tx, c policyChange, now time.Time) error {
	if c.everybody {
		return t.enrolBy(ctx, tx, now, c.joins)
	}
	if len(c.named) == 0 {
		return nil
	}
	e, err := t.enroller(ctx, tx, now, c.joins)
	if err != nil {
		return err
	}
	if err := e.named(ctx, c.named); err != nil {
		return err
	}
	if err := e.finish(ctx); err != nil {
		return err
	}
	var joined []tenantry.ResourceID
	err = scan(ctx, tx, &joined, "SELECT resource FROM policy_members WHERE tenant = ? AND policy = ? AND resource IN (?)", t.id, c.next.ID, bun.List(c.named))
	if err != nil {
		return err
	}
	if missed := difference(c.named, joined); len(missed) > 0 {
		return tenantry.Errorf(tenantry.Invalid, "activate policy %s: it does not cover resource %s", c.next.ID, missed[0])
	}
	return nil
}

// Policies lists the tenant's policies by ascending ID.
func (t *Tenant) Policies(ctx context.Context) ([]Policy, error) {
	return t.policies(ctx, "list policies of tenant "+string(t.id), t.c.reader)
}

func (t *Tenant) policies(ctx context.Context, op string, db bun.IDB) ([]Policy, error) {
	var found []policyRow
	err := db.NewRaw("SELECT ? FROM policies p WHERE p.tenant = ? AND p.state <> 'deleted' ORDER BY p.id", policyColumns, t.id).Scan(ctx, &found)
	if err != nil {
		return nil, wrap(op, err)
	}
	targets := map[tenantry.PolicyID]Targets{}
	if len(found) > 0 {
		if targets, err = t.readTargets(ctx, db); err != nil {
			return nil, wrap(op, err)
		}
	}
	out := make([]Policy, len(found))
	for i, row := range found {
		out[i] = row.policy()
		out[i].Targets = targets[row.ID]
	}
	return out, nil
}

// Policy reads one policy. NotFound.
func (t *Tenant) Policy(ctx context.Context, id tenantry.PolicyID) (Policy, error) {
	op := fmt.Sprintf("read policy %s of tenant %s", id, t.id)
	all, err := t.policies(ctx, op, t.c.reader)
	if err != nil {
		return Policy{}, err
	}
	for _, p := range all {
		if p.ID == id {
			return p, nil
		}
	}
	return Policy{}, noPolicy(op)
}

func noPolicy(op string) error {
	return tenantry.Errorf(tenantry.NotFound, "%s: there is no such policy", op)
}

// PolicyNames are the names of all policies of the tenant, also of deleted ones: runs name
// them by ID.
func (t *Tenant) PolicyNames(ctx context.Context) (map[tenantry.PolicyID]string, error) {
	var found []struct {
		ID   tenantry.PolicyID
		Name string
	}
	err := t.c.read(ctx, "list names of policies of tenant "+string(t.id), &found, "SELECT id, name FROM policies WHERE tenant = ?", t.id)
	names := make(map[tenantry.PolicyID]string, len(found))
	for _, row := range found {
		names[row.ID] = row.Name
	}
	return names, err
}

// BackupOptions are what the policy that protects a workload of a resource wants of its
// backups, whoever starts them. Without a policy it is the usual.
func (t *Tenant) BackupOptions(ctx context.Context, r Resource, w tenantry.Workload) (tenantry.BackupOptions, error) {
	var found []string
	err := t.c.read(ctx, "read backup options of tenant "+string(t.id), &found, `
		SELECT l.options FROM protections p JOIN policies l ON l.tenant = p.tenant AND l.id = p.policy
		WHERE p.tenant = ? AND l.tenant = ? AND p.resource = ? AND p.workload = ?`, t.id, t.id, r.ID, w)
	var o tenantry.BackupOptions
	for _, options := range found {
		o = o.With(decodeOptions(options))
	}
	return o, err
}

func encodeOptions(o tenantry.BackupOptions) string {
	if o == (tenantry.BackupOptions{}) {
		return ""
	}
	text, _ := json.Marshal(o) // numbers
	return string(text)
}

// decodeOptions reads a policy's options. What cannot be read is the usual.
func decodeOptions(text string) tenantry.BackupOptions {
	var o tenantry.BackupOptions
	if text != "" && json.Unmarshal([]byte(text), &o) != nil {
		o = tenantry.BackupOptions{}
	}
	return o
}

// DeletePolicy removes a policy; what it protected is protected by another policy that has
// taken it in, or by none. Tasks already started go on; runs and snapshots stay, and so
// does the policy's name for them. NotFound.
func (t *Tenant) DeletePolicy(ctx context.Context, id tenantry.PolicyID, now time.Time) error {
	op := fmt.Sprintf("delete policy %s of tenant %s", id, t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		// Without kinds it covers nobody for a program of the last release either.
		n, err := exec(ctx, tx, `UPDATE policies SET state = 'deleted', kinds = '', next_enrol_at = 0
			WHERE tenant = ? AND id = ? AND state <> 'deleted'`, t.id, id)
		if err == nil && n == 0 {
			return noPolicy(op)
		}
		if err != nil {
			return err
		}
		for _, table := range []bun.Safe{"policy_targets", "policy_members", "protections"} {
			if _, err := exec(ctx, tx, "DELETE FROM ? WHERE tenant = ? AND policy = ?", table, t.id, id); err != nil {
				return err
			}
		}
		if err := t.forgetMembers(ctx, tx); err != nil {
			return err
		}
		return t.enrolAll(ctx, tx, nil, now)
	})
}

// PolicyTargets lists the enrolled (resource, workload) pairs of a policy whose resource
// is active, as backups to start, by ascending resource. NotFound.
func (t *Tenant) PolicyTargets(ctx context.Context, id tenantry.PolicyID) ([]NewTask, error) {
	if _, err := t.Policy(ctx, id); err != nil {
		return nil, err
	}
	var found []struct {
		Resource tenantry.ResourceID
		Workload tenantry.Workload
	}
	err := t.c.read(ctx, fmt.Sprintf("list targets of policy %s of tenant %s", id, t.id), &found, `
		SELECT p.resource, p.workload FROM protections p
		JOIN resources r ON r.tenant = p.tenant AND r.id = p.resource
		WHERE p.tenant = ? AND r.tenant = ? AND p.policy = ? AND r.state = ?
		ORDER BY p.resource, p.workload`, t.id, t.id, id, tenantry.Active)
	if err != nil {
		return nil, err
	}
	out := make([]NewTask, len(found))
	for i, target := range found {
		out[i] = NewTask{Resource: target.Resource, Workload: target.Workload, Action: tenantry.Backup}
	}
	return out, nil
}

// CountProtections counts what each policy of the tenant protects, by workload.
func (t *Tenant) CountProtections(ctx context.Context) (map[tenantry.PolicyID]map[tenantry.Workload]int64, error) {
	var found []struct {
		Policy   tenantry.PolicyID
		Workload tenantry.Workload
		N        int64
	}
	err := t.c.read(ctx, "count protections of tenant "+string(t.id), &found,
		"SELECT policy, workload, count(*) AS n FROM protections WHERE tenant = ? GROUP BY policy, workload", t.id)
	counts := map[tenantry.PolicyID]map[tenantry.Workload]int64{}
	for _, row := range found {
		if counts[row.Policy] == nil {
			counts[row.Policy] = map[tenantry.Workload]int64{}
		}
		counts[row.Policy][row.Workload] = row.N
	}
	return counts, err
}
