package worker

import (
	"context"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// prune drops the snapshots of a series that no rule keeps, tidies it up, and deletes what nothing needs any more.
// It counts: total, the snapshots dropped; items and bytes, the objects deleted and what they had;
// skipped, garbage that an object lock keeps for now. What the snapshots needed that it drops is counted by a later one, which
// deletes it. It may be repeated at any point.
func (j *job) prune(ctx context.Context) (end, error) {
	standing, err := j.scope.SeriesStanding(ctx, j.claim.Resource, j.claim.Workload)
	if err != nil {
		return end{}, err
	}
	writer, err := j.writer(ctx)
	if err != nil {
		return end{}, err
	}
	defer writer.Close()
	live := writer.Live()
	if standing.Suspended == "" {
		if standing.Suspended, err = j.massChange(ctx, live, standing.Compared); err != nil {
			return end{}, err
		}
	}
	points := make([]tenantry.RestorePoint, len(live))
	for i, s := range live {
		points[i] = tenantry.RestorePoint{Seq: s.Seq, Time: s.Time}
	}
	var drop []int64
	var kept []catalog.SnapshotRow
	bySeq := make(map[int64]repository.Snapshot, len(live))
	for _, s := range live {
		bySeq[s.Seq] = s
	}
	for _, verdict := range standing.Keep(points, j.cfg.Now()) {
		if verdict.Keep() {
			s := bySeq[verdict.Seq]
			kept = append(kept, catalog.SnapshotRow{Series: j.claim.Series(), Seq: s.Seq, Time: s.Time, Task: s.Task, Counts: s.Counts})
		} else {
			drop = append(drop, verdict.Seq)
		}
	}
	dropped, err := writer.Prune(ctx, drop)
	if err != nil {
		return end{}, fromBucket(err)
	}
	if len(live) > 0 {
		if err := j.scope.RetainSnapshots(ctx, j.claim.Resource, j.claim.Workload, live[0].Seq, kept); err != nil {
			return end{}, err
		}
	}
	said, err := j.tidy(ctx, writer)
	if err != nil {
		return end{}, err
	}
	freed, err := writer.Sweep(ctx)
	if err == nil {
		err = j.retain(ctx)
	}
	e := end{done: err == nil, counts: freedCounts(freed)}
	e.counts.Total, e.counts.Stored = int64(dropped), writer.Stored()
	var reasons []string
	if standing.Suspended != "" {
		reasons = append(reasons, "pruning is suspended until it is acknowledged: "+standing.Suspended)
	}
	if said != "" {
		reasons = append(reasons, said)
	}
	e.reason = strings.Join(reasons, "; ")
	return e, fromBucket(err)
}

// compactBytes is how much of what lives in mostly dead packs is written anew of a series at a time.
const compactBytes = 256 << 20

// tidy folds the index of the series and, on the days on which that is its turn, compacts its packs. What locks keep for
// as long as a snapshot stays is no reason to wait; a series that is under suspicion or on hold is tidied too: no
// snapshot loses anything by it. It says what is worth saying of it.
func (j *job) tidy(ctx context.Context, writer *repository.Writer) (said string, err error) {
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil {
		return "", fromBucket(err)
	}
	if repo.CompactDue(j.claim.Series(), j.cfg.Now()) {
		done, err := writer.Compact(ctx, repository.CompactLimits{Budget: compactBytes})
		if err != nil {
			return "", fromBucket(err)
		}
		if done.Packs > 0 {
			said = fmt.Sprintf("%d bytes of %d mostly dead packs were written anew; the %d bytes that these have are freed once every snapshot from before is dropped",
				done.Moved, done.Packs, done.Frees)
			j.log.Infow("mostly dead packs were written anew", "packs", done.Packs, "moved", done.Moved, "frees", done.Frees)
		}
	}
	runs, err := writer.Fold(ctx)
	if runs > 0 {
		j.log.Debugw("runs of the index were folded", "runs", runs)
	}
	return said, fromBucket(err)
}

// retain extends the locks of what live snapshots need, on the days on which that is the series' turn.
func (j *job) retain(ctx context.Context) error {
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil || !repo.RetainDue(j.claim.Series(), j.cfg.Now()) {
		return err
	}
	done, err := repo.Retain(ctx, j.claim.Series())
	if done.Extended > 0 {
		j.log.Infow("object locks were extended", "objects", done.Looked, "extended", done.Extended)
	}
	return err
}

func freedCounts(f repository.Freed) tenantry.Counts {
	return tenantry.Counts{Items: f.Objects, Bytes: f.Bytes, Skipped: f.Locked}
}

// massChange compares the newest snapshot with the one before it, once, and suspends the pruning of the
// series if too much of it was removed or changed: what an attacker encrypted or deleted must not
// push out the snapshots from before. It returns why.
func (j *job) massChange(ctx context.Context, live []repository.Snapshot, compared int64) (string, error) {
	if j.cfg.MassChange <= 0 || len(live) == 0 || live[0].Seq <= compared {
		return "", nil
	}
	newest, reason := live[0].Seq, ""
	// Every pair since the last look: a flood of snapshots must not hide the one that counts.
	for i := 0; i+1 < len(live) && live[i].Seq > compared && reason == ""; i++ {
		var err error
		if reason, err = j.compare(ctx, live[i+1].Seq, live[i].Seq); err != nil {
			return "", err
		}
	}
	if reason != "" {
		j.cfg.Log.Warnw("ALARM: a mass change suspends the pruning of a series",
			"tenant", j.claim.Tenant, "resource", j.claim.Resource, "workload", j.claim.Workload, "reason", reason)
	}
	return reason, j.scope.Suspend(ctx, j.claim.Resource, j.claim.Workload, newest, reason, j.cfg.Now())
}

// massItems is the least number of items of which a share says something.
const massItems = 20

func (j *job) compare(ctx context.Context, before, after int64) (string, error) {
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil {
		return "", fromBucket(err)
	}
	d, err := repo.Differ(ctx, j.claim.Series(), before, after, j.cfg.MassChange)
	if err != nil {
		return "", fromBucket(err)
	}
	if d.Before < massItems || float64(d.Changed+d.Removed) <= j.cfg.MassChange*float64(d.Before) {
		return "", nil
	}
	return fmt.Sprintf("of %d items in snapshot %d, %d were removed and %d changed in snapshot %d", d.Before, before, d.Removed, d.Changed, after), nil
}

// collect removes old archives, takes a step of collecting the tenant's shared content, and parks until the next
// may come.
func (j *job) collect(ctx context.Context) (end, error) {
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil {
		return end{}, fromBucket(err)
	}
	archives, err := j.removeArchives(ctx, repo)
	if err != nil {
		return end{counts: freedCounts(archives)}, err
	}
	out, err := repo.Collect(ctx)
	counts := freedCounts(out.Freed).Add(freedCounts(archives))
	return end{done: err == nil && out.Again.IsZero(), counts: counts, notBefore: out.Again}, fromBucket(err)
}
