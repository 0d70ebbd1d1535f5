package throttle

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Every account that a call can draw on, and every scope that can cool, has its name in the
// set: labels made of it leave nothing out.
func TestAccountNamesAreComplete(t *testing.T) {
	names, l := AccountNames(), Documented()
	calls := []Call{
		{Tenant: "t1", Service: tenantry.Identity, Write: true}, {Tenant: "t1", Service: tenantry.SharePoint, UploadBytes: 1, DownloadBytes: 1},
		{Tenant: "t1", Service: tenantry.Outlook, Mailbox: "m", UploadBytes: 1},
	}
	for kind := range l.Teams.Kinds {
		calls = append(calls, Call{Tenant: "t1", Service: tenantry.Teams, Kind: kind, Resource: "r"})
	}
	for _, c := range calls {
		for _, a := range l.accounts(c, Size{}) {
			if !slices.Contains(names, AccountOf(a.Name)) {
				t.Errorf("%s is missing", a.Name)
			}
		}
		for _, scope := range c.scopes() {
			if !slices.Contains(names, AccountOf("cooldown/"+scope)) {
				t.Errorf("cooldown/%s is missing", scope)
			}
		}
	}
}

// heard keeps what an observer was told.
type heard struct {
	mu        sync.Mutex
	waits     map[string]time.Duration
	throttled []string
}

func (h *heard) Waited(account string, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waits[account] += d
}

func (h *heard) Throttled(s tenantry.Service, status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.throttled = append(h.throttled, string(s)+http.StatusText(status))
}

func TestObserverHearsWaitsAndThrottles(t *testing.T) {
	h := &heard{waits: map[string]time.Duration{}}
	b := New(connect(t, servertest.Redis(t)), "app", Documented(), small)
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	b.Observe(h)
	if err := b.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p, err := b.Acquire(t.Context(), sharePoint(1))
	if err != nil {
		t.Fatal(err)
	}
	wait := p.Done(http.StatusTooManyRequests, tooMany("1"))
	if _, err := b.Acquire(t.Context(), sharePoint(1)); err != nil {
		t.Fatal(err)
	}
	if got := h.waits["cooldown/tenant/sharepoint"]; got < wait/2 || len(h.waits) != 1 {
		t.Errorf("waited %v, the observer heard %v", wait, h.waits)
	}
	if !slices.Equal(h.throttled, []string{"sharepointToo Many Requests"}) {
		t.Errorf("throttled: %v", h.throttled)
	}
}
