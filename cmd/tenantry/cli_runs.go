package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func runsCommand(c *connection) *cobra.Command {
	return group("runs", "What was done, what is under way",
		c.runsList(), c.runsStart(), c.runsShow(), c.runsWhy(), c.runsTasks(), c.runsTask(), c.runsFailures(), c.runsCancel(), c.runsRetry(), c.runsFind())
}

func watchFlag(command *cobra.Command, watch *bool) {
	command.Flags().BoolVar(watch, "watch", false, "show progress until it has ended; fails if the run fails")
}

func (c *connection) runsList() *cobra.Command {
	var action, state, policy string
	command := listing(c, "list TENANT", "List the runs of a tenant, newest first", "ID REFERENCE ACTION POLICY TRIGGER STATE TASKS ITEMS STARTED ENDED",
		func(a asking) ([]apiclient.Run, string, error) {
			answer, err := a.client.ListRunsWithResponse(a.ctx, a.args[0], &apiclient.ListRunsParams{
				After: a.after, Limit: a.limit, Action: given[apiclient.ListRunsParamsAction](action),
				State: given[apiclient.ListRunsParamsState](state), Policy: given[string](policy),
			})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		func(r apiclient.Run) []string {
			return []string{
				r.Id, r.Reference, string(r.Action), cmp.Or(r.PolicyName, r.Policy), string(r.Trigger), string(r.State),
				fmt.Sprintf("%d/%d", tasksEnded(&r), r.Tasks), progress(r.Progress), when(r.CreatedAt), when(r.EndedAt),
			}
		})
	command.Flags().StringVar(&action, "action", "", "only backup, restore, export, verify, sync, ...")
	command.Flags().StringVar(&state, "state", "", "only running, done, partial, failed or canceled")
	command.Flags().StringVar(&policy, "policy", "", "only runs of this policy")
	return command
}

func (c *connection) runsStart() *cobra.Command {
	var n apiclient.NewRun
	var workloads []string
	var watch bool
	command := c.action("start TENANT", "Back up now: a policy's targets, or named resources", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			n.Workloads = words[apiclient.NewRunWorkloads](workloads)
			answer, err := client.StartRunWithResponse(cmd.Context(), args[0], n)
			if err != nil {
				return err
			}
			return started(cmd, client, answer.JSON201, watch)
		})
	command.Flags().StringVar(&n.Policy, "policy", "", "ID of a policy")
	command.Flags().StringSliceVar(&n.Resources, "resource", nil, "IDs of resources, instead of a policy")
	command.Flags().StringSliceVar(&workloads, "workload", nil, "with --resource: mailbox, drive, site, group, team (default what each has)")
	command.MarkFlagsMutuallyExclusive("policy", "resource")
	command.MarkFlagsOneRequired("policy", "resource")
	watchFlag(command, &watch)
	return command
}

func (c *connection) runsShow() *cobra.Command {
	var watch bool
	command := c.action("show TENANT RUN", "Show a run: state, progress, problems", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetRunWithResponse(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if watch {
				return watched(cmd, client, answer.JSON200)
			}
			return showRun(cmd, answer.JSON200)
		})
	watchFlag(command, &watch)
	return command
}

func (c *connection) runsTasks() *cobra.Command {
	return listing(c, "tasks TENANT RUN", "List the tasks of a run", "ID RESOURCE WORKLOAD STATE ITEMS NOT-BEFORE REASON",
		func(a asking) ([]apiclient.Task, string, error) {
			answer, err := a.client.ListTasksWithResponse(a.ctx, a.args[0], a.args[1], &apiclient.ListTasksParams{After: a.after, Limit: a.limit})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		func(t apiclient.Task) []string {
			return []string{t.Id, cmp.Or(t.ResourceName, t.Resource), t.Workload, string(t.State), progress(t.Progress), when(t.NotBefore), t.Reason}
		})
}

func (c *connection) runsCancel() *cobra.Command {
	var watch bool
	command := c.action("cancel TENANT RUN", "Cancel a run: what waits ends at once, what runs commits what it has and ends", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.CancelRunWithResponse(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if !watch {
				return showRun(cmd, answer.JSON200)
			}
			// That it is canceled is what was asked for.
			if err := watched(cmd, client, answer.JSON200); tenantry.CodeOf(err) != codeRun {
				return err
			}
			return nil
		})
	command.Flags().BoolVar(&watch, "watch", false, "wait until it has ended")
	return command
}

func (c *connection) runsRetry() *cobra.Command {
	var watch bool
	command := c.action("retry TENANT RUN", "Start what failed of a run again, and nothing else", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.RetryRunWithResponse(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return started(cmd, client, answer.JSON201, watch)
		})
	watchFlag(command, &watch)
	return command
}

func (c *connection) runsFind() *cobra.Command {
	return c.action("find REFERENCE", "Find a run, whichever tenant's, by the number that people have of it", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.FindRunsWithResponse(cmd.Context(), &apiclient.FindRunsParams{Reference: args[0]})
			if err != nil {
				return err
			}
			if len(answer.JSON200.Items) == 0 {
				return tenantry.Errorf(tenantry.NotFound, "there is no run with the reference %s", args[0])
			}
			var rows [][]string
			for _, r := range answer.JSON200.Items {
				rows = append(rows, []string{r.Reference, cmp.Or(r.TenantName, r.Tenant), r.Id, string(r.Action), string(r.State), when(r.CreatedAt), when(r.EndedAt)})
			}
			return table(cmd, "REFERENCE TENANT ID ACTION STATE STARTED ENDED", rows, false)
		})
}

func progress(p apiclient.Counts) string {
	text := count(p.Items)
	if p.Total > p.Items {
		text += "/" + count(p.Total)
	}
	if p.Skipped > 0 {
		text += fmt.Sprintf(" (%d skipped)", p.Skipped)
	}
	return text
}

// freed is what a run that deletes has done: its items are objects of the bucket.
func freed(p apiclient.Counts) []string {
	out := []string{"freed", fmt.Sprintf("%s in %s objects", byteSize(p.Bytes), count(p.Items))}
	if p.Skipped > 0 {
		out = append(out, "locked", count(p.Skipped)+" objects stay until their locks end")
	}
	if p.Total > 0 {
		out = append(out, "dropped", count(p.Total)+" snapshots", "freed later", "what these alone needed: by a prune three hours after this one or more, shared content by a collection then")
	}
	if p.Stored > 0 {
		out = append(out, "written", byteSize(p.Stored)+" anew")
	}
	return out
}

// found is what a backup has found so far; "" where it has done all of that.
func found(p apiclient.Counts) string {
	if p.Found <= p.Items && p.FoundBytes <= p.Bytes {
		return ""
	}
	return fmt.Sprintf("%s items, %s", count(p.Found), byteSize(p.FoundBytes))
}

func read(p apiclient.Counts, e apiclient.Estimate) string {
	if e.Bytes > p.Bytes {
		return byteSize(p.Bytes) + " of about " + byteSize(e.Bytes)
	}
	return byteSize(p.Bytes)
}

func rate(e apiclient.Estimate) string {
	if e.ItemsPerSecond == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f items/s, %s/s", e.ItemsPerSecond, byteSize(int64(e.BytesPerSecond)))
}

// mayEnd is when a run may end, and which account of Microsoft's allows it no sooner.
func mayEnd(e apiclient.Estimate) string {
	text := when(e.CompletesAt)
	if e.Binding != "" {
		text += fmt.Sprintf(" (%s allows the rest in %s at best)", e.Binding, time.Duration(e.TakesSeconds)*time.Second)
	}
	return text
}

func showRun(cmd *cobra.Command, r *apiclient.Run) error {
	about := []string{
		"id", r.Id, "reference", r.Reference, "tenant", cmp.Or(r.TenantName, r.Tenant), "policy", cmp.Or(r.PolicyName, r.Policy), "action", string(r.Action), "trigger", string(r.Trigger),
		"retry of", r.RetryOf, "state", string(r.State), "canceled", when(r.CanceledAt),
		"tasks", fmt.Sprintf("%d, %d done, %d failed, %d canceled", r.Tasks, r.TasksDone, r.TasksFailed, r.TasksCanceled),
	}
	switch r.Action {
	case apiclient.RunActionPrune, apiclient.RunActionCollect:
		about = append(about, freed(r.Progress)...)
	default:
		about = append(about, "items", progress(r.Progress), "found", found(r.Progress), "read", read(r.Progress, r.Estimate),
			"stored", byteSize(r.Progress.Stored))
	}
	err := fields(cmd, append(about, "started", when(r.CreatedAt), "ended", when(r.EndedAt), "rate", rate(r.Estimate), "may end", mayEnd(r.Estimate))...)
	if err != nil || len(r.Problems) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
		return err
	}
	var rows [][]string
	for _, p := range r.Problems {
		rows = append(rows, []string{p.Task, cmp.Or(p.ResourceName, p.Resource), p.Workload, string(p.State), p.Kind, count(p.Skipped), p.Reason})
	}
	if err := table(cmd, "TASK RESOURCE WORKLOAD STATE KIND SKIPPED REASON", rows, false); err != nil {
		return err
	}
	if r.MoreProblems {
		cmd.PrintErrln("There may be more problems: see runs tasks.")
	}
	return nil
}
