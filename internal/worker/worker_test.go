package worker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/scheduler"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// house is a fleet around the worker that is the subject: a real catalog, Redis,
// scheduler and repository. Only Microsoft 365 is a script.
type house struct {
	t        *testing.T
	cat      *catalog.Catalog
	redis    string
	store    blob.Store
	ring     repository.Keyring
	tenant   tenantry.TenantID
	source   *source
	target   *target
	dir      *directory
	srcErr   atomic.Pointer[error] // what opening a source fails with
	openErr  atomic.Pointer[error] // what opening a repository fails with
	news     chan struct{}
	schedule *scheduler.Scheduler

	uploadsEnded atomic.Int64 // calls of EndUploads
}

func newHouse(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	return newHouseOn(t, catalogtest.SQLite(t))
}

func newHouseOn(t *testing.T, dsn string) *house {
	t.Helper()
	h := &house{
		t: t, redis: servertest.Redis(t), tenant: tenantry.NewTenantID(),
		source: &source{items: 250}, target: &target{written: map[string]string{}}, dir: &directory{}, news: make(chan struct{}, 1),
	}
	var err error
	h.cat, err = catalog.Open(t.Context(), dsn)
	h.must(err)
	t.Cleanup(func() { _ = h.cat.Close() })
	folder, err := blob.OpenFolder(t.TempDir())
	h.must(err)
	t.Cleanup(func() { _ = folder.Close() })
	h.store = folder
	h.ring, err = repository.OpenKeyFile(filepath.Join(t.TempDir(), "keys"), true)
	h.must(err)
	h.must(h.cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{
		ID: h.tenant, Name: "Contoso", Directory: "contoso.example", State: tenantry.TenantPending,
		Weight: 10, AddedAt: time.Now(), NextSyncAt: time.Now().Add(1000 * time.Hour),
	}))
	h.must(h.scope().SetState(t.Context(), tenantry.TenantConnected, ""))
	var users []catalog.Resource
	for _, id := range []string{"ann", "bob"} {
		users = append(users, catalog.Resource{
			ID: tenantry.UserResource(id), Kind: tenantry.User, ObjectID: id, Name: id, Licensed: true,
			State: tenantry.Active, StateAt: time.Now(), Workloads: []tenantry.Workload{tenantry.Drive},
		})
	}
	h.must(h.scope().ApplySync(t.Context(), tenantry.User, users, "link", time.Now()))
	h.startScheduler()
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) scope() *catalog.Tenant { return h.cat.Tenant(h.tenant) }

func (h *house) startScheduler() {
	h.t.Helper()
	client, err := queue.NewClient(queue.Options{URL: h.redis})
	h.must(err)
	h.t.Cleanup(func() { _ = client.Close() })
	h.schedule, err = scheduler.New(scheduler.Config{
		Catalog: h.cat, Deliveries: client, Log: zap.NewNop().Sugar(), Observer: h,
		LeaseTime: 3 * time.Second, Tick: 50 * time.Millisecond, BusyTick: 5 * time.Millisecond,
		ReapEvery: 50 * time.Millisecond, Unclaimed: 400 * time.Millisecond,
	})
	h.must(err)
	h.must(h.schedule.Start(h.t.Context()))
	h.t.Cleanup(func() { h.must(h.schedule.Stop(context.Background())) })
}

// As the scheduler's observer, the house looks again after every tick.
func (h *house) Leading(bool)                           {}
func (h *house) Backlog(map[string]scheduler.QueueLoad) {}
func (h *house) Pools(map[string]map[string]int)        {}
func (h *house) Moved(string, int)                      {}
func (h *house) Alarms(int)                             {}
func (h *house) Ticked(time.Duration, error) {
	select {
	case h.news <- struct{}{}:
	default:
	}
}

func (h *house) until(what string, holds func() bool) {
	h.t.Helper()
	deadline := time.After(2 * time.Minute)
	for !holds() {
		select {
		case <-h.news:
		case <-deadline:
			h.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Open, Source and Target are what app wires in: the repository is real.
func (h *house) Open(ctx context.Context, t tenantry.TenantID) (*repository.Repository, error) {
	if err := h.openErr.Load(); err != nil {
		return nil, *err
	}
	return repository.Open(ctx, h.store, h.ring, t)
}

func (h *house) Source(_ context.Context, t catalog.TenantRow, _ catalog.Resource, _ tenantry.Workload, _ tenantry.BackupOptions) (engine.Source, error) {
	if err := h.srcErr.Load(); err != nil {
		return nil, *err
	}
	if t.State != tenantry.TenantConnected {
		return nil, errors.New("asked for a source of a tenant that is not connected")
	}
	return h.source, nil
}

// EndUploads implements worker.Workloads.
func (h *house) EndUploads(context.Context, catalog.TenantRow) error {
	h.uploadsEnded.Add(1)
	return nil
}

func (h *house) Target(context.Context, catalog.TenantRow, tenantry.TaskID, catalog.Resource, tenantry.Workload, tenantry.RestoreRequest) (engine.Target, error) {
	return h.target, nil
}

func (h *house) config() Config {
	return Config{
		Catalog: h.cat, Queue: queue.Options{URL: h.redis}, Repositories: h, Workloads: h, Directory: h.dir,
		Log: zap.NewNop().Sugar(), ProgressEvery: 20 * time.Millisecond,
		Slots:  map[string]int{queue.Interactive: 2, queue.Directory: 1, queue.Backup: 4, queue.Maintenance: 1},
		Limits: engine.Limits{SliceTime: time.Minute, CheckpointBytes: 8 << 20, CheckpointTime: time.Minute, Concurrency: 2},
	}
}

// worker starts one; stop drains it with the given grace.
func (h *house) worker(cfg Config) (w *Worker, stop func(grace time.Duration)) {
	h.t.Helper()
	w, err := New(cfg)
	h.must(err)
	h.must(w.Start(h.t.Context()))
	var once sync.Once
	stop = func(grace time.Duration) {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), grace)
			defer cancel()
			h.must(w.Drain(ctx))
		})
	}
	h.t.Cleanup(func() { stop(time.Minute) })
	return w, stop
}

// start inserts a run of one task and returns the task.
func (h *house) start(task catalog.NewTask) catalog.Task {
	h.t.Helper()
	run, err := h.scope().StartRun(h.t.Context(), task.Action, "manual", "", []catalog.NewTask{task}, time.Now())
	h.must(err)
	h.must(h.cat.Fleet().Wake(h.t.Context()))
	tasks, err := h.scope().Tasks(h.t.Context(), run.ID, "", 10)
	h.must(err)
	return tasks[0]
}

func (h *house) backup() catalog.Task {
	h.t.Helper()
	return h.start(catalog.NewTask{Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Backup})
}

func (h *house) task(id tenantry.TaskID) catalog.Task {
	h.t.Helper()
	task, err := h.scope().Task(h.t.Context(), id)
	h.must(err)
	return task
}

func (h *house) ended(id tenantry.TaskID) catalog.Task {
	h.t.Helper()
	h.until("the task ended", func() bool {
		s := h.task(id).State
		return s == catalog.TaskDone || s == catalog.TaskFailed || s == catalog.TaskCanceled
	})
	return h.task(id)
}

// done waits for a task to end well.
func (h *house) done(id tenantry.TaskID) catalog.Task {
	h.t.Helper()
	task := h.ended(id)
	if task.State != catalog.TaskDone {
		h.t.Fatalf("the task failed: %s: %s", task.Kind, task.Reason)
	}
	return task
}

func (h *house) snapshots() []catalog.SnapshotRow {
	h.t.Helper()
	rows, err := h.scope().Snapshots(h.t.Context(), "u-ann", tenantry.Drive, 0, 10)
	h.must(err)
	return rows
}

// source is a drive of many small files, listed in pages of 50.
type source struct {
	items int
	pages atomic.Int64
	gone  atomic.Int64 // how many items, the first ones, are not there any more when a delta is asked for
	// onPage, if set, is called before a page is given; its error is given instead.
	onPage atomic.Pointer[func(ctx context.Context, link string) error]
}

func (s *source) Tree(string) (string, bool) { return engine.RootCollection, true }

func (s *source) Page(ctx context.Context, _, link string) (engine.Page, error) {
	if f := s.onPage.Load(); f != nil {
		if err := (*f)(ctx, link); err != nil {
			return engine.Page{}, err
		}
	}
	s.pages.Add(1)
	if link == "delta" {
		p := engine.Page{Next: "delta", Done: true}
		for i := range s.gone.Load() {
			p.Removed = append(p.Removed, fmt.Sprintf("file %03d", i))
		}
		return p, nil
	}
	from := 0
	if link != "" {
		_, _ = fmt.Sscanf(link, "from %d", &from)
	}
	to := min(from+50, s.items)
	p := engine.Page{Next: fmt.Sprintf("from %d", to)}
	for i := from; i < to; i++ {
		name := fmt.Sprintf("file %03d", i)
		p.Items = append(p.Items, engine.Item{ID: name, Kind: "file", Name: name, ETag: "1", Size: 100, Raw: []byte(`{"name":"` + name + `"}`)})
	}
	if to == s.items {
		p.Next, p.Done = "delta", true
	}
	return p, nil
}

func (s *source) before(f func(ctx context.Context, link string) error) { s.onPage.Store(&f) }

// target keeps what was restored by name.
type target struct {
	mu      sync.Mutex
	written map[string]string
}

func (t *target) Folder(_ context.Context, parent string, e repository.Entry, _ []byte) (string, error) {
	return parent + "/" + e.Name, nil
}

func (t *target) Item(_ context.Context, folder string, e repository.Entry, raw []byte, _ engine.OpenPart) (engine.Written, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := folder + "/" + e.Name
	_, existed := t.written[key]
	t.written[key] = string(raw)
	return engine.Written{ID: key, Existed: existed}, nil
}

// directory answers what a test has set.
type directory struct {
	err  atomic.Pointer[error]
	hang atomic.Bool
	runs atomic.Int64
}

func (d *directory) Register(context.Context, tenantry.TenantID) (time.Time, error) {
	return time.Time{}, nil
}

func (d *directory) Connect(context.Context, tenantry.TenantID, tenantry.ConnectRequest) error {
	d.runs.Add(1)
	if err := d.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *directory) Sync(ctx context.Context, _ tenantry.TenantID) (tenantry.Counts, error) {
	d.runs.Add(1)
	if d.hang.Load() {
		<-ctx.Done()
		return tenantry.Counts{Items: 3}, ctx.Err()
	}
	return tenantry.Counts{Items: 7}, nil
}

func TestBackupEndsInASnapshot(t *testing.T) {
	h := newHouse(t)
	h.worker(h.config())
	task := h.done(h.backup().ID)
	if task.Counts.Items != 250 || task.Counts.Stored == 0 || task.Snapshot == 0 {
		t.Errorf("task: %+v", task)
	}
	rows := h.snapshots()
	if len(rows) != 1 || rows[0].Seq != task.Snapshot || rows[0].Counts.Items != 250 || rows[0].Task != task.ID {
		t.Errorf("snapshots: %+v", rows)
	}
	run, err := h.scope().Run(t.Context(), task.Run)
	h.must(err)
	if run.State != catalog.RunDone || run.Done != 1 {
		t.Errorf("run: %+v", run)
	}
	// And an unchanged second one.
	task = h.done(h.backup().ID)
	if rows := h.snapshots(); len(rows) != 2 || rows[0].Counts.Items != 250 {
		t.Errorf("snapshots after the second backup: %+v", rows)
	}
	if task.Counts.Items != 0 {
		t.Errorf("an unchanged backup did %d items", task.Counts.Items)
	}
}

// What becomes of a task, its tenant and the fleet for each kind of failure.
func TestFailures(t *testing.T) {
	until := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	tests := []struct {
		err    error
		state  catalog.TaskState
		tenant tenantry.TenantState
		alarm  string
		wait   time.Duration // at least
	}{
		{err: tenantry.Errorf(tenantry.Absent, "no drive"), state: catalog.TaskDone},
		{err: tenantry.Errorf(tenantry.Denied, "access denied"), state: catalog.TaskFailed},
		{err: &tenantry.Error{Kind: tenantry.Throttled, Op: "mailbox busy", Until: until}, state: catalog.TaskReady, wait: 50 * time.Minute},
		{err: tenantry.Errorf(tenantry.Transient, "connection cut"), state: catalog.TaskReady, wait: 5 * time.Second},
		{err: tenantry.Errorf(tenantry.Reconnect, "consent revoked"), state: catalog.TaskReady, tenant: tenantry.TenantDisconnected, wait: 3 * time.Second},
		{err: &tenantry.Error{Kind: tenantry.Shared, Op: "secret expired", Code: "AADSTS7000222"}, state: catalog.TaskReady, alarm: "credential", wait: 5 * time.Second},
		{err: errors.New("surprise"), state: catalog.TaskReady, wait: 5 * time.Second},
	}
	h := newHouse(t)
	h.worker(h.config())
	for _, test := range tests {
		t.Run(string(tenantry.KindOf(test.err)), func(t *testing.T) {
			h.t = t
			h.must(h.scope().SetState(t.Context(), tenantry.TenantConnected, ""))
			h.source.before(func(context.Context, string) error { return test.err })
			began := time.Now()
			task := h.backup()
			h.until("the slice settled", func() bool {
				now := h.task(task.ID)
				return now.Reason != "" && now.State != catalog.TaskRunning && now.State != catalog.TaskAdmitted
			})
			got := h.task(task.ID)
			if got.State != test.state || got.Kind != tenantry.KindOf(test.err) || !strings.Contains(got.Reason, test.err.Error()) {
				t.Errorf("task is %s (%s): %s", got.State, got.Kind, got.Reason)
			}
			if test.wait > 0 && got.NotBefore.Before(began.Add(test.wait)) {
				t.Errorf("again at %v, less than %v away", got.NotBefore, test.wait)
			}
			row, err := h.scope().Get(t.Context())
			h.must(err)
			if want := max(test.tenant, ""); want != "" && (row.State != want || !strings.Contains(row.Reason, test.err.Error())) {
				t.Errorf("tenant is %s: %s", row.State, row.Reason)
			} else if want == "" && row.State != tenantry.TenantConnected {
				t.Errorf("tenant became %s", row.State)
			}
			alarms, err := h.cat.Fleet().Paused(t.Context(), time.Now())
			h.must(err)
			if (test.alarm != "") != (len(alarms) == 1) || (test.alarm != "" && alarms[0].Cause != test.alarm) {
				t.Errorf("alarms: %+v, want %q", alarms, test.alarm)
			}
			for _, a := range alarms {
				h.must(h.cat.Fleet().Resume(t.Context(), a.Cause))
			}
			h.must(h.scope().CancelRun(t.Context(), got.Run, time.Now()))
		})
	}
}

// TestALongWaitFreesTheSlot has one slot and two tasks. The one that Graph tells to wait for an hour
// keeps what it has read, stands parked with the reason, and the other runs to its end meanwhile.
func TestALongWaitFreesTheSlot(t *testing.T) {
	h := newHouse(t)
	var told atomic.Bool
	throttled := &tenantry.Error{Kind: tenantry.Throttled, Op: "SharePoint is busy", Until: time.Now().Add(time.Hour)}
	h.source.before(func(_ context.Context, link string) error {
		if link == "from 100" && told.CompareAndSwap(false, true) {
			return throttled
		}
		return nil
	})
	tasks := []catalog.Task{h.backup(), h.start(catalog.NewTask{Resource: "u-bob", Workload: tenantry.Drive, Action: tenantry.Backup})}
	cfg := h.config()
	cfg.Slots = map[string]int{queue.Interactive: 1}
	h.worker(cfg)
	parked, done := -1, -1
	h.until("one is parked and the other done", func() bool {
		for i, task := range tasks {
			switch now := h.task(task.ID); {
			case now.State == catalog.TaskDone:
				done = i
			case now.State == catalog.TaskReady && now.Reason != "":
				parked = i
			}
		}
		return parked >= 0 && done >= 0
	})
	got := h.task(tasks[parked].ID)
	if got.Kind != tenantry.Throttled || !strings.Contains(got.Reason, "SharePoint is busy") || got.NotBefore.Before(throttled.Until.Truncate(time.Microsecond)) {
		t.Errorf("parked until %v (%s): %s", got.NotBefore, got.Kind, got.Reason)
	}
	if got.Counts.Items != 100 || got.Counts.Stored == 0 || got.Process != "" || got.Attempt != 0 {
		t.Errorf("parked as %+v", got)
	}
	if n := h.task(tasks[done].ID).Counts.Items; n != int64(h.source.items) {
		t.Errorf("the other took %d items of %d", n, h.source.items)
	}
}

// A task tells what it waited for and spent: in the queue and for a slot, for Graph in
// place and parked, in the bucket.
func TestDelaysAreBooked(t *testing.T) {
	t.Parallel()
	dsn := catalogtest.SQLite(t)
	h := newHouseOn(t, dsn)
	h.store = blob.Metered(h.store)
	h.worker(h.config())
	const parking = time.Hour // from the error on; some of it passes until the task is settled
	parked := false
	h.source.before(func(ctx context.Context, link string) error {
		m := tenantry.MeterOf(ctx)
		m.Spend(tenantry.SharePoint, 3)
		if link == "from 100" && !parked {
			parked = true
			return &tenantry.Error{Kind: tenantry.Throttled, Op: "minute", Code: "sharepoint/minute", Until: time.Now().Add(parking)}
		}
		end := m.Graph("cooldown/tenant/sharepoint")
		time.Sleep(2 * time.Millisecond) // the wait that is measured
		end()
		return nil
	})
	task := h.backup()
	h.until("the task is parked", func() bool {
		now := h.task(task.ID)
		return now.State == catalog.TaskReady && now.Kind == tenantry.Throttled
	})
	h.unpark(dsn, task.ID)
	task = h.done(task.ID)
	d := task.Delays
	if park := d.Graph["sharepoint/minute"]; park <= 0 || park > parking {
		t.Errorf("parked for %v", park)
	}
	if place := d.Graph["cooldown/tenant/sharepoint"]; place < 8*time.Millisecond || place > 5*time.Second {
		t.Errorf("waited in place for %v", place)
	}
	if d.Storage <= 0 || d.Queue < 0 || d.Worker <= 0 || d.Retry != 0 || len(d.Graph) != 2 {
		t.Errorf("delays: %+v", d)
	}
	ledger, err := h.scope().RunLedger(t.Context(), task.Run)
	h.must(err)
	if spent := ledger.Units[tenantry.SharePoint]; spent != 3*(h.source.pages.Load()+1) || ledger.Cost[tenantry.Drive] != spent || ledger.Backups[tenantry.Drive] != 1 {
		t.Errorf("%d pages, ledger %+v", h.source.pages.Load(), ledger)
	}
	if off := ledger.Delays.GraphTotal() - d.GraphTotal(); off < -time.Millisecond || off > time.Millisecond {
		t.Errorf("the run waited %+v, its task %+v", ledger.Delays, d)
	}
}

// unpark lets the time pass for which a task is parked.
func (h *house) unpark(dsn string, id tenantry.TaskID) {
	h.t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(dsn, "sqlite:"))
	h.must(err)
	defer func() { _ = db.Close() }()
	done, err := db.ExecContext(h.t.Context(), "PRAGMA busy_timeout = 60000; UPDATE tasks SET not_before = ? WHERE id = ? AND state = 'ready'",
		time.Now().UnixMicro(), id)
	h.must(err)
	if n, err := done.RowsAffected(); n != 1 || err != nil {
		h.t.Fatalf("%d tasks are parked (%v)", n, err)
	}
	h.must(h.cat.Fleet().Wake(h.t.Context()))
}

func TestBucketDownIsAnAlarmOfTheBucket(t *testing.T) {
	h := newHouse(t)
	var down error = tenantry.Errorf(tenantry.Shared, "bucket does not answer")
	h.openErr.Store(&down)
	h.worker(h.config())
	h.backup()
	h.until("the alarm is raised", func() bool {
		alarms, err := h.cat.Fleet().Paused(t.Context(), time.Now())
		h.must(err)
		return len(alarms) == 1 && alarms[0].Cause == "bucket"
	})
	row, err := h.scope().Get(t.Context())
	h.must(err)
	if row.State != tenantry.TenantConnected {
		t.Errorf("a shared cause made the tenant %s", row.State)
	}
}

func TestPanicIsAFailureOfItsTask(t *testing.T) {
	h := newHouse(t)
	h.worker(h.config())
	h.source.before(func(context.Context, string) error { panic("out of cheese") })
	task := h.backup()
	h.until("the slice settled", func() bool { return h.task(task.ID).Reason != "" })
	if got := h.task(task.ID); got.Kind != tenantry.Internal || got.Attempt != 1 || !strings.Contains(got.Reason, "out of cheese") {
		t.Errorf("task: %+v", got)
	}
	h.source.before(func(context.Context, string) error { return nil })
	h.done(h.start(catalog.NewTask{Resource: "u-bob", Workload: tenantry.Drive, Action: tenantry.Backup}).ID)
}

// A drained worker leaves a checkpoint, and another goes on from it.
func TestDrainLosesNothing(t *testing.T) {
	h := newHouse(t)
	third := make(chan struct{})
	release := make(chan struct{})
	var once sync.Once
	h.source.before(func(_ context.Context, link string) error {
		if link == "from 100" {
			once.Do(func() { close(third); <-release })
		}
		return nil
	})
	w, stop := h.worker(h.config())
	task := h.backup()
	<-third
	drained := make(chan struct{})
	go func() { defer close(drained); stop(time.Minute) }()
	<-w.running.draining
	close(release) // the slice is let go on, and finds that it has to end
	<-drained
	after := h.task(task.ID)
	if after.State == catalog.TaskRunning || after.State == catalog.TaskDone || after.Attempt != 0 || after.Counts.Items == 0 {
		t.Fatalf("after the drain: %+v", after)
	}
	h.source.before(func(_ context.Context, link string) error {
		if link == "" {
			return errors.New("what was committed is read again")
		}
		return nil
	})
	h.worker(h.config())
	got := h.done(task.ID)
	if got.Counts.Items != 250 {
		t.Errorf("%d items in all, want 250", got.Counts.Items)
	}
	if rows := h.snapshots(); len(rows) != 1 || rows[0].Counts.Items != 250 {
		t.Errorf("snapshots: %+v", rows)
	}
}
