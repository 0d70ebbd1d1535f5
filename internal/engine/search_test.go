package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestSearch(t *testing.T) {
	m := newMemory()
	day := func(d int) time.Time { return time.Date(2026, 11, d, 12, 0, 0, 0, time.UTC) }
	for _, e := range []repository.Entry{
		{ID: "f", Kind: "folder", Name: "Inbox"},
		{ID: "1", Parent: "f", Kind: "message", Name: "Invoice 7", From: "Ada Byron ada@contoso.example", To: "Bob bob@contoso.example, Eve eve@fabrikam.example", Date: day(1)},
		{ID: "2", Parent: "f", Kind: "message", Name: "Re: INVOICE 7", From: "Bob bob@contoso.example", Date: day(2)},
		{ID: "3", Parent: "f", Kind: "message", Name: "lunch", From: "Ada Byron ada@contoso.example", Date: day(3)},
		{ID: "4", Kind: "file", Name: "invoice.pdf", Modified: day(4)},
	} {
		if err := m.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		q    engine.Query
		want string
	}{
		"everything":             {engine.Query{}, "1 2 3 4 f"},
		"a subject, in any case": {engine.Query{Text: "inVoice"}, "1 2 4"},
		"a sender":               {engine.Query{From: "ADA@"}, "1 3"},
		"a text of a sender":     {engine.Query{Text: "byron"}, "1 3"},
		"a recipient":            {engine.Query{To: "EVE@"}, "1"},
		"no recipient":           {engine.Query{To: "ada@"}, ""},
		"a folder's name":        {engine.Query{In: "INB"}, "1 2 3"},
		"another folder's name":  {engine.Query{In: "Drafts"}, ""},
		"a kind":                 {engine.Query{Text: "invoice", Kind: "message"}, "1 2"},
		"a folder, by name":      {engine.Query{Folder: "f"}, "1 2 3"},
		"since":                  {engine.Query{Since: day(2)}, "2 3 4"},
		"before":                 {engine.Query{Before: day(2)}, "1"},
		"all at once":            {engine.Query{Text: "7", From: "bob", Since: day(1), Before: day(3)}, "2"},
		"nothing":                {engine.Query{Text: "dinner"}, ""},
	} {
		for _, pages := range [][2]int{{1, 100}, {2, 100}, {100, 100}, {100, 1}, {100, 2}, {2, 3}} {
			limit, examine := pages[0], pages[1]
			var got []string
			for token := ""; ; {
				l, err := engine.Search(t.Context(), m, c.q, token, limit, examine)
				if err != nil {
					t.Fatal(err)
				}
				if len(l.Entries) > limit || l.Examined > examine {
					t.Fatalf("%s: %d entries of %d on a page of %d of %d", name, len(l.Entries), l.Examined, limit, examine)
				}
				for _, e := range l.Entries {
					got = append(got, e.ID)
				}
				if token = l.Next; token == "" {
					break
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s, by %v: got %v, expected %s", name, pages, got, c.want)
			}
		}
	}
	_, err := engine.Search(t.Context(), m, engine.Query{Folder: "gone"}, "", 10, 10)
	if tenantry.KindOf(err) != tenantry.NotFound {
		t.Errorf("a folder that is not there: %v", err)
	}
	_, err = engine.Search(t.Context(), m, engine.Query{}, "###", 10, 10)
	if tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("a token of another: %v", err)
	}
}
