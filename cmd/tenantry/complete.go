package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/apiclient"
)

const (
	// completeTime bounds what a shell waits for after a tab.
	completeTime = 3 * time.Second
	// completeRows bounds what it is offered, and namesMax among how many tenants or resources
	// a name is looked for.
	completeRows, namesMax = 100, 10_000
)

// A command's Use names its arguments: "show TENANT RUN". By these words arguments are
// completed from the API, and names are taken for IDs (see resolve).

// placeholders are the words for a command's arguments. "TENANT|fleet" is a TENANT, or the very word fleet.
func placeholders(use string) []string {
	words := strings.Fields(use)[1:]
	for i := range words {
		words[i] = strings.Trim(words[i], "[].")
	}
	return words
}

// asked is what is to be completed.
type asked struct {
	ctx    context.Context
	client *apiclient.ClientWithResponses
	named  map[string]string // what stands before it, by placeholder
	typed  string
}

// completers offer candidates by placeholder, and by flags of the same meaning; after a tab
// stands what a candidate is.
var completers = map[string]func(asked) []string{
	"TENANT": completeTenants, "RESOURCE": completeResources, "POLICY": completePolicies, "RUN": completeRuns,
	"WORKLOAD": fixed("mailbox", "drive", "site", "group", "team"), "SNAPSHOT": completeSnapshots, "EARLIER": completeSnapshots,
	"LATER": completeSnapshots, "ROLE": completeRoles,
}

// flagCompleters are the flags that mean what a placeholder means.
var flagCompleters = map[string]string{
	"tenant": "TENANT", "resource": "RESOURCE", "to": "RESOURCE", "exclude": "RESOURCE",
	"policy": "POLICY", "workload": "WORKLOAD", "group": "GROUP", "exclude-group": "GROUP",
}

func fixed(words ...string) func(asked) []string { return func(asked) []string { return words } }

// completes makes a command complete its arguments and flags.
func (c *connection) completes(command *cobra.Command) {
	words := placeholders(command.Use)
	offer := func(cmd *cobra.Command, word string, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		word, instead, _ := strings.Cut(word, "|")
		complete := completers[word]
		if complete == nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		client, err := c.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completeTime)
		defer cancel()
		args = slices.Clone(args)
		if err := resolve(ctx, client, words, args); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		named := map[string]string{}
		for i, arg := range args[:min(len(args), len(words))] {
			named[words[i]] = arg
		}
		found := complete(asked{ctx, client, named, typed})
		if instead != "" && strings.HasPrefix(instead, typed) {
			found = append(found, instead)
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	command.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) < len(words):
			return offer(cmd, words[len(args)], args, typed)
		case strings.HasSuffix(command.Use, "..."): // the last one again
			return offer(cmd, words[len(words)-1], args, typed)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for flag, word := range flagCompleters {
		if f := command.Flags().Lookup(flag); f == nil || (flag == "to" && !strings.Contains(f.Usage, "resource")) {
			continue
		}
		_ = command.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			return offer(cmd, word, args, typed)
		}) // fails only for a flag that does not exist
	}
}

// described is a candidate and what it is.
func described(value, what string) string {
	if what = visible(what); what == "" {
		return value
	}
	return value + "\t" + what
}

// offered are the IDs that begin with what was typed, and of the other things the first of their names that does,
// whatever its case.
func offered(found []string, typed, id string, names ...string) []string {
	if strings.HasPrefix(id, typed) {
		return append(found, described(id, cmp.Or(names...)))
	}
	for _, name := range names {
		if name = visible(name); strings.HasPrefix(strings.ToLower(name), strings.ToLower(typed)) {
			return append(found, described(name, id))
		}
	}
	return found
}

func completeTenants(a asked) (found []string) {
	tenants, err := tenantsOf(a.ctx, a.client)
	if err != nil {
		return nil
	}
	for _, t := range tenants {
		found = offered(found, a.typed, t.Id, t.Name, t.Directory)
	}
	return found[:min(len(found), completeRows)]
}

func completeResources(a asked) (found []string) {
	among := namesMax
	if a.typed == "" { // any will do
		among = completeRows
	}
	resources, _, err := all(among, func(p pager) ([]apiclient.Resource, string, error) {
		answer, err := a.client.ListResourcesWithResponse(a.ctx, a.named["TENANT"], &apiclient.ListResourcesParams{After: p.after, Limit: p.limit})
		if err != nil {
			return nil, "", err
		}
		return answer.JSON200.Items, answer.JSON200.Next, nil
	})
	if err != nil {
		return nil
	}
	for _, r := range resources {
		found = offered(found, a.typed, r.Id, r.Address, r.Name)
	}
	return found[:min(len(found), completeRows)]
}

func completePolicies(a asked) (found []string) {
	answer, err := a.client.ListPoliciesWithResponse(a.ctx, a.named["TENANT"])
	if err != nil {
		return nil
	}
	for _, p := range answer.JSON200.Items {
		found = offered(found, a.typed, p.Id, p.Name)
	}
	return found
}

func completeRuns(a asked) []string {
	size := int64(completeRows)
	answer, err := a.client.ListRunsWithResponse(a.ctx, a.named["TENANT"], &apiclient.ListRunsParams{Limit: &size})
	if err != nil {
		return nil
	}
	var found []string
	for _, r := range answer.JSON200.Items {
		found = append(found, described(r.Id, string(r.Action)+" "+string(r.State)+" "+when(r.CreatedAt)))
	}
	return found
}

func completeSnapshots(a asked) []string {
	size := int64(completeRows)
	answer, err := a.client.ListSnapshotsWithResponse(a.ctx, a.named["TENANT"], a.named["RESOURCE"],
		apiclient.ListSnapshotsParamsWorkload(a.named["WORKLOAD"]), &apiclient.ListSnapshotsParams{Limit: &size})
	if err != nil {
		return nil
	}
	found := []string{latest}
	for _, s := range answer.JSON200.Items {
		found = append(found, described(strconv.FormatInt(s.Seq, 10), when(s.Time)))
	}
	return found
}

func completeRoles(asked) []string {
	var found []string
	for _, role := range api.Roles() {
		found = append(found, string(role))
	}
	return found
}

// tenantsOf lists the tenants that the token sees, up to namesMax.
func tenantsOf(ctx context.Context, client *apiclient.ClientWithResponses) ([]apiclient.Tenant, error) {
	tenants, _, err := all(namesMax, func(p pager) ([]apiclient.Tenant, string, error) {
		answer, err := client.ListTenantsWithResponse(ctx, &apiclient.ListTenantsParams{After: p.after, Limit: p.limit})
		if err != nil {
			return nil, "", err
		}
		return answer.JSON200.Items, answer.JSON200.Next, nil
	})
	return tenants, err
}
