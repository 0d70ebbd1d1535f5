package graphsim

import (
	"fmt"
	"net/http"
	"strings"
)

// A partner's view of its customers: the other tenants of the simulator, each in one
// relationship that a group of the partner has access by ("delegatedAdminRelationship
// resource type").

func partnerRoutes() []route {
	const base = "tenantRelationships/"
	lists := []string{"$select", "$filter", "$top", "$orderby", "$count", "$skiptoken"}
	get := func(pattern string, takes *taken, handle func(*call) error) route {
		return route{method: "GET", pattern: base + pattern, units: 1, roles: rolesCustomers, takes: takes, handle: handle}
	}
	return []route{
		get("delegatedAdminRelationships", takes(relationshipType, lists...), listRelationships),
		get("delegatedAdminRelationships/{relationship}/accessAssignments", takes(nil), listAccessAssignments),
	}
}

var relationshipType = &entityType{name: "microsoft.graph.delegatedAdminRelationship", properties: map[string]property{
	"id": {filter: true}, "displayname": filtered, "status": {filter: true}, "customer": {kind: complexProperty}, "accessdetails": {kind: complexProperty},
	"duration": plain, "autoextendduration": plain, "createddatetime": {kind: timeProperty, order: true}, "activateddatetime": {kind: timeProperty},
	"enddatetime": {kind: timeProperty}, "lastmodifieddatetime": {kind: timeProperty},
}}

// customers are who the partner of a request serves.
func (c *call) customers() (list []*Tenant, err error) {
	if !c.t.spec.Partner {
		return nil, requestDenied()
	}
	for _, t := range c.s.Tenants() {
		if t != c.t && !t.spec.Partner {
			list = append(list, t)
		}
	}
	return list, nil
}

// listOfCustomers answers with something of each customer, up to 300 a page ("List
// delegatedAdminCustomers", "List delegatedAdminRelationships").
func (c *call) listOfCustomers(render func(*Tenant, selection) []byte) error {
	list, err := c.customers()
	if err != nil {
		return err
	}
	return c.list(listing{count: len(list), usual: 100, most: 300,
		render: func(i int) []byte { return render(list[i], c.sel) }, full: func(i int) []byte { return render(list[i], nil) }})
}

func partnerEtag(o *object, id string) { o.str("@odata.etag", fmt.Sprintf(`W/"%s"`, id[:8])) }

func listCustomers(c *call) error {
	return c.listOfCustomers(func(t *Tenant, sel selection) []byte {
		o := newObject(sel)
		partnerEtag(o, t.id)
		o.str("id", t.id)
		o.str("tenantId", t.id)
		o.str("displayName", t.spec.Name)
		return o.done()
	})
}

// relationshipID is two GUIDs joined.
func relationshipID(partner, customer *Tenant) string { return customer.id + "-" + partner.id }

// relationshipRoles are the roles of every relationship: Privileged Role Administrator, who
// may consent to application permissions of Graph.
const relationshipRoles = `{"unifiedRoles":[{"roleDefinitionId":"e8611ab8-c189-46e8-94e1-60213ab1f814"}]}`

func listRelationships(c *call) error {
	began := epoch.AddDate(0, -6, 0)
	return c.listOfCustomers(func(t *Tenant, sel selection) []byte {
		o := newObject(sel)
		partnerEtag(o, t.id)
		o.str("id", relationshipID(c.t, t))
		o.str("displayName", c.t.spec.Name+" and "+t.spec.Name)
		o.str("status", "active")
		o.raw("customer", `{"tenantId":`+quoted(t.id)+`,"displayName":`+quoted(t.spec.Name)+`}`)
		o.raw("accessDetails", relationshipRoles)
		o.str("duration", "P2Y")
		o.str("autoExtendDuration", "P180D")
		o.instant("createdDateTime", began.AddDate(0, 0, -1))
		o.instant("activatedDateTime", began)
		o.instant("endDateTime", began.AddDate(2, 0, 0))
		o.instant("lastModifiedDateTime", began)
		return o.done()
	})
}

// listAccessAssignments names the group whose members have the roles of a relationship.
func listAccessAssignments(c *call) error {
	list, err := c.customers()
	if err != nil {
		return err
	}
	for _, t := range list {
		if id := relationshipID(c.t, t); strings.EqualFold(id, c.param("relationship")) {
			o := newObject(nil)
			partnerEtag(o, t.id)
			o.str("id", guid(mixString(c.t.seed, id)))
			o.str("status", "active")
			o.raw("accessContainer", `{"accessContainerId":`+quoted(guid(mixString(c.t.seed, "AdminAgents")))+`,"accessContainerType":"securityGroup"}`)
			o.raw("accessDetails", relationshipRoles)
			return c.page([][]byte{o.done()}, "", "")
		}
	}
	return fail(http.StatusNotFound, "notFound", "The relationship does not exist.")
}
