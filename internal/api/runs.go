package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// problemTasks bounds the tasks that a run shows with their problems.
const problemTasks = 50

// Counts is progress in items and bytes.
type Counts struct {
	Items   int64 `json:"items" doc:"Items done"`
	Total   int64 `json:"total" doc:"Items expected, as far as folders say how many they have; 0 while unknown"`
	Skipped int64 `json:"skipped" doc:"Items that could not be saved or written, each with its reason"`
	Bytes   int64 `json:"bytes" doc:"Bytes read or written, before compression"`
	Stored  int64 `json:"stored" doc:"Bytes added to the bucket"`

	Found      int64 `json:"found,omitempty" doc:"Of a backup's progress: items that Microsoft has shown so far, done or not"`
	FoundBytes int64 `json:"found_bytes,omitempty" doc:"Of a backup's progress: bytes read, and those still to be read of items found, as far as their listing says how long they are"`
}

// Run is one execution of a policy, or one request of a person.
type Run struct {
	ID            tenantry.RunID    `json:"id"`
	Reference     string            `json:"reference,omitempty" doc:"By which people name it, on the phone: find-runs takes it" example:"4827-730-196"`
	Tenant        tenantry.TenantID `json:"tenant"`
	TenantName    string            `json:"tenant_name,omitempty" doc:"What people call the tenant"`
	Policy        tenantry.PolicyID `json:"policy,omitempty"`
	PolicyName    string            `json:"policy_name,omitempty" doc:"As it is called now, also when it was deleted"`
	Action        tenantry.Action   `json:"action" enum:"connect,sync,backup,restore,verify,prune,collect,export,patrol,repair,search"`
	Trigger       string            `json:"trigger" enum:"schedule,manual,system"`
	State         catalog.RunState  `json:"state" enum:"running,done,partial,failed,canceled" doc:"partial: some tasks succeeded; failed: none did, and some failed; canceled: all were canceled"`
	RetryOf       tenantry.RunID    `json:"retry_of,omitempty" doc:"The run whose failed tasks it tries again"`
	Tasks         int64             `json:"tasks" doc:"How many tasks it has"`
	TasksDone     int64             `json:"tasks_done"`
	TasksFailed   int64             `json:"tasks_failed"`
	TasksCanceled int64             `json:"tasks_canceled" doc:"Tasks that ended because it was canceled"`
	Progress      Counts            `json:"progress" doc:"Sum over its tasks"`
	CreatedAt     *time.Time        `json:"created_at,omitempty"`
	CanceledAt    *time.Time        `json:"canceled_at,omitempty" doc:"When somebody canceled it; what runs then commits what it has, and ends"`
	EndedAt       *time.Time        `json:"ended_at,omitempty"`
	Estimate      *Estimate         `json:"estimate,omitempty" doc:"On a single run that is under way: its rate, and when it may end"`
	// What went wrong is shown with a single run, not in listings.
	Problems     []TaskProblem `json:"problems,omitempty" nullable:"false" doc:"On a single run: its tasks that failed, wait, or ended without all their data, at most 50"`
	MoreProblems bool          `json:"more_problems,omitempty" doc:"There are more problems: see its tasks"`
	Delays       *Delays       `json:"delays,omitempty" doc:"On a single run: what its tasks waited for, as of their last slices"`
	Units        []Units       `json:"units,omitempty" nullable:"false" doc:"On a single run: what its requests to Microsoft cost"`
}

func runOf(r catalog.Run) Run {
	return Run{
		ID: r.ID, Reference: r.Reference.String(), Tenant: r.Tenant, Policy: r.Policy, PolicyName: r.PolicyName, Action: r.Action, Trigger: r.Trigger, State: r.State,
		RetryOf: r.RetryOf, Tasks: r.Tasks, TasksDone: r.Done, TasksFailed: r.Failed, TasksCanceled: r.Canceled, Progress: Counts(r.Counts),
		CreatedAt: when(r.CreatedAt), CanceledAt: when(r.CanceledAt), EndedAt: when(r.EndedAt),
	}
}

// TaskProblem says why a task failed, waits, or could not take everything.
type TaskProblem struct {
	Task         tenantry.TaskID     `json:"task"`
	Resource     tenantry.ResourceID `json:"resource,omitempty"`
	ResourceName string              `json:"resource_name,omitempty" doc:"What people call it"`
	Workload     tenantry.Workload   `json:"workload,omitempty"`
	State        catalog.TaskState   `json:"state" enum:"ready,admitted,running,done,failed,canceled"`
	Kind         tenantry.Kind       `json:"kind,omitempty" doc:"Kind of error: what to do next"`
	Reason       string              `json:"reason,omitempty"`
	Skipped      int64               `json:"skipped" doc:"Items it could not take: the task names up to 100"`
	NextTry      *time.Time          `json:"next_try,omitempty" doc:"When it is tried again, if it waits"`
}

// Task is one workload to back up, restore or verify, or one step for a tenant.
type Task struct {
	ID           tenantry.TaskID     `json:"id"`
	Run          tenantry.RunID      `json:"run"`
	Resource     tenantry.ResourceID `json:"resource,omitempty"`
	ResourceName string              `json:"resource_name,omitempty" doc:"What people call it"`
	Workload     tenantry.Workload   `json:"workload,omitempty"`
	Action       tenantry.Action     `json:"action" enum:"connect,sync,backup,restore,verify,prune,collect,export,patrol,repair,search"`
	Queue        string              `json:"queue"`
	State        catalog.TaskState   `json:"state" enum:"ready,admitted,running,done,failed,canceled"`
	Attempt      int                 `json:"attempt" doc:"Failures since the last progress"`
	NotBefore    *time.Time          `json:"not_before,omitempty" doc:"Waits until then"`
	Kind         tenantry.Kind       `json:"kind,omitempty" doc:"Kind of the last error"`
	Reason       string              `json:"reason,omitempty" doc:"Why it waits, failed, or ended without data"`
	Progress     Counts              `json:"progress"`
	Delays       *Delays             `json:"delays,omitempty" doc:"What it waited for, as of its last slice"`
	Snapshot     int64               `json:"snapshot,omitempty" doc:"Sequence number of the snapshot it sealed"`
	Process      tenantry.ProcessID  `json:"process,omitempty" doc:"The worker that has it"`
	CreatedAt    *time.Time          `json:"created_at,omitempty"`
	StartedAt    *time.Time          `json:"started_at,omitempty"`
	EndedAt      *time.Time          `json:"ended_at,omitempty"`
	Estimate     *Estimate           `json:"estimate,omitempty" doc:"On a single task that is under way: its rate, and when it may end"`
	Problems     []ItemProblem       `json:"problems,omitempty" nullable:"false" doc:"On a single task: items it could not take, at most 100; progress.skipped counts them all"`
}

func taskOf(t catalog.Task) Task {
	return Task{
		ID: t.ID, Run: t.Run, Resource: t.Resource, Workload: t.Workload, Action: t.Action, Queue: t.Queue,
		State: t.State, Attempt: t.Attempt, NotBefore: when(t.NotBefore), Kind: t.Kind, Reason: t.Reason,
		Progress: Counts(t.Counts), Delays: delaysOf(t.Delays), Snapshot: t.Snapshot, Process: t.Process,
		CreatedAt: when(t.CreatedAt), StartedAt: when(t.StartedAt), EndedAt: when(t.EndedAt),
	}
}

// ItemProblem is one item that could not be saved or written.
type ItemProblem struct {
	Item     string        `json:"item"`
	Name     string        `json:"name,omitempty"`
	Reason   string        `json:"reason"`
	Kind     tenantry.Kind `json:"kind,omitempty" doc:"Class of the reason: poison cannot be read for good, denied is refused, not_found is gone, transient and throttled pass, corrupt is damaged, conflict changed under way"`
	Since    *time.Time    `json:"since,omitempty" doc:"Of a backup: since when it fails for this reason"`
	LastGood int64         `json:"last_good,omitempty" doc:"Of a backup: a snapshot that has its last good version; absent if none has, or it is not known which"`
	Retry    string        `json:"retry,omitempty" enum:"next_backup,when_changed" doc:"Of a backup: what asks for it again"`
	NextTry  *time.Time    `json:"next_try,omitempty" doc:"When that is, as far as it is due: the next slice of the task, or the next backup"`
}

func itemProblem(p catalog.Problem, task catalog.Task, next time.Time) ItemProblem {
	out := ItemProblem{Item: p.ItemID, Name: p.Name, Reason: p.Reason, Kind: p.Kind, Since: when(p.Since), LastGood: p.Snapshot}
	switch {
	case task.Action != tenantry.Backup:
	case p.Again:
		out.Retry, out.NextTry = "next_backup", when(next)
	default:
		out.Retry = "when_changed"
	}
	return out
}

// NewRun starts backups now: those of a policy, or of named resources.
type NewRun struct {
	Policy    tenantry.PolicyID     `json:"policy,omitempty" maxLength:"64" example:"p-7e414afcae64c238" doc:"All targets of this policy"`
	Resources []tenantry.ResourceID `json:"resources,omitempty" nullable:"false" maxItems:"500" uniqueItems:"true" doc:"Or these resources"`
	Workloads []tenantry.Workload   `json:"workloads,omitempty" nullable:"false" maxItems:"5" enum:"mailbox,drive,site,group,team" uniqueItems:"true" doc:"With resources: only these workloads; without it what each resource has"`
}

type startRunInput struct {
	TenantPath
	Body NewRun
}

func (in *startRunInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

type listRunsInput struct {
	TenantPath
	PageQuery
	Action tenantry.Action   `query:"action" enum:"connect,sync,backup,restore,verify,prune,collect,export,patrol,repair,search" doc:"Only runs of this kind"`
	State  catalog.RunState  `query:"state" enum:"running,done,partial,failed,canceled" doc:"Only runs that stand so"`
	Policy tenantry.PolicyID `query:"policy" maxLength:"64" doc:"Only runs of this policy"`
}

type runInput struct{ RunPath }

type steerRunInput struct{ RunPath }

func (in *steerRunInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Run }

type findRunsInput struct {
	Reference string `query:"reference" required:"true" minLength:"10" maxLength:"40" doc:"As it was said or written: dashes, dots and spaces do not matter" example:"4827-730-196"`
}

type listTasksInput struct {
	RunPath
	PageQuery
}

type taskInput struct {
	RunPath
	Task tenantry.TaskID `path:"task" maxLength:"64" doc:"ID of the task"`
}

func (s *service) runRoutes() {
	const tag, all, one = "runs", "/v1/tenants/{tenant}/runs", "/v1/tenants/{tenant}/runs/{run}"
	write(s, post(http.StatusCreated, "start-run", tag, all, "Back up now: a policy's targets, or named resources"), s.startRun)
	read(s, get("list-runs", tag, all, "List the runs of a tenant, newest first"), s.listRuns)
	read(s, get("get-run", tag, one, "Show a run: state, progress, problems"), s.getRun)
	write(s, post(http.StatusOK, "cancel-run", tag, one+"/cancel", "Cancel a run: what waits ends at once, what runs commits what it has and ends"), s.cancelRun)
	write(s, post(http.StatusCreated, "retry-run", tag, one+"/retry", "Start a run of the tasks of an ended run that failed, and of no others"), s.retryRun)
	read(s, get("find-runs", tag, "/v1/runs", "Find a run by its reference"), s.findRuns)
	read(s, get("list-tasks", tag, one+"/tasks", "List the tasks of a run"), s.listTasks)
	read(s, get("list-failures", tag, one+"/failures", "List the items that a run could not take: why, their last good version, when they are tried again"), s.listFailures)
	read(s, get("get-task", tag, one+"/tasks/{task}", "Show a task, and the items it could not take"), s.getTask)
}

func (s *service) startRun(ctx context.Context, in *startRunInput) (*created[Run], error) {
	n := in.Body
	var wrong complaints
	if (n.Policy == "") == (len(n.Resources) == 0) {
		wrong.add(invalid("body.policy", n.Policy, "name either a policy or resources"))
	}
	if n.Policy != "" && len(n.Workloads) > 0 {
		wrong.add(invalid("body.workloads", n.Workloads, "a policy has its own workloads; name them with resources only"))
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	t, err := s.connected(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	targets, err := targets(ctx, t, n)
	if err != nil {
		return nil, err
	}
	return s.start(ctx, t, tenantry.Backup, n.Policy, targets)
}

// targets lists the backups that a request names.
func targets(ctx context.Context, t *catalog.Tenant, n NewRun) ([]catalog.NewTask, error) {
	if n.Policy == "" {
		return resourceTargets(ctx, t, n.Resources, n.Workloads)
	}
	if _, err := policyIn(ctx, t, n.Policy); err != nil {
		return nil, err
	}
	tasks, err := t.PolicyTargets(ctx, n.Policy)
	if err == nil && len(tasks) == 0 {
		err = tenantry.Errorf(tenantry.Conflict, "policy %q protects nothing yet: its workloads have to be enabled, and the tenant's next sync enrols its resources", n.Policy)
	}
	return tasks, err
}

func resourceTargets(ctx context.Context, t *catalog.Tenant, ids []tenantry.ResourceID, want []tenantry.Workload) ([]catalog.NewTask, error) {
	enabled, err := enabledIn(ctx, t)
	if err != nil {
		return nil, err
	}
	var wrong complaints
	for i, w := range want {
		if !enabled(w) {
			wrong.add(notEnabled(fmt.Sprintf("body.workloads[%d]", i), w))
		}
	}
	var tasks []catalog.NewTask
	for i, id := range ids {
		r, err := resourceIn(ctx, t, id)
		if err != nil && tenantry.KindOf(err) != tenantry.NotFound {
			return nil, err
		}
		field := fmt.Sprintf("body.resources[%d]", i)
		if err != nil {
			wrong.add(invalid(field, id, "the tenant has no such resource"))
			continue
		}
		workloads, err := toBackUp(r, field, want, enabled)
		wrong.add(err)
		for _, w := range workloads {
			tasks = append(tasks, catalog.NewTask{Resource: id, Workload: w, Action: tenantry.Backup})
		}
	}
	return tasks, wrong.err()
}

// toBackUp is what is to be backed up of a resource, of what is wanted, or of all that is enabled.
func toBackUp(r catalog.Resource, field string, want []tenantry.Workload, enabled func(tenantry.Workload) bool) ([]tenantry.Workload, error) {
	switch {
	case r.State != tenantry.Active:
		return nil, invalid(field, r.ID, "%q is %s in Microsoft 365 and cannot be backed up", r.Name, r.State)
	case len(want) == 0 && len(r.Workloads) == 0:
		return nil, invalid(field, r.ID, "%q has nothing that can be backed up", r.Name)
	case len(want) == 0:
		all := slices.DeleteFunc(slices.Clone(r.Workloads), func(w tenantry.Workload) bool { return !enabled(w) })
		if len(all) == 0 {
			return nil, notEnabled(field, r.Workloads...)
		}
		return all, nil
	}
	for _, w := range want {
		if !slices.Contains(r.Workloads, w) {
			return nil, invalid(field, r.ID, "%q has no %s", r.Name, w)
		}
	}
	return want, nil
}

// notEnabled refuses what the tenant has not enabled.
func notEnabled(field string, workloads ...tenantry.Workload) error {
	return invalid(field, workloads, "not enabled for this tenant, and nothing is protected before it is: enable the workload first")
}

// start inserts a run that a person asked for and wakes the leader.
func (s *service) start(ctx context.Context, t *catalog.Tenant, action tenantry.Action, policy tenantry.PolicyID, tasks []catalog.NewTask) (*created[Run], error) {
	for i := range tasks {
		tasks[i].Action = action
	}
	run, err := t.StartRun(ctx, action, catalog.TriggerManual, policy, tasks, s.Now())
	if err != nil {
		return nil, err
	}
	s.wake(ctx)
	return createdRun(run), nil
}

func createdRun(run catalog.Run) *created[Run] {
	return &created[Run]{fmt.Sprintf("/v1/tenants/%s/runs/%s", run.Tenant, run.ID), runOf(run)}
}

func (s *service) listRuns(ctx context.Context, in *listRunsInput) (*body[Page[Run]], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	only := catalog.RunFilter{Action: in.Action, State: in.State, Policy: in.Policy}
	rows, err := t.RunsOf(ctx, only, tenantry.RunID(in.After), in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, runOf, func(r catalog.Run) string { return string(r.ID) }), nil
}

// run is the gate of operations on one run of one tenant.
func (s *service) run(ctx context.Context, p RunPath) (*catalog.Tenant, catalog.Run, error) {
	t, _, err := s.tenant(ctx, p.Tenant)
	if err != nil {
		return nil, catalog.Run{}, err
	}
	r, err := t.Run(ctx, p.Run)
	if tenantry.KindOf(err) == tenantry.NotFound {
		err = tenantry.Errorf(tenantry.NotFound, "the tenant has no run %q", p.Run)
	}
	return t, r, err
}

func (s *service) getRun(ctx context.Context, in *runInput) (*body[Run], error) {
	t, row, err := s.run(ctx, in.RunPath)
	if err != nil {
		return nil, err
	}
	run, err := s.wholeRun(ctx, t, row)
	return &body[Run]{run}, err
}

// wholeRun is a run with what is shown of a single one.
func (s *service) wholeRun(ctx context.Context, t *catalog.Tenant, row catalog.Run) (Run, error) {
	tasks, err := t.RunProblems(ctx, row.ID, problemTasks+1)
	if err != nil {
		return Run{}, err
	}
	ledger, err := t.RunLedger(ctx, row.ID)
	if err != nil {
		return Run{}, err
	}
	run := runOf(row)
	if run.Estimate, err = s.estimate(ctx, t, row, ledger); err != nil {
		return Run{}, err
	}
	run.Delays, run.Units = delaysOf(ledger.Delays), unitsOf(ledger.Units)
	if run.MoreProblems = len(tasks) > problemTasks; run.MoreProblems {
		tasks = tasks[:problemTasks]
	}
	if err := explainSkipped(ctx, t, tasks); err != nil {
		return Run{}, err
	}
	for _, task := range tasks {
		problem := TaskProblem{
			Task: task.ID, Resource: task.Resource, Workload: task.Workload, State: task.State,
			Kind: task.Kind, Reason: task.Reason, Skipped: task.Counts.Skipped,
		}
		if task.State == catalog.TaskReady {
			problem.NextTry = when(task.NotBefore)
		}
		run.Problems = append(run.Problems, problem)
	}
	return run, nil
}

// explainSkipped gives tasks that ended well, but for items that they skipped, the reason of the first of those.
func explainSkipped(ctx context.Context, t *catalog.Tenant, tasks []catalog.Task) error {
	var silent []tenantry.TaskID
	for _, task := range tasks {
		if task.Reason == "" && task.Counts.Skipped > 0 {
			silent = append(silent, task.ID)
		}
	}
	first, err := t.FirstProblems(ctx, silent)
	if err != nil {
		return err
	}
	for i := range tasks {
		p, ok := first[tasks[i].ID]
		if !ok || tasks[i].Reason != "" {
			continue
		}
		tasks[i].Kind, tasks[i].Reason = cmp.Or(tasks[i].Kind, p.Kind), cmp.Or(p.Name, p.ItemID)+": "+p.Reason
		if more := tasks[i].Counts.Skipped - 1; more > 0 {
			tasks[i].Reason += fmt.Sprintf(" (and %d more)", more)
		}
	}
	return nil
}

// estimate looks ahead for a run that is under way; nil for any other.
func (s *service) estimate(ctx context.Context, t *catalog.Tenant, row catalog.Run, ledger catalog.Ledger) (*Estimate, error) {
	now := s.Now()
	e := estimateOf(row, now)
	if e == nil || e.Items == 0 {
		return e, nil
	}
	tenant, err := t.Get(ctx)
	if err != nil {
		return nil, err
	}
	e.allow(s.Limits, throttle.Size{Users: tenant.Users, Licences: tenant.Licences}, row, ledger.Units, now)
	return e, nil
}

func (s *service) cancelRun(ctx context.Context, in *steerRunInput) (*body[Run], error) {
	t, row, err := s.run(ctx, in.RunPath)
	if err != nil {
		return nil, err
	}
	if c := callerOf(ctx); !c.may(toRun) && !c.may(starts[row.Action]) {
		return nil, mayNotSteer(c, row.Action)
	}
	if row.State != catalog.RunRunning {
		return nil, tenantry.Errorf(tenantry.Conflict, "run %q has ended already: %s", row.ID, row.State)
	}
	if err := t.CancelRun(ctx, row.ID, s.Now()); err != nil {
		return nil, err
	}
	s.wake(ctx)
	row, err = t.Run(ctx, row.ID)
	return &body[Run]{runOf(row)}, err
}

func mayNotSteer(c caller, a tenantry.Action) error {
	return tenantry.Errorf(tenantry.Forbidden, "a token with the role %s may not start, cancel or retry a %s", c.role, a)
}

func (s *service) retryRun(ctx context.Context, in *steerRunInput) (*created[Run], error) {
	t, row, err := s.run(ctx, in.RunPath)
	if err != nil {
		return nil, err
	}
	if c := callerOf(ctx); !c.may(starts[row.Action]) {
		return nil, mayNotSteer(c, row.Action)
	}
	if row.Action == tenantry.Connect {
		return nil, tenantry.Errorf(tenantry.Conflict, "a consent is good for one try: ask for another consent URL")
	}
	run, err := t.RetryRun(ctx, row.ID, s.Now())
	if err != nil {
		return nil, err
	}
	s.wake(ctx)
	return createdRun(run), nil
}

func (s *service) findRuns(ctx context.Context, in *findRunsInput) (*body[Page[Run]], error) {
	r, err := tenantry.ParseReference(in.Reference)
	if err != nil {
		return nil, invalid("query.reference", in.Reference, "%v", err)
	}
	rows, err := s.Catalog.Fleet().RunsByReference(ctx, r, callerOf(ctx).tenant)
	if err != nil {
		return nil, err
	}
	return paged(rows, len(rows), runOf, nil), nil
}

func (s *service) listTasks(ctx context.Context, in *listTasksInput) (*body[Page[Task]], error) {
	t, row, err := s.run(ctx, in.RunPath)
	if err != nil {
		return nil, err
	}
	rows, err := t.Tasks(ctx, row.ID, tenantry.TaskID(in.After), in.Limit+1)
	if err == nil {
		err = explainSkipped(ctx, t, rows)
	}
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, taskOf, func(t catalog.Task) string { return string(t.ID) }), nil
}

func (s *service) getTask(ctx context.Context, in *taskInput) (*body[Task], error) {
	t, run, err := s.run(ctx, in.RunPath)
	if err != nil {
		return nil, err
	}
	row, err := t.Task(ctx, in.Task)
	if tenantry.KindOf(err) == tenantry.NotFound || (err == nil && row.Run != run.ID) {
		return nil, tenantry.Errorf(tenantry.NotFound, "the run has no task %q", in.Task)
	}
	if err != nil {
		return nil, err
	}
	rows, err := t.Problems(ctx, row.ID)
	if err != nil {
		return nil, err
	}
	task := taskOf(row)
	next, err := nextTry(ctx, t, row)
	if err != nil {
		return nil, err
	}
	for _, p := range rows {
		task.Problems = append(task.Problems, itemProblem(p, row, next))
	}
	if alone, ok := asRun(row); ok {
		ledger, err := t.RunLedger(ctx, run.ID)
		if err != nil {
			return nil, err
		}
		ledger.Units = shareOf(ledger.Units, row, run)
		if task.Estimate, err = s.estimate(ctx, t, alone, ledger); err != nil {
			return nil, err
		}
	}
	return &body[Task]{task}, nil
}

// nextTry is when a backup goes on that has not ended, or the next one is due; zero if that is not known.
func nextTry(ctx context.Context, t *catalog.Tenant, task catalog.Task) (time.Time, error) {
	switch {
	case task.Action != tenantry.Backup:
		return time.Time{}, nil
	case task.EndedAt.IsZero():
		return task.NotBefore, nil
	}
	return t.NextBackup(ctx, task.Resource, task.Workload)
}
