package directory

import (
	"context"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// book knows the resources of one kind during a round. In a round from the start it holds
// all of them (some 400 bytes each: 40 MB for the largest tenants) and notes which ones
// the round showed; in a round of changes it asks the catalog for each.
type book struct {
	scope *catalog.Tenant
	all   map[tenantry.ResourceID]*catalog.Resource // nil: ask the catalog
	seen  map[tenantry.ResourceID]bool
	had   int // how many were known when the round began
}

// load begins a round from the start.
func (b *book) load(ctx context.Context, kind tenantry.ResourceKind) error {
	b.all = make(map[tenantry.ResourceID]*catalog.Resource)
	b.seen = make(map[tenantry.ResourceID]bool)
	f := catalog.ResourceFilter{Kind: kind, Limit: batch}
	for {
		some, err := b.scope.Resources(ctx, f)
		if err != nil {
			return err
		}
		for _, r := range some {
			b.all[r.ID] = &r
		}
		if len(some) < batch {
			b.had = len(b.all)
			return nil
		}
		f.After = some[len(some)-1].ID
	}
}

// relisting is whether this is a round from the start over what was known before.
func (b *book) relisting() bool { return b.had > 0 }

// find returns what is known of a resource, nil if nothing, and notes that it was shown.
func (b *book) find(ctx context.Context, id tenantry.ResourceID) (*catalog.Resource, error) {
	if b.all != nil {
		b.seen[id] = true
		return b.all[id], nil
	}
	r, err := b.scope.Resource(ctx, id)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return nil, nil
	}
	return &r, err
}

// note remembers a changed resource for later pages of the round.
func (b *book) note(r catalog.Resource) {
	if b.all != nil {
		b.all[r.ID] = &r
	}
}

// unseen are the resources that the round did not show and that nothing else is known of:
// inactive ones are asked about anyway, and what is gone stays so.
func (b *book) unseen() []catalog.Resource {
	var out []catalog.Resource
	for id, r := range b.all {
		if !b.seen[id] && r.State == tenantry.Active {
			out = append(out, *r)
		}
	}
	return out
}
