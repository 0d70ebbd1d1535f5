package workload

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The parts of a group's mailbox, each read and refused by itself.
const (
	partConversations = "part:conversations"
	partCalendar      = "part:calendar"
)

const (
	kindThread = "thread"
	threadID   = "thread:"
	eventID    = "event:"

	// kindGroupSite is an entry that names the site of a group, a resource of its own.
	kindGroupSite = "groupSite"
	groupSiteID   = "groupSite:" // and the ID of the site

	postsPart       = "posts.json"
	postAttachments = "attachments/" // and the ID of a post
	noAttachments   = "item:attachments"

	typeOccurrence = "occurrence"

	// viewSpan is what one calendar view spans at most; Exchange allows 1825 days.
	viewSpan = 1800 * 24 * time.Hour
	// viewAhead is how far into the future a group's calendar is saved, and viewBefore how long before the
	// group was made: events may have been copied into it.
	viewAhead  = 2 * 366 * 24 * time.Hour
	viewBefore = 366 * 24 * time.Hour

	// settling is how long after the last post in a thread its posts are compared, and not the thread alone, which
	// tells the second of the last post: another one may come in that second behind the reading. It leaves room for
	// clocks that differ and for posts that take their time.
	settling = 5 * time.Minute
	// maxHeld bounds the posts that are kept from comparing to storing them; those beyond are read twice.
	maxHeld = 8 << 20
)

// groupSource reads the mailbox of a Microsoft 365 group.
type groupSource[P Pages] struct {
	api   GroupReader[P]
	group string
	now   func() time.Time

	mu      sync.Mutex // guards refused, which parts read
	refused bool       // the attachments of posts
}

// NewGroupSource returns the source of a group's conversations and calendar; group is the Entra object ID. There
// is no delta of either: threads are compared by when something was last delivered to them, and by their posts where
// that was minutes ago; events by their change keys.
func NewGroupSource[P Pages](api GroupReader[P], group string) engine.Source {
	return &groupSource[P]{api: api, group: group, now: time.Now}
}

// Tree says that nothing moves between conversations and calendar.
func (s *groupSource[P]) Tree(id string) (string, bool) {
	switch {
	case id == engine.RootCollection, strings.HasPrefix(id, groupSiteID):
		return engine.RootCollection, true
	case id == partConversations, id == noAttachments, strings.HasPrefix(id, threadID):
		return partConversations, true
	case id == partCalendar, strings.HasPrefix(id, eventID):
		return partCalendar, true
	}
	return "", false
}

// Page reads one collection.
func (s *groupSource[P]) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	switch collection {
	case partConversations:
		return s.threads(ctx)
	case partCalendar:
		return s.calendar(ctx)
	}
	list := newChanges(3)
	for id, name := range map[string]string{partConversations: "Conversations", partCalendar: "Calendar"} {
		list.put(engine.Item{ID: id, Kind: engine.KindFolder, Name: name, ETag: "1", Collection: id, Apart: true})
	}
	site, err := s.site(ctx, link)
	if err != nil || site.ID == "" {
		return list.whole(), err
	}
	list.put(engine.Item{ID: groupSiteID + site.ID, Kind: kindGroupSite, Name: site.Name, ETag: site.Version, Raw: site.raw})
	next, err := json.Marshal(site, json.Deterministic(true))
	p := list.whole()
	p.Next = string(next)
	return p, err
}

// groupSite is the site of a group. It is what the link of the group remembers.
type groupSite struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`

	raw jsontext.Value
}

// site names the group's own site, which is backed up as a site; zero if it has none, or may not be known. A SharePoint
// that does not answer holds up no conversation: what was known goes on.
func (s *groupSource[P]) site(ctx context.Context, link string) (groupSite, error) {
	raw, err := s.api.GroupSite(ctx, s.group)
	switch tenantry.KindOf(err) {
	case "":
		n, err := newNamed("the site of a group", raw)
		return groupSite{n.ID, n.DisplayName, digest(raw), raw}, err
	case tenantry.NotFound, tenantry.Absent, tenantry.Denied:
		return groupSite{}, nil
	}
	var known groupSite
	if link != "" && parse("the link of a group", jsontext.Value(link), &known) != nil {
		known = groupSite{} // it only remembers
	}
	return known, ctx.Err()
}

type thread struct {
	ID          string   `json:"id"`
	Topic       string   `json:"topic"`
	Delivered   string   `json:"lastDeliveredDateTime"`
	Attachments bool     `json:"hasAttachments"`
	Senders     []string `json:"uniqueSenders"`
}

// threads lists the threads of the group, and once whether Microsoft gives their attachments.
func (s *groupSource[P]) threads(ctx context.Context) (engine.Page, error) {
	list, probed, held := newChanges(16), false, 0
	err := walk(func(link string) (P, error) { return s.api.GroupThreads(ctx, s.group, link) }, func(raw jsontext.Value) error {
		var t thread
		switch err := parse("a thread", raw, &t); {
		case err != nil:
			return err
		case t.ID == "":
			return tenantry.Errorf(tenantry.Internal, "read a thread: it has no ID")
		}
		if t.Attachments && !probed {
			probed = true
			if err := s.probe(ctx, list, t.ID); err != nil {
				return err
			}
		}
		item := engine.Item{
			ID: threadID + t.ID, Parent: partConversations, Kind: kindThread, Name: t.Topic, ETag: digest(raw), Modified: instant(t.Delivered),
			Date: instant(t.Delivered), From: strings.Join(t.Senders, ", "), Size: int64(len(raw)), Raw: raw,
			Parts: func(ctx context.Context) ([]engine.ItemPart, error) { return s.posts(ctx, t.ID) },
		}
		if s.now().Sub(item.Modified) < settling {
			held += s.unsettled(ctx, t.ID, &item, maxHeld-held)
		}
		list.put(item)
		return nil
	})
	return list.whole(), err
}

// unsettled has the version of a thread that may still get posts in the second of its last one hold those that it has. The
// first reading behind that time finds another version, and so reads the thread once more. It returns how many bytes of
// posts it keeps for the storing, at most room. Posts that cannot be read now are the storing's to read, and to tell of.
func (s *groupSource[P]) unsettled(ctx context.Context, thread string, item *engine.Item, room int) (held int) {
	item.ETag += unsettledMark
	posts, err := s.postList(ctx, thread)
	if err != nil {
		return 0
	}
	all := array(posts)
	item.ETag += digest(all)
	if len(all) > room {
		return 0
	}
	item.Parts = func(context.Context) ([]engine.ItemPart, error) { return s.postParts(thread, posts) }
	return len(all)
}

// unsettledMark stands before the digest of a thread's posts in its version.
const unsettledMark = "~"

func (s *groupSource[P]) postList(ctx context.Context, thread string) ([]jsontext.Value, error) {
	return collect(func(link string) (P, error) { return s.api.GroupPosts(ctx, s.group, thread, link) })
}

// probe asks for the attachments of one post: Microsoft's pages disagree whether an application may have them.
// Where it may not, one entry says so for all of them.
func (s *groupSource[P]) probe(ctx context.Context, list *changes, thread string) error {
	posts, err := s.postList(ctx, thread)
	if err != nil {
		if tenantry.KindOf(err) == tenantry.NotFound {
			return nil // gone again
		}
		return err
	}
	for _, raw := range posts {
		var p post
		if err := parse("a post", raw, &p); err != nil {
			return err
		}
		if !p.Attachments {
			continue
		}
		_, err := s.api.PostAttachments(ctx, s.group, thread, p.ID, "")
		switch tenantry.KindOf(err) {
		case tenantry.Denied, tenantry.Invalid, tenantry.Reconnect:
			s.mu.Lock()
			s.refused = true
			s.mu.Unlock()
			list.put(engine.Item{
				ID: noAttachments, Parent: partConversations, Kind: kindOther, Name: "Attachments of posts",
				Problem:     "Microsoft does not give them to applications (" + tenantry.CodeOf(err) + ")",
				ProblemKind: tenantry.Denied,
			})
			return nil
		case tenantry.NotFound:
			return nil
		}
		return err
	}
	return nil
}

type post struct {
	ID          string `json:"id"`
	Attachments bool   `json:"hasAttachments"`
}

// posts reads the posts of a thread and their attachments, if they can be had.
func (s *groupSource[P]) posts(ctx context.Context, thread string) ([]engine.ItemPart, error) {
	list, err := s.postList(ctx, thread)
	if err != nil {
		return nil, err
	}
	return s.postParts(thread, list)
}

func (s *groupSource[P]) postParts(thread string, list []jsontext.Value) ([]engine.ItemPart, error) {
	s.mu.Lock()
	refused := s.refused
	s.mu.Unlock()
	parts := []engine.ItemPart{bytesPart(postsPart, array(list))}
	for _, raw := range list {
		var p post
		if err := parse("a post", raw, &p); err != nil {
			return nil, err
		}
		if !p.Attachments || refused {
			continue
		}
		parts = append(parts, engine.ItemPart{
			Name: postAttachments + p.ID, Version: digest(raw),
			Open: func(ctx context.Context) (io.ReadCloser, error) {
				list, err := collect(func(link string) (P, error) { return s.api.PostAttachments(ctx, s.group, thread, p.ID, link) })
				return bytesBody(array(list)), err
			},
		})
	}
	return parts, nil
}

// calendar lists the events of the group by views of its calendar, which are all that an application gets:
// single events and exceptions as they are, series by their masters.
func (s *groupSource[P]) calendar(ctx context.Context) (engine.Page, error) {
	created, err := s.api.GroupCreated(ctx, s.group)
	if err != nil {
		return engine.Page{}, err
	}
	list := newChanges(16)
	end := s.now().Add(viewAhead)
	from := created.Add(-viewBefore)
	if created.IsZero() {
		from = end.Add(-viewSpan)
	}
	for ; from.Before(end); from = from.Add(viewSpan) {
		to := from.Add(viewSpan)
		if to.After(end) {
			to = end
		}
		err := walk(func(link string) (P, error) { return s.api.GroupCalendarView(ctx, s.group, from, to, link) }, func(raw jsontext.Value) error {
			return s.event(list, raw)
		})
		if err != nil {
			return engine.Page{}, err
		}
	}
	return list.whole(), nil
}

// event adds an event of a view: the series in the place of an occurrence.
func (s *groupSource[P]) event(list *changes, raw jsontext.Value) error {
	var e struct {
		event
		Master string `json:"seriesMasterId"`
	}
	if err := parse("an event of a group", raw, &e); err != nil {
		return err
	}
	if e.ID == "" {
		return tenantry.Errorf(tenantry.Internal, "read an event of a group: it has no ID")
	}
	if e.Master != "" {
		list.put(engine.Item{ID: eventID + e.Master, Parent: partCalendar, Kind: kindEvent, Load: func(ctx context.Context) (engine.Item, error) {
			whole, err := s.api.GroupEvent(ctx, s.group, e.Master)
			if err != nil {
				return engine.Item{}, err
			}
			return groupEvent(whole)
		}})
	}
	if e.Type == typeOccurrence {
		return nil
	}
	item, err := groupEvent(raw)
	list.put(item)
	return err
}

func groupEvent(raw jsontext.Value) (engine.Item, error) {
	var e event
	err := e.parse(raw)
	return engine.Item{
		ID: eventID + e.ID, Parent: partCalendar, Kind: kindEvent, Name: e.Subject, ETag: version(e.ChangeKey, e.ETag, raw),
		Modified: instant(e.Modified), Size: int64(len(raw)), Raw: raw,
	}, err
}

// Reread returns the posts of a thread that could not be read before.
func (s *groupSource[P]) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	if e.Kind != kindThread {
		return nil
	}
	return func(ctx context.Context) ([]engine.ItemPart, error) {
		return s.posts(ctx, strings.TrimPrefix(e.ID, threadID))
	}
}

// groupTarget refuses to write.
type groupTarget struct{}

// NewGroupTarget returns a target that writes nothing and says why: posts and events of a group can be
// written by persons alone (Graph permissions reference).
func NewGroupTarget() engine.Target { return groupTarget{} }

// Folder implements engine.Target.
func (groupTarget) Folder(context.Context, string, repository.Entry, []byte) (string, error) {
	return "", errGroupWrite()
}

// Item implements engine.Target.
func (groupTarget) Item(_ context.Context, _ string, e repository.Entry, _ []byte, _ engine.OpenPart) (engine.Written, error) {
	if e.Kind == kindGroupSite {
		return engine.Written{ID: e.ID, Left: true}, nil // it is a resource of its own
	}
	return engine.Written{}, errGroupWrite()
}

func errGroupWrite() error {
	return tenantry.Errorf(tenantry.Invalid, "restore a group: Microsoft lets no application write conversations and events of groups; export them")
}
