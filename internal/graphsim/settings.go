package graphsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// objectForm takes any JSON object as it is, its members in order of their names.
func objectForm(raw json.RawMessage) (string, error) {
	var in map[string]any
	if err := json.Unmarshal(raw, &in); err != nil {
		return "", err
	}
	if in == nil {
		return "null", nil
	}
	for name, value := range in {
		if value == nil || strings.Contains(name, "@") {
			delete(in, name)
		}
	}
	data, err := json.Marshal(in)
	return string(data), err
}

// What clients can set of rules and categories.
var (
	ruleSchema = newSchema("messageRule",
		field{name: "id"}, field{name: "isReadOnly", def: "false"}, field{name: "hasError", def: "false"},
		field{name: "displayName", form: textForm, def: "null"}, field{name: "sequence", form: integerForm, def: "1"},
		field{name: "isEnabled", form: booleanForm, def: "true"}, field{name: "conditions", form: objectForm, def: "null"},
		field{name: "actions", form: objectForm, def: "null"}, field{name: "exceptions", form: objectForm, def: "null"})
	categorySchema = newSchema("outlookCategory", field{name: "id"}, field{name: "displayName", form: textForm, def: `""`},
		field{name: "color", form: oneOf(presets()...), def: `"none"`})
)

// rules are the message rules of the inbox (messageRule resource type).
var rules = &entryKind{
	param:  "rule",
	schema: ruleSchema,
	id:     func(b *mailbox, _ *call, e *listEntry) string { return b.itemID(ruleKind, e.number, 0) },
	open:   inboxRules,
	check: func(b *mailbox, _ entryList, _ *listEntry, v props) error {
		for _, id := range ruleFolders(v) {
			if _, err := b.folder(id); err != nil {
				return err
			}
		}
		if v.text("displayName") == "" || v["actions"] == "" || v["actions"] == "null" || v["actions"] == "{}" {
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "A rule needs a displayName and actions.")
		}
		return nil
	},
}

const ruleKind = 'R'

// ruleFolders are the folders that a rule's actions name by ID.
func ruleFolders(v props) map[string]string {
	var actions struct{ MoveToFolder, CopyToFolder string }
	v.into("actions", &actions)
	ids := map[string]string{"moveToFolder": actions.MoveToFolder, "copyToFolder": actions.CopyToFolder}
	maps.DeleteFunc(ids, func(_, id string) bool { return id == "" })
	return ids
}

// canonicalRule is a rule with the paths of the folders it names: their IDs are
// others in another mailbox.
func (b *mailbox) canonicalRule(v props) map[string]json.RawMessage {
	form := ruleSchema.canonical(v)
	text := string(form["actions"])
	for _, id := range ruleFolders(v) {
		if f, err := b.folder(id); err == nil {
			text = strings.ReplaceAll(text, quoted(id), quoted(f.path()))
		}
	}
	form["actions"] = json.RawMessage(text)
	return form
}

// inboxRules opens the rules; other folders have none.
func inboxRules(c *call, do func(*mailbox, entryList) (entryList, error)) error {
	return c.withFolder(func(b *mailbox, f *mailFolder) (err error) {
		if f != b.wellKnown["inbox"] {
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "Rules are supported for the Inbox only.")
		}
		p := b.store()
		p.rules, err = do(b, p.rules)
		return err
	})
}

// categories are the master categories of a mailbox (outlookCategory resource type).
var categories = &entryKind{
	param:  "category",
	schema: categorySchema,
	id:     func(b *mailbox, _ *call, e *listEntry) string { return guid(mix(b.seed, 'k', e.number)) },
	open: func(c *call, do func(*mailbox, entryList) (entryList, error)) error {
		return c.withBox(func(b *mailbox) (err error) {
			p := b.store()
			p.categories, err = do(b, p.categories)
			return err
		})
	},
	check: checkCategory,
}

// checkCategory: a name is unique, and cannot be changed (Update outlookCategory).
func checkCategory(_ *mailbox, l entryList, old *listEntry, v props) error {
	name := v.text("displayName")
	switch {
	case name == "":
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "A category needs a displayName.")
	case old != nil && old.values.text("displayName") != name:
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The displayName of a category cannot be changed.")
	case old != nil:
		return nil
	}
	for _, e := range l.entries {
		if strings.EqualFold(e.values.text("displayName"), name) {
			return fail(http.StatusConflict, "ErrorCategoryAlreadyExists", "A category with the name '%s' already exists.", name)
		}
	}
	return nil
}

func presets() []string {
	list := []string{"none"}
	for i := range 25 {
		list = append(list, fmt.Sprintf("preset%d", i))
	}
	return list
}

// configurations are the hidden items in which Outlook keeps settings of a folder
// (userConfiguration resource type). Their ID is their name.
var configurations = &entryKind{
	param: "configuration",
	schema: newSchema("userConfiguration", field{name: "id", form: textForm}, field{name: "binaryData", form: textForm, def: "null"},
		field{name: "structuredData", form: listOf(objectForm), def: "[]"}, field{name: "xmlData", form: textForm, def: "null"}),
	id: func(_ *mailbox, _ *call, e *listEntry) string { return e.values.text("id") },
	open: func(c *call, do func(*mailbox, entryList) (entryList, error)) error {
		return c.withFolder(func(b *mailbox, f *mailFolder) (err error) {
			f.configurations, err = do(b, f.configurations)
			return err
		})
	},
	check: func(_ *mailbox, l entryList, old *listEntry, v props) error {
		name := v.text("id")
		for _, e := range l.entries {
			if e != old && e.values.text("id") == name {
				return fail(http.StatusConflict, "ErrorItemSaveConflict", "A user configuration with the name '%s' already exists.", name)
			}
		}
		if name == "" {
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "A user configuration needs an id.")
		}
		return nil
	},
}

func settingsRoutes() []route {
	list := rules.routes("users/{user}/mailFolders/{folder}/messageRules", rolesSettings, rolesSettingsWrite)
	list = append(list, categories.routes("users/{user}/outlook/masterCategories", rolesSettings, rolesSettingsWrite)...)
	list = append(list, configurations.routes("users/{user}/mailFolders/{folder}/userConfigurations", rolesConfigurations, rolesConfigurationsWrite)...)
	const base = "users/{user}/mailboxSettings"
	list = append(list, route{method: "GET", pattern: base, service: outlook, roles: rolesSettings, takes: takesOne(nil, "$select"), handle: getSettings},
		route{method: "PATCH", pattern: base, service: outlook, roles: rolesSettingsWrite, handle: patchSettings})
	for _, f := range settingsSchema.fields {
		list = append(list, route{method: "GET", pattern: base + "/" + f.name, service: outlook, roles: rolesSettings, handle: getSetting})
	}
	return list
}

// settingsSchema is the mailboxSettings resource type.
var settingsSchema = newSchema("mailboxSettings",
	field{name: "archiveFolder"}, field{name: "userPurpose"},
	field{name: "timeZone", form: textForm, def: `"UTC"`},
	field{name: "delegateMeetingMessageDeliveryOptions", def: `"sendToDelegateOnly"`,
		form: oneOf("sendToDelegateAndInformationToPrincipal", "sendToDelegateAndPrincipal", "sendToDelegateOnly")},
	field{name: "dateFormat", form: textForm, def: `"M/d/yyyy"`}, field{name: "timeFormat", form: textForm, def: `"h:mm tt"`},
	field{name: "automaticRepliesSetting", form: repliesForm, def: defaultOf(repliesForm)},
	field{name: "language", form: languageForm, def: `{"locale":"en-US","displayName":"English (United States)"}`},
	field{name: "workingHours", form: hoursForm, def: `{"daysOfWeek":["monday","tuesday","wednesday","thursday","friday"],` +
		`"startTime":"08:00:00.0000000","endTime":"17:00:00.0000000","timeZone":{"name":"UTC"}}`},
)

var (
	epochForm   = `{"dateTime":"2026-11-01T00:00:00.0000000","timeZone":"UTC"}`
	repliesForm = record(field{name: "status", form: oneOf("disabled", "alwaysEnabled", "scheduled"), def: `"disabled"`},
		field{name: "externalAudience", form: oneOf("none", "contactsOnly", "all"), def: `"all"`},
		field{name: "internalReplyMessage", form: textForm, def: `""`}, field{name: "externalReplyMessage", form: textForm, def: `""`},
		field{name: "scheduledStartDateTime", form: zonedForm, def: epochForm}, field{name: "scheduledEndDateTime", form: zonedForm, def: epochForm})
	languageForm = record(field{name: "locale", form: textForm, def: `"en-US"`}, field{name: "displayName", form: textForm})
	hoursForm    = record(field{name: "daysOfWeek", form: listOf(dayForm), def: "[]"}, field{name: "startTime", form: textForm, def: "null"},
		field{name: "endTime", form: textForm, def: "null"}, field{name: "timeZone", form: objectForm, def: `{"name":"UTC"}`})
)

// defaultOf is what a record is when none of its members is given.
func defaultOf(f form) string {
	text, _ := f(json.RawMessage("{}"))
	return text
}

// settings are the mailbox's, those of the service filled in.
func (c *call) settings(b *mailbox) props {
	v := props{"archiveFolder": quoted(b.wellKnown["archive"].id()), "userPurpose": quoted(c.purpose())}
	for name, value := range b.store().settings {
		v[name] = value
	}
	return v
}

func getSettings(c *call) error {
	without, err := c.withoutPurpose()
	if err != nil {
		return err
	}
	return c.withBox(func(b *mailbox) error {
		o, values := newObject(c.sel), c.settings(b)
		if without {
			delete(values, "userPurpose")
		}
		settingsSchema.render(o, values)
		return c.json(http.StatusOK, o.done())
	})
}

// getSetting answers with one of the settings by itself.
func getSetting(c *call) error {
	return c.withBox(func(b *mailbox) error {
		name := c.path[strings.LastIndexByte(c.path, '/')+1:]
		v := c.settings(b)
		for _, f := range settingsSchema.fields {
			if !strings.EqualFold(f.name, name) {
				continue
			}
			value := v[f.name]
			setDefault(&value, f.def)
			if strings.HasPrefix(value, "{") {
				return c.json(http.StatusOK, []byte(value))
			}
			return c.json(http.StatusOK, []byte(`{"value":`+value+`}`))
		}
		return mailItemNotFound()
	})
}

func patchSettings(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withBox(func(b *mailbox) error {
		v := props{}
		for name, value := range b.store().settings {
			v[name] = value
		}
		if err := settingsSchema.read(in, v); err != nil {
			return err
		}
		if name := v.text("timeZone"); name != "" {
			if _, err := zone(name); err != nil {
				return err
			}
		}
		b.store().settings = v
		o := newObject(nil)
		settingsSchema.render(o, c.settings(b))
		return c.json(http.StatusOK, o.done())
	})
}

// purpose is what the mailbox of the request is for.
func (c *call) purpose() string {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	if e := c.t.userByKey(c.param("user")); e != nil {
		return e.userPurpose()
	}
	return "user"
}
