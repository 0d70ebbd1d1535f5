package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// known are the codes that the API may answer, by which send holds each answer of every test.
var known = func() map[api.Code]int {
	all := map[api.Code]int{}
	for _, r := range api.Reasons() {
		all[r.Code] = r.Status
	}
	return all
}()

// holdsCode checks that a problem has a code that is listed, with the status that is listed for it.
func (r reply) holdsCode(t *testing.T, what string) {
	t.Helper()
	if r.header.Get("Content-Type") != "application/problem+json" {
		return
	}
	status, ok := known[api.Code(r.text("code"))]
	if !ok || status != r.status {
		t.Errorf("%s: answered %d with the code %q, which is listed with %d: %.300s", what, r.status, r.text("code"), status, r.body)
	}
}

// Programs know codes by heart: none is ever renamed or dropped, and none changes its status. New ones are added to the list.
func TestCodesAreForGood(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/codes.txt")
	must(t, err)
	var lines []string
	for _, r := range api.Reasons() {
		lines = append(lines, fmt.Sprintf("%s %d", r.Code, r.Status))
	}
	slices.Sort(lines)
	if want := strings.Fields(strings.ReplaceAll(string(golden), " ", "=")); !slices.Equal(want, strings.Fields(strings.ReplaceAll(strings.Join(lines, "\n"), " ", "="))) {
		t.Errorf("the codes are\n%s\nand testdata/codes.txt has\n%s", strings.Join(lines, "\n"), golden)
	}
	if slices.ContainsFunc(api.Reasons(), func(r api.Reason) bool { return r.Means == "" || http.StatusText(r.Status) == "" }) {
		t.Error("a code means nothing")
	}
}

// The page for people who write programs has every code with its status and meaning, and no other.
func TestCodesAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/API.md")
	must(t, err)
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]{3}) \\| (.+) \\|$").FindAllStringSubmatch(string(page), -1)
	var has, want []string
	for _, row := range rows {
		has = append(has, row[1]+" "+row[2]+" "+row[3])
	}
	for _, r := range api.Reasons() {
		want = append(want, fmt.Sprintf("%s %d %s", r.Code, r.Status, r.Means))
	}
	if !slices.Equal(has, want) {
		table := ""
		for _, r := range api.Reasons() {
			table += fmt.Sprintf("| `%s` | %d | %s |\n", r.Code, r.Status, r.Means)
		}
		t.Errorf("docs/API.md must have this table:\n%s", table)
	}
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Enum []string }
				Required   []string
			}
		}
	}
	h := newHouse(t)
	must(t, json.Unmarshal(h.want(http.StatusOK, "GET", "/openapi.json", nil).body, &document))
	problem := document.Components.Schemas["Problem"]
	enum := problem.Properties["code"].Enum
	if len(enum) != len(want) || !slices.Contains(problem.Required, "code") {
		t.Errorf("the document lists %d codes, of %d; required %v", len(enum), len(want), problem.Required)
	}
	for _, r := range api.Reasons() {
		if !slices.Contains(enum, string(r.Code)) {
			t.Errorf("the document does not list %s", r.Code)
		}
	}
}

// A refusal names every field that is wrong, not only the first.
func TestEveryWrongFieldIsNamed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	h.seal(id)
	base := "/v1/tenants/" + string(id)
	type fields map[string]any
	policy := h.want(http.StatusCreated, "POST", base+"/policies", fields{"name": "P"}).text("id")
	for _, c := range []struct {
		method, path string
		body         fields
		want         []string
	}{
		{"POST", "/v1/tenants", fields{"name": 7, "weight": 101, "sync_hours": 0, "wieght": 1}, []string{"body.name", "body.weight", "body.sync_hours", "body.wieght", "body"}},
		{"POST", "/v1/tenants", fields{"name": " ", "directory": "common", "application_name": "a\nb", "region": "eu", "cloud": "dod"},
			[]string{"body.name", "body.application_name", "body.directory", "body.region", "body.cloud"}},
		{"PATCH", base, fields{"name": "\t", "application_name": "a\rb", "region": "eu", "cloud": "china"}, []string{"body.name", "body.application_name", "body.region", "body.cloud"}},
		{"POST", "/v1/tenants", fields{"name": "a\x00", "directory": "b\x00"}, []string{"body.name", "body.directory"}},
		{"POST", base + "/policies", fields{"name": " ", "enrol": "daily", "targets": fields{"resources": []string{"u-x", "u-y"}, "exclude_resources": []string{"u-z"}, "groups": []string{"staff"}},
			"schedule": fields{"kind": "daily", "at": "01:00", "window_minutes": 5, "every_hours": 2, "time_zone": "Mars/Olympus"}},
			[]string{"body.name", "body.targets.resources[0]", "body.targets.resources[1]", "body.targets.exclude_resources[0]", "body.targets.groups[0]", "body.enrol_at",
				"body.schedule.time_zone", "body.schedule.at", "body.schedule.window_minutes", "body.schedule.every_hours"}},
		{"PATCH", base + "/policies/" + policy, fields{"name": " ", "targets": fields{"groups": []string{"staff"}}, "schedule": fields{"kind": "every", "at": "01:00"}},
			[]string{"body.targets.groups[0]", "body.name", "body.schedule.at", "body.schedule.every_hours"}},
		{"POST", base + "/runs", fields{"resources": []string{"u-none", string(gone), string(bob)}, "workloads": []string{"drive"}},
			[]string{"body.resources[0]", "body.resources[1]", "body.resources[2]"}},
		{"POST", base + "/restores", fields{"resource": ada, "workload": "group", "snapshot": 7, "folder": "a/b", "items": []string{"", strings.Repeat("x", 1001)}},
			[]string{"body.workload", "body.folder", "body.items[0]", "body.items[1]"}},
		{"PUT", base + "/notices", fields{"to": []string{"ada", "ada@contoso.com", "bob"}, "events": []string{"none", "failed"}, "time_zone": "Mars/Olympus"},
			[]string{"body.to[0]", "body.to[2]", "body.time_zone", "body.events"}},
		{"POST", base + "/credentials", fields{"kind": "secret", "client_id": strings.Repeat("x", 36), "certificate": "y", "expires": "2020-01-01T00:00:00Z"},
			[]string{"body.client_id", "body.secret", "body.certificate", "body.expires"}},
		{"POST", base + "/seats/assign", fields{"resources": []string{"u-x", "u-y"}}, []string{"body.resources[0]", "body.resources[1]"}},
		{"PUT", base + "/policies/" + policy + "/retention", fields{"last": -1, "daily": 100001}, []string{"body.last", "body.daily"}},
	} {
		got := h.call(c.method, c.path, c.body)
		h.problemWith(got, http.StatusUnprocessableEntity, tenantry.Invalid)
		var named []string
		errors, _ := got.field("errors").([]any)
		for _, e := range errors {
			location, _ := e.(map[string]any)["location"].(string)
			named = append(named, location)
		}
		slices.Sort(named)
		slices.Sort(c.want)
		if named = slices.Compact(named); !slices.Equal(named, c.want) {
			t.Errorf("%s %s: names %v, want %v: %s", c.method, c.path, named, c.want, got.body)
		}
	}
}
