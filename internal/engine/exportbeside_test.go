package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// accompanied is a snapshot of a file with old versions, beside one that has the name of such, and a task with files of one
// name, one of which was not saved.
func accompanied(t *testing.T) *memory {
	t.Helper()
	m := newMemory()
	put := func(e repository.Entry, parts ...string) {
		t.Helper()
		ref, err := m.PutPayload(t.Context(), []byte(`{"id":"`+e.ID+`"}`))
		must(t, err)
		e.Payload, e.ETag = ref, "v1"
		for i := 0; i < len(parts); i += 2 {
			p, err := m.PutContent(t.Context(), strings.NewReader(parts[i+1]))
			must(t, err)
			p.Name = parts[i]
			e.Parts = append(e.Parts, p)
		}
		must(t, m.Put(t.Context(), e))
	}
	put(repository.Entry{ID: "f", Kind: "file", Name: "plan.txt"}, "content", "now",
		"versions.json", `[{"id":"3.0"},{"id":"2.0","lastModifiedDateTime":"2026-03-01T10:20:30Z"},{"id":"1.0","lastModifiedDateTime":"?"},{"id":"0.1"}]`,
		"version/2.0", "second", "version/1.0", "first")
	put(repository.Entry{ID: "g", Kind: "file", Name: "plan (version 2.0).txt"}, "content", "somebody's")
	put(repository.Entry{ID: "t", Kind: "task", Name: "Paint"}, "attachments.json", `[{"id":"a","name":"p.png"},{"id":"b","name":"p.png"},{"id":"c","name":"lost.png"}]`,
		"a", "a picture", "b", "another")
	return m
}

var accompanying = []string{"now", "second", "first", "somebody's", `{"id":"t"}`, "a picture", "another"}

// TestExportsWhatBelongsToItems: what was saved of an item besides what its own file has room for is exported beside it, in an
// archive and into a folder, where it is completed if it was killed in between.
func TestExportsWhatBelongsToItems(t *testing.T) {
	m := accompanied(t)
	text, _, _ := export(t, m, tenantry.ExportRequest{})
	sameFiles(t, unzipped(t, text))

	dir := t.TempDir()
	for range 2 {
		dst, err := engine.NewFolderTarget(dir, false)
		must(t, err)
		out, err := engine.Restore(t.Context(), m, dst, tenantry.RestoreRequest{}, engine.Limits{}, nil, nil)
		must(t, err)
		must(t, dst.Close())
		if !out.Done || len(out.Problems) > 0 {
			t.Errorf("%+v", out)
		}
		files := map[string]string{}
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		must(t, err)
		for _, name := range names {
			content, err := os.ReadFile(name)
			must(t, err)
			files[filepath.Base(name)] = string(content)
			if strings.Contains(name, "(version 1.0)") { // a worker that died before it came to this
				must(t, os.Remove(name))
			}
		}
		sameFiles(t, files)
	}
}

func sameFiles(t *testing.T, files map[string]string) {
	t.Helper()
	if len(files) != len(accompanying) {
		t.Errorf("%d files, not %d: %q", len(files), len(accompanying), files)
	}
	found := map[string]string{}
	for name, content := range files {
		found[content] = name
	}
	for _, content := range accompanying {
		if _, ok := found[content]; !ok {
			t.Errorf("%q is in none of %q", content, files)
		}
	}
	if name := found["second"]; !strings.HasPrefix(name, "plan (version 2.0) [") || !strings.HasSuffix(name, ".txt") {
		t.Errorf("the second version is called %q", name)
	}
	if name := found["a picture"]; !strings.HasPrefix(name, "Paint - p [") || !strings.HasSuffix(name, ".png") {
		t.Errorf("the file of a task is called %q", name)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
