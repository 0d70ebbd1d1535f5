package engine_test

import (
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMeasure(t *testing.T) {
	m := newMemory()
	for _, e := range []repository.Entry{
		{ID: "a", Kind: "folder"}, {ID: "b", Parent: "a", Kind: "folder"},
		{ID: "1", Parent: "a", Kind: "message", Size: 10, Parts: []repository.Part{{Name: "att", Size: 5}}},
		{ID: "2", Parent: "b", Kind: "message", Size: 20},
		{ID: "3", Parent: "b", Kind: "message", Problem: "never saved"},
		{ID: "4", Kind: "file", Size: 100, Parts: []repository.Part{{Name: "content", Size: 100}}},
	} {
		if err := m.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		chosen  []string
		examine int
		want    tenantry.Counts
		whole   bool
	}{
		{nil, 1, tenantry.Counts{Items: 4}, true},
		{[]string{"a"}, 100, tenantry.Counts{Items: 2, Bytes: 35, Skipped: 1}, true},
		{[]string{"b", "a", "2"}, 100, tenantry.Counts{Items: 2, Bytes: 35, Skipped: 1}, true}, // what lies in a chosen folder once
		{[]string{"4", "1"}, 100, tenantry.Counts{Items: 2, Bytes: 115}, true},
		{[]string{"gone"}, 100, tenantry.Counts{Skipped: 1}, true},
		{[]string{"a"}, 3, tenantry.Counts{Items: 1, Bytes: 15}, false},
	} {
		got, whole, err := engine.Measure(t.Context(), m, c.chosen, c.examine)
		if err != nil || got != c.want || whole != c.whole {
			t.Errorf("%v: %+v, whole %t, %v; want %+v", c.chosen, got, whole, err, c.want)
		}
	}
}
