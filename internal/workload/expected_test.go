package workload_test

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestProgressTellsWhatIsExpected: a first backup, over all of its slices, tells early how many items there are, by what
// folders say that they have; in the end as many are done. What changed since then nobody tells ahead.
func TestProgressTellsWhatIsExpected(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 300, AttachmentSize: 20 << 10, FilesPerUser: 300, FileSize: 20 << 10}, graphsim.Options{})
	for name, src := range map[tenantry.Workload]func() engine.Source{tenantry.Mailbox: c.mailbox(0), tenantry.Drive: c.drive(0)} {
		t.Run(string(name), func(t *testing.T) {
			s, task := c.series(0, name), tenantry.NewTaskID(time.Now())
			var before, done, most, early, slices int64
			for out := (engine.Outcome{}); !out.Done; slices++ {
				w, err := c.repo.Begin(t.Context(), s, repository.Fence{Epoch: c.epoch.Add(1), Task: task})
				must(t, err)
				out, err = engine.Backup(t.Context(), src(), w, engine.Limits{SlicePages: 1, CheckpointBytes: 1 << 16}, nil, func(n tenantry.Counts) {
					if n.Total < n.Items {
						t.Errorf("%d of %d items", n.Items, n.Total)
					}
					if most = max(most, before+n.Total); before+n.Items < 200 {
						early = max(early, before+n.Total)
					}
				})
				w.Close()
				must(t, err)
				before += out.Counts.Items
			}
			done = before
			if slices < 2 || done < 300 || most > done+done/20 || early < 300*9/10 {
				t.Errorf("%d slices: at most %d were expected, %d of them early, and %d were done", slices, most, early, done)
			}
			if out := c.backup(t, s, src, engine.Limits{}); out.Counts.Total != out.Counts.Items {
				t.Errorf("an incremental expects %+v", out.Counts)
			}
		})
	}
}
