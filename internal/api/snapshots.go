package api

import (
	"context"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Browser reads the index of a snapshot, never content. Its methods are called
// from any goroutine with a context that ends after 30 s. Errors: NotFound for an
// unknown snapshot or item; Corrupt, WrongKey and Shared (bucket) reach the caller
// with their reason.
type Browser interface {
	// Children lists what lies in parent ("" is the root) by ascending name, at
	// most limit, from after on ("" or a next); next "" ends the listing.
	Children(ctx context.Context, s tenantry.Series, seq int64, parent, after string, limit int) (items []BrowseItem, next string, err error)
	// Compare lists what became of the items of a snapshot in a later one of its series, at most limit, from after
	// on ("" or a next); a page may have few or none and still a next.
	Compare(ctx context.Context, s tenantry.Series, since, seq int64, after string, limit int) (changes []ChangedItem, next string, err error)
	// Measure counts what a restore of items (empty: everything) would write; whole is false if there are more than it
	// looked at.
	Measure(ctx context.Context, s tenantry.Series, seq int64, items []string) (counts tenantry.Counts, whole bool, err error)
	// Item finds one item by its ID.
	Item(ctx context.Context, s tenantry.Series, seq int64, id string) (BrowseItem, error)
	// Search finds what matches in a folder ("": everywhere), at most limit items, from after on ("" or a
	// next). It looks at a bounded number of items: a page may have few or none and still a next; next ""
	// ends the search.
	Search(ctx context.Context, s tenantry.Series, seq int64, q Search, folder, after string, limit int) (items []BrowseItem, next string, err error)
}

// BrowseItem is a folder, message or file in a snapshot.
type BrowseItem struct {
	ID       string     `json:"id"`
	Parent   string     `json:"parent,omitempty" doc:"ID of the folder it lies in; absent at the root"`
	Kind     string     `json:"kind" doc:"folder, message, file, ..." example:"message"`
	Name     string     `json:"name" doc:"What a person recognises: subject, file name"`
	Size     int64      `json:"size" doc:"Bytes at the source"`
	Modified *time.Time `json:"modified,omitempty"`
	From     string     `json:"from,omitempty" doc:"Who sent it, where the workload knows"`
	To       string     `json:"to,omitempty" doc:"Who received it or is invited, where the workload knows; of very many the first"`
	Date     *time.Time `json:"date,omitempty" doc:"When it was received, where the workload knows"`
	Parts    int        `json:"parts,omitempty" doc:"How many attachments or streams it has"`
	Problem  string     `json:"problem,omitempty" doc:"Why it could not be saved, if it could not"`
}

// ChangedItem is an item that two snapshots do not have in common: as the later one has it, or, where it was
// removed, as the earlier one had it.
type ChangedItem struct {
	What string `json:"what" enum:"added,changed,removed" doc:"Changed: its content, its name or the folder it lies in"`
	BrowseItem
}

// Snapshot is a sealed restore point of a series.
type Snapshot struct {
	Seq    int64           `json:"seq" doc:"Sequence number: names the snapshot within its series"`
	Time   *time.Time      `json:"time,omitempty"`
	Task   tenantry.TaskID `json:"task,omitempty" doc:"The task that sealed it"`
	Counts Counts          `json:"counts"`
}

func snapshotOf(r catalog.SnapshotRow) Snapshot {
	return Snapshot{Seq: r.Seq, Time: when(r.Time), Task: r.Task, Counts: Counts(r.Counts)}
}

type listSnapshotsInput struct {
	SeriesPath
	PageQuery
}

type browseInput struct {
	SnapshotPath
	PageQuery
	Parent string `query:"parent" maxLength:"1000" doc:"ID of a folder; without it the root"`
}

type compareInput struct {
	SnapshotPath
	PageQuery
	Since int64 `query:"since" minimum:"1" doc:"Sequence number of the earlier snapshot; without it the one before"`
}

func (in *compareInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, map[string]any{"resource": in.Resource, "workload": in.Workload, "snapshot": in.Snapshot, "since": in.Since}
}

type browseItemInput struct {
	SnapshotPath
	Item string `path:"item" maxLength:"1000" doc:"ID of the item"`
}

// looked is what the audit log keeps of a look into a snapshot.
type looked struct {
	Resource tenantry.ResourceID `json:"resource"`
	Workload tenantry.Workload   `json:"workload"`
	Snapshot int64               `json:"snapshot"`
	Item     string              `json:"item,omitempty"` // or the folder
}

func (p SnapshotPath) looked(item string) (tenantry.TenantID, any) {
	return p.Tenant, looked{p.Resource, p.Workload, p.Snapshot, item}
}

func (in *browseInput) audit() (tenantry.TenantID, any)     { return in.looked(in.Parent) }
func (in *browseItemInput) audit() (tenantry.TenantID, any) { return in.looked(in.Item) }

func (s *service) snapshotRoutes() {
	const tag = "snapshots"
	const all = "/v1/tenants/{tenant}/resources/{resource}/workloads/{workload}/snapshots"
	read(s, get("list-snapshots", tag, all, "List the snapshots of a resource's workload, newest first"), s.listSnapshots)
	write(s, get("browse-items", tag, all+"/{snapshot}/items", "List what lies in a folder of a snapshot"), s.browse)
	write(s, get("compare-snapshots", tag, all+"/{snapshot}/changes", "List what was added, changed and removed since an earlier snapshot"), s.compareSnapshots)
	write(s, get("search-snapshot", tag, all+"/{snapshot}/search", "Search a snapshot"), s.searchSnapshot)
	write(s, get("search-tenant", tag, "/v1/tenants/{tenant}/search", "Search the newest snapshots of all of a tenant"), s.searchTenant)
	s.searchRoutes()
	write(s, get("get-item", tag, all+"/{snapshot}/items/{item}", "Show one item of a snapshot"), s.browseItem)
}

func (s *service) listSnapshots(ctx context.Context, in *listSnapshotsInput) (*body[Page[Snapshot]], error) {
	before, err := below(in.After)
	if err != nil {
		return nil, err
	}
	t, r, err := s.resource(ctx, in.ResourcePath)
	if err != nil {
		return nil, err
	}
	rows, err := t.Snapshots(ctx, r.ID, in.Workload, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, snapshotOf, func(r catalog.SnapshotRow) string { return strconv.FormatInt(r.Seq, 10) }), nil
}

func (s *service) browse(ctx context.Context, in *browseInput) (*body[Page[BrowseItem]], error) {
	if err := s.browsable(ctx, in.SnapshotPath); err != nil {
		return nil, err
	}
	items, next, err := s.Browser.Children(ctx, in.series(), in.Snapshot, in.Parent, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	if items == nil {
		items = []BrowseItem{}
	}
	return &body[Page[BrowseItem]]{Page[BrowseItem]{Items: items, Next: next}}, nil
}

func (s *service) compareSnapshots(ctx context.Context, in *compareInput) (*body[Page[ChangedItem]], error) {
	if err := s.browsable(ctx, in.SnapshotPath); err != nil {
		return nil, err
	}
	since := in.Since
	if since == 0 {
		rows, err := s.Catalog.Tenant(in.Tenant).Snapshots(ctx, in.Resource, in.Workload, in.Snapshot, 1)
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			since = rows[0].Seq
		}
	}
	if since == 0 || since >= in.Snapshot {
		return nil, invalid("query.since", since, "there must be an earlier snapshot than %d", in.Snapshot)
	}
	changes, next, err := s.Browser.Compare(ctx, in.series(), since, in.Snapshot, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	if changes == nil {
		changes = []ChangedItem{}
	}
	return &body[Page[ChangedItem]]{Page[ChangedItem]{Items: changes, Next: next}}, nil
}

func (s *service) browseItem(ctx context.Context, in *browseItemInput) (*body[BrowseItem], error) {
	if err := s.browsable(ctx, in.SnapshotPath); err != nil {
		return nil, err
	}
	item, err := s.Browser.Item(ctx, in.series(), in.Snapshot, in.Item)
	if err != nil {
		return nil, err
	}
	return &body[BrowseItem]{item}, nil
}

// browsable is the gate of operations that read the bucket. The snapshot itself is
// looked up there: SQL only mirrors it.
func (s *service) browsable(ctx context.Context, p SnapshotPath) error {
	if _, _, err := s.resource(ctx, p.ResourcePath); err != nil {
		return err
	}
	if s.Browser == nil {
		return errNoBucket()
	}
	return nil
}

func errNoBucket() error {
	return tenantry.Errorf(tenantry.Shared, "this API is not told which bucket holds the snapshots")
}
