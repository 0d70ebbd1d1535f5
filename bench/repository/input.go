package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/zeebo/blake3"
)

// input is what is backed up. It follows from these numbers, the seed and the Go release alone.
type input struct {
	mails       int // files of mailSize
	attachEvery int // one mail of so many has an attachment of attachmentSize
	documents   int // what shared attachments show, one of so many
	source      int // bytes of Go source, in files of fileSize
	random      int // bytes that do not compress, in files of fileSize
	changed     int // mails that change
}

const (
	mailSize       = 7500
	attachmentSize = 40_000
	fileSize       = 2_000_000
	sharedPercent  = 30 // of attachments
	seed           = 20261121
)

var (
	whole = input{mails: 20_000, attachEvery: 5, documents: 100, source: 100_000_000, random: 100_000_000, changed: 50}
	small = input{mails: 1000, attachEvery: 5, documents: 10, source: 10_000_000, random: 10_000_000, changed: 50}
)

// born is when the oldest file was written last.
var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// tree is the input on disk.
type tree struct {
	input
	root string
	sums string // a line for each file: its path, size and BLAKE3
}

// makeTree writes the input under root, and what a restore has to give beside it.
func makeTree(in input, root, sums string) (tree, error) {
	t := tree{input: in, root: root, sums: sums}
	list, err := os.Create(sums)
	if err != nil {
		return t, err
	}
	defer list.Close()
	lines := bufio.NewWriter(list)
	number := 0
	put := func(path string, data []byte) error {
		number++
		sum := blake3.Sum256(data)
		fmt.Fprintf(lines, "%s %d %s\n", path, len(data), hex.EncodeToString(sum[:]))
		return t.write(path, data, born.Add(time.Duration(number)*time.Second))
	}
	if err := errors.Join(t.writeMails(put), t.writeSource(put), t.writeRandom(put), lines.Flush()); err != nil {
		return t, fmt.Errorf("make the input: %w", err)
	}
	return t, list.Close()
}

// write writes one file, as of a time.
func (t tree) write(path string, data []byte, at time.Time) error {
	path = filepath.Join(t.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return os.Chtimes(path, at, at)
}

func mailPath(i int) string { return fmt.Sprintf("mails/%02d/%05d.json", i/1000, i) }

func (t tree) writeMails(put func(string, []byte) error) error {
	w := newWording()
	for i := range t.mails {
		if err := put(mailPath(i), w.mail(i, 0)); err != nil {
			return err
		}
		if i%t.attachEvery != 0 {
			continue
		}
		if err := put(fmt.Sprintf("mails/%02d/%05d.pdf", i/1000, i), t.attachment(i)); err != nil {
			return err
		}
	}
	return nil
}

// attachment is the attachment of a mail: like most formats of documents and pictures, compressed already.
func (t tree) attachment(i int) []byte {
	rnd := rand.New(rand.NewPCG(seed, uint64(i)))
	stream := uint64(i)
	if rnd.IntN(100) < sharedPercent {
		stream = 1<<32 + uint64(rnd.IntN(t.documents))
	}
	return noise(stream, attachmentSize)
}

// noise returns bytes that do not compress, the same for each stream.
func noise(stream uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], stream)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}

func (t tree) writeRandom(put func(string, []byte) error) error {
	for i := range t.random / fileSize {
		if err := put(fmt.Sprintf("files/random/%03d.bin", i), noise(1<<33+uint64(i), fileSize)); err != nil {
			return err
		}
	}
	return nil
}

// writeSource joins the sources of the Go release that runs this into files.
func (t tree) writeSource(put func(string, []byte) error) error {
	files, buffer := 0, make([]byte, 0, 2*fileSize)
	flush := func() error {
		for len(buffer) >= fileSize && files < t.source/fileSize {
			if err := put(fmt.Sprintf("files/source/%03d.txt", files), buffer[:fileSize]); err != nil {
				return err
			}
			files++
			buffer = append(buffer[:0], buffer[fileSize:]...)
		}
		return nil
	}
	root := goRoot()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || d.IsDir() || ext != ".go" && ext != ".s" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		buffer = append(buffer, data...)
		if err := flush(); err != nil {
			return err
		}
		if files == t.source/fileSize {
			return fs.SkipAll
		}
		return nil
	})
	if err == nil && files < t.source/fileSize {
		err = fmt.Errorf("%s has only %d files of %d bytes of source, %d are needed", root, files, fileSize, t.source/fileSize)
	}
	return err
}

// goRoot is where the Go release is that runs this.
func goRoot() string {
	return runtime.GOROOT() //nolint:staticcheck // "go run" has just set it: the go command that runs this is the release that is meant
}

// change gives some mails the version of a round; version 0 is the one of makeTree. It returns their paths.
func (t tree) change(version int) ([]string, error) {
	w, rnd := newWording(), rand.New(rand.NewPCG(seed, 1<<34))
	var paths []string
	for _, i := range rnd.Perm(t.mails)[:t.changed] {
		at := born.Add(time.Duration(i) * time.Second)
		if version > 0 {
			at = time.Now()
		}
		if err := t.write(mailPath(i), w.mail(i, version), at); err != nil {
			return nil, fmt.Errorf("change the input: %w", err)
		}
		paths = append(paths, mailPath(i))
	}
	return paths, nil
}
