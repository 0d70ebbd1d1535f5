package graphsim

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The limits of SharePoint that are no price of a request but of what it does ("Avoid
// getting throttled or blocked in SharePoint Online": per user and other).

// charge draws once on an account of its own.
func (l *limiter) charge(a account, q Quota, refuse func(time.Duration) *apiError) error {
	if refused := l.take([]draw{{account: a, Quota: q, units: 1, refuse: refuse}}, true); refused != nil {
		return refused
	}
	return nil
}

// sendsOutside counts the mails of an invitation to people outside, sent by a person.
func (c *call) sendsOutside(send bool, people []grantee) error {
	if c.user == "" || !send {
		return nil
	}
	for _, g := range people {
		if g.id != "" {
			continue // of the tenant
		}
		a := account{"sharepoint.userMails", "", c.t.id, c.user}
		if err := c.s.limits.charge(a, c.s.limits.table.SharePointUserMails, c.s.throttledSharePoint); err != nil {
			return err
		}
	}
	return nil
}

// linksAnonymously counts an anonymous link against the site that it is made in.
func (c *call) linksAnonymously(d *drive) error {
	return c.s.limits.charge(account{"sharepoint.links", "", c.t.id, d.site.id}, c.s.limits.table.SharePointLinks, c.s.throttledSharePoint)
}

// delegates counts a token that is asked for on behalf of a person. What the login host
// answers then is not documented: it is too busy.
func (s *Server) delegates(t *Tenant, d delegation) *stsError {
	refused := s.limits.charge(account{"sharepoint.userTokens", "", t.id, d.Name}, s.limits.table.SharePointUserTokens,
		func(wait time.Duration) *apiError { return s.throttledSharePoint(wait) })
	if refused == nil {
		return nil
	}
	return &stsError{http.StatusTooManyRequests, "temporarily_unavailable", 90055, "Too many tokens were asked for on behalf of this user."}
}

// aboutOneDrive reports whether a request is about somebody's OneDrive.
func (c *call) aboutOneDrive() bool {
	if c.param("user") != "" && slices.ContainsFunc(c.rt.segments, func(s string) bool { return strings.HasPrefix(s, "drive") }) {
		return true
	}
	if c.param("drive") == "" {
		return false
	}
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	site, _ := c.t.libraryByDrive(c.param("drive"))
	return site != nil && site.owner != ""
}

// probed counts n OneDrives that a client asked for and that are not there, and refuses a
// client that asked for too many: its address, not its application, is throttled.
func (l *limiter) probed(s *Server, r *http.Request, n int64) *apiError {
	q := l.table.SharePointProbes
	if q.Max < 0 {
		return nil
	}
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	a := account{kind: "sharepoint.probes", resource: address}
	if n > 0 {
		l.count([]draw{{account: a, Quota: q, units: n, refuse: s.throttledSharePoint}}, true)
	}
	if _, wait := l.usedNow(a, q); wait > 0 {
		return s.throttledSharePoint(wait)
	}
	return nil
}
