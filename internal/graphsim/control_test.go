package graphsim_test

import (
	"bufio"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func TestControlInterface(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	sim := s.AdminURL() + "/_sim/"
	made := c.want(201, "POST", sim+"tenants", object{"domain": "remote.example", "users": 2, "mailsPerUser": 10, "filesPerUser": 5, "consent": true})
	tenant := s.Tenant("remote.example")
	if made["id"] != tenant.ID() || !tenant.Consented() {
		t.Fatalf("made %v", made)
	}
	user := tenant.Users()[0].ID
	id := c.want(200, "POST", sim+"tenants/remote.example/mutate", object{"op": "newMail", "user": user, "mail": object{"subject": "by hand"}})["id"]
	found := false
	lines := bufio.NewScanner(strings.NewReader(string(c.bytes(sim + "truth/remote.example/users/" + user + "/mail"))))
	count := 0
	for lines.Scan() {
		var m graphsim.MailTruth
		must(t, json.Unmarshal(lines.Bytes(), &m))
		found = found || (m.ID == id && m.Subject == "by hand")
		count++
	}
	if count != 11 || !found {
		t.Errorf("%d messages, found: %v", count, found)
	}
	c.want(200, "POST", sim+"tenants/remote.example/mutate", object{"op": "putFile", "user": user, "path": "a/b.bin", "size": 700000, "seed": 1})
	if !strings.Contains(string(c.bytes(sim+"truth/remote.example/users/"+user+"/drive")), `"path":"a/b.bin","size":700000`) {
		t.Error("the file is not in the truth")
	}
	if changed := c.want(200, "POST", sim+"tenants/remote.example/churn", object{"seed": 1, "n": 50})["changed"].(float64); changed < 10 {
		t.Errorf("churn changed %v", changed)
	}
	c.want(400, "POST", sim+"tenants/remote.example/mutate", object{"op": "nonsense"})
	c.want(201, "POST", sim+"faults", object{"path": "x", "kind": "reset"})
	resp := c.do("DELETE", sim+"faults", nil)
	resp.Body.Close()
	if len(s.Faults()) != 0 {
		t.Error("the fault is still there")
	}
	if limits := c.get(sim + "limits"); limits["mailbox"].(object)["max"] != 10000.0 || limits["mailboxConcurrent"] != 4.0 {
		t.Errorf("limits %v", limits)
	}
	c.want(200, "POST", sim+"tenants/remote.example/revoke", nil)
	if tenant.Consented() {
		t.Error("still consented")
	}
	if stats := c.get(sim + "stats"); stats["tenants"] == nil {
		t.Errorf("stats %v", stats)
	}
}

// The same seed makes the same tenant and the same changes.
func TestSameSeedSameTruth(t *testing.T) {
	t.Parallel()
	truth := func() (string, int) {
		s, c := start(t, graphsim.Options{Seed: 42}, graphsim.TenantSpec{Users: 3, MailsPerUser: 30, FilesPerUser: 10})
		_ = s
		changed, err := c.tenant.Churn(7, 60)
		must(t, err)
		var all strings.Builder
		for _, u := range c.tenant.Users() {
			mails, err := c.tenant.MailTruth(u.ID)
			must(t, err)
			for _, m := range mails {
				all.WriteString(m.Path + "\n")
			}
			files, err := c.tenant.DriveTruth(u.ID)
			must(t, err)
			for _, f := range files {
				all.WriteString(f.Path + f.SHA256 + "\n")
			}
		}
		return all.String(), changed
	}
	first, n := truth()
	second, m := truth()
	if first != second || n != m {
		t.Errorf("two runs differ (%d and %d changes)", n, m)
	}
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("TENANTRY_CORPUS")
	if dir == "" {
		t.Skip("SKIPPED: TENANTRY_CORPUS is not set, real mails are not served")
	}
	_, c := start(t, graphsim.Options{Corpus: dir, Files: dir}, graphsim.TenantSpec{Users: 2})
	user := c.tenant.Users()[0].ID
	emls, err := filepath.Glob(filepath.Join(dir, "mail", "*.eml"))
	must(t, err)
	raw := map[string]int{}
	for _, path := range emls {
		data, err := os.ReadFile(path)
		must(t, err)
		raw[string(data)]++
	}
	items, _, _ := c.round("users/" + user + "/messages?$top=100")
	if len(items) != len(emls) || len(emls) == 0 {
		t.Fatalf("%d messages of %d files", len(items), len(emls))
	}
	attachments := 0
	for _, m := range items {
		path := "users/" + user + "/messages/" + m["id"].(string)
		raw[string(c.bytes(path+"/$value"))]--
		list, _, _ := c.round(path + "/attachments?$select=id,name")
		attachments += len(list)
	}
	for data, n := range raw {
		if n != 0 {
			t.Errorf("not served as it is: %.80q", data)
		}
	}
	t.Logf("%d messages, %d attachments", len(items), attachments)
	to, err := c.tenant.NewUser("Restored")
	must(t, err)
	for _, m := range items {
		c.restore(user, to, m)
	}
	compareMail(t, c, user, to)
	files, err := c.tenant.DriveTruth(user)
	must(t, err)
	for _, f := range files {
		if !f.Folder {
			data, err := os.ReadFile(filepath.Join(dir, strings.TrimPrefix(f.Path, "Files/")))
			must(t, err)
			if sha(data) != f.SHA256 {
				t.Errorf("%s differs", f.Path)
			}
		}
	}
	contacts, _, _ := c.round("users/" + user + "/contacts?$top=50")
	events, _, _ := c.round("users/" + user + "/events?$top=50")
	if len(contacts) < 20 || len(events) < 20 {
		t.Errorf("%d contacts, %d events", len(contacts), len(events))
	}
}

// The control interface has a port of its own, which no other machine reaches.
func TestControlIsApart(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	for _, root := range []string{s.URL(), s.FilesURL()} {
		resp := c.do("GET", root+"/_sim/stats", nil)
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("%s answers %d", root, resp.StatusCode)
		}
	}
	if _, err := graphsim.Start(graphsim.Options{AdminAddr: "0.0.0.0:0"}); err == nil {
		t.Error("the control interface listens on every address")
	}
}

// The document of the simulator has a row for every request of the control interface and
// every kind of truth and of fault, and for none that is not there.
func TestDocumentNamesEveryControl(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "GRAPHSIM.md"))
	must(t, err)
	requests, words := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(string(data)) {
		cell, ok := strings.CutPrefix(line, "| `")
		if cell, _, _ = strings.Cut(cell, "`"); !ok {
			continue
		}
		if method, path, isRequest := strings.Cut(cell, " "); isRequest && strings.HasPrefix(path, "/_sim/") {
			requests[method+" "+path] = true
			continue
		}
		words[cell] = true
	}
	names := map[string]bool{}
	for _, file := range []string{"control.go", "controllogin.go", "exchange.go", "sharepoint.go", "faults.go"} {
		for _, name := range casesOf(t, file) {
			names[name] = true
			method, verb, isVerb := strings.Cut(name, " ")
			switch {
			case isVerb:
				if !requests[method+" /_sim/tenants/{t}/"+verb] {
					t.Errorf("%s of a tenant has no row", name)
				}
			case slices.Contains([]string{"tenants", "moments", "faults", "device", "advance", "limits", "accounts", "uploads", "stats"}, name):
				if !requests["GET /_sim/"+name] && !requests["POST /_sim/"+name] {
					t.Errorf("/_sim/%s has no row", name)
				}
			case name != "truth" && !words[name]:
				t.Errorf("%s has no row", name)
			}
		}
	}
	for request := range requests {
		method, path, _ := strings.Cut(request, " ")
		if verb, ofTenant := strings.CutPrefix(path, "/_sim/tenants/{t}/"); ofTenant && !names[method+" "+verb] ||
			!ofTenant && !names[strings.Split(path, "/")[2]] {
			t.Errorf("%s is described and not there", request)
		}
	}
}

// casesOf returns the texts that the switches of the control interface in a file tell apart,
// and the kinds of faults.
func casesOf(t *testing.T, name string) (list []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	must(t, err)
	text := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			value, err := strconv.Unquote(lit.Value)
			must(t, err)
			list = append(list, value)
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if !regexp.MustCompile(`^(serveControl|control.*|.*Truth)$`).MatchString(d.Name.Name) {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if c, ok := n.(*ast.CaseClause); ok {
					for _, e := range c.List {
						text(e)
					}
				}
				return true
			})
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.CONST && strings.HasPrefix(v.Names[0].Name, "Fault") {
					text(v.Values[0])
				}
			}
		}
	}
	if len(list) == 0 {
		t.Errorf("%s tells nothing apart", name)
	}
	return list
}
