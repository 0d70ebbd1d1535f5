package workload

import (
	"context"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	kindTask     = "task"
	kindTaskList = "taskList"

	// taskListID precedes the ID of a To Do list, which is that of a folder.
	taskListID = "tasks:"
	taskPage   = 100

	// The small lists of a task, and the parts that keep them where they do not come with the task.
	taskChecklist     = "checklistItems"
	taskLinks         = "linkedResources"
	taskChecklistPart = taskChecklist + jsonSuffix
	taskLinksPart     = taskLinks + jsonSuffix

	// taskFiles are what is attached to a task; their list is attachmentsPart, the bytes of each a part of its ID.
	taskFiles      = "attachments"
	taskAttachment = "#microsoft.graph.taskFileAttachment"

	// flaggedMails is the list that shows mails with a flag, which are saved as mails.
	flaggedMails = "flaggedEmails"
	// defaultTasks is the list that every mailbox has.
	defaultTasks = "defaultList"
)

// taskSource reads the To Do lists of one mailbox: their list, and each one's delta.
type taskSource[P Pages] struct {
	api  TaskReader[P]
	user string
}

type taskList struct {
	ID     string `json:"id"`
	Name   string `json:"displayName"`
	Owned  *bool  `json:"isOwner"`
	Common string `json:"wellknownListName"`
	raw    jsontext.Value
}

// taskLists lists what lists a user has: those that others share are theirs.
func taskLists[P Pages](ctx context.Context, api TaskLister[P], user string) ([]taskList, error) {
	var all []taskList
	err := walk(func(link string) (P, error) { return api.TaskLists(ctx, user, link) }, func(raw jsontext.Value) error {
		l := taskList{raw: raw}
		if err := parse("a To Do list", raw, &l); err != nil {
			return err
		}
		if l.ID == "" {
			return tenantry.Errorf(tenantry.Internal, "read a To Do list: it has no ID")
		}
		if (l.Owned == nil || *l.Owned) && l.Common != flaggedMails {
			all = append(all, l)
		}
		return nil
	})
	return all, err
}

// listPage lists the To Do lists.
func (s *taskSource[P]) listPage(ctx context.Context) (engine.Page, error) {
	all, err := taskLists(ctx, s.api, s.user)
	if err != nil {
		return engine.Page{}, err
	}
	list := newChanges(len(all))
	for _, l := range all {
		id := taskListID + l.ID
		list.put(engine.Item{
			ID: id, Parent: partTasks, Kind: kindTaskList, Name: l.Name, Collection: id, ETag: digest(l.raw), Raw: l.raw,
		})
	}
	p := list.page("", true)
	p.Listed = true
	return p, nil
}

type task struct {
	ID        string         `json:"id"`
	Removed   *struct{}      `json:"@removed"`
	Title     string         `json:"title"`
	Modified  string         `json:"lastModifiedDateTime"`
	Checklist jsontext.Value `json:"checklistItems"`
	Links     jsontext.Value `json:"linkedResources"`
	Files     bool           `json:"hasAttachments"`
}

// page reads a page of a list's delta. The small lists of the tasks are asked for along with them; a
// service that does not do that is asked without, and then for those of each task that changed. Where there
// is no delta, the list is read whole.
func (s *taskSource[P]) page(ctx context.Context, list, link string) (engine.Page, error) {
	next, asList := strings.CutPrefix(link, listed)
	var got P
	err := error(nil)
	if !asList {
		got, err = s.api.TaskChanges(ctx, s.user, list, link, taskPage, link == "")
		if link == "" && tenantry.KindOf(err) == tenantry.Invalid {
			got, err = s.api.TaskChanges(ctx, s.user, list, "", taskPage, false)
		}
		next, asList = "", withoutDelta(err, link)
	}
	if asList {
		got, err = s.api.Tasks(ctx, s.user, list, next)
	}
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	changed := newChanges(len(p.Items))
	for _, raw := range p.Items {
		var t task
		switch err := parse("a task", raw, &t); {
		case err != nil:
			return engine.Page{}, err
		case t.ID == "":
			return engine.Page{}, tenantry.Errorf(tenantry.Internal, "read a task: it has no ID")
		case t.Removed != nil:
			changed.remove(t.ID)
			continue
		}
		item := engine.Item{
			ID: t.ID, Parent: taskListID + list, Kind: kindTask, Name: t.Title, ETag: digest(raw),
			Modified: instant(t.Modified), Size: int64(len(raw)), Raw: raw,
		}
		if small := t.Checklist == nil || t.Links == nil; small || t.Files {
			item.Parts = func(ctx context.Context) ([]engine.ItemPart, error) { return s.parts(ctx, list, t.ID, small, t.Files) }
		}
		if asList {
			item = unlessStored(item)
		}
		changed.put(item)
	}
	if !asList {
		return changed.page(p.Next, p.Done), nil
	}
	out := changed.page(listed+p.Next, p.Done)
	out.Listed = true
	return out, nil
}

// parts reads what belongs to one task, as far as it did not come with it: the small lists, of which an empty one is no
// part, and the files.
func (s *taskSource[P]) parts(ctx context.Context, list, id string, small, files bool) ([]engine.ItemPart, error) {
	var parts []engine.ItemPart
	var err error
	if small {
		parts, err = s.smallLists(ctx, list, id)
	}
	if err != nil || !files {
		return parts, err
	}
	all, err := collect(func(link string) (P, error) { return s.api.TaskParts(ctx, s.user, list, id, taskFiles, link) })
	if err != nil || len(all) == 0 {
		return parts, err
	}
	parts = append(parts, bytesPart(attachmentsPart, array(all)))
	for _, raw := range all {
		var a attachment
		if err := parse("a file of a task", raw, &a); err != nil {
			return nil, err
		}
		parts = append(parts, engine.ItemPart{
			Name: a.ID, Size: a.Size, Version: digest(raw),
			Open: func(ctx context.Context) (io.ReadCloser, error) {
				return s.api.TaskAttachment(ctx, s.user, list, id, a.ID)
			},
		})
	}
	return parts, nil
}

func (s *taskSource[P]) smallLists(ctx context.Context, list, id string) ([]engine.ItemPart, error) {
	var parts []engine.ItemPart
	for _, name := range []string{taskChecklist, taskLinks} {
		var entries []jsontext.Value
		err := walk(func(link string) (P, error) { return s.api.TaskParts(ctx, s.user, list, id, name, link) }, func(raw jsontext.Value) error {
			entries = append(entries, raw)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 {
			parts = append(parts, bytesPart(name+jsonSuffix, array(entries)))
		}
	}
	return parts, nil
}
