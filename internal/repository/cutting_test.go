package repository

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// cutsOf are the lengths of the chunks of a content.
func cutsOf(t interface{ Fatal(...any) }, c *cutting) (lengths []int) {
	for {
		piece, err := c.cutter.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if len(piece) > 0 {
			lengths = append(lengths, len(piece))
		}
		if err != nil {
			return lengths
		}
	}
}

// A content is cut where it always was, whether it is short enough to be read first or not, and however it arrives:
// otherwise nothing that is stored would be found again.
func TestShortContentsAreCutLikeLongOnes(t *testing.T) {
	t.Parallel()
	repo := testRepository(t)
	w, err := repo.Begin(t.Context(), testSeries, Fence{Epoch: 1, Task: "task"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	bytesOf := make([]byte, wholeContent+maxChunk)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(bytesOf) // never fails
	edges := []int{smallContent, averageChunk, averageChunk + 1, wholeContent - 1, wholeContent, wholeContent + 1, len(bytesOf)}
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.SampledFrom(edges), rapid.IntRange(smallContent, len(bytesOf))).Draw(t, "size")
		from := rapid.IntRange(0, len(bytesOf)-size).Draw(t, "from")
		content := slices.Clone(bytesOf[from : from+size])
		if rapid.Bool().Draw(t, "flat") { // no byte is a place to cut at
			clear(content)
		}
		cut := func(begin func(c *cutting) error) []int {
			c, err := w.newCutting(ctx, streamBounds(w.streams), &chunkList{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.end()
			if err := begin(c); err != nil {
				t.Fatal(err)
			}
			return cutsOf(t, c)
		}
		want := cut(func(c *cutting) error { return c.begin(bytes.NewReader(content)) })
		var r io.Reader = bytes.NewReader(content)
		if rapid.Bool().Draw(t, "halves") {
			r = iotest.HalfReader(r)
		}
		if got := cut(func(c *cutting) error { return c.beginAny(r) }); !slices.Equal(got, want) {
			t.Fatalf("%d bytes are cut into %v, not %v", size, got, want)
		}
	})
}

// What cannot be read is told as such, and what was borrowed for it is given back.
func TestContentThatBreaksBeforeItIsCut(t *testing.T) {
	t.Parallel()
	repo := testRepository(t)
	w, err := repo.Begin(t.Context(), testSeries, Fence{Epoch: 1, Task: "task"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	broken := errors.New("cut connection")
	for _, size := range []int64{0, smallContent, wholeContent - 1, wholeContent, maxChunk} {
		r := io.MultiReader(io.LimitReader(rand.NewChaCha8([32]byte{5}), size), iotest.ErrReader(broken))
		for range 2 * contentStreams { // a slot that is not given back would be missed
			if _, err := w.PutContent(t.Context(), r); !errors.Is(err, broken) {
				t.Fatalf("a content that breaks behind %d bytes: %v", size, err)
			}
			r = io.MultiReader(io.LimitReader(rand.NewChaCha8([32]byte{5}), size), iotest.ErrReader(broken))
		}
	}
}
