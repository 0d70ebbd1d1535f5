package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// immutableIDs makes message and attachment IDs survive moves within a
	// mailbox. It is asked for per request, so every request asks.
	immutableIDs = `IdType="ImmutableId"`
	// folderPage is how many small entries a page holds.
	folderPage = 250
	// messagePage is the page size when the caller names none, findPage that of
	// lists of a few properties.
	messagePage = 50
	findPage    = 250
)

// messageProperties are all that a message has and that can be restored or
// searched; uniqueBody is derived from body. Headers come only when selected.
var messageProperties = []string{
	"id", "createdDateTime", "lastModifiedDateTime", "changeKey", "categories", "receivedDateTime", "sentDateTime",
	"hasAttachments", "internetMessageId", "internetMessageHeaders", "subject", "bodyPreview", "body", "importance",
	"parentFolderId", "conversationId", "conversationIndex", "isDeliveryReceiptRequested", "isReadReceiptRequested",
	"isRead", "isDraft", "webLink", "inferenceClassification", "sender", "from", "toRecipients", "ccRecipients",
	"bccRecipients", "replyTo", "flag",
}

// prefer is the header of Outlook requests, with a page size if there is one.
func prefer(pageSize int) string {
	if pageSize <= 0 {
		return immutableIDs
	}
	return immutableIDs + ", odata.maxpagesize=" + strconv.Itoa(pageSize)
}

func mailHeaders(pageSize int) *abstractions.RequestHeaders {
	h := abstractions.NewRequestHeaders()
	h.Add("Prefer", prefer(pageSize))
	return h
}

// mailError reads what a mailbox's errors mean: Exchange says "resource not
// found" of a whole mailbox; a missing message has a code of its own.
//
// A permission that is missing for one kind of a mailbox's content says nothing about the tenant's consent
// as a whole: that shows at the token. Such a refusal is Denied here, not Reconnect.
func mailError(err error) error {
	switch strings.ToLower(tenantry.CodeOf(err)) {
	case "resourcenotfound", "request_resourcenotfound":
		if tenantry.KindOf(err) == tenantry.NotFound {
			return withKind(err, tenantry.Absent)
		}
	case "authorization_requestdenied":
		if statusOf(err) == http.StatusForbidden {
			return withKind(err, tenantry.Denied)
		}
	}
	return err
}

// mailPage reads the page that c names, or link if there is one.
func (t *Tenant) mailPage(ctx context.Context, c call, link string, delta bool) (RawPage, error) {
	if link != "" {
		var err error
		if c, err = t.client.linked(c, link); err != nil {
			return RawPage{}, err
		}
	}
	page, err := t.page(ctx, c, delta)
	return page, mailError(err)
}

// MailboxKind returns what a mailbox is for: user, linked, shared, room,
// equipment, others, or a word that is newer than this. Absent: there is none in
// the cloud.
func (t *Tenant) MailboxKind(ctx context.Context, user string) (string, error) {
	const op = "read a mailbox's purpose"
	if err := given(op, user); err != nil {
		return "", err
	}
	c := t.client.build.plain(op, http.MethodGet, t.outlook(user), url.Values{"$select": {"userPurpose"}}, "users", user, "mailboxSettings")
	c.header.Set("Prefer", prefer(0))
	doc, err := t.document(ctx, c)
	if err != nil {
		return "", mailError(err)
	}
	var settings struct {
		UserPurpose any `json:"userPurpose"`
	}
	if err := json.Unmarshal(doc, &settings); err != nil {
		return "", misread(op, err)
	}
	switch purpose := settings.UserPurpose.(type) {
	case string:
		return purpose, nil
	case map[string]any: // seen as {"@odata.context": …, "value": "shared"}
		kind, _ := purpose["value"].(string)
		return kind, nil
	}
	return "", nil
}

// MailFolderChanges returns the page of mail folders that link names, or with
// link "" the first page of a full round. Whether hidden folders are in it is
// not documented: see MailFolders.
func (t *Tenant) MailFolderChanges(ctx context.Context, user, link string) (RawPage, error) {
	const op = "read a page of mail folders"
	if err := given(op, user); err != nil {
		return RawPage{}, err
	}
	c, err := t.client.build.built(ctx, op, t.outlook(user))(
		t.client.build.users().ByUserId(user).MailFolders().Delta().ToGetRequestInformation(ctx,
			&users.ItemMailFoldersDeltaRequestBuilderGetRequestConfiguration{Headers: mailHeaders(folderPage)}))
	if err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, c, link, true)
}

// MailFolderID returns the ID of a well-known folder: "msgfolderroot", "inbox",
// "recoverableitemsdeletions", … NotFound: this mailbox has none.
func (t *Tenant) MailFolderID(ctx context.Context, user, wellKnown string) (string, error) {
	const op = "find a mail folder"
	if err := given(op, user, wellKnown); err != nil {
		return "", err
	}
	c, err := t.client.build.built(ctx, op, t.outlook(user))(
		t.client.build.users().ByUserId(user).MailFolders().ByMailFolderId(wellKnown).ToGetRequestInformation(ctx,
			&users.ItemMailFoldersMailFolderItemRequestBuilderGetRequestConfiguration{Headers: mailHeaders(0),
				QueryParameters: &users.ItemMailFoldersMailFolderItemRequestBuilderGetQueryParameters{Select: []string{"id"}}}))
	if err != nil {
		return "", err
	}
	id, err := t.identifier(ctx, c)
	return id, mailError(err)
}

// MailFolders lists the folders below parent, hidden ones included; parent ""
// is the root. It does not descend.
func (t *Tenant) MailFolders(ctx context.Context, user, parent, link string) (RawPage, error) {
	const op = "list mail folders"
	if err := given(op, user); err != nil {
		return RawPage{}, err
	}
	hidden, top := "true", int32(folderPage)
	folders := t.client.build.users().ByUserId(user).MailFolders()
	var info *abstractions.RequestInformation
	var err error
	if parent == "" {
		info, err = folders.ToGetRequestInformation(ctx, &users.ItemMailFoldersRequestBuilderGetRequestConfiguration{Headers: mailHeaders(0),
			QueryParameters: &users.ItemMailFoldersRequestBuilderGetQueryParameters{IncludeHiddenFolders: &hidden, Top: &top}})
	} else {
		info, err = folders.ByMailFolderId(parent).ChildFolders().ToGetRequestInformation(ctx,
			&users.ItemMailFoldersItemChildFoldersRequestBuilderGetRequestConfiguration{Headers: mailHeaders(0),
				QueryParameters: &users.ItemMailFoldersItemChildFoldersRequestBuilderGetQueryParameters{IncludeHiddenFolders: &hidden, Top: &top}})
	}
	c, err := t.client.build.built(ctx, op, t.outlook(user))(info, err)
	if err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, c, link, false)
}

// MessageChanges returns the page of one folder's messages that link names, or
// with link "" the first page of a full round; children of the folder have
// rounds of their own. A first round brings the newest messages first, so that what a
// mailbox loses least gladly is safe early ("message: delta" allows no other order); the
// links carry that on. Messages come with body and internet headers, without
// attachments. pageSize is a wish (0: a default); a page that is too heavy for
// Graph or for memory is asked for in smaller portions. Resync: begin with "".
func (t *Tenant) MessageChanges(ctx context.Context, user, folder, link string, pageSize int) (RawPage, error) {
	const op = "read a page of messages"
	if err := given(op, user, folder); err != nil {
		return RawPage{}, err
	}
	if pageSize <= 0 {
		pageSize = messagePage
	}
	c, err := t.client.build.built(ctx, op, t.outlook(user))(
		t.client.build.users().ByUserId(user).MailFolders().ByMailFolderId(folder).Messages().Delta().ToGetRequestInformation(ctx,
			&users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetRequestConfiguration{
				QueryParameters: &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetQueryParameters{
					Select: messageProperties, Orderby: []string{"receivedDateTime desc"}}}))
	if err != nil {
		return RawPage{}, err
	}
	for {
		c.header = http.Header{"Prefer": {prefer(pageSize)}}
		page, err := t.mailPage(ctx, c, link, true)
		if err == nil || pageSize == 1 || !tooHeavy(err) || ctx.Err() != nil {
			return page, err
		}
		pageSize = max(1, pageSize/5)
	}
}

// tooHeavy reports whether a page failed in a way that a smaller one may not.
func tooHeavy(err error) bool {
	return statusOf(err) == http.StatusGatewayTimeout || tenantry.CodeOf(err) == codeTooLarge
}

// MessageList lists a folder's messages like MessageChanges, the newest first, where there is no delta.
func (t *Tenant) MessageList(ctx context.Context, user, folder, link string, pageSize int) (RawPage, error) {
	const op = "list messages"
	if err := given(op, user, folder); err != nil {
		return RawPage{}, err
	}
	for {
		query := listQuery(pageSize, strings.Join(messageProperties, ","), "")
		query.Set("$orderby", "receivedDateTime desc")
		page, err := t.mailPage(ctx, t.outlookRead(op, user, 0, query, "mailFolders", folder, "messages"), link, false)
		if err == nil || pageSize <= 1 || link != "" || !tooHeavy(err) || ctx.Err() != nil {
			return page, err
		}
		pageSize = max(1, pageSize/5)
	}
}

// Message returns one message as MessageChanges shows it. Poison: it cannot be read.
func (t *Tenant) Message(ctx context.Context, user, message string) (jsontext.Value, error) {
	const op = "read a message"
	if err := given(op, user, message); err != nil {
		return nil, err
	}
	doc, err := t.document(ctx, t.outlookRead(op, user, 0, url.Values{"$select": {strings.Join(messageProperties, ",")}}, OfMessage, message))
	return doc, t.judged(ctx, mailError(err), t.itemProbe(user, OfMessage, message))
}

// MessageFolder returns the ID of the folder in which a message lies now. NotFound: there is no such message.
func (t *Tenant) MessageFolder(ctx context.Context, user, message string) (string, error) {
	const op = "find a message"
	if err := given(op, user, message); err != nil {
		return "", err
	}
	doc, err := t.document(ctx, t.outlookRead(op, user, 0, url.Values{"$select": {"id,parentFolderId"}}, OfMessage, message))
	if err != nil {
		return "", mailError(err)
	}
	var m struct {
		Folder string `json:"parentFolderId"`
	}
	if err := json.Unmarshal(doc, &m); err != nil || m.Folder == "" {
		return "", tenantry.Errorf(tenantry.Internal, "%s: the answer names no folder: %w", op, err)
	}
	return m.Folder, nil
}

// MessageMIME streams a message as MIME, like AttachmentContent. Whether it is the same in every answer is not
// documented.
func (t *Tenant) MessageMIME(ctx context.Context, user, message string) (io.ReadCloser, error) {
	const op = "read a message as MIME"
	if err := given(op, user, message); err != nil {
		return nil, err
	}
	c := t.outlookRead(op, user, 0, nil, OfMessage, message, "$value")
	c.header.Set("Accept", "*/*")
	c.stream = true
	a, err := t.open(ctx, c)
	if err != nil {
		return nil, t.judged(ctx, mailError(err), t.itemProbe(user, OfMessage, message))
	}
	return a, nil
}

// Messages lists a folder's messages with the properties that sel names (comma
// separated) and the string extended property prop ("" none), to find what was
// restored.
func (t *Tenant) Messages(ctx context.Context, user, folder, sel, prop, link string) (RawPage, error) {
	const op = "list messages"
	if err := given(op, user, folder); err != nil {
		return RawPage{}, err
	}
	top := int32(findPage)
	query := &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{Top: &top}
	if sel != "" {
		query.Select = strings.Split(sel, ",")
	}
	if prop != "" {
		query.Expand = []string{fmt.Sprintf("singleValueExtendedProperties($filter=id eq '%s')", strings.ReplaceAll(prop, "'", "''"))}
	}
	c, err := t.client.build.built(ctx, op, t.outlook(user))(
		t.client.build.users().ByUserId(user).MailFolders().ByMailFolderId(folder).Messages().ToGetRequestInformation(ctx,
			&users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{Headers: mailHeaders(0), QueryParameters: query}))
	if err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, c, link, false)
}

// identifier reads the "id" of the object that c names.
func (t *Tenant) identifier(ctx context.Context, c call) (string, error) {
	doc, err := t.document(ctx, c)
	if err != nil {
		return "", err
	}
	return idOf(c.op, doc)
}

func idOf(op string, doc jsontext.Value) (string, error) {
	var object struct {
		ID string `json:"id"`
	}
	if err := jsonv2.Unmarshal(doc, &object, raw...); err != nil {
		return "", misread(op, err)
	}
	if object.ID == "" {
		return "", wrong(tenantry.Transient, codeIncomplete, op, "the answer has no ID")
	}
	return object.ID, nil
}
