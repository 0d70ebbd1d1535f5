package throttle

import (
	"context"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestFeasibility(t *testing.T) {
	drives := func(n int64, units float64) Demand {
		return Demand{Service: tenantry.SharePoint, Resources: n, Units: units}
	}
	boxes := func(n int64, units float64) Demand {
		return Demand{Service: tenantry.Outlook, Resources: n, Units: units}
	}
	for name, test := range map[string]struct {
		demands []Demand
		binding string
		takes   time.Duration // to a hundredth
	}{
		"nothing":                   {nil, "", 0},
		"what is there at once":     {[]Demand{drives(4, 2), boxes(4, 2)}, "", 0},
		"a daily round of drives":   {[]Demand{drives(10_000, 2)}, sharePointMinute, 1000 * time.Second},
		"mailboxes side by side":    {[]Demand{boxes(500, 5_000)}, outlookRequests, 312 * time.Second},
		"all mailboxes there are":   {[]Demand{boxes(100_000, 5_000)}, appRequests, 40_064 * time.Second},
		"mailboxes beside drives":   {[]Demand{boxes(10, 5_000), drives(10_000, 2)}, sharePointMinute, 1000 * time.Second},
		"more than a day's account": {[]Demand{drives(10_000, 200)}, sharePointDay, 24*time.Hour + 800_000*time.Second/20},
		"10 GB into a mailbox":      {[]Demand{{Service: tenantry.Outlook, Resources: 1, Units: 9_000, UploadBytes: 10e9}}, outlookUpload, 20_000 * time.Second},
		"three days":                {[]Demand{drives(1, 3_600_000)}, sharePointDay, 48*time.Hour + 1_200_000*time.Second/20},
	} {
		f := Documented().Feasibility(Size{Users: 10, Licences: 10}, test.demands)
		if f.Binding != test.binding || math.Abs(float64(f.Takes-test.takes)) > 0.01*float64(test.takes) {
			t.Errorf("%s: %v by %q, expected %v by %q", name, f.Takes, f.Binding, test.takes, test.binding)
		}
	}
}

// More work never takes less time, more licences never more; and no account of the answer
// gives more than its limit in any whole number of windows.
func TestFeasibilityIsMonotone(t *testing.T) {
	l := Documented()
	services := []tenantry.Service{tenantry.SharePoint, tenantry.Outlook, tenantry.Identity, tenantry.Teams}
	rapid.Check(t, func(t *rapid.T) {
		size := Size{Licences: rapid.Int64Range(0, 100_000).Draw(t, "licences")}
		var demands, more []Demand
		for _, s := range services {
			d := Demand{
				Service: s, Resources: rapid.Int64Range(0, 200_000).Draw(t, "resources"), Units: rapid.Float64Range(0, 10_000).Draw(t, "units"),
				UploadBytes: rapid.Float64Range(0, 1e12).Draw(t, "bytes"),
			}
			demands = append(demands, d)
			d.Resources += rapid.Int64Range(0, 1000).Draw(t, "more resources")
			d.UploadBytes += rapid.Float64Range(0, 1e12).Draw(t, "more bytes")
			d.Units += rapid.Float64Range(0, 1000).Draw(t, "more units")
			more = append(more, d)
		}
		f := l.Feasibility(size, demands)
		if g := l.Feasibility(size, more); g.Takes < f.Takes {
			t.Fatalf("%v takes %v, and %v only %v", demands, f.Takes, more, g.Takes)
		}
		larger := Size{Licences: size.Licences + rapid.Int64Range(0, 100_000).Draw(t, "more licences")}
		if g := l.Feasibility(larger, demands); g.Takes > f.Takes {
			t.Fatalf("with %d licences %v, with %d %v", size.Licences, f.Takes, larger.Licences, g.Takes)
		}
		for _, a := range f.Accounts {
			windows := math.Floor(float64(f.Takes)/float64(a.Window)) + 1
			if a.Units > windows*float64(a.Limit) {
				t.Fatalf("%s gives %.0f in %v: more than %d in each %v", a.Name, a.Units, f.Takes, a.Limit, a.Window)
			}
			if a.Takes > f.Takes {
				t.Fatalf("%s alone takes %v, all together %v", a.Name, a.Takes, f.Takes)
			}
		}
	})
}

func TestAccountOf(t *testing.T) {
	for code, want := range map[string]string{
		"sharepoint/day": "sharepoint/day", "outlook/concurrency": "outlook/concurrency", "teams/tenant/export": "teams/tenant/export",
		"cooldown/mailbox/t1/box": "cooldown/mailbox", "cooldown/tenant/t1/sharepoint": "cooldown/tenant/sharepoint",
		"cooldown/app/identity/write": "cooldown/app/identity", "book/lost": "book/lost",
		"": "", "TooManyRequests": "", "cooldown/": "", "cooldown/tenant/": "", "sharepoint/other": "",
	} {
		if got := AccountOf(code); got != want {
			t.Errorf("%q is account %q, expected %q", code, got, want)
		}
	}
}

// What a task waits for and spends is told to its meter, a tenant's or mailbox's name not.
func TestAcquireTellsTheMeter(t *testing.T) {
	l := Documented()
	l.Outlook.Requests = Limit{Amount: 20, Window: Duration(time.Second)}
	b := New(connect(t, servertest.Redis(t)), "app", l, small)
	defer func() { _ = b.Close(context.Background()) }()
	if err := b.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	m := tenantry.NewMeter(time.Now)
	ctx := tenantry.WithMeter(t.Context(), m)
	for range 4 {
		p, err := b.Acquire(ctx, outlook("box"))
		if err != nil {
			t.Fatal(err)
		}
		p.Release()
	}
	if p, err := b.Acquire(ctx, sharePoint(5)); err != nil {
		t.Fatal(err)
	} else {
		p.Release()
	}
	covered := sharePoint(Covered)
	if p, err := b.Acquire(ctx, covered); err != nil {
		t.Fatal(err)
	} else {
		p.Release()
	}
	d, spent := m.Read()
	if spent[tenantry.Outlook] != 4 || spent[tenantry.SharePoint] != 5 {
		t.Errorf("spent %v", spent)
	}
	if wait := d.Graph[outlookRequests]; wait < 50*time.Millisecond || wait > 10*time.Second || d.GraphTotal() < wait {
		t.Errorf("waited %v", d.Graph)
	}
}
