package graphsim

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Operator is the person who signs in with a device code. A delegated token gives what
// both its scopes and the person's directory roles allow.
type Operator struct {
	Tenant string   `json:"tenant"` // ID or domain; default: the one the code was asked for
	Name   string   `json:"name"`   // default "admin"
	Roles  []string `json:"roles"`  // of the directory; default Global Administrator
}

// The directory roles that matter for a registration ("Least privileged roles by task").
const (
	GlobalAdministrator         = "Global Administrator"
	PrivilegedRoleAdministrator = "Privileged Role Administrator"
	ApplicationAdministrator    = "Application Administrator"
	ApplicationDeveloper        = "Application Developer"
)

// deviceLife is how long a device code can be used, deviceInterval how many seconds lie
// between two polls ("OAuth 2.0 device authorization grant").
const (
	deviceLife     = 15 * time.Minute
	deviceInterval = 5
	maxDevices     = 1000
)

// deviceCode is one sign-in that waits for a person.
//
//	pending --[approved]--> approved --[polled]--> (gone)
//	pending --[declined]--> declined
//	pending --[15 minutes]--> expired
type deviceCode struct {
	code, userCode string
	tenant         string // of the request's path
	client, scope  string
	expires        time.Duration // simulated
	operator       *Operator
	declined       bool
}

// deviceBook holds the sign-ins that wait. Safe for concurrent use.
type deviceBook struct {
	mu   sync.Mutex
	open []*deviceCode
}

// serveDeviceCode begins a sign-in.
func (s *Server) serveDeviceCode(w http.ResponseWriter, r *http.Request, tenant string) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil || r.PostForm.Get("client_id") == "" || r.PostForm.Get("scope") == "" {
		aadsts(900144, "client_id and scope.").write(w)
		return
	}
	if !isCommon(tenant) && s.Tenant(tenant) == nil {
		aadsts(90002, "Tenant '%s'.", tenant).write(w)
		return
	}
	if !s.knowsClient(r.PostForm.Get("client_id")) {
		aadsts(700016, "Application '%s'.", r.PostForm.Get("client_id")).write(w)
		return
	}
	d := &deviceCode{code: randomText(32), userCode: strings.ToUpper(randomText(6))[:9], tenant: tenant,
		client: r.PostForm.Get("client_id"), scope: r.PostForm.Get("scope"), expires: s.elapsed() + deviceLife}
	s.devices.mu.Lock()
	if len(s.devices.open) >= maxDevices {
		s.devices.open = s.devices.open[1:]
	}
	s.devices.open = append(s.devices.open, d)
	s.devices.mu.Unlock()
	uri := origin(r) + "/devicelogin"
	writeJSON(w, http.StatusOK, map[string]any{"device_code": d.code, "user_code": d.userCode, "verification_uri": uri,
		"expires_in": int(math.Ceil(s.realWait(deviceLife).Seconds())), "interval": deviceInterval,
		"message": fmt.Sprintf("To sign in, use a web browser to open the page %s and enter the code %s to authenticate.", uri, d.userCode)})
}

func randomText(size int) string {
	b := make([]byte, size)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b) + "AAA"
}

// knowsClient reports whether an application can sign people in: the fleet's own, or one
// registered in any tenant.
func (s *Server) knowsClient(id string) bool {
	if strings.EqualFold(id, s.o.ClientID) {
		return true
	}
	for _, t := range s.Tenants() {
		if s.clientIn(t, id) != nil {
			return true
		}
	}
	return false
}

// ApproveDevice signs a person in with a user code, DeclineDevice lets the person refuse.
// Error: no such code waits, or no such tenant.
func (s *Server) ApproveDevice(userCode string, as Operator) error {
	return s.settleDevice(userCode, func(d *deviceCode) error {
		setDefault(&as.Tenant, d.tenant)
		setDefault(&as.Name, "admin")
		if as.Roles == nil {
			as.Roles = []string{GlobalAdministrator}
		}
		if s.Tenant(as.Tenant) == nil || !isCommon(d.tenant) && s.Tenant(d.tenant) != s.Tenant(as.Tenant) {
			return fmt.Errorf("graphsim: no sign-in to tenant %q", as.Tenant)
		}
		d.operator = &as
		return nil
	})
}

// DeclineDevice is a person who refuses to sign in.
func (s *Server) DeclineDevice(userCode string) error {
	return s.settleDevice(userCode, func(d *deviceCode) error {
		d.declined = true
		return nil
	})
}

func (s *Server) settleDevice(userCode string, settle func(*deviceCode) error) error {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	for _, d := range s.devices.open {
		if strings.EqualFold(d.userCode, userCode) && s.elapsed() < d.expires && d.operator == nil && !d.declined {
			return settle(d)
		}
	}
	return fmt.Errorf("graphsim: no sign-in waits for the code %q", userCode)
}

// serveDeviceLogin is the page on which a person enters the code: GET with code, and
// auto=accept or auto=refuse; as names the tenant, role (several) the directory roles.
func (s *Server) serveDeviceLogin(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	err := fmt.Errorf("enter the code: ?code=...&auto=accept|refuse&as=tenant&role=...")
	switch q.Get("auto") {
	case "accept":
		err = s.ApproveDevice(q.Get("code"), Operator{Tenant: q.Get("as"), Name: q.Get("name"), Roles: q["role"]})
	case "refuse":
		err = s.DeclineDevice(q.Get("code"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write([]byte("You may close this window.\n"))
}

// grantDevice answers a poll.
func (s *Server) grantDevice(r *http.Request) (*Tenant, map[string]any, *stsError) {
	d, refused := s.takeDevice(r.PostForm.Get("device_code"), r.PostForm.Get("client_id"))
	if refused != nil {
		return nil, nil, refused
	}
	return s.grantUser(r, delegation{Tenant: s.Tenant(d.operator.Tenant).id, Client: d.client, Scope: d.scope,
		Name: d.operator.Name, Roles: d.operator.Roles})
}

func (s *Server) takeDevice(code, client string) (*deviceCode, *stsError) {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	at := slices.IndexFunc(s.devices.open, func(d *deviceCode) bool { return d.code == code && strings.EqualFold(d.client, client) })
	if at < 0 || code == "" {
		return nil, &stsError{400, "bad_verification_code", 70018, "The device_code is not known."}
	}
	d := s.devices.open[at]
	switch {
	case d.declined:
		return nil, &stsError{400, "authorization_declined", 70019, "The person refused."}
	case s.elapsed() >= d.expires:
		return nil, &stsError{400, "expired_token", 70020, "The device_code has expired."}
	case d.operator == nil:
		return nil, aadsts(70016, "")
	}
	s.devices.open = slices.Delete(s.devices.open, at, at+1)
	return d, nil
}

// delegation is what a person allowed a client; a refresh token carries it, sealed.
type delegation struct {
	Tenant string   `json:"t"`
	Client string   `json:"c"`
	Scope  string   `json:"s"`
	Name   string   `json:"n"`
	Roles  []string `json:"r"`
	Serial int      `json:"e"`
	Issued int64    `json:"i"` // simulated seconds
}

// refreshLife is how long a refresh token lives ("Refresh tokens in the Microsoft identity
// platform").
const refreshLife = 90 * 24 * time.Hour

func (s *Server) sealDelegation(d delegation) string {
	d.Issued = int64(s.elapsed() / time.Second)
	data, _ := json.Marshal(d)
	return "0." + base64.RawURLEncoding.EncodeToString(append(s.sign(data), data...))
}

func (s *Server) unsealDelegation(token string) (d delegation, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "0."))
	if err != nil || len(data) < signatureSize || string(s.sign(data[signatureSize:])) != string(data[:signatureSize]) {
		return d, false
	}
	return d, json.Unmarshal(data[signatureSize:], &d) == nil
}

// grantRefresh gives new tokens for a refresh token; the old one stays good.
func (s *Server) grantRefresh(r *http.Request, tenant string) (*Tenant, map[string]any, *stsError) {
	d, ok := s.unsealDelegation(r.PostForm.Get("refresh_token"))
	t := s.Tenant(d.Tenant)
	if !ok || t == nil || !strings.EqualFold(d.Client, clientID(r)) || !isCommon(tenant) && s.Tenant(tenant) != t {
		return nil, nil, &stsError{400, "invalid_grant", 70000, "The refresh token is not valid."}
	}
	if serial, _ := t.serials(); d.Serial < serial || s.elapsed()-time.Duration(d.Issued)*time.Second > refreshLife {
		return nil, nil, aadsts(70008, "")
	}
	if secret := r.PostForm.Get("client_secret"); secret != "" {
		client := s.clientIn(t, d.Client)
		if client == nil {
			return nil, nil, aadsts(700016, "Application '%s'.", d.Client)
		}
		if refused := s.checkCredential(r, t, tenant, client); refused != nil {
			return nil, nil, refused
		}
	}
	if scope := r.PostForm.Get("scope"); scope != "" {
		d.Scope = scope
	}
	return s.grantUser(r, d)
}

// grantUser issues the tokens of a signed-in person.
func (s *Server) grantUser(r *http.Request, d delegation) (*Tenant, map[string]any, *stsError) {
	t := s.Tenant(d.Tenant)
	if refused := t.refused(); refused != nil {
		return nil, nil, refused
	}
	if refused := s.delegates(t, d); refused != nil {
		return nil, nil, refused
	}
	wish, refused := readClaims(r.PostForm.Get("claims"))
	if refused != nil {
		return nil, nil, refused
	}
	scopes, offline, openID := s.graphScopes(d.Scope)
	user := guid(mixString(t.seed, d.Name))
	token := s.newToken(t, &oauthClient{id: d.Client, principal: user}, s.o.Cloud.hosts().root(), origin(r), wish)
	token.Scopes, token.User = strings.Join(allowedScopes(scopes, d.Roles), " "), d.Name+"@"+t.spec.Domain
	answer, err := s.signedAnswer(token)
	if err != nil {
		return nil, nil, aadsts(90033, "%v", err)
	}
	answer["scope"] = strings.Join(scopes, " ")
	if offline {
		d.Serial, _ = t.serials()
		answer["refresh_token"] = s.sealDelegation(d)
	}
	if openID {
		idToken := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": origin(r) + "/" + t.id + "/v2.0", "aud": d.Client,
			"sub": user, "oid": user, "tid": t.id, "preferred_username": token.User, "name": d.Name, "ver": "2.0",
			"iat": token.IssuedAt, "nbf": token.NotBefore, "exp": token.ExpiresAt})
		idToken.Header["kid"] = s.keyID
		if answer["id_token"], err = idToken.SignedString(s.tokenKey); err != nil {
			return nil, nil, aadsts(90033, "%v", err)
		}
	}
	return t, answer, nil
}

// graphScopes takes a list of scopes apart: those of Graph without its name, and whether a
// refresh token and an ID token are wanted.
func (s *Server) graphScopes(text string) (scopes []string, offline, openID bool) {
	for _, scope := range strings.Fields(text) {
		switch scope = strings.TrimPrefix(scope, s.o.Cloud.hosts().root()+"/"); scope {
		case "offline_access":
			offline = true
		case "openid":
			openID = true
		case "profile", "email":
		default:
			scopes = append(scopes, scope)
		}
	}
	return scopes, offline, openID
}

// allowedScopes leaves out of the token's rights what the person's directory roles do not
// allow: to grant application permissions of Graph takes a Privileged Role Administrator,
// to register applications one of the application roles ("Grant tenant-wide admin consent",
// "Least privileged roles by task").
func allowedScopes(scopes, roles []string) []string {
	has := func(any ...string) bool {
		return slices.ContainsFunc(any, func(role string) bool { return slices.Contains(roles, role) })
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool {
		switch scope {
		case "AppRoleAssignment.ReadWrite.All":
			return !has(GlobalAdministrator, PrivilegedRoleAdministrator)
		case "Application.ReadWrite.All":
			return !has(GlobalAdministrator, ApplicationAdministrator, "Cloud Application Administrator", ApplicationDeveloper)
		}
		return false
	})
}
