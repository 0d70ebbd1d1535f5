package tenantry

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// However waits overlap, a meter counts the time in which at least one was under way.
func TestMeterCountsTimeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		m := NewMeter(func() time.Time { return now })
		var ends []func()
		var want time.Duration
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch {
			case len(ends) > 0 && rapid.Bool().Draw(t, "end"):
				i := rapid.IntRange(0, len(ends)-1).Draw(t, "which")
				ends[i]()
				ends = append(ends[:i], ends[i+1:]...)
			default:
				ends = append(ends, m.Graph("sharepoint/minute"))
			}
			pass := time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms")) * time.Millisecond
			now = now.Add(pass)
			if len(ends) > 0 {
				want += pass
			}
		}
		d, _ := m.Read() // also of waits that go on
		if got := d.Graph["sharepoint/minute"]; got != want {
			t.Fatalf("measured %v, waited %v", got, want)
		}
		if d.Storage != 0 || d.GraphTotal() != want {
			t.Fatalf("measured %+v", d)
		}
	})
}

func TestMeterTravelsWithTheContext(t *testing.T) {
	nobody := MeterOf(t.Context()) // measures nothing, and is no trouble
	nobody.Graph("x")()
	nobody.Storage()()
	nobody.Spend(Outlook, 1)
	if d, units := nobody.Read(); d.GraphTotal() != 0 || units != nil {
		t.Errorf("nobody measured %+v, %v", d, units)
	}
	m := NewMeter(time.Now)
	ctx := WithMeter(t.Context(), m)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			MeterOf(ctx).Spend(Outlook, 2)
			defer MeterOf(ctx).Storage()()
		})
	}
	group.Wait()
	if _, units := m.Read(); units[Outlook] != 16 || len(units) != 1 {
		t.Errorf("spent %v", units)
	}
}

// A sum loses no time, and keeps only so many names.
func TestDelaysAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Delays {
			d := Delays{Queue: time.Duration(rapid.IntRange(0, 9).Draw(t, name))}
			for i := range rapid.IntRange(0, 12).Draw(t, name+" accounts") {
				if d.Graph == nil {
					d.Graph = map[string]time.Duration{}
				}
				d.Graph[fmt.Sprint("a", i)] = time.Duration(rapid.IntRange(0, 9).Draw(t, "wait"))
			}
			return d
		}
		d, e := draw("d"), draw("e")
		before := len(d.Graph)
		sum := d.Add(e)
		if sum.GraphTotal() != d.GraphTotal()+e.GraphTotal() || sum.Queue != d.Queue+e.Queue {
			t.Fatalf("%+v and %+v make %+v", d, e, sum)
		}
		if len(sum.Graph) > MaxAccounts+1 || len(d.Graph) != before {
			t.Fatalf("%d accounts in the sum; %d of %d left in what was added to", len(sum.Graph), len(d.Graph), before)
		}
		for name, wait := range sum.Graph {
			if rest := sum.Graph[OtherAccounts]; name != OtherAccounts && wait < d.Graph[name]+e.Graph[name] {
				t.Fatalf("%s lost time: %+v, other %v", name, sum, rest)
			}
		}
	})
}
