package app

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/scheduler"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
	"github.com/tenantry/tenantry/internal/worker"
)

var update = flag.Bool("update", false, "write docs/METRICS.md")

const metricsDoc = "../../docs/METRICS.md"

// schedulerMeter and workerMeter register what the programs register.
func schedulerMeter() (*meter, *schedulerMetrics) {
	m := newMeter(RoleScheduler)
	newCoolingFlows(m, cools{{Tenant: "t-1", Service: tenantry.Outlook}: {}, {Service: "ada"}: {}})
	return m, newSchedulerMetrics(m)
}

// cools is what cools, of a book that does not change.
type cools map[scheduler.Flow]time.Time

func (c cools) Cooling(context.Context) (map[scheduler.Flow]time.Time, error) { return c, nil }

func (cools) Rate(tenantry.Service, int64, int64) float64 { return 0 }

func workerMeter() (*meter, *workerMetrics, *bookMetrics) {
	m := newMeter(RoleWorker)
	book := newBookMetrics(m, books{all: map[string]*throttle.Book{"global": throttle.New(nil, "app", throttle.Documented(), nil)}})
	cacheMetrics(m, nil)
	newKeyGuard(nil, keyAlarms{}, nil, m, nil)
	w := newWorkerMetrics(m)
	checkpointAge(m, &worker.Worker{})
	return m, w, book
}

// docs/METRICS.md lists every metric of ours, with every value of its labels. `go test
// ./internal/app -run TestMetricsAreDocumented -update` writes it.
func TestMetricsAreDocumented(t *testing.T) {
	s, _ := schedulerMeter()
	w, _, _ := workerMeter()
	a := newMeter(RoleAPI)
	cacheMetrics(a, nil)
	doc := document(a, s, w)
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(metricsDoc)
	if err != nil || string(written) != doc {
		t.Fatalf("docs/METRICS.md is not what the programs register (%v): run this test with -update", err)
	}
}

func document(meters ...*meter) string {
	var b strings.Builder
	b.WriteString("# Metrics\n\nEvery program serves `/metrics` in Prometheus's format. Beside those of Go (`go_`), the process\n" +
		"(`process_`) and the endpoint itself (`promhttp_`), these are ours. Labels have closed sets of values: no tenant,\n" +
		"mailbox, person or channel is ever in one. Written by `go test ./internal/app -run TestMetricsAreDocumented -update`.\n")
	used := map[string]label{}
	for _, m := range meters {
		fmt.Fprintf(&b, "\n## %s\n\n", m.program)
		if len(m.defined) == 0 {
			b.WriteString("None of its own.\n")
			continue
		}
		b.WriteString("| name | type | labels | meaning |\n| --- | --- | --- | --- |\n")
		for _, d := range m.defined {
			var names []string
			for _, l := range d.labels {
				used[l.name] = l
				names = append(names, "`"+l.name+"`")
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.name, d.kind, strings.Join(names, ", "), d.help)
		}
	}
	b.WriteString("\n## Labels\n\n| label | values |\n| --- | --- |\n")
	var names []string
	for name := range used {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := strings.Join(used[name].values, ", ")
		if used[name].named != nil {
			values = fmt.Sprintf("%s, as the provider calls others, %d at most", catalog.MainPool, maxPools)
		}
		fmt.Fprintf(&b, "| `%s` | %s, %s |\n", name, values, elsewhere)
	}
	return b.String()
}

// Names, help and the number of series of every metric are as Prometheus's conventions and
// a fleet of a thousand workers ask for.
func TestMetricsAreBoundedByDefinition(t *testing.T) {
	s, _ := schedulerMeter()
	w, _, _ := workerMeter()
	name := regexp.MustCompile(`^tenantry_[a-z]+(_[a-z]+)*$`)
	for _, d := range slices.Concat(s.defined, w.defined) {
		if !name.MatchString(d.name) || len(d.help) < 20 || !strings.HasSuffix(d.help, ".") {
			t.Errorf("%s: %q", d.name, d.help)
		}
		if total := strings.HasSuffix(d.name, "_total"); total != (d.kind == "counter") {
			t.Errorf("%s is a %s", d.name, d.kind)
		}
		if d.kind == "histogram" && !strings.HasSuffix(d.name, "_seconds") {
			t.Errorf("%s: a histogram without its unit", d.name)
		}
		series := 1
		for _, l := range d.labels {
			values := len(l.values)
			if l.named != nil {
				values = maxPools
			}
			series *= values + 1
		}
		if series > 500 {
			t.Errorf("%s may have %d series", d.name, series)
		}
	}
}

// Whatever the rooms tell, no value gets into a label that is not of its set.
func TestObserversKeepLabelsClosed(t *testing.T) {
	s, scheduled := schedulerMeter()
	w, worked, book := workerMeter()
	scheduled.Backlog(map[string]scheduler.QueueLoad{"backup": {Ready: 3}, "t-contoso": {Ready: 4}})
	scheduled.Pools(map[string]map[string]int{"munich": {"backup": 3}, "ada@contoso.com": {"t-contoso": 1}})
	scheduled.Moved("ada@contoso.com", 1)
	worked.Slice("backup", "u-ada", "error: ada@contoso.com", time.Second)
	worked.Parked("cooldown/mailbox/t-contoso/ada")
	worked.Waited(tenantry.Delays{Queue: time.Second, Graph: map[string]time.Duration{"sharepoint/day": 1, "cooldown/mailbox/t-contoso/ada": 1}})
	worked.Parked("ErrorOf ada@contoso.com")
	book.Waited("outlook/mailbox/ada", time.Second)
	book.Throttled("ada", 418)
	book.Throttled(tenantry.SharePoint, 503)

	defined := map[string]definition{}
	for _, d := range slices.Concat(s.defined, w.defined) {
		defined[d.name] = d
	}
	seen := 0
	for _, m := range []*meter{w, s} {
		families, err := m.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			d, ours := defined[f.GetName()]
			if !ours {
				continue
			}
			for _, series := range f.GetMetric() {
				seen++
				for i, pair := range series.GetLabel() {
					l := d.labels[slices.IndexFunc(d.labels, func(l label) bool { return l.name == pair.GetName() })]
					if v := pair.GetValue(); v != elsewhere && !slices.Contains(l.values, v) && (l.named == nil || !l.named.MatchString(v)) {
						t.Errorf("%s: label %d %s is %q", f.GetName(), i, pair.GetName(), v)
					}
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d series", seen)
	}
}

// Each pool of workers has its own demand, as many as are bounded; a pool that is gone has none.
func TestPoolsHaveTheirDemand(t *testing.T) {
	_, scheduled := schedulerMeter()
	many := map[string]map[string]int{}
	for i := range maxPools + 2 {
		many[fmt.Sprintf("pool-%03d", i)] = map[string]int{"backup": i}
	}
	scheduled.Pools(many)
	demand := func(pool string) float64 { return testutil.ToFloat64(scheduled.poolDemand.with(pool, "backup")) }
	if demand("pool-007") != 7 || demand(elsewhere) != maxPools+maxPools+1 {
		t.Errorf("demand is %v, and %v of those beyond", demand("pool-007"), demand(elsewhere))
	}
	scheduled.Pools(map[string]map[string]int{"main": {"backup": 2}})
	if demand("main") != 2 || demand("pool-007") != 0 {
		t.Errorf("demand is %v, and %v of a pool that is gone", demand("main"), demand("pool-007"))
	}
}
