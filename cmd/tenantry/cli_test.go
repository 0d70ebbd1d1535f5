package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

const adaObject = "aaaaaaaa-0000-4000-8000-000000000001"

// office is a fleet without workers: the real API over a real catalog.
type office struct {
	t       *testing.T
	catalog *catalog.Catalog
	token   string
	said    string // on standard error, by the last command
}

type plainConsent struct{}

func (plainConsent) URL(_, _, directory, state, _ string) (string, error) {
	return "https://login.example/" + directory + "?state=" + state, nil
}

// plainBudgets is a tenant that Microsoft has slowed, with a mailbox that waits.
type plainBudgets struct{}

func (plainBudgets) Usage(context.Context, tenantry.TenantID) ([]throttle.Account, error) {
	at := time.Date(2026, 11, 21, 5, 0, 0, 0, time.Local)
	return []throttle.Account{
		{Name: "sharepoint/minute", Limit: 1250, Left: 900, Share: 0.8, SlowedAt: at},
		{Name: "outlook/mailbox/" + adaObject, Share: 1, CoolingUntil: at.Add(time.Minute)},
	}, nil
}

func newOffice(t *testing.T, change ...func(*api.Config)) *office {
	t.Helper()
	cat, err := catalog.Open(t.Context(), catalogtest.SQLite(t))
	must(t, err)
	t.Cleanup(func() { must(t, cat.Close()) })
	keys, err := repository.OpenKeyFile(filepath.Join(t.TempDir(), "keys"), true)
	must(t, err)
	config := api.Config{Catalog: cat, Keys: keys, Consent: plainConsent{}, Budgets: plainBudgets{}, PublicURL: "http://127.0.0.1"}
	for _, c := range change {
		c(&config)
	}
	handler, err := api.New(config)
	must(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	token, hash := api.NewToken()
	must(t, cat.Fleet().AddToken(t.Context(), catalog.Token{Name: "test", Role: string(api.ProviderAdmin), CreatedAt: time.Now()}, hash))
	t.Setenv("TENANTRY_URL", server.URL)
	t.Setenv("TENANTRY_TOKEN", token.Reveal())
	return &office{t: t, catalog: cat, token: token.Reveal()}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run executes a command line and returns what it printed.
func (o *office) run(line ...string) (string, error) {
	root := rootCommand()
	var out, errOut bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errOut)
	root.SetArgs(line)
	root.SetContext(o.t.Context())
	err := execute(root)
	o.said = errOut.String()
	return out.String(), err
}

// shows runs a command line and checks that it prints every word.
func (o *office) shows(words []string, line ...string) string {
	o.t.Helper()
	out, err := o.run(line...)
	if err != nil {
		o.t.Fatalf("tenantry %s: %v", strings.Join(line, " "), err)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			o.t.Errorf("tenantry %s does not say %q:\n%s", strings.Join(line, " "), w, out)
		}
	}
	return out
}

// value finds "name  value" in what show commands print.
func value(out, name string) string {
	for _, line := range strings.Split(out, "\n") {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func (o *office) connected() (tenant, user string) {
	o.t.Helper()
	tenant = value(o.shows([]string{"pending"}, "tenants", "add", "Contoso", "contoso.com"), "id")
	t := o.catalog.Tenant(tenantry.TenantID(tenant))
	must(o.t, t.SetState(o.t.Context(), tenantry.TenantConnected, ""))
	must(o.t, t.SetRoles(o.t.Context(), []string{"Mail.ReadWrite", "Files.Read.All"}))
	o.shows([]string{"mailbox", "enabling", "drive"}, "workloads", "enable", tenant, "mailbox", "drive")
	ada := catalog.Resource{
		ID: tenantry.UserResource(adaObject), Kind: tenantry.User, ObjectID: adaObject, Name: "Ada \x1b[31mred", Address: "ada@contoso.com",
		State: tenantry.Active, StateAt: time.Now(), Workloads: []tenantry.Workload{tenantry.Mailbox, tenantry.Drive},
	}
	must(o.t, t.ApplySync(o.t.Context(), tenantry.User, []catalog.Resource{ada}, "link", time.Now()))
	return tenant, string(ada.ID)
}

func secretFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(file, []byte("hush\n"), 0o600))
	return file
}

func TestCommands(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	o.shows([]string{"Contoso", "connected", tenant}, "tenants", "list")
	o.shows([]string{"contoso.com", "1 active, 0 inactive, 0 gone"}, "tenants", "show", tenant)
	o.shows([]string{"https://login.example/contoso.com?state="}, "tenants", "consent", tenant)
	o.shows([]string{"WORKLOAD", "Files.ReadWrite.All", "no: the consent lacks Sites.Read.All"}, "workloads", "list", tenant)
	o.shows([]string{"Mail.ReadWrite", "write mail back", "granted"}, "workloads", "permissions", tenant)
	o.shows([]string{"https://login.example/contoso.com?state=", "unauthorised"}, "workloads", "enable", tenant, "site")
	o.shows([]string{"site", "unauthorised"}, "workloads", "disable", tenant, "site")
	o.shows([]string{"connect", "running"}, "tenants", "probe", tenant)
	o.shows([]string{"federated", "restore", adaObject}, "credentials", "add", tenant, "--kind", "federated", "--purpose", "restore", "--client-id", adaObject)
	o.shows([]string{"https://login.example/contoso.com?state="}, "tenants", "consent", tenant, "--for-restores")
	credential := strings.Fields(o.shows([]string{"WARNING"}, "credentials", "list", tenant))[9]
	o.shows(nil, "credentials", "remove", tenant, credential)
	o.shows([]string{"secret", "2030-01-31"}, "credentials", "add", "fleet", "--client-id", adaObject, "--from", secretFile(t), "--expires", "2030-01-31")
	o.shows([]string{adaObject}, "credentials", "list", "fleet")
	o.shows([]string{"Ada ?[31mred", "mailbox,drive"}, "resources", "list", tenant, "--kind", "user")
	o.shows([]string{adaObject, "active"}, "resources", "show", tenant, user)
	budget := o.shows([]string{"sharepoint/minute", "1250", "900", "80%", "2026-11-21 05:00", "2026-11-21 05:01"}, "tenants", "budget", tenant)
	if lines := strings.Split(budget, "\n"); len(strings.Fields(lines[2])) != 7 || strings.Contains(lines[2], "100%") {
		t.Errorf("a mailbox that waits shows a limit:\n%s", budget)
	}
	policy := strings.Fields(o.shows([]string{"Nightly", "02:15", "Europe/Vienna"},
		"policies", "add", tenant, "Nightly", "--at", "02:15", "--time-zone", "Europe/Vienna", "--activate"))[8]
	o.shows([]string{"feasible", "yes", "mailbox", "55.0", "default"}, "policies", "add", tenant, "Weekly", "--preview")
	o.shows([]string{"Nightly", policy}, "policies", "list", tenant)
	run := value(o.shows([]string{"backup", "2, 0 done, 0 failed"}, "runs", "start", "contoso", "--policy", "nightly"), "id")
	o.shows([]string{run, "manual"}, "runs", "list", tenant, "--limit", "1")
	o.shows([]string{"mailbox", "drive", "ready"}, "runs", "tasks", tenant, run)
	o.shows([]string{"CAUSE", "graph", "storage"}, "runs", "why", tenant, run)
	o.shows([]string{"ITEM", "LAST-GOOD", "NEXT-TRY"}, "runs", "failures", tenant, run)
	o.shows([]string{"TODAY", "outlook", "sharepoint", "DAY"}, "tenants", "ledger", tenant, "--days", "3")
	o.shows([]string{run, "canceled"}, "runs", "cancel", tenant, run, "--watch")
	o.shows([]string{run}, "runs", "list", tenant, "--state", "canceled", "--action", "backup", "--policy", policy)
	o.shows([]string{run}, "runs", "show", tenant, run)
	o.shows(nil, "policies", "retention", tenant, policy, "--last", "3", "--until", "2030-01-31")
	o.shows([]string{"VERDICT"}, "policies", "retention-preview", tenant, policy)
	o.shows([]string{"VERDICT"}, "policies", "retention-preview", tenant, policy, "--yearly", "2")
	o.shows(nil, "holds", "set", tenant, "case 7", "--resource", user)
	o.shows([]string{"case 7", "Ada"}, "holds", "list", tenant)
	o.shows(nil, "holds", "lift", tenant, "--resource", user)
	o.shows([]string{"prune", "running"}, "prune", "series", tenant, user, "mailbox")
	o.shows([]string{"collect", "running"}, "prune", "collect", tenant)
	o.shows([]string{"repair", "running"}, "repair", tenant, user, "mailbox")
	o.shows(nil, "policies", "delete", tenant, policy)
	o.shows([]string{"test", "delete-policy", "start-run"}, "tenants", "audit", tenant)
	o.shows([]string{"SNAPSHOT"}, "snapshots", tenant, user, "mailbox")
	o.shows([]string{"CAUSE"}, "alarms")
	o.shows([]string{"ROLE"}, "processes")
	o.shows([]string{"connected=1", "1 active, 0 inactive, 0 gone", "directory=1"}, "fleet")
	o.shows([]string{"provider-admin", "grant"}, "whoami")
	token := strings.TrimSpace(o.shows([]string{"tenantry_"}, "tokens", "add", "ada@contoso", "tenant-admin", "--tenant", tenant, "--days", "30"))
	o.shows([]string{"ada@contoso", "tenant-admin", "Contoso", "(all)", "never", "test"}, "tokens", "list")
	o.shows([]string{"ada@contoso", "tenant-admin", tenant}, "whoami", "--token", token)
	if _, err := o.run("processes", "--token", token); tenantry.KindOf(err) != tenantry.Forbidden {
		t.Errorf("a tenant's administrator sees the fleet: %v", err)
	}
	o.shows(nil, "tokens", "revoke", "ada@contoso")
	o.shows([]string{"revoke-token", "127.0.0.1"}, "audit", "--limit", "3")
}

// oneMail is an index with a mail in it, whatever it is asked.
type oneMail struct{ api.Browser }

func (oneMail) Search(_ context.Context, s tenantry.Series, _ int64, q api.Search, _, after string, _ int) ([]api.BrowseItem, string, error) {
	switch {
	case s.Workload == tenantry.Drive:
		return nil, "", tenantry.Errorf(tenantry.Corrupt, "its index is missing")
	case after == "":
		return nil, "further", nil
	}
	date := q.Since.Add(time.Hour)
	return []api.BrowseItem{{ID: "m1", Kind: q.Kind, Name: "Re: " + q.Text, From: q.From, Date: &date}}, "", nil
}

// What a tenant is added with can be changed, and what is not given stays.
func TestTenantSettings(t *testing.T) {
	o := newOffice(t)
	o.shows(nil, "pools", "add", "munich")
	settings := func(out string) string {
		var all []string
		for _, name := range []string{"name", "weight", "pool", "application", "sync every", "seats"} {
			all = append(all, value(out, name))
		}
		return strings.Join(all, ", ")
	}
	usual := o.shows(nil, "tenants", "add", "Fabrikam", "fabrikam.com")
	given := o.shows(nil, "tenants", "add", "Contoso", "contoso.com", "--weight", "20", "--application-name", "Ours", "--sync-hours", "6", "--pool", "munich", "--seats", "manual")
	tenant := value(given, "id")
	changed := o.shows(nil, "tenants", "set", tenant, "--weight", "30", "--name", "Contoso Ltd")
	back := o.shows(nil, "tenants", "set", tenant, "--application-name", "", "--sync-hours", "24", "--pool", "main", "--seats", "automatic")
	for _, c := range []struct{ out, want string }{
		{usual, "Fabrikam, 10, main, , 24 h, automatic"},
		{given, "Contoso, 20, munich, Ours, 6 h, manual"},
		{changed, "Contoso Ltd, 30, munich, Ours, 6 h, manual"},
		{back, "Contoso Ltd, 30, main, , 24 h, automatic"},
		{o.shows(nil, "tenants", "show", tenant), "Contoso Ltd, 30, main, , 24 h, automatic"},
	} {
		if got := settings(c.out); got != c.want {
			t.Errorf("%q, want %q in\n%s", got, c.want, c.out)
		}
	}
}

func TestSearchCommand(t *testing.T) {
	o := newOffice(t, func(c *api.Config) { c.Browser = oneMail{} })
	tenant, user := o.connected()
	for _, w := range []tenantry.Workload{tenantry.Mailbox, tenantry.Drive} {
		row := catalog.SnapshotRow{Seq: 3, Time: time.Now()}
		must(t, o.catalog.Tenant(tenantry.TenantID(tenant)).MirrorSnapshots(t.Context(), tenantry.ResourceID(user), w, []catalog.SnapshotRow{row}))
	}
	o.shows([]string{"Re: invoice", "ada@contoso.com", "message", "2026-11-2", "Ada", "m1"},
		"search", tenant, "invoice", "--from", "ada@contoso.com", "--kind", "message", "--since", "2026-11-20T12:00:00Z", "--before", "2026-11-30")
}

// A policy from its preview to its pause, whom it protects and why, seats and coverage.
func TestPlanCommands(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	o.shows([]string{"1, 1 of them not protected now", "units, outlook", "feasible"}, "policies", "add", tenant, "Plan", "--preview")
	draft := strings.Fields(o.shows([]string{"Plan", "draft", "every 6 h", "not mon 08:00-18:00", "daily 20:00"}, "policies", "add", tenant, "Plan",
		"--every", "6", "--blackout", "mon 08:00-18:00", "--enrol", "daily", "--enrol-at", "20:00"))[8]
	o.shows([]string{user, "draft"}, "resources", "list", tenant, "--standing", "draft")
	o.shows([]string{"seats", "1, 1 of them not protected now"}, "policies", "forecast", tenant, draft)
	o.shows([]string{"draft"}, "policies", "activate", tenant, draft, "--resource", user)
	o.shows([]string{"active"}, "policies", "activate", tenant, draft)
	window := "from 01:00 Europe/Vienna, 60 min"
	o.shows([]string{window}, "policies", "set", tenant, draft, "--at", "01:00", "--window", "60", "--time-zone", "Europe/Vienna")
	o.shows([]string{window + ", not mon,fri 08:00-18:00"}, "policies", "set", tenant, draft, "--blackout", "mon,fri 08:00-18:00")
	o.shows([]string{"from 01:00 Asia/Tokyo, 60 min, not mon,fri 08:00-18:00"}, "policies", "set", tenant, draft, "--time-zone", "Asia/Tokyo")
	o.shows([]string{"from 01:00 Asia/Tokyo, 90 min, not tue 08:00-18:00"}, "policies", "set", tenant, draft, "--window", "90", "--blackout", "tue 08:00-18:00")
	o.shows([]string{"off-peak"}, "policies", "set", tenant, draft, "--off-peak")
	o.shows([]string{"off-peak", "not wed 08:00-18:00"}, "policies", "set", tenant, draft, "--blackout", "wed 08:00-18:00")
	o.shows([]string{"Renamed", "daily", "user", user}, "policies", "set", tenant, draft, "--name", "Renamed", "--daily", "--resource", user)
	o.shows([]string{"excluded kinds", "room equipment"}, "policies", "set", tenant, draft, "--exclude-subkind", "room,equipment", "--resource", user)
	o.shows([]string{"paused"}, "policies", "pause", tenant, draft)
	o.shows([]string{"Renamed", "paused", "36h0m0s"}, "policies", "show", tenant, draft)
	o.shows([]string{"covered", "chosen", "never backed up", "before one of its whole kind"}, "resources", "why", tenant, user)
	o.shows([]string{"Australia/Sydney", "the tenant", "daily"}, "policies", "planning", tenant, "--time-zone", "Australia/Sydney")
	o.shows([]string{"Australia/Sydney", "the tenant", "any"}, "policies", "planning", tenant, "--open-schedules")
	o.shows([]string{"UTC", "the region", "daily"}, "policies", "planning", tenant, "--time-zone", "", "--open-schedules=false")
	o.shows([]string{"WITHIN", "Contoso"}, "coverage", tenant)
	o.shows([]string{"(all)", "Contoso"}, "coverage")
	o.shows([]string{"at,tenant,name,region,eligible", tenant + ",Contoso,default,"}, "coverage", "--csv")
	o.shows([]string{"never_backed_up", ",Contoso,"}, "coverage", tenant, "--csv")
	o.shows([]string{"manual", "0, hard quota 2", "unlicensed, user"}, "seats", "set", tenant, "--manual", "--hard", "2", "--take", "user,unlicensed")
	o.shows([]string{"no_seat"}, "resources", "why", tenant, user)
	o.shows([]string{"1, hard quota 2"}, "seats", "assign", tenant, user)
	o.shows([]string{user, "unlicensed", "test"}, "seats", "list", tenant)
	o.shows([]string{"tenant,month,resource", user}, "seats", "list", tenant, "--csv")
	o.shows([]string{"Contoso", "unlicensed", "1"}, "seats", "count")
	o.shows([]string{"tenant,name,month,rule,seats", "Contoso"}, "seats", "count", "--csv")
	o.shows([]string{"0, hard quota 2"}, "seats", "revoke", tenant, user)
	o.shows([]string{"manual"}, "seats", "show", tenant)
}

// Refusals reach the person with the API's reason and kind.
func TestRefusals(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	for _, c := range []struct {
		kind tenantry.Kind
		word string
		line []string
	}{
		{tenantry.NotFound, "t-none", []string{"tenants", "show", "t-none"}},
		{tenantry.Invalid, "body.directory", []string{"tenants", "add", "A", "nowhere"}},
		{tenantry.Conflict, "", []string{"tenants", "add", "A", "contoso.com"}},
		{tenantry.Invalid, "body.schedule.at", []string{"policies", "add", tenant, "P", "--at", "25:00"}},
		{tenantry.Invalid, "--every", []string{"policies", "add", tenant, "P", "--at", "01:00", "--every", "4"}},
		{tenantry.Invalid, "--blackout", []string{"policies", "add", tenant, "P", "--blackout", "nights"}},
		{tenantry.Conflict, "by themselves", []string{"seats", "assign", tenant, user}},
		{tenantry.Invalid, "query.month", []string{"seats", "list", tenant, "--month", "november"}},
		{tenantry.Invalid, "query.kind", []string{"resources", "list", tenant, "--kind", "fax"}},
		{tenantry.Invalid, "body.snapshot", []string{"restore", tenant, user, "mailbox", "3"}},
		{tenantry.Invalid, "body.snapshot", []string{"verify", tenant, user, "mailbox", "3"}},
		{tenantry.NotFound, "no snapshot", []string{"verify", tenant, user, "mailbox", "latest"}},
		{tenantry.NotFound, "no policy", []string{"runs", "start", tenant, "--policy", "none"}},
		{tenantry.NotFound, "no resource", []string{"resources", "show", tenant, "nobody@contoso.com"}},
		{tenantry.Invalid, "SNAPSHOT", []string{"verify", tenant, user, "mailbox", "newest"}},
		{tenantry.Shared, "bucket", []string{"browse", tenant, user, "mailbox", "3"}},
		{tenantry.Shared, "bucket", []string{"search", tenant, "invoice"}},
		{tenantry.Invalid, "--since", []string{"search", tenant, "invoice", "--since", "yesterday"}},
		{tenantry.Unauthorized, "token", []string{"tenants", "list", "--token", "tenantry_wrong"}},
		{tenantry.Invalid, "url", []string{"tenants", "list", "--url", "nowhere"}},
	} {
		_, err := o.run(c.line...)
		if tenantry.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.word) {
			t.Errorf("tenantry %s: %s %v, want %s naming %q", strings.Join(c.line, " "), tenantry.KindOf(err), err, c.kind, c.word)
		}
	}
	t.Setenv("TENANTRY_TOKEN", "")
	if _, err := o.run("tenants", "list"); err == nil || !strings.Contains(err.Error(), "TENANTRY_TOKEN") {
		t.Errorf("without token: %v", err)
	}
}

// Listings walk all pages, and say when they stop early.
func TestListingsWalkPages(t *testing.T) {
	next, asked := map[string]string{"": "b", "b": "c", "c": ""}, 0
	fetch := func(p pager) ([]string, string, error) {
		after := ""
		if p.after != nil {
			after = *p.after
		}
		asked++
		return []string{after + "1", after + "2"}, next[after], nil
	}
	rows, more, err := all(100, fetch)
	if len(rows) != 6 || more || err != nil || asked != 3 {
		t.Errorf("%v, more %v, %v, %d pages", rows, more, err, asked)
	}
	if rows, more, _ = all(3, fetch); len(rows) < 3 || !more {
		t.Errorf("%v, more %v", rows, more)
	}
}

func TestMigrate(t *testing.T) {
	catalog := filepath.Join(t.TempDir(), "tenantry.db")
	for range 2 { // the second time there is nothing to do
		root := rootCommand()
		root.SetArgs([]string{"migrate", "-catalog", "sqlite:" + catalog})
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(catalog); err != nil {
		t.Error(err)
	}
	root := rootCommand()
	root.SetArgs([]string{"migrate", "-catalog", "mysql://elsewhere"})
	if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "catalog") {
		t.Errorf("another database: %v", err)
	}
}
