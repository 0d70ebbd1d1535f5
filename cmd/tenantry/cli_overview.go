package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func (c *connection) tenantsOverview() *cobra.Command {
	return c.action("overview TENANT", "Show how a tenant is: protection, workloads, seats, alarms, runs", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetTenantOverviewWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			o := answer.JSON200
			if err := fields(cmd, "name", o.Tenant.Name, "state", string(o.Tenant.State), "reason", o.Tenant.Reason,
				"resources", resourceCounts(o.Tenant.Resources), "seats", fmt.Sprintf("%d taken, %s", o.Seats.Used, o.Seats.Mode)); err != nil {
				return err
			}
			if err := table(cmd, coverageHeader, [][]string{coverageRow(o.Coverage)}, false); err != nil {
				return err
			}
			var rows [][]string
			for _, w := range o.Workloads {
				rows = append(rows, []string{w.Workload, string(w.State), w.Reason, w.Remedy})
			}
			if err := table(cmd, "WORKLOAD STATE REASON REMEDY", rows, false); err != nil {
				return err
			}
			rows = nil
			for _, a := range o.Alarms {
				rows = append(rows, []string{a.Cause, a.Subject, when(a.Since), a.Detail})
			}
			if err := table(cmd, "ALARM SUBJECT SINCE DETAIL", rows, false); err != nil {
				return err
			}
			rows = nil
			for _, r := range append(o.Running, o.Failed...) {
				rows = append(rows, []string{r.Id, string(r.Action), string(r.State), when(r.CreatedAt), fmt.Sprintf("%d of %d", r.TasksDone, r.Tasks)})
			}
			return table(cmd, "RUN ACTION STATE SINCE DONE", rows, false)
		})
}
