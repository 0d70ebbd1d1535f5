package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds a static program that stands for the worker.
func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.com/worker\n\ngo 1.24\n",
		"main.go": "package main\n\nfunc main() { println(\"worker\") }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", "worker", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "worker")
}

func TestPackageIsReproducible(t *testing.T) {
	from, first, second := program(t), filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for _, out := range []string{first, second} {
		if _, err := write(from, "../worker", out); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := os.ReadFile(first)
	b, _ := os.ReadFile(second)
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Errorf("two packages of one program differ: %d and %d bytes", len(a), len(b))
	}
}

// TestPackageInstalls unpacks the archive, installs it below a folder, and installs it again over a changed configuration.
func TestPackageInstalls(t *testing.T) {
	archive, dir, root := filepath.Join(t.TempDir(), "p.tar.gz"), t.TempDir(), t.TempDir()
	version, err := write(program(t), "../worker", archive)
	if err != nil {
		t.Fatal(err)
	}
	folder := unpack(t, archive, dir)
	if !strings.Contains(folder, version) {
		t.Errorf("folder %s does not name the version %s", folder, version)
	}
	install := func() string {
		t.Helper()
		cmd := exec.Command("sh", filepath.Join(folder, "install.sh"))
		cmd.Env = append(os.Environ(), "ROOT="+root)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if out := install(); !strings.Contains(out, version) || !strings.Contains(out, "enrol") {
		t.Errorf("install.sh says %q", out)
	}
	config := filepath.Join(root, "etc/tenantry/worker.yaml")
	if err := os.WriteFile(config, []byte("identity: mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	install()
	if text, _ := os.ReadFile(config); string(text) != "identity: mine\n" {
		t.Errorf("an upgrade changed the configuration to %q", text)
	}
	if out, err := exec.Command(filepath.Join(root, "usr/bin/tenantry-worker")).CombinedOutput(); err != nil || string(out) != "worker\n" {
		t.Errorf("the installed program: %q, %v", out, err)
	}
}

func unpack(t *testing.T, archive, dir string) (folder string) {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(zipped); ; {
		header, err := r.Next()
		if err == io.EOF {
			return folder
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d, time %s", header.Name, header.Uid, header.ModTime)
		}
		path := filepath.Join(dir, header.Name)
		folder = filepath.Dir(path)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, os.FileMode(header.Mode)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPackageRefuses(t *testing.T) {
	script := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := program(t)
	content, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	content[18] = byte(elf.EM_MIPS) // the low byte of e_machine
	if err := os.WriteFile(other, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, file := range map[string]string{"a script": script, "nothing": script + "-none", "another machine's": other} {
		if _, err := write(file, "../worker", filepath.Join(t.TempDir(), "p")); err == nil {
			t.Errorf("%s was packed", what)
		}
	}
}

// TestUnitIsHardened holds the unit to what it promises: a user of its own, and nothing of the machine.
func TestUnitIsHardened(t *testing.T) {
	text, err := os.ReadFile("../worker/tenantry-worker.service")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, want := range strings.Fields(`User=tenantry NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes
		CapabilityBoundingSet= UMask=0077 StateDirectoryMode=0700 MemoryDenyWriteExecute=yes RestrictNamespaces=yes`) {
		found := false
		for _, line := range lines {
			found = found || line == want
		}
		if !found {
			t.Errorf("the unit lacks %s", want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // where there is systemd, it reads the unit, too
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", "../worker/tenantry-worker.service").CombinedOutput(); err != nil && !strings.Contains(string(out), "is not executable") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
