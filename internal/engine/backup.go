package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// maxRounds is how many further rounds follow the first. Each one closes the gap that moves
	// during the round before it left; a mailbox that never rests is sealed all the same, and the
	// next run finds the rest.
	maxRounds = 3
	// maxRestarts is how often one collection may be enumerated anew within a slice. A link that
	// is refused over and over then waits for the task's backoff instead of looping.
	maxRestarts = 3
	// maxGone is how many removed entries are remembered so that a move need not fetch again.
	maxGone = 10_000
	// maxFailed is how many items with a bad part are tried again in every run.
	maxFailed = 1000
)

// errSliceOver ends a slice in good order.
var errSliceOver = tenantry.Errorf(tenantry.Canceled, "slice is over")

// backup is one slice of a backup.
type backup struct {
	*slice
	src    Source
	w      Series
	plan   *plan
	commit time.Time // when the last checkpoint was

	again     bool                        // a further round over everything is due
	cut       bool                        // the page at hand shows what was counted before, too
	reopened  bool                        // some that were read have to be read again, whenever that was
	tick      int                         // counts the collections that were read
	readAt    map[string]int              // when each was
	missed    int                         // what was read before has to be read again
	vanished  map[string]int              // items that were removed and not shown elsewhere yet: when
	looks     map[string]string           // what lists showed last
	early     bool                        // lists are read before what lists them
	unsettled bool                        // the rounds came to their bound
	born      map[string]struct{}         // items that no snapshot has yet
	restarts  map[string]int              // enumerations started over, by collection
	lost      map[string]error            // collections that were not found
	refusals  map[string]error            // collections that were refused
	gone      map[string]repository.Entry // removed in this slice: their content is known

	ahead ahead // what the page at hand shows and is not done

	// batch guards all of this while a batch of items is fetched, and so do its goroutines.
	batch sync.Mutex

	troubled int                  // items that answered Transient with none read in between
	passing  error                // what the last of them answered
	tried    map[string]time.Time // those of this slice, each a try: until when not to ask again
}

// Backup runs one slice of a backup: it reads what changed since the series' last commit, stores it,
// and seals when everything was read. It ends with Outcome.Done false and a committed checkpoint when
// the slice's time is up or drain is closed. Errors of the source end the slice too, after a
// checkpoint, so that nothing is read twice: Throttled and Transient to be tried again, Reconnect,
// Denied, Absent and Shared for the worker to judge. An error of the series (Fenced above all) means
// that what was not committed is void. The outcome is valid beside an error.
//
// When the series was sealed by this very task already, Backup returns that snapshot and reads nothing.
func Backup(ctx context.Context, src Source, w Series, l Limits, drain <-chan struct{}, progress func(tenantry.Counts)) (Outcome, error) {
	if snap, ok := w.SealedByTask(); ok {
		return Outcome{Done: true, Snapshot: snap}, nil
	}
	p, err := loadPlan(w)
	if err != nil {
		return Outcome{}, err
	}
	b := &backup{
		slice: newSlice(l, drain, progress), src: src, w: w, plan: p, commit: time.Now(),
		restarts: map[string]int{}, readAt: map[string]int{}, vanished: map[string]int{}, looks: map[string]string{}, born: map[string]struct{}{}, lost: map[string]error{}, refusals: map[string]error{}, gone: map[string]repository.Entry{},
		tried: map[string]time.Time{},
	}
	if err := b.forgetDamaged(ctx); err != nil {
		return b.outcome(false), err
	}
	if err := b.spaces(ctx); err != nil {
		return b.park(ctx, err)
	}
	if err := b.reread(ctx); err != nil {
		return b.park(ctx, err)
	}
	return b.seal(ctx)
}

// seal sweeps and commits the snapshot.
func (b *backup) seal(ctx context.Context) (Outcome, error) {
	if err := b.sweep(ctx); err != nil {
		return b.outcome(false), err
	}
	for id, cause := range b.lost {
		if b.plan.has(id) {
			b.problem(Problem{ID: id, Reason: "folder cannot be read: " + cause.Error(), Kind: tenantry.KindOf(cause), Again: true})
		}
	}
	clear(b.plan.spent)
	b.plan.open = false
	healed, err := b.healed(ctx)
	if err != nil {
		return b.outcome(false), err
	}
	if err := b.plan.save(b.w); err != nil {
		return b.outcome(false), err
	}
	snap, err := b.w.Seal(ctx, time.Now())
	if err != nil {
		return b.outcome(false), err
	}
	out := b.outcome(true)
	out.Snapshot, out.Healed, out.Unsettled = snap, healed, b.unsettled
	return out, nil
}

// park ends a slice early. What was read so far is committed first, unless the series itself failed:
// then its memory is void.
func (b *backup) park(ctx context.Context, cause error) (Outcome, error) {
	if isOfSeries(cause) || ctx.Err() != nil {
		return b.outcome(false), cause
	}
	if err := b.checkpoint(ctx); err != nil {
		return b.outcome(false), err
	}
	if errors.Is(cause, errSliceOver) {
		cause = nil
	}
	return b.outcome(false), cause
}

func (b *backup) checkpoint(ctx context.Context) error {
	b.plan.open = b.plan.open || len(b.born) > 0
	if err := b.plan.save(b.w); err != nil {
		return err
	}
	if err := b.w.Checkpoint(ctx); err != nil {
		return &seriesError{err}
	}
	b.commit = time.Now()
	b.progress()
	return nil
}

// pause is called between pages and between batches of a page: it commits when enough has come
// together and ends the slice when it is over.
func (b *backup) pause(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return tenantry.E(tenantry.KindOf(err), "back up", err)
	}
	if b.over() {
		return errSliceOver
	}
	if b.w.Pending() >= b.limits.CheckpointBytes || time.Since(b.commit) >= b.limits.CheckpointTime {
		return b.checkpoint(ctx)
	}
	b.progress()
	return nil
}

func (b *backup) progress() {
	out := b.outcome(false)
	b.report(out.Counts)
}

// outcome adds to the slice's what the series tells.
func (b *backup) outcome(done bool) Outcome {
	out := b.slice.outcome(done)
	out.Counts.Stored = b.w.Stored()
	items, bytes := b.ahead.sum()
	out.Counts.Found, out.Counts.FoundBytes = out.Counts.Items+items, out.Counts.Bytes+bytes
	out.Counts.Total = out.Counts.Found
	if !done {
		out.Counts.Total = max(out.Counts.Total, out.Counts.Items+b.expected())
	}
	return out
}

// seriesError marks an error that came from the series: whatever is uncommitted is void, and no
// checkpoint may follow.
type seriesError struct{ err error }

func (e *seriesError) Error() string { return e.err.Error() }
func (e *seriesError) Unwrap() error { return e.err }

func isOfSeries(err error) bool { var bad *seriesError; return errors.As(err, &bad) }

func ofSeries(err error) error {
	if err == nil {
		return nil
	}
	return &seriesError{err}
}
