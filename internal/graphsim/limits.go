package graphsim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Quota is a number of requests, units or bytes in a window.
type Quota struct {
	Max     int64 `json:"max"`
	Seconds int64 `json:"seconds"`
}

func (q Quota) window() time.Duration { return time.Duration(q.Seconds) * time.Second }

// Tier is a quota that depends on the size of a tenant: it holds up to that many
// users (identity) or licences (SharePoint); 0 means no upper bound.
type Tier struct {
	UpTo int64 `json:"upTo"`
	Quota
}

// Limits is what the simulated services allow. A zero field takes its documented
// value ("Microsoft Graph service-specific throttling limits", 2026; "Avoid
// getting throttled in SharePoint Online", 2025). All are per application.
type Limits struct {
	// App bounds all requests of the application over all tenants.
	App Quota `json:"app"`
	// Mailbox bounds requests, MailboxConcurrent those at the same time, and
	// MailboxUpload the bytes written, each per mailbox.
	Mailbox           Quota `json:"mailbox"`
	MailboxConcurrent int   `json:"mailboxConcurrent"`
	MailboxUpload     Quota `json:"mailboxUpload"`
	// Identity bounds resource units per tenant, IdentityApp over all tenants,
	// IdentityWrites the writes per tenant.
	Identity       []Tier `json:"identity"`
	IdentityApp    Quota  `json:"identityApp"`
	IdentityWrites Quota  `json:"identityWrites"`
	// SharePointMinute and SharePointDay bound resource units per tenant.
	SharePointMinute []Tier `json:"sharePointMinute"`
	SharePointDay    []Tier `json:"sharePointDay"`
}

// DocumentedLimits returns the published limits.
func DocumentedLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	setDefault(&l.App, Quota{130_000, 10})
	setDefault(&l.Mailbox, Quota{10_000, 600})
	setDefault(&l.MailboxConcurrent, 4)
	setDefault(&l.MailboxUpload, Quota{150_000_000, 300})
	setDefault(&l.IdentityApp, Quota{150_000, 20})
	setDefault(&l.IdentityWrites, Quota{3_000, 150})
	if l.Identity == nil {
		l.Identity = tiers(10, []int64{49, 500, 0}, []int64{3_500, 5_000, 8_000})
	}
	licences := []int64{1_000, 5_000, 15_000, 50_000, 0}
	if l.SharePointMinute == nil {
		l.SharePointMinute = tiers(60, licences, []int64{1_250, 2_500, 3_750, 5_000, 6_250})
	}
	if l.SharePointDay == nil {
		l.SharePointDay = tiers(86_400, licences, []int64{1_200_000, 2_400_000, 3_600_000, 4_800_000, 6_000_000})
	}
	return l
}

func tiers(seconds int64, upTo, most []int64) []Tier {
	list := make([]Tier, len(upTo))
	for i := range upTo {
		list[i] = Tier{upTo[i], Quota{most[i], seconds}}
	}
	return list
}

func tierFor(list []Tier, size int64) Quota {
	for _, t := range list {
		if t.UpTo == 0 || size <= t.UpTo {
			return t.Quota
		}
	}
	return list[len(list)-1].Quota
}

// limiter counts every account. Safe for concurrent use.
type limiter struct {
	table   Limits
	elapsed func() time.Duration

	mu       sync.Mutex
	meters   map[string]*meter
	inFlight map[string]int
}

func newLimiter(table Limits, elapsed func() time.Duration) *limiter {
	return &limiter{table: table, elapsed: elapsed, meters: map[string]*meter{}, inFlight: map[string]int{}}
}

// charge counts n against an account and reports how much of the quota is now
// used and, if that is too much, after what simulated time a request will pass.
// What is refused counts too.
func (l *limiter) charge(account string, q Quota, n int64) (used int64, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.meters[account]
	if m == nil {
		m = &meter{window: q.window()}
		l.meters[account] = m
	}
	now := l.elapsed()
	m.add(now, n)
	if used = m.used(now); used <= q.Max {
		return used, 0
	}
	return used, m.wait(now, q.Max-n)
}

// admit charges a request to all its accounts. release ends its time in flight.
func (l *limiter) admit(c *call, rt *route) (release func(), err error) {
	if _, wait := l.charge("app", l.table.App, 1); wait > 0 {
		return nil, c.tooMany(wait)
	}
	switch rt.service {
	case outlook:
		return l.admitMailbox(c)
	case sharePoint:
		return func() {}, l.admitSharePoint(c, rt)
	default:
		return func() {}, l.admitIdentity(c, rt)
	}
}

func (l *limiter) admitMailbox(c *call) (func(), error) {
	account := "mailbox/" + c.t.id + "/" + c.param("user")
	quota := l.table.Mailbox
	if c.t.spec.MailLimit > 0 {
		quota.Max = int64(c.t.spec.MailLimit)
	}
	if _, wait := l.charge(account, quota, 1); wait > 0 {
		return nil, c.throttledMailbox("MailboxRequests", wait)
	}
	if c.r.ContentLength > 0 && c.r.Method != http.MethodGet {
		if _, wait := l.charge(account+"/upload", l.table.MailboxUpload, c.r.ContentLength); wait > 0 {
			return nil, c.throttledMailbox("MailboxUpload", wait)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight[account] >= l.table.MailboxConcurrent {
		return nil, c.throttledMailbox("MailboxConcurrency", time.Second)
	}
	l.inFlight[account]++
	return func() { l.leave(account) }, nil
}

func (l *limiter) leave(account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight[account]--; l.inFlight[account] == 0 {
		delete(l.inFlight, account)
	}
}

func (l *limiter) admitSharePoint(c *call, rt *route) error {
	units := int64(rt.units)
	if strings.Contains(c.query.Get("$expand"), "permissions") {
		units = 5
	} else if rt.units == 2 && c.deltaToken() != "" {
		units = 1 // delta with a token
	}
	return l.chargeSharePoint(c, units)
}

func (l *limiter) chargeSharePoint(c *call, units int64) error {
	licences := c.t.licences()
	minute := tierFor(l.table.SharePointMinute, licences)
	if c.t.spec.SharePointPerMinute > 0 {
		minute.Max = int64(c.t.spec.SharePointPerMinute)
	}
	used, wait := l.charge("sharepoint/minute/"+c.t.id, minute, units)
	// The headers come from 80 % of the application's minute on (preview).
	if used*5 >= minute.Max*4 {
		reset := wait
		if reset == 0 {
			reset = l.untilReset("sharepoint/minute/" + c.t.id)
		}
		h := c.w.Header()
		h.Set("RateLimit-Limit", strconv.FormatInt(minute.Max, 10))
		h.Set("RateLimit-Remaining", strconv.FormatInt(max(0, minute.Max-used), 10))
		h.Set("RateLimit-Reset", c.s.seconds(reset))
	}
	if _, dayWait := l.charge("sharepoint/day/"+c.t.id, tierFor(l.table.SharePointDay, licences), units); dayWait > wait {
		wait = dayWait
	}
	if wait > 0 {
		return fail(http.StatusTooManyRequests, "activityLimitReached", "The request has been throttled.").
			withInner("throttledRequest").with("Retry-After", c.s.seconds(wait))
	}
	return nil
}

func (l *limiter) untilReset(account string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.meters[account]
	return m.window - l.elapsed()%m.window
}

func (l *limiter) admitIdentity(c *call, rt *route) error {
	units := int64(rt.units)
	if c.query.Has("$select") {
		units--
	}
	if c.query.Has("$expand") {
		units++
	}
	if top, err := strconv.Atoi(c.query.Get("$top")); err == nil && top < 20 {
		units--
	}
	units = max(1, units)
	c.w.Header().Set("x-ms-resource-unit", strconv.FormatInt(units, 10))
	quota := tierFor(l.table.Identity, c.t.userCount())
	used, wait := l.charge("identity/"+c.t.id, quota, units)
	if ratio := float64(used) / float64(quota.Max); ratio >= 0.8 {
		c.w.Header().Set("x-ms-throttle-limit-percentage", fmt.Sprintf("%.1f", min(ratio, 1.8)))
	}
	scope, kind := "Tenant_Application", "ReadWrite"
	if _, appWait := l.charge("identity/app", l.table.IdentityApp, units); appWait > wait {
		wait, scope = appWait, "Application"
	}
	if c.r.Method != http.MethodGet {
		if _, writeWait := l.charge("identity/writes/"+c.t.id, l.table.IdentityWrites, 1); writeWait > wait {
			wait, kind = writeWait, "Write"
		}
	}
	if wait == 0 {
		return nil
	}
	return c.tooMany(wait).with("x-ms-throttle-scope", scope+"/"+kind+"/"+c.s.o.ClientID+"/"+c.t.id).
		with("x-ms-throttle-information", "ResourceUnitLimitExceeded")
}

func (c *call) tooMany(wait time.Duration) *apiError {
	return fail(http.StatusTooManyRequests, "TooManyRequests", "Please retry again later.").
		withInner("429").with("Retry-After", c.s.seconds(wait))
}

func (c *call) throttledMailbox(limit string, wait time.Duration) *apiError {
	return fail(http.StatusTooManyRequests, "ApplicationThrottled", "Application is over its %s limit.", limit).
		with("Retry-After", c.s.seconds(wait))
}

// seconds writes a simulated wait as Retry-After does: whole seconds, rounded up;
// with a faster clock, real seconds with a fraction.
func (s *Server) seconds(d time.Duration) string {
	if s.o.Clock == 1 {
		return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
	}
	return strconv.FormatFloat(math.Ceil(s.realWait(d).Seconds()*1000)/1000, 'f', 3, 64)
}
