package main

import (
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// settle ends the first admissible task of a tenant, as a worker does.
func (o *office) settle(tenant tenantry.TenantID, s catalog.Settlement) {
	o.t.Helper()
	ctx, fleet := o.t.Context(), o.catalog.Fleet()
	process := tenantry.NewProcessID("worker", "test")
	must(o.t, fleet.Beat(ctx, catalog.Process{ID: process, Role: "worker", Slots: map[string]int{"interactive": 2}}, time.Minute))
	fence, _, err := fleet.Lead(ctx, process, time.Minute)
	must(o.t, err)
	for _, w := range []tenantry.Workload{tenantry.Mailbox, tenantry.Drive} {
		tasks, err := fleet.Admit(ctx, fence, []catalog.Pick{{Tenant: tenant, Queue: "interactive", Service: tenantry.ServiceOf(tenantry.Backup, w), N: 1}}, time.Now())
		must(o.t, err)
		if len(tasks) == 0 {
			continue
		}
		claim, err := o.catalog.Tenant(tenant).Claim(ctx, tasks[0].ID, tasks[0].Admission, process)
		must(o.t, err)
		must(o.t, o.catalog.Tenant(tenant).Settle(ctx, claim, s, time.Now()))
		must(o.t, fleet.Resign(ctx, process))
		return
	}
	o.t.Fatal("nothing is admissible")
}

// Watching shows lines until the run has ended, and then how; it fails when nothing of the run
// succeeded, with an exit code of its own.
func TestWatch(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	id := tenantry.TenantID(tenant)
	done := catalog.Settlement{State: catalog.TaskDone, Counts: tenantry.Counts{Items: 5, Total: 9, Skipped: 1}}
	failed := catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Denied, Reason: "no licence"}
	for _, c := range []struct {
		state string
		ends  []catalog.Settlement
		exit  int
	}{
		{"done", []catalog.Settlement{done, done}, 0},
		{"partial", []catalog.Settlement{done, failed}, 0},
		{"failed", []catalog.Settlement{failed, failed}, exitRun},
		{"canceled", nil, exitRun},
	} {
		run := o.json("runs", "start", tenant, "--resource", user)["id"].(string)
		if c.ends != nil {
			o.settle(id, c.ends[0])
		}
		ended := make(chan struct{})
		go func() { // while it is watched
			defer close(ended)
			if c.ends == nil {
				must(t, o.catalog.Tenant(id).CancelRun(t.Context(), tenantry.RunID(run), time.Now()))
				return
			}
			o.settle(id, c.ends[1])
		}()
		out, err := o.run("runs", "show", tenant, run, "--watch")
		<-ended
		if exitCode(err) != c.exit || value(out, "state") != c.state || strings.Contains(out, "no licence") != (c.state == "partial" || c.state == "failed") {
			t.Errorf("%s: exit %d, %v:\n%s", c.state, exitCode(err), err, out)
		}
		if !strings.Contains(o.said, "backup "+c.state+": 2/2 tasks") {
			t.Errorf("%s: progress %q", c.state, o.said)
		}
		out, err = o.run("runs", "show", tenant, run, "--watch", "-o", "json")
		if exitCode(err) != c.exit || !strings.Contains(out, `"state": "`+c.state+`"`) {
			t.Errorf("%s as JSON: exit %d:\n%s", c.state, exitCode(err), out)
		}
	}
}
