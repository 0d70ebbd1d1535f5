package gateway

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a slow machine may take.
const patience = time.Minute

// house is a door before real servers, with a tenant of the pool munich and one of another.
type house struct {
	t     *testing.T
	cat   *catalog.Catalog
	redis *servertest.RedisServer
	rdb   *redis.Client
	store blob.Store
	keys  repository.KeyManager
	all   twoRegions
	door  *Server

	authority *authority
	url       string
	cut       atomic.Pointer[func(*http.Request) bool] // whether to cut the answer to a request; nil: never
}

// twoRegions are the default region and another one, whose buckets may be away.
type twoRegions map[string]*oneRegion

type oneRegion struct {
	store blob.Store
	keys  repository.KeyManager
	away  atomic.Bool
}

func (r twoRegions) Store(_ context.Context, region string) (blob.Store, error) {
	if r[region].away.Load() {
		return nil, &tenantry.Error{Kind: tenantry.Shared, Code: "bucket", Op: "open the bucket of " + region}
	}
	return r[region].store, nil
}

func (r twoRegions) Keys(region string) (repository.Keyring, error) { return r[region].keys, nil }

func newRegion(t *testing.T) *oneRegion {
	t.Helper()
	store, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := repository.OpenKeyFile(filepath.Join(t.TempDir(), "keys"), true)
	if err != nil {
		t.Fatal(err)
	}
	return &oneRegion{store: store, keys: keys}
}

func newHouse(t *testing.T, postgres *servertest.PostgresServer) *house {
	t.Helper()
	h := &house{t: t, redis: servertest.StartRedis(t), authority: &authority{has: true}}
	dsn := postgres.Database(t)
	var err error
	h.cat, err = catalog.Open(t.Context(), dsn)
	h.ok(err)
	t.Cleanup(func() { _ = h.cat.Close() })
	h.rdb = redis.NewClient(&redis.Options{Addr: h.redis.Addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = h.rdb.Close() })
	h.all = twoRegions{catalog.DefaultRegion: newRegion(t), "au": newRegion(t)}
	h.store, h.keys = h.all[catalog.DefaultRegion].store, h.all[catalog.DefaultRegion].keys
	fleet := h.cat.Fleet()
	h.ok(fleet.AddPool(t.Context(), catalog.Pool{Name: "munich", AddedAt: time.Now()}))
	h.ok(fleet.AddTenant(t.Context(), catalog.TenantRow{ID: "t-here", Name: "here", Directory: "here.example", Pool: "munich", AddedAt: time.Now()}))
	h.ok(fleet.AddTenant(t.Context(), catalog.TenantRow{ID: "t-elsewhere", Name: "elsewhere", AddedAt: time.Now()}))
	h.door, err = New(Config{
		Catalog: h.cat, Regions: h.all, Redis: h.rdb, Queue: queue.Options{URL: h.redis.Addr},
		Welcome: Welcome{Cloud: Cloud{ClientID: "app", Name: "global"}, Others: []Cloud{{ClientID: "there", Name: "china"}}, Limits: []byte("{}")}, Tokens: h.authority, Log: zap.NewNop(),
	})
	h.ok(err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cut := h.cut.Load(); cut != nil && (*cut)(r) {
			h.door.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		h.door.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	running, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.door.Run(running) }()
	t.Cleanup(func() { stop(); <-done })
	return h
}

func (h *house) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// token makes a one-time token of the pool munich.
func (h *house) token() string {
	h.t.Helper()
	return h.tokenOf("munich")
}

func (h *house) tokenOf(pool string) string {
	h.t.Helper()
	token := freshSecret()
	e := catalog.Enrolment{ID: "e-" + token[:8], Pool: pool, MadeAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	h.ok(h.cat.Fleet().AddEnrolment(h.t.Context(), e, hashOf(token)))
	return token
}

func (h *house) enrolment(token string) Enrolment {
	return Enrolment{File: filepath.Join(h.t.TempDir(), "identity"), URL: h.url, Token: tenantry.NewSecret(token), Name: "premises"}
}

// enrolled joins and begins a session.
func (h *house) enrolled() (string, *Client, Session) {
	h.t.Helper()
	return h.enrolledBy(h.token())
}

func (h *house) enrolledBy(token string) (string, *Client, Session) {
	h.t.Helper()
	e := h.enrolment(token)
	_, err := Enrol(h.t.Context(), e)
	h.ok(err)
	c, s := h.open(e.File)
	return e.File, c, s
}

func (h *house) open(file string) (*Client, Session) {
	h.t.Helper()
	c, s, err := Open(h.t.Context(), file, "v1")
	h.ok(err)
	h.t.Cleanup(func() { _ = c.Close() })
	return c, s
}

// TestDoor runs what needs all servers, each on a database and a Redis of its own.
func TestDoor(t *testing.T) {
	postgres := servertest.Postgres(t)
	for name, test := range map[string]func(*testing.T, *servertest.PostgresServer){
		"store": testStore, "others": testOthers, "regions": testRegions, "region away": testRegionAway, "redis": testRedis, "revoked": testRevoked, "revoked elsewhere": testRevokedElsewhere,
		"enrol interrupted": testEnrolInterrupted, "enrol refused": testEnrolRefused, "rotation": testRotation, "knocking": testKnocking,
		"tokens": testTokens, "tokens given late": testTokensGivenLate, "tokens refused": testTokensRefused,
	} {
		t.Run(name, func(t *testing.T) { test(t, postgres) })
	}
}

// within is a store as a tenant's folder shows it, so that the suite can use any key.
type within struct {
	blob.Store
	folder string
}

func (w within) Put(ctx context.Context, key string, body []byte) error {
	return w.Store.Put(ctx, w.folder+key, body)
}

func (w within) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return w.Store.PutIfAbsent(ctx, w.folder+key, body)
}

func (w within) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	return w.Store.Get(ctx, w.folder+key, offset, n)
}

func (w within) Stat(ctx context.Context, key string) (blob.Info, error) {
	info, err := w.Store.Stat(ctx, w.folder+key)
	info.Key = strings.TrimPrefix(info.Key, w.folder)
	return info, err
}

func (w within) Delete(ctx context.Context, key string) error {
	return w.Store.Delete(ctx, w.folder+key)
}

func (w within) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range w.Store.List(ctx, w.folder+prefix) {
			info.Key = strings.TrimPrefix(info.Key, w.folder)
			if !yield(info, err) {
				return
			}
		}
	}
}

func (w within) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return w.Store.Folders(ctx, w.folder+prefix)
}

// testStore: the bucket behind the door is a store like any other.
func testStore(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	_, c, s := h.enrolled()
	n := 0
	blobtest.Run(t, func(t *testing.T) blob.Store {
		n++
		return within{c.Store(s), "t-here/" + strings.Repeat("x", n) + "/"}
	})
}

// testOthers asks for what is another pool's tenant's, in every way there is.
func testOthers(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	file, c, s := h.enrolled()
	ctx, store := t.Context(), c.Store(s)
	h.ok(h.store.Put(ctx, "t-elsewhere/key", []byte("secret")))
	h.ok(h.store.Put(ctx, "t-here/key", []byte("own")))
	wrapped, keyID, err := h.keys.Wrap(ctx, "t-elsewhere", make([]byte, 32))
	h.ok(err)
	first := func(list iter.Seq2[blob.Info, error]) error {
		for _, err := range list {
			return err
		}
		return nil
	}
	_, get := store.Get(ctx, "t-elsewhere/key", 0, -1)
	_, stat := store.Stat(ctx, "t-elsewhere/key")
	_, unwrap := c.Unwrap(ctx, "t-elsewhere", keyID, wrapped)
	_, fleet := c.Unwrap(ctx, tenantry.FleetOwner, keyID, wrapped)
	_, _, wrap := c.Wrap(ctx, "t-elsewhere", make([]byte, 32))
	for what, err := range map[string]error{
		"get": get, "stat": stat, "unwrap": unwrap, "unwrap for the fleet": fleet, "wrap": wrap,
		"put": store.Put(ctx, "t-elsewhere/key", nil), "put if absent": store.PutIfAbsent(ctx, "t-elsewhere/new", nil),
		"delete": store.Delete(ctx, "t-elsewhere/key"), "list": first(store.List(ctx, "t-elsewhere/")), "list all": first(store.List(ctx, "")),
		"list by half a name": first(store.List(ctx, "t-else")), "climb": store.Put(ctx, "../t-elsewhere/key", nil),
	} {
		if tenantry.KindOf(err) != tenantry.Forbidden {
			t.Errorf("%s: %v, want forbidden", what, err)
		}
	}
	var folders []string
	for name, err := range store.Folders(ctx, "") {
		h.ok(err)
		folders = append(folders, name)
	}
	if strings.Join(folders, " ") != "t-here" {
		t.Errorf("the worker sees the folders %v", folders)
	}
	if data, err := blob.ReadAll(ctx, h.store, "t-elsewhere/key", 100); err != nil || string(data) != "secret" {
		t.Errorf("the other tenant's object is %q, %v", data, err)
	}
	own, ownID, err := c.Wrap(ctx, "t-here", []byte("0123456789abcdef0123456789abcdef"))
	h.ok(err)
	plain, err := c.Unwrap(ctx, "t-here", ownID, own)
	if err != nil || string(plain) != "0123456789abcdef0123456789abcdef" {
		t.Errorf("its own tenant's key: %q, %v", plain, err)
	}
	h.ok(h.cat.Fleet().ChangeTenant(ctx, "t-elsewhere", catalog.TenantChange{Pool: pointer("munich")}, time.Now()))
	other, _ := h.open(file)
	eventually(t, "a tenant that was moved here is served", func() bool {
		_, err := other.Store(s).Stat(ctx, "t-elsewhere/key")
		return err == nil
	})
}

func pointer[T any](v T) *T { return &v }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// redisOf is Redis as the worker reaches it.
func (h *house) redisOf(c *Client, s Session) *redis.Client {
	rdb := redis.NewClient(&redis.Options{Addr: "behind:1", Dialer: c.DialRedis, Username: s.Redis.User, Password: s.Redis.Password, MaxRetries: -1, ContextTimeoutEnabled: true})
	h.t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// refusedByRedis is how Redis says that a user may not do something, at once or inside of a script.
var refusedByRedis = regexp.MustCompile(`NOPERM|can't access at least one of the keys`)

// testRedis: the worker's user has its pool's queues and its tenants' accounts, and nothing else; a Redis that lost its
// users gets them again.
func testRedis(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	_, c, s := h.enrolled()
	ctx, rdb := t.Context(), h.redisOf(c, s)
	h.ok(rdb.Set(ctx, "asynq:{munich.backup}:x", "1", 0).Err())
	h.ok(rdb.Set(ctx, "tenantry:{app}:a/day/t-here", "1", 0).Err())
	h.ok(rdb.Set(ctx, "tenantry:{app}:a/mailbox/t-here/m", "1", 0).Err())
	h.ok(rdb.Eval(ctx, "return redis.call('INCR', KEYS[1])", []string{"tenantry:{app}:book"}).Err())
	for what, err := range map[string]error{
		"the main pool's queue":                                  rdb.Get(ctx, "asynq:{backup}:pending").Err(),
		"another pool's queue":                                   rdb.Set(ctx, "asynq:{vienna.backup}:x", "1", 0).Err(),
		"another tenant's account":                               rdb.Set(ctx, "tenantry:{app}:a/day/t-elsewhere", "1", 0).Err(),
		"an application of a cloud where its pool has no tenant": rdb.Get(ctx, "tenantry:{there}:book").Err(),

		"another application":  rdb.Get(ctx, "tenantry:{other}:book").Err(),
		"all keys":             rdb.Keys(ctx, "*").Err(),
		"a scan":               rdb.Scan(ctx, 0, "*", 10).Err(),
		"emptying it":          rdb.FlushAll(ctx).Err(),
		"its configuration":    rdb.ConfigGet(ctx, "*").Err(),
		"users":                rdb.Do(ctx, "ACL", "LIST").Err(),
		"a script over others": rdb.Eval(ctx, "return redis.call('GET', 'asynq:{backup}:pending')", nil).Err(),
	} {
		if err == nil || errors.Is(err, redis.Nil) || !refusedByRedis.MatchString(err.Error()) {
			t.Errorf("%s: %v, want it refused", what, err)
		}
	}
	h.redis.Kill()
	h.redis.Start()
	eventually(t, "Redis has the user again", func() bool { return errors.Is(rdb.Get(ctx, "asynq:{munich.backup}:y").Err(), redis.Nil) })
	h.ok(h.cat.Fleet().AddTenant(ctx, catalog.TenantRow{ID: "t-china", Directory: "china.example", Pool: "munich", Cloud: "china"}))
	eventually(t, "the user has the account of a tenant in another cloud", func() bool {
		return rdb.Set(ctx, "tenantry:{there}:a/day/t-china", "1", 0).Err() == nil
	})
	h.ok(h.cat.Fleet().ChangeTenant(ctx, "t-elsewhere", catalog.TenantChange{Pool: pointer("munich")}, time.Now()))
	eventually(t, "the user has the account of a tenant that was moved here", func() bool {
		return rdb.Set(ctx, "tenantry:{app}:a/day/t-elsewhere", "1", 0).Err() == nil
	})
}

// testRevoked: whatever the worker has open ends, and nothing can be opened.
func testRevoked(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	file, c, s := h.enrolled()
	ctx, rdb := t.Context(), h.redisOf(c, s)
	h.ok(rdb.Set(ctx, "asynq:{munich.backup}:x", "1", 0).Err())
	config, err := pgx.ParseConfig("postgres://" + s.Catalog.User + ":" + s.Catalog.Password + "@behind:1/" + s.Catalog.Database + "?sslmode=disable")
	h.ok(err)
	config.DialFunc = c.DialCatalog
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	conn, err := pgx.ConnectConfig(ctx, config)
	h.ok(err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var n int
	h.ok(conn.QueryRow(ctx, "SELECT count(*) FROM tenants").Scan(&n))
	if n != 1 {
		t.Fatalf("the worker sees %d tenants", n)
	}

	h.ok(h.cat.Fleet().RevokeWorker(ctx, c.Worker(), "admin", time.Now()))
	w, err := h.cat.Fleet().RemoteWorker(ctx, c.Worker())
	h.ok(err)
	h.ok(h.door.Revoked(ctx, w))
	h.ok(h.door.Revoked(ctx, w))
	ended, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := conn.QueryRow(ended, "SELECT count(*) FROM tenants").Scan(&n); err == nil || ended.Err() != nil {
		t.Errorf("an open connection to Postgres after the revocation: %v", err)
	}
	if err := rdb.Get(ctx, "asynq:{munich.backup}:x").Err(); err == nil {
		t.Error("Redis answers a revoked worker")
	}
	if _, err := c.Store(s).Stat(ctx, "t-here/key"); tenantry.KindOf(err) != tenantry.Unauthorized {
		t.Errorf("the store: %v", err)
	}
	if _, _, err := Open(ctx, file, "v1"); tenantry.KindOf(err) != tenantry.Unauthorized {
		t.Errorf("a new session: %v", err)
	}
	if users, err := h.rdb.Do(ctx, "ACL", "USERS").StringSlice(); err != nil || len(users) != 1 {
		t.Errorf("users at Redis: %v, %v", users, err)
	}
}

// testRevokedElsewhere: another api process revokes, and this one cuts the tunnels.
func testRevokedElsewhere(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	_, c, _ := h.enrolled()
	conn, err := c.DialCatalog(t.Context(), "", "")
	h.ok(err)
	defer conn.Close()
	h.ok(h.cat.Fleet().RevokeWorker(t.Context(), c.Worker(), "admin", time.Now()))
	h.ok(conn.SetReadDeadline(time.Now().Add(patience)))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the tunnel of a revoked worker: %v", err)
	}
}

// testEnrolInterrupted cuts the answer to the enrolment: the machine asks again, and is the same worker.
func testEnrolInterrupted(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	e := h.enrolment(h.token())
	h.cut.Store(pointer(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/enrol") }))
	if _, err := Enrol(t.Context(), e); tenantry.KindOf(err) != tenantry.Shared {
		t.Fatalf("an enrolment whose answer was cut: %v", err)
	}
	pending, err := LoadIdentity(e.File)
	h.ok(err)
	if _, _, err := Open(t.Context(), e.File, "v1"); pending.Worker != "" || tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("a pending identity %+v opens: %v", pending, err)
	}
	h.cut.Store(nil)
	id, err := Enrol(t.Context(), e)
	h.ok(err)
	all, err := h.cat.Fleet().RemoteWorkers(t.Context())
	h.ok(err)
	if len(all) != 1 || all[0].ID != id.Worker || id.Secret != pending.Secret {
		t.Errorf("joined as %s, the fleet knows %+v", id.Worker, all)
	}
	h.open(e.File)
	if _, err := Enrol(t.Context(), e); tenantry.KindOf(err) != tenantry.Conflict {
		t.Errorf("a machine that has joined joins again: %v", err)
	}
}

// testEnrolRefused: what a token is no good for leaves nothing behind.
func testEnrolRefused(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	used := h.token()
	_, err := Enrol(t.Context(), h.enrolment(used))
	h.ok(err)
	for what, c := range map[string]struct {
		change func(*Enrolment)
		code   string
		kind   tenantry.Kind
	}{
		"used":         {func(e *Enrolment) { e.Token = tenantry.NewSecret(used) }, "enrolment_used", tenantry.Unauthorized},
		"guessed":      {func(e *Enrolment) { e.Token = tenantry.NewSecret("guess") }, "enrolment_unknown", tenantry.Unauthorized},
		"another pool": {func(e *Enrolment) { e.Pool = "vienna" }, "enrolment_pool", tenantry.Unauthorized},
		"no name":      {func(e *Enrolment) { e.Name = "a b" }, "", tenantry.Invalid},
		"no token":     {func(e *Enrolment) { e.Token = tenantry.Secret{} }, "", tenantry.Invalid},
		"in the clear": {func(e *Enrolment) { e.URL = "http://backup.example.com" }, "", tenantry.Invalid},
		"no URL":       {func(e *Enrolment) { e.URL = "backup" }, "", tenantry.Invalid},
		"no authority": {func(e *Enrolment) { e.URL, e.CA = "https://backup.example.com", "no PEM" }, "", tenantry.Invalid},
	} {
		e := h.enrolment(h.token())
		c.change(&e)
		if _, err := Enrol(t.Context(), e); tenantry.KindOf(err) != c.kind || tenantry.CodeOf(err) != c.code {
			t.Errorf("%s: %v (%s), want %s %s", what, err, tenantry.CodeOf(err), c.kind, c.code)
		}
		if _, err := os.Stat(e.File); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: an identity is left behind: %v", what, err)
		}
	}
	e := h.enrolment(h.token())
	h.ok(os.WriteFile(e.File, []byte("{}"), 0o644))
	if _, err := Enrol(t.Context(), e); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("an identity that everybody may read: %v", err)
	}
}

// testRotation interrupts the replacement of a secret at each of its steps: one of the two is always good.
func testRotation(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	file, c, _ := h.enrolled()
	for _, step := range []string{"rotate", "confirm"} {
		for _, reached := range []bool{true, false} {
			h.cut.Store(pointer(func(r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/"+step) {
					return false
				}
				if !reached {
					panic(http.ErrAbortHandler)
				}
				return true
			}))
			if err := c.Rotate(t.Context()); err == nil {
				t.Fatalf("a rotation that was cut at %s succeeded", step)
			}
			h.cut.Store(nil)
			c, _ = h.open(file)
		}
	}
	before, err := LoadIdentity(file)
	h.ok(err)
	h.ok(c.Rotate(t.Context()))
	after, err := LoadIdentity(file)
	h.ok(err)
	if after.Secret == before.Secret || after.Next != "" {
		t.Errorf("after a rotation the secret is the same, or another one waits: %v", after.Next != "")
	}
	h.open(file)
	old, err := newClient(before, file)
	h.ok(err)
	defer old.Close()
	eventually(t, "the old secret is void", func() bool {
		return tenantry.KindOf(old.call(t.Context(), "confirm", struct{}{}, nil)) == tenantry.Unauthorized
	})
}

// testKnocking: what is no worker's credential is told apart, and bad bodies are refused by name.
func testKnocking(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	_, c, _ := h.enrolled()
	send := func(method, path, credential, body string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, h.url+path, strings.NewReader(body))
		h.ok(err)
		r.Header.Set("Authorization", credential)
		if h.door.Known(r) != (credential == "Bearer "+c.Worker()+"."+c.secret()) {
			t.Errorf("known by %q", credential)
		}
		answer, err := http.DefaultClient.Do(r)
		h.ok(err)
		defer answer.Body.Close()
		return answer.StatusCode
	}
	good := "Bearer " + c.Worker() + "." + c.secret()
	for what, k := range map[string]struct {
		method, path, credential, body string
		want                           int
	}{
		"none":             {"POST", Path + "session", "", "{}", 401},
		"half":             {"POST", Path + "session", "Bearer " + c.Worker(), "{}", 401},
		"a wrong secret":   {"POST", Path + "session", good + "x", "{}", 401},
		"no such worker":   {"POST", Path + "session", "Bearer w-0000." + c.secret(), "{}", 401},
		"a long one":       {"POST", Path + "session", "Bearer w-" + strings.Repeat("a", 500), "{}", 401},
		"another scheme":   {"POST", Path + "session", strings.Replace(good, "Bearer", "Basic", 1), "{}", 401},
		"no JSON":          {"POST", Path + "session", good, "x", 422},
		"an unknown field": {"POST", Path + "session", good, `{"x":1}`, 422},
		"a long body":      {"POST", Path + "session", good, `{"version":"` + strings.Repeat("a", smallBody) + `"}`, 422},
		"two values":       {"POST", Path + "session", good, `{} {}`, 422},
		"no upgrade":       {"GET", Path + "catalog", good, "", 422},
		"its own secret":   {"POST", Path + "rotate", good, `{"hash":"` + hashOf(c.secret()) + `"}`, 422},
		"no hash":          {"POST", Path + "rotate", good, `{"hash":"x"}`, 422},
		"no number":        {"GET", Path + "object?key=t-here/x&offset=x", good, "", 422},
		"no lock":          {"POST", Path + "retain?key=t-here/x", good, "", 422},
		"nothing there":    {"GET", Path + "nothing", good, "", 404},
		"another method":   {"DELETE", Path + "session", good, "", 404},
	} {
		if got := send(k.method, k.path, k.credential, k.body); got != k.want {
			t.Errorf("%s: %d, want %d", what, got, k.want)
		}
	}
}

// TestNeedsPostgres: there is no door before a SQLite file.
func TestNeedsPostgres(t *testing.T) {
	cat, err := catalog.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	if _, err := New(Config{Catalog: cat, Queue: queue.Options{URL: "127.0.0.1:1"}}); tenantry.CodeOf(err) != "needs_postgres" {
		t.Errorf("a door before a SQLite file: %v", err)
	}
}
