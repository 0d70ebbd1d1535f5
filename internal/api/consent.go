package api

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// consentLife is how long an administrator has to consent.
const consentLife = time.Hour

// callbackPath is where Microsoft sends the administrator's browser back. It must
// be registered as a redirect URI of the application.
const callbackPath = "/v1/consent/callback"

// callbackLimit bounds how many callbacks are at work at once: anybody can send
// them, and each is a write to SQL.
const callbackLimit = 4

// callbackActor is who the audit log names for what an administrator's browser did.
const callbackActor = "consent-callback"

// reasonMax bounds what Microsoft's error text may add to a row, in characters.
const reasonMax = 500

var (
	guidPattern   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	domainPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$`)
)

// ConsentLink is where an administrator of the tenant consents.
type ConsentLink struct {
	URL     string    `json:"url" doc:"Give it to an administrator of the tenant. It works once."`
	Expires time.Time `json:"expires" doc:"After that, ask for a new one"`
	// Permissions is everything the application may ask for: Microsoft's page shows names alone.
	Permissions []PermissionGrant `json:"permissions" nullable:"false" doc:"What the application asks for, by workload and purpose, and what of it was granted already"`
}

// AskConsent is what a consent is asked for.
type AskConsent struct {
	Purpose tenantry.Purpose `json:"purpose,omitempty" enum:"backup,restore" default:"backup" example:"backup" doc:"restore: to the second application, which may write"`
}

type consentInput struct {
	TenantPath
	Body *AskConsent
}

func (in *consentInput) purpose() tenantry.Purpose {
	if in.Body == nil || in.Body.Purpose == "" {
		return tenantry.ToBackup
	}
	return in.Body.Purpose
}

func (in *consentInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.purpose() }

// startConsent answers a URL for the administrator and keeps the hash of its state.
func (s *service) startConsent(ctx context.Context, in *consentInput) (*body[ConsentLink], error) {
	if s.Consent == nil {
		return nil, tenantry.Errorf(tenantry.Shared, "this API is not told which Microsoft application asks for consent")
	}
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	link, err := s.consentLink(ctx, t, row, in.purpose())
	return &body[ConsentLink]{link}, err
}

// consentLink makes a one-time link.
func (s *service) consentLink(ctx context.Context, t *catalog.Tenant, row catalog.TenantRow, purpose tenantry.Purpose) (ConsentLink, error) {
	client, err := s.clientOf(ctx, t, row, purpose)
	if err != nil {
		return ConsentLink{}, err
	}
	state, err := s.newState(ctx)
	if err != nil {
		return ConsentLink{}, err
	}
	expires := s.Now().Add(consentLife).UTC()
	link, err := s.Consent.URL(cmp.Or(row.Cloud, s.Places.Cloud), client, expected(row), state, s.public.String()+callbackPath)
	if err != nil {
		return ConsentLink{}, err
	}
	if err := t.StartConsent(ctx, HashToken(state), expires); err != nil {
		return ConsentLink{}, err
	}
	return ConsentLink{URL: link, Expires: expires, Permissions: grants(tenantry.Permissions(), row.Roles)}, nil
}

// newState returns a fresh state: 32 random bytes and their signature.
func (s *service) newState(ctx context.Context) (string, error) {
	key, err := s.stateKey(ctx)
	if err != nil {
		return "", err
	}
	nonce := randomText()
	return nonce + "." + sign(key, nonce), nil
}

// signed reports whether the fleet made the state. It looks nothing up that depends on it.
func (s *service) signed(ctx context.Context, state string) (bool, error) {
	key, err := s.stateKey(ctx)
	if err != nil {
		return false, err
	}
	nonce, signature, _ := strings.Cut(state, ".")
	return hmac.Equal([]byte(signature), []byte(sign(key, nonce))), nil
}

// stateKey is the secret that signs states.
func (s *service) stateKey(ctx context.Context) (tenantry.Secret, error) {
	return s.consentKey.read(ctx, s.Catalog.Fleet().Secret)
}

// fleetKey is a secret of the fleet, so that any api process knows what another has signed; it is read once. It is
// safe for concurrent use.
type fleetKey struct {
	name string
	is   atomic.Pointer[tenantry.Secret]
}

// read returns the key, which is zero where it was only looked for.
func (k *fleetKey) read(ctx context.Context, from func(context.Context, string) (tenantry.Secret, error)) (tenantry.Secret, error) {
	if key := k.is.Load(); key != nil {
		return *key, nil
	}
	key, err := from(ctx, k.name)
	if err == nil && !key.IsZero() {
		k.is.Store(&key)
	}
	return key, err
}

// sign returns the HMAC-SHA256 of a nonce in base64url.
func sign(key tenantry.Secret, nonce string) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	_, _ = mac.Write([]byte("tenantry consent state v1 " + nonce)) // a hash never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// expected is the Microsoft tenant that must consent: the proved one, else as added.
func expected(row catalog.TenantRow) string {
	if row.DirectoryID != "" {
		return row.DirectoryID
	}
	return row.Directory
}

// answer is what Microsoft put into the redirect. None of it is proved.
type answer struct {
	state, directory, granted, code, description string
}

func readAnswer(r *http.Request) answer {
	q := r.URL.Query()
	return answer{
		state: q.Get("state"), directory: strings.ToLower(q.Get("tenant")), granted: q.Get("admin_consent"),
		code: printable(q.Get("error")), description: printable(q.Get("error_description")),
	}
}

// refusal reports whether a person said no, in contrast to a failure. The codes:
// graph/auth.md section 2 (permission_denied) and graph/registration.md section 5
// (consent_required with AADSTS65004).
func (a answer) refusal() bool {
	return a.code == "permission_denied" || a.code == "access_denied" ||
		(a.code == "consent_required" && strings.Contains(a.description, "AADSTS65004"))
}

// consentCallback registers the only open route that writes. HEAD is refused:
// scanners of links must not burn a state.
func (s *service) consentCallback(mux *http.ServeMux) {
	mux.HandleFunc("GET "+callbackPath, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		status, p := s.admitted(r.Context(), readAnswer(r))
		s.page(w, status, "consent.html", p)
	})
}

// admitted waits until few enough callbacks are at work.
func (s *service) admitted(ctx context.Context, a answer) (int, page) {
	select {
	case s.callbacks <- struct{}{}:
		defer func() { <-s.callbacks }()
		return s.callback(ctx, a)
	case <-ctx.Done():
		return s.broken(tenantry.E(tenantry.KindOf(ctx.Err()), "wait for other consent callbacks", ctx.Err()), catalog.TenantRow{}, answer{})
	}
}

// callback checks the signature, burns the state, then decides what the answer means.
func (s *service) callback(ctx context.Context, a answer) (int, page) {
	if a.state == "" || len(a.state) > tokenMax {
		return failed(http.StatusBadRequest, "This address is not complete.", catalog.TenantRow{}, answer{})
	}
	ours, err := s.signed(ctx, a.state)
	if err != nil {
		return s.broken(err, catalog.TenantRow{}, answer{})
	}
	if !ours {
		return failed(http.StatusBadRequest, "This consent link was not made here, or was changed on its way. Nothing was changed.",
			catalog.TenantRow{}, answer{})
	}
	id, err := s.Catalog.Fleet().UseConsent(ctx, HashToken(a.state), s.Now())
	if tenantry.KindOf(err) == tenantry.NotFound {
		return failed(http.StatusGone, "This consent link was used before or has expired. Nothing was changed.",
			catalog.TenantRow{}, answer{})
	}
	if err != nil {
		return s.broken(err, catalog.TenantRow{}, a)
	}
	t, row, err := s.tenant(ctx, id)
	if err != nil {
		return s.broken(err, row, a)
	}
	if reason := a.objection(row); reason != "" {
		return s.refused(ctx, t, row, a, reason)
	}
	return s.granted(ctx, t, row, a)
}

// objection says why the answer is not a consent of the expected tenant, "" if it
// is. The error comes first: a refusal may carry admin_consent=True as well
// (graph/registration.md section 5). A domain is compared by the worker, which
// can ask what it stands for.
func (a answer) objection(row catalog.TenantRow) string {
	want := expected(row)
	switch {
	case a.refusal():
		return "The administrator declined the consent."
	case a.code != "":
		return strings.TrimSpace("Microsoft answered " + a.code + ": " + a.description)
	case !strings.EqualFold(a.granted, "true"):
		return "Microsoft's answer does not say that consent was given."
	case !guidPattern.MatchString(a.directory):
		return "Microsoft's answer does not name the tenant that consented."
	case guidPattern.MatchString(want) && !strings.EqualFold(want, a.directory):
		return "The wrong Microsoft tenant consented: expected " + want + ", but " + a.directory + " answered."
	}
	return ""
}

// refused records why a tenant is not connected. A tenant that is connected, or
// was, keeps its state: an unproved answer of a browser takes nothing away.
func (s *service) refused(ctx context.Context, t *catalog.Tenant, row catalog.TenantRow, a answer, reason string) (int, page) {
	if err := s.audit(ctx, caller{name: callbackActor}, row.ID, "consent-refused", reason); err != nil {
		return s.broken(err, row, a)
	}
	if row.State == tenantry.TenantPending || row.State == tenantry.TenantRefused {
		if err := t.SetState(ctx, tenantry.TenantRefused, reason); err != nil {
			return s.broken(err, row, a)
		}
	}
	status := http.StatusConflict
	if a.refusal() {
		status = http.StatusOK // the redirect worked; a person decided
	}
	return failed(status, reason, row, a)
}

// granted enqueues the task that proves the consent.
func (s *service) granted(ctx context.Context, t *catalog.Tenant, row catalog.TenantRow, a answer) (int, page) {
	params, err := json.Marshal(tenantry.ConnectRequest{Directory: a.directory})
	if err != nil {
		return s.broken(err, row, a)
	}
	if err := s.audit(ctx, caller{name: callbackActor}, row.ID, "consent-granted", a.directory); err != nil {
		return s.broken(err, row, a)
	}
	task := catalog.NewTask{Action: tenantry.Connect, Params: params}
	if _, err := t.StartRun(ctx, tenantry.Connect, catalog.TriggerManual, "", []catalog.NewTask{task}, s.Now()); err != nil {
		return s.broken(err, row, a)
	}
	s.wake(ctx)
	return http.StatusOK, page{
		Title: "Consent received",
		Text:  "Thank you. The connection to your Microsoft 365 tenant is being checked now; this takes up to a few minutes.",
		Facts: facts(row, a),
		Next:  []string{"You can close this page.", "Your backup provider sees when the connection is proved, and starts the protection."},
	}
}

// broken is the page for a fault on our side.
func (s *service) broken(err error, row catalog.TenantRow, a answer) (int, page) {
	p := s.problem("consent-callback", err)
	return failed(p.Status, "The consent could not be recorded because of a fault on our side.", row, a)
}

func failed(status int, text string, row catalog.TenantRow, a answer) (int, page) {
	title := "The consent did not succeed"
	if a.refusal() {
		title = "The consent was declined"
	}
	return status, page{
		Title: title, Failure: true, Text: text, Facts: facts(row, a),
		Next: []string{
			"Ask your backup provider for a new consent link: each one works once, for one hour.",
			"Open it signed in as an administrator of the Microsoft 365 tenant that is to be protected.",
		},
	}
}

// facts names both sides: whom we expected and who answered.
func facts(row catalog.TenantRow, a answer) []fact {
	var list []fact
	for _, f := range []fact{
		{"Customer", row.Name},
		{"Expected Microsoft tenant", expected(row)},
		{"Microsoft tenant that answered", printable(a.directory)},
		{"Microsoft's error", a.code},
		{"Microsoft's explanation", a.description},
	} {
		if f.Value != "" {
			list = append(list, f)
		}
	}
	return list
}

// printable drops control characters from foreign text and bounds it.
func printable(text string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == ' ' {
			return r
		}
		return ' '
	}, text))
	if len(runes) > reasonMax {
		runes = append(runes[:reasonMax:reasonMax], '…')
	}
	return strings.TrimSpace(string(runes))
}
