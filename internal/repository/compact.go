package repository

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

const (
	// maxLiveShare: a pack is mostly dead when the newest state needs less than one in so many of its bytes.
	maxLiveShare = 4
	// minDead is CompactLimits.MinDead where nothing else is said.
	minDead = 64 << 10
	// maxPackRatio is how well a pack compresses at best, about.
	maxPackRatio = 16
	// compactDays is how often a series is compacted: finding out what is dead reads its index.
	compactDays = 7
	// maxMoved bounds the items that are moved between two commits, some 500 bytes each.
	maxMoved = 20_000
)

// CompactLimits say what a compaction may do.
type CompactLimits struct {
	Budget  int64 // plain bytes that may be written anew
	MinDead int64 // plain bytes that have to be dead for a pack to be touched; 0: 64 KiB
	AnyGain bool  // also where writing the index anew takes more than is freed
}

// Compacted says what Compact has done.
type Compacted struct {
	Packs int   // mostly dead ones that the newest state does not need any more
	Moved int64 // plain bytes that were written anew, out of them
	Frees int64 // stored bytes of those packs, which Sweep deletes once no snapshot needs them
}

// Compact writes anew what the newest state needs of packs that are mostly dead, within limits, of those with
// the least first, and with it the index, if that takes less than will be freed; and commits that. Snapshots that are kept read the old packs as before; once none of them
// does, Sweep deletes these. So it is safe beside readers, and fenced as any commit is. What is damaged stays where it
// is. Of a pack with changes of the index the changes go on in a pack without frames that stands for it.
//
// It reads the index of the newest state two or three times. Memory is 20,000 items, and 100 bytes for each pack. The writer has
// to be fresh: nothing was put.
func (w *Writer) Compact(ctx context.Context, limits CompactLimits) (Compacted, error) {
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.writable(); err != nil {
		return Compacted{}, err
	}
	if w.changed() {
		return Compacted{}, tenantry.Errorf(tenantry.Invalid, "compact series %s: something was put already", w.series)
	}
	rd, err := w.repo.readerOf(w.series, w.head)
	if err != nil {
		return Compacted{}, w.repo.fail(w.series, err)
	}
	defer rd.Close()
	limits.MinDead = cmp.Or(limits.MinDead, minDead)
	c := &compactor{w: w, rd: rd, limits: limits, packs: map[packID]*usedPack{}, moved: map[packed]Ref{}}
	if err := c.run(ctx); err != nil {
		return Compacted{}, w.spoil(err)
	}
	return c.out, nil
}

// CompactDue reports whether it is a series' turn on a day: once a week, on days that differ from series to series.
func (r *Repository) CompactDue(s tenantry.Series, now time.Time) bool {
	h := fnv.New64a()
	fmt.Fprint(h, s)
	return (h.Sum64()+uint64(now.Unix()/86400))%compactDays == 0
}

// usedPack is what the newest state needs of a pack.
type usedPack struct {
	pack  *pb.Pack
	live  int64 // plain bytes
	items int64 // that lie in it
	stays bool  // something in it could not be read
}

type compactor struct {
	w      *Writer
	rd     *Reader
	limits CompactLimits
	packs  map[packID]*usedPack // all, then those that are chosen
	moved  map[packed]Ref       // content that several entries refer to is moved once
	out    Compacted
}

func (c *compactor) run(ctx context.Context) error {
	if err := c.measure(ctx); err != nil {
		return err
	}
	chosen, err := c.choose(ctx)
	if err != nil || len(chosen) == 0 || !c.worth(chosen) {
		return err
	}
	c.w.recent.forget()
	if err := c.moveAll(ctx); err != nil {
		return err
	}
	for _, p := range chosen {
		if p.stays {
			continue
		}
		if err := c.w.carry(ctx, p.pack); err != nil {
			return err
		}
		c.out.Packs++
		c.out.Frees += p.pack.Size
	}
	if err := c.w.consolidate(ctx); err != nil {
		return err
	}
	return c.w.commitAtRest(ctx)
}

// worth reports whether more will be freed than is written: the index as well.
func (c *compactor) worth(chosen []*usedPack) bool {
	if c.limits.AnyGain {
		return true
	}
	gain := int64(0)
	for _, p := range chosen {
		gain += p.pack.Size - p.live
	}
	for _, meta := range c.w.index.segments() {
		gain -= meta.Size
	}
	return gain > 0
}

// consolidate makes one run of everything: an older one still says that what was moved is in the old pack, and
// what any run says counts as needed. The caller holds life.
func (w *Writer) consolidate(ctx context.Context) error {
	if err := w.cutRest(ctx, w.mem); err != nil {
		return err
	}
	records, err := w.mem.records(nil)
	if err != nil {
		return err
	}
	if err := w.rewrite(ctx, records, len(w.index.runs)); err != nil {
		return err
	}
	w.mem = newMemtable()
	return nil
}

// measure finds out what the newest state needs of each pack.
func (c *compactor) measure(ctx context.Context) error {
	top, err := c.rd.inline.records([]byte{packSpace})
	if err != nil {
		return err
	}
	for r, err := range c.rd.index.scan(ctx, top, []byte{packSpace}, nil) {
		if err != nil {
			return err
		}
		p, err := decodePack(r.value)
		if err != nil {
			return err
		}
		c.packs[packID(p.Id)] = &usedPack{pack: p}
	}
	for e, err := range c.rd.Entries(ctx) {
		if err != nil {
			return err
		}
		for ref := range e.refs() {
			if p := c.packs[ref.pack]; ref.length > 0 && p != nil {
				p.items, p.live = p.items+1, p.live+int64(ref.length) // what several entries share counts several times: that errs on the safe side
			}
		}
	}
	return nil
}

// frames is how many bytes of the pack are its frames, stored.
func (p *usedPack) frames() int64 { return p.pack.Size - p.pack.Footer - headerSize - trailerSize }

// candidate reports whether the footer of the pack is worth reading.
func (p *usedPack) candidate(minDead int64) bool {
	switch {
	case p.frames() <= minDead/maxPackRatio:
		return false // there is little that could be dead
	case p.live > p.frames():
		return false // a fourth of the plain bytes would be more than all stored ones
	}
	return p.live > 0 || p.pack.Changes > 0 // otherwise Sweep sees to it
}

// choose leaves in packs those that are mostly dead, as far as the budget goes.
func (c *compactor) choose(ctx context.Context) ([]*usedPack, error) {
	var dead []*usedPack
	for _, p := range c.packs {
		if !p.candidate(c.limits.MinDead) {
			continue
		}
		pr, err := c.rd.repo.openPack(ctx, c.rd.series, p.pack)
		if abort(ctx, err) {
			return nil, err
		}
		if err != nil {
			continue // swept, if nothing lives in it; else a check tells of it
		}
		plain := int64(0)
		for _, n := range pr.plain {
			plain += int64(n)
		}
		if p.live*maxLiveShare < plain && plain-p.live >= c.limits.MinDead {
			dead = append(dead, p)
		}
	}
	slices.SortFunc(dead, func(a, b *usedPack) int {
		return cmp.Or(cmp.Compare(a.live, b.live), slices.Compare(a.pack.Id, b.pack.Id))
	})
	clear(c.packs)
	items, budget := int64(0), c.limits.Budget
	for i, p := range dead {
		budget -= p.live
		if items += p.items; budget < 0 || items > maxMoved {
			return dead[:i], nil
		}
		c.packs[packID(p.pack.Id)] = p
	}
	return dead, nil
}

// moveAll moves what lives in the chosen packs, in the order in which it lies there.
func (c *compactor) moveAll(ctx context.Context) error {
	var entries []Entry
	for e, err := range c.rd.Entries(ctx) {
		if err != nil {
			return err
		}
		for ref := range e.refs() {
			if ref.length > 0 && c.packs[ref.pack] != nil {
				entries = append(entries, e)
				break
			}
		}
	}
	slices.SortFunc(entries, CompareStored)
	for _, e := range entries {
		if err := c.move(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// move puts an entry that lies elsewhere now.
func (c *compactor) move(ctx context.Context, e Entry) error {
	e.Parts = slices.Clone(e.Parts)
	var err error
	if e.Payload, err = c.moveRef(ctx, payloadLane, e.Payload); err != nil {
		return err
	}
	for i := range e.Parts {
		if e.Parts[i].Ref, err = c.moveRef(ctx, contentLane, e.Parts[i].Ref); err != nil {
			return err
		}
	}
	data, err := appendEntry(nil, &e)
	if err != nil {
		return err
	}
	place := placeKey(e.Parent, e.Name, e.ID)
	full, err := c.w.exchange(e.ID, change{entry: data, place: place, base: place}, e.counts(), data)
	if err == nil && full {
		err = c.w.flush(ctx, false)
	}
	return err
}

// moveRef writes anew what lies in a chosen pack, and says where.
func (c *compactor) moveRef(ctx context.Context, l lane, ref Ref) (Ref, error) {
	from := c.packs[ref.pack]
	if ref.length == 0 || from == nil {
		return ref, nil
	}
	at := packed{ref.pack, ref.frame, ref.offset, ref.length}
	to, done := c.moved[at]
	if !done {
		plain, err := c.rd.small(ctx, ref, nil)
		if abort(ctx, err) {
			return ref, err
		}
		if err != nil {
			from.stays = true
			return ref, nil
		}
		if to, err = c.w.putSmall(ctx, l, plain); err != nil {
			return ref, err
		}
		c.moved[at] = to
		c.out.Moved += int64(len(plain))
	}
	to.depth = ref.depth
	return to, nil
}

// carry writes a pack without frames that has the changes of another one and stands for it. Of one without changes
// nothing has to be kept. The caller holds life.
func (w *Writer) carry(ctx context.Context, p *pb.Pack) error {
	if p.Changes == 0 {
		return nil
	}
	footer, err := w.footerOf(ctx, p)
	if err != nil {
		return err
	}
	delta, err := marshal(footer.Delta)
	if err != nil {
		return err
	}
	w.packing.Lock()
	defer w.packing.Unlock()
	empty, err := newPacker(w.repo.keys, w.series)
	if err != nil {
		return err
	}
	w.packNumber++
	object, entry, err := empty.cut(w.packNumber, delta, len(footer.Delta.GetChanges()), chained{previous: footer.Previous, standsFor: cmp.Or(string(p.StandsFor), string(p.Id))})
	if err != nil {
		return err
	}
	if err := w.repo.store.Put(ctx, w.repo.object(packName(w.series, empty.id)), object); err != nil {
		return err
	}
	w.stored.Add(int64(len(object)))
	w.state.Lock()
	defer w.state.Unlock()
	w.mem.packs = append(w.mem.packs, entry, &pb.Pack{Id: p.Id, Number: p.Number, Size: p.Size, Footer: p.Footer, StandsFor: p.StandsFor})
	w.dirty = true
	return nil
}
