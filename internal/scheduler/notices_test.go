package scheduler

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// teller notes the fences under which people are told, and answers as it is told to.
type teller struct {
	mu     sync.Mutex
	fences []int64
	answer error
	news   chan struct{}
}

func (r *teller) Round(_ context.Context, fence int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fences = append(r.fences, fence)
	select {
	case r.news <- struct{}{}:
	default:
	}
	return r.answer
}

func (r *teller) say(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = err
}

func (r *teller) last() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.fences) == 0 {
		return 0
	}
	return r.fences[len(r.fences)-1]
}

// People are told by the scheduler that leads, under its fence: one that stands by tells nobody, one that was fenced off
// begins a new term, and what fails is tried again.
func TestOnlyTheLeaderTells(t *testing.T) {
	h := newHouse(t)
	people := &teller{news: make(chan struct{}, 1), answer: errors.New("no mail server")}
	idle := &teller{news: make(chan struct{}, 1)}
	start := func(r *teller) *Scheduler {
		t.Helper()
		cfg := h.config()
		cfg.Notices, cfg.NoticesEvery = r, 10*time.Millisecond
		s, err := New(cfg)
		h.must(err)
		h.must(s.Start(t.Context()))
		return s
	}
	told := func(r *teller, what string, holds func(fence int64) bool) {
		t.Helper()
		for deadline := time.After(2 * time.Minute); ; {
			select {
			case <-r.news:
				if holds(r.last()) {
					return
				}
			case <-deadline:
				t.Fatalf("waited in vain: %s", what)
			}
		}
	}
	first := start(people)
	told(people, "somebody is told", func(fence int64) bool { return fence > 0 })
	told(people, "again, after a failure", func(fence int64) bool { return fence > 0 })
	second := start(idle)
	before := people.last()
	people.say(tenantry.Errorf(tenantry.Fenced, "another leads"))
	told(people, "the fenced round", func(int64) bool { return true })
	people.say(nil)
	h.must(first.Stop(context.Background()))
	told(idle, "the other one tells", func(fence int64) bool { return fence > before })
	h.must(second.Stop(context.Background()))
}
