package graphsim

// The directory's types as OData sees them ("user", "group" resource types; which
// properties filter and sort: "Advanced query capabilities").
var (
	filtered = property{filter: true, order: true}
	plain    = property{}

	userType = &entityType{name: "microsoft.graph.user", properties: map[string]property{
		"id": filtered, "displayname": filtered, "givenname": filtered, "surname": filtered, "userprincipalname": filtered,
		"mail": {filter: true}, "mailnickname": {filter: true}, "usertype": {filter: true}, "jobtitle": {filter: true},
		"department": {filter: true}, "usagelocation": {filter: true}, "employeeid": {filter: true},
		"signinactivity": {kind: complexProperty},
		"businessphones": {kind: collectionProperty}, "mobilephone": plain, "officelocation": plain, "preferredlanguage": plain,
		"preferreddatalocation": plain, "externaluserstate": {filter: true}, "isresourceaccount": {kind: boolProperty},
		"accountenabled":   {kind: boolProperty, filter: true},
		"assignedlicenses": {kind: collectionProperty, filter: true}, "assignedplans": {kind: collectionProperty, filter: true},
		"provisionedplans": {kind: collectionProperty}, "proxyaddresses": {kind: collectionProperty, filter: true},
		"othermails":      {kind: collectionProperty, filter: true},
		"createddatetime": {kind: timeProperty, filter: true, order: true}, "deleteddatetime": {kind: timeProperty},
		"onpremisessyncenabled": {kind: boolProperty, filter: true}, "showinaddresslist": {kind: boolProperty},
		"memberof": {kind: navigationProperty},
		// Kept outside of the directory's main store.
		"aboutme": outside, "birthday": outside, "hiredate": outside, "interests": outside, "mysite": outside,
		"pastprojects": outside, "preferredname": outside, "responsibilities": outside, "schools": outside,
		"skills": outside, "mailboxsettings": outside,
	}}
	outside = property{kind: complexProperty, single: true}

	groupType = &entityType{name: "microsoft.graph.group", properties: map[string]property{
		"id": filtered, "displayname": filtered, "mail": {filter: true}, "mailnickname": {filter: true}, "description": plain,
		"grouptypes": {kind: collectionProperty, filter: true}, "resourceprovisioningoptions": {kind: collectionProperty, filter: true},
		"resourcebehavioroptions": {kind: collectionProperty}, "proxyaddresses": {kind: collectionProperty, filter: true},
		"mailenabled": {kind: boolProperty, filter: true}, "securityenabled": {kind: boolProperty, filter: true},
		"visibility": plain, "classification": plain, "assignedlabels": {kind: collectionProperty},
		"createddatetime": {kind: timeProperty, filter: true}, "reneweddatetime": {kind: timeProperty},
		"expirationdatetime": {kind: timeProperty}, "deleteddatetime": {kind: timeProperty},
		"isarchived": {kind: boolProperty, single: true}, "onpremisessyncenabled": {kind: boolProperty, filter: true},
		"preferreddatalocation": plain, "uniquename": plain, "membershiprule": plain,
		"hidefromaddresslists": {kind: boolProperty, single: true}, "hidefromoutlookclients": {kind: boolProperty, single: true},
		"members": {kind: navigationProperty}, "owners": {kind: navigationProperty},
	}}

	// deletedType is what deletedItems returns; sorting by the time of the deletion is an
	// advanced query ("List deletedItems").
	deletedType = &entityType{name: "microsoft.graph.directoryObject", properties: map[string]property{
		"id": filtered, "displayname": filtered, "userprincipalname": filtered, "mail": plain, "appid": plain,
		"mailnickname": plain, "grouptypes": {kind: collectionProperty},
		"deleteddatetime": {kind: timeProperty, order: true, advanced: true},
	}}

	organizationType = &entityType{name: "microsoft.graph.organization", properties: map[string]property{
		"id": plain, "displayname": plain, "countrylettercode": plain, "createddatetime": {kind: timeProperty},
		"verifieddomains": {kind: collectionProperty},
	}}
	skuType = &entityType{name: "microsoft.graph.subscribedSku", properties: map[string]property{
		"id": plain, "skuid": plain, "skupartnumber": plain, "capabilitystatus": plain, "appliesto": plain,
		"consumedunits": {kind: numberProperty}, "prepaidunits": {kind: complexProperty}, "serviceplans": {kind: collectionProperty},
	}}
	licenseType = &entityType{name: "microsoft.graph.licenseDetails", properties: map[string]property{
		"id": plain, "skuid": plain, "skupartnumber": plain, "serviceplans": {kind: collectionProperty},
	}}
	customerType = &entityType{name: "microsoft.graph.delegatedAdminCustomer", properties: map[string]property{
		"id": {filter: true}, "tenantid": {filter: true}, "displayname": filtered,
	}}
)

// listOptions are what lists of directory objects take, relatedOptions those of what is
// related to one.
var (
	listOptions    = []string{"$select", "$filter", "$top", "$count", "$orderby", "$search", "$expand", "$skiptoken"}
	relatedOptions = []string{"$select", "$filter", "$top", "$count", "$orderby", "$search", "$skiptoken"}
)

// deltaQuery is what delta takes for users and groups: neither $top nor $expand nor
// $orderby ("Delta query overview").
var deltaQuery = []string{"$select", "$filter", "$deltatoken", "$skiptoken"}
