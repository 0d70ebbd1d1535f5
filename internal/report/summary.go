package report

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// reportBatch is how many reports one round writes.
const reportBatch = 50

// reports writes the reports that are due. What was missed while no scheduler ran is not made up for: one report
// covers it.
func (n *Notifier) reports(ctx context.Context, fence int64) error {
	now := n.cfg.Now()
	due, err := n.fleet.DueReports(ctx, now, reportBatch)
	if err != nil {
		return err
	}
	var errs []error
	for _, row := range due {
		err := n.report(ctx, fence, row, now)
		switch tenantry.KindOf(err) {
		case tenantry.Fenced:
			return err
		case tenantry.Conflict: // its settings were changed just now
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (n *Notifier) report(ctx context.Context, fence int64, row catalog.NoticeRow, now time.Time) error {
	post := catalog.Posting{Report: &row, Next: row.Settings.NextReport(now)}
	l, err := n.summary(ctx, row, now)
	if tenantry.KindOf(err) == tenantry.NotFound { // the policy, or the tenant, was deleted
		_, err = n.fleet.Post(ctx, fence, post, now)
		return err
	}
	if err != nil {
		return err
	}
	if row.Settings.Speaks() {
		key := fmt.Sprintf("report/%s/%s/%d", row.Tenant, row.Policy, row.NextReport.Unix())
		post.Mails, err = mails(l, row.Settings, catalog.Mail{Key: key, Tenant: row.Tenant, Policy: row.Policy, Event: "report"})
		if err != nil {
			return err
		}
	}
	_, err = n.fleet.Post(ctx, fence, post, now)
	return err
}

func (n *Notifier) summary(ctx context.Context, row catalog.NoticeRow, now time.Time) (letter, error) {
	if row.Tenant == "" {
		return n.fleetSummary(ctx, row, now)
	}
	scope := n.cfg.Catalog.Tenant(row.Tenant)
	tenant, err := scope.Get(ctx)
	if err != nil {
		return letter{}, err
	}
	name := tenant.Name
	if row.Policy != "" {
		policy, err := scope.Policy(ctx, row.Policy)
		if err != nil {
			return letter{}, err
		}
		name += fmt.Sprintf(", %q", policy.Name)
	}
	standings, err := scope.Standings(ctx, row.Policy, row.Settings.StaleAfter(), now)
	if err != nil {
		return letter{}, err
	}
	activity, err := scope.Activity(ctx, row.Policy, row.ReportedAt, now)
	if err != nil {
		return letter{}, err
	}
	failures, err := scope.Failures(ctx, row.Policy, row.ReportedAt, now)
	if err != nil {
		return letter{}, err
	}
	alarms, err := scope.Alarms(ctx)
	if err != nil {
		return letter{}, err
	}
	all := sum(standings)
	failed := int64(0)
	for _, count := range failures {
		failed += count
	}
	verdict := "all is well"
	switch {
	case tenant.State != tenantry.TenantConnected:
		verdict = "not connected"
	case failed > 0:
		verdict = amount(failed, "failure", "failures")
	case len(alarms) > 0:
		verdict = amount(int64(len(alarms)), "alarm", "alarms")
	case all.Stale > 0:
		verdict = number(all.Stale) + " stale"
	case all.Total == 0:
		verdict = "nothing is covered"
	}
	l := letter{
		subject: fmt.Sprintf("%s: backup report, %s", name, verdict), title: "Backup report of " + name,
		lines:  []string{period(row, now)},
		tables: []table{standingTable(standings)}, footer: stopHint(row.Tenant),
	}
	if tenant.State != tenantry.TenantConnected {
		l.lines = append(l.lines, causeWords(catalog.TroubleDisconnected)+".")
	}
	for _, t := range []table{activityTable(activity), classes(failures), alarmTable(alarms)} {
		if len(t.rows) > 0 {
			l.tables = append(l.tables, t)
		}
	}
	return l, nil
}

// sum adds workloads up.
func sum(workloads []catalog.WorkloadStanding) (all catalog.WorkloadStanding) {
	for _, w := range workloads {
		all.Total += w.Total
		all.Tried += w.Tried
		all.Saved += w.Saved
		all.Stale += w.Stale
	}
	return all
}

func period(row catalog.NoticeRow, now time.Time) string {
	zone := row.Settings.Location()
	return fmt.Sprintf("From %s to %s.", row.ReportedAt.In(zone).Format(dateTime), now.In(zone).Format(dateTime))
}

func standingTable(workloads []catalog.WorkloadStanding) table {
	t := table{Caption: "What is protected", Header: []string{"Service", "Covered", "With a restore point", "Too old", "None yet"}}
	for _, w := range workloads {
		t.rows = append(t.rows, []string{workloadWord(w.Workload), number(w.Total), number(w.Saved), number(w.Stale), number(w.Total - w.Saved)})
	}
	if len(t.rows) == 0 {
		t.rows = [][]string{{"Nothing", "0", "0", "0", "0"}}
	}
	return t
}

func activityTable(list []catalog.Activity) table {
	t := table{Caption: "What was done", Header: []string{"Work", "Done", "Failed", "Under way", "Items", "Not saved", "Read", "Stored"}}
	for _, a := range list {
		t.rows = append(t.rows, []string{actionWord(a.Action), number(a.Done), number(a.Failed), number(a.Open), number(a.Items), number(a.Skipped), size(a.Bytes), size(a.Stored)})
	}
	return t
}

func alarmTable(alarms []catalog.TenantAlarm) table {
	counts := map[string]int64{}
	for _, a := range alarms {
		counts[a.Cause]++
	}
	t := table{Caption: "Alarms that wait for somebody", Header: []string{"Alarm", "How many"}}
	for _, cause := range slices.Sorted(maps.Keys(counts)) {
		t.rows = append(t.rows, []string{causeWords(catalog.TroubleAlarm + cause), number(counts[cause])})
	}
	return t
}

// fleetSummary is the provider's report.
func (n *Notifier) fleetSummary(ctx context.Context, row catalog.NoticeRow, now time.Time) (letter, error) {
	o, err := n.fleet.Overview(ctx, now)
	if err != nil {
		return letter{}, err
	}
	stock, err := n.fleet.Inventory(ctx)
	if err != nil {
		return letter{}, err
	}
	alarms, err := n.fleet.Paused(ctx, now)
	if err != nil {
		return letter{}, err
	}
	verdict := "all is well"
	if bad := o.Backups[catalog.RunFailed] + o.Backups[catalog.RunPartial]; len(alarms) > 0 {
		verdict = amount(int64(len(alarms)), "alarm stops everybody", "alarms stop everybody")
	} else if bad > 0 {
		verdict = amount(bad, "run with failures", "runs with failures")
	}
	l := letter{
		subject: "Fleet report, " + verdict, title: "Fleet report", lines: []string{period(row, now)}, footer: stopHint(""),
		tables: []table{
			counted("Tenants", "State", o.Tenants), counted("Runs of backups of the last day", "State", o.Backups),
			{Caption: "Protection", Header: []string{"What", "How many"}, rows: [][]string{{"Enrolled", number(stock.Protected)}, {"Of them not backed up yet", number(stock.Unsaved)}}},
		},
	}
	waits := table{Caption: "What holds everybody up", Header: []string{"Cause", "Since"}}
	for _, a := range alarms {
		waits.rows = append(waits.rows, []string{causeWords(catalog.TroubleShared + a.Cause), a.Since.In(row.Settings.Location()).Format(dateTime)})
	}
	warnings, err := n.fleet.Warnings(ctx, now)
	if err != nil {
		return letter{}, err
	}
	own := table{Caption: "What is yours to see to", Header: []string{"Warning", "Since"}}
	for _, w := range warnings {
		own.rows = append(own.rows, []string{causeWords(catalog.TroubleAlarm + w.Cause), w.Since.In(row.Settings.Location()).Format(dateTime)})
	}
	single := table{Caption: "Alarms of single tenants", Header: []string{"Alarm", "How many"}}
	for _, cause := range slices.Sorted(maps.Keys(o.TenantAlarms)) {
		single.rows = append(single.rows, []string{causeWords(catalog.TroubleAlarm + cause), number(o.TenantAlarms[cause])})
	}
	for _, t := range []table{waits, own, single} {
		if len(t.rows) > 0 {
			l.tables = append(l.tables, t)
		}
	}
	return l, nil
}

// counted is a table of counts by state.
func counted[S ~string](caption, what string, counts map[S]int64) table {
	t := table{Caption: caption, Header: []string{what, "How many"}}
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		t.rows = append(t.rows, []string{string(state), number(counts[state])})
	}
	if len(t.rows) == 0 {
		t.rows = [][]string{{"None", "0"}}
	}
	return t
}
