package deployments

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// What alerts and the dashboard ask for is a metric that a program serves.
func TestMetricsExist(t *testing.T) {
	doc, err := os.ReadFile("../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile("`(tenantry_[a-z_]+)` \\| ([a-z]+)").FindAllStringSubmatch(string(doc), -1) {
		known[m[1]] = true
		if m[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				known[m[1]+suffix] = true
			}
		}
	}
	rules, problems := rulefmt.ParseFile("prometheus/alerts.yaml", false)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	asked := map[string]string{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			asked[r.Alert] = r.Expr
			if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s: needs a summary and a severity", r.Alert)
			}
		}
	}
	for title, exprs := range panels(t) {
		for _, e := range exprs {
			asked["panel "+title+": "+e] = e
		}
	}
	if len(asked) < 20 || len(known) < 20 {
		t.Fatalf("%d questions over %d metrics: not read", len(asked), len(known))
	}
	for where, expr := range asked {
		parsed, err := parser.ParseExpr(expr)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok && !known[v.Name] {
				t.Errorf("%s: no program serves %s", where, v.Name)
			}
			return nil
		})
	}
}

// panels are the expressions of the dashboard by title.
func panels(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("grafana/tenantry.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			out[p.Title] = append(out[p.Title], strings.TrimSpace(target.Expr))
		}
	}
	return out
}
