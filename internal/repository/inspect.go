package repository

import (
	"encoding/binary"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// inspect proves every byte of a whole object by itself, without what names it: that each frame
// authenticates at its place, and that a chunk is the content of its name. name is within the
// tenant. It reports false for names that are none of ours.
func (r *Repository) inspect(name string, body []byte) (known bool, err error) {
	switch {
	case keyGeneration(name) > 0:
		_, err = decodeKeyObject(body)
		return true, err
	case strings.HasPrefix(name, "c/"):
		k, ok := parseChunkName(name)
		if !ok {
			return false, nil
		}
		return true, r.inspectChunk(k.chunk(), body)
	case strings.HasPrefix(name, listFolder):
		if strings.HasSuffix(name, openedSuffix) {
			return true, nil
		}
		_, err = r.openCondemned(name, body)
		return true, err
	}
	parts := strings.Split(name, "/")
	if len(parts) != 5 || parts[0] != "r" {
		return false, nil
	}
	switch parts[3] {
	case "m":
		seq, err := manifestSeq(name)
		if err == nil {
			s := tenantry.Series{Tenant: r.tenant, Resource: tenantry.ResourceID(parts[1]), Workload: tenantry.Workload(parts[2])}
			_, err = r.openManifest(s, seq, body)
		}
		return true, err
	case "p":
		return true, r.inspectPack(name, body)
	case "s":
		return true, r.inspectSegment(name, body)
	}
	return false, nil
}

func (r *Repository) inspectChunk(c chunk, body []byte) error {
	if len(body) < headerSize {
		return tenantry.Errorf(tenantry.Corrupt, "it is cut short at %d bytes", len(body))
	}
	b, err := r.keys.openBox(c.name(), kindChunk, body[:headerSize])
	if err != nil {
		return err
	}
	plain, err := b.open(body[headerSize:], 0, maxChunk)
	if err == nil && r.keys.chunkHash(plain) != c.hash {
		err = tenantry.Errorf(tenantry.Corrupt, "it does not hold the bytes that its name says")
	}
	return err
}

// openEnd opens what stands at the end of a whole pack or segment, and returns it with the frames
// before it.
func (r *Repository) openEnd(name string, kind objectKind, body []byte) (b *box, frames, end []byte, err error) {
	if len(body) < headerSize+frameOverhead+trailerSize {
		return nil, nil, nil, tenantry.Errorf(tenantry.Corrupt, "it is cut short at %d bytes", len(body))
	}
	rest, trailer := body[:len(body)-trailerSize], body[len(body)-trailerSize:]
	sealed := int64(binary.BigEndian.Uint32(trailer))
	if sealed < frameOverhead || sealed > int64(len(rest)-headerSize) {
		return nil, nil, nil, tenantry.Errorf(tenantry.Corrupt, "its trailer says that %d of its %d bytes are its end", sealed, len(body))
	}
	if b, err = r.keys.openBox(name, kind, append([]byte(magic), trailer[4:]...)); err != nil {
		return nil, nil, nil, err
	}
	if err = b.begins(rest[:headerSize]); err != nil {
		return nil, nil, nil, err
	}
	at := len(rest) - int(sealed)
	end, err = b.open(rest[at:], footerFrame, maxPlain)
	return b, rest[headerSize:at], end, err
}

func (r *Repository) inspectPack(name string, body []byte) error {
	b, frames, footer, err := r.openEnd(name, kindPack, body)
	if err != nil {
		return err
	}
	pr := &packReader{name: name, box: b, offsets: []int64{0}}
	if err := pr.parse(footer); err != nil {
		return err
	}
	return b.inspectFrames(frames, pr.offsets, pr.plain)
}

func (r *Repository) inspectSegment(name string, body []byte) error {
	b, blocks, plain, err := r.openEnd(name, kindSegment, body)
	if err != nil {
		return err
	}
	var tail pb.Tail
	if err := proto.Unmarshal(plain, &tail); err != nil {
		return tenantry.E(tenantry.Corrupt, "decode its tail", err)
	}
	offsets, sizes := []int64{0}, []uint32{}
	for i, block := range tail.Blocks {
		offsets, sizes = append(offsets, offsets[i]+int64(block.Stored)), append(sizes, block.Plain)
	}
	end := int64(len(blocks)) - tail.Filters
	if tail.Filters < 0 || end < 0 {
		return tenantry.Errorf(tenantry.Corrupt, "its filters do not end where its end begins")
	}
	if tail.Filters > 0 {
		if _, err := b.openFilters(blocks[end:], len(tail.Blocks)); err != nil {
			return err
		}
	}
	return b.inspectFrames(blocks[:end], offsets, sizes)
}

// inspectFrames opens frames that follow one another up to the end.
func (b *box) inspectFrames(stored []byte, offsets []int64, plain []uint32) error {
	if offsets[len(offsets)-1] != int64(len(stored)) {
		return tenantry.Errorf(tenantry.Corrupt, "its frames do not end where its end begins")
	}
	for i, size := range plain {
		got, err := b.open(stored[offsets[i]:offsets[i+1]], uint32(i), int(size))
		if err == nil && len(got) != int(size) {
			err = tenantry.Errorf(tenantry.Corrupt, "it holds %d bytes, expected %d", len(got), size)
		}
		if err != nil {
			return fmt.Errorf("frame %d: %w", i, err)
		}
	}
	return nil
}
