package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
)

// protectedThing is one resource of which one workload is followed: how the simulator knows it, and what a snapshot of it
// has to hold.
type protectedThing struct {
	resource resource
	workload string
	owner    string // at the simulator: a user, a site, a group
}

// TestWorkloads backs up the drive of a user, a site, a group and a team of a world with odd things in them, while
// requests fail, a worker is killed in the middle, and everything goes on changing over three incrementals.
// Each snapshot holds exactly what the simulator had at its time. The last one of each, restored into
// something else, equals the truth again; what Microsoft lets no application write is refused.
func TestWorkloads(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "0", "--limits", simulatedLimits(t))
	f.scheduler("scheduler")
	limits := "TENANTRY_LIMITS_FILE=" + f.limits()
	workers := map[string]*process{}
	for i := range 2 {
		w := f.worker(fmt.Sprint("worker", i+1), limits)
		workers[w.fleetName()] = w
	}
	tn := f.office()
	things, others := f.things(tn)
	for _, fault := range []map[string]any{
		{"path": "/content$", "kind": "reset", "every": 17, "count": 4},
		{"path": "^/download/", "kind": "cut", "every": 13, "count": 4},
		{"path": "/delta", "kind": "cut", "every": 9, "count": 4},
		{"path": "/root/delta", "status": 410, "code": "resyncRequired", "nth": 7},
		{"path": "getAllMessages", "kind": "cut", "nth": 2},
		{"path": "/lists/[^/]+$", "kind": "reset", "nth": 3},
		{"path": "/posts$", "kind": "reset", "nth": 2},
	} {
		f.simulate("POST", "/faults", fault, nil)
	}
	f.oddThings(tn, things)

	var truths []map[string]string
	for round := range 4 {
		if round > 0 {
			f.simulate("POST", "/tenants/"+tn.sim.ID+"/churn", map[string]any{"seed": round, "n": 60}, nil)
			f.changeAll(tn, things, round)
		}
		runs := make([]run, len(things))
		for i, x := range things {
			runs[i] = f.backupOf(tn, []string{x.workload}, x.resource)
		}
		if round == 0 {
			busy := f.underWay(tn, runs[1], func(x task) bool { return x.Process != "" })
			workers[busy.Process].kill()
		}
		for i, x := range things {
			f.awaitDone(tn, runs[i])
			truths = append(truths, f.everything(tn, x))
		}
	}
	for i, x := range things {
		snaps := f.snapshots(tn, x.resource, x.workload)
		if len(snaps) != 4 {
			t.Fatalf("the %s of %s has %d snapshots", x.workload, x.resource.Name, len(snaps))
		}
		slices.Reverse(snaps)
		for round, s := range snaps {
			f.holds(tn, x, s.Seq, truths[round*len(things)+i])
		}
	}
	f.restoreThings(tn, things, others)
}

// office connects a tenant with drives, sites, groups and teams.
func (f *fleet) office() tenant {
	f.t.Helper()
	spec := map[string]any{
		"name": "Office", "domain": "office.example", "users": 3, "filesPerUser": 8, "groups": 8, "sites": 2, "libraries": 1,
		"lists": 2, "listItems": 12, "pages": 2, "subsites": 1, "channels": 1, "closedChannels": 2, "messages": 6,
		"threadsPerGroup": 5, "eventsPerUser": 3, "mailsPerUser": 1,
	}
	var made struct{ ID string }
	f.simulate("POST", "/tenants", spec, &made)
	return f.connect(simTenant{ID: made.ID, Name: "Office", Domain: "office.example"})
}

// simPlace is a site or a group of the simulator.
type simPlace struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Owner string `json:"owner"`
	Group string `json:"group"`
	Team  bool   `json:"team"`
}

// things are one of each workload, and others to restore them into.
func (f *fleet) things(tn tenant) (things, others []protectedThing) {
	f.t.Helper()
	var sites, groups []simPlace
	f.simulate("GET", "/tenants/"+tn.sim.ID+"/sites", nil, &sites)
	f.simulate("GET", "/tenants/"+tn.sim.ID+"/groups", nil, &groups)
	sites = slices.DeleteFunc(sites, func(s simPlace) bool {
		return s.Owner != "" || s.Group != "" || strings.Contains(s.Name, "Channel") // which get folders when somebody looks
	})
	groups = slices.DeleteFunc(groups, func(g simPlace) bool { return !g.Team })
	users := f.simUsers(tn)
	for i, list := range []*[]protectedThing{&things, &others} {
		ids := strings.SplitN(sites[i].ID, ",", 2)
		*list = []protectedThing{
			{f.resourceOf(tn, "u-"+users[i].ID), "drive", users[i].ID},
			{f.resourceOf(tn, "s-"+strings.ReplaceAll(ids[1], ",", "-")), "site", sites[i].ID},
			{f.resourceOf(tn, "g-"+groups[i].ID), "group", groups[i].ID},
			{f.resourceOf(tn, "g-"+groups[i].ID), "team", groups[i].ID},
		}
	}
	return things, others
}

func (f *fleet) resourceOf(tn tenant, id string) resource {
	f.t.Helper()
	var r resource
	f.must("GET", "/tenants/"+tn.ID+"/resources/"+url.PathEscape(id), nil, &r)
	return r
}

// oddThings puts in what is not just a file in a folder.
func (f *fleet) oddThings(tn tenant, things []protectedThing) {
	f.t.Helper()
	user, users := things[0].owner, f.simUsers(tn)
	put := func(path, text string) {
		f.mutate(tn, "putFile", map[string]any{"user": user, "path": path, "data": []byte(text)})
	}
	put("Plans/shared.txt", "with others")
	f.mutate(tn, "shareFile", map[string]any{"user": user, "path": "Plans/shared.txt", "to": users[2].ID, "properties": map[string]any{"role": "write"}})
	f.mutate(tn, "linkFile", map[string]any{"user": user, "path": "Plans", "properties": map[string]any{"type": "view", "scope": "organization"}})
	put("Empty/gone.txt", "x")
	f.mutate(tn, "deleteFile", map[string]any{"user": user, "path": "Empty/gone.txt"})
	put("nothing.txt", "")
	f.mutate(tn, "putFile", map[string]any{"user": user, "path": "large.bin", "size": 9_000_000, "seed": 5})
	f.mutate(tn, "postMessage", map[string]any{"user": things[3].owner, "properties": map[string]any{"subject": "Look", "pictures": [][]byte{[]byte("png")}}})
}

// changeAll changes each thing in ways that a churn may not hit.
func (f *fleet) changeAll(tn tenant, things []protectedThing, round int) {
	f.t.Helper()
	name := fmt.Sprintf("round %d", round)
	f.mutate(tn, "putFile", map[string]any{"user": things[0].owner, "path": "Plans/" + name + ".txt", "data": []byte(name)})
	for _, x := range f.officeTruth(tn, "drives", f.officeTruth(tn, "drives", things[0].owner, "drives")[0].ID, "drive") {
		if x.SHA256 != "" && !strings.Contains(x.Path, "Plans/") {
			f.mutate(tn, "moveFile", map[string]any{"user": things[0].owner, "path": x.Path, "to": "Moved/" + name + "/" + path.Base(x.Path)})
			break
		}
	}
	list := f.simLists(tn, things[1].owner)[0]
	rows := slices.DeleteFunc(f.officeTruth(tn, "sites", things[1].owner, "listItems"), func(r officeItem) bool { return r.List != list })
	f.mutate(tn, "newListItem", map[string]any{"user": things[1].owner, "folder": list, "properties": map[string]any{"Title": name, "RelatedLookupId": rows[1].ID}})
	f.mutate(tn, "editListItem", map[string]any{"user": things[1].owner, "folder": list, "id": rows[0].ID, "properties": map[string]any{"Title": "edited in " + name}})
	f.mutate(tn, "deleteListItem", map[string]any{"user": things[1].owner, "folder": list, "id": rows[2].ID})
	f.mutate(tn, "putFile", map[string]any{"user": things[1].owner, "path": name + ".txt", "data": []byte(name)})
	f.mutate(tn, "postMessage", map[string]any{"user": things[3].owner, "folder": "Closed Channel 1", "properties": map[string]any{"body": "<p>" + name + "</p>"}})
	f.mutate(tn, "putFile", map[string]any{"user": things[3].owner, "path": "General/" + name + ".txt", "data": []byte(name)})
}

// simLists are the IDs of the lists of a site that are neither libraries nor the service's own.
func (f *fleet) simLists(tn tenant, site string) (ids []string) {
	f.t.Helper()
	for _, l := range f.officeTruth(tn, "sites", site, "lists") {
		if l.Drive == "" && !l.System {
			ids = append(ids, l.ID)
		}
	}
	return ids
}

// officeItem is what the simulator tells of a thing that a site or a team holds.
type officeItem struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Path        string            `json:"path"`
	Size        int64             `json:"size"`
	SHA256      string            `json:"sha256"`
	Modified    string            `json:"modified"`
	Drive       string            `json:"drive"`
	System      bool              `json:"system"`
	List        string            `json:"list"`
	Fields      map[string]string `json:"fields"`
	Columns     map[string]string `json:"columns"`
	Digest      string            `json:"digest"`
	Published   bool              `json:"published"`
	Place       string            `json:"place"`
	Topic       string            `json:"topic"`
	Site        string            `json:"site"`
	Permissions json.RawMessage   `json:"permissions"`
}

func (f *fleet) officeTruth(tn tenant, kind, id, what string) (all []officeItem) {
	f.t.Helper()
	for _, line := range f.truthLinesOf(tn, kind, id, what) {
		var x officeItem
		if err := json.Unmarshal(line, &x); err != nil {
			f.t.Fatalf("truth %s: %v", line, err)
		}
		all = append(all, x)
	}
	return all
}

// everything is what a snapshot of a thing has to hold now: by the ID in snapshots, what it is called.
func (f *fleet) everything(tn tenant, x protectedThing) map[string]string {
	f.t.Helper()
	want := map[string]string{}
	files := func(drive string) {
		for _, i := range f.officeTruth(tn, "drives", drive, "drive") {
			want["drive:"+drive+"/"+i.ID] = i.Path[strings.LastIndex(i.Path, "/")+1:]
		}
	}
	switch x.workload {
	case "drive", "site":
		for _, d := range f.officeTruth(tn, x.workload+"s", x.owner, "drives") {
			files(d.ID)
		}
	case "team":
		drives := map[string]bool{}
		for _, c := range f.officeTruth(tn, "groups", x.owner, "channels") {
			at := c.Site
			if at == "" {
				at = x.owner
			}
			drives[f.officeTruth(tn, "sites", at, "drives")[0].ID] = true
		}
		for d := range drives {
			files(d)
		}
		for _, m := range f.officeTruth(tn, "groups", x.owner, "messages") {
			want["messages:"+x.owner+"/"+m.Place+"/"+m.ID] = ""
		}
	case "group":
		for _, p := range f.officeTruth(tn, "groups", x.owner, "posts") {
			want["thread "+p.Topic] = p.Topic
		}
	}
	if x.workload == "site" {
		for _, r := range f.officeTruth(tn, "sites", x.owner, "listItems") {
			want["list:"+x.owner+"|"+r.List+"/"+r.ID] = strings.Trim(r.Fields["Title"], `"`)
		}
		for _, p := range f.officeTruth(tn, "sites", x.owner, "pages") {
			want["page:"+x.owner+"|"+p.ID] = ""
		}
	}
	return want
}

// holds fails unless a snapshot shows exactly what there was.
func (f *fleet) holds(tn tenant, x protectedThing, seq int64, want map[string]string) {
	f.t.Helper()
	got := map[string]string{}
	var walk func(parent string)
	walk = func(parent string) {
		for _, i := range f.children(tn, x.resource, x.workload, seq, parent) {
			switch {
			case i.Problem != "" && i.ID != "item:attachments":
				f.t.Errorf("%s of %s: %s has a problem: %s", x.workload, x.resource.Name, i.Name, i.Problem)
			case i.Kind == "site" && parent != "":
				continue // has a site of its own below it: another truth
			case i.Kind == "thread":
				got["thread "+i.Name] = i.Name
			case strings.HasPrefix(i.ID, "drive:") && strings.Contains(i.ID, "/") && i.Name != "root",
				i.Kind == "listItem", i.Kind == "page", i.Kind == "chatMessage":
				got[i.ID] = i.Name
				if i.Kind == "page" || i.Kind == "chatMessage" {
					got[i.ID] = ""
				}
			}
			if slices.Contains([]string{"folder", "package", "list", "site"}, i.Kind) {
				walk(i.ID)
			}
		}
	}
	walk("")
	if maps.Equal(want, got) {
		return
	}
	for id, name := range want {
		if found, ok := got[id]; !ok || found != name {
			f.t.Errorf("%s, snapshot %d: %s should be %q and is %q (there: %v)", x.workload, seq, id, name, found, ok)
			break
		}
	}
	for id, name := range got {
		if _, ok := want[id]; !ok {
			f.t.Errorf("%s, snapshot %d: there is %s, %q", x.workload, seq, id, name)
			break
		}
	}
	f.t.Fatalf("%s of %s: snapshot %d shows %d things, expected %d", x.workload, x.resource.Name, seq, len(got), len(want))
}

// restoreThings restores the last snapshot of each thing into another one, twice, and holds it against the truth;
// the second time its site is deleted. What cannot be written is exported.
func (f *fleet) restoreThings(tn tenant, things, others []protectedThing) {
	f.t.Helper()
	for i, x := range things {
		seq := f.latest(tn, x.resource, x.workload).Seq
		ask := map[string]any{
			"resource": x.resource.ID, "workload": x.workload, "snapshot": seq,
			"to": others[i].resource.ID, "folder": "Restored", "permissions": true,
		}
		switch x.workload {
		case "group":
			if p := f.call("POST", "/tenants/"+tn.ID+"/restores", ask, nil); p == nil || p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Detail, "no application") {
				f.t.Errorf("the restore of a group is answered %+v", p)
			}
			f.exportedPages(tn, x, seq, len(f.everything(tn, x)))
			continue
		case "team":
			f.exportedPages(tn, x, seq, len(f.officeTruth(tn, "groups", x.owner, "messages")))
		}
		want := f.contents(tn, x, "")
		for again := range 2 {
			f.awaitDone(tn, f.restore(tn, ask))
			if got := f.contents(tn, others[i], "Restored"); !slices.Equal(want, got) {
				n := 0
				for n < min(len(want), len(got)) && want[n] == got[n] {
					n++
				}
				f.t.Fatalf("%s: %d things are restored of %d; first difference:\nexpected %s\nsaw      %s", x.workload, len(got), len(want),
					slices.Concat(want, []string{""})[n:][0], slices.Concat(got, []string{""})[n:][0])
			}
			if x.workload == "site" && again == 0 {
				f.mutate(tn, "deleteSite", map[string]any{"id": x.owner})
				f.refresh(tn)
				if r := f.resourceOf(tn, x.resource.ID); r.State == "active" {
					f.t.Errorf("the deleted site is %s", r.State)
				}
			}
		}
	}
}

// exportedPages exports a snapshot and counts the pages that its conversations have become, each beside its JSON.
func (f *fleet) exportedPages(tn tenant, x protectedThing, seq int64, want int) {
	f.t.Helper()
	pages, twins := 0, 0
	all := exported(f, tn, x.resource, x.workload, seq, "--json")
	for name, content := range all {
		if strings.HasSuffix(name, ".html") && strings.Contains(string(content), "default-src 'none'") {
			pages++
			if raw, ok := all[name+".json"]; ok && json.Valid(raw) {
				twins++
			}
		}
	}
	if pages != want || twins != want {
		f.t.Errorf("%s: %d pages and %d JSON files are exported of %d conversations", x.workload, pages, twins, want)
	}
}

// contents is what a restore has to bring back of a thing, below a folder or under names that begin with it.
func (f *fleet) contents(tn tenant, x protectedThing, folder string) (all []string) {
	f.t.Helper()
	files := func(as, drive string) {
		for _, i := range f.officeTruth(tn, "drives", drive, "drive") {
			if path, ok := strings.CutPrefix(i.Path, folder); ok && (folder == "" || strings.HasPrefix(path, "/")) {
				all = append(all, fmt.Sprint("file ", as, "/", strings.TrimPrefix(path, "/"), " ", i.Size, i.SHA256, i.Modified, string(i.Permissions)))
			}
		}
	}
	switch x.workload {
	case "drive":
		files("", f.officeTruth(tn, "drives", x.owner, "drives")[0].ID)
	case "team":
		for _, c := range f.officeTruth(tn, "groups", x.owner, "channels") {
			at := c.Site
			if at == "" {
				at = x.owner
			}
			files(c.Name, f.officeTruth(tn, "sites", at, "drives")[0].ID)
		}
	case "site":
		for _, d := range f.officeTruth(tn, "sites", x.owner, "drives") {
			if d.Name != "Site Pages" {
				files(d.Name, d.ID)
			}
		}
		all = append(all, f.rowsAndPages(tn, x.owner, folder)...)
	}
	slices.Sort(all)
	return all
}

// rowsAndPages are the lists of a site with their items, links by the titles of what they look up, and the pages.
func (f *fleet) rowsAndPages(tn tenant, site, folder string) (all []string) {
	f.t.Helper()
	rows := f.officeTruth(tn, "sites", site, "listItems")
	titles, names := map[string]string{}, map[string]string{}
	for _, r := range rows {
		titles[r.List+"/"+r.ID] = r.Fields["Title"]
	}
	for _, l := range f.officeTruth(tn, "sites", site, "lists") {
		name, ok := l.Name, l.Drive == "" && !l.System
		if folder != "" && ok {
			name, ok = strings.CutPrefix(l.Name, folder+" - ")
		}
		if ok {
			names[l.ID] = name
			all = append(all, fmt.Sprint("list ", name, l.Columns))
		}
	}
	for _, r := range rows {
		if name, ok := names[r.List]; ok {
			if id, linked := r.Fields["RelatedLookupId"]; linked {
				// What points to an item that was deleted cannot be linked again.
				if r.Fields["RelatedLookupId"] = titles[r.List+"/"+strings.Trim(id, `"`)]; r.Fields["RelatedLookupId"] == "" {
					delete(r.Fields, "RelatedLookupId")
				}
			}
			all = append(all, fmt.Sprint("row ", name, r.Fields))
		}
	}
	for _, p := range f.officeTruth(tn, "sites", site, "pages") {
		name := strings.Replace(p.Name, " ("+folder+")", "", 1)
		if folder == "" || name != p.Name {
			all = append(all, fmt.Sprint("page ", name, p.Digest, p.Published))
		}
	}
	return all
}
