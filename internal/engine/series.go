package engine

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
)

// Series is the state that a backup changes, as *repository.Writer provides it. Index and Content
// are used from several goroutines at once, Cursors and Commits from one.
type Series interface {
	Index
	Content
	Cursors
	Commits
}

// Index is the state as of now: the head and what was put since.
type Index interface {
	Lookup(ctx context.Context, id string) (repository.Entry, bool, error)
	// Entries and Children, those of one folder, yield the state as it was when they were called: it
	// may change under way.
	Entries(ctx context.Context) iter.Seq2[repository.Entry, error]
	Children(ctx context.Context, parent string) iter.Seq2[repository.Entry, error]
	Put(ctx context.Context, e repository.Entry) error
	Remove(ctx context.Context, id string) error
}

// Content takes bytes: small payloads and streams.
type Content interface {
	PutPayload(ctx context.Context, b []byte) (repository.Ref, error)
	PutContent(ctx context.Context, r io.Reader) (repository.Part, error)
	// Stream stores a content in several calls, so that what is stored of it can be committed between them.
	Stream(ctx context.Context, from repository.Part) (*repository.Stream, error)
}

// Cursors keeps how far each collection was read.
type Cursors interface {
	Cursor(collection string) (repository.Cursor, bool)
	SetCursor(collection string, c repository.Cursor)
	DropCursor(collection string)
}

// Commits makes changes durable, all of them at once.
type Commits interface {
	SealedByTask() (repository.Snapshot, bool)
	Live() []repository.Snapshot // that are kept, newest first
	Pending() int64
	Stored() int64
	Checkpoint(ctx context.Context) error
	Seal(ctx context.Context, now time.Time) (repository.Snapshot, error)
}

// Snapshot is a sealed restore point, as *repository.Reader provides it. Safe for concurrent use.
type Snapshot interface {
	Snapshot() repository.Snapshot
	Lookup(ctx context.Context, id string) (repository.Entry, bool, error)
	Lister
	Reading
}

// Lister yields entries: all in ascending ID, or those of one folder in ascending name, then ID, from
// the first or from behind a name and ID. It reads as it goes, and no more than it yields.
type Lister interface {
	Entries(ctx context.Context) iter.Seq2[repository.Entry, error]
	EntriesAfter(ctx context.Context, id string) iter.Seq2[repository.Entry, error]
	Children(ctx context.Context, parent string) iter.Seq2[repository.Entry, error]
	ChildrenAfter(ctx context.Context, parent, name, id string) iter.Seq2[repository.Entry, error]
}

// Reading reads what an entry names, checked: Corrupt if it is not what was stored.
type Reading interface {
	Payload(ctx context.Context, e repository.Entry) ([]byte, error)
	Open(ctx context.Context, e repository.Entry, p repository.Part) (io.ReadCloser, error)
	// OpenFrom is Open from a byte of the part on.
	OpenFrom(ctx context.Context, e repository.Entry, p repository.Part, from int64) (io.ReadCloser, error)
}

var (
	_ Series   = (*repository.Writer)(nil)
	_ Snapshot = (*repository.Reader)(nil)
)
