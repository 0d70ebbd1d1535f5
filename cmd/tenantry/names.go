package main

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What people call things: what looks like none of these is a name.
var (
	tenantIDs   = regexp.MustCompile(`^t-`)
	resourceIDs = regexp.MustCompile(`^[ugs]-`)
	policyIDs   = regexp.MustCompile(`^p-`)
	objectIDs   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	references  = regexp.MustCompile(`^\d{4}[-. ]?\d{3}[-. ]?\d{3}$`)
)

// names puts IDs in the place of names, in one tenant.
type names struct {
	ctx      context.Context
	client   *apiclient.ClientWithResponses
	tenant   string // ID; "" where no tenant is named
	resource string // ID; "" where none is named
	workload string
}

// latest names the newest snapshot of a series.
const latest = "latest"

// resolve puts IDs in the place of what people call things: a tenant's name or domain, a run's reference, a policy's
// name, a resource's address or name, the latest snapshot. A name that several have is refused, with all of them.
func resolve(ctx context.Context, client *apiclient.ClientWithResponses, words, args []string) error {
	n := names{ctx: ctx, client: client}
	for i := range args {
		if len(words) == 0 {
			break
		}
		word, instead, _ := strings.Cut(words[min(i, len(words)-1)], "|") // the last one may come again
		if instead != "" && args[i] == instead {
			continue
		}
		id, err := n.id(word, args[i])
		if err != nil {
			return err
		}
		args[i] = id
		switch word {
		case "TENANT":
			n.tenant = id
		case "RESOURCE":
			n.resource = id
		case "WORKLOAD":
			n.workload = id
		}
	}
	return nil
}

// resolveFlags is resolve for the flags that mean what a placeholder means.
func resolveFlags(ctx context.Context, client *apiclient.ClientWithResponses, words, args []string, flags *pflag.FlagSet) (err error) {
	n := names{ctx: ctx, client: client}
	if i := slices.Index(words, "TENANT"); i >= 0 && i < len(args) {
		n.tenant = args[i]
	}
	flags.Visit(func(f *pflag.Flag) {
		word := flagCompleters[f.Name]
		if word == "" || (f.Name == "to" && !strings.Contains(f.Usage, "resource")) || err != nil {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			var ids []string
			for _, name := range list.GetSlice() {
				id, failed := n.id(word, name)
				if failed != nil {
					err = failed
					return
				}
				ids = append(ids, id)
			}
			err = list.Replace(ids)
			return
		}
		var id string
		if id, err = n.id(word, f.Value.String()); err == nil {
			err = f.Value.Set(id)
		}
	})
	return err
}

// id is the ID of what is called so.
func (n names) id(word, name string) (string, error) {
	switch {
	case name == "":
		return name, nil
	case word == "TENANT" && !tenantIDs.MatchString(name):
		return tenantNamed(n.ctx, n.client, name)
	case n.tenant == "":
		return name, nil
	case word == "RUN" && references.MatchString(name):
		return runNamed(n.ctx, n.client, name, n.tenant)
	case word == "POLICY" && !policyIDs.MatchString(name):
		return n.policy(name)
	case word == "RESOURCE" && !resourceIDs.MatchString(name):
		r, err := n.resourceNamed(name, "")
		return r.Id, err
	case (word == "SNAPSHOT" || word == "LATER") && name == latest && n.workload != "":
		return n.newest()
	case word == "GROUP" && !objectIDs.MatchString(name):
		r, err := n.resourceNamed(name, apiclient.ListResourcesParamsKindGroup)
		return r.ObjectId, err
	}
	return name, nil
}

// only is the one of several that have a name, told apart by their IDs.
func only[T any](what, name string, found []T, id func(T) string) (one T, err error) {
	switch len(found) {
	case 0:
		return one, tenantry.Errorf(tenantry.NotFound, "no %s is called %q", what, name)
	case 1:
		return found[0], nil
	}
	var ids []string
	for _, f := range found {
		ids = append(ids, id(f))
	}
	return one, tenantry.Errorf(tenantry.Conflict, "%d are called %q (each a %s): name one by its ID: %s", len(found), name, what, strings.Join(ids, ", "))
}

func (n names) policy(name string) (string, error) {
	answer, err := n.client.ListPoliciesWithResponse(n.ctx, n.tenant)
	if err != nil {
		return "", err
	}
	called := slices.DeleteFunc(answer.JSON200.Items, func(p apiclient.Policy) bool { return !strings.EqualFold(p.Name, name) })
	one, err := only("policy of the tenant", name, called, func(p apiclient.Policy) string { return p.Id })
	return one.Id, err
}

// newest is the newest snapshot of the series.
func (n names) newest() (string, error) {
	one := int64(1)
	answer, err := n.client.ListSnapshotsWithResponse(n.ctx, n.tenant, n.resource, apiclient.ListSnapshotsParamsWorkload(n.workload), &apiclient.ListSnapshotsParams{Limit: &one})
	if err != nil {
		return "", err
	}
	if len(answer.JSON200.Items) == 0 {
		return "", tenantry.Errorf(tenantry.NotFound, "there is no snapshot of this %s yet", n.workload)
	}
	return strconv.FormatInt(answer.JSON200.Items[0].Seq, 10), nil
}

// resourceNamed finds a resource by its address or name, among those that are there, then among those that are gone.
func (n names) resourceNamed(name string, kind apiclient.ListResourcesParamsKind) (apiclient.Resource, error) {
	var found []apiclient.Resource
	for _, state := range []apiclient.ListResourcesParamsState{"", apiclient.ListResourcesParamsStateGone} {
		some := int64(completeRows)
		answer, err := n.client.ListResourcesWithResponse(n.ctx, n.tenant, &apiclient.ListResourcesParams{
			Named: given[string](name), Kind: given[apiclient.ListResourcesParamsKind](string(kind)), State: given[apiclient.ListResourcesParamsState](string(state)), Limit: &some,
		})
		if err != nil {
			return apiclient.Resource{}, err
		}
		if found = answer.JSON200.Items; len(found) > 0 {
			break
		}
	}
	return only("resource of the tenant", name, found, func(r apiclient.Resource) string { return r.Id + " (" + r.Address + ")" })
}

func tenantNamed(ctx context.Context, client *apiclient.ClientWithResponses, name string) (string, error) {
	tenants, err := tenantsOf(ctx, client)
	if err != nil {
		return "", err
	}
	called := slices.DeleteFunc(tenants, func(t apiclient.Tenant) bool {
		return !strings.EqualFold(t.Name, name) && !strings.EqualFold(t.Directory, name)
	})
	one, err := only("tenant", name, called, func(t apiclient.Tenant) string { return t.Id })
	return one.Id, err
}

func runNamed(ctx context.Context, client *apiclient.ClientWithResponses, reference, tenant string) (string, error) {
	answer, err := client.FindRunsWithResponse(ctx, &apiclient.FindRunsParams{Reference: reference})
	if err != nil {
		return "", err
	}
	for _, r := range answer.JSON200.Items {
		if r.Tenant == tenant {
			return r.Id, nil
		}
	}
	return "", tenantry.Errorf(tenantry.NotFound, "the tenant has no run with the reference %s", reference)
}
