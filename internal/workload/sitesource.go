package workload

import (
	"context"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The kinds of what a site has besides drives.
const (
	kindSite    = "site"
	kindList    = "list"
	kindLibrary = "library" // a list whose items are the files of a drive
	kindRow     = "listItem"
	kindPage    = "page"
)

const (
	contentTypesPart = "contentTypes.json"
	rowAttachments   = "attachments"
	// listing precedes the links of a list that has no delta.
	listing = "listing "
	// The templates of lists that are libraries ("listInfo resource type").
	libraryTemplate = "documentLibrary"
	pagesTemplate   = "webPageLibrary"
)

// siteSource reads a site with the sites below it.
type siteSource[P Pages] struct {
	driveTree[P]
	api  SiteReader[P]
	site string
}

// NewSiteSource returns the source of a site; site is Microsoft's ID of it. Its collections are the site and
// those below it, which list drives, lists and pages, and these.
func NewSiteSource[P Pages](api SiteReader[P], site string, o tenantry.BackupOptions) engine.Source {
	return &siteSource[P]{newDriveTree(api, o), api, site}
}

// Tree says that nothing moves from drive to drive or list to list.
func (s *siteSource[P]) Tree(id string) (string, bool) { return treeOf(id) }

// Page reads a page of one collection.
func (s *siteSource[P]) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	switch kind, of, _ := strings.Cut(collection, ":"); kind + ":" {
	case siteID:
		return s.contents(ctx, of)
	case pagesID:
		return s.pages(ctx, of)
	case listID:
		site, list, _ := strings.Cut(of, "|")
		return s.rows(ctx, site, list, link)
	case driveID:
		return s.libraryPage(ctx, s.api, collection, link)
	}
	raw, err := s.api.Site(ctx, s.site)
	if err != nil {
		return engine.Page{}, err
	}
	list := newChanges(1)
	err = list.site("", raw)
	return list.whole(), err
}

type named struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
	Title       string `json:"title"`
	ETag        string `json:"eTag"`
	Modified    string `json:"lastModifiedDateTime"`
	List        struct {
		Template string `json:"template"`
	} `json:"list"`
}

// newNamed reads what an object is called.
func newNamed(what string, raw jsontext.Value) (named, error) {
	var n named
	if err := parse(what, raw, &n); err != nil {
		return n, err
	}
	if n.ID == "" {
		return n, tenantry.Errorf(tenantry.Internal, "read %s: it has no ID", what)
	}
	if n.DisplayName == "" {
		n.DisplayName = n.Name
	}
	return n, nil
}

// site adds a site, which lists what it holds.
func (c *changes) site(parent string, raw jsontext.Value) error {
	n, err := newNamed("a site", raw)
	if err != nil {
		return err
	}
	id := siteID + n.ID
	c.put(engine.Item{ID: id, Parent: parent, Kind: kindSite, Name: n.DisplayName, ETag: digest(raw), Raw: raw, Collection: id})
	return nil
}

// contents lists what a site holds: drives, lists, pages and sites.
func (s *siteSource[P]) contents(ctx context.Context, site string) (engine.Page, error) {
	list, parent := newChanges(16), siteID+site
	list.put(engine.Item{ID: pagesID + site, Parent: parent, Kind: engine.KindFolder, Name: "Pages", ETag: "1", Collection: pagesID + site, Apart: true})
	libraries := map[string]jsontext.Value{} // by ID: the lists that are libraries, whole
	err := walk(func(link string) (P, error) { return s.api.Lists(ctx, site, link) }, func(raw jsontext.Value) error {
		return s.list(ctx, list, libraries, site, raw)
	})
	if err == nil {
		err = walk(func(link string) (P, error) { return s.api.Drives(ctx, ofSite, site, link) }, func(raw jsontext.Value) error {
			item, err := s.library(parent, raw, libraries)
			list.put(item)
			return err
		})
	}
	if err == nil {
		err = walk(func(link string) (P, error) { return s.api.Subsites(ctx, site, link) }, func(raw jsontext.Value) error {
			return list.site(parent, raw)
		})
	}
	return list.whole(), err
}

// list adds a list with its columns and content types: a change of those shows in nothing that the list of
// lists tells.
func (s *siteSource[P]) list(ctx context.Context, list *changes, libraries map[string]jsontext.Value, site string, raw jsontext.Value) error {
	n, err := newNamed("a list", raw)
	if err != nil {
		return err
	}
	whole, err := s.api.List(ctx, site, n.ID)
	if err != nil {
		if tenantry.KindOf(err) == tenantry.NotFound {
			return nil // deleted since
		}
		return err
	}
	types, err := collect(func(link string) (P, error) { return s.api.ContentTypes(ctx, site, n.ID, link) })
	if err != nil {
		return err
	}
	part := bytesPart(contentTypesPart, array(types))
	item := engine.Item{
		ID: listID + site + "|" + n.ID, Parent: siteID + site, Kind: kindList, Name: n.DisplayName,
		ETag: digest(append([]byte(part.Version), whole...)), Raw: whole,
		Parts: func(context.Context) ([]engine.ItemPart, error) { return []engine.ItemPart{part}, nil },
	}
	if n.List.Template == libraryTemplate || n.List.Template == pagesTemplate {
		item.ID, item.Kind = libraryID+site+"|"+n.ID, kindLibrary
		libraries[n.ID] = whole
	} else {
		item.Collection, item.Apart = item.ID, true
	}
	list.put(item)
	return nil
}

// rows reads a page of a list: of its delta, or where it has none of the whole list.
func (s *siteSource[P]) rows(ctx context.Context, site, id, link string) (engine.Page, error) {
	next, listed := strings.CutPrefix(link, listing)
	var got P
	var err error
	if !listed {
		got, err = s.api.ListItemChanges(ctx, site, id, link)
		listed = tenantry.KindOf(err) == tenantry.Invalid && link == ""
		next = ""
	}
	if listed {
		got, err = s.api.ListItems(ctx, site, id, next)
	}
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		if err := list.row(listID+site+"|"+id, raw); err != nil {
			return engine.Page{}, err
		}
	}
	if listed {
		p.Next = listing + p.Next
	}
	out := list.page(p.Next, p.Done)
	out.Listed = listed
	return out, nil
}

type row struct {
	named
	Deleted *struct{} `json:"deleted"`
	Fields  struct {
		Title       string `json:"Title"`
		Attachments bool   `json:"Attachments"`
	} `json:"fields"`
}

// row adds an item of a list.
func (c *changes) row(list string, raw jsontext.Value) error {
	var r row
	switch err := parse("a list item", raw, &r); {
	case err != nil:
		return err
	case r.ID == "":
		return tenantry.Errorf(tenantry.Internal, "read a list item: it has no ID")
	case r.Deleted != nil:
		c.remove(list + "/" + r.ID)
		return nil
	}
	item := engine.Item{
		ID: list + "/" + r.ID, Parent: list, Kind: kindRow, Name: r.Fields.Title, ETag: r.ETag, Modified: instant(r.Modified),
		Size: int64(len(raw)), Raw: raw,
	}
	if item.ETag == "" {
		item.ETag = digest(raw)
	}
	if r.Fields.Attachments {
		item.Parts = unreachable
	}
	c.put(item)
	return nil
}

// unreachable stands for the attachments of a list item, of which v1.0 says nothing but that there are some.
func unreachable(context.Context) ([]engine.ItemPart, error) {
	return []engine.ItemPart{{Name: rowAttachments, Open: func(context.Context) (io.ReadCloser, error) {
		return nil, tenantry.Errorf(tenantry.Poison, "Graph v1.0 has no way to the attachments of list items")
	}}}, nil
}

// pages lists the pages of a site; those that changed are read whole.
func (s *siteSource[P]) pages(ctx context.Context, site string) (engine.Page, error) {
	list := newChanges(8)
	err := walk(func(link string) (P, error) { return s.api.Pages(ctx, site, link) }, func(raw jsontext.Value) error {
		n, err := newNamed("a page", raw)
		if err != nil {
			return err
		}
		item := engine.Item{
			ID: pageID + site + "|" + n.ID, Parent: pagesID + site, Kind: kindPage, Name: n.Title, ETag: n.ETag, Modified: instant(n.Modified),
		}
		if item.ETag == "" {
			item.ETag = digest(raw)
		}
		shown := item
		item.Load = func(ctx context.Context) (engine.Item, error) {
			whole, err := s.api.SitePage(ctx, site, n.ID)
			shown.Raw, shown.Size = whole, int64(len(whole))
			return shown, err
		}
		list.put(item)
		return nil
	})
	return list.whole(), err
}

// Reread returns the parts of an item that could not be read before.
func (s *siteSource[P]) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	switch {
	case strings.HasPrefix(e.ID, driveID) && within(e.ID) != "":
		return s.driveTree.Reread(e)
	case e.Kind == kindRow:
		return unreachable
	}
	return nil
}
