package worker

import (
	"strconv"
	"strings"
	"testing"

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
