package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// A cursor is where a page ended, sealed: what a listing calls 'next' comes back as 'after' of
// the same listing alone, with the same filters, about the same tenant, for whoever sees as much.
// Any other text is refused before a listing looks at it, however much it looks like an ID.
//
//	cursor = base64url( mac[:12] | position )
//	mac    = HMAC-SHA256( secret of the fleet, operation, tenant of the token, filters, position )

// macSize is how much of the HMAC a cursor carries, in bytes: guessing one takes 2^96 requests.
const macSize = 12

// CursorQuery asks for what follows a page.
type CursorQuery struct {
	After string `query:"after" maxLength:"4000" doc:"'next' of the page before, with the same filters"`
}

// position gives the way into an input to its cursor.
func (q *CursorQuery) position() *string { return &q.After }

// turning is an input that asks for what follows a page.
type turning interface{ position() *string }

// turned is an answer that may say where the next page begins.
type turned interface{ following() *string }

func (b *body[T]) following() *string {
	if page, ok := any(&b.Body).(turned); ok {
		return page.following()
	}
	return nil
}

func (p *Page[T]) following() *string       { return &p.Next }
func (p *SearchPage) following() *string    { return &p.Next }
func (c *FleetCoverage) following() *string { return &c.Next }
func (q *PageQuery) limitless() (reset func()) {
	limit := q.Limit
	q.Limit = 0
	return func() { q.Limit = limit }
}

// listing is one listing as a cursor knows it: the operation, for whom, and what was asked for but for which page.
type listing struct {
	s    *service
	name []byte
}

// listingOf describes what an input asks for; nil: it has no pages.
func (s *service) listingOf(ctx context.Context, operation string, in any) (*listing, error) {
	asks, ok := in.(turning)
	if !ok {
		return nil, nil
	}
	after := *asks.position()
	*asks.position() = ""
	defer func() { *asks.position() = after }()
	if sized, ok := in.(interface{ limitless() func() }); ok {
		defer sized.limitless()()
	}
	name, err := json.Marshal([]any{operation, callerOf(ctx).tenant, in})
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "describe "+operation, err)
	}
	return &listing{s, name}, nil
}

// open replaces the cursor in an input by the position that is in it.
func (l *listing) open(ctx context.Context, in any) error {
	at := in.(turning).position()
	if *at == "" {
		return nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(*at)
	if err != nil || len(text) <= macSize {
		return noCursor(*at)
	}
	key, err := l.s.cursorKey.read(ctx, l.s.Catalog.Fleet().KnownSecret)
	if err != nil {
		return err
	}
	if key.IsZero() || !hmac.Equal(text[:macSize], l.mac(key, string(text[macSize:]))) {
		return noCursor(*at)
	}
	*at = string(text[macSize:])
	return nil
}

// seal makes a cursor of the position in an answer.
func (l *listing) seal(ctx context.Context, out any) error {
	answer, ok := out.(turned)
	if !ok {
		return nil
	}
	next := answer.following()
	if next == nil || *next == "" {
		return nil
	}
	key, err := l.s.cursorKey.read(ctx, l.s.Catalog.Fleet().Secret)
	if err == nil {
		*next = base64.RawURLEncoding.EncodeToString(append(l.mac(key, *next), *next...))
	}
	return err
}

func (l *listing) mac(key tenantry.Secret, position string) []byte {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	for _, part := range []string{"tenantry cursor v1\x00", string(l.name), "\x00", position} {
		_, _ = mac.Write([]byte(part)) // a hash never fails
	}
	return mac.Sum(nil)[:macSize]
}

// noCursor refuses what is no cursor of a listing.
func noCursor(after string) error {
	return invalid("query.after", after, "must be 'next' of the page before, of the same listing with the same filters: begin without it").because(codeCursor)
}
