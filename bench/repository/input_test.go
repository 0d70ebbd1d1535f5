package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func tiny(t *testing.T) tree {
	t.Helper()
	dir := t.TempDir()
	made, err := makeTree(input{mails: 60, attachEvery: 5, documents: 2, source: fileSize, random: fileSize, changed: 4},
		filepath.Join(dir, "tree"), filepath.Join(dir, "sums"))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// The input is the same whoever makes it, and as large as it is said to be.
func TestInputIsPinned(t *testing.T) {
	a, b := tiny(t), tiny(t)
	sums := func(x tree) []byte {
		data, err := os.ReadFile(x.sums)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if !bytes.Equal(sums(a), sums(b)) {
		t.Error("two inputs of one seed differ")
	}
	size, err := sizeOf(a.root)
	if want := 60*mailSize + 12*attachmentSize + 2*fileSize; err != nil || int(size) != want {
		t.Errorf("the input has %.0f bytes, expected %d (%v)", size, want, err)
	}
	var attachments []string
	for i := range whole.mails / whole.attachEvery {
		attachments = append(attachments, string(whole.tree().attachment(i * whole.attachEvery)[:16]))
	}
	slices.Sort(attachments)
	// 30 % of 4,000 show 100 documents.
	if n := len(slices.Compact(attachments)); n < 2800 || n > 3000 {
		t.Errorf("%d of 4,000 attachments are different ones", n)
	}
}

func (in input) tree() tree { return tree{input: in} }

// A version changes content and time of the same mails; version 0 brings back what was.
func TestChangesComeAndGo(t *testing.T) {
	made := tiny(t)
	read := func(path string) ([]byte, time.Time) {
		data, err := os.ReadFile(filepath.Join(made.root, path))
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(made.root, path))
		if err != nil {
			t.Fatal(err)
		}
		return data, info.ModTime()
	}
	paths, err := made.change(0)
	if err != nil || len(paths) != 4 {
		t.Fatalf("%d paths, %v", len(paths), err)
	}
	before, at := read(paths[0])
	if again, err := made.change(1); err != nil || !slices.Equal(again, paths) {
		t.Fatalf("%v, %v: others changed", again, err)
	}
	changed, then := read(paths[0])
	if bytes.Equal(before, changed) || !then.After(at) || len(changed) != mailSize {
		t.Error("the mail has not changed")
	}
	if _, err := made.change(0); err != nil {
		t.Fatal(err)
	}
	if back, now := read(paths[0]); !bytes.Equal(before, back) || !now.Equal(at) {
		t.Error("the mail is not what it was")
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		f     figure
		value float64
		want  string
	}{
		{figure{name: "a", bound: 0.8}, 0.8, "PASS"},
		{figure{name: "a", bound: 0.8, reason: "It rains."}, 0.81, "MISS `a` 0.81, has to be <= 0.8. It rains."},
		{figure{name: "a", bound: 250, least: true}, 249, "MISS"},
		{figure{name: "a", bound: 250, least: true}, 251, "PASS"},
	} {
		if got := c.f.verdict(c.value); !strings.HasPrefix(got, c.want) {
			t.Errorf("%v of %+v: %q", c.value, c.f, got)
		}
	}
	if got := (figure{name: "a"}).verdict(1); got != "" {
		t.Errorf("a figure without a bound: %q", got)
	}
}

func TestMediansAreOfAllRounds(t *testing.T) {
	f := figures{}
	for _, v := range []float64{9, 1, 5} {
		f.add("a", v)
	}
	if got := f.median("a"); got != 5 {
		t.Errorf("median %v", got)
	}
	f.add("a", 7)
	if got := f.median("a"); got != 6 {
		t.Errorf("median %v", got)
	}
}
