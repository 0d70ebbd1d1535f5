package api

import (
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
)

// Estimate says how a run gets on, by what it has done so far. It knows nothing of what Microsoft will allow later.
type Estimate struct {
	ItemsPerSecond float64    `json:"items_per_second" doc:"Since the run began, waiting included"`
	BytesPerSecond float64    `json:"bytes_per_second"`
	Items          int64      `json:"items,omitempty" doc:"Items expected in all: as listed, or as many for each task as those that ended had; absent while unknown"`
	CompletesAt    *time.Time `json:"completes_at,omitempty" doc:"When it ends if it goes on like this; absent while unknown"`
}

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
	left := float64(e.Items-r.Counts.Items) / e.ItemsPerSecond
	if left < (100 * 365 * 24 * time.Hour).Seconds() {
		e.CompletesAt = when(now.Add(time.Duration(left * float64(time.Second))))
	}
	return e
}
