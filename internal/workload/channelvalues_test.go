package workload_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// channelWorld is two teams whose channels keep files with values in libraries, one of them private.
func channelWorld(t *testing.T) (c *company, teams []graphsim.GroupInfo, s tenantry.Series) {
	t.Helper()
	c = newCompany(t, graphsim.TenantSpec{Users: 2, Groups: 8, Channels: 1, ClosedChannels: 1, FilesPerUser: 8, FileSize: 2000, LibraryColumns: 6}, graphsim.Options{Clock: 1000})
	for _, g := range c.truth.Groups() {
		if g.Team {
			teams = append(teams, g)
		}
	}
	if len(teams) < 2 {
		t.Fatalf("%+v", c.truth.Groups())
	}
	return c, teams, tenantry.Series{Tenant: "t-1", Resource: tenantry.GroupResource(teams[0].ID), Workload: tenantry.TeamContent}
}

// places are the sites in which a team's channels keep files: its own, and that of its closed channel.
func (c *company) places(t *testing.T, team graphsim.GroupInfo) []string {
	t.Helper()
	channels, err := c.truth.Channels(team.ID)
	must(t, err)
	sites := []string{team.Site}
	for _, ch := range channels {
		if ch.Site != "" {
			sites = append(sites, ch.Site)
		}
	}
	if len(sites) != 2 {
		t.Fatalf("%+v", channels)
	}
	return sites
}

// values are the values of the files and folders of a site's library below a folder, by path, without what they look up in
// lists, and how many there are.
func (c *company) values(t *testing.T, site, below string) (all map[string]string, n int) {
	t.Helper()
	list, err := c.truth.DriveTruth(site)
	must(t, err)
	all = map[string]string{}
	for _, f := range list {
		if path, ok := strings.CutPrefix(f.Path, below); ok && path != "" {
			fields := maps.Clone(f.Fields)
			delete(fields, "RelatedLookupId")
			all[path] = fmt.Sprint(fields, f.Size, f.SHA256, f.Modified.Unix())
			n += len(fields)
		}
	}
	return all, n
}

// TestValuesOfChannelFiles: files of channels are saved with their values in the columns of the library where they really
// lie, the team's or a private channel's, and come back with them: to their own places, and to a team that has none of
// the columns. Nothing is downloaded again for them.
func TestValuesOfChannelFiles(t *testing.T) {
	c, teams, s := channelWorld(t)
	src := func() engine.Source { return workload.NewTeamSource(c.graph, teams[0].ID, tenantry.BackupOptions{}) }
	rows, downloads := c.watch(t, "/listItem"), c.watch(t, "^/download/")
	c.backup(t, s, func() engine.Source { return plainLibraries{src(), c.graph} }, engine.Limits{})
	whole := downloads()
	out := c.backup(t, s, src, engine.Limits{})
	if len(out.Problems) > 0 || whole == 0 || downloads() != whole || rows() != 0 {
		t.Errorf("%+v; %d downloads, then %d; %d requests for rows", out.Problems, whole, downloads(), rows())
	}
	from, to := c.places(t, teams[0]), c.places(t, teams[1])
	restore := func(team string, req tenantry.RestoreRequest) engine.Outcome {
		return c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewTeamTarget(c.graph, team, req) }, req)
	}
	var before []map[string]string
	for _, site := range from {
		want, n := c.values(t, site, "")
		if n < 8 {
			t.Fatalf("%d values in %s: %v", n, site, want)
		}
		before = append(before, want)
	}
	for range 2 { // twice: nothing is there twice, nor without its values
		restore(teams[1].ID, tenantry.RestoreRequest{Folder: "Back"})
		for i, site := range to {
			got, _ := c.values(t, site, "Back/")
			equal(t, before[i], got)
		}
	}
	for _, site := range from {
		file := c.valued(t, site)
		must(t, c.truth.SetFileFields(site, file.Path, map[string]any{"Client": nil}))
		want, _ := c.values(t, site, "")
		restore(teams[0].ID, tenantry.RestoreRequest{})
		got, _ := c.values(t, site, "")
		now := c.valued(t, site)
		equal(t, file.Path, now.Path)
		equal(t, file.Fields, now.Fields)
		delete(want, file.Path)
		delete(got, file.Path)
		equal(t, want, got) // the others, and no more
	}
}

// TestChannelFilesWhoseColumnsAreNotTold: who may not see lists has the files all the same, and an entry that says what is
// missing; with the permission it is there.
func TestChannelFilesWhoseColumnsAreNotTold(t *testing.T) {
	c, teams, s := channelWorld(t)
	src := func() engine.Source { return workload.NewTeamSource(c.graph, teams[0].ID, tenantry.BackupOptions{}) }
	_, err := c.sim.Inject(graphsim.Fault{Path: `^/sites/[^/]+/lists/[^/]+$`, Status: http.StatusForbidden, Code: "accessDenied"})
	must(t, err)
	out := c.backup(t, s, src, engine.Limits{})
	c.struck(t)
	if len(out.Problems) != 2 { // one for each library
		t.Errorf("%+v", out.Problems)
	}
	for _, p := range out.Problems {
		if p.Kind != tenantry.Denied || p.Name != "columns of files" || !strings.Contains(p.Reason, "Sites.Read.All") {
			t.Errorf("%+v", p)
		}
	}
	described := func(seq int64) (n int) {
		c.entries(t, s, seq, func(e repository.Entry, _ []byte, _ func(string) []byte) {
			for _, p := range e.Parts {
				if p.Name == "library.json" {
					n++
				}
			}
		})
		return n
	}
	if n := described(out.Snapshot.Seq); n != 0 {
		t.Errorf("%d libraries are described", n)
	}
	out = c.backup(t, s, src, engine.Limits{})
	if n := described(out.Snapshot.Seq); n != 2 || len(out.Problems) > 0 {
		t.Errorf("%d libraries are described: %+v", n, out.Problems)
	}
}
