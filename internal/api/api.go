// Package api owns the REST surface of the fleet: authentication, the tenant
// gate, the OpenAPI document, the consent callback, and the pages a person
// opens in a browser. It is thin: it writes rows, wakes the leader and reads.
// It holds no Graph credential and reads no content, only indexes, and archives that an
// export made to be fetched.
//
// Who may call what:
//
//	/v1/...               bearer token, as its role allows (roles.go)
//	/queues               bearer token of the provider, or the cookie set by /login
//	/gateway/             one-time tokens and credentials of workers outside (package gateway)
//	/v1/consent/callback  open: Microsoft redirects an administrator's browser here
//	/login /logout        open: a form that takes a token, or the way to the provider's own
//	                      OpenID Connect (signin.go)
//	/docs /openapi.json   open: the same for every installation
//	/healthz /readyz /metrics  open, without secrets
//
// A token is 32 random bytes; SQL keeps its SHA-256. The cookie carries the token
// itself, is valid under /queues alone, and never authenticates /v1, so no
// foreign page can make a browser call the API. Where the configuration names an OpenID
// Connect provider, its signed ID tokens are bearer tokens, too: their claims give the role.
//
// Consent is signed and one-time:
//
//	POST .../consent -> state issued: 32 random bytes and their signature to the
//	                    browser; its hash, the tenant and an expiry of one hour to SQL
//	callback         -> signature wrong: nothing is looked up
//	                 -> state burnt, whatever the answer was
//	                      error in the answer  -> refused, page says why
//	                      another directory    -> refused, page names both
//	                      else                 -> connect task, leader woken
//
// The signature is an HMAC under a secret of the fleet (catalog.Fleet.Secret), so that
// any api process can take the callback and strangers cost no transaction; what SQL
// knows makes the state one-time and says whose it is. Nothing in the callback is
// believed beyond it: the worker's connect task proves the directory and the roles by
// asking for a token.
//
// A token has a role and may be confined to one tenant, for which all others do not exist.
//
// Every write through this package, and every look into content, is written to the audit
// log before it is done; when the log cannot be written, neither is anything else.
package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/signin"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// Version is the version of the REST contract, as its OpenAPI document states it.
const Version = "1.0.0"

const (
	// handlerTimeout ends every request's context. The slowest are reads of a
	// large index from the bucket.
	handlerTimeout = 30 * time.Second
	// bodyLimit bounds what a caller can make us hold, in bytes.
	bodyLimit = 1 << 20
	// bodyTimeout is how long a body may take to come: 1 MiB over a line of half a megabit a second.
	bodyTimeout = 20 * time.Second
)

// Consent tells where an administrator consents. It is called once per consent
// request, from any goroutine; directory is a GUID or a domain, cloud the name of the one it lives in.
type Consent interface {
	URL(cloud, clientID, directory, state, redirect string) (string, error)
}

// Config is what the API is built from. Catalog and PublicURL are required.
type Config struct {
	Catalog *catalog.Catalog
	// Consent builds consent URLs. Without it asking for consent answers 503.
	Consent Consent
	// Places are the data regions and clouds that tenants may be in.
	Places Places
	// Keys wrap credentials. Without them adding one answers 503.
	Keys Sealer
	// Browser reads indexes of snapshots. Without it browsing answers 503.
	Browser Browser
	// Archives reads what exports made. Without it fetching them answers 503.
	Archives Archives
	// Budgets reads what Graph still allows. Without it asking for a budget answers 503.
	Budgets Budgets
	// Limits are Graph's, by which policies are found feasible; without tiers of SharePoint
	// they are the documented ones.
	Limits throttle.Limits
	// Gateway serves workers outside under /gateway/; nil leaves it out, and refuses to make tokens for them.
	Gateway Gateway
	// Monitor is served under /queues behind authentication; nil leaves it out.
	Monitor http.Handler
	// SignIn lets people and programs sign in with the provider's OpenID Connect; nil: with
	// tokens alone.
	SignIn *signin.Provider
	// PublicURL is where browsers and Microsoft reach this API, "https://backup.example.com".
	// It may carry a path when a proxy strips it, except that asynqmon then needs the
	// same path in its own root. With https the session cookie is Secure.
	PublicURL string
	// Rate is how many requests a second one token may send, twice as many at once; an
	// address without a valid token may send far fewer. 0 is no limit for anybody.
	Rate float64
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger hears of internal errors, once each; nil is silence.
	Logger *zap.Logger
	// Ready says why this process cannot serve; nil is always ready.
	Ready func(ctx context.Context) error
	// Closing is closed when this process begins to stop: streams end then, which would
	// otherwise be waited for. nil is never.
	Closing <-chan struct{}
	// Metrics is served under /metrics; nil leaves it out.
	Metrics http.Handler
}

// service is the state behind the handlers. But for what it remembers it is immutable after New.
type service struct {
	Config
	public    *url.URL
	api       huma.API
	pages     pages
	callbacks chan struct{} // one token for each consent callback under way
	known     knownTokens
	inventory *inventory
	callers   *limiters // by token
	strangers *limiters // by address, of those without one
	watchers  watchers

	consentKey, cursorKey fleetKey // what states are signed with, and cursors sealed
}

// New returns the handler of the whole API. It starts nothing and is safe for
// concurrent use. Errors are kind Invalid and name the field.
func New(cfg Config) (http.Handler, error) {
	if cfg.Catalog == nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "api: Catalog is missing")
	}
	public, err := url.Parse(strings.TrimRight(cfg.PublicURL, "/"))
	if err != nil || public.Host == "" || (public.Scheme != "https" && public.Scheme != "http") {
		return nil, tenantry.Errorf(tenantry.Invalid, "api: PublicURL %q is not an absolute http or https URL", cfg.PublicURL)
	}
	if err := checkGrants(cfg.SignIn); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if len(cfg.Limits.SharePoint.Tiers) == 0 {
		cfg.Limits = throttle.Documented()
	}
	s, mux, err := build(cfg, public)
	if err != nil {
		return nil, err
	}
	return s.harden(s.recovered(s.gated(limited(intake(unmatched(mux)))))), nil
}

// OpenAPI returns the document of the API as JSON in OpenAPI 3.0, the version
// client generators understand. The API itself serves 3.1 at /openapi.json.
func OpenAPI() ([]byte, error) {
	s, _, err := build(Config{Now: time.Now, Logger: zap.NewNop()}, &url.URL{})
	if err != nil {
		return nil, err
	}
	return s.api.OpenAPI().Downgrade()
}

// build registers every route.
func build(cfg Config, public *url.URL) (*service, *http.ServeMux, error) {
	installProblems()
	pages, err := loadPages()
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	cfg.Places = cfg.Places.complete()
	s := &service{Config: cfg, public: public, pages: pages, callbacks: make(chan struct{}, callbackLimit), inventory: newInventory()}
	s.consentKey.name, s.cursorKey.name = "consent-state", "cursor"
	s.callers = newLimiters(cfg.Rate, int(max(1, 2*cfg.Rate)))
	s.strangers = newLimiters(min(strangerRate, cfg.Rate), strangerBurst)
	s.api = humago.New(mux, humaConfig())
	s.api.UseMiddleware(s.authenticate)

	s.tenantRoutes()
	s.overviewRoutes()
	s.workloadRoutes()
	s.credentialRoutes()
	s.registrationRoutes()
	s.poolRoutes()
	s.enrolmentRoutes()
	s.placeRoutes()
	s.resourceRoutes()
	s.policyRoutes()
	s.seatRoutes()
	s.coverageRoutes()
	s.retentionRoutes()
	s.runRoutes()
	s.watchRoutes()
	s.snapshotRoutes()
	s.restoreRoutes()
	s.exportRoutes()
	s.noticeRoutes()
	s.fleetRoutes()
	s.budgetRoutes()
	s.ledgerRoutes()
	s.tokenRoutes()
	if err := checkRoles(operations(s.api.OpenAPI())); err != nil {
		return nil, nil, err
	}
	describe(s.api.OpenAPI())

	s.consentCallback(mux)
	s.queueRoutes(mux)
	s.signInRoutes(mux)
	s.docsRoutes(mux)
	s.healthRoutes(mux)
	return s, mux, nil
}

// operations are the IDs of all operations of the document.
func operations(document *huma.OpenAPI) map[string]bool {
	ids := map[string]bool{}
	for _, path := range document.Paths {
		for _, op := range methodsOf(path) {
			ids[op.OperationID] = true
		}
	}
	return ids
}

func humaConfig() huma.Config {
	cfg := huma.DefaultConfig("Tenantry", Version)
	cfg.Info.Description = "Microsoft 365 backup for service providers. " +
		"Every operation under /v1 needs a bearer token; errors are RFC 9457 problem details whose `kind` says what to do next, whose `code` never changes, and whose `errors` name the fields. " +
		"A POST that carries an Idempotency-Key is done once: sent again within a day it brings the same answer, marked Idempotency-Replayed. " +
		"Settings come with an ETag; a change of them that sends it as If-Match is refused with 412 when somebody else changed them meanwhile."
	cfg.DocsPath, cfg.SchemasPath = "", "" // our own page loads nothing from elsewhere
	cfg.CreateHooks = nil                  // no $schema in bodies
	cfg.RejectUnknownQueryParameters = true
	cfg.Formats = map[string]huma.Format{"application/json": strictJSON, "json": strictJSON}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "A token as `tenantry init` prints it, or an ID token of the provider that the installation names."},
	}
	cfg.Security = []map[string][]string{{"token": {}}}
	cfg.Tags = []*huma.Tag{
		{Name: "tenants", Description: "Customers and their consent"},
		{Name: "resources", Description: "What a tenant has that can be backed up"},
		{Name: "policies", Description: "What is backed up, and when"},
		{Name: "licences", Description: "Seats: who takes one, since when, by which rule"},
		{Name: "coverage", Description: "How well things are protected, and why"},
		{Name: "retention", Description: "What is kept, and for how long"},
		{Name: "runs", Description: "What was done, what is under way"},
		{Name: "snapshots", Description: "Restore points and what is in them"},
		{Name: "restores", Description: "Bringing content back, and proving that it can be"},
		{Name: "tokens", Description: "Who may do what, and who did what"},
		{Name: "exports", Description: "Content as files to fetch"},
		{Name: "notices", Description: "Who is told what by mail"},
		{Name: "fleet", Description: "The processes and what holds them up"},
	}
	return cfg
}

// tenant is the gate of every operation on one tenant: the handle confines every
// statement to it, and an unknown tenant ends here.
func (s *service) tenant(ctx context.Context, id tenantry.TenantID) (*catalog.Tenant, catalog.TenantRow, error) {
	t := s.Catalog.Tenant(id)
	row, err := t.Get(ctx)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return nil, row, unknownTenant(id)
	}
	return t, row, err
}

// connected is the gate of operations that will ask Microsoft for something.
func (s *service) connected(ctx context.Context, id tenantry.TenantID) (*catalog.Tenant, error) {
	t, row, err := s.tenant(ctx, id)
	if err != nil {
		return nil, err
	}
	if row.State != tenantry.TenantConnected {
		return nil, notConnected(row)
	}
	return t, nil
}

// notConnected says what a tenant lacks: its first consent, or the one that it had.
func notConnected(row catalog.TenantRow) error {
	if row.State == tenantry.TenantPending && row.DirectoryID == "" && row.Reason == "" {
		return newProblem(tenantry.Reconnect, fmt.Sprintf(
			"the administrator of tenant %q has not consented yet: ask for a consent URL and send it", row.Name)).because(codeNeverConsented)
	}
	if row.DirectoryID == "" {
		return newProblem(tenantry.Reconnect, fmt.Sprintf(
			"tenant %q is %s (%s): it has not consented yet as it must; ask for a consent URL and send it", row.Name, row.State, row.Reason)).because(codeNeverConsented)
	}
	return newProblem(tenantry.Reconnect, fmt.Sprintf(
		"tenant %q is %s (%s): ask for a consent URL and have its administrator consent again", row.Name, row.State, row.Reason)).because(codeConsentLost)
}

// wake tells the leader that rows were written. The rows are what counts: the
// leader finds them by itself a little later, so a failure is logged, not returned.
func (s *service) wake(ctx context.Context) {
	if err := s.Catalog.Fleet().Wake(ctx); err != nil {
		s.Logger.Warn("wake the leader", zap.Error(err))
	}
}
