package throttle

import (
	"math"
	"testing"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// The documented limits, less 4 % of slack.
func TestRate(t *testing.T) {
	l := Documented()
	for _, test := range []struct {
		service  tenantry.Service
		licences int64
		want     float64
	}{
		{tenantry.SharePoint, 0, 20},
		{tenantry.SharePoint, 1_000, 20},
		{tenantry.SharePoint, 1_001, 40},
		{tenantry.SharePoint, 100_000, 100},
		{tenantry.Teams, 7, 23.904},
		{tenantry.Outlook, 7, 0},
		{tenantry.Identity, 7, 0},
		{tenantry.NoService, 7, 0},
	} {
		if got := l.Rate(test.service, Size{Licences: test.licences}); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%s with %d licences: %v a second, want %v", test.service, test.licences, got, test.want)
		}
	}
}
