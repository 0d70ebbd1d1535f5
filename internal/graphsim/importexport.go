package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// maxExported is how many items one request exports ("mailbox: exportItems").
const maxExported = 20

// Which roles open the import and export family (Graph permissions reference).
var (
	rolesStoreFolders      = []string{"MailboxFolder.Read.All", "MailboxFolder.ReadWrite.All"}
	rolesStoreFoldersWrite = []string{"MailboxFolder.ReadWrite.All"}
	rolesStoreItems        = []string{"MailboxItem.Read.All", "MailboxItem.ReadWrite.All"}
	rolesStoreItemsWrite   = []string{"MailboxItem.ReadWrite.All"}
	rolesExport            = []string{"MailboxItem.Export.All", "MailboxItem.ImportExport.All"}
	rolesItemImport        = []string{"MailboxItem.ImportExport.All"}
)

// importExportRoutes are the operations on /admin/exchange/mailboxes. They are not in the
// national clouds (clouds.go).
func importExportRoutes() []route {
	const box = "admin/exchange/mailboxes/{mailbox}/"
	folderList := takes(mailboxFolderType, append([]string{"$expand"}, outlookList...)...)
	folderDelta := takes(mailboxFolderType, "$select", "$skiptoken", "$deltatoken")
	routes := []route{
		{method: "GET", pattern: "users/{user}/settings/exchange", roles: rolesUsers, takes: takesOne(nil), handle: getExchangeSettings},
		{method: "GET", pattern: box + "folders", roles: rolesStoreFolders, takes: folderList, handle: listStoreFolders},
		{method: "POST", pattern: box + "folders", roles: rolesStoreFoldersWrite, takes: takes(nil), handle: createStoreFolder},
		{method: "GET", pattern: box + "folders/delta", roles: rolesStoreFolders, takes: folderDelta, handle: storeFoldersDelta},
		{method: "GET", pattern: box + "folders/{folder}", roles: rolesStoreFolders, takes: takesOne(mailboxFolderType, "$select", "$expand"), handle: getStoreFolder},
		{method: "PATCH", pattern: box + "folders/{folder}", roles: rolesStoreFoldersWrite, takes: takes(nil), handle: patchStoreFolder},
		{method: "DELETE", pattern: box + "folders/{folder}", roles: rolesStoreFoldersWrite, takes: takes(nil), handle: deleteStoreFolder},
		{method: "GET", pattern: box + "folders/{folder}/childFolders", roles: rolesStoreFolders, takes: folderList, handle: listStoreFolders},
		{method: "GET", pattern: box + "folders/{folder}/childFolders/delta", roles: rolesStoreFolders, takes: folderDelta, handle: storeFoldersDelta},
		{method: "GET", pattern: box + "folders/{folder}/items", roles: rolesStoreItems, takes: takes(mailboxItemType, outlookList...), handle: listStoreItems},
		{method: "GET", pattern: box + "folders/{folder}/items/delta", roles: rolesStoreItems,
			takes: takes(mailboxItemType, "$select", "$top", "$filter", "$orderby", "$skiptoken", "$deltatoken"), handle: storeItemsDelta},
		{method: "GET", pattern: box + "folders/{folder}/items/{item}", roles: rolesStoreItems, takes: takesOne(mailboxItemType, "$select"), handle: getStoreItem},
		{method: "DELETE", pattern: box + "folders/{folder}/items/{item}", roles: rolesStoreItemsWrite, takes: takes(nil), handle: deleteStoreItem},
		{method: "POST", pattern: box + "exportItems", roles: rolesExport, takes: takes(nil), handle: exportItems},
		{method: "POST", pattern: box + "createImportSession", roles: rolesItemImport, takes: takes(nil), handle: createImportSession},
	}
	for i := range routes {
		routes[i].service = outlook
	}
	return routes
}

// exportID is the mailbox's ID in this family: MBX:{user}@{tenant}.
func (b *mailbox) exportID() string { return "MBX:" + b.owner.id + "@" + b.t.id }

// mailboxOwner is whose mailbox an ID of this family names, so that the request counts
// against that mailbox; what names none of the tenant's stays as it is, and is not found.
func (t *Tenant) mailboxOwner(id string) string {
	owner, found := strings.CutPrefix(id, "MBX:")
	if owner, ofTenant := strings.CutSuffix(owner, "@"+t.id); found && ofTenant {
		return owner
	}
	return id
}

// getExchangeSettings tells the ID of a user's mailbox, and in beta that of its in-place archive ("Get
// exchangeSettings"), which no request reaches.
func getExchangeSettings(c *call) error {
	return c.withBox(func(b *mailbox) error {
		o := newObject(nil)
		o.str("primaryMailboxId", b.exportID())
		if strings.HasPrefix(c.r.URL.Path, "/beta/") && b.archive { // of beta alone
			o.str("inPlaceArchiveMailboxId", "MBX:archive-"+b.owner.id+"@"+b.t.id)
		}
		return c.entity(http.StatusOK, o.done())
	})
}

// exportResult is what becomes of one ID of a request.
type exportResult struct {
	id, changeKey string
	stream        *itemStream
	err           error
}

// exportItems answers with the streams of up to 20 items of one mailbox. What cannot be
// exported has an error in its place ("exportItemResponse").
func exportItems(c *call) error {
	var in struct {
		ItemIDs []string `json:"itemIds"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if len(in.ItemIDs) == 0 || len(in.ItemIDs) > maxExported {
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "Between 1 and %d items can be exported.", maxExported)
	}
	results := make([]exportResult, len(in.ItemIDs))
	err := c.withBox(func(b *mailbox) error {
		for n, id := range in.ItemIDs {
			results[n] = b.export(id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.writeExport(results)
}

func (b *mailbox) export(id string) exportResult {
	r := exportResult{id: id}
	i, err := b.storeItem(id)
	if err != nil {
		r.err = err
		return r
	}
	r.changeKey = i.changeKey()
	if r.stream, r.err = i.exported(); r.err == nil && r.stream.size() > b.t.s.o.Exchange.MaxItemSize {
		r.err = fail(http.StatusBadRequest, "ErrorMessageSizeExceeded", "The item is too large to be exported.")
	}
	return r
}

// writeExport writes the answer as it is made: twenty items with their attachments are not
// held in memory.
func (c *call) writeExport(results []exportResult) error {
	c.w.Header().Set("Content-Type", jsonType)
	c.w.WriteHeader(http.StatusOK)
	_, _ = fmt.Fprintf(c.w, `{"@odata.context":%s,"value":[`, quoted(c.root()+"$metadata#Collection(microsoft.graph.exportItemResponse)"))
	for n, r := range results {
		if n > 0 {
			_, _ = c.w.Write([]byte(","))
		}
		if err := r.write(c.w); err != nil {
			return nil // the client has gone, or a file of the corpus has: the body ends here
		}
	}
	_, _ = c.w.Write([]byte("]}"))
	return nil
}

func (r exportResult) write(w io.Writer) error {
	if r.err != nil {
		refused := asAPIError(r.err)
		_, err := fmt.Fprintf(w, `{"itemId":%s,"error":{"code":%s,"message":%s}}`, quoted(r.id), quoted(refused.code), quoted(refused.message))
		return err
	}
	if _, err := fmt.Fprintf(w, `{"itemId":%s,"changeKey":%s,"data":"`, quoted(r.id), quoted(r.changeKey)); err != nil {
		return err
	}
	text := base64.NewEncoder(base64.StdEncoding, w)
	if err := errors.Join(r.stream.writeTo(text), text.Close()); err != nil {
		return err
	}
	_, err := w.Write([]byte(`"}`))
	return err
}

// importTicket is what the authtoken of an importUrl carries.
type importTicket struct {
	Tenant  string        `json:"t"`
	User    string        `json:"u"`
	App     string        `json:"a"`
	Expires time.Duration `json:"e"` // simulated
	Serial  uint64        `json:"n"`
}

// createImportSession gives out a URL that takes items without a token until it expires
// ("mailbox: createImportSession").
func createImportSession(c *call) error {
	return c.withBox(func(b *mailbox) error {
		life := c.s.o.Exchange.ImportSessionLife
		data, _ := json.Marshal(importTicket{c.t.id, b.owner.id, c.app, c.s.elapsed() + life, c.s.sealed.Add(1)}) // plain
		token := base64.RawURLEncoding.EncodeToString(append(c.s.sign(data), data...))
		o := newObject(nil)
		o.str("importUrl", c.importRoot()+"/api/gv1.0/Mailboxes('"+b.exportID()+"')/importItem?authtoken="+url.QueryEscape(token))
		o.instant("expirationDateTime", time.Now().Add(c.s.realWait(life)).Truncate(time.Second))
		status := http.StatusOK
		if c.s.o.Exchange.ImportSessionCreated {
			status = http.StatusCreated
		}
		return c.entity(status, o.done())
	})
}

// importRoot is the host of import URLs: Outlook's, as clients of the proxy see it.
func (c *call) importRoot() string {
	if c.r.TLS != nil {
		return "https://" + outlookHosts[1]
	}
	return c.filesRoot()
}

// importPath is the path of an importUrl.
var importPath = regexp.MustCompile(`^/api/gv1\.0/Mailboxes\('([^']+)'\)/importItem$`)

// readImportTicket reads the authtoken of a request; ok is false for one that is not ours,
// has expired, or belongs to another mailbox than the path names.
func (s *Server) readImportTicket(r *http.Request) (k importTicket, ok bool) {
	path := importPath.FindStringSubmatch(r.URL.Path)
	data, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("authtoken"))
	if path == nil || err != nil || len(data) < signatureSize || string(data[:signatureSize]) != string(s.sign(data[signatureSize:])) {
		return k, false
	}
	if json.Unmarshal(data[signatureSize:], &k) != nil || k.Expires < s.elapsed() {
		return k, false
	}
	return k, path[1] == "MBX:"+k.User+"@"+k.Tenant
}

// serveImport is the host of import URLs. What it takes counts against the mailbox like any
// request, which is the harsher reading: whether it does is not documented.
func (s *Server) serveImport(w http.ResponseWriter, r *http.Request) {
	requestID := newID()
	k, ok := s.readImportTicket(r)
	t := s.Tenant(k.Tenant)
	switch {
	case !ok || t == nil:
		fail(http.StatusUnauthorized, "ErrorAccessDenied", "The import session is unknown or has expired.").write(w, requestID, requestID)
		return
	case r.Method != http.MethodPost:
		fail(http.StatusMethodNotAllowed, "ErrorInvalidRequest", "The method is not allowed here.").write(w, requestID, requestID)
		return
	}
	c := &call{s: s, t: t, r: r, w: w, app: k.App, version: "v1.0", params: map[string]string{"user": k.User}, query: url.Values{}}
	s.stats.request(t.id, outlook.String())
	release, err := s.limits.admit(c, &route{service: outlook})
	if err != nil {
		s.stats.throttled(t.id, outlook.String())
		asAPIError(err).write(w, requestID, requestID)
		return
	}
	defer release()
	if err := c.importItem(k); err != nil {
		asAPIError(err).write(w, requestID, requestID)
	}
}

// importRequest is the body of an import.
type importRequest struct {
	FolderID, Mode, Data, ItemID, ChangeKey string
}

// importItem makes an item of a stream, or replaces one that has not changed since its
// change key was read ("Import an Exchange mailbox item").
func (c *call) importItem(k importTicket) error {
	most := c.s.o.Exchange.MaxItemSize
	body, err := c.body(most/3*4 + maxJSONBody)
	if err != nil {
		return err
	}
	var in importRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return badRequest("Unable to read JSON request payload: %v", err)
	}
	update := strings.EqualFold(in.Mode, "update")
	named := in.ItemID != "" || in.ChangeKey != ""
	switch {
	case !update && !strings.EqualFold(in.Mode, "create"):
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The Mode '%s' is neither create nor update.", in.Mode)
	case !update && named:
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "A new item has no ItemId and no ChangeKey.")
	case update && (in.ItemID == "" || in.ChangeKey == ""):
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "An update needs ItemId and ChangeKey.")
	}
	data, err := base64.StdEncoding.DecodeString(in.Data)
	if err != nil {
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The Data is not Base64: %v", err)
	}
	if int64(len(data)) > most {
		return fail(http.StatusRequestEntityTooLarge, "ErrorMessageSizeExceeded", "The item is too large to be imported.")
	}
	class, mail, pim, err := c.s.readStream(data)
	switch {
	case errors.Is(err, errStream):
		return fail(http.StatusBadRequest, "ErrorCorruptData", "%v.", err)
	case err != nil:
		return err
	}
	return c.withBox(func(b *mailbox) error {
		if err := b.spend(k); err != nil {
			return err
		}
		i, err := b.importInto(in, class, mail, pim)
		if err != nil {
			return err
		}
		o := newObject(nil)
		o.str("itemId", i.id())
		o.str("changeKey", i.changeKey())
		return c.json(http.StatusOK, o.done())
	})
}

// spend refuses a session that was used, where sessions take one item.
func (b *mailbox) spend(k importTicket) error {
	if !b.t.s.o.Exchange.OneImportPerSession {
		return nil
	}
	if b.spent[k.Serial] {
		return fail(http.StatusUnauthorized, "ErrorAccessDenied", "The import session has been used.")
	}
	if b.spent == nil {
		b.spent = map[uint64]bool{}
	}
	b.spent[k.Serial] = true
	return nil
}

// importInto stores what a stream holds. Nothing is sent to anybody.
func (b *mailbox) importInto(in importRequest, class *itemClass, mail *mailContent, pim *pimContent) (i storeItem, err error) {
	if err := b.checkRoom(); err != nil {
		return i, err
	}
	f, err := b.storeFolder(in.FolderID)
	switch {
	case err != nil:
		return i, err
	case f.class() != class:
		return i, fail(http.StatusBadRequest, "ErrorInvalidRequest", "A folder of the type '%s' takes no item of the type '%s'.", f.class().folderType, class.itemType)
	case in.ItemID == "" && mail != nil:
		return storeItem{box: b, mail: b.addMessage(f.mail, mail)}, nil
	case in.ItemID == "":
		return storeItem{box: b, pim: b.store().addItem(class.outlookItem, f.shelf, pim)}, nil
	}
	if i, err = b.storeItem(in.ItemID); err != nil {
		return i, err
	}
	switch {
	case i.folder() != f:
		return i, mailItemNotFound()
	case i.changeKey() != in.ChangeKey:
		return i, fail(http.StatusPreconditionFailed, "ErrorIrresolvableConflict", "The change key does not match the current change key for the item.")
	case mail != nil:
		return i, b.edit(i.mail, func(own *mailContent) error { *own = *mail; return nil })
	}
	return i, b.editItem(i.pim, func(own *pimContent) error { *own = *pim; return nil })
}
