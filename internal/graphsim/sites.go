package graphsim

import (
	"net/http"
	"strings"
)

func siteRoutes() []route {
	return []route{
		{method: "GET", pattern: "sites/delta", service: sharePoint, units: 2, roles: rolesSites, handle: sitesDelta},
		{method: "GET", pattern: "sites/getAllSites", service: sharePoint, units: 2, roles: rolesSites, handle: getAllSites},
		{method: "GET", pattern: "sites/oneDrive.getAllSites", service: sharePoint, units: 2, roles: rolesSites, handle: getAllSites},
		{method: "GET", pattern: "sites/{site}", service: sharePoint, units: 1, roles: rolesSites, handle: getSite},
		{method: "GET", pattern: "sites/{site}/@path", service: sharePoint, units: 1, roles: rolesSites, handle: getSiteByPath},
		{method: "GET", pattern: "sites/{site}/sites", service: sharePoint, units: 2, roles: rolesSites, handle: listSubsites},
		{method: "GET", pattern: "groups/{group}/sites/root", service: sharePoint, units: 1, roles: rolesSites, handle: getGroupSite},
	}
}

// renderSite writes a site; deleted ones as the sites delta does, with a facet
// and not with @removed.
func (c *call) renderSite(e *entry) []byte {
	o := newObject(c.sel)
	if e.state != Active {
		o.str("id", e.id)
		o.always("deleted")
		o.b = append(o.b, `{"state":"deleted"}`...)
		return o.done()
	}
	return c.renderSiteItself(o, e)
}

// renderSiteItself writes a site as it is read by its ID: nothing says that it is deleted.
func (c *call) renderSiteItself(o *object, e *entry) []byte {
	o.str("id", e.id)
	host, _, _ := strings.Cut(e.id, ",")
	ids := strings.Split(e.id, ",")
	_, name, _ := strings.Cut(e.path, "/")
	o.str("name", name)
	o.str("displayName", e.name)
	o.str("webUrl", "https://"+host+"/"+e.path)
	o.instant("createdDateTime", e.created)
	o.instant("lastModifiedDateTime", e.created)
	o.boolean("isPersonalSite", e.owner != "")
	o.raw("root", "{}")
	o.raw("siteCollection", `{"hostname":`+quoted(host)+`,"dataLocationCode":"EUR"}`)
	o.raw("sharepointIds", `{"siteId":"`+ids[1]+`","webId":"`+ids[2]+`","tenantId":"`+c.t.id+`"}`)
	return o.done()
}

func sitesDelta(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	return c.deltaPage(c.t.sites.source(c.t.id, c.renderSite),
		deltaOptions{nextParam: "token", deltaParam: "token", pageSize: c.pageSize(200, 999), stale: staleDrive})
}

func getAllSites(c *call) error {
	// The continuation has another path than the request: it must not be rebuilt.
	c.canonical = "sites/oneDrive.getAllSites"
	return c.listEntries(&c.t.sites, Active, c.renderSite)
}

func getSite(c *call) error {
	return c.answerSite(func() *entry {
		if c.param("site") == "root" {
			return c.t.rootSite()
		}
		// A deleted site is readable by its ID until its time is over.
		if e := c.t.sites.find(c.param("site")); e != nil && e.state != Purged {
			return e
		}
		return nil
	})
}

func (t *Tenant) rootSite() *entry {
	for _, e := range t.sites.order {
		if e.state == Active && e.owner == "" {
			return e
		}
	}
	return nil
}

func getSiteByPath(c *call) error {
	return c.answerSite(func() *entry {
		for _, e := range c.t.sites.order {
			if e.state == Active && e.path == c.param("@path") && strings.HasPrefix(e.id, c.param("site")+",") {
				return e
			}
		}
		return nil
	})
}

func getGroupSite(c *call) error {
	return c.answerSite(func() *entry {
		if g := c.t.groups.active(c.param("group")); g != nil {
			return c.t.sites.active(g.site)
		}
		return nil
	})
}

func (c *call) answerSite(find func() *entry) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := find()
	if e == nil {
		return fail(http.StatusNotFound, "itemNotFound", "Requested site could not be found")
	}
	return c.json(http.StatusOK, c.renderSiteItself(newObject(c.sel), e))
}

func listSubsites(c *call) error { return c.page(nil, "", "") }
