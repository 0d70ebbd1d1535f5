package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func searchCommand(c *connection) *cobra.Command {
	var from, to, in, kind, workload, since, before string
	command := c.action("search TENANT TEXT", "Find items by subject, file name, people or folder in the newest snapshots of a tenant (TEXT may be '')", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			query := apiclient.SearchTenantParams{
				Text: given[string](args[1]), From: given[string](from), To: given[string](to), In: given[string](in), Kind: given[string](kind),
				Workload: given[apiclient.SearchTenantParamsWorkload](workload),
			}
			var err error
			if query.Since, err = moment("--since", since); err != nil {
				return err
			}
			if query.Before, err = moment("--before", before); err != nil {
				return err
			}
			var unreadable []apiclient.UnreadableSeries
			items, more, err := all(c.limit, func(p pager) ([]apiclient.FoundItem, string, error) {
				query.After, query.Limit = p.after, p.limit
				answer, err := client.SearchTenantWithResponse(cmd.Context(), args[0], &query)
				if err != nil {
					return nil, "", err
				}
				unreadable = append(unreadable, answer.JSON200.Unreadable...)
				return answer.JSON200.Items, answer.JSON200.Next, nil
			})
			if err != nil {
				return err
			}
			for _, u := range unreadable {
				cmd.PrintErrf("Not searched (%s): %s %s, snapshot %d\n", u.Kind, u.Resource, u.Workload, u.Snapshot)
			}
			var rows [][]string
			for _, i := range items {
				rows = append(rows, []string{i.Resource, i.Workload, count(i.Snapshot), i.Kind, i.Name, i.From, when(i.Date), i.Id})
			}
			return table(cmd, "RESOURCE WORKLOAD SNAPSHOT KIND NAME FROM DATE ID", rows, more)
		})
	flags := command.Flags()
	flags.StringVar(&from, "from", "", "only what has this in the sender")
	flags.StringVar(&to, "to", "", "only what has this in the recipients")
	flags.StringVar(&in, "in", "", "only what lies in a folder with this in its name")
	flags.StringVar(&kind, "kind", "", "only this kind: message, file, ...")
	flags.StringVar(&workload, "workload", "", "only mailbox, drive, site, group or team")
	flags.StringVar(&since, "since", "", "only what came (or else changed) on this day (2026-01-31) or at this time (RFC 3339) or later")
	flags.StringVar(&before, "before", "", "only what came before that")
	return command
}

// moment reads a day, in UTC, or a time.
func moment(flag, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // a flag that was not given
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return &t, nil
		}
	}
	return nil, tenantry.Errorf(tenantry.Invalid, "%s %q is neither a day as 2026-01-31 nor a time as 2026-01-31T08:00:00Z", flag, text)
}
