package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// minSessionSize is where attachments need an upload session instead of a POST.
const minSessionSize = 3 << 20

func attachmentRoutes() []route {
	const base = "users/{user}/messages/{message}/attachments"
	return []route{
		{method: "GET", pattern: base, service: outlook, roles: rolesMail, handle: listAttachments},
		{method: "POST", pattern: base, service: outlook, roles: rolesMailWrite, handle: postAttachment},
		{method: "POST", pattern: base + "/createUploadSession", service: outlook, roles: rolesMailWrite, handle: createAttachmentSession},
		{method: "GET", pattern: base + "/{attachment}", service: outlook, roles: rolesMail, handle: getAttachment},
		{method: "DELETE", pattern: base + "/{attachment}", service: outlook, roles: rolesMailWrite, handle: deleteAttachment},
		{method: "GET", pattern: base + "/{attachment}/$value", service: outlook, roles: rolesMail, handle: getAttachmentValue},
	}
}

// attachmentView is how a request wants attachments shown.
type attachmentView struct {
	sel   selection
	bytes bool // contentBytes of files
	item  bool // $expand=microsoft.graph.itemattachment/item
}

func (c *call) attachmentView() attachmentView {
	return attachmentView{sel: c.sel, bytes: c.sel == nil || c.sel.asked("contentBytes"),
		item: strings.Contains(strings.ToLower(c.query.Get("$expand")), "itemattachment/item")}
}

func (b *mailbox) attachmentID(m *message, a *attachment) string {
	return b.itemID(attachmentKind, m.number, a.number)
}

func (a *attachment) size() int64 {
	switch {
	case a.data != nil:
		return a.data.size()
	case a.item != nil:
		return int64(len(a.item.text())) + 1_000
	default:
		return int64(len(a.itemJSON)) + 500
	}
}

func (b *mailbox) renderAttachment(m *message, a *attachment, v attachmentView) []byte {
	o := newObject(v.sel)
	o.raw("@odata.type", `"#microsoft.graph.`+a.kind+`Attachment"`)
	o.str("id", b.attachmentID(m, a))
	o.instant("lastModifiedDateTime", a.modified)
	o.str("name", a.name)
	o.nullable("contentType", a.contentType)
	o.num("size", a.size())
	o.boolean("isInline", a.inline)
	if a.kind == "file" {
		o.nullable("contentId", a.contentID)
		o.raw("contentLocation", "null")
		if v.bytes && o.member("contentBytes") {
			// Unreadable only if a corpus file vanished under way.
			data, _ := readContent(a.data)
			o.b = append(o.b, '"')
			o.b = base64.StdEncoding.AppendEncode(o.b, data)
			o.b = append(o.b, '"')
		}
	}
	if a.kind == "item" && v.item {
		o.always("item")
		o.b = append(o.b, b.renderItem(a)...)
	}
	return o.done()
}

// renderItem writes an embedded item: a message, or what a client wrote.
func (b *mailbox) renderItem(a *attachment) []byte {
	if a.item == nil {
		return a.itemJSON
	}
	c := a.item
	o := newObject(nil)
	o.raw("@odata.type", `"#microsoft.graph.message"`)
	o.str("id", "")
	o.instant("createdDateTime", c.created)
	o.instant("lastModifiedDateTime", c.created)
	b.renderContent(o, c, mailView{})
	if len(c.attachments) > 0 {
		inner := &message{}
		parts := make([]string, len(c.attachments))
		for i, sub := range c.attachments {
			parts[i] = string(b.renderAttachment(inner, sub, attachmentView{bytes: true, item: true}))
		}
		o.raw("attachments", "["+strings.Join(parts, ",")+"]")
	}
	return o.done()
}

func listAttachments(c *call) error {
	return c.withMessage(func(b *mailbox, m *message) error {
		list, view := b.content(m).attachments, c.attachmentView()
		return c.skipPage(len(list), c.pageSize(20, 1000), "$skip", func(i int) []byte { return b.renderAttachment(m, list[i], view) })
	})
}

func (b *mailbox) attachment(m *message, id string) (*attachment, error) {
	kind, number, extra, ok := b.parseID(id)
	if ok && kind == attachmentKind && number == m.number {
		for _, a := range b.content(m).attachments {
			if a.number == extra {
				return a, nil
			}
		}
	}
	return nil, mailItemNotFound()
}

func getAttachment(c *call) error {
	return c.withMessage(func(b *mailbox, m *message) error {
		a, err := b.attachment(m, c.param("attachment"))
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, b.renderAttachment(m, a, c.attachmentView()))
	})
}

func getAttachmentValue(c *call) error {
	var a *attachment
	err := c.withMessage(func(b *mailbox, m *message) (err error) {
		a, err = b.attachment(m, c.param("attachment"))
		return err
	})
	switch {
	case err != nil:
		return err
	case a.kind == "reference":
		return fail(http.StatusMethodNotAllowed, "ErrorInvalidRequest", "The value of a reference attachment cannot be read.")
	case a.item != nil:
		c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		return writeMIME(c.w, a.item)
	case a.kind == "item":
		return fail(http.StatusMethodNotAllowed, "ErrorInvalidRequest", "The item has no MIME form.")
	}
	rd, err := a.data.open()
	if err != nil {
		return err
	}
	defer rd.Close()
	contentType := a.contentType
	setDefault(&contentType, "application/octet-stream")
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("Content-Length", strconv.FormatInt(a.data.size(), 10))
	_, _ = io.Copy(c.w, rd) // the client has gone
	return nil
}

func getMIME(c *call) error {
	var content *mailContent
	err := c.withMessage(func(b *mailbox, m *message) error {
		content = b.content(m)
		return nil
	})
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if content.mime == nil {
		return writeMIME(c.w, content)
	}
	rd, err := content.mime.open()
	if err != nil {
		return err
	}
	defer rd.Close()
	_, _ = io.Copy(c.w, rd) // the client has gone
	return nil
}

// readAttachment reads an attachment as a client posts it.
func (b *mailbox) readAttachment(raw json.RawMessage) (*attachment, error) {
	var in struct {
		Type         string          `json:"@odata.type"`
		Name         string          `json:"name"`
		ContentType  string          `json:"contentType"`
		ContentID    string          `json:"contentId"`
		ContentBytes []byte          `json:"contentBytes"`
		IsInline     bool            `json:"isInline"`
		Item         json.RawMessage `json:"item"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, badRequest("Cannot read the attachment: %v", err)
	}
	a := &attachment{name: in.Name, contentType: in.ContentType, contentID: in.ContentID, inline: in.IsInline,
		modified: time.Now().UTC().Truncate(time.Second)}
	var err error
	switch strings.ToLower(strings.TrimPrefix(in.Type, "#")) {
	case "microsoft.graph.fileattachment", "":
		if len(in.ContentBytes) >= minSessionSize {
			return nil, fail(http.StatusRequestEntityTooLarge, "ErrorMessageSizeExceeded", "Attachments of 3 MB and more need an upload session.")
		}
		a.kind = "file"
		a.data, err = b.t.s.keep(in.ContentBytes)
	case "microsoft.graph.itemattachment":
		a.kind = "item"
		err = b.readItem(a, in.Item)
	case "microsoft.graph.referenceattachment":
		a.kind = "reference"
	default:
		err = badRequest("The type '%s' is not an attachment.", in.Type)
	}
	return a, err
}

// readItem reads an embedded item. Its times are taken from the JSON, as nothing
// else could carry them.
func (b *mailbox) readItem(a *attachment, raw json.RawMessage) error {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(raw, &in); err != nil {
		return badRequest("Cannot read the item: %v", err)
	}
	if kind := string(in["@odata.type"]); kind != "" && !strings.HasSuffix(strings.ToLower(kind), `microsoft.graph.message"`) {
		a.itemJSON = raw
		return nil
	}
	delete(in, "internetMessageHeaders") // embedded messages keep their own
	item, err := b.newDraft(in)
	if err != nil {
		return err
	}
	item.isDraft = string(in["isDraft"]) == "true"
	if notNull(in["from"]) == "" { // nobody, and not the owner of the mailbox
		item.from = nil
	}
	if notNull(in["sender"]) == "" {
		item.sender = item.from
	}
	for name, to := range map[string]*time.Time{"sentDateTime": &item.sent, "receivedDateTime": &item.received} {
		if v, ok := in[name]; ok {
			if err := json.Unmarshal(v, to); err != nil {
				return asBadProperty(name, err)
			}
		}
	}
	a.item = item
	return nil
}

func postAttachment(c *call) error {
	raw, err := c.body(maxJSONBody)
	if err != nil {
		return err
	}
	return c.withMessage(func(b *mailbox, m *message) error {
		a, err := b.readAttachment(raw)
		if err != nil {
			return err
		}
		if err := b.attachTo(m, a); err != nil {
			return err
		}
		return c.json(http.StatusCreated, b.renderAttachment(m, a, attachmentView{}))
	})
}

func (b *mailbox) attachTo(m *message, a *attachment) error {
	return b.edit(m, func(content *mailContent) error {
		content.add(a)
		return nil
	})
}

func deleteAttachment(c *call) error {
	return c.withMessage(func(b *mailbox, m *message) error {
		a, err := b.attachment(m, c.param("attachment"))
		if err != nil {
			return err
		}
		err = b.edit(m, func(content *mailContent) error {
			var kept []*attachment
			for _, other := range content.attachments {
				if other != a {
					kept = append(kept, other)
				}
			}
			content.attachments = kept
			return nil
		})
		if err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	})
}

// attachmentUpload is an upload session of one attachment.
type attachmentUpload struct {
	box     *mailbox
	message uint64
	made    attachment
}

func createAttachmentSession(c *call) error {
	var in struct {
		AttachmentItem struct {
			AttachmentType, Name, ContentType, ContentID string
			Size                                         int64
			IsInline                                     bool
		}
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	item := in.AttachmentItem
	switch {
	case !strings.EqualFold(item.AttachmentType, "file") || item.Name == "":
		return badRequest("The attachmentItem needs an attachmentType of file and a name.")
	case item.Size < minSessionSize:
		return fail(http.StatusBadRequest, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", "The attachment size is less than the minimum of 3 MB for an upload session.")
	case item.Size > 150<<20:
		return fail(http.StatusRequestEntityTooLarge, "ErrorAttachmentSizeLimitExceeded", "The attachment is over 150 MB.")
	}
	return c.withMessage(func(b *mailbox, m *message) error {
		up := &attachmentUpload{box: b, message: m.number, made: attachment{kind: "file", name: item.Name,
			contentType: item.ContentType, contentID: item.ContentID, inline: item.IsInline}}
		session, err := c.s.uploads.start(c.s, item.Size, up)
		if err != nil {
			return err
		}
		body := fmt.Sprintf(`{"uploadUrl":%s,"expirationDateTime":%s,"nextExpectedRanges":["0-"]}`,
			quoted(c.filesRoot()+"/attachment/"+session.id), quoted(formatTime(session.expiry())))
		return c.json(http.StatusCreated, []byte(body))
	})
}

// fragmentRule: Outlook takes ranges below 4 MB, of any size.
func (u *attachmentUpload) fragmentRule(size int64, _ bool) *apiError {
	if size >= 4<<20 {
		return fail(http.StatusRequestEntityTooLarge, "ErrorRequestTooLarge", "A range must be below 4 MB.")
	}
	return nil
}

// finish adds the attachment to its message; the Location names it.
func (u *attachmentUpload) finish(s *Server, data content) (*uploadResult, error) {
	u.box.mu.Lock()
	defer u.box.mu.Unlock()
	m := u.box.messages[u.message]
	if m == nil {
		return nil, mailItemNotFound()
	}
	a := u.made
	a.data, a.modified = data, time.Now().UTC().Truncate(time.Second)
	if err := u.box.attachTo(m, &a); err != nil {
		return nil, err
	}
	location := "https://outlook.office.example/api/v2.0/Users('" + u.box.owner.id + "')/Messages('" + u.box.messageID(m, true) +
		"')/Attachments('" + u.box.attachmentID(m, &a) + "')"
	return &uploadResult{status: http.StatusCreated, location: location}, nil
}
