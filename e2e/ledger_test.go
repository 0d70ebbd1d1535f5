package e2e

import (
	"fmt"
	"maps"
	"testing"
)

// ledger is what the API tells of a tenant's time and units.
type ledger struct {
	Today []struct {
		Service  string `json:"service"`
		Used     int64  `json:"used"`
		Expected int64  `json:"expected"`
		Limit    int64  `json:"limit"`
		Left     int64  `json:"left"`
		Short    bool   `json:"short"`
	} `json:"today"`
	Days []struct {
		Units  []units `json:"units"`
		Delays delays  `json:"delays"`
	} `json:"days"`
}

type units struct {
	Service string `json:"service"`
	Units   int64  `json:"units"`
}

type delays struct {
	Queue   float64 `json:"queue_seconds"`
	Worker  float64 `json:"worker_seconds"`
	Storage float64 `json:"storage_seconds"`
}

// TestLedgerIsTrue holds what the fleet says it has spent against what the simulator has
// counted, and that every run says where its time went.
func TestLedgerIsTrue(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "4", "--mails", "20", "--files-per-user", "5", "--groups", "0", "--sites", "0")
	f.scheduler("scheduler")
	f.worker("worker")
	tn := f.connect(f.simTenants()[0])
	policy := f.policy(tn)
	before := f.answered(tn)
	done := f.awaitDone(tn, f.backup(tn, policy))
	asked := f.answered(tn)
	for service, n := range before {
		asked[service] -= n
	}

	var shown struct {
		Delays delays  `json:"delays"`
		Units  []units `json:"units"`
	}
	eventually(t, "what the run has waited for", func() (bool, string) { // it is some seconds late
		f.must("GET", "/tenants/"+tn.ID+"/runs/"+done.ID, nil, &shown)
		d := shown.Delays
		return d.Worker > 0 && d.Storage > 0, fmt.Sprintf("%+v", d)
	})
	spent := map[string]int64{}
	for _, u := range shown.Units {
		spent[u.Service] = u.Units
	}
	// A request to Outlook counts one, one to SharePoint one or two, a download from the address of a file one.
	least, most := asked["sharepoint"]+asked["files"], 2*asked["sharepoint"]+asked["files"]
	if spent["outlook"] == 0 || spent["outlook"] != asked["outlook"] || spent["sharepoint"] < least || spent["sharepoint"] > most {
		t.Errorf("the simulator has answered %v requests, the run says %v", asked, spent)
	}
	if d := shown.Delays; d.Queue < 0 {
		t.Errorf("the run waited %+v", d)
	}

	var l ledger
	f.must("GET", "/tenants/"+tn.ID+"/ledger", nil, &l)
	day := map[string]int64{}
	for _, d := range l.Days { // two, if midnight passed meanwhile
		for _, u := range d.Units {
			day[u.Service] += u.Units
		}
	}
	// The sync before it has read the directory, and listed sites.
	if day["outlook"] != spent["outlook"] || day["sharepoint"] < spent["sharepoint"] || day["sharepoint"] > spent["sharepoint"]+50 || day["identity"] == 0 {
		t.Errorf("the tenant's day is %v, its only backup %v", day, spent)
	}
	for _, s := range l.Today {
		if s.Short || s.Expected < s.Used || (s.Service == "sharepoint") != (s.Limit > 0) {
			t.Errorf("today: %+v", s)
		}
		if used := s.Limit - s.Left; s.Service == "sharepoint" && (used < spent["sharepoint"] || used > spent["sharepoint"]+500) {
			t.Errorf("of SharePoint's day %d are gone, the run spent %d", used, spent["sharepoint"])
		}
	}

	var p struct {
		Feasibility struct {
			Feasible  bool `json:"feasible"`
			Workloads []struct {
				Workload  string  `json:"workload"`
				Resources int64   `json:"resources"`
				Units     float64 `json:"units"`
				Basis     string  `json:"basis"`
			} `json:"workloads"`
		} `json:"feasibility"`
	}
	f.must("GET", "/tenants/"+tn.ID+"/policies/"+policy, nil, &p)
	cost := map[string]float64{}
	for _, w := range p.Feasibility.Workloads {
		if w.Basis == "history" {
			cost[w.Workload] = w.Units * float64(w.Resources)
		}
	}
	want := map[string]float64{"mailbox": float64(spent["outlook"]), "drive": float64(spent["sharepoint"])}
	if !p.Feasibility.Feasible || !maps.EqualFunc(cost, want, func(a, b float64) bool { return a > b-1 && a < b+1 }) {
		t.Errorf("the policy is answered with %+v, the run spent %v", p.Feasibility, want)
	}
}

// answered is how many requests of the tenant the simulator has answered, by service.
func (f *fleet) answered(tn tenant) map[string]int64 {
	f.t.Helper()
	var stats struct {
		Tenants map[string]struct {
			Requests map[string]int64 `json:"requests"`
		} `json:"tenants"`
	}
	f.simulate("GET", "/stats", nil, &stats)
	return stats.Tenants[tn.sim.ID].Requests
}
