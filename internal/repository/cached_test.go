package repository_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// machine is a process with a cache of its own, and the requests that it sends to a bucket.
type machine struct {
	t     testing.TB
	p     place
	store *blobtest.Faulty
	cache *repository.Cache
	dir   string
	repo  *repository.Repository
}

func newMachine(t testing.TB, p place, bucket blob.Store) *machine {
	m := &machine{t: t, p: p, store: blobtest.NewFaulty(bucket), dir: filepath.Join(t.TempDir(), "cache")}
	m.cache = repository.NewCache(m.dir, 128<<20, func(err error) { t.Error(err) })
	m.start()
	return m
}

// start opens the repository as a new process does.
func (m *machine) start() {
	m.repo = openOver(m.t, m.p, m.store)
	m.repo.UseCache(m.cache, "the bucket")
	m.store.ResetCounts()
}

func (m *machine) gets() int { return m.store.Count(blobtest.OpGet) }

// backup puts entries of mails from a number on, and seals.
func (m *machine) backup(epoch int64, from, n int) repository.Snapshot {
	m.t.Helper()
	w := begin(m.t, m.repo, epoch, tenantry.TaskID(fmt.Sprint("task-", epoch)))
	defer w.Close()
	for i := range n {
		must(m.t, w.Put(context.Background(), unstored(from+i, int(epoch))))
	}
	return seal(m.t, w)
}

// unstored is an entry without content.
func unstored(i, version int) repository.Entry {
	return repository.Entry{
		ID: messageID(i), Parent: fmt.Sprint("folder-", i%7), Kind: "message", Name: fmt.Sprintf("Report %d of %x", version, noise(i+version*100_000, 20)),
		ETag: fmt.Sprint("etag-", version), Modified: noon, Size: 2000, Generation: 1,
	}
}

// files lists what the machine's cache has.
func (m *machine) files() []string {
	m.t.Helper()
	paths, err := filepath.Glob(filepath.Join(m.dir, "??", "*"))
	must(m.t, err)
	return paths
}

// versions reads all of a snapshot, and returns how many entries it has of each version.
func versions(t testing.TB, r *repository.Repository, seq int64) map[string]int {
	t.Helper()
	rd, err := r.OpenSnapshot(context.Background(), mailbox, seq)
	must(t, err)
	defer rd.Close()
	found := map[string]int{}
	for e, err := range rd.Entries(context.Background()) {
		must(t, err)
		found[e.ETag]++
	}
	return found
}

// What a machine has written or read of the index it does not ask the bucket for again, a process that begins anew
// included; another machine does, once.
func TestIndexIsReadOnce(t *testing.T) {
	p, bucket := folder(t), blobtest.NewMemory()
	a := newMachine(t, p, bucket)
	a.backup(1, 0, 4000)
	a.start()
	w := begin(t, a.repo, 2, "task-2")
	for i := range 50 {
		e, ok, err := w.Lookup(context.Background(), messageID(i*80))
		if err != nil || !ok || e.ETag != "etag-1" {
			t.Fatalf("mail %d is %v, %v, %v", i*80, e, ok, err)
		}
		must(t, w.Put(context.Background(), unstored(i*80, 2)))
	}
	sealed := seal(t, w)
	if got := a.gets(); got != 0 {
		t.Errorf("an incremental on the machine of the backup before: %d GET", got)
	}
	if s := a.cache.Stats(); s.Hits < 2 || s.Read == 0 {
		t.Errorf("and the cache says %+v", s)
	}
	b := newMachine(t, p, bucket)
	want := map[string]int{"etag-1": 3950, "etag-2": 50}
	diff(t, "what another machine reads", versions(t, b.repo, sealed.Seq), want)
	cold := b.gets()
	b.start()
	diff(t, "what it reads again", versions(t, b.repo, sealed.Seq), want)
	if again := b.gets(); cold < 2 || again != 1 { // nobody says whether a snapshot's manifest was replaced
		t.Errorf("another machine: %d GET, and then %d", cold, again)
	}
}

// A real S3 server tells in its listings what it has, so that a head is not read again there either.
func TestHeadIsReadOnceFromS3(t *testing.T) {
	if testing.Short() {
		t.Skip("needs an S3 server")
	}
	backends(t, func(t *testing.T, p place) {
		a := newMachine(t, p, p.store(t))
		a.backup(1, 0, 300)
		a.start()
		a.backup(2, 300, 10)
		want := 0
		if strings.HasPrefix(p.url, "file:") {
			want = 1 // a folder's listing says nothing of what is in the files
		}
		if got := a.gets(); got != want {
			t.Errorf("%d GET, expected %d", got, want)
		}
	})
}

// harm changes files of a cache, each in its own way.
func harm(t *testing.T, paths []string) {
	for i, path := range paths {
		body, err := os.ReadFile(path)
		must(t, err)
		switch i % 4 {
		case 0:
			body = body[:len(body)/2]
		case 1:
			body[len(body)/3] ^= 1
		case 2:
			clear(body)
		case 3:
			body = nil
		}
		must(t, os.WriteFile(path, body, 0o600))
	}
}

// Whatever became of the cache's files, nobody notices but the bucket, which is asked once more.
func TestHarmedCacheIsNotBelieved(t *testing.T) {
	p, bucket := folder(t), blobtest.NewMemory()
	a := newMachine(t, p, bucket)
	a.backup(1, 0, 4000)
	sealed := a.backup(2, 2000, 4000)
	want := map[string]int{"etag-1": 2000, "etag-2": 4000}
	paths := a.files()
	if len(paths) < 2 {
		t.Fatalf("the cache has %q", paths)
	}
	for turn := range 4 { // each file is harmed in each way
		harm(t, append(paths[turn%len(paths):], paths[:turn%len(paths)]...))
		a.start()
		diff(t, "what is read", versions(t, a.repo, sealed.Seq), want)
		a.backup(int64(3+turn), 6000, 0)
		if a.gets() < 2 {
			t.Errorf("it was read with %d GET", a.gets())
		}
		diff(t, "what is read then", versions(t, a.repo, sealed.Seq), want) // what stood beside the harm went with it
		a.start()
		diff(t, "what is read at last", versions(t, a.repo, sealed.Seq), want)
		if a.gets() != 1 {
			t.Errorf("and at last with %d GET", a.gets())
		}
		if paths = a.files(); len(paths) < 2 {
			t.Fatalf("the cache has %q", paths)
		}
	}
}

// A bit anywhere in any file of a cache changes nothing that is read.
func TestNoBitOfTheCacheIsBelieved(t *testing.T) {
	p, bucket := folder(t), blobtest.NewMemory()
	a := newMachine(t, p, bucket)
	sealed := a.backup(1, 0, 200)
	want := versions(t, a.repo, sealed.Seq)
	for _, path := range a.files() {
		body, err := os.ReadFile(path)
		must(t, err)
		for bit := 0; bit < 8*len(body); bit += 997 {
			body[bit/8] ^= 1 << (bit % 8)
			must(t, os.WriteFile(path, body, 0o600))
			diff(t, "what is read", versions(t, a.repo, sealed.Seq), want)
			head, err := a.repo.Head(context.Background(), mailbox)
			if err != nil || head.Seq != sealed.Seq {
				t.Fatalf("the head is %v, %v", head, err)
			}
			body[bit/8] ^= 1 << (bit % 8)
			must(t, os.WriteFile(path, body, 0o600))
		}
	}
}

// What proves reads the bucket, however sound the cache is: a segment that is damaged there is found.
func TestProofsReadTheBucket(t *testing.T) {
	ctx := context.Background()
	p, bucket := folder(t), blobtest.NewMemory()
	a := newMachine(t, p, bucket)
	sealed := a.backup(1, 0, 4000)
	damaged := ""
	for key, body := range bucket.Bodies(string(tenant) + "/r/") {
		if strings.Contains(key, "/s/") {
			spoilt := append([]byte(nil), body...)
			spoilt[200] ^= 1 // in the block that begins with the first IDs
			must(t, bucket.Put(ctx, key, spoilt))
			damaged = key
		}
	}
	if damaged == "" {
		t.Fatal("there is no segment")
	}
	diff(t, "what is read through the cache", versions(t, a.repo, sealed.Seq), map[string]int{"etag-1": 4000})
	_, err := a.repo.Check(ctx, mailbox, sealed.Seq, func(repository.Problem) {})
	wantKind(t, err, tenantry.Corrupt)
	_, err = a.repo.CheckQuick(ctx, mailbox, sealed.Seq, func(repository.Problem) {})
	wantKind(t, err, tenantry.Corrupt)
	rd, err := a.repo.OpenStored(ctx, mailbox, sealed.Seq)
	must(t, err)
	defer rd.Close()
	failed := false
	for _, err := range rd.Entries(ctx) {
		failed = failed || tenantry.KindOf(err) == tenantry.Corrupt
	}
	if !failed {
		t.Error("a proof found nothing in the bucket")
	}
	w := begin(t, a.repo, 2, "reindex")
	out, err := w.Reindex(ctx)
	if err != nil || out.Packs == 0 || out.Snapshots != 1 {
		t.Errorf("the index was made again as %+v, %v", out, err)
	}
	w.Close()
	_, err = a.repo.Check(ctx, mailbox, sealed.Seq, func(repository.Problem) {})
	must(t, err)
	diff(t, "what is read of it then", versions(t, a.repo, sealed.Seq), map[string]int{"etag-1": 4000})
}

// A bucket that is set back to an earlier state, as after a disaster, has other manifests under the same numbers: what a
// cache knows of those that are gone changes nothing.
func TestBucketThatIsSetBack(t *testing.T) {
	p, bucket := folder(t), blobtest.NewMemory()
	a := newMachine(t, p, bucket)
	a.backup(1, 0, 300)
	earlier := bucket.Clone()
	a.backup(2, 300, 300) // manifest 2, which the cache has and the bucket of the future has not
	b := newMachine(t, p, earlier)
	b.backup(2, 1000, 500) // manifest 2 of another history
	a.store = blobtest.NewFaulty(earlier)
	a.start()
	sealed := a.backup(3, 2000, 1)
	got := versions(t, a.repo, sealed.Seq)
	diff(t, "what is there then", got, map[string]int{"etag-1": 300, "etag-2": 500, "etag-3": 1})
	_, err := a.repo.Check(context.Background(), mailbox, sealed.Seq, func(pr repository.Problem) { t.Errorf("%+v", pr) })
	must(t, err)
}

// Two tenants, and two buckets, do not read each other's.
func TestCacheIsOfOneBucket(t *testing.T) {
	p := folder(t)
	a := newMachine(t, p, blobtest.NewMemory())
	a.backup(1, 0, 300)
	other := newMachine(t, p, blobtest.NewMemory())
	other.cache = a.cache
	other.repo = openOver(t, p, other.store)
	other.repo.UseCache(a.cache, "another bucket")
	other.backup(1, 500, 200)
	if hits := a.cache.Stats().Hits; hits != 0 {
		t.Errorf("%d reads of what is not there", hits)
	}
}
