package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Tokens gets access tokens of the provider's applications, one in each cloud. Asked by many goroutines at once.
type Tokens interface {
	// Has reports whether there is a credential of the application in a cloud ("": the fleet's own).
	Has(ctx context.Context, cloud string) (bool, error)
	// Token gets a new one for a directory in a cloud, by the application that serves the purpose. Errors are those of Microsoft,
	// with their kinds; Denied, with the code no_credential: there is none.
	Token(ctx context.Context, t tenantry.TenantID, cloud, directory string, purpose tenantry.Purpose) (Token, error)
}

// Token is an access token for one tenant's Graph.
type Token struct {
	Value   tenantry.Secret
	Expires time.Time // as the authority says
}

// tokenRequest asks for one.
type tokenRequest struct {
	Tenant  string           `json:"tenant"`
	Purpose tenantry.Purpose `json:"purpose"`
}

type tokenAnswer struct {
	Token     string `json:"token"`
	ExpiresIn int64  `json:"expires_in"` // seconds: the clocks may differ
}

const (
	// tokenBurst is how many tokens a worker gets at once for a tenant and a purpose, and how many of its mistakes are
	// audited at once; tokenEvery is when there is one more. One lives an hour or so; one more is asked for when its consent is
	// looked at, or when it was refused.
	tokenBurst = 10
	tokenEvery = 15 * time.Second
	// tokenBucketsMax bounds for how many workers, tenants and purposes that is remembered.
	tokenBucketsMax = 20_000
	// askedMax bounds what the audit log repeats of a mistaken request, in bytes.
	askedMax = 100
)

// buckets count what is taken. The zero value is ready. Safe for concurrent use.
type buckets struct {
	mu sync.Mutex
	of map[bucketOf]*rate.Limiter
}

type bucketOf struct {
	worker  string
	tenant  tenantry.TenantID // "": its mistakes
	purpose tenantry.Purpose
}

// take reports whether there is one more. Those that nobody has taken from for long are forgotten; where that makes no
// room, nothing new is begun.
func (b *buckets) take(of bucketOf, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of[of] == nil {
		if len(b.of) >= tokenBucketsMax {
			b.forget(now)
		}
		if len(b.of) >= tokenBucketsMax {
			return false
		}
		if b.of == nil {
			b.of = map[bucketOf]*rate.Limiter{}
		}
		b.of[of] = rate.NewLimiter(rate.Every(tokenEvery), tokenBurst)
	}
	return b.of[of].AllowN(now, 1)
}

// forget drops what is full again.
func (b *buckets) forget(now time.Time) {
	for of, bucket := range b.of {
		if bucket.TokensAt(now) >= tokenBurst {
			delete(b.of, of)
		}
	}
}

// HandsTokens implements api.Gateway: whether tenants in a cloud can be served without an application of their own.
func (s *Server) HandsTokens(ctx context.Context, cloud string) (bool, error) {
	if s.cfg.Tokens == nil {
		return false, nil
	}
	return s.cfg.Tokens.Has(ctx, cloud)
}

// token hands out a token of the provider's application for a tenant of the worker's pool. For which directory is told by
// the provider's people alone: the row's own word, which no worker can change (package catalog), and not the ID that a worker found. Every one
// is audited, and so is who asks for another's.
func (s *Server) token(w http.ResponseWriter, r *http.Request, _ access) error {
	var in tokenRequest
	if err := decode(r, &in); err != nil {
		return err
	}
	if in.Purpose != tenantry.ToBackup && in.Purpose != tenantry.ToRestore {
		return tenantry.Errorf(tenantry.Invalid, "purpose: must be backup or restore")
	}
	tenant := tenantry.TenantID(in.Tenant)
	a, err := s.present(r) // what was true a second ago will not do
	if err != nil {
		return err
	}
	if err := a.may(tenant); err != nil {
		return s.mistaken(r, a, in, err)
	}
	if !s.buckets.take(bucketOf{a.ID, tenant, in.Purpose}, s.cfg.Now()) {
		return tenantry.Errorf(tenantry.Throttled, "this worker has had %d tokens for the tenant %s lately: one more every %s", tokenBurst, tenant, tokenEvery)
	}
	got, err := s.issue(r.Context(), tenant, in.Purpose)
	if err != nil {
		return err
	}
	if a, err = s.present(r); err == nil { // Microsoft took its time
		err = a.may(tenant)
	}
	if err == nil {
		err = s.audit(r, a.RemoteWorker, "hand-token", tenant, map[string]string{"purpose": string(in.Purpose), "expires": got.Expires.UTC().Format(time.RFC3339)})
	}
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return answer(w, tokenAnswer{Token: got.Value.Reveal(), ExpiresIn: int64(math.Floor(time.Until(got.Expires).Seconds()))})
}

// issue gets a token for a tenant.
func (s *Server) issue(ctx context.Context, tenant tenantry.TenantID, purpose tenantry.Purpose) (Token, error) {
	row, err := s.cfg.Catalog.Tenant(tenant).Get(ctx)
	if err != nil {
		return Token{}, err
	}
	if s.cfg.Tokens == nil || row.Directory == "" {
		return Token{}, errOwnApplication(tenant)
	}
	got, err := s.cfg.Tokens.Token(ctx, tenant, row.Cloud, row.Directory, purpose)
	switch {
	case tenantry.CodeOf(err) == "no_credential":
		err = errOwnApplication(tenant)
	case err == nil && got.Value.IsZero():
		err = tenantry.Errorf(tenantry.Transient, "Microsoft gave no token for the tenant %s", tenant)
	}
	return got, err
}

func errOwnApplication(tenant tenantry.TenantID) error {
	return &tenantry.Error{Kind: tenantry.Denied, Code: "needs_own_application", Op: "get a token for the tenant " + string(tenant),
		Err: errors.New("it goes by the provider's application, whose credential the API has not got: give the API one (tenantry credentials add fleet), " +
			"or the tenant an application of its own (tenantry tenants register), or move it to a pool inside (tenantry pools assign)")}
}

// mistaken notes that a worker asked for another's token, as often as is of use to who reads that.
func (s *Server) mistaken(r *http.Request, a access, in tokenRequest, refusal error) error {
	if !s.buckets.take(bucketOf{worker: a.ID}, s.cfg.Now()) {
		return refusal
	}
	asked := in.Tenant[:min(len(in.Tenant), askedMax)]
	if err := s.audit(r, a.RemoteWorker, "refuse-token", "", map[string]string{"asked": asked}); err != nil {
		return err
	}
	return refusal
}

// present is what a worker may do now.
func (s *Server) present(r *http.Request) (access, error) {
	id, secret, ok := credentialOf(r)
	if !ok {
		return access{}, errUnknown
	}
	return s.look(r.Context(), id, secret)
}

// Token asks for a token of the provider's application for a tenant of the worker's pool: a new one each time. It is
// kept in memory alone, and sent to Graph alone. Forbidden: it is no tenant of the pool. Denied: the API has no credential of that
// application. Otherwise what Microsoft said.
func (c *Client) Token(ctx context.Context, tenant tenantry.TenantID, purpose tenantry.Purpose) (Token, error) {
	var out tokenAnswer
	err := c.call(ctx, "token", tokenRequest{Tenant: string(tenant), Purpose: purpose}, &out)
	switch {
	case tenantry.KindOf(err) == tenantry.NotFound:
		return Token{}, tenantry.E(tenantry.Transient, "get a token: the API may be of the release before, which hands out none", err)
	case err != nil:
		return Token{}, err
	case out.Token == "" || out.ExpiresIn <= 0:
		return Token{}, tenantry.Errorf(tenantry.Transient, "get a token: the API gave none that is good")
	}
	return Token{tenantry.NewSecret(out.Token), time.Now().Add(time.Duration(out.ExpiresIn) * time.Second)}, nil
}

// detailOf is what the audit log keeps of a worker's request.
func detailOf(pool, machine string, more map[string]string) string {
	detail := map[string]string{"pool": pool, "machine": machine}
	for name, value := range more {
		detail[name] = value
	}
	text, _ := json.Marshal(detail) // strings cannot fail
	return string(text)
}
