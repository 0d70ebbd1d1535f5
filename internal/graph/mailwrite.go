package graph

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// attachmentSessionFrom is the size from which Exchange takes an upload
	// session for an attachment; below it wants a plain POST.
	attachmentSessionFrom = 3 << 20
	// attachmentFragment is one PUT of an attachment: less than the 4 MB that
	// Exchange takes, and like everywhere a multiple of 320 KiB.
	attachmentFragment = 11 * 320 << 10
)

// mailWrite is a JSON request that changes a mailbox.
func (t *Tenant) mailWrite(op, method, user string, body []byte, path ...string) call {
	c := t.client.build.plain(op, method, t.outlookWrite(user, len(body)), nil, append([]string{"users", user}, path...)...)
	c.header.Set("Prefer", prefer(0))
	if body != nil {
		c.header.Set("Content-Type", "application/json")
		c.body = body
	}
	return c
}

// CreateMailFolder creates a folder below parent ("" the root). hidden can only
// be set here. Conflict: the name is taken, by an earlier try of this call
// perhaps; use the folder that has it.
func (t *Tenant) CreateMailFolder(ctx context.Context, user, parent, name string, hidden bool) (id string, err error) {
	const op = "create a mail folder"
	if err := given(op, user, name); err != nil {
		return "", err
	}
	body, err := json.Marshal(struct {
		DisplayName string `json:"displayName"`
		IsHidden    bool   `json:"isHidden"`
	}{name, hidden})
	if err != nil {
		return "", tenantry.E(tenantry.Invalid, op, err)
	}
	path := []string{"mailFolders"}
	if parent != "" {
		path = append(path, parent, "childFolders")
	}
	id, err = t.identifier(ctx, t.mailWrite(op, http.MethodPost, user, body, path...))
	return id, mailError(err)
}

// CreateMessage creates a message in a folder from its JSON. Nothing is sent.
// Without PidTagMessageFlags among its extended properties it is a draft. Graph
// has no idempotency key: after Transient it may exist all the same, so look for
// it before asking again.
func (t *Tenant) CreateMessage(ctx context.Context, user, folder string, body []byte) (id string, err error) {
	const op = "create a message"
	if err := given(op, user, folder); err != nil {
		return "", err
	}
	c := t.mailWrite(op, http.MethodPost, user, body, "mailFolders", folder, "messages")
	c.once = true
	id, err = t.identifier(ctx, c)
	return id, mailError(err)
}

// AddAttachment adds an attachment of less than 3 MB from its JSON. After
// Transient it may exist all the same.
func (t *Tenant) AddAttachment(ctx context.Context, user, message string, body []byte) error {
	const op = "add an attachment"
	if err := given(op, user, message); err != nil {
		return err
	}
	c := t.mailWrite(op, http.MethodPost, user, body, "messages", message, "attachments")
	c.once = true
	return mailError(t.accepted(ctx, c))
}

// UploadAttachment adds a file of size bytes, read from r, to a message: by one
// POST below 3 MiB, else by an upload session, in fragments that are tried again
// without reading r again. After Transient it may exist all the same. Invalid: r
// is not size bytes long.
func (t *Tenant) UploadAttachment(ctx context.Context, user, message, name, contentType, contentID string, inline bool, size int64, r io.Reader) error {
	const op = "upload an attachment"
	if err := given(op, user, message); err != nil {
		return err
	}
	if size < attachmentSessionFrom {
		return t.postAttachment(ctx, user, message, fileAttachment{
			Type: "#microsoft.graph.fileAttachment", Name: name, ContentType: contentType, ContentID: contentID, IsInline: inline,
		}, size, r)
	}
	body, err := json.Marshal(map[string]any{"AttachmentItem": attachmentItem{
		Type: "file", Name: name, Size: size, ContentType: contentType, IsInline: inline, ContentID: contentID,
	}})
	if err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	link, err := t.createSession(ctx, t.mailWrite(op, http.MethodPost, user, body, "messages", message, "attachments", "createUploadSession"))
	if err != nil {
		return mailError(err)
	}
	_, err = t.upload(ctx, session{op: op, link: link, size: size, fragment: attachmentFragment,
		cost: t.outlookWrite(user, 0)}, r)
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

func (t *Tenant) postAttachment(ctx context.Context, user, message string, a fileAttachment, size int64, r io.Reader) error {
	const op = "add an attachment"
	content, err := exactly(op, r, size)
	if err != nil {
		return err
	}
	a.ContentBytes = base64.StdEncoding.EncodeToString(content)
	body, err := json.Marshal(a)
	if err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	return t.AddAttachment(ctx, user, message, body)
}

// DeleteMessage moves a message to Deleted Items, or out of there for good; that
// it is gone already is no error.
func (t *Tenant) DeleteMessage(ctx context.Context, user, message string) error {
	const op = "delete a message"
	if err := given(op, user, message); err != nil {
		return err
	}
	err := mailError(t.accepted(ctx, t.mailWrite(op, http.MethodDelete, user, nil, "messages", message)))
	if tenantry.KindOf(err) == tenantry.NotFound {
		return nil
	}
	return err
}

// exactly reads the size bytes of r. Less or more is Invalid: the caller's size
// went into the request.
func exactly(op string, r io.Reader, size int64) ([]byte, error) {
	buf := make([]byte, size)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, unreadable(op, err)
	}
	return buf, ended(op, r)
}

// ended fails if r has more bytes than it should.
func ended(op string, r io.Reader) error {
	var one [1]byte
	switch _, err := io.ReadFull(r, one[:]); {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return tenantry.E(tenantry.Invalid, op, errors.New("the content is longer than its size"))
	default:
		return unreadable(op, err)
	}
}

// unreadable is the error of a source that ended early or failed: its own kind,
// where it has one.
func unreadable(op string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return tenantry.E(tenantry.Invalid, op, errors.New("the content is shorter than its size"))
	}
	return tenantry.E(tenantry.KindOf(err), op, err)
}
