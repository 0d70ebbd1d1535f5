package gateway

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// dialTime bounds how long a connection to a server behind the door may take.
const dialTime = 10 * time.Second

// tunnels are the open ones. Safe for concurrent use.
type tunnels struct {
	mu     sync.Mutex
	of     map[string]map[*tunnel]bool // by worker
	closed bool
	done   sync.WaitGroup
}

// tunnel joins a worker's connection to one of a server.
type tunnel struct {
	outside, inside net.Conn
	once            sync.Once
}

func (t *tunnel) cut() {
	t.once.Do(func() {
		_ = t.outside.Close() // whoever reads it learns by that
		_ = t.inside.Close()
	})
}

// add takes a tunnel up; false: the worker has too many, or the door closes.
func (t *tunnels) add(worker string, one *tunnel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.of[worker]) >= tunnelsMax {
		return false
	}
	if t.of == nil {
		t.of = map[string]map[*tunnel]bool{}
	}
	if t.of[worker] == nil {
		t.of[worker] = map[*tunnel]bool{}
	}
	t.of[worker][one] = true
	t.done.Add(1)
	return true
}

func (t *tunnels) remove(worker string, one *tunnel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if delete(t.of[worker], one); len(t.of[worker]) == 0 {
		delete(t.of, worker)
	}
	t.done.Done()
}

// cut ends the tunnels of every worker that keep does not keep.
func (t *tunnels) cut(keep func(worker string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for worker, open := range t.of {
		if keep(worker) {
			continue
		}
		for one := range open {
			one.cut()
		}
	}
}

// close ends all tunnels, lets none begin, and waits until they are gone.
func (t *tunnels) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cut(func(string) bool { return false })
	t.done.Wait()
}

func (s *Server) dialCatalog(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, s.sql.Network, s.sql.Address) // TLS, if there is any, is between the worker and Postgres
}

func (s *Server) dialRedis(ctx context.Context) (net.Conn, error) {
	if s.redis.TLS != nil {
		d := tls.Dialer{Config: s.redis.TLS}
		return d.DialContext(ctx, s.redis.Network, s.redis.Address)
	}
	var d net.Dialer
	return d.DialContext(ctx, s.redis.Network, s.redis.Address)
}

// tunnelTo answers with a tunnel to a server, which lasts until either end closes, the worker is revoked, or this
// process stops.
func (s *Server) tunnelTo(dial func(context.Context) (net.Conn, error)) func(http.ResponseWriter, *http.Request, access) error {
	return func(w http.ResponseWriter, r *http.Request, a access) error {
		if r.Header.Get("Upgrade") != upgradeTo {
			return tenantry.Errorf(tenantry.Invalid, "this is asked for with Upgrade: %s alone", upgradeTo)
		}
		ctx, cancel := context.WithTimeout(r.Context(), dialTime)
		defer cancel()
		inside, err := dial(ctx)
		if err != nil {
			return tenantry.E(tenantry.Shared, "connect a worker's tunnel", err)
		}
		outside, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = inside.Close()
			return tenantry.E(tenantry.Internal, "take over a worker's connection", err)
		}
		t := &tunnel{outside: outside, inside: inside}
		defer t.cut()
		if !s.tunnels.add(a.ID, t) {
			s.cfg.Log.Warn("a worker has too many tunnels, or this process stops", zap.String("worker", a.ID))
			return nil
		}
		defer s.tunnels.remove(a.ID, t)
		_, err = io.WriteString(outside, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+upgradeTo+"\r\n\r\n")
		if err != nil {
			return nil // the worker is gone
		}
		back := make(chan struct{})
		go func() {
			defer close(back)
			defer t.cut()
			_, _ = io.Copy(outside, inside) // either end closes when it has had enough
		}()
		_, _ = io.Copy(inside, buffered)
		t.cut()
		<-back
		return nil
	}
}
