package formattest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// manifest reads a manifest ("Sealed objects": frame 0).
func (r *Reader) manifest(name string) (*pb.Manifest, error) {
	o, err := r.open(name, 'm')
	if err != nil {
		return nil, err
	}
	plain, err := o.frame(o.body[8:], 0)
	if err != nil {
		return nil, err
	}
	m := &pb.Manifest{}
	return m, proto.Unmarshal(plain, m)
}

// state merges the manifest's inline delta and its runs ("Index"): keys to values.
func (r *Reader) state(folder string, m *pb.Manifest) (map[string][]byte, error) {
	all := map[string][]byte{} // nil: dead
	if err := inline(all, m.Inline); err != nil {
		return nil, err
	}
	last, run := []byte(nil), uint64(0)
	for i, s := range m.Segments {
		if i > 0 && (s.Run > run || s.Run == run && bytes.Compare(s.First, last) <= 0) {
			return nil, fmt.Errorf("segment %x is out of order", s.Id)
		}
		if s.Run != run {
			r.before = nil
		}
		last, run = s.Last, s.Run
		if err := r.segment(all, folder, s); err != nil {
			return nil, err
		}
	}
	for key, value := range all {
		if value == nil {
			delete(all, key)
		}
	}
	return all, nil
}

// set notes what the first to speak of a key says.
func set(all map[string][]byte, key, value []byte) {
	if _, said := all[string(key)]; !said {
		all[string(key)] = value
	}
}

// inline notes what an inline delta says ("Inline").
func inline(all map[string][]byte, d *pb.IndexDelta) error {
	for _, c := range d.GetChanges() {
		if c.Entry == nil {
			set(all, append([]byte{'i'}, c.Removed...), nil)
		} else {
			value, err := proto.Marshal(c.Entry)
			if err != nil {
				return err
			}
			set(all, append([]byte{'i'}, c.Entry.Id...), value)
			set(all, placeKey(c.Entry), value)
		}
		if len(c.Left) > 0 {
			set(all, c.Left, nil)
		}
	}
	for _, p := range d.GetPacks() {
		value, err := proto.Marshal(p)
		if err != nil {
			return err
		}
		set(all, append([]byte{'p'}, p.Id...), value)
	}
	for _, id := range d.GetGone() {
		set(all, append([]byte{'p'}, id...), nil)
	}
	return nil
}

// segment notes what a segment says ("Runs").
func (r *Reader) segment(all map[string][]byte, folder string, s *pb.Segment) error {
	o, err := r.open(fmt.Sprintf("%ss/%x", folder, s.Id), 's')
	if err != nil {
		return err
	}
	plain, begin, err := o.end()
	if err != nil {
		return err
	}
	var tail pb.Tail
	if err := proto.Unmarshal(plain, &tail); err != nil {
		return err
	}
	if tail.Filters > 0 {
		begin -= int(tail.Filters)
		if err := r.filters(o, begin, &tail); err != nil {
			return err
		}
	}
	if s.Size != int64(len(o.body)) || s.Tail+s.Filters != int64(len(o.body)-8-begin) || s.Filters != tail.Filters {
		return fmt.Errorf("object %s is not what the manifest says", o.name)
	}
	var records, ids int64
	at, last := 8, []byte(nil)
	for i, b := range tail.Blocks {
		if at+int(b.Stored) > begin {
			return fmt.Errorf("object %s: block %d passes the tail", o.name, i)
		}
		block, err := o.frame(o.body[at:at+int(b.Stored)], uint32(i))
		if err != nil {
			return err
		}
		if len(block) != int(b.Plain) {
			return fmt.Errorf("object %s: block %d has %d bytes, not %d", o.name, i, len(block), b.Plain)
		}
		at += int(b.Stored)
		first := true
		err = eachRecord(block, func(key, value []byte) error {
			if first && !bytes.Equal(key, b.First) || records == 0 && !bytes.Equal(key, s.First) || bytes.Compare(key, last) <= 0 {
				return fmt.Errorf("object %s: key %q is out of order", o.name, key)
			}
			if key[0] == 'i' {
				ids++
				if !r.inFilters(&tail, key[1:]) {
					return fmt.Errorf("object %s: its filter denies %q", o.name, key)
				}
			}
			records, first, last = records+1, false, bytes.Clone(key)
			set(all, key, value)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if at != begin || records != s.Records || !bytes.Equal(last, s.Last) || !sized(&tail, ids) {
		return fmt.Errorf("object %s: blocks, records, last key or filter are not what is said of them", o.name)
	}
	if len(s.Filter) > 0 && !bytes.Equal(s.Filter, tail.Filter) || len(s.Prints) > 0 && !bytes.Equal(s.Prints, tail.Prints) {
		return fmt.Errorf("object %s: the manifest has another filter", o.name)
	}
	r.before = append(r.before, slices.Concat(tail.Filter, tail.Prints))
	return nil
}

// filters opens the frame of the filters of the segments before this one ("Runs").
func (r *Reader) filters(o *object, begin int, tail *pb.Tail) error {
	if begin < 8 {
		return fmt.Errorf("object %s: its filters are longer than it", o.name)
	}
	plain, err := o.frame(o.body[begin:begin+int(tail.Filters)], uint32(len(tail.Blocks)))
	if err != nil {
		return err
	}
	var all pb.Filters
	if err := proto.Unmarshal(plain, &all); err != nil {
		return err
	}
	if len(all.Filter) != len(r.before) || len(all.Prints) != 0 && len(all.Prints) != len(r.before) {
		return fmt.Errorf("object %s: it has filters of %d segments, the run has %d before it", o.name, len(all.Filter), len(r.before))
	}
	for i, f := range all.Filter {
		if len(all.Prints) > 0 {
			f = slices.Concat(f, all.Prints[i])
		}
		if !bytes.Equal(f, r.before[i]) {
			return fmt.Errorf("object %s: filter %d is not that of the segment", o.name, i)
		}
	}
	return nil
}

// eachRecord walks through a block. A value of nil is a dead key.
func eachRecord(block []byte, visit func(key, value []byte) error) error {
	var key []byte
	number := func() int {
		v, n := binary.Uvarint(block)
		if n <= 0 || v > 1<<30 {
			block = nil
			return -1
		}
		block = block[n:]
		return int(v)
	}
	for len(block) > 0 {
		shared, n := number(), number()
		if shared < 0 || n < 0 || shared > len(key) || n > len(block) {
			return fmt.Errorf("a record's key passes the block")
		}
		key = append(key[:shared:shared], block[:n]...)
		block = block[n:]
		size := number() - 1
		if size < -1 || size > len(block) {
			return fmt.Errorf("a record's value passes the block")
		}
		var value []byte
		if size >= 0 {
			value = append([]byte{}, block[:size]...)
			block = block[size:]
		}
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}

// sized reports whether a segment's filters are as long as those of so many IDs.
func sized(tail *pb.Tail, ids int64) bool {
	if len(tail.Prints) == 0 {
		return int64(len(tail.Filter)) == (16*ids+7)/8
	}
	return len(tail.Filter) == 0 && int64(len(tail.Prints)) <= 2+4+6*ids
}

// inFilters asks the filters of a segment ("Filters").
func (r *Reader) inFilters(tail *pb.Tail, id []byte) bool {
	sum := r.keyed(id)
	if len(tail.Prints) > 0 {
		return slices.Contains(printsIn(tail.Prints, binary.BigEndian.Uint64(sum)>>(64-40)), binary.BigEndian.Uint64(sum)>>(64-40))
	}
	h, d := binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:])
	for k := range uint64(11) {
		bit := (h + k*d) % uint64(8*len(tail.Filter))
		if tail.Filter[bit/8]>>(bit%8)&1 == 0 {
			return false
		}
	}
	return true
}

// printsIn returns the fingerprints of the group that one would be in.
func printsIn(prints []byte, one uint64) (out []uint64) {
	bits, rice := int(prints[0]), int(prints[1])
	group := int(one >> (40 - bits))
	ends, data := prints[2:2+4<<bits], prints[2+4<<bits:]
	begin := uint32(0)
	if group > 0 {
		begin = binary.BigEndian.Uint32(ends[4*group-4:])
	}
	data = data[begin:binary.BigEndian.Uint32(ends[4*group:])]
	at := 0
	bit := func() uint64 {
		b := data[at/8] >> (7 - at%8) & 1
		at++
		return uint64(b)
	}
	for value := uint64(group) << (40 - bits); ; out = append(out, value) {
		ones := uint64(0)
		for at < 8*len(data) && bit() == 1 {
			ones++
		}
		if at+rice > 8*len(data) || at == 8*len(data) && rice > 0 {
			return out
		}
		low := uint64(0)
		for range rice {
			low = low<<1 | bit()
		}
		value += ones<<rice | low
	}
}

// placeKey is the key of an entry in the space `n`.
func placeKey(e *pb.Entry) []byte {
	escape := strings.NewReplacer("\x00", "\x01\x01", "\x01", "\x01\x02").Replace
	name := e.Name[:min(len(e.Name), 512)]
	return []byte("n" + escape(e.Parent) + "\x00" + escape(name) + "\x00" + escape(e.Id))
}
