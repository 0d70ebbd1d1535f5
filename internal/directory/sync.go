package directory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// lookups is how many objects are asked about at once.
	lookups = 4
	// maxRestarts is how often one sync begins a collection anew. A link that is refused
	// over and over then waits for the task's backoff.
	maxRestarts = 2
	// batch is how many resources are read from the catalog, or written, at once.
	batch = 1000
)

// Sync brings the tenant's resources up to what Microsoft 365 says now, and sets its
// size and the time of its next sync. It may be repeated after any failure: pages that
// were applied are not read again, except in a round from the start. Counts.Items are
// objects reported. Errors are Graph's and the catalog's; Resync never is among them.
func (d *Directory) Sync(ctx context.Context, t tenantry.TenantID) (tenantry.Counts, error) {
	scope := d.cfg.Catalog.Tenant(t)
	row, err := scope.Get(ctx)
	if err != nil {
		return tenantry.Counts{}, err
	}
	id := row.DirectoryID
	if id == "" {
		id = row.Directory
	}
	s := &syncing{
		Directory: d, tenant: t, scope: scope, graph: d.cfg.Open(t, id), looked: map[tenantry.ResourceID]bool{},
		unlisted: map[tenantry.ResourceKind]string{},
	}
	began := d.cfg.Now()
	roles, err := s.begin(ctx)
	if err != nil {
		return s.counts, err
	}
	for _, c := range s.collections() {
		if c.takes != "" && len(MissingRoles([]string{c.takes}, roles)) > 0 {
			continue // asking would look like a consent that is gone
		}
		if err := s.collection(ctx, c); err != nil {
			return s.counts, err
		}
	}
	if err := s.sortSites(ctx, roles); err != nil {
		return s.counts, err
	}
	if err := s.members(ctx); err != nil {
		return s.counts, err
	}
	if err := s.measure(ctx); err != nil {
		return s.counts, err
	}
	now := d.cfg.Now()
	if err := scope.ListingEnded(ctx, s.unlisted, now); err != nil {
		return s.counts, err
	}
	next := catalog.NextSync(row.AddedAt, now, row.SyncEvery)
	if s.again.IsZero() && s.rotationAsked(ctx, began) {
		s.again = now
	}
	if !s.again.IsZero() && s.again.Before(next) {
		next = s.again
	}
	return s.counts, scope.SyncDone(ctx, now, next)
}

// begin looks at what the consent permits today, and tells the enabled workloads that they are being listed.
// It returns the permissions.
func (s *syncing) begin(ctx context.Context) (roles []string, err error) {
	grant, err := s.graph.Grant(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.proved(ctx, s.scope, s.tenant, grant); err != nil {
		return nil, err
	}
	s.rotate(ctx, grant.DirectoryID)
	return grant.Roles, s.scope.ListingBegan(ctx, s.cfg.Now())
}

// syncing is one sync under way.
type syncing struct {
	*Directory
	tenant tenantry.TenantID
	scope  *catalog.Tenant
	graph  Graph
	counts tenantry.Counts
	looked map[tenantry.ResourceID]bool // asked about in this sync: once is enough
	again  time.Time                    // when the rotation of a certificate can go on; zero: with the next sync
	// unlisted says why a kind of object could not be listed.
	unlisted map[tenantry.ResourceKind]string
}

// page is one page of reports about one kind of object.
type page struct {
	reports []report
	next    string
	done    bool
}

// collection is one kind of object: how to read its changes and how to look one up.
type collection struct {
	kind tenantry.ResourceKind
	read func(ctx context.Context, link string) (page, error)
	look func(ctx context.Context, objectID string) (tenantry.LifeState, error)
	// takes is a permission that not every tenant gives, and without which it is left alone.
	takes string
}

func (s *syncing) collections() []collection {
	g := s.graph
	return []collection{
		{tenantry.User, pages(g.UserChanges, ofUser), g.UserState, ""},
		{tenantry.Group, pages(g.GroupChanges, ofGroup), g.GroupState, ""},
		{tenantry.Site, pages(g.SiteChanges, ofSite), s.lookForSite, "Sites.Read.All"},
	}
}

// lookForSite is where a site stands that the delta reported as deleted, or that a
// complete round did not show.
func (s *syncing) lookForSite(ctx context.Context, id string) (tenantry.LifeState, error) {
	readable, err := s.graph.SiteReadable(ctx, id)
	if err != nil || readable {
		return tenantry.Inactive, err
	}
	return tenantry.Gone, nil
}

func pages[T any](changes func(context.Context, string) (graph.Changes[T], error), of func(T) report) func(context.Context, string) (page, error) {
	return func(ctx context.Context, link string) (page, error) {
		c, err := changes(ctx, link)
		p := page{next: c.Next, done: c.Done}
		for _, item := range c.Items {
			p.reports = append(p.reports, of(item))
		}
		return p, err
	}
}

// collection syncs one kind. A tenant that has no SharePoint, or does not let us see its
// groups or sites, still has users.
func (s *syncing) collection(ctx context.Context, c collection) error {
	err := s.rounds(ctx, c)
	if err == nil {
		err = s.lookAtInactive(ctx, c)
	}
	kind := tenantry.KindOf(err)
	if c.kind != tenantry.User && (kind == tenantry.Absent || kind == tenantry.Denied) {
		s.cfg.Log.Warnw("cannot list a kind of object of a tenant; the others go on",
			"tenant", s.tenant, "kind", c.kind, "error", err)
		s.unlisted[c.kind] = err.Error()
		return nil
	}
	return err
}

// rounds reads on from the stored link, and from the start when that is not valid any more.
func (s *syncing) rounds(ctx context.Context, c collection) error {
	link, _, err := s.scope.SyncLink(ctx, c.kind)
	if err != nil {
		return err
	}
	if link != "" {
		unsorted, err := s.unsorted(ctx, c.kind)
		if err != nil {
			return err
		}
		if unsorted {
			link = "" // a release that knew no kinds of groups and sites listed them
		}
	}
	for restarts := 0; ; restarts++ {
		err := s.round(ctx, c, link)
		if tenantry.KindOf(err) != tenantry.Resync {
			return err
		}
		if restarts == maxRestarts {
			return tenantry.E(tenantry.Transient, "read changes of "+string(c.kind)+"s", err)
		}
		s.cfg.Log.Infow("a delta link is not valid any more; listing anew", "tenant", s.tenant, "kind", c.kind)
		if err := s.scope.ApplySync(ctx, c.kind, nil, "", s.cfg.Now()); err != nil {
			return err
		}
		link = ""
	}
}

// round reads pages from link to the end of the round.
func (s *syncing) round(ctx context.Context, c collection, link string) error {
	b := &book{scope: s.scope}
	if link == "" {
		if err := b.load(ctx, c.kind); err != nil {
			return err
		}
	}
	for {
		p, err := c.read(ctx, link)
		if err != nil {
			return err
		}
		if !p.done && p.next == link {
			return tenantry.Errorf(tenantry.Internal, "changes of %ss: a page links to itself", c.kind)
		}
		changed, err := s.page(ctx, b, p.reports)
		if err != nil {
			return err
		}
		position := p.next
		if b.relisting() && !p.done {
			position = "" // what this round did not show is known at its end only
		}
		if b.relisting() && p.done {
			unseen, err := s.look(ctx, c, b.unseen())
			if err != nil {
				return err
			}
			changed = append(changed, unseen...)
		}
		if err := s.write(ctx, c.kind, changed, position); err != nil {
			return err
		}
		s.counts.Items += int64(len(p.reports))
		if p.done {
			return nil
		}
		link = p.next
	}
}

// write applies changes and the link behind them. The link goes with the last batch: what
// is written before it may be written again.
func (s *syncing) write(ctx context.Context, kind tenantry.ResourceKind, changed []catalog.Resource, link string) error {
	for len(changed) > batch {
		before, _, err := s.scope.SyncLink(ctx, kind)
		if err != nil {
			return err
		}
		if err := s.scope.ApplySync(ctx, kind, changed[:batch], before, s.cfg.Now()); err != nil {
			return err
		}
		changed = changed[batch:]
	}
	return s.scope.ApplySync(ctx, kind, changed, link, s.cfg.Now())
}

// page returns the resources that a page changes. An object may stand in it several
// times, and the last one wins ("Delta query overview").
func (s *syncing) page(ctx context.Context, b *book, reports []report) ([]catalog.Resource, error) {
	known := make([]*catalog.Resource, len(reports))
	for i, r := range reports {
		k, err := b.find(ctx, r.resource.ID)
		if err != nil {
			return nil, err
		}
		known[i] = k
	}
	if err := s.askMailboxes(ctx, reports, known); err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	changed := make(map[tenantry.ResourceID]catalog.Resource)
	for i, r := range reports {
		id := r.resource.ID
		k := known[i]
		if c, again := changed[id]; again {
			k = &c
		}
		if next, differs := apply(k, r, now); differs {
			changed[id] = next
			b.note(next)
		}
	}
	out := slices.Collect(maps.Values(changed))
	slices.SortFunc(out, func(a, b catalog.Resource) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// askMailboxes completes reports of users without a licence for mail: shared mailboxes,
// rooms and equipment have none. One request per user, asked again only when the user was
// licensed before or has another name.
func (s *syncing) askMailboxes(ctx context.Context, reports []report, known []*catalog.Resource) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for i := range reports {
		r, k := &reports[i], known[i]
		switch {
		case r.state != tenantry.Active:
		case k != nil && (!r.mailbox || (!k.Licensed && k.Address == r.resource.Address)):
			if r.mailbox {
				r.resource.MailboxKind = k.MailboxKind
			}
		case r.mailbox:
			group.Go(func() error {
				kind, err := s.graph.MailboxKind(ctx, r.resource.ObjectID)
				switch tenantry.KindOf(err) {
				case "":
					r.resource.MailboxKind = kind
				case tenantry.Absent, tenantry.NotFound, tenantry.Denied: // no mailbox that we can read
				default:
					return err
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i := range reports {
		if r := &reports[i]; r.mailbox && r.resource.MailboxKind != "" {
			r.resource.Workloads = append([]tenantry.Workload{tenantry.Mailbox}, r.resource.Workloads...)
		}
	}
	return nil
}

// lookAtInactive asks about every inactive resource whether it is still there: nothing
// reports when a soft-deleted object's time is over.
func (s *syncing) lookAtInactive(ctx context.Context, c collection) error {
	f := catalog.ResourceFilter{Kind: c.kind, State: tenantry.Inactive, Limit: batch}
	for {
		some, err := s.scope.Resources(ctx, f)
		if err != nil || len(some) == 0 {
			return err
		}
		full := len(some) == batch
		f.After = some[len(some)-1].ID
		changed, err := s.look(ctx, c, slices.DeleteFunc(some, func(r catalog.Resource) bool { return s.looked[r.ID] }))
		if err != nil {
			return err
		}
		if len(changed) > 0 {
			link, _, err := s.scope.SyncLink(ctx, c.kind)
			if err != nil {
				return err
			}
			if err := s.write(ctx, c.kind, changed, link); err != nil {
				return err
			}
		}
		if !full {
			return nil
		}
	}
}

// look asks where the given resources are and returns those that moved.
func (s *syncing) look(ctx context.Context, c collection, resources []catalog.Resource) ([]catalog.Resource, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	now := s.cfg.Now()
	var mu sync.Mutex
	var changed []catalog.Resource
	for _, r := range resources {
		s.looked[r.ID] = true
		group.Go(func() error {
			state, err := c.look(ctx, r.ObjectID)
			if tenantry.KindOf(err) == tenantry.NotFound {
				state, err = tenantry.Gone, nil
			}
			if err != nil {
				return err
			}
			next, differs := moved(r, state, now)
			if next.Subkind == "" && c.kind != tenantry.User {
				next.Subkind, differs = tenantry.SubkindUnknown, true // no listing shows it, and none will say
			}
			if differs {
				mu.Lock()
				defer mu.Unlock()
				changed = append(changed, next)
			}
			return nil
		})
	}
	err := group.Wait()
	return changed, err
}

// measure sets what sizes the tenant's budgets (throttling.md: users size the identity
// limits, licences those of SharePoint).
func (s *syncing) measure(ctx context.Context) error {
	licences, err := s.graph.Licences(ctx)
	if err != nil {
		return err
	}
	var users int64
	f := catalog.ResourceFilter{Kind: tenantry.User, State: tenantry.Active, Limit: batch}
	for {
		some, err := s.scope.Resources(ctx, f)
		if err != nil {
			return err
		}
		users += int64(len(some))
		if len(some) < batch {
			return s.scope.SetSize(ctx, users, licences)
		}
		f.After = some[len(some)-1].ID
	}
}
