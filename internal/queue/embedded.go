package queue

import (
	"context"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// embeddedTick is how precisely keys of the embedded Redis expire.
const embeddedTick = 100 * time.Millisecond

// StartEmbedded runs a Redis inside this process for a demo on one machine:
// everything in memory, nothing kept, about a tenth of a real one's speed. It ends
// with ctx or stop, whichever comes first; stop waits until it has ended.
func StartEmbedded(ctx context.Context) (addr string, stop func(), err error) {
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr("127.0.0.1:0"); err != nil {
		return "", nil, tenantry.E(tenantry.Shared, "start the embedded redis", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ended.Go(func() {
		defer m.Close()
		passTime(ctx, m)
	})
	return m.Addr(), func() { cancel(); ended.Wait() }, nil
}

// passTime lets keys expire: miniredis does not by itself.
func passTime(ctx context.Context, m *miniredis.Miniredis) {
	tick := time.NewTicker(embeddedTick)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := time.Now()
			m.FastForward(now.Sub(last))
			last = now
		}
	}
}
