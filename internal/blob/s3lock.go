package blob

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// PutLocked implements Locker.
func (s *S3) PutLocked(ctx context.Context, key string, body []byte, absent bool, lock Lock) error {
	return s.write(ctx, write{key: key, body: body, absent: absent, lock: lock})
}

// Extend implements Locker.
func (s *S3) Extend(ctx context.Context, key string, lock Lock) error {
	have, err := s.LockOf(ctx, key, "")
	if err != nil {
		return err
	}
	want := lock
	if weaker(want.Mode, have.Mode) {
		want.Mode = have.Mode
	}
	if have.Until.After(want.Until) {
		want.Until = have.Until
	}
	if want.Mode == have.Mode && want.Until.Equal(have.Until) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	_, err = s.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + key),
		Retention: &types.ObjectLockRetention{
			Mode: types.ObjectLockRetentionMode(strings.ToUpper(string(want.Mode))), RetainUntilDate: aws.Time(roundUp(want.Until)),
		},
		// From Governance to Compliance is a change of mode, which S3 allows with a bypass only.
		BypassGovernanceRetention: bypassFor(have.Mode == Governance && want.Mode == Compliance),
	})
	if err != nil {
		return s.fail(ctx, "extend the lock of", key, err)
	}
	return nil
}

// Hold implements Locker.
func (s *S3) Hold(ctx context.Context, key string, on bool) error {
	if err := checkKey(key); err != nil {
		return err
	}
	status := types.ObjectLockLegalHoldStatusOff
	if on {
		status = types.ObjectLockLegalHoldStatusOn
	}
	ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	_, err := s.client.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + key), LegalHold: &types.ObjectLockLegalHold{Status: status},
	})
	if err != nil {
		return s.fail(ctx, "set the legal hold of", key, err)
	}
	return nil
}

// LockOf implements Locker by one HEAD.
func (s *S3) LockOf(ctx context.Context, key, version string) (Lock, error) {
	if err := checkKey(key); err != nil {
		return Lock{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	in := &s3.HeadObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + key)}
	if version != "" {
		in.VersionId = &version
	}
	out, err := s.client.HeadObject(ctx, in)
	if err != nil {
		return Lock{}, s.fail(ctx, "read the lock of", key, err)
	}
	return Lock{
		Mode:  LockMode(strings.ToLower(string(out.ObjectLockMode))),
		Until: aws.ToTime(out.ObjectLockRetainUntilDate),
		Hold:  out.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn,
	}, nil
}

// Versions implements Versioned, a page at a time.
func (s *S3) Versions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	in := &s3.ListObjectVersionsInput{Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix), MaxKeys: aws.Int32(s3Page)}
	next := func() (*s3.ListObjectVersionsOutput, error) {
		ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
		defer cancel()
		out, err := s.client.ListObjectVersions(ctx, in)
		if err != nil {
			return nil, s.fail(ctx, "list versions of", prefix, err)
		}
		return out, nil
	}
	return func(yield func(Version, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield(Version{}, err)
			return
		}
		for {
			out, err := next()
			if err != nil {
				yield(Version{}, err)
				return
			}
			for _, v := range s.merge(out) {
				if !yield(v, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
		}
	}
}

// merge returns a page's versions and delete markers, which come apart, by key and newest first.
func (s *S3) merge(out *s3.ListObjectVersionsOutput) []Version {
	all := make([]Version, 0, len(out.Versions)+len(out.DeleteMarkers))
	for i := range out.Versions {
		v := &out.Versions[i]
		all = append(all, s.version(v.Key, v.VersionId, v.LastModified, v.IsLatest, aws.ToInt64(v.Size), false))
	}
	for i := range out.DeleteMarkers {
		m := &out.DeleteMarkers[i]
		all = append(all, s.version(m.Key, m.VersionId, m.LastModified, m.IsLatest, 0, true))
	}
	sortVersions(all)
	return all
}

func (s *S3) version(key, id *string, modified *time.Time, latest *bool, size int64, deleted bool) Version {
	return Version{
		Info: Info{Key: strings.TrimPrefix(aws.ToString(key), s.prefix), Size: size, Modified: aws.ToTime(modified)},
		ID:   aws.ToString(id), Latest: aws.ToBool(latest), Deleted: deleted,
	}
}

// DeleteVersion implements Versioned.
func (s *S3) DeleteVersion(ctx context.Context, key, version string, bypass bool) error {
	if err := checkKey(key); err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	_, err := s.client.DeleteObject(call, &s3.DeleteObjectInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + key), VersionId: aws.String(version), BypassGovernanceRetention: bypassFor(bypass),
	})
	if err == nil {
		return nil
	}
	failed := s.fail(ctx, "delete a version of", key, err)
	if errors.Is(failed, ErrNotFound) {
		return nil
	}
	var api smithy.APIError
	if !errors.As(err, &api) || ctx.Err() != nil {
		return failed
	}
	// The answer for what is locked is the same "access denied" as for what is forbidden.
	if lock, lockErr := s.LockOf(ctx, key, version); lockErr == nil && lock.Holds(time.Now()) {
		return tenantry.E(tenantry.Conflict, s.op("delete a version of", key), ErrLocked)
	}
	return failed
}

// deleteVersions is Delete where the bucket keeps versions: without it a delete only hides.
func (s *S3) deleteVersions(ctx context.Context, key string) error {
	for v, err := range s.Versions(ctx, key) {
		if err != nil {
			return err
		}
		if v.Key != key { // keys that go on behind this one come after all versions of it
			return nil
		}
		if err := s.DeleteVersion(ctx, key, v.ID, false); err != nil {
			return err
		}
	}
	return nil
}

// versioning reports whether the bucket keeps versions. A server that knows no
// versioning, or credentials that may not ask, count as no.
func (s *S3) versioning(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	out, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.bucket})
	if err == nil {
		// Suspended, there may still be versions of before.
		return out.Status == types.BucketVersioningStatusEnabled || out.Status == types.BucketVersioningStatusSuspended, nil
	}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() != "NoSuchBucket" {
		return false, nil
	}
	return false, s.fail(ctx, "learn about versioning of", "", err)
}

// lockable reports whether the bucket was made with object locks.
func (s *S3) lockable(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.bucket})
	if err == nil {
		return out.ObjectLockConfiguration != nil && out.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled, nil
	}
	var api smithy.APIError
	if errors.As(err, &api) && (api.ErrorCode() == "ObjectLockConfigurationNotFoundError" || api.ErrorCode() == "NotImplemented") {
		return false, nil
	}
	return false, s.fail(ctx, "learn about object locks of", "", err)
}

// bypassFor sends the header only where it is meant: it needs a right of its own.
func bypassFor(yes bool) *bool {
	if !yes {
		return nil
	}
	return aws.Bool(true)
}

// roundUp keeps a retention from ending early: S3 keeps whole seconds.
func roundUp(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }
