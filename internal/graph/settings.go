package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// MailFolder returns a folder's id, displayName and parentFolderId. NotFound: there is none of that ID.
func (t *Tenant) MailFolder(ctx context.Context, user, folder string) (jsontext.Value, error) {
	const op = "read a mail folder"
	if err := given(op, user, folder); err != nil {
		return nil, err
	}
	doc, err := t.document(ctx, t.outlookRead(op, user, 0, url.Values{"$select": {"id,displayName,parentFolderId"}}, "mailFolders", folder))
	return doc, mailError(err)
}

// MailboxSettings returns a mailbox's settings as Graph describes them: automatic replies, time zone,
// language, working hours, formats, what the mailbox is for.
func (t *Tenant) MailboxSettings(ctx context.Context, user string) (jsontext.Value, error) {
	const op = "read the settings of a mailbox"
	if err := given(op, user); err != nil {
		return nil, err
	}
	doc, err := t.document(ctx, t.outlookRead(op, user, 0, nil, "mailboxSettings"))
	return doc, mailError(err)
}

// ArchiveMailbox returns the ID of a user's in-place archive, "" if there is none. Nothing else tells of one, and the
// identifier is of beta ("exchangeSettings resource type", beta): Microsoft may change or take it away, and
// NotFound, Denied or Invalid say no more than that nobody knows. No request of v1.0 reads an archive.
func (t *Tenant) ArchiveMailbox(ctx context.Context, user string) (string, error) {
	const op = "look for an in-place archive"
	if err := given(op, user); err != nil {
		return "", err
	}
	c := t.outlookRead(op, user, 0, nil, "settings", "exchange")
	c.url = strings.Replace(c.url, "/v1.0/", "/beta/", 1)
	doc, err := t.document(ctx, c)
	if err != nil {
		return "", mailError(err)
	}
	var found struct {
		Archive string `json:"inPlaceArchiveMailboxId"`
	}
	if err := json.Unmarshal(doc, &found); err != nil {
		return "", tenantry.E(tenantry.Internal, op, err)
	}
	return found.Archive, nil
}

// UpdateMailboxSettings changes those settings of a mailbox that the JSON names.
func (t *Tenant) UpdateMailboxSettings(ctx context.Context, user string, body []byte) error {
	const op = "change the settings of a mailbox"
	if err := given(op, user); err != nil {
		return err
	}
	return mailError(t.accepted(ctx, t.mailWrite(op, http.MethodPatch, user, body, "mailboxSettings")))
}

// MessageRules lists the rules of the inbox, the only folder that has any.
func (t *Tenant) MessageRules(ctx context.Context, user, link string) (RawPage, error) {
	const op = "list inbox rules"
	if err := given(op, user); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.outlookRead(op, user, 0, nil, "mailFolders", "inbox", "messageRules"), link, false)
}

// CreateMessageRule creates a rule of the inbox from its JSON. After Transient it may exist all the same.
func (t *Tenant) CreateMessageRule(ctx context.Context, user string, body []byte) (id string, err error) {
	const op = "create an inbox rule"
	if err := given(op, user); err != nil {
		return "", err
	}
	return t.createdOnce(ctx, op, user, body, "mailFolders", "inbox", "messageRules")
}

// DeleteMessageRule deletes a rule of the inbox; that it is gone already is no error.
func (t *Tenant) DeleteMessageRule(ctx context.Context, user, rule string) error {
	return t.deleteItem(ctx, "delete an inbox rule", user, "mailFolders", "inbox", "messageRules", rule)
}

// MasterCategories lists a mailbox's categories: a name and a colour each.
func (t *Tenant) MasterCategories(ctx context.Context, user, link string) (RawPage, error) {
	const op = "list categories"
	if err := given(op, user); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.outlookRead(op, user, 0, nil, "outlook", "masterCategories"), link, false)
}

// CreateMasterCategory creates a category from its JSON. Conflict: the name is taken.
func (t *Tenant) CreateMasterCategory(ctx context.Context, user string, body []byte) (id string, err error) {
	const op = "create a category"
	if err := given(op, user); err != nil {
		return "", err
	}
	return t.createdOnce(ctx, op, user, body, "outlook", "masterCategories")
}

// DeleteMasterCategory deletes a category; that it is gone already is no error.
func (t *Tenant) DeleteMasterCategory(ctx context.Context, user, category string) error {
	return t.deleteItem(ctx, "delete a category", user, "outlook", "masterCategories", category)
}
