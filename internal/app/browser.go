package app

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// openReaders is how many snapshots the API keeps open, so that paging through one
// does not read its index again for every page.
const openReaders = 16

// browser reads indexes of snapshots for the API. It reads no content. Safe for
// concurrent use.
type browser struct {
	repos opener

	mu    sync.Mutex
	open  map[string]*list.Element
	order *list.List // most recently used first
}

type openReader struct {
	key    string
	reader *repository.Reader
}

func newBrowser(repos opener) *browser {
	return &browser{repos: repos, open: map[string]*list.Element{}, order: list.New()}
}

// Children lists what lies in a folder of a snapshot.
func (b *browser) Children(ctx context.Context, s tenantry.Series, seq int64, parent, after string, limit int) ([]api.BrowseItem, string, error) {
	reader, err := b.reader(ctx, s, seq)
	if err != nil {
		return nil, "", err
	}
	page, err := engine.Browse(ctx, reader, parent, after, limit)
	if err != nil {
		return nil, "", err
	}
	return browseItems(page), page.Next, nil
}

// maxExamined is how many items of a snapshot one request looks at: about half a second of a core.
const maxExamined = 100_000

// Search finds items of a snapshot.
func (b *browser) Search(ctx context.Context, s tenantry.Series, seq int64, q api.Search, folder, after string, limit int) ([]api.BrowseItem, string, error) {
	reader, err := b.reader(ctx, s, seq)
	if err != nil {
		return nil, "", err
	}
	query := engine.Query{Text: q.Text, From: q.From, To: q.To, In: q.In, Kind: q.Kind, Since: q.Since, Before: q.Before, Folder: folder}
	page, err := engine.Search(ctx, reader, query, after, limit, maxExamined)
	if err != nil {
		return nil, "", err
	}
	return browseItems(page), page.Next, nil
}

// Compare lists how two snapshots of a series differ.
func (b *browser) Compare(ctx context.Context, s tenantry.Series, since, seq int64, after string, limit int) ([]api.ChangedItem, string, error) {
	before, err := b.reader(ctx, s, since)
	if err != nil {
		return nil, "", err
	}
	now, err := b.reader(ctx, s, seq)
	if err != nil {
		return nil, "", err
	}
	page, err := engine.Compare(ctx, before, now, after, limit, maxExamined)
	if err != nil {
		return nil, "", err
	}
	changes := make([]api.ChangedItem, 0, len(page.Changes))
	for _, c := range page.Changes {
		changes = append(changes, api.ChangedItem{What: c.What, BrowseItem: browseItem(c.Entry)})
	}
	return changes, page.Next, nil
}

// Measure counts what a restore would write.
func (b *browser) Measure(ctx context.Context, s tenantry.Series, seq int64, items []string) (tenantry.Counts, bool, error) {
	reader, err := b.reader(ctx, s, seq)
	if err != nil {
		return tenantry.Counts{}, false, err
	}
	return engine.Measure(ctx, reader, items, maxExamined)
}

func browseItems(page engine.Listing) []api.BrowseItem {
	items := make([]api.BrowseItem, 0, len(page.Entries))
	for _, e := range page.Entries {
		items = append(items, browseItem(e))
	}
	return items
}

// Item finds one item of a snapshot.
func (b *browser) Item(ctx context.Context, s tenantry.Series, seq int64, id string) (api.BrowseItem, error) {
	reader, err := b.reader(ctx, s, seq)
	if err != nil {
		return api.BrowseItem{}, err
	}
	e, ok, err := reader.Lookup(ctx, id)
	if err == nil && !ok {
		err = tenantry.Errorf(tenantry.NotFound, "snapshot %d of %s has no item %q", seq, s, id)
	}
	if err != nil {
		return api.BrowseItem{}, err
	}
	return browseItem(e), nil
}

func browseItem(e repository.Entry) api.BrowseItem {
	return api.BrowseItem{
		ID: e.ID, Parent: e.Parent, Kind: e.Kind, Name: e.Name, Size: e.Size, Parts: len(e.Parts), Problem: e.Problem,
		From: e.From, To: e.To, Modified: moment(e.Modified), Date: moment(e.Date),
	}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Round(time.Microsecond)
	return &t
}

func (b *browser) reader(ctx context.Context, s tenantry.Series, seq int64) (*repository.Reader, error) {
	key := fmt.Sprintf("%s/%d", s, seq)
	b.mu.Lock()
	if e, ok := b.open[key]; ok {
		b.order.MoveToFront(e)
		b.mu.Unlock()
		return e.Value.(openReader).reader, nil
	}
	b.mu.Unlock()
	repo, err := b.repos.Open(ctx, s.Tenant)
	if err != nil {
		return nil, err
	}
	reader, err := repo.OpenSnapshot(ctx, s, seq)
	if err != nil {
		return nil, err
	}
	b.keep(openReader{key, reader})
	return reader, nil
}

// keep remembers a reader and forgets the one that was used longest ago. That one is
// left to the garbage collector: another request may be reading it.
func (b *browser) keep(r openReader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.open[r.key]; ok {
		return
	}
	b.open[r.key] = b.order.PushFront(r)
	if b.order.Len() > openReaders {
		oldest := b.order.Remove(b.order.Back()).(openReader)
		delete(b.open, oldest.key)
	}
}
