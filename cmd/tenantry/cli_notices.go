package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func noticesCommand(c *connection) *cobra.Command {
	return group("notices", "Who is told what by mail, and what became of the mails",
		c.noticesList(), c.noticesSet(), c.noticesRemove(), c.noticesTest(), c.noticesReport(), c.noticesMails(), c.noticesFleet())
}

// noticeFlags change the settings that there are: what is not given stays.
type noticeFlags struct {
	addresses, events         []string
	report, at, weekday, zone string
	problems, stopped         bool
	test, reportNow, listMail bool
	stale                     int64
}

func (f *noticeFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.addresses, "address", nil, "mail addresses, with commas between")
	flags.StringSliceVar(&f.events, "events", nil, "mails of a first backup: accepted, listed, progress, completed, failed; or none (default: all)")
	flags.StringVar(&f.report, "report", "", "how often a report is sent: off, daily, weekly")
	flags.StringVar(&f.at, "at", "", "local time of day of reports and digests, HH:MM (default 07:00)")
	flags.StringVar(&f.weekday, "weekday", "", "day of weekly reports (default monday)")
	flags.StringVar(&f.zone, "time-zone", "", "IANA name (default: that of the tenant's first policy)")
	flags.BoolVar(&f.problems, "problems", false, "tell of failures, stale backups and alarms at once")
	flags.Int64Var(&f.stale, "stale-hours", 0, "how old the newest restore point may be (default: the objective of its policy)")
	flags.BoolVar(&f.stopped, "stop", false, "send nothing, and keep the rest; --stop=false goes on")
}

// change is the settings with what was given on the command line.
func (f *noticeFlags) change(flags *pflag.FlagSet, old apiclient.Notices) apiclient.NewNotices {
	n := apiclient.NewNotices{
		To: old.To, Events: words[apiclient.NewNoticesEvents](texts(old.Events)), Report: apiclient.NewNoticesReport(old.Report), At: old.At,
		Weekday: apiclient.NewNoticesWeekday(old.Weekday), TimeZone: old.TimeZone, Problems: old.Problems, StaleHours: old.StaleHours, Stopped: old.Stopped,
	}
	flags.Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "address":
			n.To = f.addresses
		case "events":
			n.Events = words[apiclient.NewNoticesEvents](f.events)
		case "report":
			n.Report = apiclient.NewNoticesReport(f.report)
		case "at":
			n.At = f.at
		case "weekday":
			n.Weekday = apiclient.NewNoticesWeekday(f.weekday)
		case "time-zone":
			n.TimeZone = f.zone
		case "problems":
			n.Problems = f.problems
		case "stale-hours":
			n.StaleHours = f.stale
		case "stop":
			n.Stopped = f.stopped
		}
	})
	if n.To == nil {
		n.To = []string{}
	}
	return n
}

// texts is the opposite of words.
func texts[T ~string](list []T) (out []string) {
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

const noticeHeader = "POLICY ADDRESSES FIRST-BACKUP REPORT PROBLEMS STOPPED NEXT-REPORT"

func noticeRow(n apiclient.Notices) []string {
	report := string(n.Report)
	switch n.Report {
	case apiclient.NoticesReportDaily:
		report += " " + n.At
	case apiclient.NoticesReportWeekly:
		report += " " + string(n.Weekday) + " " + n.At
	}
	if n.TimeZone != "" && report != string(n.Report) {
		report += " " + n.TimeZone
	}
	return []string{cmp.Or(n.PolicyName, n.Policy, "(all)"), strings.Join(n.To, ","), strings.Join(texts(n.Events), ","), report, yes(n.Problems), yes(n.Stopped), when(n.NextReport)}
}

func (c *connection) noticesList() *cobra.Command {
	return c.action("list TENANT", "Show who is told what about a tenant and its policies", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.ListNoticesWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var rows [][]string
			for _, n := range answer.JSON200.Items {
				rows = append(rows, noticeRow(n))
			}
			return table(cmd, noticeHeader, rows, false)
		})
}

func (c *connection) noticesSet() *cobra.Command {
	var flags noticeFlags
	var policy string
	command := c.action("set TENANT", "Say who is told what about a tenant, or a policy; what is not given stays as it is", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			list, err := client.ListNoticesWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var old apiclient.Notices
			if i := slices.IndexFunc(list.JSON200.Items, func(n apiclient.Notices) bool { return n.Policy == policy }); i >= 0 {
				old = list.JSON200.Items[i]
			}
			wanted := flags.change(cmd.Flags(), old)
			if policy != "" {
				answer, err := client.SetPolicyNoticesWithResponse(cmd.Context(), args[0], policy, &apiclient.SetPolicyNoticesParams{IfMatch: old.Etag}, wanted)
				if err != nil {
					return err
				}
				return table(cmd, noticeHeader, [][]string{noticeRow(*answer.JSON200)}, false)
			}
			answer, err := client.SetNoticesWithResponse(cmd.Context(), args[0], &apiclient.SetNoticesParams{IfMatch: old.Etag}, wanted)
			if err != nil {
				return err
			}
			return table(cmd, noticeHeader, [][]string{noticeRow(*answer.JSON200)}, false)
		})
	flags.add(command.Flags())
	command.Flags().StringVar(&policy, "policy", "", "ID of the policy (default: the whole tenant)")
	return command
}

func (c *connection) noticesRemove() *cobra.Command {
	var policy string
	command := c.action("remove TENANT", "Tell nobody any more, and forget their addresses", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			_, err := client.RemoveNoticesWithResponse(cmd.Context(), args[0], &apiclient.RemoveNoticesParams{Policy: given[string](policy)})
			return err
		})
	command.Flags().StringVar(&policy, "policy", "", "ID of the policy (default: those of the tenant)")
	return command
}

func (c *connection) noticesTest() *cobra.Command {
	return c.action("test TENANT", "Send a test mail to everybody who is told about a tenant; notices mails shows what became of it", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			_, err := client.TestNoticesWithResponse(cmd.Context(), args[0])
			return mailed(cmd, err, args[0])
		})
}

func (c *connection) noticesReport() *cobra.Command {
	var policy string
	command := c.action("report TENANT", "Send the daily or weekly report now; the next one comes at its time", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			_, err := client.SendReportWithResponse(cmd.Context(), args[0], &apiclient.SendReportParams{Policy: given[string](policy)})
			return mailed(cmd, err, args[0])
		})
	command.Flags().StringVar(&policy, "policy", "", "ID of the policy (default: the report about the whole tenant)")
	return command
}

// mailed says where to see what becomes of a mail: the scheduler sends it, not the API that took the request.
func mailed(cmd *cobra.Command, err error, tenant string) error {
	if err == nil {
		cmd.PrintErrf("The scheduler sends it, if it has a mail server: tenantry notices mails %s\n", tenant)
	}
	return err
}

func (c *connection) noticesMails() *cobra.Command {
	return listing(c, "mails TENANT", "List the mails about a tenant, newest first, and what became of them", mailHeader,
		func(a asking) ([]apiclient.Mail, string, error) {
			answer, err := a.client.ListMailsWithResponse(a.ctx, a.args[0], &apiclient.ListMailsParams{After: a.after, Limit: a.limit})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		mailRow)
}

const mailHeader = "TIME EVENT TO STATE TRIES SUBJECT REASON"

func mailRow(m apiclient.Mail) []string {
	return []string{when(m.CreatedAt), m.Event, m.To, string(m.State), count(m.Attempts), m.Subject, m.Reason}
}

func (c *connection) noticesFleet() *cobra.Command {
	var flags noticeFlags
	command := c.action("fleet", "Show or, with flags, say what the provider is told about the fleet", 0,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
			switch {
			case flags.test:
				_, err := client.TestFleetNoticesWithResponse(cmd.Context())
				return err
			case flags.reportNow:
				_, err := client.SendFleetReportWithResponse(cmd.Context())
				return err
			case flags.listMail:
				answer, err := client.ListFleetMailsWithResponse(cmd.Context(), &apiclient.ListFleetMailsParams{})
				if err != nil {
					return err
				}
				var rows [][]string
				for _, m := range answer.JSON200.Items {
					rows = append(rows, mailRow(m))
				}
				return table(cmd, mailHeader, rows, answer.JSON200.Next != "")
			}
			answer, err := client.GetFleetNoticesWithResponse(cmd.Context())
			if err != nil {
				return err
			}
			shown := *answer.JSON200
			if given := settingFlags(cmd.Flags()); given {
				set, err := client.SetFleetNoticesWithResponse(cmd.Context(), &apiclient.SetFleetNoticesParams{IfMatch: shown.Etag}, flags.change(cmd.Flags(), shown))
				if err != nil {
					return err
				}
				shown = *set.JSON200
			}
			return table(cmd, noticeHeader, [][]string{noticeRow(shown)}, false)
		})
	flags.add(command.Flags())
	command.Flags().BoolVar(&flags.test, "test", false, "send a test mail to the provider's addresses")
	command.Flags().BoolVar(&flags.reportNow, "report-now", false, "send the provider's report now")
	command.Flags().BoolVar(&flags.listMail, "mails", false, "list the mails to the provider, and what became of them")
	return command
}

// settingFlags reports whether a setting was given.
func settingFlags(flags *pflag.FlagSet) (given bool) {
	var known pflag.FlagSet
	new(noticeFlags).add(&known)
	flags.Visit(func(flag *pflag.Flag) { given = given || known.Lookup(flag.Name) != nil })
	return given
}
