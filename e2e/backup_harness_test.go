package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// item is what the API shows of one item of a snapshot.
type item struct {
	ID      string `json:"id"`
	Parent  string `json:"parent"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Problem string `json:"problem"`
}

// within is the fleet as a subtest uses it.
func (f *fleet) within(t *testing.T) *fleet {
	sub := *f
	sub.t = t
	return &sub
}

// mutate changes something in the simulated tenant and returns the ID of what that made.
func (f *fleet) mutate(t tenant, op string, fields map[string]any) string {
	f.t.Helper()
	in := maps.Clone(fields)
	if in == nil {
		in = map[string]any{}
	}
	in["op"] = op
	var out struct {
		ID string `json:"id"`
	}
	f.simulate("POST", "/tenants/"+t.sim.ID+"/mutate", in, &out)
	return out.ID
}

// expireDeltas makes every delta link of the tenant invalid: the next sync lists anew.
func (f *fleet) expireDeltas(t tenant) {
	f.t.Helper()
	f.simulate("POST", "/tenants/"+t.sim.ID+"/expire", nil, nil)
}

func (f *fleet) simUsers(t tenant) []simUser {
	f.t.Helper()
	var all []simUser
	f.simulate("GET", "/tenants/"+t.sim.ID+"/users", nil, &all)
	return all
}

func (f *fleet) tasks(t tenant, r run) []task {
	f.t.Helper()
	return list[task](f, "/tenants/"+t.ID+"/runs/"+r.ID+"/tasks")
}

// latest is the newest snapshot of a series that has to have some.
func (f *fleet) latest(t tenant, r resource, workload string) snapshot {
	f.t.Helper()
	all := f.snapshots(t, r, workload)
	if len(all) == 0 {
		f.t.Fatalf("the %s of %s has no snapshot", workload, r.Name)
	}
	return all[0]
}

// children lists a folder of a snapshot, "" its root.
func (f *fleet) children(t tenant, r resource, workload string, seq int64, parent string) []item {
	f.t.Helper()
	return list[item](f, fmt.Sprintf("/tenants/%s/resources/%s/workloads/%s/snapshots/%d/items?parent=%s",
		t.ID, r.ID, workload, seq, url.QueryEscape(parent)))
}

// saved walks a snapshot through the API and returns where each item lies that holds
// content, and each folder of a drive: path by ID, as the simulator's truth tells them.
func (f *fleet) saved(t tenant, r resource, workload string, seq int64) map[string]string {
	f.t.Helper()
	found := map[string]string{}
	var walk func(parent, at string)
	walk = func(parent, at string) {
		for _, x := range f.children(t, r, workload, seq, parent) {
			here := strings.TrimPrefix(at+"/"+x.Name, "/")
			if x.Problem != "" {
				f.t.Errorf("%s of %s: %s has a problem: %s", workload, r.Name, here, x.Problem)
			}
			switch {
			case workload == "mailbox" && parent == "": // its parts: the truth of mail begins below one
				if x.Name == "Mail" {
					walk(x.ID, "")
				}
			case workload == "mailbox" && x.Kind == "folder":
				walk(x.ID, strings.TrimPrefix(at+"/"+escaped(x.Name), "/"))
			case workload == "mailbox":
				found[x.ID] = at
			case !strings.Contains(parent, "/"): // a drive, and its root
				walk(x.ID, "")
			default:
				found[x.ID[strings.Index(x.ID, "/")+1:]] = here
				if x.Kind == "folder" {
					walk(x.ID, here)
				}
			}
		}
	}
	walk("", "")
	return found
}

// escaped is the name of a mail folder as a path of the simulator has it.
func escaped(name string) string {
	return strings.NewReplacer("%", "%25", "/", "%2F").Replace(name)
}

// complete fails unless a snapshot shows exactly what the simulator knows, each in its place.
func (f *fleet) complete(t tenant, r resource, workload string, seq int64) {
	f.t.Helper()
	want := map[string]string{}
	for _, x := range f.truths(t, strings.TrimPrefix(r.ID, "u-"), truthOf(workload)) {
		want[x.ID] = x.Path
	}
	got := f.saved(t, r, workload, seq)
	if maps.Equal(want, got) {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if got[id] != want[id] {
			f.t.Fatalf("%s of %s: snapshot %d shows %d items, expected %d; %s should be at %q and is at %q",
				workload, r.Name, seq, len(got), len(want), id, want[id], got[id])
		}
	}
	f.t.Fatalf("%s of %s: snapshot %d shows %d items, expected %d", workload, r.Name, seq, len(got), len(want))
}

// truthOf is how the simulator calls what a workload backs up.
func truthOf(workload string) string {
	if workload == "drive" {
		return "drive"
	}
	return "mail"
}

// once fails unless every series of the tenant's active users has one snapshot that is
// complete, and starts its verification.
func (f *fleet) once(t tenant) (checks []run) {
	f.t.Helper()
	for _, r := range f.resources(t, "kind=user&state=active") {
		for _, w := range r.Workloads {
			all := f.snapshots(t, r, w)
			if len(all) != 1 {
				f.t.Fatalf("%s of %s has %d snapshots, expected 1: nothing runs twice to completion", w, r.Name, len(all))
			}
			f.complete(t, r, w, all[0].Seq)
			checks = append(checks, f.verify(t, r, w, all[0].Seq))
		}
	}
	if len(checks) == 0 {
		f.t.Fatalf("%s has nothing that was backed up", t.Name)
	}
	return checks
}

// underWay waits until a run has tasks in the hands of some process, and returns one of them.
func (f *fleet) underWay(t tenant, r run, busy func(task) bool) task {
	f.t.Helper()
	var found task
	eventually(f.t, "the run is under way", func() (bool, string) {
		var seen []string
		for _, x := range f.tasks(t, r) {
			if x.State == "running" && busy(x) {
				found = x
				return true, ""
			}
			seen = append(seen, x.State)
		}
		return false, strings.Join(seen, " ")
	})
	return found
}

// heldBy are the tasks that a process has, as SQL knows.
func (f *fleet) heldBy(process string, t tenant, r run) (held []task) {
	f.t.Helper()
	for _, x := range f.tasks(t, r) {
		if x.Process == process && x.State == "running" {
			held = append(held, x)
		}
	}
	return held
}

// byName finds the entry of that name.
func byName(t *testing.T, all []item, name string) item {
	t.Helper()
	i := slices.IndexFunc(all, func(x item) bool { return x.Name == name })
	if i < 0 {
		t.Fatalf("%q is not among %d entries", name, len(all))
	}
	return all[i]
}

// at keeps what lies in exactly that folder, by subject and ID.
func at(all []truth, folder string) []truth {
	var kept []truth
	for _, x := range all {
		if x.Path == folder {
			kept = append(kept, x)
		}
	}
	slices.SortFunc(kept, func(a, b truth) int {
		return cmp.Or(strings.Compare(a.Subject, b.Subject), strings.Compare(a.ID, b.ID))
	})
	return kept
}

// files leaves the folders of a drive out.
func files(all []truth) []truth {
	return slices.DeleteFunc(slices.Clone(all), func(x truth) bool { return x.Folder })
}

// relative writes paths as under does, from the folder that they lie in.
func relative(all []truth) []truth {
	all = slices.Clone(all)
	for i := range all {
		all[i].Path = "/" + all[i].Path
	}
	return all
}
