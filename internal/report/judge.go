package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// What befalls at least sharedLeast tenants, and one in sharedPart of all, within sharedTime is one alarm of
	// everybody.
	sharedLeast = 3
	sharedPart  = 10
	sharedTime  = time.Hour

	// many marks shared causes that are the same trouble of many tenants.
	many = "many/"
)

// wrong is what is wrong with whom. It is pure: it decides what is told, and tells nobody.
type wrong struct {
	now    time.Time
	settle time.Duration
	stored map[place]catalog.Trouble
	counts map[place]int64 // how much there is now
	shared map[string]bool // causes that befall many
	looked map[tenantry.TenantID]bool
}

// place is where something is wrong.
type place struct {
	tenant tenantry.TenantID // "": everybody
	cause  string
}

func newWrong(stored []catalog.Trouble, now time.Time, settle time.Duration) *wrong {
	w := &wrong{
		now: now, settle: settle, stored: map[place]catalog.Trouble{}, counts: map[place]int64{},
		shared: map[string]bool{}, looked: map[tenantry.TenantID]bool{},
	}
	for _, t := range stored {
		p := place{t.Tenant, t.Cause}
		w.stored[p], w.counts[p] = t, t.Now
		if strings.HasPrefix(t.Cause, catalog.TroubleShared) {
			w.counts[p] = 0 // unless it is found again
		}
	}
	return w
}

// count says how much of a cause there is now.
func (w *wrong) count(tenant tenantry.TenantID, cause string, n int64) {
	w.counts[place{tenant, cause}] = n
}

// tenants are those whom something may have to be told, the provider first.
func (w *wrong) tenants() []tenantry.TenantID {
	var ids []tenantry.TenantID
	for p := range w.counts {
		ids = append(ids, p.tenant)
	}
	for id := range w.looked {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// at is how the trouble stands with what is counted now: what is new is untold, what is over need not be told.
func (w *wrong) at(p place) catalog.Trouble {
	t := w.stored[p]
	t.Tenant, t.Cause, t.Now = p.tenant, p.cause, 0
	n := w.counts[p]
	if n > t.Seen {
		if t.Untold == 0 {
			t.Since = w.now
		}
		t.Untold += n - t.Seen
	}
	if t.Seen = n; n == 0 {
		t.Untold = 0
	}
	return t
}

// share finds the causes that befall many of so many tenants now, and makes each one trouble of everybody.
func (w *wrong) share(tenants int64) {
	fresh := map[string]int64{}
	for p := range w.counts {
		if t := w.at(p); p.tenant != "" && (t.Untold > 0 && w.within(t.Since, sharedTime) || w.within(t.ToldAt, sharedTime)) {
			fresh[p.cause]++
		}
	}
	for cause, n := range fresh {
		if n >= max(sharedLeast, (tenants+sharedPart-1)/sharedPart) {
			w.shared[cause] = true
			w.count("", catalog.TroubleShared+many+cause, n)
		}
	}
}

// within reports whether a time was less than d ago.
func (w *wrong) within(t time.Time, d time.Duration) bool { return !t.IsZero() && w.now.Sub(t) < d }

// verdict is what one tenant, or the provider, is told, and what is to be remembered.
type verdict struct {
	atOnce, digest, over []catalog.Trouble // with what was untold
	changed              []catalog.Trouble
}

// judge decides what is told, as the package comment says, and who is told that.
func (w *wrong) judge(tenant tenantry.TenantID, who tenantry.Notices) (v verdict) {
	for p := range w.counts {
		if p.tenant != tenant {
			continue
		}
		was, t := w.stored[p], w.at(p)
		switch {
		case w.isOver(was, t) && who.Speaks():
			v.over = append(v.over, t)
		case t.Untold == 0:
		case !who.Speaks():
			t.Untold = 0
		case w.within(t.Since, w.settle): // wait for its like
		case !w.shared[t.Cause] && w.within(t.Since, sharedTime) && !sameDay(t.ToldAt, w.now, who.Location()):
			v.atOnce = append(v.atOnce, t)
			t.Untold, t.ToldAt = 0, w.now
		case !w.now.Before(who.NextMorning(t.Since)):
			if who.Report != tenantry.ReportDaily { // that tells it, too
				v.digest = append(v.digest, t)
			}
			t.Untold = 0
		}
		if was.Now, was.Tenant, was.Cause = 0, p.tenant, p.cause; was != t {
			v.changed = append(v.changed, t)
		}
	}
	for _, list := range [][]catalog.Trouble{v.atOnce, v.digest, v.over, v.changed} {
		slices.SortFunc(list, func(a, b catalog.Trouble) int { return cmp.Compare(a.Cause, b.Cause) })
	}
	return v
}

// isOver reports whether what held up everybody, and was told, is gone. That many tenants had the same trouble is
// never over: each has to get over it by itself.
func (w *wrong) isOver(was, t catalog.Trouble) bool {
	return was.Tenant == "" && strings.HasPrefix(was.Cause, catalog.TroubleShared) && !strings.HasPrefix(was.Cause, catalog.TroubleShared+many) &&
		was.Seen > 0 && was.Untold == 0 && !was.ToldAt.IsZero() && t.Seen == 0
}

func sameDay(a, b time.Time, zone *time.Location) bool {
	return !a.IsZero() && a.In(zone).Format(time.DateOnly) == b.In(zone).Format(time.DateOnly)
}
