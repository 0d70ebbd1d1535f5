package catalog

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// BenchmarkTick measures what the leader reads and writes in one tick before a backlog of
// 1,000,000 ready tasks, on Postgres. The ratio compares with counting all of it.
func BenchmarkTick(b *testing.B) {
	for _, tenants := range []int{500, 5000} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) { benchmarkTick(b, tenants, 1_000_000/tenants) })
	}
}

func benchmarkTick(b *testing.B, tenants, each int) {
	c, err := Open(b.Context(), servertest.Postgres(b).Database(b))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	now := time.Now()
	for _, query := range []string{
		fmt.Sprintf(`INSERT INTO tenants SELECT 't-' || i, 'n', '', '', 'connected', '', 10, 0, 0, 0, 0, 0, 0 FROM generate_series(1, %d) i`, tenants),
		fmt.Sprintf(`INSERT INTO tasks SELECT '%s' || lpad(to_hex(i * %d + j), 16, '0'), 'r-' || i, 't-' || i, 'u-' || j, 'mailbox', 'backup', 'backup',
			'ready', 0, 0, %d - j, '', '', NULL, 0, 0, 0, 0, 0, 0, '', %d, 0, 0, 0, 'outlook'
			FROM generate_series(1, %d) i, generate_series(1, %d) j ORDER BY random()`,
			tenantry.TaskIDFloor(now), each, micros(now), micros(now), tenants, each),
		"VACUUM ANALYZE",
	} {
		if _, err := c.writer.Exec(query); err != nil {
			b.Fatal(err)
		}
	}
	f := c.Fleet()
	fence, _, err := f.Lead(b.Context(), "leader", time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	var loads, admit, all, next time.Duration
	for b.Loop() {
		loads += timed(b, func() error { _, err := f.Loads(b.Context(), now, LoadDepth); return err })
		next += timed(b, func() error { _, err := f.NextReady(b.Context(), now); return err })
		all += timed(b, func() error { _, err := f.Backlogs(b.Context(), now); return err })
		picks := make([]Pick, 400)
		for i := range picks {
			picks[i] = Pick{Tenant: tenantry.TenantID(fmt.Sprintf("t-%d", i+1)), Queue: queueBackup, Service: tenantry.Outlook, N: 1, Virtual: 1}
		}
		admit += timed(b, func() error {
			tasks, err := f.Admit(b.Context(), fence, picks, now)
			if err == nil && len(tasks) != len(picks) {
				err = fmt.Errorf("admitted %d tasks", len(tasks))
			}
			return err
		})
	}
	n := float64(b.N)
	b.ReportMetric(loads.Seconds()*1000/n, "loads-ms")
	b.ReportMetric(next.Seconds()*1000/n, "next-ms")
	b.ReportMetric(admit.Seconds()*1000/n, "admit400-ms")
	b.ReportMetric(all.Seconds()*1000/n, "countall-ms")
	b.ReportMetric(float64(all)/float64(loads), "countall/loads")
}

func timed(b *testing.B, call func() error) time.Duration {
	b.Helper()
	begin := time.Now()
	if err := call(); err != nil {
		b.Fatal(err)
	}
	return time.Since(begin)
}
