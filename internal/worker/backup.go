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
		// An earlier slice sealed and died before it could settle, and perhaps before it could look.
		j.lookAtSealed(ctx, writer.Live())
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
		j.watchChange(ctx, writer.Live(), out.Counts.Items)
	}
	return e, fromBucket(err)
}

// watchChange looks for a mass change in the snapshot that was just sealed, so that people hear of it now and not with
// the next prune; listed is how many items this slice has listed. How many items there are, and were listed, tells
// without a request when there can be none. What cannot be looked at now is looked at by the next prune.
func (j *job) watchChange(ctx context.Context, live []repository.Snapshot, listed int64) {
	if len(live) < 2 || j.cfg.MassChange <= 0 {
		return
	}
	before, after := live[1].Counts.Items, live[0].Counts.Items
	// What was removed: what there was, and what came, less what there is. What came or changed was listed.
	if before < massItems || float64(before+j.claim.Counts.Items+listed-after) <= j.cfg.MassChange*float64(before) {
		return
	}
	j.lookForMassChange(ctx, live)
}

// lookAtSealed looks for a mass change in a snapshot whose slice died: how much that one listed nobody knows any more,
// so that the snapshots themselves are asked. What it had told before it died is not told again.
func (j *job) lookAtSealed(ctx context.Context, live []repository.Snapshot) {
	if len(live) >= 2 && j.cfg.MassChange > 0 {
		j.lookForMassChange(ctx, live)
	}
}

func (j *job) lookForMassChange(ctx context.Context, live []repository.Snapshot) {
	standing, err := j.scope.SeriesStanding(ctx, j.claim.Resource, j.claim.Workload)
	if err == nil && standing.Suspended == "" {
		_, err = j.massChange(ctx, live, standing.Compared)
	}
	if err != nil {
		j.log.Warnw("cannot look for a mass change; the next prune does", "error", err)
	}
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
