package throttle

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// A process that never took anything reads what the others were told.
func TestCooling(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		a, reader := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		if list, err := reader.Cooling(t.Context()); err != nil || len(list) != 0 {
			t.Fatalf("a book without cooldowns lists %v, %v", list, err)
		}
		box := mustTake(t, a, outlook("ada"))
		box.Done(http.StatusTooManyRequests, tooMany("50"))
		box.Release()
		mustTake(t, a, sharePoint(1)).Done(http.StatusTooManyRequests, tooMany("20"))
		write := Call{Tenant: "t1", Service: tenantry.Identity, Write: true}
		mustTake(t, a, write).Done(429, http.Header{"X-Ms-Throttle-Scope": {"Tenant_Application/Write/a/t"}, "Retry-After": {"10"}})
		read := Call{Tenant: "t2", Service: tenantry.Identity}
		mustTake(t, a, read).Done(429, http.Header{"X-Ms-Throttle-Scope": {"Application/Read/a/t"}, "Retry-After": {"5"}})

		list, err := reader.Cooling(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []Cooldown{
			{Tenant: "t1", Service: tenantry.Outlook, Mailbox: "ada"},
			{Tenant: "t1", Service: tenantry.SharePoint},
			{Tenant: "t1", Service: tenantry.Identity, Writes: true},
			{Service: tenantry.Identity},
		}
		if diff := cmp.Diff(want, list, cmpopts.IgnoreFields(Cooldown{}, "Until")); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		for i, least := range []time.Duration{50, 20, 10, 5} {
			if wait := list[i].Until.Sub(c.now()); wait < least*time.Second || wait > least*time.Second*12/10 {
				t.Errorf("%+v ends in %v, want %d s", list[i], wait, least)
			}
		}
		c.pass(30 * time.Second)
		list, err = reader.Cooling(t.Context())
		if err != nil || len(list) != 1 || list[0].Mailbox != "ada" {
			t.Errorf("after 30 s: %+v, %v", list, err)
		}
	})
}

func TestParseScope(t *testing.T) {
	for scope, want := range map[string]Cooldown{
		"app":                     {},
		"app/teams":               {Service: tenantry.Teams},
		"app/identity/write":      {Service: tenantry.Identity, Writes: true},
		"tenant/t1/sharepoint":    {Tenant: "t1", Service: tenantry.SharePoint},
		"mailbox/t1/ada":          {Tenant: "t1", Service: tenantry.Outlook, Mailbox: "ada"},
		appScope(tenantry.Teams):  {Service: tenantry.Teams},
		mailboxScope("t2", "bob"): {Tenant: "t2", Service: tenantry.Outlook, Mailbox: "bob"},
	} {
		if got, ok := parseScope(scope); !ok || got != want {
			t.Errorf("%s: %+v %v, want %+v", scope, got, ok, want)
		}
	}
	for _, scope := range []any{"", "tenant", "tenant/t1", "tenant//x", "something/t1/x", 7} {
		if got, ok := parseScope(scope); ok {
			t.Errorf("%v was read as %+v", scope, got)
		}
	}
}
