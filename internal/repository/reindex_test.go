package repository_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// indexed fills a series so that its index has several runs and something inline, with items that
// changed, moved and went, and an owner that died behind its last commit.
func indexed(t *testing.T, p place, died bool) {
	t.Helper()
	ctx := t.Context()
	put := func(w *repository.Writer, i, version int) {
		t.Helper()
		ref, err := w.PutPayload(ctx, noise(i*10+version, 300))
		must(t, err)
		must(t, w.Put(ctx, repository.Entry{
			ID: fmt.Sprintf("%04d-%s", i, hex.EncodeToString(noise(i, 50))), Parent: fmt.Sprint(version), Name: hex.EncodeToString(noise(i+version, 50)), Payload: ref,
		}))
	}
	for round := range 3 {
		w := begin(t, p.open(t), int64(3*round+1), tenantry.TaskID(fmt.Sprint("task-", round)))
		for i := range 1200 >> (2 * round) {
			put(w, 3*i, round)
		}
		for e, err := range w.Entries(ctx) {
			must(t, err)
			if strings.HasPrefix(e.ID, fmt.Sprintf("00%d", round)) {
				must(t, w.Remove(ctx, e.ID))
			}
		}
		seal(t, w)
		w.Close()
		if !died {
			continue
		}
		dead := begin(t, p.open(t), int64(3*round+2), "dead") // writes a pack with changes and commits nothing
		for i := range 400 {
			put(dead, 5000+i, round)
		}
		must(t, repository.FlushIndex(ctx, dead))
		dead.Close()
	}
	w := begin(t, p.open(t), 20, "last")
	put(w, 9000, 1)
	must(t, w.Checkpoint(ctx))
	w.Close()
}

// more adds items in runs of the index that nobody has folded yet.
func more(t *testing.T, p place) {
	t.Helper()
	for round := range 3 {
		w := begin(t, p.open(t), int64(30+round), tenantry.TaskID(fmt.Sprint("more-", round)))
		for i := range 400 {
			must(t, w.Put(t.Context(), repository.Entry{
				ID: fmt.Sprintf("more-%d-%d", round, i), Parent: "1", Name: hex.EncodeToString(noise(round*1000+i, 50)),
			}))
		}
		seal(t, w)
		w.Close()
	}
}

// state is what the series' newest state says of every item, with its payload.
func state(ctx context.Context, w *repository.Writer) (map[string]string, error) {
	return stateOf(w.Entries(ctx))
}

func stateOf(entries iter.Seq2[repository.Entry, error]) (map[string]string, error) {
	out := map[string]string{}
	for e, err := range entries {
		if err != nil {
			return out, err
		}
		text, _ := e.Payload.MarshalText()
		out[e.ID] = e.Parent + " " + e.Name + " " + string(text)
	}
	return out, nil
}

// past is what every snapshot that is kept says of every item, by number.
func past(t *testing.T, p place) map[int64]map[string]string {
	t.Helper()
	ctx := t.Context()
	r := p.open(t)
	live, err := r.Snapshots(ctx, mailbox)
	must(t, err)
	out := map[int64]map[string]string{}
	for _, s := range live {
		rd, err := r.OpenSnapshot(ctx, mailbox, s.Seq)
		must(t, err)
		defer rd.Close()
		if out[s.Seq], err = stateOf(rd.Entries(ctx)); err != nil {
			out[s.Seq] = map[string]string{"": err.Error()}
		}
	}
	return out
}

func segments(t *testing.T, p place) (keys []string) {
	for _, info := range objects(t, p.store(t)) {
		if strings.Contains(info.Key, "/s/") {
			keys = append(keys, info.Key)
		}
	}
	return keys
}

// TestReindex damages all segments, in several ways, and holds that the index is made again exactly as it
// was from packs and manifests; the series goes on, and its next snapshot reads.
func TestReindex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	flip := func(at func(n int) int) func(t *testing.T, s blob.Store, key string) {
		return func(t *testing.T, s blob.Store, key string) {
			t.Helper()
			body, err := blob.ReadAll(ctx, s, key, 10<<20)
			must(t, err)
			body[at(len(body))] ^= 1
			must(t, s.Put(ctx, key, body))
		}
	}
	for _, c := range []struct {
		name   string
		died   bool // owners that died have left packs whose numbers others took
		damage func(t *testing.T, s blob.Store, key string)
	}{
		{name: "nothing", died: true, damage: func(*testing.T, blob.Store, string) {}},
		{name: "items", died: true, damage: flip(func(n int) int { return n / 3 })},
		{name: "the list of packs", damage: flip(func(n int) int { return n - 10 })},
		{name: "everything", damage: func(t *testing.T, s blob.Store, key string) { must(t, s.Delete(ctx, key)) }},
		{name: "everything, with packs of owners that died", died: true,
			damage: func(t *testing.T, s blob.Store, key string) { must(t, s.Delete(ctx, key)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := folder(t)
			indexed(t, p, c.died)
			w := begin(t, p.open(t), 100, "reader")
			want, err := state(ctx, w)
			must(t, err)
			w.Close()
			before := past(t, p)
			for _, key := range segments(t, p) {
				c.damage(t, p.store(t), key)
			}
			w = begin(t, p.open(t), 200, "repair")
			_, damage := state(ctx, w)
			if (damage == nil) != (c.name == "nothing") {
				t.Fatalf("the damage is %v", damage)
			}
			out, err := w.Reindex(ctx)
			must(t, err)
			if (out.Packs == 0) != (damage == nil) || damage != nil && !strings.Contains(out.Damage, "/s/") {
				t.Errorf("%+v", out)
			}
			got, err := state(ctx, w)
			if err != nil || !maps.Equal(got, want) {
				t.Fatalf("%d items, %v, expected %d", len(got), err, len(want))
			}
			diff(t, "the snapshots", past(t, p), before)
			if wantOlder := 3; damage != nil && out.Snapshots != wantOlder || len(out.Refused) > 0 {
				t.Errorf("%+v, expected %d older snapshots", out, wantOlder)
			}
			for seq := range before {
				must(t, readAll(ctx, p.open(t), seq))
			}
			w.Close()
			w = begin(t, p.open(t), 300, "next")
			must(t, w.Put(ctx, repository.Entry{ID: "new"}))
			last := seal(t, w)
			must(t, readAll(ctx, p.open(t), last.Seq))
			w.Close()
			w = begin(t, p.open(t), 400, "again")
			if out, err := w.Reindex(ctx); err != nil || out.Packs != 0 {
				t.Errorf("an index that is sound: %+v, %v", out, err)
			}
		})
	}
}

// TestReindexRefuses holds that an index is not made again from less than everything.
func TestReindexRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := folder(t)
	indexed(t, p, false)
	for _, key := range segments(t, p) {
		must(t, p.store(t).Delete(ctx, key))
	}
	largest, size := "", int64(0)
	for _, info := range objects(t, p.store(t)) {
		if strings.Contains(info.Key, "/p/") && info.Size > size {
			largest, size = info.Key, info.Size
		}
	}
	must(t, p.store(t).Delete(ctx, largest))
	head, err := p.open(t).Head(ctx, mailbox)
	must(t, err)
	w := begin(t, p.open(t), 200, "repair")
	_, err = w.Reindex(ctx)
	wantKind(t, err, tenantry.Corrupt)
	w.Close()
	after, err := p.open(t).Head(ctx, mailbox)
	if err != nil || after.Seq > head.Seq+1 { // taking over is a commit
		t.Errorf("after a refusal the head is %+v, before %+v, %v", after, head, err)
	}
	w = begin(t, p.open(t), 300, "dirty")
	_, err = w.PutPayload(ctx, bytes.Repeat([]byte("x"), 100))
	must(t, err)
	_, err = w.Reindex(ctx)
	wantKind(t, err, tenantry.Invalid)
}

// TestReindexOfSnapshots damages what only older snapshots name: the newest state stays as it is.
func TestReindexOfSnapshots(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := folder(t)
	indexed(t, p, true)
	more(t, p)
	old := segments(t, p)
	w := begin(t, p.open(t), 50, "fold")
	runs, err := w.Fold(ctx)
	must(t, err)
	if runs < 2 {
		t.Fatalf("%d runs were folded", runs)
	}
	want, err := state(ctx, w)
	must(t, err)
	w.Close()
	before := past(t, p)
	for _, key := range old {
		must(t, p.store(t).Delete(ctx, key))
	}
	for seq, items := range past(t, p) {
		if items[""] == "" {
			t.Fatalf("snapshot %d can be read", seq)
		}
	}
	w = begin(t, p.open(t), 60, "repair")
	out, err := w.Reindex(ctx)
	must(t, err)
	if out.Snapshots != len(before) || out.Items != 0 || out.Packs == 0 || !strings.Contains(out.Damage, "/s/") || len(out.Refused) > 0 {
		t.Errorf("%+v", out)
	}
	got, err := state(ctx, w)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("the newest state has %d items, %v, expected %d", len(got), err, len(want))
	}
	w.Close()
	diff(t, "the snapshots", past(t, p), before)
	w = begin(t, p.open(t), 70, "again")
	if out, err := w.Reindex(ctx); err != nil || out.Packs != 0 || out.Snapshots != 0 {
		t.Errorf("indexes that are sound: %+v, %v", out, err)
	}
}

// TestReindexRefusesSnapshots holds that a snapshot whose packs are not all there stays unreadable, and the others are
// none the worse.
func TestReindexRefusesSnapshots(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := folder(t)
	indexed(t, p, false)
	more(t, p)
	before := past(t, p)
	live, err := p.open(t).Snapshots(ctx, mailbox)
	must(t, err)
	oldest, newest := live[len(live)-1].Seq, live[0].Seq
	lost := repository.PacksWithChanges(t.Context(), p.open(t), mailbox, newest, oldest) // that the oldest does not have
	for _, name := range lost {
		must(t, p.store(t).Delete(ctx, string(tenant)+"/"+name))
	}
	for _, key := range segments(t, p) {
		must(t, p.store(t).Delete(ctx, key))
	}
	w := begin(t, p.open(t), 60, "repair")
	out, err := w.Reindex(ctx)
	wantKind(t, err, tenantry.Corrupt)
	if len(lost) == 0 || out.Snapshots != 1 || len(out.Refused) != len(live)-1 {
		t.Errorf("%+v", out)
	}
	w.Close()
	after := past(t, p)
	diff(t, "the oldest snapshot", after[oldest], before[oldest])
	if after[newest][""] == "" {
		t.Error("the newest snapshot was made of less than everything")
	}
}
