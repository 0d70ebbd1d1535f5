package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// agreement is how soon SQL and Redis have to agree again after an operator's hand.
const agreement = 30 * time.Second

// TestAsynqmonTellsTheTruth looks at a run through asynqmon, and interferes there: a task
// that failed for good stands in the archive with its reason, a pause holds the queue, a
// delivery that was deleted comes back, and in the end the run is complete and SQL and
// Redis agree.
func TestAsynqmonTellsTheTruth(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "1", "--users", "8", "--mails", "10", "--files-per-user", "3", "--latency", "100ms")
	f.scheduler("scheduler")
	f.worker("worker", "TENANTRY_SLOTS_INTERACTIVE=2") // few slots: deliveries wait in Redis
	tn := f.connect(f.simTenants()[0])
	victim := f.users(tn, "mailbox")[0]
	f.fault(map[string]any{
		"tenant": tn.sim.ID, "path": "users/" + victim.ObjectID + "/(mailFolders|contact|calendar|todo|mailboxSettings|outlook)", "status": 403,
		"code": "ErrorAccessDenied", "message": "Access is denied. Check credentials and try again.",
	})
	r := f.backup(tn, f.policy(tn)) // a small run by hand: the queue is interactive
	f.underWay(tn, r, func(x task) bool { return x.Process != "" })

	f.operate("POST", "interactive:pause")
	f.agrees(tn, r, "while the queue is paused")
	if q := f.queueInfo("interactive"); !q.Paused {
		t.Errorf("asynqmon shows a paused queue as %+v", q)
	}
	waiting := f.delivered("interactive", "pending")
	if len(waiting) < 2 {
		t.Fatalf("%d deliveries wait behind the pause: there is nothing to delete", len(waiting))
	}
	for _, d := range waiting {
		if !strings.Contains(d.Payload, tn.Name) || !strings.Contains(d.Payload, "backup") {
			t.Errorf("a waiting delivery is shown as %q", d.Payload)
		}
	}
	deleted := waiting[0].ID
	f.operate("DELETE", "interactive/pending_tasks/"+deleted)
	if slices.ContainsFunc(f.delivered("interactive", "pending"), func(d delivery) bool { return d.ID == deleted }) {
		t.Errorf("delivery %s is still shown after it was deleted", deleted)
	}
	f.agrees(tn, r, "after a delivery was deleted")

	f.operate("POST", "interactive:resume")
	r = f.awaitRun(tn, r)
	if r.Failed != 1 || r.Done != r.Tasks-1 {
		t.Fatalf("the run ended with %d done and %d failed of %d: only %s's mailbox has to fail", r.Done, r.Failed, r.Tasks, victim.Name)
	}
	f.agrees(tn, r, "when the run had ended")

	archive := f.delivered("interactive", "archived")
	if len(archive) != 1 {
		t.Fatalf("the archive holds %+v, expected the one task that failed for good", archive)
	}
	says(t, "the archived delivery", archive[0].Payload, tn.Name, victim.Name, "mailbox", "Access is denied")
	says(t, "its error", archive[0].Error, "Access is denied")
	lines := map[string]int{}
	for _, d := range f.delivered("interactive", "completed") {
		lines[d.Result]++
		if d.TTL < 3000 || d.TTL > 3600 || strings.Contains(d.Result, "\n") || d.Result == "" {
			t.Errorf("a completed delivery is kept %d s with result %q; want an hour and one line", d.TTL, d.Result)
		}
	}
	t.Logf("results: %v", lines)
}

// delivery is a task as asynqmon shows it.
type delivery struct {
	ID      string `json:"id"`
	Payload string `json:"payload"`
	Error   string `json:"error_message"`
	Result  string `json:"result"`
	TTL     int64  `json:"ttl_seconds"`
}

// delivered lists what asynqmon shows of a queue in one state.
func (f *fleet) delivered(queue, state string) []delivery {
	f.t.Helper()
	var page struct {
		Tasks []delivery `json:"tasks"`
	}
	f.asynqmon("GET", queue+"/"+state+"_tasks?page=1&size=100", &page)
	return page.Tasks
}

type queueInfo struct {
	Queue  string `json:"queue"`
	Paused bool   `json:"paused"`
}

func (f *fleet) queueInfo(name string) queueInfo {
	f.t.Helper()
	var all struct {
		Queues []queueInfo `json:"queues"`
	}
	f.asynqmon("GET", "", &all)
	i := slices.IndexFunc(all.Queues, func(q queueInfo) bool { return q.Queue == name })
	if i < 0 {
		f.t.Fatalf("asynqmon does not show %s: %+v", name, all)
	}
	return all.Queues[i]
}

// operate does what a button of asynqmon does.
func (f *fleet) operate(method, path string) { f.t.Helper(); f.asynqmon(method, path, nil) }

func (f *fleet) asynqmon(method, path string, out any) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	url := strings.TrimSuffix(f.api+"/queues/api/queues/"+path, "/")
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	req.Header.Set("Sec-Fetch-Site", "same-origin") // as a browser says of its own page's buttons
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		f.t.Fatalf("asynqmon: %s %s: %s %s %v", method, path, answer.Status, text, err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			f.t.Fatalf("asynqmon: %s %s: %v in %s", method, path, err, text)
		}
	}
}

// agrees waits until SQL and Redis say the same: what is admitted waits in Redis, what
// runs is in a worker's hands there, and Redis holds nothing else.
func (f *fleet) agrees(t tenant, r run, when string) {
	f.t.Helper()
	began := time.Now()
	for {
		inSQL, inRedis := f.underSQL(t, r), f.underRedis()
		if slices.Equal(inSQL, inRedis) {
			f.t.Logf("%s SQL and Redis agreed on %d deliveries after %v", when, len(inSQL), time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > agreement {
			f.t.Fatalf("%s SQL has\n%s\nand Redis after %v\n%s", when, strings.Join(inSQL, "\n"), agreement, strings.Join(inRedis, "\n"))
		}
		time.Sleep(100 * time.Millisecond) // other processes' work: only their interfaces show it
	}
}

// underSQL are the tasks that SQL calls admitted or running, as "state ID".
func (f *fleet) underSQL(t tenant, r run) (all []string) {
	f.t.Helper()
	for _, x := range f.tasks(t, r) {
		if x.State == "admitted" || x.State == "running" {
			all = append(all, fmt.Sprintf("%s %s", x.State, x.ID))
		}
	}
	slices.Sort(all)
	return all
}

// underRedis are the deliveries that asynqmon shows as pending or active, in SQL's words.
func (f *fleet) underRedis() (all []string) {
	f.t.Helper()
	for state, word := range map[string]string{"pending": "admitted", "active": "running"} {
		for _, d := range f.delivered("interactive", state) {
			id, _, _ := strings.Cut(d.ID, ":")
			all = append(all, fmt.Sprintf("%s %s", word, id))
		}
	}
	slices.Sort(all)
	return all
}
