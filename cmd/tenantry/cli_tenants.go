package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func tenantsCommand(c *connection) *cobra.Command {
	return group("tenants", "Customers and their consent",
		c.tenantsList(), c.tenantsAdd(), c.tenantsShow(), c.tenantsOverview(), c.tenantsSet(), c.tenantsConsent(), c.tenantsRegister(), c.tenantsProbe(), c.tenantsRefresh(), c.tenantsBudget(), c.tenantsLedger(), c.tenantsAudit())
}

func (c *connection) tenantsList() *cobra.Command {
	return listing(c, "list", "List tenants", "ID NAME DIRECTORY STATE REGION CLOUD USERS SYNCED REASON",
		func(a asking) ([]apiclient.Tenant, string, error) {
			answer, err := a.client.ListTenantsWithResponse(a.ctx, &apiclient.ListTenantsParams{After: a.after, Limit: a.limit})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		func(t apiclient.Tenant) []string {
			return []string{t.Id, t.Name, t.Directory, string(t.State), t.Region, t.Cloud, count(t.Users), when(t.LastSyncAt), t.Reason}
		})
}

// tenantFlags are the settings of a tenant.
type tenantFlags struct {
	weight, syncHours        int64
	application, pool, seats string
	cloud, region            string
}

func (f *tenantFlags) register(flags *pflag.FlagSet) {
	flags.Int64Var(&f.weight, "weight", 10, "service level, 1 to 100: its share when the fleet is busy")
	flags.Int64Var(&f.syncHours, "sync-hours", 24, "hours between two syncs of its users, groups and sites, 1 to 168")
	flags.StringVar(&f.application, "application-name", "", "what an application is called that is registered in its Microsoft tenant (empty: the fleet's name for it)")
	flags.StringVar(&f.cloud, "cloud", "", "Microsoft's cloud in which it lives: global, gcchigh, dod, china (empty: the fleet's own; see tenantry regions clouds)")
	flags.StringVar(&f.region, "region", "", "data region in whose bucket its backups lie (empty: the fleet's default; see tenantry regions list)")
	flags.StringVar(&f.pool, "pool", "", "pool whose workers do its work (empty: that of its region, main in the default one)")
	flags.StringVar(&f.seats, "seats", "automatic", "automatic, or manual: those alone are protected who were given a seat")
}

// change is what the flags say that were given.
func (f *tenantFlags) change(flags *pflag.FlagSet) apiclient.TenantChange {
	var c apiclient.TenantChange
	if flags.Changed("weight") {
		c.Weight = &f.weight
	}
	if flags.Changed("sync-hours") {
		c.SyncHours = &f.syncHours
	}
	if flags.Changed("application-name") {
		c.ApplicationName = &f.application
	}
	if flags.Changed("pool") {
		c.Pool = &f.pool
	}
	if flags.Changed("region") {
		c.Region = &f.region
	}
	if flags.Changed("cloud") {
		c.Cloud = new(apiclient.TenantChangeCloud(f.cloud))
	}
	if flags.Changed("seats") {
		c.Seats = new(apiclient.TenantChangeSeats(f.seats))
	}
	return c
}

func (c *connection) tenantsAdd() *cobra.Command {
	var f tenantFlags
	command := c.action("add NAME DIRECTORY", "Add a tenant; DIRECTORY is its Microsoft GUID or a domain", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.AddTenantWithResponse(cmd.Context(), apiclient.NewTenant{
				Name: args[0], Directory: args[1], Weight: f.weight, SyncHours: f.syncHours,
				ApplicationName: f.application, Pool: f.pool, Region: f.region, Cloud: apiclient.NewTenantCloud(f.cloud), Seats: apiclient.NewTenantSeats(f.seats),
			})
			if err != nil {
				return err
			}
			return showTenant(cmd, answer.JSON201)
		})
	f.register(command.Flags())
	return command
}

func (c *connection) tenantsShow() *cobra.Command {
	return c.action("show TENANT", "Show a tenant", 1, func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
		answer, err := client.GetTenantWithResponse(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return showTenant(cmd, answer.JSON200)
	})
}

func (c *connection) tenantsSet() *cobra.Command {
	var f tenantFlags
	var name string
	command := c.action("set TENANT", "Change a tenant's settings; flags that are not given leave things as they are", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			change := f.change(cmd.Flags())
			if cmd.Flags().Changed("name") {
				change.Name = &name
			}
			answer, err := client.ChangeTenantWithResponse(cmd.Context(), args[0], nil, change)
			if err != nil {
				return err
			}
			return showTenant(cmd, answer.JSON200)
		})
	f.register(command.Flags())
	command.Flags().StringVar(&name, "name", "", "what people call the customer")
	command.MarkFlagsOneRequired("name", "weight", "sync-hours", "application-name", "pool", "region", "cloud", "seats")
	return command
}

func showTenant(cmd *cobra.Command, t *apiclient.Tenant) error {
	needs := make([]string, len(t.Needs))
	for i, n := range t.Needs {
		needs[i] = n.Remedy + " (" + string(n.Code) + ")"
	}
	return fields(cmd, "id", t.Id, "name", t.Name, "directory", t.Directory, "proved", t.DirectoryId,
		"state", string(t.State), "since", when(t.StateAt), "reason", t.Reason, "weight", count(t.Weight),
		"cloud", t.Cloud, "region", t.Region, "pool", t.Pool, "application", t.ApplicationName, "sync every", count(t.SyncHours)+" h", "seats", string(t.Seats), "users", count(t.Users), "licences", count(t.Licences), "added", when(t.AddedAt),
		"last sync", when(t.LastSyncAt), "next sync", when(t.NextSyncAt), "resources", resourceCounts(t.Resources), "needs", strings.Join(needs, "; "))
}

func resourceCounts(c apiclient.ResourceCounts) string {
	if c == (apiclient.ResourceCounts{}) {
		return ""
	}
	return fmt.Sprintf("%d active, %d inactive, %d gone", c.Active, c.Inactive, c.Gone)
}

func (c *connection) tenantsConsent() *cobra.Command {
	var restores bool
	command := c.action("consent TENANT", "Print a one-time URL for the tenant's administrator, and what it asks for", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			ask := apiclient.AskConsent{Purpose: apiclient.AskConsentPurposeBackup}
			if restores {
				ask.Purpose = apiclient.AskConsentPurposeRestore
			}
			answer, err := client.StartConsentWithResponse(cmd.Context(), args[0], ask)
			if err != nil {
				return err
			}
			for _, p := range answer.JSON200.Permissions {
				cmd.PrintErrf("%-28s %-8s %-8s %s\n", p.Name, p.Purpose, p.Workload, p.For)
			}
			cmd.PrintErrf("Works once, until %s:\n", when(answer.JSON200.Expires))
			_, err = fmt.Fprintln(cmd.OutOrStdout(), answer.JSON200.Url)
			return err
		})
	command.Flags().BoolVar(&restores, "for-restores", false, "consent to the second application, which may write")
	return command
}

func (c *connection) tenantsRefresh() *cobra.Command {
	var watch bool
	command := c.action("refresh TENANT", "Read the tenant's users, groups and sites now", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.RefreshTenantWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return started(cmd, client, answer.JSON201, watch)
		})
	watchFlag(command, &watch)
	return command
}

func (c *connection) tenantsBudget() *cobra.Command {
	return c.action("budget TENANT", "Show what Microsoft Graph still allows, and what has to wait", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetBudgetWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var rows [][]string
			for _, a := range answer.JSON200.Accounts {
				rows = append(rows, budgetRow(a))
			}
			return table(cmd, "ACCOUNT LIMIT LEFT RATE SLOWED COOLING-UNTIL", rows, false)
		})
}

// budgetRow shows an account: a mailbox that waits has no limit of its own here.
func budgetRow(a apiclient.Account) []string {
	limit, left, rate := "", "", ""
	if a.Limit > 0 {
		limit, left, rate = count(a.Limit), count(a.Left), fmt.Sprintf("%.0f%%", 100*a.Share)
	}
	return []string{a.Name, limit, left, rate, when(a.SlowedAt), when(a.CoolingUntil)}
}

func (c *connection) tenantsAudit() *cobra.Command {
	return listing(c, "audit TENANT", "List what was asked for about a tenant, newest first", auditHeader,
		func(a asking) ([]apiclient.AuditEntry, string, error) {
			answer, err := a.client.ListAuditWithResponse(a.ctx, a.args[0], &apiclient.ListAuditParams{After: a.after, Limit: a.limit})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		auditRow)
}

// whose is who made an entry: a name, and of a tenant's token the tenant, since others may have that name.
func whose(e apiclient.AuditEntry) string {
	if e.ActorTenant == "" {
		return e.Actor
	}
	if e.ActorTenant == e.Tenant {
		return e.Actor + " of " + cmp.Or(e.TenantName, e.Tenant)
	}
	return e.Actor + " of " + e.ActorTenant
}

const auditHeader = "TIME ACTOR FROM TENANT ACTION DETAIL"

func auditRow(e apiclient.AuditEntry) []string {
	return []string{when(e.At), whose(e), e.Source, cmp.Or(e.TenantName, e.Tenant), e.Action, e.Detail}
}

func resourcesCommand(c *connection) *cobra.Command {
	return group("resources", "What a tenant has that can be backed up", c.resourcesList(), c.resourcesShow(), c.resourcesWhy())
}

func (c *connection) resourcesList() *cobra.Command {
	var kind, subkind, state, standing string
	command := listing(c, "list TENANT", "List resources; those that are gone only with --state gone", "ID KIND SUBKIND NAME ADDRESS STATE WORKLOADS STANDING",
		func(a asking) ([]apiclient.Resource, string, error) {
			answer, err := a.client.ListResourcesWithResponse(a.ctx, a.args[0], &apiclient.ListResourcesParams{
				After: a.after, Limit: a.limit,
				Kind: given[apiclient.ListResourcesParamsKind](kind), State: given[apiclient.ListResourcesParamsState](state),
				Standing: given[apiclient.ListResourcesParamsStanding](standing), Subkind: given[apiclient.ListResourcesParamsSubkind](subkind),
			})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		func(r apiclient.Resource) []string {
			return []string{r.Id, string(r.Kind), r.Subkind, r.Name, r.Address, string(r.State), strings.Join(r.Workloads, ","), r.Standing}
		})
	command.Flags().StringVar(&kind, "kind", "", "only user, group or site")
	command.Flags().StringVar(&subkind, "subkind", "", "only these: users whose mailbox is user, shared, room, equipment, ...; groups that are microsoft365, team, security, mail_security, distribution; sites that are root, group_site, team_site, subsite, site")
	command.Flags().StringVar(&state, "state", "", "only active, inactive or gone")
	command.Flags().StringVar(&standing, "standing", "", "only covered ones, or those not protected for a reason: quota, no_seat, excluded, no_policy, draft, ...")
	return command
}

func (c *connection) resourcesShow() *cobra.Command {
	return c.action("show TENANT RESOURCE", "Show a resource", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.GetResourceWithResponse(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			r := answer.JSON200
			licensed := "no"
			if r.Licensed {
				licensed = "yes"
			}
			members := ""
			if r.DynamicMembers {
				members = "by a rule"
			}
			return fields(cmd, "id", r.Id, "kind", string(r.Kind), "subkind", r.Subkind, "members", members, "site", r.Site, "name", r.Name, "address", r.Address, "object", r.ObjectId,
				"state", string(r.State), "since", when(r.StateAt), "licensed", licensed,
				"workloads", strings.Join(r.Workloads, ", "))
		})
}
