package graphsim

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// selection is a $select: which properties an answer carries; nil means the
// default ones.
type selection map[string]bool

// parseSelect reads a list of names. That of a derived type's property is written behind the type,
// microsoft.graph.fileAttachment/contentId, and is the property's own in the answer.
func parseSelect(s string) selection {
	if s == "" {
		return nil
	}
	sel := selection{}
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		sel[strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])] = true
	}
	return sel
}

// has reports whether a default property is wanted. Graph returns the ID and the
// annotations whatever is selected.
func (s selection) has(name string) bool {
	return s == nil || name == "id" || name[0] == '@' || s[strings.ToLower(name)]
}

// asked reports whether a property was named, for those that are not returned by default.
func (s selection) asked(name string) bool { return s != nil && s[strings.ToLower(name)] }

// object writes one JSON object, its members in the order of the calls; members
// outside the selection are left out.
type object struct {
	b   []byte
	sel selection
}

func newObject(sel selection) *object { return &object{b: []byte{'{'}, sel: sel} }

func (o *object) member(name string) bool {
	if !o.sel.has(name) {
		return false
	}
	o.always(name)
	return true
}

func (o *object) always(name string) {
	if len(o.b) > 1 {
		o.b = append(o.b, ',')
	}
	o.b = appendQuoted(o.b, name)
	o.b = append(o.b, ':')
}

func (o *object) str(name, v string) {
	if o.member(name) {
		o.b = appendQuoted(o.b, v)
	}
}

// nullable writes an empty text as null.
func (o *object) nullable(name, v string) {
	if v == "" {
		o.raw(name, "null")
		return
	}
	o.str(name, v)
}

func (o *object) raw(name, json string) {
	if o.member(name) {
		o.b = append(o.b, json...)
	}
}

func (o *object) boolean(name string, v bool) {
	if o.member(name) {
		o.b = strconv.AppendBool(o.b, v)
	}
}

func (o *object) num(name string, v int64) {
	if o.member(name) {
		o.b = strconv.AppendInt(o.b, v, 10)
	}
}

// instant writes a time as Graph does: UTC, a fraction only where there is one.
func (o *object) instant(name string, t time.Time) {
	if o.member(name) {
		o.b = appendQuoted(o.b, formatTime(t))
	}
}

func (o *object) strings(name string, list []string) {
	if !o.member(name) {
		return
	}
	o.b = append(o.b, '[')
	for i, s := range list {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendQuoted(o.b, s)
	}
	o.b = append(o.b, ']')
}

func (o *object) done() []byte { return append(o.b, '}') }

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.9999999Z07:00") }

// appendQuoted appends a JSON string. Invalid UTF-8, which real mail contains,
// becomes the replacement character; jsontext reports that as an error beside the
// finished text.
func appendQuoted(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

func quoted(s string) string { return string(appendQuoted(nil, s)) }
