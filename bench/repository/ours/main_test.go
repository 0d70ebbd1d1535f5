package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/blake3"
)

// files is a tree, its list of sums, and where its repository lies.
type files struct {
	t                *testing.T
	root, sums, home string
	cache            string // "": none
	content          map[string][]byte
}

func newFiles(t *testing.T) *files {
	dir := t.TempDir()
	f := &files{t: t, root: filepath.Join(dir, "tree"), sums: filepath.Join(dir, "sums"), home: filepath.Join(dir, "home"), content: map[string][]byte{}}
	if err := os.MkdirAll(f.root, 0o700); err != nil {
		t.Fatal(err)
	}
	f.write("a.json", []byte(`{"subject":"one"}`))
	f.write("b.json", []byte(`{"subject":"two"}`))
	f.write("b.pdf", bytes.Repeat([]byte("attached"), 5000))
	f.write("big/c.bin", bytes.Repeat([]byte("chunks "), 50_000))
	return f
}

func (f *files) write(name string, data []byte) {
	f.t.Helper()
	f.content[name] = data
	at := filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(at, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
	var list strings.Builder
	for name, data := range f.content {
		sum := blake3.Sum256(data)
		fmt.Fprintf(&list, "%s %d %s\n", name, len(data), hex.EncodeToString(sum[:]))
	}
	if err := os.WriteFile(f.sums, []byte(list.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *files) run(epoch int64, args ...string) (string, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, f.home, f.cache, epoch, args, &out)
	return out.String(), err
}

func (f *files) must(epoch int64, args ...string) string {
	f.t.Helper()
	out, err := f.run(epoch, args...)
	if err != nil {
		f.t.Fatalf("%q: %v", args, err)
	}
	return out
}

// What is measured is a backup: it comes back, and the sink would notice if it did not.
func TestBackupsComeBack(t *testing.T) {
	f := newFiles(t)
	f.must(1, "full", f.root)
	f.must(0, "restore", f.sums)

	f.write("a.json", []byte(`{"subject":"changed"}`))
	if _, err := f.run(0, "restore", f.sums); err == nil {
		t.Error("the sink took what is not what the sums say")
	}
	list := filepath.Join(t.TempDir(), "changed")
	if err := os.WriteFile(list, []byte("a.json\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := f.must(2, "told", f.root, list); !strings.Contains(out, "put 2\n") {
		t.Errorf("told of one mail it put %q", out)
	}
	f.must(0, "restore", f.sums)

	f.write("b.json", []byte(`{"subject":"changed too"}`))
	if out := f.must(3, "walked", f.root); !strings.Contains(out, "put 2\n") {
		t.Errorf("finding one mail it put %q", out)
	}
	f.must(0, "restore", f.sums)

	f.write("new.json", []byte(`{}`))
	if _, err := f.run(0, "restore", f.sums); err == nil {
		t.Error("the sink did not miss a file")
	}
}

// With a cache the index is not read from the bucket again: of two backups of changed files the second, on the same machine,
// asks for the manifest alone; on another one for the index too.
func TestCacheSparesReads(t *testing.T) {
	f := newFiles(t)
	for i := range 2000 {
		f.content[fmt.Sprint("many/", i, ".json")] = fmt.Appendf(nil, `{"subject":"%x"}`, blake3.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	for name, data := range f.content {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(f.root, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f.root, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	warm, list := filepath.Join(t.TempDir(), "cache"), filepath.Join(t.TempDir(), "changed")
	if err := os.WriteFile(list, []byte("a.json\nmany/7.json\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.cache = warm
	f.must(1, "full", f.root)
	f.write("a.json", []byte(`{"subject":"changed"}`))
	if out := f.must(2, "told", f.root, list); !strings.Contains(out, "get 1\n") {
		t.Errorf("with what its cache has: %q", out)
	}
	f.cache = filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(list, []byte("many/8.json\n"), 0o600); err != nil { // the others are among the latest changes, which stand in the manifest
		t.Fatal(err)
	}
	if out := f.must(3, "told", f.root, list); strings.Contains(out, "get 1\n") {
		t.Errorf("with an empty cache: %q", out)
	}
	f.must(0, "restore", f.sums)
}

func TestLargeSeriesOpens(t *testing.T) {
	f := newFiles(t)
	f.must(1, "fill", "3000")
	if out := f.must(2, "open", "3000"); !strings.Contains(out, "open_us ") {
		t.Errorf("it printed %q", out)
	}
	for _, args := range [][]string{{"open", "9000"}, {"open", "many"}, {"open"}, {"told", f.root}} {
		if _, err := f.run(2, args...); err == nil {
			t.Errorf("%q did not fail", args)
		}
	}
}
