package worker

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// backup runs one slice of a backup under an epoch above everything in the bucket.
func (j *job) backup(ctx context.Context, tenant catalog.TenantRow, progress func(tenantry.Counts)) (end, error) {
	resource, err := j.scope.Resource(ctx, j.claim.Resource)
	if err != nil {
		return end{}, err
	}
	if resource.State != tenantry.Active {
		return end{}, tenantry.Errorf(tenantry.Absent, "%s is %s in Microsoft 365", resource.Name, resource.State)
	}
	writer, err := j.writer(ctx)
	if err != nil {
		return end{}, err
	}
	defer writer.Close()
	if snap, sealed := writer.SealedByTask(); sealed {
		// An earlier slice sealed and died before it could settle.
		return end{done: true, snapshot: j.snapshot(snap)}, nil
	}
	options, err := j.scope.BackupOptions(ctx, resource, j.claim.Workload)
	if err != nil {
		return end{}, err
	}
	src, err := j.cfg.Workloads.Source(ctx, tenant, resource, j.claim.Workload, options)
	if err != nil {
		return end{}, fromGraph(err)
	}
	noted, forget := j.dirty.watch(writer)
	defer forget()
	out, err := engine.Backup(ctx, markedSource{src}, noted, j.cfg.Limits, j.drain, progress)
	e := end{done: out.Done, counts: out.Counts, problems: out.Problems}
	if err == nil && out.Done {
		e.snapshot = j.snapshot(out.Snapshot)
		j.healed(ctx, out.Healed)
		j.hasten(ctx, out.Unsettled)
	}
	return e, fromBucket(err)
}

// unsettledPause is when a backup is due again whose source never rested: what moved under way may be missing from
// its snapshot, and lost should it be deleted before the next.
const unsettledPause = time.Hour

// hasten has the next backup come soon if this one could not be settled. Without it, that comes when its policy says.
func (j *job) hasten(ctx context.Context, unsettled bool) {
	if !unsettled {
		return
	}
	if err := j.scope.Hasten(ctx, j.claim.Resource, j.claim.Workload, j.cfg.Now().Add(unsettledPause)); err != nil {
		j.log.Warnw("cannot hasten the next backup of a source that never rested", "error", err)
	}
}

// writer takes the series in the bucket under the claim's epoch, which SQL raises first
// if the bucket has seen a higher one: SQL may have been restored from an older copy.
func (j *job) writer(ctx context.Context) (*repository.Writer, error) {
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil {
		return nil, fromBucket(err)
	}
	head, err := repo.Head(ctx, j.claim.Series())
	if err != nil {
		return nil, fromBucket(err)
	}
	if head.Epoch >= j.claim.Epoch {
		if j.claim.Epoch, err = j.scope.RaiseEpoch(ctx, j.claim, head.Epoch); err != nil {
			return nil, err
		}
	}
	writer, err := repo.Begin(ctx, j.claim.Series(), repository.Fence{Epoch: j.claim.Epoch, Task: j.claim.ID})
	return writer, fromBucket(err)
}

func (j *job) snapshot(s repository.Snapshot) *catalog.SnapshotRow {
	return &catalog.SnapshotRow{Series: j.claim.Series(), Seq: s.Seq, Time: s.Time, Task: j.claim.ID, Counts: s.Counts}
}
