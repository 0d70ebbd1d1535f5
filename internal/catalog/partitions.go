package catalog

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	day = 24 * time.Hour
	// partitionsAhead is how many days' partitions stand ready: so long may no leader run.
	partitionsAhead = 3
	// keepRuns is how long runs and their numbers outlive their tasks.
	keepRuns = 400 * day
	// partitionLock is the key of the advisory lock under which partitions are made and dropped.
	partitionLock = 0x7061727469746e73
	// purgeBatch bounds a DELETE, so that it holds up other writers briefly.
	purgeBatch = 1000
)

// history are the tables that expire with their tasks, each with the column of the task's ID.
var history = []struct{ table, column bun.Safe }{{"ended_tasks", "id"}, {"problems", "task"}}

// Partitions makes the partitions of the days ahead of now and drops those whose every task
// is older than keep and ended; a task counts by its creation. Runs and the ledger are kept 400 days.
// Consents that have expired go too, requests after KeepRequests, and mails after 60 days. On SQLite, which has no partitions, rows are deleted in
// batches. Call it daily or more often, from any number of processes.
func (f *Fleet) Partitions(ctx context.Context, now time.Time, keep time.Duration) error {
	if f.c.postgres != nil {
		if err := f.c.makePartitions(ctx, now); err != nil {
			return err
		}
		if err := f.c.dropPartitions(ctx, now.Add(-keep)); err != nil {
			return err
		}
	}
	// On Postgres this finds only strays in the default partition.
	for _, h := range history {
		err := f.c.purge(ctx, string("expire "+h.table), `DELETE FROM ?0 WHERE ?1 < ?2 AND ?1 IN (
			SELECT ?1 FROM ?0 WHERE ?1 < ?2 AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.id = ?0.?1) LIMIT ?3)`,
			bun.Safe(f.c.strays(string(h.table))), h.column, tenantry.TaskIDFloor(now.Add(-keep)), purgeBatch)
		if err != nil {
			return err
		}
	}
	err := f.c.purge(ctx, "expire runs", `DELETE FROM runs WHERE id IN (
		SELECT id FROM runs WHERE id < ? AND state <> 'running' ORDER BY id LIMIT ?)`, tenantry.TaskIDFloor(now.Add(-keepRuns)), purgeBatch)
	if err != nil {
		return err
	}
	if err := f.c.purgeLedger(ctx, now.Add(-keepLedger)); err != nil {
		return err
	}
	if err := f.c.purgeMails(ctx, now.Add(-keepMails)); err != nil {
		return err
	}
	err = f.c.purge(ctx, "expire requests", `DELETE FROM requests WHERE (actor, key) IN (
		SELECT actor, key FROM requests WHERE at < ? LIMIT ?)`, micros(now.Add(-KeepRequests)), purgeBatch)
	if err != nil {
		return err
	}
	return f.c.purge(ctx, "expire consents", `DELETE FROM consents WHERE state_hash IN (
		SELECT state_hash FROM consents WHERE expires_at <= ? LIMIT ?)`, micros(now), purgeBatch)
}

// purgeLedger removes the days and runs of the ledger from before a time, what is still to be
// written to it too.
func (c *Catalog) purgeLedger(ctx context.Context, before time.Time) error {
	if err := c.tally.flush(ctx); err != nil {
		return err
	}
	err := c.purge(ctx, "expire days of the ledger", `DELETE FROM ledger WHERE (tenant, run, day, entry, account) IN (
		SELECT tenant, run, day, entry, account FROM ledger WHERE day > 0 AND day < ? LIMIT ?)`, dayOf(before), purgeBatch)
	if err != nil {
		return err
	}
	return c.purge(ctx, "expire runs of the ledger", `DELETE FROM ledger WHERE (tenant, run, day, entry, account) IN (
		SELECT tenant, run, day, entry, account FROM ledger WHERE run <> '' AND run < ? LIMIT ?)`, tenantry.TaskIDFloor(before), purgeBatch)
}

// strays is the table that holds what no daily partition does.
func (c *Catalog) strays(table string) string {
	if c.postgres != nil {
		return table + "_default"
	}
	return table
}

// purge repeats a bounded DELETE until it finds nothing.
func (c *Catalog) purge(ctx context.Context, op, query string, args ...any) error {
	for {
		var n int64
		err := c.write(ctx, op, func(ctx context.Context, tx bun.Tx) (err error) {
			n, err = exec(ctx, tx, query, args...)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

// preparePartitions makes the first partitions when the database is opened.
func (c *Catalog) preparePartitions(ctx context.Context) error {
	return c.makePartitions(ctx, time.Now())
}

// partition is one day of a table.
type partition struct {
	table  string
	column bun.Safe
	from   time.Time
}

const partitionDate = "20060102"

func (p partition) name() string          { return p.table + "_" + p.from.Format(partitionDate) }
func (p partition) low() tenantry.TaskID  { return tenantry.TaskIDFloor(p.from) }
func (p partition) high() tenantry.TaskID { return tenantry.TaskIDFloor(p.from.Add(day)) }

// makePartitions makes those of yesterday (a task may end after midnight), today and the
// days ahead.
func (c *Catalog) makePartitions(ctx context.Context, now time.Time) error {
	today := now.UTC().Truncate(day)
	for _, h := range history {
		have, err := c.partitions(ctx, string(h.table), h.column)
		if err != nil {
			return err
		}
		present := make(map[string]bool, len(have))
		for _, p := range have {
			present[p.name()] = true
		}
		for i := -1; i <= partitionsAhead; i++ {
			p := partition{string(h.table), h.column, today.Add(time.Duration(i) * day)}
			if present[p.name()] {
				continue
			}
			if err := c.makePartition(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// makePartition makes one and moves the strays of its day into it. It attaches a finished
// table: CREATE ... PARTITION OF would lock out every reader of the history.
func (c *Catalog) makePartition(ctx context.Context, p partition) error {
	return c.write(ctx, "make partition "+p.name(), func(ctx context.Context, tx bun.Tx) error {
		if present, err := lockPartition(ctx, tx, p); err != nil || present {
			return err
		}
		name, table, strays := bun.Safe(p.name()), bun.Safe(p.table), bun.Safe(c.strays(p.table))
		for _, query := range []string{
			"LOCK TABLE ?2 IN ACCESS EXCLUSIVE MODE",
			"CREATE TABLE ?0 (LIKE ?1 INCLUDING ALL)",
			"INSERT INTO ?0 SELECT * FROM ?2 WHERE ?3 >= ?4 AND ?3 < ?5",
			"DELETE FROM ?2 WHERE ?3 >= ?4 AND ?3 < ?5",
			"ALTER TABLE ?1 ATTACH PARTITION ?0 FOR VALUES FROM (?4) TO (?5)",
		} {
			if _, err := exec(ctx, tx, query, name, table, strays, p.column, p.low(), p.high()); err != nil {
				return err
			}
		}
		return nil
	})
}

// lockPartition keeps other processes from the same work until the transaction ends, with a
// bounded wait for locks on tables, and reports whether the partition is there.
func lockPartition(ctx context.Context, tx bun.Tx, p partition) (present bool, err error) {
	if _, err := exec(ctx, tx, "SET LOCAL lock_timeout = '5s'"); err != nil {
		return false, err
	}
	if _, err := exec(ctx, tx, "SELECT pg_advisory_xact_lock(?)", int64(partitionLock)); err != nil {
		return false, err
	}
	err = scan(ctx, tx, &present, "SELECT to_regclass(?) IS NOT NULL", p.name())
	return present, err
}

// dropPartitions drops the partitions that lie wholly before the given time and whose days
// have no unfinished task left.
func (c *Catalog) dropPartitions(ctx context.Context, before time.Time) error {
	for _, h := range history {
		have, err := c.partitions(ctx, string(h.table), h.column)
		if err != nil {
			return err
		}
		for _, p := range have {
			if p.from.Add(day).After(before) {
				continue
			}
			if err := c.dropPartition(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Catalog) dropPartition(ctx context.Context, p partition) error {
	return c.write(ctx, "drop partition "+p.name(), func(ctx context.Context, tx bun.Tx) error {
		if present, err := lockPartition(ctx, tx, p); err != nil || !present {
			return err
		}
		var open bool
		err := scan(ctx, tx, &open, "SELECT EXISTS (SELECT 1 FROM tasks WHERE id >= ? AND id < ?)", p.low(), p.high())
		if err != nil || open {
			return err
		}
		_, err = exec(ctx, tx, "DROP TABLE ?", bun.Safe(p.name()))
		return err
	})
}

// partitions lists the daily partitions of a table, oldest first.
func (c *Catalog) partitions(ctx context.Context, table string, column bun.Safe) ([]partition, error) {
	var names []string
	op := fmt.Sprintf("list partitions of %s", table)
	err := c.read(ctx, op, &names, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = to_regclass(?) ORDER BY c.relname`, table)
	if err != nil {
		return nil, err
	}
	var out []partition
	for _, name := range names {
		from, err := time.Parse(partitionDate, strings.TrimPrefix(name, table+"_"))
		if err == nil { // not the default partition
			out = append(out, partition{table, column, from})
		}
	}
	return out, nil
}
