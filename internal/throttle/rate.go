package throttle

import (
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Rate is how many units (SharePoint) or requests (Teams) a second all requests to a
// service in one tenant may take together, over its shortest window and after the slack.
// Of Teams it is that of requests that no other kind names. It is 0 where no limit is the tenant's as a whole: Outlook's are the mailbox's, and one
// sync is all that asks the directory.
func (l Limits) Rate(service tenantry.Service, size Size) float64 {
	var limit Limit
	switch service {
	case tenantry.SharePoint:
		limit = l.SharePoint.tier(size).Minute
	case tenantry.Teams:
		limit = l.Teams.sustained(l.Teams.Kinds[TeamsOther].Tenant)
	default:
		return 0
	}
	return (1 - l.Slack) * float64(limit.Amount) / time.Duration(limit.Window).Seconds()
}
