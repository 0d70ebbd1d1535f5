package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// NewRestore brings a snapshot, or part of it, back to Microsoft 365.
type NewRestore struct {
	Resource tenantry.ResourceID `json:"resource" minLength:"1" maxLength:"200" example:"u-0f1e2d3c-4b5a-4697-8877-665544332211" doc:"Whose snapshot"`
	Workload tenantry.Workload   `json:"workload" enum:"mailbox,drive,site,group,team"`
	Snapshot int64               `json:"snapshot" minimum:"1" example:"31" doc:"Sequence number of the snapshot"`
	Items    []string            `json:"items,omitempty" nullable:"false" maxItems:"1000" uniqueItems:"true" doc:"IDs of folders and items; without it everything"`
	To       tenantry.ResourceID `json:"to,omitempty" maxLength:"200" doc:"Another resource of the tenant; without it the same"`
	Folder   string              `json:"folder,omitempty" maxLength:"200" doc:"Name of a new folder for it; without it one named after the moment, as 'Restored 2026-11-21 12-05-09'"`
	Original bool                `json:"original,omitempty" doc:"Instead of a folder: into the places where everything was"`
	Conflict string              `json:"conflict,omitempty" enum:"skip,copy,replace" default:"copy" doc:"What to do where a different item has the place"`
	// Sharing again is a decision of its own.
	Permissions bool `json:"permissions,omitempty" doc:"Make grants and sharing links on restored files, too; nobody is told, and links have new addresses"`
}

// NewVerification re-reads everything a snapshot names.
type NewVerification struct {
	Resource tenantry.ResourceID `json:"resource" minLength:"1" maxLength:"200" example:"u-0f1e2d3c-4b5a-4697-8877-665544332211" doc:"Whose snapshot"`
	Workload tenantry.Workload   `json:"workload" enum:"mailbox,drive,site,group,team"`
	Snapshot int64               `json:"snapshot" minimum:"1" example:"31" doc:"Sequence number of the snapshot"`
	Quick    bool                `json:"quick,omitempty" doc:"Look at the structure alone: the index, and that every object is there; read no content"`
}

type restoreInput struct {
	TenantPath
	Body NewRestore
}

func (in *restoreInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

type verifyInput struct {
	TenantPath
	Body NewVerification
}

func (in *verifyInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

func (s *service) restoreRoutes() {
	const tag = "restores"
	write(s, post(http.StatusCreated, "start-restore", tag, "/v1/tenants/{tenant}/restores", "Restore a snapshot or part of it"), s.startRestore)
	write(s, post(http.StatusOK, "preview-restore", tag, "/v1/tenants/{tenant}/restores/preview", "Say what a restore would write, where to, what it lacks and how long it takes at least"), s.previewRestore)
	write(s, post(http.StatusCreated, "start-verification", tag, "/v1/tenants/{tenant}/verifications", "Verify a snapshot: re-read and check everything it names; what is damaged is read again with the next backup"), s.startVerification)
	write(s, post(http.StatusCreated, "start-repair", tag, "/v1/tenants/{tenant}/resources/{resource}/workloads/{workload}/repair",
		"Read the index of a series, and make it anew from packs and manifests if it is damaged"), s.startRepair)
}

type repairInput struct{ SeriesPath }

func (in *repairInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.series().String() }

// startRepair makes an index anew; damaged items are repaired by themselves once a verification has found
// them.
func (s *service) startRepair(ctx context.Context, in *repairInput) (*created[Run], error) {
	t, r, err := s.resource(ctx, in.ResourcePath)
	if err != nil {
		return nil, err
	}
	return s.startOn(ctx, t, tenantry.Repair, r.ID, in.Workload, tenantry.RepairRequest{Index: true})
}

func (s *service) startRestore(ctx context.Context, in *restoreInput) (*created[Run], error) {
	n := in.Body
	var wrong complaints
	wrong.add(n.writable())
	wrong.add(n.place(s.Now()))
	wrong.add(checkItems(n.Items))
	if err := wrong.err(); err != nil {
		return nil, err
	}
	t, err := s.connected(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	source, err := sourceOf(ctx, t, n.Resource, n.Workload, n.Snapshot)
	if err != nil {
		return nil, err
	}
	if err := checkTarget(ctx, t, source, n); err != nil {
		return nil, err
	}
	return s.startOn(ctx, t, tenantry.Restore, n.Resource, n.Workload, tenantry.RestoreRequest{
		Snapshot: n.Snapshot, Items: n.Items, To: n.To, Folder: n.Folder, Conflict: n.Conflict,
		Permissions: n.Permissions,
	})
}

// writable refuses what no application may write, also in a preview.
func (n *NewRestore) writable() error {
	if n.Workload == tenantry.GroupContent {
		return invalid("body.workload", n.Workload, "Microsoft lets no application write conversations and events of groups: export them. Files, lists and pages of a group are its site's, which is a resource of its own")
	}
	return nil
}

// place settles where a restore goes: unless it names a folder, or wants the original places, a new folder that is
// named after now. Nothing is mixed with what is there unless somebody says so.
func (n *NewRestore) place(now time.Time) error {
	if err := checkFolder(n.Folder); err != nil {
		return err
	}
	n.Folder = strings.TrimSpace(n.Folder)
	switch {
	case n.Original && n.Folder != "":
		return invalid("body.original", n.Original, "either the original places or the folder %q", n.Folder)
	case !n.Original && n.Folder == "":
		n.Folder = "Restored " + now.UTC().Format("2006-01-02 15-04-05") // no colon: SharePoint takes none
	}
	return nil
}

// startVerification works for any state of tenant and resource: it reads the
// bucket alone.
func (s *service) startVerification(ctx context.Context, in *verifyInput) (*created[Run], error) {
	n := in.Body
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := sourceOf(ctx, t, n.Resource, n.Workload, n.Snapshot); err != nil {
		return nil, err
	}
	return s.startOn(ctx, t, tenantry.Verify, n.Resource, n.Workload, tenantry.VerifyRequest{Snapshot: n.Snapshot, Quick: n.Quick})
}

// startOn starts a run of one task on one series.
func (s *service) startOn(ctx context.Context, t *catalog.Tenant, action tenantry.Action, r tenantry.ResourceID, w tenantry.Workload, request any) (*created[Run], error) {
	params, err := json.Marshal(request)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "encode "+string(action)+" request", err)
	}
	return s.start(ctx, t, action, "", []catalog.NewTask{{Resource: r, Workload: w, Params: params}})
}

// sourceOf finds the resource and checks that it has the snapshot. The resource
// may be in any state: what is gone in Microsoft 365 is what gets restored.
func sourceOf(ctx context.Context, t *catalog.Tenant, id tenantry.ResourceID, w tenantry.Workload, seq int64) (catalog.Resource, error) {
	r, err := t.Resource(ctx, id)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return r, invalid("body.resource", id, "the tenant has no such resource")
	}
	if err != nil {
		return r, err
	}
	rows, err := t.Snapshots(ctx, id, w, seq+1, 1)
	if err != nil {
		return r, err
	}
	if len(rows) == 0 || rows[0].Seq != seq {
		return r, invalid("body.snapshot", seq, "the %s of %q has no such snapshot", w, r.Name)
	}
	return r, nil
}

// checkTarget refuses a restore that has nowhere to go.
func checkTarget(ctx context.Context, t *catalog.Tenant, source catalog.Resource, n NewRestore) error {
	if n.To == "" || n.To == source.ID {
		if source.State != tenantry.Active {
			return invalid("body.to", n.To, "%q is %s in Microsoft 365: name another resource to restore to", source.Name, source.State)
		}
		return nil
	}
	target, err := t.Resource(ctx, n.To)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return invalid("body.to", n.To, "the tenant has no such resource")
	}
	if err != nil {
		return err
	}
	if target.State != tenantry.Active {
		return invalid("body.to", n.To, "%q is %s in Microsoft 365", target.Name, target.State)
	}
	if !slices.Contains(target.Workloads, n.Workload) {
		return invalid("body.to", n.To, "%q has no %s", target.Name, n.Workload)
	}
	return nil
}

func checkItems(items []string) error {
	var wrong complaints
	for i, item := range items {
		if item == "" || len(item) > 1000 {
			wrong.add(invalid(fmt.Sprintf("body.items[%d]", i), item, "an ID of an item has 1 to 1000 characters"))
		}
	}
	return wrong.err()
}

// checkFolder refuses names that a drive cannot have; a mailbox could, but one
// rule is easier to know.
func checkFolder(name string) error {
	switch {
	case name == "":
		return nil
	case strings.TrimSpace(name) == "" || name == "." || name == "..":
		return invalid("body.folder", name, "must be a name")
	case strings.ContainsAny(name, `"*:<>?/\|`) || strings.ContainsFunc(name, unicode.IsControl):
		return invalid("body.folder", name, `must not have control characters or any of " * : < > ? / \ |`)
	}
	return nil
}
