package repository

import (
	"io"
	"iter"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// chunkPage is how many chunks of a long list are allocated at once.
const chunkPage = 1024

// Field numbers of ChunkList and Chunk, which are written and read one by one: messages would take three times the memory.
const (
	listChunks      = 1
	chunkHashField  = 1
	chunkGeneration = 2
	chunkSize       = 3
)

// chunkList is the chunks of one content in order, 40 bytes for each: 16 MB for a file of 200 GB. What is in it does not
// move when it grows.
type chunkList struct {
	pages [][]chunk
	n     int
	size  int64 // plain bytes
}

// add appends a chunk and returns where it stays.
func (l *chunkList) add(c chunk) *chunk {
	last := len(l.pages) - 1
	if last < 0 || len(l.pages[last]) == cap(l.pages[last]) {
		room := chunkPage
		if last < 0 {
			room = maxRefChunks
		}
		l.pages = append(l.pages, make([]chunk, 0, room))
		last++
	}
	l.pages[last] = append(l.pages[last], c)
	l.n++
	l.size += int64(c.size)
	return &l.pages[last][len(l.pages[last])-1]
}

func (l *chunkList) all() iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		for _, page := range l.pages {
			for _, c := range page {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// flat returns the chunks of a short list.
func (l *chunkList) flat() []chunk {
	if l.n == 0 {
		return nil
	}
	out := make([]chunk, 0, l.n)
	for c := range l.all() {
		out = append(out, c)
	}
	return out
}

// encoded streams the list as an encoded ChunkList.
func (l *chunkList) encoded() io.Reader { return &listReader{pages: l.pages} }

// listReader encodes chunks as they are read.
type listReader struct {
	pages [][]chunk
	ready []byte // encoded, from at on not read yet
	at    int
}

// Read implements io.Reader.
func (r *listReader) Read(p []byte) (int, error) {
	for r.at == len(r.ready) {
		if len(r.pages) == 0 {
			return 0, io.EOF
		}
		r.ready, r.at = r.ready[:0], 0
		for i := range r.pages[0] {
			r.ready = appendChunk(r.ready, &r.pages[0][i])
		}
		r.pages = r.pages[1:]
	}
	n := copy(p, r.ready[r.at:])
	r.at += n
	return n, nil
}

// appendChunk appends a chunk as ChunkList has it.
func appendChunk(dst []byte, c *chunk) []byte {
	var one [64]byte
	b := appendBytes(one[:0], chunkHashField, c.hash[:])
	if c.generation > 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, chunkGeneration, protowire.VarintType), uint64(c.generation))
	}
	if c.size > 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, chunkSize, protowire.VarintType), uint64(c.size))
	}
	return appendBytes(dst, listChunks, b)
}

// decodeChunkList is the inverse of encoded.
func decodeChunkList(data []byte) ([]chunk, error) {
	chunks := make([]chunk, 0, len(data)/encodedChunk)
	err := eachField(data, func(field protowire.Number, value []byte, _ uint64) error {
		if field != listChunks {
			return nil
		}
		c, err := decodeChunk(value)
		chunks = append(chunks, c)
		return err
	})
	if err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "decode a list of chunks", err)
	}
	return chunks, nil
}

// encodedChunk is about how many bytes appendChunk appends.
const encodedChunk = 40

func decodeChunk(data []byte) (c chunk, err error) {
	hashed, size := false, uint64(0)
	err = eachField(data, func(field protowire.Number, value []byte, number uint64) error {
		switch field {
		case chunkHashField:
			hashed = copy(c.hash[:], value) == len(c.hash) && len(value) == len(c.hash)
		case chunkGeneration:
			c.generation = uint32(number)
		case chunkSize:
			size = number
		}
		return nil
	})
	if err == nil && (!hashed || size > maxChunk) {
		err = tenantry.Errorf(tenantry.Corrupt, "a chunk of a content reference has no proper hash or size")
	}
	c.size = uint32(min(size, maxChunk))
	return c, err
}

// eachField yields the fields of an encoded message: bytes, or a number.
func eachField(data []byte, visit func(field protowire.Number, value []byte, number uint64) error) error {
	for len(data) > 0 {
		field, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		var value []byte
		var number uint64
		size := 0
		switch typ {
		case protowire.BytesType:
			value, size = protowire.ConsumeBytes(data[n:])
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(data[n:])
		default:
			size = protowire.ConsumeFieldValue(field, typ, data[n:])
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		if err := visit(field, value, number); err != nil {
			return err
		}
		data = data[n+size:]
	}
	return nil
}
