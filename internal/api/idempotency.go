package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// keyHeader names a POST that is to be done once, however often it is sent: a day long
// the same key brings the same answer.
const keyHeader = "Idempotency-Key"

var keyPattern = regexp.MustCompile(`^[\x21-\x7e]{1,100}$`)

// shownOnce are operations whose answer holds a secret, which is not kept for a replay.
var shownOnce = map[string]bool{"add-token": true, "start-consent": true, "enable-workload": true, "add-enrolment": true}

// keyed is the idempotency key of a request, and how its answer says that it is an old one.
type keyed struct {
	key      string
	replayed func()
}

type keyedKey struct{}

// withKey reads the idempotency key of a POST into the context.
func withKey(ctx huma.Context) (huma.Context, error) {
	key := ctx.Header(keyHeader)
	if key == "" || ctx.Method() != http.MethodPost {
		return ctx, nil
	}
	if !keyPattern.MatchString(key) {
		return ctx, invalid("header."+keyHeader, key, "must be 1 to 100 printable ASCII characters without spaces")
	}
	return huma.WithValue(ctx, keyedKey{}, keyed{key, func() { ctx.SetHeader("Idempotency-Replayed", "true") }}), nil
}

// once does what the request asks for, unless a request with its key has done so.
func once[I, O any](ctx context.Context, s *service, operation string, in *I, do func() (*O, error)) (*O, error) {
	k, ok := ctx.Value(keyedKey{}).(keyed)
	if !ok {
		return do()
	}
	content, err := json.Marshal(in)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "describe "+operation, err)
	}
	sum := sha256.Sum256(append([]byte(operation+"\n"), content...))
	r := catalog.Request{Actor: callerOf(ctx).key(), Key: k.key, Content: hex.EncodeToString(sum[:])}
	answer, err := s.Catalog.Fleet().BeginRequest(ctx, r, s.Now())
	if err != nil {
		return nil, err
	}
	if answer != nil {
		return replay[O](operation, k, answer)
	}
	out, err := do()
	// The caller may be gone; what was done was done.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), handlerTimeout)
	defer cancel()
	if err != nil {
		s.note(s.Catalog.Fleet().DropRequest(after, r))
		return nil, err
	}
	kept := []byte("{}")
	if !shownOnce[operation] {
		if kept, err = json.Marshal(out); err != nil {
			return nil, tenantry.E(tenantry.Internal, "keep the answer of "+operation, err)
		}
	}
	s.note(s.Catalog.Fleet().EndRequest(after, r, kept))
	return out, nil
}

func replay[O any](operation string, k keyed, answer []byte) (*O, error) {
	if shownOnce[operation] {
		return nil, newProblem(tenantry.Conflict, "it was done before with this idempotency key, and its answer is shown once").because(codeShownOnce)
	}
	var out *O
	if err := json.Unmarshal(answer, &out); err != nil {
		return nil, tenantry.E(tenantry.Internal, "read the answer of "+operation, err)
	}
	k.replayed()
	return out, nil
}

// note logs that an idempotency key could not be kept; the request itself has its answer.
func (s *service) note(err error) {
	if err != nil {
		s.Logger.Warn("keep an idempotency key", zap.Error(err))
	}
}
