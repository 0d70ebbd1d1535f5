package directory

import (
	"context"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// memberPages bounds the listing of one group: a million users.
const memberPages = 1000

// members lists the groups that policies name, and enrols by them. A group that cannot be
// listed keeps the members it is known to have, with the reason, and the others go on.
func (s *syncing) members(ctx context.Context) error {
	lists, err := s.scope.MemberLists(ctx)
	if err != nil {
		return err
	}
	for _, list := range lists {
		if err := s.group(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

func (s *syncing) group(ctx context.Context, list catalog.MemberList) error {
	users, err := s.usersIn(ctx, list.Group)
	problem := ""
	switch tenantry.KindOf(err) {
	case "":
	case tenantry.NotFound:
		problem = "there is no such group in Microsoft 365"
	case tenantry.Absent, tenantry.Denied, tenantry.Invalid:
		problem = err.Error()
	default:
		return err
	}
	return s.scope.ApplyMembers(ctx, list.Group, users, problem, s.cfg.Now())
}

func (s *syncing) usersIn(ctx context.Context, group string) ([]tenantry.ResourceID, error) {
	var users []tenantry.ResourceID
	link := ""
	for range memberPages {
		page, err := s.graph.GroupMembers(ctx, group, link)
		if err != nil {
			return nil, err
		}
		for _, id := range page.Users {
			users = append(users, tenantry.UserResource(id))
		}
		if page.Done {
			return users, nil
		}
		link = page.Next
	}
	return nil, tenantry.Errorf(tenantry.Invalid, "group %s has more members than can be listed", group)
}
