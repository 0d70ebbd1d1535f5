package blob

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// s3PartSize is from where on, and in what parts, an object is written in several
	// requests. Only folded indexes are that large. S3 takes 5 MiB and more (but for the
	// last) and 10,000 parts ("Amazon S3 multipart upload limits").
	s3PartSize    = 32 << 20
	s3LeastPart   = 5 << 20
	s3PartsAtOnce = 4
	// s3AbortTimeout bounds taking back an upload that failed. What is not taken back
	// needs a lifecycle rule for incomplete uploads.
	s3AbortTimeout = 10 * time.Second
)

// write is one object to be written.
type write struct {
	key    string
	body   []byte
	absent bool // only if the key is free
	lock   Lock
}

// write writes an object in one request, or in parts if it is large.
func (s *S3) write(ctx context.Context, w write) error {
	if err := checkKey(w.key); err != nil {
		return err
	}
	if int64(len(w.body)) > s.partSize {
		return s.writeParts(ctx, w)
	}
	ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	in := &s3.PutObjectInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + w.key), Body: bytes.NewReader(w.body), IfNoneMatch: w.condition(),
	}
	in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = w.lock.headers()
	if _, err := s.client.PutObject(ctx, in, w.options()...); err != nil {
		return s.fail(ctx, "write", w.key, err)
	}
	return nil
}

func (w write) condition() *string {
	if w.absent {
		return aws.String("*")
	}
	return nil
}

// options turn retries off for conditional writes: see S3.
func (w write) options() []func(*s3.Options) {
	if !w.absent {
		return nil
	}
	return []func(*s3.Options){func(o *s3.Options) { o.Retryer = aws.NopRetryer{} }}
}

func (l Lock) headers() (mode types.ObjectLockMode, until *time.Time, hold types.ObjectLockLegalHoldStatus) {
	if l.Mode != NoLock {
		mode, until = types.ObjectLockMode(strings.ToUpper(string(l.Mode))), aws.Time(roundUp(l.Until))
	}
	if l.Hold {
		hold = types.ObjectLockLegalHoldStatusOn
	}
	return mode, until, hold
}

// writeParts uploads parts, a few at once, each with its own time limit, and makes them an
// object at the end: whole or not at all, and under the condition if there is one.
func (s *S3) writeParts(ctx context.Context, w write) error {
	in := &s3.CreateMultipartUploadInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + w.key), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	}
	in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = w.lock.headers()
	begin, cancel := context.WithTimeout(ctx, s3CallTimeout)
	up, err := s.client.CreateMultipartUpload(begin, in)
	cancel()
	if err != nil {
		return s.fail(ctx, "begin to write", w.key, err)
	}
	parts, err := s.uploadParts(ctx, w, up.UploadId)
	if err == nil {
		err = s.completeParts(ctx, w, up.UploadId, parts)
	}
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), s3AbortTimeout)
		defer cancel()
		// Best effort: the upload that failed is what the caller has to know of.
		_, _ = s.client.AbortMultipartUpload(undo, &s3.AbortMultipartUploadInput{
			Bucket: &s.bucket, Key: aws.String(s.prefix + w.key), UploadId: up.UploadId,
		})
	}
	return err
}

func (s *S3) uploadParts(ctx context.Context, w write, upload *string) ([]types.CompletedPart, error) {
	parts := make([]types.CompletedPart, 0, len(w.body)/int(s.partSize)+1)
	for range slices.Chunk(w.body, int(s.partSize)) {
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(len(parts) + 1))})
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(s3PartsAtOnce)
	at := 0
	for body := range slices.Chunk(w.body, int(s.partSize)) {
		part := &parts[at]
		at++
		group.Go(func() error {
			call, cancel := context.WithTimeout(inner, s3CallTimeout)
			defer cancel()
			out, err := s.client.UploadPart(call, &s3.UploadPartInput{
				Bucket: &s.bucket, Key: aws.String(s.prefix + w.key), UploadId: upload, PartNumber: part.PartNumber,
				Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
			})
			if err != nil {
				return s.fail(call, "write a part of", w.key, err)
			}
			part.ETag, part.ChecksumCRC32 = out.ETag, out.ChecksumCRC32
			return nil
		})
	}
	return parts, group.Wait()
}

func (s *S3) completeParts(ctx context.Context, w write, upload *string, parts []types.CompletedPart) error {
	call, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	_, err := s.client.CompleteMultipartUpload(call, &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + w.key), UploadId: upload, IfNoneMatch: w.condition(),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}, w.options()...)
	if err != nil {
		return s.fail(call, "finish writing", w.key, err)
	}
	return nil
}

// sortVersions orders by key, then newest first.
func sortVersions(all []Version) {
	slices.SortStableFunc(all, func(a, b Version) int {
		if c := cmp.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		if a.Latest != b.Latest {
			if a.Latest {
				return -1
			}
			return 1
		}
		return b.Modified.Compare(a.Modified)
	})
}

// checkPart returns Invalid unless S3 takes parts of the size.
func checkPart(size int64) error {
	if size < s3LeastPart || size > 1<<30 {
		return tenantry.Errorf(tenantry.Invalid, "storage: parts of %d bytes; it may be %d to %d", size, s3LeastPart, 1<<30)
	}
	return nil
}
