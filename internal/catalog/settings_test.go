package catalog

import (
	"testing"
	"time"
)

func TestNextSyncIsStable(t *testing.T) {
	added := time.Date(2026, 11, 1, 14, 30, 0, 0, time.UTC)
	for _, test := range []struct {
		now   time.Time
		every time.Duration
		want  time.Time
	}{
		{added, 0, added.Add(24 * time.Hour)},
		{added.Add(time.Minute), 0, added.Add(24 * time.Hour)},
		{added.Add(24 * time.Hour), 0, added.Add(48 * time.Hour)},
		{added.Add(24*time.Hour + 3*time.Minute), 0, added.Add(48 * time.Hour)},
		{added.Add(10*24*time.Hour + time.Hour), 0, added.Add(11 * 24 * time.Hour)},
		{added.Add(-time.Hour), 0, added.Add(24 * time.Hour)},
		{added.Add(90 * time.Minute), time.Hour, added.Add(2 * time.Hour)},
		{added.Add(90 * time.Minute), 168 * time.Hour, added.Add(168 * time.Hour)},
	} {
		if got := NextSync(added, test.now, test.every); !got.Equal(test.want) {
			t.Errorf("after %v, every %v: %v, want %v", test.now, test.every, got, test.want)
		}
	}
}
