package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// maxDepth is how deep JSON of a request may be nested: none that we take is half as deep.
	maxDepth = 32
	// maxList is how many entries a list of a request may have: the longest that we take has as many. What a list
	// holds is looked at entry by entry, and each that is wrong is a complaint.
	maxList = 10_000
	// maxNames is how many names an object of a request may have.
	maxNames = 1_000
)

// strictJSON reads what a request holds as RFC 8259 wants it sent. encoding/json alone takes the last of several values
// of one name, which may be another one than whoever looked at the request before us took, and turns bytes that are no
// text into U+FFFD.
var strictJSON = huma.Format{
	Marshal: marshal,
	Unmarshal: func(data []byte, v any) error {
		if _, first := v.(*any); first { // huma reads a body to validate it, then again
			if err := checkJSON(data); err != nil {
				return err
			}
		}
		return json.Unmarshal(data, v)
	},
}

// checkJSON returns an Invalid that says what is wrong with a body as such; it never shows what it holds.
func checkJSON(data []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, jsontext.ErrDuplicateName):
			return tenantry.Errorf(tenantry.Invalid, "a name stands twice in one object, before byte %d", d.InputOffset())
		case err != nil && !utf8.Valid(data):
			return tenantry.Errorf(tenantry.Invalid, "it is not UTF-8")
		case err != nil:
			return tenantry.Errorf(tenantry.Invalid, "it is not JSON, from byte %d on", d.InputOffset())
		}
		depth := d.StackDepth()
		if depth > maxDepth {
			return tenantry.Errorf(tenantry.Invalid, "it is nested deeper than %d", maxDepth)
		}
		if depth == 0 || token.Kind() == '[' || token.Kind() == '{' {
			continue
		}
		switch kind, length := d.StackIndex(depth); {
		case kind == '[' && length > maxList:
			return tenantry.Errorf(tenantry.Invalid, "a list has more than %d entries", maxList)
		case kind == '{' && length > 2*maxNames: // names and values
			return tenantry.Errorf(tenantry.Invalid, "an object has more than %d names", maxNames)
		}
	}
}

const (
	// maxComplaints is how many wrong fields a refusal names.
	maxComplaints = 20
	// maxShown is how much of a value, and of a name, a refusal shows, in bytes.
	maxShown = 200
	// maxDetail bounds the words of a refusal, which may name what was asked for.
	maxDetail = 2_000
)

// short bounds what a refusal repeats of a request.
func short(text string) string { return shortTo(text, maxShown) }

func shortTo(text string, cut int) string {
	if len(text) <= cut {
		return text
	}
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// shortValue is short of a value that stands beside a complaint; a list says nothing that its place does not.
func shortValue(v any) any {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.String:
		return short(r.String())
	case reflect.Slice, reflect.Map:
		return nil
	}
	return v
}
