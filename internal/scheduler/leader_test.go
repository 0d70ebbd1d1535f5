package scheduler

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) {
	servertest.Main(m)
}

// watcher is an observer that lets a test wait for what it wants to see: conditions are
// looked at again whenever the leader did something.
type watcher struct {
	mu      sync.Mutex
	news    chan struct{}
	moved   map[string]int
	backlog map[string]QueueLoad
	pools   map[string]map[string]int
	leading bool
	ticks   int
}

func newWatcher() *watcher {
	return &watcher{news: make(chan struct{}, 1), moved: map[string]int{}}
}

func (w *watcher) tell(f func()) {
	w.mu.Lock()
	f()
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *watcher) Leading(on bool)                { w.tell(func() { w.leading = on }) }
func (w *watcher) Ticked(time.Duration, error)    { w.tell(func() { w.ticks++ }) }
func (w *watcher) Backlog(b map[string]QueueLoad) { w.tell(func() { w.backlog = b }) }

func (w *watcher) Pools(p map[string]map[string]int) { w.tell(func() { w.pools = p }) }
func (w *watcher) Moved(what string, n int)          { w.tell(func() { w.moved[what] += n }) }
func (w *watcher) Alarms(int)                        {}
func (w *watcher) count(what string) int             { w.mu.Lock(); defer w.mu.Unlock(); return w.moved[what] }
func (w *watcher) load(q string) QueueLoad           { w.mu.Lock(); defer w.mu.Unlock(); return w.backlog[q] }
func (w *watcher) tickCount() int                    { w.mu.Lock(); defer w.mu.Unlock(); return w.ticks }

func (w *watcher) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for !holds() {
		select {
		case <-w.news:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// someTicks waits until the leader has had n more whole ticks.
func (w *watcher) someTicks(t *testing.T, n int) {
	t.Helper()
	from := w.tickCount()
	w.until(t, "the leader ticked", func() bool { return w.tickCount() > from+n })
}

// house is a scheduler over a real catalog and a real Redis.
type house struct {
	t      *testing.T
	cat    *catalog.Catalog
	redis  *servertest.RedisServer
	client *queue.Client
	watch  *watcher
	sched  *Scheduler
	offset atomic.Int64 // of the scheduler's clock
	tenant tenantry.TenantID
}

func newHouse(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	h := &house{t: t, redis: servertest.StartRedis(t), watch: newWatcher(), tenant: tenantry.NewTenantID()}
	var err error
	h.cat, err = catalog.Open(t.Context(), catalogtest.SQLite(t))
	h.must(err)
	t.Cleanup(func() { _ = h.cat.Close() })
	h.client, err = queue.NewClient(queue.Options{URL: h.redis.Addr})
	h.must(err)
	t.Cleanup(func() { _ = h.client.Close() })
	h.addTenant(h.tenant)
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.offset.Load())) }

func (h *house) addTenant(id tenantry.TenantID) {
	h.t.Helper()
	h.must(h.cat.Fleet().AddTenant(h.t.Context(), catalog.TenantRow{
		ID: id, Name: string(id), Directory: string(id) + ".example", State: tenantry.TenantPending,
		Weight: 10, AddedAt: h.now(), NextSyncAt: h.now().Add(1000 * time.Hour),
	}))
	h.must(h.cat.Tenant(id).SetState(h.t.Context(), tenantry.TenantConnected, ""))
}

// users gives the tenant n users with a mailbox.
func (h *house) users(n int) {
	h.t.Helper()
	var all []catalog.Resource
	for i := range n {
		id := fmt.Sprintf("%03d", i)
		all = append(all, catalog.Resource{
			ID: tenantry.UserResource(id), Kind: tenantry.User, ObjectID: id, Name: id, Licensed: true,
			State: tenantry.Active, StateAt: h.now(), Workloads: []tenantry.Workload{tenantry.Mailbox},
		})
	}
	h.must(h.cat.Tenant(h.tenant).ApplySync(h.t.Context(), tenantry.User, all, "link", h.now()))
}

// run starts a manual run of n backups.
func (h *house) run(n int) catalog.Run {
	h.t.Helper()
	var tasks []catalog.NewTask
	for i := range n {
		tasks = append(tasks, catalog.NewTask{
			Resource: tenantry.UserResource(fmt.Sprintf("%03d", i)), Workload: tenantry.Mailbox,
			Action: tenantry.Backup, Queue: queue.Backup,
		})
	}
	run, err := h.cat.Tenant(h.tenant).StartRun(h.t.Context(), tenantry.Backup, "manual", "", tasks, h.now())
	h.must(err)
	h.must(h.cat.Fleet().Wake(h.t.Context()))
	return run
}

func (h *house) config() Config {
	return Config{
		Catalog: h.cat, Deliveries: h.client, Observer: h.watch, Log: zap.NewNop().Sugar(), Now: h.now,
		LeaseTime: 3 * time.Second, Tick: 50 * time.Millisecond, BusyTick: 5 * time.Millisecond,
		ReapEvery: 50 * time.Millisecond, Unclaimed: 200 * time.Millisecond,
	}
}

func (h *house) start() {
	h.t.Helper()
	var err error
	h.sched, err = New(h.config())
	h.must(err)
	h.must(h.sched.Start(h.t.Context()))
	h.t.Cleanup(h.stop)
	h.watch.until(h.t, "it leads", h.sched.Leading)
}

func (h *house) stop() {
	h.t.Helper()
	if h.sched != nil {
		h.must(h.sched.Stop(context.Background()))
		h.sched = nil
	}
}

// worker serves the queues like a worker does, with tasks that end at once. It returns
// how often each task ran.
func (h *house) worker(slots int) *sync.Map {
	h.t.Helper()
	runs := &sync.Map{}
	process := h.process(slots)
	server, err := queue.NewServer(queue.Options{URL: h.redis.Addr}, process.Slots, func(ctx context.Context, r queue.Ref) (string, error) {
		scope := h.cat.Tenant(r.Tenant)
		claim, err := scope.Claim(ctx, r.Task, r.Admission, process.ID)
		if err != nil {
			return "not claimed", nil
		}
		n, _ := runs.LoadOrStore(r.Task, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		return "done", scope.Settle(ctx, claim, catalog.Settlement{State: catalog.TaskDone}, h.now())
	}, zap.NewNop().Sugar())
	h.must(err)
	h.must(server.Start(h.t.Context()))
	h.t.Cleanup(func() { h.must(server.Drain(context.Background())) })
	return runs
}

// process makes a worker known whose slots the dispatcher counts.
func (h *house) process(slots int) catalog.Process {
	h.t.Helper()
	p := catalog.Process{
		ID: tenantry.NewProcessID("worker", "test"), Role: "worker",
		Slots: map[string]int{queue.Backup: slots, queue.Directory: 1},
	}
	h.must(h.cat.Fleet().Beat(h.t.Context(), p, time.Hour))
	return p
}

func (h *house) done(run tenantry.RunID) func() bool {
	return func() bool {
		r, err := h.cat.Tenant(h.tenant).Run(h.t.Context(), run)
		h.must(err)
		return r.State == catalog.RunDone
	}
}

func (h *house) tasks(run tenantry.RunID, state catalog.TaskState) int {
	h.t.Helper()
	all, err := h.cat.Tenant(h.tenant).Tasks(h.t.Context(), run, "", 1000)
	h.must(err)
	n := 0
	for _, task := range all {
		if task.State == state {
			n++
		}
	}
	return n
}

func (h *house) ranOnce(runs *sync.Map, want int) {
	h.t.Helper()
	got := 0
	runs.Range(func(task, n any) bool {
		got++
		if times := n.(*atomic.Int64).Load(); times != 1 {
			h.t.Errorf("task %s ran %d times", task, times)
		}
		return true
	})
	if got != want {
		h.t.Errorf("%d tasks ran, want %d", got, want)
	}
}

func TestDuePolicyRuns(t *testing.T) {
	h := newHouse(t)
	h.users(7)
	h.must(h.cat.Tenant(h.tenant).EnableWorkload(t.Context(), tenantry.Mailbox, catalog.Enabling{}, h.now()))
	h.must(h.cat.Tenant(h.tenant).AddPolicy(t.Context(), catalog.Policy{
		ID: tenantry.NewPolicyID(), Name: "all", Kinds: []tenantry.ResourceKind{tenantry.User},
		Workloads: []tenantry.Workload{tenantry.Mailbox}, At: 60, Window: 120, TimeZone: "Europe/Berlin", CreatedAt: h.now(),
	}, h.now()))
	runs := h.worker(4)
	h.offset.Store(int64(25 * time.Hour))
	h.start()
	h.watch.until(t, "all tasks were started", func() bool { return h.watch.count("started") >= 7 })
	list, err := h.cat.Tenant(h.tenant).Runs(t.Context(), "", 10)
	h.must(err)
	var total int64
	for _, r := range list {
		h.watch.until(t, "the run is done", h.done(r.ID))
		total += r.Tasks
	}
	if total != 7 {
		t.Errorf("%d tasks in %d runs, want 7", total, len(list))
	}
	h.watch.someTicks(t, 3)
	h.ranOnce(runs, 7) // and the next time is a day away
}

func TestDueSyncStarts(t *testing.T) {
	h := newHouse(t)
	h.must(h.cat.Tenant(h.tenant).SyncDone(t.Context(), h.now(), h.now().Add(time.Hour)))
	h.start()
	h.watch.someTicks(t, 3)
	if n := h.watch.count("started"); n != 0 {
		t.Fatalf("%d syncs started before their time", n)
	}
	h.offset.Store(int64(61 * time.Minute))
	h.watch.until(t, "the sync was started", func() bool { return h.watch.count("started") == 1 })
	h.watch.someTicks(t, 3)
	if n := h.watch.count("started"); n != 1 {
		t.Errorf("%d syncs started, want 1", n)
	}
}

func TestDispatcherBoundsWhatIsInRedis(t *testing.T) {
	h := newHouse(t)
	h.users(50)
	run := h.run(50)
	h.process(5)
	h.start()
	h.watch.until(t, "it admitted", func() bool { return h.watch.count("admitted") > 0 })
	h.watch.someTicks(t, 5)
	// A single tenant: its cap is max(4, half of the slots).
	if n := h.tasks(run.ID, catalog.TaskAdmitted); n != 4 {
		t.Errorf("%d admitted, want the tenant's cap of 4", n)
	}
	depth, err := h.client.Depth(t.Context())
	h.must(err)
	if depth[queue.Backup] != 4 {
		t.Errorf("%d deliveries in Redis, want 4", depth[queue.Backup])
	}
	if l := h.watch.load(queue.Backup); l.Ready != 46 || l.InFlight != 4 || l.Slots != 5 || l.Demand != 4 {
		t.Errorf("backlog: %+v", l)
	}
	h.watch.mu.Lock()
	defer h.watch.mu.Unlock()
	if n := h.watch.pools[queue.MainPool][queue.Backup]; n != 4 || len(h.watch.pools) != 1 {
		t.Errorf("the main pool could use %d slots, want 4; pools are %v", n, h.watch.pools)
	}
}

func TestEmptiedRedisLosesNothing(t *testing.T) {
	h := newHouse(t)
	h.users(8)
	run := h.run(8)
	h.process(8)
	h.start()
	h.watch.until(t, "tasks are admitted", func() bool { return h.tasks(run.ID, catalog.TaskAdmitted) == 4 })
	h.redis.Kill()
	h.redis.Start()
	runs := h.worker(8)
	h.watch.until(t, "the run is done", h.done(run.ID))
	h.ranOnce(runs, 8)
}

func TestRedisDownIsAnAlarm(t *testing.T) {
	h := newHouse(t)
	h.users(3)
	h.process(3)
	h.start()
	h.redis.Kill()
	run := h.run(3)
	h.watch.until(t, "the alarm is raised", func() bool {
		alarms, err := h.cat.Fleet().Paused(t.Context(), h.now())
		h.must(err)
		return len(alarms) == 1 && alarms[0].Cause == "redis"
	})
	h.redis.Start()
	runs := h.worker(3)
	h.watch.until(t, "the run is done", h.done(run.ID))
	h.ranOnce(runs, 3)
	h.watch.until(t, "the alarm is over", func() bool {
		alarms, err := h.cat.Fleet().Paused(t.Context(), h.now())
		h.must(err)
		return len(alarms) == 0
	})
}

// An operator deletes and archives deliveries by hand: SQL says that they are to run.
func TestDeliveriesRemovedByHandComeBack(t *testing.T) {
	h := newHouse(t)
	h.users(4)
	run := h.run(4)
	h.process(4)
	h.start()
	h.watch.until(t, "tasks are in Redis", func() bool {
		depth, err := h.client.Depth(t.Context())
		h.must(err)
		return depth[queue.Backup] == 4
	})
	inspector := asynq.NewInspector(asynq.RedisClientOpt{Addr: h.redis.Addr})
	t.Cleanup(func() { _ = inspector.Close() })
	pending, err := inspector.ListPendingTasks(queue.Backup)
	h.must(err)
	for i, p := range pending {
		if i%2 == 0 {
			h.must(inspector.DeleteTask(queue.Backup, p.ID))
		} else {
			h.must(inspector.ArchiveTask(queue.Backup, p.ID))
		}
	}
	runs := h.worker(4)
	h.watch.until(t, "the run is done", h.done(run.ID))
	h.ranOnce(runs, 4)
	if h.watch.count("readmitted") < 2 {
		t.Errorf("%d readmitted, want the 2 archived ones", h.watch.count("readmitted"))
	}
}

// A worker takes a delivery and hangs, or dies, before it claims.
func TestDeliveredButNeverClaimed(t *testing.T) {
	h := newHouse(t)
	h.users(1)
	h.process(1)
	taken, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	stuck, err := queue.NewServer(queue.Options{URL: h.redis.Addr}, map[string]int{queue.Backup: 1}, func(context.Context, queue.Ref) (string, error) {
		once.Do(func() { close(taken) })
		<-release
		return "", nil
	}, zap.NewNop().Sugar())
	h.must(err)
	h.must(stuck.Start(t.Context()))
	t.Cleanup(func() {
		close(release)
		h.must(stuck.Drain(context.Background()))
	})
	h.start()
	run := h.run(1)
	<-taken
	runs := h.worker(1)
	h.watch.until(t, "the run is done", h.done(run.ID))
	h.ranOnce(runs, 1)
}

func TestPausedQueueGetsNothing(t *testing.T) {
	h := newHouse(t)
	h.users(2)
	inspector := asynq.NewInspector(asynq.RedisClientOpt{Addr: h.redis.Addr})
	t.Cleanup(func() { _ = inspector.Close() })
	h.must(inspector.PauseQueue(queue.Backup))
	runs := h.worker(2)
	h.start()
	h.watch.until(t, "the leader knows", func() bool { return h.watch.load(queue.Backup).Paused })
	run := h.run(2)
	h.watch.someTicks(t, 5)
	if n := h.tasks(run.ID, catalog.TaskReady); n != 2 {
		t.Fatalf("%d of 2 tasks wait", n)
	}
	h.must(inspector.UnpauseQueue(queue.Backup))
	h.watch.until(t, "the run is done", h.done(run.ID))
	h.ranOnce(runs, 2)
}

// A pause is one queue's of one pool: that of another pool goes on.
func TestPausedQueueOfAPool(t *testing.T) {
	h := newHouse(t)
	pooled := queue.In("munich", queue.Backup)
	h.must(h.cat.Fleet().AddPool(t.Context(), catalog.Pool{Name: "munich", AddedAt: h.now()}))
	h.tenant = tenantry.NewTenantID()
	h.must(h.cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{
		ID: h.tenant, State: tenantry.TenantConnected, Weight: 10, Pool: "munich", AddedAt: h.now(), NextSyncAt: h.now().Add(1000 * time.Hour),
	}))
	h.must(h.cat.Fleet().Beat(t.Context(), catalog.Process{
		ID: "worker@munich", Role: "worker", Pool: "munich", Slots: map[string]int{queue.Backup: 2},
	}, time.Hour))
	_, err := h.client.Enqueue(t.Context(), pooled, queue.Ref{Tenant: h.tenant, Task: "another", Admission: 1}) // as asynqmon lists it
	h.must(err)
	inspector := asynq.NewInspector(asynq.RedisClientOpt{Addr: h.redis.Addr})
	t.Cleanup(func() { _ = inspector.Close() })
	h.must(inspector.PauseQueue(queue.Backup))
	h.must(inspector.PauseQueue(pooled))
	h.start()
	h.watch.until(t, "the leader knows", func() bool { return h.watch.load(queue.Backup).Paused })
	run := h.run(2)
	h.watch.someTicks(t, 5)
	if n := h.tasks(run.ID, catalog.TaskReady); n != 2 {
		t.Fatalf("%d of 2 tasks wait", n)
	}
	h.must(inspector.UnpauseQueue(pooled))
	h.watch.until(t, "the tasks are admitted", func() bool { return h.tasks(run.ID, catalog.TaskAdmitted) == 2 })
}

func TestAlarmStopsAdmissionThenProbes(t *testing.T) {
	h := newHouse(t)
	h.users(6)
	process := h.process(6)
	h.must(h.cat.Fleet().Pause(t.Context(), "bucket", "does not answer", h.now().Add(time.Minute), h.now()))
	h.start()
	run := h.run(6)
	h.watch.someTicks(t, 5)
	if n := h.tasks(run.ID, catalog.TaskReady); n != 6 {
		t.Fatalf("%d of 6 tasks wait while the alarm is in force", n)
	}
	claim := func() catalog.Claim {
		t.Helper()
		h.watch.until(t, "a probe is admitted", func() bool { return h.tasks(run.ID, catalog.TaskAdmitted) > 0 })
		h.watch.someTicks(t, 5)
		tasks, err := h.cat.Fleet().Unclaimed(t.Context(), h.now().Add(time.Hour), 10)
		h.must(err)
		if len(tasks) != 1 {
			t.Fatalf("%d tasks admitted to probe, want 1", len(tasks))
		}
		c, err := h.cat.Tenant(h.tenant).Claim(t.Context(), tasks[0].ID, tasks[0].Admission, process.ID)
		h.must(err)
		return c
	}
	// The first probe meets the same trouble: nothing more is admitted.
	h.offset.Store(int64(2 * time.Minute))
	c := claim()
	h.must(h.cat.Fleet().Pause(t.Context(), "bucket", "does not answer", h.now().Add(time.Minute), h.now()))
	h.must(h.cat.Tenant(h.tenant).Settle(t.Context(), c, catalog.Settlement{State: catalog.TaskReady, NotBefore: h.now()}, h.now()))
	h.watch.someTicks(t, 5)
	if n := h.tasks(run.ID, catalog.TaskReady); n != 6 {
		t.Fatalf("%d of 6 tasks wait after a failed probe", n)
	}
	// The second one gets through.
	h.offset.Store(int64(4 * time.Minute))
	c = claim()
	h.must(h.cat.Tenant(h.tenant).Settle(t.Context(), c, catalog.Settlement{State: catalog.TaskDone}, h.now()))
	h.watch.until(t, "admission goes on", func() bool { return h.tasks(run.ID, catalog.TaskAdmitted) == 4 })
	alarms, err := h.cat.Fleet().Paused(t.Context(), h.now())
	h.must(err)
	if len(alarms) != 0 {
		t.Errorf("alarms still in force: %+v", alarms)
	}
}

func TestDeadWorkersTasksRunAgain(t *testing.T) {
	h := newHouse(t)
	h.users(1)
	run := h.run(1)
	dead := catalog.Process{ID: tenantry.NewProcessID("worker", "dead"), Role: "worker", Slots: map[string]int{queue.Backup: 1}}
	h.must(h.cat.Fleet().Beat(t.Context(), dead, time.Hour))
	h.start()
	h.watch.until(t, "the task is admitted", func() bool { return h.tasks(run.ID, catalog.TaskAdmitted) == 1 })
	tasks, err := h.cat.Tenant(h.tenant).Tasks(t.Context(), run.ID, "", 10)
	h.must(err)
	_, err = h.cat.Tenant(h.tenant).Claim(t.Context(), tasks[0].ID, tasks[0].Admission, dead.ID)
	h.must(err)
	h.must(h.cat.Fleet().Beat(t.Context(), dead, time.Millisecond)) // and then no more
	runs := h.worker(1)
	h.watch.until(t, "the run is done", h.done(run.ID))
	h.ranOnce(runs, 1)
	if h.watch.count("reaped") != 1 {
		t.Errorf("%d tasks reaped, want 1", h.watch.count("reaped"))
	}
}

func TestAnotherTakesOver(t *testing.T) {
	h := newHouse(t)
	h.start()
	cfg := h.config()
	second := newWatcher()
	cfg.Observer, cfg.ID = second, "scheduler@two"
	other, err := New(cfg)
	h.must(err)
	h.must(other.Start(t.Context()))
	t.Cleanup(func() { h.must(other.Stop(context.Background())) })
	if other.Leading() {
		t.Fatal("two leaders")
	}
	h.stop()
	second.until(t, "the other leads", other.Leading)
}

// A leader that died holds the lease until it ends; then another has it.
func TestDeadLeaderIsReplaced(t *testing.T) {
	h := newHouse(t)
	_, ok, err := h.cat.Fleet().Lead(t.Context(), "dead", 500*time.Millisecond)
	h.must(err)
	if !ok {
		t.Fatal("the lease is not free")
	}
	h.start()
}

// A leader that lost its lease acts no more, though it still runs.
func TestFencedLeaderActsNoMore(t *testing.T) {
	h := newHouse(t)
	h.users(3)
	h.process(3)
	h.start()
	for taken := false; !taken; {
		h.must(h.cat.Fleet().Resign(t.Context(), h.sched.ID()))
		_, ok, err := h.cat.Fleet().Lead(t.Context(), "other", time.Hour)
		h.must(err)
		taken = ok
	}
	run := h.run(3)
	h.watch.until(t, "it leads no more", func() bool { return !h.sched.Leading() })
	if n := h.tasks(run.ID, catalog.TaskReady); n != 3 {
		t.Errorf("%d of 3 tasks ready: a fenced leader admitted", n)
	}
}

func TestInterleave(t *testing.T) {
	var tasks []catalog.Task
	for _, id := range []string{"a1", "a2", "a3", "b1", "c1", "c2"} {
		tasks = append(tasks, catalog.Task{ID: tenantry.TaskID(id), Tenant: tenantry.TenantID(id[:1])})
	}
	got := ""
	for _, task := range interleave(tasks) {
		got += string(task.ID) + " "
	}
	if want := "a1 b1 c1 a2 c2 a3 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
