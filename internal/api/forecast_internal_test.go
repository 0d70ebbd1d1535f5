package api

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestForecasts(t *testing.T) {
	midnight := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		at      time.Duration
		used    int64
		open    int64
		units   float64
		backlog int64
		want    int64
	}{
		"half a day goes on as it was":      {12 * time.Hour, 1000, 0, 0, 0, 2000},
		"more is open than the day brings":  {12 * time.Hour, 1000, 500, 3, 1500, 2500},
		"what is open is part of the day":   {12 * time.Hour, 1000, 10, 3, 30, 2000},
		"a minute foretells little":         {time.Minute, 60, 0, 0, 0, 60 + 1439},
		"nothing is known of a fresh flow":  {6 * time.Hour, 0, 7, 0, 0, 0},
		"the last minute brings what it is": {24*time.Hour - time.Minute, 1439, 0, 0, 0, 1440},
	} {
		flows := []catalog.FlowState{{Service: tenantry.SharePoint, Open: test.open, Units: test.units}, {Service: tenantry.NoService, Open: 3}}
		got := forecasts(midnight.Add(test.at), map[tenantry.Service]int64{tenantry.SharePoint: test.used}, flows)
		if len(got) != 1 || got[0].Backlog != test.backlog || got[0].Expected != test.want || got[0].OpenTasks != test.open {
			t.Errorf("%s: %+v, expected %d, backlog %d", name, got, test.want, test.backlog)
		}
	}
}

// A forecast is never less than what is known: what was used, and what is open.
func TestForecastCoversWhatIsKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "at"), 0).UTC()
		used := rapid.Int64Range(0, 6_000_000).Draw(t, "used")
		flow := catalog.FlowState{Service: tenantry.Outlook, Open: rapid.Int64Range(0, 200_000).Draw(t, "open"), Units: rapid.Float64Range(0, 1000).Draw(t, "units")}
		f := forecasts(at, map[tenantry.Service]int64{tenantry.Outlook: used}, []catalog.FlowState{flow})[0]
		if f.Expected < used+f.Backlog || f.Expected > max(used+f.Backlog, 25*used) {
			t.Fatalf("at %v with %+v: %+v", at, flow, f)
		}
	})
}
