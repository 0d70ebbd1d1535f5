package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// attachmentOptions is how the options of $expand=attachments(...) want them shown.
func attachmentOptions(options url.Values) attachmentView {
	v := attachmentView{bytes: true}
	if strings.Contains(strings.ToLower(options.Get("$expand")), "itemattachment/item") {
		v.levels = maxLevels
	}
	if options.Has("$select") {
		v.sel = parseSelect(options.Get("$select"))
		v.bytes = v.sel.asked("contentBytes")
	}
	return v
}

// renderAttachments writes all attachments of an item as $expand asks.
func (b *mailbox) renderAttachments(o *object, h *holder, v attachmentView) {
	o.always("attachments")
	o.b = append(o.b, '[')
	for i, a := range h.list {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = append(o.b, b.renderAttachment(h, a, v)...)
	}
	o.b = append(o.b, ']')
}

// minSessionSize is where attachments need an upload session instead of a POST.
const minSessionSize = 3 << 20

func attachmentRoutes() []route {
	operations := func(read, write []string) []route {
		return []route{
			{method: "GET", service: outlook, roles: read, handle: listAttachments},
			{method: "POST", service: outlook, roles: write, handle: postAttachment},
			{method: "POST", pattern: "createUploadSession", service: outlook, roles: write, handle: createAttachmentSession},
			{method: "GET", pattern: "{attachment}", service: outlook, roles: read, handle: getAttachment},
			{method: "DELETE", pattern: "{attachment}", service: outlook, roles: write, handle: deleteAttachment},
			{method: "GET", pattern: "{attachment}/$value", service: outlook, roles: read, handle: getAttachmentValue},
		}
	}
	list := pathsTo([]string{"users/{user}/messages/{message}/attachments", "users/{user}/mailFolders/{folder}/messages/{message}/attachments"},
		operations(rolesMail, rolesMailWrite)...)
	events := make([]string, len(eventBases))
	for i, base := range eventBases {
		events[i] = base + "/events/{event}/attachments"
	}
	list = append(list, pathsTo(events, operations(rolesCalendars, rolesCalendarsWrite)...)...)
	return append(list, pathsTo([]string{"users/{user}/todo/lists/{list}/tasks/{task}/attachments"}, taskAttachments()...)...)
}

// taskAttachments are the operations on files attached to a task: an application may not delete them
// ("Delete taskFileAttachment"). Upload sessions of tasks are not simulated.
func taskAttachments() []route {
	ofTasks := func(handle func(*call) error) func(*call) error {
		return func(c *call) error {
			if !c.s.o.Exchange.TaskAttachments {
				return fail(http.StatusBadRequest, "BadRequest", "Resource not found for the segment 'attachments'.")
			}
			return handle(c)
		}
	}
	return []route{
		{method: "GET", service: outlook, roles: rolesTasks, handle: ofTasks(listAttachments)},
		{method: "POST", service: outlook, roles: rolesTasksWrite, handle: ofTasks(postAttachment)},
		{method: "GET", pattern: "{attachment}", service: outlook, roles: rolesTasks, handle: ofTasks(getAttachment)},
		{method: "GET", pattern: "{attachment}/$value", service: outlook, roles: rolesTasks, handle: ofTasks(getAttachmentValue)},
	}
}

// taskHolder is a task. A list of its attachments never has their bytes ("List taskFileAttachments").
func (b *mailbox) taskHolder(it *pimItem) *holder {
	return &holder{kind: taskAttachmentKind, number: it.number, list: b.contentOf(it).attachments,
		edit: func(change func(attachable)) error {
			return b.editItem(it, func(content *pimContent) error { change(content); return nil })
		}}
}

// attachable is content that attachments can be added to and taken from.
type attachable interface {
	add(*attachment)
	drop(*attachment)
}

// holder is an item as far as it has attachments.
type holder struct {
	kind   byte // of the IDs of its attachments
	number uint64
	list   []*attachment
	place  string // in the Location of an upload
	edit   func(func(attachable)) error
	// again finds the holder anew, for an upload that ends much later.
	again func() (*holder, error)
}

func (c *mailContent) drop(a *attachment) { c.attachments = without(c.attachments, a) }
func (c *pimContent) drop(a *attachment)  { c.attachments = without(c.attachments, a) }

// without never returns nil: no attachments is not the same as the master's.
func without(list []*attachment, a *attachment) []*attachment {
	kept := []*attachment{}
	for _, other := range list {
		if other != a {
			kept = append(kept, other)
		}
	}
	return kept
}

func (b *mailbox) messageHolder(m *message) *holder {
	return &holder{kind: attachmentKind, number: m.number, list: b.content(m).attachments,
		place: "/Messages('" + b.messageID(m, true) + "')",
		edit: func(change func(attachable)) error {
			return b.edit(m, func(content *mailContent) error { change(content); return nil })
		},
		again: func() (*holder, error) {
			if again := b.messages[m.number]; again != nil {
				return b.messageHolder(again), nil
			}
			return nil, mailItemNotFound()
		}}
}

// eventHolder is an event, or one instance of a series: what is attached to that
// makes it an exception.
func (b *mailbox) eventHolder(e eventRef) *holder {
	content, id := b.contentOf(e.item), b.pimID(e.item, true)
	h := &holder{kind: eventAttachmentKind, number: e.item.number, list: content.attachments}
	if e.at != nil {
		id = b.occurrenceID(e.item, e.at.date, true)
		h.number |= uint64(dayNumber(e.at.date)) << 32
		if e.at.exception != nil && e.at.exception.attachments != nil {
			h.list = e.at.exception.attachments
		}
	}
	h.place = "/Events('" + id + "')"
	h.edit = func(change func(attachable)) error {
		return b.editItem(e.item, func(own *pimContent) error {
			if e.at == nil {
				change(own)
				return nil
			}
			if err := own.except(e.at.date, nil); err != nil {
				return err
			}
			exception := own.series.exceptions[e.at.date]
			if exception.attachments == nil {
				exception.attachments, exception.lastAttachment = slices.Clone(own.attachments), own.lastAttachment
			}
			change(exception)
			return nil
		})
	}
	h.again = func() (*holder, error) {
		again, err := b.findEvent(id)
		if err != nil {
			return nil, err
		}
		return b.eventHolder(again), nil
	}
	return h
}

// withHolder calls do with the item of the request, under the mailbox's lock.
func (c *call) withHolder(do func(*mailbox, *holder) error) error {
	if c.param("task") != "" {
		return c.withTask(func(b *mailbox, it *pimItem) error { return do(b, b.taskHolder(it)) })
	}
	if c.param("event") != "" {
		return c.withEvent(func(b *mailbox, e eventRef) error { return do(b, b.eventHolder(e)) })
	}
	return c.withMessage(func(b *mailbox, m *message) error { return do(b, b.messageHolder(m)) })
}

// attachmentView is how a request wants attachments shown.
type attachmentView struct {
	sel   selection
	bytes bool // contentBytes of files
	// levels is how many items inside one another are shown; 0 without $expand.
	levels int
}

// maxLevels is how deep $expand=microsoft.graph.itemattachment/item goes ("Get attachment").
const maxLevels = 30

func (c *call) attachmentView() attachmentView {
	v := attachmentView{sel: c.sel, bytes: c.sel == nil || c.sel.asked("contentBytes")}
	if strings.Contains(strings.ToLower(c.query.Get("$expand")), "itemattachment/item") {
		v.levels = maxLevels
	}
	return v
}

func (b *mailbox) attachmentID(h *holder, a *attachment) string {
	return b.itemID(h.kind, h.number, a.number)
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

func (b *mailbox) renderAttachment(h *holder, a *attachment, v attachmentView) []byte {
	if h.kind == taskAttachmentKind {
		return b.renderTaskAttachment(h, a, v)
	}
	o := newObject(v.sel)
	o.raw("@odata.type", `"#microsoft.graph.`+a.kind+`Attachment"`)
	o.str("id", b.attachmentID(h, a))
	o.instant("lastModifiedDateTime", a.modified)
	o.str("name", a.name)
	o.nullable("contentType", a.contentType)
	o.num("size", a.size())
	o.boolean("isInline", a.inline)
	if a.kind == "file" {
		o.nullable("contentId", a.contentID)
		o.raw("contentLocation", "null")
		a.renderBytes(o, v)
	}
	if a.kind == "item" && v.levels > 0 {
		o.always("item")
		o.b = append(o.b, b.renderItem(a, v.levels-1)...)
	}
	return o.done()
}

func (a *attachment) renderBytes(o *object, v attachmentView) {
	if !v.bytes || !o.member("contentBytes") {
		return
	}
	data, _ := readContent(a.data) // unreadable only if a corpus file vanished under way
	o.b = append(o.b, '"')
	o.b = base64.StdEncoding.AppendEncode(o.b, data)
	o.b = append(o.b, '"')
}

// renderTaskAttachment writes a taskFileAttachment.
func (b *mailbox) renderTaskAttachment(h *holder, a *attachment, v attachmentView) []byte {
	o := newObject(v.sel)
	o.raw("@odata.type", `"#microsoft.graph.taskFileAttachment"`)
	o.str("id", b.attachmentID(h, a))
	o.instant("lastModifiedDateTime", a.modified)
	o.str("name", a.name)
	o.nullable("contentType", a.contentType)
	o.num("size", a.size())
	a.renderBytes(o, v)
	return o.done()
}

// renderItem writes an embedded item, a message or what a client wrote, with as many levels
// of items below it.
func (b *mailbox) renderItem(a *attachment, levels int) []byte {
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
		inner := &holder{kind: attachmentKind}
		parts := make([]string, len(c.attachments))
		for i, sub := range c.attachments {
			parts[i] = string(b.renderAttachment(inner, sub, attachmentView{bytes: true, levels: levels}))
		}
		o.raw("attachments", "["+strings.Join(parts, ",")+"]")
	}
	return o.done()
}

func listAttachments(c *call) error {
	return c.withHolder(func(b *mailbox, h *holder) error {
		view := c.attachmentView()
		view.bytes = view.bytes && h.kind != taskAttachmentKind
		return c.list(listing{count: len(h.list), usual: 20, most: 1000, param: "$skip",
			render: func(i int) []byte { return b.renderAttachment(h, h.list[i], view) },
			full:   func(i int) []byte { return b.renderAttachment(h, h.list[i], attachmentView{}) }})
	})
}

func (b *mailbox) attachment(h *holder, id string) (*attachment, error) {
	kind, number, extra, ok := b.parseID(id)
	if ok && kind == h.kind && number == h.number {
		for _, a := range h.list {
			if a.number == extra {
				return a, nil
			}
		}
	}
	return nil, mailItemNotFound()
}

func getAttachment(c *call) error {
	return c.withHolder(func(b *mailbox, h *holder) error {
		a, err := b.attachment(h, c.param("attachment"))
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, b.renderAttachment(h, a, c.attachmentView()))
	})
}

func getAttachmentValue(c *call) error {
	var a *attachment
	err := c.withHolder(func(b *mailbox, h *holder) (err error) {
		a, err = b.attachment(h, c.param("attachment"))
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
		return c.writeEmbedded(a.itemJSON)
	}
	return c.stream(a.contentType, a.data)
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
	return c.stream("text/plain; charset=utf-8", content.mime)
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
	case "microsoft.graph.fileattachment", "microsoft.graph.taskfileattachment", "":
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
		return checkEmbedded(in)
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
	return c.withHolder(func(b *mailbox, h *holder) error {
		a, err := b.readAttachment(raw)
		if err == nil && h.kind == taskAttachmentKind && (a.kind != "file" || a.name == "") {
			err = badRequest("A task takes files that have a name.")
		}
		if err != nil {
			return err
		}
		if err := h.edit(func(content attachable) { content.add(a) }); err != nil {
			return err
		}
		return c.json(http.StatusCreated, b.renderAttachment(h, a, attachmentView{}))
	})
}

func deleteAttachment(c *call) error {
	return c.withHolder(func(b *mailbox, h *holder) error {
		a, err := b.attachment(h, c.param("attachment"))
		if err != nil {
			return err
		}
		if err := h.edit(func(content attachable) { content.drop(a) }); err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	})
}

// attachmentUpload is an upload session of one attachment.
type attachmentUpload struct {
	box  *mailbox
	into *holder
	made attachment
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
	return c.withHolder(func(b *mailbox, h *holder) error {
		up := &attachmentUpload{box: b, into: h, made: attachment{kind: "file", name: item.Name,
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

// finish adds the attachment to its item; the Location names it.
func (u *attachmentUpload) finish(s *Server, data content) (*uploadResult, error) {
	u.box.mu.Lock()
	defer u.box.mu.Unlock()
	h, err := u.into.again()
	if err != nil {
		return nil, err
	}
	a := u.made
	a.data, a.modified = data, time.Now().UTC().Truncate(time.Second)
	if err := h.edit(func(content attachable) { content.add(&a) }); err != nil {
		return nil, err
	}
	location := "https://outlook.office.example/api/v2.0/Users('" + u.box.owner.id + "')" + h.place +
		"/Attachments('" + u.box.attachmentID(h, &a) + "')"
	return &uploadResult{status: http.StatusCreated, location: location}, nil
}
