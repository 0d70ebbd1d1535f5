package repository

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// CheckQuick checks the structure of a snapshot: it reads manifest and index whole, and
// asks of every pack and every chunk that they name whether it exists and has a size that
// fits. It reads no content but lists of chunks, so damage within an object is for Check
// to find. Reports and errors are as of Check; Bytes stays 0. One HEAD per object.
func (r *Repository) CheckQuick(ctx context.Context, s tenantry.Series, seq int64, report func(Problem)) (Checked, error) {
	rd, err := r.OpenStored(ctx, s, seq)
	if err != nil {
		return Checked{}, err
	}
	defer rd.Close()
	c := newChecker(rd, report)
	c.wholePacks = true
	err = c.passes(ctx, c.lookAtAll)
	return c.done, err
}

// lookAtAll asks for every object that is used, several at once.
func (c *checker) lookAtAll(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checkers)
	for at := range c.frames {
		group.Go(func() error {
			err := c.lookAtPack(ctx, at.pack)
			if err == nil || abort(ctx, err) {
				return err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.badFrames[at] = fault{err: err}
			return nil
		})
	}
	for part := range c.chunks {
		group.Go(func() error {
			err := c.lookAtChunk(ctx, part)
			if abort(ctx, err) {
				return err
			}
			c.checkedChunk(part, 0, err)
			return nil
		})
	}
	return group.Wait()
}

func (c *checker) lookAtPack(ctx context.Context, id packID) error {
	p, ok := c.rd.inline.pack(id)
	if !ok {
		var err error
		if p, ok, err = c.rd.index.pack(ctx, id); err != nil {
			return err
		}
	}
	if !ok {
		return tenantry.Errorf(tenantry.Corrupt, "its pack %s is not named by snapshot %d", id, c.rd.head.Seq)
	}
	name := c.rd.repo.object(packName(c.rd.series, id))
	info, err := c.stat(ctx, name)
	if err == nil && info.Size != p.Size {
		err = tenantry.Errorf(tenantry.Corrupt, "object %s: it has %d bytes, %d were stored", name, info.Size, p.Size)
	}
	return err
}

// lookAtChunk: how many bytes a chunk compressed to is not kept, but there are bounds.
func (c *checker) lookAtChunk(ctx context.Context, part chunk) error {
	name := c.rd.repo.object(part.name())
	info, err := c.stat(ctx, name)
	if most := int64(part.size) + int64(part.size)/64 + 1024; err == nil && (info.Size <= headerSize+frameOverhead || info.Size > most) {
		err = tenantry.Errorf(tenantry.Corrupt, "object %s: it has %d bytes, which cannot hold %d", name, info.Size, part.size)
	}
	return err
}

func (c *checker) stat(ctx context.Context, name string) (blob.Info, error) {
	info, err := c.rd.repo.store.Stat(ctx, name)
	if err != nil {
		return info, objectError(name, missing(err))
	}
	return info, nil
}
