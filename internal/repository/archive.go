package repository

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// An archive is what an export made for somebody to fetch: one stream of bytes, sealed under the
// tenant's keys like everything else, and deleted after a while. It is no backup, and nothing refers to it.
//
//	x/<id>/<attempt>.<part>   4 MiB each, the last one less; of an attempt that died they are garbage
//	x/<id>/end                what it is; only the first attempt that ends writes it

const (
	archiveFolder = "x/"
	archiveEnd    = "end"
	// archivePart is how many plain bytes a part holds: a place in the stream names its part.
	archivePart = 4 << 20
)

// Archive describes one that is whole.
type Archive struct {
	ID   string    `json:"-"`
	Name string    `json:"name"` // what a person may call the file
	Size int64     `json:"size"` // bytes
	Made time.Time `json:"made"`

	Attempt string `json:"attempt"`
}

// ArchiveWriter writes one archive, with the memory of one part. Not safe for concurrent use.
type ArchiveWriter struct {
	repo    *Repository
	ctx     context.Context
	id      string
	attempt string
	part    []byte
	parts   int
	size    int64
	stored  int64
}

// CreateArchive begins an archive, of which many may begin and one may end: see Finish. ctx bounds all that
// is written.
func (r *Repository) CreateArchive(ctx context.Context, id string) (*ArchiveWriter, error) {
	if err := checkArchiveID(id); err != nil {
		return nil, err
	}
	var attempt [8]byte
	_, _ = rand.Read(attempt[:])
	return &ArchiveWriter{repo: r, ctx: ctx, id: id, attempt: hex.EncodeToString(attempt[:])}, nil
}

// Write implements io.Writer.
func (w *ArchiveWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		m := min(len(p), archivePart-len(w.part))
		w.part, p, n = append(w.part, p[:m]...), p[m:], n+m
		if len(w.part) == archivePart {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (w *ArchiveWriter) flush() error {
	name := partName(w.id, w.attempt, w.parts)
	b, err := w.repo.keys.newBox(name, kindArchive)
	if err != nil {
		return err
	}
	object := b.seal(append([]byte(nil), b.header[:]...), w.part, 0)
	if err := w.repo.store.Put(w.ctx, w.repo.object(name), object); err != nil {
		return tenantry.E(tenantry.KindOf(err), "write an archive", err)
	}
	w.size, w.stored = w.size+int64(len(w.part)), w.stored+int64(len(object))
	w.parts, w.part = w.parts+1, w.part[:0]
	return nil
}

// Stored is how many bytes were added to the bucket.
func (w *ArchiveWriter) Stored() int64 { return w.stored }

// Finish makes the archive whole under a name. If another attempt has done so meanwhile, that one is the
// archive, and what this one wrote is removed.
func (w *ArchiveWriter) Finish(name string, now time.Time) (Archive, error) {
	if len(w.part) > 0 || w.parts == 0 {
		if err := w.flush(); err != nil {
			return Archive{}, err
		}
	}
	a := Archive{ID: w.id, Name: name, Size: w.size, Made: now.UTC(), Attempt: w.attempt}
	text, err := json.Marshal(a)
	if err != nil {
		return Archive{}, tenantry.E(tenantry.Internal, "describe an archive", err)
	}
	end := endName(w.id)
	b, err := w.repo.keys.newBox(end, kindArchive)
	if err != nil {
		return Archive{}, err
	}
	object := b.seal(append([]byte(nil), b.header[:]...), text, 0)
	putErr := w.repo.store.PutIfAbsent(w.ctx, w.repo.object(end), object)
	stands, err := w.repo.Archive(w.ctx, w.id) // whatever the answer was: this is what everybody will see
	switch {
	case err != nil && putErr != nil && !errors.Is(putErr, blob.ErrExists):
		return Archive{}, tenantry.E(tenantry.KindOf(putErr), "end an archive", putErr)
	case err != nil:
		return Archive{}, err
	case stands.Attempt != w.attempt:
		w.Abort()
	}
	return stands, nil
}

// Abort removes what was written, as far as that can be done now: the rest is removed with what is old.
func (w *ArchiveWriter) Abort() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), time.Minute)
	defer cancel()
	for part := range w.parts {
		if err := w.repo.store.Delete(ctx, w.repo.object(partName(w.id, w.attempt, part))); err != nil {
			return
		}
	}
}

// Archive describes an archive. NotFound if there is none that is whole.
func (r *Repository) Archive(ctx context.Context, id string) (Archive, error) {
	if err := checkArchiveID(id); err != nil {
		return Archive{}, err
	}
	const limit = 64 << 10
	text, err := r.openArchived(ctx, endName(id), limit)
	if errors.Is(err, blob.ErrNotFound) {
		return Archive{}, tenantry.Errorf(tenantry.NotFound, "there is no archive %s: it is not made yet, or was removed since", id)
	}
	if err != nil {
		return Archive{}, err
	}
	a := Archive{ID: id}
	if err := json.Unmarshal(text, &a); err != nil || a.Size < 0 {
		return Archive{}, tenantry.Errorf(tenantry.Corrupt, "object %s does not describe an archive", r.object(endName(id)))
	}
	return a, nil
}

// openArchived reads a part or the end of an archive.
func (r *Repository) openArchived(ctx context.Context, name string, limit int) ([]byte, error) {
	body, err := blob.ReadAll(ctx, r.store, r.object(name), int64(limit)+int64(limit)/64+1024)
	if err != nil {
		return nil, err
	}
	if len(body) < headerSize {
		return nil, objectError(r.object(name), tenantry.Errorf(tenantry.Corrupt, "it is cut short at %d bytes", len(body)))
	}
	b, err := r.keys.openBox(name, kindArchive, body[:headerSize])
	if err != nil {
		return nil, objectError(r.object(name), err)
	}
	plain, err := b.open(body[headerSize:], 0, limit)
	if err != nil {
		return nil, objectError(r.object(name), err)
	}
	return plain, nil
}

// ArchiveReader reads an archive from any place on, with the memory of one part. Not safe for concurrent use.
type ArchiveReader struct {
	repo *Repository
	ctx  context.Context
	of   Archive
	at   int64
	part int // the one in plain
	data []byte
}

// OpenArchive opens an archive that is whole. ctx bounds what is read. NotFound.
func (r *Repository) OpenArchive(ctx context.Context, id string) (*ArchiveReader, Archive, error) {
	a, err := r.Archive(ctx, id)
	if err != nil {
		return nil, Archive{}, err
	}
	return &ArchiveReader{repo: r, ctx: ctx, of: a, part: -1}, a, nil
}

// Read implements io.Reader. Corrupt: a part is missing or damaged.
func (a *ArchiveReader) Read(p []byte) (int, error) {
	if a.at >= a.of.Size {
		return 0, io.EOF
	}
	part := int(a.at / archivePart)
	if part != a.part {
		name := partName(a.of.ID, a.of.Attempt, part)
		data, err := a.repo.openArchived(a.ctx, name, archivePart)
		if err != nil {
			return 0, missing(err)
		}
		if want := min(archivePart, a.of.Size-int64(part)*archivePart); int64(len(data)) != want {
			return 0, objectError(a.repo.object(name), tenantry.Errorf(tenantry.Corrupt, "it holds %d bytes, expected %d", len(data), want))
		}
		a.part, a.data = part, data
	}
	n := copy(p, a.data[a.at-int64(part)*archivePart:])
	a.at += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (a *ArchiveReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += a.at
	case io.SeekEnd:
		offset += a.of.Size
	}
	if offset < 0 {
		return 0, tenantry.Errorf(tenantry.Invalid, "seek before the beginning of an archive")
	}
	a.at = offset
	return offset, nil
}

// RemoveArchives deletes what was written of archives, whole or not, before a time, and returns how many
// objects and bytes that were. Locked ones stay until their lock ends.
func (r *Repository) RemoveArchives(ctx context.Context, before time.Time) (freed Freed, err error) {
	for info, err := range r.store.List(ctx, r.object(archiveFolder)) {
		if err != nil {
			return freed, tenantry.E(tenantry.KindOf(err), "list archives", err)
		}
		if !info.Modified.Before(before) {
			continue
		}
		err = r.store.Delete(ctx, info.Key)
		if errors.Is(err, blob.ErrLocked) {
			freed.Locked++
			continue
		}
		if err != nil {
			return freed, tenantry.E(tenantry.KindOf(err), "remove an archive", err)
		}
		freed.Objects, freed.Bytes = freed.Objects+1, freed.Bytes+info.Size
	}
	return freed, nil
}

func partName(id, attempt string, part int) string {
	return fmt.Sprintf("%s%s/%s.%09d", archiveFolder, id, attempt, part)
}

func endName(id string) string { return archiveFolder + id + "/" + archiveEnd }

// checkArchiveID returns Invalid for what cannot be a folder: IDs come from outside, too.
func checkArchiveID(id string) error {
	if id == "" || len(id) > 100 || strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz-") != "" {
		return tenantry.Errorf(tenantry.Invalid, "%q is not the ID of an archive", id)
	}
	return nil
}
