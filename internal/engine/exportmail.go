package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

type graphAddress struct {
	EmailAddress struct {
		Name    string `json:"name"`
		Address string `json:"address"`
	} `json:"emailAddress"`
}

type graphBody struct {
	ContentType string `json:"contentType"`
	Content     string `json:"content"`
}

// graphMessage is what an e-mail has of Graph's message resource.
type graphMessage struct {
	Subject           string         `json:"subject"`
	Body              graphBody      `json:"body"`
	From              *graphAddress  `json:"from"`
	Sender            *graphAddress  `json:"sender"`
	To                []graphAddress `json:"toRecipients"`
	CC                []graphAddress `json:"ccRecipients"`
	BCC               []graphAddress `json:"bccRecipients"`
	ReplyTo           []graphAddress `json:"replyTo"`
	InternetMessageID string         `json:"internetMessageId"`
	Sent              time.Time      `json:"sentDateTime"`
	Received          time.Time      `json:"receivedDateTime"`
	Created           time.Time      `json:"createdDateTime"`
	Importance        string         `json:"importance"`
	Categories        []string       `json:"categories"`
	IsDraft           bool           `json:"isDraft"`
	IsRead            bool           `json:"isRead"`
	Headers           []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"internetMessageHeaders"`
}

type graphAttachment struct {
	ID          string `json:"id"`
	Type        string `json:"@odata.type"`
	Name        string `json:"name"`
	ContentType string `json:"contentType"`
	Inline      bool   `json:"isInline"`
	ContentID   string `json:"contentId"`
	raw         json.RawMessage
}

// keptMIME is the part of a message that is the message as MIME.
const keptMIME = "message.eml"

// WriteMail writes a message as MIME (RFC 5322, RFC 2045): headers, body, and every
// attachment as it was stored. Body and attachments are encoded so that they come back
// byte for byte. A header X-Tenantry-Missing names each attachment that was never saved. A message that was
// kept as MIME, because it is signed or encrypted or a policy wanted it, is that, byte for byte.
func WriteMail(ctx context.Context, w io.Writer, e repository.Entry, raw []byte, open OpenPart) error {
	if at := slices.IndexFunc(e.Parts, func(p repository.Part) bool { return p.Name == keptMIME }); at >= 0 {
		return copyPart(ctx, w, e.Parts[at], open)
	}
	var m graphMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return tenantry.E(tenantry.Corrupt, "read a stored message", err)
	}
	attached, err := attachmentsOf(ctx, e, open)
	if err != nil {
		return err
	}
	header := m.header()
	for _, a := range attached {
		if _, ok := a.part(e); !ok && !a.reference() {
			header.Add("X-Tenantry-Missing", mime.QEncoding.Encode("utf-8", a.Name))
		}
	}
	if len(attached) == 0 {
		inline := m.bodyHeader()
		fields := inline.Fields()
		for fields.Next() {
			header.Set(fields.Key(), fields.Value())
		}
		out, err := message.CreateWriter(w, header.Header)
		if err != nil {
			return mailError(err)
		}
		return finish(out, func() error { _, err := io.WriteString(out, m.Body.Content); return err })
	}
	return m.mixed(ctx, w, header, e, attached, open)
}

// mixed writes body and attachments as multipart/mixed.
func (m *graphMessage) mixed(ctx context.Context, w io.Writer, header mail.Header, e repository.Entry, attached []graphAttachment, open OpenPart) error {
	header.SetContentType("multipart/mixed", nil)
	out, err := message.CreateWriter(w, header.Header)
	if err != nil {
		return mailError(err)
	}
	return finish(out, func() error {
		body, err := out.CreatePart(m.bodyHeader())
		if err != nil {
			return mailError(err)
		}
		if err := finish(body, func() error { _, err := io.WriteString(body, m.Body.Content); return err }); err != nil {
			return err
		}
		for _, a := range attached {
			if err := a.write(ctx, out, e, open); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish runs write and closes the writer, whichever of them fails first.
func finish(w io.Closer, write func() error) error {
	err := write()
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	return err
}

func mailError(err error) error { return tenantry.E(tenantry.Poison, "write a message as MIME", err) }

// header makes the headers of the whole.
func (m *graphMessage) header() mail.Header {
	var h mail.Header
	h.Set("MIME-Version", "1.0")
	h.SetSubject(oneLine(m.Subject))
	if date := firstTime(m.Sent, m.Received, m.Created); !date.IsZero() {
		h.SetDate(date)
	}
	if id := strings.Trim(oneLine(m.InternetMessageID), "<> "); id != "" {
		h.Set("Message-Id", "<"+id+">")
	}
	if m.From != nil {
		h.SetAddressList("From", addresses([]graphAddress{*m.From}))
	}
	if m.Sender != nil && (m.From == nil || *m.Sender != *m.From) {
		h.SetAddressList("Sender", addresses([]graphAddress{*m.Sender}))
	}
	for name, list := range map[string][]graphAddress{"To": m.To, "Cc": m.CC, "Bcc": m.BCC, "Reply-To": m.ReplyTo} {
		if len(list) > 0 {
			h.SetAddressList(name, addresses(list))
		}
	}
	if m.Importance == "high" || m.Importance == "low" {
		h.Set("Importance", m.Importance)
	}
	if len(m.Categories) > 0 {
		h.SetText("Keywords", oneLine(strings.Join(m.Categories, ", ")))
	}
	if m.IsDraft {
		h.Set("X-Unsent", "1") // Outlook opens it to be edited
	}
	for i := len(m.Headers) - 1; i >= 0; i-- { // Add puts before
		name := textproto.CanonicalMIMEHeaderKey(oneLine(m.Headers[i].Name))
		if name != "" && !h.Has(name) && !strings.HasPrefix(name, "Content-") && !strings.ContainsAny(name, " :") {
			h.Add(name, oneLine(m.Headers[i].Value))
		}
	}
	return h
}

func (m *graphMessage) bodyHeader() message.Header {
	var h message.Header
	kind := "text/plain"
	if strings.EqualFold(m.Body.ContentType, "html") {
		kind = "text/html"
	}
	h.SetContentType(kind, map[string]string{"charset": "utf-8"})
	// Quoted-printable would turn every lone line feed into CR LF.
	h.Set("Content-Transfer-Encoding", "base64")
	return h
}

func addresses(list []graphAddress) []*mail.Address {
	out := make([]*mail.Address, 0, len(list))
	for _, a := range list {
		out = append(out, &mail.Address{Name: oneLine(a.EmailAddress.Name), Address: oneLine(a.EmailAddress.Address)})
	}
	return out
}

// oneLine keeps text that comes from outside from making headers of its own.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, s))
}

func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if t.Year() > 1 {
			return t
		}
	}
	return time.Time{}
}

// attachmentsOf reads the list of what is attached to an item.
func attachmentsOf(ctx context.Context, e repository.Entry, open OpenPart) ([]graphAttachment, error) {
	data, ok, err := readPart(ctx, e, exportList, open)
	if err != nil || !ok {
		return nil, err
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(data, &raws); err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "read a stored list of attachments", err)
	}
	list := make([]graphAttachment, len(raws))
	for i, raw := range raws {
		if err := json.Unmarshal(raw, &list[i]); err != nil {
			return nil, tenantry.E(tenantry.Corrupt, "read a stored attachment", err)
		}
		list[i].raw = raw
	}
	return list, nil
}

// reference reports whether it is a link to content that lies elsewhere.
func (a *graphAttachment) reference() bool { return strings.HasSuffix(a.Type, "referenceAttachment") }

// part finds the stored content; of an item that has none as MIME, its JSON.
func (a *graphAttachment) part(e repository.Entry) (repository.Part, bool) {
	for _, name := range []string{a.ID, a.ID + exportExpanded} {
		for _, p := range e.Parts {
			if p.Name == name {
				return p, true
			}
		}
	}
	return repository.Part{}, false
}

func (a *graphAttachment) write(ctx context.Context, out *message.Writer, e repository.Entry, open OpenPart) error {
	p, ok := a.part(e)
	if !ok && !a.reference() {
		return nil // the header names it
	}
	var h mail.AttachmentHeader
	name := cmp.Or(oneLine(a.Name), "attachment")
	kind := a.contentType(p)
	if a.reference() {
		name, kind = name+".link.json", "application/json"
	}
	h.SetContentType(kind, map[string]string{"name": name})
	h.SetFilename(name)
	h.Set("Content-Transfer-Encoding", "base64")
	if kind == "message/rfc822" {
		h.Set("Content-Transfer-Encoding", "8bit") // RFC 2046, section 5.2.1: no other is allowed
	}
	if a.Inline {
		h.SetContentDisposition("inline", map[string]string{"filename": name})
	}
	if id := strings.Trim(oneLine(a.ContentID), "<>"); id != "" {
		h.Set("Content-Id", "<"+id+">")
	}
	body, err := out.CreatePart(h.Header)
	if err != nil {
		return mailError(err)
	}
	return finish(body, func() error {
		if a.reference() {
			_, err := body.Write(a.raw)
			return err
		}
		if err := copyPart(ctx, body, p, open); err != nil {
			return fmt.Errorf("attachment %q: %w", a.Name, err)
		}
		return nil
	})
}

func (a *graphAttachment) contentType(p repository.Part) string {
	if strings.HasSuffix(a.Type, "itemAttachment") {
		if strings.HasSuffix(p.Name, exportExpanded) {
			return "application/json"
		}
		return "message/rfc822"
	}
	if kind, _, err := mime.ParseMediaType(a.ContentType); err == nil && strings.Contains(kind, "/") &&
		!strings.HasPrefix(kind, "multipart/") && !strings.HasPrefix(kind, "message/") {
		return kind
	}
	return "application/octet-stream"
}
