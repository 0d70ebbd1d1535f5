package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The daily check counts every tenant whose key does not open, and those that no tested
// escrow copy holds.
func TestKeyGuard(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Bucket: "file://" + filepath.Join(dir, "bucket"), KeyFile: filepath.Join(dir, "keys")}
	vault, err := OpenVault(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []tenantry.TenantID{"t-1", "t-2", "t-3"} {
		if _, err := repository.Open(t.Context(), vault.Store, vault.Keys, tenant); err != nil {
			t.Fatal(err)
		}
	}
	receipt := &repository.EscrowReceipt{Checked: time.Now(), Tenants: map[tenantry.TenantID]int64{"t-1": 1, "t-2": 1}}
	core, logs := observer.New(zapcore.ErrorLevel)
	cat, err := catalog.Open(t.Context(), "sqlite://"+filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cat.Close() }()
	if err := cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{ID: "t-2"}); err != nil {
		t.Fatal(err)
	}
	g := newKeyGuard(newRepositories(vault.Store, vault.Keys), keyAlarms{cat}, receipt, newMeter(RoleWorker), zap.New(core))
	expect := func(bad, bare float64, now time.Time) {
		t.Helper()
		if err := g.check(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if b, e := testutil.ToFloat64(g.bad.with()), testutil.ToFloat64(g.bare.with()); b != bad || e != bare {
			t.Errorf("%v keys unusable, %v without escrow; expected %v and %v", b, e, bad, bare)
		}
	}
	alarms := func() []catalog.TenantAlarm {
		t.Helper()
		list, err := cat.Tenant("t-2").Alarms(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	expect(0, 1, time.Now())
	whole, err := os.ReadFile(cfg.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := vault.Keys.WrappingKeys(t.Context(), "t-2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vault.Keys.Destroy(t.Context(), "t-2", ids[0]); err != nil {
		t.Fatal(err)
	}
	expect(1, 1, time.Now())
	if logs.FilterMessageSnippet("ALARM").Len() != 1 {
		t.Errorf("logged: %v", logs.All())
	}
	expect(1, 2, time.Now().Add(escrowAge+time.Hour))
	if list := alarms(); len(list) != 1 || list[0].Cause != catalog.AlarmKey || !strings.Contains(list[0].Detail, ids[0]) {
		t.Errorf("alarms: %+v", list)
	}
	for _, put := range []bool{false, true} { // the alarm ends once the key was put back, and not before
		if put {
			if err := os.WriteFile(cfg.KeyFile, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.recheck(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := alarms(); (len(list) == 0) != put {
			t.Errorf("alarms, with the key put back: %v: %+v", put, list)
		}
	}
}

func TestReceipt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "receipt")
	for _, none := range []string{"", noEscrow} {
		if r, err := readReceipt(none); r != nil || err != nil {
			t.Errorf("%q: %v, %v", none, r, err)
		}
	}
	for _, wrong := range []string{"", "{}", "[]"} {
		if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readReceipt(path); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	text, _ := json.Marshal(repository.EscrowReceipt{Checked: time.Now()})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := readReceipt(path); err != nil || r == nil {
		t.Errorf("%v, %v", r, err)
	}
}
