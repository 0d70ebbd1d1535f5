package workload

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/tenantry/tenantry/internal/engine"
)

// changes gathers a page for the engine: of an ID that a page names several times, the last counts.
type changes struct {
	order []string
	last  map[string]*engine.Item // nil: removed
}

func newChanges(n int) *changes { return &changes{last: make(map[string]*engine.Item, n)} }

func (c *changes) put(item engine.Item) { c.set(item.ID, &item) }
func (c *changes) remove(id string)     { c.set(id, nil) }

func (c *changes) set(id string, item *engine.Item) {
	if _, ok := c.last[id]; !ok {
		c.order = append(c.order, id)
	}
	c.last[id] = item
}

func (c *changes) page(next string, done bool) engine.Page {
	p := engine.Page{Next: next, Done: done}
	for _, id := range c.order {
		if item := c.last[id]; item != nil {
			p.Items = append(p.Items, *item)
		} else {
			p.Removed = append(p.Removed, id)
		}
	}
	return p
}

// whole is a page that shows all there is, at once.
func (c *changes) whole() engine.Page {
	p := c.page("", true)
	p.Listed = true
	return p
}

// digest identifies bytes where the service names no version.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
