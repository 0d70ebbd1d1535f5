package worker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// restore runs one slice of a restore: from the task's series to its own resource, or to
// another one of the same tenant.
func (j *job) restore(ctx context.Context, tenant catalog.TenantRow, progress func(tenantry.Counts)) (end, error) {
	var req tenantry.RestoreRequest
	if err := j.params(&req); err != nil {
		return end{}, err
	}
	if req.To == "" {
		req.To = j.claim.Resource
	}
	if req.Conflict == "" {
		req.Conflict = "copy"
	}
	to, err := j.scope.Resource(ctx, req.To)
	if err != nil {
		return end{}, err
	}
	if to.State != tenantry.Active {
		return end{}, tenantry.Errorf(tenantry.Invalid, "%s is %s in Microsoft 365: restore to another resource", to.Name, to.State)
	}
	reader, err := j.reader(ctx, req.Snapshot)
	if err != nil {
		return end{}, err
	}
	defer reader.Close()
	dst, err := j.cfg.Workloads.Target(ctx, tenant, j.claim.ID, to, j.claim.Workload, req)
	if err != nil {
		return end{}, fromGraph(err)
	}
	out, err := engine.Restore(ctx, reader, markedTarget{dst}, req, j.cfg.Limits, j.drain, progress)
	return end{done: out.Done, counts: out.Counts, problems: out.Problems, reason: out.Notes}, fromBucket(err)
}

// endUploadsTime bounds how long a worker looks after uploads that ended tasks have left.
const endUploadsTime = 30 * time.Second

// endUploads drops what is left of uploads that nobody goes on with: those of this task, if it has ended with the
// settlement, and of tasks that were canceled while nobody ran them.
func (j *job) endUploads(ctx context.Context) {
	a, tenant := j.claim.Action, j.claim.Of
	if a != tenantry.Restore && a != tenantry.Sync || tenant.ID == "" || tenant.Pool != j.cfg.Pool || j.unserved(tenant) != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endUploadsTime)
	defer cancel()
	if err := j.cfg.Workloads.EndUploads(ctx, tenant); err != nil {
		j.log.Infow("uploads that ended tasks have left could not be ended; the next restore or sync does, or Microsoft", "error", err)
	}
}

func (j *job) reader(ctx context.Context, seq int64) (*repository.Reader, error) {
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil {
		return nil, fromBucket(err)
	}
	reader, err := repo.OpenSnapshot(ctx, j.claim.Series(), seq)
	return reader, fromBucket(err)
}

// params reads the parameters of the task's action.
func (j *job) params(into any) error {
	if len(j.claim.Params) == 0 {
		return tenantry.Errorf(tenantry.Invalid, "the %s task has no parameters", j.claim.Action)
	}
	if err := json.Unmarshal(j.claim.Params, into); err != nil {
		return tenantry.E(tenantry.Invalid, "read the parameters of the task", err)
	}
	return nil
}
