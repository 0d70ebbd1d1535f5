package api

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// RestorePreview says what a restore would do.
type RestorePreview struct {
	Items       int64               `json:"items" doc:"Items that it would write, as far as they are not there already"`
	Bytes       int64               `json:"bytes" doc:"Of their content, before it is encoded for its way"`
	Unsaved     int64               `json:"unsaved" doc:"Items of which no version was saved"`
	Whole       bool                `json:"whole" doc:"False: the selection has more than was counted"`
	Target      tenantry.ResourceID `json:"target"`
	TargetName  string              `json:"target_name"`
	Folder      string              `json:"folder,omitempty" doc:"Name of the new folder; absent: the original places"`
	Needed      []string            `json:"permissions_needed" nullable:"false" doc:"Application permissions of Microsoft Graph, of which each or a wider one is needed"`
	Missing     []string            `json:"permissions_missing" nullable:"false" doc:"Those that the tenant's consent did not give when it was last proved"`
	Takes       int64               `json:"takes_seconds" doc:"How long it takes at least, by what Microsoft allows"`
	CompletesAt *time.Time          `json:"completes_at,omitempty" doc:"When it is through at the earliest, if it begins now"`
	Binding     string              `json:"binding,omitempty" doc:"The account that takes longest; absent if none has to be waited for" example:"outlook/upload"`
	Site        *SitePreview        `json:"site,omitempty" doc:"Of a group: its own site, a resource that is restored and exported by itself. Items, bytes and unsaved above have it in them, permissions and time are its own"`
	Warnings    []string            `json:"warnings" nullable:"false" doc:"What a person should know before it begins"`
}

// unitsPerItem is what writing an item costs, as `make bench-workload` and Microsoft's prices have it: 1.4 requests
// for a mail with attachments in one of five, and 2 units for a file.
var unitsPerItem = map[tenantry.Workload]float64{
	tenantry.Mailbox: 1.4, tenantry.Drive: 2, tenantry.SiteContent: 2, tenantry.TeamContent: 2,
}

func (s *service) previewRestore(ctx context.Context, in *restoreInput) (*body[RestorePreview], error) {
	n := in.Body
	if err := n.place(s.Now()); err != nil {
		return nil, err
	}
	if err := checkItems(n.Items); err != nil {
		return nil, err
	}
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	source, err := sourceOf(ctx, t, n.Resource, n.Workload, n.Snapshot)
	if err != nil {
		return nil, err
	}
	if err := checkTarget(ctx, t, source, n); err != nil {
		return nil, err
	}
	if s.Browser == nil {
		return nil, errNoBucket()
	}
	target, err := t.Resource(ctx, cmp.Or(n.To, n.Resource))
	if err != nil {
		return nil, err
	}
	series := tenantry.Series{Tenant: in.Tenant, Resource: n.Resource, Workload: n.Workload}
	counts, whole, err := s.Browser.Measure(ctx, series, n.Snapshot, n.Items)
	if err != nil {
		return nil, err
	}
	p := RestorePreview{
		Items: counts.Items, Bytes: counts.Bytes, Unsaved: counts.Skipped, Whole: whole,
		Target: target.ID, TargetName: target.Name, Folder: n.Folder,
	}
	written, items, bytes := n.Workload, p.Items, p.Bytes
	switch n.Workload {
	case tenantry.TeamContent:
		p.Warnings = append(p.Warnings, "only files are written: messages, members and settings, which are counted here, are exported")
	case tenantry.SiteContent:
		if err := s.warnOfRows(ctx, series, &p, n); err != nil {
			return nil, err
		}
	case tenantry.GroupContent:
		if err := s.addSite(ctx, series, &p, n); err != nil {
			return nil, err
		}
		if written, items, bytes = tenantry.SiteContent, 0, 0; p.Site != nil {
			items, bytes = p.Site.Items, p.Site.Bytes
		}
	}
	p.permissions(written, restoreRoles(row))
	p.time(s.Limits, row, written, items, bytes, s.Now())
	p.warn(row)
	return &body[RestorePreview]{p}, nil
}

// permissions says which a restore needs, and which of them were not granted.
func (p *RestorePreview) permissions(w tenantry.Workload, granted []string) {
	p.Needed, p.Missing = []string{}, []string{}
	for _, permission := range tenantry.PermissionsFor(tenantry.ToRestore, w) {
		if permission.Partial && w == tenantry.SiteContent {
			continue // only for lists that are gone
		}
		p.Needed = append(p.Needed, permission.Name)
		if !permission.Granted(granted) {
			p.Missing = append(p.Missing, permission.Name)
		}
	}
}

// time says how long Microsoft's limits make it to write so many items and bytes.
func (p *RestorePreview) time(l throttle.Limits, row catalog.TenantRow, w tenantry.Workload, items, bytes int64, now time.Time) {
	found := l.Feasibility(throttle.Size{Users: row.Users, Licences: row.Licences}, []throttle.Demand{{
		Service: tenantry.ServiceOf(tenantry.Restore, w), Resources: 1, Units: float64(items) * unitsPerItem[w], UploadBytes: float64(bytes),
	}})
	p.Takes, p.Binding = seconds(found.Takes), found.Binding
	if found.Takes < 100*365*24*time.Hour {
		p.CompletesAt = when(now.Add(found.Takes))
	}
	if found.Takes >= time.Hour {
		p.Warnings = append(p.Warnings, fmt.Sprintf("Microsoft's limit %s makes it take at least %.1f hours", p.Binding, found.Takes.Hours()))
	}
}

func (p *RestorePreview) warn(row catalog.TenantRow) {
	if p.Warnings == nil {
		p.Warnings = []string{}
	}
	if !p.Whole {
		p.Warnings = append(p.Warnings, "the selection has more than was counted: items, bytes and time are larger")
	}
	if p.Unsaved > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d items cannot be restored: no version of them was saved, or they are not in this snapshot", p.Unsaved))
	}
	if row.State != tenantry.TenantConnected {
		p.Warnings = append(p.Warnings, fmt.Sprintf("the tenant is %s: nothing can be written until its administrator consents", row.State))
	} else if len(p.Missing) > 0 {
		p.Warnings = append(p.Warnings, "the tenant's consent lacks "+strings.Join(p.Missing, ", ")+": what needs it cannot be written")
	}
}
