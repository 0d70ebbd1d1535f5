package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A search of more than a few series is a task: workers look, and leave what they found as an archive of lines, which is
// kept as long as those of exports.

// NewSearch is what a search task is to look for. What is not given does not matter; all that is given must hold.
type NewSearch struct {
	Text     string            `json:"text,omitempty" maxLength:"500" doc:"In the name (a subject, a file's name) or the sender, in any case"`
	From     string            `json:"from,omitempty" maxLength:"500" doc:"In the sender, in any case"`
	To       string            `json:"to,omitempty" maxLength:"500" doc:"In the recipients, or those invited, in any case"`
	In       string            `json:"in,omitempty" maxLength:"500" doc:"In the name of the folder it lies in directly, in any case" example:"Inbox"`
	Kind     string            `json:"kind,omitempty" maxLength:"50" doc:"Exactly" example:"message"`
	Since    *time.Time        `json:"since,omitempty" doc:"Received, or else changed, at that time or later"`
	Before   *time.Time        `json:"before,omitempty" doc:"Received, or else changed, before that time"`
	Workload tenantry.Workload `json:"workload,omitempty" enum:"mailbox,drive,site,group,team" doc:"Only in this workload"`
	All      bool              `json:"all,omitempty" doc:"In all snapshots: also what was deleted or changed since, each version once, by the newest snapshot that has it"`
}

type startSearchInput struct {
	TenantPath
	Body NewSearch
}

func (in *startSearchInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

type getSearchInput struct{ RunPath }

type listFoundInput struct {
	RunPath
	PageQuery
}

func (in *listFoundInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Run }

// SearchResult describes what a search task found.
type SearchResult struct {
	Found      int64              `json:"found" doc:"Items"`
	Snapshots  int64              `json:"snapshots" doc:"Looked into"`
	Examined   int64              `json:"examined" doc:"Items looked at"`
	More       bool               `json:"more" doc:"It found as much as it may: 10,000 in one series, 100,000 in all. Ask more narrowly"`
	Unreadable []UnreadableSeries `json:"unreadable" nullable:"false" doc:"What could not be searched, because it is damaged or its key is missing; at most 200"`
	MadeAt     time.Time          `json:"made_at"`
	RemovedAt  time.Time          `json:"removed_at" doc:"When the result is removed, or soon after"`
}

func (s *service) searchRoutes() {
	const tag, all = "searches", "/v1/tenants/{tenant}/searches"
	write(s, post(http.StatusCreated, "start-search", tag, all, "Search the snapshots of a tenant as a task, the newest of each series or all"), s.startSearch)
	read(s, get("get-search", tag, all+"/{run}", "Describe what a search task found"), s.getSearch)
	write(s, get("list-found", tag, all+"/{run}/items", "List what a search task found"), s.listFound)
}

// startSearch works for any state of the tenant: it reads the bucket alone.
func (s *service) startSearch(ctx context.Context, in *startSearchInput) (*created[Run], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	n := in.Body
	req := tenantry.SearchRequest{
		Text: n.Text, From: n.From, To: n.To, In: n.In, Kind: n.Kind, Workload: n.Workload, All: n.All,
	}
	if n.Since != nil {
		req.Since = *n.Since
	}
	if n.Before != nil {
		req.Before = *n.Before
	}
	if !req.Since.IsZero() && !req.Before.IsZero() && !req.Since.Before(req.Before) {
		return nil, invalid("body.before", req.Before, "it is not after 'since'")
	}
	params, err := json.Marshal(req)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "encode a search", err)
	}
	return s.start(ctx, t, tenantry.Search, "", []catalog.NewTask{{Params: params}})
}

// found opens what a search found.
func (s *service) found(ctx context.Context, p RunPath) (io.ReadSeeker, Archive, error) {
	task, err := s.archiveTask(ctx, p, tenantry.Search)
	if err != nil {
		return nil, Archive{}, err
	}
	return s.Archives.Open(ctx, p.Tenant, task.ID)
}

func (s *service) getSearch(ctx context.Context, in *getSearchInput) (*body[SearchResult], error) {
	content, a, err := s.found(ctx, in.RunPath)
	if err != nil {
		return nil, err
	}
	sum, err := summary(content, a.Size)
	if err != nil {
		return nil, err
	}
	r := SearchResult{
		Found: sum.Found, Snapshots: sum.Snapshots, Examined: sum.Examined, More: sum.More, Unreadable: []UnreadableSeries{},
		MadeAt: a.Made, RemovedAt: s.Archives.RemovedAt(a.Made),
	}
	for _, u := range sum.Unreadable {
		r.Unreadable = append(r.Unreadable, UnreadableSeries{Resource: u.Resource, Workload: u.Workload, Snapshot: u.Snapshot, Kind: u.Kind})
	}
	return &body[SearchResult]{r}, nil
}

// maxFoundLine bounds a line of a result: the summary names 200 series at most, an item has names of some kilobytes.
const maxFoundLine = 256 << 10

// summary reads the last line of a result.
func summary(content io.ReadSeeker, size int64) (sum tenantry.SearchSummary, err error) {
	from := max(0, size-maxFoundLine)
	if _, err := content.Seek(from, io.SeekStart); err != nil {
		return sum, tenantry.E(tenantry.KindOf(err), "read the result of a search", err)
	}
	tail, err := io.ReadAll(io.LimitReader(content, maxFoundLine))
	if err != nil {
		return sum, tenantry.E(tenantry.KindOf(err), "read the result of a search", err)
	}
	tail = bytes.TrimRight(tail, "\n")
	if err := json.Unmarshal(tail[bytes.LastIndexByte(tail, '\n')+1:], &sum); err != nil {
		return sum, tenantry.E(tenantry.Corrupt, "read the summary of a search", err)
	}
	return sum, nil
}

// listFound reads a page of a result: 'after' is where its first line begins.
func (s *service) listFound(ctx context.Context, in *listFoundInput) (*body[Page[FoundItem]], error) {
	at := int64(0)
	if in.After != "" {
		var err error
		if at, err = strconv.ParseInt(in.After, 10, 64); err != nil || at < 1 {
			return nil, noCursor(in.After)
		}
	}
	content, a, err := s.found(ctx, in.RunPath)
	if err != nil {
		return nil, err
	}
	page, err := foundPage(content, at, a.Size, in.Limit)
	if errors.Is(err, errNoLine) {
		return nil, noCursor(in.After)
	}
	if err != nil {
		return nil, err
	}
	return &body[Page[FoundItem]]{page}, nil
}

// errNoLine is returned for a place at which no line begins.
var errNoLine = errors.New("no line begins there")

// foundPage reads lines from a place on; the last line of a result is its summary.
func foundPage(content io.ReadSeeker, at, size int64, limit int) (Page[FoundItem], error) {
	page := Page[FoundItem]{Items: []FoundItem{}}
	if at >= size {
		return page, errNoLine
	}
	if _, err := content.Seek(max(0, at-1), io.SeekStart); err != nil {
		return page, tenantry.E(tenantry.KindOf(err), "read the result of a search", err)
	}
	lines := bufio.NewReaderSize(content, maxFoundLine)
	if at > 0 {
		if before, err := lines.ReadByte(); err != nil || before != '\n' {
			return page, errNoLine
		}
	}
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return page, tenantry.E(tenantry.Corrupt, "read the result of a search", err)
		}
		if at+int64(len(line)) >= size { // the summary
			return page, nil
		}
		if len(page.Items) == limit {
			page.Next = strconv.FormatInt(at, 10)
			return page, nil
		}
		var f tenantry.FoundItem
		if err := json.Unmarshal(line, &f); err != nil {
			return page, tenantry.E(tenantry.Corrupt, "read the result of a search", err)
		}
		page.Items = append(page.Items, FoundItem{Resource: f.Resource, Workload: f.Workload, Snapshot: f.Snapshot, BrowseItem: BrowseItem{
			ID: f.ID, Parent: f.Parent, Kind: f.Kind, Name: f.Name, Size: f.Size, Parts: f.Parts, Problem: f.Problem,
			From: f.From, To: f.To, Modified: when(f.Modified), Date: when(f.Date),
		}})
		at += int64(len(line))
	}
}
