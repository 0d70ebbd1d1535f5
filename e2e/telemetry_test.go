package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TestTelemetry runs backups of which some fail, are throttled and meet a wrong credential,
// and looks at all that the fleet tells of it: one trace leads from a task to its requests;
// metrics are those that docs/METRICS.md lists, with the labels that it lists; and neither
// logs, traces nor metrics hold a secret, an address or content.
func TestTelemetry(t *testing.T) {
	t.Setenv("TENANTRY_LOG_LEVEL", "debug")
	f := newFleet(t, "--tenants", "1", "--users", "3", "--mails", "12", "--files-per-user", "3")
	traces := newReceiver(t)
	api, sched := f.started["api"], f.scheduler("scheduler")
	worker := f.worker("worker", "TENANTRY_TRACES_ENDPOINT="+traces.url)
	for _, p := range []*process{api, sched, worker} {
		p.log.keepAll()
	}
	tn := f.connect(f.simTenants()[0])
	users := f.users(tn, "mailbox")
	lost, slow, good := users[0], users[1], users[2]
	address := lost.Name + "@" + tn.sim.Domain
	f.fault(map[string]any{
		"tenant": tn.sim.ID, "path": "users/" + lost.ObjectID + "/mailFolders", "status": 404,
		"code": "MailboxNotEnabledForRESTAPI", "message": "The mailbox of " + address + " is inactive.",
	})
	f.fault(map[string]any{
		"tenant": tn.sim.ID, "path": "users/" + lost.ObjectID + "/drives$", "status": 403,
		"code": "accessDenied", "message": "The drive of " + address + " is blocked.",
	})
	f.fault(map[string]any{
		"tenant": tn.sim.ID, "path": "users/" + slow.ObjectID + "/mailFolders", "status": 429, "count": 1,
		"code": "ApplicationThrottled", "message": "Slow down, " + address, "headers": map[string]string{"Retry-After": "7"},
	})
	r := f.backupOf(tn, []string{"mailbox", "drive"}, lost, slow, good)
	if r = f.awaitRun(tn, r); r.Failed != 1 || len(r.Problems) == 0 {
		t.Fatalf("expected the drive to fail and the mailbox to have a problem: %+v", r)
	}
	tasks := f.tasks(tn, r)

	private := f.private(tn, users, address)
	t.Run("metrics", func(t *testing.T) { f.within(t).checkMetrics(private, api, sched, worker) })
	worker.stop() // sends the last spans
	t.Run("traces", func(t *testing.T) { checkTraces(t, traces, tasks, private) })

	const wrong = "wrong-client-secret-of-the-test"
	bad := f.worker("worker with a wrong secret", "TENANTRY_CLIENT_SECRET="+wrong)
	bad.log.keepAll()
	f.backupOf(tn, []string{"mailbox"}, good)
	f.awaitAlarm("credential")
	t.Run("logs", func(t *testing.T) {
		logs := map[string]string{}
		for _, p := range []*process{api, sched, worker, bad} {
			logs[p.name] = p.log.String()
			private.checkAbsent(t, "the log of "+p.name, logs[p.name])
			if strings.Contains(logs[p.name], wrong) {
				t.Errorf("the log of %s shows the wrong secret", p.name)
			}
		}
		for _, words := range []string{"slice ended: parked", "slice ended: done", "slice ended: failed", "request-id", tn.ID, tasks[0].ID, lost.ID, `"attempt": 1`, `"code": "accessDenied"`, `"status": 403`} {
			if !strings.Contains(logs["worker"], words) {
				t.Errorf("the worker's log does not say %q:\n%s", words, logs["worker"])
			}
		}
	})
}

// secrets is what nothing that leaves the fleet for operators may show, by what it is.
type secrets map[string][]string

// private collects them: credentials, addresses, subjects, names of files.
func (f *fleet) private(tn tenant, users []resource, address string) secrets {
	f.t.Helper()
	s := secrets{
		"credential": {clientSecret, f.token, f.s3.SecretKey, "Bearer ", "eyJ"}, // eyJ begins a JWT
		"address":    {address, "@" + tn.sim.Domain},
	}
	for _, u := range users {
		for _, what := range []string{"mail", "drive"} {
			for _, x := range f.truths(tn, u.ObjectID, what) {
				for _, text := range []string{x.Subject, x.Path} {
					if len(text) >= 8 && !x.Folder && !slices.Contains(s["content"], text) {
						s["content"] = append(s["content"], text)
					}
				}
			}
		}
	}
	if len(s["content"]) < 10 {
		f.t.Fatalf("hardly anything to look for: %q", s["content"])
	}
	return s
}

func (s secrets) checkAbsent(t *testing.T, where, text string) {
	t.Helper()
	for what, list := range s {
		for _, secret := range list {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s shows a %s, %q: %s", where, what, secret, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
}

// receiver is an OTLP receiver over HTTP.
type receiver struct {
	url   string
	mu    sync.Mutex
	spans []*otlp.Span
	text  strings.Builder
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var got collector.ExportTraceServiceRequest
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = proto.Unmarshal(body, &got)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			http.Error(w, "not an export of traces", http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.text.Write(body)
		for _, of := range got.ResourceSpans {
			for _, in := range of.ScopeSpans {
				r.spans = append(r.spans, in.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		empty, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
		_, _ = w.Write(empty)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func attribute(s *otlp.Span, key string) string {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value.GetStringValue()
		}
	}
	return ""
}

// checkTraces finds, for every task, one trace: the task's span, its slices below it, and
// below each of them its requests.
func checkTraces(t *testing.T, r *receiver, tasks []task, private secrets) {
	r.mu.Lock()
	defer r.mu.Unlock()
	private.checkAbsent(t, "a trace", r.text.String())
	below := map[string][]*otlp.Span{} // by the span above
	roots := map[string]*otlp.Span{}   // by task
	for _, s := range r.spans {
		below[string(s.ParentSpanId)] = append(below[string(s.ParentSpanId)], s)
		if len(s.ParentSpanId) == 0 {
			roots[attribute(s, "tenantry.task")] = s
		}
	}
	parked := 0
	for _, x := range tasks {
		root := roots[x.ID]
		if root == nil || root.Name != "task backup" {
			t.Errorf("task %s has no span of its own: %v", x.ID, root)
			continue
		}
		requests := 0
		slices := below[string(root.SpanId)]
		for _, s := range slices {
			if s.Name != "slice" || string(s.TraceId) != string(root.TraceId) || attribute(s, "tenantry.task") != x.ID || s.StartTimeUnixNano < root.StartTimeUnixNano {
				t.Errorf("below task %s: %v", x.ID, s)
			}
			if attribute(s, "tenantry.result") == "parked" {
				parked++
			}
			for _, q := range below[string(s.SpanId)] {
				requests++
				checkRequest(t, q, root)
			}
		}
		if len(slices) == 0 || requests == 0 {
			t.Errorf("task %s: %d slices, %d requests", x.ID, len(slices), requests)
		}
	}
	if parked == 0 {
		t.Error("no slice of the throttled mailbox parked")
	}
}

var safeRoute = regexp.MustCompile(`^(GET|POST) (\(content host\)|/v1\.0(/(\{id\}|[A-Za-z$]+(\(\)|\(\{arguments\}\))?))+)$`)

func checkRequest(t *testing.T, q, root *otlp.Span) {
	t.Helper()
	has := map[string]bool{}
	for _, kv := range q.Attributes {
		has[kv.Key] = true
	}
	if string(q.TraceId) != string(root.TraceId) || !safeRoute.MatchString(q.Name) {
		t.Errorf("a request: %v", q)
	}
	for _, key := range []string{"http.request.method", "http.route", "http.response.status_code", "tenantry.service", "tenantry.units", "tenantry.wait_seconds"} {
		if !has[key] {
			t.Errorf("%s has no %s: %v", q.Name, key, q.Attributes)
		}
	}
}

// checkMetrics reads the metrics of all programs and holds them against the documentation.
func (f *fleet) checkMetrics(private secrets, programs ...*process) {
	f.t.Helper()
	doc, err := os.ReadFile("../docs/METRICS.md")
	if err != nil {
		f.t.Fatal(err)
	}
	documented, values := parseMetricsDoc(string(doc))
	seen := map[string]*dto.MetricFamily{}
	for _, p := range programs {
		text := f.browse("http://" + p.addr + "/metrics")
		private.checkAbsent(f.t, "/metrics of "+p.name, text)
		var parser expfmt.TextParser
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			f.t.Fatalf("%s: %v", p.name, err)
		}
		for name, family := range families {
			seen[name] = family
			if family.GetHelp() == "" || len(family.GetMetric()) > 100 {
				f.t.Errorf("%s: %s has %d series, help %q", p.name, name, len(family.GetMetric()), family.GetHelp())
			}
			if strings.HasPrefix(name, "tenantry_") {
				checkFamily(f.t, family, documented[name], values)
			} else if !regexp.MustCompile(`^(go|process|promhttp)_`).MatchString(name) {
				f.t.Errorf("%s: a stray metric %s", p.name, name)
			}
		}
	}
	for name := range documented {
		if seen[name] == nil && name != "tenantry_graph_wait_seconds" { // nothing had to wait
			f.t.Errorf("%s is documented and not there after a run", name)
		}
	}
	total := func(name string) (sum float64) {
		for _, m := range seen[name].GetMetric() {
			sum += m.GetCounter().GetValue()
		}
		return sum
	}
	if granted, asked := total("tenantry_limiter_grants_total"), total("tenantry_limiter_calls_total"); granted < 10 || asked == 0 {
		f.t.Errorf("%v calls granted, %v script calls", granted, asked)
	}
	if total("tenantry_parks_total") == 0 || total("tenantry_graph_throttled_total") == 0 || total("tenantry_tasks_moved_total") == 0 {
		f.t.Error("a throttled backup was not counted")
	}
}

// parseMetricsDoc returns the rows of metrics by name, and the values of labels.
func parseMetricsDoc(doc string) (rows map[string][]string, values map[string][]string) {
	rows, values = map[string][]string{}, map[string][]string{}
	for _, line := range strings.Split(doc, "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		name := strings.Trim(cells[0], "`")
		switch {
		case strings.HasPrefix(name, "tenantry_"):
			rows[name] = cells
		case len(cells) == 2 && strings.HasPrefix(cells[0], "`"):
			values[name] = strings.Split(cells[1], ", ")
		}
	}
	return rows, values
}

func checkFamily(t *testing.T, family *dto.MetricFamily, row []string, values map[string][]string) {
	t.Helper()
	if len(row) < 4 || row[1] != strings.ToLower(family.GetType().String()) || row[len(row)-1] != family.GetHelp() {
		t.Errorf("%s, a %s (%s), is documented as %q", family.GetName(), family.GetType(), family.GetHelp(), row)
		return
	}
	for _, m := range family.GetMetric() {
		for _, l := range m.GetLabel() {
			if !strings.Contains(row[2], "`"+l.GetName()+"`") || !slices.Contains(values[l.GetName()], l.GetValue()) {
				t.Errorf("%s: label %s=%q is not documented", family.GetName(), l.GetName(), l.GetValue())
			}
		}
	}
}
