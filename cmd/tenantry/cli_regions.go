package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
)

func regionsCommand(c *connection) *cobra.Command {
	return group("regions", "Where tenants' data lies, and in which of Microsoft's clouds tenants live", c.regionsList(), c.regionsClouds())
}

func (c *connection) regionsList() *cobra.Command {
	return c.action("list", "List the data regions, and who works there", 0, func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
		answer, err := client.ListRegionsWithResponse(cmd.Context())
		if err != nil {
			return err
		}
		var rows [][]string
		for _, r := range answer.JSON200.Items {
			note := ""
			switch {
			case !r.Known:
				note = "not in this api's configuration"
			case len(r.Pools) == 0:
				note = "has no pool: tenantry pools add " + r.Pool + " --region " + r.Name
			case r.Workers == 0:
				note = "has no living worker"
			}
			rows = append(rows, []string{r.Name, yes(r.Default), strings.Join(r.Pools, " "), r.TimeZone, count(r.Workers), count(r.Tenants), note})
		}
		return table(cmd, "NAME DEFAULT POOLS TIME-ZONE WORKERS TENANTS NOTE", rows, false)
	})
}

func (c *connection) regionsClouds() *cobra.Command {
	return c.action("clouds", "List Microsoft's clouds in which the fleet has an application", 0, func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
		answer, err := client.ListCloudsWithResponse(cmd.Context())
		if err != nil {
			return err
		}
		var rows [][]string
		for _, cloud := range answer.JSON200.Items {
			rows = append(rows, []string{cloud.Name, yes(cloud.Default), cloud.Login, cloud.Graph, strings.Join(cloud.Lacks, "; ")})
		}
		return table(cmd, "NAME DEFAULT LOGIN GRAPH LACKS", rows, false)
	})
}
