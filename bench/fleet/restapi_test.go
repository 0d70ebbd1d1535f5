package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What the API is asked about: one large tenant, and a provider's whole fleet.
const (
	largeTenant  = 100_000 // resources
	fleetTenants = 3_000
	fleetEach    = 100 // resources of each
	askers       = 8   // at once
	lookups      = 50  // of the overview
)

// BenchmarkAPI measures the API process alone, over real Postgres and Redis.
func BenchmarkAPI(b *testing.B) {
	seconds, tenants, large := 10*time.Second, fleetTenants, largeTenant
	if os.Getenv(quickEnv) != "" {
		seconds, tenants, large = 2*time.Second, 100, 5_000
	}
	a := startAPI(b)
	cat, err := catalog.Open(b.Context(), a.catalog)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = cat.Close() }()
	ids := a.populate(cat, tenants, large)
	a.saved()

	path := "/v1/tenants/" + string(ids[0]) + "/resources?limit=100"
	next := a.pages(path, large/100/10)
	before := cpuSeconds(a.process.cmd.Process.Pid)
	took := a.ask(seconds, func(n int) string { return path + "&after=" + next[n%len(next)] })
	used := cpuSeconds(a.process.cmd.Process.Pid) - before
	row("api.requests_per_core_s", float64(len(took))/used, "requests/s")
	row("api.requests_per_s", float64(len(took))/seconds.Seconds(), "requests/s")
	row("api.list_p99_ms", milliseconds(took[len(took)*99/100]), "ms")

	views := make([]time.Duration, lookups)
	for i := range views {
		began := time.Now()
		a.get("/v1/fleet")
		views[i] = time.Since(began)
	}
	slices.Sort(views)
	row("api.fleet_overview_ms", milliseconds(views[len(views)/2]), "ms")
	row("api.fleet_overview_p99_ms", milliseconds(views[len(views)*99/100]), "ms")
	fmt.Println("# Everything that is protected has been saved. The overview counts it at most every 30 s and says when; its p99 is the answer that counted.")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// restAPI is an api with nothing beside it but its servers.
type restAPI struct {
	t       testing.TB
	url     string
	token   string
	catalog string
	process *process
	client  *http.Client
}

func startAPI(t testing.TB) *restAPI {
	t.Helper()
	programs, dir := build(t), t.TempDir()
	addr := servertest.Addr(t)
	a := &restAPI{
		t: t, url: "http://" + addr, catalog: servertest.Postgres(t).Database(t),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: askers}, Timeout: 30 * time.Second},
	}
	env := []string{
		"TENANTRY_CATALOG=" + a.catalog, "TENANTRY_REDIS=" + servertest.StartRedis(t).Addr, "TENANTRY_BUCKET=file:" + filepath.Join(dir, "bucket"),
		"TENANTRY_KEY_FILE=" + filepath.Join(dir, "keys"), "TENANTRY_CLIENT_ID=" + clientID, "TENANTRY_PUBLIC_URL=" + a.url,
		"TENANTRY_API_RATE=0", "TENANTRY_LOG_LEVEL=warn",
	}
	cmd := exec.Command(filepath.Join(programs, "tenantry"), "init")
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tenantry init: %v", err)
	}
	a.token = strings.TrimSpace(string(out))
	a.process = spawn(t, "api", env, filepath.Join(programs, "api"), "-listen", addr)
	a.process.await(a.url + "/readyz")
	return a
}

// populate makes a large tenant, which is the first, and many others.
func (a *restAPI) populate(cat *catalog.Catalog, tenants, large int) []tenantry.TenantID {
	a.t.Helper()
	ids := make([]tenantry.TenantID, tenants)
	work := make(chan int)
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			for n := range work {
				ids[n] = tenantry.TenantID(fmt.Sprintf("t-%016x", n))
				each := fleetEach
				if n == 0 {
					each = large
				}
				if err := fill(a.t.Context(), cat, ids[n], n, each); err != nil {
					a.t.Error(err)
				}
			}
		})
	}
	for n := range tenants {
		work <- n
	}
	close(work)
	all.Wait()
	if a.t.Failed() {
		a.t.FailNow()
	}
	return ids
}

// saved makes the fleet one that has been running: each workload that is protected has a snapshot. By itself, through
// settlements, that would take a day.
func (a *restAPI) saved() {
	a.t.Helper()
	db, err := sql.Open("pgx", a.catalog)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range []string{
		`INSERT INTO series (tenant, resource, workload, epoch, owner_task, owner_process, backup_task, saved_at)
			SELECT tenant, resource, workload, 1, '', '', '', (extract(epoch FROM now()) * 1000000)::bigint FROM protections`,
		"VACUUM ANALYZE", // as the server does by itself, some minutes later
	} {
		if _, err := db.ExecContext(a.t.Context(), statement); err != nil {
			a.t.Fatal(err)
		}
	}
}

func fill(ctx context.Context, cat *catalog.Catalog, id tenantry.TenantID, n, each int) error {
	now := time.Now()
	err := cat.Fleet().AddTenant(ctx, catalog.TenantRow{
		ID: id, Name: fmt.Sprint("Tenant ", n), Directory: fmt.Sprintf("tenant%d.example", n), State: tenantry.TenantConnected, AddedAt: now, StateAt: now,
	})
	if err != nil {
		return err
	}
	t := cat.Tenant(id)
	for _, w := range tenantry.Workloads() {
		if err := t.EnableWorkload(ctx, w, catalog.Enabling{}, now); err != nil {
			return err
		}
	}
	policy := catalog.Policy{
		ID: "p-0000000000000001", Name: "daily", Kinds: []tenantry.ResourceKind{tenantry.User},
		Workloads: []tenantry.Workload{tenantry.Mailbox, tenantry.Drive}, Window: 240, TimeZone: "UTC", CreatedAt: now,
	}
	if err := t.AddPolicy(ctx, policy, now); err != nil {
		return err
	}
	for from := 0; from < each; from += 5_000 {
		var users []catalog.Resource
		for i := from; i < min(each, from+5_000); i++ {
			object := fmt.Sprintf("%08x-0000-4000-8000-%012x", n, i)
			users = append(users, catalog.Resource{
				ID: tenantry.UserResource(object), Kind: tenantry.User, ObjectID: object, Name: fmt.Sprint("Person ", i),
				Address: fmt.Sprintf("person%d@tenant%d.example", i, n), MailboxKind: "user", Licensed: true, State: tenantry.Active, StateAt: now,
				Workloads: []tenantry.Workload{tenantry.Mailbox, tenantry.Drive},
			})
		}
		if err := t.ApplySync(ctx, tenantry.User, users, "link", now); err != nil {
			return err
		}
	}
	return nil
}

// pages walks a listing and returns the cursors of its first pages.
func (a *restAPI) pages(path string, n int) []string {
	a.t.Helper()
	cursors := []string{""}
	for len(cursors) < n {
		body := a.get(path + "&after=" + cursors[len(cursors)-1])
		_, after, found := strings.Cut(body, `"next":"`)
		if !found {
			break
		}
		cursor, _, _ := strings.Cut(after, `"`)
		cursors = append(cursors, cursor)
	}
	return cursors
}

// ask sends requests from several callers for a time and returns how long each took, the
// shortest first.
func (a *restAPI) ask(d time.Duration, path func(n int) string) []time.Duration {
	a.t.Helper()
	end := time.Now().Add(d)
	took := make([][]time.Duration, askers)
	var all sync.WaitGroup
	for i := range askers {
		all.Go(func() {
			for n := i; time.Now().Before(end); n += askers {
				began := time.Now()
				a.get(path(n))
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	all.Wait()
	together := slices.Concat(took...)
	slices.Sort(together)
	return together
}

// get returns the body of an answer 200.
func (a *restAPI) get(path string) string {
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.url+path, nil)
	if err != nil {
		a.t.Error(err)
		return ""
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	answer, err := a.client.Do(r)
	if err != nil {
		a.t.Error(err)
		return ""
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		a.t.Errorf("GET %s: %s %v %.200s", path, answer.Status, err, body)
	}
	return string(body)
}
