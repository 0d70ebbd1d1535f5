package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
)

const (
	// zonesEvery is how often tenants are looked for that do not have the time zone of their region yet: one that a
	// program of the last release has added, or one that an api process left undone.
	zonesEvery = time.Hour
	// zonesAgain is when it is tried again that failed.
	zonesAgain = 30 * time.Second
	// zonesTime bounds one look, which changes the off-peak policies of a region's tenants when its zone has changed.
	zonesTime = 10 * time.Minute
)

// followZones keeps tenants that follow their region at the time zone that the configuration gives it, until ctx ends.
func followZones(ctx context.Context, cat *catalog.Catalog, cfg Config, log *zap.Logger) {
	for {
		wait := zonesEvery
		if err := followOnce(ctx, cat, cfg, log); err != nil && ctx.Err() == nil {
			log.Warn("cannot give tenants the time zone of their region; it is tried again", zap.Error(err))
			wait = zonesAgain
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func followOnce(ctx context.Context, cat *catalog.Catalog, cfg Config, log *zap.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, zonesTime)
	defer cancel()
	zones := placesOf(cfg).Zones
	for _, region := range cfg.RegionNames() {
		zone, ok := zones[region]
		if !ok {
			zone = catalog.DefaultZone
		}
		tenants, err := cat.Fleet().OffZone(ctx, region, zone)
		if err != nil {
			return err
		}
		for _, t := range tenants {
			if err := cat.Tenant(t).FollowZone(ctx, zone, time.Now()); err != nil {
				return err
			}
		}
		if len(tenants) > 0 {
			log.Info("tenants have the time zone of their region", zap.String("region", region), zap.String("zone", zone), zap.Int("tenants", len(tenants)))
		}
	}
	return nil
}
