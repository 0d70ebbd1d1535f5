package workload

import (
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The kinds of a drive's items besides folders and packages.
const (
	kindFile     = "file"
	kindShortcut = "shortcut" // points to an item of another drive
	kindOther    = "item"     // whatever comes to be
)

// The parts of an item of a drive.
const (
	contentPart     = "content"
	permissionsPart = "permissions.json"
	versionsPart    = "versions.json"
	versionPart     = "version/" // and the label of an old version: its bytes
)

// driveTree reads drives, whoever's they are.
type driveTree[P Pages] struct {
	api      DriveReader[P]
	versions int // how many old versions of a file are saved
	// changes reads a page of a drive, as DriveReader.DriveChanges or with more of each item.
	changes func(ctx context.Context, drive, link string) (P, error)
}

func newDriveTree[P Pages](api DriveReader[P], o tenantry.BackupOptions) driveTree[P] {
	return driveTree[P]{api, o.Versions, api.DriveChanges}
}

// listed returns the drive as an item that parent holds.
func (s *driveTree[P]) listed(parent string, raw jsontext.Value) (engine.Item, error) {
	var d struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	switch err := parse("a drive", raw, &d); {
	case err != nil:
		return engine.Item{}, err
	case d.ID == "":
		return engine.Item{}, tenantry.Errorf(tenantry.Internal, "read a drive: it has no ID")
	}
	id := driveID + d.ID
	return engine.Item{ID: id, Parent: parent, Kind: engine.KindFolder, Name: d.Name, ETag: digest(raw), Raw: raw, Collection: id, Apart: true}, nil
}

// page reads a page of a drive's delta.
func (s *driveTree[P]) page(ctx context.Context, collection, link string) (engine.Page, error) {
	drive := strings.TrimPrefix(collection, driveID)
	got, err := s.changes(ctx, drive, link)
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	list, now := newChanges(len(p.Items)), time.Now()
	for _, raw := range p.Items {
		if err := s.item(list, drive, raw, told{p.Addresses, now}); err != nil {
			return engine.Page{}, err
		}
	}
	return list.page(p.Next, p.Done), nil
}

// addressLife is how long an address that came with a page is believed: content pages say "a few minutes", the
// resource's says an hour ("driveItem: get content", "driveItem"). One that has ended costs a request.
const addressLife = 4 * time.Minute

// told is where a page says that contents can be read without asking, by item, and when it said so.
type told struct {
	addresses map[string]string
	at        time.Time
}

// take returns the address of an item as long as it is good, once: it may be for one use.
func (t *told) take(item string) string {
	address := t.addresses[item]
	t.addresses = nil
	if time.Since(t.at) > addressLife {
		return ""
	}
	return address
}

type fileFacet struct {
	Hashes struct {
		QuickXor string `json:"quickXorHash"`
	} `json:"hashes"`
}

type folderFacet struct {
	Children int64 `json:"childCount"`
}

type driveItem struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	ETag     string `json:"eTag"`
	Modified string `json:"lastModifiedDateTime"`
	Parent   struct {
		ID string `json:"id"`
	} `json:"parentReference"`
	File    *fileFacet `json:"file"`
	Malware *struct {
		Description string `json:"description"`
	} `json:"malware"`
	Times struct {
		Created  string `json:"createdDateTime"`
		Modified string `json:"lastModifiedDateTime"`
	} `json:"fileSystemInfo"`
	Folder  *folderFacet `json:"folder"`
	Package *struct{}    `json:"package"`
	Root    *struct{}    `json:"root"`
	Remote  *struct{}    `json:"remoteItem"`
	Deleted *struct{}    `json:"deleted"`
	Shared  *struct{}    `json:"shared"`
	Row     *fileRow     `json:"listItem"`
	// SharedChanged says that it is shown because its permissions changed ("driveItem: delta").
	SharedChanged string `json:"@microsoft.graph.sharedChanged"`

	from told // the page
}

func (d *driveItem) kind() string {
	switch {
	case d.Remote != nil: // it may carry the facet of what it points to
		return kindShortcut
	case d.Package != nil:
		return engine.KindPackage
	case d.Folder != nil || d.Root != nil:
		return engine.KindFolder
	case d.File != nil:
		return kindFile
	}
	return kindOther
}

// content identifies the bytes of a file: a rename or a new share changes the eTag, but not these. Empty
// while the service has not computed the hash.
func (d *driveItem) content() string {
	if d.hash() == "" {
		return ""
	}
	return contentPrefix + d.hash() + ":" + strconv.FormatInt(d.Size, 10)
}

// What the lines of an item's content begin with, or are.
const (
	contentPrefix = "quickxor:"
	sharedPrefix  = "shared:"
	versionsLine  = "versions"
)

// same identifies the bytes of a file for as long as they are being read, by its version where there is no hash. Empty
// if neither is known.
func (d *driveItem) same() string {
	if content := d.content(); content != "" || d.ETag == "" {
		return content
	}
	return fmt.Sprintf("etag:%s:%d", d.ETag, d.Size)
}

func (d *driveItem) hash() string {
	if d.File == nil {
		return ""
	}
	return d.File.Hashes.QuickXor
}

// sharing is the version of an item's permissions: any new version of the item may bring other ones. Empty
// without permissions of its own, or when they may have changed without the item's version.
func (d *driveItem) sharing() string {
	if d.Shared == nil || d.Root != nil || d.SharedChanged != "" {
		return ""
	}
	return sharedPrefix + d.ETag
}

// item adds one item to a page.
func (s *driveTree[P]) item(list *changes, drive string, raw jsontext.Value, from told) error {
	var d driveItem
	inDrive := driveID + drive + "/"
	switch err := parse("a drive item", raw, &d); {
	case err != nil:
		return err
	case d.ID == "":
		return tenantry.Errorf(tenantry.Internal, "read a drive item: it has no ID")
	case d.Deleted != nil:
		list.remove(inDrive + d.ID)
		return nil
	}
	d.from = from
	item := engine.Item{
		ID: inDrive + d.ID, Parent: inDrive + d.Parent.ID, Kind: d.kind(), Name: d.Name, ETag: d.ETag,
		Modified: instant(d.Modified), Size: d.Size, Raw: raw,
	}
	if d.Root != nil {
		item.Parent = driveID + drive
	}
	if d.Folder != nil {
		item.Holds = d.Folder.Children
	}
	if item.ETag == "" {
		item.ETag = digest(raw)
	}
	if d.Row != nil {
		item.ETag += rowPrefix + digest(d.Row.raw)
	}
	if d.SharedChanged != "" {
		item.ETag = "" // told anew: it may be the version that is known
	}
	s.separate(&item, drive, d)
	if d.Malware != nil {
		item.Problem = strings.TrimSuffix("the service reports malware: "+d.Malware.Description, ": ")
	}
	list.put(item)
	return nil
}

// separate tells of what an item has besides its JSON.
func (s *driveTree[P]) separate(item *engine.Item, drive string, d driveItem) {
	file, shared := item.Kind == kindFile, d.Shared != nil && d.Root == nil
	if !file && !shared {
		return
	}
	item.Parts = func(ctx context.Context) ([]engine.ItemPart, error) { return s.parts(ctx, drive, d) }
	var lines []string
	if file {
		lines = append(lines, d.content())
		if s.versions > 0 {
			lines = append(lines, versionsLine)
		}
	}
	if shared {
		lines = append(lines, d.sharing())
	}
	for _, line := range lines {
		if line == "" {
			return // unknown
		}
	}
	item.Content = strings.Join(lines, "\n")
}

// Reread returns the parts of an item that could not be read before. The entry's version names what its
// content has to be.
func (s *driveTree[P]) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	tree, item, _ := strings.Cut(e.ID, "/")
	d := driveItem{ID: item, Size: e.Size}
	_, content, _ := strings.Cut(e.ETag, "\n")
	for line := range strings.SplitSeq(content, "\n") {
		if strings.HasPrefix(line, sharedPrefix) {
			d.Shared, d.ETag = &struct{}{}, strings.TrimPrefix(line, sharedPrefix)
		}
		if known, ok := strings.CutPrefix(line, contentPrefix); ok && e.Kind == kindFile {
			d.File = &fileFacet{}
			d.File.Hashes.QuickXor, _, _ = strings.Cut(known, ":")
		}
	}
	switch {
	case e.Kind == kindFile && d.File == nil:
		d.File = &fileFacet{}
	case e.Kind != kindFile && d.Shared == nil:
		return nil
	}
	return func(ctx context.Context) ([]engine.ItemPart, error) {
		return s.parts(ctx, strings.TrimPrefix(tree, driveID), d)
	}
}

// parts lists a file's bytes, its old versions if they are wanted, and an item's permissions if it has any
// of its own.
func (s *driveTree[P]) parts(ctx context.Context, drive string, d driveItem) ([]engine.ItemPart, error) {
	var parts []engine.ItemPart
	if d.File != nil && d.Remote == nil {
		parts = append(parts, s.content(drive, d))
		if s.versions > 0 {
			old, err := s.oldVersions(ctx, drive, d.ID)
			if err != nil {
				return nil, err
			}
			parts = append(parts, old...)
		}
	}
	if d.Shared != nil && d.Root == nil {
		parts = append(parts, engine.ItemPart{Name: permissionsPart, Version: d.sharing(), Open: func(ctx context.Context) (io.ReadCloser, error) {
			list, err := collect(func(link string) (P, error) { return s.api.Permissions(ctx, drive, d.ID, link) })
			return bytesBody(array(list)), err
		}})
	}
	return parts, nil
}

func (s *driveTree[P]) content(drive string, d driveItem) engine.ItemPart {
	from := d.from
	resume := func(ctx context.Context, stored io.Reader, size int64) (io.ReadCloser, error) {
		switch { // a range of nothing answers 416
		case d.Size == 0:
			return bytesBody(nil), nil
		case d.Size <= size:
			return &checked{Reader: stored, Closer: bytesBody(nil), size: d.Size, want: d.hash()}, nil
		}
		body, err := s.api.Download(ctx, drive, d.ID, from.take(d.ID), size)
		if err != nil {
			return nil, err
		}
		return &checked{Reader: io.MultiReader(stored, body), Closer: body, size: d.Size, want: d.hash()}, nil
	}
	return engine.ItemPart{
		Name: contentPart, Size: d.Size, Version: d.content(),
		Open:   func(ctx context.Context) (io.ReadCloser, error) { return resume(ctx, bytesBody(nil), 0) },
		Resume: resume, Same: d.same(),
	}
}

type fileVersion struct {
	ID   string `json:"id"`
	Size int64  `json:"size"`
}

// oldVersions lists the versions of a file and the bytes of the newest of the old ones. The first is the file
// itself, whose bytes Graph need not give under the version's name ("driveItemVersion: get contents").
func (s *driveTree[P]) oldVersions(ctx context.Context, drive, item string) ([]engine.ItemPart, error) {
	list, err := collect(func(link string) (P, error) { return s.api.FileVersions(ctx, drive, item, link) })
	if err != nil {
		return nil, err
	}
	parts := []engine.ItemPart{bytesPart(versionsPart, array(list))}
	for n, raw := range list {
		var v fileVersion
		if err := parse("a version of a file", raw, &v); err != nil {
			return nil, err
		}
		if n == 0 || v.ID == "" {
			continue
		}
		if n > s.versions {
			break
		}
		parts = append(parts, engine.ItemPart{
			// What a label stands for does not change: a new content has a new one.
			Name: versionPart + path.Base(v.ID), Size: v.Size, Fixed: true,
			Open: func(ctx context.Context) (io.ReadCloser, error) {
				if v.Size == 0 {
					return bytesBody(nil), nil
				}
				body, err := s.api.DownloadVersion(ctx, drive, item, v.ID)
				if err != nil {
					return nil, err
				}
				return &checked{Reader: body, Closer: body, size: v.Size}, nil
			},
		})
	}
	return parts, nil
}
