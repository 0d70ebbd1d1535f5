package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func workloadsCommand(c *connection) *cobra.Command {
	return group("workloads", "What of a tenant is protected: nothing before it is enabled",
		c.workloadsList(), c.workloadsEnable(), c.workloadsDisable(), c.workloadsPermissions())
}

const workloadHeader = "WORKLOAD ENABLED STATE ELIGIBLE BACKUP RESTORE REASON REMEDY"

func workloadRow(w apiclient.WorkloadStatus) []string {
	return []string{
		w.Workload, yes(w.Enabled), string(w.State), count(w.Eligible), readinessText(w.Backup), readinessText(w.Restore), w.Reason, w.Remedy,
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func readinessText(r apiclient.Readiness) string {
	if r.Ready {
		return "yes"
	}
	return "no: " + r.Reason
}

func (c *connection) workloadsList() *cobra.Command {
	return c.action("list TENANT", "Show how far each workload is, what would fail and why, and whether it can be restored", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.ListWorkloadsWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var rows [][]string
			for _, w := range answer.JSON200.Items {
				rows = append(rows, workloadRow(w))
			}
			return table(cmd, workloadHeader, rows, false)
		})
}

func (c *connection) workloadsPermissions() *cobra.Command {
	return c.action("permissions TENANT", "Show which permissions each workload takes, what for, and which the consent gives", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.ListWorkloadsWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var rows [][]string
			for _, w := range answer.JSON200.Items {
				for _, p := range append(w.Backup.Permissions, w.Restore.Permissions...) {
					rows = append(rows, permissionRow(p))
				}
			}
			return table(cmd, "WORKLOAD PURPOSE PERMISSION CONSENT FOR", rows, false)
		})
}

func permissionRow(p apiclient.PermissionGrant) []string {
	granted := "granted"
	switch {
	case !p.Granted && p.Partial:
		granted = "missing, the rest goes on"
	case !p.Granted:
		granted = "missing"
	}
	return []string{p.Workload, string(p.Purpose), p.Name, granted, p.For}
}

// eachWorkload does something to each workload that is named, and shows what became of them.
func eachWorkload(cmd *cobra.Command, names []string, do func(name string) (*apiclient.WorkloadStatus, error)) error {
	var rows [][]string
	var link string
	var errs []error
	found := []*apiclient.WorkloadStatus{}
	for _, name := range names {
		w, err := do(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		rows, found = append(rows, workloadRow(*w)), append(found, w)
		if w.ConsentUrl != "" {
			link = w.ConsentUrl // the last one: each is good for everything that is missing
		}
	}
	conclude(cmd, map[string]any{"items": found})
	if err := table(cmd, workloadHeader, rows, false); err != nil {
		errs = append(errs, err)
	}
	if link != "" {
		cmd.Println("\nA permission is missing. Have an administrator of the tenant open this page, once; what was enabled then goes on by itself:\n" + link)
	}
	return errors.Join(errs...)
}

func (c *connection) workloadsEnable() *cobra.Command {
	var trusted bool
	var notices noticeFlags
	command := c.action("enable TENANT WORKLOAD...", "Enable workloads: mailbox, drive, site, group, team", 0,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			how := apiclient.EnableWorkload{Trusted: trusted}
			if settingFlags(cmd.Flags()) {
				how.Notices = notices.change(cmd.Flags(), apiclient.Notices{})
			}
			return eachWorkload(cmd, args[1:], func(name string) (*apiclient.WorkloadStatus, error) {
				answer, err := client.EnableWorkloadWithResponse(cmd.Context(), args[0], apiclient.EnableWorkloadParamsWorkload(name), how)
				if err != nil {
					return nil, err
				}
				return answer.JSON200, nil
			})
		})
	command.Args = cobra.MinimumNArgs(2)
	notices.add(command.Flags())
	command.Flags().BoolVar(&trusted, "trusted", false, "do not look for permissions: the customer grants them another way, such as Exchange's RBAC for Applications")
	return command
}

func (c *connection) workloadsDisable() *cobra.Command {
	command := c.action("disable TENANT WORKLOAD...", "Disable workloads: they are protected no more, their backups stay", 0,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			return eachWorkload(cmd, args[1:], func(name string) (*apiclient.WorkloadStatus, error) {
				answer, err := client.DisableWorkloadWithResponse(cmd.Context(), args[0], apiclient.DisableWorkloadParamsWorkload(name))
				if err != nil {
					return nil, err
				}
				return answer.JSON200, nil
			})
		})
	command.Args = cobra.MinimumNArgs(2)
	return command
}

func (c *connection) tenantsProbe() *cobra.Command {
	var watch bool
	command := c.action("probe TENANT", "Prove anew what the tenant's consent permits; connects a tenant that has consented already", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.ProbeTenantWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return started(cmd, client, answer.JSON201, watch)
		})
	watchFlag(command, &watch)
	return command
}
