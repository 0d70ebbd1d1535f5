package app

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
	"github.com/tenantry/tenantry/internal/worker"
)

// startWorker needs everything: SQL, Redis, storage, keys and the Graph credential. Storage and keys are those of
// its data region, and of no other.
func (p *Program) startWorker(ctx context.Context, fleet Config) error {
	limitMemory(fleet.Memory)
	spareCollector()
	cfg, err := fleet.In(fleet.Region)
	if err != nil {
		return err
	}
	g, err := p.openGround(ctx, cfg)
	if err != nil {
		return err
	}
	cfg = g.cfg
	cat, options, repos := g.cat, g.queue, g.repos
	rdb, err := options.RedisClient()
	if err != nil {
		return err
	}
	p.closes(rdb.Close)
	repos.store = blob.Metered(repos.store)
	receipt, err := readReceipt(cfg.Escrow)
	if err != nil {
		return err
	}
	tracer, err := p.openTraces(ctx, cfg, RoleWorker)
	if err != nil {
		return err
	}
	metrics := newMeter(RoleWorker)
	cache := openCache(cfg, p.log)
	cacheMetrics(metrics, cache)
	repos.useCache(cache, cfg)
	clouds, err := p.openClouds(ctx, g, rdb, cfg.sameKeys(fleet) && !g.outside, metrics)
	if err != nil {
		return err
	}

	guard := newKeyGuard(repos, keyAlarms{cat}, receipt, metrics, p.log)
	p.background(paceProcessors)
	p.background(guard.run)
	if !g.outside {
		p.background(expiryWatch{cat.Fleet(), cfg, p.log}.run)
	}
	w, err := worker.New(worker.Config{
		Catalog: cat, Queue: options, Repositories: repos, Workloads: clouds,
		Directory: clouds, Observer: newWorkerMetrics(metrics), Tracer: tracer, Log: p.log.Sugar(),
		Outside: g.outside, Pool: cfg.pool(), Region: cfg.Region, Cloud: cfg.Cloud, Unserved: clouds.unserved(cfg.Region),
		Slots: map[string]int{
			queue.Interactive: cfg.SlotsInteractive, queue.Directory: cfg.SlotsDirectory,
			queue.Backup: cfg.SlotsBackup, queue.Maintenance: cfg.SlotsMaintenance,
		},
		MassChange: cfg.MassChange, KeepArchives: cfg.KeepArchives,
		LeaseTime: cfg.LeaseTime, BeatEvery: cfg.LeaseTime / 4,
		Limits: engine.Limits{
			SliceTime: cfg.SliceTime, SlicePages: cfg.SlicePages, CheckpointBytes: cfg.CheckpointBytes,
			CheckpointTime: cfg.CheckpointTime, Concurrency: cfg.Concurrency,
		},
	})
	if err != nil {
		return err
	}
	checkpointAge(metrics, w)
	if err := w.Start(ctx); err != nil {
		return err
	}
	// Tasks name the process that has them: this line tells which machine and log that is.
	p.log.Info("joined the fleet", zap.String("process", string(w.ID())), zap.String("pool", cfg.pool()), zap.String("region", cfg.Region))
	p.onStop(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, cfg.DrainTime)
		defer cancel()
		return w.Drain(ctx)
	})
	ready := readiness(map[string]pinger{"catalog": cat, "redis": redisPinger{rdb}, "lease": leasePinger{w}})
	return p.serve(cfg.Listen, nil, healthHandler(ready, metrics))
}

// limitMemory makes the garbage collector work harder above so many megabytes. It is the process's: several
// programs in one process (the demo) share it.
func limitMemory(megabytes int) {
	if os.Getenv("GOMEMLIMIT") == "" && megabytes > 0 {
		debug.SetMemoryLimit(int64(megabytes) * 1_000_000)
	}
}

func readLimits(file string) (throttle.Limits, error) {
	if file == "" {
		return throttle.Documented(), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return throttle.Limits{}, tenantry.Errorf(tenantry.Invalid, "configuration: limits-file is %q; it may be the path of a readable file: %w", file, err)
	}
	return parseLimits(file, text)
}

// parseLimits reads what overrides the documented limits.
func parseLimits(file string, text []byte) (throttle.Limits, error) {
	limits := throttle.Documented()
	if err := yaml.Unmarshal(text, &limits); err != nil { // JSON is YAML
		return limits, tenantry.Errorf(tenantry.Invalid, "configuration: limits-file %s: %w", file, err)
	}
	return limits, limits.Validate()
}

type redisPinger struct{ rdb redis.UniversalClient }

func (r redisPinger) Ping(ctx context.Context) error { return r.rdb.Ping(ctx).Err() }

type leasePinger struct{ w *worker.Worker }

func (l leasePinger) Ping(context.Context) error {
	if !l.w.Alive() {
		return fmt.Errorf("process %s holds no lease", l.w.ID())
	}
	return nil
}
