package graphsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// sitePage is a modern page. It stands as an .aspx file in the Site Pages library, too.
type sitePage struct {
	id, name, title   string
	layout, promotion string
	titleArea, canvas json.RawMessage
	showComments      bool
	published         bool
	version           int
	created, modified time.Time
	author            string // identity set; "" is the owner of the site
}

// file is the content of the page's file.
func (p *sitePage) file() content {
	return bytesContent(fmt.Sprintf("<%%@ Page %%>\n<!-- %s %s -->\n%s\n", p.id, p.title, p.canvas))
}

// seedPage makes a page whose file the library gets when it is laid out.
func (st *siteStore) seedPage(n int) {
	r := newRand(mix(st.seed, 'p', uint64(n)))
	p := &sitePage{id: guid(mix(st.seed, 'P', uint64(n))), name: fmt.Sprintf("Page-%d.aspx", n+1), title: sentence(r, 3),
		layout: "article", promotion: "page", published: true, version: 1, created: st.site.created(), modified: epoch,
		titleArea: json.RawMessage(`{"layout":"plain","showAuthor":true}`), showComments: n%2 == 0}
	p.canvas = json.RawMessage(`{"horizontalSections":[{"layout":"oneColumn","id":"1","columns":[{"id":"1","width":12,"webparts":[` +
		`{"@odata.type":"#microsoft.graph.textWebPart","id":"` + guid(mix(st.seed, 'w', uint64(n))) + `","innerHtml":` +
		quoted("<p>"+sentence(r, 40)+"</p>") + `}]}]}]}`)
	st.pages = append(st.pages, p)
}

func pageRoutes() []route {
	const one = "sites/{site}/pages/{page}"
	op := func(method, pattern string, units int, roles []string, handle func(*call) error, options ...string) route {
		return route{method: method, pattern: pattern, service: sharePoint, units: units, roles: roles,
			takes: takes(nil, options...), handle: handle}
	}
	return []route{
		op("GET", "sites/{site}/pages", 2, rolesSites, listPages, "$select", "$top", "$skiptoken"),
		op("GET", "sites/{site}/pages/microsoft.graph.sitePage", 2, rolesSites, listPages, "$select", "$expand", "$top", "$skiptoken"),
		op("POST", "sites/{site}/pages", 2, rolesSitesWrite, createPage),
		op("GET", one, 1, rolesSites, getPage, "$select"),
		op("GET", one+"/microsoft.graph.sitePage", 1, rolesSites, getPage, "$select", "$expand"),
		op("POST", one+"/microsoft.graph.sitePage/publish", 2, rolesSitesWrite, publishPage),
	}
}

// renderPage writes a page, without annotations for a client that says so because it
// will post the answer back ("Get sitePage").
func (c *call) renderPage(st *siteStore, p *sitePage) []byte {
	bare := strings.Contains(c.r.Header.Get("Accept"), "odata.metadata=none")
	o := newObject(c.sel)
	if !bare {
		o.str("@odata.type", "#microsoft.graph.sitePage")
		o.str("@odata.etag", p.etag())
	}
	o.str("eTag", p.etag())
	o.str("id", p.id)
	o.str("name", p.name)
	o.str("title", p.title)
	o.str("pageLayout", p.layout)
	o.str("promotionKind", p.promotion)
	o.boolean("showComments", p.showComments)
	o.instant("createdDateTime", p.created)
	o.instant("lastModifiedDateTime", p.modified)
	host, _, _ := strings.Cut(st.site.id, ",")
	o.str("webUrl", "https://"+host+"/"+st.site.path+"/SitePages/"+p.name)
	o.raw("createdBy", st.identity(p.author))
	o.raw("lastModifiedBy", st.identity(p.author))
	level := "draft"
	if p.published {
		level = "published"
	}
	o.raw("publishingState", fmt.Sprintf(`{"level":"%s","versionId":"%d.%d"}`, level, p.version, btoi(!p.published)))
	if p.titleArea != nil {
		o.raw("titleArea", string(p.titleArea))
	}
	if c.expands("canvasLayout") && p.canvas != nil {
		o.always("canvasLayout")
		o.b = append(o.b, p.canvas...)
	}
	return o.done()
}

func (p *sitePage) etag() string {
	return fmt.Sprintf(`"{%s},%d"`, strings.ToUpper(p.id), p.version*2+btoi(p.published))
}

func listPages(c *call) error {
	return c.withStore(func(st *siteStore) error {
		return c.skipPage(len(st.pages), c.pageSize(200, 1000), "$skiptoken", func(i int) []byte { return c.renderPage(st, st.pages[i]) })
	})
}

func (c *call) withPage(do func(*siteStore, *sitePage) error) error {
	return c.withStore(func(st *siteStore) error {
		for _, p := range st.pages {
			if strings.EqualFold(p.id, c.param("page")) {
				return do(st, p)
			}
		}
		return itemNotFound()
	})
}

func getPage(c *call) error {
	return c.withPage(func(st *siteStore, p *sitePage) error { return c.json(http.StatusOK, c.renderPage(st, p)) })
}

// pageRequest is the body that makes a page.
type pageRequest struct {
	Type         string          `json:"@odata.type"`
	Name         string          `json:"name"`
	Title        string          `json:"title"`
	Layout       string          `json:"pageLayout"`
	Promotion    string          `json:"promotionKind"`
	TitleArea    json.RawMessage `json:"titleArea"`
	Canvas       json.RawMessage `json:"canvasLayout"`
	ShowComments bool            `json:"showComments"`
}

func createPage(c *call) error {
	var in pageRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	setDefault(&in.Layout, "article")
	setDefault(&in.Promotion, "page")
	switch {
	case in.Type != "#microsoft.graph.sitePage":
		return fail(http.StatusBadRequest, "invalidRequest", "@odata.type is #microsoft.graph.sitePage.")
	case in.Title == "" || !slices.Contains([]string{"article", "home"}, in.Layout):
		return fail(http.StatusBadRequest, "invalidRequest", "A page has a title and the layout article or home.")
	}
	setDefault(&in.Name, in.Title+".aspx")
	p := &sitePage{id: newID(), name: in.Name, title: in.Title, layout: in.Layout, promotion: in.Promotion,
		titleArea: in.TitleArea, canvas: in.Canvas, showComments: in.ShowComments, author: c.application(),
		created: time.Now().UTC().Truncate(time.Second)}
	p.modified = p.created
	library := ""
	err := c.withStore(func(st *siteStore) error {
		if slices.ContainsFunc(st.pages, func(other *sitePage) bool { return fold(other.name) == fold(p.name) }) {
			return nameAlreadyExists()
		}
		st.pages = append(st.pages, p)
		library = libraryID(st.site.id, pagesLibrary)
		return c.json(http.StatusCreated, c.renderPage(st, p))
	})
	if err != nil {
		return err
	}
	return c.t.writePageFile(library, p)
}

// writePageFile puts the file of a page into the library. A personal site has none.
func (t *Tenant) writePageFile(library string, p *sitePage) error {
	t.mu.RLock()
	site, _ := t.libraryByDrive(library)
	t.mu.RUnlock()
	if site == nil {
		return nil
	}
	_, err := t.putFile(library, p.name, p.file())
	return err
}

func publishPage(c *call) error {
	return c.withPage(func(_ *siteStore, p *sitePage) error {
		if !p.published {
			p.published = true
			p.version++
		}
		return c.empty(http.StatusNoContent)
	})
}

// sameJSON makes JSON comparable however it was spaced and ordered.
func sameJSON(raw json.RawMessage) string {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return string(raw)
	}
	data, _ := json.Marshal(v) // it was JSON before
	return string(data)
}
