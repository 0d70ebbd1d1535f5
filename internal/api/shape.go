package api

import (
	"strconv"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// body wraps what an operation answers.
type body[T any] struct{ Body T }

// created is an answer 201 with the address of what is new.
type created[T any] struct {
	Location string `header:"Location"`
	Body     T
}

// Page is one page of a listing.
type Page[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Pass it as 'after' for the next page; absent on the last"`
}

// paged cuts a listing that was read one row longer than the page.
func paged[R, T any](rows []R, limit int, convert func(R) T, cursor func(R) string) *body[Page[T]] {
	p := Page[T]{Items: make([]T, 0, min(len(rows), limit))}
	if len(rows) > limit {
		rows = rows[:limit]
		p.Next = cursor(rows[limit-1])
	}
	for _, row := range rows {
		p.Items = append(p.Items, convert(row))
	}
	return &body[Page[T]]{p}
}

// TenantPath names a tenant in the path.
type TenantPath struct {
	Tenant tenantry.TenantID `path:"tenant" maxLength:"64" doc:"ID of the tenant" example:"t-0123456789abcdef"`
}

// ResourcePath names a resource of a tenant in the path.
type ResourcePath struct {
	TenantPath
	Resource tenantry.ResourceID `path:"resource" maxLength:"200" doc:"ID of the resource" example:"u-11111111-1111-4111-8111-111111111111"`
}

// SeriesPath names a workload of a resource in the path.
type SeriesPath struct {
	ResourcePath
	Workload tenantry.Workload `path:"workload" enum:"mailbox,drive,site,group,team" doc:"Which of its workloads"`
}

func (p SeriesPath) series() tenantry.Series {
	return tenantry.Series{Tenant: p.Tenant, Resource: p.Resource, Workload: p.Workload}
}

// SnapshotPath names a snapshot of a series in the path.
type SnapshotPath struct {
	SeriesPath
	Snapshot int64 `path:"snapshot" minimum:"1" doc:"Sequence number of the snapshot"`
}

// RunPath names a run of a tenant in the path.
type RunPath struct {
	TenantPath
	Run tenantry.RunID `path:"run" maxLength:"64" doc:"ID of the run"`
}

// PageQuery asks for a page.
type PageQuery struct {
	CursorQuery
	Limit int `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"Entries on a page"`
}

// below reads the cursor of a listing by falling numbers; 0 starts at the newest.
func below(after string) (int64, error) {
	if after == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(after, 10, 64)
	if err != nil || n < 1 {
		return 0, noCursor(after)
	}
	return n, nil
}

// when is a time as JSON has it: absent if it never was.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
