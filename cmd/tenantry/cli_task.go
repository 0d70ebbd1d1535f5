package main

import (
	"fmt"

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
			err = fields(cmd, "id", t.Id, "resource", t.Resource, "workload", t.Workload, "action", string(t.Action), "state", string(t.State),
				"items", progress(t.Progress), "read", byteSize(t.Progress.Bytes), "stored", byteSize(t.Progress.Stored),
				"kind", t.Kind, "reason", t.Reason, "not before", when(t.NotBefore), "started", when(t.StartedAt), "ended", when(t.EndedAt))
			if err != nil || len(t.Problems) == 0 {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
				return err
			}
			var rows [][]string
			for _, p := range t.Problems {
				rows = append(rows, []string{p.Item, p.Name, p.Kind, lastGood(p), nextTry(p), p.Reason})
			}
			return table(cmd, "ITEM NAME KIND LAST-GOOD NEXT-TRY REASON", rows, t.Progress.Skipped > int64(len(t.Problems)))
		})
}

func lastGood(p apiclient.ItemProblem) string {
	if p.LastGood == 0 {
		return ""
	}
	return fmt.Sprintf("snapshot %d", p.LastGood)
}

func nextTry(p apiclient.ItemProblem) string {
	switch at := when(p.NextTry); {
	case at != "":
		return at
	case p.Retry == apiclient.NextBackup:
		return "next backup"
	case p.Retry == apiclient.WhenChanged:
		return "when it changes"
	}
	return ""
}
