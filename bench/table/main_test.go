package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, file, section, lines string) {
	t.Helper()
	if err := run(file, section, strings.NewReader(lines), io.Discard); err != nil {
		t.Fatal(err)
	}
}

// Each section is replaced alone; what people wrote around it stays.
func TestSectionsAreApart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	write(t, file, "a", "a.one 1 s\na.two 2 mb\n# measured twice\n")
	write(t, file, "b", "b.one 1.5 s\n")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(page, "\nWritten by a person.\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, file, "a", "a.one 7 s\n")
	page, err = os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{"| `a.one` | 7 | s |", "| `b.one` | 1.5 | s |", "Written by a person.", "make bench-b"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q stands %d times in\n%s", want, strings.Count(text, want), text)
		}
	}
	if strings.Contains(text, "a.two") || strings.Contains(text, "measured twice") {
		t.Errorf("the old table is still there:\n%s", text)
	}
}

func TestBadInputWritesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	for name, c := range map[string]struct{ section, lines string }{
		"no section": {"", "a 1 s"}, "no value": {"a", "a s"}, "no number": {"a", "a fast s"}, "nothing": {"a", ""},
	} {
		if run(file, c.section, strings.NewReader(c.lines), io.Discard) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a page was written")
	}
	if err := os.WriteFile(file, []byte("<!-- bench:a -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if run(file, "a", strings.NewReader("a 1 s"), io.Discard) == nil {
		t.Error("a section without an end is no error")
	}
}

// A benchmark that fails half-way leaves the page as it was.
func TestFailedCommandWritesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	for script, ok := range map[string]bool{"echo a 1 s; exit 3": false, "echo a 1 s": true} {
		in, wait, err := source([]string{"sh", "-c", script})
		if err != nil {
			t.Fatal(err)
		}
		if err := run(file, "a", &complete{Reader: in, wait: wait}, io.Discard); (err == nil) != ok {
			t.Errorf("%q: %v", script, err)
		}
	}
}
