package workload_test

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// libraryWorld is a site with a library of twelve files with values, and its series.
func libraryWorld(t *testing.T) (c *company, site, drive string, s tenantry.Series) {
	t.Helper()
	c = newCompany(t, graphsim.TenantSpec{Users: 1, Sites: 2, FilesPerUser: 12, Lists: 1, ListItems: 6, LibraryColumns: 6}, graphsim.Options{})
	site = c.teamSites(t)[0].ID
	drives, err := c.truth.Drives(site)
	must(t, err)
	return c, site, drives[0].ID, tenantry.Series{Tenant: "t-1", Resource: tenantry.SiteResource(site), Workload: tenantry.SiteContent}
}

// valued is a file of a drive that has a client; its path, and what it is to have.
func (c *company) valued(t *testing.T, drive string) graphsim.FileTruth {
	t.Helper()
	files, err := c.truth.DriveTruth(drive)
	must(t, err)
	at := slices.IndexFunc(files, func(f graphsim.FileTruth) bool { return !f.Folder && f.Fields["Client"] != "" && f.Size > 0 })
	if at < 0 {
		t.Fatal("no file has a client")
	}
	return files[at]
}

// TestValuesOfFilesCostNoRequest: they come with the pages of the delta, a change of one alone downloads nothing, and
// links of a release that did not know them list the library anew without downloading anything either.
func TestValuesOfFilesCostNoRequest(t *testing.T) {
	c, site, drive, s := libraryWorld(t)
	src := func() engine.Source { return workload.NewSiteSource(c.graph, site, tenantry.BackupOptions{}) }
	rows, downloads := c.watch(t, "/listItem"), c.watch(t, "^/download/")
	c.backup(t, s, func() engine.Source { return plainLibraries{src(), c.graph} }, engine.Limits{})
	whole := downloads()
	if whole == 0 {
		t.Fatal("nothing was downloaded")
	}
	second := c.backup(t, s, src, engine.Limits{})
	file := c.valued(t, drive)
	c.entries(t, s, second.Snapshot.Seq, func(e repository.Entry, raw []byte, _ func(string) []byte) {
		if e.ID == "drive:"+drive+"/"+file.ID && !strings.Contains(string(raw), `"Client":`+file.Fields["Client"]) {
			t.Errorf("saved without its values: %s", raw)
		}
	})
	must(t, c.truth.SetFileFields(drive, file.Path, map[string]any{"Client": "Changed"}))
	third := c.backup(t, s, src, engine.Limits{})
	if third.Snapshot.Seq == second.Snapshot.Seq {
		t.Error("a changed value made no snapshot")
	}
	if again := downloads(); again != whole || rows() != 0 {
		t.Errorf("%d downloads after %d, %d requests for rows", again, whole, rows())
	}
}

// plainLibraries reads libraries as a release did that knew nothing of rows.
type plainLibraries struct {
	engine.Source
	graph *graph.Tenant
}

func (p plainLibraries) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	page, err := p.Source.Page(ctx, collection, link)
	page.Next = strings.TrimPrefix(page.Next, "rows ")
	return page, err
}

// TestLibrariesThatShowNoRows are saved without values, and say so.
func TestLibrariesThatShowNoRows(t *testing.T) {
	c, site, drive, s := libraryWorld(t)
	_, err := c.sim.Inject(graphsim.Fault{Path: `/root/delta`, Status: http.StatusBadRequest, Code: "invalidRequest", Nth: 1})
	must(t, err)
	src := func() engine.Source { return workload.NewSiteSource(c.graph, site, tenantry.BackupOptions{}) }
	out := c.backup(t, s, src, engine.Limits{})
	if len(out.Problems) != 1 || out.Problems[0].Name != "columns of files" || out.Problems[0].Kind != tenantry.Invalid {
		t.Errorf("%+v", out.Problems)
	}
	id, err := c.truth.PutFile(drive, "later.txt", []byte("later"))
	must(t, err)
	out = c.backup(t, s, src, engine.Limits{})
	c.parts(t, s, out.Snapshot.Seq, "drive:"+drive+"/"+id) // fails where it is not there
}

// TestOneFileWithItsValues: a single file takes its columns along to a site that has none of them, and in its own place
// values that were changed since are left, or replaced, as the conflict says; those that are gone come back.
func TestOneFileWithItsValues(t *testing.T) {
	c, site, drive, s := libraryWorld(t)
	to := c.teamSites(t)[1].ID
	out := c.backup(t, s, func() engine.Source { return workload.NewSiteSource(c.graph, site, tenantry.BackupOptions{}) }, engine.Limits{})
	file := c.valued(t, drive)
	restore := func(site string, req tenantry.RestoreRequest) engine.Outcome {
		req.Items = []string{"drive:" + drive + "/" + file.ID}
		return c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewSiteTarget(c.graph, site, req) }, req)
	}
	fields := func(drive, path string) graphsim.FileTruth {
		files, err := c.truth.DriveTruth(drive)
		must(t, err)
		at := slices.IndexFunc(files, func(f graphsim.FileTruth) bool { return f.Path == path })
		if at < 0 {
			t.Fatalf("%s is not there", path)
		}
		return files[at]
	}
	must(t, c.truth.SetFileFields(drive, file.Path, map[string]any{"Client": "Changed"}))
	for _, conflict := range []string{"skip", "copy"} {
		restore(site, tenantry.RestoreRequest{Conflict: conflict})
		if got := fields(drive, file.Path).Fields["Client"]; got != `"Changed"` {
			t.Errorf("%s: the client is %s", conflict, got)
		}
	}
	restore(site, tenantry.RestoreRequest{Conflict: "replace"})
	equal(t, file.Fields, fields(drive, file.Path).Fields)
	must(t, c.truth.SetFileFields(drive, file.Path, map[string]any{"Client": nil}))
	restore(site, tenantry.RestoreRequest{Conflict: "copy"})
	equal(t, file.Fields, fields(drive, file.Path).Fields)

	drives, err := c.truth.Drives(to)
	must(t, err)
	delete(file.Fields, "RelatedLookupId") // its list is not restored with it
	restore(to, tenantry.RestoreRequest{Folder: "One"})
	got := fields(drives[0].ID, "One/"+file.Path)
	delete(got.Fields, "RelatedLookupId")
	equal(t, file.Fields, got.Fields)
	if !got.Modified.Equal(file.Modified) {
		t.Errorf("modified %s, not %s", got.Modified, file.Modified)
	}
}

// TestFilesLookListsUp: into another site with its lists, what files look up are the items that stand for those; into a
// folder of their own site, where the library's column goes on looking up the original list, the original items; into a
// folder of another site nothing, which a problem says.
func TestFilesLookListsUp(t *testing.T) {
	c, site, drive, s := libraryWorld(t)
	out := c.backup(t, s, func() engine.Source { return workload.NewSiteSource(c.graph, site, tenantry.BackupOptions{}) }, engine.Limits{})
	links := func(site, folder string) (found []string) {
		rows, err := c.truth.ListTruth(site)
		must(t, err)
		lists, err := c.truth.Lists(site)
		must(t, err)
		titles := map[string]string{}
		for _, r := range rows {
			titles[r.List+"/"+r.ID] = r.Fields["Title"]
		}
		drives, err := c.truth.Drives(site)
		must(t, err)
		files, err := c.truth.DriveTruth(drives[0].ID)
		must(t, err)
		for _, f := range files {
			path, ok := strings.CutPrefix(f.Path, prefixed(folder, "/"))
			if title := titles[lookedUp(lists)+"/"+strings.Trim(f.Fields["RelatedLookupId"], `"`)]; title != "" && ok {
				found = append(found, path+" "+title)
			}
		}
		slices.Sort(found)
		return found
	}
	want := links(site, "")
	if len(want) < 2 {
		t.Fatalf("links of files: %q", want)
	}
	to := c.teamSites(t)[1].ID
	lists, err := c.truth.Lists(to)
	must(t, err)
	rows, err := c.truth.ListTruth(to)
	must(t, err)
	for _, r := range rows { // what comes there has other IDs
		if r.List == lookedUp(lists) {
			must(t, c.truth.DeleteListItem(to, r.List, r.ID))
		}
	}
	files, err := c.truth.DriveTruth(drive)
	must(t, err)
	var lost []string // each file by itself
	for _, f := range files {
		if f.Fields["RelatedLookupId"] != "" {
			lost = append(lost, path.Base(f.Path)+": restored without what it looks up, which is not there: Related")
		}
	}
	slices.Sort(lost)
	for _, tt := range []struct {
		site, folder string
		want         []string
		problems     []string
	}{{to, "", want, nil}, {site, "Beside", want, nil}, {to, "Beside", nil, lost}} {
		req := tenantry.RestoreRequest{Folder: tt.folder}
		out := c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewSiteTarget(c.graph, tt.site, req) }, req)
		equal(t, tt.want, links(tt.site, tt.folder))
		var named []string
		for _, p := range out.Problems {
			if p.Kind != tenantry.NotFound || !strings.HasPrefix(p.ID, "drive:") {
				t.Errorf("%+v", p)
			}
			named = append(named, p.Name+": "+p.Reason)
		}
		slices.Sort(named)
		equal(t, tt.problems, named)
	}
	file := files[slices.IndexFunc(files, func(f graphsim.FileTruth) bool { return !f.Folder && f.Fields["RelatedLookupId"] != "" })]
	req := tenantry.RestoreRequest{Folder: "Single", Items: []string{"drive:" + drive + "/" + file.ID}}
	c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewSiteTarget(c.graph, site, req) }, req)
	equal(t, slices.DeleteFunc(slices.Clone(want), func(l string) bool { return !strings.HasPrefix(l, file.Path+" ") }), links(site, "Single"))
}

// TestContentTypesOfListsAreNamed: those of a list's own come back neither with it nor with its items, and are named with
// both; the others are not, nor is anything where they are there, or where an item that is there is found again.
func TestContentTypesOfListsAreNamed(t *testing.T) {
	c, site, _, s := libraryWorld(t)
	lists, err := c.truth.Lists(site)
	must(t, err)
	list := lookedUp(lists)
	must(t, c.truth.SetListItemType(site, list, "2", "Contract"))
	must(t, c.truth.SetListItemType(site, list, "3", "Contract"))
	titles := map[string]string{}
	rows, err := c.truth.ListTruth(site)
	must(t, err)
	for _, r := range rows {
		if r.List == list {
			titles[r.ID] = strings.Trim(r.Fields["Title"], `"`)
		}
	}
	out := c.backup(t, s, func() engine.Source { return workload.NewSiteSource(c.graph, site, tenantry.BackupOptions{}) }, engine.Limits{})
	lost := func(req tenantry.RestoreRequest) (names []string) {
		out := c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewSiteTarget(c.graph, site, req) }, req)
		for _, p := range out.Problems {
			if _, what, _ := strings.Cut(p.Reason, "cannot write: "); p.Kind != tenantry.Poison || what != "the content type Contract: some values cannot be written" {
				t.Errorf("%+v", p)
			}
			names = append(names, p.Name)
		}
		slices.Sort(names)
		return names
	}
	at := slices.IndexFunc(lists, func(l graphsim.ListTruth) bool { return l.ID == list })
	want := []string{lists[at].Name, titles["2"], titles["3"]}
	slices.Sort(want)
	equal(t, want, lost(tenantry.RestoreRequest{Folder: "Back"}))
	equal(t, []string{lists[at].Name}, lost(tenantry.RestoreRequest{Folder: "Back"})) // the items are there now
	must(t, c.truth.EditListItem(site, list, "2", map[string]any{"Title": "changed"}))
	must(t, c.truth.EditListItem(site, list, "3", map[string]any{"Title": "changed, too"}))
	must(t, c.truth.SetListItemType(site, list, "3", ""))
	equal(t, []string{titles["3"]}, lost(tenantry.RestoreRequest{Conflict: "replace"})) // 2 kept its type
}

// TestContentTypesAreNamed: files and folders of a content type of the library's own come back without it, and are named;
// others are not, and a restore to where it is not told what new files get says nothing.
func TestContentTypesAreNamed(t *testing.T) {
	c, site, drive, s := libraryWorld(t)
	file := c.valued(t, drive)
	folder, _, ok := strings.Cut(file.Path, "/")
	if !ok {
		t.Fatalf("%s lies in no folder", file.Path)
	}
	must(t, c.truth.SetContentType(drive, file.Path, `Contract "A"`))
	must(t, c.truth.SetContentType(drive, folder, "Dossier"))
	out := c.backup(t, s, func() engine.Source { return workload.NewSiteSource(c.graph, site, tenantry.BackupOptions{}) }, engine.Limits{})
	lost := func(folder string) (names []string) {
		req := tenantry.RestoreRequest{Folder: folder}
		out := c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewSiteTarget(c.graph, site, req) }, req)
		for _, p := range out.Problems {
			if p.Kind != tenantry.Poison {
				t.Errorf("%+v", p)
			}
			_, what, _ := strings.Cut(p.Reason, "cannot write: ")
			names = append(names, p.Name+": "+strings.TrimSuffix(what, ": some values cannot be written"))
		}
		slices.Sort(names)
		return names
	}
	want := []string{path.Base(file.Path) + `: the content type Contract "A"`, folder + ": the content type Dossier"}
	slices.Sort(want)
	asked := c.watch(t, "/listItem$")
	if got := lost("Back"); !slices.Equal(want, got) {
		t.Errorf("named %q, not %q", got, want)
	}
	if n := asked(); n > 2*2 { // for files and folders of the library, and of that of pages
		t.Errorf("%d requests for rows", n)
	}
	_, err := c.sim.Inject(graphsim.Fault{Path: `/listItem$`, Status: http.StatusForbidden, Code: "accessDenied", Every: 1})
	must(t, err)
	if got := lost("Untold"); len(got) > 0 {
		t.Errorf("named %q, though nothing is known", got)
	}
}
