package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestLoadOrderOfStrength(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tenantry.yaml")
	text := "redis: 10.0.0.1:1\ncatalog: sqlite:from-file.db\nclient-id: file-id\nclient-secret: file-secret\nslots-backup: 3\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TENANTRY_CATALOG", "sqlite:from-env.db")
	t.Setenv("TENANTRY_REDIS", "10.0.0.2:2")
	c, err := Load(RoleWorker, []string{"-config", file, "-redis", "10.0.0.3:3"}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Redis != "10.0.0.3:3" || c.Catalog != "sqlite:from-env.db" || c.ClientID != "file-id" || c.SlotsBackup != 3 {
		t.Fatalf("flag, environment, file and default are mixed up: %+v", c)
	}
	if c.ClientSecret.Reveal() != "file-secret" {
		t.Fatal("the secret from the file is not there")
	}
}

func TestLoadNamesTheKey(t *testing.T) {
	good := []string{"-client-id", "id", "-client-secret", "s3cr3t"}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"-catalog", "mysql://root:hunter2@h/db"}, []string{"catalog", "sqlite:PATH or postgres://"}},
		{[]string{"-redis", "nowhere"}, []string{"redis", "HOST:PORT"}},
		{[]string{"-bucket", "ftp://x"}, []string{"bucket", "file:FOLDER or s3://"}},
		{[]string{"-lock-mode", "soft", "-bucket", "s3://b"}, []string{"lock-mode", "governance or compliance"}},
		{[]string{"-lock-mode", "compliance"}, []string{"lock-mode", "a folder cannot lock"}},
		{[]string{"-lock-mode", "governance", "-bucket", "s3://b", "-lock-for", "1h"}, []string{"lock-for", "24h to 100 years"}},
		{[]string{"-bucket", "s3://b"}, []string{"escrow", "check-escrow"}},
		{[]string{"-cloud", "mars"}, []string{"cloud", "global, gcchigh, dod or china"}},
		{[]string{"-concurrency", "5"}, []string{"concurrency", "1 to 4"}},
		{[]string{"-slots-backup", "0"}, []string{"slots-backup", "1 or more"}},
		{[]string{"-cache-mb", "71"}, []string{"cache-mb", "72 or more"}},
		{[]string{"-traces-endpoint", "localhost:4318"}, []string{"traces-endpoint", "http or https URL"}},
		{[]string{"-traces-endpoint", "ftp://root:hunter2@h"}, []string{"traces-endpoint"}},
		{[]string{"-traces-ratio", "0"}, []string{"traces-ratio", "above 0"}},
		{[]string{"-slice-time", "2h"}, []string{"slice-time", "1s to 1h"}},
		{[]string{"-slice-pages", "0"}, []string{"slice-pages", "1 or more"}},
		{[]string{"-certificate", "/does/not/exist"}, []string{"client-secret", "exactly one"}},
		{[]string{"-no-such-key", "1"}, []string{"no-such-key"}},
		{[]string{"stray"}, []string{"stray"}},
	} {
		_, err := Load(RoleWorker, append(append([]string{}, good...), test.args...), &bytes.Buffer{})
		if tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%v: got %v, expected an Invalid error", test.args, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %q does not say %q", test.args, err, want)
			}
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%v: %q shows a password", test.args, err)
		}
	}
}

// A scheduler reads the account book, which goes by the application's ID; it gets no secret.
func TestSchedulerNeedsNoCredential(t *testing.T) {
	c := Defaults()
	if err := c.Validate(RoleScheduler); err == nil || !strings.Contains(err.Error(), "client-id") {
		t.Errorf("without the application's ID: %v", err)
	}
	c.ClientID = "id"
	if err := c.Validate(RoleScheduler); err != nil {
		t.Errorf("with the application's ID alone: %v", err)
	}
}

func TestHelpIsComplete(t *testing.T) {
	var out bytes.Buffer
	if _, err := Load(RoleAPI, []string{"-help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	var c Config
	c.flagSet(RoleAPI).VisitAll(func(f *flag.Flag) {
		if !strings.Contains(out.String(), "-"+f.Name+" ") {
			t.Errorf("help does not name %s", f.Name)
		}
		if f.Usage == "" {
			t.Errorf("%s says nothing", f.Name)
		}
	})
}

func TestDefaultsNeedOnlyTheApplication(t *testing.T) {
	c := Defaults()
	c.ClientID, c.ClientSecret = "id", tenantry.NewSecret("secret")
	for _, role := range []Role{RoleAPI, RoleWorker, RoleScheduler} {
		if err := c.Validate(role); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// The chart takes for regions and clouds the keys that their files may have, but for what it sets itself, files of its own
// making, and secrets.
func TestChartTakesTheKeysOfPlaces(t *testing.T) {
	type place struct {
		AdditionalProperties struct {
			Properties struct {
				Config struct{ Properties map[string]any }
			}
		}
	}
	var schema struct {
		Properties struct{ Regions, Clouds place }
	}
	text, err := os.ReadFile("../../deployments/chart/values.schema.json")
	must(t, err)
	must(t, json.Unmarshal(text, &schema))
	var c Config
	for name, of := range map[string]struct {
		place
		flags func(fs *flag.FlagSet)
		not   []string
	}{
		"regions": {schema.Properties.Regions, c.regionFlags, []string{"s3-access-key", "s3-secret-key", "key-file"}},
		"clouds":  {schema.Properties.Clouds, c.cloudFlags, []string{"client-secret", "certificate", "federated-token-file"}},
	} {
		var want []string
		fs := flag.NewFlagSet(name, flag.ContinueOnError)
		of.flags(fs)
		fs.VisitAll(func(f *flag.Flag) {
			if !slices.Contains(of.not, f.Name) {
				want = append(want, f.Name)
			}
		})
		if got := slices.Sorted(maps.Keys(of.AdditionalProperties.Properties.Config.Properties)); !slices.Equal(got, want) {
			t.Errorf("the chart takes for %s the keys %v, want %v", name, got, want)
		}
	}
}

// What is deployed sets keys that there are.
func TestDeploymentsSetKnownKeys(t *testing.T) {
	var c Config
	known := map[string]bool{}
	c.flagSet(RoleWorker).VisitAll(func(f *flag.Flag) { known[f.Name] = true })
	var chart struct {
		Config  map[string]any `yaml:"config"`
		Workers struct {
			Pools map[string]struct {
				Config map[string]any `yaml:"config"`
			} `yaml:"pools"`
		} `yaml:"workers"`
	}
	text, err := os.ReadFile("../../deployments/chart/values.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &chart)
	}
	if err != nil {
		t.Fatal(err)
	}
	keys := slices.Collect(maps.Keys(chart.Config))
	for _, pool := range chart.Workers.Pools {
		keys = slices.AppendSeq(keys, maps.Keys(pool.Config))
	}
	for _, file := range []string{"compose.yaml", "chart/templates/_helpers.tpl", "chart/values.yaml"} {
		text, err := os.ReadFile("../../deployments/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^[^$]*?TENANTRY_([A-Z_]+)[:,]`).FindAllStringSubmatch(string(text), -1) {
			keys = append(keys, strings.ReplaceAll(strings.ToLower(m[1]), "_", "-"))
		}
	}
	if len(keys) < 20 {
		t.Fatalf("found %d keys", len(keys))
	}
	for _, key := range keys {
		if m := regexp.MustCompile(`^(region|cloud)-[a-z0-9]+-(.+)$`).FindStringSubmatch(key); m != nil && !known[key] {
			key = m[2] // of one region or cloud
		}
		if !known[key] {
			t.Errorf("deployments set %s, which is no key of the configuration", key)
		}
	}
}
