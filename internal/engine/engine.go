// Package engine owns how a series is backed up, restored, browsed and verified,
// over small interfaces that workloads and the repository satisfy.
// (CONTRACT FILE: signatures first, to be filled in.)
package engine

import (
	"context"
	"io"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// RootCollection is the collection every read starts with: a mailbox's folders, a drive's items.
const RootCollection = ""

// Source reads the changes of one workload from Microsoft 365. Methods are called from one
// goroutine, parts of a page from up to Concurrency. Errors carry kinds: Resync (link no longer valid),
// Absent, Denied, Throttled (park), NotFound for a collection = that collection is gone.
type Source interface {
	// Page reads one page of a collection; link "" starts from the beginning.
	Page(ctx context.Context, collection, link string) (Page, error)
	// Moves reports whether items leave one collection for another (mail) and removals count only
	// for the collection that the index names as parent; false: removals are absolute (drive).
	Scoped() bool
}

// Page is one page of changes.
type Page struct {
	Items   []Item
	Removed []string // IDs
	Next    string   // link of the next page, or the deltaLink when Done
	Done    bool
}

// Item is one added or changed item.
type Item struct {
	ID, Parent, Kind, Name, ETag string
	Modified                     time.Time
	Size                         int64
	Collection                   string // not "": its content is read as this collection
	Raw                          []byte // payload, byte-identical
	Problem                      string // why it cannot be saved
	// Parts lists separate content. nil: none. Called only if ETag differs from what is stored.
	Parts func(ctx context.Context) ([]ItemPart, error)
}

// ItemPart is separate content of an item, opened when it is stored.
type ItemPart struct {
	Name string
	Size int64
	// Open streams the content. Poison: this part is recorded with its reason, the item goes on.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Limits bound a slice of a task.
type Limits struct {
	SliceTime       time.Duration // then checkpoint and More
	CheckpointBytes int64
	CheckpointTime  time.Duration
	Concurrency     int
}

// Outcome says how a slice ended.
type Outcome struct {
	Done     bool // false: more to do, a checkpoint is committed
	Snapshot repository.Snapshot
	Counts   tenantry.Counts
	Problems []Problem // at most 100 kept, Counts.Skipped says how many
}

// Problem is one item that could not be saved or restored, and why.
type Problem struct{ ID, Name, Reason string }

// Target writes items back to Microsoft 365.
type Target interface {
	// Folder finds or makes the folder that stands for e under parent ("" = the target's root) and returns its ID.
	Folder(ctx context.Context, parent string, e repository.Entry, raw []byte) (string, error)
	// Item writes e into folder unless it is there already (then Existed). It may run twice: no duplicates.
	Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open func(context.Context, repository.Part) (io.ReadCloser, error)) (Written, error)
}

// Written says what became of a restored item.
type Written struct {
	ID      string
	Existed bool
}
