package repository

import (
	"bytes"
	"context"
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Packs and segments are frames and, at the end, a sealed part that says where they are. One
// ranged read of the end opens either.
const (
	// trailerSize is the length of the sealed end and the second half of the header.
	trailerSize = 8
	// maxEnd bounds the end of an object that is read.
	maxEnd = 1 << 28
)

// end appends a sealed end and the trailer, and says how long the first is.
func (b *box) end(object, plain []byte) ([]byte, int64) {
	before := len(object)
	object = b.seal(object, plain, footerFrame)
	sealed := len(object) - before
	object = binary.BigEndian.AppendUint32(object, uint32(sealed))
	return append(object, b.header[4:]...), int64(sealed)
}

// readEnd reads and opens the sealed end of an object, whose sizes its manifest or index says.
func (r *Repository) readEnd(ctx context.Context, name string, kind objectKind, size, sealed int64) (*box, []byte, error) {
	return r.readEndBy(name, kind, size, sealed, func(offset, n int64) ([]byte, error) { return r.readRange(ctx, name, offset, n) })
}

// readEndBy is readEnd with a way to read.
func (r *Repository) readEndBy(name string, kind objectKind, size, sealed int64, read func(offset, n int64) ([]byte, error)) (*box, []byte, error) {
	begin := size - trailerSize - sealed
	if sealed < frameOverhead || sealed > maxEnd || begin < headerSize {
		return nil, nil, tenantry.Errorf(tenantry.Corrupt, "it is said that %d of its %d bytes are its end", sealed, size)
	}
	from := begin
	if begin == headerSize { // there is nothing else that the header would be read with
		from = 0
	}
	end, err := read(from, begin-from+sealed+trailerSize)
	if err != nil {
		return nil, nil, err
	}
	header, end := end[:begin-from], end[begin-from:]
	trailer := end[sealed:]
	if int64(binary.BigEndian.Uint32(trailer)) != sealed {
		return nil, nil, tenantry.Errorf(tenantry.Corrupt, "its trailer does not fit what is said of it")
	}
	b, err := r.keys.openBox(name, kind, append([]byte(magic), trailer[4:]...))
	if err != nil {
		return nil, nil, err
	}
	if len(header) > 0 {
		if err := b.begins(header); err != nil {
			return nil, nil, err
		}
	}
	plain, err := b.open(end[:sealed], footerFrame, maxPlain)
	return b, plain, err
}

// readFramesInto reads stored frames, into a buffer if that has room for them and a header. The first is read with the
// header before it, so that a damaged one is noticed without another request: readers know what it says from the trailer.
func (r *Repository) readFramesInto(ctx context.Context, b *box, offset, n int64, into []byte) ([]byte, error) {
	if offset != headerSize {
		return r.readRangeInto(ctx, b.name, offset, n, into)
	}
	stored, err := r.readRangeInto(ctx, b.name, 0, headerSize+n, into)
	if err != nil {
		return nil, err
	}
	return stored[headerSize:], b.begins(stored[:headerSize])
}

// begins returns Corrupt unless an object's first bytes are what its trailer says.
func (b *box) begins(header []byte) error {
	if !bytes.Equal(header, b.header[:]) {
		return tenantry.Errorf(tenantry.Corrupt, "its header is not what its trailer says")
	}
	return nil
}

func appendBytes(dst []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), value)
}
