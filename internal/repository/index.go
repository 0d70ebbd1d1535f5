package repository

import (
	"bytes"
	"crypto/rand"
	"slices"

	"github.com/zeebo/blake3"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// Field numbers of IndexDelta and Entry, which are walked without decoding them.
const (
	deltaPacks   = 1
	deltaWords   = 2
	deltaEntries = 3
	deltaRemoved = 4
	entryID      = 1
)

// index is the state of a series: all entries, by ID. Entries stay encoded, in slabs as
// they came from pack footers, and are decoded when asked for: about 60 bytes of memory
// per entry beside its encoding. Not safe for concurrent use.
type index struct {
	slabs []*slab
	at    map[idKey]loc
	salt  [32]byte
}

// slab is one index delta in memory.
type slab struct {
	data  []byte
	packs []packID
	words []string
}

// loc is where an entry lies: slabs[slab].data[off:off+n].
type loc struct{ slab, off, n uint32 }

// idKey stands for an ID: 128 bits of a hash that is salted by the process, so that
// nobody can make two IDs meet.
type idKey [16]byte

func newIndex() *index {
	ix := &index{at: map[idKey]loc{}}
	_, _ = rand.Read(ix.salt[:])
	return ix
}

func (ix *index) key(id string) idKey {
	var stack [256]byte
	buf := append(append(stack[:0], ix.salt[:]...), id...)
	sum := blake3.Sum256(buf)
	return idKey(sum[:16])
}

// get returns the entry with the ID.
func (ix *index) get(id string) (Entry, bool, error) {
	l, ok := ix.at[ix.key(id)]
	if !ok {
		return Entry{}, false, nil
	}
	e, err := ix.decode(l)
	return e, err == nil, err
}

func (ix *index) decode(l loc) (Entry, error) {
	s := ix.slabs[l.slab]
	return decodeEntry(s.data[l.off:l.off+l.n], s.packs, s.words)
}

// id returns the ID of the entry at l, which has been found well-formed before.
func (ix *index) id(l loc) []byte {
	id, _ := entryIDOf(ix.slabs[l.slab].data[l.off : l.off+l.n])
	return id
}

// sorted returns where all entries lie, in ascending order of their IDs.
func (ix *index) sorted() []loc {
	locs := make([]loc, 0, len(ix.at))
	for _, l := range ix.at {
		locs = append(locs, l)
	}
	slices.SortFunc(locs, func(a, b loc) int { return bytes.Compare(ix.id(a), ix.id(b)) })
	return locs
}

// fold applies an encoded IndexDelta on top of the state. It keeps data.
func (ix *index) fold(data []byte) error {
	s := &slab{data: data}
	number := uint32(len(ix.slabs))
	ix.slabs = append(ix.slabs, s)
	return walkDelta(data, deltaVisitor{
		pack: func(b []byte) error {
			id, err := toPackID(b)
			s.packs = append(s.packs, id)
			return err
		},
		word: func(b []byte) { s.words = append(s.words, string(b)) },
		entry: func(id []byte, off, n int) {
			ix.at[ix.key(string(id))] = loc{slab: number, off: uint32(off), n: uint32(n)}
		},
		removed: func(id []byte) { delete(ix.at, ix.key(string(id))) },
	})
}

// deltaVisitor is told what an encoded IndexDelta holds.
type deltaVisitor struct {
	pack    func(id []byte) error
	word    func(word []byte)
	entry   func(id []byte, off, n int)
	removed func(id []byte)
}

// walkDelta visits an encoded IndexDelta without decoding its entries.
func walkDelta(data []byte, v deltaVisitor) error {
	for off := 0; off < len(data); {
		field, value, n, err := nextBytes(data[off:])
		if err != nil {
			return err
		}
		off += n
		switch field {
		case deltaPacks:
			if err := v.pack(value); err != nil {
				return err
			}
		case deltaWords:
			v.word(value)
		case deltaEntries:
			id, err := entryIDOf(value)
			if err != nil {
				return err
			}
			v.entry(id, off-len(value), len(value))
		case deltaRemoved:
			v.removed(value)
		}
	}
	return nil
}

// entryIDOf returns the ID in an encoded Entry.
func entryIDOf(data []byte) ([]byte, error) {
	for len(data) > 0 {
		field, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			break
		}
		if field == entryID && typ == protowire.BytesType {
			if id, m := protowire.ConsumeBytes(data[n:]); m >= 0 {
				return id, nil
			}
			break
		}
		m := protowire.ConsumeFieldValue(field, typ, data[n:])
		if m < 0 {
			break
		}
		data = data[n+m:]
	}
	return nil, tenantry.Errorf(tenantry.Corrupt, "an index entry has no ID")
}

// nextBytes reads one length-delimited field and returns how many bytes it took.
func nextBytes(data []byte) (field protowire.Number, value []byte, n int, err error) {
	field, typ, n := protowire.ConsumeTag(data)
	if n < 0 || typ != protowire.BytesType {
		return 0, nil, 0, tenantry.Errorf(tenantry.Corrupt, "an index delta is not well-formed")
	}
	value, m := protowire.ConsumeBytes(data[n:])
	if m < 0 {
		return 0, nil, 0, tenantry.Errorf(tenantry.Corrupt, "an index delta is not well-formed")
	}
	return field, value, n + m, nil
}

// delta is the change of the state that no pack has carried away yet. Its entries are
// part of the index already, in a slab of their own.
type delta struct {
	tables
	slab    *slab
	number  uint32 // of the slab
	ops     []op
	removed []string
}

type op struct {
	key idKey
	loc loc
}

func (ix *index) newDelta() *delta {
	d := &delta{tables: newTables(), slab: &slab{}, number: uint32(len(ix.slabs))}
	ix.slabs = append(ix.slabs, d.slab)
	return d
}

// put sets an entry in the index and notes it in d.
func (ix *index) put(d *delta, e *Entry) error {
	off := len(d.slab.data)
	data, err := d.appendEntry(d.slab.data, e)
	if err != nil {
		return err
	}
	d.slab.data, d.slab.packs, d.slab.words = data, d.packs, d.words
	o := op{key: ix.key(e.ID), loc: loc{slab: d.number, off: uint32(off), n: uint32(len(data) - off)}}
	d.ops = append(d.ops, o)
	ix.at[o.key] = o.loc
	return nil
}

// remove drops an entry from the index and notes it in d.
func (ix *index) remove(d *delta, id string) {
	delete(ix.at, ix.key(id))
	d.removed = append(d.removed, id)
}

// encoded is a delta as it is stored.
type encoded struct {
	data             []byte
	entries, removed int
}

// encode returns d as an IndexDelta in which every ID stands at most once: what the
// index says now. Entries that were set again or dropped since are left out.
func (ix *index) encode(d *delta) encoded {
	var out encoded
	for _, id := range d.packs {
		out.data = appendBytes(out.data, deltaPacks, id[:])
	}
	for _, word := range d.words {
		out.data = appendBytes(out.data, deltaWords, []byte(word))
	}
	for _, o := range d.ops {
		if ix.at[o.key] == o.loc {
			out.data = appendBytes(out.data, deltaEntries, d.slab.data[o.loc.off:o.loc.off+o.loc.n])
			out.entries++
		}
	}
	seen := make(map[idKey]struct{}, len(d.removed))
	for _, id := range d.removed {
		key := ix.key(id)
		_, lives := ix.at[key]
		_, twice := seen[key]
		if lives || twice {
			continue
		}
		seen[key] = struct{}{}
		out.data = appendBytes(out.data, deltaRemoved, []byte(id))
		out.removed++
	}
	return out
}

func appendBytes(dst []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), value)
}

// adopt applies a manifest's inline delta to the index and notes it in d, so that the
// next pack carries it away.
func (ix *index) adopt(d *delta, inline *pb.IndexDelta) error {
	packs := make([]packID, len(inline.GetPacks()))
	for i, b := range inline.GetPacks() {
		id, err := toPackID(b)
		if err != nil {
			return err
		}
		packs[i] = id
	}
	for _, m := range inline.GetEntries() {
		data, err := marshal(m)
		if err != nil {
			return err
		}
		e, err := decodeEntry(data, packs, inline.Words)
		if err != nil {
			return err
		}
		if err := ix.put(d, &e); err != nil {
			return err
		}
	}
	for _, id := range inline.GetRemoved() {
		ix.remove(d, id)
	}
	return nil
}
