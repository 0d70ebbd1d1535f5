package tenantry

import (
	"context"
	"io"
	"time"
)

// Upload is a stored content on its way to Microsoft.
type Upload struct {
	// Size is that of the content, in bytes.
	Size int64
	// Version names the content: what is uploaded under another one is another content.
	Version string
	// Open streams the content from its byte from on. Called once, and once more where the upload has to begin again.
	Open func(ctx context.Context, from int64) (io.ReadCloser, error)
}

// UploadSessions keep upload sessions beyond the slice, and the process, that began them. A session is a credential:
// who has its address may write what it is for. Safe for concurrent use.
type UploadSessions interface {
	// Find returns the session of that name, or a zero Secret.
	Find(ctx context.Context, name string) (Secret, error)
	// Keep keeps a session under a name, in place of another. Microsoft ends it at the time given, if nobody goes on
	// before; zero: not known.
	Keep(ctx context.Context, name string, session Secret, ends time.Time) error
	// Drop forgets a session; absent is fine.
	Drop(ctx context.Context, name string) error
}
