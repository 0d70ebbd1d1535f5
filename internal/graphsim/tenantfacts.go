package graphsim

import (
	"fmt"
)

func getOrganization(c *call) error {
	o := newObject(c.sel)
	o.str("id", c.t.id)
	o.str("displayName", c.t.spec.Name)
	o.raw("countryLetterCode", `"DE"`)
	o.instant("createdDateTime", epoch.AddDate(-5, 0, 0))
	o.raw("verifiedDomains", `[{"capabilities":"Email, OfficeCommunicationsOnline","isDefault":true,"isInitial":true,"name":`+
		quoted(c.t.spec.Domain)+`,"type":"Managed"}]`)
	return c.page([][]byte{o.done()}, "", "")
}

const (
	skuID            = "05e9a617-0261-4cee-bb44-138d3ef5d965"
	planExchange     = "efb87545-963c-4e0d-99df-69c6916d9eb0"
	planSharePoint   = "5dbe027f-2339-4123-9542-606e4d348a72"
	exchangePlan     = `{"assignedDateTime":"2024-01-02T03:04:05Z","capabilityStatus":"Enabled","service":"exchange","servicePlanId":"` + planExchange + `"}`
	sharePointPlan   = `{"assignedDateTime":"2024-01-02T03:04:05Z","capabilityStatus":"Enabled","service":"SharePoint","servicePlanId":"` + planSharePoint + `"}`
	licensedPlans    = `[` + exchangePlan + `,` + sharePointPlan + `]`
	licensedLicenses = `[{"disabledPlans":[],"skuId":"` + skuID + `"}]`
	servicePlans     = `[{"servicePlanId":"` + planExchange + `","servicePlanName":"EXCHANGE_S_ENTERPRISE","provisioningStatus":"Success","appliesTo":"User"},` +
		`{"servicePlanId":"` + planSharePoint + `","servicePlanName":"SHAREPOINTENTERPRISE","provisioningStatus":"Success","appliesTo":"User"}]`
)

func getSkus(c *call) error {
	c.t.mu.RLock()
	used := c.t.licensedUsers()
	c.t.mu.RUnlock()
	o := newObject(c.sel)
	o.str("id", c.t.id+"_"+skuID)
	o.str("skuId", skuID)
	o.str("skuPartNumber", "SPE_E3")
	o.str("capabilityStatus", "Enabled")
	o.str("appliesTo", "User")
	o.num("consumedUnits", int64(used))
	o.raw("prepaidUnits", fmt.Sprintf(`{"enabled":%d,"suspended":0,"warning":0,"lockedOut":0}`, c.t.licences()))
	o.raw("servicePlans", servicePlans)
	return c.page([][]byte{o.done()}, "", "")
}

// licensedUsers counts the active users with a licence: of those that the seed laid out and
// of those that were added, all of whom have one, less those who left.
func (t *Tenant) licensedUsers() int {
	used := t.seats().licensed + len(t.users.added)
	for _, place := range t.users.gone {
		if t.users.at(place).licensed {
			used--
		}
	}
	return used
}

func getLicenseDetails(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := c.t.userByKey(c.param("user"))
	if e == nil {
		return directoryNotFound(c.param("user"))
	}
	var items [][]byte
	if e.licensed {
		o := newObject(c.sel)
		o.str("id", skuID)
		o.str("skuId", skuID)
		o.str("skuPartNumber", "SPE_E3")
		o.raw("servicePlans", servicePlans)
		items = append(items, o.done())
	}
	return c.page(items, "", "")
}

// listRooms lists the rooms' mailboxes as places.
func listRooms(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	var rooms []*entry
	first := c.t.seats().firstRoom()
	for place := first; place < first+c.t.seats().rooms; place++ {
		if c.t.users.isActive(place) {
			rooms = append(rooms, c.t.users.at(place))
		}
	}
	return c.list(listing{count: len(rooms), usual: 100, most: 999, param: "$skip", render: func(i int) []byte {
		o := newObject(nil)
		o.str("id", rooms[i].id)
		o.str("displayName", rooms[i].name)
		o.str("emailAddress", c.t.principalName(rooms[i]))
		o.num("capacity", int64(4+rooms[i].ordinal%12))
		o.str("building", "Main")
		return o.done()
	}})
}
