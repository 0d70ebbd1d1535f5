package servertest_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/tenantry/tenantry/internal/servertest"
)

func TestServersStart(t *testing.T) {
	redis := servertest.StartRedis(t)
	redis.Kill()
	redis.Start()

	pg := servertest.Postgres(t)
	if a, b := pg.Database(t), pg.Database(t); a == b {
		t.Fatalf("two databases share the DSN %s", a)
	}

	first := pg.Database(t)
	for range 3 {
		if second := pg.Copy(t, first); second == first {
			t.Fatalf("a copy shares the DSN %s", first)
		}
	}

	pg.Stop()
	pg.Start()
	pg.Database(t)

	s3 := servertest.S3(t)
	s3.Stop()
	s3.Start()
	answer, err := http.Get(s3.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Fatalf("an anonymous list of buckets got %s, expected 403", answer.Status)
	}
}

// An address is given once, and can be listened on.
func TestAddr(t *testing.T) {
	t.Parallel()
	given := map[string]bool{}
	for range 100 {
		addr := servertest.Addr(t)
		if given[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		given[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // nobody else is given it even so
	}
}
