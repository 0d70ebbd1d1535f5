package app

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"runtime/debug"
	"strings"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/gateway"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// ground is what a worker stands on: the fleet's servers themselves, or the door to them (package gateway).
type ground struct {
	cfg   Config // with what the door told of the fleet
	cat   *catalog.Catalog
	queue queue.Options
	repos *repositories
	// outside says that the worker reaches its pool's tenants alone: what concerns the whole fleet is others' work.
	outside bool
	door    *gateway.Client // if it is outside
	limits  []byte          // Graph's limits as the door told them; nil: those of the configuration
}

// openGround opens catalog, Redis, storage and keys.
func (p *Program) openGround(ctx context.Context, cfg Config) (ground, error) {
	if cfg.Identity != "" {
		return p.openOutside(ctx, cfg)
	}
	g := ground{cfg: cfg, queue: queue.Options{URL: cfg.Redis}}
	var err error
	if g.cat, err = openCatalog(ctx, cfg); err != nil {
		return g, err
	}
	p.closes(g.cat.Close)
	if err := checkPool(ctx, g.cat, cfg); err != nil {
		return g, err
	}
	g.repos, err = openStorage(ctx, cfg)
	return g, err
}

// openOutside opens them by way of the door, under the identity that the worker was enrolled with.
func (p *Program) openOutside(ctx context.Context, cfg Config) (ground, error) {
	door, session, err := gateway.Open(ctx, cfg.Identity, version())
	if err != nil {
		return ground{}, err
	}
	p.closes(door.Close)
	p.background(func(ctx context.Context) { door.KeepRotating(ctx, session, p.log) })
	cfg.Pool = session.Pool
	cfg.follow(session.Welcome)
	cfg.Region = cmp.Or(session.Region, catalog.DefaultRegion) // none: a door of the release before, which serves the default one alone
	g := ground{cfg: cfg, outside: true, door: door, limits: session.Limits}
	g.queue = queue.Options{URL: behindDoor("redis", session.Redis), Dial: door.DialRedis}
	if g.cat, err = catalog.OpenConfined(ctx, behindDoor("postgres", session.Catalog), door.DialCatalog); err != nil {
		return g, err
	}
	p.closes(g.cat.Close)
	g.repos = newRepositories(door.Store(session), door)
	return g, nil
}

// welcomeOf is what workers outside are told of the clouds in which the fleet has an application.
func welcomeOf(cfg Config) gateway.Welcome {
	var w gateway.Welcome
	for _, name := range cfg.cloudNames() {
		in, _ := cfg.at(name)
		one := gateway.Cloud{Name: name, ClientID: in.ClientID, GraphURL: in.GraphURL, LoginURL: in.LoginURL}
		if name == cfg.Cloud {
			w.Cloud = one
		} else {
			w.Others = append(w.Others, one)
		}
	}
	return w
}

// follow gives a worker outside the clouds that the door tells of, and no other. Each has no credential of the fleet's, but tokens that the door hands out.
func (c *Config) follow(w gateway.Welcome) {
	c.Cloud, c.ClientID, c.GraphURL, c.LoginURL = w.Name, w.ClientID, w.GraphURL, w.LoginURL
	c.clouds = map[string]Config{}
	for _, other := range w.Others {
		in := *c
		in.Cloud, in.ClientID, in.GraphURL, in.LoginURL = other.Name, other.ClientID, other.GraphURL, other.LoginURL
		in.ClientSecret, in.Certificate, in.FederatedTokenFile = tenantry.Secret{}, "", ""
		c.clouds[other.Name] = in
	}
}

// behindDoor is the URL of a server that is reached by the door alone, which knows where it is.
func behindDoor(scheme string, a gateway.Account) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(a.User, a.Password), Host: "behind.door:1", Path: "/" + a.Database}
	if scheme == "postgres" {
		// The door dials the server that the fleet itself uses: its certificate proves nothing more.
		u.RawQuery = "sslmode=" + map[bool]string{true: "require", false: "disable"}[a.TLS]
	}
	return u.String()
}

// version is that of the program, as its build names it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return strings.Trim(info.Main.Version, "()")
}

// apiMemory is what an api process needs beside the objects that pass through it, in bytes.
const apiMemory = 190 << 20

// newGateway opens the door for workers outside, which serves until the program stops. nil: the catalog is a SQLite file.
func (p *Program) newGateway(cfg Config, cat *catalog.Catalog, all *regions, options queue.Options) (*gateway.Server, error) {
	rdb, err := options.RedisClient()
	if err != nil {
		return nil, err
	}
	p.closes(rdb.Close)
	welcome := welcomeOf(cfg)
	if cfg.LimitsFile != "" {
		if welcome.Limits, err = os.ReadFile(cfg.LimitsFile); err != nil {
			return nil, tenantry.Errorf(tenantry.Invalid, "configuration: limits-file: %w", err)
		}
	}
	tokens, err := newIssuers(cfg, cat, all.home, p.log)
	if err != nil {
		return nil, err
	}
	door, err := gateway.New(gateway.Config{
		Catalog: cat, Regions: all, Redis: rdb, Queue: options, Welcome: welcome, Tokens: tokens, Log: p.log,
		Room: int64(cfg.GatewayMemory) << 20, Places: len(cfg.RegionNames()),
	})
	if tenantry.CodeOf(err) == "needs_postgres" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	limitMemory((apiMemory + cfg.GatewayMemory<<20 + gateway.ObjectMax) / 1_000_000)
	p.background(door.Run)
	return door, nil
}
