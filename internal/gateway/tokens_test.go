package gateway

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// authority gives tokens that say what they are for.
type authority struct {
	mu     sync.Mutex
	asked  []string
	has    bool
	answer func() (Token, error) // nil: a good one
}

func (a *authority) Has(context.Context, string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.has, nil
}

func (a *authority) Token(_ context.Context, t tenantry.TenantID, cloud, directory string, purpose tenantry.Purpose) (Token, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what := strings.Join([]string{string(t), cloud, directory, string(purpose)}, " ")
	a.asked = append(a.asked, what)
	if a.answer != nil {
		return a.answer()
	}
	return Token{tenantry.NewSecret("token for " + what), time.Now().Add(time.Hour)}, nil
}

// set changes what the authority does from now on.
func (a *authority) set(has bool, answer func() (Token, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.has, a.answer = has, answer
}

func (a *authority) times() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// audited counts the entries of an action of a worker, and returns the last one.
func (h *house) audited(action string) (n int, last catalog.AuditEntry) {
	h.t.Helper()
	list, err := h.cat.Fleet().AuditTrail(h.t.Context(), 0, 100)
	h.ok(err)
	for _, e := range list {
		if e.Action != action {
			continue
		}
		if n++; e.ID > last.ID {
			last = e
		}
	}
	return n, last
}

// testTokens: a worker gets tokens for its pool's tenants, for the directory that they were added with, whatever it writes into
// its rows; nobody else's, none once it is revoked, and not without end.
func testTokens(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	_, c, s := h.enrolled()
	ctx := t.Context()
	got, err := c.Token(ctx, "t-here", tenantry.ToBackup)
	h.ok(err)
	if got.Value.Reveal() != "token for t-here  here.example backup" {
		t.Errorf("the token is %q", got.Value.Reveal())
	}
	if left := time.Until(got.Expires); left > time.Hour || left < 30*time.Minute {
		t.Errorf("it ends in %s, want what the authority said", left)
	}
	n, e := h.audited("hand-token")
	if n != 1 || e.Actor != c.Worker() || e.Tenant != "t-here" || !strings.Contains(e.Detail, `"purpose":"backup"`) || strings.Contains(e.Detail, "token for") {
		t.Errorf("%d audited, %+v", n, e)
	}

	h.rewrites(c, s)
	got, err = c.Token(ctx, "t-here", tenantry.ToRestore)
	if err != nil || got.Value.Reveal() != "token for t-here  here.example restore" {
		t.Errorf("after the worker wrote another directory into its row: %q, %v", got.Value.Reveal(), err)
	}

	before, began := h.authority.times(), time.Now()
	for _, other := range []tenantry.TenantID{"t-elsewhere", tenantry.FleetOwner, "", "t-nowhere", "t-here/../t-elsewhere", tenantry.TenantID(strings.Repeat("x", 5000))} {
		if _, err := c.Token(ctx, other, tenantry.ToBackup); tenantry.KindOf(err) != tenantry.Forbidden {
			t.Errorf("a token for %.20q: %v, want forbidden", other, err)
		}
	}
	if n, e := h.audited("refuse-token"); n != 6 || e.Tenant != "" || len(e.Detail) > 300 {
		t.Errorf("%d refusals are audited, the last as %+v", n, e)
	}
	for range 2 * tokenBurst {
		_, err = c.Token(ctx, "t-elsewhere", tenantry.ToBackup)
	}
	if n, _ := h.audited("refuse-token"); n > tokenBurst+1+int(time.Since(began)/tokenEvery) || tenantry.KindOf(err) != tenantry.Forbidden {
		t.Errorf("%d refusals are audited, and the last was %v", n, err)
	}
	if _, err := c.Token(ctx, "t-here", tenantry.ToRotate); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("for another purpose: %v", err)
	}
	if n := h.authority.times(); n != before {
		t.Errorf("the authority was asked %d times for what is refused", n-before)
	}

	h.ok(h.cat.Fleet().RevokeWorker(ctx, c.Worker(), "admin", time.Now())) // what is remembered of it is not believed
	if _, err := c.Token(ctx, "t-here", tenantry.ToBackup); tenantry.KindOf(err) != tenantry.Unauthorized || h.authority.times() != before {
		t.Errorf("a revoked worker: %v", err)
	}
}

// rewrites has a worker change what it may and what it may not of its tenant, in its own words.
func (h *house) rewrites(c *Client, s Session) {
	h.t.Helper()
	ctx := h.t.Context()
	config, err := pgx.ParseConfig("postgres://" + s.Catalog.User + ":" + s.Catalog.Password + "@behind:1/" + s.Catalog.Database + "?sslmode=disable")
	h.ok(err)
	config.DialFunc = c.DialCatalog
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	conn, err := pgx.ConnectConfig(ctx, config)
	h.ok(err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "UPDATE tenants SET directory_id = 'another.example' WHERE id = 't-here'")
	h.ok(err)
	for _, statement := range []string{"UPDATE tenants SET directory = 'another.example'", "UPDATE tenants SET cloud = 'china'", "UPDATE tenants SET directory_id = 'x', directory = 'another.example'"} {
		if _, err := conn.Exec(ctx, statement); err == nil {
			h.t.Errorf("a worker may %s", statement)
		}
	}
}

// testTokensGivenLate: whoever is revoked, or loses the tenant, while Microsoft answers gets nothing.
func testTokensGivenLate(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	_, c, _ := h.enrolled()
	ctx, fleet := t.Context(), h.cat.Fleet()
	while := func(do func() error) func() (Token, error) {
		return func() (Token, error) {
			if err := do(); err != nil {
				return Token{}, err
			}
			return Token{tenantry.NewSecret("late"), time.Now().Add(time.Hour)}, nil
		}
	}
	move := func(pool string) error {
		return fleet.ChangeTenant(ctx, "t-here", catalog.TenantChange{Pool: &pool}, time.Now())
	}
	h.authority.set(true, while(func() error { return move(catalog.MainPool) }))
	if _, err := c.Token(ctx, "t-here", tenantry.ToBackup); tenantry.KindOf(err) != tenantry.Forbidden {
		t.Errorf("moved away meanwhile: %v", err)
	}
	h.ok(move("munich"))
	h.authority.set(true, while(func() error { return fleet.RevokeWorker(ctx, c.Worker(), "admin", time.Now()) }))
	if _, err := c.Token(ctx, "t-here", tenantry.ToBackup); tenantry.KindOf(err) != tenantry.Unauthorized {
		t.Errorf("revoked meanwhile: %v", err)
	}
	if n, _ := h.audited("hand-token"); n != 0 {
		t.Errorf("%d tokens are audited as handed out", n)
	}
}

// testTokensRefused: what the authority says comes to the worker with its kind; one that has expired is none.
func testTokensRefused(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	file, c, _ := h.enrolled()
	ctx := t.Context()
	says := func(kind tenantry.Kind, code string) func() (Token, error) {
		return func() (Token, error) {
			return Token{}, &tenantry.Error{Kind: kind, Code: code, Op: "get a token"}
		}
	}
	for name, x := range map[string]struct {
		has    bool
		answer func() (Token, error)
		kind   tenantry.Kind
		code   string
	}{
		"no credential":  {false, says(tenantry.Denied, "no_credential"), tenantry.Denied, "needs_own_application"},
		"no licence":     {true, says(tenantry.Denied, "AADSTS500014"), tenantry.Denied, "AADSTS500014"},
		"no consent":     {true, says(tenantry.Reconnect, "AADSTS700016"), tenantry.Reconnect, "AADSTS700016"},
		"bad credential": {true, says(tenantry.Shared, "AADSTS7000215"), tenantry.Shared, "AADSTS7000215"},
		"too many":       {true, says(tenantry.Throttled, ""), tenantry.Transient, ""},
		"nothing":        {true, func() (Token, error) { return Token{}, nil }, tenantry.Transient, ""},
		"expired": {true, func() (Token, error) {
			return Token{tenantry.NewSecret("old"), time.Now().Add(-time.Minute)}, nil
		}, tenantry.Transient, ""},
	} {
		h.authority.set(x.has, x.answer)
		if _, err := c.Token(ctx, "t-here", tenantry.ToBackup); tenantry.KindOf(err) != x.kind || tenantry.CodeOf(err) != x.code {
			t.Errorf("%s: %v (%s %s)", name, err, tenantry.KindOf(err), tenantry.CodeOf(err))
		}
	}
	id, err := LoadIdentity(file)
	h.ok(err)
	for body, want := range map[string]int{
		`{"tenant":"t-here","purpose":"backup","directory":"another.example"}`: http.StatusUnprocessableEntity,
		`{"tenant":["t-here"]}`:                               http.StatusUnprocessableEntity,
		`{"tenant":"` + strings.Repeat("x", smallBody) + `"}`: http.StatusUnprocessableEntity,
	} {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+Path+"token", bytes.NewReader([]byte(body)))
		h.ok(err)
		r.Header.Set("Authorization", "Bearer "+id.Worker+"."+id.Secret)
		answer, err := http.DefaultClient.Do(r)
		h.ok(err)
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%.60s: %d, want %d", body, answer.StatusCode, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// What a worker takes of one tenant's tokens is bounded, and of no other's; with time there are more.
func TestBuckets(t *testing.T) {
	t.Parallel()
	var b buckets
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	one, other := bucketOf{"w-1", "t-1", tenantry.ToBackup}, bucketOf{"w-1", "t-2", tenantry.ToBackup}
	for i := range tokenBurst {
		if !b.take(one, now) {
			t.Fatalf("the %d. is refused", i+1)
		}
	}
	if b.take(one, now) || b.take(one, now.Add(tokenEvery-time.Second)) {
		t.Error("there is one too many")
	}
	if !b.take(other, now) || !b.take(one, now.Add(tokenEvery)) || b.take(one, now.Add(tokenEvery)) {
		t.Error("another tenant's, or the next one, is wrong")
	}
	for i := range tokenBucketsMax - 2 {
		if !b.take(bucketOf{"w-2", tenantry.TenantID(strings.Repeat("x", i%7)), tenantry.Purpose(time.Duration(i).String())}, now) {
			t.Fatalf("the %d. bucket is refused", i)
		}
	}
	if fresh := (bucketOf{worker: "w-3"}); b.take(fresh, now) || !b.take(fresh, now.Add(time.Hour)) || len(b.of) != 1 {
		t.Errorf("%d buckets are remembered", len(b.of))
	}
}
