package blob

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Metered returns the store with its calls measured by the meter of their context
// (tenantry.MeterOf), the reading of bodies included. It is a [Retainer] if the store is.
// The other interfaces beside Store are for whoever opened the store itself.
func Metered(s Store) Store {
	m := metered{s}
	if r, ok := s.(Retainer); ok {
		return meteredRetainer{m, r}
	}
	return m
}

type metered struct{ next Store }

func (m metered) Put(ctx context.Context, key string, body []byte) error {
	defer tenantry.MeterOf(ctx).Storage()()
	return m.next.Put(ctx, key, body)
}

func (m metered) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	defer tenantry.MeterOf(ctx).Storage()()
	return m.next.PutIfAbsent(ctx, key, body)
}

func (m metered) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	meter := tenantry.MeterOf(ctx)
	defer meter.Storage()()
	body, err := m.next.Get(ctx, key, offset, n)
	if err != nil || meter == nil {
		return body, err
	}
	return meteredBody{body, meter}, nil
}

// meteredBody measures each read alone: what its reader does in between is no wait.
type meteredBody struct {
	io.ReadCloser
	meter *tenantry.Meter
}

func (b meteredBody) Read(p []byte) (int, error) {
	defer b.meter.Storage()()
	return b.ReadCloser.Read(p)
}

func (m metered) Stat(ctx context.Context, key string) (Info, error) {
	defer tenantry.MeterOf(ctx).Storage()()
	return m.next.Stat(ctx, key)
}

func (m metered) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return measured(tenantry.MeterOf(ctx), m.next.List(ctx, prefix))
}

func (m metered) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return measured(tenantry.MeterOf(ctx), m.next.Folders(ctx, prefix))
}

// measured runs the meter while a listing is fetched, not while its reader works.
func measured[T any](meter *tenantry.Meter, list iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		end := meter.Storage()
		defer func() { end() }()
		for v, err := range list {
			end()
			end = func() {}
			if !yield(v, err) {
				return
			}
			end = meter.Storage()
		}
	}
}

func (m metered) Delete(ctx context.Context, key string) error {
	defer tenantry.MeterOf(ctx).Storage()()
	return m.next.Delete(ctx, key)
}

type meteredRetainer struct {
	metered
	retainer Retainer
}

func (m meteredRetainer) Retain(ctx context.Context, key string) error {
	defer tenantry.MeterOf(ctx).Storage()()
	return m.retainer.Retain(ctx, key)
}

func (m meteredRetainer) RetainUntil(ctx context.Context, key string, until time.Time) (bool, error) {
	defer tenantry.MeterOf(ctx).Storage()()
	return m.retainer.RetainUntil(ctx, key, until)
}

func (m meteredRetainer) Policy() LockPolicy { return m.retainer.Policy() }
