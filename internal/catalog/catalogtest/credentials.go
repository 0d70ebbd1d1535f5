package catalogtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func testCredentials(_ *testing.T, w *world) {
	a := w.tenant("a")
	old := catalog.Credential{
		ID: "c-1", Tenant: "t-a", Purpose: tenantry.ToBackup, Kind: catalog.Certificate, ClientID: "app", Label: "of 2025", Fingerprint: "ab",
		KeyID: "k", Wrapped: []byte{1, 2}, ExpiresAt: now.Add(time.Hour), AddedAt: now, AddedBy: "ada",
	}
	fresh := old
	fresh.ID, fresh.AddedAt, fresh.Purpose = "c-2", now.Add(time.Minute), tenantry.ToRestore
	w.ok(a.AddCredential(w.ctx, old))
	w.ok(a.AddCredential(w.ctx, fresh))
	w.kind(a.AddCredential(w.ctx, old), tenantry.Conflict)
	own := catalog.Credential{ID: "c-1", Purpose: tenantry.ToBackup, Kind: catalog.Federated, ClientID: "ours", AddedAt: now}
	w.ok(w.f.AddCredential(w.ctx, own))

	got, err := a.Credentials(w.ctx)
	w.ok(err)
	if diff := cmp.Diff([]catalog.Credential{fresh, old}, got); diff != "" {
		w.t.Fatal(diff)
	}
	got, err = w.f.Credentials(w.ctx)
	w.ok(err)
	if diff := cmp.Diff([]catalog.Credential{own}, got); diff != "" {
		w.t.Fatal(diff)
	}

	w.ok(a.CredentialTold(w.ctx, "c-1", "", now))
	w.ok(a.CredentialTold(w.ctx, "c-1", "AADSTS7000222", now.Add(time.Hour)))
	w.ok(a.CredentialTold(w.ctx, "c-none", "", now))
	got, err = a.Credentials(w.ctx)
	w.ok(err)
	expect(w, "accepted", got[1].AcceptedAt, now)
	expect(w, "refused", got[1].RefusedAt, now.Add(time.Hour))
	expect(w, "refusal", got[1].Refusal, "AADSTS7000222")
	w.ok(a.CredentialTold(w.ctx, "c-1", "", now.Add(2*time.Hour)))
	got, err = a.Credentials(w.ctx)
	w.ok(err)
	expect(w, "first accepted", got[1].AcceptedAt, now)
	expect(w, "accepted again", got[1].RefusedAt.IsZero() && got[1].Refusal == "", true)

	w.ok(w.f.CredentialTold(w.ctx, "c-1", "AADSTS1", now))
	w.ok(w.f.RemoveCredential(w.ctx, "c-1"))
	w.kind(w.f.RemoveCredential(w.ctx, "c-1"), tenantry.NotFound)
	got, err = a.Credentials(w.ctx)
	w.ok(err)
	expect(w, "the tenant's stay", len(got), 2)
	for i := 3; i <= 10; i++ {
		fresh.ID = fmt.Sprint("c-", i)
		w.ok(a.AddCredential(w.ctx, fresh))
	}
	fresh.ID = "c-11"
	w.kind(a.AddCredential(w.ctx, fresh), tenantry.Conflict)
	w.ok(a.RemoveCredential(w.ctx, "c-1"))
	w.kind(a.RemoveCredential(w.ctx, "c-1"), tenantry.NotFound)
	w.kind(w.c.Tenant("t-none").AddCredential(w.ctx, fresh), tenantry.NotFound)

	testRotating(w, a, old)

	w.ok(a.SetRestoreRoles(w.ctx, []string{"Mail.ReadWrite"}))
	row, err := a.Get(w.ctx)
	w.ok(err)
	expect(w, "roles of restores", fmt.Sprint(row.RestoreRoles, row.Roles), "[Mail.ReadWrite] []")
}

// testRotating holds that one certificate of an application is made to rotate it, and offered by one at a time.
func testRotating(w *world, a *catalog.Tenant, like catalog.Credential) {
	next := like
	next.ID, next.Purpose, next.ObjectID, next.RemoteKey = "c-next", tenantry.ToRotate, "object", "key"
	w.ok(a.AddCredential(w.ctx, next))
	w.ok(a.RemoveCredential(w.ctx, "c-3"))
	other := next
	other.ID = "c-other"
	w.kind(a.AddCredential(w.ctx, other), tenantry.Conflict)
	w.ok(w.tenant("b").AddCredential(w.ctx, other))

	w.ok(a.OfferCredential(w.ctx, "c-next", time.Time{}, now))
	w.kind(a.OfferCredential(w.ctx, "c-next", time.Time{}, now.Add(time.Hour)), tenantry.Conflict)
	w.ok(a.OfferCredential(w.ctx, "c-next", now, now.Add(time.Hour)))
	w.kind(a.OfferCredential(w.ctx, "c-none", time.Time{}, now), tenantry.Conflict)
	w.ok(a.CredentialKnownAs(w.ctx, "c-next", "remote"))
	w.ok(a.CredentialKnownAs(w.ctx, "c-none", "remote"))
	w.ok(a.AskRotation(w.ctx, "c-next", now))
	w.ok(a.AskRotation(w.ctx, "c-next", now.Add(time.Hour))) // again: the first counts
	w.kind(a.AskRotation(w.ctx, "c-none", now), tenantry.Conflict)
	asked, err := a.Credentials(w.ctx)
	w.ok(err)
	for _, c := range asked {
		if c.ID == "c-next" {
			expect(w, "since when its rotation is wanted", c.RotateAt, now)
		} else if c.ObjectID == "" {
			w.kind(a.AskRotation(w.ctx, c.ID, now), tenantry.Conflict)
		}
	}
	w.ok(a.CredentialStuck(w.ctx, "c-next", "a policy"))
	w.ok(a.CredentialStuck(w.ctx, "c-none", "a policy"))
	list, err := a.Credentials(w.ctx)
	w.ok(err)
	for _, c := range list {
		if c.ID == "c-next" {
			next.RemoteKey, next.OfferedAt, next.Stuck = "remote", now.Add(time.Hour), "a policy"
			next.RotateAt = now
			expect(w, "what is rotated", cmp.Diff(next, c), "")
		} else {
			expect(w, "the others", c.RemoteKey+c.Stuck, "")
		}
	}
	w.ok(a.UseCredential(w.ctx, "c-next", tenantry.ToBackup))
	w.ok(a.AddCredential(w.ctx, other)) // the next one, a year later
}
