package workload_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// TestFilesOfTasks takes files that are attached to tasks there and back, one that is added later too; none is there twice,
// and those that are too large for a POST are named.
func TestFilesOfTasks(t *testing.T) {
	for name, plain := range map[string]bool{"expanded": false, "one by one": true} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 2, TasksPerUser: 5}, graphsim.Options{Exchange: graphsim.ExchangeOptions{TaskAttachments: true}})
			user := c.users[0].ID
			lists, err := c.truth.TaskListTruth(user)
			must(t, err)
			task, err := c.graph.CreateTask(t.Context(), user, lists[0].ID, []byte(`{"title":"with files"}`))
			must(t, err)
			attach := func(name string, content []byte) {
				t.Helper()
				body := fmt.Sprintf(`{"@odata.type":"#microsoft.graph.taskFileAttachment","name":%q,"contentType":"image/png","contentBytes":%q}`,
					name, base64.StdEncoding.EncodeToString(content))
				must(t, c.graph.AddTaskPart(t.Context(), user, lists[0].ID, task, "attachments", []byte(body)))
			}
			attach("a.png", []byte("a picture"))
			attach("a.png", []byte("another"))
			src := c.mailbox(0)
			if plain {
				src = func() engine.Source {
					return workload.NewMailboxSource(unexpanded{c.graph}, user, tenantry.BackupOptions{})
				}
			}
			s := c.series(0, tenantry.Mailbox)
			first := c.backup(t, s, src, engine.Limits{})
			before := c.tasksOf(t, 0, "")
			attach("empty", nil)
			second := c.backup(t, s, src, engine.Limits{})
			after := c.tasksOf(t, 0, "")
			for range 2 {
				c.restoreWell(t, s, first.Snapshot.Seq, c.into(1, "First", ""))
				equal(t, before, c.tasksOf(t, 1, "First - "))
				c.restoreWell(t, s, second.Snapshot.Seq, c.into(1, "Second", ""))
				equal(t, after, c.tasksOf(t, 1, "Second - "))
			}
			attach("large", make([]byte, 3_000_001))
			attach("larger", make([]byte, 3_000_002))
			third := c.backup(t, s, src, engine.Limits{})
			out := c.restore(t, s, third.Snapshot.Seq, c.into(1, "Third", ""), tenantry.RestoreRequest{})
			if len(out.Problems) != 1 || !strings.Contains(out.Problems[0].Reason, `"large"`) || !strings.Contains(out.Problems[0].Reason, `"larger"`) ||
				!strings.Contains(out.Notes, "creation") {
				t.Errorf("%q %+v", out.Notes, out.Problems)
			}
			equal(t, len(after), len(c.tasksOf(t, 1, "Third - ")))
		})
	}
}
