package graphsim

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/textproto"
	"strings"
	"time"

	"golang.org/x/text/encoding/htmlindex"
)

// parseMail reads an Internet message as leniently as it can: what cannot be
// understood becomes part of the body. mime is the bytes as they are kept.
func parseMail(raw []byte, kept content) *mailContent { return parseMailAt(raw, kept, 0) }

func parseMailAt(raw []byte, kept content, depth int) *mailContent {
	head, body := splitMail(raw)
	c := &mailContent{bodyType: "text", importance: "normal", inference: "focused", isRead: true,
		flag: flag{status: "notFlagged"}, mime: kept, conversation: mixString(7, string(raw)) >> 1}
	c.readHead(head)
	c.readPart(textproto.MIMEHeader(headerMap(head)), body, depth)
	if c.messageID == "" { // Exchange gives one to what comes without
		c.messageID = fmt.Sprintf("<%016x@delivered.example>", c.conversation)
	}
	return c
}

// splitMail separates header fields, unfolded and in order, from the body.
func splitMail(raw []byte) (head [][2]string, body []byte) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		text := strings.TrimRight(string(line), "\r")
		name, value, isField := strings.Cut(text, ":")
		switch {
		case text == "":
			return head, rest
		case (text[0] == ' ' || text[0] == '\t') && len(head) > 0:
			head[len(head)-1][1] += " " + strings.TrimSpace(text)
		case isField && !strings.ContainsAny(name, " \t"):
			head = append(head, [2]string{name, strings.TrimSpace(value)})
		case strings.HasPrefix(text, "From ") && len(head) == 0: // mbox separator
		default:
			return head, raw
		}
		raw = rest
	}
	return head, nil
}

func headerMap(head [][2]string) map[string][]string {
	m := map[string][]string{}
	for _, h := range head {
		key := textproto.CanonicalMIMEHeaderKey(h[0])
		m[key] = append(m[key], h[1])
	}
	return m
}

var wordDecoder = mime.WordDecoder{CharsetReader: charsetReader}

func charsetReader(charset string, r io.Reader) (io.Reader, error) {
	enc, err := htmlindex.Get(strings.TrimSpace(charset))
	if err != nil {
		return nil, fmt.Errorf("charset %q: %w", charset, err)
	}
	return enc.NewDecoder().Reader(r), nil
}

func decodeWords(s string) string {
	if decoded, err := wordDecoder.DecodeHeader(s); err == nil {
		return valid(decoded)
	}
	return valid(s)
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (c *mailContent) readHead(head [][2]string) {
	date := epoch
	for _, h := range head {
		value := h[1]
		c.headers = append(c.headers, [2]string{h[0], valid(value)})
		switch strings.ToLower(h[0]) {
		case "subject":
			c.subject = decodeWords(value)
		case "from":
			c.from = firstAddress(value)
		case "sender":
			c.sender = firstAddress(value)
		case "to":
			c.to = append(c.to, parseAddresses(value)...)
		case "cc":
			c.cc = append(c.cc, parseAddresses(value)...)
		case "bcc":
			c.bcc = append(c.bcc, parseAddresses(value)...)
		case "reply-to":
			c.replyTo = append(c.replyTo, parseAddresses(value)...)
		case "message-id":
			c.messageID = valid(value)
		case "date":
			if t, err := mail.ParseDate(value); err == nil && t.Year() > 1 && t.Year() < 9999 {
				date = t
			}
		case "importance":
			if v := strings.ToLower(value); v == "high" || v == "low" {
				c.importance = v
			}
		}
	}
	if c.sender == nil {
		c.sender = c.from
	}
	c.sent, c.received, c.created = date.UTC(), date.UTC(), date.UTC()
}

func parseAddresses(s string) (list []address) {
	parser := mail.AddressParser{WordDecoder: &wordDecoder}
	parsed, err := parser.ParseList(s)
	if err != nil {
		if s = valid(strings.TrimSpace(s)); s != "" {
			list = append(list, address{Name: s, Address: s})
		}
		return list
	}
	for _, a := range parsed {
		name := valid(a.Name)
		setDefault(&name, a.Address)
		list = append(list, address{Name: name, Address: valid(a.Address)})
	}
	return list
}

func firstAddress(s string) *address {
	if list := parseAddresses(s); len(list) > 0 {
		return &list[0]
	}
	return nil
}

// maxDepth bounds nested parts.
const maxDepth = 20

func (c *mailContent) readPart(h textproto.MIMEHeader, body []byte, depth int) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && kind == "" {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "multipart/") && params["boundary"] != "" && depth < maxDepth {
		c.readParts(params["boundary"], body, depth)
		return
	}
	data := decodeTransfer(h.Get("Content-Transfer-Encoding"), body)
	disposition, dparams, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	name := decodeWords(dparams["filename"])
	setDefault(&name, decodeWords(params["name"]))
	isText := (kind == "text/plain" || kind == "text/html") && disposition != "attachment" && name == ""
	if isText && (c.body == "" || (kind == "text/html" && c.bodyType == "text")) {
		c.body, c.bodyType = decodeCharset(params["charset"], data), strings.TrimPrefix(kind, "text/")
		if c.bodyType == "plain" {
			c.bodyType = "text"
		}
		return
	}
	if isText && kind == "text/plain" && c.bodyType == "html" {
		return // the alternative that loses
	}
	if depth == 0 && len(data) == 0 {
		return
	}
	if kind == "message/rfc822" && depth < maxDepth {
		item := parseMailAt(data, nil, depth+1)
		setDefault(&item.subject, "attached message")
		c.add(&attachment{kind: "item", name: item.subject, item: item})
		return
	}
	setDefault(&name, "attachment")
	c.add(&attachment{kind: "file", name: name, contentType: kind, contentID: strings.Trim(h.Get("Content-Id"), "<>"),
		inline: disposition == "inline" && h.Get("Content-Id") != "", data: bytesContent(data)})
}

func (c *mailContent) readParts(boundary string, body []byte, depth int) {
	rd := multipart.NewReader(bytes.NewReader(body), boundary)
	for range 1_000 {
		part, err := rd.NextRawPart()
		if err != nil {
			return
		}
		data, _ := io.ReadAll(part) // what there is of a cut part
		c.readPart(part.Header, data, depth+1)
	}
}

func decodeTransfer(encoding string, body []byte) []byte {
	var r io.Reader
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		clean := bytes.Map(func(c rune) rune {
			if c == '\r' || c == '\n' || c == ' ' || c == '\t' {
				return -1
			}
			return c
		}, body)
		r = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(clean))
	case "quoted-printable":
		r = quotedprintable.NewReader(bytes.NewReader(body))
	default:
		return body
	}
	data, err := io.ReadAll(r)
	if err != nil && len(data) == 0 {
		return body
	}
	return data
}

func decodeCharset(charset string, data []byte) string {
	if charset != "" {
		if r, err := charsetReader(charset, bytes.NewReader(data)); err == nil {
			if decoded, err := io.ReadAll(r); err == nil {
				return valid(string(decoded))
			}
		}
	}
	return valid(string(data))
}

// writeMIME writes a message that did not come as MIME as one: the headers that the message
// resource has, its one body, and every attachment that has content.
func writeMIME(w io.Writer, c *mailContent) error {
	var b bytes.Buffer
	if err := c.writeMIMEAt(&b, 0); err != nil {
		return err
	}
	if rw, ok := w.(http.ResponseWriter); ok {
		rw.Header().Set("Content-Length", fmt.Sprint(b.Len()))
	}
	_, _ = w.Write(b.Bytes()) // the client has gone
	return nil
}

func (c *mailContent) writeMIMEAt(b *bytes.Buffer, depth int) error {
	mixed := multipart.NewWriter(b)
	_ = mixed.SetBoundary(fmt.Sprintf("_%016x_%d_", c.conversation|1, depth)) // always valid
	c.writeMIMEHead(b)
	fmt.Fprintf(b, "Content-Type: multipart/mixed; boundary=%q\r\n\r\n", mixed.Boundary())
	if err := c.writeMIMEText(mixed); err != nil {
		return err
	}
	for _, a := range c.attachments {
		if err := a.writeMIME(mixed, depth); err != nil {
			return err
		}
	}
	return mixed.Close()
}

// writeMIMEText writes the body: in UTF-8 as Base64, in an older charset quoted-printable.
func (c *mailContent) writeMIMEText(mixed *multipart.Writer) error {
	charset, text := c.encoded(c.text())
	kind := "text/plain; charset=" + charset
	if c.bodyType == "html" {
		kind = "text/html; charset=" + charset
	}
	h := textproto.MIMEHeader{"Content-Type": {kind}}
	if charset == "utf-8" {
		return writePart(mixed, h, bytesContent(text))
	}
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	part, err := mixed.CreatePart(h)
	if err != nil {
		return err
	}
	quoted := quotedprintable.NewWriter(part)
	quoted.Binary = true // a line ends as it ends
	_, err = quoted.Write([]byte(text))
	return errors.Join(err, quoted.Close())
}

func (c *mailContent) writeMIMEHead(b *bytes.Buffer) {
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "%s: %s\r\n", name, value)
		}
	}
	field("From", formatAddresses(c.from))
	if c.sender != nil && (c.from == nil || *c.sender != *c.from) {
		field("Sender", formatAddresses(c.sender))
	}
	field("To", formatList(c.to))
	field("Cc", formatList(c.cc))
	field("Bcc", formatList(c.bcc))
	field("Reply-To", formatList(c.replyTo))
	charset, subject := c.encoded(c.subject)
	words := mime.QEncoding
	if charset != "utf-8" {
		words = mime.BEncoding
	}
	field("Subject", words.Encode(charset, subject))
	field("Date", c.sent.Format(time.RFC1123Z))
	field("Message-ID", c.messageID)
	if c.importance != "normal" {
		field("Importance", c.importance)
	}
	field("MIME-Version", "1.0")
}

// writeMIME writes an attachment as a part: a file, or an embedded message. A link has no content.
func (a *attachment) writeMIME(mixed *multipart.Writer, depth int) error {
	disposition := "attachment"
	if a.inline {
		disposition = "inline"
	}
	h := textproto.MIMEHeader{"Content-Disposition": {mime.FormatMediaType(disposition, map[string]string{"filename": a.name})}}
	switch {
	case a.data != nil:
		h.Set("Content-Type", a.contentType)
		if a.contentType == "" || strings.HasPrefix(a.contentType, "multipart/") { // one that had no boundary
			h.Set("Content-Type", "application/octet-stream")
		}
		if a.contentID != "" {
			h.Set("Content-Id", "<"+a.contentID+">")
		}
		return writePart(mixed, h, a.data)
	case a.item != nil && depth < maxDepth: // never encoded (RFC 2046, 5.2.1)
		h.Set("Content-Type", "message/rfc822")
		part, err := mixed.CreatePart(h)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := a.item.writeMIMEAt(&b, depth+1); err != nil {
			return err
		}
		_, err = part.Write(b.Bytes())
		return err
	}
	return nil
}

func writePart(mixed *multipart.Writer, h textproto.MIMEHeader, data content) error {
	h.Set("Content-Transfer-Encoding", "base64")
	part, err := mixed.CreatePart(h)
	if err != nil {
		return err
	}
	raw, err := readContent(data)
	if err != nil {
		return err
	}
	text := base64.StdEncoding.EncodeToString(raw)
	for len(text) > 76 {
		fmt.Fprintf(part, "%s\r\n", text[:76])
		text = text[76:]
	}
	_, err = fmt.Fprintf(part, "%s\r\n", text)
	return err
}

func formatAddresses(a *address) string {
	if a == nil {
		return ""
	}
	return (&mail.Address{Name: a.Name, Address: a.Address}).String()
}

func formatList(list []address) string {
	parts := make([]string, len(list))
	for i := range list {
		parts[i] = formatAddresses(&list[i])
	}
	return strings.Join(parts, ", ")
}
