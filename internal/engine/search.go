package engine

import (
	"context"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
)

// Query says what Search looks for. What is empty does not matter; all that is given must hold.
type Query struct {
	Text   string    // in the name (a subject, a file's name) or the sender, in any case
	From   string    // in the sender, in any case
	Kind   string    // exactly
	Since  time.Time // received, or else changed, at that time or later
	Before time.Time // received, or else changed, before that time
	Folder string    // ID of the folder it lies in directly
}

// Search returns what a query matches: at most limit entries (1 to MaxListing) behind the page that
// token after names, "" for the first. Of one folder it comes by name, then ID, else by ID. It passes
// over the index of the snapshot, or of the folder, once, holding no more than a page of it.
// Invalid: a token that Search did not make. NotFound: no such folder.
func Search(ctx context.Context, snap Snapshot, q Query, after string, limit int) (Listing, error) {
	name, id, err := parseToken(after)
	if err != nil {
		return Listing{}, err
	}
	entries := snap.EntriesAfter(ctx, id)
	if q.Folder != "" {
		if err := mustHave(ctx, snap, q.Folder); err != nil {
			return Listing{}, err
		}
		if entries = snap.Children(ctx, q.Folder); after != "" {
			entries = snap.ChildrenAfter(ctx, q.Folder, name, id)
		}
	}
	q.Text, q.From = strings.ToLower(q.Text), strings.ToLower(q.From)
	limit = max(1, min(limit, MaxListing))
	var l Listing
	for e, err := range entries {
		switch {
		case err != nil:
			return Listing{}, err
		case !q.matches(&e):
			continue
		case len(l.Entries) == limit:
			l.Next = pageToken(l.Entries[limit-1])
			return l, nil
		}
		l.Entries = append(l.Entries, e)
	}
	return l, nil
}

// matches expects Text and From in lower case.
func (q *Query) matches(e *repository.Entry) bool {
	date := e.Date
	if date.IsZero() {
		date = e.Modified
	}
	switch {
	case q.Kind != "" && q.Kind != e.Kind,
		!q.Since.IsZero() && date.Before(q.Since),
		!q.Before.IsZero() && (date.IsZero() || !date.Before(q.Before)):
		return false
	}
	from := strings.ToLower(e.From)
	return strings.Contains(from, q.From) &&
		(strings.Contains(strings.ToLower(e.Name), q.Text) || strings.Contains(from, q.Text))
}
