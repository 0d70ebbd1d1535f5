package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestFound holds that what a page shows is found before it is done: each item once, with the bytes that its listing says,
// less what is stored already, also where the slice ends in the middle of a page.
func TestFound(t *testing.T) {
	const n, cut = 40, 16 // so many are read between two looks at whether the slice is over
	page := func(changed int) engine.Page {
		p := engine.Page{Next: "d1", Done: true}
		for i := range n {
			version := "1"
			if i < changed {
				version = "2"
			}
			item := file(fmt.Sprintf("i%02d", i), version, strings.Repeat(version, 500), nil)
			item.Size = 501 + int64(len(item.Raw)) // it has two parts
			p.Items = append(p.Items, item)
		}
		return p
	}
	each := page(0).Items[0].Size
	m, drain := newMemory(), make(chan struct{})
	s := &script{pages: map[string]func() (engine.Page, error){"|": once(page(0)), "|d1": once(page(20))}}
	slice := func(drain chan struct{}) (out engine.Outcome, seen []tenantry.Counts) {
		m.begin()
		out, err := engine.Backup(t.Context(), s, m, engine.Limits{Concurrency: 1}, drain, func(c tenantry.Counts) {
			if c.Found < c.Items || c.FoundBytes < c.Bytes || c.Total < c.Found {
				t.Errorf("less is found, or expected, than is done: %+v", c)
			}
			seen = append(seen, c)
		})
		if err != nil {
			t.Fatal(err)
		}
		return out, seen
	}

	close(drain)
	out, _ := slice(drain)
	want := tenantry.Counts{Items: cut, Total: n, Bytes: cut * each, Found: n, FoundBytes: n * each}
	if out.Done || out.Counts != want {
		t.Errorf("a slice that ends in the middle of the page: %+v, expected %+v", out.Counts, want)
	}
	out, seen := slice(nil)
	for _, c := range seen { // of the page that is read again, only what was not done is found
		if c.Found > n-cut || c.FoundBytes > (n-cut)*each {
			t.Errorf("found twice: %+v", c)
		}
	}
	want = tenantry.Counts{Items: n - cut, Total: n - cut, Bytes: (n - cut) * each, Found: n - cut, FoundBytes: (n - cut) * each}
	if !out.Done || out.Counts != want {
		t.Errorf("the slice after it: %+v, expected %+v", out.Counts, want)
	}

	out, seen = slice(nil) // of the next page, half is stored
	want = tenantry.Counts{Items: cut, Total: n, Bytes: cut * each, Found: n, FoundBytes: 20 * each}
	if len(seen) == 0 || seen[0] != want {
		t.Errorf("the first look at an incremental: %+v, expected %+v", seen, want)
	}
	if want = (tenantry.Counts{Items: n, Total: n, Bytes: 20 * each, Found: n, FoundBytes: 20 * each}); out.Counts != want {
		t.Errorf("its end: %+v, expected %+v", out.Counts, want)
	}
}
