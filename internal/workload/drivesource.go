package workload

import (
	"context"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// driveSource reads all drives of a user.
type driveSource[P Pages] struct {
	driveTree[P]
	user string
}

// NewDriveSource returns the source of a user's drives; user is the Entra object ID. Its collections are the
// drives. Of each file as many old versions are saved as the options say.
func NewDriveSource[P Pages](api DriveReader[P], user string, o tenantry.BackupOptions) engine.Source {
	return &driveSource[P]{newDriveTree(api, o), user}
}

// Tree says that nothing moves from drive to drive.
func (s *driveSource[P]) Tree(id string) (string, bool) { return treeOf(id) }

// Page lists the drives, or reads a page of a drive's delta.
func (s *driveSource[P]) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	if collection != engine.RootCollection {
		return s.page(ctx, collection, link)
	}
	list := newChanges(1)
	err := walk(func(link string) (P, error) { return s.api.Drives(ctx, ofUser, s.user, link) }, func(raw jsontext.Value) error {
		item, err := s.listed("", raw)
		list.put(item)
		return err
	})
	return list.whole(), err
}

// checked streams a file and holds what came against the size and the hash that the service named with
// the item. It ends in Conflict if they differ: the file has changed under way, or was damaged.
type checked struct {
	io.Reader
	io.Closer
	size int64
	want string // hash, "" unknown
	hash quickXor
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
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
