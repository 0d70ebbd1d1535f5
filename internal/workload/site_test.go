package workload_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// teamSites are the sites of a company that are nobody's own.
func (c *company) teamSites(t *testing.T) []graphsim.SiteInfo {
	t.Helper()
	sites := slices.DeleteFunc(c.truth.Sites(), func(s graphsim.SiteInfo) bool { return s.Owner != "" })
	if len(sites) < 2 {
		t.Fatalf("%d sites", len(sites))
	}
	return sites
}

// held is what a restore has to bring back of a site: files, values of list items with the titles of what they look
// up, pages.
func (c *company) held(t *testing.T, site, folder string) []string {
	t.Helper()
	var all []string
	drives, err := c.truth.Drives(site)
	must(t, err)
	lists, err := c.truth.Lists(site)
	must(t, err)
	rows, err := c.truth.ListTruth(site)
	must(t, err)
	titles, names := map[string]string{}, map[string]string{}
	for _, r := range rows {
		titles[r.List+"/"+r.ID] = r.Fields["Title"]
	}
	looked := lookedUp(lists)
	for _, d := range drives {
		files, err := c.truth.DriveTruth(d.ID)
		must(t, err)
		for _, f := range files {
			path, ok := strings.CutPrefix(f.Path, prefixed(folder, "/"))
			if id, linked := f.Fields["RelatedLookupId"]; linked {
				f.Fields["RelatedLookupId"] = titles[looked+"/"+strings.Trim(id, `"`)]
			}
			if ok && d.Name != "Site Pages" {
				all = append(all, fmt.Sprint("file ", d.Name, "/", path, " ", f.Size, f.SHA256, f.Modified.Unix(), f.Fields))
			}
		}
	}
	for _, l := range lists {
		if name, ok := strings.CutPrefix(l.Name, prefixed(folder, " - ")); ok && l.Drive == "" && !l.System {
			names[l.ID] = name
			all = append(all, fmt.Sprint("list ", name, l.Columns))
		}
	}
	for _, r := range rows {
		if name, ok := names[r.List]; ok {
			if id, linked := r.Fields["RelatedLookupId"]; linked {
				r.Fields["RelatedLookupId"] = titles[r.List+"/"+strings.Trim(id, `"`)]
			}
			all = append(all, fmt.Sprint("row ", name, r.Fields))
		}
	}
	pages, err := c.truth.PageTruth(site)
	must(t, err)
	for _, p := range pages {
		name := p.Name
		if folder != "" {
			if !strings.Contains(name, " ("+folder+")") {
				continue
			}
			name = strings.Replace(name, " ("+folder+")", "", 1)
		}
		all = append(all, fmt.Sprint("page ", name, p.Digest, p.Published))
	}
	slices.Sort(all)
	return all
}

// lookedUp is the list that the files of libraries look items up in: the first, "" if there is none.
func lookedUp(lists []graphsim.ListTruth) string {
	at := slices.IndexFunc(lists, func(l graphsim.ListTruth) bool { return l.Drive == "" && !l.System })
	if at < 0 {
		return ""
	}
	return lists[at].ID
}

func prefixed(folder, separator string) string {
	if folder == "" {
		return ""
	}
	return folder + separator
}

// TestSiteThereAndBack backs up a site with libraries, lists and pages, lets it change under faults, backs it up
// again, and restores both snapshots into another site, twice: each is the truth of its time.
func TestSiteThereAndBack(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, Sites: 2, Libraries: 1, FilesPerUser: 8, Lists: 2, ListItems: 25, Pages: 3, LibraryColumns: 5}, graphsim.Options{PageSize: 10})
	sites := c.teamSites(t)
	from, to := sites[0].ID, sites[1].ID
	s := tenantry.Series{Tenant: "t-1", Resource: tenantry.SiteResource(from), Workload: tenantry.SiteContent}
	src := func() engine.Source { return workload.NewSiteSource(c.graph, from, tenantry.BackupOptions{}) }
	first := c.backup(t, s, src, engine.Limits{})
	if len(first.Problems) > 0 {
		t.Errorf("%+v", first.Problems)
	}
	before := c.held(t, from, "")
	lists, err := c.truth.Lists(from)
	must(t, err)
	list := slices.IndexFunc(lists, func(l graphsim.ListTruth) bool { return l.Drive == "" && !l.System })
	_, err = c.truth.NewListItem(from, lists[list].ID, map[string]any{"Title": "new", "RelatedLookupId": "3"})
	must(t, err)
	must(t, c.truth.EditListItem(from, lists[list].ID, "2", map[string]any{"Title": "changed", "Amount": nil}))
	must(t, c.truth.DeleteListItem(from, lists[list].ID, c.unlinked(t, from, lists[list].ID)))
	drives, err := c.truth.Drives(from)
	must(t, err)
	for _, d := range drives {
		if d.Name != "Site Pages" {
			_, err = c.truth.PutFile(d.ID, "New/"+d.Name+".txt", []byte(d.Name))
			must(t, err)
			if !d.System {
				must(t, c.truth.SetFileFields(d.ID, "New/"+d.Name+".txt", map[string]any{"Client": d.Name, "Amount": 7}))
				must(t, c.truth.SetFileFields(d.ID, "New", map[string]any{"Status": "signed"}))
			}
		}
	}
	for _, f := range []graphsim.Fault{
		{Path: `/items/delta`, Kind: graphsim.FaultGone, Nth: 2},
		{Path: `/items/delta`, Kind: graphsim.FaultCut, Nth: 4},
		{Path: `/root/delta`, Kind: graphsim.FaultGone, Nth: 2},
	} {
		_, err := c.sim.Inject(f)
		must(t, err)
	}
	second := c.backup(t, s, src, engine.Limits{})
	c.struck(t)
	after := c.held(t, from, "")
	for n, want := range map[string]struct {
		seq  int64
		held []string
	}{"First": {first.Snapshot.Seq, before}, "Second": {second.Snapshot.Seq, after}} {
		for range 2 {
			out := c.restore(t, s, want.seq, func() engine.Target {
				return workload.NewSiteTarget(c.graph, to, tenantry.RestoreRequest{Folder: n})
			}, tenantry.RestoreRequest{})
			if len(out.Problems) > 0 || !strings.Contains(out.Notes, "application as author") {
				t.Errorf("%q %+v", out.Notes, out.Problems)
			}
			equal(t, want.held, c.held(t, to, n))
		}
	}
	if idle := c.backup(t, s, src, engine.Limits{}); idle.Snapshot.Counts.Items != second.Snapshot.Counts.Items || idle.Counts.Items+idle.Counts.Bytes > 0 {
		t.Errorf("a site at rest: %+v, then %+v", second.Snapshot.Counts, idle)
	}
}

// unlinked is an item of a list that nothing of its site looks up: what points to a deleted item cannot be linked again.
func (c *company) unlinked(t *testing.T, site, list string) string {
	t.Helper()
	linked := map[string]bool{}
	note := func(fields map[string]string) { linked[strings.Trim(fields["RelatedLookupId"], `"`)] = true }
	rows, err := c.truth.ListTruth(site)
	must(t, err)
	for _, r := range rows {
		note(r.Fields)
	}
	drives, err := c.truth.Drives(site)
	must(t, err)
	for _, d := range drives {
		files, err := c.truth.DriveTruth(d.ID)
		must(t, err)
		for _, f := range files {
			note(f.Fields)
		}
	}
	at := slices.IndexFunc(rows, func(r graphsim.ListItemTruth) bool {
		return r.List == list && !linked[r.ID] && !slices.Contains([]string{"2", "3", "4"}, r.ID)
	})
	if at < 0 {
		t.Fatal("everything is linked")
	}
	return rows[at].ID
}

// TestSiteInPlace restores a site over itself: what is there stays one, what was deleted comes back with the
// links to it, and what was changed is treated as the conflict says.
func TestSiteInPlace(t *testing.T) {
	for conflict, want := range map[string]int{"skip": 0, "replace": 0, "copy": 1} {
		t.Run(conflict, func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 1, Sites: 2, Subsites: 1, Lists: 1, ListItems: 8, Pages: 2, FilesPerUser: 4}, graphsim.Options{})
			site := c.teamSites(t)[0].ID
			s := tenantry.Series{Tenant: "t-1", Resource: tenantry.SiteResource(site), Workload: tenantry.SiteContent}
			out := c.backup(t, s, func() engine.Source { return workload.NewSiteSource(c.graph, site, tenantry.BackupOptions{}) }, engine.Limits{})
			before := c.held(t, site, "")
			lists, err := c.truth.Lists(site)
			must(t, err)
			list := lists[slices.IndexFunc(lists, func(l graphsim.ListTruth) bool { return l.Drive == "" && !l.System })].ID
			must(t, c.truth.DeleteListItem(site, list, "8"))
			must(t, c.truth.EditListItem(site, list, "1", map[string]any{"Title": "changed"}))
			changed := c.held(t, site, "")
			for range 2 {
				out := c.restore(t, s, out.Snapshot.Seq, func() engine.Target {
					return workload.NewSiteTarget(c.graph, site, tenantry.RestoreRequest{Conflict: conflict})
				}, tenantry.RestoreRequest{})
				if len(out.Problems) > 0 {
					t.Errorf("%+v", out.Problems)
				}
				if strings.Contains(out.Notes, "pages") { // they are the ones that were saved
					t.Error(out.Notes)
				}
				got := c.held(t, site, "")
				if len(got) != len(before)+want || conflict == "replace" && !slices.Equal(before, got) || conflict == "skip" && len(got) != len(changed)+1 {
					t.Errorf("%d things, of %d before and %d after the change", len(got), len(before), len(changed))
				}
			}
		})
	}
}

// TestSitesBelowASite are read with it, whatever their depth, and restored into those of their name.
func TestSitesBelowASite(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, Sites: 2, Subsites: 1, FilesPerUser: 3}, graphsim.Options{})
	for _, top := range c.teamSites(t) {
		s := tenantry.Series{Tenant: "t-1", Resource: tenantry.SiteResource(top.ID), Workload: tenantry.SiteContent}
		out := c.backup(t, s, func() engine.Source { return workload.NewSiteSource(c.graph, top.ID, tenantry.BackupOptions{}) }, engine.Limits{})
		below := ""
		c.entries(t, s, out.Snapshot.Seq, func(e repository.Entry, _ []byte, _ func(string) []byte) {
			if e.Kind == "site" && e.Parent != "" {
				below = strings.TrimPrefix(e.ID, "site:")
			}
		})
		if below == "" {
			continue
		}
		before := c.held(t, below, "")
		drives, err := c.truth.Drives(below)
		must(t, err)
		files, err := c.truth.DriveTruth(drives[0].ID)
		must(t, err)
		if len(files) == 0 {
			continue
		}
		must(t, c.truth.DeleteFile(drives[0].ID, strings.SplitN(files[0].Path, "/", 2)[0]))
		restored := c.restore(t, s, out.Snapshot.Seq, func() engine.Target {
			return workload.NewSiteTarget(c.graph, top.ID, tenantry.RestoreRequest{})
		}, tenantry.RestoreRequest{})
		if len(restored.Problems) > 0 {
			t.Errorf("%+v", restored.Problems)
		}
		equal(t, before, c.held(t, below, ""))
		return
	}
	t.Error("there is no site below another that has files")
}
