// Command image writes the container image of Tenantry as a file that docker, podman and
// containerd load: static programs on nothing, for a user that is not root. It needs
// neither a container engine nor a registry, and the same programs give the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// programs are what the image holds, each under /.
var programs = []string{"api", "scheduler", "worker", "tenantry", "graphsim"}

// nobody is the user and group that the programs run as.
const nobody = 65532

func main() {
	bin := flag.String("bin", "bin", "`FOLDER` with the static programs")
	out := flag.String("out", "bin/tenantry-image.tar", "`FILE` to write")
	tag := flag.String("tag", "tenantry:latest", "`NAME` that the image is loaded as")
	flag.Parse()
	if err := write(*bin, *out, *tag); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Printf("%s: load it with docker load -i %s\n", *tag, *out)
}

func write(bin, out, tag string) error {
	reference, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	image, err := build(bin)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(out, reference, image)
}

// build makes the image: a layer for each program, so that what did not change is not
// sent again.
func build(bin string) (v1.Image, error) {
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux",
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: fmt.Sprintf("%d:%d", nobody, nobody), WorkingDir: "/",
			Cmd:          []string{"/tenantry", "--help"},
			ExposedPorts: map[string]struct{}{"8080/tcp": {}},
			Labels: map[string]string{
				"org.opencontainers.image.title":       "Tenantry",
				"org.opencontainers.image.description": "Backs up thousands of Microsoft 365 tenants to S3",
			},
		},
	})
	if err != nil {
		return nil, err
	}
	layers := []func() ([]byte, error){folders}
	for _, p := range programs {
		layers = append(layers, func() ([]byte, error) { return program(bin, p) })
	}
	for _, content := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			b, err := content()
			return io.NopCloser(bytes.NewReader(b)), err
		})
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// folders is the layer of what programs write to unless something is mounted there.
func folders() ([]byte, error) {
	return archive(
		&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		&tar.Header{Typeflag: tar.TypeDir, Name: "keys/", Mode: 0o700, Uid: nobody, Gid: nobody},
		&tar.Header{Typeflag: tar.TypeDir, Name: "cache/", Mode: 0o700, Uid: nobody, Gid: nobody},
	)
}

func program(bin, name string) ([]byte, error) {
	file := filepath.Join(bin, name)
	if err := static(file); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o555, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	err = w.Close()
	return layer.Bytes(), err
}

func archive(headers ...*tar.Header) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return layer.Bytes(), err
}

// static refuses a program that needs a loader or libraries: the image has none.
func static(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static: build it with CGO_ENABLED=0 on Linux", file)
		}
	}
	return nil
}
