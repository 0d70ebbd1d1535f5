package app

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// noEscrow is the value of the key escrow that runs without one.
const noEscrow = "none"

// Vault is a bucket and the keys of what is in it.
type Vault struct {
	Store blob.Store
	Keys  repository.KeyManager
}

// OpenVault opens bucket and keys as the configuration says. The bucket has to prove what
// is asked of it (see blob.Open); a key file that is not there is made.
func OpenVault(ctx context.Context, cfg Config) (*Vault, error) {
	store, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	keys, err := openKeys(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Vault{Store: store, Keys: keys}, nil
}

func openStore(ctx context.Context, cfg Config) (blob.Store, error) {
	return blob.Open(ctx, cfg.Bucket, cfg.storeOptions())
}

// storeOptions are what the configuration says about the bucket beside its URL.
func (c Config) storeOptions() blob.S3Options {
	o := blob.S3Options{AccessKey: c.S3AccessKey, SecretKey: c.S3SecretKey}
	if c.LockMode != "" {
		o.Lock = blob.LockPolicy{Mode: blob.LockMode(c.LockMode), For: c.LockFor}
	}
	return o
}

func openKeys(ctx context.Context, cfg Config) (repository.KeyManager, error) {
	if cfg.KMSFleet != "" {
		return repository.OpenKMS(ctx, repository.KMSOptions{Fleet: cfg.KMSFleet, Region: cfg.KMSRegion, Endpoint: cfg.KMSEndpoint})
	}
	return repository.OpenKeyFile(cfg.KeyFile, true)
}

// readReceipt reads what a check of an escrow copy has written; nil where none is wanted.
func readReceipt(file string) (*repository.EscrowReceipt, error) {
	if file == "" || file == noEscrow {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	var receipt repository.EscrowReceipt
	if err == nil {
		err = json.Unmarshal(text, &receipt)
	}
	if err != nil || receipt.Checked.IsZero() {
		return nil, tenantry.Errorf(tenantry.Invalid, "configuration: escrow is %q; it may be the receipt that `tenantry keys check-escrow` writes, or none: %w", file, err)
	}
	return &receipt, nil
}

const (
	// keyCheckEvery is how often every tenant's key is unwrapped.
	keyCheckEvery = 24 * time.Hour
	// keyCheckTime bounds one round, keyCheckOne one tenant.
	keyCheckTime = 6 * time.Hour
	keyCheckOne  = 2 * time.Minute
	// keyCheckAgain is how often those are tried that did not open: until their entry was put back.
	keyCheckAgain = time.Minute
	// escrowAge is how old the test of an escrow copy may be.
	escrowAge = 180 * 24 * time.Hour
)

// keyAlarms keeps the alarms about keys where everybody sees them: the catalog.
type keyAlarms struct{ cat *catalog.Catalog }

// raise notes a tenant's key that does not open. One that only the bucket knows has nobody to tell.
func (a keyAlarms) raise(ctx context.Context, tenant tenantry.TenantID, cause error) error {
	err := a.cat.Tenant(tenant).RaiseAlarm(ctx, catalog.AlarmKey, "", cause.Error(), time.Now())
	if tenantry.KindOf(err) == tenantry.NotFound {
		return nil
	}
	return err
}

func (a keyAlarms) clear(ctx context.Context, tenant tenantry.TenantID) error {
	return a.cat.Tenant(tenant).ClearAlarm(ctx, catalog.AlarmKey, "")
}

// raised lists the tenants with an alarm: at most 1000, which is as far as one look goes.
func (a keyAlarms) raised(ctx context.Context) ([]tenantry.TenantID, error) {
	rows, err := a.cat.Fleet().TenantAlarms(ctx, catalog.AlarmKey, "", 1000)
	out := make([]tenantry.TenantID, len(rows))
	for i, row := range rows {
		out[i] = row.Tenant
	}
	return out, err
}

// keyGuard unwraps every tenant's key once a day and tells of each that does not open, and
// of tenants whose keys no tested escrow copy holds. Every worker process does so: a key
// may be out of reach for one of them alone.
type keyGuard struct {
	repos   *repositories
	alarms  keyAlarms
	receipt *repository.EscrowReceipt
	log     *zap.Logger
	bad     *gauge
	bare    *gauge
	last    *gauge
}

func newKeyGuard(repos *repositories, alarms keyAlarms, receipt *repository.EscrowReceipt, m *meter, log *zap.Logger) *keyGuard {
	return &keyGuard{
		repos: repos, alarms: alarms, receipt: receipt, log: log,
		bad:  m.gauge("tenantry_keys_unusable", "Tenants whose key did not open in the last daily check: raise an alarm above 0."),
		bare: m.gauge("tenantry_keys_without_escrow", "Tenants that the tested escrow copy does not hold, or all if its test is too old."),
		last: m.gauge("tenantry_keys_checked_timestamp_seconds", "When the last daily check of all keys ended."),
	}
}

// run checks at once and then daily, until ctx ends.
func (g *keyGuard) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	again := time.NewTicker(keyCheckAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			if err := g.recheck(ctx); err != nil && ctx.Err() == nil {
				g.log.Warn("keys that did not open could not be tried again", zap.Error(err))
			}
			continue
		case <-timer.C:
		}
		round, cancel := context.WithTimeout(ctx, keyCheckTime)
		if err := g.check(round, time.Now()); err != nil && ctx.Err() == nil {
			g.log.Error("the daily check of all keys could not be done", zap.Error(err))
		}
		cancel()
		timer.Reset(keyCheckEvery)
	}
}

// check is one round over all tenants of the bucket.
func (g *keyGuard) check(ctx context.Context, now time.Time) error {
	tenants, err := repository.Tenants(ctx, g.repos.store)
	if err != nil {
		return err
	}
	bad, bare := 0, 0
	for _, tenant := range tenants {
		status, err := g.one(ctx, tenant)
		switch kind := tenantry.KindOf(err); {
		case err == nil:
		case ctx.Err() != nil:
			return err
		case kind == tenantry.NotFound:
			continue
		case kind == tenantry.WrongKey, kind == tenantry.Corrupt:
			bad++
			g.log.Error("ALARM: the key of a tenant does not open, its backups cannot be read", zap.String("tenant", string(tenant)), zap.Error(err))
			if err := g.alarms.raise(ctx, tenant, err); err != nil {
				return err
			}
			continue
		case kind == tenantry.Shared: // of all tenants, which has an alarm of its own
			bad++
			g.log.Error("ALARM: the key of a tenant does not open, its backups cannot be read", zap.String("tenant", string(tenant)), zap.Error(err))
			continue
		default:
			bad++
			g.log.Warn("the key of a tenant could not be checked", zap.String("tenant", string(tenant)), zap.Error(err))
			continue
		}
		if g.receipt != nil && (now.Sub(g.receipt.Checked) > escrowAge || g.receipt.Tenants[tenant] < status.Generation) {
			bare++
		}
	}
	if bare > 0 {
		g.log.Warn("no tested escrow copy holds the keys of some tenants: make one (tenantry keys escrow) and test it (tenantry keys check-escrow)", zap.Int("tenants", bare))
	}
	g.bad.with().Set(float64(bad))
	g.bare.with().Set(float64(bare))
	g.last.with().Set(float64(now.Unix()))
	return nil
}

// recheck tries the keys again that did not open.
func (g *keyGuard) recheck(ctx context.Context) error {
	tenants, err := g.alarms.raised(ctx)
	if err != nil {
		return err
	}
	for _, tenant := range tenants {
		if _, err := g.one(ctx, tenant); err != nil {
			continue // told before
		}
		if err := g.over(ctx, tenant); err != nil {
			return err
		}
	}
	return nil
}

func (g *keyGuard) over(ctx context.Context, tenant tenantry.TenantID) error {
	g.log.Info("the key of a tenant opens again", zap.String("tenant", string(tenant)))
	return g.alarms.clear(ctx, tenant)
}

func (g *keyGuard) one(ctx context.Context, tenant tenantry.TenantID) (repository.KeyStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, keyCheckOne)
	defer cancel()
	return repository.CheckKey(ctx, g.repos.store, g.repos.ring, tenant)
}
