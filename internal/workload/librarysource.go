package workload

import (
	"context"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The files of a library are rows of a list, with values in its columns. The delta of the drive shows them where it is
// asked to expand each item's row, so that they cost no request more; a change of a value is a change of the file.

const (
	// libraryPart is the list that a library is, with its columns: a restore of a single file needs them, too.
	libraryPart = "library.json"
	// rowPrefix precedes the digest of a file's row in the file's version: rows that are seen for the first time
	// make no new version of a file by themselves.
	rowPrefix = " row:"
	// withRows and withoutRows precede the links of a library's delta. A link goes on as it began, so that one of an
	// earlier release, which has neither, would never show rows.
	withRows    = "rows "
	withoutRows = "no rows "
	// noRows is the name, behind that of a drive, of the entry that says that there are none.
	noRows = "columns of files"
)

// fileRow is the row of a file in the list that its library is.
type fileRow struct {
	Fields map[string]jsontext.Value
	Type   string // the name of its content type, "" if it has none

	raw jsontext.Value
}

// UnmarshalJSON keeps the row as it came.
func (r *fileRow) UnmarshalJSON(raw []byte) error {
	var row struct {
		Fields map[string]jsontext.Value `json:"fields"`
		Type   struct {
			Name string `json:"name"`
		} `json:"contentType"`
	}
	if err := json.Unmarshal(raw, &row, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return err
	}
	r.Fields, r.Type, r.raw = row.Fields, row.Type.Name, jsontext.Value(raw).Clone()
	return nil
}

// libraryIDs say of which site a drive is a library, and which list it is ("drive resource type": sharePointIds).
type libraryIDs struct {
	Site string `json:"siteId"`
	Web  string `json:"webId"`
	URL  string `json:"siteUrl"`
	List string `json:"listId"`
}

func readLibraryIDs(drive jsontext.Value) (libraryIDs, error) {
	var d struct {
		IDs libraryIDs `json:"sharePointIds"`
	}
	err := parse("a drive", drive, &d)
	return d.IDs, err
}

// site is the ID by which Graph knows the site: its host, and those of site collection and site ("site resource type").
// Empty where the drive does not tell.
func (l *libraryIDs) site() string {
	u, err := url.Parse(l.URL)
	if err != nil || u.Host == "" || l.Site == "" || l.Web == "" {
		return ""
	}
	return u.Host + "," + l.Site + "," + l.Web
}

// library returns a drive as an item that parent holds, with the list that it is, if that is among those known by ID.
func (s *driveTree[P]) library(parent string, raw jsontext.Value, libraries map[string]jsontext.Value) (engine.Item, error) {
	item, err := s.listed(parent, raw)
	if err != nil {
		return item, err
	}
	ids, err := readLibraryIDs(raw)
	if err != nil {
		return item, err
	}
	if list, ok := libraries[ids.List]; ok {
		part := bytesPart(libraryPart, list)
		item.ETag = digest(append([]byte(item.ETag), part.Version...))
		item.Parts = func(context.Context) ([]engine.ItemPart, error) { return []engine.ItemPart{part}, nil }
	}
	return item, nil
}

// libraryPage reads a page of a library. Where the service refuses to expand rows, files are saved without them, and an
// entry of its own says so.
func (s *driveTree[P]) libraryPage(ctx context.Context, rows LibraryReader[P], collection, link string) (engine.Page, error) {
	tree, prefix := *s, withRows
	tree.changes = rows.LibraryChanges
	next, known := strings.CutPrefix(link, withRows)
	if !known && link != "" {
		if next, known = strings.CutPrefix(link, withoutRows); !known {
			return engine.Page{}, tenantry.Errorf(tenantry.Resync, "read %s: its link shows no values of files", collection)
		}
		tree.changes, prefix = s.api.DriveChanges, withoutRows
	}
	p, err := tree.page(ctx, collection, next)
	if kind := tenantry.KindOf(err); (kind == tenantry.Invalid || kind == tenantry.Denied) && link == "" {
		refused := err
		tree.changes, prefix = s.api.DriveChanges, withoutRows
		if p, err = tree.page(ctx, collection, ""); err == nil {
			p.Items = append(p.Items, engine.Item{
				ID: collection + "/" + noRows, Parent: collection, Kind: kindOther, Name: noRows,
				Problem: refused.Error(), ProblemKind: kind,
			})
		}
	}
	if err == nil && p.Next != "" {
		p.Next = prefix + p.Next
	}
	return p, err
}
