package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// versioned is an answer about settings that people change: its ETag names what they can
// change, not what the fleet counts beside it.
type versioned[T any] struct {
	ETag string `header:"ETag" doc:"Names these settings: send it as If-Match with a change of them" example:"\"9f86d081884c7d659a2feaa0\""`
	Body T
}

// IfMatch has a change refused when somebody else made one since it was read. What the
// header names is compared while nobody else changes settings of the tenant, so that of two
// changes of the same settings one is refused.
type IfMatch struct {
	IfMatch string `header:"If-Match" maxLength:"1000" doc:"ETag of what was read; the change is refused with 412 and the code changed_meanwhile when the settings are others by now; without it the change is made whatever they are" example:"\"9f86d081884c7d659a2feaa0\""`
}

// etagOf names settings by their content.
func etagOf(settings any) string {
	text, err := json.Marshal(settings)
	if err != nil { // settings are words and numbers
		return `""`
	}
	sum := sha256.Sum256(text)
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// holds refuses a change of settings that are not those that were read (RFC 9110, 13.1.1).
func (m IfMatch) holds(settings any) error {
	if m.IfMatch == "" {
		return nil
	}
	is := etagOf(settings)
	for one := range strings.SplitSeq(m.IfMatch, ",") {
		if one = strings.TrimSpace(one); one == "*" || one == is {
			return nil
		}
	}
	return newProblem(tenantry.Conflict, "the settings have been changed since they were read: read them again").because(codeChanged)
}

// change makes a change of settings of a tenant, nil for the fleet's, while nobody else does:
// if they are those that the caller has read.
func (s *service) change(ctx context.Context, t *catalog.Tenant, m IfMatch, settings func(context.Context) (any, error), do func(context.Context) error) error {
	exclusive := s.Catalog.Fleet().Exclusive
	if t != nil {
		exclusive = t.Exclusive
	}
	return exclusive(ctx, func(ctx context.Context) error {
		if m.IfMatch != "" {
			now, err := settings(ctx)
			if err == nil {
				err = m.holds(now)
			}
			if err != nil {
				return err
			}
		}
		return do(ctx)
	})
}
