package blob_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// prefixed is a URL of a part of the bucket that only this test uses.
func prefixed(t *testing.T, srv *servertest.S3Server) string {
	return "s3://" + srv.Bucket + "/" + strings.NewReplacer(" ", "-", "/", "-").Replace(t.Name()) + "?endpoint=" + srv.Endpoint
}

func locked(srv *servertest.S3Server, mode blob.LockMode, d time.Duration) blob.S3Options {
	o := credentials(srv)
	o.Lock = blob.LockPolicy{Mode: mode, For: d}
	return o
}

// A bucket with versions and locks is a Store like any other.
func TestS3WithLocks(t *testing.T) {
	srv := servertest.S3Locks(t)
	t.Run("store", func(t *testing.T) {
		blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, prefixed(t, srv), credentials(srv)) })
	})
	t.Run("locks", func(t *testing.T) {
		blobtest.RunLocks(t, func(t *testing.T) blobtest.LockStore {
			return open(t, prefixed(t, srv), credentials(srv)).(blobtest.LockStore)
		})
	})
	t.Run("policy", func(t *testing.T) { testPolicy(t, srv) })
}

func testPolicy(t *testing.T, srv *servertest.S3Server) {
	url := prefixed(t, srv)
	short := open(t, url, locked(srv, blob.Governance, time.Hour))
	if err := short.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := short.PutIfAbsent(t.Context(), "b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if err := short.Delete(t.Context(), key); !errors.Is(err, blob.ErrLocked) {
			t.Errorf("%s is not locked as it is written: %v", key, err)
		}
	}
	before := lockedUntil(t, short, "a")
	if err := blob.Retain(t.Context(), short, "a"); err != nil || !lockedUntil(t, short, "a").Equal(before) {
		t.Errorf("a lock that lasts long enough was moved from %v to %v, %v", before, lockedUntil(t, short, "a"), err)
	}
	long := open(t, url, locked(srv, blob.Governance, 10*time.Hour))
	if err := blob.Retain(t.Context(), long, "a"); err != nil {
		t.Fatal(err)
	}
	if got := time.Until(lockedUntil(t, long, "a")); got < 10*time.Hour {
		t.Errorf("used again, it is locked for %v", got)
	}
	if err := blob.Retain(t.Context(), long, "none"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Retain of an absent object: %v", err)
	}
	if err := blob.Retain(t.Context(), open(t, url, credentials(srv)), "none"); err != nil {
		t.Errorf("Retain where nothing is locked: %v", err)
	}
}

func lockedUntil(t *testing.T, s blob.Store, key string) time.Time {
	t.Helper()
	lock, err := s.(blob.Locker).LockOf(t.Context(), key, "")
	if err != nil {
		t.Fatal(err)
	}
	return lock.Until
}

func TestOpenRefusesWithoutLocks(t *testing.T) {
	plain := servertest.S3(t)
	refused := func(name string, kind tenantry.Kind, word, url string, o blob.S3Options) {
		t.Run(name, func(t *testing.T) {
			_, err := blob.Open(t.Context(), url, o)
			if tenantry.KindOf(err) != kind || !strings.Contains(err.Error(), word) {
				t.Errorf("got %v (%s), expected %s with %q", err, tenantry.KindOf(err), kind, word)
			}
		})
	}
	governed := locked(plain, blob.Governance, time.Hour)
	refused("a bucket without versioning", tenantry.Shared, "store s3://"+plain.Bucket+" has no versioning", "s3://"+plain.Bucket+"?endpoint="+plain.Endpoint, governed)
	refused("a folder", tenantry.Invalid, "folder, which cannot lock", "file://"+t.TempDir(), governed)
	refused("an unknown mode", tenantry.Invalid, "lock mode", "file://"+t.TempDir(), locked(plain, "soft", time.Hour))
	refused("no time", tenantry.Invalid, "locked for 0s", "file://"+t.TempDir(), locked(plain, blob.Compliance, 0))
	refused("tiny parts", tenantry.Invalid, "parts of 5 bytes", "s3://"+plain.Bucket+"?endpoint="+plain.Endpoint, blob.S3Options{PartSize: 5})

	able := servertest.S3Locks(t)
	forgetful := proxy(t, able, func(r *http.Request, next http.Handler, w http.ResponseWriter) {
		r.Header.Del("X-Amz-Bypass-Governance-Retention")
		if r.Method == http.MethodDelete && r.URL.Query().Has("versionId") {
			w.WriteHeader(http.StatusNoContent) // "deleted"
			return
		}
		next.ServeHTTP(w, r)
	})
	refused("locks that do not hold", tenantry.Shared, "object locks that hold", "s3://"+able.Bucket+"?endpoint="+forgetful, locked(able, blob.Governance, time.Hour))
}

// What Open writes to learn what a store can do does not stay.
func TestProbesAreRemoved(t *testing.T) {
	srv := servertest.S3Locks(t)
	for name, url := range map[string]string{"folder": "file://" + t.TempDir(), "bucket": "s3://" + srv.Bucket + "?endpoint=" + srv.Endpoint} {
		o := credentials(srv)
		if name == "bucket" {
			o = locked(srv, blob.Compliance, time.Hour)
		}
		s := open(t, url, o)
		for info, err := range s.List(t.Context(), "") {
			t.Errorf("%s: %s stays, %v", name, info.Key, err)
		}
	}
}

// Large objects go up in parts: whole or not at all, and once if that is the condition.
func TestS3Multipart(t *testing.T) {
	srv := servertest.S3Locks(t)
	var parts atomic.Int32
	var failing atomic.Bool
	through := proxy(t, srv, func(r *http.Request, next http.Handler, w http.ResponseWriter) {
		if r.Method == http.MethodPut && r.URL.Query().Has("partNumber") {
			parts.Add(1)
			if failing.Load() && r.URL.Query().Get("partNumber") == "2" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
	o := locked(srv, blob.Governance, time.Hour)
	o.PartSize = 5 << 20
	s := open(t, "s3://"+srv.Bucket+"?endpoint="+through, o)
	body := make([]byte, 11<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(body)
	if err := s.PutIfAbsent(t.Context(), "large", body); err != nil {
		t.Fatal(err)
	}
	if n := parts.Load(); n != 3 {
		t.Errorf("written in %d parts, expected 3", n)
	}
	if got, err := blob.ReadAll(t.Context(), s, "large", 20<<20); err != nil || !bytes.Equal(got, body) {
		t.Errorf("read back: %d bytes, %v", len(got), err)
	}
	if got := time.Until(lockedUntil(t, s, "large")); got < time.Hour {
		t.Errorf("an object of parts is locked for %v", got)
	}
	if err := s.PutIfAbsent(t.Context(), "large", body); !errors.Is(err, blob.ErrExists) {
		t.Errorf("a second time: %v", err)
	}
	failing.Store(true)
	if err := s.Put(t.Context(), "half", body); err == nil {
		t.Error("a part was refused and nobody said so")
	}
	if _, err := s.Stat(t.Context(), "half"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("an object without one of its parts: %v", err)
	}
}

// A race that one server decides by the last write: every racer is told that it won.
func TestOpenRefusesRacesLost(t *testing.T) {
	srv := servertest.S3(t)
	var n atomic.Int32
	twice := proxy(t, srv, func(r *http.Request, next http.Handler, w http.ResponseWriter) {
		if r.Header.Get("If-None-Match") != "" && n.Add(1) <= 2 {
			next.ServeHTTP(httptest.NewRecorder(), r)
			w.Header().Set("ETag", `"x"`)
			return
		}
		next.ServeHTTP(w, r)
	})
	_, err := blob.Open(t.Context(), "s3://"+srv.Bucket+"?endpoint="+twice, credentials(srv))
	if tenantry.KindOf(err) != tenantry.Shared || !strings.Contains(err.Error(), "If-None-Match") {
		t.Errorf("two winners: %v", err)
	}
}
