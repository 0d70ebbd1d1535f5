package catalog

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// wakeChannel is the Postgres channel of wakes; each database has its own.
	wakeChannel = "tenantry_wake"
	// wakePoll is how often a process looks for wakes of others in a SQLite file.
	wakePoll = time.Second
	// relisten bounds the wait between two tries to listen again.
	relisten = 5 * time.Second
)

// Wake tells the leader, in whatever process, that there is something to do.
func (f *Fleet) Wake(ctx context.Context) error {
	const op = "wake the leader"
	if f.c.postgres != nil {
		return f.c.one(ctx, op, nil, "SELECT pg_notify(?, '')", wakeChannel)
	}
	if err := f.c.one(ctx, op, nil, "UPDATE wakes SET n = n + 1"); err != nil {
		return err
	}
	f.c.local.ring()
	return nil
}

// Wakes returns a channel that receives after each Wake (Postgres: NOTIFY; SQLite: at once
// in this process, within a second from another). Wakes coalesce, and one may come without
// cause, as after a connection was lost. The channel is closed when ctx ends or the catalog
// closes. Shared when it cannot listen; later losses of the connection are made good.
func (f *Fleet) Wakes(ctx context.Context) (<-chan struct{}, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(f.c.closing, cancel)
	out := make(chan struct{}, 1)
	listen, err := f.c.listen(ctx, out)
	if err != nil {
		stop()
		cancel()
		return nil, wrap("listen for wakes", err)
	}
	f.c.owned.Go(func() {
		defer close(out)
		defer cancel()
		defer stop()
		listen()
	})
	return out, nil
}

// listen returns the loop that rings out until ctx ends, ready to miss nothing.
func (c *Catalog) listen(ctx context.Context, out chan<- struct{}) (func(), error) {
	if c.postgres == nil {
		seen, err := c.wakeCount(ctx)
		if err != nil {
			return nil, err
		}
		bell := c.local.add()
		return func() { defer c.local.remove(bell); c.poll(ctx, bell, seen, out) }, nil
	}
	conn, err := c.connectListener(ctx)
	if err != nil {
		return nil, err
	}
	return func() { c.follow(ctx, conn, out) }, nil
}

// ring sends without waiting: a wake that nobody has taken yet stands for this one too.
func ring(out chan<- struct{}) {
	select {
	case out <- struct{}{}:
	default:
	}
}

// connectListener opens a connection of its own: one of the pool would be lost to it.
func (c *Catalog) connectListener(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, c.postgres.Copy())
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+wakeChannel); err != nil {
		c.hangUp(conn)
		return nil, err
	}
	return conn, nil
}

// hangUp closes a listener; its context has ended as a rule.
func (c *Catalog) hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// follow rings out for every notification, over reconnections, until ctx ends.
func (c *Catalog) follow(ctx context.Context, conn *pgx.Conn, out chan<- struct{}) {
	for {
		for {
			if _, err := conn.WaitForNotification(ctx); err != nil {
				break
			}
			ring(out)
		}
		c.hangUp(conn)
		if conn = c.reconnect(ctx); conn == nil {
			return
		}
		ring(out) // what was notified meanwhile is lost
	}
}

// reconnect listens again, with growing pauses; nil when ctx has ended.
func (c *Catalog) reconnect(ctx context.Context) *pgx.Conn {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, relisten) {
		if pause(ctx, wait) != nil {
			return nil
		}
		if conn, err := c.connectListener(ctx); err == nil {
			return conn
		}
	}
}

// poll rings out when the bell rings, and when the counter in the file moves.
func (c *Catalog) poll(ctx context.Context, bell <-chan struct{}, seen int64, out chan<- struct{}) {
	tick := time.NewTicker(wakePoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-bell:
			ring(out)
		case <-tick.C:
			n, err := c.wakeCount(ctx)
			if err == nil && n != seen {
				seen = n
				ring(out)
			}
		}
	}
}

func (c *Catalog) wakeCount(ctx context.Context) (n int64, err error) {
	err = c.read(ctx, "read the wake counter", &n, "SELECT n FROM wakes")
	return n, err
}

// local carries wakes between the users of one Catalog. The zero value works.
type local struct {
	mu    sync.Mutex
	bells map[chan struct{}]struct{}
}

func (l *local) add() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bells == nil {
		l.bells = map[chan struct{}]struct{}{}
	}
	bell := make(chan struct{}, 1)
	l.bells[bell] = struct{}{}
	return bell
}

func (l *local) remove(bell chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.bells, bell)
}

func (l *local) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for bell := range l.bells {
		ring(bell)
	}
}
