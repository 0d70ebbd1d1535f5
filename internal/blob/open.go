package blob

import (
	"context"
	"net/url"
	"strings"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// S3Options are what an S3 store needs beside its URL. The zero value takes the
// credentials from the environment, a profile or the machine's role, as every
// AWS program does.
type S3Options struct {
	// AccessKey and SecretKey are static credentials; both or neither.
	AccessKey string
	SecretKey tenantry.Secret
	// ReadOnly skips the probe for conditional writes, for credentials that may only
	// read (rescue). Writing is then at the caller's own risk.
	ReadOnly bool
	// PartSize is the size in bytes of the parts in which larger objects are written; 0
	// means 32 MiB.
	PartSize int64
	// Lock says how everything that is written is locked; the store is then a [Retainer].
	Lock LockPolicy
}

// Open opens the store that a URL names:
//
//	file:///srv/backup
//	s3://bucket/prefix?endpoint=https://host:port&region=eu-central-1&path_style=true
//
// The folder is made if it does not exist; the bucket must exist. Without an
// endpoint it is AWS. path_style is true by default where an endpoint is given.
// Credentials never stand in the URL; there they are refused.
//
// Before it returns, Open proves that the store honours If-None-Match (link(2) for
// a folder) by letting several writes of one key race. A store that lets two of them
// succeed would let two workers commit the same snapshot; it is refused with a Shared
// error, and so is one that does not lock where o.Lock wants it. The objects that prove it
// are removed again. Invalid for a URL or a policy that cannot be meant.
func Open(ctx context.Context, rawURL string, o S3Options) (Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse repeats the URL, and with it whatever secret is in it.
		return nil, tenantry.Errorf(tenantry.Invalid, "storage URL cannot be parsed")
	}
	if u.User != nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "storage URL carries credentials: give them in the environment or the configuration")
	}
	if err := o.Lock.check(); err != nil {
		return nil, err
	}
	store, err := openURL(ctx, u, o)
	if err != nil {
		return nil, err
	}
	if o.ReadOnly {
		return store, nil
	}
	if store, err = prove(ctx, store, u.Scheme+"://"+u.Host+u.Path, o.Lock); err != nil {
		return nil, err
	}
	return store, nil
}

func openURL(ctx context.Context, u *url.URL, o S3Options) (Store, error) {
	switch u.Scheme {
	case "file":
		if u.Host != "" || u.Path == "" {
			return nil, tenantry.Errorf(tenantry.Invalid, "storage URL %q: write file:///absolute/path", u.Redacted())
		}
		return OpenFolder(u.Path)
	case "s3":
		for name := range u.Query() {
			switch name {
			case "endpoint", "region", "path_style":
			default:
				return nil, tenantry.Errorf(tenantry.Invalid, "storage URL has the unknown parameter %q", name)
			}
		}
		return openS3(ctx, s3Target{
			bucket:    u.Host,
			prefix:    strings.Trim(u.Path, "/"),
			endpoint:  u.Query().Get("endpoint"),
			region:    u.Query().Get("region"),
			pathStyle: u.Query().Get("path_style") == "true" || (u.Query().Get("endpoint") != "" && u.Query().Get("path_style") != "false"),
		}, o)
	}
	return nil, tenantry.Errorf(tenantry.Invalid, "storage URL has the scheme %q, expected file or s3", u.Scheme)
}
