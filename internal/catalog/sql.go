package catalog

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// batch is how many rows one statement carries.
	batch = 500
	// txTries bounds how often a transaction is run again after a deadlock.
	txTries = 8
	// defaultPage and maxPage bound what a listing returns.
	defaultPage = 100
	maxPage     = 1000
)

// page returns the limit of a listing.
func page(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, maxPage)
}

// micros is how a time is stored; 0 is never.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros is the inverse of micros, in UTC.
func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// read runs one SELECT and scans it into dest: a pointer to a scalar or struct (NotFound
// when there is no row) or to a slice.
func (c *Catalog) read(ctx context.Context, op string, dest any, query string, args ...any) error {
	return wrapIn(ctx, op, c.reader.NewRaw(query, args...).Scan(ctx, dest))
}

// write runs fn in a transaction, again when the database ended it for a deadlock. fn
// must change nothing but rows.
func (c *Catalog) write(ctx context.Context, op string, fn func(ctx context.Context, tx bun.Tx) error) error {
	return again(ctx, op, func() error { return c.writer.RunInTx(ctx, nil, fn) })
}

// again calls a transaction until the database has not ended it for a deadlock.
func again(ctx context.Context, op string, transaction func() error) error {
	for try := 1; ; try++ {
		err := transaction()
		if err == nil {
			return nil
		}
		if try == txTries || !collided(err) {
			return wrapIn(ctx, op, err)
		}
		if err := pause(ctx, time.Duration(try)*10*time.Millisecond); err != nil {
			return wrap(op, err)
		}
	}
}

// pause waits for between half of d and d.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// exec runs one statement in tx and returns how many rows it changed.
func exec(ctx context.Context, tx bun.Tx, query string, args ...any) (int64, error) {
	result, err := tx.NewRaw(query, args...).Exec(ctx)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// scan runs one statement in tx and scans what it returns, as read does.
func scan(ctx context.Context, tx bun.Tx, dest any, query string, args ...any) error {
	return tx.NewRaw(query, args...).Scan(ctx, dest)
}

// one runs one statement in its own transaction and returns notFound, which may be nil,
// when it changed nothing.
func (c *Catalog) one(ctx context.Context, op string, notFound error, query string, args ...any) error {
	return c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		n, err := exec(ctx, tx, query, args...)
		if err == nil && n == 0 {
			return notFound
		}
		return err
	})
}

// now is the database's clock in microseconds, as an SQL expression.
func (c *Catalog) now() bun.Safe {
	if c.postgres != nil {
		return "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
	}
	return "CAST(unixepoch('subsec') * 1000000 AS integer)"
}

// instant is the database's clock as it stands for all of a transaction that begins now.
func (c *Catalog) instant() bun.Safe {
	if c.postgres != nil {
		return "(extract(epoch FROM now()) * 1000000)::bigint"
	}
	return bun.Safe(strconv.FormatInt(time.Now().UnixMicro(), 10)) // it has no other
}

// lock is a locking clause of a SELECT. A transaction on SQLite has the whole file.
func (c *Catalog) lock(clause bun.Safe) bun.Safe {
	if c.postgres != nil {
		return clause
	}
	return ""
}

const (
	forShare  bun.Safe = "FOR SHARE"
	forUpdate bun.Safe = "FOR UPDATE"
	skipTaken bun.Safe = "FOR UPDATE SKIP LOCKED"
)

// fence holds the leader's fence for the rest of the transaction, so that no other
// scheduler can take over before it ends. Fenced when one has.
func (c *Catalog) fence(ctx context.Context, tx bun.Tx, fence int64) error {
	leads := false
	if err := (literal{tx}).run(ctx, c.holdFence(fence, &leads)); err != nil {
		return err
	}
	if !leads {
		return deposed(fence)
	}
	return nil
}

// holdFence is fence as a step, which tells whether its holder leads.
func (c *Catalog) holdFence(fence int64, leads *bool) step {
	return step{
		query: "SELECT fence FROM leader WHERE fence = ?0 AND process <> '' ?1",
		args:  []any{fence, c.lock(forShare)},
		row:   func(scan scanRow) error { *leads = true; return nil },
	}
}

func deposed(fence int64) error {
	return tenantry.Errorf(tenantry.Fenced, "another scheduler leads since fence %d", fence)
}

// rows formats as the rows of a VALUES list. Never empty.
type rows [][]any

// AppendQuery implements schema.QueryAppender.
func (r rows) AppendQuery(gen schema.QueryGen, b []byte) ([]byte, error) {
	var err error
	for i, row := range r {
		if i > 0 {
			b = append(b, ", "...)
		}
		if b, err = bun.Tuple(row).AppendQuery(gen, b); err != nil {
			return nil, err
		}
	}
	return b, nil
}
