package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// object is what a request is about: a key of a tenant of the worker's pool, in the bucket of the pool's region.
func (s *Server) object(r *http.Request, a access) (blob.Store, string, error) {
	key := r.URL.Query().Get("key")
	tenant, _, _ := strings.Cut(key, "/")
	if err := a.may(tenantry.TenantID(tenant)); err != nil {
		return nil, "", err
	}
	store, err := s.cfg.Regions.Store(r.Context(), a.region)
	return store, key, err
}

// objectError gives errors of the store the words that the client knows them by.
func objectError(key string, err error) error {
	var e *tenantry.Error
	switch {
	case errors.Is(err, blob.ErrNotFound):
		e = tenantry.Errorf(tenantry.NotFound, "object %s is not there", key)
		e.Code = codeObject
		return e
	case errors.Is(err, blob.ErrExists):
		return errExists
	}
	return err
}

// errExists is told by a status of its own.
var errExists = errors.New("the object exists already")

func (s *Server) putObject(w http.ResponseWriter, r *http.Request, a access) error {
	store, key, err := s.object(r, a)
	if err != nil {
		return err
	}
	if r.ContentLength < 0 || r.ContentLength > objectMax {
		return tenantry.Errorf(tenantry.Invalid, "object %s: its length must be told, and be %d bytes at most", key, int64(objectMax))
	}
	free, err := s.room.take(r.Context(), a.region, r.ContentLength)
	if err != nil {
		return tenantry.E(tenantry.Transient, "wait for memory for an object", err)
	}
	defer free()
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return tenantry.E(tenantry.Transient, "read object "+key, err)
	}
	put := store.Put
	if r.URL.Query().Get("absent") == "true" {
		put = store.PutIfAbsent
	}
	if err := objectError(key, put(r.Context(), key, body)); err != nil {
		if errors.Is(err, errExists) {
			w.WriteHeader(http.StatusPreconditionFailed)
			return nil
		}
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) getObject(w http.ResponseWriter, r *http.Request, a access) error {
	store, key, err := s.object(r, a)
	if err != nil {
		return err
	}
	offset, err := number(r, "offset", 0)
	if err != nil {
		return err
	}
	n, err := number(r, "n", -1)
	if err != nil {
		return err
	}
	body, err := store.Get(r.Context(), key, offset, n)
	if err != nil {
		return objectError(key, err)
	}
	defer body.Close()
	return s.send(w, r, key, body)
}

// send streams an object. Before its first bytes an error is told; after them the connection is cut, and the client
// knows by the missing end of the chunked body.
func (s *Server) send(w http.ResponseWriter, r *http.Request, key string, body io.Reader) error {
	first := make([]byte, 64<<10)
	n, err := io.ReadFull(body, first)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return objectError(key, err)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(http.StatusOK)
	if _, gone := w.Write(first[:n]); gone != nil || err != nil {
		return nil
	}
	if _, err := io.Copy(w, body); err != nil && r.Context().Err() == nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

func number(r *http.Request, name string, without int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return without, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, tenantry.Errorf(tenantry.Invalid, "%s: must be a number", name)
	}
	return n, nil
}

func (s *Server) statObject(w http.ResponseWriter, r *http.Request, a access) error {
	store, key, err := s.object(r, a)
	if err != nil {
		return err
	}
	info, err := store.Stat(r.Context(), key)
	if err != nil {
		return objectError(key, err)
	}
	return answer(w, objectInfo{Key: key, Size: info.Size, Modified: info.Modified.UnixNano()})
}

func (s *Server) deleteObject(w http.ResponseWriter, r *http.Request, a access) error {
	store, key, err := s.object(r, a)
	if err != nil {
		return err
	}
	if err := store.Delete(r.Context(), key); err != nil {
		return objectError(key, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// retainObject extends the lock of an object: to the policy's time, or until a time.
func (s *Server) retainObject(w http.ResponseWriter, r *http.Request, a access) error {
	store, key, err := s.object(r, a)
	if err != nil {
		return err
	}
	locks, ok := store.(blob.Retainer)
	if !ok {
		return tenantry.Errorf(tenantry.Invalid, "the store locks nothing")
	}
	until, err := number(r, "until", 0)
	if err != nil {
		return err
	}
	moved := true
	if until == 0 {
		err = locks.Retain(r.Context(), key)
	} else {
		moved, err = locks.RetainUntil(r.Context(), key, time.Unix(0, until))
	}
	if err != nil {
		return objectError(key, err)
	}
	return answer(w, map[string]bool{"moved": moved})
}

// listObjects streams the objects under a prefix, which begins with a tenant of the pool and a slash.
func (s *Server) listObjects(w http.ResponseWriter, r *http.Request, a access) error {
	prefix := r.URL.Query().Get("prefix")
	tenant, _, found := strings.Cut(prefix, "/")
	if !found {
		return tenantry.Errorf(tenantry.Forbidden, "a listing names a tenant of the pool %s", a.Pool)
	}
	if err := a.may(tenantry.TenantID(tenant)); err != nil {
		return err
	}
	store, err := s.cfg.Regions.Store(r.Context(), a.region)
	if err != nil {
		return err
	}
	lines(w, store.List(r.Context(), prefix), func(i blob.Info) (objectInfo, bool) {
		return objectInfo{Key: i.Key, Size: i.Size, Modified: i.Modified.UnixNano()}, true
	})
	return nil
}

// listFolders streams the folders of a tenant; without a prefix the tenants of the pool that have one.
func (s *Server) listFolders(w http.ResponseWriter, r *http.Request, a access) error {
	prefix := r.URL.Query().Get("prefix")
	if prefix != "" {
		tenant, _, _ := strings.Cut(prefix, "/")
		if err := a.may(tenantry.TenantID(tenant)); err != nil {
			return err
		}
	}
	store, err := s.cfg.Regions.Store(r.Context(), a.region)
	if err != nil {
		return err
	}
	lines(w, store.Folders(r.Context(), prefix), func(name string) (objectInfo, bool) {
		return objectInfo{Key: name}, prefix != "" || a.tenants[tenantry.TenantID(name)]
	})
	return nil
}

// lines writes a listing, one entry a line. Its last line says that it is whole, or why it is not.
func lines[T any](w http.ResponseWriter, list iter.Seq2[T, error], line func(T) (objectInfo, bool)) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	for entry, err := range list {
		if err != nil {
			f := failureOf(err)
			_ = out.Encode(objectInfo{Failure: &f}) // the worker is gone: nobody to tell
			return
		}
		if shown, ok := line(entry); ok && out.Encode(shown) != nil {
			return
		}
	}
	_ = out.Encode(objectInfo{End: true})
}
