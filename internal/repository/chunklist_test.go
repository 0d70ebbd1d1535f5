package repository

import (
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// TestChunkList holds that a list is encoded as the message is, and comes back.
func TestChunkList(t *testing.T) {
	for _, n := range []int{0, 1, maxRefChunks, maxRefChunks + 1, maxRefChunks + chunkPage, maxRefChunks + chunkPage + 1, 5000} {
		var l chunkList
		var want []chunk
		var held []*chunk
		for i := range n {
			c := chunk{hash: chunkHash{byte(i), byte(i >> 8), 7}, generation: uint32(i % 3), size: uint32(i % maxChunk)}
			held = append(held, l.add(chunk{size: c.size}))
			want = append(want, c)
		}
		for i, c := range held { // filled in later, as uploads end
			*c = want[i]
		}
		message, err := proto.MarshalOptions{Deterministic: true}.Marshal(&pb.ChunkList{Chunks: chunkMessages(want)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(iotest.OneByteReader(l.encoded()))
		if err != nil || !slices.Equal(got, message) {
			t.Fatalf("%d chunks: %d bytes, the message has %d, %v", n, len(got), len(message), err)
		}
		back, err := decodeChunkList(got)
		if err != nil || !slices.Equal(back, want) || !slices.Equal(l.flat(), want) {
			t.Fatalf("%d chunks: %d came back, %v", n, len(back), err)
		}
		if n > 0 {
			if _, err := decodeChunkList(got[:len(got)-1]); tenantry.KindOf(err) != tenantry.Corrupt {
				t.Errorf("cut short: %v", err)
			}
		}
	}
	for name, message := range map[string]*pb.Chunk{
		"no hash": {Size: 5}, "a short hash": {Hash: make([]byte, 31)}, "a long hash": {Hash: make([]byte, 33)}, "too large": {Hash: make([]byte, 32), Size: maxChunk + 1},
	} {
		data, err := proto.Marshal(&pb.ChunkList{Chunks: []*pb.Chunk{message}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeChunkList(data); tenantry.KindOf(err) != tenantry.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}
