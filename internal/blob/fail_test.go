package blob

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// What errors of a file system mean, whether or not a test can bring them about.
func TestFolderErrors(t *testing.T) {
	f := &Folder{dir: "/srv/backup"}
	for _, c := range []struct {
		cause  error
		action string
		kind   tenantry.Kind
		word   string
	}{
		{syscall.ENOSPC, "write", tenantry.Shared, "/srv/backup/a/b: disk full"},
		{syscall.EDQUOT, "write", tenantry.Shared, "disk full"},
		{syscall.EACCES, "open", tenantry.Shared, "permission denied"},
		{syscall.EROFS, "write", tenantry.Shared, "read-only"},
		{syscall.EIO, "read", tenantry.Shared, "input/output"},
		{syscall.EPERM, "name", tenantry.Shared, "no hard links"},
		{syscall.EMFILE, "open", tenantry.Transient, "too many open files"},
	} {
		err := f.fail(&fs.PathError{Op: "x", Path: "y", Err: c.cause}, c.action, "a/b")
		if tenantry.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.word) || !errors.Is(err, c.cause) {
			t.Errorf("%v: got %v (%s), expected %s with %q", c.cause, err, tenantry.KindOf(err), c.kind, c.word)
		}
	}
	if err := f.fail(syscall.ENOENT, "open", "a/b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
	if err := f.fail(syscall.ENOENT, "open", ""); tenantry.KindOf(err) != tenantry.Shared {
		t.Errorf("the store itself is gone: %v", err)
	}
}
