package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Store is the bucket as the worker may see it: a [blob.Store], and a [blob.Retainer] if the session says that it locks.
func (c *Client) Store(s Session) blob.Store {
	store := remoteStore{c}
	if s.Locks == nil {
		return store
	}
	return remoteLocks{store, blob.LockPolicy{Mode: blob.LockMode(s.Locks.Mode), For: s.Locks.For}}
}

type remoteStore struct{ c *Client }

// stored gives errors of the door the meaning that a Store gives them.
func stored(err error) error {
	switch {
	case errors.Is(err, errExists):
		return blob.ErrExists
	case tenantry.CodeOf(err) == codeObject:
		return blob.ErrNotFound
	}
	return err
}

func (s remoteStore) ask(ctx context.Context, method, name string, query url.Values, body []byte) (*http.Response, error) {
	var reader io.Reader = http.NoBody
	if len(body) > 0 {
		reader = bytes.NewReader(body)
	}
	r, err := s.c.request(ctx, s.c.secret(), method, name, query, reader)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPut || method == http.MethodPost {
		// Sent once: the transport would try a request again whose connection was cut, and take its own object for another's.
		r.GetBody = nil
		r.ContentLength = int64(len(body))
	}
	answer, err := s.c.do(r)
	return answer, stored(err)
}

func (s remoteStore) put(ctx context.Context, query url.Values, body []byte) error {
	answer, err := s.ask(ctx, http.MethodPut, "object", query, body)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// Put implements blob.Store, as do the following.
func (s remoteStore) Put(ctx context.Context, key string, body []byte) error {
	return s.put(ctx, url.Values{"key": {key}}, body)
}

func (s remoteStore) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return s.put(ctx, url.Values{"key": {key}, "absent": {"true"}}, body)
}

func (s remoteStore) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	query := url.Values{"key": {key}, "offset": {strconv.FormatInt(offset, 10)}, "n": {strconv.FormatInt(n, 10)}}
	answer, err := s.ask(ctx, http.MethodGet, "object", query, nil) //nolint:bodyclose // the caller closes what it is given
	if err != nil {
		return nil, err
	}
	return remoteBody{answer.Body, ctx}, nil
}

// remoteBody gives a body that ends too early the kind of what passes.
type remoteBody struct {
	io.ReadCloser
	ctx context.Context
}

func (b remoteBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return n, err
	}
	if cause := b.ctx.Err(); cause != nil {
		return n, tenantry.E(tenantry.KindOf(cause), "read an object", cause)
	}
	return n, tenantry.E(tenantry.Transient, "read an object", err)
}

func (s remoteStore) Stat(ctx context.Context, key string) (blob.Info, error) {
	answer, err := s.ask(ctx, http.MethodGet, "stat", url.Values{"key": {key}}, nil)
	if err != nil {
		return blob.Info{}, err
	}
	defer answer.Body.Close()
	var told objectInfo
	if err := json.NewDecoder(remoteBody{answer.Body, ctx}).Decode(&told); err != nil {
		return blob.Info{}, kinded("read what the API says of an object", err)
	}
	return told.blob(), nil
}

func (i objectInfo) blob() blob.Info {
	return blob.Info{Key: i.Key, Size: i.Size, Modified: time.Unix(0, i.Modified).UTC()}
}

func (s remoteStore) Delete(ctx context.Context, key string) error {
	answer, err := s.ask(ctx, http.MethodDelete, "object", url.Values{"key": {key}}, nil)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func (s remoteStore) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return entries(ctx, s, "list", prefix, objectInfo.blob)
}

func (s remoteStore) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return entries(ctx, s, "folders", prefix, func(i objectInfo) string { return i.Key })
}

// entries streams a listing, which has to say that it is whole.
func entries[T any](ctx context.Context, s remoteStore, name, prefix string, entry func(objectInfo) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		answer, err := s.ask(ctx, http.MethodGet, name, url.Values{"prefix": {prefix}}, nil)
		if err != nil {
			yield(none, err)
			return
		}
		defer answer.Body.Close()
		for in := json.NewDecoder(remoteBody{answer.Body, ctx}); ; {
			var line objectInfo
			switch err := in.Decode(&line); {
			case errors.Is(err, io.EOF):
				err = tenantry.Errorf(tenantry.Transient, "list objects: the answer was cut")
				fallthrough
			case err != nil:
				yield(none, kinded("list objects", err))
				return
			case line.Failure != nil:
				yield(none, line.Failure.err())
				return
			case line.End:
				return
			}
			if !yield(entry(line), nil) {
				return
			}
		}
	}
}

// kinded gives an error without a kind that of what passes.
func kinded(op string, err error) error {
	var ours *tenantry.Error
	if errors.As(err, &ours) {
		return err
	}
	return tenantry.E(tenantry.Transient, op, err)
}

// remoteLocks is a store that locks what it writes.
type remoteLocks struct {
	remoteStore
	policy blob.LockPolicy
}

// Retain implements blob.Retainer, as do the following.
func (s remoteLocks) Retain(ctx context.Context, key string) error {
	_, err := s.retain(ctx, url.Values{"key": {key}})
	return err
}

func (s remoteLocks) RetainUntil(ctx context.Context, key string, until time.Time) (bool, error) {
	return s.retain(ctx, url.Values{"key": {key}, "until": {strconv.FormatInt(until.UnixNano(), 10)}})
}

func (s remoteLocks) retain(ctx context.Context, query url.Values) (bool, error) {
	answer, err := s.ask(ctx, http.MethodPost, "retain", query, nil)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	var told map[string]bool
	if err := json.NewDecoder(answer.Body).Decode(&told); err != nil {
		return false, kinded("extend the lock of an object", err)
	}
	return told["moved"], nil
}

func (s remoteLocks) Policy() blob.LockPolicy { return s.policy }

// Wrap implements repository.Keyring, as does Unwrap: the wrapping keys stay behind the door.
func (c *Client) Wrap(ctx context.Context, tenant tenantry.TenantID, key []byte) (wrapped []byte, keyID string, err error) {
	var out wrapAnswer
	err = c.call(ctx, "wrap", wrapRequest{Tenant: string(tenant), Key: key}, &out)
	return out.Key, out.KeyID, err
}

// Unwrap opens a wrapped key of a tenant of the worker's pool.
func (c *Client) Unwrap(ctx context.Context, tenant tenantry.TenantID, keyID string, wrapped []byte) ([]byte, error) {
	var out wrapAnswer
	err := c.call(ctx, "unwrap", wrapRequest{Tenant: string(tenant), KeyID: keyID, Key: wrapped}, &out)
	return out.Key, err
}
