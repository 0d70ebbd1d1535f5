package graphsim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// content is the bytes of a file or an attachment. Implementations never change
// after they are made, so readers need no lock.
type content interface {
	size() int64
	open() (io.ReadSeekCloser, error)
}

type sectionCloser struct{ *io.SectionReader }

func (sectionCloser) Close() error { return nil }

// bytesContent was written by a client and is small.
type bytesContent []byte

func (b bytesContent) size() int64 { return int64(len(b)) }

func (b bytesContent) open() (io.ReadSeekCloser, error) {
	return sectionCloser{io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}, nil
}

// fileContent lies on disk: a file of the corpus, or a large upload.
type fileContent struct {
	path   string
	length int64
}

func (f fileContent) size() int64 { return f.length }

func (f fileContent) open() (io.ReadSeekCloser, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	return file, nil
}

// blockSize is the unit in which generated content is made and edited.
const blockSize = 4096

// seededContent is generated block by block whenever it is read. Half of all
// seeds give text, which compresses, the others noise, as photographs do.
type seededContent struct {
	seed   uint64
	length int64
	// edits replaces the seed of single blocks: a small change in a large file.
	edits map[int64]uint64
}

func (c seededContent) size() int64 { return c.length }

func (c seededContent) open() (io.ReadSeekCloser, error) {
	return sectionCloser{io.NewSectionReader(&blockReader{content: c, have: -1}, 0, c.length)}, nil
}

// edited returns the content with one block changed.
func (c seededContent) edited(block int64, seed uint64) seededContent {
	edits := make(map[int64]uint64, len(c.edits)+1)
	for b, s := range c.edits {
		edits[b] = s
	}
	edits[block] = seed
	return seededContent{seed: c.seed, length: c.length, edits: edits}
}

func (c seededContent) fill(block int64, dst *[blockSize]byte) {
	seed, ok := c.edits[block]
	if !ok {
		seed = mix(c.seed, uint64(block))
	}
	if c.seed%2 == 0 {
		fillText(dst, seed)
		return
	}
	for i := 0; i < blockSize; i += 8 {
		seed += 0x9e3779b97f4a7c15
		z := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(dst[i:], z^z>>31)
	}
}

// spacedWord is a word and a space behind it, padded to whole machine words: a content is filled by a store or two for
// each, where copying would cost a call, and a dozen of them under the race detector.
type spacedWord struct {
	store [3]uint64
	size  int
}

var spacedWords = func() []spacedWord {
	list := make([]spacedWord, len(words))
	for i, word := range words {
		var padded [3 * 8]byte
		if len(word) >= len(padded) {
			panic("graphsim: the word is too long: " + word)
		}
		list[i].size = copy(padded[:], word+" ")
		for at := range list[i].store {
			list[i].store[at] = binary.LittleEndian.Uint64(padded[8*at:])
		}
	}
	return list
}()

func fillText(dst *[blockSize]byte, seed uint64) {
	r := newRand(seed)
	n := 0
	for n < blockSize-len(spacedWord{}.store)*8 {
		w := &spacedWords[r.IntN(len(spacedWords))]
		for at, size := 0, w.size; size > 0; at, size = at+1, size-8 {
			binary.LittleEndian.PutUint64(dst[n+8*at:], w.store[at])
		}
		n += w.size
	}
	for n < blockSize {
		n += copy(dst[n:], words[r.IntN(len(words))])
		n += copy(dst[n:], " ")
	}
}

// blockReader reads seeded content at any offset; it keeps the last block.
type blockReader struct {
	content seededContent
	have    int64
	block   [blockSize]byte
}

func (r *blockReader) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < r.content.length {
		if b := off / blockSize; b != r.have {
			r.content.fill(b, &r.block)
			r.have = b
		}
		from := off % blockSize
		to := min(int64(blockSize), from+r.content.length-off)
		m := copy(p[n:], r.block[from:to])
		n, off = n+m, off+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fingerprint reads content once and returns its SHA-256 (hex) and QuickXorHash.
func fingerprint(c content) (sha, quickXor string, err error) {
	rd, err := c.open()
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, rd.Close()) }()
	strong, quick := sha256.New(), &quickXorHash{}
	if _, err := io.Copy(io.MultiWriter(strong, quick), rd); err != nil {
		return "", "", fmt.Errorf("read content: %w", err)
	}
	return hex.EncodeToString(strong.Sum(nil)), quick.base64(), nil
}

func readContent(c content) ([]byte, error) {
	rd, err := c.open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(rd)
	return data, errors.Join(err, rd.Close())
}

// smallContent is what is kept in memory rather than on disk.
const smallContent = 256 << 10

// keepStream stores client-written bytes as they come: small ones in memory, large
// ones on disk.
func (s *Server) keepStream(rd io.Reader) (content, error) {
	head, err := io.ReadAll(io.LimitReader(rd, smallContent+1))
	if err != nil {
		return nil, fmt.Errorf("store upload: %w", err)
	}
	if len(head) <= smallContent {
		return bytesContent(head), nil
	}
	f, err := os.CreateTemp(s.spill, "upload-")
	if err != nil {
		return nil, fmt.Errorf("store upload: %w", err)
	}
	n, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), rd))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("store upload: %w", err), os.Remove(f.Name()))
	}
	return fileContent{path: f.Name(), length: n}, nil
}
