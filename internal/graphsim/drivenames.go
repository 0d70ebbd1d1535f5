package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// sorted returns the children by name.
func (i *driveItem) sorted() []*driveItem {
	list := make([]*driveItem, 0, len(i.children))
	for _, child := range i.children {
		list = append(list, child)
	}
	slices.SortFunc(list, func(a, b *driveItem) int { return strings.Compare(a.name, b.name) })
	return list
}

func checkName(parent *driveItem, name string) error {
	switch {
	case !parent.isContainer():
		return fail(http.StatusBadRequest, "invalidRequest", "The parent is not a folder.")
	case name == "" || strings.ContainsAny(name, `"*:<>?/\|`) || strings.TrimSpace(name) != name || strings.HasSuffix(name, "."):
		return fail(http.StatusBadRequest, "invalidRequest", "The provided name cannot be used.")
	}
	return nil
}

func freeName(parent *driveItem, name string) string {
	stem, ext := name, ""
	if at := strings.LastIndexByte(name, '.'); at > 0 {
		stem, ext = name[:at], name[at:]
	}
	for n := 1; ; n++ {
		candidate := fmt.Sprintf("%s %d%s", stem, n, ext)
		if parent.children[fold(candidate)] == nil {
			return candidate
		}
	}
}

func nameAlreadyExists() *apiError {
	return fail(http.StatusConflict, "nameAlreadyExists", "The specified item name already exists.")
}

// at follows a relative path of names; nil if something on it is missing.
func (i *driveItem) at(path string) *driveItem {
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		if i = i.children[fold(name)]; i == nil {
			return nil
		}
	}
	return i
}

// path is the item's place below the root by names, without a leading slash.
func (i *driveItem) path() string {
	if i.parent == nil {
		return ""
	}
	if above := i.parent.path(); above != "" {
		return above + "/" + i.name
	}
	return i.name
}
