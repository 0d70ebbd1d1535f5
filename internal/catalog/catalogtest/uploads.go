package catalogtest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testUploads: an upload session is its task's and its name's, replaced by the next of that name, and left when the task
// has ended in whatever way.
func testUploads(_ *testing.T, w *world) {
	a := w.enrolled("a", 3)
	_, claims := w.claimed(a, w.worker("1"), 3)
	kept := map[tenantry.TaskID]catalog.KeptUpload{}
	for i, c := range claims {
		u := catalog.KeptUpload{Task: c.ID, Name: "u-1", KeyID: "k", Wrapped: []byte{byte(i), 0}, EndsAt: now.Add(time.Hour)}
		kept[c.ID] = u
		w.ok(a.KeepUpload(w.ctx, u))
	}
	again := kept[claims[0].ID]
	again.KeyID, again.Wrapped, again.EndsAt = "k-2", []byte{9}, time.Time{}
	kept[again.Task] = again
	w.ok(a.KeepUpload(w.ctx, again))
	w.kind(w.c.Tenant("t-none").KeepUpload(w.ctx, again), tenantry.NotFound)
	for id, want := range kept {
		got, err := a.KeptUpload(w.ctx, id, "u-1")
		w.ok(err)
		if diff := cmp.Diff(want, got); diff != "" {
			w.t.Fatal(diff)
		}
		_, err = a.KeptUpload(w.ctx, id, "u-2")
		w.kind(err, tenantry.NotFound)
	}

	left := func(what string, want ...tenantry.TaskID) {
		w.t.Helper()
		list, err := a.LeftUploads(w.ctx)
		w.ok(err)
		got := make([]tenantry.TaskID, len(list))
		for i, u := range list {
			got[i] = u.Task
			if diff := cmp.Diff(kept[u.Task], u); diff != "" {
				w.t.Fatal(diff)
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			w.t.Fatal(what, diff)
		}
	}
	left("all run")
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskReady, NotBefore: now}, now))
	left("one waits")
	w.ok(a.Settle(w.ctx, claims[1], catalog.Settlement{State: catalog.TaskFailed}, now))
	left("one failed", claims[1].ID)
	w.ok(a.CancelRun(w.ctx, claims[0].Run, now))
	left("the one that waits is canceled", claims[0].ID, claims[1].ID)
	w.ok(a.Settle(w.ctx, claims[2], catalog.Settlement{State: catalog.TaskReady, NotBefore: now}, now))
	left("and the one that ran", claims[0].ID, claims[1].ID, claims[2].ID)
	for _, c := range claims {
		w.ok(a.DropUpload(w.ctx, c.ID, "u-1"))
		w.ok(a.DropUpload(w.ctx, c.ID, "u-1"))
	}
	left("all are dropped")
}
