package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/microsoftgraph/msgraph-sdk-go/drives"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// itemProperties are what a drive item's backup needs. They leave out
// @microsoft.graph.downloadUrl, which is a credential and different each time:
// items that did not change stay byte-identical. Only a delta asks for it, on top.
var itemProperties = []string{
	"id", "name", "description", "size", "eTag", "cTag", "webUrl", "createdDateTime", "lastModifiedDateTime",
	"createdBy", "lastModifiedBy", "parentReference", "file", "folder", "package", "root", "deleted", "remoteItem",
	"shared", "specialFolder", "fileSystemInfo", "malware", "bundle",
}

// driveProperties are what is kept of a drive: not its quota, which changes all the time. Drives that are the
// service's own are listed only if system is selected ("List drives").
var driveProperties = []string{"id", "name", "driveType", "description", "createdDateTime", "webUrl", "owner", "system", "sharePointIds"}

// sharingPreferences have a drive's delta name the items that have permissions of their own, and tell when
// those change ("driveItem: delta", scan guidance).
const sharingPreferences = "deltashowremovedasdeleted, deltatraversepermissiongaps, deltashowsharingchanges, hierarchicalsharing"

const childrenPage = 200

// The owners of drives.
const (
	OfUser  = "users"
	OfSite  = "sites"
	OfGroup = "groups"
)

// Drives lists the drives of a user, a site or a group, as of says. Absent: the user has none, which
// app-only calls cannot change.
func (t *Tenant) Drives(ctx context.Context, of, owner, link string) (RawPage, error) {
	const op = "list drives"
	if err := given(op, of, owner); err != nil {
		return RawPage{}, err
	}
	page, err := t.sitePage(ctx, op, manyItems, url.Values{"$select": {strings.Join(driveProperties, ",")}}, link, of, owner, "drives")
	return page, ofOwner(of, err)
}

// DefaultDrive returns the ID of the drive that an owner means by "files".
func (t *Tenant) DefaultDrive(ctx context.Context, of, owner string) (driveID string, err error) {
	const op = "find the default drive"
	if err := given(op, of, owner); err != nil {
		return "", err
	}
	id, err := t.identifier(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false), onlyID, of, owner, "drive"))
	return id, ofOwner(of, err)
}

// ofOwner: whatever the code, what is missing below /users/{id} is the drive.
func ofOwner(of string, err error) error {
	if of == OfUser && tenantry.KindOf(err) == tenantry.NotFound {
		return withKind(err, tenantry.Absent)
	}
	return err
}

// sitePage reads a page of a list that belongs to SharePoint.
func (t *Tenant) sitePage(ctx context.Context, op string, units int, query url.Values, link string, path ...string) (RawPage, error) {
	c := t.client.build.plain(op, http.MethodGet, t.sharePoint(units, false), query, path...)
	if link != "" {
		var err error
		if c, err = t.client.linked(c, link); err != nil {
			return RawPage{}, err
		}
	}
	return t.page(ctx, c, false)
}

// Permissions lists the permissions of an item, the inherited ones too, which say so.
func (t *Tenant) Permissions(ctx context.Context, drive, item, link string) (RawPage, error) {
	const op = "list the permissions of a file"
	if err := given(op, drive, item); err != nil {
		return RawPage{}, err
	}
	return t.sitePage(ctx, op, sharing, nil, link, "drives", drive, "items", item, "permissions")
}

// FileVersions lists the versions of a file, the newest, which is the file itself, first.
func (t *Tenant) FileVersions(ctx context.Context, drive, item, link string) (RawPage, error) {
	const op = "list the versions of a file"
	if err := given(op, drive, item); err != nil {
		return RawPage{}, err
	}
	return t.sitePage(ctx, op, manyItems, nil, link, "drives", drive, "items", item, "versions")
}

// Invite grants permissions on an item from the JSON of "driveItem: invite". One that would send mail is
// refused as Invalid.
func (t *Tenant) Invite(ctx context.Context, drive, item string, body []byte) error {
	const op = "grant a permission"
	if err := given(op, drive, item); err != nil {
		return err
	}
	var in struct {
		Send *bool `json:"sendInvitation"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	if in.Send == nil || *in.Send {
		return tenantry.Errorf(tenantry.Invalid, "%s: it would send an invitation", op)
	}
	return t.share(ctx, op, body, drive, item, "invite")
}

// CreateLink makes a sharing link from the JSON of "driveItem: createLink". Its address is a new one.
func (t *Tenant) CreateLink(ctx context.Context, drive, item string, body []byte) error {
	const op = "make a sharing link"
	if err := given(op, drive, item); err != nil {
		return err
	}
	return t.share(ctx, op, body, drive, item, "createLink")
}

func (t *Tenant) share(ctx context.Context, op string, body []byte, drive, item, action string) error {
	c := t.driveWrite(op, http.MethodPost, body, nil, "drives", drive, "items", item, action)
	c.cost.Units = sharing
	return t.accepted(ctx, c)
}

// SetItemTimes gives a file or folder the times of its file system facet; zero times stay.
func (t *Tenant) SetItemTimes(ctx context.Context, drive, item string, created, modified time.Time) error {
	const op = "set the times of a file"
	if err := given(op, drive, item); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"fileSystemInfo": newFileTimes(created, modified)})
	if err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	return t.accepted(ctx, t.driveWrite(op, http.MethodPatch, body, nil, "drives", drive, "items", item))
}

// DriveChanges returns the page of a drive's items that link names, or with link
// "" the first page of a full round. Parents of what changed are in it, too, and the addresses of
// files' contents beside them. Resync: begin with "".
func (t *Tenant) DriveChanges(ctx context.Context, drive, link string) (RawPage, error) {
	return t.driveChanges(ctx, drive, link, nil)
}

// expandRow shows an item of a library with the row of the list that the library is, and its values in the columns of that
// ("driveItem: delta" takes $expand; "List items" says how values are expanded).
const expandRow = "listItem($expand=fields)"

// LibraryChanges is DriveChanges with each item's row of the library's list, and its values in the list's columns. A
// link goes on as it began. Invalid with link "": the service does not show rows so.
func (t *Tenant) LibraryChanges(ctx context.Context, drive, link string) (RawPage, error) {
	return t.driveChanges(ctx, drive, link, []string{expandRow})
}

func (t *Tenant) driveChanges(ctx context.Context, drive, link string, expand []string) (RawPage, error) {
	const op = "read a page of drive items"
	if err := given(op, drive); err != nil {
		return RawPage{}, err
	}
	c, err := t.client.build.built(ctx, op, t.siteDelta(link))(
		t.client.build.drives().ByDriveId(drive).Items().ByDriveItemId("root").Delta().ToGetRequestInformation(ctx,
			&drives.ItemItemsItemDeltaRequestBuilderGetRequestConfiguration{
				QueryParameters: &drives.ItemItemsItemDeltaRequestBuilderGetQueryParameters{
					Select: append(slices.Clone(itemProperties), contentAddress), Expand: expand,
				}}))
	if err != nil {
		return RawPage{}, err
	}
	c.header.Set("Prefer", sharingPreferences)
	if link != "" {
		if c, err = t.client.linked(c, link); err != nil {
			return RawPage{}, err
		}
	}
	page, err := t.page(ctx, c, true)
	if err == nil {
		err = page.takeAddresses()
	}
	return page, err
}

// DriveRoot returns the item ID of a drive's root folder.
func (t *Tenant) DriveRoot(ctx context.Context, drive string) (itemID string, err error) {
	const op = "find a drive's root"
	if err := given(op, drive); err != nil {
		return "", err
	}
	c, err := t.client.build.built(ctx, op, t.sharePoint(oneItem, false))(
		t.client.build.drives().ByDriveId(drive).Root().ToGetRequestInformation(ctx, &drives.ItemRootRequestBuilderGetRequestConfiguration{
			QueryParameters: &drives.ItemRootRequestBuilderGetQueryParameters{Select: []string{"id"}}}))
	if err != nil {
		return "", err
	}
	return t.identifier(ctx, c)
}

// DriveChildren lists a folder. While others write, a listing may miss items:
// only a delta is sure to be complete.
func (t *Tenant) DriveChildren(ctx context.Context, drive, folder, link string) (RawPage, error) {
	const op = "list a folder"
	if err := given(op, drive, folder); err != nil {
		return RawPage{}, err
	}
	top := int32(childrenPage)
	c, err := t.client.build.built(ctx, op, t.sharePoint(manyItems, false))(
		t.client.build.drives().ByDriveId(drive).Items().ByDriveItemId(folder).Children().ToGetRequestInformation(ctx,
			&drives.ItemItemsItemChildrenRequestBuilderGetRequestConfiguration{
				QueryParameters: &drives.ItemItemsItemChildrenRequestBuilderGetQueryParameters{Select: itemProperties, Top: &top}}))
	if err != nil {
		return RawPage{}, err
	}
	if link != "" {
		if c, err = t.client.linked(c, link); err != nil {
			return RawPage{}, err
		}
	}
	return t.page(ctx, c, false)
}

// DriveChild returns the item with that name in a folder. NotFound: none has it.
func (t *Tenant) DriveChild(ctx context.Context, drive, folder, name string) (jsontext.Value, error) {
	return t.driveChild(ctx, drive, folder, name, url.Values{"$select": {strings.Join(itemProperties, ",")}})
}

// LibraryChild is DriveChild with the item's row of the library's list, as LibraryChanges shows it.
func (t *Tenant) LibraryChild(ctx context.Context, drive, folder, name string) (jsontext.Value, error) {
	return t.driveChild(ctx, drive, folder, name, url.Values{"$select": {strings.Join(itemProperties, ",")}, "$expand": {expandRow}})
}

func (t *Tenant) driveChild(ctx context.Context, drive, folder, name string, query url.Values) (jsontext.Value, error) {
	const op = "look for a file by name"
	if err := named(op, drive, folder, name); err != nil {
		return nil, err
	}
	return t.document(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false), query, child(drive, folder, name)...))
}

// LibraryList returns the ID of the list that a library is, in the library's site.
func (t *Tenant) LibraryList(ctx context.Context, drive string) (list string, err error) {
	const op = "find the list of a library"
	if err := given(op, drive); err != nil {
		return "", err
	}
	doc, err := t.document(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false),
		url.Values{"$select": {"id,sharePointIds"}}, "drives", drive))
	if err != nil {
		return "", err
	}
	var d struct {
		IDs struct {
			List string `json:"listId"`
		} `json:"sharePointIds"`
	}
	if err := json.Unmarshal(doc, &d); err != nil || d.IDs.List == "" {
		return "", tenantry.Errorf(tenantry.Internal, "%s: the answer names none", op)
	}
	return d.IDs.List, nil
}

// FileRow returns a file or folder as the row of its library's list, without its values ("driveItem resource type": listItem).
func (t *Tenant) FileRow(ctx context.Context, drive, item string) (jsontext.Value, error) {
	const op = "read the row of a file"
	if err := given(op, drive, item); err != nil {
		return nil, err
	}
	return t.document(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false), nil, "drives", drive, "items", item, "listItem"))
}

// UpdateFileFields changes values of a file or folder in the columns of its library; null takes one away. It may count
// as modified then.
func (t *Tenant) UpdateFileFields(ctx context.Context, drive, item string, fields []byte) error {
	const op = "change the values of a file"
	if err := given(op, drive, item); err != nil {
		return err
	}
	return t.accepted(ctx, t.driveWrite(op, http.MethodPatch, fields, nil, "drives", drive, "items", item, "listItem", "fields"))
}

// CreateDriveFolder creates a folder with the times given, as Upload takes them, and returns its item. Conflict:
// the name is taken, by an earlier try of this call perhaps; see DriveChild.
func (t *Tenant) CreateDriveFolder(ctx context.Context, drive, parent, name string, created, modified time.Time) (jsontext.Value, error) {
	const op = "create a folder"
	if err := named(op, drive, parent, name); err != nil {
		return nil, err
	}
	body, err := json.Marshal(struct {
		Name     string     `json:"name"`
		Folder   struct{}   `json:"folder"`
		Conflict string     `json:"@microsoft.graph.conflictBehavior"`
		Times    *fileTimes `json:"fileSystemInfo,omitempty"`
	}{Name: name, Conflict: "fail", Times: newFileTimes(created, modified)})
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, op, err)
	}
	return t.document(ctx, t.driveWrite(op, http.MethodPost, body, nil, "drives", drive, "items", parent, "children"))
}

// driveWrite is a JSON request that changes a drive.
func (t *Tenant) driveWrite(op, method string, body []byte, query url.Values, path ...string) call {
	c := t.client.build.plain(op, method, t.sharePoint(oneWrite, true), query, path...)
	c.header.Set("Content-Type", "application/json")
	c.body = body
	c.cost.UploadBytes = int64(len(body))
	return c
}

// child is the path of what is addressed by name below a folder: the only way to
// name a file that does not exist yet. tail names an action on it.
func child(drive, folder, name string, tail ...string) []string {
	return append([]string{"drives", drive, "items", folder + ":", name + ":"}, tail...)
}

// named checks what child needs.
func named(op, drive, folder, name string) error {
	if err := given(op, drive, folder, name); err != nil {
		return err
	}
	if name == "." || name == ".." || strings.ContainsAny(name, "/\\") {
		return tenantry.Errorf(tenantry.Invalid, "%s: the name is a path, or none at all", op)
	}
	return nil
}
