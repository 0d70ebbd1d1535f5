package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// openBook opens an account book for two ends: one that spends, and the API that reads.
func openBook(t *testing.T) *throttle.Book {
	t.Helper()
	addr, stop, err := queue.StartEmbedded(context.Background())
	must(t, err)
	t.Cleanup(stop)
	rdb, err := queue.Options{URL: addr}.RedisClient()
	must(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	book := throttle.New(rdb, "app", throttle.Documented(), func(tenantry.TenantID) throttle.Size {
		return throttle.Size{Users: 10, Licences: 10}
	})
	t.Cleanup(func() { _ = book.Close(context.Background()) })
	must(t, book.Resume(t.Context(), nil))
	return book
}

// Whoever asks why a tenant waits sees which limit it is, until when, and that Microsoft
// allows less than it documents.
func TestBudgetShowsWhatIsLeft(t *testing.T) {
	t.Parallel()
	book := openBook(t)
	h := newHouse(t, func(c *api.Config) { c.Budgets = book })
	id := h.addConnected("Contoso", contosoGUID)
	spend := func(c throttle.Call, status int, header http.Header) {
		t.Helper()
		p, err := book.Acquire(t.Context(), c)
		must(t, err)
		p.Done(status, header)
		p.Release()
	}
	began := time.Now()
	spend(throttle.Call{Tenant: id, Service: tenantry.SharePoint, Units: 7}, 429, http.Header{"Retry-After": {"300"}})
	spend(throttle.Call{Tenant: id, Service: tenantry.Outlook, Mailbox: "box"}, 429, http.Header{"Retry-After": {"60"}})

	var got api.Budget
	must(t, json.Unmarshal(h.want(200, "GET", "/v1/tenants/"+string(id)+"/budget", nil).body, &got))
	accounts := map[string]api.Account{}
	for _, a := range got.Accounts {
		accounts[a.Name] = a
	}
	day, minute := accounts["sharepoint/day"], accounts["sharepoint/minute"]
	if day.Limit != 1_200_000 || day.Left > day.Limit-7 || day.Left < day.Limit-100 || day.Share != 1 || day.SlowedAt != nil {
		t.Errorf("the day: %+v", day)
	}
	if minute.Limit != 1_250 || minute.Share < 0.8 || minute.Share > 0.82 || minute.SlowedAt == nil || minute.SlowedAt.Before(began.Add(-time.Minute)) {
		t.Errorf("the minute: %+v", minute)
	}
	if until := minute.CoolingUntil; until == nil || until.Sub(began) < 290*time.Second {
		t.Errorf("SharePoint cools until %v", until)
	}
	if identity := accounts["identity/10s"]; identity.Limit != 3_500 || identity.Share != 1 || identity.CoolingUntil != nil {
		t.Errorf("identity: %+v", identity)
	}
	if box := accounts["outlook/mailbox/box"]; box.CoolingUntil == nil {
		t.Errorf("the mailbox that cools is not shown: %+v", got)
	}
}

func TestBudgetNeedsATenantAndABook(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	h.problemWith(h.call("GET", "/v1/tenants/t-none/budget", nil), 404, tenantry.NotFound, "t-none")
	h.problemWith(h.call("GET", "/v1/tenants/"+string(id)+"/budget", nil), 503, tenantry.Shared, "account book")
}
