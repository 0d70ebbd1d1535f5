package engine

import (
	"context"
	"iter"
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
// over the index of the snapshot, or of the folder, holding no more than a page of it, and looks at no
// more than examine entries (1 at least): a page may have fewer than limit, or none, and still have a Next.
// Invalid: a token that Search did not make. NotFound: no such folder.
func Search(ctx context.Context, snap Snapshot, q Query, after string, limit, examine int) (Listing, error) {
	entries, err := within(ctx, snap, q.Folder, after)
	if err != nil {
		return Listing{}, err
	}
	q.Text, q.From = strings.ToLower(q.Text), strings.ToLower(q.From)
	limit, examine = max(1, min(limit, MaxListing)), max(1, examine)
	var l Listing
	var last repository.Entry
	for e, err := range entries {
		switch {
		case err != nil:
			return Listing{}, err
		case l.Examined == examine || len(l.Entries) == limit:
			l.Next = pageToken(last)
			return l, nil
		}
		l.Examined++
		last = e
		if q.matches(&e) {
			l.Entries = append(l.Entries, e)
		}
	}
	return l, nil
}

// within yields what lies in a folder, or in the whole snapshot, behind a page.
func within(ctx context.Context, snap Snapshot, folder, after string) (iter.Seq2[repository.Entry, error], error) {
	name, id, err := parseToken(after)
	if err != nil || folder == "" {
		return snap.EntriesAfter(ctx, id), err
	}
	if err := mustHave(ctx, snap, folder); err != nil {
		return nil, err
	}
	if after == "" {
		return snap.Children(ctx, folder), nil
	}
	return snap.ChildrenAfter(ctx, folder, name, id), nil
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
