package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// fetch reads the parts of an item and completes its change. What cannot be read is named in the
// entry's problem; moved tells that something was not found or not as listed, which a further round may
// explain. An error ends the slice.
func (b *backup) fetch(ctx context.Context, c *change) (moved bool, err error) {
	c.dirty = true
	list, err := twice(ctx, c.item.Parts)
	if err != nil {
		if !oneBadItem(err) && !b.putOff(ctx, c, err) {
			return false, err
		}
		c.partly([]string{"its parts cannot be listed: " + err.Error()}, err)
		return changing(err), nil
	}
	if c.item.Content == "" {
		version := partsVersion(list)
		_, stored := splitVersion(c.stored.ETag)
		c.entry.ETag = joinVersion(c.item.ETag, version)
		if c.known && c.stored.Problem == "" && version != "" && version == stored {
			return false, nil
		}
	}
	c.entry.Parts = make([]repository.Part, 0, len(list))
	var reasons []string
	var cause error
	passing := 0 // parts that answered Transient: after a few the rest is not asked for, nor after a throttle
	for _, p := range list {
		part, err := repository.Part{}, c.passing
		if known, ok := c.unchanged(p); ok {
			part, err = known, nil
		} else if passing < maxTroubled {
			part, err = b.fetchPart(ctx, c, p)
		}
		switch {
		case err == nil || oneBadItem(err):
		case b.putOff(ctx, c, err):
			if passing++; throttled(err) {
				passing = maxTroubled
			}
		default:
			return false, err
		}
		if err != nil {
			moved = moved || changing(err)
			reasons = append(reasons, p.Name+": "+err.Error())
			if cause == nil {
				cause = err
			}
			old := slices.IndexFunc(c.stored.Parts, func(o repository.Part) bool { return o.Name == p.Name })
			if old < 0 {
				continue
			}
			part = c.stored.Parts[old]
		}
		c.entry.Parts = append(c.entry.Parts, part)
	}
	if len(reasons) > 0 {
		c.partly(reasons, cause)
	}
	return moved, nil
}

// unchanged returns the part as it is stored, if that is known to be what the source would send.
func (c *change) unchanged(p ItemPart) (repository.Part, bool) {
	at := slices.IndexFunc(c.stored.Parts, func(o repository.Part) bool { return o.Name == p.Name })
	if at < 0 {
		return repository.Part{}, false
	}
	same := p.Fixed
	if !same && p.Version != "" && c.stored.Problem == "" {
		_, content := splitVersion(c.stored.ETag)
		same = slices.Contains(strings.Split(content, "\n"), p.Version)
	}
	return c.stored.Parts[at], same
}

// partly records what is missing of an item whose payload and other parts are saved, and the first cause.
func (c *change) partly(reasons []string, cause error) {
	const shown = 5
	text := strings.Join(reasons[:min(shown, len(reasons))], "; ")
	if more := len(reasons) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	entry := c.entry
	c.failed(text, tenantry.KindOf(cause))
	c.entry.ETag, c.entry.Payload, c.entry.Parts = entry.ETag, entry.Payload, entry.Parts
}

// fetchPart stores one part, trying a second time when the answer was one that nobody expects.
func (b *backup) fetchPart(ctx context.Context, c *change, p ItemPart) (repository.Part, error) {
	if p.resumable() && p.Size > b.limits.ContentBytes {
		return b.fetchLong(ctx, c, p)
	}
	return twice(ctx, func(ctx context.Context) (repository.Part, error) {
		body, err := p.Open(ctx)
		if err != nil {
			return repository.Part{}, err
		}
		defer body.Close()
		in := &sourceReader{r: body}
		part, err := b.w.PutContent(ctx, in)
		b.took(c.entry.ID, in.n)
		switch {
		case in.err != nil:
			return repository.Part{}, in.err
		case err != nil:
			return repository.Part{}, ofSeries(err)
		}
		part.Name = p.Name
		return part, nil
	})
}

// twice calls f, and once more after an answer that nobody expects, a stream that broke, or content that
// changed under way; but not before the time that the answer names.
func twice[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	v, err := f(ctx)
	switch tenantry.KindOf(err) {
	case tenantry.Internal, tenantry.Transient, tenantry.Conflict:
		if ctx.Err() == nil && !isOfSeries(err) && !time.Now().Before(tenantry.UntilOf(err)) {
			return f(ctx)
		}
	}
	return v, err
}

// changing reports whether an error may come of a change since the item was listed.
func changing(err error) bool {
	kind := tenantry.KindOf(err)
	return kind == tenantry.NotFound || kind == tenantry.Conflict
}

// oneBadItem reports whether an error concerns one item or part alone, so that the rest goes on.
func oneBadItem(err error) bool {
	if isOfSeries(err) {
		return false
	}
	switch tenantry.KindOf(err) {
	case tenantry.Poison, tenantry.Denied, tenantry.NotFound, tenantry.Absent, tenantry.Invalid,
		tenantry.Conflict, tenantry.Corrupt, tenantry.Internal:
		return true
	}
	return false
}

// partsVersion identifies the content of all parts together, or is "" if one does not tell.
func partsVersion(list []ItemPart) string {
	h := sha256.New()
	for _, p := range list {
		if p.Version == "" {
			return ""
		}
		fmt.Fprintf(h, "%q %d %q\n", p.Name, p.Size, p.Version)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// sourceReader counts what the source gives and keeps its error apart from the repository's.
type sourceReader struct {
	r   io.Reader
	n   int64
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
