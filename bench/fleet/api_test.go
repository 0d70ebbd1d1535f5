package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the fleet's catalog
	"golang.org/x/sync/errgroup"
)

// request makes one JSON request; a nil in sends no body, a nil out reads none.
func request(url, token, method string, in, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s %.500s", method, url, answer.Status, text)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	return err
}

func (f *fleet) call(method, path string, in, out any) error {
	return request(f.api+"/v1"+path, f.token, method, in, out)
}

func (f *fleet) must(method, path string, in, out any) {
	f.t.Helper()
	if err := f.call(method, path, in, out); err != nil {
		f.t.Fatal(err)
	}
}

// tenant is a tenant of the fleet that is connected and synced.
type tenant struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	Reason string `json:"reason"`
	sim    simTenant
	policy string
	run    run
}

type run struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	State  string `json:"state"`
	Tasks  int64  `json:"tasks"`
	Done   int64  `json:"tasks_done"`
	Failed int64  `json:"tasks_failed"`

	Progress counts `json:"progress"`
}

type counts struct {
	Items int64 `json:"items"`
	Bytes int64 `json:"bytes"`
}

type task struct {
	ID       string `json:"id"`
	Resource string `json:"resource"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Process  string `json:"process"`
}

type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// list reads all pages of a listing.
func list[T any](f *fleet, path string) (all []T, err error) {
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	for after := ""; ; {
		var p page[T]
		if err := f.call(http.MethodGet, path+join+"limit=100&after="+after, nil, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if p.Next == "" {
			return all, nil
		}
		after = p.Next
	}
}

// connect adds all tenants, consents, and waits until each has been synced, several at a
// time. Each gets a policy that backs up the given workload of all users, half a day from
// now: what is measured is started by hand.
func (f *fleet) connect(all []simTenant, workload string) []*tenant {
	f.t.Helper()
	connected := make([]*tenant, len(all))
	var group errgroup.Group
	group.SetLimit(32)
	for i, sim := range all {
		group.Go(func() (err error) {
			connected[i], err = f.connectOne(sim, workload)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		f.t.Fatal(err)
	}
	return connected
}

func (f *fleet) connectOne(sim simTenant, workload string) (*tenant, error) {
	t := &tenant{sim: sim}
	if err := f.call(http.MethodPost, "/tenants", map[string]any{"name": sim.Name, "directory": sim.Domain}, t); err != nil {
		return nil, err
	}
	if err := f.call(http.MethodPost, "/tenants/"+t.ID+"/workloads/"+workload+"/enable", nil, nil); err != nil {
		return nil, err
	}
	var consent struct {
		URL string `json:"url"`
	}
	if err := f.call(http.MethodPost, "/tenants/"+t.ID+"/consent", nil, &consent); err != nil {
		return nil, err
	}
	answer, err := http.Get(consent.URL + "&auto=accept&as=" + sim.ID)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	if err := f.awaitSync(t); err != nil {
		return nil, err
	}
	var p struct {
		ID string `json:"id"`
	}
	err = f.call(http.MethodPost, "/tenants/"+t.ID+"/policies", map[string]any{
		"name": "all", "workloads": []string{workload}, "activate": true,
		"schedule": map[string]any{"kind": "window", "at": time.Now().UTC().Add(12 * time.Hour).Format("15:04"), "time_zone": "UTC"},
	}, &p)
	t.policy = p.ID
	return t, err
}

func (f *fleet) awaitSync(t *tenant) error {
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		runs, err := list[run](f, "/tenants/"+t.ID+"/runs")
		if err != nil {
			return err
		}
		for _, r := range runs {
			if r.Action == "sync" && r.State == "done" {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was not synced within %v: %+v", t.sim.Name, patience, runs)
		}
	}
}

// begin starts the backup of a tenant.
func (f *fleet) begin(t *tenant) error {
	return f.call(http.MethodPost, "/tenants/"+t.ID+"/runs", map[string]any{"policy": t.policy}, &t.run)
}

// backup starts the backups of tenants by hand. In what is started so, tenants of up to a
// hundred drives would run in the interactive slots: see due.
func (f *fleet) backup(all []*tenant) {
	f.t.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	for _, t := range all {
		group.Go(func() error { return f.begin(t) })
	}
	if err := group.Wait(); err != nil {
		f.t.Fatal(err)
	}
}

// due lets the time of tenants' policies come: their backups run in the slots of backups,
// however few they are. Within a second the leader sees it.
func (f *fleet) due(all []*tenant) {
	f.t.Helper()
	db, err := sql.Open("pgx", f.catalog)
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	ids := make([]string, len(all))
	for i, t := range all {
		ids[i] = t.ID
	}
	if _, err := db.Exec("UPDATE protections SET next_due_at = $1 WHERE tenant = ANY($2)", time.Now().UnixMicro(), ids); err != nil {
		f.t.Fatal(err)
	}
	for _, t := range all {
		eventually(f.t, "the backup of "+t.sim.Name+" is started", 50*time.Millisecond, func() bool { return f.started(t) })
	}
}

// started finds the first backup of a tenant.
func (f *fleet) started(t *tenant) bool {
	f.t.Helper()
	runs, err := list[run](f, "/tenants/"+t.ID+"/runs")
	if err != nil {
		f.t.Fatal(err)
	}
	at := slices.IndexFunc(runs, func(r run) bool { return r.Action == "backup" })
	if at >= 0 {
		t.run = runs[at]
	}
	return at >= 0
}

// await waits until the runs of all tenants have ended well.
func (f *fleet) await(all []*tenant, longest time.Duration) {
	f.t.Helper()
	deadline := time.Now().Add(longest)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for left := all; len(left) > 0; {
		t := left[0]
		f.must(http.MethodGet, "/tenants/"+t.ID+"/runs/"+t.run.ID, nil, &t.run)
		switch {
		case t.run.State == "done":
			left = left[1:]
			continue
		case t.run.State != "running":
			f.t.Fatalf("the backup of %s ended as %+v", t.sim.Name, t.run)
		case time.Now().After(deadline):
			f.t.Fatalf("the backup of %s was not done within %v: %+v", t.sim.Name, longest, t.run)
		}
		<-tick.C
	}
}
