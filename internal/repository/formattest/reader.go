package formattest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// Bucket is what one tenant has in the store: bodies by object name, without prefix and tenant.
type Bucket map[string][]byte

// KeyFile is the local keyring ("Key file").
type KeyFile struct {
	Version int
	Tenants map[string][]struct {
		ID  string
		Key []byte
	}
}

// ParseKeyFile reads a key file.
func ParseKeyFile(text []byte) (KeyFile, error) {
	var f KeyFile
	err := json.Unmarshal(text, &f)
	if err == nil && f.Version != 1 {
		err = fmt.Errorf("key file: version %d", f.Version)
	}
	return f, err
}

// Reader reads a tenant's bucket.
type Reader struct {
	bucket Bucket
	data   map[uint16][]byte // data keys
	hash   []byte            // the hash key
	before [][]byte          // filters of the segments that were read of a run
}

// Item is an entry with its bytes.
type Item struct {
	Entry   *pb.Entry
	Payload []byte
	Parts   [][]byte // one for each of Entry.Parts
}

// Series is what the head of a series says, and the numbers of its live snapshots, newest first.
type Series struct {
	Head *pb.Manifest
	Live []int64
}

// Open finds the series' head: the first in the listing ("Reading without this program", 2).
func (r *Reader) Open(resource, workload string) (*Series, error) {
	prefix := fmt.Sprintf("r/%s/%s/m/", resource, workload)
	var names []string
	for name := range r.bucket {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("series %s has no manifest", prefix)
	}
	head, err := r.manifest(slices.Min(names))
	if err != nil {
		return nil, err
	}
	s := &Series{Head: head}
	for _, live := range head.Live {
		s.Live = append(s.Live, live.Seq)
	}
	return s, nil
}

// Snapshot reads everything in a live snapshot, by entry ID.
func (r *Reader) Snapshot(resource, workload string, seq int64) (map[string]Item, error) {
	folder := fmt.Sprintf("r/%s/%s/", resource, workload)
	m, err := r.manifest(fmt.Sprintf("%sm/%019d", folder, math.MaxInt64-seq))
	if err != nil {
		return nil, err
	}
	if m.Seq != seq || !m.Sealed || len(m.Live) == 0 || m.Live[0].Seq != seq {
		return nil, fmt.Errorf("manifest %d is no snapshot", seq)
	}
	state, err := r.state(folder, m)
	if err != nil {
		return nil, err
	}
	packs, err := r.packs(folder, state)
	if err != nil {
		return nil, err
	}
	items := map[string]Item{}
	for key, value := range state {
		if key[0] != 'i' {
			continue
		}
		item, err := r.item(packs, value)
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", key[1:], err)
		}
		if item.Entry.Id != key[1:] {
			return nil, fmt.Errorf("key %q has the entry %q", key, item.Entry.Id)
		}
		items[item.Entry.Id] = item
	}
	return items, checkSnapshot(m, state, items)
}

// Listed names the packs that the newest state lists, whether or not they are there.
func (r *Reader) Listed(resource, workload string) ([]string, error) {
	s, err := r.Open(resource, workload)
	if err != nil {
		return nil, err
	}
	folder := fmt.Sprintf("r/%s/%s/", resource, workload)
	state, err := r.state(folder, s.Head)
	if err != nil {
		return nil, err
	}
	var names []string
	for key := range state {
		if key[0] == 'p' {
			names = append(names, fmt.Sprintf("%sp/%x", folder, key[1:]))
		}
	}
	return names, nil
}

// packs reads the packs that the space `p` names, by ID. One that is gone must not be needed, and have no changes.
func (r *Reader) packs(folder string, state map[string][]byte) (map[string]*pack, error) {
	packs := map[string]*pack{}
	for key, value := range state {
		if key[0] != 'p' {
			continue
		}
		var record pb.Pack
		if err := proto.Unmarshal(value, &record); err != nil {
			return nil, err
		}
		if _, ok := r.bucket[fmt.Sprintf("%sp/%x", folder, record.Id)]; !ok && record.Changes == 0 {
			continue
		}
		p, err := r.pack(folder, &record)
		if err != nil {
			return nil, err
		}
		packs[key[1:]] = p
	}
	return packs, nil
}

// checkSnapshot holds the space `n` and the counts against the space `i`.
func checkSnapshot(m *pb.Manifest, state map[string][]byte, items map[string]Item) error {
	places := 0
	counts := &pb.Counts{}
	for key := range state {
		if key[0] == 'n' {
			places++
		}
	}
	if places != len(items) {
		return fmt.Errorf("%d places, %d entries", places, len(items))
	}
	for _, id := range slices.Sorted(maps.Keys(items)) {
		e := items[id].Entry
		if !bytes.Equal(state[string(placeKey(e))], state["i"+id]) {
			return fmt.Errorf("entry %q is not at its place", id)
		}
		if e.Kind != "folder" && e.Collection == "" {
			counts.Items++
		}
		if e.Problem != "" {
			counts.Skipped++
		}
		counts.Bytes += int64(len(items[id].Payload))
		for _, part := range items[id].Parts {
			counts.Bytes += int64(len(part))
		}
	}
	if got := m.Counts; got.GetItems() != counts.Items || got.GetSkipped() != counts.Skipped || got.GetBytes() != counts.Bytes {
		return fmt.Errorf("counts are %v, what is there makes %v", got, counts)
	}
	return nil
}

// item reads the bytes of an entry.
func (r *Reader) item(packs map[string]*pack, value []byte) (Item, error) {
	item := Item{Entry: &pb.Entry{}}
	if err := proto.Unmarshal(value, item.Entry); err != nil {
		return item, err
	}
	var err error
	if item.Payload, err = r.content(packs, item.Entry.Payload); err != nil {
		return item, fmt.Errorf("payload: %w", err)
	}
	for _, p := range item.Entry.Parts {
		body, err := r.content(packs, p.Ref)
		if err != nil {
			return item, fmt.Errorf("part %q: %w", p.Name, err)
		}
		if int64(len(body)) != p.Size || !bytes.Equal(r.keyed(body), p.Digest) {
			return item, fmt.Errorf("part %q: size or digest differ", p.Name)
		}
		item.Parts = append(item.Parts, body)
	}
	return item, nil
}

// content follows a Ref ("Content").
func (r *Reader) content(packs map[string]*pack, ref *pb.Ref) ([]byte, error) {
	var body []byte
	switch {
	case ref.GetLength() > 0:
		p := packs[string(ref.Pack)]
		if p == nil {
			return nil, fmt.Errorf("pack %x is not in the index, or gone", ref.Pack)
		}
		if int(ref.Frame) >= len(p.frames) || uint64(ref.Offset)+uint64(ref.Length) > uint64(len(p.frames[ref.Frame])) {
			return nil, fmt.Errorf("pack %x has no such frame or bytes", ref.Pack)
		}
		body = p.frames[ref.Frame][ref.Offset : ref.Offset+ref.Length]
	default:
		for _, c := range ref.GetChunks() {
			plain, err := r.chunk(c)
			if err != nil {
				return nil, err
			}
			body = append(body, plain...)
		}
	}
	if ref.GetDepth() == 0 {
		return body, nil
	}
	var list pb.ChunkList
	if err := proto.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	return r.content(packs, &pb.Ref{Chunks: list.Chunks, Depth: ref.Depth - 1})
}

func (r *Reader) chunk(c *pb.Chunk) ([]byte, error) {
	name := fmt.Sprintf("c/%x.%d", c.Hash, c.Generation)
	o, err := r.open(name, 'c')
	if err != nil {
		return nil, err
	}
	plain, err := o.frame(o.body[8:], 0)
	if err == nil && (len(plain) != int(c.Size) || !bytes.Equal(r.keyed(plain), c.Hash)) {
		err = fmt.Errorf("object %s: other bytes than its name says", name)
	}
	return plain, err
}
