package graphsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A form is what the JSON of a property must look like. It returns the value in
// the one way in which the simulator keeps it, so that two clients that mean the
// same leave the same behind.
type form func(json.RawMessage) (string, error)

// props are the properties of an item that somebody set, as JSON by name.
type props map[string]string

// text reads a property of values that is a string; "" when it is none.
func (v props) text(name string) string {
	var s string
	if json.Unmarshal([]byte(v[name]), &s) != nil {
		return ""
	}
	return s
}

func (v props) boolean(name string) bool { return v[name] == "true" }

// into decodes a property; nothing is done when it is not set.
func (v props) into(name string, to any) {
	if raw, ok := v[name]; ok {
		_ = json.Unmarshal([]byte(raw), to) // a form has read it before
	}
}

// field is one property of an entity.
type field struct {
	name string
	form form   // nil: the service's own, passed over in what clients write
	def  string // JSON when nobody set it; "" leaves it out
	// quiet properties are no part of what a restore brings back.
	quiet bool
}

// schema is a type of Graph: its properties in the order in which answers list them.
type schema struct {
	name   string
	fields []field
	byName map[string]*field
}

func newSchema(name string, fields ...field) *schema {
	e := &schema{name: name, fields: fields, byName: map[string]*field{}}
	for i := range fields {
		e.byName[fields[i].name] = &fields[i]
	}
	return e
}

// read writes a client's JSON into v. Unknown properties are refused, as Graph
// does; annotations and the service's own are passed over.
func (e *schema) read(in map[string]json.RawMessage, v props) error {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		p := e.byName[name]
		switch {
		case strings.Contains(name, "@"):
			continue
		case p == nil:
			return badRequest("The property '%s' does not exist on type 'microsoft.graph.%s'.", name, e.name)
		case p.form == nil:
			continue
		}
		value, err := p.form(in[name])
		if err != nil {
			return asBadProperty(name, err)
		}
		v[name] = value
	}
	return nil
}

// render writes the properties that are set or have a default.
func (e *schema) render(o *object, v props) {
	for _, p := range e.fields {
		value, set := v[p.name]
		if !set {
			value = p.def
		}
		if value != "" {
			o.raw(p.name, value)
		}
	}
}

// canonical is the form that digests are computed over: what clients can write,
// defaults filled in, by name.
func (e *schema) canonical(v props) map[string]json.RawMessage {
	form := map[string]json.RawMessage{}
	for _, p := range e.fields {
		if p.form == nil || p.quiet {
			continue
		}
		value, set := v[p.name]
		if !set {
			value = p.def
		}
		if value != "" {
			form[p.name] = json.RawMessage(value)
		}
	}
	return form
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

func textForm(raw json.RawMessage) (string, error) {
	if isNull(raw) {
		return "null", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	return quoted(s), nil
}

func booleanForm(raw json.RawMessage) (string, error) {
	var v bool
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", err
	}
	return strconv.FormatBool(v), nil
}

func integerForm(raw json.RawMessage) (string, error) {
	var v int32
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", err
	}
	return strconv.Itoa(int(v)), nil
}

func numberForm(raw json.RawMessage) (string, error) {
	var v *float64
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		return "null", err
	}
	return strconv.FormatFloat(*v, 'f', -1, 64), nil
}

func instantForm(raw json.RawMessage) (string, error) {
	if isNull(raw) {
		return "null", nil
	}
	var v time.Time
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", err
	}
	return quoted(formatTime(v)), nil
}

// dateForm is an Edm.Date: 2026-01-31.
func dateForm(raw json.RawMessage) (string, error) {
	if isNull(raw) {
		return "null", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return "", err
	}
	return quoted(s), nil
}

// oneOf is an enumeration; Graph reads its members without regard to case.
func oneOf(members ...string) form {
	return func(raw json.RawMessage) (string, error) {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", err
		}
		for _, m := range members {
			if strings.EqualFold(m, s) {
				return quoted(m), nil
			}
		}
		return "", fmt.Errorf("%q is none of %s", s, strings.Join(members, ", "))
	}
}

// listOf is a collection; null is an empty one.
func listOf(of form) form {
	return func(raw json.RawMessage) (string, error) {
		var in []json.RawMessage
		if err := json.Unmarshal(raw, &in); err != nil {
			return "", err
		}
		out := make([]string, len(in))
		for i, v := range in {
			value, err := of(v)
			if err != nil {
				return "", err
			}
			out[i] = value
		}
		return "[" + strings.Join(out, ",") + "]", nil
	}
}

// record is a complex type; null stays null. Members that are not given have
// their default.
func record(members ...field) form {
	known := newSchema("record", members...)
	return func(raw json.RawMessage) (string, error) {
		if isNull(raw) {
			return "null", nil
		}
		var in map[string]json.RawMessage
		if err := json.Unmarshal(raw, &in); err != nil {
			return "", err
		}
		v := props{}
		for name, value := range in {
			p := known.byName[name]
			if strings.Contains(name, "@") {
				continue
			}
			if p == nil {
				return "", fmt.Errorf("unknown member %q", name)
			}
			text, err := p.form(value)
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			v[name] = text
		}
		o := newObject(nil)
		known.render(o, v)
		return string(o.done()), nil
	}
}

var (
	textsForm   = listOf(textForm)
	addressForm = record(field{name: "name", form: textForm, def: "null"}, field{name: "address", form: textForm, def: "null"})
	bodyForm    = record(field{name: "contentType", form: oneOf("text", "html"), def: `"text"`}, field{name: "content", form: textForm, def: `""`})
	postalForm  = record(field{name: "street", form: textForm}, field{name: "city", form: textForm},
		field{name: "state", form: textForm}, field{name: "countryOrRegion", form: textForm}, field{name: "postalCode", form: textForm})
)
