package gateway

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// inSydney joins a pool of the region au, which has the tenant t-au.
func (h *house) inSydney() (*Client, Session) {
	h.t.Helper()
	fleet := h.cat.Fleet()
	h.ok(fleet.AddPool(h.t.Context(), catalog.Pool{Name: "sydney", Region: "au", AddedAt: time.Now()}))
	h.ok(fleet.AddTenant(h.t.Context(), catalog.TenantRow{ID: "t-au", Name: "au", Region: "au", Pool: "sydney", AddedAt: time.Now()}))
	_, c, s := h.enrolledBy(h.tokenOf("sydney"))
	return c, s
}

// testRegions: each pool's workers reach the bucket and the keys of their own region, and no others.
func testRegions(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	home, au := h.all[catalog.DefaultRegion], h.all["au"]
	_, here, session := h.enrolled()
	there, sydney := h.inSydney()
	if session.Region != catalog.DefaultRegion || sydney.Region != "au" || sydney.Pool != "sydney" {
		t.Errorf("the workers are told the regions %q and %q", session.Region, sydney.Region)
	}
	for _, c := range []struct {
		worker     *Client
		session    Session
		own, other *oneRegion
		tenant     tenantry.TenantID
		foreign    tenantry.TenantID
	}{{here, session, home, au, "t-here", "t-au"}, {there, sydney, au, home, "t-au", "t-here"}} {
		ctx, store, key := t.Context(), c.worker.Store(c.session), string(c.tenant)+"/object"
		h.ok(store.PutIfAbsent(ctx, key, []byte(c.tenant)))
		if data, err := blob.ReadAll(ctx, c.own.store, key, 100); err != nil || string(data) != string(c.tenant) {
			t.Errorf("%s: in its own bucket: %q, %v", c.tenant, data, err)
		}
		if _, err := c.other.store.Stat(ctx, key); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: in the other region's bucket: %v", c.tenant, err)
		}
		h.ok(c.other.store.Put(ctx, string(c.tenant)+"/stray", nil))
		if _, err := store.Stat(ctx, string(c.tenant)+"/stray"); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: what the other region's bucket has of it: %v", c.tenant, err)
		}
		if n := listed(ctx, h, store, string(c.tenant)+"/"); n != 1 {
			t.Errorf("%s: %d objects are listed, want its own", c.tenant, n)
		}
		if err := store.Put(ctx, string(c.foreign)+"/object", nil); tenantry.KindOf(err) != tenantry.Forbidden {
			t.Errorf("%s: a put for another region's tenant: %v", c.tenant, err)
		}
		h.holdsKeysOf(c.worker, c.own, c.other, c.tenant, c.foreign)
	}
}

// listed counts the objects under a prefix.
func listed(ctx context.Context, h *house, store blob.Store, prefix string) (n int) {
	h.t.Helper()
	for _, err := range store.List(ctx, prefix) {
		h.ok(err)
		n++
	}
	return n
}

// holdsKeysOf holds that what a worker wraps is wrapped by its own region's keys, and that the door opens it by those alone.
func (h *house) holdsKeysOf(c *Client, own, other *oneRegion, tenant, foreign tenantry.TenantID) {
	h.t.Helper()
	ctx, key := h.t.Context(), bytes.Repeat([]byte{7}, 32)
	wrapped, keyID, err := c.Wrap(ctx, tenant, key)
	h.ok(err)
	if plain, err := own.keys.Unwrap(ctx, tenant, keyID, wrapped); err != nil || !bytes.Equal(plain, key) {
		h.t.Errorf("%s: by its region's keys: %v", tenant, err)
	}
	if _, err := other.keys.Unwrap(ctx, tenant, keyID, wrapped); err == nil {
		h.t.Errorf("%s: the other region's keys open its own", tenant)
	}
	if plain, err := c.Unwrap(ctx, tenant, keyID, wrapped); err != nil || !bytes.Equal(plain, key) {
		h.t.Errorf("%s: by the door: %v", tenant, err)
	}
	if _, err := c.Unwrap(ctx, foreign, keyID, wrapped); tenantry.KindOf(err) != tenantry.Forbidden {
		h.t.Errorf("%s: a key of another region's tenant: %v", tenant, err)
	}
}

// testRegionAway: a region whose bucket is away harms its own workers, who keep their session and their keys.
func testRegionAway(t *testing.T, postgres *servertest.PostgresServer) {
	h := newHouse(t, postgres)
	home, au := h.all[catalog.DefaultRegion], h.all["au"]
	file, here, session := h.enrolled()
	there, sydney := h.inSydney()
	ctx := t.Context()
	h.ok(here.Store(session).Put(ctx, "t-here/object", []byte("here")))
	h.ok(there.Store(sydney).Put(ctx, "t-au/object", []byte("there")))
	stat := func(c *Client, s Session, key string) error {
		_, err := c.Store(s).Stat(ctx, key)
		return err
	}
	away := func(what string, err error) {
		t.Helper()
		if tenantry.KindOf(err) != tenantry.Shared || tenantry.CodeOf(err) != "bucket" {
			t.Errorf("%s: %v, want it to say that the bucket is away", what, err)
		}
	}

	au.away.Store(true)
	away("the region whose bucket is away", stat(there, sydney, "t-au/object"))
	_, err := blob.ReadAll(ctx, there.Store(sydney), "t-au/object", 100)
	away("its objects", err)
	for _, err := range there.Store(sydney).List(ctx, "t-au/") {
		away("its listing", err)
	}
	h.ok(stat(here, session, "t-here/object"))
	if _, _, err := there.Wrap(ctx, "t-au", make([]byte, 32)); err != nil {
		t.Errorf("keys without the bucket: %v", err)
	}
	au.away.Store(false)
	h.ok(stat(there, sydney, "t-au/object"))

	home.away.Store(true)
	h.ok(stat(there, sydney, "t-au/object"))
	_, _, err = Open(ctx, file, "v1")
	away("a session without its bucket", err)
	if err := h.redisOf(here, session).Set(ctx, "asynq:{munich.backup}:x", "1", 0).Err(); err != nil {
		t.Errorf("a session that could not begin took the passwords of the one before: %v", err)
	}
	home.away.Store(false)
	h.open(file)
}
