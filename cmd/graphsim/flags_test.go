package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// parsed are the flags of a command line.
func parsed(t *testing.T, args ...string) (*flags, *pflag.FlagSet) {
	t.Helper()
	var f flags
	set := pflag.NewFlagSet("graphsim", pflag.ContinueOnError)
	f.register(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &f, set
}

// Every number and switch of the simulator has a flag: with all flags given, no field is
// zero but those that flags do not describe.
func TestEveryFieldHasAFlag(t *testing.T) {
	f, set := parsed(t)
	set.VisitAll(func(flag *pflag.Flag) {
		value := map[string]string{"bool": "true", "duration": "1s", "string": "x"}[flag.Value.Type()]
		if value == "" {
			value = "1"
		}
		if err := set.Set(flag.Name, value); err != nil {
			t.Error(err)
		}
	})
	exempt := map[string]bool{"Options.CertificatePEM": true, "Options.Limits": true, // files
		"World.Tenant.Name": true, "World.Tenant.Domain": true, "World.Tenant.ID": true, "World.Also": true} // of single tenants
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		switch {
		case exempt[name]:
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), name+"."+v.Type().Field(i).Name)
			}
		case v.IsZero():
			t.Errorf("no flag sets %s", name)
		}
	}
	walk(reflect.ValueOf(f.options), "Options")
	walk(reflect.ValueOf(f.world), "World")
}

func TestWorldFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "world.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tenants: 2\nspread: 0.5\ntenant:\n  users: 30\n  mailsPerUser: 7\n  closedChannels: 2\nalso:\n- domain: contoso.example\n  users: 5\n")
	f, _ := parsed(t, "--world", file, "--mails", "9")
	if err := f.resolve(); err != nil {
		t.Fatal(err)
	}
	if w := f.world; w.Tenants != 2 || w.Spread != 0.5 || w.Tenant.Users != 30 || w.Tenant.MailsPerUser != 9 || w.Tenant.ClosedChannels != 2 ||
		w.Tenant.Sites != 0 || len(w.Also) != 1 || w.Also[0].Domain != "contoso.example" {
		t.Errorf("world %+v", w)
	}
	for text, want := range map[string]string{
		`{"tenants": 1, "tenant": {"userz": 3}}`:            "userz",
		`{"tenant": {"users": -3}}`:                         "tenant: users is -3",
		`{"also": [{"domain": "a.example", "noDrive": 1}]}`: "also[0]: noDrive",
		`tenants: many`: "tenants",
		"\tnot yaml: [": "yaml",
		`{"tenant": {"users": 1, "unlicensed": 2}, "spread":1}`: "tenant: unlicensed",
	} {
		write(text)
		f, _ := parsed(t, "--world", file)
		if err := f.resolve(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	f, _ = parsed(t, "--libraries", "900")
	if err := f.resolve(); err == nil || !strings.Contains(err.Error(), "libraries is 900") {
		t.Errorf("too many libraries: %v", err)
	}
}

// The document of the simulator names every flag, and no flag that is not there.
func TestDocumentNamesEveryFlag(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "GRAPHSIM.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "| `--"); ok {
			name, _, _ = strings.Cut(name, "`")
			name, _, _ = strings.Cut(name, " ")
			rows[name] = true
		}
	}
	_, set := parsed(t)
	set.VisitAll(func(flag *pflag.Flag) {
		if !rows[flag.Name] {
			t.Errorf("docs/GRAPHSIM.md has no row for --%s", flag.Name)
		}
		delete(rows, flag.Name)
	})
	for name := range rows {
		t.Errorf("docs/GRAPHSIM.md describes --%s, which is not there", name)
	}
}
