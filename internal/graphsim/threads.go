package graphsim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// thread is a thread of a group's conversations; each generated conversation has one.
type thread struct {
	number  uint64
	subject string
	posts   []*mailContent
}

// threadsOf are the threads of a group, made from the seed on first use.
func (b *mailbox) threadsOf() []*thread {
	if b.threads != nil || b.t.spec.ThreadsPerGroup == 0 {
		return b.threads
	}
	for i := range b.t.spec.ThreadsPerGroup {
		seed := mix(b.seed, 'h', uint64(i))
		r := newRand(seed)
		t := &thread{number: uint64(i) + 1, subject: sentence(r, 2+r.IntN(5))}
		for n := range 1 + r.IntN(4) {
			post := b.generateMail(firstMessage + seed%100_000 + uint64(n))
			post.isDraft, post.subject = false, t.subject
			post.received = epoch.Add(-time.Duration(i*7-n) * time.Hour)
			t.posts = append(t.posts, post)
		}
		b.threads = append(b.threads, t)
	}
	return b.threads
}

func (t *thread) last() *mailContent { return t.posts[len(t.posts)-1] }

// AddPost adds a post to the thread of a group with that subject, or begins one.
func (t *Tenant) AddPost(group, subject, html string, attachments ...AttachmentSpec) error {
	return t.AddPostAt(group, subject, html, time.Now(), attachments...)
}

// AddPostAt is AddPost of a post that is received at that time, of which threads and posts tell the second.
func (t *Tenant) AddPostAt(group, subject, html string, received time.Time, attachments ...AttachmentSpec) error {
	return t.withGroupMailbox(group, func(b *mailbox) error {
		b.threadsOf()
		at := slices.IndexFunc(b.threads, func(x *thread) bool { return x.subject == subject })
		if at < 0 {
			b.threads = append(b.threads, &thread{number: uint64(len(b.threads)) + 1, subject: subject})
			at = len(b.threads) - 1
		}
		now := received.UTC().Truncate(time.Second)
		self := b.self
		post := &mailContent{subject: subject, bodyType: "html", body: html, from: &self, sender: &self,
			received: now, sent: now, created: now, importance: "normal", flag: flag{status: "notFlagged"}}
		for _, a := range attachments {
			post.add(a.file())
		}
		b.threads[at].posts = append(b.threads[at].posts, post)
		return nil
	})
}

// PostTruth is one post of a group's conversations.
type PostTruth struct {
	Topic    string    `json:"topic"`
	Received time.Time `json:"received"`
	From     string    `json:"from"`
	Body     string    `json:"body"` // SHA-256 (hex)
	// Attachments are given to applications by ExchangeOptions.PostAttachments alone.
	Attachments []AttachmentTruth `json:"attachments,omitempty"`
}

// PostTruth returns every post of a group, by thread and age.
func (t *Tenant) PostTruth(group string) ([]PostTruth, error) {
	list := []PostTruth{}
	err := t.withGroupMailbox(group, func(b *mailbox) error {
		for _, th := range b.threadsOf() {
			for _, p := range th.posts {
				sum := sha256.Sum256([]byte(p.text()))
				attachments, err := attachmentTruths(p)
				if err != nil {
					return err
				}
				list = append(list, PostTruth{Topic: th.subject, Received: p.received, From: p.from.Address, Body: hex.EncodeToString(sum[:]), Attachments: attachments})
			}
		}
		return nil
	})
	return list, err
}

func (t *Tenant) isGroup(id string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.groups.find(id) != nil
}

// withGroupMailbox calls do with the mailbox of a Microsoft 365 group, locked.
func (t *Tenant) withGroupMailbox(group string, do func(*mailbox) error) error {
	t.mu.Lock()
	e := t.groups.find(group)
	if e == nil || !e.unified {
		t.mu.Unlock()
		return fmt.Errorf("graphsim: no mailbox of group %q", group)
	}
	b := t.groupMailbox(e)
	t.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	return do(b)
}

// groupMailbox is a group's, laid out on first use; called under the tenant's lock.
func (t *Tenant) groupMailbox(e *entry) *mailbox {
	b := t.mailboxes[e.id]
	if b == nil {
		b = newMailbox(t, e, 0)
		t.mailboxes[e.id] = b
	}
	return b
}

// withGroupBox calls do with the mailbox of the group of the request, locked.
func (c *call) withGroupBox(do func(*mailbox) error) error {
	c.t.mu.Lock()
	e := c.t.groups.active(c.param("group"))
	if e == nil || !e.unified {
		c.t.mu.Unlock()
		if e == nil {
			return directoryNotFound(c.param("group"))
		}
		return mailboxNotEnabled()
	}
	b := c.t.groupMailbox(e)
	c.t.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	return do(b)
}

func groupMailRoutes() []route {
	read := func(pattern string, handle func(*call) error) route {
		return route{method: "GET", pattern: pattern, service: outlook, roles: rolesConversations, handle: handle}
	}
	const base = "groups/{group}/"
	list := []route{read(base+"conversations", listConversations), read(base+"conversations/{conversation}", getConversation),
		{method: "GET", pattern: base + "calendarView", service: outlook, roles: rolesCalendars, handle: groupCalendarView},
		{method: "GET", pattern: base + "events", service: outlook, roles: slices.Concat(rolesConversations, rolesCalendars), handle: listGroupEvents},
		{method: "GET", pattern: base + "events/{event}", service: outlook, roles: rolesCalendars, handle: getGroupEvent}}
	for _, at := range []string{base + "threads", base + "conversations/{conversation}/threads"} {
		list = append(list, read(at, listThreads), read(at+"/{thread}", getThread), read(at+"/{thread}/posts", listPosts),
			read(at+"/{thread}/posts/{post}", getPost), read(at+"/{thread}/posts/{post}/attachments", listPostAttachments))
	}
	// What the permissions reference lists for delegated callers alone.
	for _, operation := range [][2]string{{"POST", "threads"}, {"POST", "conversations"}, {"POST", "threads/{thread}/reply"},
		{"POST", "threads/{thread}/posts/{post}/reply"}, {"POST", "events"}} {
		list = append(list, route{method: operation[0], pattern: base + operation[1], service: outlook, roles: slices.Concat(rolesConversations, rolesCalendars), handle: delegatedOnly})
	}
	return list
}

func delegatedOnly(*call) error {
	return fail(http.StatusForbidden, "ErrorAccessDenied", "The operation is not supported with application permissions.")
}

const (
	conversationKind = 'V'
	threadKind       = 'H'
	postKind         = 'P'
)

func (b *mailbox) renderConversation(t *thread, sel selection) []byte {
	o := newObject(sel)
	o.str("id", b.itemID(conversationKind, t.number, 0))
	o.str("topic", t.subject)
	b.renderThreadCommon(o, t)
	return o.done()
}

func (b *mailbox) renderThreadCommon(o *object, t *thread) {
	senders := []string{}
	attached := false
	for _, p := range t.posts {
		attached = attached || p.hasAttachments()
		if !slices.Contains(senders, p.from.Name) {
			senders = append(senders, p.from.Name)
		}
	}
	o.boolean("hasAttachments", attached)
	o.instant("lastDeliveredDateTime", t.last().received)
	o.strings("uniqueSenders", senders)
	o.str("preview", preview(t.last().text(), t.last().bodyType))
}

func (b *mailbox) renderThread(t *thread, sel selection) []byte {
	o := newObject(sel)
	o.str("id", b.itemID(threadKind, t.number, 0))
	o.str("topic", t.subject)
	b.renderThreadCommon(o, t)
	o.raw("toRecipients", addressesJSON([]address{b.self}))
	o.raw("ccRecipients", "[]")
	o.boolean("isLocked", false)
	return o.done()
}

func (b *mailbox) renderPost(t *thread, i int, sel selection) []byte {
	p := t.posts[i]
	o := newObject(sel)
	o.str("id", b.itemID(postKind, t.number, uint32(i)))
	o.instant("createdDateTime", p.created)
	o.instant("lastModifiedDateTime", p.received)
	o.str("changeKey", changeKey(t.number, uint32(i)))
	o.strings("categories", p.categories)
	o.instant("receivedDateTime", p.received)
	o.boolean("hasAttachments", p.hasAttachments())
	o.raw("body", `{"contentType":`+quoted(p.bodyType)+`,"content":`+quoted(p.text())+`}`)
	o.raw("from", addressJSON(p.from))
	o.raw("sender", addressJSON(p.sender))
	o.str("conversationThreadId", b.itemID(threadKind, t.number, 0))
	o.str("conversationId", b.itemID(conversationKind, t.number, 0))
	o.raw("newParticipants", "[]")
	return o.done()
}

// threadAt is the thread that an ID of a conversation, thread or post names.
func (b *mailbox) threadAt(kind byte, id string) (t *thread, post int, err error) {
	given, number, extra, ok := b.parseID(id)
	list := b.threadsOf()
	if !ok || given != kind || number == 0 || number > uint64(len(list)) {
		return nil, 0, mailItemNotFound()
	}
	return list[number-1], int(extra), nil
}

// withThread calls do with the thread of the request.
func (c *call) withThread(do func(*mailbox, *thread) error) error {
	return c.withGroupBox(func(b *mailbox) error {
		t, _, err := b.threadAt(threadKind, c.param("thread"))
		if err != nil {
			return err
		}
		return do(b, t)
	})
}

func (c *call) listThreadsAs(b *mailbox, list []*thread, render func(*thread, selection) []byte) error {
	return c.list(listing{count: len(list), usual: 10, most: 1000, param: "$skip",
		render: func(i int) []byte { return render(list[i], c.sel) }, full: func(i int) []byte { return render(list[i], nil) }})
}

func listConversations(c *call) error {
	return c.withGroupBox(func(b *mailbox) error { return c.listThreadsAs(b, b.threadsOf(), b.renderConversation) })
}

func getConversation(c *call) error {
	return c.withGroupBox(func(b *mailbox) error {
		t, _, err := b.threadAt(conversationKind, c.param("conversation"))
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, b.renderConversation(t, c.sel))
	})
}

func listThreads(c *call) error {
	return c.withGroupBox(func(b *mailbox) error {
		list := b.threadsOf()
		if id := c.param("conversation"); id != "" {
			t, _, err := b.threadAt(conversationKind, id)
			if err != nil {
				return err
			}
			list = []*thread{t}
		}
		return c.listThreadsAs(b, list, b.renderThread)
	})
}

func getThread(c *call) error {
	return c.withThread(func(b *mailbox, t *thread) error { return c.json(http.StatusOK, b.renderThread(t, c.sel)) })
}

func listPosts(c *call) error {
	return c.withThread(func(b *mailbox, t *thread) error {
		return c.list(listing{count: len(t.posts), usual: 10, most: 1000, param: "$skip",
			render: func(i int) []byte { return b.renderPost(t, i, c.sel) }, full: func(i int) []byte { return b.renderPost(t, i, nil) }})
	})
}

// withThreadPost calls do with the post of the request.
func (c *call) withThreadPost(do func(*mailbox, *thread, int) error) error {
	return c.withGroupBox(func(b *mailbox) error {
		t, i, err := b.threadAt(postKind, c.param("post"))
		if err != nil || i >= len(t.posts) || c.param("thread") != b.itemID(threadKind, t.number, 0) {
			return mailItemNotFound()
		}
		return do(b, t, i)
	})
}

func getPost(c *call) error {
	if c.expands("attachments") && !c.s.o.Exchange.PostAttachments {
		return delegatedOnly(c)
	}
	return c.withThreadPost(func(b *mailbox, t *thread, i int) error {
		o := newObject(nil)
		if c.expands("attachments") {
			b.renderAttachments(o, t.holder(i), attachmentView{bytes: true})
		}
		post := b.renderPost(t, i, c.sel)
		if more := o.done(); len(more) > 2 {
			post = append(append(post[:len(post)-1], ','), more[1:]...)
		}
		return c.json(http.StatusOK, post)
	})
}

// holder is a post as what attachments hang on.
func (t *thread) holder(post int) *holder {
	return &holder{kind: postKind, number: t.number<<16 | uint64(post), list: t.posts[post].attachments}
}

// listPostAttachments: the sources disagree whether an application may, so Options
// decide.
func listPostAttachments(c *call) error {
	if !c.s.o.Exchange.PostAttachments {
		return delegatedOnly(c)
	}
	return c.withThreadPost(func(b *mailbox, t *thread, i int) error {
		h := t.holder(i)
		return c.list(listing{count: len(h.list), usual: 20, most: 1000, param: "$skip",
			render: func(i int) []byte { return b.renderAttachment(h, h.list[i], c.attachmentView()) }})
	})
}

func groupCalendarView(c *call) error {
	return c.withGroupBox(func(b *mailbox) error { return c.calendarView(b, b.store().calendar) })
}

// listGroupEvents answers a person; applications have the calendar view alone.
func listGroupEvents(c *call) error {
	if !c.delegated {
		return delegatedOnly(c)
	}
	return c.withGroupBox(func(b *mailbox) error { return c.listItems(b, b.store().calendar.items, b.renderEvent) })
}

func getGroupEvent(c *call) error {
	return c.withGroupBox(func(b *mailbox) error {
		e, err := b.findEvent(c.param("event"))
		if err != nil {
			return err
		}
		return c.showEvent(http.StatusOK, b, e)
	})
}
