package api

import (
	"reflect"
	"strings"
	"unicode/utf8"
)

// checkText refuses strings that no database keeps: with NUL, or not UTF-8. in points to
// an operation's input, whose tags name the fields.
func checkText(in any) error {
	var wrong complaints
	wrong.checkValue(reflect.ValueOf(in).Elem(), "")
	return wrong.err()
}

func (c *complaints) checkValue(v reflect.Value, at string) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); strings.ContainsRune(s, 0) || !utf8.ValidString(s) {
			c.add(invalid(at, strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD"), "must be text in UTF-8 without NUL"))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			c.checkValue(v.Elem(), at)
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.checkValue(v.Index(i), at)
		}
	case reflect.Map:
		for name, value := range v.Seq2() {
			c.checkValue(name, at)
			c.checkValue(value, at)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				c.checkValue(v.Field(i), place(at, field))
			}
		}
	}
}

// place names a field as problems do: path.tenant, query.after, body.name.
func place(at string, field reflect.StructField) string {
	for _, in := range []string{"path", "query", "header"} {
		if name := field.Tag.Get(in); name != "" {
			return in + "." + name
		}
	}
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	switch {
	case field.Name == "Body" && at == "":
		return "body"
	case field.Anonymous && name == "":
		return at
	case name == "":
		name = field.Name
	}
	return at + "." + name
}
