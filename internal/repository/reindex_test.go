package repository_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
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

// state is what the series' newest state says of every item, with its payload.
func state(ctx context.Context, w *repository.Writer) (map[string]string, error) {
	out := map[string]string{}
	for e, err := range w.Entries(ctx) {
		if err != nil {
			return out, err
		}
		text, _ := e.Payload.MarshalText()
		out[e.ID] = e.Parent + " " + e.Name + " " + string(text)
	}
	return out, nil
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
		kind   tenantry.Kind
	}{
		{name: "nothing", died: true, damage: func(*testing.T, blob.Store, string) {}},
		{name: "items", died: true, damage: flip(func(n int) int { return n / 3 })},
		{name: "the list of packs", damage: flip(func(n int) int { return n - 10 })},
		{name: "everything", damage: func(t *testing.T, s blob.Store, key string) { must(t, s.Delete(ctx, key)) }},
		{name: "everything, and nothing tells whose packs", died: true, kind: tenantry.Corrupt,
			damage: func(t *testing.T, s blob.Store, key string) { must(t, s.Delete(ctx, key)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := folder(t)
			indexed(t, p, c.died)
			w := begin(t, p.open(t), 100, "reader")
			want, err := state(ctx, w)
			must(t, err)
			w.Close()
			for _, key := range segments(t, p) {
				c.damage(t, p.store(t), key)
			}
			w = begin(t, p.open(t), 200, "repair")
			_, damage := state(ctx, w)
			if (damage == nil) != (c.name == "nothing") {
				t.Fatalf("the damage is %v", damage)
			}
			out, err := w.Reindex(ctx)
			if c.kind != "" {
				wantKind(t, err, c.kind)
				return
			}
			must(t, err)
			if (out.Packs == 0) != (damage == nil) || damage != nil && !strings.Contains(out.Damage, "/s/") {
				t.Errorf("%+v", out)
			}
			got, err := state(ctx, w)
			if err != nil || !maps.Equal(got, want) {
				t.Fatalf("%d items, %v, expected %d", len(got), err, len(want))
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
