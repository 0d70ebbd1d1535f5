package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// SitePreview says what there is of a group's own site.
type SitePreview struct {
	Resource tenantry.ResourceID `json:"resource" doc:"What to restore or export"`
	Name     string              `json:"name"`
	Snapshot int64               `json:"snapshot,omitempty" doc:"The site as it was when the group's snapshot was made: its newest one that is no younger, else its oldest; absent: it has none"`
	Time     *time.Time          `json:"time,omitempty" doc:"When that one was made"`
	Items    int64               `json:"items" doc:"Files, list items and pages that it would write, as far as they are not there already"`
	Bytes    int64               `json:"bytes" doc:"Of their content"`
	Unsaved  int64               `json:"unsaved" doc:"Items of which no version was saved"`
}

// How a group's snapshot names the group's site: an entry of this kind at its root, whose ID this precedes.
const (
	kindGroupSite = "groupSite"
	groupSiteID   = "groupSite:"
)

// rootEntries is more than lie at the root of a group's snapshot.
const rootEntries = 100

// addSite adds to the preview of a group what there is of its site, if the site is among what was asked for.
func (s *service) addSite(ctx context.Context, group tenantry.Series, p *RestorePreview, n NewRestore) error {
	p.Warnings = append(p.Warnings, "conversations and events, which are counted here, are exported: Microsoft lets no application write them")
	site, err := s.groupSite(ctx, group, n)
	if err != nil {
		return err
	}
	if site == nil {
		if len(n.Items) == 0 {
			p.Warnings = append(p.Warnings, "this snapshot does not name the group's site: its files are not counted here")
		}
		return nil
	}
	p.Site = site
	p.Items, p.Bytes, p.Unsaved = p.Items+site.Items, p.Bytes+site.Bytes, p.Unsaved+site.Unsaved
	if site.Snapshot == 0 {
		p.Warnings = append(p.Warnings, "the group's site has no snapshot: is there a policy that protects sites?")
		return nil
	}
	p.Warnings = append(p.Warnings, "files, lists and pages are restored with the group's site, "+string(site.Resource))
	return nil
}

// groupSite measures the site that a group's snapshot names; nil if it names none, or the selection is without it.
func (s *service) groupSite(ctx context.Context, group tenantry.Series, n NewRestore) (*SitePreview, error) {
	root, _, err := s.Browser.Children(ctx, group, n.Snapshot, "", "", rootEntries)
	if err != nil {
		return nil, err
	}
	for _, entry := range root {
		id, ok := strings.CutPrefix(entry.ID, groupSiteID)
		if !ok || entry.Kind != kindGroupSite || !n.selects(entry.ID) {
			continue
		}
		site := &SitePreview{Resource: tenantry.SiteResource(id), Name: entry.Name}
		row, ok, err := snapshotAround(ctx, s.Catalog.Tenant(group.Tenant), group, n.Snapshot, site.Resource)
		if err != nil || !ok {
			return site, err
		}
		counts, _, err := s.Browser.Measure(ctx, row.Series, row.Seq, nil)
		site.Snapshot, site.Time = row.Seq, when(row.Time)
		site.Items, site.Bytes, site.Unsaved = counts.Items, counts.Bytes, counts.Skipped
		return site, err
	}
	return nil, nil
}

// The kinds of entry that a site's snapshot has for a site, for a list and for an item of one.
const (
	kindSite = "site"
	kindList = "list"
	kindRow  = "listItem"
)

// rowsNote is what a restore tells of list items, too (package workload).
const rowsNote = "list items that are written get the time of the restore and the application as author"

// warnOfRows says what all items of lists lose, if the restore of a site has any, as far as one look shows.
func (s *service) warnOfRows(ctx context.Context, site tenantry.Series, p *RestorePreview, n NewRestore) error {
	has, err := s.hasRows(ctx, site, n)
	if has {
		p.Warnings = append(p.Warnings, rowsNote)
	}
	return err
}

func (s *service) hasRows(ctx context.Context, site tenantry.Series, n NewRestore) (bool, error) {
	isRow := func(i BrowseItem) bool { return i.Kind == kindList || i.Kind == kindRow }
	chosen, err := s.chosen(ctx, site, n)
	if err != nil || slices.ContainsFunc(chosen, isRow) {
		return err == nil, err
	}
	for _, item := range chosen {
		if item.Kind != kindSite {
			continue
		}
		list, _, err := s.Browser.Children(ctx, site, n.Snapshot, item.ID, "", rootEntries)
		if err != nil || slices.ContainsFunc(list, isRow) {
			return err == nil, err
		}
	}
	return false, nil
}

// chosen are the first of what was asked for, or of what lies at the root.
func (s *service) chosen(ctx context.Context, series tenantry.Series, n NewRestore) ([]BrowseItem, error) {
	if len(n.Items) == 0 {
		list, _, err := s.Browser.Children(ctx, series, n.Snapshot, "", "", rootEntries)
		return list, err
	}
	var list []BrowseItem
	for _, id := range n.Items[:min(len(n.Items), rootEntries)] {
		item, err := s.Browser.Item(ctx, series, n.Snapshot, id)
		if tenantry.KindOf(err) == tenantry.NotFound {
			continue // which is counted as unsaved
		}
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, nil
}

func (n *NewRestore) selects(item string) bool {
	return len(n.Items) == 0 || slices.Contains(n.Items, item)
}

// snapshotAround finds the newest snapshot of a site that is no younger than one of a group, else the site's oldest; ok
// is false if it has none.
func snapshotAround(ctx context.Context, t *catalog.Tenant, group tenantry.Series, seq int64, site tenantry.ResourceID) (found catalog.SnapshotRow, ok bool, err error) {
	of, err := t.Snapshots(ctx, group.Resource, group.Workload, seq+1, 1)
	if err != nil || len(of) == 0 {
		return found, false, err
	}
	for before := int64(0); ; before = found.Seq {
		rows, err := t.Snapshots(ctx, site, tenantry.SiteContent, before, maxSnapshotRows)
		for _, row := range rows {
			if found, ok = row, true; !row.Time.After(of[0].Time) {
				return found, true, nil
			}
		}
		if err != nil || len(rows) < maxSnapshotRows {
			return found, ok, err
		}
	}
}

// maxSnapshotRows is the most that the catalog lists at once.
const maxSnapshotRows = 1000
