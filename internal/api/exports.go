package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Archives reads what the tasks of exports made, which workers have sealed in the bucket. Called
// from any goroutine. NotFound: the task has not ended, or its archive was removed since.
type Archives interface {
	// Archive describes one.
	Archive(ctx context.Context, t tenantry.TenantID, task tenantry.TaskID) (Archive, error)
	// Open opens one; ctx bounds what is read.
	Open(ctx context.Context, t tenantry.TenantID, task tenantry.TaskID) (io.ReadSeeker, Archive, error)
	// RemovedAt is when an archive that was made at a time is removed, or soon after.
	RemovedAt(made time.Time) time.Time
}

// Archive is a file to fetch.
type Archive struct {
	Name string    `json:"name" doc:"What to call the file"`
	Size int64     `json:"size" doc:"Bytes"`
	Made time.Time `json:"made_at"`
}

// NewExport makes files of a snapshot, or of part of it.
type NewExport struct {
	Resource tenantry.ResourceID `json:"resource" minLength:"1" maxLength:"200" example:"u-0f1e2d3c-4b5a-4697-8877-665544332211" doc:"Whose snapshot"`
	Workload tenantry.Workload   `json:"workload" enum:"mailbox,drive,site,group,team"`
	Snapshot int64               `json:"snapshot" minimum:"1" example:"31" doc:"Sequence number of the snapshot"`
	Items    []string            `json:"items,omitempty" nullable:"false" maxItems:"1000" uniqueItems:"true" doc:"IDs of folders and items; without it everything"`
	Form     string              `json:"form,omitempty" enum:"zip,mbox,ics,vcf,item" default:"zip" doc:"zip: every item as a file (eml, ics, vcf, files as they are); mbox, ics, vcf: all messages, events or contacts in one file; item: the one chosen item"`
	JSON     bool                `json:"json,omitempty" doc:"In a zip: beside every item the JSON that Microsoft sent"`
}

type exportInput struct {
	TenantPath
	Body NewExport
}

func (in *exportInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

type fetchInput struct{ RunPath }

func (in *fetchInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Run }

func (s *service) exportRoutes() {
	const tag, all = "exports", "/v1/tenants/{tenant}/exports"
	write(s, post(http.StatusCreated, "start-export", tag, all, "Export a snapshot, or part of it, as a file to fetch"), s.startExport)
	read(s, get("get-export", tag, all+"/{run}", "Describe the file that an export made"), s.getExport)
	fetch := get("fetch-export", tag, all+"/{run}/content", "Fetch the file that an export made; ranges are possible")
	fetch.Responses = map[string]*huma.Response{"200": {
		Description: "The file", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}}
	write(s, fetch, s.fetchExport)
}

// startExport works for any state of tenant and resource: it reads the bucket alone.
func (s *service) startExport(ctx context.Context, in *exportInput) (*created[Run], error) {
	n := in.Body
	if err := checkItems(n.Items); err != nil {
		return nil, err
	}
	if n.Form == "item" && len(n.Items) != 1 {
		return nil, invalid("body.items", n.Items, "the form item takes one item")
	}
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := sourceOf(ctx, t, n.Resource, n.Workload, n.Snapshot); err != nil {
		return nil, err
	}
	return s.startOn(ctx, t, tenantry.Export, n.Resource, n.Workload, tenantry.ExportRequest{
		Snapshot: n.Snapshot, Items: n.Items, Form: n.Form, JSON: n.JSON,
	})
}

// archiveTask finds the task of a run that made an archive, or is about to.
func (s *service) archiveTask(ctx context.Context, p RunPath, action tenantry.Action) (catalog.Task, error) {
	t, _, err := s.tenant(ctx, p.Tenant)
	if err != nil {
		return catalog.Task{}, err
	}
	run, err := t.Run(ctx, p.Run)
	if err != nil {
		return catalog.Task{}, err
	}
	if s.Archives == nil {
		return catalog.Task{}, errNoBucket()
	}
	tasks, err := t.Tasks(ctx, p.Run, "", 1)
	switch {
	case err != nil:
		return catalog.Task{}, err
	case run.Action != action || len(tasks) == 0:
		return catalog.Task{}, tenantry.Errorf(tenantry.NotFound, "run %s is no %s", p.Run, action)
	case tasks[0].State == catalog.TaskFailed:
		return catalog.Task{}, tenantry.Errorf(tenantry.NotFound, "the %s failed: %s", action, tasks[0].Reason)
	case tasks[0].State != catalog.TaskDone:
		return catalog.Task{}, tenantry.Errorf(tenantry.Conflict, "the %s is %s: fetch it when its run is done", action, tasks[0].State)
	}
	return tasks[0], nil
}

func (s *service) getExport(ctx context.Context, in *fetchInput) (*body[Archive], error) {
	task, err := s.archiveTask(ctx, in.RunPath, tenantry.Export)
	if err != nil {
		return nil, err
	}
	a, err := s.Archives.Archive(ctx, in.Tenant, task.ID)
	if err != nil {
		return nil, err
	}
	return &body[Archive]{a}, nil
}

const (
	// fetchTime bounds how long a file may be read in one request, stallTime how long nobody may take any
	// of it; who needs more goes on with a range.
	fetchTime = 12 * time.Hour
	stallTime = time.Minute
)

func (s *service) fetchExport(ctx context.Context, in *fetchInput) (*huma.StreamResponse, error) {
	task, err := s.archiveTask(ctx, in.RunPath, tenantry.Export)
	if err != nil {
		return nil, err
	}
	long, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	content, a, err := s.Archives.Open(long, in.Tenant, task.ID)
	if err != nil {
		cancel()
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer cancel()
		r, w := humago.Unwrap(c)
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.Name}))
		http.ServeContent(&patient{ResponseWriter: w}, r, "", a.Made, &cutting{content})
	}}, nil
}

// patient gives whoever reads time for as long as something is taken.
type patient struct{ http.ResponseWriter }

func (p *patient) Write(b []byte) (int, error) {
	// Where there are no deadlines, in tests, there is nothing to move.
	_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(stallTime))
	return p.ResponseWriter.Write(b)
}

// cutting cuts the connection where the file cannot be read on: what was sent must not look whole.
type cutting struct{ io.ReadSeeker }

func (c *cutting) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		panic(http.ErrAbortHandler)
	}
	return n, err
}
