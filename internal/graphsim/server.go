package graphsim

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options says what a simulated Microsoft 365 is like. The zero value works: an
// application with the client ID and secret below is registered.
type Options struct {
	// Addr is where login and Graph listen; default "127.0.0.1:0". The port of
	// download and upload URLs is always a free one on the same host, unless
	// FilesAddr names it.
	Addr      string
	FilesAddr string
	// AdminAddr is where the control interface listens, for it is no part of
	// Microsoft 365: a loopback address, default "127.0.0.1:0".
	AdminAddr string
	// ProxyAddr, if any, is a loopback address for an HTTP proxy that answers as
	// graph.microsoft.com, login.microsoftonline.com and the download hosts.
	ProxyAddr string
	// ClientID and Secret are the registered multi-tenant application; defaults
	// DefaultClientID and DefaultSecret. CertificatePEM, if any, holds
	// certificates whose keys may sign client assertions instead of the secret.
	ClientID       string
	Secret         string
	CertificatePEM []byte
	// RedirectURI is the registered prefix for consent answers; "" accepts any
	// loopback address.
	RedirectURI string
	// Clock is how many times faster than the wall clock limits and links age;
	// default 1. Access tokens live that much shorter, but a minute of the wall clock at
	// least; timestamps keep to the wall clock.
	Clock float64
	// Limits in force; a zero field means the documented value.
	Limits Limits
	// TokenLife is how long access tokens live by the wall clock; default 60 to 90 minutes
	// of simulated time at random, and 28 hours for a client that declared the capability cp1.
	TokenLife time.Duration
	// ConsentDelay is how long after a consent the login host does not know of it
	// (AADSTS700016), RegistrationDelay how long a new application or service principal
	// is not found, both simulated. Neither is documented; default at once.
	ConsentDelay      time.Duration
	RegistrationDelay time.Duration
	// SubsitesInDelta lets the sites delta name subsites; whether it does is not
	// documented, and by default it does not.
	SubsitesInDelta bool
	// StrictBatchOrder allows one dependency per request of a batch and three shapes
	// (parallel, serial, all on the same one), as the documentation of 2021 did.
	StrictBatchOrder bool
	// TokenLoop is how many token requests of one client for one tenant are no loop
	// (AADSTS50196); the number is not documented. Default 1,000 in 5 minutes; negative:
	// any.
	TokenLoop Quota
	// LinkLife is how long pre-authenticated download URLs live; default 5 min.
	LinkLife time.Duration
	// Latency is how long a Graph request takes at least (wall clock); default none.
	Latency time.Duration
	// Cloud is the global one, or a national one with what that lacks.
	Cloud Cloud
	// Lenient is for foreign clients that work in the field although they do what
	// the documentation warns of: download and upload URLs then take requests that
	// carry a token ("401 possible"), and an upload session that names no conflict
	// behaviour replaces a file of its name (documented default: fail). rclone does
	// both. What comes through the proxy is from such clients, and always treated so
	// unless StrictProxy is set.
	Lenient     bool
	StrictProxy bool
	// PageSize bounds every page, whatever a client asks for; 0 means the
	// documented or usual size of each collection.
	PageSize int
	// Retention is how long deleted objects live on.
	Retention Retention
	// SharePoint is how sites and drives behave where it is not documented.
	SharePoint SharePointOptions
	// Exchange is how mailboxes behave where it is not documented.
	Exchange ExchangeOptions
	// Teams is how Teams behaves where it is not documented.
	Teams TeamsOptions
	// Seed decides everything generated.
	Seed int64
	// Corpus is a folder of real files: mail/*.eml, contacts/*.vcf, calendar/*.ics, which
	// the first mailbox of every tenant serves, and files, a folder that the same user's
	// drive serves under "Files", read when asked for. Files is another such folder.
	Corpus string
	Files  string
}

// The application that is registered when Options names none.
const (
	DefaultClientID = "5a1e7e00-0000-4000-8000-00000000c11e"
	DefaultSecret   = "graphsim-secret"
)

// Server is a running simulator. Safe for concurrent use.
type Server struct {
	o          Options
	seed       uint64
	started    time.Time
	advanced   atomic.Int64 // simulated nanoseconds, by Advance
	signingKey []byte
	tokenKey   *rsa.PrivateKey
	keyID      string // of the tokens of this server
	certs      []registeredCert
	limits     *limiter
	faults     faultSet
	stats      statsBook
	corpus     *corpus
	spill      string // folder of large uploads
	uploads    uploadBook
	moments    momentBook
	tokens     tokenCache
	devices    deviceBook
	sealed     atomic.Uint64 // continuation links made
	routes     *router

	graphAddr, filesAddr, adminAddr, proxyAddr string
	proxy                                      *connectProxy
	servers                                    []*http.Server
	serving                                    serving

	mu      sync.RWMutex
	tenants map[string]*Tenant // by ID and by domain
	order   []*Tenant
}

// serving is the goroutines of a server, and the context that ends with it.
type serving struct {
	sync.WaitGroup
	ctx  context.Context
	stop context.CancelFunc
}

// Start starts a simulator that serves until Close. Errors: an address that is in
// use, a certificate or a corpus that cannot be read, a number that makes no sense.
func Start(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Server{o: withDefaults(o), seed: mix(uint64(o.Seed)), started: time.Now(), tenants: map[string]*Tenant{}}
	s.serving.ctx, s.serving.stop = context.WithCancel(context.Background())
	s.signingKey = binary.LittleEndian.AppendUint64([]byte("graphsim"), s.seed)
	s.limits = newLimiter(s.o.Limits.withDefaults(), s.elapsed)
	s.routes = newRouter()
	s.routes.cloud, s.faults.cloud = s.o.Cloud, s.o.Cloud
	if err := s.o.Cloud.check(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func withDefaults(o Options) Options {
	setDefault(&o.Addr, "127.0.0.1:0")
	setDefault(&o.AdminAddr, "127.0.0.1:0")
	setDefault(&o.ClientID, DefaultClientID)
	setDefault(&o.Secret, DefaultSecret)
	setDefault(&o.Clock, 1)
	setDefault(&o.TokenLoop.Max, 1000)
	setDefault(&o.TokenLoop.Seconds, 300)
	setDefault(&o.LinkLife, 5*time.Minute)
	o.Retention = o.Retention.withDefaults()
	o.SharePoint = o.SharePoint.withDefaults()
	o.Exchange = o.Exchange.withDefaults()
	return o
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// processKey is what all servers of a process sign tokens with: to make one takes longer than
// all else at a start. Each server has a key ID of its own, and takes no other's tokens.
var processKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// load makes the keys and reads what the options name.
func (s *Server) load() (err error) {
	s.keyID = "graphsim-" + newID()
	if s.tokenKey, err = processKey(); err != nil {
		return fmt.Errorf("make token key: %w", err)
	}
	if s.certs, err = parseCertificates(s.o.CertificatePEM); err != nil {
		return err
	}
	if s.corpus, err = loadCorpus(s.o.Corpus, s.o.Files); err != nil {
		return err
	}
	if s.spill, err = os.MkdirTemp("", "graphsim-"); err != nil {
		return fmt.Errorf("make folder for uploads: %w", err)
	}
	return nil
}

func (s *Server) listen() error {
	first, err := s.serve(s.o.Addr, http.HandlerFunc(s.serveFront))
	if err != nil {
		return err
	}
	s.graphAddr = first
	addr := s.o.FilesAddr
	if addr == "" {
		host, _, _ := net.SplitHostPort(s.o.Addr)
		addr = net.JoinHostPort(host, "0")
	}
	if s.filesAddr, err = s.serve(addr, http.HandlerFunc(s.serveFiles)); err != nil {
		return err
	}
	if err := checkLoopback(s.o.AdminAddr); err != nil {
		return fmt.Errorf("control interface: %w", err)
	}
	if s.adminAddr, err = s.serve(s.o.AdminAddr, http.HandlerFunc(s.serveControl)); err != nil || s.o.ProxyAddr == "" {
		return err
	}
	return s.startProxy(s.o.ProxyAddr)
}

// checkLoopback refuses an address that other machines can reach.
func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s is not a loopback address", addr)
	}
	return nil
}

func (s *Server) serve(addr string, h http.Handler) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	s.serveListener(l, h)
	return l.Addr().String(), nil
}

func (s *Server) serveListener(l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second, ErrorLog: quiet}
	s.servers = append(s.servers, srv)
	s.serving.Go(func() { _ = srv.Serve(l) }) // ends with ErrServerClosed
}

// quiet is for what net/http would print of clients that misbehave: handshakes
// that fail, connections that faults have cut.
var quiet = log.New(io.Discard, "", 0)

// URL is the root of login and Graph, without /v1.0: "http://127.0.0.1:port".
func (s *Server) URL() string { return "http://" + s.graphAddr }

// FilesURL is the root of download and upload URLs.
func (s *Server) FilesURL() string { return "http://" + s.filesAddr }

// AdminURL is the root of the control interface, without /_sim.
func (s *Server) AdminURL() string { return "http://" + s.adminAddr }

// Close stops serving: requests get a second to end, then are cut. What clients
// wrote is lost.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var errs []error
	for _, srv := range s.servers {
		if srv.Shutdown(ctx) != nil {
			errs = append(errs, srv.Close())
		}
	}
	s.serving.stop()
	s.serving.Wait()
	if s.spill != "" {
		errs = append(errs, os.RemoveAll(s.spill))
	}
	return errors.Join(errs...)
}

// elapsed is the simulated time since the start.
func (s *Server) elapsed() time.Duration {
	return time.Duration(float64(time.Since(s.started))*s.o.Clock) + time.Duration(s.advanced.Load())
}

// Advance puts the simulated clock forward: windows of limits end, delta tokens
// and links grow old. Access tokens that were issued keep to the wall clock.
func (s *Server) Advance(d time.Duration) { s.advanced.Add(int64(max(0, d))) }

// realWait turns a simulated wait into one of the wall clock.
func (s *Server) realWait(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.o.Clock)
}

// serveFront sends a request of the first port to login or Graph.
func (s *Server) serveFront(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1.0/") || strings.HasPrefix(r.URL.Path, "/beta/") {
		s.serveGraph(w, r)
		return
	}
	s.serveLogin(w, r)
}

// Tenant returns a tenant by ID or domain, or nil.
func (s *Server) Tenant(id string) *Tenant {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tenants[strings.ToLower(id)]
}

// Tenants returns all tenants in the order they were added.
func (s *Server) Tenants() []*Tenant {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append([]*Tenant(nil), s.order...)
}

func (s *Server) addTenant(t *Tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tenants[strings.ToLower(t.id)] = t
	s.tenants[strings.ToLower(t.spec.Domain)] = t
	s.order = append(s.order, t)
}

// keep stores client-written bytes: small ones in memory, large ones on disk.
func (s *Server) keep(data []byte) (content, error) { return s.keepStream(bytes.NewReader(data)) }
