package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync/atomic"

	"github.com/tenantry/tenantry/internal/blob"
)

// counted counts the requests that a store gets.
type counted struct {
	blob.Store
	puts, gets, lists atomic.Int64
}

func (c *counted) reset() {
	c.puts.Store(0)
	c.gets.Store(0)
	c.lists.Store(0)
}

func (c *counted) Put(ctx context.Context, key string, body []byte) error {
	c.puts.Add(1)
	return c.Store.Put(ctx, key, body)
}

func (c *counted) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	c.puts.Add(1)
	return c.Store.PutIfAbsent(ctx, key, body)
}

func (c *counted) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, key, offset, n)
}

func (c *counted) Stat(ctx context.Context, key string) (blob.Info, error) {
	c.gets.Add(1)
	return c.Store.Stat(ctx, key)
}

func (c *counted) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	c.lists.Add(1)
	return c.Store.List(ctx, prefix)
}

// memory prints how much memory this process has had at most. What its parent sees of it begins
// with the parent's own (execve keeps the larger).
func (p program) memory() {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return // not Linux: the figure is missing
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if kb, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			fmt.Fprintf(p.out, "rss_kb %s\n", strings.TrimSpace(strings.TrimSuffix(kb, "kB")))
		}
	}
}
