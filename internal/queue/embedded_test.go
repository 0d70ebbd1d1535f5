package queue

import (
	"context"
	"testing"
	"time"
)

func TestEmbeddedKeysExpire(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	addr, stop, err := StartEmbedded(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c := newClient(t, Options{URL: addr})
	if err := c.rdb.Set(t.Context(), "k", "v", 300*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key expires", func() bool { return c.rdb.Exists(t.Context(), "k").Val() == 0 })
	cancel()
	eventually(t, "it ends with its context", func() bool { return c.Ping(t.Context()) != nil })
}
