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
	To     string    // in the recipients, in any case
	Kind   string    // exactly
	Since  time.Time // received, or else changed, at that time or later
	Before time.Time // received, or else changed, before that time
	Folder string    // ID of the folder it lies in directly
	In     string    // in the name of the folder it lies in directly, in any case
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
	q.Text, q.From, q.To = strings.ToLower(q.Text), strings.ToLower(q.From), strings.ToLower(q.To)
	places := places{snap: snap, text: strings.ToLower(q.In), known: map[string]bool{}}
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
		if !q.matches(&e) {
			continue
		}
		inside, err := places.hold(ctx, e.Parent)
		if err != nil {
			return Listing{}, err
		}
		if inside {
			l.Entries = append(l.Entries, e)
		}
	}
	return l, nil
}

// places are folders by their names.
type places struct {
	snap  Snapshot
	text  string          // in lower case; "" is in every name
	known map[string]bool // by ID: whether its name has the text; at most one for each entry that was looked at
}

// hold reports whether the folder is one of them.
func (p *places) hold(ctx context.Context, folder string) (bool, error) {
	if p.text == "" || folder == "" {
		return p.text == "", nil
	}
	is, ok := p.known[folder]
	if !ok {
		e, _, err := p.snap.Lookup(ctx, folder)
		if err != nil {
			return false, err
		}
		is = strings.Contains(strings.ToLower(e.Name), p.text)
		p.known[folder] = is
	}
	return is, nil
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

// matches expects Text, From and To in lower case; In is not its affair.
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
	return strings.Contains(from, q.From) && strings.Contains(strings.ToLower(e.To), q.To) &&
		(strings.Contains(strings.ToLower(e.Name), q.Text) || strings.Contains(from, q.Text))
}
