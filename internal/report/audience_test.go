package report

import (
	"cmp"
	"slices"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Who is told of what, by what is set for the tenant and its policies.
func TestAudience(t *testing.T) {
	t.Parallel()
	n := func(problems, stopped bool, to ...string) tenantry.Notices {
		return tenantry.Notices{To: to, Problems: problems, Stopped: stopped, Zone: "Europe/Vienna"}
	}
	for name, c := range map[string]struct {
		tenant, one, two *tenantry.Notices
		problems, first  []string
	}{
		"nobody":                 {},
		"the tenant's":           {tenant: ptr(n(true, false, "a@x.example")), problems: []string{"a@x.example"}, first: []string{"a@x.example"}},
		"a policy's":             {tenant: ptr(n(true, false, "a@x.example")), one: ptr(n(false, false, "b@x.example")), problems: []string{"a@x.example"}, first: []string{"a@x.example"}},
		"policies' alone":        {one: ptr(n(true, false, "b@x.example", "c@x.example")), two: ptr(n(true, false, "c@x.example", "d@x.example")), problems: []string{"b@x.example", "c@x.example", "d@x.example"}},
		"policies' instead":      {tenant: ptr(n(false, false, "a@x.example")), one: ptr(n(true, false, "b@x.example")), problems: []string{"b@x.example"}, first: []string{"a@x.example"}},
		"a stopped policy's":     {one: ptr(n(true, true, "b@x.example")), two: ptr(n(true, false, "d@x.example")), problems: []string{"d@x.example"}},
		"a tenant that stopped":  {tenant: ptr(n(true, true, "a@x.example")), two: ptr(n(true, false, "d@x.example"))},
		"a tenant, not of those": {tenant: ptr(n(false, false, "a@x.example")), first: []string{"a@x.example"}},
	} {
		var told audience
		for policy, settings := range map[tenantry.PolicyID]*tenantry.Notices{"": c.tenant, "p-1": c.one, "p-2": c.two} {
			if settings != nil {
				told = append(told, catalog.NoticeRow{Policy: policy, Settings: *settings})
			}
		}
		slices.SortFunc(told, func(a, b catalog.NoticeRow) int { return cmp.Compare(a.Policy, b.Policy) })
		if got := heard(told.ofProblems()); !slices.Equal(got, c.problems) {
			t.Errorf("%s: of trouble hear %v, want %v", name, got, c.problems)
		}
		if got := heard(told.ofEnabling(nil)); !slices.Equal(got, c.first) {
			t.Errorf("%s: of a first backup hear %v, want %v", name, got, c.first)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func heard(n tenantry.Notices) []string {
	if !n.Speaks() {
		return nil
	}
	return n.To
}
