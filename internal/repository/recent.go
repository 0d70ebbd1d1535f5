package repository

import "sync"

const (
	// minRepeated is the least size of content that is looked for among what was put before; less is
	// not worth its place in memory.
	minRepeated = 2 << 10
	// maxRecent is how many are remembered: about 2 MB.
	maxRecent = 8192
)

// recent remembers where a writer has put small content, so that a picture in every signature or a document
// that was sent to and fro is stored once by it. It lasts as long as the writer: what it names stands
// in packs that the writer's own manifests list, and only the series' owner deletes those. The zero value
// remembers nothing yet. Safe for concurrent use.
//
// It has two generations: what is found moves to the young one, and when that is full, the old one goes.
type recent struct {
	mu         sync.Mutex
	young, old map[[32]byte]packed
}

// packed is a Ref into a pack without what such a Ref does not need.
type packed struct {
	pack                  packID
	frame, offset, length uint32
}

func (r *recent) find(digest [32]byte) (Ref, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.young[digest]
	if !ok {
		if at, ok = r.old[digest]; !ok {
			return Ref{}, false
		}
		r.keep(digest, at)
	}
	return Ref{pack: at.pack, frame: at.frame, offset: at.offset, length: at.length}, true
}

func (r *recent) add(digest [32]byte, ref Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(digest, packed{ref.pack, ref.frame, ref.offset, ref.length})
}

// keep is add under the lock.
func (r *recent) keep(digest [32]byte, at packed) {
	if r.young == nil || len(r.young) >= maxRecent/2 {
		r.young, r.old = make(map[[32]byte]packed), r.young
	}
	r.young[digest] = at
}

// forget makes everything new again.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young, r.old = nil, nil
}
