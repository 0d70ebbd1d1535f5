package graphsim

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// PageTruth is one page of a site.
type PageTruth struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Title     string `json:"title"`
	Published bool   `json:"published"`
	// Digest is the SHA-256 (hex) over title, layout, title area and canvas.
	Digest string `json:"digest"`
}

// PageTruth returns the pages of a site, in the order they were made.
func (t *Tenant) PageTruth(owner string) (list []PageTruth, err error) {
	err = t.withSite(owner, func(st *siteStore) error {
		for _, p := range st.pages {
			sum := sha256.Sum256([]byte(p.title + "\n" + p.layout + "\n" + sameJSON(p.titleArea) + "\n" + sameJSON(p.canvas)))
			list = append(list, PageTruth{ID: p.id, Name: p.name, Title: p.title, Published: p.published(), Digest: hex.EncodeToString(sum[:])})
		}
		return nil
	})
	return list, err
}

// PageSpec is a page to make, or what to make of one, which keeps its title if that is "".
type PageSpec struct {
	Name  string // of its file, when it is made; default: the title with .aspx
	Title string
	HTML  string // the only text of the page
	Draft bool   // leaves it unpublished
}

// create makes a page.
func (s pageShelf) create(spec PageSpec) (*sitePage, error) {
	p := &sitePage{name: spec.Name, title: spec.Title, layout: "article", promotion: "page", created: time.Now().UTC().Truncate(time.Second)}
	if err := s.add(p); err != nil {
		return nil, err
	}
	p.canvas, p.modified = p.textCanvas(spec.HTML), p.created
	if !spec.Draft {
		p.publish()
	}
	return p, s.write(p)
}

// change gives a page, whose file keeps its name, another title and text.
func (s pageShelf) change(p *sitePage, spec PageSpec) error {
	p.edit(cmp.Or(spec.Title, p.title), spec.HTML)
	if !spec.Draft {
		p.publish()
	}
	return s.write(p)
}

// NewPage makes a page in a site, with its file in the library of pages, and returns its
// ID. Errors: a site that is not there, a name that is taken or cannot be used.
func (t *Tenant) NewPage(owner string, spec PageSpec) (id string, err error) {
	setDefault(&spec.Title, "Untitled")
	setDefault(&spec.Name, spec.Title+".aspx")
	err = t.withPages(owner, func(s pageShelf) error {
		p, err := s.create(spec)
		if err == nil {
			id = p.id
		}
		return err
	})
	return id, err
}

// EditPage gives a page, by ID or name, another title and text, and publishes it unless it
// is to stay a draft.
func (t *Tenant) EditPage(owner, page string, spec PageSpec) error {
	return t.withPages(owner, func(s pageShelf) error {
		p, err := s.page(page)
		if err != nil {
			return err
		}
		return s.change(p, spec)
	})
}

// DeletePage deletes a page, by ID or name, and its file.
func (t *Tenant) DeletePage(owner, page string) error {
	return t.withPages(owner, func(s pageShelf) error {
		p, err := s.page(page)
		if err != nil {
			return err
		}
		return s.remove(p)
	})
}

// applyPage makes a change of a page; known is false for another op. User is the site.
func (t *Tenant) applyPage(m Mutation) (id string, known bool, err error) {
	text := func(name string) string { s, _ := m.Properties[name].(string); return s }
	draft, _ := m.Properties["draft"].(bool)
	spec := PageSpec{Name: m.Name, Title: text("title"), HTML: text("html"), Draft: draft}
	known = true
	switch strings.ToLower(m.Op) {
	case "newpage":
		id, err = t.NewPage(m.User, spec)
	case "editpage":
		err = t.EditPage(m.User, m.ID, spec)
	case "deletepage":
		err = t.DeletePage(m.User, m.ID)
	default:
		known = false
	}
	return id, known, err
}
