package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// KeptUpload is an upload session that a restore keeps beyond its slice. Its address is wrapped; nobody but a worker
// opens it.
type KeptUpload struct {
	Task    tenantry.TaskID
	Name    string // of what is uploaded where
	KeyID   string // the wrapping key
	Wrapped []byte
	EndsAt  time.Time // when Microsoft ends it by itself; zero: not known
}

type uploadRow struct {
	Task    tenantry.TaskID
	Name    string
	KeyID   string
	Wrapped []byte
	EndsAt  int64
}

const uploadColumns bun.Safe = "task, name, key_id, wrapped, ends_at"

func (r uploadRow) upload() KeptUpload {
	return KeptUpload{Task: r.Task, Name: r.Name, KeyID: r.KeyID, Wrapped: r.Wrapped, EndsAt: fromMicros(r.EndsAt)}
}

// KeepUpload keeps an upload session of a task, in place of another one of its name. There are no more of a task than it
// uploads at once: what it gave up is dropped, and what was interrupted comes first in its next slice. NotFound: no such
// tenant.
func (t *Tenant) KeepUpload(ctx context.Context, u KeptUpload) error {
	op := fmt.Sprintf("keep an upload session of task %s of tenant %s", u.Task, t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.exists(ctx, tx, op); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `INSERT INTO uploads (tenant, task, name, key_id, wrapped, ends_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (tenant, task, name) DO UPDATE SET key_id = excluded.key_id, wrapped = excluded.wrapped, ends_at = excluded.ends_at`,
			t.id, u.Task, u.Name, u.KeyID, u.Wrapped, micros(u.EndsAt))
		return err
	})
}

// KeptUpload reads an upload session of a task. NotFound: none is kept under that name.
func (t *Tenant) KeptUpload(ctx context.Context, task tenantry.TaskID, name string) (KeptUpload, error) {
	op := fmt.Sprintf("read an upload session of task %s of tenant %s", task, t.id)
	var found []uploadRow
	if err := t.c.read(ctx, op, &found, "SELECT ? FROM uploads WHERE tenant = ? AND task = ? AND name = ?", uploadColumns, t.id, task, name); err != nil {
		return KeptUpload{}, err
	}
	if len(found) == 0 {
		return KeptUpload{}, tenantry.Errorf(tenantry.NotFound, "%s: none is kept", op)
	}
	return found[0].upload(), nil
}

// DropUpload forgets an upload session of a task; absent is fine.
func (t *Tenant) DropUpload(ctx context.Context, task tenantry.TaskID, name string) error {
	return t.c.write(ctx, fmt.Sprintf("drop an upload session of task %s of tenant %s", task, t.id), func(ctx context.Context, tx bun.Tx) error {
		_, err := exec(ctx, tx, "DELETE FROM uploads WHERE tenant = ? AND task = ? AND name = ?", t.id, task, name)
		return err
	})
}

// leftUploads is how many sessions LeftUploads returns at most.
const leftUploads = 100

// LeftUploads lists upload sessions whose tasks have ended, canceled and failed ones too: nobody goes on with them. At
// most 100.
func (t *Tenant) LeftUploads(ctx context.Context) ([]KeptUpload, error) {
	var found []uploadRow
	err := t.c.read(ctx, fmt.Sprintf("list upload sessions that tenant %s has left", t.id), &found, `
		SELECT ?0 FROM uploads WHERE tenant = ?1 AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.tenant = ?1 AND tasks.id = uploads.task)
		ORDER BY task, name LIMIT ?2`, uploadColumns, t.id, leftUploads)
	out := make([]KeptUpload, len(found))
	for i, row := range found {
		out[i] = row.upload()
	}
	return out, err
}
