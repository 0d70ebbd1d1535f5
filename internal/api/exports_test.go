package api_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"path"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// attic is archives in memory: one content, whatever the task.
type attic struct {
	content string
	failAt  int64 // reading fails from there on, if it is above 0
}

func (a attic) Archive(context.Context, tenantry.TenantID, tenantry.TaskID) (api.Archive, error) {
	return api.Archive{Name: "Büro 1.zip", Size: int64(len(a.content)), Made: time.Unix(1, 0)}, nil
}

func (a attic) Open(ctx context.Context, t tenantry.TenantID, task tenantry.TaskID) (io.ReadSeeker, api.Archive, error) {
	found, err := a.Archive(ctx, t, task)
	return &worn{bytes.NewReader([]byte(a.content)), a.failAt}, found, err
}

func (a attic) RemovedAt(made time.Time) time.Time { return made.Add(7 * 24 * time.Hour) }

// worn is content that cannot be read to its end.
type worn struct {
	*bytes.Reader
	failAt int64
}

func (w *worn) Read(p []byte) (int, error) {
	if at := w.Size() - int64(w.Len()); w.failAt > 0 && at >= w.failAt {
		return 0, tenantry.Errorf(tenantry.Corrupt, "damaged")
	}
	if w.failAt > 0 {
		p = p[:min(int64(len(p)), w.failAt)]
	}
	return w.Reader.Read(p)
}

// exported is a house with an export that is done.
func exported(t *testing.T, a attic) (h *house, one string) {
	t.Helper()
	h = newHouse(t, func(c *api.Config) { c.Archives = a })
	id := h.addConnected("Contoso", contosoGUID)
	seq := h.seal(id)
	base := "/v1/tenants/" + string(id) + "/exports"
	r := h.want(http.StatusCreated, "POST", base, map[string]any{"resource": ada, "workload": "mailbox", "snapshot": seq, "form": "mbox"})
	run := tenantry.RunID(r.text("id"))
	one = base + "/" + string(run)
	h.problemWith(h.call("GET", one, nil), http.StatusConflict, tenantry.Conflict, "ready")
	claim := h.claim(id, run)
	if want := `{"snapshot":7,"form":"mbox"}`; string(claim.Params) != want {
		t.Errorf("the task is to do %s, want %s", claim.Params, want)
	}
	must(t, h.catalog.Tenant(id).Settle(t.Context(), claim, catalog.Settlement{State: catalog.TaskDone}, h.clock.Now()))
	return h, one
}

func TestExportsAreFetched(t *testing.T) {
	t.Parallel()
	h, one := exported(t, attic{content: "0123456789"})
	if r := h.want(200, "GET", one, nil); r.text("name") != "Büro 1.zip" || r.field("size") != 10.0 {
		t.Errorf("the archive is %s", r.body)
	}
	r := h.want(200, "GET", one+"/content", nil)
	if string(r.body) != "0123456789" || r.header.Get("Content-Disposition") != "attachment; filename*=utf-8''B%C3%BCro%201.zip" {
		t.Errorf("fetched %q with %v", r.body, r.header)
	}
	request := h.request("GET", one+"/content", nil)
	request.Header.Set("Authorization", "Bearer "+h.token)
	request.Header.Set("Range", "bytes=3-5")
	if r := h.send(request); r.status != http.StatusPartialContent || string(r.body) != "345" {
		t.Errorf("a range is %d %q", r.status, r.body)
	}
}

// What cannot be read on must not look whole to whoever fetches it.
func TestADamagedExportIsCutOff(t *testing.T) {
	t.Parallel()
	h, one := exported(t, attic{content: "0123456789", failAt: 4})
	request := h.request("GET", one+"/content", nil)
	request.Header.Set("Authorization", "Bearer "+h.token)
	answer, err := http.DefaultClient.Do(request)
	if err == nil {
		_, err = io.ReadAll(answer.Body)
		_ = answer.Body.Close()
	}
	if err == nil {
		t.Error("a damaged export was fetched without an error")
	}
}

func TestExportsAreRefused(t *testing.T) {
	t.Parallel()
	h, one := exported(t, attic{})
	base := path.Dir(one)
	ask := func(change map[string]any) map[string]any {
		n := map[string]any{"resource": ada, "workload": "mailbox", "snapshot": 7}
		for k, v := range change {
			n[k] = v
		}
		return n
	}
	h.problemWith(h.call("POST", base, ask(map[string]any{"form": "pst"})), 422, tenantry.Invalid, "form")
	h.problemWith(h.call("POST", base, ask(map[string]any{"form": "item"})), 422, tenantry.Invalid, "one item")
	h.problemWith(h.call("POST", base, ask(map[string]any{"items": []string{""}})), 422, tenantry.Invalid, "items")
	h.problemWith(h.call("POST", base, ask(map[string]any{"snapshot": 99})), 422, tenantry.Invalid, "snapshot")
	h.problemWith(h.call("GET", base+"/nothing", nil), 404, tenantry.NotFound, "run")
	backup := h.want(200, "GET", path.Dir(base)+"/runs", nil)
	for i := range 2 {
		if id := backup.text([]string{"items.0.id", "items.1.id"}[i]); backup.field([]string{"items.0.action", "items.1.action"}[i]) == "backup" {
			h.problemWith(h.call("GET", base+"/"+id+"/content", nil), 404, tenantry.NotFound, "no export")
		}
	}
}
