package main

import (
	"cmp"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func searchCommand(c *connection) *cobra.Command {
	var n apiclient.NewSearch
	var workload, since, before string
	var task bool
	command := c.action("search TENANT TEXT", "Find items by subject, file name, people or folder in the newest snapshots of a tenant, or in all (TEXT may be '')", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			n.Text, n.Workload = args[1], apiclient.NewSearchWorkload(workload)
			for flag, text := range map[string]string{"--since": since, "--before": before} {
				at, err := moment(flag, text)
				if err != nil {
					return err
				}
				if at != nil {
					*map[string]*time.Time{"--since": &n.Since, "--before": &n.Before}[flag] = *at
				}
			}
			if !task && !n.All {
				many, err := c.searchNow(cmd, client, args[0], n)
				if err != nil || !many {
					return err
				}
				cmd.PrintErrln("The tenant has more than a few series: searching as a task.")
			}
			answer, err := client.StartSearchWithResponse(cmd.Context(), args[0], n)
			if err != nil {
				return err
			}
			if err := awaited(cmd, client, answer.JSON201); err != nil {
				return err
			}
			return c.foundBy(cmd, client, args[0], answer.JSON201.Id)
		})
	flags := command.Flags()
	flags.StringVar(&n.From, "from", "", "only what has this in the sender")
	flags.StringVar(&n.To, "to", "", "only what has this in the recipients")
	flags.StringVar(&n.In, "in", "", "only what lies in a folder with this in its name")
	flags.StringVar(&n.Kind, "kind", "", "only this kind: message, file, ...")
	flags.StringVar(&workload, "workload", "", "only mailbox, drive, site, group or team")
	flags.StringVar(&since, "since", "", "only what came (or else changed) on this day (2026-01-31) or at this time (RFC 3339) or later")
	flags.StringVar(&before, "before", "", "only what came before that")
	flags.BoolVar(&n.All, "all-snapshots", false, "in all snapshots: also what was deleted or changed since (a task)")
	flags.BoolVar(&task, "task", false, "as a task of a worker, also if there are only a few series; its result is kept for a week")
	command.AddCommand(searchResult(c))
	return command
}

// searchNow searches while somebody waits, unless there are more than a few series.
func (c *connection) searchNow(cmd *cobra.Command, client *apiclient.ClientWithResponses, tenant string, n apiclient.NewSearch) (many bool, err error) {
	query := apiclient.SearchTenantParams{
		Text: given[string](n.Text), From: given[string](n.From), To: given[string](n.To), In: given[string](n.In),
		Kind: given[string](n.Kind), Workload: given[apiclient.SearchTenantParamsWorkload](string(n.Workload)),
	}
	if !n.Since.IsZero() {
		query.Since = &n.Since
	}
	if !n.Before.IsZero() {
		query.Before = &n.Before
	}
	var unreadable []apiclient.UnreadableSeries
	items, more, err := all(c.limit, func(p pager) ([]apiclient.FoundItem, string, error) {
		query.After, query.Limit = p.after, p.limit
		answer, err := client.SearchTenantWithResponse(cmd.Context(), tenant, &query)
		if err != nil {
			return nil, "", err
		}
		if answer.JSON200.Many {
			many = true
			return nil, "", nil
		}
		unreadable = append(unreadable, answer.JSON200.Unreadable...)
		return answer.JSON200.Items, answer.JSON200.Next, nil
	})
	if err != nil || many {
		return many, err
	}
	notSearched(cmd, unreadable)
	return false, foundTable(cmd, items, more)
}

// searchResult shows what an earlier search found.
func searchResult(c *connection) *cobra.Command {
	return c.action("result TENANT RUN", "Show what a search that ran as a task found", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			return c.foundBy(cmd, client, args[0], args[1])
		})
}

func (c *connection) foundBy(cmd *cobra.Command, client *apiclient.ClientWithResponses, tenant, run string) error {
	result, err := client.GetSearchWithResponse(cmd.Context(), tenant, run)
	if err != nil {
		return err
	}
	items, more, err := all(c.limit, func(p pager) ([]apiclient.FoundItem, string, error) {
		answer, err := client.ListFoundWithResponse(cmd.Context(), tenant, run, &apiclient.ListFoundParams{After: p.after, Limit: p.limit})
		if err != nil {
			return nil, "", err
		}
		return answer.JSON200.Items, answer.JSON200.Next, nil
	})
	if err != nil {
		return err
	}
	r := result.JSON200
	notSearched(cmd, r.Unreadable)
	if r.More {
		cmd.PrintErrln("There may be more than was found: ask more narrowly.")
	}
	cmd.PrintErrf("%s found in %s snapshots; kept until %s: tenantry search result %s %s\n",
		count(r.Found), count(r.Snapshots), when(r.RemovedAt), tenant, run)
	return foundTable(cmd, items, more)
}

func notSearched(cmd *cobra.Command, list []apiclient.UnreadableSeries) {
	for _, u := range list {
		cmd.PrintErrf("Not searched (%s): %s %s, snapshot %d\n", u.Kind, cmp.Or(u.ResourceName, u.Resource), u.Workload, u.Snapshot)
	}
}

func foundTable(cmd *cobra.Command, items []apiclient.FoundItem, more bool) error {
	var rows [][]string
	for _, i := range items {
		rows = append(rows, []string{cmp.Or(i.ResourceName, i.Resource), i.Workload, count(i.Snapshot), i.Kind, i.Name, i.From, when(i.Date), i.Id})
	}
	return table(cmd, "RESOURCE WORKLOAD SNAPSHOT KIND NAME FROM DATE ID", rows, more)
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
