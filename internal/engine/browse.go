package engine

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// MaxListing is the most entries that one page of Browse holds.
const MaxListing = 1000

// Listing is one page of a folder's content, or of what a search has found.
type Listing struct {
	Entries  []repository.Entry
	Next     string // token of the next page, "" at the end
	Examined int    // entries that a search looked at for it
}

// Browse lists what lies directly in a folder of a snapshot ("" for its root), in ascending name,
// then ID: at most limit entries (1 to MaxListing) behind the page that token after names, "" for
// the first. Invalid: a token that Browse did not make. NotFound: no such folder.
func Browse(ctx context.Context, snap Snapshot, folder, after string, limit int) (Listing, error) {
	name, id, err := parseToken(after)
	if err != nil {
		return Listing{}, err
	}
	if err := mustHave(ctx, snap, folder); err != nil {
		return Listing{}, err
	}
	limit = max(1, min(limit, MaxListing))
	var l Listing
	entries := snap.Children(ctx, folder)
	if after != "" {
		entries = snap.ChildrenAfter(ctx, folder, name, id)
	}
	for e, err := range entries {
		if err != nil {
			return Listing{}, err
		}
		if len(l.Entries) == limit {
			l.Next = pageToken(l.Entries[limit-1])
			break
		}
		l.Entries = append(l.Entries, e)
	}
	return l, nil
}

func mustHave(ctx context.Context, snap Snapshot, folder string) error {
	if folder == "" {
		return nil
	}
	_, ok, err := snap.Lookup(ctx, folder)
	if err == nil && !ok {
		err = tenantry.Errorf(tenantry.NotFound, "browse folder %s: it is not in this snapshot", folder)
	}
	return err
}

// pageToken names the position behind an entry.
func pageToken(e repository.Entry) string {
	return base64.RawURLEncoding.EncodeToString([]byte(e.ID + "\x00" + e.Name))
}

// parseToken reads the position behind which a page begins. The ID comes first: it holds no NUL.
func parseToken(token string) (name, id string, err error) {
	if token == "" {
		return "", "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", "", tenantry.E(tenantry.Invalid, "read page token", err)
	}
	id, name, ok := strings.Cut(string(text), "\x00")
	if !ok {
		return "", "", tenantry.Errorf(tenantry.Invalid, "read page token: it is not one of ours")
	}
	return name, id, nil
}
