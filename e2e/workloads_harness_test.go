package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// protectedThing is one resource of which one workload is followed: how the simulator knows it, and what a snapshot of it
// has to hold.
type protectedThing struct {
	resource resource
	workload string
	owner    string // at the simulator: a user, a site, a group
}

// simPlace is a site or a group of the simulator.
type simPlace struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Owner   string `json:"owner"`
	Group   string `json:"group"`
	Team    bool   `json:"team"`
	Unified bool   `json:"unified"`
	Site    string `json:"site"` // of a group
}

func (f *fleet) resourceOf(tn tenant, id string) resource {
	f.t.Helper()
	var r resource
	f.must("GET", "/tenants/"+tn.ID+"/resources/"+url.PathEscape(id), nil, &r)
	return r
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
	Created     string            `json:"created"`
	Modified    string            `json:"modified"`
	Folder      bool              `json:"folder"`
	Package     string            `json:"package"`
	Malware     string            `json:"malware"`
	Shortcut    string            `json:"shortcut"`
	Unique      bool              `json:"unique"`
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

// infected follows the name of a file that nobody can read: it is in a snapshot with its reason.
const infected = " (infected)"

// everything is what a snapshot of a thing has to hold now: by the ID in snapshots, what it is called.
func (f *fleet) everything(tn tenant, x protectedThing) map[string]string {
	f.t.Helper()
	want := map[string]string{}
	files := func(drive string) {
		for _, i := range f.officeTruth(tn, "drives", drive, "drive") {
			want["drive:"+drive+"/"+i.ID] = i.Path[strings.LastIndex(i.Path, "/")+1:]
			if i.Malware != "" {
				want["drive:"+drive+"/"+i.ID] += infected
			}
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
			case strings.Contains(strings.ToLower(i.Problem), "malware"):
				got[i.ID] = i.Name + infected
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

// cannotBeWritten says why a restore cannot bring an item of a drive back, "" if it can.
func (i officeItem) cannotBeWritten() string {
	switch {
	case i.Malware != "":
		return "Microsoft lets nobody read an infected file (driveItem: malware)"
	case i.Shortcut != "":
		return "no request of v1.0 makes a remote item (driveItem: remoteItem)"
	}
	return ""
}

// notebook is the name of the world's one notebook. It comes back as a folder of its parts, which has times of its own: no
// request of v1.0 makes a package (package resource type).
const notebook = "Diary"

// contents is what a restore has to bring back of a thing, below a folder or under names that begin with it.
func (f *fleet) contents(tn tenant, x protectedThing, folder string) (all []string) {
	f.t.Helper()
	titles := map[string]string{} // of what files of libraries look up
	files := func(as, drive string) {
		for _, i := range f.officeTruth(tn, "drives", drive, "drive") {
			link := titles[strings.Trim(i.Fields["RelatedLookupId"], `"`)] // "" of an item that was deleted
			delete(i.Fields, "RelatedLookupId")
			path, ok := strings.CutPrefix(i.Path, folder)
			if !ok || folder != "" && !strings.HasPrefix(path, "/") || i.cannotBeWritten() != "" {
				continue
			}
			if strings.HasSuffix(path, "/"+notebook) {
				all = append(all, "notebook "+strings.TrimPrefix(path, "/"))
				continue
			}
			all = append(all, fmt.Sprint("file ", as, "/", strings.TrimPrefix(path, "/"), " ", i.Size, i.SHA256, i.Created, i.Modified, string(i.Permissions), i.Fields))
			if link != "" && folder == "" {
				all = append(all, fmt.Sprint(fileLink, as, "/", path, " ", link))
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
		titles = f.lookedUp(tn, x.owner)
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

// fileLink begins the line of what a file of a library looks up in the site's first list. A column looks up one list, and that
// of a library is the site's, not one that was restored beside it: below a folder of another site no such link comes back.
const fileLink = "link of "

// lookedUp are the titles of the items of a site's first list, by ID.
func (f *fleet) lookedUp(tn tenant, site string) map[string]string {
	f.t.Helper()
	lists, titles := f.simLists(tn, site), map[string]string{}
	for _, r := range f.officeTruth(tn, "sites", site, "listItems") {
		if r.List == lists[0] {
			titles[r.ID] = r.Fields["Title"]
		}
	}
	return titles
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
