package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Sealer wraps what is secret under the key of a tenant, or of tenantry.FleetOwner (repository.Keyring). It is
// called once for each credential that is added. Errors are Shared: no key can be used.
type Sealer interface {
	Wrap(ctx context.Context, tenant tenantry.TenantID, key []byte) (wrapped []byte, keyID string, err error)
}

// Credential is how the fleet proves to Microsoft that it is an application. What is secret in it is never shown.
type Credential struct {
	ID          string                 `json:"id" example:"c-0123456789abcdef"`
	Purpose     tenantry.Purpose       `json:"purpose" enum:"backup,restore,register,rotate" doc:"register: a registration is under way, rotate: it is to take another one's place; neither is used yet"`
	Kind        catalog.CredentialKind `json:"kind" enum:"secret,certificate,federated"`
	ClientID    string                 `json:"client_id" doc:"The application it proves"`
	Label       string                 `json:"label,omitempty"`
	Fingerprint string                 `json:"fingerprint,omitempty" doc:"SHA-256 of the certificate"`
	Expires     *time.Time             `json:"expires,omitempty" doc:"Absent: not known"`
	Added       *time.Time             `json:"added,omitempty"`
	AddedBy     string                 `json:"added_by,omitempty"`
	Accepted    *time.Time             `json:"accepted,omitempty" doc:"When Microsoft took it first; absent: not yet"`
	Refused     *time.Time             `json:"refused,omitempty" doc:"When Microsoft refused it since it was taken last"`
	Refusal     string                 `json:"refusal,omitempty" doc:"Why: an AADSTS number"`
	Warning     string                 `json:"warning,omitempty" doc:"What a person should see to"`
	Rotates     bool                   `json:"rotates,omitempty" doc:"A registration made it: it is rotated by itself two months before it ends"`
	Rotating    *time.Time             `json:"rotating,omitempty" doc:"When somebody asked for it to be rotated now; it is used until the new one has been proved"`
	Stuck       string                 `json:"stuck,omitempty" doc:"Why it could not be rotated the last time that was tried"`
}

func credentialOf(c catalog.Credential, now time.Time) Credential {
	return Credential{
		ID: c.ID, Purpose: c.Purpose, Kind: c.Kind, ClientID: c.ClientID, Label: c.Label, Fingerprint: c.Fingerprint, Expires: when(c.ExpiresAt),
		Added: when(c.AddedAt), AddedBy: c.AddedBy, Accepted: when(c.AcceptedAt), Refused: when(c.RefusedAt), Refusal: c.Refusal,
		Warning: c.Warning(now), Rotates: c.ObjectID != "", Rotating: when(c.RotateAt), Stuck: c.Stuck,
	}
}

// NewCredential is what adds a credential. The newest one of a purpose is used; older ones of the same application
// are tried when it is refused, so that they overlap while they are rotated.
type NewCredential struct {
	Purpose     tenantry.Purpose       `json:"purpose,omitempty" enum:"backup,restore" default:"backup" doc:"restore: a second application that may write, for restores alone"`
	Kind        catalog.CredentialKind `json:"kind" enum:"secret,certificate,federated"`
	ClientID    string                 `json:"client_id" minLength:"36" maxLength:"36" doc:"The application (client) ID that Entra shows" example:"11111111-1111-4111-8111-111111111111"`
	Label       string                 `json:"label,omitempty" maxLength:"100" doc:"What people call it"`
	Secret      string                 `json:"secret,omitempty" maxLength:"1000" doc:"Of kind secret: the client secret. It is stored wrapped, and never shown again"`
	Certificate string                 `json:"certificate,omitempty" maxLength:"20000" doc:"Of kind certificate: PEM of the certificate and its RSA key. It is stored wrapped, and never shown again"`
	Expires     *time.Time             `json:"expires,omitempty" doc:"Of kind secret: when it ends, to be warned in time; a certificate says so itself"`
}

// CredentialPath names a credential of a tenant in the path.
type CredentialPath struct {
	TenantPath
	Credential string `path:"credential" maxLength:"64" doc:"ID of the credential"`
}

type addCredentialInput struct {
	TenantPath
	Body NewCredential
}

// audit leaves out what is secret.
func (in *addCredentialInput) audit() (tenantry.TenantID, any) { return in.Tenant, shownOf(in.Body) }

type addFleetCredentialInput struct{ Body NewCredential }

func (in *addFleetCredentialInput) audit() (tenantry.TenantID, any) { return "", shownOf(in.Body) }

func shownOf(n NewCredential) NewCredential {
	n.Secret, n.Certificate = "", ""
	return n
}

type removeCredentialInput struct{ CredentialPath }

func (in *removeCredentialInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Credential }

type rotateCredentialInput struct{ TenantPath }

func (in *rotateCredentialInput) audit() (tenantry.TenantID, any) { return in.Tenant, nil }

type removeFleetCredentialInput struct {
	Credential string `path:"credential" maxLength:"64" doc:"ID of the credential"`
}

func (in *removeFleetCredentialInput) audit() (tenantry.TenantID, any) { return "", in.Credential }

type fleetCredentialsInput struct{}

func (s *service) credentialRoutes() {
	const tag, all, fleet = "tenants", "/v1/tenants/{tenant}/credentials", "/v1/credentials"
	write(s, post(http.StatusCreated, "add-credential", tag, all, "Give the tenant an application of its own, or a new credential of it"), s.addCredential)
	read(s, get("list-credentials", tag, all, "List the tenant's own credentials, and what is wrong with them"), s.listCredentials)
	write(s, remove("remove-credential", tag, all+"/{credential}", "Remove a credential; without any the provider's application is used"), s.removeCredential)
	write(s, post(http.StatusOK, "rotate-credential", tag, all+"/rotate",
		"Rotate the certificate of the application that was registered in the tenant now; asked again while that goes on it changes nothing"), s.rotateCredential)
	write(s, post(http.StatusCreated, "add-fleet-credential", "fleet", fleet, "Change the provider's credential without a restart"), s.addFleetCredential)
	read(s, get("list-fleet-credentials", "fleet", fleet, "List the provider's credentials that were given by the API"), s.listFleetCredentials)
	write(s, remove("remove-fleet-credential", "fleet", fleet+"/{credential}", "Remove a credential; without any the configured one is used"), s.removeFleetCredential)
}

// newCredential checks a credential and wraps what is secret in it. Refusals never show it.
func (s *service) newCredential(ctx context.Context, owner tenantry.TenantID, n NewCredential) (catalog.Credential, error) {
	c := catalog.Credential{
		ID: "c-" + randomHex(8), Purpose: n.Purpose, Kind: n.Kind, ClientID: strings.ToLower(n.ClientID), Label: strings.TrimSpace(n.Label),
		AddedAt: s.Now(), AddedBy: callerOf(ctx).key(),
	}
	var wrong complaints
	if !guidPattern.MatchString(n.ClientID) {
		wrong.add(invalid("body.client_id", n.ClientID, "must be the GUID of an application"))
	}
	if (n.Secret != "") != (n.Kind == catalog.ClientSecret) {
		wrong.add(invalid("body.secret", nil, "must be given with the kind secret, and with no other"))
	}
	if (n.Certificate != "") != (n.Kind == catalog.Certificate) {
		wrong.add(invalid("body.certificate", nil, "must be given with the kind certificate, and with no other"))
	}
	if n.Expires != nil {
		c.ExpiresAt = *n.Expires
	}
	if n.Kind == catalog.Certificate && n.Certificate != "" {
		cert, err := tenantry.ReadCertificate([]byte(n.Certificate))
		if err != nil {
			wrong.add(invalid("body.certificate", nil, "must be the PEM of a certificate and its RSA key"))
		}
		c.ExpiresAt, c.Fingerprint = cert.Ends, cert.Fingerprint
	}
	if !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(s.Now()) {
		wrong.add(invalid("body.expires", c.ExpiresAt, "has ended already"))
	}
	if err := wrong.err(); err != nil {
		return c, err
	}
	if n.Kind == catalog.Federated {
		return c, nil
	}
	if s.Keys == nil {
		return c, tenantry.Errorf(tenantry.Shared, "this API has no keys to wrap a credential with")
	}
	secret := tenantry.CredentialSecret{ID: c.ID, Secret: tenantry.NewSecret(n.Secret), Certificate: tenantry.NewSecret(n.Certificate)}
	plain, err := secret.Seal()
	if err == nil {
		c.Wrapped, c.KeyID, err = s.Keys.Wrap(ctx, owner, plain)
	}
	return c, err
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

// addCredential stores it and has it proved at once.
func (s *service) addCredential(ctx context.Context, in *addCredentialInput) (*created[Credential], error) {
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	c, err := s.newCredential(ctx, in.Tenant, in.Body)
	if err != nil {
		return nil, err
	}
	if err := t.AddCredential(ctx, c); err != nil {
		return nil, err
	}
	if row.State != tenantry.TenantPending {
		if err := s.proveAgain(ctx, t); err != nil {
			return nil, err
		}
	}
	return &created[Credential]{fmt.Sprintf("/v1/tenants/%s/credentials/%s", in.Tenant, c.ID), credentialOf(c, s.Now())}, nil
}

// proveAgain has the tenant's consent proved by what it has now.
func (s *service) proveAgain(ctx context.Context, t *catalog.Tenant) error {
	_, err := s.start(ctx, t, tenantry.Connect, "", []catalog.NewTask{{Action: tenantry.Connect, Params: []byte("{}")}})
	return err
}

func (s *service) listCredentials(ctx context.Context, in *tenantInput) (*body[Page[Credential]], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.Credentials(ctx)
	return s.credentials(rows), err
}

func (s *service) credentials(rows []catalog.Credential) *body[Page[Credential]] {
	return paged(rows, len(rows), func(c catalog.Credential) Credential { return credentialOf(c, s.Now()) }, nil)
}

func (s *service) removeCredential(ctx context.Context, in *removeCredentialInput) (*struct{}, error) {
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if err := t.RemoveCredential(ctx, in.Credential); err != nil {
		return nil, err
	}
	for _, cause := range catalog.CredentialAlarms() {
		if err := t.ClearAlarm(ctx, cause, in.Credential); err != nil {
			return nil, err
		}
	}
	if row.State == tenantry.TenantConnected {
		return nil, s.proveAgain(ctx, t)
	}
	return nil, nil
}

func (s *service) addFleetCredential(ctx context.Context, in *addFleetCredentialInput) (*created[Credential], error) {
	c, err := s.newCredential(ctx, tenantry.FleetOwner, in.Body)
	if err != nil {
		return nil, err
	}
	if err := s.Catalog.Fleet().AddCredential(ctx, c); err != nil {
		return nil, err
	}
	return &created[Credential]{"/v1/credentials/" + c.ID, credentialOf(c, s.Now())}, nil
}

func (s *service) listFleetCredentials(ctx context.Context, _ *fleetCredentialsInput) (*body[Page[Credential]], error) {
	rows, err := s.Catalog.Fleet().Credentials(ctx)
	return s.credentials(rows), err
}

func (s *service) removeFleetCredential(ctx context.Context, in *removeFleetCredentialInput) (*struct{}, error) {
	fleet := s.Catalog.Fleet()
	if err := fleet.RemoveCredential(ctx, in.Credential); err != nil {
		return nil, err
	}
	for _, cause := range catalog.CredentialAlarms() {
		if err := fleet.EndWarning(ctx, cause, in.Credential); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// clientOf is the application that a consent of the tenant is for: its own, the provider's that was given by the
// API, or the configured one ("").
func (s *service) clientOf(ctx context.Context, t *catalog.Tenant, row catalog.TenantRow, purpose tenantry.Purpose) (string, error) {
	own, err := t.Credentials(ctx)
	if err != nil {
		return "", err
	}
	var fleet []catalog.Credential
	if cmp.Or(row.Cloud, s.Places.Cloud) == s.Places.Cloud { // those given by the API are of that cloud's application
		if fleet, err = s.Catalog.Fleet().Credentials(ctx); err != nil {
			return "", err
		}
	}
	for _, c := range append(own, fleet...) {
		if c.Purpose == purpose {
			return c.ClientID, nil
		}
	}
	if purpose == tenantry.ToRestore {
		return "", tenantry.Errorf(tenantry.Conflict, "there is no application for restores: add its credential first, with the purpose restore")
	}
	return "", nil
}

// rotateCredential has the tenant's syncs rotate the certificate that it goes by, from now on.
func (s *service) rotateCredential(ctx context.Context, in *rotateCredentialInput) (*body[Credential], error) {
	t, err := s.connected(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	c, err := s.used(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := rotatable(c, s.Now()); err != nil {
		return nil, err
	}
	if err := t.AskRotation(ctx, c.ID, s.Now()); err != nil {
		return nil, err
	}
	_, err = s.start(ctx, t, tenantry.Sync, "", []catalog.NewTask{{Action: tenantry.Sync}})
	if err != nil && tenantry.KindOf(err) != tenantry.Conflict { // Conflict: one is under way, and sees to it that another follows
		return nil, err
	}
	if c, err = s.used(ctx, t); err != nil {
		return nil, err
	}
	return &body[Credential]{credentialOf(c, s.Now())}, nil
}

// used is the tenant's own credential that its backups go by; without one it is zero.
func (s *service) used(ctx context.Context, t *catalog.Tenant) (catalog.Credential, error) {
	list, err := t.Credentials(ctx)
	for _, c := range list {
		if c.Purpose == tenantry.ToBackup {
			return c, nil
		}
	}
	return catalog.Credential{}, err
}

// rotatable says why a credential cannot be rotated by us; nil: it can.
func rotatable(c catalog.Credential, now time.Time) error {
	switch {
	case c.ID == "":
		return newProblem(tenantry.Conflict, "the tenant goes by the provider's application: change its credential with tenantry credentials add fleet").because(codeNotRotated)
	case c.ObjectID == "":
		return newProblem(tenantry.Conflict, fmt.Sprintf("credential %s is the customer's own: whoever gave it adds the next one beside it (tenantry credentials add), and removes it then", c.ID)).because(codeNotRotated)
	case !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt):
		return newProblem(tenantry.Conflict, fmt.Sprintf("certificate %s has ended, and can sign for no other: register the application again by device code, which finds it", c.ID)).because(codeNotRotated)
	}
	return nil
}
