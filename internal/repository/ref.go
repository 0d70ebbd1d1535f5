package repository

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// packID names a pack within its series: random, so that two writers never meet.
type packID [16]byte

func (id packID) String() string { return hex.EncodeToString(id[:]) }

// chunkHash is the keyed BLAKE3 of a chunk's plain bytes.
type chunkHash [32]byte

// chunk names one piece of shared content.
type chunk struct {
	hash       chunkHash
	generation uint32
	size       uint32 // plain bytes
}

// name returns the chunk's object name within the tenant.
func (c chunk) name() string {
	return "c/" + hex.EncodeToString(c.hash[:]) + "." + strconv.FormatUint(uint64(c.generation), 10)
}

// Ref points at stored content: where its plain bytes are and how to check them.
// It is opaque to callers, small, and survives encoding as text or binary. The zero
// Ref points at nothing: content of no bytes. A Ref into a pack belongs to its series.
type Ref struct {
	pack                  packID
	frame, offset, length uint32 // length > 0: in a frame of pack
	chunks                []chunk
	// depth > 0: what the above finds is an encoded list of chunks, and so on down; a
	// file of 250 GB thus has a Ref of one line.
	depth uint8
}

// IsZero reports whether r points at nothing.
func (r Ref) IsZero() bool { return r.length == 0 && len(r.chunks) == 0 }

// Equal reports whether r and o point at the same place.
func (r Ref) Equal(o Ref) bool {
	return r.pack == o.pack && r.frame == o.frame && r.offset == o.offset && r.length == o.length &&
		r.depth == o.depth && slices.Equal(r.chunks, o.chunks)
}

// MarshalBinary encodes r so that UnmarshalBinary restores it.
func (r Ref) MarshalBinary() ([]byte, error) {
	if r.IsZero() {
		return []byte{}, nil
	}
	return proto.Marshal(r.message())
}

// UnmarshalBinary restores what MarshalBinary encoded. Invalid for anything else.
func (r *Ref) UnmarshalBinary(data []byte) error {
	var m pb.Ref
	if err := proto.Unmarshal(data, &m); err != nil {
		return tenantry.E(tenantry.Invalid, "decode a content reference", err)
	}
	got, err := toRef(&m)
	if err != nil {
		return err
	}
	*r = got
	return nil
}

// MarshalText encodes r in base64, so that JSON can carry it.
func (r Ref) MarshalText() ([]byte, error) {
	data, err := r.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return base64.RawURLEncoding.AppendEncode(nil, data), nil
}

// UnmarshalText restores what MarshalText encoded.
func (r *Ref) UnmarshalText(text []byte) error {
	data, err := base64.RawURLEncoding.AppendDecode(nil, bytes.TrimSpace(text))
	if err != nil {
		return tenantry.E(tenantry.Invalid, "decode a content reference", err)
	}
	return r.UnmarshalBinary(data)
}

func (r Ref) message() *pb.Ref {
	if r.IsZero() {
		return nil
	}
	m := &pb.Ref{Frame: r.frame, Offset: r.offset, Length: r.length, Chunks: chunkMessages(r.chunks), Depth: uint32(r.depth)}
	if r.length > 0 {
		m.Pack = r.pack[:]
	}
	return m
}

func toRef(m *pb.Ref) (Ref, error) {
	if m == nil {
		return Ref{}, nil
	}
	if m.Depth > maxDepth {
		return Ref{}, tenantry.Errorf(tenantry.Corrupt, "a content reference is %d lists deep", m.Depth)
	}
	r := Ref{frame: m.Frame, offset: m.Offset, length: m.Length, depth: uint8(m.Depth)}
	var err error
	if m.Length > 0 {
		if r.pack, err = toPackID(m.Pack); err != nil {
			return Ref{}, err
		}
	}
	r.chunks, err = toChunks(m.Chunks)
	return r, err
}

func chunkMessages(chunks []chunk) []*pb.Chunk {
	if len(chunks) == 0 {
		return nil
	}
	out := make([]*pb.Chunk, len(chunks))
	for i := range chunks {
		out[i] = &pb.Chunk{Hash: chunks[i].hash[:], Generation: chunks[i].generation, Size: chunks[i].size}
	}
	return out
}

func toChunks(ms []*pb.Chunk) ([]chunk, error) {
	if len(ms) == 0 {
		return nil, nil
	}
	out := make([]chunk, len(ms))
	for i, m := range ms {
		if len(m.Hash) != len(chunkHash{}) || m.Size > maxChunk {
			return nil, tenantry.Errorf(tenantry.Corrupt, "chunk %d of a content reference has no proper hash or size", i)
		}
		out[i] = chunk{hash: chunkHash(m.Hash), generation: m.Generation, size: m.Size}
	}
	return out, nil
}

// parsePackID is the inverse of packID.String.
func parsePackID(text string) (packID, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return packID{}, tenantry.Errorf(tenantry.Corrupt, "%q is not the name of a pack", text)
	}
	return toPackID(b)
}

func toPackID(b []byte) (packID, error) {
	if len(b) != len(packID{}) {
		return packID{}, tenantry.Errorf(tenantry.Corrupt, "a pack has a name of %d bytes", len(b))
	}
	return packID(b), nil
}
