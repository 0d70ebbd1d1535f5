package repository

import (
	"context"
	"sync/atomic"
)

// What the writers of a process hold together, however many of them there are: each may use what is said at
// type Writer, but fifty at once must fit into a worker of 400 MB.
const (
	// processPacks is how many bytes of packs may be filled and on their way at once. Above it packs are cut
	// before they are full, from earlyPack on: more and smaller objects instead of more memory.
	processPacks = 40 << 20
	earlyPack    = 1 << 20
	// processStreams, processChunks and processUploads are contentStreams, chunkUploads and packUploads of all
	// writers.
	// processLists is how many lists of chunks are stored at once.
	processStreams = 12
	processLists   = 2
	processChunks  = 8
	processUploads = 16
)

var (
	packBytes   atomic.Int64
	streamSlots = make(chan struct{}, processStreams)
	listSlots   = make(chan struct{}, processLists)
	chunkSlots  = make(chan struct{}, processChunks)
	uploadSlots = make(chan struct{}, processUploads)
)

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
