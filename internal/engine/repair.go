package engine

import (
	"context"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Damage that a verification has found is healed by the next backup, in three steps that are commits
// of the series, so that any of them may be cut short and repeated:
//
//	Repair                     Backup begins                   Backup seals
//	the plan names the items → their versions are forgotten, → they were read again; what could
//	                           their collections read anew     not be keeps its problem
//
// The plan is among the cursors of the manifest: the list of what is damaged lies in the bucket.

// maxDamaged bounds the items that the plan of a series names. What is beyond it is found again by the
// next verification.
const maxDamaged = 10_000

// maxFound bounds the items and objects that one verification hands on.
const maxFound = 2_000

// damagedReason is the problem of an item until it was read again.
const damagedReason = "what was stored of it is damaged; it is read again with the next backup"

// Current is what Repair reads of the state that a backup would go on from, as *repository.Writer
// provides it.
type Current interface {
	Lookup(ctx context.Context, id string) (repository.Entry, bool, error)
	Cursors
	Checkpoint(ctx context.Context) error
}

// Repair has the next backup of a series read damaged items again, in one commit; it returns how many. ids
// are items that cannot be read in a snapshot; what has been stored anew since, or is no more, is not
// damaged now and left out.
func Repair(ctx context.Context, snap Snapshot, w Current, ids []string) (int, error) {
	p, err := loadPlan(w)
	if err != nil {
		return 0, err
	}
	marked := 0
	for _, id := range ids {
		if len(p.damaged) >= maxDamaged {
			break
		}
		then, ok, err := snap.Lookup(ctx, id)
		if err != nil || !ok {
			if err != nil {
				return marked, err
			}
			continue
		}
		now, ok, err := w.Lookup(ctx, id)
		if err != nil {
			return marked, err
		}
		if _, known := p.damaged[id]; ok && !known && shares(then, now) {
			p.damaged[id] = struct{}{}
			marked++
		}
	}
	if err := p.save(w); err != nil {
		return marked, err
	}
	return marked, w.Checkpoint(ctx)
}

// shares reports whether two versions of an item have stored content in common.
func shares(a, b repository.Entry) bool {
	if !a.Payload.IsZero() && a.Payload.Equal(b.Payload) {
		return true
	}
	return slices.ContainsFunc(a.Parts, func(p repository.Part) bool {
		return slices.ContainsFunc(b.Parts, func(q repository.Part) bool { return p.Ref.Equal(q.Ref) && !p.Ref.IsZero() })
	})
}

// forgetDamaged forgets the versions of damaged items, and has the collections that list them read
// from the start: what they show of such an item is then stored anew.
func (b *backup) forgetDamaged(ctx context.Context) error {
	for _, id := range sorted(b.plan.damaged) {
		e, ok, err := b.w.Lookup(ctx, id)
		if err != nil {
			return err
		}
		delete(b.plan.damaged, id)
		if !ok {
			continue
		}
		b.plan.healing[id] = struct{}{}
		e.ETag, e.Problem, e.ProblemAt = "", damagedReason, time.Now()
		e.ProblemKind, e.Good = tenantry.Corrupt, 0
		if err := b.w.Put(ctx, e); err != nil {
			return err
		}
		home := b.home(e)
		delete(b.plan.sweeps, home)
		delete(b.plan.lists, home)
		if cur := b.cursor(home); cur.Link != "" || cur.Complete {
			b.w.SetCursor(home, repository.Cursor{Generation: cur.Generation + 1})
		}
	}
	return nil
}

// healed returns how many damaged items were read again by this run. What was not keeps its problem: an
// item that the source does not show any more is gone with the sweep.
func (b *backup) healed(ctx context.Context) (Healed, error) {
	var out Healed
	for id := range b.plan.healing {
		e, ok, err := b.w.Lookup(ctx, id)
		if err != nil {
			return out, err
		}
		switch {
		case ok && e.Problem == damagedReason: // its collection could not be read
			b.plan.damaged[id] = struct{}{}
			out.Left++
		case ok && e.Problem != "": // it was asked for and is tried again, as others are
			out.Left++
		default:
			out.Items++
		}
	}
	clear(b.plan.healing)
	return out, nil
}
