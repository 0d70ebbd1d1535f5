package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"
	"github.com/peterbourgon/ff/v3/ffyaml"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Role is which program of the fleet a process is.
type Role string

// The roles.
const (
	RoleAPI       Role = "api"
	RoleWorker    Role = "worker"
	RoleScheduler Role = "scheduler"
	RoleInit      Role = "init" // makes catalog, key file and a token, then ends
	RoleKeys      Role = "keys" // the key commands: bucket and keys, nothing else
)

// Config is the whole configuration of every program of the fleet. The same file
// serves all of them; each uses the keys of its role.
//
// A key is set, from strongest to weakest, by its flag (-redis), its environment
// variable (TENANTRY_REDIS), the YAML file named by -config, its default.
type Config struct {
	LogLevel string
	LogJSON  bool
	Listen   string

	Catalog     string
	Migrate     bool
	Redis       string
	Bucket      string
	LockMode    string
	LockFor     time.Duration
	KeyFile     string
	KMSFleet    string
	KMSRegion   string
	KMSEndpoint string
	Escrow      string

	Cloud        string
	GraphURL     string
	LoginURL     string
	ClientID     string
	ClientSecret tenantry.Secret
	Certificate  string
	LimitsFile   string

	ClientSecretEnds string

	FederatedTokenFile string
	Pool               string
	Identity           string // of a worker outside; "": none

	S3AccessKey   string
	S3SecretKey   tenantry.Secret
	Region        string
	RegionsFile   string
	DefaultRegion string
	TimeZone      string // of the region, "" UTC
	CloudsFile    string
	ServesClouds  string
	regions       map[string]Config // that RegionsFile names, by name
	clouds        map[string]Config // that CloudsFile names, by name

	PublicURL      string
	TLSCertificate string
	TLSKey         string
	GatewayMemory  int
	APIRate        float64

	OIDCIssuer         string
	OIDCClientID       string
	OIDCDeviceClientID string
	OIDCSecret         tenantry.Secret
	OIDCClaim          string
	OIDCGrants         string

	TracesEndpoint string
	TracesRatio    float64

	SlotsInteractive int
	SlotsDirectory   int
	SlotsBackup      int
	SlotsMaintenance int
	SliceTime        time.Duration
	SlicePages       int
	CheckpointBytes  int64
	CheckpointTime   time.Duration
	Concurrency      int
	DrainTime        time.Duration
	LeaseTime        time.Duration
	MassChange       float64
	KeepArchives     time.Duration
	RotateBefore     time.Duration
	RotateOverlap    time.Duration
	RotateSettle     time.Duration
	Memory           int // megabytes
	CacheDir         string
	CacheMB          int

	TenantCap int
	KeepTasks time.Duration

	SMTP         string // empty: no mails
	SMTPTLS      string
	SMTPCA       string
	SMTPUser     string
	SMTPPassword tenantry.Secret
	SMTPFrom     string
	SMTPName     string
	NoticesEvery time.Duration
}

// Load reads the configuration of a program from its arguments, the environment and
// the YAML file they name, and validates it. It returns flag.ErrHelp after it has
// printed the help on out, and an Invalid error that names every wrong key.
func Load(role Role, args []string, out io.Writer) (Config, error) {
	var c Config
	fs := c.flagSet(role)
	fs.SetOutput(io.Discard)
	err := ff.Parse(fs, args,
		ff.WithEnvVarPrefix("TENANTRY"),
		ff.WithConfigFileFlag("config"),
		ff.WithConfigFileParser(ffyaml.Parser),
	)
	if errors.Is(err, flag.ErrHelp) {
		printHelp(fs, role, out)
		return c, flag.ErrHelp
	}
	if err != nil {
		return c, tenantry.Errorf(tenantry.Invalid, "configuration: %w", err)
	}
	if fs.NArg() > 0 {
		return c, tenantry.Errorf(tenantry.Invalid, "configuration: unexpected argument %q: see -help", fs.Arg(0))
	}
	if err := c.readPlaces(); err != nil {
		return c, err
	}
	return c, c.Validate(role)
}

// Defaults returns the configuration with every key at its default.
func Defaults() Config {
	var c Config
	_ = c.flagSet(RoleWorker).Parse(nil)
	return c
}

func (c *Config) flagSet(role Role) *flag.FlagSet {
	fs := flag.NewFlagSet(string(role), flag.ContinueOnError)
	fs.String("config", "", "YAML `FILE` with any of these keys, one per line: \"redis: 127.0.0.1:6379\"")

	fs.StringVar(&c.LogLevel, "log-level", "info", "least severe `LEVEL` that is logged: debug, info, warn, error")
	fs.BoolVar(&c.LogJSON, "log-json", false, "log JSON lines instead of text")
	fs.StringVar(&c.Listen, "listen", defaultListen(role),
		"`ADDRESS` to serve on: the REST API (api), health and metrics (worker, scheduler)")

	fs.StringVar(&c.Catalog, "catalog", "sqlite:tenantry.db",
		"`DSN` of the catalog: sqlite:PATH (one machine) or postgres://USER:PASSWORD@HOST/DB (a fleet)")
	fs.BoolVar(&c.Migrate, "migrate", true, "bring the catalog's schema to what this release needs when a program starts; false: refuse an older one, because tenantry migrate is run apart")
	fs.StringVar(&c.Redis, "redis", "127.0.0.1:6379", "`ADDRESS` of Redis or Valkey: HOST:PORT or redis://USER:PASSWORD@HOST:PORT/DB")
	c.Bucket, c.LockFor, c.KeyFile = "file:backups", 30*24*time.Hour, "tenantry.keys"
	c.storageFlags(fs)
	fs.StringVar(&c.RegionsFile, "regions-file", "", "YAML `FILE` with further data regions, each with bucket, pool and what else differs there (api, worker)")
	fs.StringVar(&c.TimeZone, "time-zone", "", "`NAME` of the time zone of the data region default, as IANA has it: nights there are off-peak for tenants that have none of their own; empty: UTC (api)")
	fs.StringVar(&c.DefaultRegion, "default-region", "", "`NAME` of the data region of new tenants that name none; empty: default, whose bucket is bucket (api)")
	fs.StringVar(&c.Region, "region", "", "`NAME` of the data region whose tenants a worker works for, with that region's bucket and no other; empty: default (worker)")

	fs.StringVar(&c.Cloud, "cloud", "global", "Microsoft `CLOUD`: global, gcchigh, dod, china")
	c.cloudFlags(fs)
	fs.StringVar(&c.Identity, "identity", "", "`FILE` that worker enrol has written: this worker stands outside of the provider's network, and takes catalog, redis, bucket, keys, pool, client-id and cloud from the API that enrolled it (worker)")
	fs.StringVar(&c.CloudsFile, "clouds-file", "", "YAML `FILE` with further Microsoft clouds, each with the application that is registered there (api, worker, scheduler)")
	fs.StringVar(&c.ServesClouds, "serves-clouds", "", "`NAMES` of the Microsoft clouds whose tenants this worker serves, with commas between, empty: all that the fleet knows; it needs the credentials of those alone (worker)")
	fs.StringVar(&c.LimitsFile, "limits-file", "", "YAML or JSON `FILE` that overrides Graph's documented limits (api, worker, scheduler)")

	fs.StringVar(&c.PublicURL, "public-url", "http://127.0.0.1:8080", "`URL` under which browsers reach the API: consent comes back to it (api)")

	fs.IntVar(&c.GatewayMemory, "gateway-memory", 128, "`MEBIBYTES` of objects of workers outside that may pass at once, in equal shares of all data regions; beside them passes one larger object of up to 128 (api)")

	fs.StringVar(&c.TLSCertificate, "tls-certificate", "", "PEM `FILE` with the certificate to serve HTTPS with, read again when it changes; empty: plain HTTP, for loopback or a proxy with TLS (api)")
	fs.StringVar(&c.TLSKey, "tls-key", "", "PEM `FILE` with the key of tls-certificate (api)")
	fs.Float64Var(&c.APIRate, "api-rate", 100, "`REQUESTS` a second that one token may send; strangers may send far fewer; 0: any number (api)")

	fs.StringVar(&c.OIDCIssuer, "oidc-issuer", "", "`URL` of an OpenID Connect provider whose people may sign in, as its tokens name it; empty: none (api)")
	fs.StringVar(&c.OIDCClientID, "oidc-client-id", "", "`ID` of this fleet at the provider, which sends browsers back to public-url/login/callback (api)")
	fs.StringVar(&c.OIDCDeviceClientID, "oidc-device-client-id", "", "`ID` of this fleet at the provider for tenantry login, a public client with device codes; empty: oidc-client-id (api)")
	fs.Var((*secretFlag)(&c.OIDCSecret), "oidc-client-secret", "`SECRET` of this fleet at the provider, if it gave one; better in the environment or the file (api)")
	fs.StringVar(&c.OIDCClaim, "oidc-claim", "roles", "`NAME` of the claim of a token that says what somebody may, for example roles or groups (api)")
	fs.StringVar(&c.OIDCGrants, "oidc-grants", "", "what its values mean, as `VALUE=ROLE,...`; VALUE=ROLE@TENANT for one tenant; the first that somebody has counts (api)")

	fs.StringVar(&c.TracesEndpoint, "traces-endpoint", "", "`URL` of an OTLP receiver over HTTP, for example http://127.0.0.1:4318; empty: no traces (worker)")
	fs.Float64Var(&c.TracesRatio, "traces-ratio", 1, "`SHARE` of tasks whose traces are sent, above 0 and at most 1 (worker)")

	fs.StringVar(&c.Pool, "pool", "", "`NAME` of the pool of workers: it does the work of the tenants that belong to it, and of no other; empty: main, or that of region (worker)")
	fs.IntVar(&c.SlotsInteractive, "slots-interactive", 4, "`TASKS` of restores, run-now and connects at once (worker)")
	fs.IntVar(&c.SlotsDirectory, "slots-directory", 2, "directory syncs at once, in `TASKS` (worker)")
	fs.IntVar(&c.SlotsBackup, "slots-backup", 16, "backups at once, in `TASKS` (worker)")
	fs.IntVar(&c.SlotsMaintenance, "slots-maintenance", 2, "verifications and other upkeep at once, in `TASKS` (worker)")
	fs.IntVar(&c.SlicePages, "slice-pages", 1000, "how many `PAGES` a backup reads before it checkpoints and queues again (worker)")
	fs.DurationVar(&c.SliceTime, "slice-time", 2*time.Minute, "longest `TIME` a task holds its slot before it checkpoints and queues again (worker)")
	fs.Int64Var(&c.CheckpointBytes, "checkpoint-bytes", 32<<20, "new `BYTES` of packs after which a checkpoint is committed (worker)")
	fs.DurationVar(&c.CheckpointTime, "checkpoint-time", 5*time.Minute, "`TIME` after which a checkpoint is committed (worker)")
	fs.IntVar(&c.Concurrency, "concurrency", 3, "`REQUESTS` to one mailbox or drive at once; Graph allows 4 per mailbox (worker)")
	fs.Float64Var(&c.MassChange, "mass-change", 0.5, "`SHARE` of a snapshot's items, removed or changed since the one before, above which an alarm is raised with the backup and pruning is suspended; 0: never (worker)")
	fs.DurationVar(&c.RotateBefore, "rotate-before", 60*24*time.Hour, "`TIME` before its end at which a certificate that a registration made is rotated (worker)")
	fs.DurationVar(&c.RotateOverlap, "rotate-overlap", 7*24*time.Hour, "`TIME` for which the old certificate stays beside the new one (worker)")
	fs.DurationVar(&c.RotateSettle, "rotate-settle", 5*time.Minute, "`TIME` between the two times that Microsoft has to have taken a new certificate before it is used (worker)")
	fs.DurationVar(&c.KeepArchives, "keep-archives", 7*24*time.Hour, "`TIME` for which what an export made, or a search found, can be fetched (worker; the api tells it)")
	fs.IntVar(&c.Memory, "memory", 240, "`MEGABYTES` above which the worker trades CPU for memory, unless GOMEMLIMIT says another number; 0: never (worker)")
	fs.StringVar(&c.CacheDir, "cache-dir", "", "`DIR` in which index objects of the bucket are kept, encrypted as they are there, so that they are not read from it again; it may be deleted at any time; empty: none (api, worker)")
	fs.IntVar(&c.CacheMB, "cache-mb", 512, "`MEGABYTES` that cache-dir may take, 72 or more; each further process that shares it may take an eighth more (api, worker)")
	fs.DurationVar(&c.LeaseTime, "lease-time", 20*time.Second, "`TIME` after which a worker that was not heard of counts as dead, and its tasks go on elsewhere (worker)")
	fs.DurationVar(&c.DrainTime, "drain-time", 30*time.Second, "`TIME` that running slices get to checkpoint when the process is told to stop (worker)")

	fs.IntVar(&c.TenantCap, "tenant-cap", 0, "most `TASKS` of one tenant in flight in one queue; 0: half of its slots, at least 4 (scheduler)")
	fs.DurationVar(&c.KeepTasks, "keep-tasks", 90*24*time.Hour, "`TIME` that ended tasks stay in the catalog (scheduler)")

	fs.StringVar(&c.SMTP, "smtp", "", "`ADDRESS` of the mail server that sends reports and notices, HOST:PORT; empty: no mails (scheduler)")
	fs.StringVar(&c.SMTPTLS, "smtp-tls", "starttls", "`MODE` of encryption: starttls (required before anything else is said), implicit (port 465), none (a relay on this host alone) (scheduler)")
	fs.StringVar(&c.SMTPCA, "smtp-ca", "", "PEM `FILE` with the authorities that the mail server's certificate may come from; empty: those of the system (scheduler)")
	fs.StringVar(&c.SMTPUser, "smtp-user", "", "`NAME` to sign in with at the mail server; empty: no sign-in (scheduler)")
	fs.Var((*secretFlag)(&c.SMTPPassword), "smtp-password", "`PASSWORD` of smtp-user; better in the environment or the file than on the command line (scheduler)")
	fs.StringVar(&c.SMTPFrom, "smtp-from", "", "mail `ADDRESS` that mails come from (scheduler)")
	fs.StringVar(&c.SMTPName, "smtp-name", "Tenantry", "`NAME` shown beside that address (scheduler)")
	fs.DurationVar(&c.NoticesEvery, "notices-every", 10*time.Second, "`TIME` between two looks at what there is to tell (scheduler)")
	return fs
}

// minCacheMB is the least with which an eighth of the cache holds the largest segment of an index.
const minCacheMB = 72

func defaultListen(role Role) string {
	switch role {
	case RoleWorker:
		return "127.0.0.1:8081"
	case RoleScheduler:
		return "127.0.0.1:8082"
	}
	return "127.0.0.1:8080"
}

// secretFlag keeps the value of a secret out of help and errors.
type secretFlag tenantry.Secret

func (s *secretFlag) String() string { return "" }

func (s *secretFlag) Set(v string) error {
	*s = secretFlag(tenantry.NewSecret(v))
	return nil
}

// Validate checks the keys that the role uses and names each that is wrong.
func (c Config) Validate(role Role) error {
	var wrong []string
	bad := func(key, value, may string) {
		wrong = append(wrong, fmt.Sprintf("%s is %q; it may be %s", key, value, may))
	}
	if !oneOf(c.LogLevel, "debug", "info", "warn", "error") {
		bad("log-level", c.LogLevel, "debug, info, warn or error")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen", c.Listen, "HOST:PORT, for example 127.0.0.1:8080")
	}
	if !hasPrefix(c.Catalog, "sqlite:", "postgres://", "postgresql://") {
		bad("catalog", redactURL(c.Catalog), "sqlite:PATH or postgres://USER:PASSWORD@HOST/DB")
	}
	if _, _, err := net.SplitHostPort(c.Redis); err != nil && !hasPrefix(c.Redis, "redis://", "rediss://") {
		bad("redis", redactURL(c.Redis), "HOST:PORT or redis://USER:PASSWORD@HOST:PORT/DB")
	}
	if ofRegion := c.Region != "" && c.Region != catalog.DefaultRegion; role == RoleAPI || role == RoleKeys || (role == RoleWorker && !ofRegion) {
		c.validateStorage(bad)
	}
	if role == RoleAPI || role == RoleWorker {
		c.validateGraph(bad)
	}
	if role == RoleAPI {
		validateZone(c.TimeZone, bad)
	}
	if role != RoleInit {
		c.validatePlaces(role, bad)
	}
	if outside := role == RoleWorker && c.Identity != ""; role != RoleInit && role != RoleKeys && c.ClientID == "" && !outside {
		bad("client-id", "", "the application (client) ID that Entra shows")
	}
	if role != RoleScheduler && c.KeyFile == "" && c.KMSFleet == "" {
		bad("key-file", "", "the path of a file, unless kms-fleet is given")
	}
	if role == RoleAPI {
		if !webURL(c.PublicURL) {
			bad("public-url", c.PublicURL, "an http or https URL")
		}
		if (c.TLSCertificate == "") != (c.TLSKey == "") {
			bad("tls-key", c.TLSKey, "the key's file where tls-certificate is given, and empty where it is not")
		}
		atLeast(bad, "gateway-memory", c.GatewayMemory, 16)
		if c.APIRate < 0 || (c.APIRate > 0 && c.APIRate < 1) {
			bad("api-rate", fmt.Sprint(c.APIRate), "0 or at least 1")
		}
	}
	if role == RoleWorker {
		c.validateWorker(bad)
	}
	if role == RoleWorker || role == RoleAPI {
		atLeast(bad, "cache-mb", c.CacheMB, minCacheMB)
	}
	if role == RoleScheduler {
		atLeast(bad, "tenant-cap", c.TenantCap, 0)
		if c.KeepTasks < 24*time.Hour {
			bad("keep-tasks", c.KeepTasks.String(), "24h or more")
		}
		c.validateMail(bad)
	}
	if len(wrong) == 0 {
		return nil
	}
	sort.Strings(wrong)
	return tenantry.Errorf(tenantry.Invalid, "configuration: %s", strings.Join(wrong, "; "))
}

// credential reports whether there is one of the provider's application.
func (c Config) credential() bool {
	return !c.ClientSecret.IsZero() || c.Certificate != "" || c.FederatedTokenFile != ""
}

var poolName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

type complain func(key, value, may string)

func (c Config) validateStorage(bad complain) {
	if !hasPrefix(c.Bucket, "file:", "s3://") {
		bad("bucket", redactURL(c.Bucket), "file:FOLDER or s3://BUCKET/PREFIX?endpoint=URL&region=NAME")
	}
	if (c.S3AccessKey == "") != c.S3SecretKey.IsZero() {
		bad("s3-secret-key", "(hidden)", "given together with s3-access-key, or not at all")
	}
	if !oneOf(c.LockMode, "", "governance", "compliance") {
		bad("lock-mode", c.LockMode, "empty, governance or compliance")
	}
	if c.LockMode != "" {
		if !hasPrefix(c.Bucket, "s3://") {
			bad("lock-mode", c.LockMode, "empty where bucket is a folder: a folder cannot lock objects")
		}
		if c.LockFor < 24*time.Hour || c.LockFor > 100*365*24*time.Hour {
			bad("lock-for", c.LockFor.String(), "24h to 100 years")
		}
	}
}

func (c Config) validateGraph(bad complain) {
	if !oneOf(c.Cloud, "global", "gcchigh", "dod", "china") {
		bad("cloud", c.Cloud, "global, gcchigh, dod or china")
	}
	for key, value := range map[string]string{"graph-url": c.GraphURL, "login-url": c.LoginURL} {
		if value != "" && !webURL(value) {
			bad(key, value, "empty or an http or https URL")
		}
	}
}

func (c Config) validateWorker(bad complain) {
	if c.Region == "" || c.Region == catalog.DefaultRegion {
		c.validateEscrow(bad)
	}
	if c.TracesEndpoint != "" && !webURL(c.TracesEndpoint) {
		bad("traces-endpoint", redactURL(c.TracesEndpoint), "empty or the http or https URL of an OTLP receiver")
	}
	if !(c.TracesRatio > 0 && c.TracesRatio <= 1) {
		bad("traces-ratio", fmt.Sprint(c.TracesRatio), "a share above 0 and at most 1")
	}
	if c.serves(c.Cloud) {
		c.validateCredential(bad)
	}
	if c.Pool != "" && !poolName.MatchString(c.Pool) {
		bad("pool", c.Pool, "main, or a name of lower-case letters, digits and dashes, at most 40")
	}
	if c.LeaseTime < 5*time.Second || c.LeaseTime > 5*time.Minute {
		bad("lease-time", c.LeaseTime.String(), "5s to 5m")
	}
	atLeast(bad, "slots-interactive", c.SlotsInteractive, 1)
	atLeast(bad, "slots-directory", c.SlotsDirectory, 1)
	atLeast(bad, "slots-backup", c.SlotsBackup, 1)
	atLeast(bad, "slots-maintenance", c.SlotsMaintenance, 1)
	atLeast(bad, "memory", c.Memory, 0)
	atLeast(bad, "concurrency", c.Concurrency, 1)
	if c.Concurrency > 4 {
		bad("concurrency", fmt.Sprint(c.Concurrency), "1 to 4: Graph allows 4 requests to a mailbox at once")
	}
	atLeast(bad, "slice-pages", c.SlicePages, 1)
	if c.SliceTime < time.Second || c.SliceTime > time.Hour {
		bad("slice-time", c.SliceTime.String(), "1s to 1h")
	}
	if c.CheckpointBytes < 64<<10 {
		bad("checkpoint-bytes", fmt.Sprint(c.CheckpointBytes), "65536 or more")
	}
	if c.CheckpointTime < time.Second || c.CheckpointTime > time.Hour {
		bad("checkpoint-time", c.CheckpointTime.String(), "1s to 1h")
	}
	if c.RotateBefore < 24*time.Hour || c.RotateBefore > 180*24*time.Hour {
		bad("rotate-before", c.RotateBefore.String(), "24h to 4320h (180 days): a certificate is good for a year")
	}
	if c.RotateOverlap < time.Second || c.RotateOverlap > 30*24*time.Hour {
		bad("rotate-overlap", c.RotateOverlap.String(), "1s to 720h (30 days)")
	}
	if c.RotateSettle < time.Second || c.RotateSettle > time.Hour {
		bad("rotate-settle", c.RotateSettle.String(), "1s to 1h")
	}
	if c.DrainTime < time.Second {
		bad("drain-time", c.DrainTime.String(), "1s or more")
	}
}

func (c Config) validateEscrow(bad complain) {
	if c.Escrow == "" && hasPrefix(c.Bucket, "s3://") && c.Identity == "" {
		bad("escrow", "", "the receipt that `tenantry keys check-escrow` writes, because without a tested copy of its keys "+
			"no backup outlives the loss of them; or none, to run without one")
	}
}

// validateCredential checks what a worker proves to be the application by.
func (c Config) validateCredential(bad complain) {
	// A federated token may stand beside them: tenants' own applications may be proved by it.
	if both := !c.ClientSecret.IsZero() && c.Certificate != ""; both || (!c.credential() && c.Identity == "") {
		wrong := map[bool]string{true: "(not set)", false: "(set)"}[c.ClientSecret.IsZero()]
		bad("client-secret", wrong, "a secret if certificate is empty, and empty if certificate names a PEM file: exactly one of the two, unless federated-token-file stands for both")
	}
	if _, err := secretEnds(c.ClientSecretEnds); c.ClientSecretEnds != "" && err != nil {
		bad("client-secret-ends", c.ClientSecretEnds, "empty or a day such as 2027-01-31")
	}
	if c.Certificate != "" {
		if _, err := os.Stat(c.Certificate); err != nil {
			bad("certificate", c.Certificate, "the path of a readable PEM file")
		}
	}
}

func atLeast(bad complain, key string, value, least int) {
	if value < least {
		bad(key, fmt.Sprint(value), fmt.Sprintf("%d or more", least))
	}
}

func oneOf(value string, allowed ...string) bool {
	for _, a := range allowed {
		if value == a {
			return true
		}
	}
	return false
}

func hasPrefix(value string, prefixes ...string) bool {
	for _, p := range prefixes {
		if len(value) > len(p) && strings.HasPrefix(value, p) {
			return true
		}
	}
	return false
}

func webURL(value string) bool {
	u, err := url.Parse(value)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// redactURL keeps passwords out of errors and logs.
func redactURL(value string) string {
	if u, err := url.Parse(value); err == nil {
		return u.Redacted()
	}
	return "(not a URL)"
}

func printHelp(fs *flag.FlagSet, role Role, out io.Writer) {
	_, _ = fmt.Fprintf(out, "%s: a program of the Tenantry fleet\n\n", role)
	_, _ = fmt.Fprintf(out, "Every key can be given as a flag, as an environment variable, or in the YAML file named by -config,\nin this order of strength.\n\n")
	fs.VisitAll(func(f *flag.Flag) {
		name, usage := flag.UnquoteUsage(f)
		env := "TENANTRY_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		_, _ = fmt.Fprintf(out, "  -%s %s\n        %s\n        environment: %s", f.Name, name, usage, env)
		if f.DefValue != "" {
			_, _ = fmt.Fprintf(out, "; default: %s", f.DefValue)
		}
		_, _ = fmt.Fprintln(out)
	})
}
