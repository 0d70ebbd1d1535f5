package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// An item whose content answers Transient, be it for minutes or for good, must not hold up the others:
//
//	read --Transient--> set aside --asked again at the end of every slice--> read
//	                        |
//	                        +-- failed in maxTries slices --> a problem, tried again in the next run
//
// It is in the index all the while, with its reason and its last good content. A run is not sealed
// before every such item was read or given up; it ends its slice instead, so that the task's backoff
// lies between the tries. Trouble of the whole service ends the slice as ever: it is assumed after
// maxTroubled items that failed with none read in between, and when maxAside items wait already.
//
// A throttle that Microsoft answers to the request for an item (a 503 or 429 on it, not a refusal of our
// own account book) ends the slice all the same: the tenant's cooldown is honoured. But there are items
// that answer so for good, and they must not park their series for ever:
//
//	read --throttled--> set aside, the slice parks; the next reads the rest, then asks again --> read
//	                        |
//	                        +-- throttled in maxTries slices --> a problem, not asked for before the next run
//
// That it is the item and not the tenant shows in what else gets through. While more than maxTroubled items
// were throttled and no content was read since, all of them are in doubt and none is given up; what they
// answered so far counts as one try as soon as something is read.
const (
	maxTries    = 3
	maxTroubled = 5
	maxAside    = 100
)

// putOff reports whether an error of an item's content is a reason to set the item aside: it may pass,
// and the item can be asked for again without its page. Called from several goroutines.
func (b *backup) putOff(ctx context.Context, c *change, err error) bool {
	if tenantry.KindOf(err) != tenantry.Transient && !throttled(err) || isOfSeries(err) || ctx.Err() != nil {
		return false
	}
	if src, ok := b.src.(Rereader); !ok || src.Reread(c.entry) == nil {
		return false
	}
	c.passing = err
	return true
}

// throttled reports whether an error is a throttle that the service itself answered to the request.
func throttled(err error) bool {
	var answer interface{ Answered() int }
	return tenantry.KindOf(err) == tenantry.Throttled && errors.As(err, &answer)
}

// conclude stores an item that was asked for, and decides about one that was not served. An error
// ends the slice: of the series, or because the trouble is not the item's.
func (b *backup) conclude(ctx context.Context, c change) error {
	if c.passing == nil {
		b.troubled = 0
		b.trust()
		return b.store(ctx, c)
	}
	if throttled(c.passing) {
		return b.refused(ctx, c)
	}
	id := c.entry.ID
	if _, known := b.plan.failed[id]; known {
		// Given up before, be it in this run: listed once more it must not hold up the seal again.
		return b.store(ctx, c)
	}
	tries, waits := b.plan.aside[id]
	if !waits && len(b.plan.aside) >= maxAside {
		return c.passing
	}
	if _, counted := b.tried[id]; !counted {
		tries++
	}
	b.tried[id] = tenantry.UntilOf(c.passing)
	b.passing = c.passing
	if c.aside = b.plan.spares(id, tries); c.aside {
		b.plan.aside[id] = tries
	}
	if err := b.store(ctx, c); err != nil || waits {
		return err
	}
	if b.troubled++; b.troubled > maxTroubled {
		return troubled(fmt.Sprintf("read content: %d items failed one after the other", b.troubled), c.passing)
	}
	return nil
}

// refused ends the slice by an item that Microsoft throttled, and counts it.
func (b *backup) refused(ctx context.Context, c change) error {
	id := c.entry.ID
	tries, waits := b.plan.aside[id]
	if _, known := b.plan.failed[id]; known {
		tries = maxTries // given up before: one slice of a run is enough
	} else if !waits {
		if len(b.plan.aside) >= maxAside {
			return c.passing
		}
		b.plan.doubted[id] = struct{}{}
	}
	tries++
	if c.aside = b.plan.spares(id, tries); c.aside {
		b.plan.aside[id] = tries
	} else {
		b.plan.spent[id] = struct{}{}
	}
	if err := b.store(ctx, c); err != nil {
		return err
	}
	return c.passing
}

// trust notes that content was read: the service is not in trouble as a whole, and what it answered
// while it may have been is not held against an item.
func (b *backup) trust() {
	for id := range b.plan.doubted {
		b.plan.aside[id] = min(b.plan.aside[id], 1)
	}
	clear(b.plan.doubted)
}

// troubled ends the slice for a cause that asks, or does not, to be tried again at a certain time.
func troubled(op string, cause error) error {
	err := tenantry.E(tenantry.Transient, op, cause)
	err.Until = tenantry.UntilOf(cause)
	return err
}

// reread asks once more for what could not be read: what is set aside, and what earlier runs gave up.
// As long as something is set aside after that, the slice ends and the run goes on with the next.
func (b *backup) reread(ctx context.Context) error {
	src, ok := b.src.(Rereader)
	if !ok {
		return nil
	}
	ids := b.plan.waiting()
	if len(b.plan.spent) <= maxTroubled {
		// In no order: should a few of them end their slices, then others come first in another run.
		ids = slices.AppendSeq(ids, maps.Keys(b.plan.failed))
	}
	var batch []change
	for _, id := range ids {
		e, ok, err := b.w.Lookup(ctx, id)
		if err != nil {
			return ofSeries(err)
		}
		c, ask := b.retry(src, id, e, ok)
		if !ask {
			continue
		}
		if batch = append(batch, c); len(batch) < b.batchSize() {
			continue
		}
		if err := b.fetchAll(ctx, batch); err != nil {
			return err
		}
		batch = batch[:0]
		if err := b.pause(ctx); err != nil {
			return err
		}
	}
	if err := b.fetchAll(ctx, batch); err != nil {
		return err
	}
	if n := len(b.plan.aside); n > 0 {
		return troubled(fmt.Sprintf("read the content of %d items that were set aside", n), b.passing)
	}
	return nil
}

// retry returns the change that asks again for an entry's parts, if there is reason to.
func (b *backup) retry(src Rereader, id string, e repository.Entry, indexed bool) (c change, ask bool) {
	_, waits := b.plan.aside[id]
	_, spent := b.plan.spent[id]
	until, tried := b.tried[id]
	switch {
	case !indexed || e.Problem == "":
		delete(b.plan.failed, id)
		b.plan.served(id)
		return c, false
	case spent:
		return c, false // it ended a slice of this run
	case !waits && !e.ProblemAt.Before(b.started):
		return c, false // it was tried just now
	case tried && time.Now().Before(until):
		return c, false // we were told to come back later
	}
	c = change{known: true, good: e.Good}
	c.take(e)
	c.entry = c.stored
	if c.item.Parts = src.Reread(e); c.item.Parts == nil {
		b.plan.served(id) // nobody can ask again: it stays as it is
		return c, false
	}
	c.item.ETag, c.item.Content = splitVersion(e.ETag)
	c.entry.Problem, c.entry.ProblemAt, c.entry.ProblemKind, c.entry.Good = "", time.Time{}, "", 0
	return c, true
}
