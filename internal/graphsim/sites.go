package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func siteRoutes() []route {
	list := takes(siteType, "$select", "$expand", "$top", "$skiptoken")
	one := takesOne(siteType, "$select", "$expand")
	delta := takes(siteType, "$select", "$expand", "$top", "token")
	return []route{
		// Enumeration is for applications: a person's token is refused.
		{method: "GET", pattern: "sites/delta", service: sharePoint, units: 2, roles: rolesSites, appOnly: true, takes: delta, handle: sitesDelta},
		{method: "GET", pattern: "sites/getAllSites", service: sharePoint, units: 2, roles: rolesSites, appOnly: true, takes: list, handle: getAllSites},
		{method: "GET", pattern: "sites/oneDrive.getAllSites", service: sharePoint, units: 2, roles: rolesSites, appOnly: true, takes: list, handle: getAllSites},
		{method: "GET", pattern: "sites", service: sharePoint, units: 2, roles: rolesSites,
			takes: takes(siteType, "search", "$select", "$top", "$skiptoken"), handle: searchSites},
		{method: "GET", pattern: "sites/{site}", service: sharePoint, units: 1, roles: rolesSites, takes: one, handle: getSite},
		{method: "GET", pattern: "sites/{site}/@path", service: sharePoint, units: 1, roles: rolesSites, takes: one, handle: getSiteByPath},
		{method: "GET", pattern: "sites/{site}/sites", service: sharePoint, units: 2, roles: rolesSites, takes: list, handle: listSubsites},
		{method: "GET", pattern: "groups/{group}/sites/root", service: sharePoint, units: 1, roles: rolesSites, takes: one, handle: getGroupSite},
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
	o.str("description", "")
	o.str("eTag", fmt.Sprintf(`"{%s},%d"`, strings.ToUpper(ids[2]), e.ordinal))
	o.str("webUrl", "https://"+host+"/"+e.path)
	o.instant("createdDateTime", e.created())
	o.instant("lastModifiedDateTime", e.created())
	o.boolean("isPersonalSite", e.owner != "")
	if e.parent == "" {
		o.raw("root", "{}")
	}
	o.raw("siteCollection", `{"hostname":`+quoted(host)+`,"dataLocationCode":"EUR"}`)
	o.raw("sharepointIds", `{"siteId":"`+ids[1]+`","webId":"`+ids[2]+`","tenantId":"`+c.t.id+`"}`)
	if c.expands("sites") {
		c.expandSubsites(o, e)
	}
	return o.done()
}

// expandSubsites writes the webs below a site.
func (c *call) expandSubsites(o *object, e *entry) {
	asked, expand := c.sel, c.expand
	defer func() { c.sel, c.expand = asked, expand }()
	c.sel, c.expand = nil, nil
	o.always("sites")
	o.b = append(o.b, '[')
	for i, sub := range c.t.subsitesOf(e) {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = append(o.b, c.renderSite(sub)...)
	}
	o.b = append(o.b, ']')
}

func sitesDelta(c *call) error {
	c.bake(nil, "$expand")
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	return c.deltaPage(c.t.siteSource(c.renderSite),
		deltaOptions{nextParam: "token", deltaParam: "token", pageSize: c.pageSize(200, 999), stale: c.t.staleSites})
}

func getAllSites(c *call) error {
	// The continuation has another path than the request: it must not be rebuilt.
	c.canonical = "sites/oneDrive.getAllSites"
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	return c.listEntries(c.t.topSites(), c.renderSite, siteType)
}

// searchSites lists site collections: all, or those with a keyword in their name, which
// is no enumeration ("Search for sites").
func searchSites(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	word := strings.ToLower(c.query.Get("search"))
	sites := c.t.topSites()
	if word != "*" {
		sites = sites.having(func(e *entry) bool { return strings.Contains(strings.ToLower(e.name), word) })
	}
	return c.listEntries(sites, c.renderSite, siteType)
}

// topSites lists the active sites that are no subsites.
func (t *Tenant) topSites() roll {
	hidden := slices.Clone(t.sites.gone)
	for _, e := range t.sites.added {
		if e.parent != "" && e.state == Active {
			hidden = append(hidden, int(e.ordinal)-1)
		}
	}
	slices.Sort(hidden)
	return t.sites.without(hidden)
}

func getSite(c *call) error {
	return c.answerSite(func() *entry {
		if c.param("site") == "root" {
			return c.t.rootSite()
		}
		if strings.EqualFold(c.param("site"), c.t.host()) {
			return c.t.rootSite()
		}
		// A deleted site is readable by its ID until its time is over.
		if e := c.t.sites.find(c.param("site")); e != nil && e.state != Purged {
			return e
		}
		return nil
	})
}

// rootSite is the oldest site that is nobody's, or where there is none, the oldest of a group.
func (t *Tenant) rootSite() (root *entry) {
	for _, e := range t.sites.added {
		switch {
		case e.state != Active || e.owner != "" || e.parent != "":
		case e.group == "":
			return e
		case root == nil:
			root = e
		}
	}
	return root
}

func getSiteByPath(c *call) error {
	return c.answerSite(func() *entry {
		candidates := slices.Clone(c.t.sites.added)
		if e := c.t.personalSiteAt(c.param("@path")); e != nil {
			candidates = append(candidates, e)
		}
		for _, e := range candidates {
			if e.state == Active && e.path == c.param("@path") && strings.HasPrefix(e.id, c.param("site")+",") {
				return e
			}
		}
		return nil
	})
}

// personalSiteAt finds a site that the seed laid out by its path, which ends in the number
// of its owner and the domain.
func (t *Tenant) personalSiteAt(path string) *entry {
	name, _ := strings.CutSuffix(path, personalPath.Replace("@"+t.spec.Domain))
	for _, place := range t.numbered(name) {
		if place < t.sites.seeded.count && t.sites.at(place).path == path {
			return t.sites.keep(place)
		}
	}
	return nil
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

// listSubsites lists the webs directly below a site. The sites delta does not name them,
// unless Options.SubsitesInDelta says so.
func listSubsites(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	top := c.t.sites.active(c.param("site"))
	if c.param("site") == "root" {
		top = c.t.rootSite()
	}
	if top == nil {
		return fail(http.StatusNotFound, "itemNotFound", "Requested site could not be found")
	}
	return c.listEntries(rollOf(c.t.subsitesOf(top)), c.renderSite, siteType)
}

// subsitesOf are the webs below a site.
func (t *Tenant) subsitesOf(top *entry) []*entry {
	return slices.DeleteFunc(slices.Clone(t.sites.added), func(e *entry) bool { return e.state != Active || e.parent != top.id })
}

// siteSource shows the sites to a delta round: which of them are subsites is not
// documented, so they are left out.
func (t *Tenant) siteSource(render func(*entry) []byte) deltaSource {
	src := t.sites.source(t.id, render)
	if t.s.o.SubsitesInDelta {
		return src
	}
	list := src.list
	src.list = func(after uint64, limit int) (items [][]byte, reached uint64, more bool) {
		for len(items) < limit {
			var one [][]byte
			if one, reached, more = list(after, 1); len(one) == 0 {
				return items, reached, more
			}
			if t.sites.at(int(reached)-1).parent == "" {
				items = append(items, one...)
			}
			after = reached
		}
		return items, reached, more
	}
	all := src.render
	src.render = func(ids []string) [][]byte {
		return all(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return t.sites.find(id).parent != "" }))
	}
	return src
}

// staleSites answers a token that is too old in either of the documented ways, one after
// the other ("site: delta").
func (t *Tenant) staleSites(location string) *apiError {
	code := "resyncChangesApplyDifferences"
	if t.sites.generation%2 == 0 {
		code = "resyncChangesUploadDifferences"
	}
	return fail(http.StatusGone, code, "Resync required: enumerate anew from the Location.").with("Location", location)
}

// siteType is the site as OData sees it.
var siteType = &entityType{name: "microsoft.graph.site", properties: map[string]property{
	"id": plain, "name": plain, "displayname": plain, "description": plain, "weburl": plain,
	"createddatetime": {kind: timeProperty}, "lastmodifieddatetime": {kind: timeProperty}, "etag": plain,
	"ispersonalsite": {kind: boolProperty}, "root": {kind: complexProperty}, "sitecollection": {kind: complexProperty},
	"sharepointids": {kind: complexProperty}, "error": {kind: complexProperty}, "deleted": {kind: complexProperty},
	"sites": {kind: navigationProperty},
}}
