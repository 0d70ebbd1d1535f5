package graphsim

import (
	"cmp"
	"strings"
	"time"
)

// eachPath calls see with each path that a filter names; nil is no filter.
func (e *predicate) eachPath(see func(path string)) {
	if e == nil {
		return
	}
	see(e.path)
	for _, arg := range e.args {
		arg.eachPath(see)
	}
}

// match evaluates a filter. What is not there equals only null.
func (e *predicate) match(get values) bool {
	switch e.op {
	case "and":
		for _, arg := range e.args {
			if !arg.match(get) {
				return false
			}
		}
		return true
	case "or":
		for _, arg := range e.args {
			if arg.match(get) {
				return true
			}
		}
		return false
	case "not":
		return !e.args[0].match(get)
	case "any", "all":
		return e.matchEach(get)
	case "in":
		v := e.resolve(get)
		for _, want := range e.list {
			if compare(v, "eq", want) {
				return true
			}
		}
		return false
	case "call":
		return e.matchText(get)
	}
	return compare(e.resolve(get), e.name, e.value)
}

// resolve returns the value of the path, or how many there are of it.
func (e *predicate) resolve(get values) any {
	if path, ok := cutFold(e.path, "/$count"); ok {
		list, _ := get(path).([]any)
		return int64(len(list))
	}
	return get(e.path)
}

func (e *predicate) matchText(get values) bool {
	text, ok := e.resolve(get).(string)
	if !ok {
		return false
	}
	text, want := strings.ToLower(text), strings.ToLower(e.value.(string))
	switch e.name {
	case "startswith":
		return strings.HasPrefix(text, want)
	case "endswith":
		return strings.HasSuffix(text, want)
	}
	return strings.Contains(text, want)
}

func (e *predicate) matchEach(get values) bool {
	list, _ := get(e.path).([]any)
	if len(e.args) == 0 {
		return len(list) > 0
	}
	for _, item := range list {
		inner := func(path string) any {
			name, rest, nested := strings.Cut(path, "/")
			switch {
			case !strings.EqualFold(name, e.name):
				return get(path)
			case !nested:
				return item
			}
			return member(item, rest)
		}
		if e.args[0].match(inner) == (e.op == "any") {
			return e.op == "any"
		}
	}
	return e.op == "all"
}

// member follows a path into decoded JSON; names differ in no more than case.
func member(v any, path string) any {
	for name := range strings.SplitSeq(path, "/") {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		if v, ok = object[name]; ok {
			continue
		}
		for key, value := range object {
			if strings.EqualFold(key, name) {
				v = value
			}
		}
	}
	return v
}

// compare applies an operator. Texts compare without case, as the directory does.
func compare(v any, op string, want literal) bool {
	if v == nil || want == nil {
		same := v == nil && want == nil
		return op == "eq" && same || op == "ne" && !same
	}
	order, comparable := orderOf(v, want)
	if !comparable {
		return op == "ne"
	}
	switch op {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	}
	return order <= 0
}

// orderOf compares two values of one kind; an instant may be written as text.
func orderOf(a, b any) (order int, comparable bool) {
	switch b := b.(type) {
	case string:
		if text, ok := a.(string); ok {
			return cmp.Compare(strings.ToLower(text), strings.ToLower(b)), true
		}
	case bool:
		if v, ok := a.(bool); ok && v == b {
			return 0, true
		} else if ok {
			return 1, true
		}
	case time.Time:
		if v, ok := instantOf(a); ok {
			return v.Compare(b), true
		}
	case float64, int64, int:
		x, one := numberOf(a)
		y, two := numberOf(b)
		return cmp.Compare(x, y), one && two
	}
	return 0, false
}

func instantOf(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, true
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		return t, err == nil
	}
	return time.Time{}, false
}

func numberOf(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	}
	return 0, false
}
