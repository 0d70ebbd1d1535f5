package graph

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// What an attachment belongs to.
const (
	OfMessage = "messages"
	OfEvent   = "events"
)

const (
	// attachmentPage is how many small entries a page holds.
	attachmentPage = 100
	// attachmentSessionFrom is the size from which Exchange takes an upload
	// session for an attachment; below it wants a plain POST.
	attachmentSessionFrom = 3 << 20
	// attachmentFragment is one PUT of an attachment: less than the 4 MB that
	// Exchange takes, and like everywhere a multiple of 320 KiB.
	attachmentFragment = 11 * 320 << 10
	// maxSmallAttachments bounds an answer that carries contents, in Base64: most mails have less, and
	// what was read of a larger one in vain is little.
	maxSmallAttachments = 256 << 10
	contentBytes        = "contentBytes"
)

// attachmentProperties leave out contentBytes; contentId belongs to the derived
// type, and inline pictures are lost without it.
var attachmentProperties = []string{
	"id", "name", "contentType", "size", "isInline", "lastModifiedDateTime", "microsoft.graph.fileAttachment/contentId",
}

// Attachments lists the attachments of a message or an event (of OfMessage or OfEvent) without their content.
func (t *Tenant) Attachments(ctx context.Context, user, of, item, link string) (RawPage, error) {
	const op = "list attachments"
	if err := given(op, user, of, item); err != nil {
		return RawPage{}, err
	}
	query := listQuery(attachmentPage, strings.Join(attachmentProperties, ","), "")
	return t.mailPage(ctx, t.outlookRead(op, user, 0, query, of, item, "attachments"), link, false)
}

// SmallAttachments lists the attachments of an item as Attachments does, and with them, in the same request, the
// content of those that are files, by ID. ok is false if there is more than fits into one small answer, or
// if anything about them cannot be read: then Attachments and AttachmentContent tell what and why.
func (t *Tenant) SmallAttachments(ctx context.Context, user, of, item string) (list []jsontext.Value, contents map[string][]byte, ok bool, err error) {
	const op = "list small attachments"
	if err := given(op, user, of, item); err != nil {
		return nil, nil, false, err
	}
	properties := strings.Join(attachmentProperties, ",") + ",microsoft.graph.fileAttachment/" + contentBytes
	c := t.outlookRead(op, user, 0, listQuery(attachmentPage, properties, ""), of, item, "attachments")
	c.once = true // what fails is read in parts, with more patience
	var all splitted
	err = t.do(ctx, c, func(a *answer) (err error) {
		all, err = splitPage(&boundedReader{r: a, left: maxSmallAttachments})
		return err
	})
	switch {
	case err == nil && all.next == "":
		list, contents, err = takeContents(all.items)
		return list, contents, err == nil, nil
	case err == nil, errors.Is(err, errTooLarge):
		return nil, nil, false, nil
	}
	switch err = mailError(err); tenantry.KindOf(err) {
	case tenantry.Poison, tenantry.Internal, tenantry.Transient, tenantry.Invalid:
		return nil, nil, false, nil
	}
	return nil, nil, false, err
}

// takeContents takes the content out of a list of attachments, whose other bytes stay as they are.
func takeContents(items []jsontext.Value) (list []jsontext.Value, contents map[string][]byte, err error) {
	contents = map[string][]byte{}
	for _, item := range items {
		rest, encoded, err := cutMember("read an attachment", item, contentBytes)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, rest)
		if encoded.Kind() != '"' {
			continue // it has none: an item, a link
		}
		id, err := idOf("read an attachment", rest)
		if err != nil {
			return nil, nil, err
		}
		if contents[id], err = decodeBase64(encoded); err != nil {
			return nil, nil, tenantry.E(tenantry.Internal, "decode an attachment", err)
		}
	}
	return list, contents, nil
}

// decodeBase64 decodes a JSON string of Base64. Nothing in that has to be escaped, so mostly nothing is.
func decodeBase64(text jsontext.Value) ([]byte, error) {
	if len(text) < 2 {
		return nil, errors.New("it is no string")
	}
	encoded := []byte(text[1 : len(text)-1])
	if bytes.IndexByte(encoded, '\\') >= 0 {
		var err error
		if encoded, err = jsontext.AppendUnquote(nil, text); err != nil {
			return nil, err
		}
	}
	content := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(content, encoded)
	return content[:n], err
}

// Attachment returns one attachment as Graph describes it, an attached item
// expanded. For files prefer AttachmentContent: this carries them as Base64,
// within 64 MiB. Poison: it cannot be opened.
func (t *Tenant) Attachment(ctx context.Context, user, of, item, attachment string) (jsontext.Value, error) {
	const op = "read an attachment"
	if err := given(op, user, of, item, attachment); err != nil {
		return nil, err
	}
	query := url.Values{"$expand": {"microsoft.graph.itemattachment/item"}}
	doc, err := t.document(ctx, t.outlookRead(op, user, 0, query, of, item, "attachments", attachment))
	if tenantry.CodeOf(err) == codeTooLarge {
		return nil, &tenantry.Error{Kind: tenantry.Poison, Code: codeTooLarge, Op: op, Err: errTooLarge}
	}
	return doc, t.judged(ctx, mailError(err), t.itemProbe(user, of, item))
}

// itemProbe reads next to nothing of a message or an event.
func (t *Tenant) itemProbe(user, of, item string) call {
	return t.outlookRead("probe an item", user, 0, onlyID, of, item)
}

// AttachmentContent streams an attachment's bytes: of a file as they are, of an
// item as MIME, vCard or iCalendar. Links to cloud files have none (Invalid).
// The stream holds one of the mailbox's permits until it is closed, and ends when
// that is lost or reaches its deadline; a stream that breaks fails with Transient and has to be opened anew.
func (t *Tenant) AttachmentContent(ctx context.Context, user, of, item, attachment string) (io.ReadCloser, error) {
	const op = "read an attachment's content"
	if err := given(op, user, of, item, attachment); err != nil {
		return nil, err
	}
	c := t.outlookRead(op, user, 0, nil, of, item, "attachments", attachment, "$value")
	c.header.Set("Accept", "*/*")
	c.stream = true
	a, err := t.open(ctx, c)
	if err != nil {
		return nil, t.judged(ctx, mailError(err), t.itemProbe(user, of, item))
	}
	return a, nil
}

// AddAttachment adds an attachment of less than 3 MB from its JSON to a message or an event (of OfMessage
// or OfEvent). After
// Transient it may exist all the same.
func (t *Tenant) AddAttachment(ctx context.Context, user, of, item string, body []byte) error {
	const op = "add an attachment"
	if err := given(op, user, of, item); err != nil {
		return err
	}
	c := t.mailWrite(op, http.MethodPost, user, body, of, item, "attachments")
	c.once = true
	return mailError(t.accepted(ctx, c))
}

// UploadAttachment adds a file to a message or an event: by one
// POST below 3 MiB, else by an upload session, in fragments that are tried again
// without reading the content again. A session of more than 6.9 MiB that is interrupted is gone on with by the next call that
// asks for the same, see KeepSessions. After Transient it may exist all the same. Invalid: the content
// is not of its size.
func (t *Tenant) UploadAttachment(ctx context.Context, user, of, item, name, contentType, contentID string, inline bool, f tenantry.Upload) error {
	const op = "upload an attachment"
	if err := given(op, user, of, item); err != nil {
		return err
	}
	if f.Size < attachmentSessionFrom {
		return t.postAttachment(ctx, user, of, item, fileAttachment{
			Type: "#microsoft.graph.fileAttachment", Name: name, ContentType: contentType, ContentID: contentID, IsInline: inline,
		}, f)
	}
	body, err := json.Marshal(map[string]any{"AttachmentItem": attachmentItem{
		Type: "file", Name: name, Size: f.Size, ContentType: contentType, IsInline: inline, ContentID: contentID,
	}})
	if err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	_, err = t.upload(ctx, session{
		op: op, size: f.Size, fragment: attachmentFragment, cost: t.outlookWrite(user, 0), mailbox: user,
		name: sessionName("attachment", user, of, item, name, contentID, f.Version),
		create: func(ctx context.Context) (string, time.Time, error) {
			link, ends, err := t.createSession(ctx, t.mailWrite(op, http.MethodPost, user, body, of, item, "attachments", "createUploadSession"))
			return link, ends, mailError(err)
		},
	}, f)
	return err
}

type fileAttachment struct {
	Type         string `json:"@odata.type"`
	Name         string `json:"name"`
	ContentType  string `json:"contentType,omitempty"`
	ContentID    string `json:"contentId,omitempty"`
	IsInline     bool   `json:"isInline"`
	ContentBytes string `json:"contentBytes"`
}

type attachmentItem struct {
	Type        string `json:"attachmentType"`
	Name        string `json:"name"`
	Size        int64  `json:"size"`
	ContentType string `json:"contentType,omitempty"`
	IsInline    bool   `json:"isInline"`
	ContentID   string `json:"contentId,omitempty"`
}

func (t *Tenant) postAttachment(ctx context.Context, user, of, item string, a fileAttachment, f tenantry.Upload) error {
	const op = "add an attachment"
	content, err := whole(ctx, op, f)
	if err != nil {
		return err
	}
	a.ContentBytes = base64.StdEncoding.EncodeToString(content)
	body, err := json.Marshal(a)
	if err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	return t.AddAttachment(ctx, user, of, item, body)
}
