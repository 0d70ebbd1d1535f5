package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

func TestMain(m *testing.M) { servertest.Main(m) }

const (
	testDirectory = "11111111-1111-4111-8111-111111111111"
	testClientID  = "22222222-2222-4222-8222-222222222222"
	testSecret    = "a secret nobody may read"
	testTenant    = tenantry.TenantID("t-test")
)

// testPolicy is the standard one at a faster pace.
var testPolicy = policy{
	tries: 5, first: time.Millisecond, pause: 50 * time.Millisecond, total: 200 * time.Millisecond,
	request: 10 * time.Second, stall: 10 * time.Second,
}

// unmetered is a limiter for tests in which limits are not the subject. It notes
// what was asked for.
type unmetered struct {
	mu    sync.Mutex
	calls []throttle.Call
}

func (u *unmetered) Acquire(ctx context.Context, c throttle.Call) (*throttle.Permit, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls = append(u.calls, c)
	return new(throttle.Permit), ctx.Err()
}

// seen is one request that arrived.
type seen struct {
	method, path, query string
	header              http.Header
}

// microsoft is a server for answers that no simulator should give: a login host
// and Graph on one address, content on another.
type microsoft struct {
	graph, content *httptest.Server
	limiter        *unmetered
	client         *Client

	mu     sync.Mutex
	tokens int
	asked  []seen // of Graph and of the content host, in order
}

// newMicrosoft serves Graph (paths below /v1.0) with one handler and the content
// host with another (nil: none is asked).
func newMicrosoft(t *testing.T, graph, content http.HandlerFunc) (*microsoft, *Tenant) {
	t.Helper()
	m := &microsoft{limiter: &unmetered{}}
	m.graph = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
			m.serveToken(w)
			return
		}
		m.note(r)
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/v1.0")
		graph(w, r)
	}))
	m.content = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.note(r)
		content(w, r)
	}))
	client, err := New(Config{GraphURL: m.graph.URL, LoginURL: m.graph.URL, ClientID: testClientID, Secret: tenantry.NewSecret(testSecret)}, m.limiter)
	if err != nil {
		t.Fatal(err)
	}
	client.policy = testPolicy
	m.client = client
	t.Cleanup(func() {
		client.Close()
		m.graph.Close()
		m.content.Close()
	})
	return m, client.Tenant(testTenant, testDirectory)
}

func (m *microsoft) serveToken(w http.ResponseWriter) {
	m.mu.Lock()
	m.tokens++
	m.mu.Unlock()
	writeJSON(w, 200, map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": testToken(time.Hour, "Mail.Read")})
}

// testToken is a token as Entra issues them, but for its signature.
func testToken(life time.Duration, roles ...string) string {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"tid": testDirectory, "roles": roles, "exp": time.Now().Add(life).Unix(),
	}).SignedString([]byte("any"))
	if err != nil {
		panic(err) // a test's own mistake
	}
	return token
}

func (m *microsoft) note(r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, seen{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Clone()})
}

// requests returns what was asked so far, tokens apart.
func (m *microsoft) requests() []seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]seen(nil), m.asked...)
}

func (m *microsoft) tokenCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tokens
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func write(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// inTurn answers with one handler after the other; the last one stays.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	next := 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handlers[min(next, len(handlers)-1)]
		next++
		mu.Unlock()
		h(w, r)
	}
}

func answerWith(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		write(w, status, body)
	}
}

// cutAfter announces more than it sends and drops the connection.
func cutAfter(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		write(w, status, body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func wantKind(t *testing.T, err error, want tenantry.Kind) {
	t.Helper()
	if got := tenantry.KindOf(err); got != want {
		t.Fatalf("kind is %q, want %q: %v", got, want, err)
	}
}
