package graphsim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// conversation is the messages of a channel or a chat. Everything in it is guarded
// by mu.
type conversation struct {
	t    *Tenant
	id   string // of the channel or chat
	seed uint64
	// people are the users who write here; never empty for a conversation with messages.
	people []*entry

	mu         sync.Mutex
	order      []*chatMessage // by ID, roots and replies
	byID       map[string]*chatMessage
	log        changeLog // of root messages
	generation int
	last       int64 // the youngest message's time, in milliseconds
}

// chatMessage is one post. Its ID is the millisecond it was made in.
type chatMessage struct {
	id       string
	at       int64
	root     *chatMessage // of a reply
	replies  []*chatMessage
	from     *entry
	subject  string
	body     string // HTML; "" of a generated one until it is changed
	seed     uint64
	modified time.Time
	edited   *time.Time
	deleted  *time.Time
	hosted   []hostedContent
}

// hostedContent is a picture that a message shows.
type hostedContent struct {
	id, contentType string
	data            content
}

func newConversation(t *Tenant, id string, people []*entry) *conversation {
	return &conversation{t: t, id: id, seed: mixString(t.seed, id), people: people, byID: map[string]*chatMessage{}}
}

// add puts a message behind all others, at a time of its own.
func (v *conversation) add(root *chatMessage, from *entry, at time.Time) *chatMessage {
	v.last = max(v.last+1, at.UnixMilli())
	m := &chatMessage{id: strconv.FormatInt(v.last, 10), at: v.last, root: root, from: from, modified: time.UnixMilli(v.last).UTC()}
	v.order = append(v.order, m)
	v.byID[m.id] = m
	if root != nil {
		root.replies = append(root.replies, m)
	}
	return m
}

// fill lays out n messages: every third is a reply where there may be some, every
// tenth shows a picture.
func (v *conversation) fill(n int, threaded bool) {
	if len(v.people) == 0 {
		return
	}
	r := newRand(v.seed)
	var root *chatMessage
	for i := range n {
		var to *chatMessage
		if threaded && root != nil && i%3 == 2 {
			to = root
		}
		m := v.add(to, pick(r, v.people), epoch.Add(-time.Duration(n-i)*37*time.Minute-time.Duration(r.IntN(60_000))*time.Millisecond))
		m.seed = r.Uint64()
		if to == nil {
			root = m
			if threaded && r.IntN(3) == 0 {
				m.subject = sentence(r, 4)
			}
		}
		if r.IntN(10) == 0 {
			m.show(seededContent{seed: mix(m.seed, 'p'), length: int64(2_000 + r.IntN(60_000))})
		}
	}
}

// show adds a hosted picture to a message.
func (m *chatMessage) show(data content) {
	id := fmt.Sprintf("aWQ9%s-%d", m.id, len(m.hosted)+1)
	m.hosted = append(m.hosted, hostedContent{id: id, contentType: "image/png", data: data})
}

// text is the HTML of a message, as clients see it but for the address of pictures.
func (m *chatMessage) text() string {
	if m.deleted != nil {
		return ""
	}
	if m.body != "" {
		return m.body
	}
	r := rand.New(rand.NewPCG(m.seed, 1))
	return "<p>" + sentence(r, 8+r.IntN(60)) + ".</p>"
}

// note records a change of a message. Delta tells of root messages; whether it also
// tells of a root whose replies changed is not documented.
func (v *conversation) note(m *chatMessage) {
	switch {
	case m.root == nil:
		v.log.note(m.id)
	case v.t.s.o.Teams.DeltaTellsReplies:
		v.log.note(m.root.id)
	}
}

// touch gives a changed message a time of change that no earlier one has.
func (v *conversation) touch(m *chatMessage) time.Time {
	now := time.Now().UTC().Truncate(time.Millisecond)
	if !now.After(m.modified) {
		now = m.modified.Add(time.Millisecond)
	}
	m.modified = now
	v.note(m)
	return now
}

func (v *conversation) find(id string) (*chatMessage, error) {
	if m := v.byID[id]; m != nil {
		return m, nil
	}
	return nil, fail(http.StatusNotFound, "NotFound", "The message could not be found.")
}

// post writes a message now; root is nil unless it is a reply.
func (v *conversation) post(root *chatMessage, from *entry, subject, body string, pictures ...content) *chatMessage {
	m := v.add(root, from, time.Now())
	m.subject, m.body = subject, body
	for _, data := range pictures {
		m.show(data)
	}
	v.note(m)
	return m
}

func (v *conversation) edit(m *chatMessage, body string) {
	at := v.touch(m)
	m.body, m.edited = body, &at
}

// remove deletes a message softly: it stays listed, without its content.
func (v *conversation) remove(m *chatMessage) {
	if m.deleted == nil {
		at := v.touch(m)
		m.deleted = &at
	}
}

func (v *conversation) expire() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.generation++
}

// place says where a conversation's messages are found.
type place struct {
	*conversation
	team, channel string // of a channel
}

// path is where a message stands below the Graph root.
func (p place) path(m *chatMessage) string {
	base := "chats/" + p.id
	if p.team != "" {
		base = "teams/" + p.team + "/channels/" + p.id
	}
	if m.root != nil {
		return base + "/messages/" + m.root.id + "/replies/" + m.id
	}
	return base + "/messages/" + m.id
}

// renderMessage writes a message as the chatMessage resource shows it.
func (c *call) renderMessage(p place, m *chatMessage, replies bool) []byte {
	o := newObject(c.sel)
	o.str("id", m.id)
	reply := ""
	if m.root != nil {
		reply = m.root.id
	}
	o.nullable("replyToId", reply)
	o.str("etag", strconv.FormatInt(m.modified.UnixMilli(), 10))
	o.str("messageType", "message")
	o.instant("createdDateTime", time.UnixMilli(m.at))
	o.instant("lastModifiedDateTime", m.modified)
	o.moment("lastEditedDateTime", m.edited)
	o.moment("deletedDateTime", m.deleted)
	o.nullable("subject", m.subject)
	o.raw("summary", "null")
	o.str("importance", "normal")
	o.str("locale", "en-us")
	o.raw("policyViolation", "null")
	o.raw("eventDetail", "null")
	o.raw("from", `{"application":null,"device":null,"user":{"id":`+quoted(m.from.id)+`,"displayName":`+quoted(m.from.name)+
		`,"userIdentityType":"aadUser","tenantId":"`+c.t.id+`"}}`)
	body := newObject(nil)
	body.str("contentType", "html")
	body.str("content", c.shownBody(p, m))
	o.raw("body", string(body.done()))
	if p.team != "" {
		o.raw("chatId", "null")
		o.raw("channelIdentity", `{"teamId":`+quoted(p.team)+`,"channelId":`+quoted(p.id)+`}`)
	} else {
		o.str("chatId", p.id)
		o.raw("channelIdentity", "null")
	}
	o.raw("attachments", "[]")
	o.raw("mentions", "[]")
	o.raw("reactions", "[]")
	if replies {
		o.always("replies")
		o.b = append(o.b, '[')
		for i, reply := range m.replies {
			if i > 0 {
				o.b = append(o.b, ',')
			}
			o.b = append(o.b, c.renderMessage(p, reply, false)...)
		}
		o.b = append(o.b, ']')
	}
	return o.done()
}

// shownBody is the text with its pictures, which are fetched with the token.
func (c *call) shownBody(p place, m *chatMessage) string {
	text := m.text()
	if m.deleted != nil || len(m.hosted) == 0 {
		return text
	}
	var b bytes.Buffer
	b.WriteString(text)
	for _, h := range m.hosted {
		fmt.Fprintf(&b, `<p><img src="%s%s/hostedContents/%s/$value" style="width:120px"></p>`, c.root(), p.path(m), h.id)
	}
	return b.String()
}

// moment writes a time that may be missing.
func (o *object) moment(name string, t *time.Time) {
	if t == nil {
		o.raw(name, "null")
		return
	}
	o.instant(name, *t)
}

func (v *conversation) roots() []*chatMessage {
	return slices.DeleteFunc(slices.Clone(v.order), func(m *chatMessage) bool { return m.root != nil })
}
