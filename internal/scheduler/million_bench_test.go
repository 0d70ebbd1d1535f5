package scheduler

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // fills the catalog faster than its own calls
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/servertest"
)

// BenchmarkMillionTick lets 1,000,000 resources of 5,000 tenants all be due at once, on
// Postgres and Redis, and measures the leader's first tick, the longest of the next ten,
// and the memory of this process. It prints the lines of the table.
func BenchmarkMillionTick(b *testing.B) {
	const tenants, each = 5000, 200
	dsn := servertest.Postgres(b).Database(b)
	cat, err := catalog.Open(b.Context(), dsn)
	check(b, err)
	defer cat.Close()
	fill(b, dsn, tenants, each)
	client, err := queue.NewClient(queue.Options{URL: servertest.Redis(b)})
	check(b, err)
	defer client.Close()
	s, err := New(Config{Catalog: cat, Deliveries: client, Log: zap.NewNop().Sugar(), TenantCap: 8})
	check(b, err)
	check(b, cat.Fleet().Beat(b.Context(), catalog.Process{ID: "worker@1", Role: "worker", Slots: map[string]int{queue.Backup: 200}}, time.Hour))
	fence, _, err := cat.Fleet().Lead(b.Context(), s.ID(), time.Hour)
	check(b, err)
	t := &term{Scheduler: s, fence: fence}
	var first, longest, all time.Duration
	b.ResetTimer()
	for i := range 11 {
		began := time.Now()
		_, err := t.tick(b.Context())
		check(b, err)
		took := time.Since(began)
		all += took
		if i == 0 {
			first = took
		} else {
			longest = max(longest, took)
		}
		if i == 0 {
			depth, err := client.Depth(b.Context())
			check(b, err)
			fmt.Printf("scheduler.million_admitted %d tasks\n", depth[queue.Backup])
		}
	}
	b.StopTimer()
	backlogs, err := cat.Fleet().Backlogs(b.Context(), time.Now())
	check(b, err)
	fmt.Printf("scheduler.million_tick_s %.3f s\n", first.Seconds())
	fmt.Printf("scheduler.million_longest_tick_s %.3f s\n", longest.Seconds())
	fmt.Printf("scheduler.million_rss_mb %d MB\n", residentMB(b))
	// The leader rests after each tick.
	fmt.Printf("scheduler.million_start_rate %.0f tasks/s\n", float64(backlogs[0].Ready+backlogs[0].InFlight)/((1+1.0/restShare)*all.Seconds()))
}

// fill makes tenants with so many protections each, all due since an hour.
func fill(b *testing.B, dsn string, tenants, each int) {
	b.Helper()
	db, err := sql.Open("pgx", dsn)
	check(b, err)
	defer db.Close()
	due := time.Now().Add(-time.Hour).UnixMicro()
	for _, query := range []string{
		fmt.Sprintf(`INSERT INTO tenants SELECT 't-' || i, 'n', '', '', 'connected', '', 10, 0, 0, 0, 0, 0, %d FROM generate_series(1, %d) i`,
			time.Now().Add(time.Hour).UnixMicro(), tenants),
		fmt.Sprintf(`INSERT INTO policies SELECT 't-' || i, 'p-1', 'daily', 'user', 'mailbox', 60, 120, 'UTC', 0 FROM generate_series(1, %d) i`, tenants),
		fmt.Sprintf(`INSERT INTO protections SELECT 't-' || i, 'p-1', 'u-' || j, 'mailbox', %d + (random() * 1000000)::bigint
			FROM generate_series(1, %d) i, generate_series(1, %d) j`, due, tenants, each),
		"VACUUM ANALYZE",
	} {
		_, err := db.ExecContext(context.Background(), query)
		check(b, err)
	}
}

// residentMB is the most memory this process ever had.
func residentMB(b *testing.B) int {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	check(b, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	check(b, err)
	return kb / 1024
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
