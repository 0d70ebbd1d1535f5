package worker

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
)

// uncommitted knows since when each running backup has not committed: what a crash now
// would have to read again. Safe for concurrent use.
type uncommitted struct {
	mu    sync.Mutex
	since map[*committer]time.Time
}

// age is that of the oldest; 0 without a running backup.
func (u *uncommitted) age(now time.Time) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	var oldest time.Duration
	for _, at := range u.since {
		oldest = max(oldest, now.Sub(at))
	}
	return oldest
}

// committer is a series' writer whose commits are noted.
type committer struct {
	*repository.Writer
	notes *uncommitted
}

// watch begins to count for a writer; end ends it.
func (u *uncommitted) watch(w *repository.Writer) (c *committer, end func()) {
	c = &committer{w, u}
	c.note()
	return c, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.since, c)
	}
}

func (c *committer) note() {
	c.notes.mu.Lock()
	defer c.notes.mu.Unlock()
	if c.notes.since == nil {
		c.notes.since = map[*committer]time.Time{}
	}
	c.notes.since[c] = time.Now()
}

// Checkpoint implements engine.Commits.
func (c *committer) Checkpoint(ctx context.Context) error {
	err := c.Writer.Checkpoint(ctx)
	if err == nil {
		c.note()
	}
	return err
}
