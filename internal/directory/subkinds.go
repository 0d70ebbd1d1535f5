package directory

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// maxSiteLooks is how many groups, and how many sites, one sync asks what only they can tell. Each costs a unit of
// SharePoint; the next sync goes on.
const maxSiteLooks = 1000

// unsorted reports whether there are active groups or sites of which nobody has said what kind they are.
func (s *syncing) unsorted(ctx context.Context, kind tenantry.ResourceKind) (bool, error) {
	if kind == tenantry.User {
		return false, nil
	}
	some, err := s.scope.Resources(ctx, catalog.ResourceFilter{Kind: kind, State: tenantry.Active, Unsorted: true, Limit: 1})
	return len(some) > 0, err
}

// sortSites finds out what kind the tenant's sites are, as far as anybody tells: the root site, those of groups, and
// those below others. It takes what listing sites takes, and is left alone where they could not be listed.
func (s *syncing) sortSites(ctx context.Context, roles []string) error {
	if _, unlisted := s.unlisted[tenantry.Site]; unlisted || len(MissingRoles([]string{"Sites.Read.All"}, roles)) > 0 {
		return nil
	}
	kinds, err := s.sitesOfGroups(ctx)
	if err != nil {
		return err
	}
	root, err := s.graph.RootSite(ctx)
	switch {
	case err == nil:
		kinds[tenantry.SiteResource(root)] = tenantry.SiteRoot
	case !nobodyTells(err):
		return err
	}
	looks := maxSiteLooks
	return s.everyActive(ctx, tenantry.Site, func(sites []catalog.Resource) ([]catalog.Resource, error) {
		return s.sorted(ctx, sites, kinds, &looks)
	})
}

// sitesOfGroups returns the kinds of the sites that groups have, and asks those groups that have not said theirs.
func (s *syncing) sitesOfGroups(ctx context.Context) (map[tenantry.ResourceID]tenantry.Subkind, error) {
	kinds := map[tenantry.ResourceID]tenantry.Subkind{}
	looks := maxSiteLooks
	err := s.everyActive(ctx, tenantry.Group, func(groups []catalog.Resource) ([]catalog.Resource, error) {
		var ask []*catalog.Resource
		for i := range groups {
			if g := &groups[i]; g.Site == "" && slices.Contains(g.Workloads, tenantry.GroupContent) && looks > 0 {
				ask, looks = append(ask, g), looks-1
			}
		}
		found, err := asked(ctx, ask, func(ctx context.Context, g *catalog.Resource) (bool, error) {
			site, err := s.graph.SiteOfGroup(ctx, g.ObjectID)
			if err == nil {
				g.Site = tenantry.SiteResource(site)
			}
			return err == nil, err
		})
		for _, g := range groups {
			switch {
			case g.Site == "":
			case slices.Contains(g.Workloads, tenantry.TeamContent):
				kinds[g.Site] = tenantry.SiteOfTeam
			default:
				kinds[g.Site] = tenantry.SiteOfGroup
			}
		}
		return found, err
	})
	return kinds, err
}

// sorted returns those of the sites that are something else than was known. What is told of the root and of groups
// counts before what a site says; a site that was the root and is not any more is a site like others.
func (s *syncing) sorted(ctx context.Context, sites []catalog.Resource, told map[tenantry.ResourceID]tenantry.Subkind, looks *int) ([]catalog.Resource, error) {
	var changed []catalog.Resource
	var ask []*catalog.Resource
	for i := range sites {
		site := &sites[i]
		kind, isTold := told[site.ID]
		switch {
		case isTold && kind != site.Subkind:
			site.Subkind = kind
			changed = append(changed, *site)
		case isTold:
		case site.Subkind == tenantry.SiteRoot && hasRoot(told):
			site.Subkind = tenantry.SiteOther
			changed = append(changed, *site)
		case (site.Subkind == "" || site.Subkind == tenantry.SubkindUnknown) && *looks > 0:
			ask = append(ask, site)
			*looks--
		}
	}
	found, err := asked(ctx, ask, func(ctx context.Context, site *catalog.Resource) (bool, error) {
		top, err := s.graph.TopSite(ctx, site.ObjectID)
		switch {
		case err != nil:
			return false, err
		case top:
			site.Subkind = tenantry.SiteOther
		default:
			site.Subkind = tenantry.SiteSub
		}
		return true, nil
	})
	return append(changed, found...), err
}

func hasRoot(told map[tenantry.ResourceID]tenantry.Subkind) bool {
	for _, kind := range told {
		if kind == tenantry.SiteRoot {
			return true
		}
	}
	return false
}

// everyActive gives do all active resources of a kind, a batch at a time, and writes those that it returns.
func (s *syncing) everyActive(ctx context.Context, kind tenantry.ResourceKind, do func([]catalog.Resource) ([]catalog.Resource, error)) error {
	f := catalog.ResourceFilter{Kind: kind, State: tenantry.Active, Limit: batch}
	for {
		some, err := s.scope.Resources(ctx, f)
		if err != nil || len(some) == 0 {
			return err
		}
		full, last := len(some) == batch, some[len(some)-1].ID
		changed, err := do(some)
		if err != nil {
			return err
		}
		if len(changed) > 0 {
			link, _, err := s.scope.SyncLink(ctx, kind)
			if err != nil {
				return err
			}
			if err := s.write(ctx, kind, changed, link); err != nil {
				return err
			}
		}
		if !full {
			return nil
		}
		f.After = last
	}
}

// asked asks about some resources, a few at a time, and returns those of which something was learned. One of which
// nobody tells stays as it is.
func asked(ctx context.Context, some []*catalog.Resource, ask func(context.Context, *catalog.Resource) (bool, error)) ([]catalog.Resource, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	var mu sync.Mutex
	var learned []catalog.Resource
	for _, r := range some {
		group.Go(func() error {
			told, err := ask(ctx, r)
			if err != nil && !nobodyTells(err) {
				return err
			}
			if told {
				mu.Lock()
				defer mu.Unlock()
				learned = append(learned, *r)
			}
			return nil
		})
	}
	err := group.Wait()
	return learned, err
}

// nobodyTells reports whether a question has no answer for us, now and probably later.
func nobodyTells(err error) bool {
	switch tenantry.KindOf(err) {
	case tenantry.NotFound, tenantry.Absent, tenantry.Denied:
		return true
	}
	return false
}
