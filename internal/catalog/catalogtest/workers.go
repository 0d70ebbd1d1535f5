package catalogtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// token adds a one-time token of the pool munich that lives for an hour.
func (w *world) token(name string) {
	w.t.Helper()
	w.ok(w.f.AddEnrolment(w.ctx, catalog.Enrolment{ID: "e-" + name, Pool: "munich", MadeBy: "admin", MadeAt: now, ExpiresAt: now.Add(time.Hour)}, "hash of "+name))
}

// join uses a token as a machine whose credential is its name.
func (w *world) join(token, machine, pool string, at time.Time) (catalog.RemoteWorker, error) {
	return w.f.EnrolWorker(w.ctx, "hash of "+token, catalog.RemoteWorker{ID: catalog.NewWorkerID(), Pool: pool, Name: machine, Hash: "credential of " + machine}, at)
}

func testRemoteWorkers(t *testing.T, w *world) {
	w.ok(w.f.AddPool(w.ctx, catalog.Pool{Name: "munich", AddedAt: now}))
	err := w.f.AddEnrolment(w.ctx, catalog.Enrolment{ID: "e-x", Pool: "nowhere", MadeAt: now}, "x")
	w.kind(err, tenantry.NotFound)

	for _, name := range []string{"one", "late", "revoked", "raced"} {
		w.token(name)
	}
	w.ok(w.f.RevokeEnrolment(w.ctx, "munich", "e-revoked", now))
	w.ok(w.f.RevokeEnrolment(w.ctx, "munich", "e-revoked", now.Add(time.Minute)))
	w.kind(w.f.RevokeEnrolment(w.ctx, "main", "e-one", now), tenantry.NotFound)
	first, err := w.join("one", "m1", "munich", now)
	w.ok(err)
	if first.Pool != "munich" || first.Name != "m1" || len(first.Login) < 20 {
		t.Errorf("joined as %+v", first)
	}
	w.kind(w.f.RevokeEnrolment(w.ctx, "munich", "e-one", now), tenantry.Conflict)
	again, err := w.join("one", "m1", "", now.Add(30*time.Minute))
	w.ok(err)
	if again.ID != first.ID {
		t.Errorf("the same machine became %s and %s by one token", first.ID, again.ID)
	}
	for what, use := range map[string]struct {
		token, machine, pool string
		at                   time.Time
		code                 string
	}{
		"guessed":             {"nobody's", "m2", "", now, "enrolment_unknown"},
		"used by another":     {"one", "m2", "", now, "enrolment_used"},
		"used long ago":       {"one", "m1", "", now.Add(2 * time.Hour), "enrolment_used"},
		"expired":             {"late", "m2", "", now.Add(time.Hour), "enrolment_expired"},
		"revoked":             {"revoked", "m2", "", now, "enrolment_revoked"},
		"for another pool":    {"late", "m2", "main", now, "enrolment_pool"},
		"used, another pool":  {"one", "m1", "main", now, "enrolment_pool"},
		"used, another token": {"late ", "m1", "", now, "enrolment_unknown"},
	} {
		if _, err := w.join(use.token, use.machine, use.pool, use.at); tenantry.KindOf(err) != tenantry.Unauthorized || tenantry.CodeOf(err) != use.code {
			t.Errorf("a token that is %s: %v (%s), want %s", what, err, tenantry.CodeOf(err), use.code)
		}
	}
	w.raced(t)
	w.lifeOfWorker(t, first)
}

// raced has eight machines use one token at once: one gets in.
func (w *world) raced(t *testing.T) {
	results := make(chan error, 8)
	for i := range cap(results) {
		go func() {
			_, err := w.join("raced", fmt.Sprint("racer", i), "", now)
			results <- err
		}()
	}
	won := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			won++
		case tenantry.CodeOf(err) != "enrolment_used":
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d machines used one token", won)
	}
}

// lifeOfWorker rotates, sees and revokes a worker.
func (w *world) lifeOfWorker(t *testing.T, first catalog.RemoteWorker) {
	later := now.Add(time.Hour)
	w.ok(w.f.BeginSession(w.ctx, first.ID, "v1", "redis1", later))
	w.ok(w.f.RotateWorker(w.ctx, first.ID, "not the next", later))
	w.ok(w.f.BeginSession(w.ctx, first.ID, "v1", "redis2", later))
	w.ok(w.f.OfferCredential(w.ctx, first.ID, "never used"))
	w.ok(w.f.OfferCredential(w.ctx, first.ID, "next"))
	w.ok(w.f.BeginSession(w.ctx, first.ID, "v2", "redis3", later))
	row, err := w.f.RemoteWorker(w.ctx, first.ID)
	w.ok(err)
	if row.Hash != "credential of m1" || row.NextHash != "next" || row.RedisHash != "redis3" || row.Version != "v2" || !row.SeenAt.Equal(later) || row.Live {
		t.Errorf("after sessions %+v", row)
	}
	w.ok(w.f.RotateWorker(w.ctx, first.ID, "next", later))
	w.ok(w.f.RotateWorker(w.ctx, first.ID, "next", later.Add(time.Hour)))
	row, err = w.f.RemoteWorker(w.ctx, first.ID)
	w.ok(err)
	if row.Hash != "next" || row.NextHash != "" || !row.RotatedAt.Equal(later) {
		t.Errorf("after the rotation %+v", row)
	}
	w.kind(w.f.RemovePool(w.ctx, "munich"), tenantry.Conflict)
	w.kind(w.f.RevokeWorker(w.ctx, "w-nobody", "ada", later), tenantry.NotFound)
	w.ok(w.f.RevokeWorker(w.ctx, first.ID, "ada", later))
	w.ok(w.f.RevokeWorker(w.ctx, first.ID, "bob", later.Add(time.Hour)))
	w.kind(w.f.BeginSession(w.ctx, first.ID, "v2", "x", later), tenantry.NotFound)
	w.kind(w.f.OfferCredential(w.ctx, first.ID, "x"), tenantry.NotFound)
	if _, err := w.join("one", "m1", "", now); tenantry.CodeOf(err) != "enrolment_used" {
		t.Errorf("a revoked worker joined again by its old token: %v", err)
	}
	all, err := w.f.RemoteWorkers(w.ctx)
	w.ok(err)
	if len(all) != 2 {
		t.Fatalf("%d workers, want two", len(all))
	}
	for _, one := range all {
		if one.ID == first.ID && (one.RevokedBy != "ada" || !one.RevokedAt.Equal(later)) {
			t.Errorf("revoked %+v", one)
		}
		w.ok(w.f.RevokeWorker(w.ctx, one.ID, "ada", later))
	}
	tokens, err := w.f.Enrolments(w.ctx, "munich")
	w.ok(err)
	if len(tokens) != 4 {
		t.Errorf("%d tokens in the list, want four", len(tokens))
	}
	w.ok(w.f.RemovePool(w.ctx, "munich"))
	if _, err := w.f.RemoteWorker(w.ctx, first.ID); tenantry.KindOf(err) != tenantry.NotFound {
		t.Errorf("the worker of a removed pool: %v", err)
	}
	w.tokensAreBounded()
}

// tokensAreBounded: a pool has a hundred tokens that wait, and forgets those that were over long ago.
func (w *world) tokensAreBounded() {
	w.t.Helper()
	add := func(id string, made time.Time) error {
		return w.f.AddEnrolment(w.ctx, catalog.Enrolment{ID: id, Pool: "main", MadeAt: made, ExpiresAt: made.Add(time.Hour)}, "hash of "+id)
	}
	for i := range 100 {
		w.ok(add(fmt.Sprint("e-", i), now))
	}
	w.kind(add("e-more", now), tenantry.Conflict)
	w.ok(add("e-later", now.Add(100*24*time.Hour)))
	left, err := w.f.Enrolments(w.ctx, "main")
	if w.ok(err); len(left) != 1 {
		w.t.Fatal("tokens that were over long ago stay:", len(left))
	}
}
