package repository_test

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A quick check finds every content object that is gone or cut short, and names the item.
func TestCheckQuick(t *testing.T) {
	t.Parallel()
	p, store, seq := damaged(t)
	quick := func() (repository.Checked, []repository.Problem) {
		t.Helper()
		var found []repository.Problem
		done, err := p.open(t).CheckQuick(t.Context(), mailbox, seq, func(pr repository.Problem) { found = append(found, pr) })
		must(t, err)
		return done, found
	}
	if done, found := quick(); len(found) > 0 || done.Items == 0 || done.Chunks == 0 {
		t.Fatalf("an intact snapshot: %+v, %v", done, found)
	}
	for _, o := range objects(t, store) {
		if !strings.Contains(o.Key, "/p/") && !strings.Contains(o.Key, "/c/") {
			continue
		}
		body, err := blob.ReadAll(t.Context(), store, o.Key, 64<<20)
		must(t, err)
		for what, harm := range map[string]func() error{
			"deleted":   func() error { return store.Delete(t.Context(), o.Key) },
			"cut short": func() error { return store.Put(t.Context(), o.Key, body[:min(len(body)-1, 30)]) },
		} {
			must(t, harm())
			_, found := quick()
			if len(found) == 0 || found[0].Item == "" || !strings.Contains(found[0].Reason, o.Key) {
				t.Errorf("%s %s: found %+v", o.Key, what, found)
			}
			must(t, store.Put(t.Context(), o.Key, body))
		}
	}
	_, err := p.open(t).CheckQuick(t.Context(), mailbox, seq+99, func(repository.Problem) {})
	wantKind(t, err, tenantry.NotFound)
}
