package repository

import (
	"context"
	"crypto/md5" //nolint:gosec // it is what a listing tells of an object, and proves nothing against an enemy: the manifest's own tag does
	"encoding/hex"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// What a cache may hold of a repository, and what not:
//
//   - Segments of the index, or parts of them. A segment's name is random, and whoever writes one writes it once: there is
//     never another content under that name, whatever becomes of the bucket, a return to an earlier state included.
//     That a segment is in a cache says nothing of whether it is needed, or still there: the manifest does.
//   - Manifests that a listing has just named with a checksum of what lies there now (see readHead). Manifests are replaced
//     where an index is made again, and their numbers come again where a bucket was set back: so nothing is
//     believed of a cached one that the listing does not say of its content.
//
// Nothing else: packs and chunks are content, which is large and read once; keys, lists of condemned and damaged content,
// markers and patrols are asked for because they may have changed.
//
// Who backs up, browses, searches and restores reads through the cache. Who proves or deletes reads the bucket itself:
// checks, patrols, retention, collection, what a sweep needs, the remaking of indexes, and rescue, which has no cache.

// UseCache has the repository read its indexes through a cache, and write what it commits of them into it. place tells
// the bucket from others whose tenants have the same names. To be called before anything else is.
func (r *Repository) UseCache(c *Cache, place string) { r.cache, r.place = c, place }

// extent is a part of an object of this repository.
func (r *Repository) extent(name string, offset, n, size int64) extent {
	return extent{r.place + "\n" + r.object(name), offset, n, size}
}

// stretch is a part of an index object that is to be read.
type stretch struct {
	name            string // within the tenant
	offset, n, size int64  // size: of the object
	cache           *Cache // nil: from the bucket alone
	once            bool   // not worth keeping
	// prove takes in what was read, or refuses it; it may be called twice.
	prove func(data []byte) error
	// sound reports whether all of what prove has taken in authenticates; nil: prove has found that out.
	sound func() bool
}

// proved reads a stretch: from the cache, if what that has is sound, so that nobody stumbles over it later; else from the
// bucket, and then it is kept. What is kept may be damaged on its way: whoever reads it next finds out.
func (r *Repository) proved(ctx context.Context, s stretch) error {
	e := r.extent(s.name, s.offset, s.n, s.size)
	if s.cache != nil {
		if data, ok := s.cache.get(e); ok {
			if s.prove(data) == nil && (s.sound == nil || s.sound()) {
				s.cache.count(true, e.n)
				return nil
			}
			s.cache.drop(e)
		}
		s.cache.count(false, 0)
	}
	data, err := r.readRange(ctx, s.name, s.offset, s.n)
	if err != nil {
		return err
	}
	if err := s.prove(data); err != nil {
		return err
	}
	if s.cache != nil && !s.once {
		s.cache.put(e, data)
	}
	return nil
}

// keepSegment has the cache keep a segment that was written.
func (r *Repository) keepSegment(name string, object []byte) {
	if r.cache != nil {
		size := int64(len(object))
		r.cache.put(r.extent(name, 0, size, size), object)
	}
}

// forgetSegment has the cache forget a segment that newer manifests do not name.
func (r *Repository) forgetSegment(s tenantry.Series, m *pb.Segment) {
	if r.cache != nil {
		r.cache.drop(r.extent(segmentName(s, packID(m.Id)), 0, m.Size, m.Size))
	}
}

// readListed reads a manifest that a listing has just shown: what the cache has of it counts only if that is what the listing
// says of its content. Where a listing says something else than MD5, that is never so.
func (r *Repository) readListed(ctx context.Context, s tenantry.Series, seq int64, info blob.Info) (manifest, error) {
	if r.cache == nil || info.ETag == "" {
		return r.readManifest(ctx, s, seq)
	}
	if body, ok := r.cache.get(r.extent(manifestName(s, seq), 0, info.Size, info.Size)); ok {
		sum := md5.Sum(body) //nolint:gosec // see the import
		if hex.EncodeToString(sum[:]) == info.ETag {
			if m, err := r.openManifest(s, seq, body); err == nil {
				r.cache.count(true, info.Size)
				return m, nil
			}
		}
	}
	r.cache.count(false, 0)
	body, m, err := r.fetchManifest(ctx, s, seq)
	if err == nil {
		r.keepManifest(s, seq, body)
	}
	return m, err
}

// keepManifest has the cache keep a manifest that may be the newest.
func (r *Repository) keepManifest(s tenantry.Series, seq int64, body []byte) {
	if r.cache != nil {
		size := int64(len(body))
		r.cache.put(r.extent(manifestName(s, seq), 0, size, size), body)
	}
}

// forgetManifest has the cache forget one that is the newest no more.
func (r *Repository) forgetManifest(s tenantry.Series, m manifest) {
	if r.cache != nil && m.Seq > 0 {
		r.cache.drop(r.extent(manifestName(s, m.Seq), 0, m.stored, m.stored))
	}
}
