package worker

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// sourced is a house whose backups read another source.
type sourced struct {
	*house
	src engine.Source
}

func (s sourced) Source(context.Context, catalog.TenantRow, catalog.Resource, tenantry.Workload, tenantry.BackupOptions) (engine.Source, error) {
	return s.src, nil
}

// oneFile is a drive of one file, of which each run shows another version; refused says that it cannot be read.
type oneFile struct {
	version atomic.Int64
	refused atomic.Bool
}

func (*oneFile) Tree(string) (string, bool) { return engine.RootCollection, true }

func (f *oneFile) Page(context.Context, string, string) (engine.Page, error) {
	etag := fmt.Sprint(f.version.Load())
	item := engine.Item{ID: "file", Kind: "file", Name: "a.txt", ETag: etag, Raw: []byte(`{"etag":` + etag + `}`)}
	item.Parts = func(context.Context) ([]engine.ItemPart, error) {
		if f.refused.Load() {
			return nil, tenantry.Errorf(tenantry.Denied, "no access")
		}
		return []engine.ItemPart{{Name: "content", Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("content " + etag)), nil
		}}}, nil
	}
	return engine.Page{Items: []engine.Item{item}, Next: "delta " + etag, Done: true}, nil
}

// TestAProblemSaysWhatItIs: an item that cannot be saved any more has, in the catalog, the class of its reason, since when
// it fails, the snapshot that has it as it was, and that the next backup asks for it.
func TestAProblemSaysWhatItIs(t *testing.T) {
	h := newHouse(t)
	file, cfg := &oneFile{}, h.config()
	cfg.Workloads = sourced{h, file}
	h.worker(cfg)
	good := h.done(h.backup().ID)
	file.version.Add(1)
	file.refused.Store(true)
	began := time.Now().Add(-time.Millisecond)
	var bad catalog.Task
	for range 2 {
		bad = h.done(h.backup().ID)
	}
	problems, err := h.scope().Problems(t.Context(), bad.ID)
	h.must(err)
	if len(problems) != 1 || bad.Counts.Skipped != 1 {
		t.Fatalf("%+v of %+v", problems, bad)
	}
	p := problems[0]
	if p.ItemID != "file" || p.Kind != tenantry.Denied || p.Snapshot != good.Snapshot || !p.Again || p.Since.Before(began) || p.Since.After(time.Now()) {
		t.Errorf("%+v; the last good version is in snapshot %d", p, good.Snapshot)
	}
	file.refused.Store(false)
	if well := h.done(h.backup().ID); well.Counts.Skipped != 0 {
		t.Errorf("%+v", well)
	}
}

// restless are two lists that show something else whenever they are asked.
type restless struct{ n atomic.Int64 }

func (*restless) Tree(string) (string, bool) { return "", false }

func (r *restless) Page(_ context.Context, collection, _ string) (engine.Page, error) {
	p := engine.Page{Done: true, Listed: true}
	if collection == engine.RootCollection {
		for _, id := range []string{"a", "b"} {
			p.Items = append(p.Items, engine.Item{ID: id, Kind: engine.KindFolder, Name: id, ETag: "1", Collection: id})
		}
		return p, nil
	}
	id := fmt.Sprint("item ", r.n.Add(1))
	p.Items = []engine.Item{{ID: id, Parent: collection, Kind: "file", Name: id, ETag: "1", Raw: []byte(`{}`)}}
	return p, nil
}

// TestARestlessSourceIsBackedUpSoon: a backup that could not be settled says so, and the next is due within the hour
// where a policy would have had it later.
func TestARestlessSourceIsBackedUpSoon(t *testing.T) {
	h := newHouse(t)
	now := time.Now()
	h.must(h.scope().EnableWorkload(t.Context(), tenantry.Drive, catalog.Enabling{}, now))
	h.must(h.scope().AddPolicy(t.Context(), catalog.Policy{
		ID: "p-late", Name: "late", Kinds: []tenantry.ResourceKind{tenantry.User}, Workloads: []tenantry.Workload{tenantry.Drive},
		At: (now.UTC().Hour()*60 + 12*60) % (24 * 60), Window: 1, TimeZone: "UTC",
	}, now))
	before, err := h.scope().NextBackup(t.Context(), "u-ann", tenantry.Drive)
	h.must(err)
	if before.Before(now.Add(2 * time.Hour)) {
		t.Fatalf("due at %s already", before)
	}
	cfg := h.config()
	cfg.Workloads = sourced{h, &restless{}}
	h.worker(cfg)
	task := h.done(h.backup().ID)
	problems, err := h.scope().Problems(t.Context(), task.ID)
	h.must(err)
	if len(problems) != 1 || problems[0].Kind != tenantry.Conflict || !problems[0].Again {
		t.Errorf("%+v", problems)
	}
	soon, err := h.scope().NextBackup(t.Context(), "u-ann", tenantry.Drive)
	h.must(err)
	if soon.After(time.Now().Add(unsettledPause)) || soon.Before(now) {
		t.Errorf("due at %s, was %s", soon, before)
	}
}
