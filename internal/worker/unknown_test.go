package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What this release does not know waits for a worker that does, for a day, and counts as no failure.
func TestLeftToOthers(t *testing.T) {
	unknown := &tenantry.Error{Kind: tenantry.Invalid, Code: UnknownHere}
	for _, test := range []struct {
		name string
		err  error
		age  time.Duration
		left bool
	}{
		{"fresh", unknown, time.Minute, true},
		{"marked on its way", fromGraph(fmt.Errorf("open the source: %w", unknown)), 23 * time.Hour, true},
		{"of yesterday", unknown, 25 * time.Hour, false},
		{"another error that is invalid", tenantry.Errorf(tenantry.Invalid, "no parameters"), time.Minute, false},
		{"no error", nil, time.Minute, false},
	} {
		until, left := leftToOthers(test.err, noon.Add(-test.age), noon, 0.5)
		if left != test.left || left && !until.Equal(noon.Add(unknownWait)) {
			t.Errorf("%s: %v until %v", test.name, left, until)
		}
	}
}

// A task of the next release's is left alone by a worker of this one, and done by a worker that knows it.
func TestUnknownTasksWaitForAnotherRelease(t *testing.T) {
	h := newHouse(t)
	h.worker(h.config())
	refused := error(&tenantry.Error{Kind: tenantry.Invalid, Code: UnknownHere, Err: fmt.Errorf("workload %q is not known", "drive")})
	for _, test := range []struct {
		what string
		err  *error
		task catalog.NewTask
	}{
		{"action", nil, catalog.NewTask{Resource: "u-ann", Workload: tenantry.Drive, Action: "polish"}},
		{"workload", &refused, catalog.NewTask{Resource: "u-bob", Workload: tenantry.Drive, Action: tenantry.Backup}},
	} {
		h.srcErr.Store(test.err)
		task := h.start(test.task)
		var got catalog.Task
		h.until("it was left alone", func() bool {
			got = h.task(task.ID)
			return got.Reason != "" && got.State != catalog.TaskRunning && got.State != catalog.TaskAdmitted
		})
		if got.State != catalog.TaskReady || got.Kind != "" || got.Attempt != 0 || !strings.Contains(got.Reason, "know") {
			t.Errorf("a task with an unknown %s is %s (%s) after %d failures: %s", test.what, got.State, got.Kind, got.Attempt, got.Reason)
		}
		if test.what == "workload" { // somebody who knows it comes
			h.srcErr.Store(nil)
			h.done(task.ID)
		}
	}
}
