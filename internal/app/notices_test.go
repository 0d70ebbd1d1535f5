package app

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
)

// What sends mails is checked before anything starts, and no error shows the password.
func TestMailConfiguration(t *testing.T) {
	good := []string{"-client-id", "id", "-smtp", "smtp.example.com:587", "-smtp-from", "backup@provider.example"}
	if _, err := Load(RoleScheduler, good, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"-smtp", "smtp.example.com"}, []string{"smtp", "HOST:PORT"}},
		{[]string{"-smtp-from", "nobody"}, []string{"smtp-from", "no mail address"}},
		{[]string{"-smtp-from", "a@b.example\r\nBcc: eve@evil.example"}, []string{"no mail address"}},
		{[]string{"-smtp-tls", "maybe"}, []string{"smtp-tls", "starttls, implicit or none"}},
		{[]string{"-smtp-tls", "none"}, []string{"relay on this host"}},
		{[]string{"-smtp-user", "fleet"}, []string{"user and password belong together"}},
		{[]string{"-smtp-password", "hunter2"}, []string{"user and password belong together"}},
		{[]string{"-smtp-ca", "/nowhere/ca.pem"}, []string{"smtp-ca", "readable PEM file"}},
		{[]string{"-notices-every", "1ms"}, []string{"notices-every", "1s to 1h"}},
	} {
		_, err := Load(RoleScheduler, append(append([]string{}, good...), test.args...), &bytes.Buffer{})
		if err == nil {
			t.Errorf("%q passes", test.args)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v does not say %q", test.args, err, want)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	if _, err := Load(RoleWorker, []string{"-client-id", "id", "-client-secret", "s", "-smtp", "nonsense"}, &bytes.Buffer{}); err != nil {
		t.Errorf("a worker minds the mail server: %v", err)
	}
}

// Without a mail server nobody is told anything, and the scheduler does without.
func TestNoMailServer(t *testing.T) {
	cat, err := catalog.Open(t.Context(), catalogtest.SQLite(t))
	must(t, err)
	defer cat.Close()
	core, said := observer.New(zap.WarnLevel)
	log := zap.New(core).Sugar()
	if n, err := newNotices(Defaults(), cat, "s@1", nil, log); err != nil || n != nil || said.FilterMessageSnippet("nobody is told").Len() != 1 {
		t.Errorf("notices %v (%v), logged %v", n, err, said.All())
	}
	cfg := Defaults()
	cfg.SMTP, cfg.SMTPFrom = "localhost:587", "backup@provider.example"
	if n, err := newNotices(cfg, cat, "s@1", nil, log); err != nil || n == nil || said.Len() != 1 {
		t.Errorf("notices %v (%v), logged %v", n, err, said.All())
	}
}

// A program that may not migrate refuses an older schema, and says what to do.
func TestProgramsMayRefuseToMigrate(t *testing.T) {
	cfg := Defaults()
	cfg.Catalog, cfg.Migrate = "sqlite:"+filepath.Join(t.TempDir(), "catalog.db"), false
	if _, err := openCatalog(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "run tenantry migrate first") {
		t.Errorf("an empty database: %v", err)
	}
	must(t, Migrate(t.Context(), cfg))
	cat, err := openCatalog(t.Context(), cfg)
	must(t, err)
	must(t, cat.Close())
}
