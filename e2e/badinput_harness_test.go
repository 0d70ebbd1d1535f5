package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// alarm is a shared cause that holds up admission.
type alarm struct {
	Cause  string    `json:"cause"`
	Detail string    `json:"detail"`
	Since  time.Time `json:"since"`
	Times  int       `json:"times"`
}

func (f *fleet) alarms() []alarm {
	f.t.Helper()
	var p page[alarm]
	f.must("GET", "/alarms", nil, &p)
	return p.Items
}

// refused makes an API request that has to fail, with a problem that says what to do.
func (f *fleet) refused(method, path string, in any, status int, kind string, words ...string) {
	f.t.Helper()
	p := f.call(method, path, in, nil)
	if p == nil {
		f.t.Fatalf("%s %s succeeded, expected a problem of kind %s", method, path, kind)
	}
	if p.Status != status || p.Kind != kind || p.Title == "" {
		f.t.Fatalf("%s %s: %+v, expected %d of kind %s", method, path, *p, status, kind)
	}
	says(f.t, method+" "+path, p.Detail, words...)
}

// says fails unless a text has all the words that help a person.
func says(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s says %q, which lacks %q", what, text, w)
		}
	}
}

// backupOf starts backups of some workloads of resources now.
func (f *fleet) backupOf(t tenant, workloads []string, resources ...resource) run {
	f.t.Helper()
	ids := make([]string, len(resources))
	for i, r := range resources {
		ids[i] = r.ID
	}
	var r run
	f.must("POST", "/tenants/"+t.ID+"/runs", map[string]any{"resources": ids, "workloads": workloads}, &r)
	return r
}

// users are the active users of a tenant that have a workload, by name.
func (f *fleet) users(t tenant, workload string) []resource {
	f.t.Helper()
	all := slices.DeleteFunc(f.resources(t, "kind=user&state=active"), func(r resource) bool {
		return !slices.Contains(r.Workloads, workload)
	})
	if len(all) == 0 {
		f.t.Fatalf("%s has no user with a %s", t.Name, workload)
	}
	slices.SortFunc(all, func(a, b resource) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// explained fails unless the run explains the task of a series: its state, kind and words
// for a person, on the run and on the task itself. It returns the task.
func (f *fleet) explained(t tenant, r run, of resource, workload, state, kind string, words ...string) task {
	f.t.Helper()
	f.must("GET", "/tenants/"+t.ID+"/runs/"+r.ID, nil, &r)
	for _, p := range r.Problems {
		if p.Resource != of.ID || p.Workload != workload {
			continue
		}
		what := fmt.Sprintf("the %s of %s", workload, of.Name)
		if p.State != state || p.Kind != kind {
			f.t.Errorf("%s is %s (%s), expected %s (%s): %s", what, p.State, p.Kind, state, kind, p.Reason)
		}
		says(f.t, what, p.Reason, words...)
		for _, x := range f.tasks(t, r) {
			if x.Resource == of.ID && x.Workload == workload {
				if x.State == state && x.Reason != p.Reason {
					f.t.Errorf("the task says %q, its run %q", x.Reason, p.Reason)
				}
				f.must("GET", "/tenants/"+t.ID+"/runs/"+r.ID+"/tasks/"+x.ID, nil, &x)
				return x
			}
		}
	}
	f.t.Fatalf("the run does not explain the %s of %s: %+v", workload, of.Name, r.Problems)
	return task{}
}

// awaitExplained waits until a run explains why something waits.
func (f *fleet) awaitExplained(t tenant, r run) {
	f.t.Helper()
	eventually(f.t, "a reason on the run", func() (bool, string) {
		f.must("GET", "/tenants/"+t.ID+"/runs/"+r.ID, nil, &r)
		return len(r.Problems) > 0, fmt.Sprintf("%+v", r)
	})
}

// fault arms a fault of the simulator and returns its ID.
func (f *fleet) fault(fields map[string]any) string {
	f.t.Helper()
	var out struct {
		ID string `json:"id"`
	}
	f.simulate("POST", "/faults", fields, &out)
	return out.ID
}

// revoke takes the consent of a simulated tenant away, and its tokens.
func (f *fleet) revoke(sim simTenant) {
	f.t.Helper()
	f.simulate("POST", "/tenants/"+sim.ID+"/revoke", map[string]any{"tokens": true}, nil)
}

// consentState asks for consent and returns the state that Microsoft would send back.
func (f *fleet) consentState(t tenant) string {
	f.t.Helper()
	var consent struct {
		URL string `json:"url"`
	}
	f.must("POST", "/tenants/"+t.ID+"/consent", nil, &consent)
	link, err := url.Parse(consent.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	return link.Query().Get("state")
}

// callback is where Microsoft sends an administrator's browser back to, with an answer.
func (f *fleet) callback(state string, answer url.Values) string {
	answer.Set("state", state)
	return f.api + "/v1/consent/callback?" + answer.Encode()
}

// undisturbed fails unless the tenants are in the state they had, with the reason they had.
func (f *fleet) undisturbed(tenants ...tenant) {
	f.t.Helper()
	for _, was := range tenants {
		var is tenant
		f.must("GET", "/tenants/"+was.ID, nil, &is)
		if is.State != was.State || is.Reason != was.Reason {
			f.t.Errorf("%s became %s (%s), it was %s (%s)", was.Name, is.State, is.Reason, was.State, was.Reason)
		}
	}
}

// awaitAlarm waits until the cause is an alarm, the only one, and returns it.
func (f *fleet) awaitAlarm(cause string, words ...string) alarm {
	f.t.Helper()
	var all []alarm
	eventually(f.t, "the alarm "+cause, func() (bool, string) {
		all = f.alarms()
		return len(all) > 0, ""
	})
	if len(all) != 1 || all[0].Cause != cause {
		f.t.Fatalf("alarms %+v, expected one of %s", all, cause)
	}
	says(f.t, "the alarm", all[0].Detail, words...)
	return all[0]
}

// awaitCalm waits until no alarm is left; nobody but the fleet itself ends them. Until
// then there may only be the one.
func (f *fleet) awaitCalm(raised alarm) {
	f.t.Helper()
	eventually(f.t, "the alarm "+raised.Cause+" ends by itself", func() (bool, string) {
		all := f.alarms()
		for _, a := range all {
			if a.Cause != raised.Cause || !a.Since.Equal(raised.Since) {
				f.t.Fatalf("another alarm than that of %s since %v: %+v", raised.Cause, raised.Since, a)
			}
		}
		return len(all) == 0, fmt.Sprintf("%+v", all)
	})
}

// objects are the files of a tenant's objects whose names match a pattern below the
// tenant's prefix, newest manifest first.
func (f *fleet) objects(t tenant, pattern string) []string {
	f.t.Helper()
	found, err := filepath.Glob(filepath.Join(f.s3.Dir, "e2e", t.ID, pattern))
	if err != nil || len(found) == 0 {
		f.t.Fatalf("no object %s of %s in the bucket: %v", pattern, t.Name, err)
	}
	slices.Sort(found)
	return found
}

// damage rewrites a file and returns what puts it back. The file is written in place: the
// S3 server keeps what it knows of an object beside it.
func damage(t *testing.T, path string, change func([]byte) []byte) (repair func()) {
	t.Helper()
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(change(slices.Clone(was)))
	return func() { write(was) }
}

// smallDisk puts the bucket on a file system of so many bytes, and returns what fills it
// up and frees it again.
func smallDisk(t *testing.T, dir string, size int) (fill, free func()) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("SKIPPED: needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(dir, "filler")
	fill = func() {
		t.Helper()
		file, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for block := make([]byte, 4096); err == nil; {
			_, err = file.Write(block)
		}
		if !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
			t.Fatal(err)
		}
	}
	free = func() {
		t.Helper()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	return fill, free
}
