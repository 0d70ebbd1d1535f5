package engine_test

import (
	"context"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// located is a mailbox that tells where its messages lie.
type located struct {
	*wide
	at    map[string]string // by item; "" it cannot be said
	asked int
}

func (l *located) Locate(e repository.Entry) func(context.Context) (string, error) {
	if e.Kind != "item" {
		return nil
	}
	return func(context.Context) (string, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asked++
		switch folder, ok := l.at[e.ID]; {
		case !ok:
			return "", tenantry.Errorf(tenantry.NotFound, "gone")
		case folder == "":
			return "", tenantry.Errorf(tenantry.Transient, "not now")
		default:
			return folder, nil
		}
	}
}

// TestOneThatVanishedIsAskedFor: a message that vanished from the last of twelve folders is asked for by itself, and no
// folder is read again but the one where it is; what has no answer has all of them read again, as many that vanished do.
func TestOneThatVanishedIsAskedFor(t *testing.T) {
	const folders = 12
	for name, c := range map[string]struct {
		removed  []string
		at       map[string]string
		asked    int
		again    map[string]int // pages of folders that were asked for more than once
		wholeBox bool
	}{
		"gone":                           {removed: []string{"mf11"}, asked: 1},
		"in a folder that was read":      {removed: []string{"mf11"}, at: map[string]string{"mf11": "f02"}, asked: 1, again: map[string]int{"f02": 2}},
		"in a folder that nobody listed": {removed: []string{"mf11"}, at: map[string]string{"mf11": "bin"}, asked: 1, again: map[string]int{"": 2}},
		"nobody can say":                 {removed: []string{"mf11"}, at: map[string]string{"mf11": ""}, asked: 1, wholeBox: true},
		"many":                           {removed: []string{"mf11", "mf00", "mf01", "mf02", "mf03", "mf04", "mf05", "mf06", "mf07", "mf08", "mf09"}, wholeBox: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, m := newWide(t, folders)
			for _, id := range c.removed {
				folder := id[1:]
				w.pages[folder+"|d0"] = removal("d1", id)
			}
			if to, ok := c.at["mf11"]; ok && to == "f02" { // it moved when that one had been read
				w.pages["f02|d0"] = then(listing("d0"), listing("d1", mailIn("mf11", "f02")))
			}
			src := &located{wide: w, at: c.at}
			out := backup(t, src, m)
			if src.asked != c.asked || len(out.Problems) > 0 {
				t.Errorf("asked for %d, %+v", src.asked, out)
			}
			for folder, n := range w.counts {
				want := max(1, c.again[folder])
				if c.wholeBox {
					continue
				}
				if folder == "f11" {
					want = 2 // its empty page was not one
				}
				if n > want {
					t.Errorf("folder %q was asked for %d times, want %d", folder, n, want)
				}
			}
			if c.wholeBox && w.counts["f05"] < 2 {
				t.Errorf("the other folders were not asked again: %v", w.counts)
			}
			if e, ok := m.committed.entries["mf11"]; ok != (c.at["mf11"] == "f02") || ok && e.Parent != "f02" {
				t.Errorf("the message is stored as %+v, %t", e, ok)
			}
		})
	}
}

var _ engine.Locator = (*located)(nil)
