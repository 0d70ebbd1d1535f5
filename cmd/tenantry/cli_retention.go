package main

import (
	"cmp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// rulesFlags are the rules of retention, as flags.
type rulesFlags struct {
	rules apiclient.Retention
	until string
}

func (f *rulesFlags) add(flags *pflag.FlagSet) {
	r := &f.rules
	flags.Int64Var(&r.Last, "last", 0, "keep the newest so many")
	flags.Int64Var(&r.Hourly, "hourly", 0, "keep the newest of each of so many hours")
	flags.Int64Var(&r.Daily, "daily", 0, "of so many days")
	flags.Int64Var(&r.Weekly, "weekly", 0, "of so many weeks")
	flags.Int64Var(&r.Monthly, "monthly", 0, "of so many months")
	flags.Int64Var(&r.Yearly, "yearly", 0, "of so many years")
	flags.StringVar(&f.until, "until", "", "keep everything until that day, YYYY-MM-DD")
	flags.Int64Var(&r.DepartedDays, "departed-days", 0, "drop the last snapshots so many days after a resource left Microsoft 365 (default: never)")
}

func (f *rulesFlags) read() (apiclient.Retention, error) {
	if f.until == "" {
		return f.rules, nil
	}
	day, err := time.Parse(time.DateOnly, f.until)
	if err != nil {
		return f.rules, tenantry.Errorf(tenantry.Invalid, "--until is %q; it may be a day, YYYY-MM-DD", f.until)
	}
	f.rules.Until = day
	return f.rules, nil
}

func (c *connection) policiesRetention() *cobra.Command {
	var flags rulesFlags
	command := c.action("retention TENANT POLICY", "Set which snapshots a policy keeps; without rules all", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			rules, err := flags.read()
			if err != nil {
				return err
			}
			_, err = client.SetRetentionWithResponse(cmd.Context(), args[0], args[1], nil, rules)
			return err
		})
	flags.add(command.Flags())
	return command
}

func (c *connection) policiesPreview() *cobra.Command {
	var flags rulesFlags
	command := c.action("retention-preview TENANT POLICY", "Show which snapshots would go with the next prune, under the policy's rules or, with flags, under others", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			rules, err := flags.read()
			if err != nil {
				return err
			}
			proposed := rules != (apiclient.Retention{})
			series, more, err := all(c.limit, func(p pager) ([]apiclient.Retained, string, error) {
				if proposed {
					answer, err := client.ProposeRetentionWithResponse(cmd.Context(), args[0], args[1], &apiclient.ProposeRetentionParams{After: p.after}, rules)
					if err != nil {
						return nil, "", err
					}
					return answer.JSON200.Items, answer.JSON200.Next, nil
				}
				answer, err := client.PreviewRetentionWithResponse(cmd.Context(), args[0], args[1], &apiclient.PreviewRetentionParams{After: p.after})
				if err != nil {
					return nil, "", err
				}
				return answer.JSON200.Items, answer.JSON200.Next, nil
			})
			if err != nil {
				return err
			}
			return table(cmd, "RESOURCE WORKLOAD SNAPSHOT TIME VERDICT RULES", verdicts(series), more)
		})
	flags.add(command.Flags())
	return command
}

// verdicts are the rows of a preview.
func verdicts(series []apiclient.Retained) (rows [][]string) {
	for _, s := range series {
		for _, snapshot := range s.Snapshots {
			verdict := "goes"
			if snapshot.Keep {
				verdict = "stays"
			}
			rows = append(rows, []string{cmp.Or(s.ResourceName, s.Resource), s.Workload, count(snapshot.Seq), when(snapshot.Time), verdict, strings.Join(snapshot.Rules, ", ")})
		}
	}
	return rows
}

func holdsCommand(c *connection) *cobra.Command {
	return group("holds", "Legal holds: nothing is dropped", c.holdsList(), c.holdsSet(), c.holdsLift())
}

func (c *connection) holdsList() *cobra.Command {
	return c.action("list TENANT", "List the legal holds of a tenant", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.ListHoldsWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var rows [][]string
			for _, h := range answer.JSON200.Items {
				rows = append(rows, []string{cmp.Or(h.ResourceName, h.Resource, "(whole tenant)"), h.Reason, h.Actor, when(h.At)})
			}
			return table(cmd, "RESOURCE REASON BY SINCE", rows, false)
		})
}

func (c *connection) holdsSet() *cobra.Command {
	var resource string
	command := c.action("set TENANT REASON", "Hold a resource, or the whole tenant", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			_, err := client.SetHoldWithResponse(cmd.Context(), args[0], apiclient.NewHold{Reason: args[1], Resource: resource})
			return err
		})
	command.Flags().StringVar(&resource, "resource", "", "ID of the resource (default: the whole tenant)")
	return command
}

func (c *connection) holdsLift() *cobra.Command {
	var resource string
	command := c.action("lift TENANT", "Lift a legal hold", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			params := &apiclient.LiftHoldParams{}
			if resource != "" {
				params.Resource = &resource
			}
			_, err := client.LiftHoldWithResponse(cmd.Context(), args[0], params)
			return err
		})
	command.Flags().StringVar(&resource, "resource", "", "ID of the resource (default: the hold of the whole tenant)")
	return command
}

func pruneCommand(c *connection) *cobra.Command {
	return group("prune", "Drop snapshots now, and free what they needed", c.pruneSeries(), c.pruneAcknowledge(), c.pruneCollect())
}

func (c *connection) pruneSeries() *cobra.Command {
	return c.action("series TENANT RESOURCE WORKLOAD", "Prune a series now; its task tells what was freed (items, bytes)", 3,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.StartPruneWithResponse(cmd.Context(), args[0], args[1], apiclient.StartPruneParamsWorkload(args[2]))
			if err != nil {
				return err
			}
			return showRun(cmd, answer.JSON201)
		})
}

func (c *connection) pruneAcknowledge() *cobra.Command {
	return c.action("acknowledge TENANT RESOURCE WORKLOAD", "Let a series be pruned again that a mass change has suspended", 3,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			_, err := client.AcknowledgeMassChangeWithResponse(cmd.Context(), args[0], args[1], apiclient.AcknowledgeMassChangeParamsWorkload(args[2]))
			return err
		})
}

func (c *connection) pruneCollect() *cobra.Command {
	return c.action("collect TENANT", "Collect shared content that nothing needs; it takes some hours", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.StartCollectionWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return showRun(cmd, answer.JSON201)
		})
}
