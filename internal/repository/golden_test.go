package repository_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/repository/formattest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A golden repository is a bucket that an earlier program wrote, in three files that are never changed (docs/FORMAT.md, "Golden
// repositories"):
//
//	testdata/golden/<name>.tar         the objects of tenant t-1, by their names
//	testdata/golden/<name>.keys.json   its key file
//	testdata/golden/<name>.truth.json  what is in it

var writeGolden = flag.String("golden", "", "write a new golden repository of this `NAME`, beside those that are there")

const goldenFolder = "testdata/golden"

// maxGolden is how large one may be.
const maxGolden = 200 << 10

// truth is what is in a golden repository.
type truth struct {
	Program string // that wrote it: the release, or where it stood
	Series  []seriesTruth
	Archive string // SHA-256 of the one that is there
}

// seriesTruth is what is in a series.
type seriesTruth struct {
	Resource  string
	Workload  string
	Cursors   map[string]string // links by collection
	Snapshots map[int64]map[string]itemTruth
}

// itemTruth is an entry: its name, for people, and digest, which is of all of it and its content.
type itemTruth struct{ Name, Digest string }

func (s seriesTruth) series() tenantry.Series {
	return tenantry.Series{Tenant: tenant, Resource: tenantry.ResourceID(s.Resource), Workload: tenantry.Workload(s.Workload)}
}

// golden is one that was read from the tree.
type golden struct {
	name   string
	bucket *blobtest.Memory
	keys   string // path of a copy of its key file
	truth  truth
}

func goldens(t *testing.T) []string {
	t.Helper()
	tars, err := filepath.Glob(filepath.Join(goldenFolder, "*.tar"))
	must(t, err)
	if !slices.Contains(tars, filepath.Join(goldenFolder, "v2.tar")) {
		t.Fatalf("of the golden repositories there are %q: the first is gone", tars)
	}
	return tars
}

// readGolden reads a golden repository.
func readGolden(t *testing.T, path string) *golden {
	t.Helper()
	g := &golden{name: strings.TrimSuffix(filepath.Base(path), ".tar"), bucket: blobtest.NewMemory(), keys: filepath.Join(t.TempDir(), "keys.json")}
	packed, err := os.ReadFile(path)
	must(t, err)
	keys, err := os.ReadFile(filepath.Join(goldenFolder, g.name+".keys.json"))
	must(t, err)
	must(t, os.WriteFile(g.keys, keys, 0o600)) // git does not keep who may read it
	text, err := os.ReadFile(filepath.Join(goldenFolder, g.name+".truth.json"))
	must(t, err)
	must(t, json.Unmarshal(text, &g.truth))
	if size := len(packed) + len(keys) + len(text); size > maxGolden {
		t.Errorf("%s takes %d bytes", g.name, size)
	}
	for files := tar.NewReader(bytes.NewReader(packed)); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return g
		}
		must(t, err)
		body, err := io.ReadAll(files)
		must(t, err)
		must(t, g.bucket.Put(context.Background(), string(tenant)+"/"+h.Name, body))
	}
}

// open opens it, or a copy, by a clock that is ahead of the bucket's.
func (g *golden) open(t *testing.T, bucket *blobtest.Memory, ahead time.Duration) *repository.Repository {
	t.Helper()
	ring, err := repository.OpenKeyFile(g.keys, false)
	must(t, err)
	r, err := repository.OpenExisting(context.Background(), bucket, ring, tenant)
	must(t, err)
	repository.SetClock(r, func() time.Time { return time.Now().Add(ahead) })
	return r
}

// What an earlier program wrote, this one lists, proves and restores, byte for byte, and so does who knows the document alone.
func TestGoldenRepositoriesRead(t *testing.T) {
	for _, path := range goldens(t) {
		g := readGolden(t, path)
		t.Run(g.name, func(t *testing.T) {
			r := g.open(t, g.bucket, 0)
			listed, err := r.List(context.Background())
			must(t, err)
			var want []tenantry.Series
			for _, s := range g.truth.Series {
				want = append(want, s.series())
			}
			diff(t, "series", listed, want)
			g.check(t, r, g.truth)
			g.readByDocument(t)
			for _, days := range []time.Duration{0, 4000} { // whatever the day
				out, err := g.open(t, g.bucket, days*24*time.Hour).Patrol(context.Background(), nil)
				if err != nil || len(out.Damaged) > 0 {
					t.Errorf("a patrol finds %+v, %v", out.Damaged, err)
				}
			}
			archive, _, err := r.OpenArchive(context.Background(), "golden")
			must(t, err)
			got, err := io.ReadAll(archive)
			must(t, err)
			diff(t, "archive", sum(got), g.truth.Archive)
		})
	}
}

// check holds all snapshots against the truth, and has them checked.
func (g *golden) check(t *testing.T, r *repository.Repository, want truth) {
	t.Helper()
	ctx := context.Background()
	for _, s := range want.Series {
		live, err := r.Snapshots(ctx, s.series())
		must(t, err)
		var seqs []int64
		for _, snapshot := range live {
			seqs = append(seqs, snapshot.Seq)
		}
		slices.Sort(seqs)
		diff(t, s.Resource+": snapshots", seqs, slices.Sorted(maps.Keys(s.Snapshots)))
		for seq, items := range s.Snapshots {
			report := func(p repository.Problem) { t.Errorf("%s, snapshot %d: %+v", s.Resource, seq, p) }
			checked, err := r.Check(ctx, s.series(), seq, report)
			must(t, err)
			_, err = r.CheckQuick(ctx, s.series(), seq, report)
			must(t, err)
			if checked.Items != int64(len(items)) {
				t.Errorf("%s, snapshot %d: %d items were checked, not %d", s.Resource, seq, checked.Items, len(items))
			}
			diff(t, fmt.Sprintf("%s, snapshot %d", s.Resource, seq), itemsOf(t, r, s.series(), seq), items)
		}
	}
}

// document is the reader that knows docs/FORMAT.md alone.
func (g *golden) document(t *testing.T) *formattest.Reader {
	t.Helper()
	text, err := os.ReadFile(g.keys)
	must(t, err)
	keys, err := formattest.ParseKeyFile(text)
	must(t, err)
	bucket := formattest.Bucket{}
	for key, body := range g.bucket.Bodies(string(tenant) + "/") {
		bucket[strings.TrimPrefix(key, string(tenant)+"/")] = body
	}
	reader, err := formattest.NewReader(bucket, keys, string(tenant))
	must(t, err)
	return reader
}

// readByDocument reads it with that one.
func (g *golden) readByDocument(t *testing.T) {
	t.Helper()
	reader := g.document(t)
	for _, s := range g.truth.Series {
		for seq, items := range s.Snapshots {
			found, err := reader.Snapshot(s.Resource, s.Workload, seq)
			must(t, err)
			diff(t, fmt.Sprintf("%s, snapshot %d, by the document", s.Resource, seq), slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(items)))
		}
	}
}

// On a copy of what an earlier program wrote the next backup goes on, with its cursors, and so do a fold, a prune and a collection:
// nothing that is kept is lost.
func TestGoldenRepositoriesGoOn(t *testing.T) {
	ctx := context.Background()
	for _, path := range goldens(t) {
		g := readGolden(t, path)
		t.Run(g.name, func(t *testing.T) {
			bucket, want := g.bucket.Clone(), g.truth
			r := g.open(t, bucket, 0)
			for i, s := range want.Series {
				sealed := g.goOn(t, r, s)
				want.Series[i].Snapshots[sealed] = itemsOf(t, r, s.series(), sealed)
				if before := len(s.Snapshots); len(want.Series[i].Snapshots[sealed]) < 3 || before == 0 && s.Resource != "carol" {
					t.Errorf("%s has %d items after a backup", s.Resource, len(want.Series[i].Snapshots[sealed]))
				}
			}
			g.check(t, r, want)
			late := g.open(t, bucket, 12*time.Hour)
			freed := int64(0)
			for i, s := range want.Series {
				w, err := late.Begin(ctx, s.series(), repository.Fence{Epoch: 101, Task: "prune"})
				must(t, err)
				if seqs := slices.Sorted(maps.Keys(s.Snapshots)); len(seqs) > 1 {
					_, err = w.Prune(ctx, seqs[:1])
					must(t, err)
					delete(want.Series[i].Snapshots, seqs[0])
				}
				_, err = w.Fold(ctx)
				must(t, err)
				_, err = w.Compact(ctx, repository.CompactLimits{Budget: 1 << 20, MinDead: 1, AnyGain: true})
				must(t, err)
				w.Close()
			}
			later := g.open(t, bucket, 24*time.Hour)
			for _, s := range want.Series {
				w, err := later.Begin(ctx, s.series(), repository.Fence{Epoch: 102, Task: "sweep"})
				must(t, err)
				out, err := w.Sweep(ctx)
				must(t, err)
				freed += out.Bytes
				w.Close()
			}
			for hours := range 5 {
				_, err := g.open(t, bucket, time.Duration(24+4*hours)*time.Hour).Collect(ctx)
				must(t, err)
			}
			if freed == 0 {
				t.Error("the sweep found nothing")
			}
			g.check(t, later, want)
		})
	}
}

// goOn backs a series up: something is new, something is gone, something is shared with what is there.
func (g *golden) goOn(t *testing.T, r *repository.Repository, s seriesTruth) (seq int64) {
	t.Helper()
	w, err := r.Begin(context.Background(), s.series(), repository.Fence{Epoch: 100, Task: "today"})
	must(t, err)
	defer w.Close()
	for collection, link := range s.Cursors {
		if c, ok := w.Cursor(collection); !ok || c.Link != link {
			t.Errorf("%s: the cursor of %s is %+v, %v", s.Resource, collection, c, ok)
		}
	}
	gone := ""
	for e, err := range w.Entries(context.Background()) {
		must(t, err)
		if e.Kind != repository.KindFolder {
			gone = e.ID
		}
	}
	must(t, w.Remove(context.Background(), gone))
	for i := range 4 {
		putGolden(t, w, 500+i, 1, goldenText("shared", 200<<10), noise(500+i, 300))
	}
	return seal(t, w).Seq
}

// goldenNames is what the objects of a golden repository are called, and what for; each has some of them.
var goldenNames = map[string]string{
	"key object, rotated":         `^key\.\d{10}$`,
	"manifest":                    `/m/\d{19}$`,
	"pack":                        `/p/[0-9a-f]{32}$`,
	"segment":                     `/s/[0-9a-f]{32}$`,
	"chunk":                       `^c/[0-9a-f]{64}\.0$`,
	"chunk of a later generation": `^c/[0-9a-f]{64}\.1$`,
	"list of condemned chunks":    `^g/\d{19}$`,
	"list of damaged chunks":      `^g/bad\.\d{19}$`,
	"patrol":                      `^v/\d{19}$`,
	"part of an archive":          `^x/golden/[0-9a-f]{16}\.\d{9}$`,
	"end of an archive":           `^x/golden/end$`,
}

// Whatever kind of object there is, the golden repositories have it: otherwise reading them would prove less than it seems.
func TestGoldenRepositoriesHaveEverything(t *testing.T) {
	for _, path := range goldens(t) {
		g := readGolden(t, path)
		for what, name := range goldenNames {
			pattern, found := regexp.MustCompile(name), false
			for key := range g.bucket.Bodies(string(tenant) + "/") {
				found = found || pattern.MatchString(strings.TrimPrefix(key, string(tenant)+"/"))
			}
			if !found {
				t.Errorf("%s has no %s", g.name, what)
			}
		}
		r := g.open(t, g.bucket, 0)
		for _, s := range g.truth.Series {
			head, err := r.Head(context.Background(), s.series())
			must(t, err)
			if s.Resource == "carol" && (head.Sealed || len(head.Live) > 0) {
				t.Errorf("%s: what an unfinished backup has left is %+v", g.name, head)
			}
		}
		runs, inline, list := map[uint64]bool{}, 0, false
		alice, err := g.document(t).Open("alice", "mailbox")
		must(t, err)
		for _, m := range alice.Head.Segments {
			runs[m.Run] = true
		}
		inline = len(alice.Head.Inline.GetChanges())
		rd, err := r.OpenStored(context.Background(), g.truth.Series[0].series(), slices.Min(alice.Live))
		must(t, err)
		for e, err := range rd.Entries(context.Background()) {
			must(t, err)
			list = list || slices.ContainsFunc(e.Parts, repository.IsList)
		}
		rd.Close()
		if len(runs) < 2 || inline == 0 || !list {
			t.Errorf("%s has %d runs, %d changes in the manifest, a list of chunks: %v", g.name, len(runs), inline, list)
		}
	}
}

// itemsOf reads a snapshot.
func itemsOf(t *testing.T, r *repository.Repository, s tenantry.Series, seq int64) map[string]itemTruth {
	t.Helper()
	rd, err := r.OpenStored(context.Background(), s, seq)
	must(t, err)
	defer rd.Close()
	items := map[string]itemTruth{}
	for e, err := range rd.Entries(context.Background()) {
		must(t, err)
		payload, err := rd.Payload(context.Background(), e)
		must(t, err)
		h := sha256.New()
		field := func(b []byte) {
			_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b)))) // never fails
			_, _ = h.Write(b)
		}
		for _, v := range []any{
			e.ID, e.Parent, e.Kind, e.Name, e.ETag, e.Modified.UnixMicro(), e.Size, e.Collection, e.Generation, e.From, e.To,
			e.Date.UnixMicro(), e.Problem, e.ProblemAt.UnixMicro(), e.ProblemKind, e.Good,
		} {
			field(fmt.Append(nil, v))
		}
		field(payload)
		for _, p := range e.Parts {
			field([]byte(p.Name))
			field(fmt.Append(nil, p.Size))
			stream, err := rd.Open(context.Background(), e, p)
			must(t, err)
			n, err := io.Copy(h, stream)
			must(t, err)
			must(t, stream.Close())
			field(fmt.Append(nil, n))
		}
		items[e.ID] = itemTruth{e.Name, hex.EncodeToString(h.Sum(nil))}
	}
	return items
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// goldenText is n bytes that compress well, always the same for a word.
func goldenText(word string, n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%s, line %d of what nobody has ever written.\n", word, i)
	}
	return b.Bytes()[:n]
}

// putGolden stores an item of a version, with parts.
func putGolden(t *testing.T, w *repository.Writer, i, version int, parts ...[]byte) {
	t.Helper()
	body := mail(i+1000*version, 400)
	ref, err := w.PutPayload(context.Background(), body)
	must(t, err)
	e := repository.Entry{
		ID: messageID(i), Parent: "folder-1", Kind: "message", Name: fmt.Sprintf("Größe %d, version %d \x01", i, version), ETag: fmt.Sprintf("etag-%d", version),
		Modified: noon.Add(time.Duration(i) * time.Second), Size: int64(len(body)), Generation: 1,
		From: "ada@contoso.example", To: "Bob <bob@contoso.example>", Date: noon, Payload: ref,
	}
	for i, content := range parts {
		part, err := w.PutContent(context.Background(), bytes.NewReader(content))
		must(t, err)
		part.Name = fmt.Sprint("part-", i)
		e.Parts = append(e.Parts, part)
	}
	must(t, w.Put(context.Background(), e))
}
