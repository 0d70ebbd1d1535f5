package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// away adds a tenant of another region, with a pool there that has a worker.
func (h *house) away(n int) (tenantry.TenantID, catalog.Process) {
	h.t.Helper()
	fleet, id := h.cat.Fleet(), tenantry.TenantID("t-away")
	h.must(fleet.AddPool(h.t.Context(), catalog.Pool{Name: "sydney", Region: "au", AddedAt: h.now()}))
	h.addTenant(id)
	h.must(fleet.ChangeTenant(h.t.Context(), id, catalog.TenantChange{Region: new("au"), Pool: new("sydney")}, h.now()))
	p := catalog.Process{ID: tenantry.NewProcessID("worker", "away"), Role: "worker", Pool: "sydney", Slots: map[string]int{queue.Backup: n}}
	h.must(fleet.Beat(h.t.Context(), p, time.Hour))
	return id, p
}

// A region whose bucket is away stops its own tenants alone, and one of their tasks probes it.
func TestAlarmOfARegionStopsItsTenantsAlone(t *testing.T) {
	h := newHouse(t)
	h.users(4)
	home := h.tenant
	id, process := h.away(6)
	h.tenant = id
	h.users(4)
	h.process(6)
	h.must(h.cat.Fleet().Pause(t.Context(), "bucket@au", "does not answer", h.now().Add(time.Minute), h.now()))
	h.start()
	away := h.run(4)
	h.tenant = home
	here := h.run(4)
	h.watch.until(t, "the others go on", func() bool { return h.tasks(here.ID, catalog.TaskAdmitted) == 4 })
	h.watch.someTicks(t, 5)
	h.tenant = id
	if n := h.tasks(away.ID, catalog.TaskReady); n != 4 {
		t.Fatalf("%d of 4 tasks of the region wait", n)
	}
	h.offset.Store(int64(2 * time.Minute))
	h.watch.until(t, "a probe is admitted", func() bool { return h.tasks(away.ID, catalog.TaskAdmitted) > 0 })
	h.watch.someTicks(t, 5)
	if n := h.tasks(away.ID, catalog.TaskReady); n != 3 {
		t.Fatalf("%d of 4 tasks wait beside the probe, want 3", n)
	}
	tasks, err := h.cat.Fleet().Unclaimed(t.Context(), h.now().Add(time.Hour), 100)
	h.must(err)
	at := slices.IndexFunc(tasks, func(task catalog.Task) bool { return task.Tenant == id })
	claim, err := h.cat.Tenant(id).Claim(t.Context(), tasks[at].ID, tasks[at].Admission, process.ID)
	h.must(err)
	h.must(h.cat.Tenant(id).Settle(t.Context(), claim, catalog.Settlement{State: catalog.TaskDone}, h.now()))
	h.watch.until(t, "the region goes on", func() bool { return h.tasks(away.ID, catalog.TaskAdmitted) == 3 })
}

// What an alarm stops depends on what it is about, and on where tenants are.
func TestScopesOfAlarms(t *testing.T) {
	s := &Scheduler{cfg: Config{Cloud: "global"}}
	check := func(when string, want map[string]scope) {
		t.Helper()
		for cause, sc := range want {
			if got := s.scopeOf(cause); got != sc {
				t.Errorf("%s, %s stops %q, want %q", when, cause, got, sc)
			}
		}
	}
	check("with one place", map[string]scope{"bucket": everywhere, "key": everywhere, "credential": everywhere, "graph": everywhere,
		"redis": everywhere, "catalog": everywhere, "bucket@au": "region/au", "credential@china": "cloud/china"})
	s.places.Store(&places{of: map[tenantry.TenantID]catalog.Place{
		"t-au": {Pool: "sydney", Region: "au", Cloud: "global"}, "t-cn": {Pool: "main", Region: "default", Cloud: "china"},
	}})
	check("with several", map[string]scope{"bucket": "region/default", "key": "region/default", "key@au": "region/au",
		"credential": "cloud/global", "graph": "cloud/global", "redis": everywhere, "catalog": everywhere})

	gates := map[scope]gate{"region/default": probing, "cloud/global": probing, "cloud/china": shut}
	for id, want := range map[tenantry.TenantID][]scope{
		"t-home": {"cloud/global", "region/default"}, "t-au": {"cloud/global"}, "t-cn": {"cloud/china", "region/default"},
	} {
		if got := s.stoppedBy(id, gates); !slices.Equal(got, want) {
			t.Errorf("%s is stopped by %q, want %q", id, got, want)
		}
		may := id != "t-cn" // its cloud is shut
		if got := s.mayProbe(id, "region/default", gates, map[scope]bool{}); got != (may && id != "t-au") {
			t.Errorf("%s probes the region: %t", id, got)
		}
		if got := s.mayProbe(id, "cloud/global", gates, map[scope]bool{}); got != may {
			t.Errorf("%s probes the cloud: %t", id, got)
		}
	}
}

// A probe of several scopes is one task, and each scope has no more than one.
func TestOneProbeForAllItsScopes(t *testing.T) {
	s := &Scheduler{cfg: Config{Cloud: "global"}}
	term := &term{Scheduler: s, watches: map[scope]*watch{"region/default": {}, "cloud/global": {}}}
	s.places.Store(&places{of: map[tenantry.TenantID]catalog.Place{"t-au": {Pool: "main", Region: "au", Cloud: "china"}}})
	gates := map[scope]gate{"region/default": probing, "cloud/global": probing}
	situation := Situation{
		Slots: map[string]int{queue.Backup: 8},
		Loads: []catalog.Load{
			{Tenant: "t-a", Queue: queue.Backup, Service: tenantry.Outlook, Ready: 5},
			{Tenant: "t-au", Queue: queue.Backup, Service: tenantry.Outlook, Ready: 1},
			{Tenant: "t-b", Queue: queue.Backup, Service: tenantry.Outlook, Ready: 5},
		},
	}
	picks, _ := term.pick([]Situation{situation}, gates)
	n := map[tenantry.TenantID]int{}
	var tasks []catalog.Task
	for _, p := range picks {
		n[p.Tenant] += p.N
		tasks = append(tasks, catalog.Task{ID: tenantry.TaskID(p.Tenant), Tenant: p.Tenant})
	}
	if n["t-au"] != 1 || n["t-a"]+n["t-b"] != 1 {
		t.Fatalf("picked %v, want one of t-au and one probe", n)
	}
	term.noteProbes(tasks, gates, time.Now())
	for sc, w := range term.watches {
		if w.probe == nil || w.probe.task.Tenant == "t-au" {
			t.Errorf("probe of %s: %+v", sc, w.probe)
		}
	}
}
