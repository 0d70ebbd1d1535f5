//go:build proof

package proof

import (
	"context"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// strike is what happens to one write (PUT or DELETE) of a process.
type strike string

const (
	diesBefore strike = "dies before it"
	diesAfter  strike = "dies after it"
	cut        strike = "connection is cut before it"
	lost       strike = "answer is lost"
	// late: the connection is cut, and the store does it all the same when the process has
	// gone on: just before its next write, or after its end.
	late strike = "takes effect later"
)

var strikes = []strike{diesBefore, diesAfter, cut, lost, late}

var (
	errCut  = tenantry.Errorf(tenantry.Transient, "proof: connection cut")
	errDead = tenantry.Errorf(tenantry.Transient, "proof: this process is dead")
)

// process is the store as one process sees it: it counts the writes, and one of them may be struck.
type process struct {
	store *blobtest.Memory

	mu      sync.Mutex // guards what follows
	writes  []string   // what was written so far: operation and kind of object
	at      int        // number of the write to strike, from 0; negative: none
	how     strike
	dead    bool
	belated func() // what takes effect later
}

func newProcess(store *blobtest.Memory) *process { return &process{store: store, at: -1} }

// alive is nil until the process has died.
func (p *process) alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errDead
	}
	return nil
}

// write does one write, or what the strike makes of it.
func (p *process) write(op, key string, do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errDead
	}
	if p.belated != nil {
		p.belated()
		p.belated = nil
	}
	number := len(p.writes)
	p.writes = append(p.writes, op+" "+objectKind(key))
	if number != p.at {
		return do()
	}
	switch p.how {
	case diesBefore, diesAfter:
		p.dead = true
		if p.how == diesAfter {
			_ = do()
		}
		return errDead
	case lost:
		_ = do()
	case late:
		p.belated = func() { _ = do() }
	}
	return errCut
}

// end ends the process: what was on its way arrives.
func (p *process) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	if p.belated != nil {
		p.belated()
		p.belated = nil
	}
}

// struck reports whether the strike has hit.
func (p *process) struck() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at < len(p.writes)
}

// objectKind names what a key of the store is: manifest, pack, segment, chunk, list (of what is
// condemned), key, or what stands there.
func objectKind(key string) string {
	parts := strings.Split(key, "/")
	switch {
	case len(parts) == 6 && parts[1] == "r":
		return map[string]string{"m": "manifest", "p": "pack", "s": "segment"}[parts[4]]
	case len(parts) == 3 && parts[1] == "c":
		return "chunk"
	case len(parts) == 3 && parts[1] == "g":
		return "list"
	case strings.Contains(key, "/v/"):
		return "note"
	case len(parts) == 2 && strings.HasPrefix(parts[1], "key"):
		return "key"
	}
	return strings.Join(parts[1:], "/")
}

// Put implements blob.Store.
func (p *process) Put(_ context.Context, key string, body []byte) error {
	return p.write("put", key, func() error { return p.store.Put(context.Background(), key, body) })
}

// PutIfAbsent implements blob.Store.
func (p *process) PutIfAbsent(_ context.Context, key string, body []byte) error {
	return p.write("put", key, func() error { return p.store.PutIfAbsent(context.Background(), key, body) })
}

// Delete implements blob.Store.
func (p *process) Delete(_ context.Context, key string) error {
	return p.write("delete", key, func() error { return p.store.Delete(context.Background(), key) })
}

// Get implements blob.Store.
func (p *process) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	if err := p.alive(); err != nil {
		return nil, err
	}
	return p.store.Get(ctx, key, offset, n)
}

// Stat implements blob.Store.
func (p *process) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := p.alive(); err != nil {
		return blob.Info{}, err
	}
	return p.store.Stat(ctx, key)
}

// List implements blob.Store.
func (p *process) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if err := p.alive(); err != nil {
		return func(yield func(blob.Info, error) bool) { yield(blob.Info{}, err) }
	}
	return p.store.List(ctx, prefix)
}

// Folders implements blob.Store.
func (p *process) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	if err := p.alive(); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return p.store.Folders(ctx, prefix)
}
