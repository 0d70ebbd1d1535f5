package main

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestOptionsOfAPolicyReachItsBackups: what a person asks of a policy on the command line is what workers read of the
// resources that it protects, from its beginning and when it is changed.
func TestOptionsOfAPolicyReachItsBackups(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	policy := strings.Fields(o.shows([]string{"Nightly"}, "policies", "add", tenant, "Nightly", "--activate", "--mime"))[8]
	reads := func() tenantry.BackupOptions {
		t.Helper()
		options, err := o.catalog.Tenant(tenantry.TenantID(tenant)).BackupOptions(t.Context(), catalog.Resource{ID: tenantry.ResourceID(user), Kind: tenantry.User}, tenantry.Mailbox)
		must(t, err)
		return options
	}
	if got, want := reads(), (tenantry.BackupOptions{MIME: true}); got != want {
		t.Errorf("a new policy: %+v, not %+v", got, want)
	}
	for line, want := range map[string]tenantry.BackupOptions{
		"--recoverable --versions 5":                                       {Recoverable: true, Versions: 5, MIME: true},
		"--archives-preview --mime=false --recoverable=false --versions 0": {Archives: true},
	} {
		o.shows(nil, append([]string{"policies", "set", tenant, policy}, strings.Fields("--mime --recoverable=false --archives-preview=false --versions 0")...)...)
		o.shows(nil, append([]string{"policies", "set", tenant, policy}, strings.Fields(line)...)...)
		if got := reads(); got != want {
			t.Errorf("%s: %+v, not %+v", line, got, want)
		}
	}
}
