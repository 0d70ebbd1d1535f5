package catalogtest

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testModel runs random lives of backups and holds what must be true at every moment:
// a series has at most one unfinished backup, its epoch only rises, a claim that was taken
// away settles nothing, and a run's numbers are those of its tasks.
func testModel(t *testing.T, w *world) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		w := &world{t: rt, c: w.c, f: w.f, ctx: w.ctx, fence: w.fence}
		m := &model{
			w: w, name: fmt.Sprint(n), id: tenantry.TenantID(fmt.Sprintf("t-%d", n)), epochs: map[tenantry.ResourceID]int64{},
			runs: map[tenantry.RunID]bool{},
		}
		m.tenant = w.tenant(m.name)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			m.step(rt)
			m.check()
		}
	})
}

type model struct {
	w       *world
	name    string
	id      tenantry.TenantID
	tenant  *catalog.Tenant
	workers int
	held    []catalog.Claim // by a live process
	lost    []catalog.Claim // by a dead one
	epochs  map[tenantry.ResourceID]int64
	runs    map[tenantry.RunID]bool
}

func (m *model) step(rt *rapid.T) {
	switch rapid.SampledFrom([]string{"start", "work", "work", "settle", "settle", "die", "cancel", "zombie"}).Draw(rt, "step") {
	case "start":
		from, n := rapid.IntRange(0, 4).Draw(rt, "from"), rapid.IntRange(1, 4).Draw(rt, "n")
		run, err := m.tenant.StartRun(m.w.ctx, tenantry.Backup, catalog.TriggerSchedule, "", mailboxes(from + n)[from:], now)
		if err == nil {
			m.runs[run.ID] = true
		} else {
			m.w.kind(err, tenantry.Conflict)
		}
	case "work":
		m.work(rapid.IntRange(1, 3).Draw(rt, "n"))
	case "settle":
		m.settle(rapid.SampledFrom([]catalog.TaskState{catalog.TaskDone, catalog.TaskFailed, catalog.TaskReady}).Draw(rt, "end"))
	case "die":
		m.die()
	case "cancel":
		for id := range m.runs {
			m.w.ok(m.tenant.CancelRun(m.w.ctx, id, now))
			break
		}
	case "zombie":
		for _, c := range m.lost {
			m.w.kind(m.tenant.Settle(m.w.ctx, c, catalog.Settlement{State: catalog.TaskDone}, now), tenantry.Fenced)
		}
	}
}

func (m *model) worker() tenantry.ProcessID {
	return m.w.worker(fmt.Sprintf("%s-%d", m.name, m.workers))
}

func (m *model) work(n int) {
	tasks := m.w.admit(m.id, "backup", n)
	for _, c := range m.w.claimAll(m.tenant, m.worker(), tasks, len(tasks)) {
		if c.Epoch <= m.epochs[c.Resource] {
			m.w.t.Fatalf("epoch of %s went from %d to %d", c.Resource, m.epochs[c.Resource], c.Epoch)
		}
		m.epochs[c.Resource] = c.Epoch
		m.held = append(m.held, c)
	}
}

func (m *model) settle(end catalog.TaskState) {
	if len(m.held) == 0 {
		return
	}
	c := m.held[0]
	m.held = m.held[1:]
	counts := c.Counts.Add(tenantry.Counts{Items: 1, Bytes: 10})
	m.w.ok(m.tenant.Settle(m.w.ctx, c, catalog.Settlement{State: end, Counts: counts}, now))
}

func (m *model) die() {
	m.w.die(m.worker())
	n, err := m.w.f.Reap(m.w.ctx, now)
	m.w.ok(err)
	expect(m.w, "reaped", n, len(m.held))
	m.lost, m.held = append(m.lost, m.held...), nil
	m.workers++
}

func (m *model) check() {
	open := map[tenantry.ResourceID]int{}
	for id := range m.runs {
		run, err := m.tenant.Run(m.w.ctx, id)
		m.w.ok(err)
		tasks, err := m.tenant.Tasks(m.w.ctx, id, "", 0)
		m.w.ok(err)
		var sum tenantry.Counts
		ends := map[catalog.TaskState]int64{}
		for _, task := range tasks {
			sum = sum.Add(task.Counts)
			ends[task.State]++
			if task.EndedAt.IsZero() {
				open[task.Resource]++
			}
		}
		done, failed, canceled := ends[catalog.TaskDone], ends[catalog.TaskFailed], ends[catalog.TaskCanceled]
		expect(m.w, "tasks", run.Tasks, int64(len(tasks)))
		expect(m.w, "done", run.Done, done)
		expect(m.w, "failed", run.Failed, failed)
		expect(m.w, "canceled", run.Canceled, canceled)
		expect(m.w, "counts", run.Counts, sum)
		ended := done+failed+canceled == run.Tasks
		expect(m.w, "ended", run.State != catalog.RunRunning, ended)
		expect(m.w, "end time", run.EndedAt.IsZero(), !ended)
	}
	for resource, n := range open {
		expect(m.w, "unfinished backups of "+string(resource), n, 1)
	}
}
