package graph

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// endless streams until its client hangs up, which it tells.
func endless(left chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			_, err := w.Write(make([]byte, 100))
			if err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
		}
	}
}

// TestStreamAndItsPermit: a stream goes on beyond its permit's life, because that is
// renewed, and is cut when it cannot be renewed any more: Redis is gone.
func TestStreamAndItsPermit(t *testing.T) {
	t.Parallel() // it waits, most of the time
	server := servertest.StartRedis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true})
	limits := throttle.Documented()
	limits.Outlook.PermitLife = throttle.Duration(5 * time.Second) // a process that stands still for a moment does not lose it
	book := throttle.New(rdb, "app", limits, func(tenantry.TenantID) throttle.Size { return throttle.Size{} })
	defer func() {
		_ = book.Close(context.Background()) // there is nobody to give anything back to
		_ = rdb.Close()
	}()
	if err := book.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	left := make(chan struct{})
	m, tenant := newMicrosoft(t, endless(left), nil)
	m.client.limiter = book
	body, err := tenant.AttachmentContent(t.Context(), "u1", OfMessage, "m1", "a1")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()

	first := permitEnd(t, rdb)
	for permitEnd(t, rdb) <= first+time.Duration(limits.Outlook.PermitLife).Milliseconds() {
		if _, err := body.Read(make([]byte, 100)); err != nil {
			t.Fatalf("cut while its permit could be renewed: %v", err)
		}
	}
	server.Kill()
	_, err = io.Copy(io.Discard, body)
	wantKind(t, err, tenantry.Transient)
	if !errors.Is(err, errPermit) {
		t.Errorf("the reason is missing: %v", err)
	}
	<-left // Microsoft knows, too, before the body is closed
}

// permitEnd returns when the one permit of u1's mailbox expires in Redis, in ms.
func permitEnd(t *testing.T, rdb *redis.Client) int64 {
	t.Helper()
	all, err := rdb.ZRangeWithScores(t.Context(), "tenantry:{app}:permits/t-test/u1", 0, -1).Result()
	if err != nil || len(all) != 1 {
		t.Fatalf("%d permits in Redis, %v", len(all), err)
	}
	return int64(all[0].Score)
}
