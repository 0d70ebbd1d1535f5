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

func seatsCommand(c *connection) *cobra.Command {
	return group("seats", "Licences: who takes one, since when, by which rule",
		c.seatsShow(), c.seatsSet(), c.seatsList(), c.seatsCount(), c.seatsAssign(), c.seatsRevoke())
}

func showLicensing(cmd *cobra.Command, l *apiclient.Licensing) error {
	return fields(cmd, "mode", string(l.Mode), "taken", count(l.Used)+quotas(l.SoftQuota, l.HardQuota), "who takes one", wordsOf(l.Take, ", "))
}

func (c *connection) seatsShow() *cobra.Command {
	return c.action("show TENANT", "Show how a tenant's seats are counted, and how many are taken", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetLicensingWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return showLicensing(cmd, answer.JSON200)
		})
}

func (c *connection) seatsSet() *cobra.Command {
	var manual bool
	var soft, hard int64
	var take []string
	command := c.action("set TENANT", "Set how a tenant's seats are counted; flags that are not given leave things as they are", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			now, err := client.GetLicensingWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			l, flags := now.JSON200, cmd.Flags()
			set := apiclient.NewLicensing{Mode: apiclient.NewLicensingMode(l.Mode), SoftQuota: l.SoftQuota, HardQuota: l.HardQuota}
			set.Take = []apiclient.NewLicensingTake{}
			for _, class := range l.Take {
				set.Take = append(set.Take, apiclient.NewLicensingTake(class))
			}
			if flags.Changed("manual") {
				set.Mode = apiclient.NewLicensingMode(map[bool]string{true: "manual", false: "automatic"}[manual])
			}
			if flags.Changed("soft") {
				set.SoftQuota = soft
			}
			if flags.Changed("hard") {
				set.HardQuota = hard
			}
			if flags.Changed("take") {
				set.Take = append([]apiclient.NewLicensingTake{}, words[apiclient.NewLicensingTake](take)...)
			}
			answer, err := client.SetLicensingWithResponse(cmd.Context(), args[0], &apiclient.SetLicensingParams{IfMatch: now.HTTPResponse.Header.Get("ETag")}, set)
			if err != nil {
				return err
			}
			return showLicensing(cmd, answer.JSON200)
		})
	command.Flags().BoolVar(&manual, "manual", false, "protect those alone who were given a seat; --manual=false gives one to whoever needs it")
	command.Flags().Int64Var(&soft, "soft", 0, "raise an alarm from so many seats on; 0: never")
	command.Flags().Int64Var(&hard, "hard", 0, "protect no newcomers beyond so many seats; 0: no end")
	command.Flags().StringSliceVar(&take, "take", nil, "who takes a seat: user, shared, room, equipment, unlicensed, group, team, site, departed")
	return command
}

func (c *connection) seatsList() *cobra.Command {
	var month string
	var file bool
	command := c.action("list TENANT", "List who had a seat in a month, and by which rule", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			if file {
				answer, err := client.FetchSeatsWithResponse(cmd.Context(), args[0], &apiclient.FetchSeatsParams{Month: given[string](month)})
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(answer.Body)
				return err
			}
			seats, more, err := all(c.limit, func(p pager) ([]apiclient.Seat, string, error) {
				answer, err := client.ListSeatsWithResponse(cmd.Context(), args[0], &apiclient.ListSeatsParams{After: p.after, Limit: p.limit, Month: given[string](month)})
				if err != nil {
					return nil, "", err
				}
				return answer.JSON200.Items, answer.JSON200.Next, nil
			})
			if err != nil {
				return err
			}
			var rows [][]string
			for _, s := range seats {
				rows = append(rows, []string{s.Resource, s.Name, s.Address, s.Rule, s.AssignedBy, when(s.Since), when(s.Until)})
			}
			return table(cmd, "RESOURCE NAME ADDRESS RULE ASSIGNED-BY SINCE UNTIL", rows, more)
		})
	monthFlags(command, &month, &file)
	return command
}

func monthFlags(command *cobra.Command, month *string, file *bool) {
	command.Flags().StringVar(month, "month", "", "YYYY-MM, of UTC (default the present one)")
	command.Flags().BoolVar(file, "csv", false, "print all of it as CSV")
}

func (c *connection) seatsCount() *cobra.Command {
	var month string
	var file bool
	command := c.action("count", "Count the seats of all tenants in a month, by rule", 0,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
			if file {
				answer, err := client.FetchSeatCountsWithResponse(cmd.Context(), &apiclient.FetchSeatCountsParams{Month: given[string](month)})
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(answer.Body)
				return err
			}
			counts, more, err := all(c.limit, func(p pager) ([]apiclient.SeatCount, string, error) {
				answer, err := client.CountSeatsWithResponse(cmd.Context(), &apiclient.CountSeatsParams{After: p.after, Limit: p.limit, Month: given[string](month)})
				if err != nil {
					return nil, "", err
				}
				return answer.JSON200.Items, answer.JSON200.Next, nil
			})
			if err != nil {
				return err
			}
			var rows [][]string
			for _, s := range counts {
				rows = append(rows, []string{s.Tenant, s.Name, s.Rule, count(s.Seats)})
			}
			return table(cmd, "TENANT NAME RULE SEATS", rows, more)
		})
	monthFlags(command, &month, &file)
	return command
}

func (c *connection) seatsAssign() *cobra.Command {
	return c.seatsByHand("assign TENANT RESOURCE...", "Give seats by hand; all named get one, or none does",
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, tenant string, change apiclient.SeatChange) (*apiclient.Licensing, error) {
			answer, err := client.AssignSeatsWithResponse(cmd.Context(), tenant, change)
			if err != nil {
				return nil, err
			}
			return answer.JSON200, nil
		})
}

func (c *connection) seatsRevoke() *cobra.Command {
	return c.seatsByHand("revoke TENANT RESOURCE...", "Take seats by hand",
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, tenant string, change apiclient.SeatChange) (*apiclient.Licensing, error) {
			answer, err := client.RevokeSeatsWithResponse(cmd.Context(), tenant, change)
			if err != nil {
				return nil, err
			}
			return answer.JSON200, nil
		})
}

func (c *connection) seatsByHand(use, short string, change func(*cobra.Command, *apiclient.ClientWithResponses, string, apiclient.SeatChange) (*apiclient.Licensing, error)) *cobra.Command {
	command := c.action(use, short, 2, func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
		l, err := change(cmd, client, args[0], apiclient.SeatChange{Resources: args[1:]})
		if err != nil {
			return err
		}
		return showLicensing(cmd, l)
	})
	command.Args = cobra.MinimumNArgs(2)
	return command
}

func coverageCommand(c *connection) *cobra.Command {
	var file bool
	command := c.action("coverage [TENANT]", "Count resources by how well they are protected: of a tenant, or of all", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			if file {
				return coverageFile(cmd, client, args)
			}
			if len(args) == 1 {
				answer, err := client.GetCoverageWithResponse(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return table(cmd, coverageHeader, [][]string{coverageRow(*answer.JSON200)}, false)
			}
			var total apiclient.Coverage
			tenants, more, err := all(c.limit, func(p pager) ([]apiclient.Coverage, string, error) {
				answer, err := client.GetFleetCoverageWithResponse(cmd.Context(), &apiclient.GetFleetCoverageParams{After: p.after, Limit: p.limit})
				if err != nil {
					return nil, "", err
				}
				total = answer.JSON200.Total
				return answer.JSON200.Items, answer.JSON200.Next, nil
			})
			if err != nil {
				return err
			}
			total.Tenant = "(all)"
			rows, regions := [][]string{coverageRow(total)}, map[string]bool{}
			for _, t := range tenants {
				rows, regions[t.Region] = append(rows, coverageRow(t)), true
			}
			if len(regions) < 2 {
				return table(cmd, coverageHeader, rows, more)
			}
			for i := range rows {
				region := "(all)"
				if i > 0 {
					region = tenants[i-1].Region
				}
				rows[i] = slices.Insert(rows[i], 2, region)
			}
			return table(cmd, strings.Replace(coverageHeader, " NAME ", " NAME REGION ", 1), rows, more)
		})
	command.Args = cobra.MaximumNArgs(1)
	command.Flags().BoolVar(&file, "csv", false, "print all of it as CSV, with a column for each reason")
	return command
}

// coverageFile prints the file of a tenant, or of all.
func coverageFile(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
	var body []byte
	if len(args) == 1 {
		answer, err := client.FetchCoverageWithResponse(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		body = answer.Body
	} else {
		answer, err := client.FetchFleetCoverageWithResponse(cmd.Context())
		if err != nil {
			return err
		}
		body = answer.Body
	}
	_, err := cmd.OutOrStdout().Write(body)
	return err
}

const coverageHeader = "TENANT NAME ELIGIBLE COVERED WITHIN STALE NEVER PAUSED EXCLUDED UNPROTECTED"

func coverageRow(v apiclient.Coverage) []string {
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(v.Unprotected)) {
		reasons = append(reasons, fmt.Sprintf("%s=%d", reason, v.Unprotected[reason]))
	}
	return []string{
		v.Tenant, v.Name, count(v.Eligible), count(v.Covered), count(v.WithinObjective), count(v.Stale), count(v.NeverBackedUp), count(v.Paused),
		count(v.Excluded), strings.Join(reasons, " "),
	}
}

func (c *connection) resourcesWhy() *cobra.Command {
	return c.action("why TENANT RESOURCE", "Show why a resource is protected, or why not", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetProtectionWithResponse(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			p := answer.JSON200
			seat := "needs none (" + p.SeatClass + ")"
			switch {
			case p.Seat.Rule != "":
				seat = p.Seat.Rule + " since " + when(p.Seat.Since)
			case p.NeedsSeat:
				seat = "none, and it needs one (" + p.SeatClass + ")"
			}
			if err := fields(cmd, "name", p.Name, "state", p.State, "standing", p.Standing, "seat", seat, "rule", p.Rule); err != nil {
				return err
			}
			called := map[string]string{}
			for _, part := range p.Policies {
				called[part.Policy] = part.Name
			}
			var rows [][]string
			for _, w := range p.Workloads {
				fresh := map[bool]string{true: "stale", false: "fresh"}[w.Stale]
				if w.SavedAt.IsZero() {
					fresh = "never backed up"
				}
				rows = append(rows, []string{w.Workload, cmp.Or(called[w.Policy], w.Policy), when(w.NextDue), when(w.SavedAt), fresh})
			}
			if err := table(cmd, "WORKLOAD POLICY NEXT SAVED AGE", rows, false); err != nil {
				return err
			}
			rows = nil
			for _, part := range p.Policies {
				excluded := map[bool]string{true: "excluded", false: part.Reach}[part.Excluded]
				rows = append(rows, []string{part.Policy, part.Name, part.State, excluded, part.Standing, strings.Join(part.Protects, ",")})
			}
			return table(cmd, "POLICY NAME STATE REACH STANDING PROTECTS", rows, false)
		})
}
