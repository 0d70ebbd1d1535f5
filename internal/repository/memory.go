package repository

import (
	"context"
	"sync/atomic"

	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// What the writers of a process hold together, however many of them there are: each may use what is said at
// type Writer, but fifty at once must fit into a worker of 400 MB.
const (
	// processPacks is how many bytes of packs may be filled and on their way at once. Above it packs are cut
	// before they are full, from earlyPack on: more and smaller objects instead of more memory.
	processPacks = 32 << 20
	earlyPack    = 1 << 20
	// processFrames is how many bytes of frames may be filled at once before those that are begun are smaller.
	processFrames = 16 << 20
	// processStreams, processChunks and processUploads are contentStreams, chunkUploads and packUploads of all
	// writers.
	// processLists is how many lists of chunks are stored at once.
	processStreams = 12
	processLists   = 2
	processChunks  = 8
	processUploads = 16
	// processIndexes is how many bytes of segments the writers of large series may hold beyond maxStored each, so that
	// many look-ups in a mailbox of up to some 150,000 items read each segment once; who comes later reads block by block.
	processIndexes = 32 << 20
	largeIndex     = 16 << 20
)

var (
	packBytes   atomic.Int64
	indexBytes  atomic.Int64
	frameBytes  atomic.Int64
	streamSlots = make(chan struct{}, processStreams)
	listSlots   = make(chan struct{}, processLists)
	chunkSlots  = make(chan struct{}, processChunks)
	uploadSlots = make(chan struct{}, processUploads)
)

// reserveIndex returns how many bytes beyond maxStored the segments may take that have the IDs of a series; 0 where
// they need no more, or far more, or others have taken what there is.
func reserveIndex(segments []*pb.Segment) int64 {
	need := int64(0)
	for _, m := range segments {
		if m.First[0] == idSpace && m.Size > smallSegment {
			need += m.Size
		}
	}
	if need <= maxStored || need > largeIndex {
		return 0
	}
	if indexBytes.Add(need-maxStored) > processIndexes {
		indexBytes.Add(maxStored - need)
		return 0
	}
	return need - maxStored
}

// acquireBoth takes a slot of the writer and one of the process. Nobody who holds a slot of one kind waits
// for another of the same kind, and those that are waited for while one is held do not wait themselves.
func acquireBoth(ctx context.Context, own, process chan struct{}) (release func(), err error) {
	releaseOwn, err := acquire(ctx, own)
	if err != nil {
		return nil, err
	}
	releaseProcess, err := acquire(ctx, process)
	if err != nil {
		releaseOwn()
		return nil, err
	}
	return func() { releaseProcess(); releaseOwn() }, nil
}
