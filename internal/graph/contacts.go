package graph

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// outlookRead is a GET in a mailbox, for what the SDK's builders would only make longer.
func (t *Tenant) outlookRead(op, user string, pageSize int, query url.Values, path ...string) call {
	c := t.client.build.plain(op, http.MethodGet, t.outlook(user), query, append([]string{"users", user}, path...)...)
	c.header.Set("Prefer", prefer(pageSize))
	return c
}

// listQuery is the query of a list: at most top entries a page, the properties that sel names (comma
// separated; "" all) and the string extended property prop ("" none).
func listQuery(top int, sel, prop string) url.Values {
	query := url.Values{"$top": {strconv.Itoa(top)}}
	if sel != "" {
		query.Set("$select", sel)
	}
	if prop != "" {
		query.Set("$expand", "singleValueExtendedProperties($filter=id eq '"+strings.ReplaceAll(prop, "'", "''")+"')")
	}
	return query
}

// ContactFolders lists the contact folders below parent; parent "" is the default folder, of which some
// services show the folder itself, too. It does not descend.
func (t *Tenant) ContactFolders(ctx context.Context, user, parent, link string) (RawPage, error) {
	const op = "list contact folders"
	if err := given(op, user); err != nil {
		return RawPage{}, err
	}
	path := []string{"contactFolders"}
	if parent != "" {
		path = append(path, parent, "childFolders")
	}
	return t.mailPage(ctx, t.outlookRead(op, user, 0, listQuery(folderPage, "", ""), path...), link, false)
}

// DefaultContactFolder returns the ID of the folder that every mailbox has; "" while nothing lies in it,
// since Graph names it nowhere but in its contacts.
func (t *Tenant) DefaultContactFolder(ctx context.Context, user string) (id string, err error) {
	const op = "find the default contact folder"
	if err := given(op, user); err != nil {
		return "", err
	}
	got, err := t.mailPage(ctx, t.outlookRead(op, user, 0, listQuery(1, "id,parentFolderId", ""), "contacts"), "", false)
	if err != nil || len(got.Items) == 0 {
		return "", err
	}
	var contact struct {
		Parent string `json:"parentFolderId"`
	}
	if err := json.Unmarshal(got.Items[0], &contact); err != nil {
		return "", misread(op, err)
	}
	return contact.Parent, nil
}

// Contacts lists the contacts of a folder ("" the default one) with the properties that sel names (comma
// separated; "" all) and the string extended property prop ("" none).
func (t *Tenant) Contacts(ctx context.Context, user, folder, sel, prop, link string) (RawPage, error) {
	const op = "list contacts"
	if err := given(op, user); err != nil {
		return RawPage{}, err
	}
	path := []string{"contacts"}
	if folder != "" {
		path = []string{"contactFolders", folder, "contacts"}
	}
	return t.mailPage(ctx, t.outlookRead(op, user, 0, listQuery(findPage, sel, prop), path...), link, false)
}

// ContactChanges returns the page of one folder's contacts that link names, or with link "" the first
// page of a full round. Resync: begin with "".
func (t *Tenant) ContactChanges(ctx context.Context, user, folder, link string, pageSize int) (RawPage, error) {
	const op = "read a page of contacts"
	if err := given(op, user, folder); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.outlookRead(op, user, pageSize, nil, "contactFolders", folder, "contacts", "delta"), link, true)
}

// ContactPhoto streams a contact's picture. NotFound: it has none.
func (t *Tenant) ContactPhoto(ctx context.Context, user, contact string) (io.ReadCloser, error) {
	const op = "read a contact's picture"
	if err := given(op, user, contact); err != nil {
		return nil, err
	}
	c := t.outlookRead(op, user, 0, nil, "contacts", contact, "photo", "$value")
	c.header.Set("Accept", "*/*")
	c.stream = true
	a, err := t.open(ctx, c)
	if err != nil {
		return nil, mailError(err)
	}
	return a, nil
}

// CreateContactFolder creates a folder below parent ("" the default one). Conflict: the name is taken.
func (t *Tenant) CreateContactFolder(ctx context.Context, user, parent, name string) (id string, err error) {
	const op = "create a contact folder"
	if err := given(op, user, name); err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]string{"displayName": name})
	if err != nil {
		return "", tenantry.E(tenantry.Invalid, op, err)
	}
	path := []string{"contactFolders"}
	if parent != "" {
		path = append(path, parent, "childFolders")
	}
	return t.createdOnce(ctx, op, user, body, path...)
}

// createdOnce posts what must not be made twice and returns its ID. After Transient it may exist all the
// same.
func (t *Tenant) createdOnce(ctx context.Context, op, user string, body []byte, path ...string) (string, error) {
	c := t.mailWrite(op, http.MethodPost, user, body, path...)
	c.once = true
	id, err := t.identifier(ctx, c)
	return id, mailError(err)
}

// CreateContact creates a contact in a folder ("" the default one) from its JSON. After Transient it may
// exist all the same.
func (t *Tenant) CreateContact(ctx context.Context, user, folder string, body []byte) (id string, err error) {
	const op = "create a contact"
	if err := given(op, user); err != nil {
		return "", err
	}
	path := []string{"contacts"}
	if folder != "" {
		path = []string{"contactFolders", folder, "contacts"}
	}
	return t.createdOnce(ctx, op, user, body, path...)
}

// DeleteContact deletes a contact; that it is gone already is no error.
func (t *Tenant) DeleteContact(ctx context.Context, user, contact string) error {
	return t.deleteItem(ctx, "delete a contact", user, "contacts", contact)
}

// deleteItem deletes an item of a mailbox, if it is there.
func (t *Tenant) deleteItem(ctx context.Context, op, user string, path ...string) error {
	if err := given(op, append([]string{user}, path...)...); err != nil {
		return err
	}
	err := mailError(t.accepted(ctx, t.mailWrite(op, http.MethodDelete, user, nil, path...)))
	if tenantry.KindOf(err) == tenantry.NotFound {
		return nil
	}
	return err
}

// maxPhoto bounds a contact's picture, which is one PUT.
const maxPhoto = 4 << 20

// PutContactPhoto sets a contact's picture to the size bytes of r, at most 4 MiB.
func (t *Tenant) PutContactPhoto(ctx context.Context, user, contact string, size int64, r io.Reader) error {
	const op = "write a contact's picture"
	if err := given(op, user, contact); err != nil {
		return err
	}
	if size > maxPhoto {
		return tenantry.Errorf(tenantry.Invalid, "%s: it has %d bytes, more than %d", op, size, maxPhoto)
	}
	content, err := exactly(op, r, size)
	if err != nil {
		return err
	}
	c := t.mailWrite(op, http.MethodPut, user, content, "contacts", contact, "photo", "$value")
	c.header.Set("Content-Type", imageType(content))
	return mailError(t.accepted(ctx, c))
}

// imageType is the type of a picture: that which its bytes show, or what pictures of contacts mostly are.
func imageType(content []byte) string {
	if kind := http.DetectContentType(content); strings.HasPrefix(kind, "image/") {
		return kind
	}
	return "image/jpeg"
}
