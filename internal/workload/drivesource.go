package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
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

const contentPart = "content"

// driveSource reads one drive.
type driveSource[P Pages] struct {
	api   DriveReader[P]
	drive string
}

// NewDriveSource returns the source of a drive. Its items are one collection.
func NewDriveSource[P Pages](api DriveReader[P], driveID string) engine.Source {
	return &driveSource[P]{api: api, drive: driveID}
}

// Scoped says that a removal is one, wherever the item was.
func (s *driveSource[P]) Scoped() bool { return false }

// Page reads a page of the drive's delta.
func (s *driveSource[P]) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	if collection != engine.RootCollection {
		return engine.Page{}, tenantry.Errorf(tenantry.NotFound, "a drive has no collection %s", collection)
	}
	got, err := s.api.DriveChanges(ctx, s.drive, link)
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		if err := s.item(list, raw); err != nil {
			return engine.Page{}, err
		}
	}
	return list.page(p.Next, p.Done), nil
}

type fileFacet struct {
	Hashes struct {
		QuickXor string `json:"quickXorHash"`
	} `json:"hashes"`
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
	Folder  *struct{} `json:"folder"`
	Package *struct{} `json:"package"`
	Root    *struct{} `json:"root"`
	Remote  *struct{} `json:"remoteItem"`
	Deleted *struct{} `json:"deleted"`
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
	return fmt.Sprintf("%s%s:%d", contentPrefix, d.hash(), d.Size)
}

const contentPrefix = "quickxor:"

func (d *driveItem) hash() string {
	if d.File == nil {
		return ""
	}
	return d.File.Hashes.QuickXor
}

// item adds one item to a page.
func (s *driveSource[P]) item(list *changes, raw jsontext.Value) error {
	var d driveItem
	switch err := parse("a drive item", raw, &d); {
	case err != nil:
		return err
	case d.ID == "":
		return tenantry.Errorf(tenantry.Internal, "read a drive item: it has no ID")
	case d.Deleted != nil:
		list.remove(d.ID)
		return nil
	}
	item := engine.Item{
		ID: d.ID, Parent: d.Parent.ID, Kind: d.kind(), Name: d.Name, ETag: d.ETag,
		Modified: instant(d.Modified), Size: d.Size, Raw: raw,
	}
	if d.Root != nil {
		item.Parent = ""
	}
	if item.ETag == "" {
		item.ETag = digest(raw)
	}
	if item.Kind == kindFile {
		item.Content = d.content()
		item.Parts = func(context.Context) ([]engine.ItemPart, error) { return s.parts(d), nil }
	}
	if d.Malware != nil {
		item.Problem = strings.TrimSuffix("the service reports malware: "+d.Malware.Description, ": ")
	}
	list.put(item)
	return nil
}

// Reread returns the content of a file that could not be read before. The entry's version names what
// it has to be.
func (s *driveSource[P]) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	if e.Kind != kindFile {
		return nil
	}
	d := driveItem{ID: e.ID, Size: e.Size, File: &fileFacet{}}
	if _, content, ok := strings.Cut(e.ETag, "\n"+contentPrefix); ok {
		d.File.Hashes.QuickXor, _, _ = strings.Cut(content, ":")
	}
	return func(context.Context) ([]engine.ItemPart, error) { return s.parts(d), nil }
}

func (s *driveSource[P]) parts(d driveItem) []engine.ItemPart {
	return []engine.ItemPart{{
		Name: contentPart, Size: d.Size, Version: d.content(),
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			if d.Size == 0 {
				return io.NopCloser(strings.NewReader("")), nil // a range of nothing answers 416
			}
			body, err := s.api.Download(ctx, s.drive, d.ID, 0)
			if err != nil {
				return nil, err
			}
			return &checked{ReadCloser: body, size: d.Size, want: d.hash()}, nil
		},
	}}
}

// checked streams a file and holds what came against the size and the hash that the service named with
// the item. It ends in Conflict if they differ: the file has changed under way, or was damaged.
type checked struct {
	io.ReadCloser
	size int64
	want string // hash, "" unknown
	hash quickXor
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	_, _ = c.hash.Write(p[:n]) // never fails
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	switch got := c.hash.Sum(); {
	case int64(c.hash.length) != c.size:
		return n, tenantry.Errorf(tenantry.Conflict, "download: %d bytes came, %d were named", c.hash.length, c.size)
	case c.want != "" && got != c.want:
		return n, tenantry.Errorf(tenantry.Conflict, "download: the quickXorHash is %s, %s was named", got, c.want)
	}
	return n, io.EOF
}

// fileTimes returns the times to give a restored file.
func (d *driveItem) fileTimes() (created, modified time.Time) {
	return instant(d.Times.Created), instant(d.Times.Modified)
}
