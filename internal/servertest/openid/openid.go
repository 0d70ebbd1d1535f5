// Package openid starts a real OpenID Connect provider, the certified one of zitadel/oidc
// with its example store, on a free loopback port. It is used by tests only.
package openid

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/oauth2"
)

// Password is everybody's.
const Password = "correct horse"

// Server is a running provider.
type Server struct {
	Issuer                 string
	ClientID, ClientSecret string
	DeviceClientID         string // of programs, without a secret

	http  *httptest.Server
	store *store
	tb    testing.TB
}

// Start starts a provider whose people hold roles, by name. A browser that signed in comes
// back to redirect.
func Start(tb testing.TB, redirect string, roles map[string][]string) *Server {
	tb.Helper()
	s := &Server{ClientID: "tenantry", ClientSecret: "of the client", DeviceClientID: "tenantry-cli", tb: tb}
	s.http = httptest.NewUnstartedServer(nil)
	tb.Cleanup(s.http.Close)
	s.Issuer = "http://" + s.http.Listener.Addr().String()
	client := storage.WebClient(s.ClientID, s.ClientSecret, redirect)
	clients := map[string]*storage.Client{s.ClientID: client, "other": storage.WebClient("other", "of another client", redirect),
		s.DeviceClientID: storage.NativeClient(s.DeviceClientID)}
	s.store = &store{storage.NewStorageWithClients(people(roles), clients), roles}
	store := s.store
	provider, err := op.NewProvider(&op.Config{CryptoKey: sha256.Sum256([]byte(s.Issuer)), CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true,
		DeviceAuthorization: op.DeviceAuthorizationConfig{Lifetime: time.Minute, PollInterval: time.Second, UserFormPath: "/device", UserCode: op.UserCodeBase20}}, store,
		op.StaticIssuer(s.Issuer), op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.Handle("GET /login/username", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) // the form
	mux.Handle("POST /login/username", op.NewIssuerInterceptor(provider.IssuerFromRequest).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if err := store.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), id); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(provider)(r.Context(), id), http.StatusFound)
	}))
	s.http.Config.Handler = mux
	s.http.Start()
	return s
}

// Stop makes the provider unreachable.
func (s *Server) Stop() { s.http.Close() }

// people are users by name; their subject is "subject-NAME".
type people map[string][]string

func (p people) GetUserByID(id string) *storage.User {
	return p.GetUserByUsername(strings.TrimPrefix(id, "subject-"))
}

func (p people) GetUserByUsername(name string) *storage.User {
	if _, ok := p[name]; !ok {
		return nil
	}
	return &storage.User{ID: "subject-" + name, Username: name, Password: Password, Email: name + "@example.com", EmailVerified: true, IsAdmin: true}
}

func (people) ExampleClientID() string { return "service" }

// store adds name and roles to what the example says of somebody.
type store struct {
	*storage.Storage
	roles people
}

// SetUserinfoFromRequest is asked for the claims of an ID token.
func (s *store) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	err := s.Storage.SetUserinfoFromRequest(ctx, info, request, scopes)
	info.PreferredUsername = strings.TrimPrefix(request.GetSubject(), "subject-")
	info.AppendClaims("roles", s.roles[info.PreferredUsername])
	return err
}

// GetClientByClientID lets the client for programs ask for codes to type.
func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := s.Storage.GetClientByClientID(ctx, id)
	if err == nil && client.ApplicationType() == op.ApplicationTypeNative {
		client = program{client}
	}
	return client, err
}

// CreateAccessAndRefreshTokens tells the example whose client a code was for: it knows that
// of browsers alone.
func (s *store) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, current string) (string, string, time.Time, error) {
	if typed, ok := request.(*op.DeviceAuthorizationState); ok {
		request = &storage.AuthRequest{ApplicationID: typed.ClientID, UserID: typed.Subject, Scopes: typed.Scopes}
	}
	return s.Storage.CreateAccessAndRefreshTokens(ctx, request, current)
}

type program struct{ op.Client }

func (program) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeDeviceCode, oidc.GrantTypeRefreshToken}
}

// TypeCode does what a person does who was shown a code: types it, and agrees or not.
func (s *Server) TypeCode(code, name string, agree bool) {
	s.tb.Helper()
	var err error
	if agree {
		err = s.store.CompleteDeviceAuthorization(context.Background(), code, "subject-"+name)
	} else {
		err = s.store.DenyDeviceAuthorization(context.Background(), code)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
}

var requestID = regexp.MustCompile(`authRequestID=([^&]+)`)

// Browse does what a person does whom an application sent to page: gives a name and the
// password. It returns where the provider sends the browser back to.
func (s *Server) Browse(page, name string) string {
	s.tb.Helper()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	location := s.follow(browser.Get(page)) //nolint:noctx // a test's own server
	id := requestID.FindStringSubmatch(location)
	if id == nil {
		s.tb.Fatalf("the provider leads to %q", location)
	}
	form := url.Values{"username": {name}, "password": {Password}, "id": {id[1]}}
	location = s.follow(browser.PostForm(s.Issuer+"/login/username", form)) //nolint:noctx // likewise
	return s.follow(browser.Get(s.absolute(location)))                      //nolint:noctx // likewise
}

func (s *Server) absolute(location string) string {
	if strings.HasPrefix(location, "/") {
		return s.Issuer + location
	}
	return location
}

func (s *Server) follow(resp *http.Response, err error) string {
	s.tb.Helper()
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	if location := resp.Header.Get("Location"); location != "" {
		return location
	}
	text, _ := io.ReadAll(resp.Body)
	s.tb.Fatalf("the provider answers %d: %s", resp.StatusCode, text)
	return ""
}

// IDToken signs somebody in at a client and returns the token.
func (s *Server) IDToken(client, secret, redirect, name string) string {
	s.tb.Helper()
	cfg := oauth2.Config{ClientID: client, ClientSecret: secret, RedirectURL: redirect, Scopes: []string{"openid", "profile", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: s.Issuer + "/authorize", TokenURL: s.Issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader}}
	back, err := url.Parse(s.Browse(cfg.AuthCodeURL("state"), name))
	if err != nil {
		s.tb.Fatal(err)
	}
	token, err := cfg.Exchange(context.Background(), back.Query().Get("code"))
	if err != nil {
		s.tb.Fatal(err)
	}
	id, _ := token.Extra("id_token").(string)
	return id
}

var _ storage.UserStore = people{}
