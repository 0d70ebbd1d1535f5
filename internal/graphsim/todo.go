package graphsim

import (
	"encoding/json"
	"net/http"
	"time"
)

// taskSchema is the todoTask resource type.
var taskSchema = newSchema("todoTask",
	field{name: "id"}, field{name: "createdDateTime"}, field{name: "lastModifiedDateTime"}, field{name: "bodyLastModifiedDateTime"},
	field{name: "hasAttachments"},
	field{name: "importance", form: oneOf("low", "normal", "high"), def: `"normal"`},
	field{name: "isReminderOn", form: booleanForm, def: "false"},
	field{name: "status", form: oneOf("notStarted", "inProgress", "completed", "waitingOnOthers", "deferred"), def: `"notStarted"`},
	field{name: "title", form: textForm, def: `""`},
	field{name: "categories", form: textsForm, def: "[]"},
	field{name: "body", form: bodyForm, def: `{"contentType":"text","content":""}`},
	field{name: "completedDateTime", form: zonedForm}, field{name: "dueDateTime", form: zonedForm}, field{name: "startDateTime", form: zonedForm},
	field{name: "reminderDateTime", form: zonedForm}, field{name: "recurrence", form: recurrenceForm},
)

// listSchema is the todoTaskList resource type.
var listSchema = newSchema("todoTaskList", field{name: "id"}, field{name: "isOwner"}, field{name: "isShared"},
	field{name: "wellknownListName"}, field{name: "displayName", form: textForm, def: `""`})

// The parts of a task: checklistItem and linkedResource resource types.
var (
	checklistSchema = newSchema("checklistItem", field{name: "id"}, field{name: "createdDateTime"},
		field{name: "displayName", form: textForm, def: `""`}, field{name: "isChecked", form: booleanForm, def: "false"},
		field{name: "checkedDateTime", form: instantForm})
	linkSchema = newSchema("linkedResource", field{name: "id"}, field{name: "webUrl", form: textForm, def: "null"},
		field{name: "applicationName", form: textForm, def: "null"}, field{name: "displayName", form: textForm, def: "null"},
		field{name: "externalId", form: textForm, def: "null"})

	checklist = taskPart("checklistItems", "step", checklistSchema)
	linked    = taskPart("linkedResources", "link", linkSchema)
)

// taskPart is a small list that every task has.
func taskPart(name, param string, s *schema) *entryKind {
	return &entryKind{schema: s, param: param,
		id: func(b *mailbox, _ *call, e *listEntry) string { return guid(mix(b.seed, 'q', e.number)) },
		open: func(c *call, do func(*mailbox, entryList) (entryList, error)) error {
			return c.withTask(func(b *mailbox, it *pimItem) error {
				before := b.contentOf(it).parts[name]
				after, err := do(b, before)
				if err != nil || c.r.Method == http.MethodGet {
					return err
				}
				return b.editItem(it, func(content *pimContent) error {
					content.parts[name] = after
					return nil
				})
			})
		},
		extra: func(o *object, e *listEntry) {
			if s.byName["createdDateTime"] != nil {
				o.instant("createdDateTime", e.made)
			}
		}}
}

func todoRoutes() []route {
	const lists = "users/{user}/todo/lists"
	const task = lists + "/{list}/tasks/{task}"
	routes := pathsTo([]string{lists},
		route{method: "GET", roles: rolesTasks, handle: listTaskLists},
		route{method: "POST", roles: rolesTasksWrite, handle: createTaskList},
		route{method: "GET", pattern: "delta", roles: rolesTasks, handle: taskListsDelta},
		route{method: "GET", pattern: "{list}", roles: rolesTasks, handle: getTaskList},
		route{method: "PATCH", pattern: "{list}", roles: rolesTasksWrite, handle: patchTaskList},
		route{method: "DELETE", pattern: "{list}", roles: rolesTasksWrite, handle: deleteTaskList},
		route{method: "GET", pattern: "{list}/tasks", roles: rolesTasks, handle: listTasks},
		route{method: "POST", pattern: "{list}/tasks", roles: rolesTasksWrite, handle: createTask},
		route{method: "GET", pattern: "{list}/tasks/delta", roles: rolesTasks, handle: tasksDelta},
		route{method: "GET", pattern: "{list}/tasks/{task}", roles: rolesTasks, handle: getTask},
		route{method: "PATCH", pattern: "{list}/tasks/{task}", roles: rolesTasksWrite, handle: patchTask},
		route{method: "DELETE", pattern: "{list}/tasks/{task}", roles: rolesTasksWrite, handle: deleteTask})
	for i := range routes {
		routes[i].service = outlook
	}
	routes = append(routes, checklist.routes(task+"/checklistItems", rolesTasks, rolesTasksWrite)...)
	return append(routes, linked.routes(task+"/linkedResources", rolesTasks, rolesTasksWrite)...)
}

// withTaskList calls do with the list of the request, under the mailbox's lock.
func (c *call) withTaskList(do func(*mailbox, *shelf) error) error {
	return c.withBox(func(b *mailbox) error {
		s, err := b.findShelf(taskListKind, c.param("list"))
		if err != nil {
			return err
		}
		return do(b, s)
	})
}

// withTask calls do with the task of the request, under the mailbox's lock.
func (c *call) withTask(do func(*mailbox, *pimItem) error) error {
	return c.withTaskList(func(b *mailbox, s *shelf) error {
		it, err := b.findItem(taskKind, c.param("task"))
		if err != nil {
			return err
		}
		if it.shelf != s {
			return mailItemNotFound()
		}
		return do(b, it)
	})
}

func (b *mailbox) renderTaskList(s *shelf, sel selection) []byte {
	o := newObject(sel)
	o.str("@odata.etag", `W/"`+changeKey(s.number, s.revision)+`"`)
	o.str("id", b.shelfID(s))
	name := "none"
	if s == b.store().tasks {
		name = "defaultList"
	}
	listSchema.render(o, props{"displayName": quoted(s.name), "isOwner": "true", "isShared": "false", "wellknownListName": quoted(name)})
	return o.done()
}

func listTaskLists(c *call) error {
	return c.withBox(func(b *mailbox) error {
		list := b.store().list(taskListKind, nil)
		return c.list(listing{count: len(list), usual: 100, most: 1000, param: "$skip",
			render: func(i int) []byte { return b.renderTaskList(list[i], c.sel) },
			full:   func(i int) []byte { return b.renderTaskList(list[i], nil) }})
	})
}

func taskListsDelta(c *call) error {
	return c.withBox(func(b *mailbox) error { return c.shelfDelta(b, taskListKind, nil, b.renderTaskList) })
}

func getTaskList(c *call) error {
	return c.withTaskList(func(b *mailbox, s *shelf) error { return c.json(http.StatusOK, b.renderTaskList(s, c.sel)) })
}

func createTaskList(c *call) error {
	name, err := c.readName("displayName")
	if err != nil {
		return err
	}
	return c.withBox(func(b *mailbox) error {
		s := b.store().putShelf(&shelf{kind: taskListKind, name: name}) // two of one name are possible
		b.store().noteShelf(s)
		return c.json(http.StatusCreated, b.renderTaskList(s, nil))
	})
}

func patchTaskList(c *call) error {
	name, err := c.readName("displayName")
	if err != nil {
		return err
	}
	return c.withTaskList(func(b *mailbox, s *shelf) error {
		if s == b.store().tasks {
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The default list cannot be renamed.")
		}
		s.name = name
		b.store().noteShelf(s)
		return c.json(http.StatusOK, b.renderTaskList(s, nil))
	})
}

func deleteTaskList(c *call) error {
	return c.withTaskList(func(b *mailbox, s *shelf) error {
		if s == b.store().tasks {
			return fail(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "The default list cannot be deleted.")
		}
		b.dropShelf(s)
		return c.empty(http.StatusNoContent)
	})
}

func (b *mailbox) renderTask(it *pimItem, v pimView) []byte {
	c := b.contentOf(it)
	o := newObject(v.sel)
	o.str("@odata.etag", `W/"`+changeKey(it.number, it.revision)+`"`)
	o.str("id", b.pimID(it, v.immutable))
	o.instant("createdDateTime", c.created)
	o.instant("lastModifiedDateTime", it.modified.UTC())
	o.boolean("hasAttachments", len(c.attachments) > 0)
	o.instant("bodyLastModifiedDateTime", it.modified.UTC())
	taskSchema.render(o, c.values)
	for name, k := range map[string]*entryKind{"checklistItems": checklist, "linkedResources": linked} {
		if _, ok := v.expands(name); ok {
			o.always(name)
			o.b = append(o.b, '[')
			for i, e := range c.parts[name].entries {
				if i > 0 {
					o.b = append(o.b, ',')
				}
				o.b = append(o.b, k.render(b, nil, e, nil)...)
			}
			o.b = append(o.b, ']')
		}
	}
	return o.done()
}

func listTasks(c *call) error {
	return c.withTaskList(func(b *mailbox, s *shelf) error { return c.listItems(b, s.items, b.renderTask) })
}

func tasksDelta(c *call) error {
	return c.withTaskList(func(b *mailbox, s *shelf) error {
		v, err := c.pimView()
		if err != nil {
			return err
		}
		return c.pimDelta(b, s, taskKind, v, b.renderTask)
	})
}

func (c *call) showTask(status int, b *mailbox, it *pimItem) error {
	v, err := c.pimView()
	if err != nil {
		return err
	}
	return c.json(status, b.renderTask(it, v))
}

func getTask(c *call) error {
	return c.withTask(func(b *mailbox, it *pimItem) error { return c.showTask(http.StatusOK, b, it) })
}

// applyTask writes a client's JSON into a task; its parts may come with it.
func applyTask(c *pimContent, in map[string]json.RawMessage) error {
	for name, part := range map[string]*schema{"checklistItems": checklistSchema, "linkedResources": linkSchema} {
		raw, ok := in[name]
		if !ok {
			continue
		}
		delete(in, name)
		var list []map[string]json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return asBadProperty(name, err)
		}
		for _, entry := range list {
			v := props{}
			if err := part.read(entry, v); err != nil {
				return err
			}
			c.parts[name], _ = c.parts[name].with(v)
		}
	}
	if err := taskSchema.read(in, c.values); err != nil {
		return err
	}
	if c.values["status"] == `"completed"` && c.values["completedDateTime"] == "" {
		c.values["completedDateTime"] = zoned{DateTime: time.Now().UTC().Format(zonedLayout), TimeZone: "UTC"}.json()
	}
	return nil
}

func newTaskContent() *pimContent {
	return &pimContent{values: props{}, parts: map[string]entryList{}, created: time.Now().UTC().Truncate(time.Second)}
}

func createTask(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withTaskList(func(b *mailbox, s *shelf) error {
		if err := b.checkRoom(); err != nil {
			return err
		}
		made := newTaskContent()
		if err := applyTask(made, in); err != nil {
			return err
		}
		return c.showTask(http.StatusCreated, b, b.store().addItem(taskKind, s, made))
	})
}

func patchTask(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withTask(func(b *mailbox, it *pimItem) error {
		if err := b.editItem(it, func(content *pimContent) error { return applyTask(content, in) }); err != nil {
			return err
		}
		return c.showTask(http.StatusOK, b, it)
	})
}

func deleteTask(c *call) error {
	return c.withTask(func(b *mailbox, it *pimItem) error {
		b.dropItem(it)
		return c.empty(http.StatusNoContent)
	})
}
