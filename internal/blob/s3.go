package blob

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// s3CallTimeout bounds one call with all its retries. The largest object is a pack
	// of about 9 MiB: at 1 Mbit/s that takes 72 s.
	s3CallTimeout = 3 * time.Minute
	// s3HeaderTimeout bounds the wait for an answer once a request is sent.
	s3HeaderTimeout = 60 * time.Second
	// s3DialTimeout bounds connecting.
	s3DialTimeout = 5 * time.Second
	// s3StallTimeout ends a download that delivers nothing for so long.
	s3StallTimeout = 60 * time.Second
	// s3Attempts and s3Backoff bound the SDK's retries (full jitter, exponential).
	s3Attempts = 5
	s3Backoff  = 4 * time.Second
	// s3Connections is how many idle connections are kept: about what one worker uses at once.
	s3Connections = 64
	// s3FirstPage is the size of a listing's first page; most callers want one key.
	s3FirstPage = 50
	s3Page      = 1000
)

// S3 is a Store in a bucket of AWS S3 or of a server that speaks its protocol.
//
// Bodies carry a checksum (CRC32 by default of the SDK) that the server verifies,
// and whole downloads are verified against it. Calls are retried with backoff by
// the SDK, all but PutIfAbsent: the SDK would repeat a PUT whose answer was lost
// and then report its own success as 412. Large objects go up in parts.
//
// In a bucket that keeps versions Delete removes all of a key's versions. S3 is a
// [Locker] and [Versioned]; what a bucket cannot do of that is answered with an error.
type S3 struct {
	client   *s3.Client
	bucket   string
	prefix   string       // empty or ending with a slash
	endpoint string       // for messages
	http     *http.Client // nil if the configuration brought one of another type
	partSize int64
	versions bool // the bucket keeps versions
}

// s3Target is what a storage URL says about a bucket.
type s3Target struct {
	bucket, prefix, endpoint, region string
	pathStyle                        bool
}

func openS3(ctx context.Context, t s3Target, o S3Options) (*S3, error) {
	if t.bucket == "" {
		return nil, tenantry.Errorf(tenantry.Invalid, "storage URL names no bucket: write s3://bucket/prefix")
	}
	if (o.AccessKey == "") != o.SecretKey.IsZero() {
		return nil, tenantry.Errorf(tenantry.Invalid, "storage credentials: access key and secret key are given both or neither")
	}
	if t.prefix != "" {
		t.prefix += "/"
	}
	if err := checkFolder(t.prefix); err != nil {
		return nil, err
	}
	if t.region == "" && t.endpoint != "" {
		t.region = "us-east-1" // what servers beside AWS expect in a signature unless told otherwise
	}
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().
			WithDialerOptions(func(d *net.Dialer) { d.Timeout = s3DialTimeout }).
			WithTransportOptions(func(tr *http.Transport) {
				tr.MaxIdleConnsPerHost = s3Connections
				tr.ResponseHeaderTimeout = s3HeaderTimeout
			})),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(so *retry.StandardOptions) {
				so.MaxAttempts, so.MaxBackoff = s3Attempts, s3Backoff
			})
		}),
	}
	if t.region != "" {
		load = append(load, config.WithRegion(t.region))
	}
	if o.AccessKey != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey.Reveal(), "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, "read the S3 configuration", err)
	}
	s := &S3{bucket: t.bucket, prefix: t.prefix, endpoint: t.endpoint, partSize: cmp.Or(o.PartSize, s3PartSize)}
	if err := checkPart(s.partSize); err != nil {
		return nil, err
	}
	// The configuration may have added a CA bundle to the client. A plain client in its
	// place lets Close reach its connections.
	if built, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		s.http = &http.Client{
			Transport:     built.GetTransport(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		cfg.HTTPClient = s.http
	}
	if s.endpoint == "" {
		s.endpoint = "AWS " + cfg.Region
	}
	s.client = s3.NewFromConfig(cfg, func(so *s3.Options) {
		so.UsePathStyle = t.pathStyle
		so.DisableLogOutputChecksumValidationSkipped = true // ranged reads carry none; AES-GCM covers them
		if t.endpoint != "" {
			so.BaseEndpoint = aws.String(t.endpoint)
		}
	})
	return s, nil
}

// Close drops idle connections. Calls under way are not disturbed.
func (s *S3) Close() error {
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	return nil
}

// Put implements Store.
func (s *S3) Put(ctx context.Context, key string, body []byte) error {
	return s.write(ctx, write{key: key, body: body})
}

// PutIfAbsent implements Store by If-None-Match: *.
func (s *S3) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return s.write(ctx, write{key: key, body: body, absent: true})
}

// Get implements Store.
func (s *S3) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, tenantry.Errorf(tenantry.Invalid, "read %s from offset %d", key, offset)
	}
	if n == 0 { // HTTP has no empty range
		if _, err := s.Stat(ctx, key); err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + key)}
	switch {
	case n > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+n-1))
	case offset > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	ctx, cancel := context.WithCancel(ctx)
	guard := time.AfterFunc(s3CallTimeout, cancel)
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		stalled := !guard.Stop()
		err = s.failGet(ctx, key, err, stalled)
		cancel()
		if errors.Is(err, errPastEnd) {
			return io.NopCloser(bytes.NewReader(nil)), nil
		}
		return nil, err
	}
	guard.Stop()
	return &s3Reader{ctx: ctx, cancel: cancel, guard: guard, body: out.Body, s: s, key: key}, nil
}

// s3Reader reads a body, gives its errors kinds, and ends when nothing comes. The guard
// runs only while a Read waits: how slowly the caller reads is the caller's affair.
type s3Reader struct {
	ctx    context.Context
	cancel context.CancelFunc
	guard  *time.Timer
	body   io.ReadCloser
	s      *S3
	key    string
}

func (r *s3Reader) Read(p []byte) (int, error) {
	r.guard.Reset(s3StallTimeout)
	n, err := r.body.Read(p)
	stalled := !r.guard.Stop()
	if err != nil && err != io.EOF { //nolint:errorlint // only io.EOF itself is an end; a wrapped one is a cut connection
		err = r.s.failGet(r.ctx, r.key, err, stalled)
	}
	return n, err
}

func (r *s3Reader) Close() error {
	r.guard.Stop()
	r.cancel()
	_ = r.body.Close() // a download that is left early: its error says nothing
	return nil
}

// Stat implements Store.
func (s *S3) Stat(ctx context.Context, key string) (Info, error) {
	if err := checkKey(key); err != nil {
		return Info{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + key)})
	if err != nil {
		return Info{}, s.fail(ctx, "look at", key, err)
	}
	return Info{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)}, nil
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if s.versions {
		return s.deleteVersions(ctx, key)
	}
	ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + key)})
	if err != nil {
		if err := s.fail(ctx, "delete", key, err); !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// List implements Store, a page at a time.
func (s *S3) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield(Info{}, err)
			return
		}
		for page, err := range s.pages(ctx, prefix, nil) {
			if err != nil {
				yield(Info{}, err)
				return
			}
			for _, o := range page.Contents {
				info := Info{
					Key:      strings.TrimPrefix(aws.ToString(o.Key), s.prefix),
					Size:     aws.ToInt64(o.Size),
					Modified: aws.ToTime(o.LastModified),
					ETag:     strings.Trim(aws.ToString(o.ETag), `"`),
				}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// Folders implements Store by a listing with a delimiter.
func (s *S3) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := checkFolder(prefix); err != nil {
			yield("", err)
			return
		}
		for page, err := range s.pages(ctx, prefix, aws.String("/")) {
			if err != nil {
				yield("", err)
				return
			}
			for _, p := range page.CommonPrefixes {
				name := strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), s.prefix+prefix), "/")
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}

// pages yields the pages of a listing, each with its own time limit.
func (s *S3) pages(ctx context.Context, prefix string, delimiter *string) iter.Seq2[*s3.ListObjectsV2Output, error] {
	in := &s3.ListObjectsV2Input{
		Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix), Delimiter: delimiter, MaxKeys: aws.Int32(s3FirstPage),
	}
	next := func() (*s3.ListObjectsV2Output, error) {
		ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
		defer cancel()
		out, err := s.client.ListObjectsV2(ctx, in)
		if err != nil {
			return nil, s.fail(ctx, "list", prefix, err)
		}
		return out, nil
	}
	return func(yield func(*s3.ListObjectsV2Output, error) bool) {
		for {
			out, err := next()
			if !yield(out, err) || err != nil || !aws.ToBool(out.IsTruncated) {
				return
			}
			in.ContinuationToken, in.MaxKeys = out.NextContinuationToken, aws.Int32(s3Page)
		}
	}
}
