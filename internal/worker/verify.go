package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// verify re-reads everything a snapshot names, or looks at its structure alone. Damage is what it looks
// for: it ends the task as failed, with the damaged items as its problems, and has a repair task see that
// the next backup reads them again.
func (j *job) verify(ctx context.Context, progress func(tenantry.Counts)) (end, error) {
	var req tenantry.VerifyRequest
	if err := j.params(&req); err != nil {
		return end{}, err
	}
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil {
		return end{}, fromBucket(err)
	}
	out, err := j.check(ctx, repo, req, progress)
	e := end{done: out.Done, counts: out.Counts, problems: out.Problems}
	if err == nil && out.Done && out.Counts.Skipped > 0 {
		err = tenantry.Errorf(tenantry.Corrupt, "snapshot %d has %d damaged items", req.Snapshot, out.Counts.Skipped)
	}
	if tenantry.KindOf(err) != tenantry.Corrupt || indexDamaged(err) {
		return e, fromBucket(err)
	}
	if noted := j.damaged(ctx, repo, req.Snapshot, out.Damage, err); noted != nil {
		return e, noted // tried again: what is damaged does not run away
	}
	return e, err
}

func (j *job) check(ctx context.Context, repo *repository.Repository, req tenantry.VerifyRequest, progress func(tenantry.Counts)) (engine.Outcome, error) {
	if req.Quick {
		return engine.VerifyQuick(ctx, repo, j.claim.Series(), req.Snapshot, j.cfg.Limits, progress)
	}
	reader, err := repo.OpenStored(ctx, j.claim.Series(), req.Snapshot)
	if err != nil {
		return engine.Outcome{}, err
	}
	defer reader.Close()
	return engine.Verify(ctx, reader, j.cfg.Limits, j.drain, progress)
}

// damaged does what follows from damage to a snapshot: nothing may share the damaged content any more, an
// alarm tells of it, and a repair of the series waits for its turn.
func (j *job) damaged(ctx context.Context, repo *repository.Repository, snapshot int64, d engine.Damage, cause error) error {
	if _, err := repo.Distrust(ctx, d.Objects); err != nil {
		return fromBucket(err)
	}
	j.log.Errorw("ALARM: what is stored of a series is damaged", "error", cause, "objects", strings.Join(d.Objects[:min(5, len(d.Objects))], " "))
	if err := j.scope.RaiseAlarm(ctx, catalog.AlarmDamage, catalog.SubjectOf(j.claim.Series()), j.blame(d, cause), j.cfg.Now()); err != nil {
		return err
	}
	if len(d.Items) == 0 {
		return nil
	}
	return j.startRepair(ctx, tenantry.RepairRequest{Snapshot: snapshot, Items: d.Items})
}

// blame says what is damaged, in a line.
func (j *job) blame(d engine.Damage, cause error) string {
	if len(d.Objects) == 0 {
		return cause.Error()
	}
	return fmt.Sprintf("%v: %d objects, the first is %s/%s", cause, len(d.Objects), j.claim.Tenant, d.Objects[0])
}

// repair marks the damaged items of its series, so that the next backup reads them again.
func (j *job) repair(ctx context.Context) (end, error) {
	var req tenantry.RepairRequest
	if err := j.params(&req); err != nil {
		return end{}, err
	}
	if req.Index {
		return j.reindex(ctx)
	}
	reader, err := j.reader(ctx, req.Snapshot)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return end{done: true, reason: "the snapshot was pruned meanwhile"}, nil
	}
	if err != nil {
		return end{}, err
	}
	defer reader.Close()
	writer, err := j.writer(ctx)
	if err != nil {
		return end{}, err
	}
	defer writer.Close()
	marked, err := engine.Repair(ctx, reader, writer, req.Items)
	e := end{done: err == nil, counts: tenantry.Counts{Items: int64(marked)}}
	if err == nil && marked == 0 {
		e.reason = "nothing of it is in the newest state any more"
		j.endAlarm(ctx)
	}
	return e, fromBucket(err)
}

// reindex makes the damaged indexes of the series anew. It counts the items in the newest state, if that was among them;
// total, the snapshots beside it; skipped, those that stay unreadable.
func (j *job) reindex(ctx context.Context) (end, error) {
	writer, err := j.writer(ctx)
	if err != nil {
		return end{}, err
	}
	defer writer.Close()
	out, err := writer.Reindex(ctx)
	if err != nil {
		return end{}, fromBucket(err)
	}
	e := end{done: true, counts: tenantry.Counts{Items: out.Items, Total: int64(out.Snapshots), Skipped: int64(len(out.Refused))}}
	if out.Damage == "" {
		e.reason = "the indexes of the newest state and of all snapshots are sound"
		return e, nil
	}
	e.reason = fmt.Sprintf("the index was made again from %d packs, for %d snapshots too: %s", out.Packs, out.Snapshots, out.Damage)
	j.log.Warnw("damaged indexes were made again from packs and manifests",
		"packs", out.Packs, "items", out.Items, "snapshots", out.Snapshots, "refused", out.Refused, "damage", out.Damage)
	if len(out.Refused) > 0 {
		return e, tenantry.Errorf(tenantry.Corrupt, "%d snapshots stay unreadable, the first: %s", len(out.Refused), out.Refused[0])
	}
	j.endAlarm(ctx)
	return e, nil
}

// indexDamaged reports whether an error is about a segment of an index.
func indexDamaged(err error) bool {
	parts := strings.Split(repository.DamagedObject(err), "/")
	return len(parts) == 5 && parts[3] == "s"
}

// askReindex has the index of the task's series made anew, and tells of it.
func (j *job) askReindex(ctx context.Context, cause error) error {
	j.log.Errorw("ALARM: the index of a series is damaged; it is made again", "error", cause)
	if err := j.scope.RaiseAlarm(ctx, catalog.AlarmDamage, catalog.SubjectOf(j.claim.Series()), cause.Error(), j.cfg.Now()); err != nil {
		return err
	}
	return j.startRepair(ctx, tenantry.RepairRequest{Index: true})
}

// startRepair starts a repair of the task's series, which waits for its turn.
func (j *job) startRepair(ctx context.Context, req tenantry.RepairRequest) error {
	params, err := json.Marshal(req)
	if err != nil {
		return tenantry.E(tenantry.Internal, "write the parameters of a repair", err)
	}
	task := catalog.NewTask{Resource: j.claim.Resource, Workload: j.claim.Workload, Action: tenantry.Repair, Params: params}
	_, err = j.scope.StartRun(ctx, tenantry.Repair, catalog.TriggerSystem, "", []catalog.NewTask{task}, j.cfg.Now())
	return err
}

// healed ends the alarm of a series once a backup has read again what was damaged.
func (j *job) healed(ctx context.Context, h engine.Healed) {
	if h.Items == 0 || h.Left > 0 {
		return
	}
	j.log.Infow("damaged items were read again", "items", h.Items)
	j.endAlarm(ctx)
}

// endAlarm ends the alarm of the series. If it fails the alarm stays, and somebody looks in vain.
func (j *job) endAlarm(ctx context.Context) {
	if err := j.scope.ClearAlarm(ctx, catalog.AlarmDamage, catalog.SubjectOf(j.claim.Series())); err != nil {
		j.log.Warnw("cannot end the alarm of a series that was healed", "error", err)
	}
}
