package worker

import (
	"context"
	"path"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// export writes a selection of a snapshot into an archive that has the task's ID. What an attempt wrote that was
// told to stop is void: the next one begins anew.
func (j *job) export(ctx context.Context, progress func(tenantry.Counts)) (end, error) {
	var req tenantry.ExportRequest
	if err := j.params(&req); err != nil {
		return end{}, err
	}
	return j.archived(ctx, func(ctx context.Context, w *repository.ArchiveWriter) (string, engine.Outcome, error) {
		reader, err := j.reader(ctx, req.Snapshot)
		if err != nil {
			return "", engine.Outcome{}, err
		}
		defer reader.Close()
		name := string(j.claim.Resource)
		if resource, err := j.scope.Resource(ctx, j.claim.Resource); err == nil {
			name = resource.Name
		}
		out, file, err := engine.Export(ctx, reader, w, req, j.cfg.Limits, j.drain, progress)
		if req.Form != engine.FormItem {
			file = name + " " + string(j.claim.Workload) + " " + reader.Snapshot().Time.UTC().Format("2006-01-02 1504") + path.Ext(file)
		}
		return file, out, err
	})
}

// archived makes the archive of the task, unless it is there: an earlier slice ended it and died before it
// could settle.
func (j *job) archived(ctx context.Context, fill func(context.Context, *repository.ArchiveWriter) (name string, out engine.Outcome, err error)) (end, error) {
	repo, err := j.cfg.Repositories.Open(ctx, j.claim.Tenant)
	if err != nil {
		return end{}, fromBucket(err)
	}
	id := string(j.claim.ID)
	switch _, err := repo.Archive(ctx, id); tenantry.KindOf(err) {
	case "":
		return end{done: true, counts: j.before}, nil
	case tenantry.NotFound:
	default:
		return end{}, fromBucket(err)
	}
	w, err := repo.CreateArchive(ctx, id)
	if err != nil {
		return end{}, fromBucket(err)
	}
	name, out, err := fill(ctx, w)
	if err == nil && out.Done {
		_, err = w.Finish(name, j.cfg.Now())
	}
	if err != nil || !out.Done {
		w.Abort()
		return end{problems: out.Problems, counts: out.Counts}, fromBucket(err)
	}
	out.Counts.Stored = w.Stored()
	return end{done: true, counts: out.Counts, problems: out.Problems}, nil
}

// removeArchives deletes what was made for somebody to fetch, long enough ago.
func (j *job) removeArchives(ctx context.Context, repo *repository.Repository) (repository.Freed, error) {
	freed, err := repo.RemoveArchives(ctx, j.cfg.Now().Add(-j.cfg.KeepArchives))
	return freed, fromBucket(err)
}
