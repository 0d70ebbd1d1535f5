//go:build proof

package proof

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/repository/formattest"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// grown is a series that has gone on for long, and the requests that its runs cost.
type grown struct {
	t       *testing.T
	store   *blobtest.Faulty
	read    *atomic.Int64
	repo    *repository.Repository
	keyring repository.Keyring
	rnd     *rand.Rand
	epoch   int64
	items   []int // numbers of those that are there
	next    int
	cache   string // a directory; "": none
}

// kinds are what a run of 50 mails may be, and how it tells the series of mail i.
var kinds = []string{"new", "changed", "removed", "moved"}

// pinned is a keyring whose tenants all have the same secrets: which fingerprints of IDs are equal is no chance then.
type pinned struct{ material []byte }

func newPinned(t *testing.T) pinned {
	secret := make([]byte, 32)
	material, err := proto.Marshal(&pb.KeyMaterial{HashSecret: secret, DataKeys: []*pb.DataKey{{Number: 1, Key: secret}}})
	must(t, err)
	return pinned{material}
}

func (p pinned) Wrap(context.Context, tenantry.TenantID, []byte) ([]byte, string, error) {
	return []byte("pinned"), "pinned", nil
}

func (p pinned) Unwrap(context.Context, tenantry.TenantID, string, []byte) ([]byte, error) {
	return p.material, nil
}

func grow(t *testing.T, items int) *grown {
	return growIn(t, blobtest.NewMemory(), newPinned(t), items)
}

func growIn(t *testing.T, memory *blobtest.Memory, keyring repository.Keyring, items int) *grown {
	g := &grown{t: t}
	g.fill(memory, keyring, items)
	return g
}

// fill makes the series' first backup.
func (g *grown) fill(memory *blobtest.Memory, keyring repository.Keyring, items int) {
	ctx := g.t.Context()
	g.read, g.rnd, g.keyring = &atomic.Int64{}, rand.New(rand.NewPCG(1, 2)), keyring
	g.store = blobtest.NewFaulty(counting{memory, g.read})
	g.useCache(g.cache)
	w := g.begin()
	defer w.Close()
	for range items {
		must(g.t, w.Put(ctx, g.mail(g.next, 0)))
		g.items = append(g.items, g.next)
		if g.next++; w.Pending() >= 8<<20 {
			must(g.t, w.Checkpoint(ctx))
		}
	}
	_, err := w.Seal(ctx, time.Now())
	must(g.t, err)
}

// useCache goes on as a process that has a cache in a directory, or none.
func (g *grown) useCache(dir string) {
	var err error
	g.repo, err = repository.Open(g.t.Context(), g.store, g.keyring, tenant)
	must(g.t, err)
	if dir != "" {
		g.repo.UseCache(repository.NewCache(dir, 256<<20, func(err error) { g.t.Error(err) }), "the bucket")
	}
}

func (g *grown) begin() *repository.Writer {
	g.epoch++
	w, err := g.repo.Begin(context.Background(), alice, repository.Fence{Epoch: g.epoch, Task: tenantry.TaskID(fmt.Sprint("task-", g.epoch))})
	must(g.t, err)
	return w
}

// mail is what the index knows of a mail, as long and as hard to compress as Exchange's.
func (g *grown) mail(i, folder int) repository.Entry {
	rnd := rand.New(rand.NewPCG(uint64(i), uint64(g.epoch)))
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Second)
	return repository.Entry{
		ID:     fmt.Sprintf("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A%08x%08x", uint32(i)*2654435761, i),
		Parent: fmt.Sprint("folder-", (i+folder)%100), Kind: "message", Name: fmt.Sprintf("Report %d of %x", rnd.IntN(1000), rnd.Uint32()),
		ETag: fmt.Sprintf("CQAAABYAAAC%016x%016x", rnd.Uint64(), rnd.Uint64()), Modified: at, Size: 7500,
		From: fmt.Sprintf("user%d@contoso.example", i%500), Date: at, Generation: 1,
	}
}

// run tells the series of 50 mails, as the engine does: it looks each up first.
func (g *grown) run(kind string, recent bool) cost {
	ctx := g.t.Context()
	g.store.ResetCounts()
	g.read.Store(0)
	w := g.begin()
	defer w.Close()
	for range 50 {
		at := g.pick(recent)
		i := g.items[at]
		if kind == "new" {
			i, g.next = g.next, g.next+1
			g.items = append(g.items, i)
		}
		e := g.mail(i, 0)
		_, ok, err := w.Lookup(ctx, e.ID)
		must(g.t, err)
		if ok == (kind == "new") {
			g.t.Fatalf("mail %d, %s: found %v", i, kind, ok)
		}
		switch kind {
		case "removed":
			must(g.t, w.Remove(ctx, e.ID))
			g.items = slices.Delete(g.items, at, at+1)
			continue
		case "moved":
			e = g.mail(i, 1+int(g.epoch)%99)
		}
		e.Payload, err = w.PutPayload(ctx, noise(i+int(g.epoch), 7500))
		must(g.t, err)
		must(g.t, w.Put(ctx, e))
	}
	w.SetCursor("folder-1", repository.Cursor{Link: fmt.Sprint(g.epoch), Complete: true})
	_, err := w.Seal(ctx, time.Now())
	must(g.t, err)
	return g.cost()
}

// pick returns a place in items: of all of them, or of the last thousand.
func (g *grown) pick(recent bool) int {
	if recent {
		return len(g.items) - 1 - g.rnd.IntN(1000)
	}
	return g.rnd.IntN(len(g.items))
}

// cost is what a run has asked of the store.
type cost struct {
	puts, lists, gets, others int
	bytes                     int64 // that were read
}

func (g *grown) cost() cost {
	c := cost{
		puts: g.store.Count(blobtest.OpPut, blobtest.OpPutIfAbsent), lists: g.store.Count(blobtest.OpList),
		gets: g.store.Count(blobtest.OpGet), bytes: g.read.Load(),
	}
	c.others = g.store.Count() - c.puts - c.lists - c.gets
	return c
}

// counting counts the bytes that are read.
type counting struct {
	blob.Store
	read *atomic.Int64
}

func (c counting) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	body, err := c.Store.Get(ctx, key, offset, n)
	if err != nil {
		return nil, err
	}
	return countingBody{body, c.read}, nil
}

type countingBody struct {
	io.ReadCloser
	read *atomic.Int64
}

func (c countingBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// A machine that has a cache, and has written the series before, asks the bucket for nothing but what is newest, whatever has
// become of the mails. One that has never seen the series reads what any would without a cache.
func TestRequestsBesideACache(t *testing.T) {
	for _, items := range []int{20_000, 60_000} {
		t.Run(fmt.Sprint(items), func(t *testing.T) {
			t.Parallel()
			g := &grown{t: t, cache: t.TempDir()}
			g.fill(blobtest.NewMemory(), newPinned(t), items)
			g.fold()
			for run := range 96 { // four days
				kind := kinds[run%len(kinds)]
				if is := g.run(kind, false); is.gets > 0 || is.puts > 3 || is.lists != 1 || is.others != 0 {
					g.t.Errorf("run %d, 50 %s: %+v", run, kind, is)
				}
				if run%24 == 23 {
					g.fold()
				}
			}
			for _, kind := range kinds {
				g.useCache(t.TempDir())
				is := g.run(kind, false)
				t.Logf("50 %s on a machine that has never seen the series: %+v", kind, is)
				if is.gets > 7 || is.puts > 3 || is.lists != 1 || is.others != 0 || kind == "new" && is.gets != 1 {
					t.Errorf("50 %s on another machine: %+v", kind, is)
				}
			}
		})
	}
}

// longLife is how often a series is backed up here: three weeks, every hour.
const longLife = 504

// What a run of 50 mails costs in requests is a promise to those who pay for them: however large the index is, however
// many runs there were, whatever has become of the mails. The index is folded once a day, by the prune.
func TestRequestsOfALongLife(t *testing.T) {
	for _, c := range []promise{
		{items: 2_000, found: 4, bytes: 3 << 20},
		{items: 18_000, found: 6, bytes: 8 << 20},
		{items: 60_000, found: 6, bytes: 16 << 20},
		{items: 1_000_000, found: 50 + 12, bytes: 12 << 20},
	} {
		t.Run(fmt.Sprint(c.items), func(t *testing.T) {
			t.Parallel()
			g := grow(t, c.items)
			g.fold()
			t.Log("mails that lie anywhere")
			g.live(c, false)
			if c.items > 100_000 {
				t.Log("mails of the last days")
				g.live(c, true)
			}
		})
	}
}

// promise is what a run of 50 mails may ask for beside 3 PUT and 1 LIST.
type promise struct {
	items int
	found int   // GET beside that of the manifest that find mails which are no longer as they were, at most; for new ones there are none
	bytes int64 // of all of them
}

// live backs a series up for three weeks, and holds what that costs against what is promised.
func (g *grown) live(c promise, recent bool) {
	worst, gets := map[string]cost{}, map[string]int{}
	for run := range longLife {
		if run%24 == 23 {
			g.fold()
		}
		kind := kinds[run%len(kinds)]
		is := g.run(kind, recent)
		worst[kind], gets[kind] = worst[kind].max(is), gets[kind]+is.gets
		if is.puts > 3 || is.lists != 1 || is.others != 0 || is.gets > 1+c.found || is.bytes > c.bytes || kind == "new" && is.gets != 1 {
			g.t.Errorf("run %d, 50 %s: %+v", run, kind, is)
		}
		if run < len(kinds) || run >= 50 && run < 50+len(kinds) || run >= longLife-len(kinds) {
			g.t.Logf("after %d runs, 50 %s: %+v", 1+run, kind, is)
		}
	}
	for _, kind := range kinds {
		g.t.Logf("50 %s: %.2f GET in the mean, at worst %+v", kind, mean(gets[kind]), worst[kind])
	}
}

func mean(gets int) float64 { return float64(gets) / float64(longLife/len(kinds)) }

func (c cost) max(o cost) cost {
	return cost{max(c.puts, o.puts), max(c.lists, o.lists), max(c.gets, o.gets), max(c.others, o.others), max(c.bytes, o.bytes)}
}

// fold is what the prune of a series does for its index.
func (g *grown) fold() {
	w := g.begin()
	defer w.Close()
	_, err := w.Fold(g.t.Context())
	must(g.t, err)
}

// A run of several segments has its filters in the last one, as docs/FORMAT.md says; a check reads them too.
func TestFiltersStandTogether(t *testing.T) {
	ctx := t.Context()
	memory := blobtest.NewMemory()
	g := growIn(t, memory, keyring, 120_000)
	g.fold()
	reader, err := formattest.NewReader(bucketOf(memory), keyFile, string(tenant))
	must(t, err)
	head, err := reader.Open(string(alice.Resource), string(alice.Workload))
	must(t, err)
	sealed := head.Head.Live[0].Seq
	items, err := reader.Snapshot(string(alice.Resource), string(alice.Workload), sealed)
	if err != nil || len(items) != 120_000 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	name, at := "", int64(0)
	for _, s := range head.Head.Segments {
		if s.Filters > 0 {
			name = fmt.Sprintf("%s/r/%s/%s/s/%x", tenant, alice.Resource, alice.Workload, s.Id)
			at = s.Size - 8 - s.Tail - s.Filters/2
		}
	}
	if name == "" {
		t.Fatal("no segment has the filters of others")
	}
	body := slices.Clone(memory.Bodies(name)[name])
	body[at] ^= 1
	must(t, memory.Put(ctx, name, body))
	_, err = g.repo.Check(ctx, alice, sealed, func(repository.Problem) {})
	if tenantry.KindOf(err) != tenantry.Corrupt || repository.DamagedObject(err) == "" {
		t.Errorf("a bit of the filters is not what it was, and a check says %v", err)
	}
	w := g.begin()
	defer w.Close()
	if _, ok, err := w.Lookup(ctx, "not there"); ok || err != nil {
		t.Errorf("the manifest has the filters, and a backup reads them elsewhere: %v", err)
	}
	w.SetCursor("folder-1", repository.Cursor{Link: "cut"})
	must(t, w.Checkpoint(ctx)) // it is followed soon, and has them not
	after := g.begin()
	defer after.Close()
	if _, _, err := after.Lookup(ctx, g.mail(0, 0).ID); tenantry.KindOf(err) != tenantry.Corrupt {
		t.Errorf("and a backup that goes on from a checkpoint says %v", err)
	}
}
