package graphsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

func messageRoutes() []route {
	read := func(r route) route { r.service, r.roles = outlook, rolesMail; return r }
	write := func(r route) route { r.service, r.roles = outlook, rolesMailWrite; return r }
	// Before the pattern of one message, which would take it.
	delta := read(route{method: "GET", pattern: "users/{user}/mailFolders/{folder}/messages/delta", handle: messagesDelta})
	list := pathsTo([]string{"users/{user}/messages", "users/{user}/mailFolders/{folder}/messages"},
		read(route{method: "GET", handle: listMessages}),
		write(route{method: "POST", handle: createMessage}),
		read(route{method: "GET", pattern: "{message}", handle: getMessage}),
		read(route{method: "GET", pattern: "{message}/$value", handle: getMIME}),
		write(route{method: "PATCH", pattern: "{message}", handle: patchMessage}),
		write(route{method: "DELETE", pattern: "{message}", handle: deleteMessage}),
		write(route{method: "POST", pattern: "{message}/move", handle: moveMessage}),
		write(route{method: "POST", pattern: "{message}/copy", handle: copyMessage}),
		write(route{method: "POST", pattern: "{message}/permanentDelete", handle: purgeMessage}),
		route{method: "POST", pattern: "{message}/send", service: outlook, roles: rolesSend, handle: sendMessage})
	return append(append([]route{delta}, list...),
		route{method: "POST", pattern: "users/{user}/sendMail", service: outlook, roles: rolesSend, handle: sendMail},
		route{method: "POST", pattern: "users/{user}/translateExchangeIds", service: outlook, roles: rolesTranslate, handle: translateIDs})
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
	if id := c.param("folder"); id != "" {
		if f, err := b.folder(id); err != nil || (f != m.folder && !f.search) {
			return mailItemNotFound()
		}
	}
	return do(b, m)
}

// listMessages lists a folder, or all visible ones, newest first.
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
		list = b.shownIn(f)
	} else {
		for _, f := range b.order {
			if f.visible() && !f.gone {
				list = append(list, f.items...)
			}
		}
	}
	slices.Reverse(list)
	view := c.mailView()
	decoded := map[int]any{}
	return c.list(listing{count: len(list), usual: 10, most: 1000, param: "$skip",
		render: func(i int) []byte { return b.render(list[i], view) },
		value: func(i int, path string) any {
			if v, ok := b.messageValue(list[i], strings.ToLower(path)); ok {
				return v
			}
			if decoded[i] == nil {
				var v any
				_ = json.Unmarshal(b.render(list[i], mailView{}), &v) // our own
				decoded[i] = v
			}
			return member(decoded[i], path)
		}})
}

// shownIn are the messages a folder shows, oldest first; a search folder shows those
// of its sources that its filter finds.
func (b *mailbox) shownIn(f *mailFolder) []*message {
	if f.query == nil {
		return slices.Clone(f.items)
	}
	var list []*message
	for _, source := range b.order {
		if source.gone || !f.query.covers(source) {
			continue
		}
		for _, m := range source.items {
			get := func(path string) any {
				if v, ok := b.messageValue(m, strings.ToLower(path)); ok {
					return v
				}
				var v any
				_ = json.Unmarshal(b.render(m, mailView{}), &v) // our own
				return member(v, path)
			}
			if f.query.filter == nil || f.query.filter.match(get) {
				list = append(list, m)
			}
		}
	}
	return list
}

// messageValue gives the properties that messages are mostly found by, without
// writing the message.
func (b *mailbox) messageValue(m *message, path string) (any, bool) {
	c := b.content(m)
	switch path {
	case "internetmessageid":
		return c.messageID, true
	case "subject":
		return c.subject, true
	case "receiveddatetime":
		return c.received, true
	case "sentdatetime":
		return c.sent, true
	case "lastmodifieddatetime":
		return m.modified, true
	case "isread":
		return c.isRead, true
	case "isdraft":
		return c.isDraft, true
	case "hasattachments":
		return c.hasAttachments(), true
	case "importance":
		return c.importance, true
	case "singlevalueextendedproperties":
		list := []any{}
		for id, value := range c.properties {
			list = append(list, map[string]any{"id": id, "value": value})
		}
		return list, true
	}
	return nil, false
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

// copyMessage makes a second message; it is new, so its times of creation and its IDs
// are its own.
func copyMessage(c *call) error {
	var in struct {
		DestinationID string `json:"destinationId"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withMessage(func(b *mailbox, m *message) error {
		to, err := b.folder(in.DestinationID)
		if err == nil {
			err = b.checkRoom()
		}
		if err != nil {
			return err
		}
		twin := *b.content(m)
		twin.created = time.Now().UTC().Truncate(time.Second)
		return c.json(http.StatusCreated, b.render(b.addMessage(to, &twin), c.mailView()))
	})
}

// sendMessage sends a draft: it lies in Sent Items then, under another ID.
func sendMessage(c *call) error {
	return c.withMessage(func(b *mailbox, m *message) error {
		content := b.content(m)
		if !content.isDraft {
			return fail(http.StatusForbidden, "ErrorInvalidOperation", "The message is no draft.")
		}
		b.noteSent(sentMail(content))
		sent := content.clone()
		sent.isDraft = false
		b.discard(m)
		b.addMessage(b.wellKnown["sentitems"], sent)
		return c.empty(http.StatusAccepted)
	})
}

func sentMail(c *mailContent) SentTruth {
	sent := SentTruth{Kind: "mail", Subject: c.subject}
	for _, a := range slices.Concat(c.to, c.cc, c.bcc) {
		sent.To = append(sent.To, a.Address)
	}
	return sent
}

// sendMail sends a message at once.
func sendMail(c *call) error {
	var in struct {
		Message         map[string]json.RawMessage `json:"message"`
		SaveToSentItems *bool                      `json:"saveToSentItems"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withBox(func(b *mailbox) error {
		content, err := b.newDraft(in.Message)
		if err != nil {
			return err
		}
		content.isDraft = false
		b.noteSent(sentMail(content))
		if in.SaveToSentItems == nil || *in.SaveToSentItems {
			b.addMessage(b.wellKnown["sentitems"], content)
		}
		return c.empty(http.StatusAccepted)
	})
}

// maxTranslated is how many IDs one call translates (translateExchangeIds).
const maxTranslated = 1_000

// translateIDs turns IDs that change with a move into those that do not, and back.
func translateIDs(c *call) error {
	var in struct {
		InputIDs                   []string `json:"inputIds"`
		SourceIDType, TargetIDType string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	known := []string{"restId", "restImmutableEntryId"}
	switch {
	case len(in.InputIDs) == 0 || len(in.InputIDs) > maxTranslated:
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "Between 1 and %d IDs can be translated.", maxTranslated)
	case !slices.Contains(known, in.SourceIDType) || !slices.Contains(known, in.TargetIDType):
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "IDs can be translated between restId and restImmutableEntryId.")
	}
	return c.withBox(func(b *mailbox) error {
		items := make([][]byte, len(in.InputIDs))
		for i, id := range in.InputIDs {
			o := newObject(nil)
			o.str("sourceId", id)
			target, err := b.translate(id, in.TargetIDType == "restImmutableEntryId")
			if err != nil {
				o.raw("errorDetails", `{"code":"ErrorItemNotFound","message":"The specified object was not found in the store."}`)
			} else {
				o.str("targetId", target)
			}
			items[i] = o.done()
		}
		return c.page(items, "", "")
	})
}

func (b *mailbox) translate(id string, unchanging bool) (string, error) {
	kind, _, _, _ := b.parseID(id)
	if kind == regularMessage || kind == immutableMessage {
		m, err := b.find(id)
		if err != nil {
			return "", err
		}
		return b.messageID(m, unchanging), nil
	}
	e, err := b.findAny(id)
	if err != nil {
		return "", err
	}
	if e.at != nil {
		return b.occurrenceID(e.item, e.at.date, unchanging), nil
	}
	return b.pimID(e.item, unchanging), nil
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
