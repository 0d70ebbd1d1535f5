package main

import (
	"strings"
	"testing"
)

// Who is told is set by the command line; what is not given stays.
func TestNoticesCommands(t *testing.T) {
	o := newOffice(t)
	tenant, _ := o.connected()
	policy := strings.Fields(o.shows([]string{"Nightly"}, "policies", "add", tenant, "Nightly", "--at", "02:15", "--time-zone", "Europe/Vienna"))
	o.shows([]string{"mailbox"}, "workloads", "enable", tenant, "mailbox", "--address", "zoe@contoso.com", "--report", "weekly")
	o.shows([]string{"zoe@contoso.com", "weekly monday 07:00"}, "notices", "list", tenant)
	o.shows([]string{"ada@contoso.com,bob@contoso.com", "accepted,listed,progress,completed,failed", "daily 07:00 Europe/Vienna", "yes"},
		"notices", "set", tenant, "--address", "ada@contoso.com,bob@contoso.com", "--report", "daily", "--problems")
	o.shows([]string{"ada@contoso.com,bob@contoso.com", "weekly monday 06:30 Europe/Vienna"}, "notices", "set", tenant, "--report", "weekly", "--at", "06:30")
	id := ""
	for _, word := range policy {
		if strings.HasPrefix(word, "p-") {
			id = word
		}
	}
	o.shows([]string{"Nightly", "eve@contoso.com", "none", "off"}, "notices", "set", tenant, "--policy", id, "--address", "eve@contoso.com", "--events", "none")
	o.shows([]string{"Nightly", "(all)", "eve@contoso.com", "bob@contoso.com"}, "notices", "list", tenant)
	o.shows(nil, "notices", "test", tenant)
	o.shows(nil, "notices", "report", tenant)
	if !strings.Contains(o.said, "tenantry notices mails "+tenant) {
		t.Errorf("a report says %q", o.said)
	}
	o.shows([]string{"test", "eve@contoso.com", "waiting", "Test of the backup's notices"}, "notices", "mails", tenant)
	o.shows(nil, "notices", "remove", tenant, "--policy", id)
	o.shows([]string{"boss@provider.example", "yes"}, "notices", "fleet", "--address", "boss@provider.example", "--problems")
	o.shows(nil, "notices", "fleet", "--test")
	o.shows([]string{"boss@provider.example", "waiting"}, "notices", "fleet", "--mails")
	o.shows([]string{"boss@provider.example", "yes"}, "notices", "fleet", "--stop")
	if out, err := o.run("notices", "set", tenant, "--address", "Ada <ada@contoso.com>"); err == nil || !strings.Contains(err.Error(), "body.to[0]") {
		t.Errorf("a name beside the address: %v %s", err, out)
	}
}
