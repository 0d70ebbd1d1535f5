package directory

import (
	"errors"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestConnect(t *testing.T) {
	tests := []struct {
		name      string
		expected  string // directory named when the tenant was added
		consented string // GUID that came back from the consent page
		change    func(*script)
		kind      tenantry.Kind
		says      []string
	}{
		{name: "GUID", expected: contosoID, consented: contosoID},
		{name: "GUID in capitals", expected: strings.ToUpper("aaaa" + contosoID[4:]), consented: "aaaa" + contosoID[4:], change: func(s *script) {
			s.grant.DirectoryID, s.org.ID = "aaaa"+contosoID[4:], "aaaa"+contosoID[4:]
		}},
		{name: "domain", expected: "Contoso.example", consented: contosoID},
		{name: "nothing from the consent page", expected: "contoso.example"},
		{
			name: "another GUID", expected: otherID, consented: contosoID,
			kind: tenantry.Invalid, says: []string{otherID, contosoID},
		},
		{
			name: "another domain", expected: "fabrikam.example", consented: contosoID,
			kind: tenantry.Invalid, says: []string{"fabrikam.example", "Contoso", contosoID},
		},
		{
			name: "missing roles", expected: contosoID, consented: contosoID,
			change: func(s *script) { s.grant.Roles = []string{"User.Read.All", "Mail.Read", "Files.Read.All"} },
			kind:   tenantry.Reconnect, says: []string{"Group.Read.All", "Organization.Read.All"},
		},
		{
			name: "no roles yet", expected: contosoID, consented: contosoID,
			change: func(s *script) { s.grant.Roles = nil },
			kind:   tenantry.Transient, says: []string{"yet"},
		},
		{
			name: "consent not known everywhere yet", expected: contosoID, consented: contosoID,
			change: func(s *script) {
				s.grantErr = &tenantry.Error{Kind: tenantry.Reconnect, Op: "token: consent again", Code: "AADSTS700016", Err: errors.New("sign-in answered 400")}
			},
			kind: tenantry.Transient, says: []string{"wait for the consent", "there is none yet: send the consent link", "sign-in answered 400"},
		},
		{
			name: "no such tenant", expected: contosoID, consented: contosoID,
			change: func(s *script) {
				s.grantErr = &tenantry.Error{Kind: tenantry.Reconnect, Op: "token", Code: "AADSTS90002"}
			},
			kind: tenantry.Reconnect,
		},
		{
			name: "our own credential", expected: contosoID, consented: contosoID,
			change: func(s *script) {
				s.grantErr = &tenantry.Error{Kind: tenantry.Shared, Op: "token", Code: "AADSTS7000215"}
			},
			kind: tenantry.Shared,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, test.expected)
			if test.change != nil {
				test.change(f.script)
			}
			err := f.dir.Connect(t.Context(), f.id, tenantry.ConnectRequest{Directory: test.consented})
			if got := tenantry.KindOf(err); got != test.kind {
				t.Fatalf("kind %q (%v), want %q", got, err, test.kind)
			}
			row, getErr := f.cat.Tenant(f.id).Get(t.Context())
			f.must(getErr)
			if err != nil {
				for _, word := range test.says {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("%q does not name %q", err, word)
					}
				}
				if row.State != tenantry.TenantPending {
					t.Errorf("a failed connect made the tenant %s", row.State)
				}
				return
			}
			if row.State != tenantry.TenantConnected || row.DirectoryID != f.script.org.ID || row.Licences != 25 {
				t.Errorf("tenant after connect: %+v", row)
			}
			runs, err := f.cat.Tenant(f.id).Runs(t.Context(), "", 10)
			f.must(err)
			if len(runs) != 1 || runs[0].Action != tenantry.Sync || runs[0].Trigger != "system" {
				t.Errorf("runs after connect: %+v", runs)
			}
		})
	}
}

// Who never consented is not told to do so again; who did is.
func TestConsentThatIsMissing(t *testing.T) {
	f := newFixture(t, contosoID)
	refused := &tenantry.Error{Kind: tenantry.Reconnect, Op: "token: consent again", Code: "AADSTS65001"}
	f.script.grantErr = refused
	connect := func() string {
		err := f.dir.Connect(t.Context(), f.id, tenantry.ConnectRequest{Directory: contosoID})
		if tenantry.KindOf(err) != tenantry.Transient {
			t.Fatalf("got %v", err)
		}
		return err.Error()
	}
	if says := connect(); strings.Contains(says, "again") || !strings.Contains(says, "send the consent link") {
		t.Errorf("before the first consent: %s", says)
	}
	f.script.grantErr = nil
	f.must(f.dir.Connect(t.Context(), f.id, tenantry.ConnectRequest{Directory: contosoID}))
	f.script.grantErr = refused
	if says := connect(); !strings.Contains(says, "consent again") || strings.Contains(says, "none yet") {
		t.Errorf("after a lost consent: %s", says)
	}
}

// Once connected, only the same organisation connects again.
func TestReconnectOfAnotherOrganization(t *testing.T) {
	f := newFixture(t, "contoso.example")
	f.must(f.dir.Connect(t.Context(), f.id, tenantry.ConnectRequest{Directory: contosoID}))
	f.must(f.dir.Connect(t.Context(), f.id, tenantry.ConnectRequest{Directory: contosoID}))
	f.script.grant.DirectoryID = otherID
	f.script.org = graph.Organization{ID: otherID, Name: "Fabrikam", Domains: []string{"contoso.example"}}
	err := f.dir.Connect(t.Context(), f.id, tenantry.ConnectRequest{Directory: otherID})
	if tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), contosoID) || !strings.Contains(err.Error(), otherID) {
		t.Errorf("got %v", err)
	}
	row, err := f.cat.Tenant(f.id).Get(t.Context())
	f.must(err)
	if row.DirectoryID != contosoID || row.State != tenantry.TenantConnected {
		t.Errorf("tenant: %+v", row)
	}
}

// One organisation is one tenant: two would back it up twice, into two repositories.
func TestOrganizationConnectsOnce(t *testing.T) {
	f := newFixture(t, contosoID)
	f.must(f.dir.Connect(t.Context(), f.id, tenantry.ConnectRequest{Directory: contosoID}))
	twin := tenantry.NewTenantID()
	f.must(f.cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{
		ID: twin, Name: "Contoso again", Directory: "contoso.example", State: tenantry.TenantPending, Weight: 10, AddedAt: today,
	}))
	err := f.dir.Connect(t.Context(), twin, tenantry.ConnectRequest{Directory: contosoID})
	if tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), "another tenant") {
		t.Errorf("got %v (%s)", err, tenantry.KindOf(err))
	}
}
