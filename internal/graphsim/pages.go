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
//
//	draft 0.1 --[publish]--> published 1.0 --[edit]--> draft 1.1 --[edit]--> draft 1.2 --[publish]--> published 2.0
type sitePage struct {
	number            int // its place among all pages the site ever had, from 1 on
	id, name, title   string
	layout, promotion string
	titleArea, canvas json.RawMessage
	showComments      bool
	major, minor      int // its version; minor is 0 of a published page
	revision          int // how often it changed
	created, modified time.Time
	author            string // identity set; "" is the owner of the site
}

func pageID(seed uint64, number int) string { return guid(mix(seed, 'P', uint64(number-1))) }

func (p *sitePage) published() bool { return p.minor == 0 }

// edit gives a page another title and text, which is a draft until it is published.
func (p *sitePage) edit(title, html string) {
	p.title, p.canvas = title, p.textCanvas(html)
	p.minor++
	p.touch()
}

// publish makes the draft, if there is one, what all see.
func (p *sitePage) publish() {
	if !p.published() {
		p.major, p.minor = p.major+1, 0
		p.touch()
	}
}

func (p *sitePage) touch() {
	p.revision++
	p.modified = time.Now().UTC().Truncate(time.Second)
}

// textCanvas is the canvas of a page that has one text.
func (p *sitePage) textCanvas(html string) json.RawMessage {
	return json.RawMessage(`{"horizontalSections":[{"layout":"oneColumn","id":"1","columns":[{"id":"1","width":12,"webparts":[` +
		`{"@odata.type":"#microsoft.graph.textWebPart","id":"` + guid(mixString(0, p.id)) + `","innerHtml":` + quoted(html) + `}]}]}]}`)
}

// file is the content of the page's file.
func (p *sitePage) file() content {
	return bytesContent(fmt.Sprintf("<%%@ Page %%>\n<!-- %s %s -->\n%s\n", p.id, p.title, p.canvas))
}

// seedPage makes a page whose file the library gets when it is laid out.
func (st *siteStore) seedPage(n int) {
	r := newRand(mix(st.seed, 'p', uint64(n)))
	p := &sitePage{id: pageID(st.seed, n+1), name: fmt.Sprintf("Page-%d.aspx", n+1), title: sentence(r, 3),
		layout: "article", promotion: "page", number: n + 1, major: 1, revision: 1, created: st.site.created(), modified: epoch,
		titleArea: json.RawMessage(`{"layout":"plain","showAuthor":true}`), showComments: n%2 == 0}
	p.canvas = p.textCanvas("<p>" + sentence(r, 40) + "</p>")
	st.pages = append(st.pages, p)
	st.lastPage = p.number
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
	if p.published() {
		level = "published"
	}
	o.raw("publishingState", fmt.Sprintf(`{"level":"%s","versionId":"%d.%d"}`, level, p.major, p.minor))
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
	return fmt.Sprintf(`"{%s},%d"`, strings.ToUpper(p.id), p.revision)
}

// listPages lists the pages by age. The continuation names the last one, so that a page
// that is deleted meanwhile hides no other.
func listPages(c *call) error {
	after, err := c.offset("$skiptoken")
	if err != nil {
		return err
	}
	return c.withStore(func(st *siteStore) error {
		var items [][]byte
		size := c.pageSize(200, 1000)
		for _, p := range st.pages {
			switch {
			case p.number <= after:
				continue
			case len(items) == size:
				return c.page(items, c.nextLink("$skiptoken", after), "")
			}
			items, after = append(items, c.renderPage(st, p)), p.number
		}
		return c.page(items, "", "")
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
	p := &sitePage{name: in.Name, title: in.Title, layout: in.Layout, promotion: in.Promotion,
		titleArea: in.TitleArea, canvas: in.Canvas, showComments: in.ShowComments, author: c.application(),
		created: time.Now().UTC().Truncate(time.Second)}
	p.modified = p.created
	site, err := c.ownSite()
	if err != nil {
		return err
	}
	return c.t.withPages(site.id, func(s pageShelf) error {
		if err := s.add(p); err != nil {
			return err
		}
		if err := s.write(p); err != nil {
			return err
		}
		return c.json(http.StatusCreated, c.renderPage(s.siteStore, p))
	})
}

func publishPage(c *call) error {
	return c.withPage(func(_ *siteStore, p *sitePage) error {
		p.publish()
		return c.empty(http.StatusNoContent)
	})
}

// pageShelf is the pages of a site with the library of their files, nil where there is none:
// both change at once.
type pageShelf struct {
	*siteStore
	files *drive
}

// withPages calls do with the pages of a site, or of the site of a user or group, and their
// files, locked in this order.
func (t *Tenant) withPages(owner string, do func(pageShelf) error) error {
	st, err := t.openSite(owner)
	if err != nil {
		return err
	}
	s := pageShelf{siteStore: st}
	if st.site.owner == "" {
		if s.files, err = t.openDrive(libraryID(st.site.id, pagesLibrary)); err != nil {
			return err
		}
		s.files.mu.Lock()
		defer s.files.mu.Unlock()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return do(s)
}

// page finds a page by ID or name.
func (s pageShelf) page(name string) (*sitePage, error) {
	for _, p := range s.pages {
		if strings.EqualFold(p.id, name) || fold(p.name) == fold(name) {
			return p, nil
		}
	}
	return nil, itemNotFound()
}

// add puts a page behind all others, as a draft without a file. Errors: a name that is
// taken or cannot be used.
func (s pageShelf) add(p *sitePage) error {
	if _, err := s.page(p.name); err == nil {
		return nameAlreadyExists()
	}
	if s.files != nil {
		if err := checkName(s.files.root, p.name); err != nil {
			return err
		}
	}
	s.lastPage++
	p.number, p.minor, p.revision, p.id = s.lastPage, 1, 1, pageID(s.seed, s.lastPage)
	s.pages = append(s.pages, p)
	return nil
}

// write writes the file of a page anew.
func (s pageShelf) write(p *sitePage) error {
	if s.files == nil {
		return nil
	}
	_, _, err := s.files.putFile(s.files.root, p.name, p.file(), onConflictReplace)
	return err
}

func (s pageShelf) remove(p *sitePage) error {
	s.pages = slices.DeleteFunc(s.pages, func(other *sitePage) bool { return other == p })
	if s.files == nil {
		return nil
	}
	if item := s.files.root.children[fold(p.name)]; item != nil {
		return s.files.remove(item)
	}
	return nil // a client deleted it
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
