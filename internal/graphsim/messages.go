package graphsim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func messageRoutes() []route {
	return []route{
		{method: "GET", pattern: "users/{user}/mailFolders/{folder}/messages/delta", service: outlook, roles: rolesMail, handle: messagesDelta},
		{method: "GET", pattern: "users/{user}/mailFolders/{folder}/messages", service: outlook, roles: rolesMail, handle: listMessages},
		{method: "POST", pattern: "users/{user}/mailFolders/{folder}/messages", service: outlook, roles: rolesMailWrite, handle: createMessage},
		{method: "GET", pattern: "users/{user}/messages", service: outlook, roles: rolesMail, handle: listMessages},
		{method: "POST", pattern: "users/{user}/messages", service: outlook, roles: rolesMailWrite, handle: createMessage},
		{method: "GET", pattern: "users/{user}/messages/{message}", service: outlook, roles: rolesMail, handle: getMessage},
		{method: "GET", pattern: "users/{user}/mailFolders/{folder}/messages/{message}", service: outlook, roles: rolesMail, handle: getMessage},
		{method: "GET", pattern: "users/{user}/messages/{message}/$value", service: outlook, roles: rolesMail, handle: getMIME},
		{method: "PATCH", pattern: "users/{user}/messages/{message}", service: outlook, roles: rolesMailWrite, handle: patchMessage},
		{method: "DELETE", pattern: "users/{user}/messages/{message}", service: outlook, roles: rolesMailWrite, handle: deleteMessage},
		{method: "POST", pattern: "users/{user}/messages/{message}/move", service: outlook, roles: rolesMailWrite, handle: moveMessage},
		{method: "POST", pattern: "users/{user}/messages/{message}/permanentDelete", service: outlook, roles: rolesMailWrite, handle: purgeMessage},
	}
}

// withMessage calls do with the message of the request, under the mailbox's lock.
func (c *call) withMessage(do func(*mailbox, *message) error) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	m, err := b.find(c.param("message"))
	if err != nil {
		return err
	}
	return do(b, m)
}

// messagesDelta tracks the messages of one folder. A message that moved away is a
// removal here and an addition there.
func messagesDelta(c *call) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	f, err := b.folder(c.param("folder"))
	if err != nil {
		return fail(http.StatusNotFound, "ErrorSyncFolderNotFound", "The specified folder could not be found in the store.")
	}
	if c.query.Has("$filter") || c.query.Has("$search") || c.query.Has("changeType") {
		return fail(http.StatusBadRequest, "ErrorInvalidUrlQuery", "The simulator does not filter changes.")
	}
	// Links name the entities the way Outlook does.
	c.canonical = "users/" + url.PathEscape(c.param("user")) + "/mailFolders('" + f.id() + "')/messages/delta"
	view := c.mailView()
	src := deltaSource{collection: f.id(), generation: b.generation, log: &f.log,
		list: func(after uint64, limit int) (items [][]byte, reached uint64, more bool) {
			view.sel = c.sel
			at, found := f.place(after)
			if found {
				at++
			}
			end := min(at+limit, len(f.items))
			for _, m := range f.items[at:end] {
				items, reached = append(items, b.renderTyped(m, view)), m.number
			}
			return items, reached, end < len(f.items)
		},
		render: func(ids []string) [][]byte {
			view.sel = c.sel
			return b.renderChanges(f, ids, view)
		},
	}
	return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleMail})
}

// staleMail is what Outlook answers to a dead token: an error code on a 40X.
func staleMail(location string) *apiError {
	return fail(http.StatusGone, "SyncStateNotFound", "The sync state generation is not found; please make a full sync.").with("Location", location)
}

// renderTyped is render with the type annotation that delta pages carry.
func (b *mailbox) renderTyped(m *message, v mailView) []byte {
	return append([]byte(`{"@odata.type":"#microsoft.graph.message",`), b.render(m, v)[1:]...)
}

func (b *mailbox) renderChanges(f *mailFolder, keys []string, v mailView) (items [][]byte) {
	shown := map[string]bool{}
	for _, key := range keys {
		number, moves := parseMessageKey(key)
		m := b.messages[number]
		here := m != nil && m.folder == f && (v.immutable || m.moves == moves)
		id := b.itemID(regularMessage, number, moves)
		if v.immutable {
			id = b.itemID(immutableMessage, number, 0)
		}
		switch {
		case shown[id]:
		case here:
			items = append(items, b.renderTyped(m, v))
		default:
			items = append(items, removedMessage(id))
		}
		shown[id] = true
	}
	return items
}

func listMessages(c *call) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	var list []*message
	if id := c.param("folder"); id != "" {
		f, err := b.folder(id)
		if err != nil {
			return err
		}
		list = slices.Clone(f.items)
	} else {
		for _, f := range b.order {
			if f.visible() && !f.gone {
				list = append(list, f.items...)
			}
		}
	}
	slices.Reverse(list) // newest first
	list, err = b.filterMessages(list, c.query.Get("$filter"))
	if err != nil {
		return err
	}
	view := c.mailView()
	return c.skipPage(len(list), c.pageSize(10, 1000), "$skip", func(i int) []byte { return b.render(list[i], view) })
}

// filterMessages understands the filters that a restore needs to find what it
// wrote: "internetMessageId eq '...'" and singleValueExtendedProperties/Any(...).
func (b *mailbox) filterMessages(list []*message, filter string) ([]*message, error) {
	if filter == "" {
		return list, nil
	}
	var keep func(*mailContent) bool
	switch {
	case strings.HasPrefix(filter, "internetMessageId eq '"):
		want := unquoteOData(strings.TrimPrefix(filter, "internetMessageId eq "))
		keep = func(c *mailContent) bool { return c.messageID == want }
	case strings.HasPrefix(strings.ToLower(filter), "singlevalueextendedproperties/any("):
		texts := quotedTexts(filter)
		if len(texts) != 2 {
			return nil, fail(http.StatusBadRequest, "ErrorInvalidUrlQueryFilter", "The query filter is invalid.")
		}
		keep = func(c *mailContent) bool { v, ok := c.properties[texts[0]]; return ok && v == texts[1] }
	default:
		return nil, fail(http.StatusBadRequest, "ErrorInvalidUrlQueryFilter", "The query filter '%s' is not supported.", filter)
	}
	return slices.DeleteFunc(list, func(m *message) bool { return !keep(b.content(m)) }), nil
}

// quotedTexts returns the OData strings in a text, in order.
func quotedTexts(s string) (texts []string) {
	for {
		_, rest, ok := strings.Cut(s, "'")
		if !ok {
			return texts
		}
		end := 0
		for end < len(rest) && (rest[end] != '\'' || (end+1 < len(rest) && rest[end+1] == '\'')) {
			if rest[end] == '\'' {
				end++
			}
			end++
		}
		texts = append(texts, strings.ReplaceAll(rest[:min(end, len(rest))], "''", "'"))
		s = rest[min(end+1, len(rest)):]
	}
}

func unquoteOData(s string) string {
	if texts := quotedTexts(s); len(texts) > 0 {
		return texts[0]
	}
	return s
}

func getMessage(c *call) error {
	return c.withMessage(func(b *mailbox, m *message) error {
		return c.json(http.StatusOK, b.render(m, c.mailView()))
	})
}

func deleteMessage(c *call) error {
	return c.withMessage(func(b *mailbox, m *message) error {
		if deleted := b.wellKnown["deleteditems"]; m.folder == deleted {
			b.discard(m)
		} else {
			b.moveMessage(m, deleted)
		}
		return c.empty(http.StatusNoContent)
	})
}

func purgeMessage(c *call) error {
	return c.withMessage(func(b *mailbox, m *message) error {
		b.discard(m)
		return c.empty(http.StatusNoContent)
	})
}

func moveMessage(c *call) error {
	var in struct {
		DestinationID string `json:"destinationId"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withMessage(func(b *mailbox, m *message) error {
		to, err := b.folder(in.DestinationID)
		if err != nil {
			return err
		}
		b.moveMessage(m, to)
		return c.json(http.StatusCreated, b.render(m, c.mailView()))
	})
}
