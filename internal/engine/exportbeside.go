package engine

import (
	"context"
	"encoding/json"
	"io"
	"path"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	exportTask     = "task"
	exportVersions = "versions.json" // part: the list of a file's versions
	exportVersion  = "version/"      // part: the bytes of an old one, before its label
)

// companion is a file that is written beside that of its item, whose form has no room for it.
type companion struct {
	name     string
	modified time.Time
	part     repository.Part
}

func (c companion) write(ctx context.Context, open OpenPart) func(io.Writer) error {
	return func(w io.Writer) error { return copyPart(ctx, w, c.part, open) }
}

// companions are the old versions of a file, and the files of a task, as far as their bytes are stored. Their names end with
// a part of a digest of their IDs: no two meet.
func companions(ctx context.Context, e repository.Entry, open OpenPart) ([]companion, error) {
	switch e.Kind {
	case kindExportFile:
		return oldVersions(ctx, e, open)
	case exportTask:
		return filesOfTask(ctx, e, open)
	}
	return nil, nil
}

func oldVersions(ctx context.Context, e repository.Entry, open OpenPart) ([]companion, error) {
	data, ok, err := readPart(ctx, e, exportVersions, open)
	if err != nil || !ok {
		return nil, err
	}
	var list []struct {
		ID       string `json:"id"`
		Modified string `json:"lastModifiedDateTime"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "read a stored list of versions", err)
	}
	ext := path.Ext(e.Name)
	var found []companion
	for _, v := range list {
		label := path.Base(v.ID)
		if p, ok := partNamed(e, exportVersion+label); ok {
			modified, _ := time.Parse(time.RFC3339Nano, v.Modified) // zero, which is not written, if it is none
			name := strings.TrimSuffix(e.Name, ext) + " (version " + label + ")" + ext
			found = append(found, companion{safeName(name, e.ID+"\x00"+label, "", true), modified, p})
		}
	}
	return found, nil
}

func filesOfTask(ctx context.Context, e repository.Entry, open OpenPart) ([]companion, error) {
	all, err := attachmentsOf(ctx, e, open)
	if err != nil {
		return nil, err
	}
	var found []companion
	for _, a := range all {
		if p, ok := a.part(e); ok {
			found = append(found, companion{safeName(e.Name+" - "+a.Name, e.ID+"\x00"+a.ID, "", true), e.Modified, p})
		}
	}
	return found, nil
}

func partNamed(e repository.Entry, name string) (repository.Part, bool) {
	for _, p := range e.Parts {
		if p.Name == name {
			return p, true
		}
	}
	return repository.Part{}, false
}
