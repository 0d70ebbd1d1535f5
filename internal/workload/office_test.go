package workload_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// killing is a source whose process dies at one of its pages: what was not committed by then is void.
type killing struct {
	engine.Source
	left int
	kill context.CancelFunc
}

func (k *killing) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	if k.left--; k.left == 0 {
		k.kill()
	}
	return k.Source.Page(ctx, collection, link)
}

// Reread passes on what the source can read again.
func (k *killing) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	if src, ok := k.Source.(engine.Rereader); ok {
		return src.Reread(e)
	}
	return nil
}

// backupKilled runs a task whose process dies n times, at any page, before it comes to its end. Between two lives
// something changes.
func (c *company) backupKilled(t *testing.T, s tenantry.Series, src func() engine.Source, n int, r *rand.Rand, change func()) (out engine.Outcome, died int) {
	t.Helper()
	task := tenantry.NewTaskID(time.Now())
	for life := range 60 {
		ctx, kill := context.WithCancel(t.Context())
		source := src()
		if life < n {
			source = &killing{source, 1 + r.IntN(12), kill}
		}
		w, err := c.repo.Begin(t.Context(), s, repository.Fence{Epoch: c.epoch.Add(1), Task: task})
		must(t, err)
		out, err := engine.Backup(ctx, source, w, engine.Limits{SlicePages: 3, CheckpointBytes: 4 << 10}, nil, nil)
		w.Close()
		kill()
		switch kind := tenantry.KindOf(err); {
		case err == nil && out.Done:
			return out, died
		case kind == tenantry.Canceled:
			died++
		case err != nil && kind != tenantry.Transient && kind != tenantry.Throttled:
			t.Fatalf("%v (%s)", err, kind)
		}
		if life < n {
			change()
		}
	}
	t.Fatal("the backup does not come to an end")
	return out, died
}

// saved are the IDs of what a snapshot holds of drives, lists, pages and messages.
func (c *company) saved(t *testing.T, s tenantry.Series, seq int64) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	c.entries(t, s, seq, func(e repository.Entry, _ []byte, _ func(string) []byte) {
		switch {
		case strings.HasPrefix(e.ID, "drive:") && strings.Contains(e.ID, "/") && e.Name != "root",
			e.Kind == "listItem", e.Kind == "page", e.Kind == "chatMessage":
			found[e.ID+" "+e.ETag] = true
		}
		if e.Parent != "" && e.Kind != "site" {
			found["under "+e.Parent] = true
		}
	})
	for id := range found {
		if parent, ok := strings.CutPrefix(id, "under "); ok {
			delete(found, id)
			snap, err := c.repo.OpenSnapshot(t.Context(), s, seq)
			must(t, err)
			if _, ok, err := snap.Lookup(t.Context(), parent); err != nil || !ok {
				t.Errorf("something lies under %s, which is not there", parent)
			}
			snap.Close()
		}
	}
	return found
}

// TestOfficeKilledAtAnyPage: whatever changes and at whichever page a process dies, a site and a team come to a
// snapshot that is what a backup of another series, from nothing and in peace, finds at the same time.
func TestOfficeKilledAtAnyPage(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r, changes := rand.New(rand.NewPCG(seed, 1)), int64(seed)*1000
			c := newCompany(t, graphsim.TenantSpec{Users: 3, Groups: 4, Libraries: 1, FilesPerUser: 10, FileSize: 3000, Lists: 2, ListItems: 15, Pages: 2,
				Channels: 1, ClosedChannels: 1, Messages: 12}, graphsim.Options{PageSize: 6, Clock: 1000, Teams: graphsim.TeamsOptions{ExportOptions: seed%2 == 0}})
			team := c.groupOf(t, func(g graphsim.GroupInfo) bool { return g.Team })
			sources := map[tenantry.Workload]func() engine.Source{
				tenantry.SiteContent: func() engine.Source {
					return workload.NewSiteSource(c.graph, team.Site, tenantry.BackupOptions{Versions: 1})
				},
				tenantry.TeamContent: func() engine.Source { return workload.NewTeamSource(c.graph, team.ID, tenantry.BackupOptions{}) },
			}
			died := 0
			for w, src := range sources {
				s := tenantry.Series{Tenant: "t-1", Resource: "r-killed", Workload: w}
				for round := range 2 {
					change := func() {
						if r.IntN(4) == 0 {
							c.truth.ExpireDelta()
						}
						changes++
						_, err := c.truth.Churn(changes, 12)
						must(t, err)
					}
					change()
					out, n := c.backupKilled(t, s, src, 1+r.IntN(4), r, change)
					died += n
					fresh := tenantry.Series{Tenant: "t-1", Resource: tenantry.ResourceID(fmt.Sprint("r-fresh-", round)), Workload: w}
					want := c.backup(t, fresh, src, engine.Limits{})
					equal(t, c.saved(t, fresh, want.Snapshot.Seq), c.saved(t, s, out.Snapshot.Seq))
				}
			}
			if died == 0 {
				t.Error("no process died: the test proved nothing")
			}
		})
	}
}

// TestOfficeAtRestIsCheap counts what a run over an unchanged drive, site, group and team asks for.
func TestOfficeAtRestIsCheap(t *testing.T) {
	// No files: under a clock that lets the rates of Teams pass, the addresses of their content end at once.
	c := newCompany(t, graphsim.TenantSpec{Users: 1, Groups: 4, Libraries: 1, Lists: 2, ListItems: 15,
		Channels: 1, ClosedChannels: 1, Messages: 12, ThreadsPerGroup: 5},
		graphsim.Options{Clock: 100_000, Teams: graphsim.TeamsOptions{ExportOptions: true}, Exchange: graphsim.ExchangeOptions{PostAttachments: true}})
	team := c.groupOf(t, func(g graphsim.GroupInfo) bool { return g.Team })
	created := 3 // views of a calendar since before the group was made, and when that was
	for name, test := range map[string]struct {
		src  func() engine.Source
		most int
	}{
		"drive": {c.drive(0), 2}, // the list of drives, and its delta
		// The site; its drives, lists, pages and sites; of five lists the columns and content types; deltas of four
		// drives and two lists.
		"site": {func() engine.Source { return workload.NewSiteSource(c.graph, team.Site, tenantry.BackupOptions{}) }, 1 + 4 + 2*6 + 4 + 2},
		// The threads, and whether attachments can be had.
		"group": {func() engine.Source { return workload.NewGroupSource(c.graph, team.ID) }, 1 + 2 + created},
		// The team, members, channels; where three channels have their files and one its members; two drives and their
		// deltas; the export.
		"team": {func() engine.Source { return workload.NewTeamSource(c.graph, team.ID, tenantry.BackupOptions{}) }, 3 + 3 + 1 + 2 + 2 + 1},
	} {
		s := tenantry.Series{Tenant: "t-1", Resource: "r-rest", Workload: tenantry.Workload(name)}
		c.backup(t, s, test.src, engine.Limits{})
		asked := c.watch(t, "")
		if out := c.backup(t, s, test.src, engine.Limits{}); out.Counts.Bytes > 0 {
			t.Errorf("%s at rest: %+v", name, out)
		}
		if n := asked(); n > test.most {
			t.Errorf("%s at rest: %d requests, more than %d", name, n, test.most)
		} else {
			t.Logf("%s at rest: %d requests", name, n)
		}
		c.sim.Clear("")
	}
}
