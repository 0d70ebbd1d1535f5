package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What the API finds is what the index has, page by page, with sender and date.
func TestBrowserSearches(t *testing.T) {
	repos, _ := newTestRepositories(t)
	repo, err := repos.Open(t.Context(), "t-1")
	if err != nil {
		t.Fatal(err)
	}
	series := tenantry.Series{Tenant: "t-1", Resource: "u-1", Workload: tenantry.Mailbox}
	w, err := repo.Begin(t.Context(), series, repository.Fence{Epoch: 1, Task: "task"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	day := func(d int) time.Time { return time.Date(2026, 11, d, 8, 0, 0, 0, time.UTC) }
	for i := range 20 {
		e := repository.Entry{
			ID: fmt.Sprintf("m%02d", i), Parent: "inbox", Kind: "message", Name: fmt.Sprintf("Invoice %d", i),
			From: fmt.Sprintf("user%d@contoso.example", i%2), Date: day(1 + i),
		}
		if err := w.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Put(t.Context(), repository.Entry{ID: "inbox", Kind: repository.KindFolder, Name: "Inbox"}); err != nil {
		t.Fatal(err)
	}
	snapshot, err := w.Seal(t.Context(), day(30))
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(repos)
	q := api.Search{Text: "invoice", From: "USER1", Kind: "message", Since: day(3), Before: day(19)}
	for _, folder := range []string{"", "inbox"} {
		var found []api.BrowseItem
		for after, pages := "", 0; ; pages++ {
			items, next, err := b.Search(t.Context(), series, snapshot.Seq, q, folder, after, 3)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, items...)
			if after = next; after == "" || pages > 20 {
				break
			}
		}
		if len(found) != 8 || found[0].From != "user1@contoso.example" || found[0].Date == nil || found[0].Date.Before(day(3)) {
			t.Errorf("in folder %q: found %d: %+v", folder, len(found), found)
		}
	}
	if _, _, err := b.Search(t.Context(), series, 99, q, "", "", 3); tenantry.KindOf(err) != tenantry.NotFound {
		t.Errorf("a snapshot that is not there: %v", err)
	}
}
