package graphsim_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// page is a page of the documentation, or several that belong together, and its rules.
type page struct {
	name  string
	rules []documented
}

// documented is one rule of a page with the name of the test that shows it; or, in brackets,
// why a simulator has nothing to show.
type documented struct{ rule, test string }

// testNames are the names of all tests of this package: functions, and what stands where a
// rule or a subtest is named.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasPrefix(name, "documented") })
	names := map[string]bool{}
	named := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if name, err := strconv.Unquote(lit.Value); err == nil {
				names[name] = true
			}
		}
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				names[n.Name.Name] = strings.HasPrefix(n.Name.Name, "Test") || strings.HasPrefix(n.Name.Name, "Fuzz")
			case *ast.CallExpr: // held("name", ...), as("name", ...), t.Run("name", ...)
				if len(n.Args) == 2 {
					named(n.Args[0])
				}
			case *ast.CompositeLit: // {"name", ...} and {name: "name", ...}
				if len(n.Elts) > 0 {
					named(n.Elts[0])
					if kv, ok := n.Elts[0].(*ast.KeyValueExpr); ok {
						named(kv.Value)
					}
				}
			}
			return true
		})
	}
	return names
}

// TestEveryRuleHasItsTest holds the list of documented rules against the tests: each names
// one that is there, or says why there is none.
func TestEveryRuleHasItsTest(t *testing.T) {
	t.Parallel()
	names := testNames(t)
	shown, rules := 0, map[string]bool{}
	for _, p := range documentedPages() {
		for _, r := range p.rules {
			if rules[p.name+r.rule] {
				t.Errorf("%s: %q is listed twice", p.name, r.rule)
			}
			rules[p.name+r.rule] = true
			switch why := strings.HasPrefix(r.test, "[") && strings.HasSuffix(r.test, "]") && len(r.test) > 10; {
			case why:
			case names[r.test]:
				shown++
			default:
				t.Errorf("%s: %q has no test named %q", p.name, r.rule, r.test)
			}
		}
	}
	t.Logf("%d of %d rules", shown, len(rules))
	if shown < 350 {
		t.Errorf("only %d rules are shown by a test", shown)
	}
	for key, name := range heldElsewhere {
		if !names[name] {
			t.Errorf("%s: no test named %q", key, name)
		}
	}
}
