package worker

import (
	"strconv"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestPatrol holds that a patrol finds damage that nobody asked for, and that verification, repair and
// the next backup follow by themselves.
func TestPatrol(t *testing.T) {
	h := newHouse(t)
	h.worker(h.config())
	h.done(h.backup().ID)
	patrol := func() catalog.Task {
		t.Helper()
		return h.done(h.start(catalog.NewTask{Action: tenantry.Patrol}).ID)
	}
	if got := patrol(); got.Counts.Items == 0 || got.Counts.Bytes == 0 || got.Counts.Skipped != 0 {
		t.Fatalf("the first share: %+v", got.Counts)
	}
	h.damage()
	h.until("the patrol has come to the packs", func() bool { return patrol().Counts.Skipped > 0 })
	alarms, err := h.scope().Alarms(t.Context())
	h.must(err)
	if len(alarms) == 0 || alarms[0].Cause != catalog.AlarmDamage || !strings.Contains(alarms[0].Detail, "/p/") {
		t.Errorf("alarms: %+v", alarms)
	}
	ended := func(action tenantry.Action) func() bool {
		return func() bool {
			runs, err := h.scope().Runs(t.Context(), "", 20)
			h.must(err)
			for _, run := range runs {
				if run.Action == action && run.Done+run.Failed > 0 {
					return true
				}
			}
			return false
		}
	}
	h.until("the series was verified", ended(tenantry.Verify))
	h.until("the series was repaired", ended(tenantry.Repair))
	task := h.done(h.backup().ID)
	verified := h.done(h.start(catalog.NewTask{
		Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Verify, Params: []byte(`{"snapshot":` + strconv.FormatInt(task.Snapshot, 10) + `}`),
	}).ID)
	if verified.Counts.Items != 250 {
		t.Errorf("verified %+v", verified.Counts)
	}
}

// TestDamagedIndexIsMadeAgain holds that a task which meets a damaged index has it made anew, and that the
// series then goes on.
func TestDamagedIndexIsMadeAgain(t *testing.T) {
	h := newHouse(t)
	h.worker(h.config())
	h.source.items = 6000 // more than fit into the manifest
	snapshot := h.done(h.backup().ID).Snapshot
	harmed := 0
	for info, err := range h.store.List(t.Context(), string(h.tenant)+"/r/") {
		h.must(err)
		if strings.Contains(info.Key, "/s/") {
			body, err := blob.ReadAll(t.Context(), h.store, info.Key, 64<<20)
			h.must(err)
			body[len(body)/3] ^= 1
			h.must(h.store.Put(t.Context(), info.Key, body))
			harmed++
		}
	}
	verify := func(seq int64) catalog.Task {
		return h.ended(h.start(catalog.NewTask{
			Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Verify, Params: []byte(`{"snapshot":` + strconv.FormatInt(seq, 10) + `}`),
		}).ID)
	}
	if got := verify(snapshot); harmed == 0 || got.State != catalog.TaskFailed || got.Kind != tenantry.Corrupt || !strings.Contains(got.Reason, "/s/") {
		t.Fatalf("with %d damaged segments: %s (%s): %s", harmed, got.State, got.Kind, got.Reason)
	}
	runs, err := h.scope().Runs(t.Context(), "", 1)
	h.must(err)
	tasks, err := h.scope().Tasks(t.Context(), runs[0].ID, "", 10)
	h.must(err)
	if got := h.done(tasks[0].ID); got.Action != tenantry.Repair || got.Counts.Items != 6000 || !strings.Contains(got.Reason, "made again") {
		t.Fatalf("the newest task: %+v", got)
	}
	before := h.source.pages.Load()
	if got := verify(h.done(h.backup().ID).Snapshot); got.State != catalog.TaskDone || got.Counts.Items != 6000 {
		t.Errorf("after the repair: %+v", got)
	}
	if n := h.source.pages.Load() - before; n != 1 {
		t.Errorf("the backup after the repair read %d pages", n)
	}
	if alarms, err := h.scope().Alarms(t.Context()); err != nil || len(alarms) != 0 {
		t.Errorf("alarms: %+v, %v", alarms, err)
	}
}
