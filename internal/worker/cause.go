package worker

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The causes of alarms that a worker raises, beside "redis", which the leader resumes by
// asking Redis itself.
const (
	causeBucket     = "bucket"
	causeGraph      = "graph"
	causeCredential = "credential"
	causeRedis      = "redis"
	causeKey        = "key"
	causeCatalog    = "catalog"
)

// caused is an error that knows which of our calls it came from, so that an alarm can name
// its cause where the error itself does not.
type caused struct {
	error
	cause string
}

func (c caused) Unwrap() error { return c.error }

func mark(err error, cause string) error {
	if tenantry.KindOf(err) != tenantry.Shared || errors.As(err, new(caused)) {
		return err
	}
	return caused{err, cause}
}

func fromBucket(err error) error { return mark(err, causeBucket) }

func fromGraph(err error) error { return mark(err, causeGraph) }

// causeOf names the alarm of a Shared error. The error's own code comes first: a call of
// Graph pays in Redis and signs in with our credential, a sync writes to SQL, and opening
// a repository needs the keys.
func causeOf(err error) string {
	switch code := strings.ToLower(tenantry.CodeOf(err)); {
	case code == causeRedis, code == causeCatalog, code == causeKey, code == causeCredential:
		return code
	case strings.HasPrefix(code, "aadsts"): // our credential or registration (auth.md 7)
		return causeCredential
	}
	var c caused
	if errors.As(err, &c) {
		return c.cause
	}
	return causeCatalog // what everything here uses
}

// markedSource marks the errors of a source, which the engine returns beside those of the
// bucket.
type markedSource struct{ engine.Source }

func (s markedSource) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	page, err := s.Source.Page(ctx, collection, link)
	for i, item := range page.Items {
		page.Items[i] = markedItem(item)
	}
	return page, fromGraph(err)
}

func markedItem(item engine.Item) engine.Item {
	if item.Parts != nil {
		item.Parts = markedParts(item.Parts)
	}
	if load := item.Load; load != nil {
		item.Load = func(ctx context.Context) (engine.Item, error) {
			whole, err := load(ctx)
			return markedItem(whole), fromGraph(err)
		}
	}
	return item
}

// Quiet passes on what the source says of its collections, if it says anything.
func (s markedSource) Quiet(collection, link string) bool {
	src, ok := s.Source.(engine.Parallel)
	return ok && src.Quiet(collection, link)
}

// Reread passes on what the source can read again, if it can.
func (s markedSource) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	src, ok := s.Source.(engine.Rereader)
	if !ok {
		return nil
	}
	parts := src.Reread(e)
	if parts == nil {
		return nil
	}
	return markedParts(parts)
}

func markedParts(list func(context.Context) ([]engine.ItemPart, error)) func(context.Context) ([]engine.ItemPart, error) {
	return func(ctx context.Context) ([]engine.ItemPart, error) {
		parts, err := list(ctx)
		for i, p := range parts {
			parts[i].Open = func(ctx context.Context) (io.ReadCloser, error) {
				r, err := p.Open(ctx)
				return r, fromGraph(err)
			}
			if p.Resume != nil {
				parts[i].Resume = func(ctx context.Context, stored io.Reader, size int64) (io.ReadCloser, error) {
					r, err := p.Resume(ctx, stored, size)
					return r, fromGraph(err)
				}
			}
		}
		return parts, fromGraph(err)
	}
}

// markedTarget marks the errors of a target, and those of the bucket that pass through it.
type markedTarget struct{ engine.Target }

func (t markedTarget) Folder(ctx context.Context, parent string, e repository.Entry, raw []byte) (string, error) {
	id, err := t.Target.Folder(ctx, parent, e, raw)
	return id, fromGraph(err)
}

// Begin passes on that a folder is to be filled, if anybody wants to know.
func (t markedTarget) Begin(ctx context.Context, id string, e repository.Entry, open engine.OpenPart) error {
	beginner, ok := t.Target.(engine.Beginner)
	if !ok {
		return nil
	}
	return fromGraph(beginner.Begin(ctx, id, e, markedOpen(open)))
}

// End passes on that all is written, if anybody wants to know.
func (t markedTarget) End(ctx context.Context, lacks engine.Lacks) error {
	ender, ok := t.Target.(engine.Ender)
	if !ok {
		return nil
	}
	return fromGraph(ender.End(ctx, lacks))
}

// Notes passes on what holds for all that was written, if anybody says so.
func (t markedTarget) Notes() string {
	noter, ok := t.Target.(engine.Noter)
	if !ok {
		return ""
	}
	return noter.Notes()
}

// Finish passes on what is to be done with a folder when it is full, if there is anything.
func (t markedTarget) Finish(ctx context.Context, id string, e repository.Entry, raw []byte, open engine.OpenPart) error {
	finisher, ok := t.Target.(engine.Finisher)
	if !ok {
		return nil
	}
	return fromGraph(finisher.Finish(ctx, id, e, raw, markedOpen(open)))
}

func (t markedTarget) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	written, err := t.Target.Item(ctx, folder, e, raw, markedOpen(open))
	return written, fromGraph(err)
}

func markedOpen(open engine.OpenPart) engine.OpenPart {
	return func(ctx context.Context, p repository.Part, from int64) (io.ReadCloser, error) {
		r, err := open(ctx, p, from)
		return r, fromBucket(err)
	}
}
