package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

// runsTask shows one task, and the items that it could not take.
func (c *connection) runsTask() *cobra.Command {
	return c.action("task TENANT RUN TASK", "Show a task, and the items it could not take: why, what was saved last, when it is tried again", 3,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetTaskWithResponse(cmd.Context(), args[0], args[1], args[2])
			if err != nil {
				return err
			}
			t := answer.JSON200
			err = fields(cmd, "id", t.Id, "resource", cmp.Or(t.ResourceName, t.Resource), "workload", t.Workload, "action", string(t.Action), "state", string(t.State),
				"items", progress(t.Progress), "found", found(t.Progress), "read", read(t.Progress, t.Estimate), "stored", byteSize(t.Progress.Stored),
				"kind", t.Kind, "reason", t.Reason, "not before", when(t.NotBefore), "started", when(t.StartedAt), "ended", when(t.EndedAt),
				"rate", rate(t.Estimate), "may end", mayEnd(t.Estimate))
			if err != nil || len(t.Problems) == 0 {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
				return err
			}
			var rows [][]string
			for _, p := range t.Problems {
				rows = append(rows, []string{p.Item, p.Name, p.Kind, lastGood(p.LastGood), nextTry(string(p.Retry), p.NextTry), p.Reason})
			}
			return table(cmd, "ITEM NAME KIND LAST-GOOD NEXT-TRY REASON", rows, t.Progress.Skipped > int64(len(t.Problems)))
		})
}

// runsFailures lists what all tasks of a run could not take.
func (c *connection) runsFailures() *cobra.Command {
	return listing(c, "failures TENANT RUN", "List the items that a run could not take: why, what was saved last, when they are tried again",
		"RESOURCE WORKLOAD ITEM NAME KIND LAST-GOOD NEXT-TRY REASON",
		func(a asking) ([]apiclient.ItemFailure, string, error) {
			answer, err := a.client.ListFailuresWithResponse(a.ctx, a.args[0], a.args[1], &apiclient.ListFailuresParams{After: a.after, Limit: a.limit})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		func(f apiclient.ItemFailure) []string {
			return []string{cmp.Or(f.ResourceName, f.Resource), f.Workload, f.Item, f.Name, f.Kind, lastGood(f.LastGood), nextTry(string(f.Retry), f.NextTry), f.Reason}
		})
}

func lastGood(snapshot int64) string {
	if snapshot == 0 {
		return ""
	}
	return fmt.Sprintf("snapshot %d", snapshot)
}

// nextTry says when an item is asked for again, or what has to happen first.
func nextTry(retry string, at time.Time) string {
	switch {
	case !at.IsZero():
		return when(at)
	case retry == string(apiclient.ItemProblemRetryNextBackup):
		return "next backup"
	case retry == string(apiclient.ItemProblemRetryWhenChanged):
		return "when it changes"
	}
	return ""
}
