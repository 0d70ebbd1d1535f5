package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A long content is committed while it is read, so that neither a kill nor the end of a slice costs more of it than
// Limits.ContentBytes:
//
//	read ──ContentBytes──► entry with what is stored, committed ──► ... ──► whole
//	                              │ kill, end of the slice
//	                              ▼
//	            stored bytes from the bucket, the others by range ──► whole
//	                              │ other content, or the bytes are not those
//	                              ▼
//	                          read anew
//
// What is stored stands among the parts of the item's own entry, under a name that says of which content it is.
// So its chunks are referred to as all others are, and nobody collects them; it goes when the item is whole, given up
// or gone. No snapshot has one: before the seal every item was read or given up.

// unfinishedPart begins the name of a part that is not whole: the part's name and what it is of follow.
const unfinishedPart = "unfinished\n"

// beingRead is why an entry is not whole whose content is being read.
const beingRead = "its content is being read"

func unfinishedName(p ItemPart) string { return unfinishedPart + p.Name + "\n" + p.Same }

// resumable reports whether the content can be gone on with where it was interrupted.
func (p *ItemPart) resumable() bool { return p.Resume != nil && p.Same != "" }

// take sets what is stored of the item, apart from what is not whole.
func (c *change) take(stored repository.Entry) {
	c.stored = stored
	c.stored.Parts = nil
	for _, p := range stored.Parts {
		if strings.HasPrefix(p.Name, unfinishedPart) {
			c.unfinished = append(c.unfinished, p)
		} else {
			c.stored.Parts = append(c.stored.Parts, p)
		}
	}
}

// begun returns what is stored of a content; a zero part if nothing is.
func (c *change) begun(p ItemPart) repository.Part {
	name := unfinishedName(p)
	if at := slices.IndexFunc(c.unfinished, func(o repository.Part) bool { return o.Name == name }); at >= 0 {
		return c.unfinished[at]
	}
	return repository.Part{}
}

// begin notes what is stored of a content, in place of what was; a zero part: nothing.
func (c *change) begin(p ItemPart, part repository.Part) {
	part.Name = unfinishedName(p)
	c.unfinished = slices.DeleteFunc(slices.Clone(c.unfinished), func(o repository.Part) bool {
		return strings.HasPrefix(o.Name, unfinishedPart+p.Name+"\n")
	})
	if part.Size > 0 {
		c.unfinished = append(c.unfinished, part)
	}
}

// fetchLong is fetchPart for a content that is committed while it is read. errSliceOver: the rest is for the next slice.
func (b *backup) fetchLong(ctx context.Context, c *change, p ItemPart) (repository.Part, error) {
	part, err := twice(ctx, func(ctx context.Context) (repository.Part, error) {
		from := c.begun(p)
		part, err := b.stream(ctx, c, p, from)
		switch tenantry.KindOf(err) {
		case tenantry.Internal, tenantry.Conflict, tenantry.Corrupt:
			if isOfSeries(err) {
				break
			}
			c.begin(p, repository.Part{}) // what is stored may be of another content
			if from.Size > 0 {            // and it may be that which is wrong
				err = tenantry.Errorf(tenantry.Conflict, "go on behind %d bytes: %w", from.Size, err)
			}
		}
		return part, err
	})
	if err == nil {
		c.begin(p, repository.Part{})
	}
	return part, err
}

// stream stores a content behind what is stored of it, and commits that now and then.
func (b *backup) stream(ctx context.Context, c *change, p ItemPart, from repository.Part) (repository.Part, error) {
	s, err := b.w.Stream(ctx, from)
	if err != nil {
		if from.Size == 0 || tenantry.KindOf(err) != tenantry.Corrupt {
			err = ofSeries(err)
		}
		return repository.Part{}, err
	}
	defer s.Close()
	body, err := p.Resume(ctx, s.Stored(), from.Size)
	if err != nil {
		return repository.Part{}, err
	}
	defer body.Close()
	in := &sourceReader{r: body}
	counted := from.Size
	defer func() { b.took(c.entry.ID, max(0, in.n-counted)) }()
	if err := s.Begin(in); err != nil {
		return repository.Part{}, err
	}
	for committed := from.Size; ; {
		end, err := s.Store(ctx, func(stored int64) bool { return stored-committed >= b.limits.ContentBytes || b.over() })
		if in.err != nil && errors.Is(err, in.err) {
			return repository.Part{}, b.interrupted(ctx, c, p, s, in.err)
		}
		if err != nil {
			return repository.Part{}, ofSeries(err)
		}
		part, err := s.Part(ctx)
		if err != nil {
			return repository.Part{}, ofSeries(err)
		}
		if end {
			part.Name = p.Name
			return part, nil
		}
		b.took(c.entry.ID, max(0, in.n-counted))
		counted, committed = max(counted, in.n), part.Size
		if err := b.keep(ctx, c, p, part); err != nil {
			return repository.Part{}, err
		}
		if b.over() {
			return repository.Part{}, errSliceOver
		}
	}
}

// interrupted keeps what was stored of a content whose source broke, and returns that cause.
func (b *backup) interrupted(ctx context.Context, c *change, p ItemPart, s *repository.Stream, cause error) error {
	switch tenantry.KindOf(cause) {
	case tenantry.Transient, tenantry.Throttled:
	default:
		return cause
	}
	if ctx.Err() != nil {
		return cause
	}
	part, err := s.Part(ctx)
	if err != nil {
		return ofSeries(err)
	}
	if part.Size > c.begun(p).Size {
		if err := b.keep(ctx, c, p, part); err != nil {
			return err
		}
	}
	return cause
}

// keep puts what is stored of a content into the index, beside the item's last good version, and commits it.
func (b *backup) keep(ctx context.Context, c *change, p ItemPart, part repository.Part) error {
	b.batch.Lock()
	defer b.batch.Unlock()
	c.begin(p, part)
	b.bear(*c)
	e := c.entry
	e.ETag, e.Parts = c.stored.ETag, slices.Concat(c.stored.Parts, c.unfinished)
	if c.known {
		e.Payload = c.stored.Payload
	}
	e.Problem, e.ProblemKind, e.ProblemAt, e.Good = beingRead, tenantry.Transient, time.Now(), c.good
	if err := b.w.Put(ctx, e); err != nil {
		return ofSeries(err)
	}
	b.progressed()
	return c.commit()
}
