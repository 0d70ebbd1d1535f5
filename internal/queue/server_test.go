package queue

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestDrainWaitsForTheHandler(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c := newClient(t, o)
	began, end := make(chan Ref, 9), make(chan struct{})
	s := startServer(t, o, map[string]int{Backup: 1}, func(ctx context.Context, r Ref) (string, error) {
		began <- r
		<-end
		return "ended well", ctx.Err()
	})
	enqueue(t, c, Backup, ref(1), Pending)
	enqueue(t, c, Backup, ref(2), Pending)
	receive(t, "the handler begins", began)
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background()) }()
	select {
	case err := <-drained:
		t.Fatalf("drained while a handler runs: %v", err)
	case <-time.After(200 * time.Millisecond): // the absence of an event has no signal
	}
	close(end)
	if err := receive(t, "the end of the drain", drained); err != nil {
		t.Fatal(err)
	}
	await(t, c, Backup, ref(1), Settled)
	await(t, c, Backup, ref(2), Pending) // not taken any more
	info, err := inspector(t, o).GetTaskInfo(Backup, ref(1).ID())
	if err != nil || info.State != asynq.TaskStateCompleted || string(info.Result) != "ended well" {
		t.Errorf("%+v, %v", info, err)
	}
	if err := s.Drain(context.Background()); err != nil {
		t.Errorf("a second drain: %v", err)
	}
}

func TestDrainCancelsAfterItsGrace(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c := newClient(t, o)
	began := make(chan Ref, 2)
	s := startServer(t, o, map[string]int{Interactive: 1, Backup: 1}, func(ctx context.Context, r Ref) (string, error) {
		began <- r
		<-ctx.Done()
		return "checkpoint written", tenantry.E(tenantry.Canceled, "read page", ctx.Err())
	})
	enqueue(t, c, Backup, ref(1), Pending)
	enqueue(t, c, Interactive, ref(2), Pending)
	receive(t, "a handler begins", began)
	receive(t, "another begins", began)
	if err := s.Drain(ended()); err != nil {
		t.Fatal(err)
	}
	look := inspector(t, o)
	for queue, r := range map[string]Ref{Backup: ref(1), Interactive: ref(2)} {
		info, err := look.GetTaskInfo(queue, r.ID())
		if err != nil || info.State != asynq.TaskStateCompleted || string(info.Result) != "checkpoint written" {
			t.Errorf("a handler that ended after the cancel was lost: %+v, %v", info, err)
		}
	}
}

func TestDrainIsBounded(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c := newClient(t, o)
	began, end := make(chan Ref, 1), make(chan struct{})
	s := startServer(t, o, map[string]int{Backup: 1}, func(_ context.Context, r Ref) (string, error) {
		began <- r
		<-end // deaf to its context
		return "late", nil
	})
	s.settle = 10 * time.Millisecond
	enqueue(t, c, Backup, ref(1), Pending)
	receive(t, "the handler begins", began)
	if err := s.Drain(ended()); tenantry.KindOf(err) != tenantry.Internal {
		t.Errorf("a handler still runs, and Drain says %v", err)
	}
	close(end)
	receive(t, "the end of the drain", s.drained)
	await(t, c, Backup, ref(1), Settled)
}

func TestDrainBeforeStart(t *testing.T) {
	s, err := NewServer(Options{URL: "127.0.0.1:1"}, map[string]int{Backup: 1},
		func(context.Context, Ref) (string, error) { return "", nil }, zap.NewNop().Sugar())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); tenantry.KindOf(err) != tenantry.Shared {
		t.Errorf("start without Redis: %v", err)
	}
	if err := s.Drain(context.Background()); err != nil {
		t.Error(err)
	}
}

// A delivery that asynq has given up (here: cancelled in asynqmon) must not free its
// slot before its handler has ended.
func TestSlotsBoundHandlersThatWereGivenUp(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c, look := newClient(t, o), inspector(t, o)
	began, end := make(chan Ref, 9), make(chan struct{})
	var running, most atomic.Int32
	startServer(t, o, map[string]int{Backup: 1}, func(ctx context.Context, r Ref) (string, error) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		began <- r
		if r == ref(1) {
			<-ctx.Done()
			<-end // slow to stop
		}
		return "", nil
	})
	enqueue(t, c, Backup, ref(1), Pending)
	receive(t, "the first begins", began)
	enqueue(t, c, Backup, ref(2), Pending)
	eventually(t, "the cancel arrives", func() bool {
		_ = look.CancelProcessing(ref(1).ID())
		s, err := c.Inspect(t.Context(), Backup, ref(1))
		return err == nil && s == Settled
	})
	await(t, c, Backup, ref(2), Active) // taken by asynq, held back by us
	close(end)
	if r := receive(t, "the second begins", began); r != ref(2) {
		t.Errorf("began %v", r)
	}
	await(t, c, Backup, ref(2), Settled)
	if most.Load() != 1 {
		t.Errorf("%d handlers ran in one slot", most.Load())
	}
}

func TestPanicStandsInTheArchive(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c := newClient(t, o)
	startServer(t, o, map[string]int{Backup: 1}, func(context.Context, Ref) (string, error) {
		panic("defect")
	})
	enqueue(t, c, Backup, ref(1), Pending)
	await(t, c, Backup, ref(1), Settled)
	info, err := inspector(t, o).GetTaskInfo(Backup, ref(1).ID())
	if err != nil || info.State != asynq.TaskStateArchived {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestForeignPayloadStandsInTheArchive(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c := newClient(t, o)
	startServer(t, o, map[string]int{Backup: 1}, func(context.Context, Ref) (string, error) {
		t.Error("the handler was called")
		return "", nil
	})
	if _, err := c.asynq.Enqueue(asynq.NewTask("alien", []byte("x")), asynq.Queue(Backup), asynq.TaskID(ref(1).ID())); err != nil {
		t.Fatal(err)
	}
	await(t, c, Backup, ref(1), Settled)
}

func TestRedisLossAndRestart(t *testing.T) {
	server := servertest.StartRedis(t)
	o := Options{URL: server.Addr}
	c := newClient(t, o)
	began, end := make(chan Ref, 9), make(chan struct{}, 9)
	startServer(t, o, map[string]int{Interactive: 1, Backup: 1}, func(_ context.Context, r Ref) (string, error) {
		began <- r
		<-end
		return "", nil
	})
	enqueue(t, c, Backup, ref(1), Pending)
	receive(t, "the handler begins", began)
	enqueue(t, c, Backup, ref(2), Pending)
	enqueue(t, c, In("munich", Backup), ref(4), Pending)

	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Enqueue(ctx, Backup, ref(3)); tenantry.KindOf(err) != tenantry.Shared {
		t.Errorf("enqueue without Redis: %v", err)
	}
	if _, err := c.Depth(ctx); tenantry.KindOf(err) != tenantry.Shared {
		t.Errorf("depth without Redis: %v", err)
	}
	if err := c.Ping(ctx); tenantry.KindOf(err) != tenantry.Shared {
		t.Errorf("ping without Redis: %v", err)
	}
	server.Start()

	await(t, c, Backup, ref(1), Missing)
	await(t, c, Backup, ref(2), Missing)
	end <- struct{}{} // the handler that outlived the loss
	end <- struct{}{}
	enqueue(t, c, Backup, ref(2), Pending) // as the scheduler does
	if r := receive(t, "serving goes on", began); r != ref(2) {
		t.Errorf("began %v", r)
	}
	await(t, c, Backup, ref(2), Settled)
	if _, err := c.Depth(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names, err := inspector(t, o).Queues(); err != nil || len(names) != len(Names())+1 || !slices.Contains(names, In("munich", Backup)) {
		t.Errorf("asynqmon would list %v, %v", names, err)
	}
}

const childEnv = "QUEUE_TEST_SERVE"

// serveUntilKilled is the child process of TestKilledServer.
func serveUntilKilled(addr string) {
	s, err := NewServer(Options{URL: addr}, map[string]int{Backup: 1}, func(ctx context.Context, r Ref) (string, error) {
		fmt.Println("began", r.ID())
		<-ctx.Done()
		return "", nil
	}, zap.NewNop().Sugar())
	if err == nil {
		err = s.Start(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	select {}
}

func TestKilledServer(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c := newClient(t, o)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+o.URL)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, c, Backup, ref(1), Pending)
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "began "+ref(1).ID() {
		t.Fatalf("the child says %q, %v", lines.Text(), lines.Err())
	}
	_ = child.Process.Kill()
	_ = child.Wait()

	// Its lease has not expired: it may live.
	enqueue(t, c, Backup, ref(1), Active)
	// Half a minute passes.
	if err := c.rdb.ZAddXX(t.Context(), leaseKey(Backup), redis.Z{
		Score: float64(time.Now().Add(-leaseGrace - time.Second).Unix()), Member: ref(1).ID(),
	}).Err(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, c, Backup, ref(1), Settled)
	if depth, err := c.Depth(t.Context()); err != nil || depth[Backup] != 0 {
		t.Errorf("the dead one counts: %v, %v", depth, err)
	}
	began := make(chan Ref, 1)
	startServer(t, o, map[string]int{Backup: 1}, func(_ context.Context, r Ref) (string, error) {
		began <- r
		return "", nil
	})
	next := ref(1)
	next.Admission++
	enqueue(t, c, Backup, next, Pending)
	if r := receive(t, "the next admission", began); r != next {
		t.Errorf("began %v", r)
	}
}

func TestInteractiveStartsFast(t *testing.T) {
	o := Options{URL: servertest.Redis(t)}
	c := newClient(t, o)
	began, end := make(chan time.Time, 64), make(chan struct{})
	startServer(t, o, map[string]int{Interactive: 1, Backup: 1}, func(_ context.Context, r Ref) (string, error) {
		if r.Tenant == "bulk" {
			<-end
			return "", nil
		}
		began <- time.Now()
		return "", nil
	})
	defer close(end)
	enqueue(t, c, Backup, Ref{Tenant: "bulk", Task: "b1"}, Pending)
	enqueue(t, c, Backup, Ref{Tenant: "bulk", Task: "b2"}, Pending) // bulk is full
	var slowest time.Duration
	for i := range 10 {
		sent := time.Now()
		enqueue(t, c, Interactive, ref(i), Pending)
		slowest = max(slowest, receive(t, "an interactive delivery", began).Sub(sent))
	}
	if slowest > time.Second {
		t.Errorf("the slowest interactive start took %v beside a full bulk pool", slowest)
	}
}
