package worker

import (
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestTotal holds that a backup's slice adds to those before it, and that what they found and did not do is found once:
// the slice comes across it again.
func TestTotal(t *testing.T) {
	before := tenantry.Counts{Items: 16, Total: 90, Skipped: 1, Bytes: 160, Stored: 40, Found: 40, FoundBytes: 400}
	for name, c := range map[string]struct {
		action      tenantry.Action
		slice, want tenantry.Counts
	}{
		"nothing shown yet": {
			tenantry.Backup, tenantry.Counts{Total: 70},
			tenantry.Counts{Items: 16, Total: 86, Skipped: 1, Bytes: 160, Stored: 40, Found: 40, FoundBytes: 400},
		},
		"its page again": {
			tenantry.Backup, tenantry.Counts{Items: 10, Total: 74, Bytes: 100, Stored: 5, Found: 24, FoundBytes: 240},
			tenantry.Counts{Items: 26, Total: 90, Skipped: 1, Bytes: 260, Stored: 45, Found: 40, FoundBytes: 400},
		},
		"the next page": {
			tenantry.Backup, tenantry.Counts{Items: 30, Total: 74, Bytes: 300, Stored: 5, Found: 54, FoundBytes: 540},
			tenantry.Counts{Items: 46, Total: 90, Skipped: 1, Bytes: 460, Stored: 45, Found: 70, FoundBytes: 700},
		},
		"a restore begins anew": {tenantry.Restore, tenantry.Counts{Items: 3}, tenantry.Counts{Items: 3}},
	} {
		j := &job{claim: catalog.Claim{Task: catalog.Task{Action: c.action}}, before: before}
		if got := j.total(c.slice); got != c.want {
			t.Errorf("%s: %+v, expected %+v", name, got, c.want)
		}
	}
}
