package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Config is what a server is built from. All but Tokens and Now is required.
type Config struct {
	Catalog *catalog.Catalog // on Postgres
	Regions Regions
	Redis   redis.UniversalClient // under an account that may manage accounts (ACL)
	Queue   queue.Options         // where that Redis is
	Welcome Welcome
	Tokens  Tokens           // nil: this process has no credential of the provider's applications
	Room    int64            // bytes of objects that requests hold at once, in equal shares of so many regions; 0: 128 MiB
	Places  int              // how many regions there are; 0: one
	Now     func() time.Time // nil: time.Now
	Log     *zap.Logger
}

// Regions are the buckets and the keys of the fleet's data regions. It is asked with every request about objects or keys, by many
// goroutines at once.
type Regions interface {
	// Store returns a region's bucket. Shared, with the code of what is missing: it cannot be reached now, or this program does not
	// know the region.
	Store(ctx context.Context, region string) (blob.Store, error)
	// Keys returns a region's keys, which its bucket is not needed for. Shared: this program does not know the region.
	Keys(region string) (repository.Keyring, error)
}

// Server is the door. Safe for concurrent use. Run keeps what it has given in line with the catalog.
type Server struct {
	cfg     Config
	mux     *http.ServeMux
	sql     catalog.Upstream
	redis   queue.Upstream
	tunnels tunnels
	users   users
	buckets buckets

	room *room

	mu    sync.Mutex
	known map[[sha256.Size]byte]access
}

// access is what a worker may do, as it stood a moment ago.
type access struct {
	catalog.RemoteWorker
	region  string // of its pool, and so of the tenants
	tenants map[tenantry.TenantID]bool
	until   time.Time
}

// New returns a server. Conflict with the code needs_postgres: the catalog is a SQLite file.
func New(cfg Config) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	sql, err := cfg.Catalog.Fleet().Upstream()
	if err != nil {
		return nil, err
	}
	at, err := cfg.Queue.Upstream()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, sql: sql, redis: at, known: map[[sha256.Size]byte]access{}, room: newRoom(cmp.Or(cfg.Room, usualRoom), cfg.Places)}
	s.users.applied = map[string]string{}
	s.mux = http.NewServeMux()
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request, access) error{
		"POST session": s.session, "POST rotate": s.rotate, "POST confirm": s.confirm,
		"POST wrap": s.wrap, "POST unwrap": s.unwrap, "POST token": s.token,
		"GET catalog": s.tunnelTo(s.dialCatalog), "GET redis": s.tunnelTo(s.dialRedis),
		"PUT object": s.putObject, "GET object": s.getObject, "GET stat": s.statObject, "DELETE object": s.deleteObject,
		"POST retain": s.retainObject, "GET list": s.listObjects, "GET folders": s.listFolders,
	} {
		method, name, _ := strings.Cut(pattern, " ")
		s.mux.HandleFunc(method+" "+Path+name, s.admitted(handle))
	}
	s.mux.HandleFunc("POST "+Path+"enrol", func(w http.ResponseWriter, r *http.Request) {
		if err := s.enrol(w, r); err != nil {
			s.refuse(w, r, err)
		}
	})
	return s, nil
}

// ServeHTTP implements http.Handler, for what lies under Path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.refuse(w, r, tenantry.Errorf(tenantry.NotFound, "there is nothing at %s for %s", r.URL.Path, r.Method))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// Known reports whether a request comes with the credential of a worker that is not revoked. Whoever serves the door bounds how often
// others may knock.
func (s *Server) Known(r *http.Request) bool {
	_, err := s.access(r)
	return err == nil
}

// admitted lets workers through, and tells errors.
func (s *Server) admitted(handle func(http.ResponseWriter, *http.Request, access) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		limit := shortTime
		if strings.HasSuffix(r.URL.Path, "/object") || strings.HasSuffix(r.URL.Path, "/list") || strings.HasSuffix(r.URL.Path, "/folders") {
			limit = objectTime
		}
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(limit)) // what cannot be set stays the server's own, shorter one
		_ = control.SetWriteDeadline(time.Now().Add(limit))
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		r = r.WithContext(ctx)
		a, err := s.access(r)
		if err == nil {
			err = handle(w, r, a)
		}
		if err != nil {
			s.refuse(w, r, err)
		}
	}
}

var errUnknown = tenantry.Errorf(tenantry.Unauthorized, "this worker is not known, or was revoked")

// access finds the worker whose credential a request brings: its ID, a dot, its secret.
func (s *Server) access(r *http.Request) (access, error) {
	id, secret, ok := credentialOf(r)
	if !ok {
		return access{}, errUnknown
	}
	digest := sha256.Sum256([]byte(id + "." + secret))
	s.mu.Lock()
	a, ok := s.known[digest]
	s.mu.Unlock()
	if ok && time.Now().Before(a.until) {
		return a, nil
	}
	a, err := s.look(r.Context(), id, secret)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, digest)
	if err != nil {
		return access{}, err
	}
	if len(s.known) >= accessesMax {
		clear(s.known)
	}
	s.known[digest] = a
	return a, nil
}

func credentialOf(r *http.Request) (id, secret string, ok bool) {
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	id, secret, _ = strings.Cut(credential, ".")
	return id, secret, strings.EqualFold(scheme, "Bearer") && len(credential) <= 256 && strings.HasPrefix(id, "w-") && secret != ""
}

// look asks the catalog. The first use of a worker's next secret makes it the only one.
func (s *Server) look(ctx context.Context, id, secret string) (access, error) {
	fleet, began := s.cfg.Catalog.Fleet(), time.Now()
	w, err := fleet.RemoteWorker(ctx, id)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return access{}, errUnknown
	}
	if err != nil {
		return access{}, err
	}
	hash := hashOf(secret)
	current, next := same(hash, w.Hash), same(hash, w.NextHash)
	if (!current && !next) || !w.RevokedAt.IsZero() {
		return access{}, errUnknown
	}
	if !current {
		if err := fleet.RotateWorker(ctx, id, hash, s.cfg.Now()); err != nil {
			return access{}, err
		}
		w.RotatedAt = s.cfg.Now()
	}
	region, err := fleet.PoolRegion(ctx, w.Pool)
	if err != nil {
		return access{}, err
	}
	tenants, err := fleet.PoolTenants(ctx, w.Pool)
	if err != nil {
		return access{}, err
	}
	a := access{RemoteWorker: w, region: region, tenants: make(map[tenantry.TenantID]bool, len(tenants)), until: began.Add(accessAge)}
	for _, t := range tenants {
		a.tenants[t] = true
	}
	return a, nil
}

// may returns Forbidden unless the tenant belongs to the worker's pool. What there is elsewhere shows in no answer.
func (a access) may(tenant tenantry.TenantID) error {
	if !a.tenants[tenant] {
		return tenantry.Errorf(tenantry.Forbidden, "%q is no tenant of the pool %s", tenant, a.Pool)
	}
	return nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// hashOf is what is kept of a secret of 256 random bits.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func freshSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(b)
}

var (
	machineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	hexHash     = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func (s *Server) enrol(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), shortTime)
	defer cancel()
	var in enrolRequest
	if err := decode(r, &in); err != nil {
		return err
	}
	switch {
	case in.Token == "" || len(in.Token) > 256:
		return tenantry.Errorf(tenantry.Invalid, "token: must be a token as `tenantry pools enrol` prints it")
	case !machineName.MatchString(in.Name):
		return tenantry.Errorf(tenantry.Invalid, "name: must be 1 to 100 letters, digits, dots, dashes and underscores")
	case !hexHash.MatchString(in.Hash):
		return tenantry.Errorf(tenantry.Invalid, "hash: must be a SHA-256 in hex")
	}
	fleet := s.cfg.Catalog.Fleet()
	joined, err := fleet.EnrolWorker(ctx, hashOf(in.Token), catalog.RemoteWorker{ID: catalog.NewWorkerID(), Pool: in.Pool, Name: in.Name, Hash: in.Hash}, s.cfg.Now())
	if err != nil {
		return err
	}
	if err := s.audit(r, joined, "enrol-worker", "", nil); err != nil {
		return err
	}
	s.cfg.Log.Info("a worker outside joined", zap.String("worker", joined.ID), zap.String("pool", joined.Pool))
	return answer(w, enrolAnswer{Worker: joined.ID, Pool: joined.Pool})
}

func (s *Server) audit(r *http.Request, w catalog.RemoteWorker, action string, tenant tenantry.TenantID, more map[string]string) error {
	source, _, _ := strings.Cut(r.RemoteAddr, "]")
	if i := strings.LastIndexByte(r.RemoteAddr, ':'); i > 0 && source == r.RemoteAddr {
		source = r.RemoteAddr[:i]
	}
	return s.cfg.Catalog.Fleet().Audit(r.Context(), catalog.AuditEntry{
		At: s.cfg.Now(), Actor: w.ID, Tenant: tenant, Action: action, Detail: detailOf(w.Pool, w.Name, more), Source: strings.TrimPrefix(source, "["),
	})
}

// session gives the worker fresh passwords for its accounts.
func (s *Server) session(w http.ResponseWriter, r *http.Request, a access) error {
	var in sessionRequest
	if err := decode(r, &in); err != nil {
		return err
	}
	if len(in.Version) > 100 {
		return tenantry.Errorf(tenantry.Invalid, "version: must have 100 characters at most")
	}
	store, err := s.cfg.Regions.Store(r.Context(), a.region) // before the passwords that the worker has are void
	if err != nil {
		return err
	}
	sql, rdb := freshSecret(), freshSecret()
	fleet := s.cfg.Catalog.Fleet()
	if err := fleet.Confine(r.Context(), a.Login, tenantry.NewSecret(sql)); err != nil {
		return err
	}
	if err := fleet.BeginSession(r.Context(), a.ID, in.Version, hashOf(rdb), s.cfg.Now()); err != nil {
		return err
	}
	fresh := a.RemoteWorker
	fresh.RedisHash = hashOf(rdb)
	if err := s.admitToRedis(r.Context(), fresh); err != nil {
		return err
	}
	if err := s.audit(r, a.RemoteWorker, "begin-worker-session", "", nil); err != nil {
		return err
	}
	out := Session{
		Welcome: s.cfg.Welcome, Pool: a.Pool, Region: a.region, Rotated: a.RotatedAt.Unix(), Lifetime: int64(rotateAfter / time.Second),
		Catalog: Account{User: a.Login, Password: sql, Database: s.sql.Database, TLS: s.sql.TLS},
		Redis:   Account{User: a.Login, Password: rdb, Database: s.redis.Database},
	}
	if locks, ok := store.(blob.Retainer); ok {
		out.Locks = &Locks{Mode: string(locks.Policy().Mode), For: locks.Policy().For}
	}
	return answer(w, out)
}

// rotate takes the hash of the worker's next secret.
func (s *Server) rotate(w http.ResponseWriter, r *http.Request, a access) error {
	var in rotateRequest
	if err := decode(r, &in); err != nil {
		return err
	}
	if !hexHash.MatchString(in.Hash) || same(in.Hash, a.Hash) {
		return tenantry.Errorf(tenantry.Invalid, "hash: must be a SHA-256 in hex, and not of the present secret")
	}
	if err := s.cfg.Catalog.Fleet().OfferCredential(r.Context(), a.ID, in.Hash); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// confirm does nothing: that the worker's credential was looked at is what it is for.
func (s *Server) confirm(w http.ResponseWriter, _ *http.Request, _ access) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) wrap(w http.ResponseWriter, r *http.Request, a access) error {
	return s.keyOf(w, r, a, func(ctx context.Context, keys repository.Keyring, t tenantry.TenantID, in wrapRequest) (out wrapAnswer, err error) {
		out.Key, out.KeyID, err = keys.Wrap(ctx, t, in.Key)
		return out, err
	})
}

func (s *Server) unwrap(w http.ResponseWriter, r *http.Request, a access) error {
	return s.keyOf(w, r, a, func(ctx context.Context, keys repository.Keyring, t tenantry.TenantID, in wrapRequest) (out wrapAnswer, err error) {
		out.Key, err = keys.Unwrap(ctx, t, in.KeyID, in.Key)
		return out, err
	})
}

func (s *Server) keyOf(w http.ResponseWriter, r *http.Request, a access, do func(context.Context, repository.Keyring, tenantry.TenantID, wrapRequest) (wrapAnswer, error)) error {
	var in wrapRequest
	if err := decode(r, &in); err != nil {
		return err
	}
	tenant := tenantry.TenantID(in.Tenant)
	if err := a.may(tenant); err != nil {
		return err
	}
	keys, err := s.cfg.Regions.Keys(a.region)
	if err != nil {
		return err
	}
	out, err := do(r.Context(), keys, tenant, in)
	if err != nil {
		return err
	}
	return answer(w, out)
}

// decode reads a small JSON body that has no field but those of v.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, smallBody+1))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return tenantry.Errorf(tenantry.Invalid, "body: is not the JSON that is expected")
	}
	if d.More() || d.InputOffset() > smallBody {
		return tenantry.Errorf(tenantry.Invalid, "body: is too long, or more than one value")
	}
	return nil
}

func answer(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return tenantry.E(tenantry.Internal, "answer a worker", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the worker is gone: nobody to tell
	return nil
}

// statuses are those of the kinds that workers are told; any other is 500 or, of what passes, 503.
var statuses = map[tenantry.Kind]int{
	tenantry.Invalid: http.StatusUnprocessableEntity, tenantry.Unauthorized: http.StatusUnauthorized, tenantry.Forbidden: http.StatusForbidden,
	tenantry.NotFound: http.StatusNotFound, tenantry.Conflict: http.StatusConflict, tenantry.Throttled: http.StatusTooManyRequests,
	tenantry.Denied: http.StatusConflict, tenantry.Reconnect: http.StatusConflict,
	tenantry.Shared: http.StatusServiceUnavailable, tenantry.Transient: http.StatusServiceUnavailable, tenantry.Canceled: http.StatusServiceUnavailable,
}

func failureOf(err error) failure {
	kind := tenantry.KindOf(err)
	f := failure{Title: "The door for workers refuses", Status: statuses[kind], Detail: err.Error(), Kind: string(kind), Code: tenantry.CodeOf(err)}
	if f.Status == 0 {
		f.Status = http.StatusInternalServerError
	}
	if kind == tenantry.Internal {
		f.Detail = "the cause is in the log of the API"
	}
	return f
}

// refuse answers with an error, and logs it if it is our fault: the one place that does.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	if f.Status >= 500 && r.Context().Err() == nil {
		s.cfg.Log.Warn("a worker's request failed", zap.String("path", r.URL.Path), zap.String("kind", f.Kind), zap.Error(err))
	}
	body, err := json.Marshal(f)
	if err != nil {
		http.Error(w, f.Title, f.Status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(f.Status)
	_, _ = w.Write(body) // the worker is gone: nobody to tell
}
