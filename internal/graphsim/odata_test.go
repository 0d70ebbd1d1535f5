package graphsim

import (
	"strings"
	"testing"
	"time"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	ann := map[string]any{
		"displayName": "Ann O'Hara", "accountEnabled": true, "count": int64(3), "mail": nil,
		"created": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "createdText": "2026-01-02T03:04:05Z",
		"groupTypes": []any{"Unified", "DynamicMembership"}, "owner": map[string]any{"id": "o1"},
		"licenses": []any{map[string]any{"skuId": "05e9a617-0261-4cee-bb44-138d3ef5d965", "n": 2.0}},
	}
	get := func(path string) any { return member(ann, path) }
	for filter, want := range map[string]bool{
		"displayName eq 'ann o''hara'":                          true,
		"displayName ne 'Bob'":                                  true,
		"startsWith(displayName,'ann')":                         true,
		"endswith(displayName,'bob') or accountEnabled":         true,
		"not contains(displayName,'hara')":                      false,
		"accountEnabled eq true and count ge 3 and count lt 4":  true,
		"accountEnabled eq false or count gt 3 and count le 9":  false,
		"(accountEnabled eq false or count eq 3) and count le9": false, // refused, below
		"mail eq null":                          true,
		"mail ne null":                          false,
		"mail lt 'x'":                           false,
		"created ge 2026-01-01T00:00:00Z":       true,
		"createdText lt 2026-01-02T03:04:05.5Z": true,
		"created gt 2026-01-03":                 false,
		"groupTypes/any(c:c eq 'Unified')":      true,
		"groupTypes/all(c:c eq 'Unified')":      false,
		"groupTypes/any()":                      true,
		"groupTypes/$count eq 2":                true,
		"licenses/any(x:x/skuId eq 05e9a617-0261-4cee-bb44-138d3ef5d965 and x/n gt 1)": true,
		"owner/id in ('a','o1')": true,
		"absent eq 'x'":          false,
	} {
		e, err := parseFilter(filter)
		if strings.Contains(filter, "le9") {
			if err == nil {
				t.Errorf("%s: no error", filter)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", filter, err)
		} else if got := e.match(get); got != want {
			t.Errorf("%s is %v", filter, got)
		}
	}
	for _, filter := range []string{"", "displayName", "displayName eq", "eq 'x'", "displayName eq 'x", "a eq 'x' and", "(a eq 'x'", "a eq 'x')",
		"startsWith(a)", "startsWith(a,1)", "a/any(x)", "a/any(x:)", "a in ()", "a in 'x'", "a eq b", "a ~ 'x'", "'x' eq a", "a eq 'x' b eq 'y'",
		strings.Repeat("not ", 100) + "a eq 1", strings.Repeat("(", 100) + "a eq 1", strings.Repeat("x", maxFilter+1)} {
		if e, err := parseFilter(filter); err == nil && filter != "displayName" {
			t.Errorf("%.40q is taken as %+v", filter, e)
		}
	}
}

// FuzzFilter: whatever is parsed can be evaluated.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"a eq 'x'", "not (a in (1,2) or b/any(x:x/c ne null))", "c/$count gt 1", "a/all(x:x eq 2026-01-01T10:00:00Z)", "endsWith(a,'''')"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		e, err := parseFilter(filter)
		if err != nil {
			return
		}
		e.match(func(string) any { return []any{"x", map[string]any{"c": 1.0}, nil} })
		e.match(func(string) any { return nil })
		e.walk(func(*predicate, string) {})
	})
}
