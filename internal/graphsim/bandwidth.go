package graphsim

import (
	"net/http"
	"time"
)

// bandwidthExceeded is 509 ("Microsoft Graph error responses and resource types"),
// which net/http does not name.
const bandwidthExceeded = 509

func (s *Server) bandwidthExceeded(wait time.Duration) *apiError {
	return fail(bandwidthExceeded, "activityLimitReached", "The bandwidth limit is exceeded.").with("Retry-After", s.seconds(wait))
}

// filesCharge is whose account a request to the host of pre-authenticated URLs
// draws on.
type filesCharge struct {
	c     *call // with tenant, request and writer only
	units int64 // of SharePoint
	box   string
}

// filesChargeOf finds out whom a download or an upload belongs to; nil if nobody.
func (s *Server) filesChargeOf(w http.ResponseWriter, r *http.Request, id string) *filesCharge {
	c := &call{s: s, r: r, w: w, app: s.o.ClientID} // a URL does not say who got it
	if k, ok := s.readTicket(id); ok && k.Link != "" {
		return nil // serveLink's
	} else if ok {
		c.t, c.user = s.Tenant(k.Tenant), k.User
		return &filesCharge{c: c, units: s.limits.table.SharePointDownload}
	}
	u := s.uploads.find(id)
	if u == nil {
		return nil
	}
	switch target := u.target.(type) {
	case *fileUpload:
		c.t, c.app, c.user = target.drive.t, target.call.app, target.call.user
		return &filesCharge{c: c, units: s.limits.table.SharePointFragment}
	case *attachmentUpload:
		c.t = target.box.t
		return &filesCharge{c: c, box: target.box.owner.id}
	}
	return nil
}

// admitFiles charges a request to the host of pre-authenticated URLs: SharePoint
// units and bytes, or the bytes a mailbox is sent. Whether these hosts count at all
// is not documented; this is the harsher reading. What is sent is charged by done.
func (s *Server) admitFiles(w http.ResponseWriter, r *http.Request, id string) (done func(sent int64), err *apiError) {
	f := s.filesChargeOf(w, r, id)
	if f == nil || f.c.t == nil || r.Method != http.MethodGet && r.Method != http.MethodPut {
		return func(int64) {}, nil
	}
	l, app, c := s.limits, f.c.app, f.c
	full := s.bandwidthExceeded
	var draws []draw
	if f.box != "" {
		draws = append(draws, draw{account: account{"outlook.upload", app, c.t.id, f.box}, Quota: l.table.MailboxUpload, units: max(0, r.ContentLength),
			refuse: func(wait time.Duration) *apiError { return c.throttledMailbox("MailboxUpload", wait) }})
		return func(int64) {}, l.take(draws, true)
	}
	egress := account{"sharepoint.egress", app, c.t.id, ""}
	if _, wait := l.usedNow(egress, l.table.SharePointEgress); wait > 0 && r.Method == http.MethodGet {
		return nil, full(wait)
	}
	if f.units > 0 {
		draws = l.sharePointDraws(draws, c, f.units, w.Header())
	}
	if r.Method == http.MethodPut {
		draws = append(draws, draw{account: account{"sharepoint.ingress", app, c.t.id, ""}, Quota: l.table.SharePointIngress, units: max(0, r.ContentLength), refuse: full})
	}
	user := account{"sharepoint.userEgress", app, c.t.id, c.user}
	if c.user != "" {
		if _, wait := l.usedNow(user, l.table.SharePointUserEgress); wait > 0 && r.Method == http.MethodGet {
			return nil, full(wait)
		}
		if r.Method == http.MethodPut {
			draws = append(draws, draw{account: account{"sharepoint.userIngress", app, c.t.id, c.user}, Quota: l.table.SharePointUserIngress,
				units: max(0, r.ContentLength), refuse: full})
		}
	}
	if refused := l.take(draws, true); refused != nil {
		s.stats.throttled(c.t.id, "files")
		return nil, refused
	}
	return func(sent int64) {
		out := []draw{{account: egress, Quota: l.table.SharePointEgress, units: sent, refuse: full}}
		if c.user != "" {
			out = append(out, draw{account: user, Quota: l.table.SharePointUserEgress, units: sent, refuse: full})
		}
		l.count(out, true)
	}, nil
}

// countedAnswer counts what is sent of a body.
type countedAnswer struct {
	http.ResponseWriter
	n int64
}

func (a *countedAnswer) Write(p []byte) (int, error) {
	n, err := a.ResponseWriter.Write(p)
	a.n += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (a *countedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
