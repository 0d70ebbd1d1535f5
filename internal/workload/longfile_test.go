package workload_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	longFile = 48 << 20
	// longStep is Limits.ContentBytes in these tests, longLife what a worker reads of a file before it ends.
	longStep = 2 << 20
	longLife = 20 << 20
	// longTail is what of a file is read twice at most where its worker ends: what was not committed, the chunk that
	// was being cut (4 MiB at most), and what the chunker has read ahead (as much).
	longTail = longStep + 8<<20
)

// reading is a source that notes which bytes of contents are asked for, and does something when so many have come.
type reading struct {
	engine.Source
	froms []int64 // offsets from which contents were asked for
	came  atomic.Int64
	after int64
	end   func()
}

func (r *reading) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	page, err := r.Source.Page(ctx, collection, link)
	for i, item := range page.Items {
		if item.Parts != nil {
			page.Items[i].Parts = func(ctx context.Context) ([]engine.ItemPart, error) {
				parts, err := item.Parts(ctx)
				for i := range parts {
					r.note(&parts[i])
				}
				return parts, err
			}
		}
	}
	return page, err
}

func (r *reading) note(p *engine.ItemPart) {
	resume := p.Resume
	if resume == nil {
		return
	}
	p.Resume = func(ctx context.Context, stored io.Reader, size int64) (io.ReadCloser, error) {
		r.froms = append(r.froms, size)
		body, err := resume(ctx, stored, size)
		if err != nil {
			return nil, err
		}
		return &noted{ReadCloser: body, of: r, at: -size}, nil
	}
}

type noted struct {
	io.ReadCloser
	of *reading
	at int64 // behind what was stored
}

func (n *noted) Read(p []byte) (int, error) {
	got, err := n.ReadCloser.Read(p)
	before := max(n.at, 0)
	n.at += int64(got)
	if came := n.of.came.Add(max(n.at, 0) - before); n.of.end != nil && came >= n.of.after {
		n.of.end()
	}
	return got, err
}

// longDrive is a company with one long file on a drive.
func longDrive(t *testing.T) (c *company, s tenantry.Series, put func(seed byte) []byte) {
	t.Helper()
	c = newCompany(t, graphsim.TenantSpec{Users: 1}, graphsim.Options{})
	put = func(seed byte) []byte {
		content := make([]byte, longFile)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(content)
		_, err := c.truth.PutFile(c.users[0].Drive, "long.bin", content)
		must(t, err)
		return content
	}
	return c, c.series(0, tenantry.Drive), put
}

// readUntil runs a slice of a task whose worker ends, one way or the other, when so much of the file has come.
func (c *company) readUntil(t *testing.T, s tenantry.Series, task tenantry.TaskID, killed bool) (r *reading, done bool) {
	t.Helper()
	w, err := c.repo.Begin(t.Context(), s, repository.Fence{Epoch: c.epoch.Add(1), Task: task})
	must(t, err)
	defer w.Close()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	drain := make(chan struct{})
	r = &reading{Source: c.drive(0)(), after: longLife, end: kill}
	if !killed {
		var once atomic.Bool
		r.end = func() {
			if !once.Swap(true) {
				close(drain)
			}
		}
	}
	out, err := engine.Backup(ctx, r, w, engine.Limits{ContentBytes: longStep}, drain, nil)
	if kind := tenantry.KindOf(err); err != nil && (!killed || kind != tenantry.Canceled) {
		t.Fatalf("%v (%s)", err, kind)
	}
	return r, out.Done
}

// content reads the long file of the newest snapshot, in which nothing is unfinished.
func (c *company) content(t *testing.T, s tenantry.Series) []byte {
	t.Helper()
	head, err := c.repo.Head(t.Context(), s)
	must(t, err)
	snap, err := c.repo.OpenSnapshot(t.Context(), s, head.Seq)
	must(t, err)
	defer snap.Close()
	for e, err := range snap.Entries(t.Context()) {
		must(t, err)
		if e.Name != "long.bin" {
			continue
		}
		if len(e.Parts) != 1 || e.Problem != "" || e.Parts[0].Name != "content" {
			t.Fatalf("the snapshot has %d parts of the file, and says %q", len(e.Parts), e.Problem)
		}
		body, err := snap.Open(t.Context(), e, e.Parts[0])
		must(t, err)
		defer body.Close()
		got, err := io.ReadAll(body)
		must(t, err)
		return got
	}
	t.Fatal("the file is not in the snapshot")
	return nil
}

// TestLongFileGoesOn reads a long file whose workers are killed, or drain, again and again: each goes on where the
// bucket says that the one before it was, and no byte is read twice but the last few of each.
func TestLongFileGoesOn(t *testing.T) {
	for name, killed := range map[string]bool{"killed": true, "drained": false} {
		t.Run(name, func(t *testing.T) {
			c, s, put := longDrive(t)
			content := put(1)
			task, came, slices := tenantry.NewTaskID(time.Now()), int64(0), int64(0)
			from := int64(0) // where the next one has to begin at least
			for done := false; !done; {
				if slices++; slices > 10 {
					t.Fatalf("the file is not read after %d slices", slices)
				}
				var r *reading
				r, done = c.readUntil(t, s, task, killed)
				if len(r.froms) != 1 || r.froms[0] < from || from > 0 && r.froms[0] == 0 {
					t.Fatalf("slice %d began at %v, and should have at %d", slices, r.froms, from)
				}
				from = r.froms[0] + r.came.Load() - longTail
				came += r.came.Load()
			}
			if slices < 3 || came > longFile+(slices-1)*longTail {
				t.Errorf("%d bytes were read in %d slices, of a file of %d", came, slices, longFile)
			}
			t.Logf("%d slices read %d bytes more than the file has", slices, came-longFile)
			if !bytes.Equal(c.content(t, s), content) {
				t.Error("the snapshot has another content")
			}
		})
	}
}

// TestLongFileThatChangedIsReadAnew: what is stored of a content is of no use for another one.
func TestLongFileThatChangedIsReadAnew(t *testing.T) {
	c, s, put := longDrive(t)
	put(1)
	task := tenantry.NewTaskID(time.Now())
	if _, done := c.readUntil(t, s, task, true); done {
		t.Fatal("the file was read")
	}
	content := put(2)
	var froms []int64
	for done := false; !done; {
		var r *reading
		r, done = c.readUntil(t, s, task, true)
		if froms = append(froms, r.froms...); len(froms) > 10 {
			t.Fatalf("the file is not read after beginning at %v", froms)
		}
	}
	if froms[0] != 0 || len(froms) > 1 && slices.Contains(froms[1:], 0) {
		t.Errorf("the other content was read from %v", froms)
	}
	if !bytes.Equal(c.content(t, s), content) {
		t.Error("the snapshot has not the new content")
	}
}

// TestLongFileOnDamagedChunks: what is stored of a content and cannot be read is read from Graph again.
func TestLongFileOnDamagedChunks(t *testing.T) {
	c, s, put := longDrive(t)
	content := put(1)
	task := tenantry.NewTaskID(time.Now())
	if _, done := c.readUntil(t, s, task, true); done {
		t.Fatal("the file was read")
	}
	deleted := 0
	for info, err := range c.store.List(t.Context(), "") {
		must(t, err)
		if strings.Contains(info.Key, "/c/") {
			must(t, c.store.Delete(t.Context(), info.Key))
			deleted++
		}
	}
	if deleted == 0 {
		t.Fatal("no chunk is stored")
	}
	r, done := c.readUntil(t, s, task, false)
	if len(r.froms) != 2 || r.froms[0] == 0 || r.froms[1] != 0 {
		t.Errorf("the file was read from %v", r.froms)
	}
	for range 10 {
		if done {
			break
		}
		_, done = c.readUntil(t, s, task, false)
	}
	if !bytes.Equal(c.content(t, s), content) {
		t.Error("the snapshot has another content")
	}
}
