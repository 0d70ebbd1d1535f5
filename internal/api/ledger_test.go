package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// backup settles one backup of a mailbox that waited for, and spent, so much.
func (h *house) backup(id tenantry.TenantID, d tenantry.Delays, units int64) (run, task string) {
	h.t.Helper()
	r := h.want(201, "POST", "/v1/tenants/"+string(id)+"/runs", map[string]any{"resources": []tenantry.ResourceID{ada}, "workloads": []string{"mailbox"}})
	claim := h.claim(id, tenantry.RunID(r.text("id")))
	must(h.t, h.catalog.Tenant(id).Settle(h.t.Context(), claim, catalog.Settlement{
		State: catalog.TaskDone, Delays: d, Spent: map[tenantry.Service]int64{tenantry.Outlook: units}, Took: time.Second, Units: units,
		Snapshot: &catalog.SnapshotRow{Series: claim.Series(), Seq: 7, Time: h.clock.Now(), Task: claim.ID},
	}, h.clock.Now()))
	return r.text("id"), string(claim.ID)
}

func read[T any](h *house, path string) (out T) {
	h.t.Helper()
	must(h.t, json.Unmarshal(h.want(200, "GET", path, nil).body, &out))
	return out
}

// Task, run and day say what was waited for; the day also what was spent and is to come.
func TestDelaysAreShown(t *testing.T) {
	t.Parallel()
	book := openBook(t)
	h := newHouse(t, func(c *api.Config) { c.Budgets = book })
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id)
	run, task := h.backup(id, tenantry.Delays{
		Queue: time.Second, Worker: 2 * time.Second, Storage: 3 * time.Second, Retry: 4 * time.Second,
		Graph: map[string]time.Duration{"outlook/requests": 5 * time.Second, "cooldown/mailbox": 90 * time.Second},
	}, 40)
	want := api.Delays{Queue: 1, Worker: 2, Storage: 3, Retry: 4, Graph: 95, ByGraph: []api.AccountDelay{
		{Account: "cooldown/mailbox", Seconds: 90}, {Account: "outlook/requests", Seconds: 5},
	}}
	same := func(of string, got *api.Delays) {
		t.Helper()
		if got == nil || fmt.Sprint(*got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v", of, got)
		}
	}
	same("task", read[api.Task](h, base+"/runs/"+run+"/tasks/"+task).Delays)
	shown := read[api.Run](h, base+"/runs/"+run)
	same("run", shown.Delays)
	if fmt.Sprint(shown.Units) != "[{outlook 40}]" {
		t.Errorf("the run cost %v", shown.Units)
	}

	h.want(201, "POST", base+"/runs", map[string]any{"resources": []tenantry.ResourceID{ada}}) // a mailbox and a drive, open
	p, err := book.Acquire(t.Context(), throttle.Call{Tenant: id, Service: tenantry.SharePoint, Units: 7})
	must(t, err)
	p.Release()
	ledger := read[api.Ledger](h, base+"/ledger")
	if len(ledger.Days) != 1 || ledger.Days[0].Day != h.clock.Now().UTC().Format(time.DateOnly) || fmt.Sprint(ledger.Days[0].Units) != "[{outlook 40}]" {
		t.Fatalf("days: %+v", ledger.Days)
	}
	same("day", ledger.Days[0].Delays)
	if len(ledger.Today) != 2 {
		t.Fatalf("today: %+v", ledger.Today)
	}
	outlook, drives := ledger.Today[0], ledger.Today[1]
	if outlook.Service != "outlook" || outlook.Used != 40 || outlook.OpenTasks != 1 || outlook.Backlog != 40 || outlook.Expected < 80 || outlook.Left != nil || outlook.Limit != 0 {
		t.Errorf("outlook: %+v", outlook)
	}
	if drives.Service != "sharepoint" || drives.OpenTasks != 1 || drives.Limit != 1_200_000 || drives.Left == nil || *drives.Left > 1_200_000-7 || drives.Short {
		t.Errorf("sharepoint: %+v", drives)
	}
	must(t, book.Close(t.Context()))
	h.problemWith(h.call("GET", base+"/ledger?days=91", nil), 422, tenantry.Invalid, "days")
	h.problemWith(h.call("GET", "/v1/tenants/t-none/ledger", nil), 404, tenantry.NotFound, "t-none")
}

// Without the account book the ledger shows what SQL knows.
func TestLedgerNeedsNoBook(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	h.backup(id, tenantry.Delays{Queue: time.Second}, 40)
	if l := read[api.Ledger](h, "/v1/tenants/"+string(id)+"/ledger?days=1"); len(l.Days) != 1 || len(l.Today) != 1 || l.Today[0].Limit != 0 {
		t.Errorf("ledger: %+v", l)
	}
}

// A policy that Microsoft's limits do not allow is added with a warning, and a preview
// says the same without adding it.
func TestFeasibility(t *testing.T) {
	t.Parallel()
	limits := throttle.Documented()
	h := newHouse(t, func(c *api.Config) { c.Limits = limits })
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id) + "/policies"
	plan := map[string]any{"name": "Nightly", "activate": true, "workloads": []string{"mailbox"}, "schedule": map[string]any{"kind": "window", "at": "01:30"}}
	preview := func() (f api.Feasibility) {
		t.Helper()
		must(t, json.Unmarshal(h.want(200, "POST", base+"/preview", plan).body, &f))
		return f
	}
	f := preview()
	if !f.Feasible || f.Warning != "" || f.Takes > 60 || f.Workloads[0].Units != 55 || f.Workloads[0].Basis != "default" || f.Interval != 86400 {
		t.Errorf("of two mailboxes: %+v", f)
	}
	if at := f.CompletesAt; at == nil || at.Sub(h.clock.Now()) < 0 || at.Sub(h.clock.Now()) > 28*time.Hour || at.Add(-240*time.Minute).Format("15:04") != "01:30" {
		t.Errorf("completes at %v, now is %v", at, h.clock.Now())
	}
	if list := read[struct{ Items []api.Policy }](h, base); len(list.Items) != 0 {
		t.Fatalf("a preview has added %+v", list.Items)
	}

	// A mailbox that costs more requests than its account gives in a day.
	h.backup(id, tenantry.Delays{}, 2_000_000)
	f = preview()
	if f.Feasible || f.Binding != "outlook/requests" || f.Takes < 2_000_000/10_000*600 || !strings.Contains(f.Warning, f.Binding) ||
		f.Workloads[0].Units != 2_000_000 || f.Workloads[0].Basis != "history" {
		t.Errorf("of a busy mailbox: %+v", f)
	}
	var added api.Policy
	must(t, json.Unmarshal(h.want(201, "POST", base, plan).body, &added))
	single := read[api.Policy](h, base+"/"+string(added.ID))
	for _, got := range []*api.Feasibility{added.Feasibility, single.Feasibility} {
		if got == nil || got.Feasible || got.Takes != f.Takes || fmt.Sprint(got.Workloads) != fmt.Sprint(f.Workloads) {
			t.Errorf("the policy is answered with %+v", got)
		}
	}
	// A second one beside it asks for as much again.
	plan["workloads"] = []string{"drive"}
	if f = preview(); f.Feasible || f.Binding != "outlook/requests" || f.Workloads[0].Workload != tenantry.Drive {
		t.Errorf("beside: %+v", f)
	}
}

// A policy of every kind is answered with all of its workloads, what each may cost, and the
// accounts of the service that it meets.
func TestFeasibilityOfEveryKind(t *testing.T) {
	t.Parallel()
	limits := throttle.Documented()
	h := newHouse(t, func(c *api.Config) { c.Limits = limits })
	id := h.addConnected("Contoso", contosoGUID)
	now := h.clock.Now()
	for kind, workloads := range map[tenantry.ResourceKind][]tenantry.Workload{
		tenantry.Group: {tenantry.GroupContent, tenantry.TeamContent}, tenantry.Site: {tenantry.SiteContent},
	} {
		r := catalog.Resource{
			ID: tenantry.ResourceID(string(kind) + "-1"), Kind: kind, ObjectID: "object of " + string(kind), Name: string(kind),
			State: tenantry.Active, StateAt: now, Workloads: workloads,
		}
		must(t, h.catalog.Tenant(id).ApplySync(t.Context(), kind, []catalog.Resource{r}, "link", now))
	}
	accounts := map[tenantry.Workload]string{
		tenantry.Mailbox: "outlook/requests", tenantry.Drive: "sharepoint/day", tenantry.SiteContent: "sharepoint/day",
		tenantry.GroupContent: "outlook/requests", tenantry.TeamContent: "teams/tenant/",
	}
	seen := 0
	for _, kind := range []tenantry.ResourceKind{tenantry.User, tenantry.Group, tenantry.Site} {
		var f api.Feasibility
		plan := map[string]any{"name": "All", "kinds": []tenantry.ResourceKind{kind}}
		must(t, json.Unmarshal(h.want(200, "POST", "/v1/tenants/"+string(id)+"/policies/preview", plan).body, &f))
		if !f.Feasible || f.CompletesAt == nil {
			t.Errorf("%s: %+v", kind, f)
		}
		for _, w := range f.Workloads {
			seen++
			meets := slices.ContainsFunc(f.Accounts, func(a api.AccountTime) bool { return strings.HasPrefix(a.Account, accounts[w.Workload]) && a.Units > 0 })
			if w.Resources == 0 || w.Units <= 0 || w.Basis != "default" || !meets {
				t.Errorf("%s of %s: %+v with accounts %+v", w.Workload, kind, w, f.Accounts)
			}
		}
	}
	if seen != len(accounts) {
		t.Errorf("%d workloads were told of, expected %d", seen, len(accounts))
	}
}
