package workload

import (
	"context"
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
	Fields map[string]jsontext.Value `json:"fields"`

	raw jsontext.Value
}

// UnmarshalJSON keeps the row as it came.
func (r *fileRow) UnmarshalJSON(raw []byte) error {
	var row struct {
		Fields map[string]jsontext.Value `json:"fields"`
	}
	if err := json.Unmarshal(raw, &row, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return err
	}
	r.Fields, r.raw = row.Fields, jsontext.Value(raw).Clone()
	return nil
}

// newLibraries returns the drives of a site, whose files are shown with their rows.
func newLibraries[P Pages](api SiteReader[P], o tenantry.BackupOptions) driveTree[P] {
	tree := newDriveTree[P](api, o)
	tree.changes = api.LibraryChanges
	return tree
}

// library returns a drive of a site as an item that the site holds, with the list that it is.
func (s *siteSource[P]) library(site string, raw jsontext.Value, libraries map[string]jsontext.Value) (engine.Item, error) {
	item, err := s.listed(site, raw)
	if err != nil {
		return item, err
	}
	var d struct {
		IDs struct {
			List string `json:"listId"`
		} `json:"sharePointIds"`
	}
	if err := parse("a drive", raw, &d); err != nil {
		return item, err
	}
	if list, ok := libraries[d.IDs.List]; ok {
		part := bytesPart(libraryPart, list)
		item.ETag = digest(append([]byte(item.ETag), part.Version...))
		item.Parts = func(context.Context) ([]engine.ItemPart, error) { return []engine.ItemPart{part}, nil }
	}
	return item, nil
}

// files reads a page of a library. Where the service refuses to expand rows, files are saved without them, and an entry
// of its own says so.
func (s *siteSource[P]) files(ctx context.Context, collection, link string) (engine.Page, error) {
	tree, prefix := s.driveTree, withRows
	next, known := strings.CutPrefix(link, withRows)
	if !known && link != "" {
		if next, known = strings.CutPrefix(link, withoutRows); !known {
			return engine.Page{}, tenantry.Errorf(tenantry.Resync, "read %s: its link shows no values of files", collection)
		}
		tree.changes, prefix = s.api.DriveChanges, withoutRows
	}
	p, err := tree.page(ctx, collection, next)
	if tenantry.KindOf(err) == tenantry.Invalid && link == "" {
		refused := err
		tree.changes, prefix = s.api.DriveChanges, withoutRows
		if p, err = tree.page(ctx, collection, ""); err == nil {
			p.Items = append(p.Items, engine.Item{
				ID: collection + "/" + noRows, Parent: collection, Kind: kindOther, Name: noRows,
				Problem: refused.Error(), ProblemKind: tenantry.Invalid,
			})
		}
	}
	if err == nil && p.Next != "" {
		p.Next = prefix + p.Next
	}
	return p, err
}
