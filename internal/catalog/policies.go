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

// Policy is a protection plan of a tenant: which resources, which workloads, when.
type Policy struct {
	ID        tenantry.PolicyID
	Name      string
	Kinds     []tenantry.ResourceKind // all resources of these kinds, with automatic enrolment; now: user
	Workloads []tenantry.Workload
	At        int    // minute of the local day at which the window opens, 0..1439
	Window    int    // minutes over which starts are spread, 1..1440
	TimeZone  string // IANA name
	CreatedAt time.Time
	Retention tenantry.Retention // which snapshots are kept
	Options   tenantry.BackupOptions
}

func (p Policy) validate() error {
	_, zoneErr := location(p.TimeZone)
	switch {
	case p.ID == "":
		return tenantry.Errorf(tenantry.Invalid, "policy: id is empty")
	case p.Name == "":
		return tenantry.Errorf(tenantry.Invalid, "policy: name is empty")
	case len(p.Kinds) == 0:
		return tenantry.Errorf(tenantry.Invalid, "policy: kinds is empty")
	case len(p.Workloads) == 0:
		return tenantry.Errorf(tenantry.Invalid, "policy: workloads is empty")
	case p.At < 0 || p.At > 1439:
		return tenantry.Errorf(tenantry.Invalid, "policy: at %d is not in 0..1439", p.At)
	case p.Window < 1 || p.Window > 1440:
		return tenantry.Errorf(tenantry.Invalid, "policy: window %d is not in 1..1440", p.Window)
	case p.TimeZone == "" || p.TimeZone == "Local" || zoneErr != nil:
		return tenantry.Errorf(tenantry.Invalid, "policy: time_zone %q is no IANA name", p.TimeZone)
	}
	if err := p.Options.Validate(); err != nil {
		return err
	}
	return p.Retention.Validate()
}

type policyRow struct {
	bun.BaseModel `bun:"table:policies"`

	Tenant    tenantry.TenantID
	ID        tenantry.PolicyID
	Name      string
	Kinds     string
	Workloads string
	AtMinute  int
	WindowLen int
	TimeZone  string
	CreatedAt int64
	Retention string
	Options   string
}

const policyColumns bun.Safe = "tenant, id, name, kinds, workloads, at_minute, window_len, time_zone, created_at, retention, options"

func (r policyRow) policy() Policy {
	return Policy{
		ID: r.ID, Name: r.Name, Kinds: split[tenantry.ResourceKind](r.Kinds), Workloads: split[tenantry.Workload](r.Workloads),
		At: r.AtMinute, Window: r.WindowLen, TimeZone: r.TimeZone, CreatedAt: fromMicros(r.CreatedAt),
		Retention: decodeRetention(r.Retention), Options: decodeOptions(r.Options),
	}
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

// AddPolicy stores a policy and enrols every active resource of its kinds; each is due at
// its next slot after now. Invalid names the field; Conflict: the ID is there; NotFound:
// no such tenant.
func (t *Tenant) AddPolicy(ctx context.Context, p Policy, now time.Time) error {
	if err := p.validate(); err != nil {
		return err
	}
	if p.CreatedAt.IsZero() {
		p.CreatedAt = now
	}
	row := &policyRow{
		Tenant: t.id, ID: p.ID, Name: p.Name, Kinds: join(p.Kinds), Workloads: join(p.Workloads),
		AtMinute: p.At, WindowLen: p.Window, TimeZone: p.TimeZone, CreatedAt: micros(p.CreatedAt),
		Retention: encodeRetention(p.Retention), Options: encodeOptions(p.Options),
	}
	op := fmt.Sprintf("add policy %s of tenant %s", p.ID, t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return err
		}
		return t.enrolAll(ctx, tx, p.Kinds, now)
	})
}

// Policies lists the tenant's policies by ascending ID.
func (t *Tenant) Policies(ctx context.Context) ([]Policy, error) {
	return t.policies(ctx, "list policies of tenant "+string(t.id), t.c.reader)
}

func (t *Tenant) policies(ctx context.Context, op string, db bun.IDB) ([]Policy, error) {
	var found []policyRow
	if err := db.NewRaw("SELECT ? FROM policies WHERE tenant = ? ORDER BY id", policyColumns, t.id).Scan(ctx, &found); err != nil {
		return nil, wrap(op, err)
	}
	out := make([]Policy, len(found))
	for i, row := range found {
		out[i] = row.policy()
	}
	return out, nil
}

// Policy reads one policy. NotFound.
func (t *Tenant) Policy(ctx context.Context, id tenantry.PolicyID) (Policy, error) {
	var found []policyRow
	op := fmt.Sprintf("read policy %s of tenant %s", id, t.id)
	if err := t.c.read(ctx, op, &found, "SELECT ? FROM policies WHERE tenant = ? AND id = ?", policyColumns, t.id, id); err != nil {
		return Policy{}, err
	}
	if len(found) == 0 {
		return Policy{}, noPolicy(op)
	}
	return found[0].policy(), nil
}

func noPolicy(op string) error {
	return tenantry.Errorf(tenantry.NotFound, "%s: there is no such policy", op)
}

// BackupOptions are what the policies that protect a workload of a resource want of its backups, taken
// together: a series is the same whichever of them starts the backup, or who.
func (t *Tenant) BackupOptions(ctx context.Context, r Resource, w tenantry.Workload) (tenantry.BackupOptions, error) {
	var o tenantry.BackupOptions
	policies, err := t.Policies(ctx)
	for _, p := range policies {
		if slices.Contains(p.Kinds, r.Kind) && slices.Contains(p.Workloads, w) {
			o = o.With(p.Options)
		}
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

// DeletePolicy removes a policy and its protections. Tasks already started go on; runs and
// snapshots stay. NotFound.
func (t *Tenant) DeletePolicy(ctx context.Context, id tenantry.PolicyID) error {
	op := fmt.Sprintf("delete policy %s of tenant %s", id, t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "DELETE FROM protections WHERE tenant = ? AND policy = ?", t.id, id); err != nil {
			return err
		}
		n, err := exec(ctx, tx, "DELETE FROM policies WHERE tenant = ? AND id = ?", t.id, id)
		if err == nil && n == 0 {
			return noPolicy(op)
		}
		return err
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

// protection is one workload of one resource under one policy of a tenant.
type protection struct {
	Policy   tenantry.PolicyID
	Resource tenantry.ResourceID
	Workload tenantry.Workload
}

// lockEnrolment keeps syncs and changes of policies of one tenant apart, so that a policy
// added during a sync misses nobody. SQLite has one writer anyway. NotFound: no such tenant.
func (t *Tenant) lockEnrolment(ctx context.Context, tx bun.Tx, op string) error {
	if t.c.postgres != nil {
		if _, err := exec(ctx, tx, "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", "enrolment "+string(t.id)); err != nil {
			return err
		}
	}
	return t.exists(ctx, tx, op)
}

// enrolAll brings the protections of all active resources of the kinds up to date.
func (t *Tenant) enrolAll(ctx context.Context, tx bun.Tx, kinds []tenantry.ResourceKind, now time.Time) error {
	policies, err := t.policies(ctx, "read policies", tx)
	if err != nil {
		return err
	}
	for after := tenantry.ResourceID(""); ; {
		var found []resourceRow
		err := scan(ctx, tx, &found, "SELECT ? FROM resources WHERE tenant = ? AND id > ? AND state = ? AND kind IN (?) ORDER BY id LIMIT ?",
			resourceColumns, t.id, after, tenantry.Active, bun.List(kinds), batch)
		if err != nil || len(found) == 0 {
			return err
		}
		if err := t.enrol(ctx, tx, policies, found, now); err != nil {
			return err
		}
		after = found[len(found)-1].ID
	}
}

// enrol makes the protections of the resources what the policies say: active ones have
// one per policy and enabled workload, with the next slot after now if it is new; others none.
func (t *Tenant) enrol(ctx context.Context, tx bun.Tx, policies []Policy, resources []resourceRow, now time.Time) error {
	resources, err := t.protectable(ctx, tx, resources)
	if err != nil {
		return err
	}
	wanted := wantedProtections(policies, resources, now)
	ids := make([]tenantry.ResourceID, len(resources))
	for i, resource := range resources {
		ids[i] = resource.ID
	}
	var present []protection
	err = scan(ctx, tx, &present, "SELECT policy, resource, workload FROM protections WHERE tenant = ? AND resource IN (?)", t.id, bun.List(ids))
	if err != nil {
		return err
	}
	var stale, fresh rows
	for _, p := range present {
		if _, ok := wanted[p]; !ok {
			stale = append(stale, []any{p.Policy, p.Resource, p.Workload})
		}
		delete(wanted, p)
	}
	for p, due := range wanted {
		fresh = append(fresh, []any{t.id, p.Policy, p.Resource, p.Workload, micros(due)})
	}
	for chunk := range slices.Chunk(stale, batch) {
		if _, err := exec(ctx, tx, "DELETE FROM protections WHERE tenant = ? AND (policy, resource, workload) IN (VALUES ?)", t.id, chunk); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(fresh, batch) {
		if _, err := exec(ctx, tx, "INSERT INTO protections (tenant, policy, resource, workload, next_due_at) VALUES ?", chunk); err != nil {
			return err
		}
	}
	return nil
}

func wantedProtections(policies []Policy, resources []resourceRow, now time.Time) map[protection]time.Time {
	wanted := map[protection]time.Time{}
	for _, resource := range resources {
		if resource.State != tenantry.Active {
			continue
		}
		has := split[tenantry.Workload](resource.Workloads)
		for _, p := range policies {
			if !slices.Contains(p.Kinds, resource.Kind) {
				continue
			}
			for _, w := range p.Workloads {
				if slices.Contains(has, w) {
					wanted[protection{p.ID, resource.ID, w}] = NextDue(p, resource.ID, w, now)
				}
			}
		}
	}
	return wanted
}
