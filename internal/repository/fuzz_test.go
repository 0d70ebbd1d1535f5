package repository

import (
	"bytes"
	"context"
	"io"
	"math"
	"runtime/metrics"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// Whoever has no key gets no further than the authentication of a frame. These targets let
// arbitrary bytes in behind it: what damage in memory, a bug of a writer, or a thief with the
// key could do. The answer is an error; never a panic, never memory that the bytes do not justify.

// fuzzed is a repository in memory whose keys a target can use.
func fuzzed(f *testing.F) (*Repository, *blobtest.Memory) {
	k, err := newKeys(&pb.KeyMaterial{
		DataKeys: []*pb.DataKey{{Number: 1, Key: bytes.Repeat([]byte{7}, 32)}}, HashSecret: bytes.Repeat([]byte{8}, 32),
	})
	if err != nil {
		f.Fatal(err)
	}
	store := blobtest.NewMemory()
	return &Repository{store: store, tenant: testSeries.Tenant, keys: k}, store
}

// heap is how many bytes were allocated so far.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// spent fails if more was allocated since before than n bytes of input justify: a few buffers that
// are made once, and of zstd and protobuf what a byte can become.
func spent(t *testing.T, before uint64, n int) {
	t.Helper()
	const once, perByte = 32 << 20, 64 << 10
	if got := heap() - before; got > once+uint64(n)*perByte {
		t.Fatalf("%d bytes were allocated for an input of %d", got, n)
	}
}

// refused fails unless an error says that stored data is wrong.
func refused(t *testing.T, err error) {
	t.Helper()
	switch tenantry.KindOf(err) {
	case tenantry.Corrupt, tenantry.Invalid, tenantry.NotFound, tenantry.WrongKey:
	default:
		if err != nil {
			t.Fatalf("%v (%s)", err, tenantry.KindOf(err))
		}
	}
}

func FuzzFrame(f *testing.F) {
	r, _ := fuzzed(f)
	b, err := r.keys.newBox("c/fuzz", kindChunk)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, uint32(100))
	f.Add(encoder().EncodeAll(bytes.Repeat([]byte{0}, 1<<20), nil), uint32(1<<20))
	f.Add(encoder().EncodeAll([]byte("below 256 bytes"), nil), uint32(15))
	f.Add(append(encoder().EncodeAll([]byte("two"), nil), encoder().EncodeAll(make([]byte, 1<<20), nil)...), uint32(4<<20))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0x3f, 0, 0, 0, 0, 1, 0, 0}, uint32(maxPlain)) // claims 1 GiB
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 3, 0, 0, 1}, uint32(maxPlain))                            // a large window
	f.Fuzz(func(t *testing.T, data []byte, limit uint32) {
		stored := b.aead.Seal(nil, nil, data, b.bound(0))
		before := heap()
		plain, err := b.open(stored, 0, int(min(limit, maxPlain)))
		spent(t, before, len(data))
		refused(t, err)
		if err == nil && len(plain) > int(limit) {
			t.Fatalf("%d bytes, more than %d", len(plain), limit)
		}
		_, err = b.open(data, 0, int(limit))
		if tenantry.KindOf(err) != tenantry.Corrupt {
			t.Fatalf("what is not sealed opens: %v", err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	r, store := fuzzed(f)
	name := manifestName(testSeries, 1)
	sealed := &pb.Snapshot{Seq: 1}
	for _, m := range []*pb.Manifest{
		{},
		{Version: formatVersion, Seq: 1, Sealed: true, Live: []*pb.Snapshot{sealed}, Inline: &pb.IndexDelta{
			Changes: []*pb.Change{{Entry: &pb.Entry{Id: "a", Parent: "p", Payload: &pb.Ref{Pack: make([]byte, 16), Length: 9}}}, {Removed: "b", Known: true, Left: []byte("nb")}},
			Packs:   []*pb.Pack{{Id: make([]byte, 16), Size: math.MaxInt64, Footer: maxEnd}},
		}},
		{Version: formatVersion, Seq: 1, Sealed: true, Live: []*pb.Snapshot{sealed}, Segments: []*pb.Segment{
			{Id: make([]byte, 16), Run: 2, First: []byte("i"), Last: []byte("z"), Size: math.MaxInt64, Tail: maxEnd, Records: -1},
		}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := r.openManifest(testSeries, 1, data); err == nil {
			t.Fatal("what is not sealed opens")
		}
		b, err := r.keys.newBox(name, kindManifest)
		if err != nil {
			t.Fatal(err)
		}
		body := b.seal(bytes.Clone(b.header[:]), data, 0)
		if err := store.Put(t.Context(), r.object(name), body); err != nil {
			t.Fatal(err)
		}
		before := heap()
		refused(t, readSnapshot(t.Context(), r, 1))
		if w, err := r.Begin(t.Context(), testSeries, Fence{Epoch: math.MaxInt64, Task: "fuzz"}); err == nil {
			_, _, _ = w.Lookup(t.Context(), "a")
			w.Close()
			refused(t, store.Delete(t.Context(), r.object(manifestName(testSeries, 2)))) // a takeover
		}
		spent(t, before, len(data))
	})
}

// readSnapshot reads all that there is, up to the first error.
func readSnapshot(ctx context.Context, r *Repository, seq int64) error {
	rd, err := r.OpenSnapshot(ctx, testSeries, seq)
	if err != nil {
		return err
	}
	defer rd.Close()
	for e, err := range rd.Children(ctx, "p") {
		if err != nil {
			return err
		}
		if _, err := rd.Payload(ctx, e); err != nil {
			return err
		}
	}
	for e, err := range rd.Entries(ctx) {
		if err != nil {
			return err
		}
		for _, p := range e.Parts {
			stream, err := rd.Open(ctx, e, p)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, stream)
			_ = stream.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func FuzzFooter(f *testing.F) {
	r, store := fuzzed(f)
	add := func(m *pb.Footer) {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, int64(0), int64(0))
		f.Add(data, int64(1), int64(-1))
	}
	add(&pb.Footer{})
	add(&pb.Footer{Frames: []*pb.Frame{{Stored: 44, Plain: 5}, {Stored: math.MaxUint32, Plain: math.MaxUint32}}, Number: 3})
	add(&pb.Footer{Frames: []*pb.Frame{{Stored: 44, Plain: 5}}, Delta: &pb.IndexDelta{Changes: []*pb.Change{{Removed: "x"}}}})
	f.Fuzz(func(t *testing.T, data []byte, more, shift int64) {
		id := packID{1}
		b, err := r.keys.newBox(packName(testSeries, id), kindPack)
		if err != nil {
			t.Fatal(err)
		}
		object, sealed := b.end(b.seal(bytes.Clone(b.header[:]), []byte("frame"), 0), data)
		if err := store.Put(t.Context(), r.object(b.name), object); err != nil {
			t.Fatal(err)
		}
		before := heap()
		pr, err := r.openPack(t.Context(), testSeries, &pb.Pack{Id: id[:], Size: int64(len(object)) + more, Footer: sealed + shift})
		refused(t, err)
		for i := range uint32(3) {
			if err == nil {
				_, buffer, err := r.frame(t.Context(), pr, i)
				giveBack(buffer)
				refused(t, err)
			}
		}
		spent(t, before, len(object))
	})
}

func FuzzSegment(f *testing.F) {
	r, store := fuzzed(f)
	block := appendRecord(appendRecord(nil, nil, record{key: []byte("ia"), value: []byte{10, 1, 'a'}}), []byte("ia"), record{key: []byte("nb"), dead: true})
	tail, err := proto.Marshal(&pb.Tail{Blocks: []*pb.Block{{First: []byte("ia"), Stored: 100, Plain: uint32(len(block))}}, Prints: newPrints([]idHash{{1, 2}})})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(block, tail, true)
	f.Add(block, tail, false)
	f.Add([]byte{0, 2, 'i', 'a', 1, 1, 0, 9}, []byte{}, true)
	f.Fuzz(func(t *testing.T, block, tail []byte, fit bool) {
		id := packID{1}
		b, err := r.keys.newBox(segmentName(testSeries, id), kindSegment)
		if err != nil {
			t.Fatal(err)
		}
		object := b.seal(bytes.Clone(b.header[:]), block, 0)
		if fit { // the tail says where the block is: what is in the block is what is tried
			if tail, err = proto.Marshal(&pb.Tail{Blocks: []*pb.Block{{First: []byte("a"), Stored: uint32(len(object) - headerSize), Plain: uint32(len(block))}}}); err != nil {
				t.Fatal(err)
			}
		}
		object, sealed := b.end(object, tail)
		if err := store.Put(t.Context(), r.object(b.name), object); err != nil {
			t.Fatal(err)
		}
		before := heap()
		ix := r.newIndex(testSeries, []*pb.Segment{{Id: id[:], First: []byte("a"), Last: []byte("z"), Size: int64(len(object)), Tail: sealed}})
		_, _, err = ix.entry(t.Context(), idKey("a"))
		refused(t, err)
		for _, err := range ix.entries(t.Context(), nil, []byte{idSpace}, nil) {
			refused(t, err)
		}
		spent(t, before, len(object))
	})
}

// Prints come out of what authenticates, and are believed to be anything all the same: they are asked within their
// bytes and answer in time.
func FuzzPrints(f *testing.F) {
	some := []idHash{{1, 2}, {1 << 60, 3}, {1<<64 - 1, 4}}
	f.Add([]byte(newPrints(some)), uint64(1))
	f.Add([]byte{3, 39, 0, 0, 0, 9, 0, 0, 0, 1}, uint64(1<<63))
	f.Fuzz(func(t *testing.T, data []byte, hash uint64) {
		p, h := prints(data), idHash{hash, hash}
		if first := p.mayHave(h); first != p.mayHave(h) {
			t.Fatal("it is of two minds")
		}
		if !newPrints([]idHash{{hash / 2}, h, {^hash}}).mayHave(h) {
			t.Fatal("it denies what is there")
		}
	})
}

func FuzzBlock(f *testing.F) {
	f.Add(appendRecord(appendRecord(nil, nil, record{key: []byte("ia"), value: []byte("v")}), []byte("ia"), record{key: []byte("ib"), dead: true}))
	f.Fuzz(func(t *testing.T, data []byte) {
		reader := blockReader{rest: data}
		for n := 0; ; n++ {
			r, ok, err := reader.next()
			if err != nil || !ok {
				break
			}
			if n > len(data) || len(r.key)+len(r.value) > len(data)*(n+2) {
				t.Fatalf("record %d of %d bytes has %d and %d bytes", n, len(data), len(r.key), len(r.value))
			}
		}
	})
}

func FuzzEntry(f *testing.F) {
	ref := Ref{pack: packID{1}, frame: 1, length: 3, chunks: []chunk{{hash: chunkHash{2}, size: 9}}, depth: 1}
	data, err := appendEntry(nil, &Entry{ID: "a", Name: "n", Modified: time.Unix(1, 0), Payload: ref, Parts: []Part{{Name: "p", Ref: ref}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	data, err = ref.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := heap()
		e, err := decodeEntry(data)
		refused(t, err)
		if again, err2 := appendEntry(nil, &e); err == nil && err2 == nil {
			if _, err := decodeEntry(again); err != nil {
				t.Fatalf("what was decoded does not encode: %v", err)
			}
		}
		_, err = decodeChunkList(data)
		refused(t, err)
		var ref Ref
		refused(t, ref.UnmarshalBinary(data))
		refused(t, ref.UnmarshalText(data))
		spent(t, before, len(data))
	})
}

func FuzzKeyObject(f *testing.F) {
	material, err := proto.Marshal(&pb.KeyMaterial{DataKeys: []*pb.DataKey{{Number: 1, Key: make([]byte, 32)}}, HashSecret: make([]byte, 32)})
	if err != nil {
		f.Fatal(err)
	}
	object, err := proto.Marshal(&pb.KeyObject{Version: 1, Tenant: "t-1", WrappingKeyId: "file-1", Wrapped: material, Generation: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(object)
	f.Add(material)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := heap()
		if _, err := decodeKeyObject(data); tenantry.KindOf(err) != tenantry.Corrupt {
			t.Fatalf("bytes without a checksum are a key object: %v", err)
		}
		whole := append([]byte(keyMagic+"\x00\x00\x00\x01"), data...)
		_, err := decodeKeyObject(ResumKeyObject(append(whole, make([]byte, 32)...)))
		refused(t, err)
		var m pb.KeyMaterial
		if proto.Unmarshal(data, &m) == nil {
			_, err := newKeys(&m)
			refused(t, err)
		}
		spent(t, before, len(data))
	})
}

func FuzzCondemned(f *testing.F) {
	r, _ := fuzzed(f)
	f.Add([]byte{})
	f.Add(make([]byte, 72))
	f.Fuzz(func(t *testing.T, data []byte) {
		const name = listFolder + "0000000000000000001"
		if _, err := r.openCondemned(name, data); err == nil {
			t.Fatal("what is not sealed opens")
		}
		b, err := r.keys.newBox(name, kindCondemned)
		if err != nil {
			t.Fatal(err)
		}
		body := b.seal(bytes.Clone(b.header[:]), data, 0)
		before := heap()
		keys, err := r.openCondemned(name, body)
		refused(t, err)
		spent(t, before, len(data))
		if err == nil && len(keys) != len(data)/36 {
			t.Fatalf("%d names of %d bytes", len(keys), len(data))
		}
		if len(body) > 4<<10 {
			return
		}
		for bit := range 8 * len(body) { // a list is small, and no snapshot needs it: its flips are tried here
			damaged := bytes.Clone(body)
			damaged[bit/8] ^= 1 << (bit % 8)
			if _, err := r.openCondemned(name, damaged); err == nil {
				t.Fatalf("bit %d was not noticed", bit)
			}
		}
	})
}
