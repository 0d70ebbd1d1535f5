package workload_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// TestFilesWhosePlaceIsOfAnotherKind restores in place what is something else now: a folder where a file was, a file where
// a folder was. Both are left, what was saved comes back beside them, and the restore names it, each time it runs.
func TestFilesWhosePlaceIsOfAnotherKind(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1}, graphsim.Options{})
	s, drive := c.series(0, tenantry.Drive), c.users[0].Drive
	put := func(name, text string) {
		t.Helper()
		_, err := c.truth.PutFile(drive, name, []byte(text))
		must(t, err)
	}
	put("a.txt", "file")
	put("Papers/b.txt", "in a folder")
	seq := c.backup(t, s, c.drive(0), engine.Limits{}).Snapshot.Seq
	must(t, c.truth.DeleteFile(drive, "a.txt"))
	must(t, c.truth.DeleteFile(drive, "Papers"))
	put("a.txt/inner.txt", "in a folder of a file's name")
	put("Papers", "file of a folder's name")
	for range 2 {
		out := c.restore(t, s, seq, func() engine.Target {
			return workload.NewDriveTarget(c.graph, c.users[0].ID, tenantry.RestoreRequest{Conflict: "replace"})
		}, tenantry.RestoreRequest{})
		var named []string
		for _, p := range out.Problems {
			if p.Kind != tenantry.Conflict {
				t.Errorf("%+v", p)
			}
			named = append(named, p.Name)
		}
		slices.Sort(named)
		equal(t, []string{"Papers", "a.txt"}, named)
		var files []string
		for _, f := range c.files(t, 0, "") {
			files = append(files, f.Path)
		}
		slices.Sort(files)
		for _, want := range []string{"Papers", "Papers (restored)/b.txt", "a (restored).txt", "a.txt/inner.txt"} {
			if !slices.Contains(files, want) {
				t.Errorf("%s is not among %q", want, files)
			}
		}
	}
}

// TestEventsThatBecameSeries restores an event in place that is a series now: the series, which is more than the event was, stays,
// and the restore names the event.
func TestEventsThatBecameSeries(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1}, graphsim.Options{})
	user, s := c.users[0].ID, c.series(0, tenantry.Mailbox)
	at := func(hour string) map[string]any {
		return map[string]any{"dateTime": "2026-12-01T" + hour + ":00:00", "timeZone": "UTC"}
	}
	id, err := c.truth.NewEvent(user, "", map[string]any{"subject": "Coffee", "start": at("09"), "end": at("10")})
	must(t, err)
	seq := c.backup(t, s, c.mailbox(0), engine.Limits{}).Snapshot.Seq
	must(t, c.truth.EditItem(user, id, map[string]any{"recurrence": map[string]any{
		"pattern": map[string]any{"type": "daily", "interval": 1},
		"range":   map[string]any{"type": "numbered", "startDate": "2026-12-01", "numberOfOccurrences": 5},
	}}))
	for range 2 {
		out := c.restore(t, s, seq, c.into(0, "", "replace"), tenantry.RestoreRequest{})
		if len(out.Problems) != 1 || out.Problems[0].Name != "Coffee" || out.Problems[0].Kind != tenantry.Conflict || !strings.Contains(out.Problems[0].Reason, "seriesMaster") {
			t.Errorf("%+v", out.Problems)
		}
		types := map[string]int{}
		for _, e := range c.eventsOf(t, 0, "") {
			if e.Subject == "Coffee" {
				types[e.Type]++
			}
		}
		equal(t, map[string]int{"seriesMaster": 1, "singleInstance": 1}, types)
	}
}
