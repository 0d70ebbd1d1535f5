package graphsim

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// mailView is how a request wants messages shown.
type mailView struct {
	sel       selection
	immutable bool
	text      bool // Prefer: outlook.body-content-type="text"
	expand    []expansion
}

func (c *call) mailView() mailView {
	return mailView{sel: c.sel, immutable: c.prefer("IdType=ImmutableId"), text: c.prefer("outlook.body-content-type=text"), expand: c.expand}
}

func addressJSON(a *address) string {
	if a == nil {
		return "null"
	}
	return `{"emailAddress":{"name":` + quoted(a.Name) + `,"address":` + quoted(a.Address) + `}}`
}

func addressesJSON(list []address) string {
	parts := make([]string, len(list))
	for i := range list {
		parts[i] = addressJSON(&list[i])
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func changeKey(number uint64, revision uint32) string {
	return "CQAAABYAAAB" + base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, number), revision))
}

// render writes a message as Graph does.
func (b *mailbox) render(m *message, v mailView) []byte {
	c := b.content(m)
	o := newObject(v.sel)
	key := changeKey(m.number, m.revision)
	o.str("@odata.etag", `W/"`+key+`"`)
	o.str("id", b.messageID(m, v.immutable))
	o.instant("createdDateTime", c.created)
	// A fraction of a second, as some services write it: a client that parses and
	// prints times loses it.
	o.instant("lastModifiedDateTime", m.modified.UTC().Truncate(time.Second).Add(time.Duration(m.number%3)*123_456_700))
	o.str("changeKey", key)
	b.renderContent(o, c, v)
	if o.member("webLink") { // escaped slashes are legal JSON, and seen
		o.b = append(o.b, `"https:\/\/outlook.office365.example\/owa\/?ItemID=`+fmt.Sprint(m.number)+`&exvsurl=1"`...)
	}
	o.str("parentFolderId", m.folder.id())
	if o.sel == nil { // past what a double can hold
		o.raw("@odata.changeNumber", fmt.Sprint(uint64(9_007_199_254_740_993)+uint64(m.revision)))
	}
	b.renderExpanded(o, m, c, v)
	return o.done()
}

// renderContent writes what a message and an embedded one have in common.
func (b *mailbox) renderContent(o *object, c *mailContent, v mailView) {
	o.strings("categories", c.categories)
	o.instant("receivedDateTime", c.received)
	o.instant("sentDateTime", c.sent)
	o.boolean("hasAttachments", c.hasAttachments())
	o.nullable("internetMessageId", c.messageID)
	o.str("subject", c.subject)
	o.str("importance", c.importance)
	o.str("conversationId", conversationID(c.conversation))
	o.str("conversationIndex", "AQHZ"+base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, c.conversation)))
	o.raw("isDeliveryReceiptRequested", receipt(c.receipts[0], c.isDraft))
	o.boolean("isReadReceiptRequested", c.receipts[1])
	o.boolean("isRead", c.isRead)
	o.boolean("isDraft", c.isDraft)
	o.str("inferenceClassification", c.inference)
	if o.sel.has("body") || o.sel.has("bodyPreview") || o.sel.asked("uniqueBody") {
		renderBody(o, c, v.text)
	}
	o.raw("sender", addressJSON(c.sender))
	o.raw("from", addressJSON(c.from))
	o.raw("toRecipients", addressesJSON(c.to))
	o.raw("ccRecipients", addressesJSON(c.cc))
	o.raw("bccRecipients", addressesJSON(c.bcc))
	o.raw("replyTo", addressesJSON(c.replyTo))
	o.raw("flag", c.flag.json())
	if o.sel.asked("internetMessageHeaders") {
		renderHeaders(o, c)
	}
}

func (c *mailContent) hasAttachments() bool {
	for _, a := range c.attachments {
		if !a.inline {
			return true
		}
	}
	return false
}

// receipt is null on items that were received, as Exchange answers.
func receipt(asked, draft bool) string {
	if !asked && !draft {
		return "null"
	}
	return fmt.Sprint(asked)
}

func renderBody(o *object, c *mailContent, asText bool) {
	text, kind := c.text(), c.bodyType
	o.str("bodyPreview", preview(text, kind))
	if asText && kind == "html" {
		text, kind = stripTags(text), "text"
	}
	body := `{"contentType":` + quoted(kind) + `,"content":` + quoted(text) + `}`
	o.raw("body", body)
	if o.sel.asked("uniqueBody") {
		o.raw("uniqueBody", body)
	}
}

func preview(text, kind string) string {
	html := kind == "html"
	if html {
		text = text[max(0, strings.Index(text, "<body")):]
	}
	var b strings.Builder
	inside, gap, runes := false, false, 0
	for _, c := range text {
		switch {
		case html && c == '<':
			inside = true
		case html && c == '>':
			inside = false
		case inside:
		case unicode.IsSpace(c):
			gap = runes > 0
		default:
			if gap && runes < maxPreview {
				b.WriteByte(' ')
				runes++
			}
			if runes == maxPreview {
				return b.String()
			}
			b.WriteRune(c)
			runes, gap = runes+1, false
		}
	}
	return b.String()
}

func stripTags(html string) string {
	var b strings.Builder
	inside := false
	for _, c := range html {
		switch {
		case c == '<':
			inside = true
		case c == '>':
			inside = false
		case !inside:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// maxPreview is how many characters bodyPreview has ("message resource type").
const maxPreview = 255

func renderHeaders(o *object, c *mailContent) {
	parts := make([]string, len(c.headers))
	for i, h := range c.headers {
		parts[i] = `{"name":` + quoted(h[0]) + `,"value":` + quoted(h[1]) + `}`
	}
	o.raw("internetMessageHeaders", "["+strings.Join(parts, ",")+"]")
}

func (f flag) json() string {
	s := `{"flagStatus":` + quoted(f.status)
	for _, part := range [][2]string{{"startDateTime", f.start}, {"dueDateTime", f.due}, {"completedDateTime", f.completed}} {
		if part[1] != "" {
			s += `,"` + part[0] + `":` + part[1]
		}
	}
	return s + "}"
}

// renderExpanded writes what $expand asked for.
func (b *mailbox) renderExpanded(o *object, m *message, c *mailContent, v mailView) {
	if options, ok := expanded(v.expand, "singleValueExtendedProperties"); ok {
		renderProperties(o, c.properties, options)
	}
	if options, ok := expanded(v.expand, "attachments"); ok {
		b.renderAttachments(o, b.messageHolder(m), attachmentOptions(options))
	}
}

// removedMessage is what a folder's delta says of a message that left it.
func removedMessage(id string) []byte {
	return []byte(`{"@odata.type":"#microsoft.graph.message","id":` + quoted(id) + `,"@removed":{"reason":"deleted"}}`)
}
