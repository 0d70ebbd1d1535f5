// Package blob owns where bytes lie: one Store interface, with a local folder and
// S3 behind it, and wrappers that add behaviour (retry, faults for tests).
//
// Keys are slash-separated, relative, printable ASCII without ".." segments. A
// prefix given to Open is put before every key and never seen by the caller.
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// ErrNotFound says that no object has the key.
var ErrNotFound = errors.New("object not found")

// ErrExists says that PutIfAbsent found an object under the key. It is the only
// answer that means "somebody committed"; whether that was oneself is for the
// caller to find out by reading the object (see repository).
var ErrExists = errors.New("object exists already")

// Info describes one stored object.
type Info struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// Store keeps immutable objects under keys. All methods are safe for concurrent
// use and honour the context's deadline. Errors other than ErrNotFound and
// ErrExists carry a tenantry kind: Transient when a retry may help, Shared when
// the store cannot be used at all (unreachable, access denied, disk full).
type Store interface {
	// Put writes the object, replacing any earlier one, whole or not at all.
	Put(ctx context.Context, key string, body []byte) error
	// PutIfAbsent writes the object only if the key is free, else ErrExists. It is
	// never retried by the store or its SDK: after any other error the outcome is
	// unknown, and the caller reads the key to learn it.
	PutIfAbsent(ctx context.Context, key string, body []byte) error
	// Get opens n bytes from offset; n < 0 means to the end. ErrNotFound if absent.
	Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error)
	// Stat describes the object. ErrNotFound if absent.
	Stat(ctx context.Context, key string) (Info, error)
	// List yields the objects whose key begins with prefix, in ascending order of
	// keys, streaming. It ends at the first error, which it yields.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete removes the object; absent is fine.
	Delete(ctx context.Context, key string) error
}
