package catalogtest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testExclusive holds that changes of a tenant's settings follow each other, that other
// tenants do not wait for them, and that many at once do not run out of connections.
func testExclusive(t *testing.T, w *world) {
	mine, other := w.tenant("mine"), w.tenant("other")
	inside, leave := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		err := mine.Exclusive(w.ctx, func(context.Context) error {
			close(inside)
			<-leave
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-inside
	w.ok(other.Exclusive(w.ctx, func(ctx context.Context) error {
		return w.f.ChangeTenant(ctx, "t-other", catalog.TenantChange{Weight: new(30)}, now)
	}))
	w.ok(w.f.Exclusive(w.ctx, func(context.Context) error { return nil }))
	gone, cancel := context.WithCancel(w.ctx)
	cancel()
	w.kind(mine.Exclusive(gone, func(context.Context) error { t.Error("two at once"); return nil }), tenantry.Canceled)
	close(leave)
	first.Wait()
	broken := errors.New("broken")
	if err := mine.Exclusive(w.ctx, func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}

	var many sync.WaitGroup
	for range 30 { // each reads and writes what it read: none is lost
		for _, tenant := range []*catalog.Tenant{mine, other} {
			many.Go(func() {
				err := tenant.Exclusive(w.ctx, func(ctx context.Context) error {
					row, err := tenant.Get(ctx)
					if err != nil {
						return err
					}
					return w.f.ChangeTenant(ctx, row.ID, catalog.TenantChange{Weight: new(row.Weight + 1)}, now)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	many.Wait()
	for tenant, want := range map[*catalog.Tenant]int{mine: 40, other: 60} {
		row, err := tenant.Get(w.ctx)
		w.ok(err)
		if row.Weight != want {
			t.Errorf("weight %d, not %d", row.Weight, want)
		}
	}
}
