package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// sealed makes a snapshot of a series of what put writes, and has the catalog list it.
func (h *house) sealed(s tenantry.Series, epoch int64, put func(w *repository.Writer)) repository.Snapshot {
	h.t.Helper()
	repo, err := h.Open(h.t.Context(), h.tenant)
	h.must(err)
	w, err := repo.Begin(h.t.Context(), s, repository.Fence{Epoch: epoch, Task: tenantry.TaskID(fmt.Sprint("task ", epoch))})
	h.must(err)
	defer w.Close()
	put(w)
	snapshot, err := w.Seal(h.t.Context(), time.Now())
	h.must(err)
	known, err := h.scope().Snapshots(h.t.Context(), s.Resource, s.Workload, 0, 10)
	h.must(err)
	rows := append(known, catalog.SnapshotRow{Series: s, Seq: snapshot.Seq, Time: snapshot.Time, Task: "task", Counts: snapshot.Counts})
	h.must(h.scope().MirrorSnapshots(h.t.Context(), s.Resource, s.Workload, rows))
	return snapshot
}

// searched runs a search and returns what it found, as "resource workload snapshot name".
func (h *house) searched(req tenantry.SearchRequest) (found []string, sum tenantry.SearchSummary, task catalog.Task) {
	h.t.Helper()
	params, err := json.Marshal(req)
	h.must(err)
	task = h.done(h.start(catalog.NewTask{Action: tenantry.Search, Params: params}).ID)
	repo, err := h.Open(h.t.Context(), h.tenant)
	h.must(err)
	content, _, err := repo.OpenArchive(h.t.Context(), string(task.ID))
	h.must(err)
	body, err := io.ReadAll(content)
	h.must(err)
	lines := bytes.Split(bytes.TrimRight(body, "\n"), []byte("\n"))
	for _, line := range lines[:len(lines)-1] {
		var item tenantry.FoundItem
		h.must(json.Unmarshal(line, &item))
		found = append(found, fmt.Sprint(item.Resource, " ", item.Workload, " ", item.Snapshot, " ", item.Name))
	}
	h.must(json.Unmarshal(lines[len(lines)-1], &sum))
	return found, sum, task
}

// A search looks into the newest snapshot of each series, or into all of them: there it shows each version of an item
// once, by the newest snapshot that has it. It needs no consent.
func TestSearch(t *testing.T) {
	h := newHouse(t)
	h.worker(h.config())
	message := func(id, etag, name string) repository.Entry {
		return repository.Entry{ID: id, ETag: etag, Parent: "inbox", Kind: "message", Name: name, From: "ada@contoso.example", Date: time.Now()}
	}
	ann := tenantry.Series{Tenant: h.tenant, Resource: "u-ann", Workload: tenantry.Mailbox}
	bob := tenantry.Series{Tenant: h.tenant, Resource: "u-bob", Workload: tenantry.Drive}
	first := h.sealed(ann, 1, func(w *repository.Writer) {
		h.must(w.Put(t.Context(), repository.Entry{ID: "inbox", Kind: repository.KindFolder, Name: "Inbox"}))
		for i, name := range []string{"Invoice gone", "Invoice draft", "Invoice kept", "Lunch"} {
			h.must(w.Put(t.Context(), message(fmt.Sprint("m", i), "1", name)))
		}
	})
	second := h.sealed(ann, 2, func(w *repository.Writer) {
		h.must(w.Remove(t.Context(), "m0"))
		h.must(w.Put(t.Context(), message("m1", "2", "Invoice sent")))
	})
	file := h.sealed(bob, 1, func(w *repository.Writer) {
		h.must(w.Put(t.Context(), repository.Entry{ID: "f", Kind: "file", Name: "invoice.pdf"}))
	})
	h.must(h.scope().SetState(t.Context(), tenantry.TenantDisconnected, "its consent is gone"))
	at := func(s repository.Snapshot, of, name string) string { return fmt.Sprint(of, " ", s.Seq, " ", name) }
	const mails, files = "u-ann mailbox", "u-bob drive"
	for name, tt := range map[string]struct {
		req       tenantry.SearchRequest
		want      []string
		snapshots int64
	}{
		"newest": {tenantry.SearchRequest{Text: "INVOICE"}, []string{
			at(second, mails, "Invoice sent"), at(second, mails, "Invoice kept"), at(file, files, "invoice.pdf")}, 2},
		"all": {tenantry.SearchRequest{Text: "invoice", All: true}, []string{
			at(second, mails, "Invoice sent"), at(second, mails, "Invoice kept"), at(first, mails, "Invoice gone"), at(first, mails, "Invoice draft"),
			at(file, files, "invoice.pdf")}, 3},
		"workload": {tenantry.SearchRequest{Text: "invoice", Workload: tenantry.Drive, All: true}, []string{at(file, files, "invoice.pdf")}, 1},
		"nothing":  {tenantry.SearchRequest{From: "ada", Before: time.Unix(1, 0)}, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			found, sum, task := h.searched(tt.req)
			if diff := cmp.Diff(tt.want, found); diff != "" {
				t.Error(diff)
			}
			if sum.Found != int64(len(tt.want)) || sum.Snapshots != tt.snapshots || sum.More || sum.Examined == 0 || task.Counts.Items != sum.Examined {
				t.Errorf("%+v, %+v", sum, task.Counts)
			}
		})
	}
	bad := h.ended(h.start(catalog.NewTask{Action: tenantry.Search}).ID)
	if bad.State != catalog.TaskFailed || bad.Kind != tenantry.Invalid {
		t.Errorf("without parameters: %s %s", bad.State, bad.Reason)
	}
}
