package catalog_test

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// No two restores or exports of a fleet have one reference: another is drawn, and when there is none to be had nothing
// is started. Backups do not care.
func TestReferencesOfRestoresAreUnique(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { t.Helper(); return catalogtest.SQLite(t) },
		"postgres": func(t *testing.T) string { t.Helper(); return servertest.Postgres(t).Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t, dsn(t))
			for _, id := range []tenantry.TenantID{"t-a", "t-b"} {
				must(t, c.Fleet().AddTenant(t.Context(), catalog.TenantRow{ID: id, State: tenantry.TenantConnected}))
			}
			start := func(of tenantry.TenantID, action tenantry.Action) (catalog.Run, error) {
				return c.Tenant(of).StartRun(t.Context(), action, catalog.TriggerManual, "",
					[]catalog.NewTask{{Resource: "u-ann", Workload: tenantry.Mailbox, Params: []byte(`{"snapshot":1}`)}}, time.Now())
			}
			one, two, three := tenantry.NewReference(), tenantry.NewReference(), tenantry.NewReference()
			for one == two || two == three || one == three { // once in millions of runs of this test
				two, three = tenantry.NewReference(), tenantry.NewReference()
			}
			catalog.DrawReferences(c, one, one, one, two, one, two, three, three)
			for i, want := range []tenantry.Reference{one, two, three} {
				of := []tenantry.TenantID{"t-a", "t-b", "t-a"}[i]
				action := []tenantry.Action{tenantry.Restore, tenantry.Export, tenantry.Restore}[i]
				run, err := start(of, action)
				must(t, err)
				found, err := c.Fleet().RunsByReference(t.Context(), want, "")
				must(t, err)
				if run.Reference != want || len(found) != 1 || found[0].ID != run.ID {
					t.Errorf("%s got %s, wanted %s, which names %+v", action, run.Reference, want, found)
				}
			}
			if _, err := start("t-b", tenantry.Restore); tenantry.KindOf(err) != tenantry.Transient {
				t.Errorf("with none to be had: %v", err)
			}
			runs, err := c.Tenant("t-b").Runs(t.Context(), "", 10)
			must(t, err)
			if len(runs) != 1 {
				t.Errorf("what was refused was started: %+v", runs)
			}
			_, err = start("t-b", tenantry.Backup)
			must(t, err)
		})
	}
}
