// Package repository owns a tenant's encrypted storage in a bucket: packs of small
// items, shared content, and the manifests that commit them under a fence.
// (CONTRACT FILE: signatures first, to be filled in.)
package repository

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Ref points at stored content: where its plain bytes are and how to check them.
// It is opaque to callers, small, and survives encoding.
type Ref struct { /* pack, frame, offset, length | list of chunk hashes with generation and size */
}

// Part is separate content of an entry: an attachment, a file's bytes.
type Part struct {
	Name   string // attachment ID or "content"
	Size   int64  // plain bytes
	Digest []byte // BLAKE3 of the plain bytes, keyed by the tenant
	Ref    Ref
}

// Entry is one item of a series' index, keyed by its immutable ID.
type Entry struct {
	ID         string
	Parent     string // ID of the containing folder, "" for a root
	Kind       string // "folder", "message", "file", ...: the workload's word
	Name       string // what a person recognises: subject, file name
	ETag       string // version at the source, to know content again
	Modified   time.Time
	Size       int64  // payload bytes at the source
	Collection string // if not "", the delta collection whose items lie in this entry
	Generation int64  // generation of the round that saw it last (see engine)
	Problem    string // why it could not be saved, "" if it was
	ProblemAt  time.Time
	Payload    Ref // the raw bytes Graph sent, byte-identical
	Parts      []Part
}

// Cursor is how far one delta collection has been read. It is part of a manifest.
type Cursor struct {
	Link       string // nextLink within a round, deltaLink after it; "" = from the start
	Generation int64  // rises with every resync of this collection
	Complete   bool   // a whole round has been read: Link is a deltaLink
}

// Snapshot is one sealed restore point.
type Snapshot struct {
	Seq    int64
	Time   time.Time
	Task   tenantry.TaskID
	Nonce  []byte
	Counts tenantry.Counts // items in the snapshot, bytes of payload, skipped = entries with a problem
}

// Keyring wraps and unwraps tenant keys: a local key file now, KMS later.
type Keyring interface {
	// Wrap encrypts a fresh tenant key under the tenant's own wrapping key, creating
	// that if the tenant has none, and names the wrapping key.
	Wrap(ctx context.Context, tenant tenantry.TenantID, key []byte) (wrapped []byte, keyID string, err error)
	// Unwrap is the inverse. WrongKey if the ring has no such key or it does not fit.
	Unwrap(ctx context.Context, tenant tenantry.TenantID, keyID string, wrapped []byte) ([]byte, error)
}

// OpenKeyFile opens (and with create, makes, mode 0600) a local key file: one wrapping key per tenant.
func OpenKeyFile(path string, create bool) (Keyring, error) { panic("contract") }

// Repository is one tenant's repository, opened. Safe for concurrent use.
type Repository struct{}

// Open opens the tenant's repository in the store, creating it (its key object) if it is new.
func Open(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (*Repository, error) {
	panic("contract")
}

// Fence is the right to write a series: the epoch claimed in SQL and the task that claimed it.
type Fence struct {
	Epoch int64
	Task  tenantry.TaskID
}

// Head is what the newest manifest of a series says.
type Head struct {
	Seq    int64 // 0: the series is empty
	Epoch  int64
	Sealed bool
	Task   tenantry.TaskID
	Live   []Snapshot // newest first
}

// Head reads the newest manifest of a series.
func (r *Repository) Head(ctx context.Context, s tenantry.Series) (Head, error) { panic("contract") }

// Begin takes the series for writing under the fence: it reads the head, refuses a head of
// a higher epoch (Fenced), commits an empty open manifest when it takes over an unfinished
// series of another epoch, and loads what an incremental needs. On a head of the same epoch
// and task it resumes.
func (r *Repository) Begin(ctx context.Context, s tenantry.Series, f Fence) (*Writer, error) {
	panic("contract")
}

// Writer writes one series under one fence. Safe for concurrent use except Checkpoint,
// Seal and Close, which wait for what is under way.
type Writer struct{}

// SealedByTask reports the snapshot that this very task has sealed already, if it has: then there is only to settle.
func (w *Writer) SealedByTask() (Snapshot, bool) { panic("contract") }

// Lookup finds an entry in the state as of now (head + what was put since).
func (w *Writer) Lookup(ctx context.Context, id string) (Entry, bool, error) { panic("contract") }

// Entries yields the current state in unspecified order; the state must not be changed while it runs.
func (w *Writer) Entries(ctx context.Context) iter.Seq2[Entry, error] { panic("contract") }

// PutPayload stores a small payload (an item's raw bytes) in the current pack.
func (w *Writer) PutPayload(ctx context.Context, b []byte) (Ref, error) { panic("contract") }

// PutContent streams separate content: below 128 KiB into the pack, above as shared chunks.
// Bounded memory whatever the size. Returns reference, digest and size.
func (w *Writer) PutContent(ctx context.Context, r io.Reader) (Part, error) { panic("contract") }

// Put sets an entry; Remove drops one. Both become durable with the next Checkpoint or Seal.
func (w *Writer) Put(ctx context.Context, e Entry) error      { panic("contract") }
func (w *Writer) Remove(ctx context.Context, id string) error { panic("contract") }

// Cursor and SetCursor read and set the cursor of a collection; DropCursor forgets it.
func (w *Writer) Cursor(collection string) (Cursor, bool) { panic("contract") }
func (w *Writer) SetCursor(collection string, c Cursor)   { panic("contract") }
func (w *Writer) DropCursor(collection string)            { panic("contract") }

// Pending is how many bytes of packs are not committed yet.
func (w *Writer) Pending() int64 { panic("contract") }

// Checkpoint commits an open manifest: packs, index delta, cursors. Nothing new: no PUT.
// Fenced if another owner took the series: everything in memory is then void.
func (w *Writer) Checkpoint(ctx context.Context) error { panic("contract") }

// Seal commits a sealed manifest: the snapshot.
func (w *Writer) Seal(ctx context.Context, now time.Time) (Snapshot, error) { panic("contract") }

// Stored is how many bytes this writer has added to the bucket.
func (w *Writer) Stored() int64 { panic("contract") }

// Close releases memory; what was not committed is void.
func (w *Writer) Close() { panic("contract") }

// OpenSnapshot opens a sealed snapshot for reading.
func (r *Repository) OpenSnapshot(ctx context.Context, s tenantry.Series, seq int64) (*Reader, error) {
	panic("contract")
}

// Reader reads one sealed snapshot. Safe for concurrent use.
type Reader struct{}

func (rd *Reader) Snapshot() Snapshot                                         { panic("contract") }
func (rd *Reader) Lookup(ctx context.Context, id string) (Entry, bool, error) { panic("contract") }
func (rd *Reader) Entries(ctx context.Context) iter.Seq2[Entry, error]        { panic("contract") } // ascending ID
func (rd *Reader) Children(ctx context.Context, parent string) iter.Seq2[Entry, error] {
	panic("contract")
} // ascending name, then ID
// Payload reads an entry's raw bytes, checked. Corrupt names series, item and object.
func (rd *Reader) Payload(ctx context.Context, e Entry) ([]byte, error) { panic("contract") }

// Open streams a part's plain bytes; the digest is checked at the end, before io.EOF.
func (rd *Reader) Open(ctx context.Context, e Entry, p Part) (io.ReadCloser, error) {
	panic("contract")
}
func (rd *Reader) Close() { panic("contract") }
