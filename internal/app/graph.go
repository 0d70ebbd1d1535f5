package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
	"github.com/tenantry/tenantry/internal/worker"
	"github.com/tenantry/tenantry/internal/workload"
)

// graphConfig picks what concerns Graph from the configuration.
func graphConfig(cfg Config) graph.Config {
	return graph.Config{
		Cloud: cfg.Cloud, GraphURL: cfg.GraphURL, LoginURL: cfg.LoginURL,
		ClientID: cfg.ClientID, Secret: cfg.ClientSecret, Certificate: cfg.Certificate, TokenFile: cfg.FederatedTokenFile,
	}
}

// workloads opens sources and targets on Graph for the worker.
type workloads struct {
	client *graph.Client
	cat    *catalog.Catalog
	ring   repository.Keyring
}

// Source returns what reads one workload of a resource.
func (w workloads) Source(_ context.Context, t catalog.TenantRow, r catalog.Resource, load tenantry.Workload, o tenantry.BackupOptions) (engine.Source, error) {
	g := w.client.Tenant(t.ID, t.DirectoryID)
	switch load {
	case tenantry.Mailbox:
		return workload.NewMailboxSource(g, r.ObjectID, o), nil
	case tenantry.Drive:
		return workload.NewDriveSource(g, r.ObjectID, o), nil
	case tenantry.SiteContent:
		return workload.NewSiteSource(g, r.ObjectID, o), nil
	case tenantry.GroupContent:
		return workload.NewGroupSource(g, r.ObjectID), nil
	case tenantry.TeamContent:
		return workload.NewTeamSource(g, r.ObjectID, o), nil
	}
	return nil, unknown(load)
}

// Target returns what writes one workload back to a resource. Its calls may use the
// reserve that is kept for restores, and its long uploads outlive the slice.
func (w workloads) Target(_ context.Context, t catalog.TenantRow, task tenantry.TaskID, r catalog.Resource, load tenantry.Workload, req tenantry.RestoreRequest) (engine.Target, error) {
	g := w.client.Tenant(t.ID, t.DirectoryID).Reserve().KeepSessions(uploads{w.cat.Tenant(t.ID), w.ring, t.ID, task})
	if len(t.RestoreRoles) > 0 { // else the application for restores, if there is one, has no consent here
		g = g.As(tenantry.ToRestore)
	}
	switch load {
	case tenantry.Mailbox:
		return workload.NewMailboxTarget(g, r.ObjectID, req.Folder, req.Conflict), nil
	case tenantry.Drive:
		return workload.NewDriveTarget(g, r.ObjectID, req), nil
	case tenantry.SiteContent:
		return workload.NewSiteTarget(g, r.ObjectID, req), nil
	case tenantry.GroupContent:
		return workload.NewGroupTarget(), nil
	case tenantry.TeamContent:
		return workload.NewTeamTarget(g, r.ObjectID, req), nil
	}
	return nil, unknown(load)
}

// EndUploads ends the uploads that a tenant's ended tasks have left.
func (w workloads) EndUploads(ctx context.Context, t catalog.TenantRow) error {
	return endUploads(ctx, w.client.Tenant(t.ID, t.DirectoryID), w.cat.Tenant(t.ID), w.ring, t.ID)
}

// unknown is a workload of another release: a worker that knows it may take the task.
func unknown(load tenantry.Workload) error {
	return &tenantry.Error{Kind: tenantry.Invalid, Code: worker.UnknownHere, Err: fmt.Errorf("this worker does not know the workload %q", load)}
}

// sizeAge is how long a tenant's size is believed before the catalog is asked again:
// it changes with a directory sync, once a day.
const sizeAge = time.Minute

// sizes tells the account book how large tenants are, from the catalog.
type sizes struct {
	cat *catalog.Catalog

	mu    sync.Mutex
	known map[tenantry.TenantID]knownSize
}

type knownSize struct {
	throttle.Size
	at time.Time
}

func newSizes(cat *catalog.Catalog) *sizes {
	return &sizes{cat: cat, known: map[tenantry.TenantID]knownSize{}}
}

// of returns the size of a tenant; of one that cannot be read, the last known, else
// zero, which means the smallest limits.
func (s *sizes) of(id tenantry.TenantID) throttle.Size {
	s.mu.Lock()
	k, ok := s.known[id]
	s.mu.Unlock()
	if ok && time.Since(k.at) < sizeAge {
		return k.Size
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if row, err := s.cat.Tenant(id).Get(ctx); err == nil {
		k.Size = throttle.Size{Users: row.Users, Licences: row.Licences}
	}
	k.at = time.Now()
	s.mu.Lock()
	s.known[id] = k
	s.mu.Unlock()
	return k.Size
}
