package graph

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/tenantry/tenantry/internal/tenantry"
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

// DeleteMessage moves a message to Deleted Items, or out of there for good; that
// it is gone already is no error.
func (t *Tenant) DeleteMessage(ctx context.Context, user, message string) error {
	return t.deleteItem(ctx, "delete a message", user, "messages", message)
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

// whole reads a content that fits into one request.
func whole(ctx context.Context, op string, f tenantry.Upload) ([]byte, error) {
	body, err := f.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return exactly(op, body, f.Size)
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
