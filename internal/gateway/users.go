package gateway

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// users remembers what was last applied to the accounts at Redis, which loses them when it restarts.
type users struct {
	mu      sync.Mutex
	applied map[string]string // by login
}

// standing is whom the workers of a pool work for: of each application's account book no more is theirs.
type standing struct {
	tenants []tenantry.TenantID
	apps    []string // of the clouds that these tenants are in
}

func (s *Server) standingOf(ctx context.Context, pool string) (of standing, err error) {
	fleet := s.cfg.Catalog.Fleet()
	if of.tenants, err = fleet.PoolTenants(ctx, pool); err != nil {
		return of, err
	}
	clouds, err := fleet.PoolClouds(ctx, pool)
	if err != nil {
		return of, err
	}
	of.apps = []string{s.cfg.Welcome.ClientID} // which a worker opens, whether a tenant is there or not
	for _, c := range s.cfg.Welcome.Others {
		if slices.Contains(clouds, c.Name) {
			of.apps = append(of.apps, c.ClientID)
		}
	}
	return of, nil
}

// rules are what the user of an enrolled worker may do at Redis ("ACL SETUSER" of its documentation): the queues of
// its pool, what asynq's servers tell of themselves, and of the account book what all tenants of the application share and what is of its own
// tenants. Nothing that looks at other keys or at the server, and nothing that empties it.
func rules(w catalog.RemoteWorker, of standing) []string {
	rules := []string{"reset", "on", "#" + w.RedisHash, "resetchannels", "&asynq:cancel",
		"+@all", "-@admin", "-@dangerous", "-scan", "-randomkey", "-dbsize", "-function", "-script|flush", "-script|kill",
		"~asynq:queues", "~asynq:servers", "~asynq:servers:*", "~asynq:workers", "~asynq:workers:*"}
	for _, name := range queue.Names() {
		rules = append(rules, "~asynq:{"+queue.In(w.Pool, name)+"}:*")
	}
	for _, app := range of.apps {
		rules = append(rules, throttle.KeyPatterns(app, of.tenants)...)
	}
	return rules
}

// admitToRedis makes the worker's user what it should be. Shared if Redis does not answer, or this process may not make users.
func (s *Server) admitToRedis(ctx context.Context, w catalog.RemoteWorker) error {
	of, err := s.standingOf(ctx, w.Pool)
	if err != nil {
		return err
	}
	return s.setUser(ctx, w, rules(w, of))
}

func (s *Server) setUser(ctx context.Context, w catalog.RemoteWorker, rules []string) error {
	args := []any{"ACL", "SETUSER", w.Login}
	for _, rule := range rules {
		args = append(args, rule)
	}
	if err := s.cfg.Redis.Do(ctx, args...).Err(); err != nil {
		e := tenantry.Errorf(tenantry.Shared, "make a user at Redis for worker %s: %w", w.ID, err)
		e.Code = "redis"
		return e
	}
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	s.users.applied[w.Login] = strings.Join(rules, " ")
	return nil
}

// Revoked implements api.Gateway. What is taken away here, the catalog has taken already.
func (s *Server) Revoked(ctx context.Context, w catalog.RemoteWorker) error {
	s.mu.Lock()
	clear(s.known)
	s.mu.Unlock()
	s.tunnels.cut(func(worker string) bool { return worker != w.ID })
	if err := s.dropUsers(ctx, []string{w.Login}); err != nil {
		return err
	}
	return s.cfg.Catalog.Fleet().Unconfine(ctx, w.Login)
}

// dropUsers removes users of revoked workers at Redis, which cuts their connections; absent is fine.
func (s *Server) dropUsers(ctx context.Context, logins []string) error {
	if len(logins) == 0 {
		return nil
	}
	args := []any{"ACL", "DELUSER"}
	for _, login := range logins {
		args = append(args, login)
	}
	if err := s.cfg.Redis.Do(ctx, args...).Err(); err != nil {
		e := tenantry.Errorf(tenantry.Shared, "remove users of revoked workers at Redis: %w", err)
		e.Code = "redis"
		return e
	}
	return nil
}

// Run keeps tunnels and users in line with the catalog until ctx ends, and then closes the door.
func (s *Server) Run(ctx context.Context) {
	defer s.tunnels.close()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.follow(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			s.cfg.Log.Warn("cannot hold the accounts of workers outside against the catalog; trying on", zap.Error(err))
		}
		failing = err != nil
	}
}

// follow is one look at the catalog.
func (s *Server) follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shortTime)
	defer cancel()
	workers, err := s.cfg.Catalog.Fleet().RemoteWorkers(ctx)
	if err != nil || len(workers) == 0 {
		return err
	}
	good := map[string]bool{}
	for _, w := range workers {
		good[w.ID] = w.RevokedAt.IsZero()
	}
	s.tunnels.cut(func(worker string) bool { return good[worker] })
	return s.followUsers(ctx, workers)
}

// followUsers makes users that Redis has lost, changes those whose pool has other tenants now, and removes those that should be gone.
func (s *Server) followUsers(ctx context.Context, workers []catalog.RemoteWorker) error {
	there, err := s.cfg.Redis.Do(ctx, "ACL", "USERS").StringSlice()
	if err != nil {
		return err
	}
	var gone []string
	pools := map[string]standing{}
	for _, w := range workers {
		exists := slices.Contains(there, w.Login)
		switch {
		case !w.RevokedAt.IsZero():
			if exists {
				gone = append(gone, w.Login)
			}
			continue
		case w.RedisHash == "":
			continue // it never began
		}
		of, known := pools[w.Pool]
		if !known {
			if of, err = s.standingOf(ctx, w.Pool); err != nil {
				return err
			}
			pools[w.Pool] = of
		}
		rules := rules(w, of)
		s.users.mu.Lock()
		current := s.users.applied[w.Login] == strings.Join(rules, " ")
		s.users.mu.Unlock()
		if exists && current {
			continue
		}
		if err := s.setUser(ctx, w, rules); err != nil {
			return err
		}
	}
	return s.dropUsers(ctx, gone)
}
