package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	dateOnly = "Mon 2 Jan 2006"
	dateTime = "Mon 2 Jan 2006 15:04 MST"
)

// number shows a count with its thousands apart.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// amount shows a count of things.
func amount(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// share shows a part of a whole in per cent, 100 only when it is the whole.
func share(part, whole int64) string {
	if whole <= 0 {
		return "0 %"
	}
	return strconv.FormatInt(part*100/whole, 10) + " %"
}

// size shows bytes.
func size(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB", "PB"}
	value, unit := float64(n), 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 {
		return number(n) + " B"
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

var workloadWords = map[tenantry.Workload]string{
	tenantry.Mailbox: "Mailboxes", tenantry.Drive: "OneDrives", tenantry.SiteContent: "Sites",
	tenantry.GroupContent: "Groups", tenantry.TeamContent: "Teams",
}

func workloadWord(w tenantry.Workload) string { return cmp.Or(workloadWords[w], string(w)) }

var actionWords = map[tenantry.Action]string{
	tenantry.Connect: "Connections", tenantry.Sync: "Directory syncs", tenantry.Backup: "Backups", tenantry.Restore: "Restores",
	tenantry.Verify: "Verifications", tenantry.Prune: "Prunes", tenantry.Collect: "Collections", tenantry.Export: "Exports",
	tenantry.Patrol: "Patrols", tenantry.Repair: "Repairs", tenantry.Search: "Searches",
}

func actionWord(a tenantry.Action) string { return cmp.Or(actionWords[a], string(a)) }

// kindWords say for a person what a kind of error means, and what to do.
var kindWords = map[tenantry.Kind]string{
	tenantry.Internal:  "an answer nobody expected, several times in a row; the operator of the fleet should look",
	tenantry.Transient: "Microsoft or the network did not answer, for as long as it was tried",
	tenantry.Throttled: "Microsoft asked to wait for too long",
	tenantry.NotFound:  "what was asked for is not there any more",
	tenantry.Conflict:  "it kept changing while it was read",
	tenantry.Absent:    "there is nothing to back up",
	tenantry.Denied:    "Microsoft refuses access: check the permissions",
	tenantry.Reconnect: "the consent is missing or was revoked: an administrator of the tenant has to consent again",
	tenantry.Invalid:   "what was asked for is not possible",
	tenantry.Resync:    "Microsoft kept asking to list everything anew",
	tenantry.Poison:    "an item cannot be read",
	tenantry.Capacity:  "the target is full",
	tenantry.Corrupt:   "what is stored is damaged; the next backup reads again what it can",
	tenantry.WrongKey:  "the key does not open the storage",
	tenantry.Fenced:    "another worker kept taking it over",
	tenantry.Shared:    "a service that every tenant needs was away",
	tenantry.Canceled:  "it was stopped",
}

var alarmWords = map[string]string{
	catalog.AlarmKey:        "the key does not open: nothing can be read or backed up until it is put back",
	catalog.AlarmDamage:     "stored data is damaged; the next backup fetches it again",
	catalog.AlarmCredential: "a credential ends within 30 days: add another one",

	catalog.AlarmCredentialLast: "a credential ends within a week, has ended, or is refused: add another one now",

	catalog.AlarmQuotaSoft:  "the seats are nearly used up",
	catalog.AlarmQuotaHard:  "the seats are used up: newcomers are not protected",
	catalog.AlarmMassChange: "unusually much was deleted or changed between two backups: old restore points are kept until somebody acknowledges it. If nobody did this on purpose, it may be an attack",
}

var sharedWords = map[string]string{
	"credential": "our own credential at Microsoft is refused or has expired",
	"bucket":     "the storage cannot be used",
	"redis":      "Redis does not answer",
	"catalog":    "the database does not answer",
	"graph":      "Microsoft Graph does not answer",
	"key":        "keys cannot be reached",
}

// causeWords say what a cause of trouble is: one line each.
func causeWords(cause string) string {
	if rest, ok := strings.CutPrefix(cause, catalog.TroubleFailed); ok {
		action, kind, _ := strings.Cut(rest, "/")
		return fmt.Sprintf("%s failed: %s", actionWord(tenantry.Action(action)), cmp.Or(kindWords[tenantry.Kind(kind)], kind))
	}
	if rest, ok := strings.CutPrefix(cause, catalog.TroubleAlarm); ok {
		return "Alarm: " + cmp.Or(alarmWords[rest], strings.ReplaceAll(rest, "_", " "))
	}
	if rest, ok := strings.CutPrefix(cause, catalog.TroubleWorkload); ok {
		return workloadWord(tenantry.Workload(rest)) + " cannot be protected: tenantry workloads list says why, and what to do"
	}
	if rest, ok := strings.CutPrefix(cause, catalog.TroubleShared); ok {
		if many, ok := strings.CutPrefix(rest, many); ok {
			return "Many tenants at once: " + causeWords(many)
		}
		return "Everybody waits: " + cmp.Or(sharedWords[rest], rest)
	}
	switch cause {
	case catalog.TroubleDisconnected:
		return "The consent is gone: nothing is backed up until an administrator of the tenant consents again"
	case catalog.TroubleStale:
		return "Restore points are older than they may be"
	}
	return strings.ReplaceAll(cause, "_", " ")
}

// coverage is a table of how enrolments stand.
func coverage(workloads []catalog.WorkloadStanding, begun bool) table {
	t := table{Caption: "What is covered", Header: []string{"Service", "Covered"}}
	if begun {
		t.Header = append(t.Header, "Tried", "With a restore point")
	}
	for _, w := range workloads {
		row := []string{workloadWord(w.Workload), number(w.Total)}
		if begun {
			row = append(row, number(w.Tried), number(w.Saved))
		}
		t.rows = append(t.rows, row)
	}
	if len(t.rows) == 0 {
		t.rows = [][]string{append([]string{"Nothing yet", "0"}, make([]string, len(t.Header)-2)...)}
	}
	return t
}

// classes is a table of failures by action and kind; without rows when there are none.
func classes(failures map[string]int64) table {
	t := table{Caption: "What failed", Header: []string{"Cause", "Tasks"}}
	for _, account := range slices.Sorted(maps.Keys(failures)) {
		t.rows = append(t.rows, []string{causeWords(catalog.TroubleFailed + account), number(failures[account])})
	}
	return t
}

// stopHint says how to hear no more of it.
func stopHint(tenant tenantry.TenantID) string {
	if tenant == "" {
		return "You get this mail because the operator of the backup gave your address. To stop it: tenantry notices fleet --stop"
	}
	return "You get this mail because your address was given for the notices of this backup. To stop it, ask whoever runs it: tenantry notices set " + string(tenant) + " --stop"
}
