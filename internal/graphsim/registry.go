package graphsim

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// graphAppID is Microsoft Graph's own application ID, the same everywhere.
const graphAppID = "00000003-0000-0000-c000-000000000000"

// registration is an application or a service principal of a tenant. Guarded by the
// lock of the tenant's consent.
//
//	application --[POST or PATCH servicePrincipals]--> service principal --[appRoleAssignedTo]--> roles in tokens
type registration struct {
	id, kind   string // "application" or "servicePrincipal"
	appID      string
	uniqueName string
	body       map[string]json.RawMessage // what the client set
	state      State
	created    time.Time
	removed    time.Time
	purgeAt    time.Duration // simulated
	usable     time.Duration // simulated time from which other nodes know it
	keys       []keyCredential
	passwords  []passwordCredential
}

// keyCredential is a certificate of an application.
type keyCredential struct {
	KeyID       string    `json:"keyId"`
	DisplayName string    `json:"displayName,omitempty"`
	Type        string    `json:"type"`
	Usage       string    `json:"usage"`
	Start       time.Time `json:"startDateTime"`
	End         time.Time `json:"endDateTime"`
	Thumbprint  string    `json:"customKeyIdentifier"`
	Key         []byte    `json:"key"`

	cert registeredCert
}

type passwordCredential struct {
	KeyID       string    `json:"keyId"`
	DisplayName string    `json:"displayName,omitempty"`
	Hint        string    `json:"hint"`
	Start       time.Time `json:"startDateTime"`
	End         time.Time `json:"endDateTime"`
	secret      string
}

// assignment is an application role that a service principal was given.
type assignment struct {
	id, principal, resource, role string
	created                       time.Time
}

// registry is what is registered in a tenant.
type registry struct {
	all         []*registration
	assignments []assignment
}

// find returns a registration by object ID, whatever its state.
func (r *registry) find(id string) *registration {
	for _, one := range r.all {
		if strings.EqualFold(one.id, id) {
			return one
		}
	}
	return nil
}

// byApp returns the active registration of a kind with that application ID.
func (r *registry) byApp(kind, appID string) *registration {
	for _, one := range r.all {
		if one.kind == kind && one.state == Active && strings.EqualFold(one.appID, appID) {
			return one
		}
	}
	return nil
}

// ofKind returns the active registrations of a kind.
func (r *registry) ofKind(kind string) (list []*registration) {
	for _, one := range r.all {
		if one.kind == kind && one.state == Active {
			list = append(list, one)
		}
	}
	return list
}

// ApplicationKeys are the names of the certificates that an application registered here has.
func (t *Tenant) ApplicationKeys(appID string) (names []string) {
	t.consent.mu.RLock()
	defer t.consent.mu.RUnlock()
	if r := t.consent.registrations.byApp("application", appID); r != nil {
		for _, k := range r.keys {
			names = append(names, k.DisplayName)
		}
	}
	return names
}

// Applications returns the names of the certificates of each application that is registered in the tenant, by its
// application ID.
func (t *Tenant) Applications() map[string][]string {
	t.consent.mu.RLock()
	defer t.consent.mu.RUnlock()
	all := map[string][]string{}
	for _, r := range t.consent.registrations.all {
		if r.kind != "application" || r.state != Active {
			continue
		}
		all[r.appID] = []string{}
		for _, k := range r.keys {
			all[r.appID] = append(all[r.appID], k.DisplayName)
		}
	}
	return all
}

func (r *registry) deleted(kind string) (list []*registration) {
	for _, one := range r.all {
		if one.kind == kind && one.state == Deleted {
			list = append(list, one)
		}
	}
	return list
}

// registration returns one by object ID, or nil.
func (t *Tenant) registration(id string) *registration {
	t.consent.mu.RLock()
	defer t.consent.mu.RUnlock()
	return t.consent.registrations.find(id)
}

// purgeRegistrations removes those whose time in deletedItems is over, and returns when
// the next one's ends.
func (t *Tenant) purgeRegistrations(now time.Duration) time.Duration {
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	next := never
	t.consent.registrations.all = slices.DeleteFunc(t.consent.registrations.all, func(r *registration) bool {
		if r.state == Deleted && now < r.purgeAt {
			next = min(next, r.purgeAt)
		}
		return r.state == Deleted && now >= r.purgeAt
	})
	return next
}

func (t *Tenant) purgeRegistration(r *registration) {
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	t.consent.registrations.all = slices.DeleteFunc(t.consent.registrations.all, func(other *registration) bool { return other == r })
}

// dropRegistration deletes one softly; a service principal goes with its application, and
// its roles go with it.
func (t *Tenant) dropRegistration(r *registration) {
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	gone := []*registration{r}
	if sp := t.consent.registrations.byApp("servicePrincipal", r.appID); r.kind == "application" && sp != nil {
		gone = append(gone, sp)
	}
	for _, one := range gone {
		one.state, one.removed = Deleted, time.Now()
		one.purgeAt = t.s.elapsed() + t.s.o.Retention.Applications
		t.purgeNoLaterThan(one.purgeAt)
		t.consent.registrations.assignments = slices.DeleteFunc(t.consent.registrations.assignments, func(a assignment) bool { return a.principal == one.id })
		if one.id == t.ownPrincipal() {
			t.consent.roles = nil
		}
	}
}

// restoreRegistration brings an application back; its service principal stays deleted.
func (c *call) restoreRegistration(r *registration) error {
	c.t.consent.mu.Lock()
	defer c.t.consent.mu.Unlock()
	if !slices.Contains(c.roles, "Application.ReadWrite.All") {
		return requestDenied()
	}
	if r.state != Deleted {
		return directoryNotFound(r.id)
	}
	r.state = Active
	return c.json(200, r.write(nil, false))
}

// ownPrincipal is the ID of the service principal of the fleet's application here.
func (t *Tenant) ownPrincipal() string { return guid(mixString(t.seed, t.s.o.ClientID)) }

// graphPrincipal is the ID of Graph's service principal here: another in each tenant.
func (t *Tenant) graphPrincipal() string { return guid(mixString(t.seed, graphAppID)) }

// principalOf returns the service principal with an application ID: those of Graph and of
// the fleet's own application are not created by anybody here.
func (t *Tenant) principalOf(appID string) *registration {
	switch {
	case strings.EqualFold(appID, graphAppID):
		return t.builtIn(t.graphPrincipal(), graphAppID, "Microsoft Graph")
	case strings.EqualFold(appID, t.s.o.ClientID) && t.consent.roles != nil:
		return t.builtIn(t.ownPrincipal(), t.s.o.ClientID, "Tenantry")
	}
	return t.consent.registrations.byApp("servicePrincipal", appID)
}

func (t *Tenant) builtIn(id, appID, name string) *registration {
	return &registration{id: id, kind: "servicePrincipal", appID: appID, state: Active, created: epoch.AddDate(-1, 0, 0),
		body: map[string]json.RawMessage{"displayName": appendQuoted(nil, name)}}
}

// principals are all service principals, the built-in ones first.
func (t *Tenant) principals() []*registration {
	list := []*registration{t.principalOf(graphAppID)}
	if own := t.principalOf(t.s.o.ClientID); own != nil {
		list = append(list, own)
	}
	return append(list, t.consent.registrations.ofKind("servicePrincipal")...)
}

// assignmentsOf lists the roles given to a principal, or with resource those of Graph that
// anybody was given.
func (t *Tenant) assignmentsOf(id string, resource bool) []assignment {
	var list []assignment
	own, graph := t.ownPrincipal(), t.graphPrincipal()
	if id == own && !resource || id == graph && resource {
		for _, role := range t.consent.roles {
			list = append(list, assignment{id: assignmentID(own, roleID(role)), principal: own, resource: graph, role: roleID(role), created: epoch})
		}
	}
	for _, a := range t.consent.registrations.assignments {
		if a.principal == id && !resource || a.resource == id && resource {
			list = append(list, a)
		}
	}
	return list
}

func assignmentID(principal, role string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(guid(mixString(mixString(7, principal), role))))
}

// rolesOf names the roles that tokens of a principal carry.
func (t *Tenant) rolesOf(principal string) (roles []string) {
	for _, a := range t.assignmentsOf(principal, false) {
		if name := roleName(a.role); name != "" {
			roles = append(roles, name)
		}
	}
	return roles
}

// write is the JSON of a registration. withKeys includes the public keys, which only a GET
// of one object with $select=keyCredentials returns.
func (r *registration) write(sel selection, withKeys bool) []byte {
	all := map[string]any{"id": r.id, "appId": r.appID, "createdDateTime": r.created.UTC(), "keyCredentials": r.keyList(withKeys),
		"passwordCredentials": append([]passwordCredential{}, r.passwords...)}
	for name, value := range r.body {
		all[name] = value
	}
	switch r.kind {
	case "application":
		all["uniqueName"] = nil
		if r.uniqueName != "" {
			all["uniqueName"] = r.uniqueName
		}
	case "servicePrincipal":
		all["servicePrincipalType"], all["accountEnabled"] = "Application", true
		all["appRoles"] = []any{}
		if r.appID == graphAppID {
			all["appRoles"] = graphRoles()
		}
	}
	if r.state == Deleted {
		all["deletedDateTime"], all["@odata.type"] = r.removed.UTC(), "#microsoft.graph."+r.kind
	}
	for _, name := range settable[r.kind] {
		if _, set := all[name]; !set && name != "keyCredentials" {
			all[name] = nil
		}
	}
	for name := range all {
		if !sel.has(name) {
			delete(all, name)
		}
	}
	data, _ := json.Marshal(all)
	return data
}

func (r *registration) keyList(withKeys bool) []keyCredential {
	list := append([]keyCredential{}, r.keys...)
	for i := range list {
		if !withKeys {
			list[i].Key = nil
		}
	}
	return list
}

// maxCredentialLife bounds a certificate's entry ("Add a certificate to an app using
// Microsoft Graph").
const maxCredentialLife = 366 * 24 * time.Hour

// newKey checks a key credential that a client sends.
func newKey(in keyCredential) (keyCredential, error) {
	if in.Type != "AsymmetricX509Cert" || in.Usage != "Verify" {
		return in, credentialRefused("The value for the property \"usage\" in one of your credentials is invalid.")
	}
	cert, err := x509.ParseCertificate(in.Key)
	if err != nil {
		return in, credentialRefused("Key value is invalid certificate: %v", err)
	}
	if in.cert, err = registeredFrom(cert); err != nil {
		return in, credentialRefused("Key value is invalid certificate: %v", err)
	}
	setDefault(&in.Start, time.Now().UTC())
	setDefault(&in.End, minTime(in.Start.AddDate(1, 0, 0), cert.NotAfter))
	if in.End.After(cert.NotAfter) || in.End.Sub(in.Start) > maxCredentialLife || !in.End.After(in.Start) {
		return in, credentialRefused("Key credential end date is invalid.")
	}
	in.KeyID = newID()
	if in.Thumbprint == "" {
		in.Thumbprint = in.cert.sha1Text[2]
	}
	return in, nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func credentialRefused(format string, args ...any) *apiError {
	return fail(400, "Request_BadRequest", format, args...)
}

// mergeKeys applies the whole collection that a PATCH sends: what is left out is removed,
// what is kept carries its keyId and is not altered, the rest is new.
func mergeKeys(old, sent []keyCredential) ([]keyCredential, error) {
	var next []keyCredential
	for _, in := range sent {
		kept := slices.IndexFunc(old, func(k keyCredential) bool { return in.KeyID != "" && k.KeyID == in.KeyID })
		if kept < 0 {
			key, err := newKey(in)
			if err != nil {
				return nil, err
			}
			next = append(next, key)
			continue
		}
		if in.Usage != old[kept].Usage || in.Type != old[kept].Type {
			return nil, credentialRefused("The value for the property \"usage\" in one of your credentials is invalid.")
		}
		if len(in.Key) > 0 && string(in.Key) != string(old[kept].Key) || !in.End.IsZero() && !in.End.Equal(old[kept].End) {
			return nil, credentialRefused("Update to existing credential with KeyId '%s' is not allowed.", in.KeyID)
		}
		next = append(next, old[kept])
	}
	return next, nil
}

// newPassword makes a secret, which is shown once.
func newPassword(name string, end time.Time) passwordCredential {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	secret := base64.RawURLEncoding.EncodeToString(b[:])
	start := time.Now().UTC().Truncate(time.Second)
	if end.IsZero() {
		end = start.AddDate(2, 0, 0)
	}
	return passwordCredential{KeyID: newID(), DisplayName: name, Hint: secret[:3], Start: start, End: end, secret: secret}
}

// credentialsOf are the certificates and secrets that an application may use now.
func (r *registration) credentialsOf(now time.Time) (certs []registeredCert, secrets []string) {
	for _, k := range r.keys {
		if now.Before(k.End) {
			certs = append(certs, k.cert)
		}
	}
	for _, p := range r.passwords {
		if now.Before(p.End) {
			secrets = append(secrets, p.secret)
		}
	}
	return certs, secrets
}
