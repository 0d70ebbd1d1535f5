package repository

import (
	"bytes"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// Field numbers of IndexDelta and Change, which are written around entries that are encoded already.
const (
	deltaChanges  = 1
	changeEntry   = 1
	changeRemoved = 2
)

// memtable is what the index says beyond its runs: the change that stands in the manifest, and
// what came since. Not safe for concurrent use.
type memtable struct {
	changes map[string]change // by ID
	packs   []*pb.Pack        // in the order of their numbers
	gone    [][]byte          // IDs of packs that the runs may list and that are of no use any more
	size    int64             // bytes that encoding takes, about
}

// change is what has become of one ID.
type change struct {
	entry []byte // encoded; nil: removed
	place []byte // key of its place; nil: removed
	base  []byte // key of the place that the runs have it at; nil: they do not have it
}

func newMemtable() *memtable { return &memtable{changes: map[string]change{}} }

// readMemtable reads an inline delta.
func readMemtable(d *pb.IndexDelta) (*memtable, error) {
	m := newMemtable()
	for _, c := range d.GetChanges() {
		id, ch := c.Removed, change{base: c.Left}
		if c.Entry != nil {
			data, err := marshal(c.Entry)
			if err != nil {
				return nil, err
			}
			id, ch.entry, ch.place = c.Entry.Id, data, placeKey(c.Entry.Parent, c.Entry.Name, c.Entry.Id)
		}
		if id == "" {
			return nil, tenantry.Errorf(tenantry.Corrupt, "a change of the index has no ID")
		}
		if c.Known && len(ch.base) == 0 {
			ch.base = ch.place
		}
		m.set(id, ch)
	}
	for _, p := range d.GetPacks() {
		if _, err := toPackID(p.Id); err != nil {
			return nil, err
		}
		m.packs = append(m.packs, p)
	}
	for _, id := range d.GetGone() {
		if _, err := toPackID(id); err != nil {
			return nil, err
		}
		m.gone = append(m.gone, id)
	}
	return m, nil
}

// forget has packs listed no more.
func (m *memtable) forget(ids []packID) {
	for _, id := range ids {
		m.packs = slices.DeleteFunc(m.packs, func(p *pb.Pack) bool { return packID(p.Id) == id })
		m.gone = append(m.gone, id[:])
	}
}

// packsSize is about how many bytes the packs take in a manifest.
func (m *memtable) packsSize() int { return len(m.packs)*packRecord + len(m.gone)*goneRecord }

// set sets what has become of an ID; nothing, if the runs never had it.
func (m *memtable) set(id string, c change) {
	m.size -= m.changes[id].size(id)
	if c.entry == nil && c.base == nil {
		delete(m.changes, id)
		return
	}
	m.changes[id] = c
	m.size += c.size(id)
}

// size is about how many bytes a change takes, encoded.
func (c change) size(id string) int64 {
	if c.entry == nil && c.base == nil {
		return 0
	}
	return int64(len(id) + len(c.entry) + len(c.base) + 16)
}

func (m *memtable) empty() bool { return len(m.changes) == 0 && len(m.packs) == 0 && len(m.gone) == 0 }

// ids returns the IDs that have changed, ascending.
func (m *memtable) ids() []string {
	ids := make([]string, 0, len(m.changes))
	for id := range m.changes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, strings.Compare)
	return ids
}

// encode returns the changes as an IndexDelta without packs.
func (m *memtable) encode() []byte {
	var out, one []byte
	for _, id := range m.ids() {
		c := m.changes[id]
		if one = one[:0]; c.entry != nil {
			one = appendBytes(one, changeEntry, c.entry)
		} else {
			one = appendBytes(one, changeRemoved, []byte(id))
		}
		rest := &pb.Change{Known: c.base != nil}
		if !bytes.Equal(c.base, c.place) {
			rest.Left = c.base
		}
		one, _ = proto.MarshalOptions{}.MarshalAppend(one, rest) // two fields that cannot be refused
		out = appendBytes(out, deltaChanges, one)
	}
	return out
}

// delta returns the changes and packs as a message.
func (m *memtable) delta() (*pb.IndexDelta, error) {
	if m.empty() {
		return nil, nil
	}
	d := &pb.IndexDelta{}
	if err := proto.Unmarshal(m.encode(), d); err != nil {
		return nil, tenantry.E(tenantry.Internal, "decode one's own index delta", err)
	}
	d.Packs, d.Gone = m.packs, m.gone
	return d, nil
}

// records returns what the memtable says of keys with a prefix, sorted, as a table has it.
func (m *memtable) records(prefix []byte) ([]record, error) {
	var out []record
	add := func(r record) {
		if bytes.HasPrefix(r.key, prefix) {
			out = append(out, r)
		}
	}
	for id, c := range m.changes {
		if len(prefix) == 0 || prefix[0] == idSpace {
			add(record{key: idKey(id), value: c.entry, dead: c.entry == nil})
		}
		if c.entry != nil {
			add(record{key: c.place, value: c.entry})
		}
		if c.base != nil && !bytes.Equal(c.base, c.place) {
			add(record{key: c.base, dead: true})
		}
	}
	for _, p := range m.packs {
		value, err := marshal(p)
		if err != nil {
			return nil, err
		}
		add(record{key: packKey(packID(p.Id)), value: value})
	}
	for _, id := range m.gone {
		add(record{key: packKey(packID(id)), dead: true})
	}
	slices.SortFunc(out, byKey)
	return out, nil
}

// pack finds a pack that was added.
func (m *memtable) pack(id packID) (*pb.Pack, bool) {
	for _, p := range slices.Backward(m.packs) {
		if packID(p.Id) == id {
			return p, true
		}
	}
	return nil, false
}
