package queue

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(childEnv); addr != "" {
		serveUntilKilled(addr)
		return
	}
	servertest.Main(m)
}

// patience is how long a test waits for something that must happen.
const patience = 2 * time.Minute

// onRedis runs a test on a real Redis and on the embedded one.
func onRedis(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("redis", func(t *testing.T) { test(t, Options{URL: servertest.Redis(t)}) })
	t.Run("embedded", func(t *testing.T) {
		addr, stop, err := StartEmbedded(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		test(t, Options{URL: "redis://" + addr + "/0"})
	})
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func startServer(t *testing.T, o Options, slots map[string]int, h Handler) *Server {
	t.Helper()
	s, err := NewServer(o, slots, h, zap.NewNop().Sugar())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Drain(ended()); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// ended returns a context that has ended: no grace.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func ref(n int) Ref {
	return Ref{Tenant: "t-1", Task: tenantry.TaskID(fmt.Sprintf("task%d", n)), Admission: 1}
}

func enqueue(t *testing.T, c *Client, queue string, r Ref, want State) {
	t.Helper()
	got, err := c.Enqueue(t.Context(), queue, r)
	if err != nil || got != want {
		t.Fatalf("Enqueue(%s, %s) = %q, %v; want %q", queue, r.ID(), got, err, want)
	}
}

// await polls until a delivery is in a state: asynq has no signal for it.
func await(t *testing.T, c *Client, queue string, r Ref, want State) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s becomes %s", r.ID(), want), func() bool {
		got, err := c.Inspect(t.Context(), queue, r)
		return err == nil && got == want
	})
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		case <-tick.C:
		}
	}
}

func receive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}

func inspector(t *testing.T, o Options) *asynq.Inspector {
	t.Helper()
	rdb, err := o.RedisClient()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return asynq.NewInspectorFromRedisClient(rdb)
}

func TestServeAllQueues(t *testing.T) {
	onRedis(t, func(t *testing.T, o Options) {
		c := newClient(t, o)
		got := make(chan Ref, 10)
		startServer(t, o, map[string]int{Interactive: 1, Directory: 1, Backup: 2, Maintenance: 1},
			func(_ context.Context, r Ref) (string, error) { got <- r; return "done", nil })
		want := map[Ref]bool{}
		for i, q := range Names() {
			enqueue(t, c, q, ref(i), Pending)
			want[ref(i)] = true
		}
		seen := map[Ref]bool{}
		for range Names() {
			seen[receive(t, "a delivery", got)] = true
		}
		if d := cmp.Diff(want, seen); d != "" {
			t.Error(d)
		}
		for i, q := range Names() {
			await(t, c, q, ref(i), Settled)
		}
	})
}

func TestOutcomes(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c, look := newClient(t, o), inspector(t, o)
	cases := []struct {
		name  string
		line  string
		err   error
		state asynq.TaskState
		text  string
	}{
		{"well", "5 items", nil, asynq.TaskStateCompleted, "5 items"},
		{"parked", "", tenantry.Errorf(tenantry.Throttled, "wait for\n sharepoint"), asynq.TaskStateCompleted, "wait for sharepoint"},
		{"transient", "", tenantry.Errorf(tenantry.Transient, "cut"), asynq.TaskStateCompleted, "cut"},
		{"nothing to do", "no licence", tenantry.Errorf(tenantry.Absent, "x"), asynq.TaskStateCompleted, "no licence"},
		{"denied", "", tenantry.Errorf(tenantry.Denied, "403"), asynq.TaskStateArchived, "403"},
		{"used up", "gave up", Permanent(tenantry.Errorf(tenantry.Transient, "cut")), asynq.TaskStateArchived, "gave up"},
		{"long", strings.Repeat("é", maxLine), nil, asynq.TaskStateCompleted, strings.Repeat("é", maxLine/2) + "..."},
	}
	startServer(t, o, map[string]int{Backup: 2}, func(_ context.Context, r Ref) (string, error) {
		tc := cases[r.Admission]
		return tc.line, tc.err
	})
	for i, tc := range cases {
		r := Ref{Tenant: "t", Task: "outcome", Admission: int64(i)}
		enqueue(t, c, Backup, r, Pending)
		await(t, c, Backup, r, Settled)
		info, err := look.GetTaskInfo(Backup, r.ID())
		if err != nil {
			t.Fatal(err)
		}
		text := string(info.Result)
		if tc.state == asynq.TaskStateArchived {
			if text = info.LastErr; text != string(info.Result) {
				t.Errorf("%s: error %q and result %q differ", tc.name, text, info.Result)
			}
		}
		if info.State != tc.state || text != tc.text {
			t.Errorf("%s: %v %q, want %v %q", tc.name, info.State, text, tc.state, tc.text)
		}
		if info.MaxRetry != 0 || info.Retention != retention || info.Timeout != timeout {
			t.Errorf("%s: options %+v", tc.name, info)
		}
	}
}

func TestConflictReturnsTheState(t *testing.T) {
	onRedis(t, func(t *testing.T, o Options) {
		c := newClient(t, o)
		enqueue(t, c, Backup, ref(1), Pending)
		enqueue(t, c, Backup, ref(1), Pending)
		if depth, err := c.Depth(t.Context()); err != nil || depth[Backup] != 1 {
			t.Fatalf("depth %v, %v: a duplicate was added", depth, err)
		}
		began, end := make(chan Ref, 1), make(chan struct{})
		startServer(t, o, map[string]int{Backup: 1}, func(_ context.Context, r Ref) (string, error) {
			began <- r
			<-end
			return "", nil
		})
		receive(t, "the handler begins", began)
		enqueue(t, c, Backup, ref(1), Active)
		if depth, err := c.Depth(t.Context()); err != nil || depth[Backup] != 1 {
			t.Errorf("depth %v, %v, want one active", depth, err)
		}
		close(end)
		await(t, c, Backup, ref(1), Settled)
		enqueue(t, c, Backup, ref(1), Settled)
		next := ref(1)
		next.Admission++
		enqueue(t, c, Backup, next, Pending)
		receive(t, "the next admission", began)
	})
}

func TestArchivedAndDeletedByHand(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c, look := newClient(t, o), inspector(t, o)
	for i := range 3 {
		enqueue(t, c, Backup, ref(i), Pending)
	}
	if err := look.ArchiveTask(Backup, ref(0).ID()); err != nil {
		t.Fatal(err)
	}
	if err := look.DeleteTask(Backup, ref(1).ID()); err != nil {
		t.Fatal(err)
	}
	got, err := c.InspectAll(t.Context(), Backup, []Ref{ref(0), ref(1), ref(2), ref(3)})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]State{Settled, Missing, Pending, Missing}, got); d != "" {
		t.Error(d)
	}
	if err := look.PauseQueue(Backup); err != nil {
		t.Fatal(err)
	}
	enqueue(t, c, In("munich", Backup), ref(4), Pending)
	enqueue(t, c, In("oslo", Backup), ref(5), Pending)
	if err := look.PauseQueue(In("munich", Backup)); err != nil {
		t.Fatal(err)
	}
	paused, err := c.Paused(t.Context())
	if d := cmp.Diff([]string{Backup, "munich.backup"}, paused); d != "" || err != nil {
		t.Error(d, err)
	}
}

// TestKeysAreAsynqs notices when a new asynq lays its keys out differently.
func TestKeysAreAsynqs(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c, look := newClient(t, o), inspector(t, o)
	began, end := make(chan Ref, 9), make(chan struct{})
	defer close(end)
	startServer(t, o, map[string]int{Backup: 2}, func(ctx context.Context, r Ref) (string, error) {
		began <- r
		select {
		case <-end:
		case <-ctx.Done():
		}
		return "", nil
	})
	for i := range 5 {
		enqueue(t, c, Backup, ref(i), Pending)
	}
	receive(t, "first", began)
	receive(t, "second", began)
	info, err := look.GetQueueInfo(Backup)
	if err != nil {
		t.Fatal(err)
	}
	if info.Active != 2 || info.Pending != 3 {
		t.Fatalf("asynq says %+v", info)
	}
	depth, err := c.Depth(t.Context())
	if err != nil || depth[Backup] != 5 {
		t.Errorf("depth %v, %v", depth, err)
	}
	for i := range 5 {
		ti, err := look.GetTaskInfo(Backup, ref(i).ID())
		if err != nil {
			t.Fatal(err)
		}
		state, err := c.Inspect(t.Context(), Backup, ref(i))
		if err != nil || string(state) != ti.State.String() {
			t.Errorf("%s: %s, %v; asynq says %s", ref(i).ID(), state, err, ti.State)
		}
	}
}

func TestInspectAllInBatches(t *testing.T) {
	c := newClient(t, Options{URL: servertest.Redis(t)})
	refs := make([]Ref, 2*maxBatch+1)
	for i := range refs {
		refs[i] = ref(i)
	}
	last := refs[len(refs)-1]
	enqueue(t, c, Backup, last, Pending)
	states, err := c.InspectAll(t.Context(), Backup, refs)
	if err != nil || len(states) != len(refs) || states[len(refs)-1] != Pending || states[0] != Missing {
		t.Errorf("%d states, %v", len(states), err)
	}
}

func TestPayloadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Ref{
			Tenant:    tenantry.TenantID(rapid.StringN(1, 20, 80).Draw(t, "tenant")),
			Task:      tenantry.TaskID(rapid.StringN(1, 20, 80).Draw(t, "task")),
			Admission: rapid.Int64().Draw(t, "admission"),
		}
		payload, err := encode(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(payload); err != nil || got != want {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
	})
	for _, bad := range []string{"", "{}", "no json", `{"taskId":"x"}`} {
		if r, err := decode([]byte(bad)); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("decode(%q) = %+v, %v", bad, r, err)
		}
	}
	newer := `{"tenantId":"t","taskId":"x","admission":"7","addedLater":true}`
	if r, err := decode([]byte(newer)); err != nil || r.Admission != 7 {
		t.Errorf("a payload of the next version: %+v, %v", r, err)
	}
}

func TestOptions(t *testing.T) {
	for _, url := range []string{"127.0.0.1:6379", "redis://u:secret@h:1/2", "rediss://h:1"} {
		rdb, err := Options{URL: url}.RedisClient()
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_ = rdb.Close()
	}
	for _, url := range []string{"", "host", "http://u:secret@h:1", "redis://u:secret@h:port%zz/0"} {
		_, err := Options{URL: url}.RedisClient()
		if tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%s: %v, want Invalid", url, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestInvalidUse(t *testing.T) {
	o := Options{URL: "127.0.0.1:1"}
	h := func(context.Context, Ref) (string, error) { return "", nil }
	log := zap.NewNop().Sugar()
	for name, slots := range map[string]map[string]int{"none": {}, "zero": {Backup: 0}, "unknown": {"x": 1}} {
		if _, err := NewServer(o, slots, h, log); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%s slots: %v", name, err)
		}
	}
	c := newClient(t, o)
	if _, err := c.Enqueue(t.Context(), "x", ref(1)); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("unknown queue: %v", err)
	}
	if _, err := c.Inspect(t.Context(), "x", ref(1)); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("unknown queue: %v", err)
	}
}

func TestConcurrentEnqueueAddsOnce(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c := newClient(t, o)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if s, err := c.Enqueue(context.Background(), Backup, ref(1)); err != nil || s != Pending {
				t.Errorf("%s, %v", s, err)
			}
		})
	}
	all.Wait()
	if depth, err := c.Depth(t.Context()); err != nil || depth[Backup] != 1 {
		t.Errorf("depth %v, %v", depth, err)
	}
}
