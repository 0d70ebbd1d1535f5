package graphsim

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// admit charges a request to all its accounts. release ends its time in flight.
func (l *limiter) admit(c *call, rt *route) (release func(), err error) {
	app := c.app
	draws := []draw{{account: account{kind: "app", app: app}, Quota: l.table.App, units: 1, refuse: c.tooMany}}
	matches := l.rules.find(c.r.Method, strings.Split(c.canonical, "/"), c.query.Get)
	draws, teams := l.ruleDraws(draws, c, matches)
	box := account{kind: "outlook.concurrent", app: app, tenant: c.t.id, resource: c.t.mailboxKey(c.param("user"), c.param("group"))}
	switch {
	case teams: // has limits of its own
	case rt.service == outlook:
		draws = l.outlookDraws(draws, c, box)
	case rt.service == sharePoint:
		if blocked := l.blocked(c); blocked != nil {
			return nil, blocked
		}
		if c.aboutOneDrive() {
			if refused := l.probed(c.s, c.r, 0); refused != nil {
				return nil, refused
			}
		}
		draws = l.sharePointDraws(draws, c, l.sharePointUnits(c, rt), c.w.Header())
	default:
		draws = l.identityDraws(draws, c, rt)
	}
	entered, busy := l.enterAll(l.concurrencies(c, matches, rt.service == outlook && !teams, box))
	if busy != nil {
		l.count(draws, false)
		return nil, busy
	}
	if refused := l.take(draws, true); refused != nil {
		l.leaveAll(entered)
		if rt.service == sharePoint {
			l.strike(c.t.id, app)
		}
		return nil, refused
	}
	if rt.service == outlook && c.r.ContentLength < 0 && c.r.Body != nil {
		c.r.Body = &countedBody{ReadCloser: c.r.Body}
	}
	return func() {
		l.leaveAll(entered)
		l.chargeUnannounced(c, box)
	}, nil
}

// concurrency is how many requests of an account may be in flight.
type concurrency struct {
	account
	most   int
	refuse *apiError
}

func (l *limiter) concurrencies(c *call, matches []match, mailbox bool, box account) (list []concurrency) {
	if mailbox {
		list = append(list, concurrency{box, l.table.MailboxConcurrent, c.throttledMailbox("MailboxConcurrency", time.Second)})
	}
	for _, m := range matches {
		if m.EachConcurrent > 0 && m.resource != "" {
			list = append(list, concurrency{account{kind: m.Name + ".concurrent", app: c.app, tenant: c.t.id, resource: m.resource}, m.EachConcurrent,
				c.throttledMailbox("MailboxConcurrency", time.Second)})
		}
		if m.Concurrent > 0 {
			most := m.Concurrent
			if c.user != "" && m.UserConcurrent > 0 {
				most = m.UserConcurrent
			}
			list = append(list, concurrency{account{kind: m.Name + ".concurrent", app: c.app, resource: c.user}, most,
				fail(http.StatusTooManyRequests, "TooManyRequests", "Too many requests at the same time.").withInner("429")})
		}
	}
	return list
}

func (l *limiter) enterAll(list []concurrency) (entered []account, busy *apiError) {
	for _, a := range list {
		if !l.enter(a.account, a.most) {
			l.leaveAll(entered)
			return nil, a.refuse
		}
		entered = append(entered, a.account)
	}
	return entered, nil
}

func (l *limiter) leaveAll(entered []account) {
	for _, a := range entered {
		l.leave(a)
	}
}

// mailboxKey names a mailbox the same way, however the request names its owner.
func (t *Tenant) mailboxKey(user, group string) string {
	if user == "" {
		return strings.ToLower(group)
	}
	if !strings.Contains(user, "@") {
		return strings.ToLower(user)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e := t.userByKey(user); e != nil {
		return e.id
	}
	return strings.ToLower(user)
}

func (l *limiter) outlookDraws(draws []draw, c *call, box account) []draw {
	requests := l.table.Mailbox
	if c.t.spec.MailLimit > 0 {
		requests.Max = int64(c.t.spec.MailLimit)
	}
	throttled := func(limit string) func(time.Duration) *apiError {
		return func(wait time.Duration) *apiError { return c.throttledMailbox(limit, wait) }
	}
	box.kind = "outlook.requests"
	draws = append(draws, draw{account: box, Quota: requests, units: 1, refuse: throttled("MailboxRequests")})
	if c.r.ContentLength > 0 && c.r.Method != http.MethodGet {
		box.kind = "outlook.upload"
		draws = append(draws, draw{account: box, Quota: l.table.MailboxUpload, units: c.r.ContentLength, refuse: throttled("MailboxUpload")})
	}
	return draws
}

// chargeUnannounced charges a body whose length was not announced by what was read
// of it: too much is held against the next request.
func (l *limiter) chargeUnannounced(c *call, box account) {
	if body, ok := c.r.Body.(*countedBody); ok {
		box.kind = "outlook.upload"
		l.count([]draw{{account: box, Quota: l.table.MailboxUpload, units: body.n, refuse: c.tooMany}}, true)
	}
}

type countedBody struct {
	io.ReadCloser
	n int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	return n, err
}

// sharePointUnits is the price of a request ("Avoid getting throttled or blocked in
// SharePoint Online", resource units).
func (l *limiter) sharePointUnits(c *call, rt *route) int64 {
	switch {
	case strings.Contains(c.query.Get("$expand"), "permissions"):
		return 5
	case strings.HasSuffix(rt.pattern, "/delta") && c.knowsToken():
		return 1
	}
	return int64(rt.units)
}

// knowsToken reports whether the request has a token that was given out: "latest" and a
// point in time are none, which is the harsher reading of "delta with a token".
func (c *call) knowsToken() bool {
	_, known := c.s.unseal(c.deltaToken())
	return known
}

// sharePointDraws is what units of SharePoint are charged to. Above 80 % of the
// application's minute the headers say so (preview; only this limit has them).
func (l *limiter) sharePointDraws(draws []draw, c *call, units int64, header http.Header) []draw {
	licences := c.t.licences()
	minute := tierFor(l.table.SharePointMinute, licences)
	if c.t.spec.SharePointPerMinute > 0 {
		minute.Max = int64(c.t.spec.SharePointPerMinute)
	}
	refuse := func(wait time.Duration) *apiError { return c.s.throttledSharePoint(wait) }
	tell := func(t told) {
		if t.used*5 < minute.Max*4 {
			return
		}
		header.Set("RateLimit-Limit", strconv.FormatInt(minute.Max, 10))
		header.Set("RateLimit-Remaining", strconv.FormatInt(t.left, 10))
		header.Set("RateLimit-Reset", c.s.seconds(t.reset))
	}
	app := c.app
	if c.user != "" {
		draws = append(draws, draw{account: account{"sharepoint.user", app, c.t.id, c.user}, Quota: l.table.SharePointUser, units: 1, refuse: refuse})
	}
	return append(draws,
		draw{account: account{"sharepoint.minute", app, c.t.id, ""}, Quota: minute, units: units, refuse: refuse, tell: tell},
		draw{account: account{"sharepoint.day", app, c.t.id, ""}, Quota: tierFor(l.table.SharePointDay, licences), units: units, refuse: refuse},
		draw{account: account{"sharepoint.tenant", "", c.t.id, ""}, Quota: tierFor(l.table.SharePointTenant, licences), units: units, refuse: refuse})
}

func (s *Server) throttledSharePoint(wait time.Duration) *apiError {
	return fail(http.StatusTooManyRequests, "activityLimitReached", "The request has been throttled.").
		withInner("throttledRequest").with("Retry-After", s.seconds(wait))
}

// strike notes a throttled request of SharePoint, blocked refuses an application
// with too many of them.
func (l *limiter) strike(tenant, app string) {
	if l.table.SharePointBlock.Max >= 0 {
		l.count([]draw{{account: account{"sharepoint.block", app, tenant, ""}, Quota: l.table.SharePointBlock, units: 1,
			refuse: func(time.Duration) *apiError { return nil }}}, true)
	}
}

func (l *limiter) blocked(c *call) *apiError {
	if l.table.SharePointBlock.Max < 0 {
		return nil
	}
	_, wait := l.usedNow(account{"sharepoint.block", c.app, c.t.id, ""}, l.table.SharePointBlock)
	if wait == 0 {
		return nil
	}
	return fail(http.StatusServiceUnavailable, "serviceNotAvailable", "The application has been blocked. See the Message Center.").
		with("Retry-After", c.s.seconds(wait))
}

// identityDraws charges resource units and writes ("Identity and access service limits").
// Whoever asks for a low priority is refused while others still pass.
func (l *limiter) identityDraws(draws []draw, c *call, rt *route) []draw {
	units := c.identityUnits(rt)
	header, app, write := c.w.Header(), c.app, c.r.Method != http.MethodGet && !isQuery(rt.pattern)
	header.Set("x-ms-resource-unit", strconv.FormatInt(units, 10))
	refuse := func(scope, kind, information string) func(time.Duration) *apiError {
		return func(wait time.Duration) *apiError {
			return c.tooMany(wait).with("x-ms-throttle-scope", scope+"/"+kind+"/"+app+"/"+c.t.id).
				with("x-ms-throttle-information", information)
		}
	}
	quota := tierFor(l.table.Identity, c.t.userCount())
	tell := func(t told) {
		if ratio := float64(t.used) / float64(quota.Max); ratio >= 0.8 {
			header.Set("x-ms-throttle-limit-percentage", fmt.Sprintf("%.1f", min(ratio, 1.8)))
		}
	}
	const ownScope, allUnits = "Tenant_Application", "ResourceUnitLimitExceeded"
	own := []draw{
		{account: account{"identity.units", app, c.t.id, ""}, Quota: quota, units: units, refuse: refuse(ownScope, "ReadWrite", allUnits), tell: tell},
		{account: account{"identity.app", app, "", ""}, Quota: l.table.IdentityApp, units: units, refuse: refuse("Application", "ReadWrite", allUnits)},
	}
	if write {
		own = append(own, l.identityWrites(c, refuse)...)
	}
	for i := range own {
		own[i].most = l.table.IdentityPriority.of(c.r.Header.Get("x-ms-throttle-priority"), own[i].Quota)
	}
	return append(draws, own...)
}

func (l *limiter) identityWrites(c *call, refuse func(scope, kind, information string) func(time.Duration) *apiError) []draw {
	const ownScope, tooManyWrites = "Tenant_Application", "WriteLimitExceeded"
	app := c.app
	return []draw{
		{account: account{"identity.writes", app, c.t.id, ""}, Quota: l.table.IdentityWrites, units: 1, refuse: refuse(ownScope, "Write", tooManyWrites)},
		{account: account{"identity.appWrites", app, "", ""}, Quota: l.table.IdentityAppWrites, units: 1, refuse: refuse("Application", "Write", tooManyWrites)},
		{account: account{"identity.tenantWrites", "", c.t.id, ""}, Quota: l.table.IdentityTenantWrites, units: 1, refuse: refuse("Tenant", "Write", tooManyWrites)},
	}
}

// identityUnits is a route's base price with the modifiers: $select -1, $expand +1,
// $top below 20 -1, never under 1.
func (c *call) identityUnits(rt *route) int64 {
	units := int64(rt.units)
	if strings.HasSuffix(rt.pattern, "getByIds") {
		units = 5
		if c.query.Has("$select") {
			return 2
		}
	}
	if c.query.Has("$select") {
		units--
	}
	if c.query.Has("$expand") {
		units++
	}
	if top, err := strconv.Atoi(c.query.Get("$top")); err == nil && top < 20 {
		units--
	}
	return max(1, units)
}

// isQuery reports whether a POST only asks: those are priced as reads.
func isQuery(pattern string) bool {
	for _, action := range []string{"getByIds", "checkMemberGroups", "checkMemberObjects", "isMemberOf", "getMemberGroups", "getMemberObjects"} {
		if strings.HasSuffix(pattern, action) {
			return true
		}
	}
	return false
}

// ruleDraws charges a request to the rules it matches. teams means that it belongs
// to the Teams service, which has no limits but those.
func (l *limiter) ruleDraws(draws []draw, c *call, matches []match) (_ []draw, teams bool) {
	app := c.app
	for _, m := range matches {
		teams = teams || m.Family == "teams"
		refuse := c.tooMany
		if m.NoRetryAfter {
			refuse = func(wait time.Duration) *apiError {
				e := c.tooMany(wait)
				e.header.Del("Retry-After")
				return e
			}
		}
		units := m.units(c.r.Method, strings.Split(c.canonical, "/"), c.query.Get("$expand"))
		add := func(scope string, a account, quotas []Quota) {
			for _, q := range quotas {
				a.kind = fmt.Sprintf("%s.%s/%ds", m.Name, scope, q.Seconds)
				draws = append(draws, draw{account: a, Quota: q, units: units, refuse: refuse})
				if m.Sustained {
					long := l.sustained(q)
					a.kind = fmt.Sprintf("%s.%s/%ds", m.Name, scope, long.Seconds)
					draws = append(draws, draw{account: a, Quota: long, units: units, refuse: refuse})
				}
			}
		}
		each := ""
		if m.EachPath {
			each = c.canonical[strings.LastIndexByte(c.canonical, '/')+1:]
		}
		if c.user != "" && m.User != nil {
			of := account{app: app, tenant: c.t.id, resource: c.user}
			if m.UserAllApps {
				of.app = ""
			}
			add("user", of, m.User)
		} else {
			add("app", account{app: app}, m.App)
		}
		add("appTenant", account{app: app, tenant: c.t.id, resource: each}, m.AppTenant)
		add("tenant", account{tenant: c.t.id, resource: each}, m.Tenant)
		if m.resource != "" {
			add("resource", account{app: app, tenant: c.t.id, resource: m.resource}, m.Resource)
		}
	}
	return draws, teams
}

// sustained is what a burst quota allows over a longer time.
func (l *limiter) sustained(q Quota) Quota {
	b := l.table.Burst
	return Quota{Max: max(1, q.Max*b.Seconds/q.Seconds*b.Max/100), Seconds: b.Seconds}
}

// admitUnserved charges a request to a path that the simulator does not serve, for
// the limits of the services it belongs to hold whatever the answer is.
func (l *limiter) admitUnserved(c *call) *apiError {
	matches := l.rules.find(c.r.Method, strings.Split(c.canonical, "/"), c.query.Get)
	if len(matches) == 0 {
		return nil
	}
	entered, busy := l.enterAll(l.concurrencies(c, matches, false, account{}))
	defer l.leaveAll(entered)
	draws, _ := l.ruleDraws([]draw{{account: account{kind: "app", app: c.app}, Quota: l.table.App, units: 1, refuse: c.tooMany}}, c, matches)
	if refused := l.take(draws, busy == nil); refused != nil {
		return refused
	}
	return busy
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
