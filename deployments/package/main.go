// Command package writes the worker as an archive for machines outside of the provider's network: the static program, its
// systemd unit, a configuration and an install script. The same program gives the same bytes.
package main

import (
	"archive/tar"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// files are what lies beside the program, with their modes.
var files = []struct {
	name string
	mode int64
}{{"install.sh", 0o755}, {"tenantry-worker.service", 0o644}, {"worker.yaml", 0o644}}

func main() {
	program := flag.String("program", "bin/package/worker", "`FILE` of the static program")
	from := flag.String("from", "worker", "`FOLDER` with what lies beside it")
	out := flag.String("out", "bin/tenantry-worker.tar.gz", "`FILE` to write")
	flag.Parse()
	version, err := write(*program, *from, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
	fmt.Printf("%s: tenantry-worker %s\n", *out, version)
}

// write packs the program and returns its version.
func write(program, from, out string) (version string, err error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return "", fmt.Errorf("read the version of %s: %w", program, err)
	}
	version = strings.Trim(info.Main.Version, "()")
	if version == "" {
		version = "unknown"
	}
	machine, err := static(program)
	if err != nil {
		return "", err
	}
	file, err := os.Create(out)
	if err != nil {
		return "", err
	}
	err = pack(file, program, from, version, "tenantry-worker-"+version+"-linux-"+machine+"/")
	if closed := file.Close(); err == nil {
		err = closed
	}
	return version, err
}

// pack writes the archive: sorted, owned by root, without a time.
func pack(to io.Writer, program, from, version, folder string) error {
	zipped, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(zipped)
	add := func(name string, mode int64, content []byte) error {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: folder + name, Mode: mode, Size: int64(len(content)), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	if err := add("VERSION", 0o644, []byte(version+"\n")); err != nil {
		return err
	}
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(from, f.name))
		if err != nil {
			return err
		}
		if err := add(f.name, f.mode, content); err != nil {
			return err
		}
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if err := add("tenantry-worker", 0o755, content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

// static refuses a program that needs a loader or libraries, and names the machine that it is for, as Go does.
func static(program string) (string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", program, err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is not static: build it with CGO_ENABLED=0 on Linux", program)
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	}
	return "", fmt.Errorf("%s is for %s, which is none of amd64 and arm64", program, f.Machine)
}
