package throttle

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// signals is what the headers of one answer teach about limits.
type signals struct {
	retryAfter time.Duration // Retry-After: whole or fractional seconds, or an HTTP date
	hasRetry   bool
	reset      time.Duration // RateLimit-Reset, seconds
	limit      int64         // RateLimit-Limit, 0 if absent
	remaining  int64         // RateLimit-Remaining, -1 if absent
	percentage float64       // x-ms-throttle-limit-percentage: 1 is where throttling starts
	scope      string        // x-ms-throttle-scope
}

// wait is the longer of Retry-After and RateLimit-Reset, as SharePoint's page asks.
func (s signals) wait() time.Duration { return max(s.retryAfter, s.reset) }

// readSignals reads headers whatever their case: those inside a batch come as JSON.
func readSignals(h http.Header, now time.Time) signals {
	s := signals{remaining: -1}
	for name, values := range h {
		if len(values) > 0 {
			s.read(http.CanonicalHeaderKey(name), strings.TrimSpace(values[0]), now)
		}
	}
	return s
}

// read takes what one header says.
func (s *signals) read(name, value string, now time.Time) {
	switch name {
	case "X-Ms-Throttle-Scope":
		s.scope = value
	case "Retry-After":
		s.retryAfter, s.hasRetry = retryAfter(value, now)
	case "Ratelimit-Reset":
		s.reset = seconds(value)
	case "Ratelimit-Limit":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
			s.limit = n
		}
	case "Ratelimit-Remaining":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
			s.remaining = n
		}
	case "X-Ms-Throttle-Limit-Percentage":
		if f, err := strconv.ParseFloat(value, 64); err == nil && f > 0 {
			s.percentage = f
		}
	}
}

func retryAfter(v string, now time.Time) (time.Duration, bool) {
	if v == "" {
		return 0, false
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(0, at.Sub(now)), longestCooldown), true
	}
	_, err := strconv.ParseFloat(v, 64)
	return seconds(v), err == nil
}

// seconds reads whole or fractional seconds, at most longestCooldown; 0 if unreadable.
func seconds(v string) time.Duration {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || f <= 0 {
		return 0
	}
	return time.Duration(min(f, longestCooldown.Seconds()) * float64(time.Second))
}

// isThrottle tells a throttle from a failure. A 503 is one where the service says when
// to come back, and always on SharePoint ("Server Too Busy"); 509 is the drives'
// bandwidth cap.
func isThrottle(status int, service tenantry.Service, s signals) bool {
	switch status {
	case http.StatusTooManyRequests, 509:
		return true
	case http.StatusServiceUnavailable:
		return service == tenantry.SharePoint || s.hasRetry
	}
	return false
}

// verdict tells which scope an answer closes ("" none), and for how long at least. A
// good answer does if it says that the limit is used up.
func verdict(c Call, status int, s signals) (scope string, wait time.Duration) {
	if isThrottle(status, c.Service, s) {
		return throttleScope(c, s), s.wait()
	}
	switch {
	case c.Service == tenantry.SharePoint && s.remaining == 0 && s.reset > 0:
		return tenantScope(c.Tenant, tenantry.SharePoint), s.reset
	case c.Service == tenantry.Identity && s.percentage >= 1:
		return tenantScope(c.Tenant, tenantry.Identity), time.Second
	}
	return "", 0
}

// throttleScope is what a throttled call closes. x-ms-throttle-scope reads
// "<Scope>/<Limit>/<AppId>/<...>", Scope Tenant_Application, Tenant or Application,
// Limit Read, Write or ReadWrite.
func throttleScope(c Call, s signals) string {
	switch {
	case c.Service == tenantry.Outlook && c.Mailbox != "":
		return mailboxScope(c.Tenant, c.Mailbox)
	case c.Service != tenantry.Identity:
		return tenantScope(c.Tenant, c.Service)
	}
	who, rest, _ := strings.Cut(s.scope, "/")
	what, _, _ := strings.Cut(rest, "/")
	scope := tenantScope(c.Tenant, tenantry.Identity)
	if strings.EqualFold(who, "Application") {
		scope = appScope(tenantry.Identity)
	}
	if strings.EqualFold(what, "Write") && c.Write {
		scope += writeSuffix
	}
	return scope
}
