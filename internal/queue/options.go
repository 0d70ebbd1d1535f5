package queue

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Options say where Redis is.
type Options struct {
	// URL is "host:port", "redis://user:password@host:port/db", "rediss://..." for
	// TLS, or "unix://user:password@/path?db=n". It may hold a password and is
	// therefore never part of an error or a log line.
	URL string
	// Dial opens connections in the place of the network; nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Upstream is where a Redis lies, for whoever carries others' connections to it.
type Upstream struct {
	Network, Address string // as net.Dial takes them
	Database         string
	TLS              *tls.Config // nil: it is spoken to in the clear
}

// Upstream tells where Redis is. Invalid if URL cannot be read.
func (o Options) Upstream() (Upstream, error) {
	opt, err := o.parse()
	if err != nil {
		return Upstream{}, err
	}
	u := Upstream{Network: opt.Network, Address: opt.Addr, Database: strconv.Itoa(opt.DB), TLS: opt.TLSConfig}
	if u.Network == "" {
		u.Network = "tcp"
	}
	return u, nil
}

// RedisClient returns a new client of its own connection pool; the caller closes
// it. It connects on first use. Invalid if URL cannot be read.
func (o Options) RedisClient() (redis.UniversalClient, error) {
	opt, err := o.parse()
	if err != nil {
		return nil, err
	}
	return redis.NewClient(opt), nil
}

func (o Options) parse() (*redis.Options, error) {
	opt := &redis.Options{Addr: o.URL}
	if strings.Contains(o.URL, "://") {
		var err error
		// The parser's error quotes the URL and with it the password: it is dropped.
		if opt, err = redis.ParseURL(o.URL); err != nil {
			return nil, tenantry.Errorf(tenantry.Invalid, `redis url: not of the form "redis://user:password@host:port/db"`)
		}
	} else if _, _, err := net.SplitHostPort(o.URL); err != nil {
		return nil, tenantry.Errorf(tenantry.Invalid, `redis url: neither "host:port" nor "redis://..."`)
	}
	// Deadlines of contexts count, not only those of the socket.
	opt.ContextTimeoutEnabled = true
	opt.Dialer = o.Dial
	return opt, nil
}

// connector makes asynqmon's own clients, which it closes itself.
type connector struct{ opt *redis.Options }

func (c connector) MakeRedisClient() any {
	opt := *c.opt
	return redis.NewClient(&opt)
}
