package repository

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// However many writers a process has, their packs together stay within the bound, and none of it is still
// counted when they are closed, whether they have committed or not.
func TestWritersShareTheMemoryOfPacks(t *testing.T) {
	repo := testRepository(t)
	const writers, each = 40, 3 << 20 // less than a pack: by themselves they would hold all of it
	before := packBytes.Load()
	random := rand.NewChaCha8([32]byte{7})
	content := make([]byte, 64<<10)
	var all []*Writer
	most := int64(0)
	for i := range writers {
		s := testSeries
		s.Resource = tenantry.ResourceID(fmt.Sprint("u-", i))
		w, err := repo.Begin(t.Context(), s, Fence{Epoch: 1, Task: "task"})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		all = append(all, w)
	}
	for range each / len(content) {
		for _, w := range all {
			_, _ = random.Read(content) // never fails
			if _, err := w.PutPayload(t.Context(), content); err != nil {
				t.Fatal(err)
			}
			most = max(most, packBytes.Load()-before)
		}
	}
	const bound = processPacks + writers*(earlyPack+frameSize)
	if most > bound || most < processPacks/2 {
		t.Errorf("the writers held up to %d MiB of packs, the bound is %d", most>>20, bound>>20)
	}
	for i, w := range all {
		if i%2 == 0 {
			if err := w.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
	}
	if left := packBytes.Load() - before; left != 0 {
		t.Errorf("%d bytes are still counted", left)
	}
}

// However many writers fill frames, those are held to a bound but for the smallest that each must have; and nothing is
// still counted when they are closed.
func TestWritersShareTheMemoryOfFrames(t *testing.T) {
	repo := testRepository(t)
	const writers = 60
	before := frameBytes.Load()
	var all []*Writer
	for i := range writers {
		s := testSeries
		s.Resource = tenantry.ResourceID(fmt.Sprint("u-", i))
		w, err := repo.Begin(t.Context(), s, Fence{Epoch: 1, Task: "task"})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		all = append(all, w)
		content := make([]byte, smallContent-1)
		content[0] = byte(i)
		ref, err := w.PutPayload(t.Context(), content)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.PutContent(t.Context(), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if err := w.Put(t.Context(), Entry{ID: "a", Payload: ref}); err != nil {
			t.Fatal(err)
		}
	}
	held := frameBytes.Load() - before
	if most := int64(processFrames + writers*(tight[payloadLane]+tight[contentLane])); held > most || held < processFrames/2 {
		t.Errorf("%d writers hold %d bytes of frames, at most %d are for them", writers, held, most)
	}
	for i, w := range all {
		if i%3 == 0 {
			w.Close()
			continue
		}
		snapshot, err := w.Seal(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		rd, err := repo.OpenSnapshot(t.Context(), w.series, snapshot.Seq)
		if err != nil {
			t.Fatal(err)
		}
		e, ok, err := rd.Lookup(t.Context(), "a")
		if err != nil || !ok {
			t.Fatalf("%v, %v", ok, err)
		}
		if got, err := rd.Payload(t.Context(), e); err != nil || len(got) != smallContent-1 || got[0] != byte(i) {
			t.Errorf("the payload of writer %d comes back with %d bytes, %v", i, len(got), err)
		}
		rd.Close()
		w.Close()
	}
	if left := frameBytes.Load() - before; left != 0 {
		t.Errorf("%d bytes are still counted", left)
	}
}

// Random look-ups soon read segments whole, as long as there is room for them, and give the same answers.
func TestSegmentsAreReadWholeWithinABound(t *testing.T) {
	repo := testRepository(t)
	w, err := repo.Begin(t.Context(), testSeries, Fence{Epoch: 1, Task: "fill"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const items = 6000 // their index takes 600 KB, stored
	entry := func(i int) Entry {
		rnd := rand.New(rand.NewPCG(uint64(i), 1))
		return Entry{ID: fmt.Sprintf("%016x-%d", rnd.Uint64(), i), Kind: "message", ETag: fmt.Sprintf("%x%x%x%x", rnd.Uint64(), rnd.Uint64(), rnd.Uint64(), rnd.Uint64())}
	}
	for i := range items {
		if err := w.Put(t.Context(), entry(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Seal(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, room := range []int64{maxStored, smallSegment} {
		next, err := repo.Begin(t.Context(), testSeries, Fence{Epoch: 2, Task: "read"})
		if err != nil {
			t.Fatal(err)
		}
		defer next.Close()
		next.index.room = room
		var group errgroup.Group
		for worker := range 4 {
			group.Go(func() error {
				for i := range 100 {
					e := entry((i*59 + worker*1013) % items)
					got, ok, err := next.Lookup(t.Context(), e.ID)
					if err != nil {
						return err
					}
					if !ok || got.ETag != e.ETag {
						return fmt.Errorf("item %s: %v: %+v", e.ID, ok, got)
					}
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		table := next.index.runs[0][0]
		held, fits := table.held(), table.meta.Size < room
		if held > room || (held > 0) != fits || held != next.index.held.Load() || table.meta.Size <= smallSegment {
			t.Errorf("with room for %d: %d bytes of %d are held, %d counted", room, held, table.meta.Size, next.index.held.Load())
		}
	}
}

// Writers of large series hold their segments as long as the process has room, and give it back.
func TestLargeIndexesShareRoom(t *testing.T) {
	repo := testRepository(t)
	before := indexBytes.Load()
	of := func(sizes ...int64) manifest {
		m := &pb.Manifest{}
		for i, size := range sizes {
			m.Segments = append(m.Segments, &pb.Segment{Id: make([]byte, 16), Size: size, First: []byte{idSpace, byte(i)}, Last: []byte{idSpace, byte(i)}})
		}
		m.Segments = append(m.Segments, &pb.Segment{Id: make([]byte, 16), Size: 8 << 20, First: []byte{placeSpace}, Last: []byte{placeSpace}})
		return manifest{Manifest: m}
	}
	begin := func(head manifest) *Writer {
		w, err := repo.newWriter(t.Context(), testSeries, Fence{Epoch: 1, Task: "task"}, head)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for _, c := range []struct {
		head manifest
		room int64
	}{{of(), maxStored}, {of(3 << 20), maxStored}, {of(8<<20, 2<<20), 10 << 20}, {of(8<<20, 8<<20, 8<<20), maxStored}} {
		w := begin(c.head)
		if w.index.room != c.room {
			t.Errorf("%d segments have room for %d bytes, expected %d", len(c.head.Segments), w.index.room, c.room)
		}
		w.Close()
		w.Close()
	}
	var all []*Writer
	granted := 0
	for range 20 {
		w := begin(of(8<<20, 8<<20))
		defer w.Close()
		if all = append(all, w); w.index.room > maxStored {
			granted++
		}
		if held := indexBytes.Load() - before; held > processIndexes {
			t.Fatalf("%d bytes are granted", held)
		}
	}
	if granted != processIndexes/(largeIndex-maxStored) {
		t.Errorf("%d of 20 writers have room for all", granted)
	}
	for _, w := range all {
		w.Close()
	}
	if left := indexBytes.Load() - before; left != 0 {
		t.Errorf("%d bytes are still granted", left)
	}
}
