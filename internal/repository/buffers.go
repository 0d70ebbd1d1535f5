package repository

import "sync"

// sealedChunk is how many bytes a chunk takes at most as it is stored: zstd adds some bytes per block of 128 KiB to what it
// cannot compress.
const sealedChunk = maxChunk + maxChunk/64 + 1024

// sealedDense is how many bytes a frame takes at most that does not compress.
const sealedDense = denseFrame + denseFrame/64 + 1024

// bufferSizes are those of the buffers that are used again: of small content, of frames and of chunks.
var bufferSizes = [...]int{smallContent, sealedDense, contentFrame, frameSize, sealedChunk}

var bufferPools [len(bufferSizes)]sync.Pool

// borrow returns a buffer of n bytes or more, with something in it; one of none for more than sealedChunk: what is larger has
// to prove first that it is. Whoever is done with it gives it back, once, and only if nobody else can still see it; one
// that is not given back is collected as any other memory.
func borrow(n int64) *[]byte {
	for i, size := range bufferSizes {
		if n > int64(size) {
			continue
		}
		if b, ok := bufferPools[i].Get().(*[]byte); ok {
			return b
		}
		b := make([]byte, size)
		return &b
	}
	return new([]byte)
}

// giveBack is the inverse of borrow; nil is fine.
func giveBack(b *[]byte) {
	if b == nil {
		return
	}
	for i, size := range bufferSizes {
		if len(*b) == size {
			bufferPools[i].Put(b)
		}
	}
}
