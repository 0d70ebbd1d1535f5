package throttle

import (
	"slices"
	"strings"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// The accounts of waits in place that no account of the book is the cause of.
const (
	// Answered: Microsoft's answer asked for it, and no account foresaw that.
	Answered = "graph/throttled"
	// Unavailable: a request failed in passing and is repeated.
	Unavailable = "graph/unavailable"
)

// accountNames are the accounts whose names are the same for all tenants.
var accountNames = []string{
	appRequests, appUnits, appWrites, identityUnits, identityWrites, identityAllApps,
	sharePointMinute, sharePointDay, sharePointAll, sharePointIn, sharePointOut,
	outlookRequests, outlookUpload, outlookPermits, bookLost,
}

// AccountOf returns the account that the code of a Throttled error of this package names,
// without what is a tenant's or a mailbox's in it: "sharepoint/day", "teams/tenant/export",
// "cooldown/mailbox", "cooldown/tenant/sharepoint". So there are few, and they can label
// metrics. "" for any other code.
func AccountOf(code string) string {
	if slices.Contains(accountNames, code) {
		return code
	}
	for _, prefix := range []string{appTeams, teamsTenant, teamsResource} {
		if strings.HasPrefix(code, prefix) {
			return code // followed by a kind of the limits' table
		}
	}
	scope, ok := strings.CutPrefix(code, "cooldown/")
	if !ok {
		return ""
	}
	c, ok := parseScope(scope)
	switch {
	case !ok:
		return ""
	case c.Mailbox != "":
		return "cooldown/mailbox"
	case c.Tenant != "":
		return "cooldown/tenant/" + string(c.Service)
	}
	return "cooldown/app/" + string(c.Service)
}

// spent is what a granted call adds to the count of its service: units where Microsoft
// counts these, else a request.
func (c Call) spent() int64 {
	switch {
	case c.Units == Covered:
		return 0
	case c.Service == tenantry.Identity, c.Service == tenantry.SharePoint:
		return int64(max(c.Units, 1))
	}
	return 1
}
