package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/signin"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// apiGC lets an api's garbage grow to four times what lives, which is some megabytes:
// listings are garbage at once, and collecting them cost a sixth of its CPU.
const apiGC = 400

// startAPI needs SQL, Redis, storage and keys (to read indexes): no Graph credential.
func (p *Program) startAPI(ctx context.Context, cfg Config) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(apiGC)
	}
	cat, err := openCatalog(ctx, cfg)
	if err != nil {
		return err
	}
	p.closes(cat.Close)
	options := queue.Options{URL: cfg.Redis}
	deliveries, err := queue.NewClient(options)
	if err != nil {
		return err
	}
	p.closes(deliveries.Close)
	repos, err := openRegions(ctx, cfg, cat, p.log)
	if err != nil {
		return err
	}
	monitor, closeMonitor, err := queue.Monitor(options, "/queues", describe(cat))
	if err != nil {
		return err
	}
	p.closes(closeMonitor)

	rdb, err := options.RedisClient()
	if err != nil {
		return err
	}
	p.closes(rdb.Close)
	limits, err := readLimits(cfg.LimitsFile)
	if err != nil {
		return err
	}
	books := p.openBooks(cfg, rdb, limits, cat)

	people, err := signIn(cfg)
	if err != nil {
		return err
	}
	metrics := newMeter(RoleAPI)
	cacheMetrics(metrics, repos.cache)
	closing := make(chan struct{})
	door, err := p.newGateway(cfg, cat, repos, options)
	if err != nil {
		return err
	}
	apiCfg := api.Config{
		Catalog: cat, Consent: consent{cfg}, Keys: repos, Places: placesOf(cfg), Browser: newBrowser(repos), Archives: archives{repos, cfg.KeepArchives}, Budgets: books, Limits: limits, Monitor: monitor, SignIn: people,
		PublicURL: cfg.PublicURL, Rate: cfg.APIRate, Logger: p.log, Metrics: metricsHandler(metrics), Closing: closing,
		Ready: readiness(map[string]pinger{"catalog": cat, "redis": deliveries}),
	}
	if door != nil {
		apiCfg.Gateway = door
	}
	handler, err := api.New(apiCfg)
	if err != nil {
		return err
	}
	var secure *tls.Config
	if cfg.TLSCertificate != "" {
		files := &certificate{cert: cfg.TLSCertificate, key: cfg.TLSKey}
		if _, err := files.get(nil); err != nil {
			return err
		}
		secure = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.get}
	}
	if err := p.serve(cfg.Listen, secure, handler); err != nil {
		return err
	}
	p.background(func(ctx context.Context) { followZones(ctx, cat, cfg, p.log) })
	p.closes(func() error { close(closing); return nil }) // before serve's own end, which waits for requests
	return nil
}

// signIn is the provider that the configuration names, nil if it names none.
func signIn(cfg Config) (*signin.Provider, error) {
	if cfg.OIDCIssuer == "" {
		return nil, nil
	}
	grants, err := signin.ParseGrants(cfg.OIDCGrants)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "oidc-grants: %w", err)
	}
	return signin.New(signin.Config{Issuer: cfg.OIDCIssuer, ClientID: cfg.OIDCClientID, DeviceClientID: cfg.OIDCDeviceClientID,
		ClientSecret: cfg.OIDCSecret, Claim: cfg.OIDCClaim, Grants: grants})
}

// openStorage opens the bucket, which proves that it can carry the fence, and the keys.
func openStorage(ctx context.Context, cfg Config) (*repositories, error) {
	vault, err := OpenVault(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return newRepositories(vault.Store, vault.Keys), nil
}

// consent builds consent URLs without a Graph credential, for any cloud in which the fleet has an application.
type consent struct{ cfg Config }

// URL implements api.Consent.
func (c consent) URL(cloud, clientID, directory, state, redirect string) (string, error) {
	in, ok := c.cfg.at(cloud)
	if !ok {
		return "", tenantry.Errorf(tenantry.Shared, "this program has no application in the cloud %q", cloud)
	}
	cfg := graphConfig(in)
	cfg.ClientID = cmp.Or(clientID, cfg.ClientID)
	return graph.ConsentURL(cfg, directory, state, redirect)
}

// placesOf are the regions and clouds of the configuration, for the API.
func placesOf(cfg Config) api.Places {
	p := api.Places{Region: cmp.Or(cfg.DefaultRegion, catalog.DefaultRegion), Cloud: cfg.Cloud, Pools: map[string]string{}, Zones: map[string]string{}}
	for _, name := range cfg.RegionNames() {
		p.Pools[name] = cfg.poolOf(name)
		if in, err := cfg.In(name); err == nil && in.TimeZone != "" {
			p.Zones[name] = in.TimeZone
		}
	}
	for _, name := range cfg.cloudNames() {
		c := graph.CloudOf(name)
		p.Clouds = append(p.Clouds, api.Cloud{Name: c.Name, Login: c.Login, Graph: c.Graph, Lacks: c.Lacks})
	}
	return p
}

// describe says for asynqmon what a delivery is about.
func describe(cat *catalog.Catalog) queue.Describe {
	return func(ctx context.Context, r queue.Ref) string {
		t := cat.Tenant(r.Tenant)
		task, err := t.Task(ctx, r.Task)
		if err != nil {
			return fmt.Sprintf("task %s of tenant %s", r.Task, r.Tenant)
		}
		tenant, resource := string(r.Tenant), string(task.Resource)
		if row, err := t.Get(ctx); err == nil {
			tenant = row.Name
		}
		if row, err := t.Resource(ctx, task.Resource); task.Resource != "" && err == nil {
			resource = row.Name
		}
		text := fmt.Sprintf("%s %s", task.Action, tenant)
		if resource != "" {
			text += fmt.Sprintf(" / %s / %s", resource, task.Workload)
		}
		if task.Attempt > 0 {
			text += fmt.Sprintf(", attempt %d", task.Attempt+1)
		}
		if task.Reason != "" {
			text += ": " + task.Reason
		}
		if task.NotBefore.After(time.Now()) {
			text += ", waits until " + task.NotBefore.UTC().Format(time.RFC3339)
		}
		return text
	}
}
