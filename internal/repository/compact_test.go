package repository_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// mostlyDead fills two packs, the second with changes of the index, of which little is left but in the first snapshot.
// It returns what is left.
func mostlyDead(t *testing.T, p place) (left []int) {
	t.Helper()
	ctx := t.Context()
	w := begin(t, p.open(t), 1, "first")
	for i := range 200 {
		message(t, w, i, noise(i%20, 3000)) // shared by ten
	}
	seal(t, w)
	w.Close()
	w = begin(t, p.open(t), 2, "second")
	for i := range 600 {
		must(t, w.Put(ctx, repository.Entry{ID: fmt.Sprintf("folder-%03d-%x", i, noise(i, 30)), Kind: repository.KindFolder, Name: fmt.Sprintf("%x", noise(i, 40))}))
	}
	for i := range 200 {
		if i%40 == 7 {
			left = append(left, i)
			continue
		}
		must(t, w.Remove(ctx, messageID(i)))
	}
	seal(t, w)
	w.Close()
	return left
}

func packs(t *testing.T, p place) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	for _, info := range objects(t, p.store(t)) {
		if strings.Contains(info.Key, "/p/") {
			sizes[info.Key] = info.Size
		}
	}
	return sizes
}

func TestCompact(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := folder(t)
	left := mostlyDead(t, p)
	before := packs(t, p)

	w := begin(t, p.open(t), 3, "small budget")
	if out, err := w.Compact(ctx, repository.CompactLimits{Budget: 100}); err != nil || out.Packs > 0 || out.Moved > 0 {
		t.Errorf("with a budget of 100 bytes: %+v, %v", out, err)
	}
	w.Close()
	w = begin(t, p.open(t), 4, "compact")
	out, err := w.Compact(ctx, repository.CompactLimits{Budget: 1 << 20})
	must(t, err)
	moved := int64(3000) // that all share
	for _, i := range left {
		moved += int64(len(mail(i, 2000)))
	}
	if out.Packs != 1 || out.Frees < 150<<10 || out.Moved != moved {
		t.Errorf("%+v of %v", out, before)
	}
	again, err := w.Compact(ctx, repository.CompactLimits{Budget: 1 << 20})
	if err != nil || again.Packs > 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	w.Close()

	// Both snapshots read as before; so does the next.
	w = begin(t, p.open(t), 5, "third")
	must(t, w.Put(ctx, repository.Entry{ID: "new"}))
	third := seal(t, w).Seq
	w.Close()
	r := p.open(t)
	live, err := r.Snapshots(ctx, mailbox)
	must(t, err)
	for _, s := range live {
		must(t, readAll(ctx, r, s.Seq))
	}
	rd := snapshot(t, r, third)
	for _, i := range left {
		checkMessage(t, rd, i, noise(i%20, 3000))
	}

	// When the first snapshots go, the packs go, and what they had of the index is made again from those that stand for them.
	now := time.Now().Add(24 * time.Hour)
	repository.SetClock(r, func() time.Time { return now })
	w, err = r.Begin(ctx, mailbox, repository.Fence{Epoch: 6, Task: "prune"})
	must(t, err)
	defer w.Close()
	_, err = w.Prune(ctx, []int64{live[1].Seq, live[2].Seq})
	must(t, err)
	freed, err := w.Sweep(ctx)
	must(t, err)
	if freed.Bytes < out.Frees {
		t.Errorf("%d bytes are freed, at least %d were promised", freed.Bytes, out.Frees)
	}
	must(t, readAll(ctx, p.open(t), third))
}

// TestCompactKeepsTheIndex holds that an index can be made again when packs that carried changes are gone.
func TestCompactKeepsTheIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := folder(t)
	for round := range 4 { // each pack carries changes, and soon nothing else that lives
		w := begin(t, p.open(t), int64(1+round), tenantry.TaskID(fmt.Sprint("round-", round)))
		for i := range 400 {
			ref, err := w.PutPayload(ctx, noise(1000*round+i, 500))
			must(t, err)
			must(t, w.Put(ctx, repository.Entry{ID: fmt.Sprintf("%03d-%x", i, noise(i, 30)), Name: fmt.Sprintf("%x", noise(1000*round+i, 40)), Payload: ref}))
		}
		seal(t, w)
		w.Close()
	}
	w := begin(t, p.open(t), 10, "compact")
	out, err := w.Compact(ctx, repository.CompactLimits{Budget: 1 << 20})
	must(t, err)
	if out.Packs != 3 || out.Moved != 0 {
		t.Errorf("%+v", out)
	}
	w.Close()
	w = begin(t, p.open(t), 11, "next")
	must(t, w.Put(ctx, repository.Entry{ID: "new"}))
	last := seal(t, w)
	want, err := state(ctx, w)
	must(t, err)
	w.Close()

	r := p.open(t)
	now := time.Now()
	repository.SetClock(r, func() time.Time { return now })
	all := packs(t, p)
	for epoch := range 3 { // a later sweep finds what an earlier one has left aged
		now = now.Add(24 * time.Hour)
		w, err = r.Begin(ctx, mailbox, repository.Fence{Epoch: int64(20 + epoch), Task: tenantry.TaskID(fmt.Sprint("prune-", epoch))})
		must(t, err)
		live := w.Live()
		var drop []int64
		for _, s := range live[1:] {
			drop = append(drop, s.Seq)
		}
		_, err = w.Prune(ctx, drop)
		must(t, err)
		_, err = w.Sweep(ctx)
		must(t, err)
		w.Close()
	}
	gone := 0
	for key := range all {
		if _, ok := packs(t, p)[key]; !ok {
			gone++
		}
	}
	if gone != 3 {
		t.Errorf("%d packs of %d are gone", gone, len(all))
	}
	for _, key := range segments(t, p) {
		must(t, p.store(t).Delete(ctx, key))
	}
	w = begin(t, p.open(t), 40, "repair")
	fixed, err := w.Reindex(ctx)
	must(t, err)
	if fixed.Packs == 0 || len(fixed.Refused) > 0 {
		t.Errorf("%+v", fixed)
	}
	got, err := state(ctx, w)
	must(t, err)
	diff(t, "the newest state", got, want)
	w.Close()
	must(t, readAll(ctx, p.open(t), last.Seq))
}

// TestCompactLeavesDamage holds that what cannot be read stays where it is, to be found by a check.
func TestCompactLeavesDamage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := folder(t)
	mostlyDead(t, p)
	largest, most := "", int64(0)
	for key, size := range packs(t, p) {
		if size > most {
			largest, most = key, size
		}
	}
	body, err := blob.ReadAll(ctx, p.store(t), largest, 10<<20)
	must(t, err)
	for i := 8; i < len(body)*9/10; i += 1000 {
		body[i] ^= 1
	}
	must(t, p.store(t).Put(ctx, largest, body))
	w := begin(t, p.open(t), 4, "compact")
	out, err := w.Compact(ctx, repository.CompactLimits{Budget: 1 << 20})
	if err != nil || out.Packs > 0 {
		t.Errorf("%+v, %v", out, err)
	}
	w.Close()
	w = begin(t, p.open(t), 5, "next")
	last := seal(t, w)
	faults := 0
	_, err = p.open(t).Check(context.WithoutCancel(ctx), mailbox, last.Seq, func(repository.Problem) { faults++ })
	if err != nil || faults == 0 {
		t.Errorf("%d faults, %v", faults, err)
	}
}
