package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func (c *connection) runsWhy() *cobra.Command {
	return c.action("why TENANT RUN", "Show what a run waited for, and which of its tasks wait now", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetRunWithResponse(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			run := answer.JSON200
			if err := table(cmd, "CAUSE ACCOUNT WAITED", delayRows(run.Delays), false); err != nil {
				return err
			}
			var rows [][]string
			for _, p := range run.Problems {
				if p.State == apiclient.TaskProblemStateReady {
					rows = append(rows, []string{p.Task, cmp.Or(p.ResourceName, p.Resource), p.Workload, p.Kind, p.Reason})
				}
			}
			if len(rows) == 0 {
				return nil
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
				return err
			}
			return table(cmd, "WAITING-TASK RESOURCE WORKLOAD KIND REASON", rows, run.MoreProblems)
		})
}

// delayRows lists delays, the longest cause first; Graph's accounts stand under graph.
func delayRows(d apiclient.Delays) [][]string {
	causes := []struct {
		name    string
		seconds float64
	}{
		{"graph", d.GraphSeconds}, {"queue", d.QueueSeconds}, {"worker", d.WorkerSeconds},
		{"storage", d.StorageSeconds}, {"retry", d.RetrySeconds},
	}
	slices.SortStableFunc(causes, func(a, b struct {
		name    string
		seconds float64
	}) int {
		return cmp.Compare(b.seconds, a.seconds)
	})
	var rows [][]string
	for _, cause := range causes {
		rows = append(rows, []string{cause.name, "", duration(cause.seconds)})
		if cause.name == "graph" {
			for _, a := range d.Graph {
				rows = append(rows, []string{"", a.Account, duration(a.Seconds)})
			}
		}
	}
	return rows
}

// duration shows seconds to a tenth, and whole seconds above a minute.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func (c *connection) tenantsLedger() *cobra.Command {
	var days int64
	command := c.action("ledger TENANT", "Show what a tenant's tasks waited for and spent, and what today will bring", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetLedgerWithResponse(cmd.Context(), args[0], &apiclient.GetLedgerParams{Days: &days})
			if err != nil {
				return err
			}
			if err := table(cmd, "TODAY USED OPEN-TASKS BACKLOG EXPECTED LEFT SHORT", forecastRows(answer.JSON200.Today), false); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
				return err
			}
			var rows [][]string
			for _, d := range answer.JSON200.Days {
				w := d.Delays
				rows = append(rows, []string{
					d.Day, duration(w.GraphSeconds), duration(w.QueueSeconds), duration(w.WorkerSeconds),
					duration(w.StorageSeconds), duration(w.RetrySeconds), unitsText(d.Units),
				})
			}
			return table(cmd, "DAY GRAPH QUEUE WORKER STORAGE RETRY UNITS", rows, false)
		})
	command.Flags().Int64Var(&days, "days", 7, "how many UTC days, today included: 1 to 90")
	return command
}

func forecastRows(list []apiclient.Forecast) (rows [][]string) {
	for _, f := range list {
		left, short := "", ""
		if f.Limit > 0 {
			left, short = fmt.Sprintf("%d of %d", f.Left, f.Limit), "no"
		}
		if f.Short {
			short = "yes"
		}
		rows = append(rows, []string{string(f.Service), count(f.Used), count(f.OpenTasks), count(f.Backlog), count(f.Expected), left, short})
	}
	return rows
}

func unitsText(list []apiclient.Units) string {
	var parts []string
	for _, u := range list {
		parts = append(parts, fmt.Sprintf("%s %d", u.Service, u.Units))
	}
	return strings.Join(parts, ", ")
}

// showFeasibility prints what a policy asks for, and how long it takes at least.
func showFeasibility(cmd *cobra.Command, f *apiclient.Feasibility) error {
	verdict := "yes"
	if !f.Feasible {
		verdict = "no: " + f.Warning
	}
	err := fields(cmd, "feasible", verdict, "takes", duration(float64(f.TakesSeconds)), "bound by", f.Binding, "through at", when(f.CompletesAt))
	if err != nil {
		return err
	}
	var rows [][]string
	for _, w := range f.Workloads {
		rows = append(rows, []string{w.Workload, count(w.Resources), fmt.Sprintf("%.1f", w.Units), string(w.Basis)})
	}
	return table(cmd, "WORKLOAD RESOURCES UNITS-EACH BASIS", rows, false)
}
