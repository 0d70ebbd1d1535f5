package api

import (
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// Estimate says how a run, or a single task, gets on, by what it has done so far, and by what Microsoft allows for the rest.
type Estimate struct {
	ItemsPerSecond float64    `json:"items_per_second" doc:"Since it began, waiting included"`
	BytesPerSecond float64    `json:"bytes_per_second"`
	Items          int64      `json:"items,omitempty" doc:"Items expected in all: as listed, or as many for each task as those that ended had; absent while unknown"`
	Bytes          int64      `json:"bytes,omitempty" doc:"Bytes expected in all, if the rest are as large as those so far"`
	CompletesAt    *time.Time `json:"completes_at,omitempty" doc:"When it ends if it goes on like this, and not before Microsoft's limits allow the rest; absent while unknown"`
	Takes          int64      `json:"takes_seconds,omitempty" doc:"How long the rest takes at least, by what Microsoft allows, from full accounts on"`
	Binding        string     `json:"binding,omitempty" doc:"The account that makes it so" example:"sharepoint/day"`
}

// allow has an estimate regard what Microsoft allows: the rest of the run costs as much for each item as what was done,
// as far as that is booked. Restores send their bytes, too.
func (e *Estimate) allow(l throttle.Limits, size throttle.Size, r catalog.Run, spent map[tenantry.Service]int64, now time.Time) {
	if e == nil || e.Items <= r.Counts.Items || r.Counts.Items == 0 {
		return
	}
	rest := float64(e.Items-r.Counts.Items) / float64(r.Counts.Items)
	resources := max(1, r.Tasks-r.Done-r.Failed-r.Canceled)
	upload := 0.0
	if r.Action == tenantry.Restore {
		upload = float64(r.Counts.Bytes) * rest / float64(resources)
	}
	var demands []throttle.Demand
	for _, service := range slices.Sorted(maps.Keys(spent)) {
		demands = append(demands, throttle.Demand{
			Service: service, Resources: resources, Units: float64(spent[service]) * rest / float64(resources), UploadBytes: upload,
		})
	}
	found := l.Feasibility(size, demands)
	if found.Takes <= 0 || found.Takes >= longest {
		return
	}
	e.Takes, e.Binding = seconds(found.Takes), found.Binding
	if at := now.Add(found.Takes); e.CompletesAt == nil || at.After(*e.CompletesAt) {
		e.CompletesAt = when(at)
	}
}

// asRun is a task that is under way as a run of its own, for an estimate; ok is false for any other.
func asRun(t catalog.Task) (r catalog.Run, ok bool) {
	switch t.State {
	case catalog.TaskDone, catalog.TaskFailed, catalog.TaskCanceled:
		return r, false
	}
	return catalog.Run{Action: t.Action, State: catalog.RunRunning, Tasks: 1, Counts: t.Counts, CreatedAt: t.StartedAt}, !t.StartedAt.IsZero()
}

// shareOf is what a task's items have cost so far, if each item of its run cost as much of the service that the task asks.
func shareOf(spent map[tenantry.Service]int64, t catalog.Task, run catalog.Run) map[tenantry.Service]int64 {
	units, ok := spent[t.Service]
	if !ok || run.Counts.Items < t.Counts.Items || t.Counts.Items == 0 {
		return spent
	}
	return map[tenantry.Service]int64{t.Service: int64(float64(units) * float64(t.Counts.Items) / float64(run.Counts.Items))}
}

// longest is what no estimate exceeds: it says nothing then.
const longest = 100 * 365 * 24 * time.Hour

// estimateOf looks ahead for a run that has begun to do something; nil for any other.
func estimateOf(r catalog.Run, now time.Time) *Estimate {
	took := now.Sub(r.CreatedAt).Seconds()
	if r.State != catalog.RunRunning || r.Counts.Items == 0 || r.CreatedAt.IsZero() || took <= 0 {
		return nil
	}
	e := &Estimate{ItemsPerSecond: float64(r.Counts.Items) / took, BytesPerSecond: float64(r.Counts.Bytes) / took, Items: r.Counts.Total}
	if ended := r.Done + r.Failed + r.Canceled; ended > 0 && ended < r.Tasks {
		// What runs now has counted too: the mean of those that ended is at most this.
		e.Items = max(e.Items, int64(float64(r.Counts.Items)/float64(ended)*float64(r.Tasks)))
	}
	if e.Items <= r.Counts.Items {
		e.Items = 0
		return e
	}
	e.Bytes = int64(float64(r.Counts.Bytes) / float64(r.Counts.Items) * float64(e.Items))
	left := float64(e.Items-r.Counts.Items) / e.ItemsPerSecond
	if left < longest.Seconds() {
		e.CompletesAt = when(now.Add(time.Duration(left * float64(time.Second))))
	}
	return e
}
