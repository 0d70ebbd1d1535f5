package graphsim

import (
	"slices"
	"strings"
)

// The types of Outlook as OData sees them, from the names of the reference's resource
// pages. Outlook filters and sorts by what it returns; it does not expand anything but
// the navigation named here.
var (
	mailFolderType = newType("mailFolder", []string{"id", "displayName", "parentFolderId"},
		kinds{numberProperty: {"childFolderCount", "unreadItemCount", "totalItemCount", "sizeInBytes"}, boolProperty: {"isHidden"}})
	messageType = newType("message", []string{"id", "changeKey", "internetMessageId", "subject", "bodyPreview", "importance",
		"parentFolderId", "conversationId", "conversationIndex", "webLink", "inferenceClassification"}, kinds{
		timeProperty: {"createdDateTime", "lastModifiedDateTime", "receivedDateTime", "sentDateTime"},
		boolProperty: {"hasAttachments", "isDeliveryReceiptRequested", "isReadReceiptRequested", "isRead", "isDraft"},
		collectionProperty: {"categories", "internetMessageHeaders", "toRecipients", "ccRecipients", "bccRecipients",
			"replyTo"},
		complexProperty:    {"body", "uniqueBody", "sender", "from", "flag"},
		navigationProperty: {"attachments", "singleValueExtendedProperties"}})
	attachmentType = newType("attachment", []string{"id", "name", "contentType", "contentId", "contentLocation"}, kinds{
		timeProperty: {"lastModifiedDateTime"}, boolProperty: {"isInline"}, numberProperty: {"size"},
		navigationProperty: {"microsoft.graph.itemAttachment"}}).also("contentBytes")
	contactFolderType = newType("contactFolder", []string{"id", "parentFolderId", "displayName"}, nil)
	contactType       = contactSchema.entity([]string{"id", "changeKey", "parentFolderId"},
		kinds{timeProperty: {"createdDateTime", "lastModifiedDateTime"}, navigationProperty: {"singleValueExtendedProperties"}})
	photoType         = newType("profilePhoto", []string{"id"}, kinds{numberProperty: {"height", "width"}})
	calendarType      = calendarSchema.entity([]string{"id", "name", "changeKey"}, kinds{complexProperty: {"owner"}})
	calendarGroupType = newType("calendarGroup", []string{"id", "name", "classId", "changeKey"}, nil)
	eventType         = eventSchema.entity([]string{"id", "changeKey", "webLink"}, eventNavigation)
	// instanceType is an event in a view, which shows no masters.
	instanceType = eventSchema.entity([]string{"id", "changeKey", "webLink"}, kinds{timeProperty: {"createdDateTime", "lastModifiedDateTime"},
		complexProperty: {"body"}, navigationProperty: {"attachments", "singleValueExtendedProperties"}})
	taskType         = taskSchema.entity([]string{"id"}, kinds{navigationProperty: {"checklistItems", "linkedResources"}})
	taskListType     = listSchema.entity([]string{"id"}, nil)
	conversationType = newType("conversation", []string{"id", "topic", "preview"}, kinds{boolProperty: {"hasAttachments"},
		timeProperty: {"lastDeliveredDateTime"}, collectionProperty: {"uniqueSenders"}})
	threadType = newType("conversationThread", []string{"id", "topic", "preview"}, kinds{boolProperty: {"hasAttachments", "isLocked"},
		timeProperty: {"lastDeliveredDateTime"}, collectionProperty: {"uniqueSenders", "toRecipients", "ccRecipients"}})
	postType = newType("post", []string{"id", "changeKey", "conversationId", "conversationThreadId"}, kinds{
		boolProperty: {"hasAttachments"}, timeProperty: {"createdDateTime", "lastModifiedDateTime", "receivedDateTime"},
		collectionProperty: {"categories", "newParticipants"}, complexProperty: {"body", "from", "sender"},
		navigationProperty: {"attachments"}})
	eventNavigation = kinds{timeProperty: {"createdDateTime", "lastModifiedDateTime"}, collectionProperty: {"cancelledOccurrences"},
		complexProperty:    {"body"},
		navigationProperty: {"attachments", "exceptionOccurrences", "singleValueExtendedProperties"}}
)

// kinds names properties by what they hold.
type kinds map[propertyKind][]string

// newType makes a type whose lists filter and sort by all that is no relation.
func newType(name string, texts []string, others kinds) *entityType {
	t := &entityType{name: "microsoft.graph." + name, properties: map[string]property{}}
	for _, text := range texts {
		t.properties[strings.ToLower(text)] = filtered
	}
	for kind, names := range others {
		for _, other := range names {
			t.properties[strings.ToLower(other)] = property{kind: kind, filter: true, order: kind != navigationProperty}
		}
	}
	return t
}

// entity is a schema's type with what it does not list itself. What a property holds
// follows from its default where that tells it; the others are compared with anything.
func (e *schema) entity(texts []string, others kinds) *entityType {
	t := newType(e.name, texts, others)
	for _, f := range e.fields {
		name := strings.ToLower(f.name)
		if _, ok := t.properties[name]; ok {
			continue
		}
		kind := untypedProperty
		switch {
		case f.def == "true" || f.def == "false":
			kind = boolProperty
		case strings.HasPrefix(f.def, "["):
			kind = collectionProperty
		case strings.HasPrefix(f.def, "{"):
			kind = complexProperty
		}
		t.properties[name] = property{kind: kind, filter: true, order: true}
	}
	return t
}

// outlookCollection is which options the reads of a collection of Outlook take.
type outlookCollection struct {
	of    *entityType
	list  []string // besides those of every list
	one   []string // besides $select
	delta []string
}

// outlookList are the options that every list of Outlook takes. $search is not among
// them: no page that the simulator follows says what it finds.
var outlookList = []string{"$select", "$filter", "$orderby", "$top", "$skip", "$count"}

// outlookDelta are the options of every tracked collection of Outlook.
var outlookDelta = []string{"$skiptoken", "$deltatoken"}

// outlookCollections is the table of options, by the last fixed segment of a path.
var outlookCollections = func() map[string]outlookCollection {
	hidden, expand, span := []string{"includeHiddenFolders"}, []string{"$expand"}, []string{"startDateTime", "endDateTime"}
	folders := outlookCollection{of: mailFolderType, list: hidden, delta: []string{"$select"}}
	view := outlookCollection{of: instanceType, list: slices.Concat(span, expand), delta: span}
	return map[string]outlookCollection{
		"mailFolders": folders, "childFolders": folders,
		// message: delta
		"messages":       {of: messageType, list: expand, one: expand, delta: []string{"$select", "$top", "$expand", "$filter", "$orderby", "changeType"}},
		"attachments":    {of: attachmentType, list: expand, one: expand},
		"contactFolders": {of: contactFolderType, delta: []string{"$select"}},
		"contacts":       {of: contactType, list: expand, one: expand, delta: []string{"$select"}}, // contact: delta
		"photo":          {of: photoType},
		"calendars":      {of: calendarType}, "calendar": {of: calendarType}, "calendarGroups": {of: calendarGroupType},
		"events":       {of: eventType, list: expand, one: expand},
		"instances":    view,
		"calendarView": view, // event: delta
		"lists":        {of: taskListType, delta: []string{"$select", "$top"}},
		"tasks":        {of: taskType, list: expand, one: expand, delta: []string{"$select", "$top", "$expand"}},
		"messageRules": {of: ruleSchema.entity([]string{"id"}, nil)}, "masterCategories": {of: categorySchema.entity([]string{"id"}, nil)},
		"userConfigurations": {of: configurations.schema.entity([]string{"id"}, nil)},
		"checklistItems":     {of: checklistSchema.entity([]string{"id"}, nil)}, "linkedResources": {of: linkSchema.entity([]string{"id"}, nil)},
		"conversations": {of: conversationType}, "threads": {of: threadType}, "posts": {of: postType, one: expand},
	}
}()

// outlookTakes says which options a route of Outlook takes; nil when the table does not
// know its collection. Writes take none.
func outlookTakes(rt route) *taken {
	segments := strings.Split(rt.pattern, "/")
	last := segments[len(segments)-1]
	switch {
	case rt.method != "GET" || last == "$value":
		return takes(nil)
	case strings.Contains(rt.pattern, "mailboxSettings/"):
		return takesOne(nil)
	case last == "delta":
		known, ok := outlookCollections[segments[len(segments)-2]]
		if !ok {
			return nil
		}
		return takes(known.of, slices.Concat(outlookDelta, known.delta)...)
	}
	single := strings.HasPrefix(last, "{")
	if single {
		last = segments[len(segments)-2]
	}
	known, ok := outlookCollections[last]
	if strings.Contains(rt.pattern, "contactFolders") && last == "childFolders" {
		known = outlookCollections["contactFolders"]
	}
	switch {
	case !ok:
		return nil
	case single || last == "photo" || last == "calendar":
		return takesOne(known.of, slices.Concat([]string{"$select"}, known.one)...)
	}
	return takes(known.of, slices.Concat(outlookList, known.list)...)
}

// declared gives the routes that do not say which options they take what the table says.
func declared(routes []route) []route {
	for i := range routes {
		if routes[i].takes == nil {
			routes[i].takes = outlookTakes(routes[i])
		}
	}
	return routes
}
