package workload

import (
	"cmp"
	"context"
	"path"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// siteTarget writes into one site, and into the sites below it.
type siteTarget[P Pages] struct {
	api  SiteWriter[P]
	site string
	req  tenantry.RestoreRequest

	// siteOf says in which site the drive lies into which a stored drive goes.
	siteOf func(ctx context.Context, stored, drive string) (site string, err error)

	mu        sync.Mutex                 // guards what follows
	drives    map[string]*driveTarget[P] // by site
	driveOf   map[string]*driveTarget[P] // by the ID of a stored drive: where it goes
	pageFiles map[string]bool            // stored drives that hold the files of pages
	lists     map[string]*listTarget     // by the ID of a stored list
	existing  map[string][]named         // lists and pages that are there, by site
	links     lookups

	said *notes
}

// NewSiteTarget returns the target that writes into a site; site is Microsoft's ID of it. Libraries are
// restored as drives are (see NewDriveTarget), their files with their values in the columns of the library, which are made
// where they are missing. A list is restored into the one of its name, or into a new one;
// with req.Folder into one of a name of its own. An item that is there with the same values is left alone.
// Pages that are not there with the same content are made anew; their files in the pages library come with
// them. Sites below the site are restored into those of their name: Graph cannot make sites.
func NewSiteTarget[P Pages](api SiteWriter[P], site string, req tenantry.RestoreRequest) engine.Target {
	t := newSiteTarget(api, site, req)
	t.siteOf = t.ownerSite
	return t
}

func newSiteTarget[P Pages](api SiteWriter[P], site string, req tenantry.RestoreRequest) *siteTarget[P] {
	return &siteTarget[P]{
		api: api, site: site, req: req, drives: map[string]*driveTarget[P]{}, driveOf: map[string]*driveTarget[P]{},
		pageFiles: map[string]bool{}, lists: map[string]*listTarget{}, existing: map[string][]named{},
		links: lookups{items: map[string]string{}}, said: &notes{},
	}
}

// Folder finds or makes what stands for a site, a list, the pages, a drive or a folder of one.
func (t *siteTarget[P]) Folder(ctx context.Context, parent string, e repository.Entry, raw []byte) (string, error) {
	if err := knownConflict(t.req.Conflict); err != nil {
		return "", err
	}
	site := t.site
	if in, ok := strings.CutPrefix(parent, siteID); ok {
		site = in
	}
	switch kind, of, _ := strings.Cut(e.ID, ":"); kind + ":" {
	case siteID:
		return t.subsite(ctx, parent, e)
	case pagesID:
		return pagesID + site, nil
	case listID:
		list, err := t.list(ctx, site, e, raw)
		if err != nil {
			return "", err
		}
		return listID + list.site + "|" + list.id, nil
	case driveID:
		d := t.drive(site, e.ID)
		if within(e.ID) != "" {
			return d.Folder(ctx, parent, e, raw)
		}
		t.noteDrive(e.ID, d, raw)
		return d.Folder(ctx, "", e, raw)
	default:
		return "", tenantry.Errorf(tenantry.Invalid, "restore into a site: there is no way to write %s of a %s", of, e.Kind)
	}
}

// drive returns what writes a stored drive, or what lies in it: of the site into which the drive goes.
func (t *siteTarget[P]) drive(site, id string) *driveTarget[P] {
	t.mu.Lock()
	defer t.mu.Unlock()
	tree, _ := treeOf(id)
	if d, ok := t.driveOf[tree]; ok && within(id) != "" {
		return d
	}
	if t.drives[site] == nil {
		d := newDriveTarget(t.api, ofSite, site, t.req)
		d.find, d.describe, d.said = t.api.LibraryChild, t.describe, t.said
		t.drives[site] = d
	}
	return t.drives[site]
}

func (t *siteTarget[P]) noteDrive(id string, d *driveTarget[P], raw []byte) {
	var stored struct {
		URL string `json:"webUrl"`
	}
	_ = parse("a stored drive", raw, &stored) // its target tells of what cannot be read
	t.mu.Lock()
	defer t.mu.Unlock()
	t.driveOf[id] = d
	t.pageFiles[id] = strings.HasSuffix(stored.URL, pagesLibraryPath)
}

// pagesLibraryPath is how the address of the library of pages ends, in every language.
const pagesLibraryPath = "/SitePages"

// subsite finds the site that stands for e: at the top the target itself, below it one of the same name.
func (t *siteTarget[P]) subsite(ctx context.Context, parent string, e repository.Entry) (string, error) {
	above, below := strings.CutPrefix(parent, siteID)
	if !below {
		return siteID + t.site, nil
	}
	found := ""
	err := walk(func(link string) (P, error) { return t.api.Subsites(ctx, above, link) }, func(raw jsontext.Value) error {
		n, err := newNamed("a site", raw)
		if siteID+n.ID == e.ID || found == "" && strings.EqualFold(n.DisplayName, e.Name) {
			found = siteID + n.ID
		}
		return err
	})
	if err == nil && found == "" {
		err = tenantry.Errorf(tenantry.NotFound, "restore the site %s: there is none of that name below the target, and Graph cannot make one", e.Name)
	}
	return found, err
}

// Finish ends a drive's folder as NewDriveTarget says.
func (t *siteTarget[P]) Finish(ctx context.Context, id string, e repository.Entry, raw []byte, open engine.OpenPart) error {
	if !strings.HasPrefix(e.ID, driveID) {
		return nil
	}
	return t.drive(t.site, e.ID).Finish(ctx, id, e, raw, open)
}

// End writes the links between list items, and those of files to them: their targets have new IDs, which are known only
// now.
func (t *siteTarget[P]) End(ctx context.Context, lacks engine.Lacks) error {
	return t.connect(ctx, lacks)
}

// Notes says what became of much of what was written. All items of lists lose who wrote them and when: Graph sets neither
// ("Create item", "Update item").
func (t *siteTarget[P]) Notes() string { return t.said.text() }

// Item writes a file, a list item or a page, unless it is there.
func (t *siteTarget[P]) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	if err := knownConflict(t.req.Conflict); err != nil {
		return engine.Written{}, err
	}
	switch e.Kind {
	case kindLibrary:
		return engine.Written{ID: e.ID, Existed: true}, nil // its drive is restored by itself
	case kindPage:
		return t.page(ctx, strings.TrimPrefix(folder, pagesID), e, raw)
	case kindRow:
		return t.row(ctx, e, raw)
	}
	tree, ok := treeOf(e.ID)
	if !ok {
		return engine.Written{}, tenantry.Errorf(tenantry.Invalid, "restore into a site: there is no way to write a %s", e.Kind)
	}
	t.mu.Lock()
	ofPage := t.pageFiles[tree] && strings.EqualFold(path.Ext(e.Name), ".aspx")
	t.mu.Unlock()
	if ofPage {
		return engine.Written{ID: e.ID, Existed: true}, nil // it comes with its page
	}
	return t.drive(t.site, e.ID).Item(ctx, folder, e, raw, open)
}

// pageProperties are what is written of a page.
var pageProperties = []string{
	"title", "pageLayout", "promotionKind", "showComments", "showRecommendedPages", "thumbnailWebUrl", "titleArea", "canvasLayout",
}

// pageState is what is read of a page besides what is written of it.
type pageState struct {
	Name  string `json:"name"`
	State struct {
		Level string `json:"level"`
	} `json:"publishingState"`
}

func (p *pageState) published() bool { return p.State.Level == "published" }

// pageBody takes from a page what is written of it.
func pageBody(raw []byte) (body map[string]jsontext.Value, p pageState, err error) {
	var stored map[string]jsontext.Value
	if err := parse("a page", raw, &p); err != nil {
		return nil, p, err
	}
	if err := parse("a page", raw, &stored); err != nil {
		return nil, p, err
	}
	body = map[string]jsontext.Value{"@odata.type": jsontext.Value(`"#microsoft.graph.sitePage"`)}
	for _, name := range pageProperties {
		if v, ok := stored[name]; ok && v.Kind() != 'n' {
			body[name] = v
		}
	}
	return body, p, nil
}

// page makes a page unless one of its name has the same content.
func (t *siteTarget[P]) page(ctx context.Context, site string, e repository.Entry, raw []byte) (engine.Written, error) {
	body, p, err := pageBody(raw)
	if err != nil {
		return engine.Written{}, err
	}
	print := fingerprint(body)
	var beside error
	for i, name := range t.pageNames(p.Name, print) {
		there, ok, err := t.pageNamed(ctx, site, name)
		if err != nil {
			return engine.Written{}, err
		}
		if !ok || !strings.HasSuffix(e.ID, "|"+there.ID) {
			t.said.say(pagesNote)
		}
		if !ok {
			w, err := t.newPage(ctx, site, name, body, p.published())
			return w, cmp.Or(err, beside)
		}
		same, published, err := t.samePage(ctx, site, there.ID, print)
		switch {
		case err != nil:
			return engine.Written{}, err
		case same && !published && p.published(): // killed in between
			return engine.Written{ID: there.ID}, cmp.Or(t.api.PublishPage(ctx, site, there.ID), beside)
		case same || i == 0 && t.req.Conflict == conflictSkip:
			return engine.Written{ID: there.ID, Existed: true}, beside
		case i == 0 && t.req.Conflict == conflictReplace:
			beside = tenantry.Errorf(tenantry.Conflict, "restored beside the page of its name, which is left: Graph replaces no page")
		}
	}
	return engine.Written{}, tenantry.Errorf(tenantry.Conflict, "restore page %s: its name and those of its copies are taken", e.Name)
}

// pageNames are what a restored page may be called, in order. A page cannot be replaced: v1.0 has no way to.
func (t *siteTarget[P]) pageNames(name, print string) []string {
	if t.req.Folder != "" {
		ext := path.Ext(name)
		name = strings.TrimSuffix(name, ext) + " (" + t.req.Folder + ")" + ext
	}
	return names(name, repository.Part{Digest: []byte(print)})
}

func (t *siteTarget[P]) pageNamed(ctx context.Context, site, name string) (named, bool, error) {
	there, err := t.listed(pagesID+site, func(link string) (P, error) { return t.api.Pages(ctx, site, link) })
	for _, p := range there {
		if strings.EqualFold(p.Name, name) {
			return p, true, err
		}
	}
	return named{}, false, err
}

// listed returns what a list of the target showed when it was first asked for.
func (t *siteTarget[P]) listed(key string, list func(link string) (P, error)) ([]named, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.existing[key]; ok {
		return known, nil
	}
	var all []named
	err := walk(list, func(raw jsontext.Value) error {
		n, err := newNamed("what is there", raw)
		all = append(all, n)
		return err
	})
	if err == nil {
		t.existing[key] = all
	}
	return all, err
}

func (t *siteTarget[P]) samePage(ctx context.Context, site, id, print string) (same, published bool, err error) {
	raw, err := t.api.SitePage(ctx, site, id)
	if err != nil {
		return false, false, err
	}
	body, p, err := pageBody(raw)
	if err != nil {
		return false, false, err
	}
	return fingerprint(body) == print, p.published(), nil
}

func (t *siteTarget[P]) newPage(ctx context.Context, site, name string, body map[string]jsontext.Value, publish bool) (engine.Written, error) {
	quoted, err := jsontext.AppendQuote(nil, name)
	if err != nil {
		return engine.Written{}, tenantry.E(tenantry.Invalid, "restore page "+name, err)
	}
	body["name"] = quoted
	data, err := json.Marshal(body)
	if err != nil {
		return engine.Written{}, tenantry.E(tenantry.Internal, "write a page", err)
	}
	id, err := t.api.CreatePage(ctx, site, data)
	if err == nil && publish {
		err = t.api.PublishPage(ctx, site, id)
	}
	return engine.Written{ID: id}, err
}

// fingerprint tells JSON objects apart however their properties are ordered and spaced.
func fingerprint(properties map[string]jsontext.Value) string {
	canonical := make(map[string]jsontext.Value, len(properties))
	for name, v := range properties {
		v = v.Clone()
		if v.Canonicalize() == nil {
			canonical[name] = v
		}
	}
	data, _ := json.Marshal(canonical, json.Deterministic(true)) // it was JSON before
	return shortHash(data)
}
