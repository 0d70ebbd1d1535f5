package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// transitiveMembers is what a page of them costs (Microsoft Learn, "Microsoft Graph
// service-specific throttling limits", identity and access).
const transitiveMembers = 5

// Members is a page of the users in a group.
type Members struct {
	Users []string // Entra object IDs
	Next  string   // the link to give next time
	Done  bool
}

// GroupMembers returns the page of users in a group, and in groups of its, that link names,
// or with link "" the first one. Other kinds of member are left out. NotFound: there is no
// such group.
func (t *Tenant) GroupMembers(ctx context.Context, group, link string) (Members, error) {
	const op = "list the members of a group"
	if err := given(op, group); err != nil {
		return Members{}, err
	}
	c := t.client.build.plain(op, http.MethodGet, t.identity(transitiveMembers),
		url.Values{"$select": {"id"}, "$top": {"999"}}, "groups", group, "transitiveMembers")
	if link != "" {
		var err error
		if c, err = t.client.linked(c, link); err != nil {
			return Members{}, err
		}
	}
	page, err := t.page(ctx, c, false)
	if err != nil {
		return Members{}, err
	}
	out := Members{Next: page.Next, Done: page.Done}
	for _, item := range page.Items {
		var member struct {
			Type string `json:"@odata.type"`
			ID   string `json:"id"`
		}
		if err := json.Unmarshal(item, &member); err != nil {
			return Members{}, tenantry.E(tenantry.Transient, op, err)
		}
		if member.Type == "#microsoft.graph.user" && member.ID != "" {
			out.Users = append(out.Users, member.ID)
		}
	}
	return out, nil
}
