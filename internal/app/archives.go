package app

import (
	"context"
	"io"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// archives reads what exports made, for the API.
type archives struct {
	repos opener
	keep  time.Duration
}

// Archive describes the archive of a task.
func (a archives) Archive(ctx context.Context, t tenantry.TenantID, task tenantry.TaskID) (api.Archive, error) {
	repo, err := a.repos.Open(ctx, t)
	if err != nil {
		return api.Archive{}, err
	}
	found, err := repo.Archive(ctx, string(task))
	return archiveOf(found), err
}

// Open opens it.
func (a archives) Open(ctx context.Context, t tenantry.TenantID, task tenantry.TaskID) (io.ReadSeeker, api.Archive, error) {
	repo, err := a.repos.Open(ctx, t)
	if err != nil {
		return nil, api.Archive{}, err
	}
	content, found, err := repo.OpenArchive(ctx, string(task))
	return content, archiveOf(found), err
}

// RemovedAt says when an archive is removed, if workers keep them as long as this process was told.
func (a archives) RemovedAt(made time.Time) time.Time { return made.Add(a.keep) }

func archiveOf(a repository.Archive) api.Archive {
	return api.Archive{Name: a.Name, Size: a.Size, Made: a.Made}
}
