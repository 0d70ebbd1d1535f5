package worker

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// An export makes an archive that can be fetched by the task's ID, and goes with time.
func TestExport(t *testing.T) {
	h := newHouse(t)
	cfg := h.config()
	cfg.KeepArchives = time.Nanosecond
	h.worker(cfg)
	snapshot := h.done(h.backup().ID).Snapshot
	task := h.done(h.start(catalog.NewTask{
		Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Export, Params: fmt.Appendf(nil, `{"snapshot":%d,"json":true}`, snapshot),
	}).ID)
	if task.Counts.Items != 250 || task.Counts.Stored == 0 {
		t.Errorf("exported %+v", task.Counts)
	}
	repo, err := h.Open(t.Context(), h.tenant)
	h.must(err)
	content, archive, err := repo.OpenArchive(t.Context(), string(task.ID))
	h.must(err)
	body, err := io.ReadAll(content)
	h.must(err)
	files, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	h.must(err)
	if len(files.File) < 250 || int64(len(body)) != archive.Size {
		t.Errorf("%s has %d files in %d bytes", archive.Name, len(files.File), archive.Size)
	}
	bad := h.ended(h.start(catalog.NewTask{
		Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Export, Params: fmt.Appendf(nil, `{"snapshot":%d,"form":"pst"}`, snapshot),
	}).ID)
	if bad.State != catalog.TaskFailed || bad.Kind != tenantry.Invalid {
		t.Errorf("an unknown form: %s %s", bad.State, bad.Reason)
	}
	h.start(catalog.NewTask{Action: tenantry.Collect})
	h.until("the archive is removed", func() bool {
		_, err := repo.Archive(t.Context(), string(task.ID))
		return tenantry.KindOf(err) == tenantry.NotFound
	})
}
