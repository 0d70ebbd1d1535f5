package worker

import (
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// UnknownHere is the code of an Invalid error about what this release of the worker does not know: an action, a
// workload. While a fleet is upgraded, workers of the older release meet tasks that only the newer one can do; such
// a task is left for one that can, and is nobody's failure.
const UnknownHere = "unknown_here"

const (
	// unknownWait is how long such a task waits: the worker that meets it next may be a newer one.
	unknownWait = 5 * time.Second
	// unknownTime is how old it may be: an upgrade takes hours, and after one that was taken back nobody knows it.
	unknownTime = 24 * time.Hour
)

// leftToOthers reports whether a slice's error means that another worker may know what this one does not, and when
// the task is offered again. spread, in [0,1), is the draw of the jitter.
func leftToOthers(err error, created, now time.Time, spread float64) (until time.Time, left bool) {
	if tenantry.CodeOf(err) != UnknownHere || now.Sub(created) > unknownTime {
		return time.Time{}, false
	}
	return now.Add(jitter(unknownWait, spread)), true
}
