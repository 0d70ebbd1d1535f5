package app

import (
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/repository"
)

// openCache is the process's cache of index objects, nil where the configuration names no directory for one.
func openCache(cfg Config, log *zap.Logger) *repository.Cache {
	if cfg.CacheDir == "" {
		return nil
	}
	return repository.NewCache(cfg.CacheDir, int64(cfg.CacheMB)<<20, func(err error) {
		log.Warn("the cache of index objects cannot be written: they are read from the bucket", zap.Error(err))
	})
}

// cacheMetrics shows what the cache of index objects spares the bucket; a nil one nothing.
func cacheMetrics(m *meter, c *repository.Cache) {
	for _, of := range []struct {
		name, help string
		value      func(repository.CacheStats) int64
	}{
		{"hits_total", "Reads of index objects that the cache spared the bucket.", func(s repository.CacheStats) int64 { return s.Hits }},
		{"misses_total", "Reads of index objects that the bucket was asked for beside a cache.", func(s repository.CacheStats) int64 { return s.Misses }},
		{"read_bytes_total", "Bytes that came from the cache.", func(s repository.CacheStats) int64 { return s.Read }},
		{"written_bytes_total", "Bytes that were written into it.", func(s repository.CacheStats) int64 { return s.Written }},
		{"evicted_bytes_total", "Bytes that made room in it; many each hour mean that cache-mb is too small.", func(s repository.CacheStats) int64 { return s.Evicted }},
	} {
		m.asked("counter", "tenantry_index_cache_"+of.name, of.help, func() float64 { return float64(of.value(c.Stats())) })
	}
}
