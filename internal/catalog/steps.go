package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Claims, settlements and admissions are what a busy fleet asks of SQL. They are made of
// steps: statements without literals, of which those that do not need each other's answers
// go to Postgres together. A settlement of ten statements takes two round trips, and the
// server has parsed and planned them all before.

// step is one statement, in bun's placeholders ?0, ?1 and so on; rows stand behind VALUES.
type step struct {
	query string
	args  []any
	// row takes a row of the answer; nil: there is none, or it does not matter.
	row func(scan scanRow) error
}

// scanRow copies the columns of a row to where dest point.
type scanRow func(dest ...any) error

// stepper runs steps inside of a transaction, one after the other, up to the first that
// fails. Not for concurrent use.
type stepper interface {
	run(ctx context.Context, list ...step) error
}

// transact runs the steps of fn in a transaction, again when the database ended it for a
// deadlock; fn must change nothing but rows. The steps that it returns are the last ones:
// they go together with the commit, and their rows are none that can be refused.
func (c *Catalog) transact(ctx context.Context, op string, fn func(ctx context.Context, tx stepper) ([]step, error)) error {
	if c.keyed == nil {
		return c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
			last, err := fn(ctx, literal{tx})
			if err != nil {
				return err
			}
			return literal{tx}.run(ctx, last...)
		})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)() // Close waits for the connections
	return again(ctx, op, func() error {
		conn, err := c.keyed.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		tx := &pipeline{conn: conn.Conn(), gen: c.writer.QueryGen()}
		last, err := fn(ctx, tx)
		if err == nil {
			err = tx.commit(ctx, last)
		}
		if err != nil {
			tx.rollback(ctx)
		}
		return err
	})
}

// look runs one step that only reads, as steps are: prepared, and its plan made once.
func (c *Catalog) look(ctx context.Context, op string, s step) error {
	if c.keyed == nil {
		found, err := c.reader.QueryContext(ctx, s.query, s.args...)
		return wrapIn(ctx, op, each(found, err, s.row))
	}
	query, args, err := prepare(c.writer.QueryGen(), s)
	if err != nil {
		return wrap(op, err)
	}
	found, err := c.keyed.Query(ctx, query, args...)
	if err != nil {
		return wrapIn(ctx, op, err)
	}
	defer found.Close()
	for found.Next() {
		if err := s.row(found.Scan); err != nil {
			return wrapIn(ctx, op, err)
		}
	}
	return wrapIn(ctx, op, found.Err())
}

// each hands rows on that a query has found.
func each(found *sql.Rows, err error, row func(scan scanRow) error) error {
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := row(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}

// number is a constant of a statement's text.
func number(n int) bun.Safe { return bun.Safe(strconv.Itoa(n)) }

// literal is the stepper that writes arguments into statements, in any transaction of bun.
type literal struct{ tx bun.Tx }

func (l literal) run(ctx context.Context, list ...step) error {
	for _, s := range list {
		if err := l.one(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (l literal) one(ctx context.Context, s step) error {
	if s.row == nil {
		_, err := l.tx.NewRaw(s.query, s.args...).Exec(ctx)
		return err
	}
	found, err := l.tx.QueryContext(ctx, s.query, s.args...)
	return each(found, err, s.row)
}

// pipeline is the stepper that prepares statements once on a connection and sends the
// steps of a run in one round trip, the first together with BEGIN.
type pipeline struct {
	conn  *pgx.Conn
	gen   schema.QueryGen
	begun bool
}

func (p *pipeline) run(ctx context.Context, list ...step) error {
	if len(list) == 0 {
		return nil
	}
	flight, err := p.load(list)
	if err != nil {
		return err
	}
	return p.send(ctx, flight)
}

// send sends a batch and reads its answers. pgx 5.7 leaves a goroutine behind that watches the context where a connection
// fails under way, so that it is given none to watch: the end of ctx cuts the connection here.
func (p *pipeline) send(ctx context.Context, flight *pgx.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	socket, cut := p.conn.PgConn().Conn(), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		_ = socket.SetDeadline(time.Now())
	})
	err := p.conn.SendBatch(context.WithoutCancel(ctx), flight).Close()
	if stop() {
		return err
	}
	<-cut
	_ = socket.SetDeadline(time.Time{}) // the answer may have been there in time
	if err != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return err
}

// load makes the batch of steps, which begins the transaction if nothing has.
func (p *pipeline) load(list []step) (*pgx.Batch, error) {
	flight := &pgx.Batch{}
	if !p.begun {
		flight.Queue("BEGIN")
		p.begun = true
	}
	for _, s := range list {
		query, args, err := prepare(p.gen, s)
		if err != nil {
			return nil, err
		}
		queued := flight.Queue(query, args...)
		if s.row == nil {
			continue
		}
		queued.Query(func(found pgx.Rows) error {
			for found.Next() {
				if err := s.row(found.Scan); err != nil {
					return err
				}
			}
			return found.Err()
		})
	}
	return flight, nil
}

// commit runs the last steps and ends the transaction. After an error of a step Postgres
// skips what was sent behind it, the COMMIT too.
func (p *pipeline) commit(ctx context.Context, last []step) error {
	if !p.begun && len(last) == 0 {
		return nil
	}
	flight, err := p.load(last)
	if err != nil {
		return err
	}
	flight.Queue("COMMIT")
	return p.send(ctx, flight)
}

// rollback gives the connection back without a transaction, or closes it.
func (p *pipeline) rollback(ctx context.Context) {
	const idle = 'I'
	if p.conn.IsClosed() || p.conn.PgConn().TxStatus() == idle {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
	defer cancel()
	// The pool closes a connection that comes back inside of a transaction.
	_, _ = p.conn.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
}

// rollbackTime bounds the wait for a connection whose transaction failed.
const rollbackTime = 2 * time.Second

// prepare returns a step's statement in Postgres's placeholders, and their values. The text
// depends on nothing but the step's own text and the number of columns of its rows, so that
// it is prepared once: rows are arrays, one for each column.
func prepare(gen schema.QueryGen, s step) (query string, values []any, err error) {
	args := make([]any, len(s.args))
	for i, arg := range s.args {
		switch arg := arg.(type) {
		case rows:
			arrays, err := arg.columns()
			if err != nil {
				return "", nil, err
			}
			args[i] = columns{first: len(values) + 1, arrays: arrays}
			values = append(values, arrays...)
		case schema.QueryAppender: // a part of the text
			args[i] = arg
		default:
			value, err := plain(arg)
			if err != nil {
				return "", nil, err
			}
			values = append(values, value)
			args[i] = placeholder(len(values))
		}
	}
	return gen.FormatQuery(strings.ReplaceAll(s.query, "VALUES ?", "?"), args...), values, nil
}

// placeholder formats as the parameter of that number.
type placeholder int

// AppendQuery implements schema.QueryAppender.
func (n placeholder) AppendQuery(_ schema.QueryGen, b []byte) ([]byte, error) {
	return fmt.Appendf(b, "$%d", int(n)), nil
}

// columns format as the rows of arrays that are parameters from a first one on.
type columns struct {
	first  int
	arrays []any
}

// AppendQuery implements schema.QueryAppender.
func (c columns) AppendQuery(_ schema.QueryGen, b []byte) ([]byte, error) {
	b = append(b, "SELECT * FROM unnest("...)
	for i, array := range c.arrays {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "$%d::%s[]", c.first+i, typeOf(array))
	}
	return append(b, ')'), nil
}

// typeOf is the Postgres type of the elements of an array that rows.columns makes.
func typeOf(array any) string {
	switch array.(type) {
	case []int64:
		return "bigint"
	case []float64:
		return "double precision"
	}
	return "text"
}

// columns turns rows into one array for each column, of the type of its first value.
func (r rows) columns() ([]any, error) {
	arrays := make([]any, len(r[0]))
	for i := range arrays {
		first, err := plain(r[0][i])
		if err != nil {
			return nil, err
		}
		switch first.(type) {
		case int64:
			arrays[i], err = column[int64](r, i)
		case float64:
			arrays[i], err = column[float64](r, i)
		default:
			arrays[i], err = column[string](r, i)
		}
		if err != nil {
			return nil, err
		}
	}
	return arrays, nil
}

func column[T any](r rows, i int) ([]T, error) {
	values := make([]T, len(r))
	for n, row := range r {
		value, err := plain(row[i])
		if err != nil {
			return nil, err
		}
		v, ok := value.(T)
		if !ok {
			return nil, tenantry.Errorf(tenantry.Internal, "a column of a step holds %T beside %T", row[i], r[0][i])
		}
		values[n] = v
	}
	return values, nil
}

// plain is a value as one of the three types that steps carry. Text that the database would
// not keep is changed as it is in literals.
func plain(value any) (any, error) {
	switch v := reflect.ValueOf(value); {
	case v.Kind() == reflect.String:
		return storable(v.String()), nil
	case v.CanInt():
		return v.Int(), nil
	case v.CanFloat():
		return v.Float(), nil
	}
	return nil, tenantry.Errorf(tenantry.Internal, "a step cannot carry %T", value)
}

// openKeyed opens the connections of steps. Their statements find rows by key, so that one
// plan is right however large tables are: it is made once, and never by reading a whole
// table, which may have been empty when it was made.
func openKeyed(ctx context.Context, dsn string, config *pgx.ConnConfig) (*pgxpool.Pool, error) {
	pool, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	pool.ConnConfig = config.Copy()
	pool.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	pool.MaxConns = keyedConns
	pool.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET jit = off; SET plan_cache_mode = force_generic_plan;
			SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off`, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	return pgxpool.NewWithConfig(ctx, pool)
}
