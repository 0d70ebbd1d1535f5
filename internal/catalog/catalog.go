// Package catalog owns what to do and what happened, in SQL: tenants, resources,
// policies, runs, tasks, leases, tokens, audit. One set of queries runs on SQLite
// (embedded) and Postgres (the fleet).
// (CONTRACT FILE: signatures first, to be filled in.)
//
// Scope: Catalog.Tenant returns a handle whose every statement carries the tenant
// in its WHERE; Catalog.Fleet serves the leader, the reaper and the operator.
// Times are stored as integer microseconds UTC.
//
// State machine of a task:
//
//	ready -> admitted      leader, raises admission
//	admitted -> running    worker's claim, guarded by (id, admission, state)
//	admitted -> ready      nobody claimed it and asynq lost or settled the delivery
//	running -> ready       more to do; parked until not_before with a reason; retry; its process died
//	running -> done | failed
//	ready | admitted -> canceled
package catalog

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Catalog is an open database. Safe for concurrent use, like its handles.
type Catalog struct{}

// Open opens "sqlite:PATH" or "postgres://..." and migrates it to the current schema
// (safe when several processes start at once). Errors are kind Shared, or Invalid for a bad DSN.
func Open(ctx context.Context, dsn string) (*Catalog, error) { panic("contract") }
func (c *Catalog) Close() error                              { panic("contract") }
func (c *Catalog) Ping(ctx context.Context) error            { panic("contract") }
func (c *Catalog) Tenant(id tenantry.TenantID) *Tenant       { panic("contract") }
func (c *Catalog) Fleet() *Fleet                             { panic("contract") }

// Tenant is the handle for one tenant. Fleet is the handle over all.
type Tenant struct{}
type Fleet struct{}

// ---- rows ----

type TenantRow struct {
	ID                                       tenantry.TenantID
	Name                                     string
	Directory                                string // expected Microsoft tenant: GUID or domain, given when added
	DirectoryID                              string // proved Microsoft tenant GUID, "" before connect
	State                                    tenantry.TenantState
	Reason                                   string    // of the state, for a person
	Weight                                   int       // service level, 1..100, default 10
	Licences                                 int64     // from the directory sync, sizes the SharePoint budget
	Users                                    int64     // number of directory users, sizes the identity budget
	AddedAt, StateAt, LastSyncAt, NextSyncAt time.Time // zero = never
}

type Resource struct {
	ID            tenantry.ResourceID
	Kind          tenantry.ResourceKind
	ObjectID      string // Entra object ID or full SharePoint site ID
	Name, Address string // display name; user principal name, mail or web URL
	MailboxKind   string // user, shared, room, equipment; "" unknown
	Licensed      bool
	State         tenantry.LifeState
	StateAt       time.Time
	Workloads     []tenantry.Workload // what it can have
}

type Policy struct {
	ID        tenantry.PolicyID
	Name      string
	Kinds     []tenantry.ResourceKind // all resources of these kinds, with automatic enrolment; now: user
	Workloads []tenantry.Workload
	At        int    // minute of the local day at which the window opens, 0..1439
	Window    int    // minutes over which starts are spread, 1..1440
	TimeZone  string // IANA name
	CreatedAt time.Time
}

type RunState string // running, done, failed (no task succeeded), partial
const (
	RunRunning RunState = "running"
	RunDone    RunState = "done"
	RunPartial RunState = "partial"
	RunFailed  RunState = "failed"
)

type Run struct {
	ID                  tenantry.RunID
	Tenant              tenantry.TenantID
	Policy              tenantry.PolicyID // "" for manual and system runs
	Action              tenantry.Action
	Trigger             string // schedule, manual, system
	State               RunState
	Tasks, Done, Failed int64
	Counts              tenantry.Counts
	CreatedAt, EndedAt  time.Time
}

type TaskState string

const (
	TaskReady    TaskState = "ready"
	TaskAdmitted TaskState = "admitted"
	TaskRunning  TaskState = "running"
	TaskDone     TaskState = "done"
	TaskFailed   TaskState = "failed"
	TaskCanceled TaskState = "canceled"
)

type Task struct {
	ID                            tenantry.TaskID
	Run                           tenantry.RunID
	Tenant                        tenantry.TenantID
	Resource                      tenantry.ResourceID // "" for connect and sync
	Workload                      tenantry.Workload
	Action                        tenantry.Action
	Queue                         string // queue.Interactive ...
	State                         TaskState
	Admission                     int64
	Attempt                       int       // failures so far, reset by progress
	NotBefore                     time.Time // parked or backing off until
	Reason                        string    // why parked, failed, or ended without data
	Kind                          tenantry.Kind
	Params                        []byte // JSON of the action (RestoreParams, SyncParams), never secrets
	Counts                        tenantry.Counts
	Snapshot                      int64 // sealed by this task, 0 none
	Process                       tenantry.ProcessID
	CreatedAt, StartedAt, EndedAt time.Time
}

func (t Task) Series() tenantry.Series {
	return tenantry.Series{Tenant: t.Tenant, Resource: t.Resource, Workload: t.Workload}
}

// NewTask is a task to insert. Queue "" means the default of its action and trigger.
type NewTask struct {
	Resource tenantry.ResourceID
	Workload tenantry.Workload
	Action   tenantry.Action
	Queue    string
	Params   []byte
}

type SnapshotRow struct {
	Series tenantry.Series
	Seq    int64
	Time   time.Time
	Task   tenantry.TaskID
	Counts tenantry.Counts
}

// Claim is a task owned by this process, with its series' epoch (0 for tasks that write no series).
type Claim struct {
	Task
	Epoch int64
}

// Settlement says what becomes of a claimed task.
type Settlement struct {
	State     TaskState // TaskDone, TaskFailed, or TaskReady (more, parked, retry)
	NotBefore time.Time
	Reason    string
	Kind      tenantry.Kind
	Attempt   int
	Counts    tenantry.Counts
	Snapshot  *SnapshotRow // recorded in the same transaction
	Problems  []Problem    // appended to the task's report (at most 100 kept per task)
}

type Problem struct{ ItemID, Name, Reason string }

// ---- tenant scope ----

func (t *Tenant) Get(ctx context.Context) (TenantRow, error) { panic("contract") } // NotFound
func (t *Tenant) SetState(ctx context.Context, s tenantry.TenantState, reason string) error {
	panic("contract")
}
func (t *Tenant) SetDirectoryID(ctx context.Context, directoryID string) error { panic("contract") }
func (t *Tenant) SetSize(ctx context.Context, users, licences int64) error     { panic("contract") }
func (t *Tenant) SyncDone(ctx context.Context, at, next time.Time) error       { panic("contract") }

// StartConsent stores the hash of a one-time state that expires; UseConsent (fleet) burns it.
func (t *Tenant) StartConsent(ctx context.Context, stateHash string, expires time.Time) error {
	panic("contract")
}

// ResourceFilter narrows a listing. Zero fields do not narrow. Paged by ascending ID.
type ResourceFilter struct {
	Kind  tenantry.ResourceKind
	State tenantry.LifeState
	After tenantry.ResourceID
	Limit int // default 100, at most 1000
}

func (t *Tenant) Resources(ctx context.Context, f ResourceFilter) ([]Resource, error) {
	panic("contract")
}
func (t *Tenant) Resource(ctx context.Context, id tenantry.ResourceID) (Resource, error) {
	panic("contract")
}

// SyncLink is the stored delta link of users, groups or sites ("" before the first round).
func (t *Tenant) SyncLink(ctx context.Context, kind tenantry.ResourceKind) (link string, at time.Time, err error) {
	panic("contract")
}

// ApplySync stores changed resources and the link that follows them in one transaction,
// and enrols resources that became active in the tenant's policies (and un-enrols inactive and gone ones).
func (t *Tenant) ApplySync(ctx context.Context, kind tenantry.ResourceKind, changed []Resource, link string, now time.Time) error {
	panic("contract")
}

func (t *Tenant) AddPolicy(ctx context.Context, p Policy, now time.Time) error     { panic("contract") } // enrols what exists
func (t *Tenant) Policies(ctx context.Context) ([]Policy, error)                   { panic("contract") }
func (t *Tenant) Policy(ctx context.Context, id tenantry.PolicyID) (Policy, error) { panic("contract") }
func (t *Tenant) DeletePolicy(ctx context.Context, id tenantry.PolicyID) error     { panic("contract") }

// PolicyTargets lists the enrolled (resource, workload) pairs of a policy whose resource is active.
func (t *Tenant) PolicyTargets(ctx context.Context, id tenantry.PolicyID) ([]NewTask, error) {
	panic("contract")
}

// StartRun inserts a run and its tasks, ready. A backup of a series that has a task ready or
// running already is not inserted twice; when nothing is left, Conflict names why.
func (t *Tenant) StartRun(ctx context.Context, action tenantry.Action, trigger string, policy tenantry.PolicyID, tasks []NewTask, now time.Time) (Run, error) {
	panic("contract")
}
func (t *Tenant) Run(ctx context.Context, id tenantry.RunID) (Run, error) { panic("contract") }
func (t *Tenant) Runs(ctx context.Context, before tenantry.RunID, limit int) ([]Run, error) {
	panic("contract")
} // newest first
func (t *Tenant) Tasks(ctx context.Context, run tenantry.RunID, after tenantry.TaskID, limit int) ([]Task, error) {
	panic("contract")
}
func (t *Tenant) Task(ctx context.Context, id tenantry.TaskID) (Task, error) { panic("contract") }
func (t *Tenant) Problems(ctx context.Context, id tenantry.TaskID) ([]Problem, error) {
	panic("contract")
}
func (t *Tenant) CancelRun(ctx context.Context, id tenantry.RunID, now time.Time) error {
	panic("contract")
} // ready and admitted tasks only

func (t *Tenant) Snapshots(ctx context.Context, resource tenantry.ResourceID, w tenantry.Workload, beforeSeq int64, limit int) ([]SnapshotRow, error) {
	panic("contract")
} // newest first

// Claim takes an admitted task for a live process, guarded by (id, admission, admitted), and its
// series: epoch = stored epoch + 1. Conflict: the delivery is stale, drop it. Busy series: the task
// goes back to ready with a short not_before, error kind Transient.
func (t *Tenant) Claim(ctx context.Context, id tenantry.TaskID, admission int64, p tenantry.ProcessID) (Claim, error) {
	panic("contract")
}

// RaiseEpoch lifts the epoch of a claimed series above the bucket's head. Fenced if no longer owner.
func (t *Tenant) RaiseEpoch(ctx context.Context, c Claim, above int64) (epoch int64, err error) {
	panic("contract")
}

// Progress updates counts of a running claim. Fenced if no longer owner.
func (t *Tenant) Progress(ctx context.Context, c Claim, counts tenantry.Counts) error {
	panic("contract")
}

// Settle ends a claim: task row, series owner, run aggregates, snapshot mirror, in one transaction. Fenced if no longer owner.
func (t *Tenant) Settle(ctx context.Context, c Claim, s Settlement, now time.Time) error {
	panic("contract")
}

// ---- fleet scope ----

func (f *Fleet) AddTenant(ctx context.Context, t TenantRow) error { panic("contract") } // Conflict: Directory already there
func (f *Fleet) Tenants(ctx context.Context, after tenantry.TenantID, limit int) ([]TenantRow, error) {
	panic("contract")
}
func (f *Fleet) UseConsent(ctx context.Context, stateHash string, now time.Time) (tenantry.TenantID, error) {
	panic("contract")
} // NotFound: unknown, used, expired

func (f *Fleet) AddToken(ctx context.Context, name, hash string, now time.Time) error {
	panic("contract")
}
func (f *Fleet) TokenName(ctx context.Context, hash string) (string, error) { panic("contract") } // Unauthorized
func (f *Fleet) CountTokens(ctx context.Context) (int, error)               { panic("contract") }
func (f *Fleet) Audit(ctx context.Context, at time.Time, actor, tenant, action, detail string) error {
	panic("contract")
}

// Lead takes or renews the leader lease. The fence rises with every change of leader. ok=false: somebody else leads.
// The database's clock decides.
func (f *Fleet) Lead(ctx context.Context, p tenantry.ProcessID, ttl time.Duration) (fence int64, ok bool, err error) {
	panic("contract")
}
func (f *Fleet) Resign(ctx context.Context, p tenantry.ProcessID) error { panic("contract") }

// Beat renews a process lease (creating it). Reap expires processes and returns their tasks to ready (series released); counts them.
func (f *Fleet) Beat(ctx context.Context, p Process, ttl time.Duration) error { panic("contract") }
func (f *Fleet) Leave(ctx context.Context, p tenantry.ProcessID) error        { panic("contract") } // at a clean stop: as Reap for this one
func (f *Fleet) Reap(ctx context.Context) (tasks int, err error)              { panic("contract") }
func (f *Fleet) Processes(ctx context.Context) ([]Process, error)             { panic("contract") }

type Process struct {
	ID    tenantry.ProcessID
	Role  string         // worker, scheduler
	Slots map[string]int // per queue
}

// Due lists protections whose time has come, and tenants whose sync has.
type Due struct {
	Tenant    tenantry.TenantID
	Policy    tenantry.PolicyID
	Resource  tenantry.ResourceID
	Workload  tenantry.Workload
	DueAt     time.Time
	Next      time.Time // to be filled by the caller
	PolicyRow Policy
}

func (f *Fleet) Due(ctx context.Context, now time.Time, limit int) ([]Due, error) { panic("contract") }
func (f *Fleet) DueSyncs(ctx context.Context, now time.Time, limit int) ([]tenantry.TenantID, error) {
	panic("contract")
} // connected tenants
// Start inserts tasks for what is due (one run per policy, UTC day of DueAt) and moves next_due_at, guarded by
// the leader's fence (Fenced) and by the old DueAt. A series with an unfinished backup only moves on.
func (f *Fleet) Start(ctx context.Context, fence int64, due []Due, now time.Time) (tasks int, err error) {
	panic("contract")
}

// StartSync inserts the sync run of tenants that are due, guarded likewise, unless one is unfinished.
func (f *Fleet) StartSync(ctx context.Context, fence int64, ids []tenantry.TenantID, next, now time.Time) (int, error) {
	panic("contract")
}

// Load is what the dispatcher knows of one tenant and queue.
type Load struct {
	Tenant   tenantry.TenantID
	Queue    string
	Weight   int
	Ready    int     // admissible now (not_before passed, series free)
	InFlight int     // admitted + running
	Virtual  float64 // virtual time spent so far, kept over leader changes
}

func (f *Fleet) Loads(ctx context.Context, now time.Time) ([]Load, error) { panic("contract") }

// Pick is so many tasks of one tenant and queue to admit, oldest first.
type Pick struct {
	Tenant  tenantry.TenantID
	Queue   string
	N       int
	Virtual float64 // new virtual time of the tenant
}

// Admit marks tasks admitted and raises their admission, in one transaction guarded by the fence. Returns them for enqueueing.
func (f *Fleet) Admit(ctx context.Context, fence int64, picks []Pick, now time.Time) ([]Task, error) {
	panic("contract")
}

// Unclaimed lists tasks admitted before t and not claimed.
func (f *Fleet) Unclaimed(ctx context.Context, before time.Time, limit int) ([]Task, error) {
	panic("contract")
}

// Readmit raises the admission of a task whose delivery was lost or settled in asynq; the guard is the old number.
func (f *Fleet) Readmit(ctx context.Context, fence int64, id tenantry.TaskID, admission int64, now time.Time) (Task, error) {
	panic("contract")
}

// NextReady is the earliest not_before in the future among ready tasks, or the next due time; zero if none: when to look again.
func (f *Fleet) NextReady(ctx context.Context, now time.Time) (time.Time, error) { panic("contract") }

// Pause stops admission for a shared cause with one alarm; Resume lifts it. Paused lists causes in force.
func (f *Fleet) Pause(ctx context.Context, cause, detail string, until, now time.Time) error {
	panic("contract")
}
func (f *Fleet) Resume(ctx context.Context, cause string) error             { panic("contract") }
func (f *Fleet) Paused(ctx context.Context, now time.Time) ([]Alarm, error) { panic("contract") }

type Alarm struct {
	Cause, Detail string // cause: credential, bucket, redis, graph, key
	Since, Until  time.Time
	Times         int
}

// Partitions makes task partitions ahead of now and drops those whose every task is older than keep and ended.
func (f *Fleet) Partitions(ctx context.Context, now time.Time, keep time.Duration) error {
	panic("contract")
}

// SaveMirror and LoadMirror keep a small JSON document by name (throttle counters) so that losing Redis loses no count.
func (f *Fleet) SaveMirror(ctx context.Context, name string, doc []byte, now time.Time) error {
	panic("contract")
}
func (f *Fleet) LoadMirror(ctx context.Context, name string) (doc []byte, at time.Time, err error) {
	panic("contract")
}

// Wake tells the leader that there is something to do; Wakes receives (Postgres: NOTIFY; SQLite: a channel in this process,
// and a poll of a counter once a second for other processes). Wakes coalesce.
func (f *Fleet) Wake(ctx context.Context) error                     { panic("contract") }
func (f *Fleet) Wakes(ctx context.Context) (<-chan struct{}, error) { panic("contract") }
