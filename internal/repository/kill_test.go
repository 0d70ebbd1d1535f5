package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// model is what a series must hold: entry IDs to the seed of their payload.
type model map[string]int

func (m model) ids() []string { return slices.Sorted(maps.Keys(m)) }

// killed runs one process after another on one series. Each is killed at a random request,
// which the store may or may not have applied; the next claims the series and goes on.
type killed struct {
	t     *rapid.T
	place place
	store blob.Store
	epoch int64

	committed model           // what the newest manifest must say
	attempted model           // what it may say instead: a commit whose answer nobody heard
	snapshots map[int64]model // what was sealed, and heard of
	nextSeed  int
}

// Whatever is killed, what was committed reads back, and nothing half-written is visible.
func TestKillAtAnyPoint(t *testing.T) {
	backends(t, func(t *testing.T, p place) {
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			n++
			at := p
			base, query, _ := strings.Cut(p.url, "?")
			at.url, at.keyFile = fmt.Sprintf("%s/%d?%s", base, n, query), fmt.Sprintf("%s-%d", p.keyFile, n)
			store, err := blob.Open(context.Background(), at.url, at.s3)
			must(rt, err)
			defer func() { _ = store.(io.Closer).Close() }()
			k := &killed{t: rt, place: at, store: store, snapshots: map[int64]model{}}
			for range rapid.IntRange(2, 5).Draw(rt, "processes") {
				k.life()
			}
			k.verify()
		})
	})
}

// life is one process from claim to death.
func (k *killed) life() {
	k.epoch++
	store := blobtest.NewFaulty(k.store)
	ring, err := repository.OpenKeyFile(k.place.keyFile, true)
	must(k.t, err)
	store.DieAfter(rapid.IntRange(0, 25).Draw(k.t, "dies after"), rapid.Bool().Draw(k.t, "applied"))
	ctx := context.Background()
	r, err := repository.Open(ctx, store, ring, tenant)
	if k.died(store, err) {
		return
	}
	w, err := r.Begin(ctx, mailbox, repository.Fence{Epoch: k.epoch, Task: tenantry.TaskID(fmt.Sprint("task-", k.epoch))})
	if k.died(store, err) {
		return
	}
	defer w.Close()
	if !k.settle(ctx, w) {
		return // it died before it knew where it stood
	}
	state := maps.Clone(k.committed)
	for range rapid.IntRange(1, 12).Draw(k.t, "steps") {
		switch rapid.IntRange(0, 5).Draw(k.t, "step") {
		case 0, 1, 2:
			err = k.put(ctx, w, state)
		case 3:
			id := fmt.Sprint("item-", rapid.IntRange(0, 9).Draw(k.t, "removed"))
			if err = w.Remove(ctx, id); err == nil {
				delete(state, id)
			}
		case 4:
			k.attempted = maps.Clone(state)
			if err = w.Checkpoint(ctx); err == nil {
				k.committed = maps.Clone(state)
			}
		case 5:
			k.seal(ctx, w, state)
			return
		}
		if k.died(store, err) {
			return
		}
	}
}

// settle learns which of the two possible states the bucket is in: it must be one of them.
// It does not if the process dies over it; then the next one learns it.
func (k *killed) settle(ctx context.Context, w *repository.Writer) bool {
	got := model{}
	for e, err := range w.Entries(ctx) {
		if err != nil {
			return false
		}
		got[e.ID] = int(e.Size)
	}
	switch {
	case maps.Equal(got, k.committed):
	case k.attempted != nil && maps.Equal(got, k.attempted):
	default:
		k.t.Fatalf("the series holds %v, committed is %v, perhaps %v", got, k.committed, k.attempted)
	}
	k.committed, k.attempted = got, nil
	return true
}

func (k *killed) put(ctx context.Context, w *repository.Writer, state model) error {
	k.nextSeed++
	id, seed := fmt.Sprint("item-", rapid.IntRange(0, 9).Draw(k.t, "item")), k.nextSeed
	ref, err := w.PutPayload(ctx, mail(seed, 500))
	if err != nil {
		return err
	}
	e := repository.Entry{ID: id, Size: int64(seed), Payload: ref}
	if rapid.Bool().Draw(k.t, "attachment") {
		part, err := w.PutContent(ctx, bytes.NewReader(noise(seed%3, 300_000)))
		if err != nil {
			return err
		}
		e.Parts = []repository.Part{part}
	}
	if err := w.Put(ctx, e); err != nil {
		return err
	}
	state[id] = seed
	return nil
}

func (k *killed) seal(ctx context.Context, w *repository.Writer, state model) {
	k.attempted = maps.Clone(state)
	s, err := w.Seal(ctx, noon)
	if err == nil {
		k.committed, k.snapshots[s.Seq] = maps.Clone(state), maps.Clone(state)
	}
}

func (k *killed) died(store *blobtest.Faulty, err error) bool {
	if err != nil && !store.Dead() {
		k.t.Fatalf("an error in a living process: %v", err)
	}
	return err != nil
}

// verify reads everything as a process that lives.
func (k *killed) verify() {
	ctx := context.Background()
	ring, err := repository.OpenKeyFile(k.place.keyFile, true)
	must(k.t, err)
	r, err := repository.Open(ctx, k.store, ring, tenant)
	must(k.t, err)
	w, err := r.Begin(ctx, mailbox, repository.Fence{Epoch: k.epoch + 1, Task: "last"})
	must(k.t, err)
	defer w.Close()
	if !k.settle(ctx, w) {
		k.t.Fatal("a living process cannot read the series")
	}
	k.seal(ctx, w, k.committed)
	live, err := r.Snapshots(ctx, mailbox)
	must(k.t, err)
	heard := 0
	for _, s := range live {
		rd, err := r.OpenSnapshot(ctx, mailbox, s.Seq)
		must(k.t, err)
		want, ok := k.snapshots[s.Seq]
		if ok {
			heard++
		}
		got := model{}
		for e, err := range rd.Entries(ctx) {
			must(k.t, err)
			got[e.ID] = int(e.Size)
			data, err := rd.Payload(ctx, e)
			must(k.t, err)
			if !bytes.Equal(data, mail(int(e.Size), 500)) {
				k.t.Fatalf("snapshot %d: payload of %s is different", s.Seq, e.ID)
			}
		}
		if ok && !maps.Equal(got, want) {
			k.t.Fatalf("snapshot %d holds %v, sealed was %v", s.Seq, got.ids(), want.ids())
		}
		_, err = r.Check(ctx, mailbox, s.Seq, func(p repository.Problem) { k.t.Fatalf("snapshot %d: %+v", s.Seq, p) })
		must(k.t, err)
		rd.Close()
	}
	if heard != len(k.snapshots) {
		k.t.Fatalf("%d of %d sealed snapshots are live", heard, len(k.snapshots))
	}
}
