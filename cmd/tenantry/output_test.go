package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// json runs a command line with -o json and returns what it printed.
func (o *office) json(line ...string) map[string]any {
	o.t.Helper()
	out := o.shows(nil, append(line, "-o", "json")...)
	var found map[string]any
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		o.t.Fatalf("tenantry %s: %v in %s", strings.Join(line, " "), err, out)
	}
	return found
}

// at finds "items.0.id" in what JSON shows.
func at(found any, path string) any {
	for _, step := range strings.Split(path, ".") {
		switch v := found.(type) {
		case map[string]any:
			found = v[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(v) {
				return nil
			}
			found = v[i]
		default:
			return nil
		}
	}
	return found
}

// JSON is what the API answered, by its names.
func TestJSONIsTheAPIs(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	run := o.json("runs", "start", tenant, "--resource", user, "--workload", "drive")
	id := run["id"].(string)
	for _, c := range []struct {
		line  string
		path  string
		value any
	}{
		{"tenants list", "items.0.directory", "contoso.com"},
		{"tenants show " + tenant, "weight", 10.0},
		{"tenants consent " + tenant, "url", nil},
		{"resources list " + tenant, "items.0.name", "Ada \x1b[31mred"}, // programs see what it is
		{"resources show " + tenant + " " + user, "object_id", adaObject},
		{"tenants budget " + tenant, "accounts.0.left", 900.0},
		{"runs list " + tenant + " --limit 1", "items.0.tasks_canceled", 0.0},
		{"runs tasks " + tenant + " " + id, "items.0.workload", "drive"},
		{"runs why " + tenant + " " + id, "tasks", 1.0},
		{"runs find " + run["reference"].(string), "items.0.id", id},
		{"runs cancel " + tenant + " " + id, "state", "canceled"},
		{"fleet", "tenants.connected", 1.0},
		{"alarms", "all", []any{}},
		{"processes", "items", []any{}},
		{"whoami", "role", "provider-admin"},
		{"audit --limit 1", "items.0.source", "127.0.0.1"},
		{"tokens add ada auditor", "role", "auditor"},
	} {
		found := o.json(strings.Fields(c.line)...)
		if got := at(found, c.path); c.value != nil && fmt.Sprint(got) != fmt.Sprint(c.value) {
			t.Errorf("tenantry %s -o json: %s is %v, want %v in %v", c.line, c.path, got, c.value, found)
		}
	}
	if out := o.shows(nil, "tokens", "revoke", "ada", "-o", "json"); out != "" {
		t.Errorf("an answer without content shows %q", out)
	}
	if _, err := o.run("fleet", "-o", "xml"); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("-o xml: %v", err)
	}
	if out, err := o.run("tenants", "show", "t-none", "-o", "json"); err == nil || out != "" {
		t.Errorf("a refusal shows %q, %v", out, err)
	}
}

// Pages of a listing are one list, and say when there are more.
func TestPagesArePutTogether(t *testing.T) {
	var a answers
	a.hear("/v1/tenants", []byte(`{"items":[1,2],"unreadable":["x"],"next":"b"}`))
	a.hear("/v1/tenants", []byte(`{"items":[3],"next":"c"}`))
	if got, _ := json.Marshal(a.merged); string(got) != `{"items":[1,2,3],"next":"c","unreadable":["x"]}` {
		t.Errorf("two pages: %s", got)
	}
	a.hear("/v1/tenants", []byte(`{"items":[4]}`))
	if got, _ := json.Marshal(a.merged); string(got) != `{"items":[1,2,3,4],"unreadable":["x"]}` {
		t.Errorf("three pages: %s", got)
	}
	a.hear("/v1/tenants", []byte(`{"items":[5]}`))
	a.hear("/v1/fleet", []byte(`{"protected":7}`))
	a.hear("/v1/fleet", []byte(`no JSON`))
	if got, _ := json.Marshal(a.merged); string(got) != `{"protected":7}` {
		t.Errorf("another answer: %s", got)
	}
}

// Every command that shows something can show it as JSON.
func TestEveryCommandHasJSON(t *testing.T) {
	without := strings.Fields("init migrate demo demo-worker completion help bash zsh fish powershell verify-certificate")
	n := 0
	eachBelow(rootCommand(), func(command *cobra.Command) {
		if slices.Contains(without, command.Name()) {
			return
		}
		n++
		if flag := command.InheritedFlags().Lookup("output"); flag == nil && command.Flags().Lookup("output") == nil {
			t.Errorf("%s has no --output", command.CommandPath())
		}
	})
	if n < 40 {
		t.Errorf("%d commands only", n)
	}
}

func TestExitCodes(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	for line, want := range map[string]int{
		"fleet":                     0,
		"nonsense":                  exitInvalid,
		"fleet --nonsense":          exitInvalid,
		"tenants":                   0, // its help
		"tenants nothing":           exitInvalid,
		"tenants show":              exitInvalid,
		"tenants add A nowhere":     exitInvalid,
		"tenants show t-none":       exitNotFound,
		"tenants show Fabrikam":     exitNotFound,
		"runs find 4827-730-19":     exitInvalid,
		"tenants add A contoso.com": exitConflict,
		"tenants add A a.example --pool atlantis":  exitInvalid,
		"tenants set " + tenant:                    exitInvalid, // nothing to change
		"tenants set " + tenant + " --weight 0":    exitInvalid,
		"tenants set " + tenant + " --seats free":  exitInvalid,
		"tenants set t-none --weight 3":            exitNotFound,
		"fleet --token tenantry_bad":               exitForbidden,
		"search " + tenant + " x":                  exitLater, // this API has no bucket
		"fleet --url http://127.0.0.1:1 --token x": exitLater,
	} {
		_, err := o.run(strings.Fields(line)...)
		if got := exitCode(err); got != want {
			t.Errorf("tenantry %s: exit %d (%v), want %d", line, got, err, want)
		}
	}
	for kind, want := range map[tenantry.Kind]int{
		tenantry.Corrupt: exitDamaged, tenantry.Canceled: exitInterrupted, tenantry.Internal: exitInternal, tenantry.Throttled: exitLater,
	} {
		if got := exitCode(tenantry.Errorf(kind, "x")); got != want {
			t.Errorf("%s: exit %d, want %d", kind, got, want)
		}
	}
	if got := exitCode(errors.New("x")); got != exitInternal {
		t.Errorf("an error of nobody: exit %d", got)
	}
	_ = user
}

// Whoever gives a command wrong words is told how it is used.
func TestWrongWordsTellTheUsage(t *testing.T) {
	for _, line := range []string{"tenants nothing", "tenants show", "tenants show a b"} {
		root := rootCommand()
		root.SetArgs(strings.Fields(line))
		if err := execute(root); err == nil || !strings.Contains(err.Error(), "usage: tenantry tenants") {
			t.Errorf("tenantry %s: %v", line, err)
		}
	}
}

// Programs are told why in JSON, too.
func TestComplaints(t *testing.T) {
	var text strings.Builder
	err := &tenantry.Error{Kind: tenantry.Conflict, Code: codeRun, Op: "run r has failed"}
	complain(&text, err, outputWanted([]string{"tenantry", "runs", "show", "-o", "json"}))
	if got := text.String(); got != `{"code":"run","detail":"run r has failed","exit":7,"kind":"conflict"}`+"\n" {
		t.Errorf("as JSON: %s", got)
	}
	text.Reset()
	complain(&text, err, outputWanted([]string{"tenantry", "runs"}))
	if got := text.String(); got != "tenantry: run r has failed\n" {
		t.Errorf("as text: %s", got)
	}
	for _, line := range []string{"-ojson", "-o=json", "--output=json", "--output json"} {
		if outputWanted(strings.Fields(line)) != asJSON {
			t.Errorf("%s is no JSON", line)
		}
	}
}

// offers completes a command line as a shell does.
func (o *office) offers(line ...string) string {
	o.t.Helper()
	return o.shows(nil, append([]string{"__complete"}, line...)...)
}

func TestCompletion(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	run := o.json("runs", "start", tenant, "--resource", user)["id"].(string)
	policy := o.json("policies", "add", tenant, "Nightly")["id"].(string)
	scope := o.catalog.Tenant(tenantry.TenantID(tenant))
	must(t, scope.MirrorSnapshots(t.Context(), tenantry.ResourceID(user), tenantry.Drive, []catalog.SnapshotRow{{Seq: 31, Time: time.Now()}}))
	colleague := func(object, address string) catalog.Resource {
		return catalog.Resource{
			ID: tenantry.UserResource(object), Kind: tenantry.User, ObjectID: object, Name: "Colleague", Address: address,
			State: tenantry.Active, StateAt: time.Now(), Workloads: []tenantry.Workload{tenantry.Drive},
		}
	}
	staff := []catalog.Resource{colleague("ffffffff-0000-4000-8000-000000000000", "zoe@contoso.com")}
	for n := range pageRows {
		staff = append(staff, colleague(fmt.Sprintf("bbbbbbbb-0000-4000-8000-%012d", n), fmt.Sprintf("%d@contoso.com", n)))
	}
	must(t, scope.ApplySync(t.Context(), tenantry.User, staff, "link", time.Now()))
	for _, c := range []struct {
		want string
		line []string
	}{
		{tenant + "\tContoso", []string{"tenants", "show", ""}},
		{"Contoso\t" + tenant, []string{"tenants", "show", "con"}},
		{user + "\tada@contoso.com", []string{"resources", "show", "Contoso", ""}},
		{run + "\tbackup running", []string{"runs", "show", tenant, ""}},
		{policy + "\tNightly", []string{"policies", "delete", tenant, ""}},
		{policy, []string{"runs", "start", tenant, "--policy", ""}},
		{user, []string{"runs", "start", tenant, "--resource", ""}},
		{user, []string{"restore", tenant, user, "drive", "31", "--to", ""}},
		{tenant, []string{"tokens", "add", "x", "auditor", "--tenant", ""}},
		{"restore-operator", []string{"tokens", "add", "x", ""}},
		{"mailbox", []string{"snapshots", tenant, user, ""}},
		{"31\t", []string{"verify", tenant, user, "drive", ""}},
		{"retry", []string{"runs", "re"}},
		{"drive", []string{"workloads", "enable", tenant, "mailbox", ""}},
		{"contoso.com\t" + tenant, []string{"tenants", "show", "contoso."}},
		{"ada@contoso.com\t" + user, []string{"resources", "show", "Contoso", "ADA@"}},
		{"zoe@contoso.com\t", []string{"resources", "show", "Contoso", "zoe"}}, // she is on the second page
		{"Nightly\t" + policy, []string{"policies", "delete", tenant, "night"}},
		{tenant + "\tContoso", []string{"credentials", "list", ""}},
		{"fleet", []string{"credentials", "list", "f"}},
	} {
		if out := o.offers(c.line...); !strings.Contains(out, c.want) {
			t.Errorf("tenantry %s<tab> offers no %q: %s", strings.Join(c.line, " "), c.want, out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		o.shows([]string{"tenantry"}, "completion", shell)
	}
}

// People name tenants and runs as they know them.
func TestNamesStandForIDs(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	for _, name := range []string{tenant, "Contoso", "contoso", "contoso.com"} {
		o.shows([]string{tenant}, "tenants", "show", name)
	}
	run := o.json("runs", "start", "Contoso", "--resource", user)
	o.shows([]string{run["id"].(string)}, "runs", "show", "Contoso", run["reference"].(string))
	o.shows([]string{run["id"].(string)}, "runs", "cancel", "Contoso", strings.ReplaceAll(run["reference"].(string), "-", " "))
	if _, err := o.run("runs", "show", "Contoso", tenantry.NewReference().String()); tenantry.KindOf(err) != tenantry.NotFound {
		t.Errorf("another reference: %v", err)
	}
	o.shows([]string{"federated"}, "credentials", "add", "Contoso", "--kind", "federated", "--client-id", adaObject)
	o.shows([]string{adaObject}, "credentials", "list", "contoso.com")
	o.shows([]string{"pending"}, "tenants", "add", "Fleet", "fleet.example")
	if out := o.shows([]string{"WARNING"}, "credentials", "list", "fleet"); strings.Contains(out, adaObject) {
		t.Errorf("fleet is the provider, whatever a tenant is called:\n%s", out)
	}
	o.shows([]string{"pending"}, "tenants", "add", "Contoso", "contoso.example")
	if _, err := o.run("tenants", "show", "Contoso"); tenantry.KindOf(err) != tenantry.Conflict || !strings.Contains(err.Error(), tenant) {
		t.Errorf("two of a name: %v", err)
	}
}

// A name that several have names none of them: whatever a command does, it does nothing, and says which there are.
func TestAmbiguousNamesAreRefused(t *testing.T) {
	o := newOffice(t)
	tenant, ada := o.connected()
	scope := o.catalog.Tenant(tenantry.TenantID(tenant))
	var twins []string
	var rows []catalog.Resource
	for _, object := range []string{"22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"} {
		r := catalog.Resource{
			ID: tenantry.UserResource(object), Kind: tenantry.User, ObjectID: object, Name: "Bob Twin", Address: "bob" + object[:1] + "@contoso.com",
			State: tenantry.Active, StateAt: time.Now(), Workloads: []tenantry.Workload{tenantry.Drive},
		}
		rows, twins = append(rows, r), append(twins, string(r.ID))
	}
	must(t, scope.ApplySync(t.Context(), tenantry.User, rows, "link", time.Now()))
	policies := []string{value(o.shows(nil, "policies", "add", tenant, "Daily"), "id"), value(o.shows(nil, "policies", "add", tenant, "daily"), "id")}
	before := o.shows(nil, "runs", "list", tenant, "-o", "json") + o.shows(nil, "policies", "list", tenant, "-o", "json")
	for _, c := range []struct {
		names []string
		line  []string
	}{
		{twins, []string{"restore", "Contoso", "Bob Twin", "drive", "31"}},
		{twins, []string{"restore", "Contoso", ada, "drive", "31", "--to", "bob twin"}},
		{twins, []string{"export", "Contoso", "Bob Twin", "drive", "31", "--to", "x.zip"}},
		{twins, []string{"runs", "start", "Contoso", "--resource", "Bob Twin"}},
		{policies, []string{"policies", "delete", "Contoso", "Daily"}},
		{policies, []string{"runs", "start", "Contoso", "--policy", "DAILY"}},
	} {
		_, err := o.run(c.line...)
		if tenantry.KindOf(err) != tenantry.Conflict || exitCode(err) == 0 {
			t.Errorf("tenantry %s: %v", strings.Join(c.line, " "), err)
			continue
		}
		for _, id := range c.names {
			if !strings.Contains(err.Error(), id) {
				t.Errorf("tenantry %s does not name %s: %v", strings.Join(c.line, " "), id, err)
			}
		}
	}
	if after := o.shows(nil, "runs", "list", tenant, "-o", "json") + o.shows(nil, "policies", "list", tenant, "-o", "json"); after != before {
		t.Errorf("refused, and yet something was done:\n%s\n%s", before, after)
	}
	o.shows([]string{twins[0]}, "resources", "list", "Contoso", "--kind", "user")
	o.shows([]string{"bob2@contoso.com"}, "resources", "show", "Contoso", "bob2@contoso.com") // an address names one
}

// A run that deletes says so in its own words: its items are objects.
func TestFreedIsSaid(t *testing.T) {
	got := freed(apiclient.Counts{Items: 12, Bytes: 3 << 20, Skipped: 2, Total: 4, Stored: 2048})
	want := []string{
		"freed", "3.0 MiB in 12 objects", "locked", "2 objects stay until their locks end", "dropped", "4 snapshots",
		"freed later", "what these alone needed: by a prune three hours after this one or more, shared content by a collection then", "written", "2.0 KiB anew",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, expected %q", got, want)
	}
	if got := freed(apiclient.Counts{}); !slices.Equal(got, []string{"freed", "0 B in 0 objects"}) {
		t.Errorf("of a run that found nothing: %q", got)
	}
}

// What was found is said for as long as it is more than what was done.
func TestFoundIsSaid(t *testing.T) {
	for want, p := range map[string]apiclient.Counts{
		"":                  {Items: 12, Bytes: 2048, Found: 12, FoundBytes: 2048},
		"40 items, 3.0 MiB": {Items: 12, Bytes: 2048, Found: 40, FoundBytes: 3 << 20},
		"1 items, 20.0 GiB": {Items: 1, Bytes: 2048, Found: 1, FoundBytes: 20 << 30}, // a long file is being read
	} {
		if got := found(p); got != want {
			t.Errorf("%+v: %q, expected %q", p, got, want)
		}
	}
	text := progressText(&apiclient.Run{Progress: apiclient.Counts{Items: 12, Total: 50, Bytes: 2048, Found: 40, FoundBytes: 3 << 20}})
	if want := "12/50 items, 2.0 KiB (found 40 items, 3.0 MiB)"; text != want {
		t.Errorf("a watched run: %q, expected %q", text, want)
	}
}

// What is not backed up any more is grey, and its columns stand where the others' do.
func TestInactiveIsGrey(t *testing.T) {
	const header = "NAME STATE ADDRESS"
	rows := [][]string{{"Ada", "active", "a"}, {"Bob\nBob", "inactive", "b"}, {"inactive", "active", "c"}, {"Eve", "gone", "e"}}
	var plain strings.Builder
	must(t, tableTo(&plain, header, rows)) // no terminal
	want := strings.Split(plain.String(), "\n")
	for _, grey := range []int{2, 4} {
		want[grey] = "\x1b[90m" + want[grey] + "\x1b[0m"
	}
	if got := greyed(plain.String(), header, rows); got != strings.Join(want, "\n") || strings.Contains(plain.String(), "\x1b") {
		t.Errorf("%q of %q", got, plain.String())
	}
	if got := greyed(plain.String(), "NAME STANDING ADDRESS", rows); got != plain.String() {
		t.Errorf("a table without states: %q", got)
	}
}
