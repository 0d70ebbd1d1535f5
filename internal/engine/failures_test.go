package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestAFailureNamesItsLastGoodVersion: an item that cannot be saved any more says why, since when, which snapshot has it
// as it last was, and that it is asked for again; one that was never whole names none. Once it can be saved it says nothing.
func TestAFailureNamesItsLastGoodVersion(t *testing.T) {
	bad := tenantry.Errorf(tenantry.Denied, "no access")
	m := newMemory()
	s := &rereading{script: &script{pages: map[string]func() (engine.Page, error){
		"|":   listing("d1", file("x", "1", "good", nil)),
		"|d1": listing("d2", file("x", "2", "", bad), file("new", "1", "", bad)),
		"|d3": listing("d4", file("x", "3", "good again", nil), file("new", "2", "good", nil)),
	}}}
	if out := backup(t, s, m); len(out.Problems) > 0 {
		t.Fatalf("%+v", out)
	}
	began := time.Now()
	s.parts = file("x", "2", "", bad)
	for run := 2; run <= 4; run++ {
		out, got := backup(t, s, m), map[string]engine.Problem{}
		for _, p := range out.Problems {
			got[p.ID] = p
		}
		for id, want := range map[string]int64{"x": 1, "new": 0} {
			p := got[id]
			if p.Snapshot != want || p.Kind != tenantry.Denied || !p.Again || p.Since.Before(began) || p.Since.After(time.Now()) {
				t.Errorf("run %d: %s fails with %+v, its last good version is in snapshot %d", run, id, p, want)
			}
		}
	}
	m.live = m.live[:len(m.live)-1] // the first one is pruned
	if out := backup(t, s, m); len(out.Problems) != 2 || fmt.Sprint(out.Problems[0].Snapshot, out.Problems[1].Snapshot) != "2 0" &&
		fmt.Sprint(out.Problems[0].Snapshot, out.Problems[1].Snapshot) != "0 2" {
		t.Errorf("the oldest snapshot that is left has it, too: %+v", out.Problems)
	}
	s.pages["|d2"] = s.pages["|d3"]
	if out := backup(t, s, m); len(out.Problems) > 0 || m.committed.entries["x"].Good != 0 || m.committed.entries["x"].ProblemKind != "" {
		t.Errorf("%+v, %+v", out.Problems, m.committed.entries["x"])
	}
}

// TestWhatTheSourceRefusesIsAskedForWhenItChanges: what the source itself says of an item is of its class, and nobody
// asks again before it tells of a change; of a collection that is refused, every run asks.
func TestWhatTheSourceRefusesIsAskedForWhenItChanges(t *testing.T) {
	malware := engine.Item{ID: "x", Parent: "a", Kind: "item", ETag: "1", Problem: "malware"}
	m, s := newMemory(), mailbox(nil, nil)
	s.pages["a|"] = listing("dA", malware)
	s.pages["b|"] = failing(tenantry.Denied)
	out := runSlices(t, s, m)
	got := map[string]engine.Problem{}
	for _, p := range out.Problems {
		got[p.ID] = p
	}
	if p := got["x"]; p.Kind != tenantry.Poison || p.Again || p.Snapshot != 0 {
		t.Errorf("%+v", p)
	}
	if p := got["b"]; p.Kind != tenantry.Denied || !p.Again || p.Since.IsZero() {
		t.Errorf("%+v", p)
	}
}
