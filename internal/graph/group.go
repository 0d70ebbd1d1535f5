package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// threadPage is how many threads or posts of a group come in one page.
const threadPage = 50

// groupRead is a request about a group's mailbox.
func (t *Tenant) groupRead(op, group string, query url.Values, path ...string) call {
	return t.client.build.plain(op, http.MethodGet, t.outlook(group), query, append([]string{OfGroup, group}, path...)...)
}

// GroupCreated returns when a group was made.
func (t *Tenant) GroupCreated(ctx context.Context, group string) (time.Time, error) {
	const op = "read when a group was made"
	if err := given(op, group); err != nil {
		return time.Time{}, err
	}
	doc, err := t.document(ctx, t.client.build.plain(op, http.MethodGet, t.identity(identityObject), url.Values{"$select": {"createdDateTime"}}, OfGroup, group))
	if err != nil {
		return time.Time{}, err
	}
	var g struct {
		Created time.Time `json:"createdDateTime"`
	}
	if err := json.Unmarshal(doc, &g); err != nil {
		return time.Time{}, misread(op, err)
	}
	return g.Created, nil
}

// GroupThreads lists the threads of a group's conversations.
func (t *Tenant) GroupThreads(ctx context.Context, group, link string) (RawPage, error) {
	const op = "list the threads of a group"
	if err := given(op, group); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.groupRead(op, group, listQuery(threadPage, "", ""), "threads"), link, false)
}

// GroupPosts lists the posts of a thread.
func (t *Tenant) GroupPosts(ctx context.Context, group, thread, link string) (RawPage, error) {
	const op = "list the posts of a thread"
	if err := given(op, group, thread); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.groupRead(op, group, listQuery(threadPage, "", ""), "threads", thread, "posts"), link, false)
}

// PostAttachments lists the attachments of a post with their content. Denied where Microsoft does not let an
// application read them: its pages disagree whether it does.
func (t *Tenant) PostAttachments(ctx context.Context, group, thread, post, link string) (RawPage, error) {
	const op = "list the attachments of a post"
	if err := given(op, group, thread, post); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.groupRead(op, group, nil, "threads", thread, "posts", post, "attachments"), link, false)
}

// GroupCalendarView lists single events, occurrences and exceptions of a group's calendar between two times,
// which are 1825 days apart at most.
func (t *Tenant) GroupCalendarView(ctx context.Context, group string, from, to time.Time, link string) (RawPage, error) {
	const op = "list the events of a group"
	if err := given(op, group); err != nil {
		return RawPage{}, err
	}
	query := listQuery(findPage, "", "")
	query.Set("startDateTime", from.UTC().Format(time.RFC3339))
	query.Set("endDateTime", to.UTC().Format(time.RFC3339))
	return t.mailPage(ctx, t.groupRead(op, group, query, "calendarView"), link, false)
}

// GroupEvent returns one event of a group: the master of a series, for example.
func (t *Tenant) GroupEvent(ctx context.Context, group, event string) (jsontext.Value, error) {
	const op = "read an event of a group"
	if err := given(op, group, event); err != nil {
		return nil, err
	}
	doc, err := t.document(ctx, t.groupRead(op, group, nil, "events", event))
	return doc, mailError(err)
}
