package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func alarmsCommand(c *connection) *cobra.Command {
	return c.action("alarms", "List what holds up every tenant now, and what is wrong with single ones", 0,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
			answer, err := client.ListAlarmsWithResponse(cmd.Context())
			if err != nil {
				return err
			}
			var rows [][]string
			for _, a := range answer.JSON200.Items {
				tenant := "(all)"
				if a.Warning {
					tenant = "(provider)"
				}
				rows = append(rows, []string{tenant, a.Cause, a.Subject, when(a.Since), a.Detail})
			}
			of, err := client.ListTenantAlarmsWithResponse(cmd.Context(), &apiclient.ListTenantAlarmsParams{})
			if err != nil {
				return err
			}
			conclude(cmd, map[string]any{"all": answer.JSON200.Items, "items": of.JSON200.Items, "next": of.JSON200.Next})
			for _, a := range of.JSON200.Items {
				rows = append(rows, []string{cmp.Or(a.TenantName, a.Tenant), a.Cause, a.Subject, when(a.Since), a.Detail})
			}
			return table(cmd, "TENANT CAUSE SUBJECT SINCE DETAIL", rows, of.JSON200.Next != "")
		})
}

func fleetCommand(c *connection) *cobra.Command {
	return c.action("fleet", "Show the whole fleet in numbers", 0, func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
		answer, err := client.GetFleetWithResponse(cmd.Context())
		if err != nil {
			return err
		}
		f := answer.JSON200
		return fields(cmd, "tenants", slotList(f.Tenants), "resources", resourceCounts(f.Resources), "protected", count(f.Protected),
			"never backed up", count(f.Unsaved), "counted", when(f.CountedAt), "backups, 24 h", slotList(f.Backups), "tasks waiting", slotList(f.Ready),
			"tasks in flight", slotList(f.InFlight), "processes", slotList(f.Processes),
			"alarms", count(int64(len(f.Alarms))), "tenants' alarms", slotList(f.Troubled))
	})
}

func processesCommand(c *connection) *cobra.Command {
	return c.action("processes", "List the workers and schedulers that are alive", 0,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
			answer, err := client.ListProcessesWithResponse(cmd.Context())
			if err != nil {
				return err
			}
			var rows [][]string
			for _, p := range answer.JSON200.Items {
				rows = append(rows, []string{p.Id, p.Role, slotList(p.Slots)})
			}
			return table(cmd, "ID ROLE SLOTS", rows, false)
		})
}

func slotList(slots map[string]int64) string {
	var list []string
	for _, queue := range slices.Sorted(maps.Keys(slots)) {
		list = append(list, fmt.Sprintf("%s=%d", queue, slots[queue]))
	}
	return strings.Join(list, " ")
}
