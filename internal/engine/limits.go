package engine

import (
	"cmp"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Limits bound a slice of a task. A zero field stands for its default.
type Limits struct {
	// SliceTime ends a slice that has got something done; default 15 minutes, and never above the
	// hour for which the repository holds uncommitted shared content safe.
	SliceTime time.Duration
	// SlicePages ends a slice of a backup that has read so many pages with something on them, so that
	// a giant mailbox gives its slot to others however fast it is read; default 1000.
	SlicePages int
	// CheckpointBytes of uncommitted packs make a checkpoint; default 32 MiB.
	CheckpointBytes int64
	// CheckpointTime since the last one makes a checkpoint; default 5 minutes.
	CheckpointTime time.Duration
	// ContentBytes of one part are read before what is stored of it is committed, too: a killed worker's successor goes on
	// there. Default 64 MiB.
	ContentBytes int64
	// Concurrency is how many items are fetched or written at once; default 4, which is what
	// Graph allows for one mailbox.
	Concurrency int
}

func (l Limits) orDefault() Limits {
	return Limits{
		SliceTime:       min(cmp.Or(l.SliceTime, 15*time.Minute), time.Hour),
		SlicePages:      cmp.Or(l.SlicePages, 1000),
		CheckpointBytes: cmp.Or(l.CheckpointBytes, 32<<20),
		CheckpointTime:  cmp.Or(l.CheckpointTime, 5*time.Minute),
		ContentBytes:    cmp.Or(l.ContentBytes, 64<<20),
		Concurrency:     cmp.Or(l.Concurrency, 4),
	}
}

// maxProblems is how many problems an Outcome lists.
const maxProblems = 100

// Outcome says how a slice ended.
type Outcome struct {
	Done     bool // false: more to do; a backup has committed a checkpoint
	Snapshot repository.Snapshot
	Counts   tenantry.Counts
	Problems []Problem // at most 100 kept, Counts.Skipped says how many
	Damage   Damage    // of a verification
	Healed   Healed    // of a backup that is done
	// Notes is what holds for all that a restore has written, see Noter.
	Notes string
	// Unsettled: the source changed in every round of a backup, and what moved meanwhile may be missing. One of the
	// problems says where; the next run should come soon.
	Unsettled bool
}

// Damage is what a verification has found: the items, at most 2,000 (Counts.Skipped says how many
// there are), and the stored objects that are at fault, by their names within the tenant.
type Damage struct {
	Items   []string // IDs
	Objects []string
}

// Healed says what became of items whose stored content was damaged.
type Healed struct {
	Items int // read again, or gone from the source
	Left  int // to be tried again
}

// Problem is one item that could not be saved, restored or verified, and why.
type Problem struct {
	ID, Name, Reason string
	Kind             tenantry.Kind // class of the reason
	// What follows is of items that could not be saved.
	Since    time.Time // it fails for this reason
	Snapshot int64     // that has its last good version, 0 if none has, or it is not known which
	Again    bool      // the next run asks for it; else only a change of the item does
}

// slice is the bounded stretch of work that every action runs in: what it has done so far, and
// whether it is over. Safe for concurrent use.
type slice struct {
	limits   Limits
	drain    <-chan struct{}
	report   func(tenantry.Counts)
	started  time.Time
	mu       sync.Mutex
	counts   tenantry.Counts
	problems []Problem
	worked   bool
	pages    int
	whole    bool // it cannot be interrupted and gone on with: only a drain ends it
}

func newSlice(l Limits, drain <-chan struct{}, progress func(tenantry.Counts)) *slice {
	if progress == nil {
		progress = func(tenantry.Counts) {}
	}
	return &slice{limits: l.orDefault(), drain: drain, report: progress, started: time.Now()}
}

func (s *slice) add(c tenantry.Counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = s.counts.Add(c)
}

func (s *slice) problem(p Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Skipped++
	if len(s.problems) < maxProblems {
		s.problems = append(s.problems, p)
	}
}

// progressed notes that the slice changed something: only then does its time end it. So a slice
// that spends its time finding that nothing is new still comes to an end of the task.
func (s *slice) progressed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worked = true
}

// turned notes that a page with something on it was read to its end.
func (s *slice) turned() {
	s.progressed()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages++
}

// over reports whether the slice has to end: the worker drains, its time is up, or its pages are read.
func (s *slice) over() bool {
	if s.draining() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worked && !s.whole && (time.Since(s.started) >= s.limits.SliceTime || s.pages >= s.limits.SlicePages)
}

func (s *slice) draining() bool {
	select {
	case <-s.drain:
		return true
	default:
		return false
	}
}

func (s *slice) progress() { s.report(s.outcome(false).Counts) }

func (s *slice) outcome(done bool) Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Outcome{Done: done, Counts: s.counts, Problems: append([]Problem(nil), s.problems...)}
}
