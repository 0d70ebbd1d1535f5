package graphsim

import (
	"maps"
	"slices"
	"strings"
)

// The types of files, sites, teams and registrations as OData sees them: what their
// resource pages name and the simulator returns. Relations are those that $expand takes.
var (
	driveType = newType("drive", []string{"id", "driveType", "name", "description", "webUrl"}, kinds{
		timeProperty: authored, complexProperty: {"owner", "quota", "sharePointIds", "system"}})
	driveItemType = newType("driveItem", []string{"id", "name", "eTag", "cTag", "webUrl", "description"}, kinds{timeProperty: authored, numberProperty: {"size"},
		complexProperty: {"createdBy", "lastModifiedBy", "parentReference", "file", "folder", "package", "root", "deleted", "remoteItem",
			"shared", "specialFolder", "sharepointIds", "fileSystemInfo", "malware", "publication", "bundle"},
		navigationProperty: {"children", "permissions", "listItem"}}).also("@microsoft.graph.downloadUrl", "content.downloadUrl")
	itemVersionType = newType("driveItemVersion", []string{"id"}, kinds{timeProperty: {"lastModifiedDateTime"},
		numberProperty: {"size"}, complexProperty: {"lastModifiedBy", "publication"}})
	permissionType = newType("permission", []string{"id", "shareId"}, kinds{collectionProperty: {"roles", "grantedToIdentitiesV2"},
		complexProperty: {"link", "grantedToV2", "invitation", "inheritedFrom"}, boolProperty: {"hasPassword"},
		timeProperty: {"expirationDateTime"}})
	siteListType = newType("list", []string{"id", "name", "displayName", "description", "webUrl"}, kinds{timeProperty: authored,
		complexProperty: {"list", "system"}, navigationProperty: {"columns"}})
	columnType = newType("columnDefinition", []string{"id", "name", "displayName", "description", "columnGroup"}, kinds{
		boolProperty:    {"readOnly", "hidden", "required", "indexed", "enforceUniqueValues"},
		complexProperty: append([]string{"defaultValue", "validation"}, columnKinds...)})
	contentTypeType = newType("contentType", []string{"id", "name"}, kinds{boolProperty: {"hidden"}})
	listItemType    = newType("listItem", []string{"id", "eTag", "webUrl"}, kinds{timeProperty: authored,
		complexProperty:    {"contentType", "createdBy", "lastModifiedBy", "parentReference", "sharepointIds", "deleted"},
		navigationProperty: {"fields"}})
	rowVersionType = newType("listItemVersion", []string{"id"}, kinds{timeProperty: {"lastModifiedDateTime"},
		complexProperty: {"lastModifiedBy"}, navigationProperty: {"fields"}})
	fieldsType   = &entityType{name: "microsoft.graph.fieldValueSet", open: true}
	sitePageType = newType("sitePage", []string{"id", "name", "title", "eTag", "webUrl", "pageLayout", "promotionKind"}, kinds{
		timeProperty: authored, boolProperty: {"showComments"},
		complexProperty: {"createdBy", "lastModifiedBy", "publishingState", "titleArea"}, navigationProperty: {"canvasLayout"}})
	teamType = newType("team", []string{"id", "displayName", "description", "visibility", "tenantId", "internalId", "webUrl"}, kinds{
		timeProperty: {"createdDateTime"}, boolProperty: {"isArchived"}})
	channelType = newType("channel", []string{"id", "displayName", "description", "membershipType", "tenantId", "webUrl"}, kinds{
		timeProperty: {"createdDateTime"}, boolProperty: {"isArchived"}})
	chatMessageType = newType("chatMessage", []string{"id", "replyToId", "etag", "messageType", "subject", "summary", "importance", "locale",
		"chatId"}, kinds{timeProperty: append([]string{"lastEditedDateTime", "deletedDateTime"}, authored...),
		complexProperty: {"from", "body", "channelIdentity"}, navigationProperty: {"replies"}})
	applicationType = registeredType("application", "uniqueName")
	principalType   = registeredType("servicePrincipal", "servicePrincipalType", "accountEnabled", "appRoles")
	assignmentType  = newType("appRoleAssignment", []string{"id", "principalId", "principalType", "resourceId", "appRoleId"},
		kinds{timeProperty: {"createdDateTime"}})
	// memberType is what may be in a group: people and groups.
	memberType   = &entityType{name: "microsoft.graph.directoryObject", properties: merged(groupType.properties, userType.properties)}
	settingsType = settingsSchema.entity(nil, nil)
	authored     = []string{"createdDateTime", "lastModifiedDateTime"}
)

// registeredType is an application or service principal: what clients may set and more.
func registeredType(kind string, more ...string) *entityType {
	t := newType(kind, []string{"id", "appId"}, kinds{timeProperty: {"createdDateTime"},
		collectionProperty: {"keyCredentials", "passwordCredentials"}})
	for _, name := range slices.Concat(settable[kind], more) {
		if _, known := t.properties[strings.ToLower(name)]; !known {
			t.properties[strings.ToLower(name)] = property{kind: untypedProperty, filter: true, order: true}
		}
	}
	return t
}

// also adds annotations that $select names and lists neither filter nor sort by.
func (t *entityType) also(names ...string) *entityType {
	for _, name := range names {
		t.properties[strings.ToLower(name)] = plain
	}
	return t
}

func merged(types ...map[string]property) map[string]property {
	all := map[string]property{}
	for _, t := range types {
		maps.Copy(all, t)
	}
	return all
}

// officeTypes is the type of what a path leads to, by its last fixed segment; a path that
// ends in a variable leads to one object of the collection before it.
var officeTypes = map[string]*entityType{
	"drive": driveType, "drives": driveType, "children": driveItemType, "content": driveItemType, "versions": itemVersionType, "permissions": permissionType,
	"filesFolder": driveItemType, "listItem": listItemType, "fields": fieldsType, "lists": siteListType, "columns": columnType,
	"contentTypes": contentTypeType, "pages": sitePageType, "microsoft.graph.sitePage": sitePageType, "teams": teamType,
	"channels": channelType, "allChannels": channelType, "incomingChannels": channelType, "messages": chatMessageType,
	"getAllMessages": chatMessageType, "allMessages": chatMessageType, "replies": chatMessageType, "applications": applicationType,
	"servicePrincipals": principalType, "appRoleAssignments": assignmentType, "appRoleAssignedTo": assignmentType,
	"members": memberType, "transitiveMembers": memberType, "owners": memberType, "mailboxSettings": settingsType,
}

// typeOf finds the type of a route that names none. Routes that take no option which names
// properties need none.
func (rt *route) typeOf() *entityType {
	fixed := slices.DeleteFunc(slices.Clone(rt.segments), func(s string) bool { return s == "delta" || s[0] == '@' })
	last := len(fixed) - 1
	one := fixed[last][0] == '{'
	if one {
		last--
	}
	switch {
	case fixed[last] == "items" && fixed[0] == "drives":
		return driveItemType
	case fixed[last] == "items":
		return listItemType
	case fixed[last] == "versions" && fixed[0] == "sites":
		return rowVersionType
	}
	return officeTypes[fixed[last]]
}
