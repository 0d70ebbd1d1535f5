package workload

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What can be given of a task and of what belongs to it.
var (
	writableTask = []string{
		"title", "body", "importance", "status", "categories", "isReminderOn", "reminderDateTime", "startDateTime", "dueDateTime",
		"completedDateTime", "recurrence",
	}
	writableTaskPart = map[string][]string{
		taskChecklist: {"displayName", "isChecked", "checkedDateTime"},
		taskLinks:     {"webUrl", "applicationName", "displayName", "externalId"},
	}
)

// taskTarget writes tasks into one mailbox. A task has no properties of one's own that could name what it
// was made from, so it is known by what it says.
type taskTarget[P Pages] struct {
	api      TaskWriter[P]
	user     string
	folder   string
	conflict string
	said     *notes

	mu    sync.Mutex // guards what follows
	lists map[string]string
	home  string
	tasks map[string]*listedTasks // by list
}

// listedTasks are the tasks of a list of the target. The mutex is held while one of them is chosen.
type listedTasks struct {
	mu     sync.Mutex
	loaded bool
	byText map[string][]*listedTask
	byID   map[string]*listedTask
}

// listedTask is a task of the target; taken by what was restored in this run.
type listedTask struct {
	id    string
	text  string
	taken bool
	parts map[string][]string // as taskPart writes them; nil: not read
}

func newTaskTarget[P Pages](api TaskWriter[P], user, folder, conflict string, said *notes) *taskTarget[P] {
	return &taskTarget[P]{api: api, user: user, folder: folder, conflict: conflict, said: said, tasks: map[string]*listedTasks{}}
}

// Folder finds or makes the list that stands for e. Lists are not nested: those of a restore into a folder
// have its name before their own.
func (t *taskTarget[P]) Folder(ctx context.Context, e repository.Entry, raw []byte) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var l taskList
	if err := parse("a stored To Do list", raw, &l); err != nil {
		return "", err
	}
	if err := t.load(ctx); err != nil {
		return "", err
	}
	switch {
	case t.folder != "":
		return t.findOrMake(ctx, t.folder+" - "+e.Name)
	case l.Common == defaultTasks && t.home != "":
		return t.home, nil
	}
	return t.findOrMake(ctx, e.Name)
}

// load lists the lists, once.
func (t *taskTarget[P]) load(ctx context.Context) error {
	if t.lists != nil {
		return nil
	}
	all, err := taskLists(ctx, t.api, t.user)
	if err != nil {
		return err
	}
	t.lists = map[string]string{}
	for _, l := range all {
		t.lists[strings.ToLower(l.Name)] = l.ID
		if l.Common == defaultTasks {
			t.home = l.ID
		}
	}
	return nil
}

func (t *taskTarget[P]) findOrMake(ctx context.Context, name string) (string, error) {
	key := strings.ToLower(name)
	if id, ok := t.lists[key]; ok {
		return id, nil
	}
	id, err := t.api.CreateTaskList(ctx, t.user, name)
	if mayExist(err) {
		t.lists = nil
		if again := t.load(ctx); again != nil {
			return "", again
		}
		if known := t.lists[key]; known != "" {
			return known, nil
		}
	}
	if err != nil {
		return "", err
	}
	t.lists[key] = id
	return id, nil
}

// list returns the list that the engine names, and what is in it.
func (t *taskTarget[P]) list(ctx context.Context, folder string) (id string, _ *listedTasks, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id = folder; id == "" || id == partTasks {
		if err := t.load(ctx); err != nil {
			return "", nil, err
		}
		if id = t.home; t.folder != "" {
			if id, err = t.findOrMake(ctx, t.folder); err != nil {
				return "", nil, err
			}
		}
	}
	if id == "" {
		return "", nil, tenantry.Errorf(tenantry.NotFound, "restore a task: the mailbox has no default list")
	}
	if t.tasks[id] == nil {
		t.tasks[id] = &listedTasks{}
	}
	return id, t.tasks[id], nil
}

// restoredTask is a task to be created: its own JSON, and that of what belongs to it.
type restoredTask struct {
	id, text string
	body     []byte
	parts    map[string][]string
	files    []taskFile
	unsaved  []string // files that were not saved
}

// Item writes a task, unless it is there.
func (t *taskTarget[P]) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	want, err := newRestoredTask(ctx, e, raw, open)
	if err != nil {
		return engine.Written{}, err
	}
	list, there, err := t.list(ctx, folder)
	if err != nil {
		return engine.Written{}, err
	}
	found, rival, err := t.choose(ctx, list, there, want)
	if err != nil {
		return engine.Written{}, err
	}
	if found == nil && (rival == nil || t.conflict != conflictSkip) || found != nil && found.id != want.id {
		t.said.say(tasksNote)
	}
	switch {
	case found != nil:
		return engine.Written{ID: found.id, Existed: true}, t.complete(ctx, list, found, want, open)
	case rival != nil && t.conflict == conflictSkip:
		return engine.Written{ID: rival.id, Existed: true}, nil
	}
	id, err := t.api.CreateTask(ctx, t.user, list, want.body)
	if err != nil {
		return engine.Written{}, err
	}
	if err := t.complete(ctx, list, &listedTask{id: id, parts: map[string][]string{}}, want, open); err != nil {
		return engine.Written{}, err
	}
	if rival != nil && t.conflict == conflictReplace {
		err = t.api.DeleteTask(ctx, t.user, list, rival.id)
	}
	return engine.Written{ID: id}, err
}

// choose returns the task of the list that is want, or was begun as such by a restore that was killed, and
// takes it; else the one that has its ID, in another version.
func (t *taskTarget[P]) choose(ctx context.Context, list string, there *listedTasks, want *restoredTask) (found, rival *listedTask, err error) {
	there.mu.Lock()
	defer there.mu.Unlock()
	if err := t.loadTasks(ctx, list, there); err != nil {
		return nil, nil, err
	}
	like := there.byText[want.text]
	var best *listedTask
	worst := 3
	for _, x := range like {
		if x.taken {
			continue
		}
		if len(like) == 1 && len(want.parts) == 0 {
			best = x // whatever was added to it since
			break
		}
		if err := t.loadParts(ctx, list, x); err != nil {
			return nil, nil, err
		}
		if rank := want.rank(x); rank < worst {
			best, worst = x, rank
		}
	}
	if best != nil {
		best.taken = true
		return best, nil, nil
	}
	if rival = there.byID[want.id]; rival != nil && rival.taken {
		rival = nil
	}
	return nil, rival, nil
}

func (t *taskTarget[P]) loadTasks(ctx context.Context, list string, there *listedTasks) error {
	if there.loaded {
		return nil
	}
	there.byText, there.byID = map[string][]*listedTask{}, map[string]*listedTask{}
	err := walk(func(link string) (P, error) { return t.api.Tasks(ctx, t.user, list, link) }, func(raw jsontext.Value) error {
		x, _, err := readTask(raw)
		if err != nil {
			return err
		}
		there.byText[x.text] = append(there.byText[x.text], x)
		there.byID[x.id] = x
		return nil
	})
	there.loaded = err == nil
	return err
}

func (t *taskTarget[P]) loadParts(ctx context.Context, list string, x *listedTask) error {
	if x.parts != nil {
		return nil
	}
	parts := map[string][]string{}
	for name := range writableTaskPart {
		err := walk(func(link string) (P, error) { return t.api.TaskParts(ctx, t.user, list, x.id, name, link) }, func(raw jsontext.Value) error {
			text, err := taskPart(name, raw)
			parts[name] = append(parts[name], text)
			return err
		})
		if err != nil {
			return err
		}
	}
	x.parts = parts
	return nil
}

// complete adds what belongs to a task, as far as it is missing.
func (t *taskTarget[P]) complete(ctx context.Context, list string, x *listedTask, want *restoredTask, open engine.OpenPart) error {
	if len(want.parts) == 0 {
		return t.attach(ctx, list, x.id, want, open)
	}
	if err := t.loadParts(ctx, list, x); err != nil {
		return err
	}
	missing := want.missing(x)
	for _, name := range []string{taskChecklist, taskLinks} {
		for _, body := range missing[name] {
			if err := t.api.AddTaskPart(ctx, t.user, list, x.id, name, []byte(body)); err != nil {
				return err
			}
		}
	}
	return t.attach(ctx, list, x.id, want, open)
}

// maxTaskFile is below what a file has to be that is attached by one POST ("Create taskFileAttachment").
const maxTaskFile = 3_000_000

// attach adds the files of a task that it does not have, told by name and size.
func (t *taskTarget[P]) attach(ctx context.Context, list, task string, want *restoredTask, open engine.OpenPart) error {
	if len(want.files)+len(want.unsaved) == 0 {
		return nil
	}
	there := map[string]int{}
	err := walk(func(link string) (P, error) { return t.api.TaskParts(ctx, t.user, list, task, taskFiles, link) }, func(raw jsontext.Value) error {
		var a attachment
		err := parse("a file of a task", raw, &a)
		there[a.taskFile()]++
		return err
	})
	if err != nil {
		return err
	}
	var lost []string
	for _, name := range want.unsaved {
		lost = append(lost, fmt.Sprintf("%q (its content was not saved)", name))
	}
	for _, f := range want.files {
		switch {
		case there[f.taskFile()] > 0:
			there[f.taskFile()]--
			continue
		case f.part.Size >= maxTaskFile:
			lost = append(lost, fmt.Sprintf("%q (it has %d bytes, and only those below %d can be attached)", f.Name, f.part.Size, maxTaskFile))
			continue
		}
		if err := t.attachFile(ctx, list, task, f, open); err != nil {
			return err
		}
	}
	if len(lost) > 0 {
		return tenantry.Errorf(tenantry.Poison, "restored without its files %s", strings.Join(lost, ", "))
	}
	return nil
}

func (t *taskTarget[P]) attachFile(ctx context.Context, list, task string, f taskFile, open engine.OpenPart) error {
	content, err := readAll(ctx, func(ctx context.Context) (io.ReadCloser, error) { return open(ctx, f.part, 0) }, maxTaskFile)
	if err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		Type    string `json:"@odata.type"`
		Name    string `json:"name"`
		Kind    string `json:"contentType,omitempty"`
		Content []byte `json:"contentBytes"`
	}{taskAttachment, f.Name, f.ContentType, content})
	if err != nil {
		return tenantry.E(tenantry.Internal, "attach a file to a task", err)
	}
	return t.api.AddTaskPart(ctx, t.user, list, task, taskFiles, body)
}

// taskFile is a file to be attached to a task, and where its bytes are stored.
type taskFile struct {
	attachment
	part repository.Part
}

// taskFile tells files of a task apart.
func (a *attachment) taskFile() string { return fmt.Sprintf("%s\x00%d", a.Name, a.Size) }

// missing returns what of the wanted task's parts x does not have.
func (w *restoredTask) missing(x *listedTask) map[string][]string { return without(w.parts, x.parts) }

// rank says how well x stands for the wanted task: 0 it is equal, 1 it has more, 2 it has less, 3 it is another one.
func (w *restoredTask) rank(x *listedTask) int {
	less, more := len(w.missing(x)) > 0, len(without(x.parts, w.parts)) > 0
	switch {
	case less && more:
		return 3
	case less:
		return 2
	case more:
		return 1
	}
	return 0
}

// without returns what of a is not in b, each as often as it is missing.
func without(a, b map[string][]string) map[string][]string {
	rest := map[string][]string{}
	for name, list := range a {
		have := slices.Clone(b[name])
		for _, entry := range list {
			if at := slices.Index(have, entry); at >= 0 {
				have = slices.Delete(have, at, at+1)
				continue
			}
			rest[name] = append(rest[name], entry)
		}
	}
	return rest
}

func newRestoredTask(ctx context.Context, e repository.Entry, raw []byte, open engine.OpenPart) (*restoredTask, error) {
	x, have, err := readTask(raw)
	if err != nil {
		return nil, err
	}
	w := &restoredTask{id: e.ID, text: x.text, parts: map[string][]string{}}
	w.body = []byte("{" + strings.TrimSuffix(keep(have, writableTask), ",") + "}")
	for name := range writableTaskPart {
		list := have[name]
		for _, p := range e.Parts {
			if p.Name == name+jsonSuffix {
				if list, err = readAll(ctx, func(ctx context.Context) (io.ReadCloser, error) { return open(ctx, p, 0) }, maxList); err != nil {
					return nil, err
				}
			}
		}
		if list == nil {
			continue
		}
		var entries []jsontext.Value
		if err := parse("the stored parts of a task", list, &entries); err != nil {
			return nil, err
		}
		for _, entry := range entries {
			text, err := taskPart(name, entry)
			if err != nil {
				return nil, err
			}
			w.parts[name] = append(w.parts[name], text)
		}
	}
	return w, w.readFiles(ctx, e, open)
}

// readFiles reads which files a stored task has, and tells those apart whose bytes are not stored.
func (w *restoredTask) readFiles(ctx context.Context, e repository.Entry, open engine.OpenPart) error {
	list, ok, err := storedPart(ctx, e, attachmentsPart, open)
	if err != nil || !ok {
		return err
	}
	var all []attachment
	if err := parse("the stored files of a task", list, &all); err != nil {
		return err
	}
	for _, a := range all {
		at := slices.IndexFunc(e.Parts, func(p repository.Part) bool { return p.Name == a.ID })
		if at < 0 {
			w.unsaved = append(w.unsaved, a.Name)
			continue
		}
		w.files = append(w.files, taskFile{a, e.Parts[at]})
	}
	return nil
}

// taskPart is what can be given of a thing that belongs to a task, as a JSON object.
func taskPart(name string, raw jsontext.Value) (string, error) {
	var have map[string]jsontext.Value
	if err := parse("what belongs to a task", raw, &have); err != nil {
		return "", err
	}
	return "{" + strings.TrimSuffix(keep(have, writableTaskPart[name]), ",") + "}", nil
}

// readTask reads what a task says: all that makes it the same to its owner. Of the body its words count, since a
// service may write its markup anew.
func readTask(raw []byte) (*listedTask, map[string]jsontext.Value, error) {
	var have map[string]jsontext.Value
	if err := parse("a task", raw, &have); err != nil {
		return nil, nil, err
	}
	var known struct {
		ID   string    `json:"id"`
		Body graphText `json:"body"`
	}
	if err := parse("a task", raw, &known); err != nil {
		return nil, nil, err
	}
	fields := keep(have, slices.DeleteFunc(slices.Clone(writableTask), func(name string) bool { return name == "body" }))
	return &listedTask{id: known.ID, text: shortHash([]byte(fields), []byte(known.Body.words()))}, have, nil
}

// graphText is a text as Graph writes it.
type graphText struct {
	Type    string `json:"contentType"`
	Content string `json:"content"`
}

// words are a text without white space and, of HTML, without markup.
func (t graphText) words() string {
	var b strings.Builder
	inside := false
	for _, r := range t.Content {
		switch {
		case r == '<' && t.Type == "html":
			inside = true
		case r == '>' && inside:
			inside = false
		case !inside && !unicode.IsSpace(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}
