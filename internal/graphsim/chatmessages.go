package graphsim

import (
	"cmp"
	"encoding/base64"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// chatMessageRoutes are the routes on the messages of a channel and of a chat.
func chatMessageRoutes() []route {
	var list []route
	for _, base := range []struct {
		path  string
		roles []string
	}{
		{"teams/{team}/channels/{channel}/messages", rolesChannelMessages},
		{"chats/{chat}/messages", rolesChats},
		{"users/{user}/chats/{chat}/messages", rolesChats},
	} {
		get := func(suffix string, handle func(*call) error, options ...string) {
			list = append(list, route{method: "GET", pattern: base.path + suffix, service: teams, roles: base.roles,
				takes: takes(nil, options...), handle: handle})
		}
		inChannel := strings.HasPrefix(base.path, "teams/")
		if !inChannel { // messages of a chat have no replies
			get("", listChatMessages, "$top", "$skiptoken")
		} else {
			get("", listChatMessages, "$top", "$expand", "$skiptoken")
			get("/delta", chatMessagesDelta, "$top", "$filter", "$expand", "$skiptoken", "$deltatoken")
		}
		messages := []string{"/{message}"}
		if inChannel {
			get("/{message}/replies", listReplies, "$top", "$skiptoken")
			messages = append(messages, "/{message}/replies/{reply}")
		}
		for _, one := range messages {
			get(one, getChatMessage)
			get(one+"/hostedContents", listHostedContents)
			get(one+"/hostedContents/{hosted}", getHostedContent)
			get(one+"/hostedContents/{hosted}/$value", getHostedBytes)
		}
	}
	for _, pattern := range []string{"", "/{message}/replies"} {
		list = append(list, route{method: "POST", pattern: "teams/{team}/channels/{channel}/messages" + pattern, service: teams,
			roles: rolesImport, takes: takes(nil), handle: importMessage})
	}
	return list
}

// withPlace calls do with the channel or chat of a request, under its lock.
func (c *call) withPlace(do func(place) error) error {
	if c.param("team") != "" {
		return c.withChannel(func(tm *team, ch *channel) error {
			return do(place{ch.conversation, tm.group.id, ch.id})
		})
	}
	v, err := c.t.openChat(c.param("chat"))
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return do(place{conversation: v})
}

// withPost calls do with the message, or the reply, of a request.
func (c *call) withPost(do func(place, *chatMessage) error) error {
	return c.withPlace(func(p place) error {
		m, err := p.find(c.param("message"))
		if err != nil {
			return err
		}
		if id := c.param("reply"); id != "" {
			root := m
			if m, err = p.find(id); err != nil {
				return err
			}
			if m.root != root {
				return fail(http.StatusNotFound, "NotFound", "The reply could not be found.")
			}
		}
		return do(p, m)
	})
}

// maxMessages is the largest $top of message lists, usualMessages the page without one.
const (
	maxMessages   = 50
	usualMessages = 20
)

// messagePage answers with a list of messages, the youngest first. The continuation
// names the last one, so that new messages shift nothing.
func (c *call) messagePage(p place, list []*chatMessage, replies bool) error {
	slices.SortFunc(list, func(a, b *chatMessage) int { return cmp.Compare(b.at, a.at) })
	if token := c.query.Get("$skiptoken"); token != "" {
		last, err := strconv.ParseInt(token, 10, 64)
		if err != nil {
			return fail(http.StatusBadRequest, "BadRequest", "The skip token is not valid.")
		}
		list = list[slices.IndexFunc(append(list, &chatMessage{at: -1}), func(m *chatMessage) bool { return m.at < last }):]
	}
	next := ""
	if size := c.pageSize(usualMessages, maxMessages); len(list) > size {
		list = list[:size]
		next = c.continued(strconv.FormatInt(list[size-1].at, 10))
	}
	items := make([][]byte, len(list))
	for i, m := range list {
		items[i] = c.renderMessage(p, m, replies)
	}
	return c.page(items, next, "")
}

// continued is the link to the next page of this request, with its options.
func (c *call) continued(token string) string {
	query := c.query
	query.Set("$skiptoken", token)
	return c.root() + c.canonical + "?" + query.Encode()
}

func listChatMessages(c *call) error {
	return c.withPlace(func(p place) error {
		return c.messagePage(p, p.roots(), c.expands("replies"))
	})
}

func listReplies(c *call) error {
	return c.withPost(func(p place, m *chatMessage) error { return c.messagePage(p, slices.Clone(m.replies), false) })
}

func getChatMessage(c *call) error {
	return c.withPost(func(p place, m *chatMessage) error { return c.json(http.StatusOK, c.renderMessage(p, m, false)) })
}

func listHostedContents(c *call) error {
	return c.withPost(func(_ place, m *chatMessage) error {
		items := [][]byte{}
		for _, h := range m.shownContents() {
			items = append(items, h.render())
		}
		return c.page(items, "", "")
	})
}

// shownContents is none of a deleted message.
func (m *chatMessage) shownContents() []hostedContent {
	if m.deleted != nil {
		return nil
	}
	return m.hosted
}

func (h hostedContent) render() []byte {
	o := newObject(nil)
	o.str("id", h.id)
	o.raw("contentBytes", "null")
	o.raw("contentType", "null")
	return o.done()
}

func (c *call) withHosted(do func(hostedContent) error) error {
	return c.withPost(func(_ place, m *chatMessage) error {
		for _, h := range m.shownContents() {
			if h.id == c.param("hosted") {
				return do(h)
			}
		}
		return fail(http.StatusNotFound, "NotFound", "The hosted content could not be found.")
	})
}

func getHostedContent(c *call) error {
	return c.withHosted(func(h hostedContent) error { return c.json(http.StatusOK, h.render()) })
}

func getHostedBytes(c *call) error {
	return c.withHosted(func(h hostedContent) error {
		rd, err := h.data.open()
		if err != nil {
			return err
		}
		defer rd.Close()
		c.w.Header().Set("Content-Type", h.contentType)
		c.w.Header().Set("Content-Length", strconv.FormatInt(h.data.size(), 10))
		_, _ = io.Copy(c.w, rd) // the client has gone
		return nil
	})
}

// comparison is one part of the only filter that message lists take: a range of
// lastModifiedDateTime ("channel: getAllMessages", "chatMessage: delta").
var comparison = regexp.MustCompile(`^\s*lastModifiedDateTime\s+(gt|lt)\s+(\S+)\s*$`)

// modifiedRange reads the filter of a request; lt is refused where only gt is supported.
func modifiedRange(filter string, onlyAfter bool) (keep func(*chatMessage) bool, err error) {
	var after, before time.Time
	for part := range strings.SplitSeq(filter, " and ") {
		if filter == "" {
			break
		}
		m := comparison.FindStringSubmatch(part)
		if m == nil || (onlyAfter && m[1] == "lt") {
			return nil, fail(http.StatusBadRequest, "BadRequest", "The filter '%s' is not supported.", filter)
		}
		at, err := time.Parse(time.RFC3339, strings.ToUpper(m[2]))
		if err != nil {
			return nil, fail(http.StatusBadRequest, "BadRequest", "'%s' is not a time.", m[2])
		}
		if m[1] == "gt" {
			after = at
		} else {
			before = at
		}
	}
	return func(m *chatMessage) bool {
		return m.modified.After(after) && (before.IsZero() || m.modified.Before(before))
	}, nil
}

// deltaReach is how far back the delta of messages goes ("chatMessage: delta").
const deltaReach = 8

// chatMessagesDelta tracks the root messages of a channel. The filter of the first
// call travels in the cursor.
func chatMessagesDelta(c *call) error {
	if !c.s.o.Teams.MessagesDelta {
		return fail(http.StatusBadRequest, "BadRequest", "Change tracking is not supported for these messages.")
	}
	return c.withPlace(func(p place) error {
		if c.top > maxMessages {
			return fail(http.StatusBadRequest, "BadRequest", "$top is at most %d.", maxMessages)
		}
		keep, err := modifiedRange(c.bake(nil, "$filter", "$expand").Get("$filter"), true)
		if err != nil {
			return err
		}
		replies := c.expands("replies")
		oldest := time.Now().AddDate(0, -deltaReach, 0).UnixMilli()
		wanted := func(m *chatMessage) bool { return m.at >= oldest && keep(m) }
		roots := p.roots()
		src := deltaSource{collection: p.id, generation: p.generation, log: &p.log,
			list: func(after uint64, limit int) (items [][]byte, reached uint64, more bool) {
				for reached = after; reached < uint64(len(roots)); reached++ {
					if len(items) == limit {
						return items, reached, true
					}
					if m := roots[reached]; wanted(m) {
						items = append(items, c.renderMessage(p, m, replies))
					}
				}
				return items, reached, false
			},
			render: func(ids []string) (items [][]byte) {
				for _, id := range ids {
					if m := p.byID[id]; wanted(m) {
						items = append(items, c.renderMessage(p, m, replies))
					}
				}
				return items
			},
		}
		return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken",
			pageSize: c.pageSize(usualMessages, maxMessages), stale: staleDirectory})
	})
}

func getAllChannelMessages(c *call) error {
	return c.withTeam(func(tm *team) error {
		var places []place
		for _, ch := range tm.channels {
			places = append(places, place{ch.conversation, tm.group.id, ch.id})
		}
		return c.allMessages(places)
	})
}

func getAllChatMessages(c *call) error {
	list, err := c.userChats()
	if err != nil {
		return err
	}
	places := make([]place, len(list))
	for i, v := range list {
		places[i] = place{conversation: v}
	}
	return c.allMessages(places)
}

// allMessages exports the messages and replies of several conversations, by time of
// creation. It takes the licensing model, $top and a range of lastModifiedDateTime,
// nothing else ("channel: getAllMessages").
func (c *call) allMessages(places []place) error {
	if err := c.exportModel(); err != nil {
		return err
	}
	keep, err := modifiedRange(c.query.Get("$filter"), false)
	if err != nil {
		return err
	}
	last, after, _ := strings.Cut(c.query.Get("$skiptoken"), ".")
	from, err := strconv.ParseInt(cmp.Or(last, "0"), 10, 64)
	if err != nil {
		return fail(http.StatusBadRequest, "BadRequest", "The skip token is not valid.")
	}
	var found []exported
	for i, p := range places {
		p.mu.Lock()
		for _, m := range p.order {
			if key := (exported{p, m, i}); keep(m) && (m.at > from || (m.at == from && strconv.Itoa(i) > after)) {
				found = append(found, key)
			}
		}
		p.mu.Unlock()
	}
	slices.SortFunc(found, func(a, b exported) int {
		return cmp.Or(cmp.Compare(a.m.at, b.m.at), strings.Compare(strconv.Itoa(a.place), strconv.Itoa(b.place)))
	})
	next := ""
	if size := c.pageSize(usualMessages, maxMessages); len(found) > size {
		found = found[:size]
		end := found[size-1]
		next = c.continued(strconv.FormatInt(end.m.at, 10) + "." + strconv.Itoa(end.place))
	}
	items := make([][]byte, len(found))
	for i, e := range found {
		e.p.mu.Lock()
		items[i] = c.renderMessage(e.p, e.m, false)
		e.p.mu.Unlock()
	}
	return c.page(items, next, "")
}

// exported is a message of one of several conversations.
type exported struct {
	p     place
	m     *chatMessage
	place int
}

// exportModel refuses a licensing model that does not exist, and all where the options of
// an export are not offered.
func (c *call) exportModel() error {
	if more := c.query.Has("model") || c.query.Has("$filter"); more && !c.s.o.Teams.ExportOptions {
		return fail(http.StatusBadRequest, "BadRequest", "The query option is not supported by this request.").withInner("invalidQueryOption")
	}
	switch c.query.Get("model") {
	case "", "A", "B":
		return nil
	}
	return fail(http.StatusBadRequest, "BadRequest", "The model is A or B.")
}

// importMessage takes a message with its own time and author.
func importMessage(c *call) error {
	var in struct {
		Created *time.Time `json:"createdDateTime"`
		Subject string     `json:"subject"`
		From    struct {
			User struct{ ID string } `json:"user"`
		} `json:"from"`
		Body struct {
			Content string `json:"content"`
		} `json:"body"`
		Hosted []struct {
			Bytes string `json:"contentBytes"`
		} `json:"hostedContents"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if !c.s.o.Teams.Import {
		return fail(http.StatusForbidden, "Forbidden", "The channel is not in migration mode.")
	}
	c.t.mu.RLock()
	from := c.t.users.find(in.From.User.ID)
	c.t.mu.RUnlock()
	if from == nil || in.Body.Content == "" {
		return fail(http.StatusBadRequest, "BadRequest", "A message has a body and is from a user.")
	}
	pictures := make([]content, len(in.Hosted))
	for i, h := range in.Hosted {
		data, err := base64.StdEncoding.DecodeString(h.Bytes)
		if err != nil {
			return fail(http.StatusBadRequest, "BadRequest", "contentBytes is not Base64.")
		}
		pictures[i] = bytesContent(data)
	}
	return c.withPlace(func(p place) error {
		var root *chatMessage
		if id := c.param("message"); id != "" {
			var err error
			if root, err = p.find(id); err != nil || root.root != nil {
				return fail(http.StatusNotFound, "NotFound", "The message could not be found.")
			}
		}
		m := p.post(root, from, in.Subject, in.Body.Content, pictures...)
		if in.Created != nil {
			p.backdate(m, *in.Created)
		}
		return c.json(http.StatusCreated, c.renderMessage(p, m, false))
	})
}

// backdate gives an imported message the time it was first written, as far as no
// other message has it.
func (v *conversation) backdate(m *chatMessage, at time.Time) {
	ms := at.UnixMilli()
	for v.byID[strconv.FormatInt(ms, 10)] != nil {
		ms++
	}
	delete(v.byID, m.id)
	m.at, m.id, m.modified = ms, strconv.FormatInt(ms, 10), time.UnixMilli(ms).UTC()
	v.byID[m.id] = m
	for i := range m.hosted {
		m.hosted[i].id = "aWQ9" + m.id + "-" + strconv.Itoa(i+1)
	}
	slices.SortStableFunc(v.order, func(a, b *chatMessage) int { return cmp.Compare(a.at, b.at) })
	v.note(m)
}
