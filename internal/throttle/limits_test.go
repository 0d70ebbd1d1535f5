package throttle

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestLimitsAreConfiguration(t *testing.T) {
	want := Documented()
	if err := want.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, both := range map[string]struct {
		out func(any) ([]byte, error)
		in  func([]byte, any) error
	}{"json": {json.Marshal, json.Unmarshal}, "yaml": {yaml.Marshal, yaml.Unmarshal}} {
		text, err := both.out(want)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "10m0s") {
			t.Errorf("%s: windows are not readable: %.200s", name, text)
		}
		var got Limits
		if err := both.in(text, &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	l := Documented() // an override names only what differs
	if err := yaml.Unmarshal([]byte("outlook: {requests: {amount: 50, window: 10s}}"), &l); err != nil {
		t.Fatal(err)
	}
	if l.Outlook.Requests != per(50, 10*time.Second) || l.Outlook.Concurrency != 4 {
		t.Errorf("%+v", l.Outlook)
	}
}

func TestLimitsOfAFasterClock(t *testing.T) {
	documented := Documented()
	fast := documented.Faster(20)
	if err := fast.Validate(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(Documented(), documented); d != "" {
		t.Errorf("the limits it was asked of changed: %s", d)
	}
	was, is := documented.named(), fast.named()
	for i := range was {
		if is[i].Amount != was[i].Amount || is[i].Window != was[i].Window/20 {
			t.Errorf("%s: %+v of %+v", is[i].name, *is[i].Limit, *was[i].Limit)
		}
	}
	if got, want := fast.Teams.Kinds[TeamsMessages], (TeamsLimit{App: 4_000, Tenant: 400, Resource: 20}); got != want {
		t.Errorf("teams: %+v", got)
	}
	if d := cmp.Diff(documented, fast.Faster(0.05)); d != "" {
		t.Errorf("and slower again: %s", d)
	}
}

func TestLimitsValidate(t *testing.T) {
	for want, spoil := range map[string]func(*Limits){
		"app":                  func(l *Limits) { l.App.Amount = 0 },
		"outlook.requests":     func(l *Limits) { l.Outlook.Requests.Window = 0 },
		"outlook.concurrency":  func(l *Limits) { l.Outlook.KeepFree = 4 },
		"longest_request":      func(l *Limits) { l.Outlook.LongestRequest = 0 },
		"permit_life":          func(l *Limits) { l.Outlook.PermitLife = 0 },
		"slack":                func(l *Limits) { l.Slack = 0 },
		"reserve":              func(l *Limits) { l.Reserve = 1 },
		"tiers: at least one":  func(l *Limits) { l.SharePoint.Tiers = nil },
		"tiers[4].licences":    func(l *Limits) { l.SharePoint.Tiers[4].Licences = 1 },
		"sharepoint.tiers[0].": func(l *Limits) { l.SharePoint.Tiers[0].Day.Amount = -1 },
		"tiers[1].tenant":      func(l *Limits) { l.SharePoint.Tiers[1].Tenant.Amount = -1 },
		"sharepoint.egress":    func(l *Limits) { l.SharePoint.Egress.Window = 0 },
		"teams.kinds.team":     func(l *Limits) { l.Teams.Kinds[TeamsTeam] = TeamsLimit{App: 1} },
		"kind other":           func(l *Limits) { delete(l.Teams.Kinds, TeamsOther) },
		"teams.sustained":      func(l *Limits) { l.Teams.Sustained = 0 },
		"pace.fall":            func(l *Limits) { l.Pace.Fall = 2 },
		"pace.recovery":        func(l *Limits) { l.Pace.Recovery = 0 },
		"pace.mailboxes":       func(l *Limits) { l.Pace.Mailboxes = 1 },
	} {
		l := Documented()
		spoil(&l)
		if err := l.Validate(); tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestTiersBySize(t *testing.T) {
	l := Documented()
	for _, tc := range []struct {
		size             Size
		identity, minute int64
	}{
		{Size{}, 3_500, 1_250},
		{Size{Users: 49, Licences: 1_000}, 3_500, 1_250},
		{Size{Users: 50, Licences: 1_001}, 5_000, 2_500},
		{Size{Users: 500, Licences: 15_000}, 5_000, 3_750},
		{Size{Users: 501, Licences: 50_000}, 8_000, 5_000},
		{Size{Users: 1e6, Licences: 1e6}, 8_000, 6_250},
	} {
		if got := l.Identity.units(tc.size).Amount; got != tc.identity {
			t.Errorf("%+v: identity %d", tc.size, got)
		}
		if got := l.SharePoint.tier(tc.size).Minute.Amount; got != tc.minute {
			t.Errorf("%+v: minute %d", tc.size, got)
		}
	}
}

// The shape of every account keeps the arithmetic that the package comment promises.
func TestAccountShapes(t *testing.T) {
	l := Documented()
	for _, c := range []Call{
		{Service: tenantry.Identity, Write: true, Units: 5}, {Service: tenantry.SharePoint, Units: 5, UploadBytes: 1 << 40, DownloadBytes: 1},
		{Service: tenantry.Teams}, {Service: tenantry.Teams, Kind: TeamsMessages, Resource: "general"},
		{Service: tenantry.Outlook, Mailbox: "m", UploadBytes: 1},
	} {
		for _, a := range l.accounts(c, Size{}) {
			if a.life > longestLife && !a.alone || a.Life > a.Window/20 && a.Name != appRequests {
				t.Errorf("%s: a block lives %v", a.Name, a.life)
			}
			if a.Ring {
				continue
			}
			if slack := a.Cap + a.Out; slack > max(0.04*float64(a.Limit), leastSlack) ||
				slack+a.Rate*float64(a.Window) > float64(a.Limit)+1e-6 {
				t.Errorf("%s: slack %v, refill %v of %d", a.Name, slack, a.Rate*float64(a.Window), a.Limit)
			}
			if a.Cap < float64(a.Need) || (a.Limit >= tiny && a.Need < largestBlock && a.Cap < float64(a.Need)+a.Floor) {
				t.Errorf("%s: holds %v, a call may need %d", a.Name, a.Cap, a.Need)
			}
		}
	}
}
