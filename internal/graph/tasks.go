package graph

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// The small lists that a task has, and the list of the files that are attached to it, without their content.
const (
	TaskChecklist   = "checklistItems"
	TaskLinks       = "linkedResources"
	TaskAttachments = "attachments"
)

// taskExpand brings a task's small lists along with it.
const taskExpand = TaskChecklist + "," + TaskLinks

// TaskLists lists the To Do lists that a user sees: also those that others share.
func (t *Tenant) TaskLists(ctx context.Context, user, link string) (RawPage, error) {
	const op = "list To Do lists"
	if err := given(op, user); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.outlookRead(op, user, 0, listQuery(folderPage, "", ""), "todo", "lists"), link, false)
}

// TaskChanges returns the page of one list's tasks that link names, or with link "" the first page of a
// full round; expanded tells that each task shall bring its small lists along, which not every service
// may allow (Invalid). Resync: begin with "".
func (t *Tenant) TaskChanges(ctx context.Context, user, list, link string, pageSize int, expanded bool) (RawPage, error) {
	const op = "read a page of tasks"
	if err := given(op, user, list); err != nil {
		return RawPage{}, err
	}
	c := t.outlookRead(op, user, pageSize, nil, "todo", "lists", list, "tasks", "delta")
	if expanded {
		c = t.outlookRead(op, user, pageSize, map[string][]string{"$expand": {taskExpand}}, "todo", "lists", list, "tasks", "delta")
	}
	return t.mailPage(ctx, c, link, true)
}

// Tasks lists the tasks of a list, without their small lists.
func (t *Tenant) Tasks(ctx context.Context, user, list, link string) (RawPage, error) {
	const op = "list tasks"
	if err := given(op, user, list); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.outlookRead(op, user, 0, listQuery(findPage, "", ""), "todo", "lists", list, "tasks"), link, false)
}

// TaskParts lists one of a task's small lists: TaskChecklist, TaskLinks or TaskAttachments.
func (t *Tenant) TaskParts(ctx context.Context, user, list, task, part, link string) (RawPage, error) {
	const op = "list what belongs to a task"
	if err := given(op, user, list, task, part); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.outlookRead(op, user, 0, listQuery(folderPage, "", ""), "todo", "lists", list, "tasks", task, part), link, false)
}

// CreateTaskList creates a To Do list. Names need not be unique: after Transient it may exist all the same.
func (t *Tenant) CreateTaskList(ctx context.Context, user, name string) (id string, err error) {
	const op = "create a To Do list"
	if err := given(op, user, name); err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]string{"displayName": name})
	if err != nil {
		return "", tenantry.E(tenantry.Invalid, op, err)
	}
	return t.createdOnce(ctx, op, user, body, "todo", "lists")
}

// CreateTask creates a task in a list from its JSON. After Transient it may exist all the same.
func (t *Tenant) CreateTask(ctx context.Context, user, list string, body []byte) (id string, err error) {
	const op = "create a task"
	if err := given(op, user, list); err != nil {
		return "", err
	}
	return t.createdOnce(ctx, op, user, body, "todo", "lists", list, "tasks")
}

// TaskAttachment streams a file that is attached to a task, as AttachmentContent does.
func (t *Tenant) TaskAttachment(ctx context.Context, user, list, task, attachment string) (io.ReadCloser, error) {
	const op = "read a file of a task"
	if err := given(op, user, list, task, attachment); err != nil {
		return nil, err
	}
	c := t.outlookRead(op, user, 0, nil, "todo", "lists", list, "tasks", task, TaskAttachments, attachment, "$value")
	c.header.Set("Accept", "*/*")
	c.stream = true
	a, err := t.open(ctx, c)
	if err != nil {
		return nil, t.judged(ctx, mailError(err), t.outlookRead("probe a task", user, 0, onlyID, "todo", "lists", list, "tasks", task))
	}
	return a, nil
}

// AddTaskPart adds to one of a task's small lists; an attachment has to be below 3 MB. After Transient it may be
// there all the same.
func (t *Tenant) AddTaskPart(ctx context.Context, user, list, task, part string, body []byte) error {
	const op = "add to a task"
	if err := given(op, user, list, task, part); err != nil {
		return err
	}
	c := t.mailWrite(op, http.MethodPost, user, body, "todo", "lists", list, "tasks", task, part)
	c.once = true
	return mailError(t.accepted(ctx, c))
}

// DeleteTask deletes a task; that it is gone already is no error.
func (t *Tenant) DeleteTask(ctx context.Context, user, list, task string) error {
	return t.deleteItem(ctx, "delete a task", user, "todo", "lists", list, "tasks", task)
}
