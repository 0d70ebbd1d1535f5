package workload_test

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// TestPagesAreReplacedByNothing restores a page over one that was changed: both are there, and the restore names the page each time.
func TestPagesAreReplacedByNothing(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, Sites: 2, Pages: 2}, graphsim.Options{})
	site := c.teamSites(t)[0].ID
	s := tenantry.Series{Tenant: "t-1", Resource: tenantry.SiteResource(site), Workload: tenantry.SiteContent}
	seq := c.backup(t, s, func() engine.Source { return workload.NewSiteSource(c.graph, site, tenantry.BackupOptions{}) }, engine.Limits{}).Snapshot.Seq
	before, err := c.truth.PageTruth(site)
	must(t, err)
	must(t, c.truth.EditPage(site, before[0].ID, graphsim.PageSpec{Title: "changed since"}))
	for range 2 {
		out := c.restore(t, s, seq, func() engine.Target {
			return workload.NewSiteTarget(c.graph, site, tenantry.RestoreRequest{Conflict: "replace"})
		}, tenantry.RestoreRequest{})
		if len(out.Problems) != 1 || out.Problems[0].Kind != tenantry.Conflict || !strings.HasSuffix(out.Problems[0].ID, "|"+before[0].ID) {
			t.Errorf("%+v", out.Problems)
		}
		if strings.Count(out.Notes, "pages that are written") != 1 {
			t.Errorf("%q", out.Notes)
		}
		now, err := c.truth.PageTruth(site)
		must(t, err)
		equal(t, len(before)+1, len(now))
	}
}

// TestRestoresSayWhatNobodyIsToMiss: what holds for many items is told once, each time the restore comes to its end; and nothing
// of items that are there.
func TestRestoresSayWhatNobodyIsToMiss(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2}, graphsim.Options{})
	user, drive := c.users[0].ID, c.users[0].Drive
	for _, subject := range []string{"Review", "Retrospective"} {
		_, err := c.truth.NewEvent(user, "", map[string]any{
			"subject": subject, "start": map[string]any{"dateTime": "2026-12-01T09:00:00", "timeZone": "UTC"},
			"end":       map[string]any{"dateTime": "2026-12-01T10:00:00", "timeZone": "UTC"},
			"attendees": []any{map[string]any{"type": "required", "emailAddress": map[string]any{"address": c.users[1].PrincipalName}}},
		})
		must(t, err)
	}
	for _, text := range []string{"first", "second"} {
		_, err := c.truth.PutFile(drive, "a.txt", []byte(text))
		must(t, err)
	}
	mailbox, files := c.series(0, tenantry.Mailbox), c.series(0, tenantry.Drive)
	ofMailbox := c.backup(t, mailbox, c.mailbox(0), engine.Limits{}).Snapshot.Seq
	ofFiles := c.backup(t, files, func() engine.Source {
		return workload.NewDriveSource(c.graph, user, tenantry.BackupOptions{Versions: 3})
	}, engine.Limits{}).Snapshot.Seq
	told := func(s tenantry.Series, seq int64, dst func() engine.Target, text string, times int) {
		t.Helper()
		for range 2 {
			if notes := c.restore(t, s, seq, dst, tenantry.RestoreRequest{}).Notes; strings.Count(notes, text) != times {
				t.Errorf("%q is not told %d times: %s", text, times, notes)
			}
		}
	}
	told(mailbox, ofMailbox, c.into(1, "Back", ""), "nobody is invited", 1)
	told(mailbox, ofMailbox, c.into(0, "", ""), "nobody is invited", 0)
	told(files, ofFiles, func() engine.Target {
		return workload.NewDriveTarget(c.graph, c.users[1].ID, tenantry.RestoreRequest{Folder: "Back"})
	}, "old versions of files are not written", 1)
}
