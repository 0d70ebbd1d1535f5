package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// ask asks for consent and returns the state that Microsoft would send back.
func (h *house) ask(id tenantry.TenantID) string {
	h.t.Helper()
	r := h.want(http.StatusOK, "POST", "/v1/tenants/"+string(id)+"/consent", nil)
	link, err := url.Parse(r.text("url"))
	must(h.t, err)
	if got := link.Query().Get("redirect_uri"); got != "https://backup.example.com/v1/consent/callback" {
		h.t.Errorf("redirect %q", got)
	}
	expires, err := time.Parse(time.RFC3339, r.text("expires"))
	must(h.t, err)
	if left := expires.Sub(h.clock.Now()); left != time.Hour {
		h.t.Errorf("expires in %v, want 1h", left)
	}
	return link.Query().Get("state")
}

// redirect is an administrator's browser coming back from Microsoft.
func (h *house) redirect(q url.Values) reply {
	h.t.Helper()
	return h.send(h.request("GET", "/v1/consent/callback?"+q.Encode(), nil))
}

func (h *house) tenantRow(id tenantry.TenantID) (state, reason string) {
	h.t.Helper()
	r := h.want(http.StatusOK, "GET", "/v1/tenants/"+string(id), nil)
	return r.text("state"), r.text("reason")
}

func (h *house) runCount(id tenantry.TenantID) int {
	h.t.Helper()
	runs, err := h.catalog.Tenant(id).Runs(h.t.Context(), "", 100)
	must(h.t, err)
	return len(runs)
}

func agreed(state, directory string) url.Values {
	return url.Values{"state": {state}, "tenant": {directory}, "admin_consent": {"True"}}
}

func TestConsentStartsConnect(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	wakes, err := h.catalog.Fleet().Wakes(t.Context())
	must(t, err)
	id := h.addTenant("Contoso", contosoGUID)
	got := h.redirect(agreed(h.ask(id), strings.ToUpper(contosoGUID)))
	page := string(got.body)
	if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %s", got.status, page)
	}
	for _, words := range []string{"Consent received", "Contoso", contosoGUID, "What next"} {
		if !strings.Contains(page, words) {
			t.Errorf("the page does not say %q", words)
		}
	}
	select {
	case <-wakes:
	case <-time.After(time.Minute):
		t.Error("the leader was not woken")
	}
	runs, err := h.catalog.Tenant(id).Runs(t.Context(), "", 10)
	must(t, err)
	if len(runs) != 1 || runs[0].Action != tenantry.Connect {
		t.Fatalf("runs %v, want one connect", runs)
	}
	tasks, err := h.catalog.Tenant(id).Tasks(t.Context(), runs[0].ID, "", 10)
	must(t, err)
	var request tenantry.ConnectRequest
	must(t, json.Unmarshal(tasks[0].Params, &request))
	if request.Directory != contosoGUID {
		t.Errorf("the task connects %q", request.Directory)
	}
	if state, _ := h.tenantRow(id); state != "pending" {
		t.Errorf("state %s before the worker proved anything", state)
	}
}

// A domain cannot be compared with a GUID here: the worker does it.
func TestConsentOfDomainIsLeftToWorker(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addTenant("Contoso", "Contoso.com")
	if got := h.redirect(agreed(h.ask(id), fabrikamGUID)); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if n := h.runCount(id); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
}

func TestConsentIsOneTime(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addTenant("Contoso", contosoGUID)
	state := h.ask(id)
	if got := h.send(h.request("HEAD", "/v1/consent/callback?"+agreed(state, contosoGUID).Encode(), nil)); got.status != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: %d", got.status)
	}
	for i, want := range []int{http.StatusOK, http.StatusGone, http.StatusGone} {
		if got := h.redirect(agreed(state, contosoGUID)); got.status != want {
			t.Errorf("use %d: %d, want %d", i+1, got.status, want)
		}
	}
	if n := h.runCount(id); n != 1 {
		t.Errorf("%d connect runs, want 1", n)
	}
}

// However many browsers come back at once, one of them connects.
func TestConsentRace(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addTenant("Contoso", contosoGUID)
	address := h.server.URL + "/v1/consent/callback?" + agreed(h.ask(id), contosoGUID).Encode()
	statuses := make(chan int)
	for range 8 {
		go func() {
			answer, err := http.Get(address)
			if err != nil {
				statuses <- 0
				return
			}
			_ = answer.Body.Close()
			statuses <- answer.StatusCode
		}()
	}
	got := map[int]int{}
	for range 8 {
		got[<-statuses]++
	}
	if got[http.StatusOK] != 1 || got[http.StatusGone] != 7 || h.runCount(id) != 1 {
		t.Errorf("answers %v, %d runs, want one 200 and one run", got, h.runCount(id))
	}
}

func TestConsentExpires(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addTenant("Contoso", contosoGUID)
	state := h.ask(id)
	h.clock.Add(time.Hour + time.Second)
	got := h.redirect(agreed(state, contosoGUID))
	if got.status != http.StatusGone || !strings.Contains(string(got.body), "expired") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if n := h.runCount(id); n != 0 {
		t.Errorf("%d runs, want none", n)
	}
}

// What the fleet has not signed is not looked up, and burns nothing; what it has signed
// any of its api processes takes.
func TestConsentStateIsSigned(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addTenant("Contoso", contosoGUID)
	state := h.ask(id)
	nonce, signature, _ := strings.Cut(state, ".")
	for _, tampered := range []string{
		nonce, nonce + ".", "." + signature, nonce + "." + nonce, state + "A", "A" + state[1:] + state[:1], strings.ToUpper(state),
	} {
		got := h.redirect(agreed(tampered, contosoGUID))
		if got.status != http.StatusBadRequest || !strings.Contains(string(got.body), "was not made here, or was changed") {
			t.Errorf("%q: %d %s", tampered, got.status, got.body)
		}
	}
	// A state whose hash somebody wrote to SQL, without the fleet's secret.
	forged := "forged." + signature
	must(t, h.catalog.Tenant(id).StartConsent(t.Context(), api.HashToken(forged), h.clock.Now().Add(time.Hour)))
	if got := h.redirect(agreed(forged, contosoGUID)); got.status != http.StatusBadRequest {
		t.Errorf("forged: %d", got.status)
	}
	if n := h.runCount(id); n != 0 {
		t.Fatalf("%d runs, want none", n)
	}
	cat, err := catalog.Open(t.Context(), "sqlite:"+h.file)
	must(t, err)
	defer cat.Close()
	replica, err := api.New(api.Config{Catalog: cat, Consent: h.consent, PublicURL: "https://backup.example.com", Now: h.clock.Now})
	must(t, err)
	got := httptest.NewRecorder()
	replica.ServeHTTP(got, httptest.NewRequest("GET", "/v1/consent/callback?"+agreed(state, contosoGUID).Encode(), nil))
	if got.Code != http.StatusOK || h.runCount(id) != 1 {
		t.Errorf("another api process: %d %s", got.Code, got.Body)
	}
}

func TestConsentOfWrongTenantNamesBoth(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addTenant("Contoso", contosoGUID)
	state := h.ask(id)
	got := h.redirect(agreed(state, fabrikamGUID))
	if got.status != http.StatusConflict {
		t.Errorf("status %d", got.status)
	}
	status, reason := h.tenantRow(id)
	for _, guid := range []string{contosoGUID, fabrikamGUID} {
		if !strings.Contains(string(got.body), guid) || !strings.Contains(reason, guid) {
			t.Errorf("page or reason %q does not name %s", reason, guid)
		}
	}
	if status != "refused" || h.runCount(id) != 0 {
		t.Errorf("state %s with %d runs, want refused with none", status, h.runCount(id))
	}
	if again := h.redirect(agreed(state, contosoGUID)); again.status != http.StatusGone {
		t.Errorf("the state was not burnt: %d", again.status)
	}
}

func TestConsentRefusedOrFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query  url.Values
		status int
		page   string
	}{
		"refused": {url.Values{"error": {"permission_denied"}, "error_description": {"The admin canceled the request"}},
			http.StatusOK, "was declined"},
		// Microsoft says admin_consent=True even then: the error counts.
		"refused although True": {url.Values{"admin_consent": {"True"}, "tenant": {contosoGUID}, "error": {"consent_required"},
			"error_description": {"AADSTS65004: User declined to consent"}}, http.StatusOK, "was declined"},
		"failed": {url.Values{"error": {"invalid_client"}, "error_description": {"AADSTS650051: no such application"}},
			http.StatusConflict, "AADSTS650051"},
		"not granted":    {url.Values{"admin_consent": {"False"}, "tenant": {contosoGUID}}, http.StatusConflict, "does not say that consent was given"},
		"without tenant": {url.Values{"admin_consent": {"True"}}, http.StatusConflict, "does not name the tenant"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			id := h.addTenant("Contoso", contosoGUID)
			c.query.Set("state", h.ask(id))
			got := h.redirect(c.query)
			if got.status != c.status || !strings.Contains(string(got.body), c.page) {
				t.Errorf("%d, want %d with %q: %s", got.status, c.status, c.page, got.body)
			}
			state, reason := h.tenantRow(id)
			if state != "refused" || reason == "" || h.runCount(id) != 0 {
				t.Errorf("state %s (%s) with %d runs", state, reason, h.runCount(id))
			}
		})
	}
}

// A browser's unproved answer does not disconnect a tenant.
func TestRefusalLeavesConnectedTenant(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	h.redirect(url.Values{"state": {h.ask(id)}, "error": {"permission_denied"}})
	if state, _ := h.tenantRow(id); state != "connected" {
		t.Errorf("state %s", state)
	}
}

func TestConsentPageEscapes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const evil = `<script>alert(1)</script>`
	id := h.addTenant("Contoso "+evil, contosoGUID)
	got := h.redirect(url.Values{"state": {h.ask(id)}, "error": {evil}, "error_description": {`"><img src=x onerror=alert(1)>` + "\x00\x1b[31m"}, "tenant": {evil}})
	page := string(got.body)
	for _, raw := range []string{"<script", "<img", "\x00", "\x1b"} {
		if strings.Contains(page, raw) {
			t.Errorf("the page has %q", raw)
		}
	}
	if !strings.Contains(page, "&lt;script&gt;") {
		t.Error("the page does not show what Microsoft said")
	}
	if policy := got.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe-inline") {
		t.Errorf("content security policy %q", policy)
	}
}

// Who has no state gets nothing of the own text shown back.
func TestUnknownStateReflectsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for state, want := range map[string]int{"": http.StatusBadRequest, "made-up": http.StatusBadRequest, "a.b": http.StatusBadRequest, strings.Repeat("x", 5000): http.StatusBadRequest} {
		got := h.redirect(url.Values{"state": {state}, "error": {"phishing"}, "error_description": {"call 555-0100"}})
		if got.status != want || strings.Contains(string(got.body), "555-0100") {
			t.Errorf("state %.10q: %d, want %d: %s", state, got.status, want, got.body)
		}
	}
}
