// Package deployments checks what is deployed: the compose file by compose-go, the Helm
// chart by helm's linter and, rendered, by kubeconform against the schemas of Kubernetes
// and KEDA. It is a module of its own, so that the product does not require these.
package deployments

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/yannh/kubeconform/pkg/validator"
	"gopkg.in/yaml.v3"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

// Where the schemas come from: modules that are read, never built.
const (
	kubernetes = "k8s.io/kubernetes@v1.33.4"
	keda       = "github.com/kedacore/keda/v2@v2.17.2"
)

func TestCompose(t *testing.T) {
	env := []string{
		"COMPOSE_PROFILES=s3", "POSTGRES_PASSWORD=p", "VALKEY_PASSWORD=v", "S3_ACCESS_KEY=a", "S3_SECRET_KEY=s",
		"TENANTRY_CLIENT_ID=c", "TENANTRY_CLIENT_SECRET=cs", "TENANTRY_PUBLIC_URL=https://backup.example", "TENANTRY_ESCROW=none",
	}
	load := func(env []string) error {
		options, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithEnv(env), cli.WithProfiles([]string{"s3", "init"}))
		if err != nil {
			return err
		}
		project, err := options.LoadProject(t.Context())
		if err != nil {
			return err
		}
		for name, s := range project.Services {
			if !strings.HasPrefix(s.Image, "tenantry") {
				continue
			}
			_, secret := s.Environment["TENANTRY_CLIENT_SECRET"]
			if secret != (name == "worker") {
				t.Errorf("%s: given Graph's credential: %v", name, secret)
			}
			if !s.ReadOnly || len(s.CapDrop) == 0 {
				t.Errorf("%s: may write its image or has capabilities", name)
			}
			for _, p := range s.Ports {
				if p.HostIP != "127.0.0.1" {
					t.Errorf("%s: published on %q, not on loopback", name, p.HostIP)
				}
			}
		}
		return nil
	}
	if err := load(env); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("compose.env.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		if !strings.Contains(string(example), "\n"+name+"=") {
			t.Errorf("compose.env.example does not name %s", name)
		}
		if name == "COMPOSE_PROFILES" {
			continue
		}
		var rest []string
		for _, other := range env {
			if other != v {
				rest = append(rest, other)
			}
		}
		if err := load(rest); err == nil || !strings.Contains(err.Error(), "compose.env.example") {
			t.Errorf("without %s: %v; it must be asked for, not guessed", name, err)
		}
	}
}

// charts are the values that the chart is rendered with.
var charts = map[string]string{
	"least": `
config: {bucket: "s3://b/p", client-id: id, public-url: "https://backup.example", escrow: none, kms-fleet: main}`,
	"all": `
config: {bucket: "s3://b/p", client-id: id, public-url: "https://backup.example", escrow: /keys/receipt, traces-endpoint: "http://otel:4318"}
keys: {claim: tenantry-keys}
certificate: true
imagePullSecrets: [{name: registry}]
serviceAccount: {annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::1:role/tenantry"}}
api: {replicas: 3, ingress: {enabled: true, className: nginx, host: backup.example, tlsSecretName: tls, annotations: {a: b}}}
workers: {drainSeconds: 60, pools: {second: {replicas: 3, config: {slots-backup: 32}, resources: {limits: {memory: 4Gi}}}}}
autoscaling: {enabled: true}
networkPolicy:
  apiFrom: [{namespaceSelector: {matchLabels: {name: ingress}}}]
  metricsFrom: [{podSelector: {matchLabels: {app: prometheus}}}]
nodeSelector: {kubernetes.io/arch: amd64}
tolerations: [{key: backup, operator: Exists}]`,
	"regions": placed,
}

func TestChart(t *testing.T) {
	conform := conformance(t)
	for what, manifest := range map[string]string{
		"an unknown field": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: []}",
		"a wrong type":     "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: two, selector: {}, template: {}}",
		"an unknown kind":  "apiVersion: v1\nkind: Unknown\nmetadata: {name: a}",
	} {
		if r := conform.Validate(what, io.NopCloser(strings.NewReader(manifest))); r[0].Status == validator.Valid {
			t.Fatalf("%s is valid: the schemas hold nothing", what)
		}
	}
	for name, text := range charts {
		t.Run(name, func(t *testing.T) {
			values := values(t, text)
			for _, m := range lint.All("chart", values, "tenantry", true).Messages {
				if m.Severity >= support.WarningSev {
					t.Errorf("helm lint: %v", m)
				}
			}
			seen := map[string]int{}
			for file, manifest := range render(t, values) {
				if strings.HasSuffix(file, ".txt") {
					continue
				}
				for _, r := range conform.Validate(file, io.NopCloser(strings.NewReader(manifest))) {
					if r.Status == validator.Empty {
						continue
					}
					if r.Status != validator.Valid {
						t.Errorf("%s: %v\n%s", file, r.Err, r.Resource.Bytes)
						continue
					}
					signature, _ := r.Resource.Signature()
					seen[signature.Kind]++
				}
			}
			for _, kind := range []string{"ConfigMap", "Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"} {
				if seen[kind] == 0 {
					t.Errorf("no %s among %v", kind, seen)
				}
			}
			if all := name == "all"; all != (seen["ScaledObject"] > 0) || all != (seen["Ingress"] > 0) {
				t.Errorf("ScaledObject and Ingress only when asked for: %v", seen)
			}
		})
	}
}

// Only workers are given what opens Microsoft Graph.
func TestOnlyWorkersHoldTheCredential(t *testing.T) {
	for name, text := range charts {
		for file, manifest := range render(t, values(t, text)) {
			holds := strings.Contains(manifest, "tenantry-graph")
			if holds != strings.HasSuffix(file, "/workers.yaml") {
				t.Errorf("%s: %s: names the secret of Graph: %v", name, file, holds)
			}
		}
	}
}

// A pool of workers does the work of the pool of its name, unless its config says which; when it has to stop, and how it is
// scaled, go with that.
func TestChartPools(t *testing.T) {
	files := render(t, values(t, charts["least"]+`
workers: {drainSeconds: 60, pools: {main: {replicas: 1}, spare: {replicas: 1, config: {pool: main, drain-time: 5s}}, munich: {replicas: 1}}}
autoscaling: {enabled: true}`))
	text := files["tenantry/templates/workers.yaml"]
	for part, want := range map[string]int{
		`{name: TENANTRY_POOL, value: "main"}`:      2,
		`{name: TENANTRY_POOL, value: "munich"}`:    1,
		`{name: TENANTRY_POOL, value: "spare"}`:     0,
		`{name: TENANTRY_DRAIN_TIME, value: "60s"}`: 3,
		`tenantry_pool_demand_tasks{pool="main"}`:   2,
		`tenantry_pool_demand_tasks{pool="munich"}`: 1,
		"terminationGracePeriodSeconds: 90":         3,
	} {
		if got := strings.Count(text, part); got != want {
			t.Errorf("%s: %d times, want %d", part, got, want)
		}
	}
}

// Api and workers have a cache on their node, within what Kubernetes allows them; the scheduler, which reads no bucket, has none.
func TestChartCache(t *testing.T) {
	for _, c := range []struct {
		values string
		parts  []string // that stand in the api's and the workers' files
		wanted bool
	}{
		{charts["least"], []string{`{name: TENANTRY_CACHE_MB, value: "512"}`, "emptyDir: {sizeLimit: 640Mi}", "{name: cache, mountPath: /cache}"}, true},
		{charts["least"] + "\ncache: {megabytes: 100}", []string{`{name: TENANTRY_CACHE_MB, value: "100"}`, "emptyDir: {sizeLimit: 125Mi}"}, true},
		{charts["least"] + "\ncache: {megabytes: 0}", []string{"TENANTRY_CACHE", "/cache", "sizeLimit"}, false},
	} {
		for file, manifest := range render(t, values(t, c.values)) {
			has := strings.HasSuffix(file, "/api.yaml") || strings.HasSuffix(file, "/workers.yaml")
			for _, part := range c.parts {
				if strings.Contains(manifest, part) != (has && c.wanted) {
					t.Errorf("%s: %s: %v", c.values, file, part)
				}
			}
		}
	}
}

func TestChartRefuses(t *testing.T) {
	const good = `{bucket: "s3://b/p", client-id: id, public-url: "https://backup.example", escrow: none, kms-fleet: main}`
	for want, text := range map[string]string{
		"bucket":             `config: {client-id: id, public-url: "https://b.example", escrow: none, kms-fleet: main}`,
		"keys.claim":         `config: {bucket: "s3://b/p", client-id: id, public-url: "https://b.example", escrow: none}`,
		"client-secret":      `config: ` + strings.Replace(good, "{", "{client-secret: hush, ", 1),
		"propertyName":       `{config: ` + good + `, workers: {pools: {UPPER: {}}}}`,
		"replicas":           `{config: ` + good + `, api: {replicas: 0}}`,
		"imagePullSecret":    `{config: ` + good + `, imagePullSecret: a}`,
		"cache":              `{config: ` + good + `, cache: {megabytes: 71}}`,
		"cache-mb":           `config: ` + strings.Replace(good, "{", "{cache-mb: 100, ", 1),
		"api.ingress.host":   `{config: ` + good + `, api: {ingress: {enabled: true, tlsSecretName: tls}}}`,
		"served by TLS only": `{config: ` + good + `, api: {ingress: {enabled: true, host: b.example}}}`,
	} {
		if _, err := rendered(values(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	v, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func render(t *testing.T, values map[string]any) map[string]string {
	t.Helper()
	files, err := rendered(values)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func rendered(values map[string]any) (map[string]string, error) {
	chart, err := loader.Load("chart")
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "t", Namespace: "tenantry", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, all)
}

func conformance(t *testing.T) validator.Validator {
	t.Helper()
	v, err := validator.New([]string{schemas(t) + "/{{.ResourceKind}}.json"}, validator.Opts{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// schemas makes a folder with a JSON schema for each kind that the chart may render, from
// Kubernetes' own OpenAPI document and KEDA's definition of its resources.
func schemas(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	swagger, err := os.ReadFile(filepath.Join(module(t, kubernetes), "api/openapi-spec/swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal(swagger, &api); err != nil {
		t.Fatal(err)
	}
	for name, d := range api.Definitions {
		strict(d)
		if strings.HasSuffix(name, ".IntOrString") {
			api.Definitions[name] = map[string]any{"type": []string{"integer", "string"}}
		} else if strings.HasSuffix(name, ".Quantity") {
			d["type"] = []string{"string", "number"}
		}
	}
	for name, d := range api.Definitions {
		kinds, _ := d["x-kubernetes-group-version-kind"].([]any)
		for _, k := range kinds {
			k := k.(map[string]any)
			if len(kinds) == 1 && strings.HasPrefix(fmt.Sprint(k["version"]), "v1") && !strings.Contains(fmt.Sprint(k["version"]), "alpha") && !strings.Contains(fmt.Sprint(k["version"]), "beta") {
				write(t, filepath.Join(dir, strings.ToLower(fmt.Sprint(k["kind"]))+".json"),
					map[string]any{"$ref": "#/definitions/" + name, "definitions": api.Definitions})
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(module(t, keda), "config/crd/bases/keda.sh_scaledobjects.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPI map[string]any `yaml:"openAPIV3Schema"`
				} `yaml:"schema"`
			} `yaml:"versions"`
		} `yaml:"spec"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&crd); err != nil || len(crd.Spec.Versions) == 0 {
		t.Fatal("KEDA's definition of ScaledObject: ", err)
	}
	schema := crd.Spec.Versions[0].Schema.OpenAPI
	strict(schema)
	schema["properties"].(map[string]any)["metadata"] = map[string]any{"type": "object"}
	write(t, filepath.Join(dir, "scaledobject.json"), schema)
	return dir
}

// strict refuses, in every object with known properties, all others.
func strict(v any) {
	switch v := v.(type) {
	case map[string]any:
		_, properties := v["properties"].(map[string]any)
		_, more := v["additionalProperties"]
		if properties && !more && v["x-kubernetes-preserve-unknown-fields"] != true {
			v["additionalProperties"] = false
		}
		for _, inner := range v {
			strict(inner)
		}
	case []any:
		for _, inner := range v {
			strict(inner)
		}
	}
}

func write(t *testing.T, file string, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// module returns the folder of a module's source, from the module proxy or its cache.
func module(t *testing.T, version string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", version)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	var found struct{ Dir, Error string }
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil || found.Dir == "" {
		t.Fatalf("download %s: %v %s %s", version, err, found.Error, problems.String())
	}
	return found.Dir
}
