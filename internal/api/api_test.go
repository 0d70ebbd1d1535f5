package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	contosoGUID  = "11111111-1111-4111-8111-111111111111"
	fabrikamGUID = "22222222-2222-4222-8222-222222222222"
	adaObject    = "aaaaaaaa-0000-4000-8000-000000000001"
	bobObject    = "aaaaaaaa-0000-4000-8000-000000000002"
	goneObject   = "aaaaaaaa-0000-4000-8000-000000000003"
)

var (
	ada  = tenantry.UserResource(adaObject)
	bob  = tenantry.UserResource(bobObject)
	gone = tenantry.UserResource(goneObject)
)

// house is the API over a real catalog in SQLite, served over real HTTP.
type house struct {
	t       *testing.T
	catalog *catalog.Catalog
	file    string
	server  *httptest.Server
	token   string
	clock   *clock
	logs    *observer.ObservedLogs
	browser *shelf
	consent *consent
	ready   *verdict
	called  map[string]bool // "METHOD pattern" of what call has asked
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// consent builds URLs that tests can take apart.
type consent struct{}

func (consent) URL(_, client, directory, state, redirect string) (string, error) {
	q := url.Values{"state": {state}, "redirect_uri": {redirect}}
	if client != "" {
		q.Set("client_id", client)
	}
	return "https://login.example/" + directory + "/adminconsent?" + q.Encode(), nil
}

// shelf is a snapshot index in memory.
type shelf struct {
	mu     sync.Mutex
	items  []api.BrowseItem
	asked  []tenantry.Series
	broken error
	// sizes are what is measured of a series, plus an item for each number of its snapshot; of others much.
	sizes map[tenantry.Series]tenantry.Counts
	// damaged cannot be searched.
	damaged tenantry.ResourceID
}

func (s *shelf) Children(_ context.Context, series tenantry.Series, _ int64, parent, after string, limit int) ([]api.BrowseItem, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, series)
	if s.broken != nil {
		return nil, "", s.broken
	}
	var found []api.BrowseItem
	for _, item := range s.items {
		if item.Parent != parent || item.Name <= after {
			continue
		}
		if len(found) == limit {
			return found, found[limit-1].Name, nil
		}
		found = append(found, item)
	}
	return found, "", nil
}

// Search looks at two items for a page, and at each series through a broken one's.
func (s *shelf) Search(_ context.Context, series tenantry.Series, _ int64, q api.Search, folder, after string, limit int) ([]api.BrowseItem, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if series.Resource == s.damaged {
		return nil, "", tenantry.Errorf(tenantry.Corrupt, "it is missing")
	}
	var found []api.BrowseItem
	for i, item := range s.items {
		if item.ID <= after {
			continue
		}
		if strings.Contains(item.Name, q.Text) && (folder == "" || item.Parent == folder) {
			found = append(found, item)
		}
		if more := i < len(s.items)-1; more && (i%2 == 1 || len(found) == limit) {
			return found, item.ID, s.broken
		}
	}
	return found, "", s.broken
}

func (s *shelf) Compare(_ context.Context, _ tenantry.Series, _, _ int64, _ string, limit int) (changes []api.ChangedItem, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, item := range s.items[:min(limit, len(s.items))] {
		changes = append(changes, api.ChangedItem{What: "changed", BrowseItem: item})
	}
	return changes, "", s.broken
}

func (s *shelf) Measure(_ context.Context, series tenantry.Series, seq int64, items []string) (tenantry.Counts, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.sizes[series]; ok {
		c.Items += seq
		return c, true, s.broken
	}
	return tenantry.Counts{Items: 100_000, Bytes: 10_000_000_000, Skipped: int64(len(items))}, true, s.broken
}

func (s *shelf) Item(_ context.Context, _ tenantry.Series, _ int64, id string) (api.BrowseItem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, item := range s.items {
		if item.ID == id {
			return item, s.broken
		}
	}
	return api.BrowseItem{}, tenantry.Errorf(tenantry.NotFound, "the snapshot has no item %q", id)
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

type verdict struct {
	mu  sync.Mutex
	err error
}

func (v *verdict) set(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

func (v *verdict) check(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

type option func(*api.Config)

func newHouse(t *testing.T, options ...option) *house {
	t.Helper()
	dsn := catalogtest.SQLite(t)
	cat, err := catalog.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cat.Close(); err != nil {
			t.Error(err)
		}
	})
	core, logs := observer.New(zap.DebugLevel)
	h := &house{
		t: t, catalog: cat, file: strings.TrimPrefix(dsn, "sqlite:"), logs: logs, consent: &consent{}, ready: &verdict{}, called: map[string]bool{},
		clock:   &clock{now: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)},
		browser: &shelf{},
	}
	keys, err := repository.OpenKeyFile(filepath.Join(t.TempDir(), "keys"), true)
	must(t, err)
	cfg := api.Config{
		Catalog: cat, Keys: keys, Consent: h.consent, Browser: h.browser, PublicURL: "https://backup.example.com/",
		Now: h.clock.Now, Logger: zap.New(core), Ready: h.ready.check,
		Monitor: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "monitor "+r.URL.Path) }),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "metric 1\n") }),
	}
	for _, o := range options {
		o(&cfg)
	}
	handler, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.server = httptest.NewUnstartedServer(handler)
	h.server.Config.DisableGeneralOptionsHandler = true // as package app serves it
	h.server.Start()
	t.Cleanup(h.server.Close)
	token, hash := api.NewToken()
	must(t, cat.Fleet().AddToken(t.Context(), catalog.Token{Name: "operator", Role: string(api.ProviderAdmin), CreatedAt: h.clock.Now()}, hash))
	h.token = token.Reveal()
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reply is an answer read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// field reads a value by its path: "items.0.name".
func (r reply) field(path string) any {
	var at any
	if json.Unmarshal(r.body, &at) != nil {
		return nil
	}
	for _, step := range strings.Split(path, ".") {
		switch v := at.(type) {
		case map[string]any:
			at = v[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(v) {
				return nil
			}
			at = v[i]
		default:
			return nil
		}
	}
	return at
}

func (r reply) text(path string) string {
	s, _ := r.field(path).(string)
	return s
}

// send sends one request as it is, and follows no redirect.
func (h *house) send(r *http.Request) reply {
	h.t.Helper()
	h.clock.Add(time.Millisecond) // no two requests at once: listings by age are certain
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       2 * time.Minute,
	}
	answer, err := client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	got := reply{answer.StatusCode, answer.Header, body}
	got.holdsCode(h.t, r.Method+" "+r.URL.Path)
	return got
}

func (h *house) request(method, path string, body any) *http.Request {
	h.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		must(h.t, err)
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, reader)
	must(h.t, err)
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// call sends an authenticated request.
func (h *house) call(method, path string, body any) reply {
	h.t.Helper()
	r := h.request(method, path, body)
	r.Header.Set("Authorization", "Bearer "+h.token)
	return h.send(r)
}

// want calls and checks the status.
func (h *house) want(status int, method, path string, body any) reply {
	h.t.Helper()
	r := h.call(method, path, body)
	if r.status != status {
		h.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, status, r.body)
	}
	return r
}

// addTenant adds a pending tenant by the API.
func (h *house) addTenant(name, directory string) tenantry.TenantID {
	h.t.Helper()
	r := h.want(http.StatusCreated, "POST", "/v1/tenants", map[string]any{"name": name, "directory": directory})
	return tenantry.TenantID(r.text("id"))
}

// addConnected adds a tenant, marks it connected and gives it users: ada and bob are
// active, one is gone.
func (h *house) addConnected(name, directory string) tenantry.TenantID {
	h.t.Helper()
	id := h.addTenant(name, directory)
	t := h.catalog.Tenant(id)
	must(h.t, t.SetDirectoryID(h.t.Context(), directory))
	must(h.t, t.SetState(h.t.Context(), tenantry.TenantConnected, ""))
	both := []tenantry.Workload{tenantry.Mailbox, tenantry.Drive}
	now := h.clock.Now()
	for _, w := range tenantry.Workloads() {
		must(h.t, t.EnableWorkload(h.t.Context(), w, catalog.Enabling{}, now))
	}
	users := []catalog.Resource{
		{ID: ada, Kind: tenantry.User, ObjectID: adaObject, Name: "Ada", Address: "ada@contoso.com", MailboxKind: "user", Licensed: true, State: tenantry.Active, StateAt: now, Workloads: both},
		{ID: bob, Kind: tenantry.User, ObjectID: bobObject, Name: "Bob", Address: "bob@contoso.com", MailboxKind: "shared", State: tenantry.Active, StateAt: now, Workloads: both[:1]},
		{ID: gone, Kind: tenantry.User, ObjectID: goneObject, Name: "Gone", Address: "gone@contoso.com", State: tenantry.Gone, StateAt: now, Workloads: both},
	}
	must(h.t, t.ApplySync(h.t.Context(), tenantry.User, users, "https://graph.example/delta", now))
	return id
}

// seal runs a backup of ada's mailbox as a worker does, and returns its snapshot.
func (h *house) seal(id tenantry.TenantID, problems ...catalog.Problem) int64 {
	h.t.Helper()
	r := h.want(http.StatusCreated, "POST", "/v1/tenants/"+string(id)+"/runs",
		map[string]any{"resources": []tenantry.ResourceID{ada}, "workloads": []string{"mailbox"}})
	claim := h.claim(id, tenantry.RunID(r.text("id")))
	counts := tenantry.Counts{Items: 40, Total: 42, Skipped: int64(len(problems)), Bytes: 1000, Stored: 300}
	must(h.t, h.catalog.Tenant(id).Settle(h.t.Context(), claim, catalog.Settlement{
		State: catalog.TaskDone, Counts: counts, Problems: problems,
		Snapshot: &catalog.SnapshotRow{Series: claim.Series(), Seq: 7, Time: h.clock.Now(), Task: claim.ID, Counts: counts},
	}, h.clock.Now()))
	return 7
}

// claim admits the only task of a run and claims it for a process.
func (h *house) claim(id tenantry.TenantID, run tenantry.RunID) catalog.Claim {
	h.t.Helper()
	ctx, fleet := h.t.Context(), h.catalog.Fleet()
	process := tenantry.NewProcessID("worker", "test")
	must(h.t, fleet.Beat(ctx, catalog.Process{ID: process, Role: "worker", Slots: map[string]int{"interactive": 2}}, time.Minute))
	fence, ok, err := fleet.Lead(ctx, process, time.Minute)
	must(h.t, err)
	if !ok {
		h.t.Fatal("somebody else leads")
	}
	tasks, err := h.catalog.Tenant(id).Tasks(ctx, run, "", 10)
	must(h.t, err)
	if len(tasks) != 1 {
		h.t.Fatalf("run %s has %d tasks, want 1", run, len(tasks))
	}
	admitted, err := fleet.Admit(ctx, fence, []catalog.Pick{{Tenant: id, Queue: tasks[0].Queue, Service: tasks[0].Service, N: 1}}, h.clock.Now())
	must(h.t, err)
	if len(admitted) != 1 || admitted[0].ID != tasks[0].ID {
		h.t.Fatalf("admitted %v, want %s", admitted, tasks[0].ID)
	}
	claim, err := h.catalog.Tenant(id).Claim(ctx, admitted[0].ID, admitted[0].Admission, process)
	must(h.t, err)
	must(h.t, fleet.Resign(ctx, process))
	return claim
}

// problemWith checks that an answer is a problem of the kind, and what its detail says.
func (h *house) problemWith(r reply, status int, kind tenantry.Kind, words ...string) {
	h.t.Helper()
	if r.status != status || r.text("kind") != string(kind) || r.header.Get("Content-Type") != "application/problem+json" {
		h.t.Errorf("got %d %s, want %d %s: %s", r.status, r.header.Get("Content-Type"), status, kind, r.body)
	}
	for _, w := range words {
		if !strings.Contains(r.text("detail"), w) {
			h.t.Errorf("detail %q does not say %q", r.text("detail"), w)
		}
	}
}
