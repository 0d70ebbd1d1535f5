package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// writeFiles fills a folder with n files, the same for the same versions of Go and of the
// modules in use, and returns their bytes: every second one is Go source, of which no
// byte comes twice, the others are random. Sizes are log-normal, as people's are.
func writeFiles(t testing.TB, dir string, n int) (total int64) {
	t.Helper()
	source := &goSource{t: t, roots: sourceRoots(t)}
	r := rand.New(rand.NewPCG(1, 2))
	noise := rand.NewChaCha8([32]byte{1})
	for i := 0; i < n; i += 2 {
		sub := filepath.Join(dir, fmt.Sprintf("folder %03d", i/100))
		if i%100 == 0 {
			if err := os.Mkdir(sub, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		const sigma = 1.2
		size := int64(fileMean * math.Exp(sigma*r.NormFloat64()-sigma*sigma/2))
		size = max(200, min(size, 4<<20))
		text := source.next(size)
		random := make([]byte, len(text))
		_, _ = noise.Read(random) // never fails
		for name, content := range map[string][]byte{fmt.Sprintf("source %05d.go", i): text, fmt.Sprintf("photo %05d.jpg", i+1): random} {
			if err := os.WriteFile(filepath.Join(sub, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
			total += int64(len(content))
		}
	}
	return total
}

// sourceRoots are the folders with Go source: Go's own, and those of the modules in use.
func sourceRoots(t testing.TB) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "all").Output()
	if err != nil {
		t.Fatalf("list the modules: %v", err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("find Go: %v", err)
	}
	roots := []string{filepath.Join(strings.TrimSpace(string(root)), "src")}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if dir := lines.Text(); dir != "" && strings.Contains(dir, "@") { // not this module itself
			roots = append(roots, dir)
		}
	}
	return roots
}

// goSource reads the Go source below its roots as one stream, in the order of names.
type goSource struct {
	t     testing.TB
	roots []string
	files []string
	rest  []byte
}

// next returns the next bytes of the stream.
func (g *goSource) next(size int64) []byte {
	g.t.Helper()
	for int64(len(g.rest)) < size {
		for len(g.files) == 0 {
			if len(g.roots) == 0 {
				g.t.Fatal("there is not enough Go source on this machine")
			}
			g.list(g.roots[0])
			g.roots = g.roots[1:]
		}
		text, err := os.ReadFile(g.files[0])
		if err != nil {
			g.t.Fatal(err)
		}
		g.files, g.rest = g.files[1:], append(g.rest, text...)
	}
	out := bytes.Clone(g.rest[:size])
	g.rest = g.rest[size:]
	return out
}

func (g *goSource) list(root string) {
	g.t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".go") {
			g.files = append(g.files, path)
		}
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

// peakMB is the most memory that a process has held, in megabytes.
func peakMB(t testing.TB, pid int) float64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		t.Fatalf("the kernel tells no peak of memory: %v", io.ErrUnexpectedEOF)
	}
	kb, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb * 1024 / 1e6
}
