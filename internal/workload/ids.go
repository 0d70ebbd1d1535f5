package workload

import (
	"strings"

	"github.com/tenantry/tenantry/internal/engine"
)

// What the IDs of our own begin with. Behind a slash follows the ID of what lies in such a tree.
const (
	driveID    = "drive:"
	listID     = "list:" // site and list, with a bar between them
	messagesID = "messages:"
	siteID     = "site:"
	libraryID  = "library:" // site and list
	pagesID    = "pages:"   // of a site
	pageID     = "page:"    // site and page
)

// treeOf returns the tree that an ID is of or in: nothing moves from one to another. The root is one, too, and so
// are the lists of what sites hold.
func treeOf(id string) (tree string, ok bool) {
	if id == engine.RootCollection {
		return id, true
	}
	for _, prefix := range []string{driveID, listID, messagesID, siteID, pagesID} {
		if strings.HasPrefix(id, prefix) {
			tree, _, _ = strings.Cut(id, "/")
			return tree, true
		}
	}
	return "", false
}

// within returns the ID of what lies in a tree, as the service calls it; "" for the tree itself.
func within(id string) string {
	_, item, _ := strings.Cut(id, "/")
	return item
}
