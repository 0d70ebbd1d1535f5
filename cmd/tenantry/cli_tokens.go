package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func tokensCommand(c *connection) *cobra.Command {
	return group("tokens", "Who may do what", c.tokensList(), c.tokensAdd(), c.tokensRevoke())
}

func (c *connection) tokensList() *cobra.Command {
	return listing(c, "list", "List the tokens, expired ones too", "NAME ROLE TENANT CREATED BY EXPIRES",
		func(a asking) ([]apiclient.Token, string, error) {
			answer, err := a.client.ListTokensWithResponse(a.ctx, &apiclient.ListTokensParams{After: a.after, Limit: a.limit})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		func(t apiclient.Token) []string {
			expires := when(t.Expires)
			if t.Expires.IsZero() {
				expires = "never"
			}
			if !t.Expires.IsZero() && t.Expires.Before(time.Now()) {
				expires += " (expired)"
			}
			return []string{t.Name, string(t.Role), cmp.Or(t.TenantName, t.Tenant, "(all)"), when(t.Created), t.CreatedBy, expires}
		})
}

func (c *connection) tokensAdd() *cobra.Command {
	var (
		tenant string
		days   int64
	)
	command := c.action("add NAME ROLE", "Make a token and print it, once", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.AddTokenWithResponse(cmd.Context(), apiclient.NewTokenBody{
				Name: args[0], Role: apiclient.NewTokenBodyRole(args[1]), Tenant: tenant, Days: days,
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), answer.JSON201.Token)
			return err
		})
	command.Long = "Makes a token and prints it, once. ROLE is provider-admin, operator (of the provider, over all tenants),\n" +
		"tenant-admin (of one), restore-operator, auditor or read-only (either). It may do no more than your own."
	command.Flags().StringVar(&tenant, "tenant", "", "the only tenant it shall be good for")
	command.Flags().Int64Var(&days, "days", 0, "days that it is valid (default: until it is revoked)")
	return command
}

func (c *connection) tokensRevoke() *cobra.Command {
	var (
		tenant string
		fleet  bool
	)
	command := c.action("revoke NAME", "Revoke a token: it is refused within a second", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			if fleet {
				tenant = "fleet"
			}
			_, err := client.RevokeTokenWithResponse(cmd.Context(), args[0], &apiclient.RevokeTokenParams{Tenant: given[string](tenant)})
			return err
		})
	command.Flags().StringVar(&tenant, "tenant", "", "whose token, where several tenants have one of the name")
	command.Flags().BoolVar(&fleet, "fleet", false, "the one that is good for the whole fleet")
	command.MarkFlagsMutuallyExclusive("tenant", "fleet")
	return command
}

func whoamiCommand(c *connection) *cobra.Command {
	return c.action("whoami", "Show what your token may do", 0, func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
		answer, err := client.WhoamiWithResponse(cmd.Context())
		if err != nil {
			return err
		}
		i := answer.JSON200
		return fields(cmd, "name", i.Name, "role", i.Role, "tenant", i.Tenant, "may", strings.Join(i.Permissions, ", "))
	})
}

func auditCommand(c *connection) *cobra.Command {
	return listing(c, "audit", "List what was asked for by everybody, newest first", auditHeader,
		func(a asking) ([]apiclient.AuditEntry, string, error) {
			answer, err := a.client.ListFleetAuditWithResponse(a.ctx, &apiclient.ListFleetAuditParams{After: a.after, Limit: a.limit})
			if err != nil {
				return nil, "", err
			}
			return answer.JSON200.Items, answer.JSON200.Next, nil
		},
		auditRow)
}
