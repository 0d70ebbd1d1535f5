package graphsim

import (
	"net/http"
	"time"
)

// sharedFiles is the first segment of a sharing link's path.
const sharedFiles = ":x:"

// linkURL is the URL of a sharing link: it opens what is shared without a token, if the link
// is anonymous.
func (c *call) linkURL(d *drive, p heldPermission) string {
	return c.filesRoot() + "/" + sharedFiles + "/" + c.s.writeTicket(ticket{Tenant: c.t.id, Drive: d.id, Item: p.on.id, Link: p.id})
}

// serveLink answers whoever follows a sharing link without signing in. What such a caller
// is answered is not documented: the file where the link is anonymous, has not ended and
// asks for no password; to anything else, that a sign-in is needed. The bytes count against
// the anonymous egress of the site ("Avoid getting throttled or blocked in SharePoint Online").
func (s *Server) serveLink(w http.ResponseWriter, r *http.Request, id string) {
	requestID := newID()
	refuse := func(err *apiError) { err.write(w, requestID, requestID) }
	k, ok := s.readTicket(id)
	if !ok || k.Link == "" {
		refuse(itemNotFound())
		return
	}
	site, refused := s.followLink(k)
	if refused != nil {
		refuse(refused)
		return
	}
	data, etag, err := s.downloadable(k)
	if err != nil {
		refuse(asAPIError(err))
		return
	}
	q := s.limits.table.SharePointAnonymousEgress
	a := account{kind: "sharepoint.anonymousEgress", tenant: k.Tenant, resource: site}
	if _, wait := s.limits.usedNow(a, q); wait > 0 {
		s.stats.throttled(k.Tenant, "files")
		refuse(s.bandwidthExceeded(wait))
		return
	}
	counted := &countedAnswer{ResponseWriter: w}
	defer func() {
		s.limits.count([]draw{{account: a, Quota: q, units: counted.n, refuse: s.bandwidthExceeded}}, true)
	}()
	writeContent(counted, r, data, etag)
}

// followLink returns the site of a link that is open to anybody.
func (s *Server) followLink(k ticket) (site string, refused *apiError) {
	t := s.Tenant(k.Tenant)
	if t == nil {
		return "", itemNotFound()
	}
	d, err := t.openDrive(k.Drive)
	if err != nil {
		return "", itemNotFound()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	item := d.items[k.Item]
	if item == nil || item.deleted {
		return "", itemNotFound()
	}
	for _, p := range item.grants {
		if p.id == k.Link && p.linkScope == "anonymous" && s.o.SharePoint.ExternalSharing && !p.password && (p.expires == nil || p.expires.After(time.Now())) {
			return d.site.id, nil
		}
	}
	return "", fail(http.StatusUnauthorized, "unauthenticated", "The link needs a sign-in.")
}
