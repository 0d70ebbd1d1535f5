package repository_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
)

// TestCheckInPasses holds that a check of a part of the packs and chunks at a time sees what one of all of
// them sees, sound or damaged, and reads nothing twice.
func TestCheckInPasses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := folder(t)
	w := begin(t, p.open(t), 1, "task-1")
	for i := range 60 {
		ref, err := w.PutPayload(ctx, noise(i, 9000))
		must(t, err)
		e := repository.Entry{ID: fmt.Sprintf("item-%02d", i), Payload: ref}
		if i%6 == 0 {
			part, err := w.PutContent(ctx, bytes.NewReader(noise(1000+i, 200<<10)))
			must(t, err)
			part.Name = "a"
			e.Parts = []repository.Part{part}
		}
		must(t, w.Put(ctx, e))
		if i%5 == 4 { // a pack for each five
			must(t, w.Checkpoint(ctx))
		}
	}
	seq := seal(t, w).Seq
	check := func(passes int, quick bool) (repository.Checked, []string) {
		t.Helper()
		var found []string
		done, err := repository.CheckIn(ctx, p.open(t), mailbox, seq, passes, quick, func(p repository.Problem) { found = append(found, p.Item+" "+p.Object) })
		must(t, err)
		slices.Sort(found)
		return done, found
	}
	for _, damaged := range []bool{false, true} {
		for _, quick := range []bool{false, true} {
			want, faults := check(1, quick)
			if want.Items != 60 || want.Chunks < 10 || (len(faults) > 0) != damaged {
				t.Fatalf("damaged %v, quick %v: %+v, %q", damaged, quick, want, faults)
			}
			for _, passes := range []int{2, 7, 256} {
				if got, found := check(passes, quick); got != want || !slices.Equal(found, faults) {
					t.Errorf("in %d passes %+v, %q; in one %+v, %q", passes, got, found, want, faults)
				}
			}
		}
		for i, info := range objects(t, p.store(t)) { // every third pack and chunk
			if i%3 > 0 || strings.Contains(info.Key, "/m/") || strings.HasSuffix(info.Key, "/key") {
				continue
			}
			body, err := blob.ReadAll(ctx, p.store(t), info.Key, 10<<20)
			must(t, err)
			body[100] ^= 1
			must(t, p.store(t).Put(ctx, info.Key, body[:len(body)-9]))
		}
	}
}
