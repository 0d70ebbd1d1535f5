package repository_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testContext is for helpers that tests and properties share; the stores are folders.
var testContext = context.Background()

// goOn stores content behind from until it ends or there are enough bytes.
func goOn(t interface {
	Helper()
	Fatalf(string, ...any)
}, w *repository.Writer, from repository.Part, content []byte, enough int64) (part repository.Part, end bool) {
	t.Helper()
	s, err := w.Stream(testContext, from)
	must(t, err)
	defer s.Close()
	stored, err := io.ReadAll(s.Stored())
	must(t, err)
	if !bytes.Equal(stored, content[:from.Size]) {
		t.Fatalf("%d bytes are stored that are not the first %d of the content", len(stored), from.Size)
	}
	must(t, s.Begin(bytes.NewReader(content)))
	end, err = s.Store(testContext, func(n int64) bool { return n >= enough })
	must(t, err)
	part, err = s.Part(testContext)
	must(t, err)
	return part, end
}

// TestContentInPieces: content that is stored by several writers, each of which goes on where the last one's
// checkpoint says, is the same part as content that is stored at once.
func TestContentInPieces(t *testing.T) {
	t.Parallel()
	p := folder(t)
	repo := p.open(t)
	epoch := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		content := make([]byte, rapid.IntRange(0, 6<<20).Draw(rt, "size"))
		_, _ = rand.NewChaCha8([32]byte{byte(rapid.IntRange(0, 255).Draw(rt, "seed"))}).Read(content)
		var part repository.Part
		for end := false; !end; {
			epoch++
			w := begin(t, repo, epoch, tenantry.TaskID("pieces"))
			part, end = goOn(rt, w, part, content, part.Size+int64(rapid.IntRange(1, 3<<20).Draw(rt, "enough")))
			part.Name = "content"
			must(rt, w.Put(testContext, repository.Entry{ID: "long", Kind: "file", Name: "long", Parts: []repository.Part{part}}))
			must(rt, w.Checkpoint(testContext))
			e, ok, err := w.Lookup(testContext, "long")
			must(rt, err)
			if !ok || e.Parts[0].Size != part.Size {
				rt.Fatalf("the entry has %+v", e)
			}
			part = e.Parts[0]
			w.Close()
		}
		epoch++
		w := begin(t, repo, epoch, tenantry.TaskID("whole"))
		defer w.Close()
		want, err := w.PutContent(testContext, bytes.NewReader(content))
		must(rt, err)
		if part.Size != want.Size || !bytes.Equal(part.Digest, want.Digest) || len(content) >= smallContent && !part.Ref.Equal(want.Ref) {
			rt.Fatalf("in pieces it is %+v, at once %+v", part, want)
		}
	})
}

// smallContent is the first size that is shared.
const smallContent = 128 << 10

// TestUnfinishedContentIsKept: what an entry names of a content that is not whole is not collected, for however long it
// takes until somebody goes on; what nobody names is.
func TestUnfinishedContentIsKept(t *testing.T) {
	t.Parallel()
	a := aging(t, folder(t))
	content := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(content)
	w := a.writer(t, mailbox)
	part, end := goOn(t, w, repository.Part{}, content, 3<<20)
	if end {
		t.Fatal("all of it was stored")
	}
	part.Name = "content"
	must(t, w.Put(testContext, repository.Entry{ID: "long", Kind: "file", Name: "long", Problem: "being read", Parts: []repository.Part{part}}))
	must(t, w.Checkpoint(testContext))
	_, err := w.PutContent(testContext, bytes.NewReader(content[4<<20:]))
	must(t, err)
	w.Close() // what came last is not committed
	var freed int64
	for range 6 {
		a.pass(5 * time.Hour)
		freed += a.collect(t).Objects
	}
	if freed == 0 {
		t.Error("what nobody names was not collected")
	}
	w = a.writer(t, mailbox)
	part, end = goOn(t, w, part, content, 1<<40)
	if !end || part.Size != int64(len(content)) {
		t.Errorf("it ends with %d bytes, %v", part.Size, end)
	}
}

// TestStreamOfOtherContent is refused before anything of it is stored behind what is there.
func TestStreamOfOtherContent(t *testing.T) {
	t.Parallel()
	p := folder(t)
	content := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(content)
	w := begin(t, p.open(t), 1, "stream")
	part, _ := goOn(t, w, repository.Part{}, content, 1)
	s, err := w.Stream(testContext, part)
	must(t, err)
	defer s.Close()
	content[part.Size/2]++
	wantKind(t, s.Begin(bytes.NewReader(content)), tenantry.Corrupt)
	wantKind(t, s.Begin(bytes.NewReader(content[:1])), tenantry.Corrupt)
}
