package engine

import (
	"slices"
	"testing"

	"github.com/tenantry/tenantry/internal/repository"
)

// kept are cursors by collection.
type kept map[string]repository.Cursor

func (k kept) Cursor(c string) (repository.Cursor, bool) { cur, ok := k[c]; return cur, ok }
func (k kept) SetCursor(c string, cur repository.Cursor) { k[c] = cur }
func (k kept) DropCursor(c string)                       { delete(k, c) }

// What was begun is gone on with, then come the collections that the source wants first.
func TestOrder(t *testing.T) {
	w := kept{
		"begun":  {Link: "page 2", Generation: 1},
		"inbox":  {},
		"synced": {Link: "delta", Generation: 1, Complete: true},
	}
	p, err := loadPlan(w)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"archive", "begun", "inbox", "synced"} {
		p.collections[c] = listing{In: RootCollection, First: c == "inbox"}
	}
	want := []string{"begun", "inbox", "archive", "synced"}
	if got := p.order(w, RootCollection); !slices.Equal(got, want) {
		t.Errorf("read in the order %v, want %v", got, want)
	}
	if err := p.save(w); err != nil {
		t.Fatal(err)
	}
	again, err := loadPlan(w)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.order(w, RootCollection); !slices.Equal(got, want) {
		t.Errorf("the next slice reads in the order %v, want %v", got, want)
	}
}
