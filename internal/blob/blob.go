// Package blob owns where bytes lie: one Store interface, with a local folder and
// S3 behind it. Wrappers that add faults for tests are in blobtest, beside the
// conformance suite that every Store passes.
//
// Keys are slash-separated, relative, printable ASCII without ".." segments; a
// segment does not begin with a dot. A prefix given to Open is put before every
// key and never seen by the caller. No key may be the folder of another ("a" and
// "a/b"), because a file system could not hold both.
//
// The one thing that a Store must do beyond keeping bytes is decide races: of all
// PutIfAbsent of one key, exactly one succeeds, between processes and machines.
// The fences of package repository stand on that, and Open proves it at start.
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
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
	// ETag is what a listing calls the content, "" where the store does not. In S3 it is the MD5 of what was written in
	// one PUT, in lower-case hexadecimal, but not under SSE-KMS or SSE-C, nor of an object that was written in parts
	// (Amazon S3 API reference, Object): who holds it against a content learns for sure only that they are the same.
	ETag string
}

// Store keeps immutable objects under keys. All methods are safe for concurrent
// use and honour the context's deadline. Errors other than ErrNotFound and
// ErrExists carry a tenantry kind: Invalid for a key that breaks the rules,
// Transient when a retry may help, Corrupt when the bytes do not match the checksum
// that the store keeps of them, Shared when the store cannot be used at all
// (unreachable, access denied, disk full), Canceled when the context was.
type Store interface {
	// Put writes the object, replacing any earlier one, whole or not at all.
	Put(ctx context.Context, key string, body []byte) error
	// PutIfAbsent writes the object only if the key is free, else ErrExists. It is
	// never retried by the store or its SDK: after any other error the outcome is
	// unknown, and the caller reads the key to learn it.
	PutIfAbsent(ctx context.Context, key string, body []byte) error
	// Get opens n bytes from offset; n < 0 means to the end. ErrNotFound if absent.
	// A range that passes the end of the object is cut short, as it is in S3.
	Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error)
	// Stat describes the object. ErrNotFound if absent.
	Stat(ctx context.Context, key string) (Info, error)
	// List yields the objects whose key begins with prefix, in ascending order of
	// keys, streaming. It ends at the first error, which it yields.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Folders yields the names of the folders directly under prefix, which is empty or
	// ends with a slash, in ascending order, without listing what is in them. A folder
	// whose last object was deleted may still be named. It ends at the first error.
	Folders(ctx context.Context, prefix string) iter.Seq2[string, error]
	// Delete removes the object; absent is fine.
	Delete(ctx context.Context, key string) error
}

// ReadAll reads a whole object into memory. An object of more than limit bytes is
// an Invalid error: nothing that we wrote is that large. What does not match its checksum
// is read once more: it may have been damaged on its way.
func ReadAll(ctx context.Context, s Store, key string, limit int64) ([]byte, error) {
	data, err := readAll(ctx, s, key, limit)
	if tenantry.KindOf(err) == tenantry.Corrupt {
		data, err = readAll(ctx, s, key, limit)
	}
	return data, err
}

// ReadInto is ReadAll into a buffer, with the buffer's length as the limit.
func ReadInto(ctx context.Context, s Store, key string, buffer []byte) ([]byte, error) {
	data, err := readInto(ctx, s, key, buffer)
	if tenantry.KindOf(err) == tenantry.Corrupt {
		data, err = readInto(ctx, s, key, buffer)
	}
	return data, err
}

func readInto(ctx context.Context, s Store, key string, buffer []byte) ([]byte, error) {
	body, err := s.Get(ctx, key, 0, int64(len(buffer))+1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var more [1]byte
	for n := 0; ; {
		room := buffer[n:]
		if len(room) == 0 {
			room = more[:]
		}
		m, err := body.Read(room)
		if m > 0 && n == len(buffer) {
			return nil, tenantry.Errorf(tenantry.Invalid, "object %s is larger than %d bytes", key, len(buffer))
		}
		n += m
		if err == io.EOF {
			return buffer[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func readAll(ctx context.Context, s Store, key string, limit int64) ([]byte, error) {
	body, err := s.Get(ctx, key, 0, limit+1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, tenantry.Errorf(tenantry.Invalid, "object %s is larger than %d bytes", key, limit)
	}
	return data, nil
}

// maxKey is S3's limit of 1,024 bytes, less room for a prefix.
const maxKey = 900

// checkKey returns an Invalid error unless key keeps the rules of the package comment.
func checkKey(key string) error {
	if key == "" || len(key) > maxKey {
		return tenantry.Errorf(tenantry.Invalid, "key %q: length %d is not within 1 and %d", key, len(key), maxKey)
	}
	if err := checkPrefix(key); err != nil {
		return err
	}
	if strings.HasSuffix(key, "/") {
		return tenantry.Errorf(tenantry.Invalid, "key %q ends with a slash", key)
	}
	return nil
}

// checkPrefix is checkKey for the beginning of a key, which may end anywhere.
func checkPrefix(prefix string) error {
	for i := range len(prefix) {
		if c := prefix[i]; c < 0x21 || c > 0x7e || c == '\\' {
			return tenantry.Errorf(tenantry.Invalid, "key %q: byte %d is not printable ASCII, or a backslash", prefix, i)
		}
	}
	if strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "//") {
		return tenantry.Errorf(tenantry.Invalid, "key %q has an empty segment", prefix)
	}
	if strings.HasPrefix(prefix, ".") || strings.Contains(prefix, "/.") {
		return tenantry.Errorf(tenantry.Invalid, "key %q has a segment that begins with a dot", prefix)
	}
	return nil
}

// checkFolder is checkPrefix for a whole folder: empty, or ending with a slash.
func checkFolder(prefix string) error {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		return tenantry.Errorf(tenantry.Invalid, "folder %q does not end with a slash", prefix)
	}
	return checkPrefix(prefix)
}

// ended returns an error of the right kind if ctx has ended.
func ended(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return tenantry.E(tenantry.KindOf(err), op, err)
	}
	return nil
}
