package api

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// searchedAtOnce is how many series are searched side by side.
	searchedAtOnce = 8
	// searchTime is how long a search of a tenant goes on before it answers with what it has.
	searchTime = handlerTimeout / 3
	// fewSeries is how many a search looks into that nobody need make a task.
	fewSeries = 32
)

// Search is what to look for. What is not given does not matter; all that is given must hold.
type Search struct {
	Text   string    `query:"text" maxLength:"500" doc:"In the name (a subject, a file's name) or the sender, in any case"`
	From   string    `query:"from" maxLength:"500" doc:"In the sender, in any case"`
	To     string    `query:"to" maxLength:"500" doc:"In the recipients, or those invited, in any case"`
	In     string    `query:"in" maxLength:"500" doc:"In the name of the folder it lies in directly, in any case" example:"Inbox"`
	Kind   string    `query:"kind" maxLength:"50" doc:"Exactly" example:"message"`
	Since  time.Time `query:"since" doc:"Received, or else changed, at that time or later"`
	Before time.Time `query:"before" doc:"Received, or else changed, before that time"`
}

type searchSnapshotInput struct {
	SnapshotPath
	PageQuery
	Search
	Folder string `query:"folder" maxLength:"1000" doc:"ID of the folder it lies in directly"`
}

type searchTenantInput struct {
	TenantPath
	PageQuery
	Search
	Workload tenantry.Workload `query:"workload" enum:"mailbox,drive,site,group,team" doc:"Only in this workload"`
}

// sought is what the audit log keeps of a search.
type sought struct {
	Resource tenantry.ResourceID `json:"resource,omitempty"`
	Workload tenantry.Workload   `json:"workload,omitempty"`
	Snapshot int64               `json:"snapshot,omitempty"`
	Folder   string              `json:"folder,omitempty"`
	Text     string              `json:"text,omitempty"`
	From     string              `json:"from,omitempty"`
	To       string              `json:"to,omitempty"`
	In       string              `json:"in,omitempty"`
	Kind     string              `json:"kind,omitempty"`
}

func (in *searchSnapshotInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, sought{in.Resource, in.Workload, in.Snapshot, in.Folder, in.Text, in.From, in.To, in.In, in.Kind}
}

func (in *searchTenantInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, sought{Workload: in.Workload, Text: in.Text, From: in.From, To: in.To, In: in.In, Kind: in.Kind}
}

// FoundItem is an item of a snapshot, and where it is.
type FoundItem struct {
	Resource     tenantry.ResourceID `json:"resource"`
	ResourceName string              `json:"resource_name,omitempty" doc:"What people call it"`
	Workload     tenantry.Workload   `json:"workload"`
	Snapshot     int64               `json:"snapshot"`
	BrowseItem
}

// UnreadableSeries is one that a search could not look into.
type UnreadableSeries struct {
	Resource     tenantry.ResourceID `json:"resource"`
	ResourceName string              `json:"resource_name,omitempty" doc:"What people call it"`
	Workload     tenantry.Workload   `json:"workload"`
	Snapshot     int64               `json:"snapshot"`
	Kind         tenantry.Kind       `json:"kind" doc:"What is the matter"`
}

// SearchPage is one page of what was found in a tenant.
type SearchPage struct {
	Items      []FoundItem        `json:"items" nullable:"false" doc:"By resource and workload; a page may have few or none and still a next"`
	Unreadable []UnreadableSeries `json:"unreadable" nullable:"false" doc:"What could not be searched, because it is damaged or its key is missing"`
	Next       string             `json:"next,omitempty" doc:"Pass it as 'after' to go on; absent when everything was searched"`
	Many       bool               `json:"many" doc:"On the first page: there are more than a few series; start-search does it as a task, which needs nobody to wait"`
}

func (s *service) searchSnapshot(ctx context.Context, in *searchSnapshotInput) (*body[Page[BrowseItem]], error) {
	if err := s.browsable(ctx, in.SnapshotPath); err != nil {
		return nil, err
	}
	items, next, err := s.Browser.Search(ctx, in.series(), in.Snapshot, in.Search, in.Folder, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	if items == nil {
		items = []BrowseItem{}
	}
	return &body[Page[BrowseItem]]{Page[BrowseItem]{Items: items, Next: next}}, nil
}

// searchTenant goes through the newest snapshots in ascending order of resource and workload, several at
// once, until a page is full or time is up.
func (s *service) searchTenant(ctx context.Context, in *searchTenantInput) (*body[SearchPage], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if s.Browser == nil {
		return nil, errNoBucket()
	}
	at, err := parsePosition(in.After)
	if err != nil {
		return nil, err
	}
	page := SearchPage{Items: []FoundItem{}, Unreadable: []UnreadableSeries{}}
	if in.After == "" {
		few, err := t.NewestSnapshots(ctx, "", "", fewSeries+1)
		if err != nil {
			return nil, err
		}
		page.Many = len(few) > fewSeries
	}
	begun := time.Now()
	for {
		batch, err := at.batch(ctx, t)
		if err != nil {
			return nil, err
		}
		if len(batch) == 0 {
			return &body[SearchPage]{page}, nil
		}
		found, err := s.searchBatch(ctx, in, batch, at.token, in.Limit-len(page.Items))
		if err != nil {
			return nil, err
		}
		full := page.take(found, in.Limit, &at)
		if full || time.Since(begun) > searchTime {
			page.Next = at.String()
			return &body[SearchPage]{page}, nil
		}
	}
}

// searched is what one series had.
type searched struct {
	row   catalog.SnapshotRow
	items []BrowseItem
	next  string
	bad   tenantry.Kind // it could not be read
}

// searchBatch searches series side by side; the first goes on at token.
func (s *service) searchBatch(ctx context.Context, in *searchTenantInput, batch []catalog.SnapshotRow, token string, limit int) ([]searched, error) {
	found := make([]searched, len(batch))
	group, inner := errgroup.WithContext(ctx)
	for i, row := range batch {
		found[i].row = row
		if in.Workload != "" && in.Workload != row.Series.Workload {
			continue
		}
		after := ""
		if i == 0 {
			after = token
		}
		group.Go(func() (err error) {
			found[i].items, found[i].next, err = s.Browser.Search(inner, row.Series, row.Seq, in.Search, "", after, limit)
			switch kind := tenantry.KindOf(err); kind {
			case tenantry.Corrupt, tenantry.WrongKey:
				found[i].bad = kind
				return nil
			case tenantry.NotFound: // pruned since it was mirrored
				return nil
			}
			return err
		})
	}
	return found, group.Wait()
}

// take adds what was found, series by series, as long as it fits, and moves the position behind it. It reports
// whether the page is at its end.
func (p *SearchPage) take(found []searched, limit int, at *position) bool {
	for _, f := range found {
		if len(p.Items)+len(f.items) > limit {
			return true // searched again for the next page
		}
		series := f.row.Series
		for _, item := range f.items {
			p.Items = append(p.Items, FoundItem{Resource: series.Resource, Workload: series.Workload, Snapshot: f.row.Seq, BrowseItem: item})
		}
		if f.bad != "" {
			p.Unreadable = append(p.Unreadable, UnreadableSeries{Resource: series.Resource, Workload: series.Workload, Snapshot: f.row.Seq, Kind: f.bad})
		}
		*at = position{series.Resource, series.Workload, f.next}
		if f.next != "" {
			return true
		}
	}
	return len(p.Items) == limit
}

// position is how far a search of a tenant has come: behind a series, or, with a token, into it.
type position struct {
	resource tenantry.ResourceID
	workload tenantry.Workload
	token    string
}

// batch returns the series that are next.
func (at position) batch(ctx context.Context, t *catalog.Tenant) ([]catalog.SnapshotRow, error) {
	var first []catalog.SnapshotRow
	if at.token != "" {
		var err error
		if first, err = t.Snapshots(ctx, at.resource, at.workload, 0, 1); err != nil {
			return nil, err
		}
	}
	rest, err := t.NewestSnapshots(ctx, at.resource, at.workload, searchedAtOnce-len(first))
	return append(first, rest...), err
}

func (at position) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(string(at.resource) + "\x00" + string(at.workload) + "\x00" + at.token))
}

func parsePosition(after string) (position, error) {
	if after == "" {
		return position{}, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(after)
	parts := strings.SplitN(string(text), "\x00", 3)
	if err != nil || len(parts) != 3 {
		return position{}, noCursor(after)
	}
	return position{tenantry.ResourceID(parts[0]), tenantry.Workload(parts[1]), parts[2]}, nil
}
