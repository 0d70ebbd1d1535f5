package graph

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/tenantry"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func response(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		kind   tenantry.Kind
		code   string
	}{
		{"item not found", 404, `{"error":{"code":"itemNotFound","innerError":{"date":"2026-11-20T10:00:00"}}}`, tenantry.NotFound, "itemNotFound"},
		{"inner code", 410, `{"error":{"code":"resyncRequired","innerError":{"code":"resyncChangesApplyDifferences"}}}`, tenantry.Resync, "resyncChangesApplyDifferences"},
		{"schema's spelling", 403, `{"error":{"code":"notAllowed","innererror":{"code":"resourceLocked"}}}`, tenantry.Denied, "resourceLocked"},
		{"inner code nobody knows", 404, `{"error":{"code":"itemNotFound","innerError":{"code":"whatever"}}}`, tenantry.NotFound, "itemNotFound"},
		{"spelling", 400, `{"error":{"code":"SyncStateNotFound"}}`, tenantry.Resync, "SyncStateNotFound"},
		{"gone without a body", 410, ``, tenantry.Resync, ""},
		{"policy", 403, `{"error":{"code":"ErrorAccessDenied","message":"Access to OData is disabled."}}`, tenantry.Denied, "ErrorAccessDenied"},
		{"numbers as codes", 429, `{"error":{"code":429,"innerError":{"code":"429","status":429}}}`, tenantry.Throttled, "429"},
		{"no mailbox", 404, `{"error":{"code":"MailboxNotEnabledForRESTAPI"}}`, tenantry.Absent, "MailboxNotEnabledForRESTAPI"},
		{"in-place archive", 404, `{"error":{"code":"ErrorItemNotFound","message":"The item doesn't belong to the targeted mailbox; it exists in an archive mailbox."}}`, tenantry.Absent, "ErrorItemNotFound"},
		{"no drive", 404, `{"error":{"code":"ResourceNotFound","message":"User's mysite not found."}}`, tenantry.Absent, "ResourceNotFound"},
		{"no SharePoint", 400, `{"error":{"code":"BadRequest","message":"Tenant does not have a SPO license."}}`, tenantry.Absent, "BadRequest"},
		{"corrupt item", 500, `{"error":{"code":"ErrorCorruptData"}}`, tenantry.Poison, "ErrorCorruptData"},
		{"malware", 403, `{"error":{"code":"accessDenied","innerError":{"code":"malwareDetected"}}}`, tenantry.Poison, "malwareDetected"},
		{"folder exists", 409, `{"error":{"code":"ErrorFolderExists"}}`, tenantry.Conflict, "ErrorFolderExists"},
		{"full", 507, `{"error":{"code":"quotaLimitReached"}}`, tenantry.Capacity, "quotaLimitReached"},
		{"full mailbox", 403, `{"error":{"code":"ErrorQuotaExceeded"}}`, tenantry.Capacity, "ErrorQuotaExceeded"},
		{"bandwidth", 509, ``, tenantry.Throttled, ""},
		{"locked", 423, ``, tenantry.Denied, ""},
		{"unknown 4xx", 418, `{}`, tenantry.Invalid, ""},
		{"unknown 5xx", 599, `[1]`, tenantry.Transient, ""},
		{"a string for an error", 500, `{"error":"str"}`, tenantry.Transient, ""},
		{"lists for strings", 500, `{"error":{"code":["x"],"message":{"lang":"en"}}}`, tenantry.Transient, ""},
		{"html", 502, `<html>`, tenantry.Transient, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := failed("test", readFault(response(test.status, test.body), false, noon), noon)
			if err.Kind != test.kind || err.Code != test.code {
				t.Errorf("%s %q, want %s %q: %v", err.Kind, err.Code, test.kind, test.code, err)
			}
		})
	}
}

func TestInfectedDownload(t *testing.T) {
	f := readFault(response(403, "", "X-Virus-Infected", "true"), true, noon)
	if kindOf(f) != tenantry.Poison || stale(failed("test", f, noon)) {
		t.Errorf("%s: an infected file must not be asked for again", kindOf(f))
	}
}

// TestAnyAnswerIsAnError: whatever comes back, there is an error of a kind, and
// its text is bounded.
func TestAnyAnswerIsAnError(t *testing.T) {
	pieces := rapid.SampledFrom([]string{`{"error":`, `{"code":`, `"x"`, `null`, `[`, `]`, `}`, `,"innerError":`, `,"message":"`, `"`, `1e999`, "\xff", `https://a.b/c?d=e`, "<html>"})
	rapid.Check(t, func(t *rapid.T) {
		body := strings.Join(rapid.SliceOfN(pieces, 0, 40).Draw(t, "body"), "")
		status := rapid.IntRange(400, 599).Draw(t, "status")
		err := failed("test", readFault(response(status, body, "Retry-After", rapid.String().Draw(t, "wait")), false, noon), noon)
		if err.Kind == "" || err.Kind == tenantry.Internal {
			t.Fatalf("kind is %q", err.Kind)
		}
		if text := err.Error(); len(text) > 2*maxFaultText || strings.Contains(text, "a.b/c") {
			t.Fatalf("text is %q", text)
		}
	})
}

func TestWaits(t *testing.T) {
	for _, test := range []struct {
		header []string
		want   time.Duration
	}{
		{nil, 0},
		{[]string{"Retry-After", "27"}, 27 * time.Second},
		{[]string{"Retry-After", "2.128"}, 2128 * time.Millisecond},
		{[]string{"Retry-After", "Fri, 20 Nov 2026 12:01:00 GMT"}, time.Minute},
		{[]string{"Retry-After", "Fri, 20 Nov 2026 11:00:00 GMT"}, 0},
		{[]string{"Retry-After", "-5"}, 0},
		{[]string{"Retry-After", "NaN"}, 0},
		{[]string{"Retry-After", "Inf"}, maxRetryAfter},
		{[]string{"Retry-After", "soon"}, 0},
		{[]string{"Retry-After", "10", "RateLimit-Reset", "30", "RateLimit-Remaining", "0"}, 30 * time.Second},
		{[]string{"Retry-After", "10", "RateLimit-Reset", "30", "RateLimit-Remaining", "5"}, 10 * time.Second},
	} {
		if got := waitOf(response(429, "", test.header...).Header, noon); got != test.want {
			t.Errorf("%v: %v, want %v", test.header, got, test.want)
		}
	}
}
