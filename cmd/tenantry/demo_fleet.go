package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/graphsim"
)

// protected is one demo tenant: what the fleet knows of it beside its simulated truth.
type protected struct {
	apiclient.Tenant
	sim       *graphsim.Tenant
	policy    string
	resources int              // users, groups and sites that the fleet knows
	series    int              // workloads that have a snapshot
	counts    apiclient.Counts // what the newest snapshots hold, and what all backups stored
	took      time.Duration    // of all backups
}

// runLimit is the longest time a demo waits for one run.
const runLimit = 3 * time.Minute

// add adds the tenant to the fleet and consents as its administrator would, in a browser.
func (w *world) add(ctx context.Context, sim *graphsim.Tenant) (*protected, error) {
	added, err := w.api.AddTenantWithResponse(ctx, apiclient.NewTenant{Name: sim.Spec().Name, Directory: sim.Spec().Domain})
	if err != nil {
		return nil, err
	}
	p := &protected{Tenant: *added.JSON201, sim: sim}
	consent, err := w.api.StartConsentWithResponse(ctx, p.Id, apiclient.AskConsent{})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, consent.JSON200.Url+"&auto=accept&as="+sim.ID(), nil)
	if err != nil {
		return nil, err
	}
	page, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("consent of %s: %w", p.Name, err)
	}
	defer page.Body.Close()
	_, _ = io.Copy(io.Discard, page.Body)
	if page.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("consent of %s: the page answers %s", p.Name, page.Status)
	}
	return p, nil
}

// until polls until done says yes; what is awaited happens in other processes.
func until(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}

// connected waits until the fleet has proved the consent.
func (w *world) connected(ctx context.Context, p *protected) error {
	return until(ctx, "connect "+p.Name, func(ctx context.Context) (bool, error) {
		answer, err := w.api.GetTenantWithResponse(ctx, p.Id)
		if err != nil {
			return false, err
		}
		p.Tenant = *answer.JSON200
		if p.State == "refused" {
			return false, fmt.Errorf("%s is refused: %s", p.Name, p.Reason)
		}
		return p.State == "connected", nil
	})
}

// synced waits until the latest directory sync of the tenant has ended.
func (w *world) synced(ctx context.Context, p *protected) error {
	return until(ctx, "sync "+p.Name, func(ctx context.Context) (bool, error) {
		answer, err := w.api.ListRunsWithResponse(ctx, p.Id, &apiclient.ListRunsParams{})
		if err != nil {
			return false, err
		}
		for _, r := range answer.JSON200.Items {
			if r.Action == "sync" {
				return r.State != "running", failed(r)
			}
		}
		return false, nil
	})
}

// failed tells why a run that has ended is not done.
func failed(r apiclient.Run) error {
	if r.State == "running" || r.State == "done" {
		return nil
	}
	reason := ""
	if len(r.Problems) > 0 {
		reason = fmt.Sprintf(": %s %s: %s", r.Problems[0].Resource, r.Problems[0].Workload, r.Problems[0].Reason)
	}
	return fmt.Errorf("%s run %s ended %s, %d of %d tasks failed%s", r.Action, r.Id, r.State, r.TasksFailed, r.Tasks, reason)
}

// awaitRun waits until a run has ended; one that failed is an error.
func (w *world) awaitRun(ctx context.Context, p *protected, id string, seen func(apiclient.Run)) (apiclient.Run, error) {
	var r apiclient.Run
	err := until(ctx, "run "+id+" of "+p.Name, func(ctx context.Context) (bool, error) {
		answer, err := w.api.GetRunWithResponse(ctx, p.Id, id)
		if err != nil {
			return false, err
		}
		r = *answer.JSON200
		if seen != nil {
			seen(r)
		}
		return r.State != "running", failed(r)
	})
	return r, err
}

// backup starts a run of every tenant's policy and shows live bars until all have
// ended. midway is called once when about a third of the items are done.
func (w *world) backup(ctx context.Context, out io.Writer, tenants []*protected, expectItems map[string]int64, midway func() error) (map[string]apiclient.Run, error) {
	started := map[string]string{}
	for _, p := range tenants {
		answer, err := w.api.StartRunWithResponse(ctx, p.Id, apiclient.NewRun{Policy: p.policy})
		if err != nil {
			return nil, err
		}
		started[p.Id] = answer.JSON201.Id
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bars := newTenantBars(out, tenants, expectItems)
	var (
		mu    sync.Mutex
		group sync.WaitGroup
		runs  = map[string]apiclient.Run{}
		errs  []error
		once  sync.Once
	)
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		cancel()
	}
	for _, p := range tenants {
		group.Go(func() {
			begun := time.Now()
			r, err := w.awaitRun(ctx, p, started[p.Id], func(r apiclient.Run) {
				bars.show(p.Id, r.Progress.Items)
				if midway != nil && r.Progress.Items > expectItems[p.Id]/3 {
					once.Do(func() {
						if err := midway(); err != nil {
							fail(err)
						}
					})
				}
			})
			p.took += time.Since(begun)
			p.counts.Stored += r.Progress.Stored
			bars.done(p.Id, err == nil)
			if err != nil {
				fail(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			runs[p.Id] = r
		})
	}
	group.Wait()
	bars.wait()
	if len(errs) > 0 {
		return runs, errs[0]
	}
	return runs, nil
}

// snapshot returns the newest snapshot of a series, if it has one.
func (w *world) snapshot(ctx context.Context, p *protected, resource, workload string) (apiclient.Snapshot, bool, error) {
	answer, err := w.api.ListSnapshotsWithResponse(ctx, p.Id, resource, apiclient.ListSnapshotsParamsWorkload(workload), &apiclient.ListSnapshotsParams{})
	if err != nil || len(answer.JSON200.Items) == 0 {
		return apiclient.Snapshot{}, false, err
	}
	return answer.JSON200.Items[0], true, nil
}

// restore starts a restore and waits for it.
func (w *world) restore(ctx context.Context, p *protected, r apiclient.NewRestore) (apiclient.Run, error) {
	answer, err := w.api.StartRestoreWithResponse(ctx, p.Id, r)
	if err != nil {
		return apiclient.Run{}, err
	}
	return w.awaitRun(ctx, p, answer.JSON201.Id, nil)
}

// resources lists everything that the fleet knows of a tenant.
func (w *world) resources(ctx context.Context, p *protected) ([]apiclient.Resource, error) {
	var all []apiclient.Resource
	limit := int64(pageRows)
	params := &apiclient.ListResourcesParams{Limit: &limit}
	for {
		answer, err := w.api.ListResourcesWithResponse(ctx, p.Id, params)
		if err != nil {
			return nil, err
		}
		all = append(all, answer.JSON200.Items...)
		if answer.JSON200.Next == "" {
			return all, nil
		}
		params.After = &answer.JSON200.Next
	}
}

// itemsInSnapshots adds up what the newest snapshots of all users hold.
func (w *world) itemsInSnapshots(ctx context.Context, p *protected) (int64, error) {
	all, err := w.resources(ctx, p)
	if err != nil {
		return 0, err
	}
	p.resources, p.series, p.counts.Items, p.counts.Bytes = len(all), 0, 0, 0
	for _, r := range all {
		for _, workload := range r.Workloads {
			if r.Kind != "user" {
				continue
			}
			s, ok, err := w.snapshot(ctx, p, r.Id, workload)
			if err != nil {
				return 0, err
			}
			if ok {
				p.series++
				p.counts.Items += s.Counts.Items
				p.counts.Bytes += s.Counts.Bytes
			}
		}
	}
	return p.counts.Items, nil
}
