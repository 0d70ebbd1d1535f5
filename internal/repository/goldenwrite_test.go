package repository_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// goldenWriter makes a golden repository with today's program: everything that a tenant's life leaves in a bucket.
type goldenWriter struct {
	t      *testing.T
	bucket *blobtest.Memory
	ring   repository.KeyManager
	repo   *repository.Repository
	epoch  int64
	ahead  time.Duration // of the bucket's clock
	truth  truth
}

var (
	goldenAlice = tenantry.Series{Tenant: tenant, Resource: "alice", Workload: tenantry.Mailbox}
	goldenBob   = tenantry.Series{Tenant: tenant, Resource: "bob", Workload: tenantry.Drive}
	goldenCarol = tenantry.Series{Tenant: tenant, Resource: "carol", Workload: tenantry.Mailbox}
)

// Writes a golden repository, where one is asked for by -golden NAME; none that is there is ever replaced.
func TestWriteGoldenRepository(t *testing.T) {
	name := *writeGolden
	if name == "" {
		name = "scratch" // the writer has to work on the day that it is needed
	}
	keys := filepath.Join(t.TempDir(), "keys.json")
	ring, err := repository.OpenKeyFile(keys, true)
	must(t, err)
	g := &goldenWriter{t: t, ring: ring, truth: truth{Program: "format version 2, " + name}}
	g.choose()
	g.live()
	folder := goldenFolder
	if *writeGolden == "" {
		folder = t.TempDir()
	}
	g.save(folder, name, keys)
}

// long is content that compresses well and comes again and again: where it is cut often, it is the same few chunks, many times.
func long(times int) []byte {
	return bytes.Repeat(goldenText("long, "+strings.Repeat("and longer, ", 8), 300_000), times)
}

// choose makes a tenant whose secret cuts the long content often.
func (g *goldenWriter) choose() {
	for range 500 {
		g.bucket = blobtest.NewMemory()
		g.open()
		w := g.begin(goldenAlice)
		part, err := w.PutContent(context.Background(), bytes.NewReader(long(12)))
		must(g.t, err)
		w.Close()
		if repository.ChunksOf(part) < 10 {
			continue
		}
		key := g.bucket.Bodies(string(tenant) + "/key")[string(tenant)+"/key"]
		g.bucket = blobtest.NewMemory()
		must(g.t, g.bucket.Put(context.Background(), string(tenant)+"/key", key))
		return
	}
	g.t.Fatal("no secret cuts the long content often")
}

// live is the tenant's life.
func (g *goldenWriter) live() {
	ctx := context.Background()
	g.open()
	secret := goldenText("condemned", 150<<10)
	g.backup(goldenBob, func(w *repository.Writer) {
		putGolden(g.t, w, 100, 1, goldenText("shared", 200<<10), secret)
	})
	g.backup(goldenAlice, func(w *repository.Writer) {
		must(g.t, w.Put(ctx, repository.Entry{ID: "folder-1", Kind: repository.KindFolder, Name: "Inbox", Collection: "messages/folder-1"}))
		must(g.t, w.Put(ctx, repository.Entry{
			ID: "unreadable", Parent: "folder-1", Kind: "message", Name: "It could not be read", Problem: "Microsoft answers 503",
			ProblemAt: noon, ProblemKind: tenantry.Transient,
		}))
		for i := range 12 {
			size := 3000
			if i > 9 { // of the last little stays, so that their pack is emptied
				size = 0
			}
			putGolden(g.t, w, i, 1, noise(i%3, size))
		}
		must(g.t, repository.FlushIndex(ctx, w))
		must(g.t, w.Checkpoint(ctx))
		putGolden(g.t, w, 12, 1, long(90)) // a list of its chunks is stored as content
		for i := range 4 {
			putGolden(g.t, w, 20+i, 1, goldenText("shared", 200<<10))
		}
	})
	_, err := repository.RotateDataKey(ctx, g.bucket, g.ring, tenant)
	must(g.t, err)
	_, err = repository.RotateWrappingKey(ctx, g.bucket, g.ring, tenant)
	must(g.t, err)
	g.open()
	g.backup(goldenAlice, func(w *repository.Writer) {
		for i := range 10 {
			putGolden(g.t, w, i, 2)
		}
		must(g.t, w.Remove(ctx, messageID(20)))
		must(g.t, repository.FlushIndex(ctx, w))
	})
	g.backup(goldenBob, func(w *repository.Writer) {
		must(g.t, w.Remove(ctx, messageID(100)))
		for i := range 3 {
			putGolden(g.t, w, 101+i, 1, goldenText("bob's", 140<<10))
		}
	})
	g.maintain(secret)
}

// maintain is what happens beside backups: some hours later, and then some.
func (g *goldenWriter) maintain(secret []byte) {
	ctx := context.Background()
	g.after(4*time.Hour, goldenBob, func(w *repository.Writer) { // its first snapshot goes, and with it what it alone had
		_, err := w.Prune(ctx, []int64{1})
		must(g.t, err)
	})
	g.after(4*time.Hour, goldenBob, func(w *repository.Writer) {
		_, err := w.Sweep(ctx)
		must(g.t, err)
	})
	g.after(4*time.Hour, goldenAlice, func(w *repository.Writer) {
		out, err := w.Compact(ctx, repository.CompactLimits{Budget: 1 << 20, MinDead: 1, AnyGain: true})
		if err != nil || out.Packs == 0 {
			g.t.Fatalf("no pack was emptied: %+v, %v", out, err)
		}
	})
	collected, err := g.repo.Collect(ctx)
	if err != nil || collected.Condemned == 0 {
		g.t.Fatalf("nothing was condemned: %+v, %v", collected, err)
	}
	var chunks []string
	for key := range g.bucket.Bodies(string(tenant) + "/c/") {
		chunks = append(chunks, strings.TrimPrefix(key, string(tenant)+"/"))
	}
	_, err = g.repo.Distrust(ctx, chunks[:1])
	must(g.t, err)
	g.open()
	g.backup(goldenAlice, func(w *repository.Writer) { // what is condemned is stored once more
		must(g.t, w.Remove(ctx, messageID(12)))
		putGolden(g.t, w, 30, 1, secret)
		must(g.t, repository.FlushIndex(ctx, w))
		putGolden(g.t, w, 31, 1)
	})
	_, err = g.repo.Patrol(ctx, nil)
	must(g.t, err)
	archive, err := g.repo.CreateArchive(ctx, "golden")
	must(g.t, err)
	exported := goldenText("exported", 50_000)
	_, err = archive.Write(exported)
	must(g.t, err)
	_, err = archive.Finish("export.zip", noon)
	must(g.t, err)
	g.truth.Archive = sum(exported)
	w := g.begin(goldenCarol) // a backup that never ends
	defer w.Close()
	for i := range 5 {
		putGolden(g.t, w, 200+i, 1)
	}
	w.SetCursor("messages/folder-1", repository.Cursor{Link: "https://graph.example/next", Generation: 1})
	must(g.t, w.Checkpoint(ctx))
}

// open opens the repository as a new process does.
func (g *goldenWriter) open() {
	repo, err := repository.Open(context.Background(), g.bucket, g.ring, tenant)
	must(g.t, err)
	repository.SetClock(repo, func() time.Time { return time.Now().Add(g.ahead) })
	g.repo = repo
}

func (g *goldenWriter) begin(s tenantry.Series) *repository.Writer {
	g.epoch++
	w, err := g.repo.Begin(context.Background(), s, repository.Fence{Epoch: g.epoch, Task: tenantry.TaskID(fmt.Sprint("task-", g.epoch))})
	must(g.t, err)
	return w
}

func (g *goldenWriter) backup(s tenantry.Series, put func(w *repository.Writer)) {
	w := g.begin(s)
	defer w.Close()
	put(w)
	w.SetCursor("messages/folder-1", repository.Cursor{Link: fmt.Sprint("https://graph.example/delta?", g.epoch), Generation: 1, Complete: true})
	seal(g.t, w)
}

// after does something to a series when time has passed.
func (g *goldenWriter) after(wait time.Duration, s tenantry.Series, act func(w *repository.Writer)) {
	g.ahead += wait
	w := g.begin(s)
	defer w.Close()
	act(w)
}

// learn reads what is there, as the truth for those who come later.
func (g *goldenWriter) learn() {
	for _, s := range []tenantry.Series{goldenAlice, goldenBob, goldenCarol} {
		of := seriesTruth{Resource: string(s.Resource), Workload: string(s.Workload), Cursors: map[string]string{}, Snapshots: map[int64]map[string]itemTruth{}}
		live, err := g.repo.Snapshots(context.Background(), s)
		must(g.t, err)
		for _, snapshot := range live {
			of.Snapshots[snapshot.Seq] = itemsOf(g.t, g.repo, s, snapshot.Seq)
		}
		w := g.begin(s)
		c, ok := w.Cursor("messages/folder-1")
		w.Close()
		if !ok {
			g.t.Fatalf("%s has no cursor", s)
		}
		of.Cursors["messages/folder-1"] = c.Link
		g.truth.Series = append(g.truth.Series, of)
	}
}

// save writes the three files; none that is there is replaced.
func (g *goldenWriter) save(folder, name, keyFile string) {
	objects := g.bucket.Bodies(string(tenant) + "/") // before learn takes over what is unfinished
	g.learn()
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		body := objects[key]
		must(g.t, w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(key, string(tenant)+"/"), Mode: 0o600, Size: int64(len(body)), ModTime: noon}))
		_, err := w.Write(body)
		must(g.t, err)
	}
	must(g.t, w.Close())
	keys, err := os.ReadFile(keyFile)
	must(g.t, err)
	text, err := json.MarshalIndent(g.truth, "", " ")
	must(g.t, err)
	if size := packed.Len() + len(keys) + len(text); size > maxGolden {
		g.t.Fatalf("it has %d bytes, %d are allowed", size, maxGolden)
	}
	must(g.t, os.MkdirAll(folder, 0o755))
	for ext, content := range map[string][]byte{".tar": packed.Bytes(), ".keys.json": keys, ".truth.json": append(text, '\n')} {
		path := filepath.Join(folder, name+ext)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			g.t.Fatalf("%s is there: a golden repository is never replaced", path)
		}
		must(g.t, os.WriteFile(path, content, 0o644))
	}
	g.t.Logf("%d objects, %d bytes", len(objects), packed.Len())
}
