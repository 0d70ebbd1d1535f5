package directory_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/directory"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const aDay = 24 * time.Hour

// rolling does what it is asked for and then may lose the answer.
type rolling struct {
	s *signIns
	r directory.KeyRoller
}

func (r *rolling) AddKey(ctx context.Context, object, name string, holder, fresh tenantry.Certificate) (string, error) {
	id, err := r.r.AddKey(ctx, object, name, holder, fresh)
	if err == nil {
		err = r.s.lives()
	}
	return id, err
}

func (r *rolling) RemoveKey(ctx context.Context, object, remote string, holder tenantry.Certificate) error {
	if err := r.r.RemoveKey(ctx, object, remote, holder); err != nil {
		return err
	}
	return r.s.lives()
}

// registered is an office whose application was registered by device code.
func registered(t *testing.T) *office {
	t.Helper()
	return registeredAt(t, 0)
}

// registeredAt is registered when our clock stands by so much after Microsoft's.
func registeredAt(t *testing.T, later time.Duration) *office {
	t.Helper()
	o := newOffice(t)
	o.later = later
	o.begin()
	o.must(o.carry(graphsim.Operator{}))
	return o
}

func (o *office) credentials() []catalog.Credential {
	o.t.Helper()
	list, err := o.cat.Tenant(o.id).Credentials(o.t.Context())
	o.must(err)
	return list
}

// days lets days pass, with a sync in each.
func (o *office) days(n int) {
	o.t.Helper()
	for range n {
		o.later += aDay
		o.sync()
	}
}

func (o *office) audited(action string) (n int) {
	o.t.Helper()
	list, err := o.cat.Tenant(o.id).AuditTrail(o.t.Context(), 0, 1000)
	o.must(err)
	for _, entry := range list {
		if entry.Action == action {
			n++
		}
		if strings.Contains(entry.Detail, "PRIVATE KEY") {
			o.t.Errorf("the audit log has a key: %s", entry.Detail)
		}
	}
	return n
}

// A certificate that a registration made is rotated long before its end, twice in a row: the new one is used, works
// beside the old one for a week, and the old one goes, at Microsoft as well where its ID is known.
func TestRotation(t *testing.T) {
	o := registered(t)
	first := o.credentials()[0]
	if first.ObjectID == "" || first.RemoteKey == "" {
		t.Fatalf("not known to be ours: %+v", first)
	}
	o.later = 299 * aDay
	o.sync()
	if list := o.credentials(); len(list) != 1 {
		t.Fatalf("rotated two months before its end: %+v", list)
	}
	o.days(1)
	if list := o.credentials(); len(list) != 2 || list[0].Purpose != tenantry.ToRotate || list[0].AcceptedAt.IsZero() || list[1].ID != first.ID {
		t.Fatalf("after the sync that begins: %+v", list)
	}
	o.days(1)
	second := o.credentials()[0]
	if second.Purpose != tenantry.ToBackup || second.ClientID != first.ClientID || second.Fingerprint == first.Fingerprint {
		t.Fatalf("not used: %+v", second)
	}
	o.days(6)
	if list := o.credentials(); len(list) != 1 || list[0].ID != second.ID {
		t.Fatalf("after a week: %+v", list)
	}
	if got := o.sim.ApplicationKeys(first.ClientID); len(got) != 1 || got[0] != second.ID {
		t.Errorf("at Microsoft there is %v", got)
	}
	o.later += 300 * aDay
	o.days(9)
	third := o.credentials()
	if len(third) != 1 || third[0].ID == second.ID || third[0].ExpiresAt.Before(second.ExpiresAt) {
		t.Fatalf("the second rotation: %+v", third)
	}
	// The second one's ID could not be read: an application without a permission for that cannot.
	if got := o.sim.ApplicationKeys(first.ClientID); len(got) != 2 {
		t.Errorf("at Microsoft there is %v", got)
	}
	for action, want := range map[string]int{"credential-offered": 2, "credential-rotated": 2, "credential-retired": 2} {
		if got := o.audited(action); got != want {
			t.Errorf("%d audit entries %s, want %d", got, action, want)
		}
	}
	if alarms, err := o.cat.Tenant(o.id).Alarms(t.Context()); err != nil || len(alarms) != 0 {
		t.Errorf("alarms %+v, %v", alarms, err)
	}
}

// Wherever a worker dies, later syncs bring the rotation to its end, and the tenant is never without a certificate
// that works.
func TestRotationSurvivesDeaths(t *testing.T) {
	const calls = 5 // a token, the key added, tokens by the new one, the old one removed
	for dieAt := 1; dieAt <= calls; dieAt++ {
		t.Run(fmt.Sprint("call ", dieAt), func(t *testing.T) {
			o := registered(t)
			first := o.credentials()[0]
			o.later = 301 * aDay
			o.signIn.calls, o.signIn.dieAt = 0, dieAt
			o.days(12)
			if o.signIn.calls <= dieAt {
				t.Fatalf("%d calls only: nobody died", o.signIn.calls)
			}
			list := o.credentials()
			if len(list) != 1 || list[0].ID == first.ID || list[0].Purpose != tenantry.ToBackup || list[0].Stuck != "" {
				t.Fatalf("credentials: %+v", list)
			}
		})
	}
}

// What is in the way is said with the warning, a month before the end; once it has ended a person is asked for. The
// application that is registered again goes on with a new one, and the old one is put away.
func TestRotationThatIsRefused(t *testing.T) {
	o := registeredAt(t, -332*aDay)
	first := o.credentials()[0]
	fault, err := o.server.Inject(graphsim.Fault{Path: "/addKey$", Status: 400, Code: "CredentialInvalidLifetimeAsPerAppPolicy"})
	o.must(err)
	o.later = -aDay
	o.sync()
	o.days(1) // now is what Microsoft's device codes go by
	scope := o.cat.Tenant(o.id)
	alarms, err := scope.Alarms(t.Context())
	o.must(err)
	if len(alarms) != 1 || alarms[0].Subject != first.ID || !strings.Contains(alarms[0].Detail, "AppPolicy") || !strings.Contains(alarms[0].Detail, "device code") {
		t.Fatalf("alarms: %+v", alarms)
	}
	o.server.Clear(fault)
	o.begin()
	o.must(o.carry(graphsim.Operator{}))
	again := o.credentials()[0]
	if again.Purpose != tenantry.ToBackup || again.ObjectID != first.ObjectID || again.ID == first.ID {
		t.Fatalf("registered again: %s %s", again.ID, again.Purpose)
	}
	o.days(8)
	if list := o.credentials(); len(list) != 1 || list[0].ID != again.ID {
		t.Errorf("credentials: %+v", list)
	}
	if alarms, err = scope.Alarms(t.Context()); err != nil || len(alarms) != 0 {
		t.Errorf("alarms: %+v, %v", alarms, err)
	}
}

// A credential that somebody gave us is theirs to renew.
func TestOnlyOurOwnIsRotated(t *testing.T) {
	o := registered(t)
	c := o.credentials()[0]
	scope := o.cat.Tenant(o.id)
	o.must(scope.RemoveCredential(t.Context(), c.ID))
	c.ObjectID = ""
	o.must(scope.AddCredential(t.Context(), c))
	o.later = 340 * aDay
	o.days(3)
	list := o.credentials()
	if len(list) != 1 || !strings.Contains(list[0].Warning(time.Now().Add(o.later)), "add another") {
		t.Errorf("credentials: %+v", list)
	}
}

// Whoever asks has a certificate rotated at once, whatever its age: the sync that begins it has the next ones come when
// it can go on, and none comes for it any more when it is over.
func TestRotationNow(t *testing.T) {
	o := registered(t)
	scope, first := o.cat.Tenant(o.id), o.credentials()[0]
	due := func() time.Duration {
		t.Helper()
		row, err := scope.Get(t.Context())
		o.must(err)
		return row.NextSyncAt.Sub(row.LastSyncAt)
	}
	o.sync()
	if list := o.credentials(); len(list) != 1 || due() < time.Hour {
		t.Fatalf("rotated though nobody asked: %d certificates, the next sync comes in %s", len(list), due())
	}
	o.must(scope.AskRotation(t.Context(), first.ID, time.Now().Add(o.later)))
	o.sync()
	if list := o.credentials(); len(list) != 2 || list[0].Purpose != tenantry.ToRotate || due() > 5*time.Minute {
		t.Fatalf("after the first sync: %d certificates, the newest to %s, the next sync comes in %s", len(list), list[0].Purpose, due())
	}
	o.later += 5 * time.Minute
	o.sync()
	second := o.credentials()[0]
	if second.Purpose != tenantry.ToBackup || second.ID == first.ID || !second.RotateAt.IsZero() {
		t.Fatalf("after the second sync: %s %s, asked for at %s", second.ID, second.Purpose, second.RotateAt)
	}
	if left := due(); left <= 0 || left > aDay {
		t.Errorf("in the overlap the next sync comes in %s", left)
	}
	o.later += 8 * aDay
	o.sync()
	if list := o.credentials(); len(list) != 1 || list[0].ID != second.ID {
		t.Fatalf("after the overlap: %d certificates", len(list))
	}
	if got := o.sim.ApplicationKeys(first.ClientID); len(got) != 1 || got[0] != second.ID {
		t.Errorf("at Microsoft there is %v", got)
	}
	o.sync()
	if list := o.credentials(); len(list) != 1 || due() < time.Minute {
		t.Errorf("it goes on: %d certificates, the next sync comes in %s", len(list), due())
	}
}
