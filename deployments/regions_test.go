package deployments

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"
)

// placed are values with two further regions, one with a key file and one with KMS, and a further cloud.
const placed = `
config: {bucket: "s3://b/p", client-id: id, public-url: "https://backup.example", escrow: none}
keys: {claim: tenantry-keys}
bucketSecretName: tenantry-bucket
regions:
  au: {config: {bucket: "s3://sydney/p?region=ap-southeast-2", time-zone: Australia/Sydney, lock-mode: compliance}, secretName: tenantry-au, keysClaim: tenantry-keys-au}
  eu-1: {config: {bucket: "s3://paris/p", kms-fleet: eu, pool: paris}, secretName: tenantry-eu}
  ca: {config: {bucket: "s3://toronto/p"}}
clouds:
  china: {config: {client-id: there}, graphSecretName: tenantry-graph-china}
  gcchigh: {config: {client-id: high}, graphSecretName: tenantry-graph-high, certificate: true}
workers: {pools: {main: {replicas: 1}, au: {region: au, replicas: 1}, paris: {region: eu-1, replicas: 1}, ca: {region: ca, replicas: 1},
  home: {clouds: [global], replicas: 1}, beijing: {clouds: [china], replicas: 1}, us: {clouds: [gcchigh, global], replicas: 1}}}`

// pod is what a rendered Deployment gives its program.
type pod struct {
	env     map[string]string // the value, or SECRET/KEY
	secrets []string          // of envFrom
	mounts  map[string]string // path to claim, or Secret
}

func pods(t *testing.T, files map[string]string) map[string]pod {
	t.Helper()
	out := map[string]pod{}
	for _, manifest := range files {
		for _, text := range strings.Split(manifest, "\n---\n") {
			var d struct {
				Kind     string
				Metadata struct{ Name string }
				Spec     struct {
					Template struct {
						Spec struct {
							Containers []struct {
								Env []struct {
									Name, Value string
									ValueFrom   struct {
										SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
									} `yaml:"valueFrom"`
								}
								EnvFrom []struct {
									SecretRef struct{ Name string } `yaml:"secretRef"`
								} `yaml:"envFrom"`
								VolumeMounts []struct {
									Name string
									Path string `yaml:"mountPath"`
								} `yaml:"volumeMounts"`
							}
							Volumes []struct {
								Name   string
								Secret struct {
									Name string `yaml:"secretName"`
								}
								Claim struct {
									Name string `yaml:"claimName"`
								} `yaml:"persistentVolumeClaim"`
							}
						}
					}
				}
			}
			if err := yaml.Unmarshal([]byte(text), &d); err != nil || d.Kind != "Deployment" {
				continue
			}
			p := pod{env: map[string]string{}, mounts: map[string]string{}}
			c, volumes := d.Spec.Template.Spec.Containers[0], map[string]string{}
			for _, v := range d.Spec.Template.Spec.Volumes {
				volumes[v.Name] = v.Secret.Name + v.Claim.Name
			}
			for _, e := range c.Env {
				if e.ValueFrom.SecretKeyRef.Name != "" {
					e.Value = e.ValueFrom.SecretKeyRef.Name + "/" + e.ValueFrom.SecretKeyRef.Key
				}
				p.env[e.Name] = e.Value
			}
			for _, from := range c.EnvFrom {
				p.secrets = append(p.secrets, from.SecretRef.Name)
			}
			for _, m := range c.VolumeMounts {
				if volumes[m.Name] != "" {
					p.mounts[m.Path] = volumes[m.Name]
				}
			}
			out[strings.TrimPrefix(d.Metadata.Name, "t-")] = p
		}
	}
	return out
}

// A pool that names the clouds that it works for is given the credentials of these, and of no other; one that names none
// has those of all.
func TestChartClouds(t *testing.T) {
	all := pods(t, render(t, values(t, placed)))
	const own, china, high = "TENANTRY_CLIENT_SECRET", "TENANTRY_CLOUD_CHINA_CLIENT_SECRET", "TENANTRY_CLOUD_GCCHIGH_CERTIFICATE"
	for name, want := range map[string]struct {
		serves      string
		credentials []string
	}{
		"worker-main":    {"", []string{own, china, high}},
		"worker-home":    {"global", []string{own}},
		"worker-beijing": {"china", []string{china}},
		"worker-us":      {"gcchigh,global", []string{own, high}},
		"api":            {"", nil},
		"scheduler":      {"", nil},
	} {
		p, ok := all[name]
		if !ok {
			t.Fatalf("no %s among %v", name, all)
		}
		if got := p.env["TENANTRY_SERVES_CLOUDS"]; got != want.serves {
			t.Errorf("%s serves %q, want %q", name, got, want.serves)
		}
		var got []string
		for _, key := range []string{own, china, high} {
			if p.env[key] != "" {
				got = append(got, key)
			}
		}
		if !slices.Equal(got, want.credentials) {
			t.Errorf("%s has the credentials %v, want %v", name, got, want.credentials)
		}
		if mounted := p.mounts["/graph-gcchigh"] != ""; mounted != slices.Contains(want.credentials, high) {
			t.Errorf("%s has mounted %v", name, p.mounts)
		}
	}
}

// Each region's bucket and keys are given to the api and to that region's workers, and to nobody else; credentials of
// clouds to workers alone; and no secret stands in the ConfigMap.
func TestChartRegions(t *testing.T) {
	files := render(t, values(t, placed))
	all := pods(t, files)
	for name, want := range map[string]struct {
		secrets []string
		mounts  map[string]string
		region  string
		graph   bool
	}{
		"api": {secrets: []string{"tenantry", "tenantry-bucket", "tenantry-au", "tenantry-eu"},
			mounts: map[string]string{"/keys": "tenantry-keys", "/keys-au": "tenantry-keys-au"}},
		"scheduler":    {secrets: []string{"tenantry"}},
		"worker-main":  {secrets: []string{"tenantry", "tenantry-bucket"}, mounts: map[string]string{"/keys": "tenantry-keys"}, graph: true},
		"worker-au":    {secrets: []string{"tenantry", "tenantry-au"}, mounts: map[string]string{"/keys-au": "tenantry-keys-au"}, region: "au", graph: true},
		"worker-paris": {secrets: []string{"tenantry", "tenantry-eu"}, region: "eu-1", graph: true},
		"worker-ca":    {secrets: []string{"tenantry"}, mounts: map[string]string{"/keys": "tenantry-keys"}, region: "ca", graph: true},
	} {
		p, ok := all[name]
		if !ok {
			t.Fatalf("no %s among %v", name, all)
		}
		slices.Sort(p.secrets)
		slices.Sort(want.secrets)
		if !slices.Equal(p.secrets, want.secrets) {
			t.Errorf("%s has the secrets %v, want %v", name, p.secrets, want.secrets)
		}
		if want.mounts == nil {
			want.mounts = map[string]string{}
		}
		if want.graph {
			want.mounts["/graph-gcchigh"] = "tenantry-graph-high"
		}
		if len(p.mounts) != len(want.mounts) {
			t.Errorf("%s has mounted %v, want %v", name, p.mounts, want.mounts)
		}
		for path, claim := range want.mounts {
			if p.mounts[path] != claim {
				t.Errorf("%s has %q at %s, want %s", name, p.mounts[path], path, claim)
			}
		}
		env := map[string]string{
			"TENANTRY_REGION": want.region, "TENANTRY_CLOUDS_FILE": "/etc/tenantry/clouds.yaml", "TENANTRY_REGIONS_FILE": "/etc/tenantry/regions.yaml",
			"TENANTRY_KEY_FILE": "", "TENANTRY_CLOUD_CHINA_CLIENT_SECRET": "", "TENANTRY_CLOUD_GCCHIGH_CERTIFICATE": "",
		}
		if name == "scheduler" {
			env["TENANTRY_REGIONS_FILE"] = ""
		}
		if want.mounts["/keys"] != "" {
			env["TENANTRY_KEY_FILE"] = "/keys/tenantry.keys"
		}
		if want.graph {
			env["TENANTRY_CLOUD_CHINA_CLIENT_SECRET"] = "tenantry-graph-china/TENANTRY_CLOUD_CHINA_CLIENT_SECRET"
			env["TENANTRY_CLOUD_GCCHIGH_CERTIFICATE"] = "/graph-gcchigh/certificate.pem"
		}
		for key, value := range env {
			if p.env[key] != value {
				t.Errorf("%s has %s=%q, want %q", name, key, p.env[key], value)
			}
		}
	}

	var config struct{ Data map[string]string }
	if err := yaml.Unmarshal([]byte(strings.Split(files["tenantry/templates/config.yaml"], "\n---\n")[0]), &config); err != nil {
		t.Fatal(err)
	}
	var regions, clouds map[string]map[string]string
	for file, into := range map[string]any{"regions.yaml": &regions, "clouds.yaml": &clouds} {
		if err := yaml.Unmarshal([]byte(config.Data[file]), into); err != nil || strings.Contains(config.Data[file], "secret") {
			t.Errorf("%s: %v\n%s", file, err, config.Data[file])
		}
	}
	if au := regions["au"]; au["bucket"] != "s3://sydney/p?region=ap-southeast-2" || au["key-file"] != "/keys-au/tenantry.keys" || au["time-zone"] != "Australia/Sydney" {
		t.Errorf("the region au is %v", au)
	}
	if eu := regions["eu-1"]; eu["kms-fleet"] != "eu" || eu["key-file"] != "" || eu["pool"] != "paris" || len(regions) != 3 {
		t.Errorf("the region eu-1 is %v, of %d", eu, len(regions))
	}
	if clouds["china"]["client-id"] != "there" || clouds["gcchigh"]["client-id"] != "high" {
		t.Errorf("the clouds are %v", clouds)
	}
}

func TestChartRefusesPlaces(t *testing.T) {
	const good = `config: {bucket: "s3://b/p", client-id: id, public-url: "https://backup.example", escrow: none, kms-fleet: main}
bucketSecretName: tenantry-bucket`
	for want, text := range map[string]string{
		"bucketSecretName":        `{bucketSecretName: "", regions: {au: {config: {bucket: "s3://a/p"}}}}`,
		"there is no region mars": `workers: {pools: {au: {region: mars}}}`,
		"there is no cloud china": `workers: {pools: {au: {clouds: [china]}}}`,
		"clouds":                  `workers: {pools: {au: {clouds: [mars]}}}`,
		"serves-clouds":           `workers: {pools: {au: {config: {serves-clouds: china}}}}`,
		"not both":                `regions: {au: {config: {bucket: "s3://a/p", kms-fleet: au}, keysClaim: k}}`,
		"s3-secret-key":           `regions: {au: {config: {bucket: "s3://a/p", s3-secret-key: hush}}}`,
		"client-secret":           `clouds: {china: {config: {client-id: a, client-secret: hush}, graphSecretName: g}}`,
		"graphSecretName":         `clouds: {china: {config: {client-id: a}}}`,
		"'mars'":                  `clouds: {mars: {config: {client-id: a}, graphSecretName: g}}`,
		"'default'":               `regions: {default: {config: {bucket: "s3://a/p"}}}`,
		"bucket":                  `regions: {au: {config: {bucket: "file:a"}}}`,
		"smtp-password":           `config: {smtp-password: hush}`,
		"workers/pools":           `workers: {pools: {au: {config: {s3-secret-key: hush}}}}`,
	} {
		if _, err := rendered(merged(values(t, good), values(t, text))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

// merged adds values to others, map by map.
func merged(into, from map[string]any) map[string]any {
	for key, value := range from {
		have, isMap := into[key].(map[string]any)
		if more, ok := value.(map[string]any); ok && isMap {
			into[key] = merged(have, more)
			continue
		}
		into[key] = value
	}
	return into
}

// The example of a second region and cloud gives its bucket and keys to the api and to the region's workers, which have
// nothing of the other bucket, and asks for everything that is secret.
func TestComposeRegions(t *testing.T) {
	env := []string{
		"POSTGRES_PASSWORD=p", "VALKEY_PASSWORD=v", "S3_ACCESS_KEY=a", "S3_SECRET_KEY=s", "TENANTRY_CLIENT_ID=c", "TENANTRY_CLIENT_SECRET=cs",
		"TENANTRY_PUBLIC_URL=https://backup.example", "TENANTRY_ESCROW=none",
		"AU_BUCKET=s3://sydney/p", "AU_S3_ACCESS_KEY=aa", "AU_S3_SECRET_KEY=as", "CHINA_CLIENT_ID=cc", "CHINA_CLIENT_SECRET=ccs",
	}
	load := func(env []string) (*types.Project, error) {
		options, err := cli.NewProjectOptions([]string{"compose.yaml", "compose.regions.yaml"}, cli.WithEnv(env))
		if err != nil {
			return nil, err
		}
		return options.LoadProject(t.Context())
	}
	project, err := load(env)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct{ region, cloud, home bool }{
		"api": {true, false, true}, "scheduler": {false, false, true}, "worker": {false, true, true}, "worker-au": {true, true, false},
	} {
		s := project.Services[name]
		value := func(key string) string {
			if v := s.Environment[key]; v != nil {
				return *v
			}
			return ""
		}
		keys := slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Source == "keys" })
		keysAU := slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Source == "keys-au" })
		if value("TENANTRY_REGION_AU_S3_SECRET_KEY") == "as" != want.region || value("TENANTRY_CLOUD_CHINA_CLIENT_SECRET") == "ccs" != want.cloud ||
			value("AWS_SECRET_ACCESS_KEY") == "s" != want.home || keys != (want.home && name != "scheduler") || keysAU != want.region || value("TENANTRY_CLOUDS_FILE") == "" {
			t.Errorf("%s: %v, with the keys of the other region: %v", name, s.Environment, keys)
		}
		for _, config := range s.Configs {
			if text := project.Configs[config.Source].Content; strings.Contains(text, "secret") || !strings.Contains(text, map[string]string{"regions": "s3://sydney/p", "clouds": "client-id: cc"}[config.Source]) {
				t.Errorf("%s: %s is %s", name, config.Source, text)
			}
		}
		if !s.ReadOnly || len(s.CapDrop) == 0 || len(s.Configs) != map[bool]int{true: 2, false: 1}[want.region] {
			t.Errorf("%s: may write its image, has capabilities, or the configs %v", name, s.Configs)
		}
	}
	for _, v := range env[len(env)-5:] {
		if _, err := load(slices.DeleteFunc(slices.Clone(env), func(o string) bool { return o == v })); err == nil || !strings.Contains(err.Error(), "compose.env.example") {
			t.Errorf("without %s: %v; it must be asked for, not guessed", v, err)
		}
	}
}

// The values in the manual are values of the chart.
func TestManualsValues(t *testing.T) {
	manual, err := os.ReadFile("../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range strings.Split(string(manual), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if !strings.Contains(text, "\nregions:\n") {
			continue
		}
		n++
		all := pods(t, render(t, merged(values(t, charts["all"]), values(t, text))))
		if p := all["worker-au"]; p.env["TENANTRY_REGION"] != "au" || !slices.Contains(p.secrets, "tenantry-au") || p.env["TENANTRY_CLOUD_CHINA_CLIENT_SECRET"] != "" {
			t.Errorf("the region's worker is given %+v", p)
		}
		if p := all["worker-china"]; p.env["TENANTRY_CLOUD_CHINA_CLIENT_SECRET"] == "" || p.env["TENANTRY_CERTIFICATE"] != "" {
			t.Errorf("the cloud's worker is given %+v", p)
		}
	}
	if n == 0 {
		t.Fatal("the manual has no values with regions")
	}
}
