package directory_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/directory"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// signIns is the real client; it dies (its context is as if ended) at the nth call, once.
type signIns struct {
	*graph.Client
	calls, dieAt int
}

var errDied = tenantry.Errorf(tenantry.Canceled, "the worker died here")

// lives counts a call, at which the worker may die: of those of a registrar the answer is lost then.
func (s *signIns) lives() error {
	s.calls++
	if s.calls == s.dieAt {
		return errDied
	}
	return nil
}

func (s *signIns) AskDeviceCode(ctx context.Context, dir string) (graph.DeviceCode, error) {
	if err := s.lives(); err != nil {
		return graph.DeviceCode{}, err
	}
	return s.Client.AskDeviceCode(ctx, dir)
}

func (s *signIns) SignedIn(t tenantry.TenantID, dir string, token tenantry.Secret) directory.Registrar {
	return &dying{s, s.Client.SignedIn(t, dir, token)}
}

func (s *signIns) GrantOf(ctx context.Context, t tenantry.TenantID, dir string, app graph.Application) (graph.Grant, error) {
	if err := s.lives(); err != nil {
		return graph.Grant{}, err
	}
	return s.Tenant(t, dir).With(&app).Grant(ctx)
}

func (s *signIns) KeyRoller(t tenantry.TenantID, dir string, app graph.Application) directory.KeyRoller {
	return &rolling{s, s.Client.KeyRoller(t, dir, app)}
}

// dying does what it is asked for and then may lose the answer.
type dying struct {
	s *signIns
	r directory.Registrar
}

func (d *dying) Application(ctx context.Context, unique, name string, roles []string) (object, client string, err error) {
	if object, client, err = d.r.Application(ctx, unique, name, roles); err == nil {
		err = d.s.lives()
	}
	return object, client, err
}

func (d *dying) Certificate(ctx context.Context, object, name string, c tenantry.Certificate) (string, error) {
	id, err := d.r.Certificate(ctx, object, name, c)
	if err == nil {
		err = d.s.lives()
	}
	return id, err
}

func (d *dying) Principal(ctx context.Context, client, name string) (string, error) {
	id, err := d.r.Principal(ctx, client, name)
	if err == nil {
		err = d.s.lives()
	}
	return id, err
}

func (d *dying) Grant(ctx context.Context, principal string, roles []string) error {
	if err := d.r.Grant(ctx, principal, roles[:len(roles)/2]); err != nil {
		return err
	}
	if err := d.s.lives(); err != nil {
		return err
	}
	return d.r.Grant(ctx, principal, roles)
}

func (d *dying) Remove(ctx context.Context, object string) error { return d.r.Remove(ctx, object) }

// own resolves the tenant's application as app does.
type own struct {
	cat  *catalog.Catalog
	ring repository.Keyring
}

func (o own) Application(ctx context.Context, t tenantry.TenantID, purpose tenantry.Purpose) (*graph.Application, error) {
	list, err := o.cat.Tenant(t).Credentials(ctx)
	for _, c := range list {
		if c.Purpose == purpose {
			plain, err := o.ring.Unwrap(ctx, t, c.KeyID, c.Wrapped)
			if err != nil {
				return nil, err
			}
			secret, err := tenantry.OpenCredentialSecret(plain, c.ID)
			return &graph.Application{ClientID: c.ClientID, Proofs: []graph.Proof{{ID: c.ID, Certificate: secret.Certificate}}}, err
		}
	}
	return nil, err
}

func (own) Told(context.Context, tenantry.TenantID, string, error) {}

// office is a world whose directory can register applications.
type office struct {
	*world
	server *graphsim.Server
	signIn *signIns
	later  time.Duration // by which our clock is before Microsoft's
}

func newOffice(t *testing.T) *office {
	t.Helper()
	server, err := graphsim.Start(graphsim.Options{Seed: 7})
	w := &world{t: t, id: tenantry.NewTenantID()}
	w.must(err)
	t.Cleanup(func() { _ = server.Close() })
	w.sim = server.AddTenant(graphsim.TenantSpec{Domain: "contoso.example", Users: 2})
	w.cat, err = catalog.Open(t.Context(), catalogtest.SQLite(t))
	w.must(err)
	t.Cleanup(func() { _ = w.cat.Close() })
	ring, err := repository.OpenKeyFile(filepath.Join(t.TempDir(), "keys"), true)
	w.must(err)
	client, err := graph.New(graph.Config{
		GraphURL: server.URL(), LoginURL: server.URL(), ClientID: graphsim.DefaultClientID, Secret: tenantry.NewSecret(graphsim.DefaultSecret),
		Applications: own{w.cat, ring},
	}, unlimited{})
	w.must(err)
	t.Cleanup(client.Close)
	w.must(w.cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{ID: w.id, Name: "Contoso", Directory: "contoso.example", AddedAt: time.Now()}))
	o := &office{world: w, server: server, signIn: &signIns{Client: client}}
	w.dir, err = directory.New(directory.Config{
		Catalog: w.cat, Log: quiet{}, SignIns: o.signIn, Keys: ring, Now: func() time.Time { return time.Now().Add(o.later) },
		Open: func(id tenantry.TenantID, name string) directory.Graph { return client.Tenant(id, name) },
	})
	w.must(err)
	return o
}

type quiet struct{}

func (quiet) Infow(string, ...any) {}
func (quiet) Warnw(string, ...any) {}

func (o *office) begin() {
	o.t.Helper()
	o.must(o.cat.Tenant(o.id).StartRegistration(o.t.Context(), catalog.Registration{
		State: tenantry.RegAsking, Name: "Our backup", Restore: true, StartedBy: "ada", StartedAt: time.Now(), StateAt: time.Now(),
	}))
}

func (o *office) row() catalog.Registration {
	o.t.Helper()
	r, err := o.cat.Tenant(o.id).Registration(o.t.Context())
	o.must(err)
	return r
}

// carry goes on as workers do, one after another, until the registration has ended. The person signs in as soon
// as there is a code.
func (o *office) carry(as graphsim.Operator) error {
	o.t.Helper()
	for range 60 {
		next, err := o.dir.Register(o.t.Context(), o.id)
		switch kind := tenantry.KindOf(err); {
		case kind == tenantry.Canceled, kind == tenantry.Transient:
			continue
		case err != nil:
			return err
		case next.IsZero():
			return nil
		}
		if r := o.row(); r.State == tenantry.RegWaiting {
			o.must(o.server.ApproveDevice(r.UserCode, as))
		}
	}
	o.t.Fatalf("no end: %+v", o.row())
	return nil
}

// Wherever a worker dies, another one brings the registration to its end: one application, one certificate, every
// role, and nothing left of the person's sign-in.
func TestRegistrationSurvivesDeaths(t *testing.T) {
	for dieAt := range 7 {
		t.Run(fmt.Sprint("call ", dieAt), func(t *testing.T) {
			o := newOffice(t)
			o.signIn.dieAt = dieAt
			o.begin()
			o.must(o.carry(graphsim.Operator{}))
			r := o.row()
			if r.State != tenantry.RegDone || len(r.Wrapped) > 0 || r.UserCode != "" || r.Directory != o.sim.ID() {
				t.Fatalf("registration: %+v", r)
			}
			if o.signIn.calls <= dieAt {
				t.Fatalf("%d calls only: nobody died", o.signIn.calls)
			}
			row, err := o.cat.Tenant(o.id).Get(t.Context())
			o.must(err)
			if row.State != tenantry.TenantConnected || row.DirectoryID != o.sim.ID() {
				t.Errorf("tenant: %+v", row)
			}
			for _, p := range tenantry.Permissions() {
				if !p.Granted(row.Roles) {
					t.Errorf("%s was not granted", p.Name)
				}
			}
			list, err := o.cat.Tenant(o.id).Credentials(t.Context())
			o.must(err)
			if len(list) != 1 || list[0].Purpose != tenantry.ToBackup || list[0].ClientID != r.ClientID {
				t.Errorf("credentials: %+v", list)
			}
			o.sync() // by its own application: the provider's has no consent here
		})
	}
}

func TestRegistrationThatFails(t *testing.T) {
	for name, test := range map[string]struct {
		settle func(o *office, code string) error
		says   string
		remedy string
	}{
		"declined": {func(o *office, code string) error { return o.server.DeclineDevice(code) }, "declined", "start again"},
		"half a privilege": {func(o *office, code string) error {
			return o.server.ApproveDevice(code, graphsim.Operator{Roles: []string{graphsim.ApplicationAdministrator}})
		}, "may not grant", "Privileged Role Administrator"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.begin()
			_, err := o.dir.Register(t.Context(), o.id)
			o.must(err)
			o.must(test.settle(o, o.row().UserCode))
			if err := o.carry(graphsim.Operator{}); tenantry.KindOf(err) != tenantry.Denied {
				t.Fatalf("%v", err)
			}
			r := o.row()
			if r.State != tenantry.RegFailed || !strings.Contains(r.Reason, test.says) || !strings.Contains(r.Remedy, test.remedy) || len(r.Wrapped) > 0 {
				t.Fatalf("registration: %+v", r)
			}
			o.begin() // again, by who may: what is there is found
			o.must(o.carry(graphsim.Operator{}))
			if again := o.row(); again.State != tenantry.RegDone || (r.ClientID != "" && again.ClientID != r.ClientID) {
				t.Errorf("again: %+v", again)
			}
		})
	}
}

// Canceled in the middle, the application goes again; without the person's token it is said what is left.
func TestRegistrationIsUndone(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		t.Run(fmt.Sprint("token forgotten: ", forgotten), func(t *testing.T) {
			o := newOffice(t)
			o.signIn.dieAt = 3 // after the certificate
			o.begin()
			_, err := o.dir.Register(t.Context(), o.id)
			o.must(err)
			o.must(o.server.ApproveDevice(o.row().UserCode, graphsim.Operator{}))
			_, err = o.dir.Register(t.Context(), o.id)
			if tenantry.KindOf(err) != tenantry.Canceled {
				t.Fatalf("%v", err)
			}
			r := o.row()
			client, from := r.ClientID, r.State
			if forgotten {
				r.Wrapped = nil
			}
			r.State = tenantry.RegUndoing
			o.must(o.cat.Tenant(o.id).MoveRegistration(t.Context(), from, r))
			o.must(o.carry(graphsim.Operator{}))
			r = o.row()
			if r.State != tenantry.RegUndone || len(r.Wrapped) > 0 || client == "" {
				t.Fatalf("registration: %+v", r)
			}
			if left := strings.Contains(r.Remedy, client); left != forgotten {
				t.Errorf("remedy %q", r.Remedy)
			}
			list, err := o.cat.Tenant(o.id).Credentials(t.Context())
			o.must(err)
			if len(list) != 0 {
				t.Errorf("credentials: %+v", list)
			}
		})
	}
}
