package workload_test

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// shelf keeps upload sessions in memory, as the catalog does for a task.
type shelf struct {
	mu   sync.Mutex
	kept map[string]tenantry.Secret
}

func (s *shelf) Find(_ context.Context, name string) (tenantry.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[name], nil
}

func (s *shelf) Keep(_ context.Context, name string, session tenantry.Secret, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[string]tenantry.Secret{}
	}
	s.kept[name] = session
	return nil
}

func (s *shelf) Drop(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, name)
	return nil
}

func (s *shelf) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.kept))
}

// anySnapshot can be embedded: a Snapshot has a method of that name.
type anySnapshot interface{ engine.Snapshot }

// uploading is a snapshot that notes which bytes of a long content are read, and does something when so many have been.
type uploading struct {
	anySnapshot
	froms []int64
	came  atomic.Int64
	after int64
	end   func()
}

func (u *uploading) OpenFrom(ctx context.Context, e repository.Entry, p repository.Part, from int64) (io.ReadCloser, error) {
	body, err := u.anySnapshot.OpenFrom(ctx, e, p, from)
	if err != nil || p.Size < longFile {
		return body, err
	}
	u.froms = append(u.froms, from)
	return &countedBody{body, u}, nil
}

type countedBody struct {
	io.ReadCloser
	of *uploading
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.of.came.Add(int64(n)) >= c.of.after {
		c.of.end()
	}
	return n, err
}

// restoreUntil runs a slice of a restore of everything whose worker ends, one way or the other, when so much of a long file
// was read.
func (c *company) restoreUntil(t *testing.T, s tenantry.Series, seq int64, kept tenantry.UploadSessions, killed bool) (u *uploading, done bool) {
	t.Helper()
	snap, err := c.repo.OpenSnapshot(t.Context(), s, seq)
	must(t, err)
	defer snap.Close()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	drain := make(chan struct{})
	u = &uploading{anySnapshot: snap, after: longLife, end: kill}
	if !killed {
		u.end = sync.OnceFunc(func() { close(drain) })
	}
	dst := workload.NewDriveTarget(c.graph.KeepSessions(kept), c.users[0].ID, tenantry.RestoreRequest{Folder: "Back"})
	out, err := engine.Restore(ctx, u, dst, tenantry.RestoreRequest{}, engine.Limits{}, drain, nil)
	if kind := tenantry.KindOf(err); err != nil && (!killed || kind != tenantry.Canceled) {
		t.Fatalf("%v (%s)", err, kind)
	}
	if err == nil && out.Counts.Skipped > 0 {
		t.Fatalf("problems: %+v", out.Problems)
	}
	return u, out.Done
}

// uploadFragment is a fragment of an upload to a drive: as much is sent twice of a file where its worker is killed.
const uploadFragment = 10 << 20

// TestLongUploadGoesOn restores a long file whose workers are killed, or drain, again and again: each goes on where Microsoft says
// that the one before it was, reading nothing that is there. A session that has ended meanwhile begins anew.
func TestLongUploadGoesOn(t *testing.T) {
	for name, killed := range map[string]bool{"killed": true, "drained": false} {
		t.Run(name, func(t *testing.T) {
			c, s, put := longDrive(t)
			put(1)
			seq := c.backup(t, s, c.drive(0), engine.Limits{}).Snapshot.Seq
			kept := &shelf{}

			u, done := c.restoreUntil(t, s, seq, kept, killed)
			if done || len(u.froms) != 1 || u.froms[0] != 0 || len(kept.names()) != 1 {
				t.Fatalf("the first slice: done %t, read from %v, keeps %q", done, u.froms, kept.names())
			}
			open := c.sim.OpenUploads()
			if len(open) != 1 || open[0].Total != longFile || open[0].Received < uploadFragment || open[0].Received > u.came.Load() {
				t.Fatalf("%d bytes were read, and %+v is open", u.came.Load(), open)
			}
			c.sim.EndUploads()
			if u, done = c.restoreUntil(t, s, seq, kept, killed); done || !slices.Equal(u.froms, []int64{0}) {
				t.Fatalf("the session had ended: done %t, read from %v", done, u.froms)
			}
			slice := 2
			for !done {
				from := c.sim.OpenUploads()[0].Received
				// What a killed worker had sent may arrive behind it.
				if u, done = c.restoreUntil(t, s, seq, kept, killed); len(u.froms) != 1 || u.froms[0] < max(from, uploadFragment) || u.froms[0] > from+uploadFragment {
					t.Fatalf("slice %d read from %v, and %d bytes were there", slice, u.froms, from)
				}
				if slice++; slice > 10 {
					t.Fatal("the file is not written after ten slices")
				}
			}
			if slice < 4 || len(kept.names()) != 0 || len(c.sim.OpenUploads()) != 0 {
				t.Errorf("%d slices; %q are kept, %+v are open", slice, kept.names(), c.sim.OpenUploads())
			}
			files, err := c.truth.DriveTruth(c.users[0].Drive)
			must(t, err)
			var digests []string
			for _, f := range files {
				if strings.HasSuffix(f.Path, "long.bin") {
					digests = append(digests, f.SHA256)
				}
			}
			if len(digests) != 2 || digests[0] != digests[1] {
				t.Errorf("the file and what was restored of it: %q, in %+v", digests, files)
			}
		})
	}
}
