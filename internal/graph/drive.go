package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/microsoftgraph/msgraph-sdk-go/drives"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// itemProperties are what a drive item's backup needs. They leave out
// @microsoft.graph.downloadUrl, which is a credential and different each time:
// items that did not change stay byte-identical.
var itemProperties = []string{
	"id", "name", "description", "size", "eTag", "cTag", "webUrl", "createdDateTime", "lastModifiedDateTime",
	"createdBy", "lastModifiedBy", "parentReference", "file", "folder", "package", "root", "deleted", "remoteItem",
	"shared", "specialFolder", "fileSystemInfo", "malware", "bundle",
}

const childrenPage = 200

// UserDrive returns the ID of a user's OneDrive. Absent: not licensed or not
// provisioned, which app-only calls cannot change.
func (t *Tenant) UserDrive(ctx context.Context, user string) (driveID string, err error) {
	const op = "find a user's drive"
	if err := given(op, user); err != nil {
		return "", err
	}
	c, err := t.client.build.built(ctx, op, t.sharePoint(oneItem, false))(
		t.client.build.users().ByUserId(user).Drive().ToGetRequestInformation(ctx, &users.ItemDriveRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemDriveRequestBuilderGetQueryParameters{Select: []string{"id"}}}))
	if err != nil {
		return "", err
	}
	id, err := t.identifier(ctx, c)
	if tenantry.KindOf(err) == tenantry.NotFound {
		// Whatever the code: what is missing below /users/{id} is the drive.
		return "", withKind(err, tenantry.Absent)
	}
	return id, err
}

// DriveChanges returns the page of a drive's items that link names, or with link
// "" the first page of a full round. Parents of what changed are in it, too.
// Resync: begin with "".
func (t *Tenant) DriveChanges(ctx context.Context, drive, link string) (RawPage, error) {
	const op = "read a page of drive items"
	if err := given(op, drive); err != nil {
		return RawPage{}, err
	}
	c, err := t.client.build.built(ctx, op, t.siteDelta(link))(
		t.client.build.drives().ByDriveId(drive).Items().ByDriveItemId("root").Delta().ToGetRequestInformation(ctx,
			&drives.ItemItemsItemDeltaRequestBuilderGetRequestConfiguration{
				QueryParameters: &drives.ItemItemsItemDeltaRequestBuilderGetQueryParameters{Select: itemProperties}}))
	if err != nil {
		return RawPage{}, err
	}
	if link != "" {
		if c, err = t.client.linked(c, link); err != nil {
			return RawPage{}, err
		}
	}
	return t.page(ctx, c, true)
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
	const op = "look for a file by name"
	if err := named(op, drive, folder, name); err != nil {
		return nil, err
	}
	return t.document(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false),
		url.Values{"$select": {strings.Join(itemProperties, ",")}}, child(drive, folder, name)...))
}

// CreateDriveFolder creates a folder and returns its item. Conflict: the name is
// taken, by an earlier try of this call perhaps; see DriveChild.
func (t *Tenant) CreateDriveFolder(ctx context.Context, drive, parent, name string) (jsontext.Value, error) {
	const op = "create a folder"
	if err := named(op, drive, parent, name); err != nil {
		return nil, err
	}
	body, err := json.Marshal(struct {
		Name     string   `json:"name"`
		Folder   struct{} `json:"folder"`
		Conflict string   `json:"@microsoft.graph.conflictBehavior"`
	}{Name: name, Conflict: "fail"})
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
