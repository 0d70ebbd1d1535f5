package graphsim_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func values(page object) []object {
	var list []object
	for _, v := range page["value"].([]any) {
		list = append(list, v.(object))
	}
	return list
}

// reasonOf is why an object was removed, "" if it was not.
func reasonOf(item object) string {
	removed, _ := item["@removed"].(object)
	reason, _ := removed["reason"].(string)
	return reason
}

// code sends a GET that is refused and returns status and code.
func (c *client) code(target string, headers ...string) string {
	c.t.Helper()
	resp := c.do("GET", target, nil, headers...)
	body := decode[object](c.t, resp)
	if resp.StatusCode < 400 {
		return fmt.Sprint(resp.StatusCode)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body["error"].(object)["code"])
}

var eventual = []string{"ConsistencyLevel", "eventual"}

// query escapes a query string written in plain.
func query(path, options string) string {
	q := url.Values{}
	for pair := range strings.SplitSeq(options, "&") {
		name, value, _ := strings.Cut(pair, "=")
		q.Add(name, value)
	}
	return path + "?" + q.Encode()
}

// Source: "Delta query overview", "user: delta", "group: delta".
func TestConformanceDirectoryDelta(t *testing.T) {
	t.Parallel()
	spec := graphsim.TenantSpec{Users: 90, Groups: 4}
	conform(t, graphsim.Options{PageSize: 40}, spec, []rule{
		held("a round ends in a deltaLink, and the next one in a new one", func(t *testing.T, c *client) {
			users, link, pages := c.round("users/delta")
			if len(users) != 90 || pages != 3 {
				t.Fatalf("%d users, %d pages", len(users), pages)
			}
			if users, next, _ := c.round(link); len(users) != 0 || next == "" || next == link {
				t.Errorf("%d changes, %q", len(users), next)
			}
		}),
		held("deltaToken=latest gives only a deltaLink", func(t *testing.T, c *client) {
			users, link, _ := c.round("users/delta?$deltaToken=latest")
			if len(users) != 0 || link == "" {
				t.Errorf("%d users", len(users))
			}
			id, err := c.tenant.NewUser("Later")
			must(t, err)
			if users, _, _ := c.round(link); len(users) != 1 || users[0]["id"] != id {
				t.Errorf("%v", users)
			}
		}),
		held("$top, $expand and $orderby are not supported", func(t *testing.T, c *client) {
			for _, option := range []string{"$top=5", "$expand=memberOf", "$orderby=displayName", "$search=x", "$count=true"} {
				if got := c.code(query("users/delta", option)); got != "400 Request_UnsupportedQuery" {
					t.Errorf("%s: %s", option, got)
				}
			}
		}),
		held("$select narrows the properties, and is baked into the token", func(t *testing.T, c *client) {
			users, link, _ := c.round("users/delta?$select=displayName")
			if users[0]["mail"] != nil || users[0]["displayName"] == nil {
				t.Errorf("%v", users[0])
			}
			must(t, c.tenant.EditUser(users[0]["id"].(string), "Other Name"))
			changed, _, _ := c.round(link)
			if len(changed) != 1 || changed[0]["displayName"] != "Other Name" || changed[0]["userPrincipalName"] != nil {
				t.Errorf("%v", changed)
			}
		}),
		held("a change outside of $select does not surface the object", func(t *testing.T, c *client) {
			users, link, _ := c.round("users/delta?$select=accountEnabled")
			must(t, c.tenant.EditUser(users[0]["id"].(string), "Other Name"))
			changed, link, _ := c.round(link)
			if len(changed) != 0 {
				t.Errorf("%v", changed)
			}
			must(t, c.tenant.DeleteUser(users[0]["id"].(string)))
			if changed, _, _ := c.round(link); len(changed) != 1 || reasonOf(changed[0]) != "changed" {
				t.Errorf("%v", changed)
			}
		}),
		held("$filter takes up to 50 ids and nothing else", func(t *testing.T, c *client) {
			users := c.tenant.Users()
			terms := make([]string, 51)
			for i := range terms {
				terms[i] = "id eq '" + users[i].ID + "'"
			}
			some, link, _ := c.round(query("users/delta", "$filter="+strings.Join(terms[:50], " or ")))
			if len(some) != 50 {
				t.Errorf("%d users", len(some))
			}
			must(t, c.tenant.DeleteUser(users[0].ID))
			must(t, c.tenant.DeleteUser(users[60].ID))
			if changed, _, _ := c.round(link); len(changed) != 1 || changed[0]["id"] != users[0].ID {
				t.Errorf("%v", changed)
			}
			for _, filter := range []string{strings.Join(terms, " or "), "displayName eq 'x'", "id ne 'x'", "id eq 'a' and id eq 'b'"} {
				if got := c.code(query("users/delta", "$filter="+filter)); !strings.HasPrefix(got, "400") {
					t.Errorf("%.40s: %s", filter, got)
				}
			}
		}),
		held("return=minimal gives the id and what changed", func(t *testing.T, c *client) {
			users, link, _ := c.round("users/delta")
			must(t, c.tenant.EditUser(users[0]["id"].(string), "Min Imal"))
			c.prefer = "return=minimal"
			changed, _, _ := c.round(link)
			if len(changed) != 1 || changed[0]["displayName"] != "Min Imal" || changed[0]["userPrincipalName"] != nil || changed[0]["id"] == nil {
				t.Errorf("%v", changed)
			}
		}),
		held("what is stored elsewhere answers 501 NotImplemented", func(t *testing.T, c *client) {
			for _, name := range []string{"skills", "mailboxSettings"} {
				if got := c.code("users/delta?$select=displayName," + name); got != "501 NotImplemented" {
					t.Errorf("%s: %s", name, got)
				}
			}
		}),
		held("soft-deleted is changed, purged is deleted, restored has no annotation", func(t *testing.T, c *client) {
			users, link, _ := c.round("users/delta")
			one, two := users[0]["id"].(string), users[1]["id"].(string)
			must(t, c.tenant.DeleteUser(one))
			must(t, c.tenant.PurgeUser(two))
			changed, link, _ := c.round(link)
			got := ids(changed)
			if reasonOf(got[one]) != "changed" || reasonOf(got[two]) != "deleted" {
				t.Errorf("%v", changed)
			}
			must(t, c.tenant.RestoreUser(one))
			if changed, _, _ := c.round(link); len(changed) != 1 || reasonOf(changed[0]) != "" || changed[0]["id"] != one {
				t.Errorf("%v", changed)
			}
		}),
		held("what came and went before the first round is not told", func(t *testing.T, c *client) {
			id, err := c.tenant.NewUser("Brief")
			must(t, err)
			must(t, c.tenant.PurgeUser(id))
			if users, _, _ := c.round("users/delta"); ids(users)[id] != nil {
				t.Error("told")
			}
		}),
		held("groups tell members by default, split over pages", func(t *testing.T, c *client) {
			groups, _, _ := c.round("groups/delta")
			times, members := map[string]int{}, map[string]int{}
			for _, g := range groups {
				id := g["id"].(string)
				times[id]++
				list, _ := g["members@delta"].([]any)
				members[id] += len(list)
				if len(list) > 20 {
					t.Errorf("%d members at once", len(list))
				}
			}
			for _, g := range c.tenant.Groups() {
				want, _, _ := c.round("groups/" + g.ID + "/members")
				if members[g.ID] != len(want) || len(want) > 20 && times[g.ID] < 2 {
					t.Errorf("%s: %d members in %d slices, want %d", g.Name, members[g.ID], times[g.ID], len(want))
				}
			}
			groups, _, _ = c.round("groups/delta?$select=displayName")
			if len(groups) != 4 || groups[0]["members@delta"] != nil {
				t.Errorf("with $select: %d, %v", len(groups), groups[0])
			}
		}),
		held("memberships begin and end in members@delta, and end for purged users only", func(t *testing.T, c *client) {
			group := c.tenant.Groups()[0].ID
			members, _, _ := c.round("groups/" + group + "/members")
			_, link, _ := c.round("groups/delta")
			left, soft, purged := members[0]["id"].(string), members[1]["id"].(string), members[2]["id"].(string)
			fresh, err := c.tenant.NewUser("Joins")
			must(t, err)
			must(t, c.tenant.AddMember(group, fresh))
			must(t, c.tenant.RemoveMember(group, left))
			must(t, c.tenant.DeleteUser(soft))
			must(t, c.tenant.PurgeUser(purged))
			changed, _, _ := c.round(link)
			told := map[string]string{}
			for _, v := range ids(changed)[group]["members@delta"].([]any) {
				told[v.(object)["id"].(string)] = "in" + reasonOf(v.(object))
			}
			if len(told) != 3 || told[fresh] != "in" || told[left] != "indeleted" || told[purged] != "indeleted" {
				t.Errorf("%v", told)
			}
			now, _, _ := c.round("groups/" + group + "/members")
			if got := ids(now); got[soft] == nil || got[left] != nil || got[purged] != nil || got[fresh] == nil {
				t.Errorf("soft-deleted %v, left %v, purged %v, fresh %v", got[soft], got[left], got[purged], got[fresh])
			}
		}),
		held("a reset is 410 with a Location that starts anew", func(t *testing.T, c *client) {
			_, link, _ := c.round("users/delta?$select=displayName")
			c.tenant.ExpireDelta()
			resp := c.do("GET", link, nil)
			body := decode[object](t, resp)
			if resp.StatusCode != 410 || body["error"].(object)["code"] != "syncStateNotFound" {
				t.Fatalf("%d %v", resp.StatusCode, body)
			}
			if users, _, _ := c.round(resp.Header.Get("Location")); len(users) != 90 {
				t.Errorf("%d users", len(users))
			}
		}),
	})
	t.Run("tokens of users and groups live 7 days", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, Groups: 1})
		for _, kind := range []string{"users", "groups"} {
			_, link, _ := c.round(kind + "/delta")
			s.Advance(7*24*time.Hour - time.Minute)
			c.get(link)
			s.Advance(2 * time.Minute)
			c.refused(410, "GET", link, nil)
		}
	})
}

// Source: "List users", "List groups", "group resource type", "mailboxSettings".
func TestConformanceDirectoryObjects(t *testing.T) {
	t.Parallel()
	spec := graphsim.TenantSpec{Users: 12, Unlicensed: 1, Shared: 1, Rooms: 2, Equipment: 1, Groups: 8}
	conform(t, graphsim.Options{}, spec, []rule{
		held("a list of users has eleven properties", func(t *testing.T, c *client) {
			user := values(c.get("users?$top=1"))[0]
			if len(user) != 11 || user["userPrincipalName"] == nil || user["assignedPlans"] != nil {
				t.Errorf("%d: %v", len(user), user)
			}
		}),
		held("every property worth selecting can be selected", func(t *testing.T, c *client) {
			names := strings.Split("id,userPrincipalName,displayName,mail,mailNickname,proxyAddresses,otherMails,userType,accountEnabled,"+
				"assignedLicenses,assignedPlans,provisionedPlans,usageLocation,preferredDataLocation,onPremisesSyncEnabled,createdDateTime,"+
				"deletedDateTime,externalUserState,showInAddressList,isResourceAccount,employeeId,department,jobTitle", ",")
			user := values(c.get("users?$select=" + strings.Join(names, ",")))[0]
			for _, name := range names {
				if _, there := user[name]; !there {
					t.Errorf("no %s", name)
				}
			}
			if len(user) != len(names) {
				t.Errorf("%v", user)
			}
		}),
		held("some properties are of a single user only", func(t *testing.T, c *client) {
			id := c.tenant.Users()[0].ID
			if got := c.get("users/" + id + "?$select=skills,mailboxSettings"); got["skills"] == nil || got["mailboxSettings"] == nil {
				t.Errorf("%v", got)
			}
			if got := c.code("users?$select=skills"); !strings.HasPrefix(got, "400") {
				t.Error(got)
			}
		}),
		held("hideFromAddressLists is of a single group only", func(t *testing.T, c *client) {
			id := c.tenant.Groups()[0].ID
			if got := c.get("groups/" + id + "?$select=hideFromAddressLists,hideFromOutlookClients"); got["hideFromAddressLists"] != false {
				t.Errorf("%v", got)
			}
			if got := c.code("groups?$select=hideFromAddressLists"); !strings.HasPrefix(got, "400") {
				t.Error(got)
			}
		}),
		held("a group's kind is in groupTypes, mailEnabled and securityEnabled", func(t *testing.T, c *client) {
			kinds := map[[3]bool]bool{}
			for _, g := range c.tenant.Groups() {
				got := c.get("groups/" + g.ID)
				unified := slices.Contains(got["groupTypes"].([]any), any("Unified"))
				team := slices.Contains(got["resourceProvisioningOptions"].([]any), any("Team"))
				dynamic := slices.Contains(got["groupTypes"].([]any), any("DynamicMembership"))
				if unified != g.Unified || got["mailEnabled"] != g.Mail || got["securityEnabled"] != g.Secures || team != g.Team || dynamic != g.Dynamic {
					t.Errorf("%+v: %v", g, got)
				}
				if (got["mail"] != nil) != g.Mail || (got["membershipRule"] != nil) != g.Dynamic || (unified && !g.Mail) {
					t.Errorf("%+v: %v", g, got)
				}
				kinds[[3]bool{g.Unified, g.Mail, g.Secures}] = true
			}
			if len(kinds) != 4 {
				t.Errorf("of the four kinds of group there are %d: %v", len(kinds), kinds)
			}
		}),
		held("userPurpose tells the kind of mailbox", func(t *testing.T, c *client) {
			kinds := map[any]int{}
			for _, u := range c.tenant.Users() {
				if u.Mailbox {
					kinds[c.get("users/" + u.ID + "/mailboxSettings?$select=userPurpose")["userPurpose"]]++
				}
			}
			if kinds["user"] != 11 || kinds["shared"] != 1 || kinds["room"] != 2 || kinds["equipment"] != 1 {
				t.Errorf("%v", kinds)
			}
		}),
		held("rooms are places", func(t *testing.T, c *client) {
			c.tenant.Consent("Place.Read.All", "User.Read.All")
			c.token = c.mustToken()
			rooms := values(c.get("places/microsoft.graph.room"))
			if len(rooms) != 2 || rooms[0]["emailAddress"] == nil || rooms[0]["capacity"] == nil || rooms[0]["building"] == nil {
				t.Errorf("%v", rooms)
			}
		}),
		held("members, owners, transitive members and memberOf agree", func(t *testing.T, c *client) {
			nested := false
			for _, g := range c.tenant.Groups() {
				direct, _, _ := c.round("groups/" + g.ID + "/members")
				all, _, _ := c.round("groups/" + g.ID + "/transitiveMembers")
				if len(all) < len(direct) {
					t.Errorf("%d members, %d transitive ones", len(direct), len(all))
				}
				nested = nested || len(all) > len(direct)
				for _, m := range direct {
					if m["@odata.type"] == "#microsoft.graph.user" {
						groups, _, _ := c.round("users/" + m["id"].(string) + "/memberOf")
						if ids(groups)[g.ID] == nil {
							t.Errorf("%s is not in its own group", m["id"])
						}
					}
				}
				users, _, _ := c.round("groups/" + g.ID + "/members/microsoft.graph.user")
				owners, _, _ := c.round("groups/" + g.ID + "/owners")
				if len(users) > len(direct) || len(owners) > 2 {
					t.Errorf("%d users, %d owners", len(users), len(owners))
				}
			}
			if !nested {
				t.Error("no group in a group")
			}
		}),
		held("licences: bought, assigned, plans", func(t *testing.T, c *client) {
			sku := values(c.get("subscribedSkus"))[0]
			details := values(c.get("users/" + c.tenant.Users()[0].ID + "/licenseDetails"))[0]
			user := c.get("users/" + c.tenant.Users()[0].ID + "?$select=assignedLicenses,assignedPlans")
			if sku["consumedUnits"] != 11.0 || details["skuId"] != sku["skuId"] || len(details["servicePlans"].([]any)) != 2 ||
				user["assignedLicenses"].([]any)[0].(object)["skuId"] != sku["skuId"] ||
				user["assignedPlans"].([]any)[0].(object)["capabilityStatus"] != "Enabled" {
				t.Errorf("%v %v %v", sku, details, user)
			}
		}),
		held("an absent object is Request_ResourceNotFound", func(t *testing.T, c *client) {
			for _, path := range []string{"users/nobody", "groups/none", "directory/deletedItems/none", "groups/none/members"} {
				if got := c.code(path); got != "404 Request_ResourceNotFound" {
					t.Errorf("%s: %s", path, got)
				}
			}
		}),
	})
}

// Source: "Use query parameters", "Advanced query capabilities", "Paging".
func TestConformanceQuery(t *testing.T) {
	t.Parallel()
	spec := graphsim.TenantSpec{Users: 250, Unlicensed: 50, Groups: 4}
	conform(t, graphsim.Options{}, spec, []rule{
		held("pages hold 100, and up to 999 on demand", func(t *testing.T, c *client) {
			if n := len(values(c.get("users"))); n != 100 {
				t.Errorf("%d", n)
			}
			if n := len(values(c.get("users?$top=999"))); n != 250 {
				t.Errorf("%d", n)
			}
			for _, top := range []string{"0", "-1", "x", "1000"} {
				if got := c.code("users?$top=" + top); !strings.HasPrefix(got, "400") {
					t.Errorf("$top=%s: %s", top, got)
				}
			}
		}),
		held("nextLink is followed verbatim, its token is opaque", func(t *testing.T, c *client) {
			page := c.get("users?$top=100&$select=id")
			next, _ := url.Parse(page["@odata.nextLink"].(string))
			q := next.Query()
			if q.Get("$select") != "id" || q.Get("$top") != "100" || len(q.Get("$skiptoken")) < 20 {
				t.Errorf("%v", q)
			}
			q.Set("$skiptoken", "100")
			if got := c.code("users?" + q.Encode()); !strings.HasPrefix(got, "400") {
				t.Error(got)
			}
			if users, _, _ := c.round("users?$top=100&$select=id"); len(ids(users)) != 250 {
				t.Errorf("%d users", len(users))
			}
		}),
		held("@odata.count is on page one only, and the header is not remembered", func(t *testing.T, c *client) {
			page := c.want(200, "GET", "users?$count=true&$top=100", nil, eventual...)
			if page["@odata.count"] != 250.0 {
				t.Errorf("%v", page["@odata.count"])
			}
			next := page["@odata.nextLink"].(string)
			if got := c.code(next); !strings.HasPrefix(got, "400") {
				t.Errorf("without the header: %s", got)
			}
			if page := c.want(200, "GET", next, nil, eventual...); page["@odata.count"] != nil {
				t.Errorf("%v", page["@odata.count"])
			}
		}),
		held("$filter works on documented properties", func(t *testing.T, c *client) {
			users := c.tenant.Users()
			name, _, _ := strings.Cut(users[0].Name, " ")
			for filter, ok := range map[string]func(n int) bool{
				"userPrincipalName eq '" + strings.ToUpper(users[0].PrincipalName) + "'":    func(n int) bool { return n == 1 },
				"startsWith(displayName,'" + name + "')":                                    func(n int) bool { return n >= 1 && n < 250 },
				"id in ('" + users[1].ID + "','" + users[2].ID + "')":                       func(n int) bool { return n == 2 },
				"accountEnabled eq true and userType eq 'Member'":                           func(n int) bool { return n == 250 },
				"createdDateTime lt 2000-01-01T00:00:00Z":                                   func(n int) bool { return n == 0 },
				"assignedLicenses/any(l:l/skuId eq 05e9a617-0261-4cee-bb44-138d3ef5d965)":   func(n int) bool { return n == 200 },
				"proxyAddresses/any(p:startsWith(p,'SMTP:" + users[3].PrincipalName + "'))": func(n int) bool { return n == 1 },
			} {
				found, _, _ := c.round(query("users", "$filter="+filter+"&$select=id"))
				if !ok(len(found)) {
					t.Errorf("%s: %d", filter, len(found))
				}
			}
		}),
		held("advanced queries need the header and $count", func(t *testing.T, c *client) {
			for _, options := range []string{"$filter=displayName ne 'x'", "$filter=not startsWith(displayName,'x')", "$filter=endsWith(mail,'x')",
				"$filter=startsWith(displayName,'a')&$orderby=displayName", "$filter=assignedLicenses/$count eq 0"} {
				if got := c.code(query("users", options)); got != "400 Request_UnsupportedQuery" {
					t.Errorf("%s: %s", options, got)
				}
				if got := c.code(query("users", options), eventual...); got != "400 Request_UnsupportedQuery" {
					t.Errorf("%s without $count: %s", options, got)
				}
				if got := c.code(query("users", options+"&$count=true"), eventual...); got != "200" {
					t.Errorf("%s: %s", options, got)
				}
			}
			if page := c.want(200, "GET", query("users", "$filter=assignedLicenses/$count eq 0&$count=true"), nil, eventual...); page["@odata.count"] != 50.0 {
				t.Errorf("%v without a licence", page["@odata.count"])
			}
		}),
		held("$count without the header is Request_BadRequest", func(t *testing.T, c *client) {
			if got := c.code("users?$count=true"); got != "400 Request_BadRequest" {
				t.Error(got)
			}
			resp := c.do("GET", "users/$count", nil, eventual...)
			data, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(data) != "250" {
				t.Errorf("%q", data)
			}
		}),
		held("$search needs the header, not $count", func(t *testing.T, c *client) {
			name := strings.Fields(c.tenant.Users()[0].Name)[0]
			search := query("users", `$search="displayName:`+name[:2]+`"`)
			if got := c.code(search); got != "400 Request_UnsupportedQuery" {
				t.Error(got)
			}
			if found := values(c.want(200, "GET", search, nil, eventual...)); len(found) == 0 || len(found) == 100 {
				t.Errorf("%d found", len(found))
			}
		}),
		held("$orderby sorts", func(t *testing.T, c *client) {
			users := values(c.get(query("users", "$orderby=displayName desc&$top=50")))
			if !slices.IsSortedFunc(users, func(a, b object) int {
				return strings.Compare(strings.ToLower(b["displayName"].(string)), strings.ToLower(a["displayName"].(string)))
			}) {
				t.Errorf("%v", users)
			}
		}),
		held("$expand returns at most 20 related objects and no nextLink", func(t *testing.T, c *client) {
			id := c.tenant.Groups()[0].ID
			group := c.get(query("groups/"+id, "$select=id&$expand=members($select=id)"))
			if members := group["members"].([]any); len(members) != 20 || len(members[0].(object)) != 2 || group["members@odata.nextLink"] != nil {
				t.Errorf("%v", group)
			}
		}),
		held("unknown options, properties and bad values are refused", func(t *testing.T, c *client) {
			for _, options := range []string{"$foo=1", "foo=1", "$select=nothing", "$filter=nothing eq 1", "$filter=displayName eq", "$filter=accountEnabled eq 'x'",
				"$filter=displayName eq 5", "$filter=jobTitle gt", "$orderby=nothing", "$orderby=displayName sideways", "$orderby=assignedPlans",
				"$expand=nothing", "$expand=displayName", "$expand=memberOf($select=id", "$count=maybe", "$skip=5", "$filter=businessPhones eq 'x'", "$filter=assignedPlans eq 'x'"} {
				if got := c.code(query("users", options)); !strings.HasPrefix(got, "400 ") {
					t.Errorf("%s: %s", options, got)
				}
			}
			if got := c.code("users?$top=1&$top=2"); !strings.HasPrefix(got, "400 ") {
				t.Errorf("twice: %s", got)
			}
		}),
	})
}

// Source: "List deletedItems", "deletedItems: restore", "directory resource type".
func TestConformanceDeletedItems(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{}, graphsim.TenantSpec{Users: 4, Groups: 2}, []rule{
		held("the collection needs a type", func(t *testing.T, c *client) {
			if got := c.code("directory/deletedItems"); !strings.HasPrefix(got, "400") {
				t.Error(got)
			}
		}),
		held("users and Microsoft 365 groups stand there, other groups are deleted at once", func(t *testing.T, c *client) {
			groups := c.tenant.Groups()
			must(t, c.tenant.DeleteUser(c.tenant.Users()[0].ID))
			for _, g := range groups {
				must(t, c.tenant.DeleteGroup(g.ID))
			}
			users, _, _ := c.round("directory/deletedItems/microsoft.graph.user")
			left, _, _ := c.round("directory/deletedItems/microsoft.graph.group")
			if len(users) != 1 || users[0]["deletedDateTime"] == nil || len(left) != 1 || left[0]["id"] != groups[0].ID {
				t.Errorf("%v %v", users, left)
			}
			if got := c.code("directory/deletedItems/" + users[0]["id"].(string) + "/microsoft.graph.group"); !strings.HasPrefix(got, "404") {
				t.Errorf("wrong cast: %s", got)
			}
		}),
		held("sorting by deletedDateTime is an advanced query", func(t *testing.T, c *client) {
			const path = "directory/deletedItems/microsoft.graph.user?$orderBy=deletedDateTime"
			if got := c.code(path); got != "400 Request_UnsupportedQuery" {
				t.Error(got)
			}
			if got := c.code(path+"&$count=true", eventual...); got != "200" {
				t.Error(got)
			}
			if got := c.code("directory/deletedItems/microsoft.graph.user?$orderBy=displayName"); got != "200" {
				t.Error(got)
			}
		}),
		held("restore takes an optional body and keeps the id", func(t *testing.T, c *client) {
			users := c.tenant.Users()
			must(t, c.tenant.DeleteUser(users[0].ID))
			must(t, c.tenant.DeleteUser(users[1].ID))
			c.want(200, "POST", "directory/deletedItems/"+users[0].ID+"/restore", nil)
			name := "back@" + c.tenant.Spec().Domain
			c.want(200, "POST", "directory/deletedItems/"+users[1].ID+"/restore", object{"autoReconcileProxyConflict": true, "newUserPrincipalName": name})
			if got := c.get("users/" + users[1].ID); got["userPrincipalName"] != name {
				t.Errorf("%v", got)
			}
			c.refused(404, "POST", "directory/deletedItems/"+users[0].ID+"/restore", nil)
		}),
		held("each kind needs its own permission", func(t *testing.T, c *client) {
			must(t, c.tenant.DeleteUser(c.tenant.Users()[0].ID))
			c.tenant.Consent("Group.Read.All", "Group.ReadWrite.All")
			c.token = c.mustToken()
			for _, path := range []string{"microsoft.graph.user", c.tenant.Users()[0].ID} {
				if got := c.code("directory/deletedItems/" + path); got != "403 Authorization_RequestDenied" {
					t.Errorf("%s: %s", path, got)
				}
			}
			c.refused(403, "POST", "directory/deletedItems/"+c.tenant.Users()[0].ID+"/restore", nil)
		}),
		held("delete purges", func(t *testing.T, c *client) {
			id := c.tenant.Users()[0].ID
			c.refused(404, "DELETE", "directory/deletedItems/"+id, nil)
			must(t, c.tenant.DeleteUser(id))
			c.want(204, "DELETE", "directory/deletedItems/"+id, nil)
			c.refused(404, "GET", "directory/deletedItems/"+id, nil)
		}),
	})
}

// Source: "site: delta", "getAllSites", "Delete a site".
func TestConformanceSiteDirectory(t *testing.T) {
	t.Parallel()
	spec := graphsim.TenantSpec{Users: 2, Groups: 2, Sites: 3, Subsites: 2}
	team := func(c *client) graphsim.SiteInfo {
		all := c.tenant.Sites()
		return all[slices.IndexFunc(all, func(s graphsim.SiteInfo) bool { return s.Owner == "" && s.Group == "" })]
	}
	conform(t, graphsim.Options{PageSize: 2}, spec, []rule{
		held("the first round enumerates, token=latest does not", func(t *testing.T, c *client) {
			all, _, _ := c.round("sites/delta")
			none, link, _ := c.round("sites/delta?token=latest")
			if len(all) != 6 || len(none) != 0 || link == "" {
				t.Errorf("%d, %d", len(all), len(none))
			}
		}),
		held("a deleted site has a deleted facet and no @removed", func(t *testing.T, c *client) {
			_, link, _ := c.round("sites/delta")
			must(t, c.tenant.DeleteSite(team(c).ID))
			changed, _, _ := c.round(link)
			if len(changed) != 1 || changed[0]["deleted"].(object)["state"] != "deleted" || changed[0]["@removed"] != nil {
				t.Errorf("%v", changed)
			}
		}),
		held("a reset is 410 with either code and a Location", func(t *testing.T, c *client) {
			codes := map[any]bool{}
			for range 2 {
				_, link, _ := c.round("sites/delta")
				c.tenant.ExpireDelta()
				resp := c.do("GET", link, nil)
				body := decode[object](t, resp)
				codes[body["error"].(object)["code"]] = true
				if all, _, _ := c.round(resp.Header.Get("Location")); resp.StatusCode != 410 || len(all) != 6 {
					t.Errorf("%d, then %d sites", resp.StatusCode, len(all))
				}
			}
			if !codes["resyncChangesApplyDifferences"] || !codes["resyncChangesUploadDifferences"] {
				t.Errorf("%v", codes)
			}
		}),
		held("the nextLink of getAllSites has another path", func(t *testing.T, c *client) {
			next := c.get("sites/getAllSites")["@odata.nextLink"].(string)
			if !strings.Contains(next, "/sites/oneDrive.getAllSites?") || !strings.Contains(next, "skiptoken") {
				t.Error(next)
			}
			if all, _, _ := c.round("sites/getAllSites"); len(all) != 6 {
				t.Errorf("%d sites", len(all))
			}
		}),
		held("subsites are listed by their site, without root facet, in the same collection", func(t *testing.T, c *client) {
			top := team(c)
			below, _, _ := c.round("sites/" + url.PathEscape(top.ID) + "/sites")
			if len(below) != 1 || below[0]["root"] != nil {
				t.Fatalf("%v", below)
			}
			a, b := strings.Split(top.ID, ","), strings.Split(below[0]["id"].(string), ",")
			if a[0] != b[0] || a[1] != b[1] || a[2] == b[2] {
				t.Errorf("%v %v", a, b)
			}
		}),
		held("a group has its site, root and host have theirs", func(t *testing.T, c *client) {
			group := c.tenant.Groups()[0]
			if got := c.get("groups/" + group.ID + "/sites/root"); got["id"] != group.Site {
				t.Errorf("%v", got)
			}
			if got := c.get("sites/root"); got["siteCollection"].(object)["hostname"] == nil {
				t.Errorf("%v", got)
			}
		}),
		held("sites are addressed by host and by path, and searched by keyword", func(t *testing.T, c *client) {
			site := c.get("sites/" + url.PathEscape(team(c).ID))
			u, err := url.Parse(site["webUrl"].(string))
			must(t, err)
			if got := c.get("sites/" + u.Host + ":" + u.Path); got["id"] != site["id"] {
				t.Errorf("by path: %v", got)
			}
			if got := c.get("sites/" + u.Host); got["id"] != c.get("sites/root")["id"] {
				t.Errorf("by host: %v", got)
			}
			if found, _, _ := c.round("sites?search=team%20site"); len(found) != 3 {
				t.Errorf("%d found", len(found))
			}
		}),
		held("a person's token enumerates nothing", func(t *testing.T, c *client) {
			c.operator("Sites.Read.All")
			if got := c.code("sites/getAllSites") + c.code("sites/delta") + c.code("sites/root"); strings.Count(got, "403") != 2 || !strings.Contains(got, "200") {
				t.Error(got)
			}
		}),
		held("unknown options and properties are refused", func(t *testing.T, c *client) {
			for _, path := range []string{"sites/delta?$filter=x%20eq%201", "sites/delta?$select=nothing", "sites/root?$top=1", "sites/getAllSites?foo=1"} {
				if got := c.code(path); got != "400 invalidRequest" {
					t.Errorf("%s: %s", path, got)
				}
			}
		}),
		held("enumeration needs an application token with Sites.Read.All", func(t *testing.T, c *client) {
			c.tenant.Consent("Files.ReadWrite.All")
			c.token = c.mustToken()
			for _, path := range []string{"sites/delta", "sites/getAllSites"} {
				if resp := c.do("GET", path, nil); resp.StatusCode != http.StatusForbidden {
					t.Errorf("%s: %d", path, resp.StatusCode)
				} else {
					resp.Body.Close()
				}
			}
		}),
	})
}

// FuzzOData: whatever stands behind the question mark is answered, and 200 only if every
// option was known and taken.
func FuzzOData(f *testing.F) {
	c := fuzzed(f, graphsim.TenantSpec{Users: 12, Groups: 2})
	for _, seed := range []string{"$filter=displayName eq 'x'", "$filter=not (id in ('a','b'))&$count=true", "$select=id,displayName&$top=3", "$orderby=displayName desc",
		"$search=\"displayName:a\" AND \"mail:b\"", "$expand=memberOf($select=id;$top=1)", "$skiptoken=AAAA", "$top=99999999999999999999", "$count=true", "$foo=bar",
		"a=b", "$filter=proxyAddresses/any(p:p ne null)", "$filter=assignedLicenses/$count eq 0", "%zz", "$select=", "$expand=a(b(c", "$TOP=2&$top=3", "$skip=-1"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	known := []string{"$select", "$filter", "$top", "$count", "$orderby", "$search", "$expand", "$skiptoken"}
	f.Fuzz(func(t *testing.T, options string, advanced bool) {
		c := c.in(t)
		parsed, err := url.ParseQuery(strings.ReplaceAll(options, ";", "%3B"))
		if err != nil {
			parsed = url.Values{options: {""}}
		}
		u, err := url.Parse(c.s.URL() + "/v1.0/users")
		must(t, err)
		u.RawQuery = parsed.Encode()
		consistency := ""
		if advanced {
			consistency = "eventual"
		}
		resp := c.do("GET", u.String(), nil, "ConsistencyLevel", consistency)
		page := decode[object](t, resp)
		switch {
		case resp.StatusCode >= 500:
			t.Fatalf("%s: %d %v", options, resp.StatusCode, page)
		case resp.StatusCode != http.StatusOK:
			return
		}
		for name, given := range parsed {
			if !slices.Contains(known, strings.ToLower(name)) || len(given) > 1 {
				t.Fatalf("%s: option %q passed", options, name)
			}
		}
		if users := values(page); len(users) > 12 {
			t.Fatalf("%d users", len(users))
		}
	})
}
