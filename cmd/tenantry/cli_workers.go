package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func workersCommand(c *connection) *cobra.Command {
	return group("workers", "Workers that joined a pool by a one-time token (pools enrol)", c.workersList(), c.workersRevoke())
}

func (c *connection) workersList() *cobra.Command {
	return c.action("list", "List them, revoked ones too", 0, func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
		answer, err := client.ListWorkersWithResponse(cmd.Context())
		if err != nil {
			return err
		}
		var rows [][]string
		for _, w := range answer.JSON200.Items {
			rows = append(rows, []string{w.Id, w.Pool, w.Name, string(w.State), w.Version, when(w.Enrolled), when(w.Seen)})
		}
		return table(cmd, "ID POOL MACHINE STATE VERSION ENROLLED SEEN", rows, false)
	})
}

func (c *connection) workersRevoke() *cobra.Command {
	return c.action("revoke WORKER", "Revoke a worker: it gets no more work, and others take what it has", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			_, err := client.RevokeWorkerWithResponse(cmd.Context(), args[0])
			return err
		})
}

func (c *connection) poolsEnrol() *cobra.Command {
	var hours int64
	command := c.action("enrol POOL", "Make a one-time token by which a worker outside joins the pool, and print it, once", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.AddEnrolmentWithResponse(cmd.Context(), args[0], apiclient.NewEnrolment{Hours: hours})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), answer.JSON201.Token)
			return err
		})
	command.Flags().Int64Var(&hours, "hours", 24, "for how long it can be used, 168 at most")
	return command
}

func (c *connection) poolsTokens() *cobra.Command {
	return c.action("tokens POOL", "List the one-time tokens of a pool, and what became of them", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.ListEnrolmentsWithResponse(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var rows [][]string
			for _, e := range answer.JSON200.Items {
				rows = append(rows, []string{e.Id, string(e.State), e.MadeBy, when(e.Made), when(e.Expires), e.UsedBy, e.Worker})
			}
			return table(cmd, "ID STATE BY MADE EXPIRES USED-BY WORKER", rows, false)
		})
}

func (c *connection) poolsRevokeToken() *cobra.Command {
	return c.action("revoke-token POOL TOKEN-ID", "Revoke a one-time token that was not used", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			_, err := client.RevokeEnrolmentWithResponse(cmd.Context(), args[0], args[1])
			return err
		})
}
