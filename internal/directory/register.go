package directory

import (
	"context"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The registration of an application in a customer's tenant, as the person asked for it who signs in by device
// code. Each step is one request or a few that find what an earlier try has made, and one guarded change of the
// row, so that any worker goes on where another one died:
//
//	asking --[Microsoft gives a code]--> waiting --[the person signs in]--> signed_in
//	signed_in --[application]--> registered --[certificate, its key wrapped in SQL]--> certified
//	certified --[service principal, roles]--> granted: the person's token is dropped
//	granted --[a token of the application has the roles]--> done: the credential is used, the tenant is connected
//	waiting --[declined, or 15 minutes passed]--> failed
//	any of them --[refused for good; the person's token ended]--> failed, with a remedy
//	any but done --[canceled]--> undoing --[application deleted, credential removed]--> undone
//
// A failed one is started again: the application is found by its unique name.

// SignIns is what a registration asks of Microsoft (*graph.Client, through app). Called from one goroutine.
type SignIns interface {
	AskDeviceCode(ctx context.Context, directory string) (graph.DeviceCode, error)
	PollDevice(ctx context.Context, directory string, device tenantry.Secret) (in graph.SignIn, pending bool, err error)
	// SignedIn returns what registers applications in a tenant.
	SignedIn(t tenantry.TenantID, directory string, token tenantry.Secret) Registrar
	// GrantOf tells what a token of the given application permits.
	GrantOf(ctx context.Context, t tenantry.TenantID, directory string, app graph.Application) (graph.Grant, error)
	// KeyRoller returns what rolls the keys of a registered application, in whose name it speaks.
	KeyRoller(t tenantry.TenantID, directory string, app graph.Application) KeyRoller
}

// Registrar makes an application (*graph.Registrar, which says more).
type Registrar interface {
	Application(ctx context.Context, unique, name string, roles []string) (objectID, clientID string, err error)
	Certificate(ctx context.Context, objectID, name string, certificate tenantry.Certificate) (remoteKey string, err error)
	Principal(ctx context.Context, clientID, name string) (string, error)
	Grant(ctx context.Context, principal string, roles []string) error
	Remove(ctx context.Context, objectID string) error
}

// Keyring wraps what is secret (repository.Keyring).
type Keyring interface {
	Wrap(ctx context.Context, tenant tenantry.TenantID, key []byte) (wrapped []byte, keyID string, err error)
	Unwrap(ctx context.Context, tenant tenantry.TenantID, keyID string, wrapped []byte) ([]byte, error)
}

const (
	// replication is how long an object that was just made may be unknown to some of Microsoft's nodes; no bound is
	// documented.
	replication = 5 * time.Minute
	// registerSteps bounds the steps of one slice: there are fewer.
	registerSteps = 20
)

// Register goes on with the tenant's registration as far as it can, and returns when to come back; zero: it has
// ended. Errors: Transient while something is not known everywhere yet; others have been written down.
func (d *Directory) Register(ctx context.Context, t tenantry.TenantID) (time.Time, error) {
	if d.cfg.SignIns == nil || d.cfg.Keys == nil {
		return time.Time{}, tenantry.Errorf(tenantry.Shared, "this worker cannot register applications")
	}
	scope := d.cfg.Catalog.Tenant(t)
	for range registerSteps {
		row, err := scope.Registration(ctx)
		if err != nil {
			return time.Time{}, err
		}
		r := &registering{Directory: d, tenant: t, scope: scope, from: row.State, row: row}
		next, ended, err := r.step(ctx)
		if tenantry.KindOf(err) == tenantry.Conflict {
			continue // it was canceled meanwhile
		}
		if ended || !next.IsZero() || err != nil {
			return next, err
		}
	}
	return d.cfg.Now().Add(time.Second), nil
}

// registering is one step of a registration.
type registering struct {
	*Directory
	tenant tenantry.TenantID
	scope  *catalog.Tenant
	from   tenantry.RegistrationState
	row    catalog.Registration
}

func (r *registering) step(ctx context.Context) (next time.Time, ended bool, err error) {
	switch r.from {
	case tenantry.RegAsking:
		err = r.ask(ctx)
	case tenantry.RegWaiting:
		return r.poll(ctx)
	case tenantry.RegSignedIn:
		err = r.register(ctx)
	case tenantry.RegRegistered:
		err = r.certify(ctx)
	case tenantry.RegCertified:
		err = r.grant(ctx)
	case tenantry.RegGranted:
		return time.Time{}, true, r.finish(ctx)
	case tenantry.RegUndoing:
		return time.Time{}, true, r.undo(ctx)
	default:
		return time.Time{}, true, nil
	}
	return time.Time{}, false, r.settled(ctx, err)
}

// settled lets pass what passes: an object that was just made is not known everywhere. The rest ends the
// registration, and is written down.
func (r *registering) settled(ctx context.Context, err error) error {
	switch kind := tenantry.KindOf(err); kind {
	case "", tenantry.Transient, tenantry.Throttled, tenantry.Shared, tenantry.Canceled, tenantry.Conflict, tenantry.Internal:
		return err
	case tenantry.NotFound, tenantry.Reconnect, tenantry.Invalid:
		// What is refused before anything was made is refused for good.
		made := r.from != tenantry.RegAsking && (r.from != tenantry.RegSignedIn || kind == tenantry.NotFound)
		if made && r.cfg.Now().Sub(r.row.StateAt) < replication && !strings.EqualFold(tenantry.CodeOf(err), "InvalidAuthenticationToken") {
			return tenantry.E(tenantry.Transient, "wait until Microsoft knows the application everywhere", err)
		}
	}
	return r.fail(ctx, err, remedyOf(err))
}

// fail ends the registration. The person's token is dropped; what was made stays, to be found by the next one.
func (r *registering) fail(ctx context.Context, cause error, remedy string) error {
	r.row.Reason, r.row.Remedy = cause.Error(), remedy
	r.forget()
	if err := r.move(ctx, tenantry.RegFailed); err != nil {
		return err
	}
	return tenantry.E(tenantry.Denied, "register the application", cause)
}

func remedyOf(err error) string {
	if tenantry.KindOf(err) == tenantry.Denied && strings.Contains(err.Error(), "grant") {
		return "start again, and sign in as a Global Administrator, or as a Privileged Role Administrator who is an Application Administrator, too"
	}
	return "start again: what was made already is found again"
}

func (r *registering) forget() {
	r.row.Wrapped, r.row.KeyID, r.row.UserCode, r.row.VerifyAt = nil, "", "", ""
}

func (r *registering) move(ctx context.Context, to tenantry.RegistrationState) error {
	r.row.State, r.row.StateAt = to, r.cfg.Now()
	return r.scope.MoveRegistration(ctx, r.from, r.row)
}

// keep wraps the device code or the person's token.
func (r *registering) keep(ctx context.Context, s tenantry.Secret) (err error) {
	r.row.Wrapped, r.row.KeyID, err = r.cfg.Keys.Wrap(ctx, r.tenant, []byte(s.Reveal()))
	return err
}

func (r *registering) kept(ctx context.Context) (tenantry.Secret, error) {
	plain, err := r.cfg.Keys.Unwrap(ctx, r.tenant, r.row.KeyID, r.row.Wrapped)
	return tenantry.NewSecret(string(plain)), err
}

// directory is whose sign-in is asked for.
func (r *registering) directory(ctx context.Context) (string, catalog.TenantRow, error) {
	row, err := r.scope.Get(ctx)
	if row.DirectoryID != "" {
		return row.DirectoryID, row, err
	}
	return row.Directory, row, err
}

func (r *registering) ask(ctx context.Context) error {
	directory, _, err := r.directory(ctx)
	if err != nil {
		return err
	}
	code, err := r.cfg.SignIns.AskDeviceCode(ctx, directory)
	if err != nil {
		return err
	}
	if err := r.keep(ctx, code.Device); err != nil {
		return err
	}
	r.row.UserCode, r.row.VerifyAt, r.row.ExpiresAt, r.row.PollEvery = code.UserCode, code.Page, code.Expires, code.Every
	return r.move(ctx, tenantry.RegWaiting)
}

func (r *registering) poll(ctx context.Context) (time.Time, bool, error) {
	directory, row, err := r.directory(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	device, err := r.kept(ctx)
	if err != nil {
		return time.Time{}, false, r.settled(ctx, err)
	}
	in, pending, err := r.cfg.SignIns.PollDevice(ctx, directory, device)
	now := r.cfg.Now()
	switch kind := tenantry.KindOf(err); {
	case pending && now.Before(r.row.ExpiresAt):
		return now.Add(r.row.PollEvery), false, nil
	case pending:
		return time.Time{}, true, r.fail(ctx, tenantry.Errorf(tenantry.Absent, "nobody entered the code in time"), remedyOf(nil))
	case kind == tenantry.Denied || kind == tenantry.Absent:
		return time.Time{}, true, r.fail(ctx, err, remedyOf(nil))
	case err != nil:
		return time.Time{}, false, r.settled(ctx, err)
	}
	if isGUID(row.Directory) && !strings.EqualFold(row.Directory, in.DirectoryID) || row.DirectoryID != "" && !strings.EqualFold(row.DirectoryID, in.DirectoryID) {
		return time.Time{}, true, r.fail(ctx, wrongOrganization(directory, in.DirectoryID), "start again, and sign in to the right tenant")
	}
	r.row.Directory, r.row.ExpiresAt, r.row.UserCode, r.row.VerifyAt = in.DirectoryID, in.Expires, "", ""
	if err := r.keep(ctx, in.Token); err != nil {
		return time.Time{}, false, err
	}
	return time.Time{}, false, r.move(ctx, tenantry.RegSignedIn)
}

// person returns what acts for who signed in.
func (r *registering) person(ctx context.Context) (Registrar, error) {
	if !r.cfg.Now().Before(r.row.ExpiresAt) || len(r.row.Wrapped) == 0 {
		return nil, tenantry.Errorf(tenantry.Denied, "the sign-in has ended before the registration was complete")
	}
	token, err := r.kept(ctx)
	if err != nil {
		return nil, err
	}
	return r.cfg.SignIns.SignedIn(r.tenant, r.row.Directory, token), nil
}

// unique is the name by which the application is found again: names that people see are not unique.
func (r *registering) unique() string { return "tenantry-" + string(r.tenant) }

// roles are the permissions that the application gets.
func (r *registering) roles() []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range tenantry.Permissions() {
		if (p.Purpose == tenantry.ToRestore && !r.row.Restore) || seen[p.Name] {
			continue
		}
		seen[p.Name] = true
		names = append(names, p.Name)
	}
	return names
}

func (r *registering) register(ctx context.Context) error {
	person, err := r.person(ctx)
	if err != nil {
		return err
	}
	r.row.ObjectID, r.row.ClientID, err = person.Application(ctx, r.unique(), r.row.Name, r.roles())
	if err != nil {
		return err
	}
	return r.move(ctx, tenantry.RegRegistered)
}

func (r *registering) certify(ctx context.Context) error {
	person, err := r.person(ctx)
	if err != nil {
		return err
	}
	if r.row.Credential == "" { // written down before Microsoft hears of it: none is lost
		if err := r.newCertificate(ctx); err != nil {
			return err
		}
		if err := r.move(ctx, tenantry.RegRegistered); err != nil {
			return err
		}
	}
	secret, err := r.certificate(ctx)
	if err != nil {
		return err
	}
	certificate, err := tenantry.ReadCertificate([]byte(secret.Certificate.Reveal()))
	if err != nil {
		return err
	}
	remote, err := person.Certificate(ctx, r.row.ObjectID, r.row.Credential, certificate)
	if err != nil {
		return err
	}
	if err := r.scope.CredentialKnownAs(ctx, r.row.Credential, remote); err != nil {
		return err
	}
	return r.move(ctx, tenantry.RegCertified)
}

// newCertificate makes the application's first certificate.
func (r *registering) newCertificate(ctx context.Context) error {
	c, err := r.makeCertificate(ctx, r.tenant, catalog.Credential{
		Purpose: tenantry.ToRegister, ClientID: r.row.ClientID, ObjectID: r.row.ObjectID,
		Label: "of the registration " + r.row.Name, AddedBy: r.row.StartedBy,
	})
	if err != nil {
		return err
	}
	r.row.Credential = c.ID
	return r.scope.AddCredential(ctx, c)
}

// certificate opens the registration's own credential.
func (r *registering) certificate(ctx context.Context) (tenantry.CredentialSecret, error) {
	list, err := r.scope.Credentials(ctx)
	if err != nil {
		return tenantry.CredentialSecret{}, err
	}
	for _, c := range list {
		if c.ID == r.row.Credential {
			return r.openCredential(ctx, r.tenant, c)
		}
	}
	return tenantry.CredentialSecret{}, tenantry.Errorf(tenantry.Denied, "the registration's credential was removed meanwhile")
}

// grant ends what the person is needed for.
func (r *registering) grant(ctx context.Context) error {
	person, err := r.person(ctx)
	if err != nil {
		return err
	}
	if r.row.Principal, err = person.Principal(ctx, r.row.ClientID, r.row.Name); err != nil {
		return err
	}
	if err := person.Grant(ctx, r.row.Principal, r.roles()); err != nil {
		return err
	}
	r.forget()
	return r.move(ctx, tenantry.RegGranted)
}

// finish proves the application before it is used, then connects the tenant by it.
func (r *registering) finish(ctx context.Context) error {
	secret, err := r.certificate(ctx)
	if err != nil {
		return r.settled(ctx, err)
	}
	app := graph.Application{ClientID: r.row.ClientID, Proofs: []graph.Proof{{Certificate: secret.Certificate}}}
	grant, err := r.cfg.SignIns.GrantOf(ctx, r.tenant, r.row.Directory, app)
	if err != nil {
		return r.settled(ctx, err)
	}
	if missing := MissingRoles(r.cfg.Required, grant.Roles); len(missing) > 0 {
		return tenantry.Errorf(tenantry.Transient, "the roles of the application are not in its token yet: %s", strings.Join(missing, ", "))
	}
	if err := r.scope.CredentialTold(ctx, r.row.Credential, "", r.cfg.Now()); err != nil {
		return err
	}
	if err := r.scope.UseCredential(ctx, r.row.Credential, tenantry.ToBackup); err != nil {
		return err
	}
	if err := r.dropUnused(ctx); err != nil {
		return err
	}
	if err := r.Connect(ctx, r.tenant, tenantry.ConnectRequest{Directory: r.row.Directory}); err != nil {
		return err
	}
	return r.move(ctx, tenantry.RegDone)
}

// undo deletes what was made. Without the person's token it says what is left to be deleted by hand.
func (r *registering) undo(ctx context.Context) error {
	r.row.Reason, r.row.Remedy = "", ""
	if r.row.ObjectID != "" {
		person, err := r.person(ctx)
		if err == nil {
			err = person.Remove(ctx, r.row.ObjectID)
		}
		switch tenantry.KindOf(err) {
		case "":
			r.row.ObjectID, r.row.ClientID, r.row.Principal = "", "", ""
		case tenantry.Transient, tenantry.Throttled, tenantry.Shared, tenantry.Canceled:
			return err
		default:
			r.row.Reason = "the application could not be deleted: " + err.Error()
			r.row.Remedy = "have an administrator delete the application " + r.row.ClientID + " in Entra, under App registrations"
		}
	}
	if err := r.dropUnused(ctx); err != nil {
		return err
	}
	r.row.Credential = ""
	r.forget()
	return r.move(ctx, tenantry.RegUndone)
}

// dropUnused removes credentials that registrations made and nothing uses: of those that failed, or died between
// two steps.
func (r *registering) dropUnused(ctx context.Context) error {
	list, err := r.scope.Credentials(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Purpose != tenantry.ToRegister {
			continue
		}
		if err := r.scope.RemoveCredential(ctx, c.ID); err != nil && tenantry.KindOf(err) != tenantry.NotFound {
			return err
		}
	}
	return nil
}
