package catalog

import (
	"context"
	"sync"
)

// exclusives bounds the calls of Exclusive of one process that are under way: each holds a
// connection besides those that it uses.
const exclusives = 4

// exclusion lets one at a time through for each name, and few for all. It is safe for
// concurrent use.
type exclusion struct {
	all chan struct{}

	mu   sync.Mutex
	ones map[string]*turn
}

// turn is whose it is for one name.
type turn struct {
	taken chan struct{}
	users int // who has it or waits for it
}

func newExclusion() *exclusion {
	return &exclusion{all: make(chan struct{}, exclusives), ones: map[string]*turn{}}
}

// enter waits for its turn; leave has to be called if err is nil.
func (e *exclusion) enter(ctx context.Context, name string) (leave func(), err error) {
	one := e.join(name)
	if err := await(ctx, one.taken); err != nil {
		e.part(name, one)
		return nil, err
	}
	if err := await(ctx, e.all); err != nil {
		<-one.taken
		e.part(name, one)
		return nil, err
	}
	return func() {
		<-e.all
		<-one.taken
		e.part(name, one)
	}, nil
}

func await(ctx context.Context, turn chan struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *exclusion) join(name string) *turn {
	e.mu.Lock()
	defer e.mu.Unlock()
	one := e.ones[name]
	if one == nil {
		one = &turn{taken: make(chan struct{}, 1)}
		e.ones[name] = one
	}
	one.users++
	return one
}

func (e *exclusion) part(name string, one *turn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(e.ones, name)
	}
}

// Exclusive calls do while no other call for the tenant runs, in any process over Postgres,
// in this one over SQLite. It is for reading settings, looking whether they may be changed
// and changing them; do uses handles as usual, and must not call Exclusive. Errors: those
// of do; Canceled.
func (t *Tenant) Exclusive(ctx context.Context, do func(ctx context.Context) error) error {
	return t.c.exclusive(ctx, string(t.id), do)
}

// Exclusive is Tenant.Exclusive for what belongs to no tenant.
func (f *Fleet) Exclusive(ctx context.Context, do func(ctx context.Context) error) error {
	return f.c.exclusive(ctx, "", do)
}

func (c *Catalog) exclusive(ctx context.Context, name string, do func(ctx context.Context) error) error {
	const op = "wait for other changes"
	leave, err := c.exclusion.enter(ctx, name)
	if err != nil {
		return wrap(op, err)
	}
	defer leave()
	if c.postgres == nil {
		return do(ctx)
	}
	tx, err := c.writer.BeginTx(ctx, nil)
	if err != nil {
		return wrapIn(ctx, op, err)
	}
	defer func() { _ = tx.Rollback() }() // it holds the lock and nothing else
	if _, err := exec(ctx, tx, "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", "settings "+name); err != nil {
		return wrapIn(ctx, op, err)
	}
	return do(ctx)
}
