package engine

import (
	"context"
	"sync"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A page shows its items before any of them is done: they are found then. What is found is what is done and what is
// ahead, so that an item counts once, also where its page is read a second time:
//
//	page --find--> ahead --took--> ... --store--> done (Counts.Items, Counts.Bytes)
//
// A page that was cut, and a list, show what was counted before, too: of them an item is found when it was compared.

// ahead is what the page at hand has shown and is not done yet. The zero value is ready; safe for concurrent use.
type ahead struct {
	mu    sync.Mutex
	items map[string]int64 // by ID: bytes that are still to be read of it, as far as its listing says
	bytes int64            // sum of items
}

func (a *ahead) show(id string, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.items == nil {
		a.items = map[string]int64{}
	}
	a.bytes += bytes - a.items[id]
	a.items[id] = bytes
}

// took notes that bytes of an item were read.
func (a *ahead) took(id string, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if left, ok := a.items[id]; ok {
		bytes = min(bytes, left)
		a.items[id] = left - bytes
		a.bytes -= bytes
	}
}

func (a *ahead) done(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes -= a.items[id]
	delete(a.items, id)
}

func (a *ahead) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.items)
	a.bytes = 0
}

func (a *ahead) sum() (items, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(len(a.items)), a.bytes
}

// took counts bytes that were read for an item.
func (b *backup) took(id string, bytes int64) {
	b.ahead.took(id, bytes)
	b.add(tenantry.Counts{Bytes: bytes})
}

// find notes what a page shows, as far as none of it can have been counted before.
func (b *backup) find(ctx context.Context, items []Item) error {
	b.ahead.clear()
	if b.cut {
		return nil
	}
	for _, item := range items {
		if (repository.Entry{Kind: item.Kind, Collection: item.Collection}).Place() {
			continue
		}
		bytes, err := b.toRead(ctx, item)
		if err != nil {
			return err
		}
		b.ahead.show(item.ID, bytes)
	}
	return nil
}

// toRead is how many bytes of an item will be read, as far as its listing says: its payload unless that version is stored,
// and its content unless that is.
func (b *backup) toRead(ctx context.Context, item Item) (int64, error) {
	e, known, err := b.w.Lookup(ctx, item.ID)
	if err != nil {
		return 0, ofSeries(err)
	}
	if !known {
		e, known = b.gone[item.ID]
	}
	if item.Problem != "" {
		return 0, nil
	}
	c := change{item: item}
	c.take(e)
	etag, content := splitVersion(e.ETag)
	same := known && item.ETag != "" && item.ETag == etag
	whole := known && e.Problem == ""
	bytes := int64(len(item.Raw))
	if same {
		bytes = 0
	}
	sameContent := whole && (same || item.Content != "" && item.Content == content)
	if c.fetch = item.Parts != nil && !sameContent; c.fetch {
		bytes += c.unread()
	}
	return bytes, nil
}

// unread is how much of an item's content has to be read, as far as its listing says, which counts the payload, too, where
// that is all it knows: 0 of one whose content is not read.
func (c *change) unread() int64 {
	if !c.fetch {
		return 0
	}
	bytes := c.item.Size - int64(len(c.item.Raw))
	for _, p := range c.unfinished {
		bytes -= p.Size
	}
	return max(0, bytes)
}
