package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func policiesCommand(c *connection) *cobra.Command {
	return group("policies", "What is backed up, and when", c.policiesList(), c.policiesShow(), c.policiesAdd(), c.policiesSet(),
		c.policiesForecast(), c.policiesActivate(), c.policiesPause(), c.policiesDelete(), c.policiesRetention(), c.policiesPreview(),
		c.policiesPlanning())
}

func (c *connection) policiesList() *cobra.Command {
	return c.action("list TENANT", "List the policies of a tenant", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.ListPoliciesWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var rows [][]string
			for _, p := range answer.JSON200.Items {
				rows = append(rows, policyRow(p))
			}
			return table(cmd, policyHeader, rows, false)
		})
}

const policyHeader = "ID NAME STATE KINDS NAMED WORKLOADS SCHEDULE ENROL"

func policyRow(p apiclient.Policy) []string {
	return []string{
		p.Id, p.Name, string(p.State), strings.Join(p.Kinds, ","), count(p.Named), strings.Join(p.Workloads, ","),
		scheduleText(p.Schedule), strings.TrimSpace(string(p.Enrol) + " " + p.EnrolAt),
	}
}

// scheduleText puts a schedule into words.
func scheduleText(s apiclient.Schedule) string {
	text := string(s.Kind)
	switch s.Kind {
	case apiclient.ScheduleKindWindow:
		text = fmt.Sprintf("from %s %s, %d min", s.At, s.TimeZone, s.WindowMinutes)
	case apiclient.ScheduleKindEvery:
		text = fmt.Sprintf("every %d h", s.EveryHours)
	case apiclient.ScheduleKindFixed:
		text = fmt.Sprintf("at %s %s", s.At, s.TimeZone)
	case apiclient.ScheduleKindOffPeak:
		text = "off-peak, " + s.TimeZone
	}
	for _, b := range s.Blackouts {
		text += ", not " + strings.TrimSpace(wordsOf(b.Days, ",")+" "+b.From+"-"+b.To)
	}
	return text
}

func (c *connection) policiesShow() *cobra.Command {
	return c.action("show TENANT POLICY", "Show a policy, and whom it names", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetPolicyWithResponse(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return showPolicy(cmd, *answer.JSON200)
		})
}

// zoneOwners say whose time zone a policy has.
var zoneOwners = map[apiclient.PolicyTimeZoneOf]string{
	apiclient.PolicyTimeZoneOfPolicy: "its own", apiclient.PolicyTimeZoneOfTenant: "the tenant's", apiclient.PolicyTimeZoneOfRegion: "the region's",
}

func showPolicy(cmd *cobra.Command, p apiclient.Policy) error {
	pairs := []string{
		"id", p.Id, "name", p.Name, "state", string(p.State), "kinds", strings.Join(p.Kinds, ", "), "workloads", strings.Join(p.Workloads, ", "),
		"schedule", scheduleText(p.Schedule), "time zone", p.Schedule.TimeZone + " (" + zoneOwners[p.TimeZoneOf] + ")", "enrolment", strings.TrimSpace(string(p.Enrol) + " " + p.EnrolAt),
		"objective", (time.Duration(p.ObjectiveMinutes) * time.Minute).String(), "added", when(p.CreatedAt), "activated", when(p.ActivatedAt),
		"feasible", feasible(p.Feasibility), "warning", p.Feasibility.Warning,
		"resources", strings.Join(p.Targets.Resources, " "), "excluded", strings.Join(p.Targets.ExcludeResources, " "),
		"excluded groups", strings.Join(p.Targets.ExcludeGroups, " "), "excluded kinds", wordsOf(p.Targets.ExcludeSubkinds, " "),
	}
	for _, g := range p.Groups {
		state := fmt.Sprintf("%d users, listed %s", g.Members, when(g.ListedAt))
		if g.ListedAt.IsZero() {
			state = "not listed yet"
		}
		if g.Problem != "" {
			state += ": " + g.Problem
		}
		pairs = append(pairs, "group "+g.Group, state)
	}
	return fields(cmd, pairs...)
}

func feasible(f apiclient.Feasibility) string {
	if f.Feasible {
		return "yes"
	}
	return "no"
}

// wordsOf puts words of an enumeration behind each other.
func wordsOf[T ~string](list []T, between string) string {
	parts := make([]string, len(list))
	for i, word := range list {
		parts[i] = string(word)
	}
	return strings.Join(parts, between)
}

// policyFlags describe a policy.
type policyFlags struct {
	kinds, workloads, resources, groups, exclude, excludeGroups, excludeSubkinds, blackouts []string
	enrol, enrolAt, at, zone                                                                string
	window, every, versions                                                                 int64
	fixed, offPeak, daily, mime, recoverable, archives                                      bool
	objective                                                                               time.Duration
}

func (f *policyFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.kinds, "kind", nil, "all of a kind: user, group, site (default user, unless somebody is named)")
	flags.StringSliceVar(&f.resources, "resource", nil, "also this resource; may be repeated")
	flags.StringSliceVar(&f.groups, "group", nil, "also the users in this group (Entra object ID)")
	flags.StringSliceVar(&f.exclude, "exclude", nil, "but not this resource")
	flags.StringSliceVar(&f.excludeGroups, "exclude-group", nil, "nor the users in this group")
	flags.StringSliceVar(&f.excludeSubkinds, "exclude-subkind", nil, "nor this kind of user, group or site: shared, room, equipment, team, subsite, ... (see resources list)")
	flags.StringSliceVar(&f.workloads, "workload", nil, "mailbox, drive, site, group, team (default what the kinds have)")
	flags.StringVar(&f.enrol, "enrol", "", "when newcomers are taken in: automatic (with the sync that finds them, the default), daily (at --enrol-at), present (never)")
	flags.StringVar(&f.enrolAt, "enrol-at", "", "local time of day at which newcomers are taken in, HH:MM")
	flags.BoolVar(&f.daily, "daily", false, "once a day at a stable time of each workload's own, for even load (the default)")
	flags.StringVar(&f.at, "at", "", "spread over a window from this local time of day on, HH:MM; with --fixed all at that time")
	flags.Int64Var(&f.window, "window", 0, "minutes of the window (default 240)")
	flags.BoolVar(&f.fixed, "fixed", false, "start everything at the time --at")
	flags.Int64Var(&f.every, "every", 0, "every so many hours")
	flags.BoolVar(&f.offPeak, "off-peak", false, "spread over the night, in the time zone of the tenant (policies planning)")
	flags.StringVar(&f.zone, "time-zone", "", "IANA time zone, such as Europe/Vienna (default that of the tenant's region)")
	flags.StringArrayVar(&f.blackouts, "blackout", nil, `nothing starts then: "08:00-18:00" or "mon,fri 08:00-18:00"; may be repeated`)
	flags.DurationVar(&f.objective, "objective", 0, "up to this age a backup counts as fresh (default half as long again as the interval)")
	flags.Int64Var(&f.versions, "versions", 0, "save so many old versions of each file")
	flags.BoolVar(&f.mime, "mime", false, "keep each mail as MIME, too: a request more for each")
	flags.BoolVar(&f.recoverable, "recoverable", false, "save what was deleted from mailboxes and can still be recovered, too")
	flags.BoolVar(&f.archives, "archives-preview", false, "look for in-place archives of mailboxes by an identifier of beta, and name them as not saved")
}

// schedule reads the flags of a schedule; nil if there are none.
func (f *policyFlags) schedule() (*apiclient.Schedule, error) {
	s := &apiclient.Schedule{At: f.at, WindowMinutes: f.window, EveryHours: f.every, TimeZone: f.zone}
	kinds := 0
	for _, one := range []struct {
		given bool
		kind  apiclient.ScheduleKind
	}{{f.daily, apiclient.ScheduleKindDaily}, {f.every > 0, apiclient.ScheduleKindEvery}, {f.offPeak, apiclient.ScheduleKindOffPeak}, {f.fixed, apiclient.ScheduleKindFixed}, {f.at != "" && !f.fixed, apiclient.ScheduleKindWindow}} {
		if one.given {
			s.Kind = one.kind
			kinds++
		}
	}
	if kinds > 1 {
		return nil, tenantry.Errorf(tenantry.Invalid, "give one of --daily, --at, --fixed with --at, --every and --off-peak")
	}
	if kinds == 0 && f.zone == "" && f.window == 0 && len(f.blackouts) == 0 {
		return nil, nil
	}
	if kinds == 0 {
		s.Kind = apiclient.ScheduleKindDaily
	}
	for _, text := range f.blackouts {
		b, err := blackout(text)
		if err != nil {
			return nil, err
		}
		s.Blackouts = append(s.Blackouts, b)
	}
	return s, nil
}

// choosesKind reports whether the flags say what kind of schedule it is.
func (f *policyFlags) choosesKind() bool {
	return f.daily || f.every > 0 || f.offPeak || f.fixed || f.at != ""
}

// onto is a schedule after a change of it that chooses no kind.
func onto(now, change apiclient.Schedule) *apiclient.Schedule {
	now.TimeZone = cmp.Or(change.TimeZone, now.TimeZone)
	now.WindowMinutes = cmp.Or(change.WindowMinutes, now.WindowMinutes)
	if len(change.Blackouts) > 0 {
		now.Blackouts = change.Blackouts
	}
	return &now
}

// blackout reads "mon,fri 08:00-18:00".
func blackout(text string) (apiclient.Blackout, error) {
	hours := strings.Fields(text)
	var b apiclient.Blackout
	if len(hours) == 2 {
		b.Days = words[apiclient.BlackoutDays](strings.Split(hours[0], ","))
		hours = hours[1:]
	}
	from, to, found := strings.Cut(strings.Join(hours, " "), "-")
	if !found {
		return b, tenantry.Errorf(tenantry.Invalid, `--blackout is %q; it may be "08:00-18:00" or "mon,fri 08:00-18:00"`, text)
	}
	b.From, b.To = from, to
	return b, nil
}

func (f *policyFlags) targets() apiclient.Targets {
	return apiclient.Targets{
		Resources: f.resources, Groups: f.groups, ExcludeResources: f.exclude, ExcludeGroups: f.excludeGroups,
		ExcludeSubkinds: words[apiclient.TargetsExcludeSubkinds](f.excludeSubkinds),
	}
}

func (c *connection) policiesAdd() *cobra.Command {
	var f policyFlags
	var preview, activate bool
	command := c.action("add TENANT NAME", "Add a policy: all users, daily, as a draft, unless flags say otherwise", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			schedule, err := f.schedule()
			if err != nil {
				return err
			}
			p := apiclient.NewPolicy{
				Name: args[1], Kinds: words[apiclient.NewPolicyKinds](f.kinds), Workloads: words[apiclient.NewPolicyWorkloads](f.workloads),
				Targets: f.targets(), Enrol: apiclient.NewPolicyEnrol(f.enrol), EnrolAt: f.enrolAt, ObjectiveMinutes: int64(f.objective / time.Minute),
				Versions: f.versions, Mime: f.mime, Recoverable: f.recoverable, Archives: f.archives, Activate: activate,
			}
			if schedule != nil {
				p.Schedule = *schedule
			}
			if preview {
				answer, err := client.PreviewPolicyWithResponse(cmd.Context(), args[0], p)
				if err != nil {
					return err
				}
				return showForecast(cmd, answer.JSON200)
			}
			answer, err := client.AddPolicyWithResponse(cmd.Context(), args[0], p)
			if err != nil {
				return err
			}
			if warning := answer.JSON201.Feasibility.Warning; warning != "" {
				cmd.PrintErrln("Warning: " + warning)
			}
			if !activate {
				cmd.PrintErrln("It is a draft and protects nobody until it is activated: policies activate.")
			}
			return table(cmd, policyHeader, [][]string{policyRow(*answer.JSON201)}, false)
		})
	f.add(command.Flags())
	command.Flags().BoolVar(&activate, "activate", false, "activate it at once")
	command.Flags().BoolVar(&preview, "preview", false, "add nothing; show whom it would cover, in seats and units, and whether Microsoft's limits allow it")
	return command
}

func (c *connection) policiesSet() *cobra.Command {
	var f policyFlags
	var name string
	command := c.action("set TENANT POLICY", "Change a policy: flags that are not given leave things as they are; whom it names is replaced together, and so is the schedule by a kind of it (--daily, --at, --fixed, --every, --off-peak)", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			change, err := f.change(cmd.Flags())
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("name") {
				change.Name = &name
			}
			var read *apiclient.ChangePolicyParams
			if change.Schedule != nil && !f.choosesKind() { // the rest of it stays
				now, err := client.GetPolicyWithResponse(cmd.Context(), args[0], args[1])
				if err != nil {
					return err
				}
				change.Schedule = onto(now.JSON200.Schedule, *change.Schedule)
				read = &apiclient.ChangePolicyParams{IfMatch: now.HTTPResponse.Header.Get("ETag")}
			}
			answer, err := client.ChangePolicyWithResponse(cmd.Context(), args[0], args[1], read, change)
			if err != nil {
				return err
			}
			return showPolicy(cmd, *answer.JSON200)
		})
	command.Flags().StringVar(&name, "name", "", "what people call it; its history stays")
	f.add(command.Flags())
	return command
}

// change is what the flags that were given say.
func (f *policyFlags) change(flags *pflag.FlagSet) (apiclient.PolicyChange, error) {
	var change apiclient.PolicyChange
	schedule, err := f.schedule()
	if err != nil {
		return change, err
	}
	if schedule != nil {
		change.Schedule = schedule
	}
	if flags.Changed("resource") || flags.Changed("group") || flags.Changed("exclude") || flags.Changed("exclude-group") || flags.Changed("exclude-subkind") {
		targets := f.targets()
		change.Targets = &targets
	}
	if flags.Changed("kind") {
		kinds := append([]apiclient.PolicyChangeKinds{}, words[apiclient.PolicyChangeKinds](f.kinds)...)
		change.Kinds = &kinds
	}
	if flags.Changed("workload") {
		workloads := words[apiclient.PolicyChangeWorkloads](f.workloads)
		change.Workloads = &workloads
	}
	if flags.Changed("enrol") {
		enrol := apiclient.PolicyChangeEnrol(f.enrol)
		change.Enrol = &enrol
	}
	if flags.Changed("enrol-at") {
		change.EnrolAt = &f.enrolAt
	}
	if flags.Changed("objective") {
		minutes := int64(f.objective / time.Minute)
		change.ObjectiveMinutes = &minutes
	}
	if flags.Changed("versions") {
		change.Versions = &f.versions
	}
	if flags.Changed("mime") {
		change.Mime = &f.mime
	}
	if flags.Changed("archives-preview") {
		change.Archives = &f.archives
	}
	if flags.Changed("recoverable") {
		change.Recoverable = &f.recoverable
	}
	return change, nil
}

func (c *connection) policiesForecast() *cobra.Command {
	return c.action("forecast TENANT POLICY", "Show whom a policy covers when it is active, in seats and units", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.ForecastPolicyWithResponse(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return showForecast(cmd, answer.JSON200)
		})
}

// showForecast prints whom a policy would cover, and whether Microsoft's limits allow it.
func showForecast(cmd *cobra.Command, p *apiclient.PolicyPreview) error {
	pairs := []string{
		"resources", fmt.Sprintf("%d, %d of them not protected now", p.Resources, p.NewlyProtected),
		"protected by others", count(p.ProtectedByOthers), "seats", fmt.Sprintf("%d more, %d are taken%s", p.SeatsNeeded, p.SeatsUsed, quotas(p.SoftQuota, p.HardQuota)),
	}
	if p.WithoutSeat > 0 {
		pairs = append(pairs, "without a seat", count(p.WithoutSeat)+" would not be protected")
	}
	for _, u := range p.UnitsPerRound {
		pairs = append(pairs, "units, "+string(u.Service), count(u.Units)+" a round")
	}
	if len(p.GroupsNotListed) > 0 {
		pairs = append(pairs, "not counted", "the users in "+strings.Join(p.GroupsNotListed, ", ")+": no sync has listed them yet")
	}
	if err := fields(cmd, pairs...); err != nil {
		return err
	}
	return showFeasibility(cmd, &apiclient.Feasibility{
		Accounts: p.Accounts, Binding: p.Binding, CompletesAt: p.CompletesAt, Feasible: p.Feasible, IntervalSeconds: p.IntervalSeconds,
		TakesSeconds: p.TakesSeconds, Warning: p.Warning, Workloads: p.Workloads,
	})
}

func quotas(soft, hard int64) string {
	text := ""
	if soft > 0 {
		text += fmt.Sprintf(", soft quota %d", soft)
	}
	if hard > 0 {
		text += fmt.Sprintf(", hard quota %d", hard)
	}
	return text
}

func (c *connection) policiesActivate() *cobra.Command {
	var only []string
	command := c.action("activate TENANT POLICY", "Activate a policy, or let a paused one go on", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.ActivatePolicyWithResponse(cmd.Context(), args[0], args[1], nil, apiclient.Activation{Resources: only})
			if err != nil {
				return err
			}
			return table(cmd, policyHeader, [][]string{policyRow(*answer.JSON200)}, false)
		})
	command.Flags().StringSliceVar(&only, "resource", nil, "take in this resource alone; a draft stays one and protects just those")
	return command
}

func (c *connection) policiesPause() *cobra.Command {
	return c.action("pause TENANT POLICY", "Let a policy start nothing until it is activated again", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.PausePolicyWithResponse(cmd.Context(), args[0], args[1], nil)
			if err != nil {
				return err
			}
			return table(cmd, policyHeader, [][]string{policyRow(*answer.JSON200)}, false)
		})
}

func (c *connection) policiesDelete() *cobra.Command {
	return c.action("delete TENANT POLICY", "Delete a policy; what it backed up stays", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			_, err := client.DeletePolicyWithResponse(cmd.Context(), args[0], args[1], nil)
			return err
		})
}

func (c *connection) policiesPlanning() *cobra.Command {
	var zone string
	var open bool
	command := c.action("planning TENANT", "Show, or with flags set, what the provider says of all policies of a tenant", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetPlanningWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			planning := answer.JSON200
			if flags := cmd.Flags(); flags.Changed("time-zone") || flags.Changed("open-schedules") {
				change := apiclient.NewPlanning{OpenSchedules: planning.OpenSchedules}
				if flags.Changed("open-schedules") {
					change.OpenSchedules = open
				}
				switch {
				case flags.Changed("time-zone") && zone != "":
					change.TimeZone = zone
				case !flags.Changed("time-zone") && planning.TimeZoneOf == apiclient.PlanningTimeZoneOfTenant:
					change.TimeZone = planning.TimeZone
				}
				set, err := client.SetPlanningWithResponse(cmd.Context(), args[0], &apiclient.SetPlanningParams{IfMatch: answer.HTTPResponse.Header.Get("ETag")}, change)
				if err != nil {
					return err
				}
				planning = set.JSON200
			}
			return fields(cmd, "time zone", planning.TimeZone, "time zone of", "the "+string(planning.TimeZoneOf), "schedules its own tokens may choose", map[bool]string{true: "any", false: "daily"}[planning.OpenSchedules])
		})
	command.Flags().StringVar(&zone, "time-zone", "", "IANA time zone of the tenant: nights there are off-peak; empty: that of its data region")
	command.Flags().BoolVar(&open, "open-schedules", false, "let the tenant's own tokens choose schedules")
	return command
}
