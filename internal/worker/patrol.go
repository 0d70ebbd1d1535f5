package worker

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// patrol reads the day's share of all that the tenant has stored, so that everything is read once a month.
// It counts: items and bytes, the objects read; skipped, those that are damaged; total, all of them. A
// series that needs a damaged object has its newest snapshot verified that does, which names the items
// and has them repaired.
func (j *job) patrol(ctx context.Context) (end, error) {
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil {
		return end{}, fromBucket(err)
	}
	out, err := repo.Patrol(ctx, j.drain)
	e := end{done: out.Done, counts: tenantry.Counts{Items: out.Objects, Bytes: out.Bytes, Skipped: int64(len(out.Damaged))}}
	e.reason = fmt.Sprintf("%d bytes are left of this round", out.Left)
	if len(out.Damaged) > 0 {
		if noted := j.found(ctx, repo, out.Damaged); noted != nil {
			return e, noted
		}
	}
	if err != nil {
		return e, fromBucket(err)
	}
	if out.Sound {
		err = j.scope.ClearAlarm(ctx, catalog.AlarmDamage, "")
	}
	return e, err
}

// found does what follows from damaged objects: nothing may share them, and the series that need them are
// verified. Those that no snapshot needs are an alarm of the tenant, until a round finds everything sound.
func (j *job) found(ctx context.Context, repo *repository.Repository, damaged []repository.Damaged) error {
	names := make([]string, len(damaged))
	for i, d := range damaged {
		names[i] = d.Object
		j.log.Errorw("ALARM: a stored object is damaged", "object", d.Object, "reason", d.Reason)
	}
	if _, err := repo.Distrust(ctx, names); err != nil {
		return fromBucket(err)
	}
	affected, err := repo.Affected(ctx, damaged)
	if err != nil {
		return fromBucket(err)
	}
	detail := fmt.Sprintf("%d stored objects are damaged, the first is %s/%s: %s; %d series need any of them",
		len(damaged), j.claim.Tenant, damaged[0].Object, damaged[0].Reason, len(affected))
	if err := j.scope.RaiseAlarm(ctx, catalog.AlarmDamage, "", detail, j.cfg.Now()); err != nil || len(affected) == 0 {
		return err
	}
	var tasks []catalog.NewTask
	for series, seq := range affected {
		params, err := json.Marshal(tenantry.VerifyRequest{Snapshot: seq})
		if err != nil {
			return tenantry.E(tenantry.Internal, "write the parameters of a verification", err)
		}
		tasks = append(tasks, catalog.NewTask{Resource: series.Resource, Workload: series.Workload, Action: tenantry.Verify, Params: params})
	}
	_, err = j.scope.StartRun(ctx, tenantry.Verify, catalog.TriggerSystem, "", tasks, j.cfg.Now())
	return err
}
