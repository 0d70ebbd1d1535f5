package worker

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

var kinds = []tenantry.Kind{
	tenantry.Internal, tenantry.Transient, tenantry.Throttled, tenantry.Invalid, tenantry.NotFound, tenantry.Conflict,
	tenantry.Absent, tenantry.Denied, tenantry.Unauthorized, tenantry.Reconnect, tenantry.Shared, tenantry.Resync,
	tenantry.Poison, tenantry.Capacity, tenantry.Corrupt, tenantry.WrongKey, tenantry.Fenced, tenantry.Canceled,
}

func TestDecide(t *testing.T) {
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	ready := func(d time.Duration, attempt int) verdict {
		return verdict{state: catalog.TaskReady, notBefore: at(d), attempt: attempt}
	}
	failed := func(attempt int) verdict { return verdict{state: catalog.TaskFailed, attempt: attempt} }
	fresh := at(-time.Minute)
	tests := []struct {
		name string
		f    failure
		want verdict
	}{
		{"throttled parks until then", failure{kind: tenantry.Throttled, until: at(time.Hour), attempt: 3}, ready(time.Hour, 3)},
		{"throttled without a time", failure{kind: tenantry.Throttled}, ready(throttleWait, 0)},
		{"throttled until long ago", failure{kind: tenantry.Throttled, until: at(-time.Hour)}, ready(throttleWait, 0)},
		{"throttled until just now", failure{kind: tenantry.Throttled, until: at(-time.Second)}, ready(0, 0)},
		{"first transient", failure{kind: tenantry.Transient}, ready(10*time.Second, 1)},
		{"fourth transient", failure{kind: tenantry.Transient, attempt: 3}, ready(80*time.Second, 4)},
		{"transient that knows a time", failure{kind: tenantry.Transient, until: at(time.Hour)}, ready(time.Hour, 1)},
		{"last transient", failure{kind: tenantry.Transient, attempt: maxAttempts - 1}, failed(maxAttempts)},
		{"internal", failure{kind: tenantry.Internal, attempt: 1}, ready(20*time.Second, 2)},
		{"shared is nobody's fault", failure{kind: tenantry.Shared, attempt: 2}, ready(sharedWait, 2)},
		{"canceled goes on at once", failure{kind: tenantry.Canceled, attempt: 2}, ready(0, 2)},
		{"fenced is claimed anew", failure{kind: tenantry.Fenced}, ready(10*time.Second, 1)},
		{"absent ends well", failure{kind: tenantry.Absent}, verdict{state: catalog.TaskDone}},
		{"denied", failure{kind: tenantry.Denied}, failed(1)},
		{"wrong key", failure{kind: tenantry.WrongKey}, failed(1)},
		{"waits for a consent", failure{kind: tenantry.Reconnect, created: fresh}, ready(reconnectWait, 0)},
		{"does not wait for ever", failure{kind: tenantry.Reconnect, created: at(-25 * time.Hour)}, failed(1)},
		{"a connect says so at once", failure{kind: tenantry.Reconnect, action: tenantry.Connect, created: fresh}, failed(1)},
		{"a fresh consent is tried for minutes", failure{kind: tenantry.Transient, action: tenantry.Connect, attempt: 6}, ready(30*time.Second, 7)},
		{"and then not any more", failure{kind: tenantry.Transient, action: tenantry.Connect, attempt: maxConnects - 1}, failed(maxConnects)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := decide(test.f, noon, 0.5); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// Whatever happens, a task ends, or waits, or is retried a bounded number of times, and
// the wait grows but for jitter.
func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := failure{
			action:  rapid.SampledFrom([]tenantry.Action{tenantry.Backup, tenantry.Connect, tenantry.Restore}).Draw(t, "action"),
			kind:    rapid.SampledFrom(kinds).Draw(t, "kind"),
			attempt: rapid.IntRange(0, 1000).Draw(t, "attempt"),
			created: noon.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "age")) * time.Hour),
		}
		v := decide(f, noon, rapid.Float64Range(0, 1).Draw(t, "spread"))
		switch v.state {
		case catalog.TaskDone, catalog.TaskFailed:
		case catalog.TaskReady:
			if v.notBefore.Before(noon) || v.notBefore.After(noon.Add(time.Hour)) {
				t.Fatalf("%s waits until %v", f.kind, v.notBefore)
			}
			if v.attempt > max(maxAttempts, maxConnects) && v.attempt > f.attempt {
				t.Fatalf("%s is tried again after %d failures", f.kind, v.attempt)
			}
		default:
			t.Fatalf("%s ends in state %q", f.kind, v.state)
		}
	})
}

func TestDescribe(t *testing.T) {
	tests := []struct {
		s            catalog.Settlement
		line, result string
	}{
		{
			catalog.Settlement{State: catalog.TaskDone, Counts: tenantry.Counts{Items: 3, Bytes: 9}, Snapshot: &catalog.SnapshotRow{Seq: 7}},
			"done: snapshot 7, 3 items, 0 skipped, 9 bytes, 0 stored", "done",
		},
		{catalog.Settlement{State: catalog.TaskDone, Reason: "no mailbox", Kind: tenantry.Absent}, "done, nothing to back up: no mailbox", "done"},
		{
			catalog.Settlement{State: catalog.TaskReady, NotBefore: noon.Add(time.Minute), Kind: tenantry.Throttled, Reason: "mailbox busy"},
			"parked until 12:01:00: mailbox busy", "parked",
		},
		{
			catalog.Settlement{State: catalog.TaskReady, NotBefore: noon.Add(time.Minute), Kind: tenantry.Transient, Reason: "cut", Attempt: 2},
			"again in 1m0s after failure 2 (transient): cut", "retry",
		},
		{catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Denied, Reason: "no", Attempt: 1}, "failed (denied) at attempt 1: no", "failed"},
		{catalog.Settlement{State: catalog.TaskReady, NotBefore: noon}, "more to do: 0 items, 0 skipped, 0 bytes, 0 stored", "more"},
	}
	for _, test := range tests {
		if line, result := describe(test.s, noon); line != test.line || result != test.result {
			t.Errorf("got %q, %q; want %q, %q", line, result, test.line, test.result)
		}
	}
}
