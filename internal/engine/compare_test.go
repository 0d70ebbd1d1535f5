package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// However two snapshots differ, and however it is paged, Compare tells each difference once.
func TestCompare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[a-d]{1,2}`)
		entry := func(id string) repository.Entry {
			e := repository.Entry{ID: id, Kind: "file", Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"), Parent: rapid.SampledFrom([]string{"", "p"}).Draw(t, "parent")}
			if rapid.Bool().Draw(t, "part") {
				e.Parts = []repository.Part{{Name: "content"}}
			}
			return e
		}
		fill := func(label string) *memory {
			m := newMemory()
			for _, id := range rapid.SliceOfDistinct(id, func(s string) string { return s }).Draw(t, label) {
				if err := m.Put(t.Context(), entry(id)); err != nil {
					t.Fatal(err)
				}
			}
			return m
		}
		before, after := fill("before"), fill("after")
		want := map[string]string{}
		for id, e := range after.now.entries {
			old, ok := before.now.entries[id]
			switch {
			case !ok:
				want[id] = engine.Added
			case old.Name != e.Name, old.Parent != e.Parent, len(old.Parts) != len(e.Parts):
				want[id] = engine.Changed
			}
		}
		for id := range before.now.entries {
			if _, ok := after.now.entries[id]; !ok {
				want[id] = engine.Removed
			}
		}
		limit, examine := rapid.IntRange(1, 5).Draw(t, "limit"), rapid.IntRange(1, 5).Draw(t, "examine")
		got, order := map[string]string{}, []string{}
		for token := ""; ; {
			c, err := engine.Compare(t.Context(), before, after, token, limit, examine)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Changes) > limit || c.Examined > examine {
				t.Fatalf("%d changes, %d examined", len(c.Changes), c.Examined)
			}
			for _, change := range c.Changes {
				got[change.Entry.ID] = change.What
				order = append(order, change.Entry.ID)
			}
			if token = c.Next; token == "" {
				break
			}
		}
		if !maps.Equal(got, want) || !slices.IsSorted(order) || len(order) != len(got) {
			t.Fatalf("got %v in the order %v, want %v", got, order, want)
		}
	})
	if _, err := engine.Compare(t.Context(), newMemory(), newMemory(), "###", 1, 1); tenantry.KindOf(err) != tenantry.Invalid {
		t.Error("a token of another: ", err)
	}
}

// A folder whose counts changed is the same folder.
func TestCompareFolders(t *testing.T) {
	before, after := newMemory(), newMemory()
	for i, m := range []*memory{before, after} {
		if _, err := m.PutPayload(t.Context(), fmt.Appendf(nil, `{"id":"f","unread":%d}`, i)); err != nil {
			t.Fatal(err)
		}
		if err := m.Put(t.Context(), repository.Entry{ID: "f", Kind: "folder", Name: "Inbox", Parts: make([]repository.Part, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := engine.Compare(t.Context(), before, after, "", 10, 10); err != nil || len(c.Changes) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
