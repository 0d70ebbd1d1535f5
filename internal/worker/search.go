package worker

import (
	"context"
	"encoding/json"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// searchSeries is how many series are searched side by side, and searchStep how many items of one are looked at
	// before anybody is asked whether to go on.
	searchSeries, searchStep = 8, 50_000
	// maxFoundInSeries and maxFound bound what a search finds; maxUnreadable what it names that it could not read.
	maxFoundInSeries, maxFound, maxUnreadable = 10_000, 100_000, 200
	// searchPage is how many rows of the catalog are read at once.
	searchPage = 100
)

// search looks for items in the snapshots of the tenant, and leaves what it found as an archive of lines, in the order of
// resource and workload, the summary last. It counts the items that it looked at; total is how many there are in the
// snapshots that it has come to.
func (j *job) search(ctx context.Context, progress func(tenantry.Counts)) (end, error) {
	var req tenantry.SearchRequest
	if err := j.params(&req); err != nil {
		return end{}, err
	}
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil {
		return end{}, fromBucket(err)
	}
	return j.archived(ctx, func(ctx context.Context, w *repository.ArchiveWriter) (string, engine.Outcome, error) {
		s := &searching{job: j, repo: repo, req: req, out: json.NewEncoder(w), progress: progress}
		err := s.run(ctx)
		counts := s.counts()
		counts.Bytes = w.Stored()
		return "search.jsonl", engine.Outcome{Done: err == nil && !s.stopped.Load(), Counts: counts}, err
	})
}

// searching is one slice of a search. It begins anew when it is interrupted.
type searching struct {
	*job
	repo     *repository.Repository
	req      tenantry.SearchRequest
	out      *json.Encoder
	progress func(tenantry.Counts)

	summary         tenantry.SearchSummary // of what was written
	examined, total atomic.Int64
	stopped         atomic.Bool // it was told to end
}

func (s *searching) counts() tenantry.Counts {
	return tenantry.Counts{Items: s.examined.Load(), Total: max(s.total.Load(), s.examined.Load())}
}

// run goes through the series, some at once, and writes what they had one after another.
func (s *searching) run(ctx context.Context) error {
	var resource tenantry.ResourceID
	var workload tenantry.Workload
	for {
		rows, err := s.scope.NewestSnapshots(ctx, resource, workload, searchSeries)
		if err != nil {
			return err
		}
		if len(rows) == 0 || s.summary.More && s.summary.Found >= maxFound {
			s.summary.Examined = s.examined.Load()
			return s.out.Encode(s.summary)
		}
		found, err := s.batch(ctx, rows)
		if err != nil || s.stopped.Load() {
			return err
		}
		for i := range found {
			if err := s.write(&found[i]); err != nil {
				return err
			}
		}
		last := rows[len(rows)-1].Series
		resource, workload = last.Resource, last.Workload
		s.progress(s.counts())
	}
}

// foundIn is what one series had.
type foundIn struct {
	items     []tenantry.FoundItem
	snapshots int64
	more      bool // it has others
	bad       []tenantry.UnreadableSnapshot
}

func (s *searching) batch(ctx context.Context, rows []catalog.SnapshotRow) ([]foundIn, error) {
	found := make([]foundIn, len(rows))
	group, inner := errgroup.WithContext(ctx)
	for i, row := range rows {
		if s.req.Workload != "" && s.req.Workload != row.Series.Workload {
			continue
		}
		group.Go(func() error { return s.series(inner, row, &found[i]) })
	}
	return found, group.Wait()
}

// series searches the newest snapshot of a series, or all of them from the newest on: of an item that stays the same it
// shows the newest.
func (s *searching) series(ctx context.Context, newest catalog.SnapshotRow, into *foundIn) error {
	seen := map[version]bool{}
	for rows := []catalog.SnapshotRow{newest}; len(rows) > 0; {
		for _, row := range rows {
			if s.stopped.Load() || into.more {
				return nil
			}
			s.total.Add(row.Counts.Items)
			if err := s.snapshot(ctx, row, seen, into); err != nil {
				return err
			}
		}
		if !s.req.All {
			return nil
		}
		var err error
		rows, err = s.scope.Snapshots(ctx, newest.Series.Resource, newest.Series.Workload, rows[len(rows)-1].Seq, searchPage)
		if err != nil {
			return err
		}
	}
	return nil
}

// version is an item as it was.
type version struct{ id, etag, parent, name string }

// snapshot searches one snapshot. One that was pruned since it was mirrored has nothing; one that is damaged is named.
func (s *searching) snapshot(ctx context.Context, row catalog.SnapshotRow, seen map[version]bool, into *foundIn) error {
	err := s.look(ctx, row, seen, into)
	switch kind := tenantry.KindOf(err); kind {
	case tenantry.Corrupt, tenantry.WrongKey:
		into.bad = append(into.bad, tenantry.UnreadableSnapshot{
			Resource: row.Series.Resource, Workload: row.Series.Workload, Snapshot: row.Seq, Kind: kind,
		})
		return nil
	case tenantry.NotFound:
		return nil
	}
	return fromBucket(err)
}

func (s *searching) look(ctx context.Context, row catalog.SnapshotRow, seen map[version]bool, into *foundIn) error {
	reader, err := s.repo.OpenSnapshot(ctx, row.Series, row.Seq)
	if err != nil {
		return err
	}
	defer reader.Close()
	into.snapshots++
	q := engine.Query{
		Text: s.req.Text, From: s.req.From, To: s.req.To, In: s.req.In, Kind: s.req.Kind, Since: s.req.Since, Before: s.req.Before,
	}
	for after := ""; ; {
		if s.told() {
			return nil
		}
		page, err := engine.Search(ctx, reader, q, after, engine.MaxListing, searchStep)
		if err != nil {
			return err
		}
		s.examined.Add(int64(page.Examined))
		for _, e := range page.Entries {
			at := version{e.ID, e.ETag, e.Parent, e.Name}
			if seen[at] {
				continue
			}
			if len(into.items) == maxFoundInSeries {
				into.more = true
				return nil
			}
			seen[at] = true
			into.items = append(into.items, foundItem(row, e))
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

// told reports whether the search is to end early.
func (s *searching) told() bool {
	select {
	case <-s.drain:
		s.stopped.Store(true)
	default:
	}
	return s.stopped.Load()
}

func foundItem(row catalog.SnapshotRow, e repository.Entry) tenantry.FoundItem {
	return tenantry.FoundItem{
		Resource: row.Series.Resource, Workload: row.Series.Workload, Snapshot: row.Seq, ID: e.ID, Parent: e.Parent, Kind: e.Kind,
		Name: e.Name, Size: e.Size, Parts: len(e.Parts), Problem: e.Problem, From: e.From, To: e.To, Modified: e.Modified, Date: e.Date,
	}
}

// write adds what one series had.
func (s *searching) write(found *foundIn) error {
	s.summary.Snapshots += found.snapshots
	s.summary.More = s.summary.More || found.more
	room := max(0, maxUnreadable-len(s.summary.Unreadable))
	s.summary.Unreadable = append(s.summary.Unreadable, found.bad[:min(room, len(found.bad))]...)
	for i := range found.items {
		if s.summary.Found == maxFound {
			s.summary.More = true
			return nil
		}
		if err := s.out.Encode(&found.items[i]); err != nil {
			return err
		}
		s.summary.Found++
	}
	return nil
}
