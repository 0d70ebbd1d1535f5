package blob

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// errPastEnd is the answer 416: the range begins past the end of the object.
var errPastEnd = errors.New("range past the end of the object")

// failGet is fail for downloads: stalled says that our own guard ended the call.
func (s *S3) failGet(ctx context.Context, key string, err error, stalled bool) error {
	if stalled {
		return tenantry.E(tenantry.Transient, s.op("read", key)+": nothing came for too long", err)
	}
	return s.fail(ctx, "read", key, err)
}

func (s *S3) op(action, key string) string {
	return fmt.Sprintf("%s %s%s in bucket %q at %s", action, s.prefix, key, s.bucket, s.endpoint)
}

// fail turns an error of the SDK into one that says what to do next. Codes and
// statuses are those of the S3 API reference, "Error responses".
func (s *S3) fail(ctx context.Context, action, key string, err error) error {
	op := s.op(action, key)
	if ctx.Err() != nil {
		return tenantry.E(tenantry.KindOf(ctx.Err()), op, err)
	}
	code, status := "", 0
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) {
		status = answer.HTTPStatusCode()
	}
	switch code {
	case "NoSuchBucket":
		return tenantry.E(tenantry.Shared, fmt.Sprintf("bucket %q does not exist at %s", s.bucket, s.endpoint), err)
	case "NoSuchKey", "NotFound":
		return ErrNotFound
	case "InvalidRange":
		return errPastEnd
	case "PreconditionFailed":
		return ErrExists
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity":
		return tenantry.E(tenantry.Shared, op+": the store is full", err)
	case "RequestTimeTooSkewed":
		return tenantry.E(tenantry.Shared, op+": this machine's clock is wrong", err)
	}
	switch status {
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusRequestedRangeNotSatisfiable:
		return errPastEnd
	case http.StatusPreconditionFailed:
		return ErrExists
	case http.StatusUnauthorized, http.StatusForbidden:
		return tenantry.E(tenantry.Shared, fmt.Sprintf("access to bucket %q at %s denied: %s %s%s", s.bucket, s.endpoint, action, s.prefix, key), err)
	case http.StatusInsufficientStorage:
		return tenantry.E(tenantry.Shared, op+": the store is full", err)
	case http.StatusNotImplemented:
		return tenantry.E(tenantry.Shared, op+": the store does not implement what we ask (conditional writes?)", err)
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest:
		return tenantry.E(tenantry.Shared, op+": refused; is the region or endpoint right?", err)
	}
	// The SDK does not export the type of this error (service/internal/checksum).
	if strings.Contains(err.Error(), "checksum did not match") {
		return tenantry.E(tenantry.Corrupt, op, err)
	}
	if unreachable(err) {
		return tenantry.E(tenantry.Shared, fmt.Sprintf("bucket %q: endpoint %s cannot be reached", s.bucket, s.endpoint), err)
	}
	// 409 (another conditional write is under way), 429, 5xx and cut connections.
	return tenantry.E(tenantry.Transient, op, err)
}

// unreachable reports whether no connection could be made at all, as opposed to
// one that was cut.
func unreachable(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
