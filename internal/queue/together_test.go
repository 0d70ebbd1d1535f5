package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/servertest"
)

// pipelines counts those that a client sends.
type pipelines struct{ n, commands atomic.Int64 }

func (p *pipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (p *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() != "client" { // the handshake's
			p.n.Add(1)
			p.commands.Add(int64(len(cmds)))
		}
		return next(ctx, cmds)
	}
}

// held is a client whose one round trip is under way until release is called.
type held struct {
	redis.UniversalClient
	hook    *together
	sent    *pipelines
	release func()
}

func holdRoundTrip(t *testing.T, addr string) *held {
	t.Helper()
	client, other := redis.NewClient(&redis.Options{Addr: addr}), redis.NewClient(&redis.Options{Addr: addr})
	h := &held{UniversalClient: client, hook: &together{client: client}, sent: &pipelines{}}
	client.AddHook(h.hook)
	client.AddHook(h.sent)
	done := make(chan error, 1)
	go func() { done <- client.BLPop(context.Background(), 0, "gate").Err() }()
	eventually(t, "the round trip is under way", func() bool { return h.state(func(k *together) bool { return k.flying == flights }) })
	h.release = func() {
		if err := other.LPush(context.Background(), "gate", "x").Err(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { _, _ = client.Close(), other.Close() })
	return h
}

func (h *held) state(of func(*together) bool) bool {
	h.hook.mu.Lock()
	defer h.hook.mu.Unlock()
	return of(h.hook)
}

func (h *held) waits(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d commands wait", n), func() bool {
		return h.state(func(k *together) bool { return len(k.waiting) == n })
	})
}

func TestTogetherSendsWhatWaitsInOneRoundTrip(t *testing.T) {
	h := holdRoundTrip(t, servertest.Redis(t))
	const callers = 2*flightFull + 20
	var all sync.WaitGroup
	answers := make([]int64, callers)
	for i := range callers {
		all.Go(func() {
			var err error
			if answers[i], err = h.Incr(t.Context(), "n").Result(); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := h.Get(t.Context(), "no key").Err(); !errors.Is(err, redis.Nil) {
				t.Errorf("a key that is not there gives %v", err)
			}
		})
	}
	h.waits(t, 2*callers)
	h.release()
	all.Wait()
	slices.Sort(answers)
	for i, got := range answers {
		if got != int64(i+1) {
			t.Fatalf("the answers are %v", answers)
		}
	}
	const fewest = (2*callers + flightFull - 1) / flightFull
	if n, commands := h.sent.n.Load(), h.sent.commands.Load(); n != fewest || commands != 2*callers {
		t.Errorf("%d commands went in %d round trips, want %d in %d", commands, n, 2*callers, fewest)
	}
	if !h.state(func(k *together) bool { return k.flying == 0 && len(k.waiting) == 0 }) {
		t.Error("something is still under way")
	}
}

func TestTogetherGivesEachCommandItsError(t *testing.T) {
	h := holdRoundTrip(t, servertest.Redis(t))
	var all sync.WaitGroup
	all.Go(func() {
		if got, err := h.Set(t.Context(), "text", "a", 0).Result(); err != nil || got != "OK" {
			t.Errorf("set: %q, %v", got, err)
		}
	})
	h.waits(t, 1)
	all.Go(func() {
		if err := h.LPush(t.Context(), "text", "b").Err(); err == nil {
			t.Error("a list was made of a text")
		}
	})
	h.waits(t, 2)
	all.Go(func() {
		if got, err := h.Get(t.Context(), "text").Result(); err != nil || got != "a" {
			t.Errorf("get: %q, %v", got, err)
		}
	})
	h.waits(t, 3)
	h.release()
	all.Wait()
}

func TestTogetherWithdrawsWhatWasNotSent(t *testing.T) {
	h := holdRoundTrip(t, servertest.Redis(t))
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := h.Incr(ctx, "n").Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("a withdrawn command gives %v", err)
		}
	})
	h.waits(t, 1)
	cancel()
	all.Wait()
	h.waits(t, 0)
	h.release()
	if n, err := h.Incr(t.Context(), "n").Result(); err != nil || n != 1 {
		t.Errorf("after a withdrawn increment the next gives %d, %v", n, err)
	}
}

func TestTogetherWithoutRedis(t *testing.T) {
	server := servertest.StartRedis(t)
	h := holdRoundTrip(t, server.Addr)
	h.release()
	server.Kill()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := h.Incr(t.Context(), "n").Err(); err == nil {
				t.Error("a server that is gone has answered")
			}
		})
	}
	all.Wait()
	server.Start()
	eventually(t, "it works again", func() bool { return h.Incr(t.Context(), "n").Err() == nil })
}

func TestTogetherAnswersUnderLoad(t *testing.T) {
	client := sendTogether(redis.NewClient(&redis.Options{Addr: servertest.Redis(t), ContextTimeoutEnabled: true}))
	t.Cleanup(func() { _ = client.Close() })
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for n := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+n%3)*time.Minute)
				key, value := fmt.Sprint("k", i, "-", n), fmt.Sprint(i*n)
				if err := client.Set(ctx, key, value, 0).Err(); err != nil {
					t.Error(err)
				}
				if got, err := client.Get(ctx, key).Result(); err != nil || got != value {
					t.Errorf("%s is %q, %v", key, got, err)
				}
				cancel()
			}
		})
	}
	all.Wait()
}
