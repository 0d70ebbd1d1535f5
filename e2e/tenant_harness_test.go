package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"
)

// simTenant is a tenant of the simulator.
type simTenant struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Domain string `json:"domain"`
}

// simUser is a user of the simulator.
type simUser struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"principalName"`
	State   string `json:"state"`
	Mailbox bool   `json:"mailbox"`
	Drive   string `json:"drive"`
}

type tenant struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	State       string    `json:"state"`
	Reason      string    `json:"reason"`
	DirectoryID string    `json:"directory_id"`
	AddedAt     time.Time `json:"added_at"`
	LastSyncAt  time.Time `json:"last_sync_at"`
	NextSyncAt  time.Time `json:"next_sync_at"`
	Resources   struct {
		Active, Inactive, Gone int
	} `json:"resources"`

	sim simTenant
}

type resource struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"`
	Subkind   string   `json:"subkind"`
	Name      string   `json:"name"`
	State     string   `json:"state"`
	ObjectID  string   `json:"object_id"`
	Workloads []string `json:"workloads"`
}

type counts struct {
	Items   int64 `json:"items"`
	Total   int64 `json:"total"`
	Skipped int64 `json:"skipped"`
	Bytes   int64 `json:"bytes"`
	Stored  int64 `json:"stored"`
}

type run struct {
	ID       string `json:"id"`
	Action   string `json:"action"`
	State    string `json:"state"`
	Tasks    int64  `json:"tasks"`
	Done     int64  `json:"tasks_done"`
	Failed   int64  `json:"tasks_failed"`
	Progress counts `json:"progress"`
	Problems []struct {
		Resource string `json:"resource"`
		Workload string `json:"workload"`
		State    string `json:"state"`
		Kind     string `json:"kind"`
		Reason   string `json:"reason"`
	} `json:"problems"`
}

type task struct {
	ID       string `json:"id"`
	Resource string `json:"resource"`
	Workload string `json:"workload"`
	State    string `json:"state"`
	Kind     string `json:"kind"`
	Reason   string `json:"reason"`
	Snapshot int64  `json:"snapshot"`
	Process  string `json:"process"`
	Attempt  int    `json:"attempt"`
	Progress counts `json:"progress"`
	Problems []struct {
		Item   string `json:"item"`
		Name   string `json:"name"`
		Reason string `json:"reason"`
	} `json:"problems"`
}

type snapshot struct {
	Seq    int64  `json:"seq"`
	Counts counts `json:"counts"`
}

type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// list reads all pages of a listing.
func list[T any](f *fleet, path string) []T {
	f.t.Helper()
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	var all []T
	for after := ""; ; {
		var p page[T]
		f.must("GET", path+join+"limit=100&after="+after, nil, &p)
		all = append(all, p.Items...)
		if p.Next == "" {
			return all
		}
		after = p.Next
	}
}

func (f *fleet) simTenants() []simTenant {
	f.t.Helper()
	var all []simTenant
	f.simulate("GET", "/tenants", nil, &all)
	return all
}

// add adds a tenant for what the simulator has under the domain; nobody has consented yet.
func (f *fleet) add(sim simTenant) tenant {
	f.t.Helper()
	var t tenant
	f.must("POST", "/tenants", map[string]any{"name": sim.Name, "directory": sim.Domain}, &t)
	t.sim = sim
	return t
}

// consentAs goes through the consent page as a browser does, as an administrator of the
// given tenant, and returns the page that the API answers with.
func (f *fleet) consentAs(t tenant, as string, answer string) string {
	f.t.Helper()
	var consent struct {
		URL string `json:"url"`
	}
	f.must("POST", "/tenants/"+t.ID+"/consent", nil, &consent)
	return f.browse(fmt.Sprintf("%s&auto=%s&as=%s", consent.URL, answer, as))
}

func (f *fleet) browse(url string) string {
	f.t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(page)
}

// connect adds a tenant, enables all of its workloads, consents, and waits for its first sync.
func (f *fleet) connect(sim simTenant) tenant {
	f.t.Helper()
	t := f.add(sim)
	f.enable(t)
	f.consentAs(t, sim.ID, "accept")
	f.awaitState(&t, "connected")
	f.awaitSyncs(t, 1)
	return t
}

func (f *fleet) awaitState(t *tenant, want string) {
	f.t.Helper()
	eventually(f.t, t.Name+" is "+want, func() (bool, string) {
		t.Reason = "" // left out when there is none
		f.must("GET", "/tenants/"+t.ID, nil, t)
		return t.State == want, t.State + ": " + t.Reason
	})
}

// awaitSyncs waits until n directory syncs of the tenant have ended well.
func (f *fleet) awaitSyncs(t tenant, n int) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%d syncs of %s", n, t.Name), func() (bool, string) {
		done := 0
		var seen []string
		for _, r := range list[run](f, "/tenants/"+t.ID+"/runs") {
			if r.Action == "sync" {
				seen = append(seen, r.State)
				if r.State == "done" {
					done++
				}
			}
		}
		return done >= n, fmt.Sprint(seen)
	})
}

// refresh syncs the tenant's directory now and waits for it.
func (f *fleet) refresh(t tenant) run {
	f.t.Helper()
	var r run
	f.must("POST", "/tenants/"+t.ID+"/refresh", nil, &r)
	return f.awaitRun(t, r)
}

// awaitRun waits until a run has ended and returns it.
func (f *fleet) awaitRun(t tenant, r run) run {
	f.t.Helper()
	eventually(f.t, r.Action+" of "+t.Name, func() (bool, string) {
		f.must("GET", "/tenants/"+t.ID+"/runs/"+r.ID, nil, &r)
		return r.State != "running", fmt.Sprintf("%+v", r)
	})
	return r
}

// awaitDone waits for a run that has to end without any failure.
func (f *fleet) awaitDone(t tenant, r run) run {
	f.t.Helper()
	r = f.awaitRun(t, r)
	if r.State != "done" {
		f.t.Fatalf("%s of %s ended %s: %+v", r.Action, t.Name, r.State, r)
	}
	return r
}

func (f *fleet) resources(t tenant, query string) []resource {
	f.t.Helper()
	return list[resource](f, "/tenants/"+t.ID+"/resources?"+query)
}

// userOf finds the resource of a simulated user.
func (f *fleet) userOf(t tenant, simID string) resource {
	f.t.Helper()
	var r resource
	f.must("GET", "/tenants/"+t.ID+"/resources/u-"+simID, nil, &r)
	return r
}

// policy adds the policy that backs up all users daily, half a day from now: what a test
// counts is what it started itself.
func (f *fleet) policy(t tenant) string {
	f.t.Helper()
	var p struct {
		ID string `json:"id"`
	}
	f.must("POST", "/tenants/"+t.ID+"/policies", map[string]any{
		"name": "all users", "activate": true,
		"schedule": map[string]any{"kind": "window", "at": time.Now().UTC().Add(12 * time.Hour).Format("15:04"), "time_zone": "UTC"},
	}, &p)
	return p.ID
}

// backup starts a run of the policy now.
func (f *fleet) backup(t tenant, policy string) run {
	f.t.Helper()
	var r run
	f.must("POST", "/tenants/"+t.ID+"/runs", map[string]any{"policy": policy}, &r)
	return r
}

func (f *fleet) snapshots(t tenant, r resource, workload string) []snapshot {
	f.t.Helper()
	return list[snapshot](f, "/tenants/"+t.ID+"/resources/"+r.ID+"/workloads/"+workload+"/snapshots")
}

func (f *fleet) restore(t tenant, body map[string]any) run {
	f.t.Helper()
	if body["folder"] == nil || body["folder"] == "" {
		body["original"] = true
	}
	var r run
	f.must("POST", "/tenants/"+t.ID+"/restores", body, &r)
	return r
}

func (f *fleet) verify(t tenant, r resource, workload string, seq int64) run {
	f.t.Helper()
	var started run
	f.must("POST", "/tenants/"+t.ID+"/verifications",
		map[string]any{"resource": r.ID, "workload": workload, "snapshot": seq}, &started)
	return started
}

// truth is one item as the simulator knows it, whole content by digest.
type truth struct {
	ID          string          `json:"id"`
	Path        string          `json:"path"`
	Subject     string          `json:"subject"`
	Digest      string          `json:"digest"`
	Attachments json.RawMessage `json:"attachments"`
	Size        int64           `json:"size"`
	SHA256      string          `json:"sha256"`
	Modified    string          `json:"modified"`
	Folder      bool            `json:"folder"`
}

// content is what must be the same after a restore. The time of a folder is not: it is when
// somebody last put something into it.
func (x truth) content() string {
	if x.Folder {
		return "folder"
	}
	return strings.Join([]string{x.Subject, x.Digest, fmt.Sprint(x.attachments()), fmt.Sprint(x.Size), x.SHA256, x.Modified, fmt.Sprint(x.Folder)}, "|")
}

// inDrive is the ID that an item of the user's drive has in snapshots.
func (u simUser) inDrive(x truth) string { return "drive:" + u.Drive + "/" + x.ID }

// truths asks the simulator what a user has, "mail", "drive" or "sent".
func (f *fleet) truths(t tenant, user, what string) []truth {
	f.t.Helper()
	var all []truth
	for _, line := range f.truthLines(t, user, what) {
		var x truth
		if err := json.Unmarshal(line, &x); err != nil {
			f.t.Fatalf("truth %s: %v", line, err)
		}
		all = append(all, x)
	}
	return all
}

// truthLines is what the simulator knows of a user, a JSON object each.
func (f *fleet) truthLines(t tenant, user, what string) [][]byte {
	f.t.Helper()
	return f.truthLinesOf(t, "users", user, what)
}

// truthLinesOf is the same of "users", "groups", "sites" or "drives".
func (f *fleet) truthLinesOf(t tenant, kind, id, what string) [][]byte {
	f.t.Helper()
	answer, err := http.Get(f.simAdmin + "/_sim/truth/" + t.sim.ID + "/" + kind + "/" + id + "/" + what)
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		f.t.Fatalf("truth of %s: %s", id, answer.Status)
	}
	var all [][]byte
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		all = append(all, bytes.Clone(lines.Bytes()))
	}
	if err := lines.Err(); err != nil {
		f.t.Fatal(err)
	}
	return all
}

// under keeps what lies in the folder path, with paths made relative to it, and not the folder.
func under(all []truth, folder string) []truth {
	var kept []truth
	for _, x := range all {
		if rest, ok := strings.CutPrefix(x.Path, folder); ok && (rest == "" && !x.Folder || strings.HasPrefix(rest, "/")) {
			x.Path = rest
			kept = append(kept, x)
		}
	}
	return kept
}

// same fails unless both hold the same content at the same paths.
func same(t *testing.T, what string, want, got []truth) {
	t.Helper()
	lines := func(all []truth) []string {
		out := make([]string, 0, len(all))
		for _, x := range all {
			out = append(out, x.Path+"|"+x.content())
		}
		sort.Strings(out)
		return out
	}
	w, g := lines(want), lines(got)
	if len(w) == 0 {
		t.Fatalf("%s: there is nothing to compare", what)
	}
	for i := 0; i < max(len(w), len(g)); i++ {
		switch {
		case i >= len(g):
			t.Fatalf("%s: %d items, expected %d; first missing: %s", what, len(g), len(w), w[i])
		case i >= len(w):
			t.Fatalf("%s: %d items, expected %d; first surplus: %s", what, len(g), len(w), g[i])
		case w[i] != g[i]:
			t.Fatalf("%s: first difference:\nexpected %s\nsaw      %s", what, w[i], g[i])
		}
	}
}
