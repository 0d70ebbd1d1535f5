package tenantry

import (
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

func zoneOf(t interface{ Fatal(...any) }, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func hours(from time.Time, n int, step time.Duration) []RestorePoint {
	out := make([]RestorePoint, n)
	for i := range out {
		out[i] = RestorePoint{Seq: int64(i + 1), Time: from.Add(time.Duration(i) * step)}
	}
	return out
}

func kept(verdicts []Kept) []int64 {
	var out []int64
	for _, v := range verdicts {
		if v.Keep() {
			out = append(out, v.Seq)
		}
	}
	return out
}

func TestKeep(t *testing.T) {
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	daily := hours(day, 40, 24*time.Hour) // to 9 April
	now := day.AddDate(0, 0, 40)
	for _, c := range []struct {
		name     string
		policies []Retention
		standing Standing
		want     []int64
	}{
		{"no policy", nil, Standing{}, sequence(40, 1)},
		{"no rule", []Retention{{}}, Standing{}, sequence(40, 1)},
		{"last", []Retention{{Last: 3}}, Standing{}, sequence(40, 38)},
		{"daily and monthly", []Retention{{Daily: 2, Monthly: 2}}, Standing{}, []int64{40, 39, 31}},
		{"weekly", []Retention{{Weekly: 2}}, Standing{}, []int64{40, 36}}, // Sunday, 5 April
		{"yearly", []Retention{{Yearly: 7}}, Standing{}, []int64{40}},
		{"two policies", []Retention{{Last: 1}, {Daily: 3}}, Standing{}, []int64{40, 39, 38}},
		{"a policy without rules beside", []Retention{{Last: 1}, {}}, Standing{}, sequence(40, 1)},
		{"until", []Retention{{Last: 1, Until: now.Add(time.Hour)}}, Standing{}, sequence(40, 1)},
		{"until is over", []Retention{{Last: 1, Until: now}}, Standing{}, []int64{40}},
		{"only until, over", []Retention{{Until: now}}, Standing{}, []int64{40}},
		{"hold", []Retention{{Last: 1}}, Standing{Hold: "hold: case 7"}, sequence(40, 1)},
		{"in use", []Retention{{Last: 1}}, Standing{InUse: map[int64]string{3: "task t"}}, []int64{40, 3}},
		{"departed", []Retention{{Last: 1}}, Standing{Departed: day}, []int64{40}},
		{"departed long ago", []Retention{{Last: 1, DepartedDays: 30}}, Standing{Departed: day}, nil},
		{"departed of late", []Retention{{Last: 1, DepartedDays: 41}}, Standing{Departed: day}, []int64{40}},
		{"departed, one policy keeps", []Retention{{Last: 1, DepartedDays: 30}, {Last: 2}}, Standing{Departed: day}, []int64{40, 39}},
		{"departed, held", []Retention{{Last: 1, DepartedDays: 30}}, Standing{Departed: day, Hold: "hold: x"}, sequence(40, 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.standing.Now = now
			if got := kept(Keep(c.policies, daily, c.standing)); !slices.Equal(got, c.want) {
				t.Errorf("kept %v, expected %v", got, c.want)
			}
		})
	}
}

func sequence(from, to int64) []int64 {
	var out []int64
	for n := from; n >= to; n-- {
		out = append(out, n)
	}
	return out
}

// Days have 23 and 25 hours when clocks change; the hour that comes twice is two hours.
func TestKeepWhenClocksChange(t *testing.T) {
	const vienna = "Europe/Vienna"
	zone := zoneOf(t, vienna)
	autumn := hours(time.Date(2026, 10, 25, 0, 0, 0, 0, zone), 49, time.Hour) // 25 hours, and the day after
	s := Standing{Now: autumn[48].Time}
	if got := kept(Keep([]Retention{{Daily: 2, Zone: vienna}}, autumn, s)); !slices.Equal(got, []int64{49, 25}) {
		t.Errorf("daily keeps %v", got)
	}
	if got := kept(Keep([]Retention{{Hourly: 49, Zone: vienna}}, autumn, s)); len(got) != 49 {
		t.Errorf("hourly keeps %d of 49 hours", len(got))
	}
	spring := hours(time.Date(2026, 3, 29, 0, 30, 0, 0, zone), 24, time.Hour) // 23 hours, and one
	s.Now = spring[23].Time
	if got := kept(Keep([]Retention{{Daily: 2, Zone: vienna}}, spring, s)); !slices.Equal(got, []int64{24, 23}) {
		t.Errorf("daily keeps %v", got)
	}
}

func drawRetention(t *rapid.T, label string) Retention {
	n := rapid.IntRange(0, 6)
	return Retention{
		Last: n.Draw(t, label+" last"), Hourly: n.Draw(t, label+" hourly"), Daily: n.Draw(t, label+" daily"),
		Weekly: n.Draw(t, label+" weekly"), Monthly: n.Draw(t, label+" monthly"), Yearly: n.Draw(t, label+" yearly"),
	}
}

func TestKeepProperties(t *testing.T) {
	zones := []string{"", "Europe/Vienna", "America/St_Johns", "Pacific/Apia"}
	rapid.Check(t, func(t *rapid.T) {
		begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var points []RestorePoint
		for i, hour := range rapid.SliceOfN(rapid.Int64Range(0, 3*365*24*6), 1, 60).Draw(t, "times in ten minutes") {
			points = append(points, RestorePoint{Seq: int64(i + 1), Time: begin.Add(time.Duration(hour) * 10 * time.Minute)})
		}
		slices.SortFunc(points, func(a, b RestorePoint) int { return a.Time.Compare(b.Time) })
		for i := range points {
			points[i].Seq = int64(i + 1)
		}
		s := Standing{Now: points[len(points)-1].Time}
		rules := drawRetention(t, "rules")
		rules.Zone = rapid.SampledFrom(zones).Draw(t, "zone")
		got := kept(Keep([]Retention{rules}, points, s))
		if len(got) == 0 || got[0] != points[len(points)-1].Seq {
			t.Fatalf("the newest is not kept: %v", got)
		}
		// A rule that keeps more never keeps less, nor does another policy beside.
		more := rules
		more.Daily += 2
		more.Monthly++
		if rules.keepsAll() {
			more = rules
		}
		for _, policies := range [][]Retention{{more}, {rules, drawRetention(t, "other")}} {
			wider := kept(Keep(policies, points, s))
			for _, seq := range got {
				if !slices.Contains(wider, seq) {
					t.Fatalf("%v drops %d, which %v keeps", policies, seq, rules)
				}
			}
		}
		// What was kept is kept again: pruning twice is pruning once.
		var left []RestorePoint
		for _, p := range points {
			if slices.Contains(got, p.Seq) {
				left = append(left, p)
			}
		}
		if again := kept(Keep([]Retention{rules}, left, s)); !slices.Equal(again, got) {
			t.Fatalf("kept %v, then %v", got, again)
		}
	})
}

func TestRetentionValidate(t *testing.T) {
	for _, r := range []Retention{{Last: -1}, {Daily: maxKept + 1}, {DepartedDays: -1}, {Yearly: -5}} {
		if KindOf(r.Validate()) != Invalid {
			t.Errorf("%+v is taken", r)
		}
	}
	if err := (Retention{Last: 1, Hourly: maxKept}).Validate(); err != nil {
		t.Error(err)
	}
}
