package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A slice that does not end by itself is canceled when the grace is over, and its task
// is ready for others at once.
func TestDrainCancelsWhatDoesNotEnd(t *testing.T) {
	h := newHouse(t)
	entered := make(chan struct{})
	var hung atomic.Bool
	h.source.before(func(ctx context.Context, _ string) error {
		if hung.CompareAndSwap(false, true) {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	_, stop := h.worker(h.config())
	task := h.backup()
	<-entered
	stop(50 * time.Millisecond)
	if got := h.task(task.ID); got.State == catalog.TaskRunning || got.Attempt != 0 {
		t.Errorf("after the drain: %+v", got)
	}
	h.worker(h.config())
	h.done(task.ID)
}

func TestSyncEndsOnDrain(t *testing.T) {
	h := newHouse(t)
	h.dir.hang.Store(true)
	_, stop := h.worker(h.config())
	task := h.start(catalog.NewTask{Action: tenantry.Sync, Queue: queue.Directory})
	h.until("the sync runs", func() bool { return h.dir.runs.Load() == 1 })
	stop(time.Minute)
	h.dir.hang.Store(false)
	h.worker(h.config())
	if got := h.done(task.ID); got.Counts.Items != 7 {
		t.Errorf("sync: %+v", got)
	}
}

// The slice before this one sealed its snapshot, and its process died before it settled:
// what is left to do is to settle. Nothing is read again, nothing is sealed twice.
func TestSealedButNotSettled(t *testing.T) {
	h := newHouse(t)
	task := h.backup()
	out := h.sealAndDie(task, func(catalog.Claim, *repository.Writer) {})
	read := h.source.pages.Load()
	denied := error(tenantry.Errorf(tenantry.Denied, "Microsoft 365 is not even opened"))
	h.srcErr.Store(&denied)

	h.worker(h.config())
	got := h.done(task.ID)
	if got.Snapshot != out.Snapshot.Seq || h.source.pages.Load() != read {
		t.Errorf("snapshot %d after %d, %d pages read again", got.Snapshot, out.Snapshot.Seq, h.source.pages.Load()-read)
	}
	if rows := h.snapshots(); len(rows) != 1 {
		t.Errorf("snapshots: %+v", rows)
	}
}

// sealAndDie claims a task as a worker does, seals its snapshot, and leaves without settling it; before is what it
// still comes to.
func (h *house) sealAndDie(task catalog.Task, before func(catalog.Claim, *repository.Writer)) engine.Outcome {
	h.t.Helper()
	ctx := h.t.Context()
	dead := catalog.Process{ID: tenantry.NewProcessID("worker", "dead"), Role: "worker", Slots: h.config().Slots}
	h.must(h.cat.Fleet().Beat(ctx, dead, time.Hour))
	h.until("the task is admitted", func() bool { return h.task(task.ID).State == catalog.TaskAdmitted })
	claim, err := h.scope().Claim(ctx, task.ID, h.task(task.ID).Admission, dead.ID)
	h.must(err)
	repo, err := h.Open(ctx, h.tenant)
	h.must(err)
	w, err := repo.Begin(ctx, claim.Series(), repository.Fence{Epoch: claim.Epoch, Task: claim.ID})
	h.must(err)
	out, err := engine.Backup(ctx, h.source, w, engine.Limits{}, nil, nil)
	h.must(err)
	before(claim, w)
	w.Close()
	h.must(h.cat.Fleet().Leave(ctx, dead.ID))
	return out
}

// A mass change is an alarm, too, when the worker that sealed it died before it could look; one that died right after
// it had looked has told it already, and who acknowledged that is not told again.
func TestMassChangeIsSeenBehindADeath(t *testing.T) {
	for name, looked := range map[string]bool{"died before it looked": false, "died after it looked": true} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			cfg := h.config()
			cfg.MassChange = 0.5
			_, stop := h.worker(cfg)
			h.done(h.backup().ID)
			stop(time.Minute)
			h.source.gone.Store(240)
			task := h.backup()
			h.sealAndDie(task, func(claim catalog.Claim, w *repository.Writer) {
				if looked {
					h.must(h.scope().Suspend(t.Context(), claim.Resource, claim.Workload, w.Live()[0].Seq, "most went", time.Now()))
					h.must(h.scope().Acknowledge(t.Context(), claim.Resource, claim.Workload))
				}
			})
			h.worker(cfg)
			h.done(task.ID)
			list, err := h.scope().Alarms(t.Context())
			h.must(err)
			if looked && len(list) == 0 {
				return
			}
			if looked || len(list) != 1 || list[0].Cause != catalog.AlarmMassChange || list[0].Subject != "u-ann/drive" || !strings.Contains(list[0].Detail, "240 were removed") {
				t.Fatalf("240 of 250 items went, and alarms are %+v", list)
			}
			h.must(h.scope().Acknowledge(t.Context(), "u-ann", tenantry.Drive))
			h.done(h.backup().ID)
			h.prune()
			if list, err := h.scope().Alarms(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("what was acknowledged is an alarm again: %+v, %v", list, err)
			}
		})
	}
}

// A backup that was canceled when it was sealed, and whose worker died before it settled, has a snapshot that nobody goes
// on with: it is listed at once, and a mass change in it is an alarm at once.
func TestMassChangeOfACanceledBackup(t *testing.T) {
	h := newHouse(t)
	cfg := h.config()
	cfg.MassChange = 0.5
	_, stop := h.worker(cfg)
	h.done(h.backup().ID)
	stop(time.Minute)
	h.source.gone.Store(240)
	task := h.backup()
	out := h.sealAndDie(task, func(claim catalog.Claim, _ *repository.Writer) {
		h.must(h.scope().CancelRun(t.Context(), claim.Run, time.Now()))
	})
	if got := h.task(task.ID); got.State != catalog.TaskCanceled {
		t.Fatalf("the task is %s", got.State)
	}
	if rows := h.snapshots(); len(rows) != 1 {
		t.Fatalf("snapshots before anybody looked: %+v", rows)
	}
	h.worker(cfg)
	h.until("the mass change is an alarm", func() bool {
		list, err := h.scope().Alarms(t.Context())
		h.must(err)
		return len(list) == 1 && list[0].Cause == catalog.AlarmMassChange && strings.Contains(list[0].Detail, "240 were removed")
	})
	h.until("its snapshot is listed", func() bool {
		rows := h.snapshots()
		return len(rows) == 2 && rows[0].Seq == out.Snapshot.Seq && rows[0].Task == task.ID && rows[0].Counts.Items == out.Snapshot.Counts.Items
	})
}

// SQL was restored from an older copy: the bucket has seen a higher epoch.
func TestEpochRisesAboveTheBucket(t *testing.T) {
	h := newHouse(t)
	repo, err := h.Open(t.Context(), h.tenant)
	h.must(err)
	series := tenantry.Series{Tenant: h.tenant, Resource: "u-ann", Workload: tenantry.Drive}
	w, err := repo.Begin(t.Context(), series, repository.Fence{Epoch: 41, Task: "before"})
	h.must(err)
	_, err = engine.Backup(t.Context(), h.source, w, engine.Limits{}, nil, nil)
	h.must(err)
	w.Close()
	h.worker(h.config())
	h.done(h.backup().ID)
	head, err := repo.Head(t.Context(), series)
	h.must(err)
	if head.Epoch <= 41 || len(head.Live) != 2 {
		t.Errorf("head: %+v", head)
	}
}

func TestRestoreAndVerify(t *testing.T) {
	h := newHouse(t)
	h.worker(h.config())
	snapshot := h.done(h.backup().ID).Snapshot

	restore := h.done(h.start(catalog.NewTask{
		Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Restore,
		Params: []byte(fmt.Sprintf(`{"snapshot":%d,"to":"u-bob"}`, snapshot)),
	}).ID)
	if restore.Counts.Items != 250 || len(h.target.written) != 250 || h.target.written["/file 007"] != `{"name":"file 007"}` {
		t.Errorf("restored %d of 250 items, counts %+v", len(h.target.written), restore.Counts)
	}
	verify := catalog.NewTask{
		Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Verify,
		Params: []byte(fmt.Sprintf(`{"snapshot":%d}`, snapshot)),
	}
	if got := h.done(h.start(verify).ID); got.Counts.Items != 250 {
		t.Errorf("verified %+v", got.Counts)
	}
	h.damage()
	got := h.ended(h.start(verify).ID)
	if got.State != catalog.TaskFailed || got.Kind != tenantry.Corrupt {
		t.Errorf("verify of damaged packs: %s (%s): %s", got.State, got.Kind, got.Reason)
	}
	h.heals(snapshot)
}

// heals holds that the damage that was found has an alarm, and that the next backup reads everything
// again though the source tells of no change.
func (h *house) heals(damaged int64) {
	h.t.Helper()
	ctx := h.t.Context()
	alarms, err := h.scope().Alarms(ctx)
	h.must(err)
	if len(alarms) != 1 || alarms[0].Cause != catalog.AlarmDamage || alarms[0].Subject != "u-ann/drive" || !strings.Contains(alarms[0].Detail, "/p/") {
		h.t.Errorf("alarms: %+v", alarms)
	}
	runs, err := h.scope().Runs(ctx, "", 1)
	h.must(err)
	tasks, err := h.scope().Tasks(ctx, runs[0].ID, "", 10)
	h.must(err)
	if tasks[0].Action != tenantry.Repair {
		h.t.Fatalf("the newest run is a %s", tasks[0].Action)
	}
	if got := h.done(tasks[0].ID); got.Counts.Items != 250 {
		h.t.Errorf("repair marked %d items of 250", got.Counts.Items)
	}
	seq := h.done(h.backup().ID).Snapshot
	verify := func(seq int64, quick bool) catalog.Task {
		return h.ended(h.start(catalog.NewTask{
			Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Verify,
			Params: fmt.Appendf(nil, `{"snapshot":%d,"quick":%v}`, seq, quick),
		}).ID)
	}
	for _, quick := range []bool{false, true} {
		if got := verify(seq, quick); got.State != catalog.TaskDone || got.Counts.Items != 250 {
			h.t.Errorf("the snapshot after the repair (quick: %v): %+v", quick, got)
		}
	}
	if got := verify(damaged, false); got.State != catalog.TaskFailed {
		h.t.Errorf("the damaged snapshot: %s", got.State)
	}
	h.until("the second repair has ended", func() bool {
		runs, err := h.scope().Runs(ctx, "", 1)
		h.must(err)
		return runs[0].Action == tenantry.Repair && runs[0].Done == 1
	})
	if alarms, err := h.scope().Alarms(ctx); err != nil || len(alarms) != 0 {
		h.t.Errorf("alarms though the newest state is whole: %+v, %v", alarms, err)
	}
	before := h.source.pages.Load()
	h.done(h.backup().ID)
	if n := h.source.pages.Load() - before; n != 1 {
		h.t.Errorf("damage that was healed costs another run %d pages", n)
	}
}

// damage flips a byte in the middle of every pack.
func (h *house) damage() {
	h.t.Helper()
	ctx := h.t.Context()
	for info, err := range h.store.List(ctx, string(h.tenant)+"/r/") {
		h.must(err)
		if !strings.Contains(info.Key, "/p/") {
			continue
		}
		r, err := h.store.Get(ctx, info.Key, 0, -1)
		h.must(err)
		body, err := io.ReadAll(r)
		h.must(errors.Join(err, r.Close()))
		body[len(body)/10] ^= 1
		h.must(h.store.Put(ctx, info.Key, body))
	}
}

func TestBadParametersFailTheirTask(t *testing.T) {
	h := newHouse(t)
	h.worker(h.config())
	for _, params := range []string{"", "{", `{"snapshot":99}`} {
		got := h.ended(h.start(catalog.NewTask{
			Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Restore, Params: []byte(params),
		}).ID)
		if got.State != catalog.TaskFailed || got.Reason == "" {
			t.Errorf("%q: %s: %s", params, got.State, got.Reason)
		}
	}
}

func TestFailedConnectRefusesTheTenant(t *testing.T) {
	h := newHouse(t)
	h.worker(h.config())
	connect := catalog.NewTask{Action: tenantry.Connect, Params: []byte(`{"directory":"d"}`)}
	state := func() catalog.TenantRow {
		row, err := h.scope().Get(t.Context())
		h.must(err)
		return row
	}
	// Connected, and somebody else's administrator follows the link: nothing changes.
	wrong := error(tenantry.Errorf(tenantry.Invalid, "expected Contoso, but Fabrikam consented"))
	h.dir.err.Store(&wrong)
	h.ended(h.start(connect).ID)
	if row := state(); row.State != tenantry.TenantConnected {
		t.Errorf("tenant became %s: %s", row.State, row.Reason)
	}
	h.must(h.scope().SetState(t.Context(), tenantry.TenantPending, ""))
	h.ended(h.start(connect).ID)
	if row := state(); row.State != tenantry.TenantRefused || !strings.Contains(row.Reason, "Fabrikam") {
		t.Errorf("tenant is %s: %s", row.State, row.Reason)
	}
	h.must(h.scope().SetState(t.Context(), tenantry.TenantConnected, ""))
	lacks := error(tenantry.Errorf(tenantry.Reconnect, "the consent lacks Mail.Read"))
	h.dir.err.Store(&lacks)
	h.ended(h.start(connect).ID)
	if row := state(); row.State != tenantry.TenantDisconnected || !strings.Contains(row.Reason, "Mail.Read") {
		t.Errorf("tenant is %s: %s", row.State, row.Reason)
	}
	h.dir.err.Store(nil)
	h.done(h.start(connect).ID)
}

func TestGoneResourceIsNotBackedUp(t *testing.T) {
	h := newHouse(t)
	ann, err := h.scope().Resource(t.Context(), "u-ann")
	h.must(err)
	ann.State = tenantry.Inactive
	h.must(h.scope().ApplySync(t.Context(), tenantry.User, []catalog.Resource{ann}, "link", time.Now()))
	h.worker(h.config())
	got := h.done(h.backup().ID)
	if got.Kind != tenantry.Absent || h.source.pages.Load() != 0 || len(h.snapshots()) != 0 {
		t.Errorf("backup of an inactive user: %+v", got)
	}
}

// The database stands still when a slice wants to settle: it is tried until it works.
func TestSettlesWhenSQLIsBack(t *testing.T) {
	t.Parallel()
	dsn := servertest.Postgres(t).Database(t)
	h := newHouseOn(t, dsn)
	core, logs := observer.New(zap.WarnLevel)
	failed := make(chan struct{}, 100)
	cfg := h.config()
	cfg.SettleTimeout = 100 * time.Millisecond
	cfg.Log = zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		if strings.HasPrefix(e.Message, "cannot settle") {
			failed <- struct{}{}
		}
		return nil
	})).Sugar()
	var unlock atomic.Pointer[func()]
	h.source.before(func(context.Context, string) error {
		f := h.lock(dsn)
		unlock.Store(&f)
		return tenantry.Errorf(tenantry.Denied, "access denied")
	})
	h.worker(cfg)
	task := h.backup()
	<-failed
	(*unlock.Load())()
	if got := h.ended(task.ID); got.State != catalog.TaskFailed || got.Kind != tenantry.Denied {
		t.Errorf("task: %+v\nlog: %v", got, logs.All())
	}
}

// lock stops every write to the tasks until it is called back.
func (h *house) lock(dsn string) (unlock func()) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		h.t.Error(err)
		return func() {}
	}
	tx, err := conn.Begin(ctx)
	if err == nil {
		_, err = tx.Exec(ctx, "LOCK TABLE tasks IN EXCLUSIVE MODE")
	}
	if err != nil {
		h.t.Error(err)
	}
	return func() {
		if err := errors.Join(tx.Rollback(ctx), conn.Close(ctx)); err != nil {
			h.t.Error(err)
		}
	}
}

// A task that takes its worker down each time comes to an end.
func TestTaskThatKillsWorkersIsGivenUp(t *testing.T) {
	h := newHouse(t)
	task := h.backup()
	for i := range maxAttempts {
		dead := catalog.Process{ID: tenantry.NewProcessID("worker", "dead"), Role: "worker", Slots: h.config().Slots}
		h.must(h.cat.Fleet().Beat(t.Context(), dead, time.Hour))
		h.until("the task is admitted", func() bool { return h.task(task.ID).State == catalog.TaskAdmitted })
		_, err := h.scope().Claim(t.Context(), task.ID, h.task(task.ID).Admission, dead.ID)
		h.must(err)
		h.must(h.cat.Fleet().Beat(t.Context(), dead, time.Millisecond)) // and then no more
		h.until("its worker is reaped", func() bool { return h.task(task.ID).Attempt == i+1 })
	}
	h.worker(h.config())
	if got := h.ended(task.ID); got.State != catalog.TaskFailed || !strings.Contains(got.Reason, "workers died") {
		t.Errorf("task: %+v", got)
	}
}
