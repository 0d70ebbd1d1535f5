package graphsim

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

func libraryItemRoutes() []route {
	return driveItemRoutes(
		driveOperation{"GET", 1, rolesSites, []string{"$select", "$expand"}}.at("listItem", getItemRow),
		driveOperation{"GET", 1, rolesSites, []string{"$select"}}.at("listItem/fields", getItemFields),
		driveWrite("PATCH", rolesSitesWrite).at("listItem/fields", patchItemFields),
	)
}

// libraryFields are the values of a file in the list that its library is.
func (d *drive) libraryFields(item *driveItem, sel selection) []byte {
	o := newObject(sel)
	o.str("@odata.etag", item.etag())
	for _, name := range slices.Sorted(maps.Keys(item.fields)) {
		o.raw(name, string(item.fields[name]))
	}
	o.str("FileLeafRef", item.name)
	o.str("id", strconv.FormatUint(item.number, 10))
	kind := "Document"
	if item.isContainer() {
		kind = "Folder"
	}
	o.str("ContentType", kind)
	return o.done()
}

// getItemRow shows a file as the row of its library's list ("driveItem resource type").
func getItemRow(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		o := newObject(c.sel)
		o.str("@odata.etag", item.etag())
		o.str("id", strconv.FormatUint(item.number, 10))
		o.str("eTag", item.etag())
		o.instant("createdDateTime", item.created)
		o.instant("lastModifiedDateTime", item.touched)
		kind, name := fileTypeID, "Document"
		if item.isContainer() {
			kind, name = folderTypeID, "Folder"
		}
		o.raw("contentType", `{"id":"`+kind+`","name":"`+name+`"}`)
		o.raw("sharepointIds", d.sharePointIDs(item))
		if sel, wanted := c.fieldSelection(); wanted {
			o.always("fields")
			o.b = append(o.b, d.libraryFields(item, sel)...)
		}
		return c.json(http.StatusOK, o.done())
	})
}

func getItemFields(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error { return c.json(http.StatusOK, d.libraryFields(item, c.sel)) })
}

// patchItemFields sets the columns of a file: of those the seed makes, the title.
func patchItemFields(c *call) error {
	values := map[string]json.RawMessage{}
	if err := c.decode(&values); err != nil {
		return err
	}
	for name := range values {
		if name != "Title" {
			return fail(http.StatusBadRequest, "invalidRequest", "Field '%s' is not recognized", name)
		}
	}
	return c.withItem(func(d *drive, item *driveItem) error {
		if err := c.unchanged(item); err != nil {
			return err
		}
		merged := maps.Clone(item.fields)
		if merged == nil {
			merged = map[string]json.RawMessage{}
		}
		maps.Copy(merged, values)
		item.fields, item.editor = merged, c.application()
		d.note(item)
		return c.json(http.StatusOK, d.libraryFields(item, nil))
	})
}
