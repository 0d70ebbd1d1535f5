package main

import (
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func poolsCommand(c *connection) *cobra.Command {
	return group("pools", "Pools of workers: a tenant's work is done by those of its own", c.poolsList(), c.poolsAdd(), c.poolsRemove(), c.poolsAssign(), c.poolsEnrol(), c.poolsTokens(), c.poolsRevokeToken())
}

const poolHeader = "NAME REGION TENANTS WORKERS BACKUP-SLOTS NOTE"

func poolRow(p apiclient.Pool) []string {
	return []string{p.Name, p.Region, count(p.Tenants), count(p.Workers), count(p.Slots["backup"]), p.Note}
}

func (c *connection) poolsList() *cobra.Command {
	return c.action("list", "List the pools, and their workers that live", 0, func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
		answer, err := client.ListPoolsWithResponse(cmd.Context())
		if err != nil {
			return err
		}
		var rows [][]string
		for _, p := range answer.JSON200.Items {
			rows = append(rows, poolRow(p))
		}
		return table(cmd, poolHeader, rows, false)
	})
}

func (c *connection) poolsAdd() *cobra.Command {
	var note, region string
	command := c.action("add NAME", "Add a pool; its workers are started with -pool NAME", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.AddPoolWithResponse(cmd.Context(), apiclient.NewPool{Name: args[0], Note: note, Region: region})
			if err != nil {
				return err
			}
			return table(cmd, poolHeader, [][]string{poolRow(*answer.JSON201)}, false)
		})
	command.Flags().StringVar(&note, "note", "", "what it is for")
	command.Flags().StringVar(&region, "region", "default", "data region that it works for, for good; its workers are started with -region NAME")
	return command
}

func (c *connection) poolsRemove() *cobra.Command {
	return c.action("remove NAME", "Remove a pool to which no tenant belongs", 1,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			_, err := client.RemovePoolWithResponse(cmd.Context(), args[0])
			return err
		})
}

func (c *connection) poolsAssign() *cobra.Command {
	return c.action("assign TENANT POOL", "Have a tenant's work done by the workers of a pool", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			answer, err := client.SetPoolWithResponse(cmd.Context(), args[0], &apiclient.SetPoolParams{}, apiclient.PoolChoice{Pool: args[1]})
			if err != nil {
				return err
			}
			return showTenant(cmd, answer.JSON200)
		})
}
