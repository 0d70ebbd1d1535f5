package workload

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What can be given of rules, categories and settings.
var (
	writableRule     = []string{"displayName", "sequence", "isEnabled", "conditions", "actions", "exceptions"}
	writableSettings = []string{
		"automaticRepliesSetting", "dateFormat", "delegateMeetingMessageDeliveryOptions", "language", "timeFormat", "timeZone", "workingHours",
	}
)

// settingsTarget writes settings, rules and categories into one mailbox. A mailbox always has settings, so
// that only a restore that replaces writes them, and only one to the original place. Rules and categories
// are added. Nothing that is restored begins to send mail: a rule that forwards is switched off, and so are
// automatic replies. A restore into a folder adds rules and categories, too, but its rules are all switched off.
type settingsTarget[P Pages] struct {
	api      SettingsWriter[P]
	user     string
	folder   string
	conflict string
	mail     *mailTarget[P] // makes the folders that rules name

	mu         sync.Mutex          // guards what follows, and is held while one is written
	rules      map[string][]string // IDs of the target's rules: by what they say
	named      map[string]string   // and by their name
	categories map[string]storedCategory
}

type storedCategory struct {
	ID    string `json:"id"`
	Name  string `json:"displayName"`
	Color string `json:"color"`
}

func newSettingsTarget[P Pages](api SettingsWriter[P], user, folder, conflict string, mail *mailTarget[P]) *settingsTarget[P] {
	return &settingsTarget[P]{api: api, user: user, folder: folder, conflict: conflict, mail: mail}
}

// settings writes the settings of the mailbox.
func (t *settingsTarget[P]) settings(ctx context.Context, raw []byte) (engine.Written, error) {
	there := engine.Written{ID: settingsItem, Existed: true}
	if t.conflict != conflictReplace || t.folder != "" {
		t.mail.said.say(settingsNote)
		return there, nil
	}
	have, err := members("stored settings of a mailbox", raw)
	if err != nil {
		return engine.Written{}, err
	}
	now, err := t.api.MailboxSettings(ctx, t.user)
	if err != nil {
		return engine.Written{}, err
	}
	current, err := members("the settings of a mailbox", now)
	if err != nil {
		return engine.Written{}, err
	}
	changed := slices.DeleteFunc(slices.Clone(writableSettings), func(name string) bool { return sameJSON(have[name], current[name]) })
	if len(changed) == 0 {
		return there, nil
	}
	silenced, err := silence(have)
	if err != nil {
		return engine.Written{}, err
	}
	body := keep(have, changed)
	err = t.api.UpdateMailboxSettings(ctx, t.user, []byte("{"+strings.TrimSuffix(body, ",")+"}"))
	if err == nil && silenced {
		err = tenantry.Errorf(tenantry.Poison, "restored with automatic replies switched off: they send mail")
	}
	return engine.Written{ID: settingsItem}, err
}

// silence switches automatic replies off, and tells whether they were on.
func silence(settings map[string]jsontext.Value) (silenced bool, err error) {
	const replies, off = "automaticRepliesSetting", `"disabled"`
	if settings[replies].Kind() != '{' {
		return false, nil
	}
	var setting map[string]jsontext.Value
	err = rewrite(settings, replies, &setting, func() (jsontext.Value, error) {
		status := setting["status"]
		silenced = len(status) > 0 && string(status) != off
		setting["status"] = jsontext.Value(off)
		return object(setting)
	})
	return silenced, err
}

// category adds a category. One of the same name that has another colour is replaced, or stays.
func (t *settingsTarget[P]) category(ctx context.Context, raw []byte) (engine.Written, error) {
	var c storedCategory
	if err := parse("a stored category", raw, &c); err != nil {
		return engine.Written{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.loadCategories(ctx); err != nil {
		return engine.Written{}, err
	}
	key := strings.ToLower(c.Name)
	other, known := t.categories[key]
	if known && (other.Color == c.Color || t.conflict != conflictReplace) {
		return engine.Written{ID: other.ID, Existed: true}, nil
	}
	if known {
		if err := t.api.DeleteMasterCategory(ctx, t.user, other.ID); err != nil {
			return engine.Written{}, err
		}
		delete(t.categories, key)
	}
	id, err := t.api.CreateMasterCategory(ctx, t.user, []byte(`{"displayName":`+quote(c.Name)+`,"color":`+quote(c.Color)+`}`))
	if err != nil {
		t.categories = nil // what was not answered may be there
		return engine.Written{}, err
	}
	t.categories[key] = storedCategory{ID: id, Name: c.Name, Color: c.Color}
	return engine.Written{ID: id}, nil
}

func (t *settingsTarget[P]) loadCategories(ctx context.Context) error {
	if t.categories != nil {
		return nil
	}
	known := map[string]storedCategory{}
	err := walk(func(link string) (P, error) { return t.api.MasterCategories(ctx, t.user, link) }, func(raw jsontext.Value) error {
		var c storedCategory
		err := parse("a category", raw, &c)
		known[strings.ToLower(c.Name)] = c
		return err
	})
	if err == nil {
		t.categories = known
	}
	return err
}

// rule adds a rule, unless there is one that says the same. One that sends mail is switched off, which is told.
func (t *settingsTarget[P]) rule(ctx context.Context, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	have, err := members("a stored rule", raw)
	if err != nil {
		return engine.Written{}, err
	}
	var r inboxRule
	if err := r.parse(raw); err != nil {
		return engine.Written{}, err
	}
	if err := t.placeFolders(ctx, e, have, r, open); err != nil {
		return engine.Written{}, err
	}
	off := r.sends() && t.folder == "" && string(have["isEnabled"]) != "false"
	if t.folder != "" {
		t.mail.said.say(rulesNote)
	}
	if r.sends() || t.folder != "" {
		have["isEnabled"] = jsontext.Value("false")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.loadRules(ctx); err != nil {
		return engine.Written{}, err
	}
	says, err := saying(have)
	if err != nil {
		return engine.Written{}, err
	}
	if known := t.rules[says]; len(known) > 0 {
		t.rules[says] = known[1:] // two rules of the same words are two
		return engine.Written{ID: known[0], Existed: true}, nil
	}
	other := t.named[e.Name]
	if other != "" && t.conflict == conflictSkip {
		return engine.Written{ID: other, Existed: true}, nil
	}
	id, err := t.api.CreateMessageRule(ctx, t.user, []byte("{"+strings.TrimSuffix(keep(have, writableRule), ",")+"}"))
	if err != nil {
		t.rules = nil // what was not answered may be there
		return engine.Written{}, err
	}
	if other != "" && t.conflict == conflictReplace {
		if err := t.api.DeleteMessageRule(ctx, t.user, other); err != nil {
			return engine.Written{}, err
		}
		delete(t.named, e.Name)
	}
	if off {
		err = tenantry.Errorf(tenantry.Poison, "restored switched off: the rule sends mail")
	}
	return engine.Written{ID: id}, err
}

// placeFolders puts the target's folders in the place of those that the rule names.
func (t *settingsTarget[P]) placeFolders(ctx context.Context, e repository.Entry, have map[string]jsontext.Value, r inboxRule, open engine.OpenPart) error {
	if len(r.folders()) == 0 {
		return nil
	}
	places := map[string][]string{}
	for _, p := range e.Parts {
		if p.Name != ruleFoldersPart {
			continue
		}
		text, err := readAll(ctx, func(ctx context.Context) (io.ReadCloser, error) { return open(ctx, p, 0) }, maxList)
		if err != nil {
			return err
		}
		if err := parse("where a rule's folders lie", text, &places); err != nil {
			return err
		}
	}
	var actions map[string]jsontext.Value
	return rewrite(have, "actions", &actions, func() (jsontext.Value, error) {
		for name, id := range map[string]string{"moveToFolder": r.Actions.MoveTo, "copyToFolder": r.Actions.CopyTo} {
			if id == "" {
				continue
			}
			if len(places[id]) == 0 {
				return nil, tenantry.Errorf(tenantry.NotFound, "restore a rule: the folder that it names was gone when it was saved")
			}
			folder, err := t.mail.descend(ctx, places[id])
			if err != nil {
				return nil, err
			}
			actions[name] = jsontext.Value(quote(folder))
		}
		return object(actions)
	})
}

func (t *settingsTarget[P]) loadRules(ctx context.Context) error {
	if t.rules != nil {
		return nil
	}
	rules, named := map[string][]string{}, map[string]string{}
	err := walk(func(link string) (P, error) { return t.api.MessageRules(ctx, t.user, link) }, func(raw jsontext.Value) error {
		have, err := members("a rule", raw)
		if err != nil {
			return err
		}
		var known storedCategory
		if err := parse("a rule", raw, &known); err != nil {
			return err
		}
		says, err := saying(have)
		rules[says], named[known.Name] = append(rules[says], known.ID), known.ID
		return err
	})
	if err == nil {
		t.rules, t.named = rules, named
	}
	return err
}

// saying is what makes two rules the same to their owner: all but their order, and whether they are switched
// on, which a restore may have changed.
func saying(rule map[string]jsontext.Value) (string, error) {
	kept := map[string]jsontext.Value{}
	for _, name := range []string{"displayName", "conditions", "actions", "exceptions"} {
		if v := rule[name]; v != nil && v.Kind() != 'n' {
			kept[name] = v
		}
	}
	v, err := object(kept)
	return canonical(v), err
}

// members are the members of a JSON object.
func members(what string, raw []byte) (map[string]jsontext.Value, error) {
	var have map[string]jsontext.Value
	err := parse(what, raw, &have)
	return have, err
}

// object writes members as a JSON object.
func object(of map[string]jsontext.Value) (jsontext.Value, error) {
	v, err := json.Marshal(of, json.Deterministic(true))
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "write a JSON object", err)
	}
	return v, nil
}

// canonical is JSON in the one form that equal values have, without members that are null; as it is, if it
// has no such form.
func canonical(v jsontext.Value) string {
	var any any
	if json.Unmarshal(v, &any) == nil {
		if text, err := json.Marshal(dropNulls(any), json.Deterministic(true)); err == nil {
			return string(text)
		}
	}
	return string(v)
}

func dropNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if value == nil {
				delete(v, name)
				continue
			}
			v[name] = dropNulls(value)
		}
	case []any:
		for i := range v {
			v[i] = dropNulls(v[i])
		}
	}
	return v
}

func sameJSON(a, b jsontext.Value) bool { return canonical(a) == canonical(b) }
