package worker

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// noise is the payload of an item, which does not compress.
func noise(number int) []byte {
	b := make([]byte, 2000)
	_, _ = rand.NewChaCha8([32]byte{byte(number)}).Read(b)
	return b
}

// fillAndRemove seals a snapshot of many items, and one of the few that are left of them.
func (h *house) fillAndRemove(items, left int) {
	h.t.Helper()
	ctx := h.t.Context()
	repo, err := h.Open(ctx, h.tenant)
	h.must(err)
	for epoch := range int64(2) {
		w, err := repo.Begin(ctx, tenantry.Series{Tenant: h.tenant, Resource: "u-ann", Workload: tenantry.Drive}, repository.Fence{Epoch: 1 + epoch, Task: tenantry.TaskID(fmt.Sprint("filled-", epoch))})
		h.must(err)
		for i := range items {
			id := fmt.Sprintf("file %03d", i)
			switch {
			case epoch == 0:
				ref, err := w.PutPayload(ctx, noise(i))
				h.must(err)
				h.must(w.Put(ctx, repository.Entry{ID: id, Kind: "file", Name: id, ETag: "1", Payload: ref}))
			case i >= left:
				h.must(w.Remove(ctx, id))
			}
		}
		_, err = w.Seal(ctx, time.Now())
		h.must(err)
		w.Close()
	}
}

// stillThere holds every byte of the live snapshots against what was put.
func (h *house) stillThere(snapshots int) {
	h.t.Helper()
	ctx := h.t.Context()
	repo, err := h.Open(ctx, h.tenant)
	h.must(err)
	series := tenantry.Series{Tenant: h.tenant, Resource: "u-ann", Workload: tenantry.Drive}
	seqs := h.live()
	if len(seqs) != snapshots {
		h.t.Fatalf("live are %v, expected %d", seqs, snapshots)
	}
	for _, seq := range seqs {
		rd, err := repo.OpenSnapshot(ctx, series, seq)
		h.must(err)
		for e, err := range rd.Entries(ctx) {
			h.must(err)
			number := 0
			_, err = fmt.Sscanf(e.ID, "file %d", &number)
			h.must(err)
			got, err := rd.Payload(ctx, e)
			if err != nil || !bytes.Equal(got, noise(number)) {
				h.t.Errorf("snapshot %d: %s came back with %d bytes, %v", seq, e.ID, len(got), err)
			}
		}
		rd.Close()
	}
}

// A prune empties mostly dead packs on its series' day of the week and on no other, also while nothing may be dropped; it
// says so, and counts as freed only what it has deleted.
func TestPruneCompactsOnItsDay(t *testing.T) {
	h := newHouse(t)
	repo, err := h.Open(t.Context(), h.tenant)
	h.must(err)
	series := tenantry.Series{Tenant: h.tenant, Resource: "u-ann", Workload: tenantry.Drive}
	due := time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)
	for !repo.CompactDue(series, due) {
		due = due.AddDate(0, 0, 1)
	}
	var now atomic.Pointer[time.Time]
	on := func(day time.Time) { now.Store(&day) }
	on(due.AddDate(0, 0, -1))
	cfg := h.config()
	cfg.MassChange = 0.5
	cfg.Now = func() time.Time { return *now.Load() }
	h.worker(cfg)
	h.fillAndRemove(200, 5)

	h.must(h.scope().SetHold(t.Context(), catalog.Hold{Resource: "u-ann", Reason: "case 7", At: time.Now()}))
	const suspended, anew = "pruning is suspended", "mostly dead packs were written anew"
	if got := h.prune(); !strings.Contains(got.Reason, suspended) || strings.Contains(got.Reason, anew) || got.Counts != (tenantry.Counts{}) {
		t.Errorf("the day before: %+v %q", got.Counts, got.Reason)
	}
	on(due)
	got := h.prune()
	if !strings.Contains(got.Reason, suspended) || !strings.Contains(got.Reason, "10000 bytes of 1 "+anew) || !strings.Contains(got.Reason, "once every snapshot from before is dropped") {
		t.Errorf("on its day: %q", got.Reason)
	}
	if got.Counts.Stored < 10_000 || got.Counts.Items != 0 || got.Counts.Bytes != 0 || got.Counts.Total != 0 {
		t.Errorf("a snapshot needs the pack still, and freed were %+v", got.Counts)
	}
	h.stillThere(2)
	for _, day := range []time.Time{due, due.AddDate(0, 0, 7)} {
		on(day)
		if got := h.prune(); strings.Contains(got.Reason, anew) {
			t.Errorf("once more on %s: %+v %q", day, got.Counts, got.Reason)
		}
	}
	h.stillThere(2)
}
