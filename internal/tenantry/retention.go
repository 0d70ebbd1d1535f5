package tenantry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Retention says which snapshots of a series are kept: the newest of each period, for so many
// periods that have one (grandfather, father, son), and some whatever their age. A snapshot that
// any rule keeps is kept. The zero value keeps everything.
type Retention struct {
	Last    int `json:"last,omitempty" minimum:"0" maximum:"100000"`               // the newest so many
	Hourly  int `json:"hourly,omitempty" minimum:"0" maximum:"100000"`             // the newest of each of so many hours
	Daily   int `json:"daily,omitempty" minimum:"0" maximum:"100000" example:"30"` // days
	Weekly  int `json:"weekly,omitempty" minimum:"0" maximum:"100000"`             // ISO weeks
	Monthly int `json:"monthly,omitempty" minimum:"0" maximum:"100000"`            // months
	Yearly  int `json:"yearly,omitempty" minimum:"0" maximum:"100000"`             // years
	// Until keeps everything before that time comes.
	Until time.Time `json:"until,omitzero"`
	// DepartedDays is how many days after a resource left Microsoft 365 its last snapshots go too;
	// 0: never. It says nothing of a resource that is there.
	DepartedDays int `json:"departed_days,omitempty" minimum:"0" maximum:"100000"`
	// Zone is the IANA name of the time zone whose hours and days count, the policy's; UTC where it
	// is empty or unknown.
	Zone string `json:"-"`
}

// maxKept bounds each rule: an hour's snapshots of ten years are below it.
const maxKept = 100_000

// Validate returns Invalid naming the field that cannot be.
func (r Retention) Validate() error {
	for _, rule := range append(r.periods(), rule{"last", r.Last, nil}, rule{"departed_days", r.DepartedDays, nil}) {
		if rule.count < 0 || rule.count > maxKept {
			return Errorf(Invalid, "retention: %s is %d; it may be 0 to %d", rule.name, rule.count, maxKept)
		}
	}
	return nil
}

// keepsAll reports whether no rule ever drops a snapshot.
func (r Retention) keepsAll() bool {
	return r.Last == 0 && !slices.ContainsFunc(r.periods(), func(p rule) bool { return p.count > 0 }) && r.Until.IsZero()
}

// RestorePoint is what retention needs to know of a snapshot.
type RestorePoint struct {
	Seq  int64
	Time time.Time
}

// Standing is what retention needs to know of the series beside its snapshots.
type Standing struct {
	Now time.Time
	// Departed is when the resource left Microsoft 365; zero: it is there.
	Departed time.Time
	Hold     string           // why nothing may be dropped: a legal hold, an alarm; empty: it may
	InUse    map[int64]string // snapshots that are being read, and by what
}

// Kept is the verdict on one snapshot.
type Kept struct {
	RestorePoint
	Rules []string // which keep it ("daily", "hold: ..."); none: it goes
}

// Keep decides on the snapshots of a series, newest first, under all policies that protect it: what
// one of them keeps is kept. It is pure. Always kept are the newest, unless the resource has departed
// and the days for that are over under every policy; everything under a hold, and without a policy;
// and what is being read.
func Keep(policies []Retention, points []RestorePoint, s Standing) []Kept {
	verdicts := make([]Kept, len(points))
	for i, p := range points {
		verdicts[i].RestorePoint = p
	}
	slices.SortStableFunc(verdicts, func(a, b Kept) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Seq, a.Seq))
	})
	if s.Hold != "" {
		keepAll(verdicts, s.Hold)
	}
	if len(policies) == 0 {
		keepAll(verdicts, "no policy")
	}
	over := len(policies) > 0
	for _, r := range policies {
		if !r.departed(s) {
			r.mark(verdicts, s)
			over = false
		}
	}
	if len(verdicts) > 0 && !over {
		verdicts[0].by("newest")
	}
	for i := range verdicts {
		if who, ok := s.InUse[verdicts[i].Seq]; ok {
			verdicts[i].by("in use by " + who)
		}
	}
	return verdicts
}

// departed reports whether the days after which nothing of a departed resource is kept are over.
func (r Retention) departed(s Standing) bool {
	return !s.Departed.IsZero() && r.DepartedDays > 0 && !s.Now.Before(s.Departed.AddDate(0, 0, r.DepartedDays)) && !s.Now.Before(r.Until)
}

func (r Retention) mark(verdicts []Kept, s Standing) {
	if r.keepsAll() {
		keepAll(verdicts, "no rule")
		return
	}
	if s.Now.Before(r.Until) {
		keepAll(verdicts, "until "+r.Until.UTC().Format(time.DateOnly))
	}
	for i := range min(r.Last, len(verdicts)) {
		verdicts[i].by("last")
	}
	zone, err := time.LoadLocation(r.Zone)
	if err != nil {
		zone = time.UTC
	}
	for _, p := range r.periods() {
		p.mark(verdicts, zone)
	}
}

// rule keeps the newest snapshot of each of so many periods.
type rule struct {
	name  string
	count int
	key   func(local time.Time) string // of the period that a time lies in
}

func (r Retention) periods() []rule {
	return []rule{
		// With its offset, because an hour comes twice when clocks are set back.
		{"hourly", r.Hourly, func(t time.Time) string { return t.Format("2006-01-02T15Z0700") }},
		{"daily", r.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{"weekly", r.Weekly, func(t time.Time) string { year, week := t.ISOWeek(); return fmt.Sprintf("%d/%02d", year, week) }},
		{"monthly", r.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
		{"yearly", r.Yearly, func(t time.Time) string { return t.Format("2006") }},
	}
}

func (p rule) mark(verdicts []Kept, zone *time.Location) {
	last, left := "", p.count
	for i := range verdicts {
		if left == 0 {
			return
		}
		if key := p.key(verdicts[i].Time.In(zone)); key != last {
			last = key
			left--
			verdicts[i].by(p.name)
		}
	}
}

func (k *Kept) by(rule string) {
	if !slices.Contains(k.Rules, rule) {
		k.Rules = append(k.Rules, rule)
	}
}

// Keep reports whether the snapshot stays.
func (k Kept) Keep() bool { return len(k.Rules) > 0 }

// Why names the rules in one line; empty if it goes.
func (k Kept) Why() string { return strings.Join(k.Rules, ", ") }

func keepAll(verdicts []Kept, rule string) {
	for i := range verdicts {
		verdicts[i].by(rule)
	}
}
