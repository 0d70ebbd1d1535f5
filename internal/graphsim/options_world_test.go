package graphsim_test

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// optionWorld is a tenant in which every collection has at least two objects.
type optionWorld struct {
	*client
	rooms []room
	// seen are the properties that answers had, by route type.
	seen map[string]map[string]bool
	// person is a token of somebody who signed in.
	person string
}

// room is what stands for a variable: the first whose pattern matches the path up to and
// including it.
type room struct {
	pattern *regexp.Regexp
	rest    string // of the path has to begin with it
	id      string
}

func (w *optionWorld) put(pattern, id string) { w.putBefore(pattern, "", id) }

func (w *optionWorld) putBefore(pattern, rest, id string) {
	w.rooms = append(w.rooms, room{regexp.MustCompile("(^|/)" + pattern + "$"), rest, id})
}

var variable = regexp.MustCompile(`\{[^}]+\}`)

// path fills the variables of a pattern in; ok is false where nothing stands for one.
func (w *optionWorld) path(pattern string) (path string, ok bool) {
	for {
		at := variable.FindStringIndex(pattern)
		if at == nil {
			return pattern, true
		}
		found := slices.IndexFunc(w.rooms, func(r room) bool {
			return r.pattern.MatchString(pattern[:at[1]]) && strings.HasPrefix(pattern[at[1]:], r.rest)
		})
		if found < 0 {
			return pattern, false
		}
		pattern = pattern[:at[0]] + url.PathEscape(w.rooms[found].id) + pattern[at[1]:]
	}
}

// id makes an object and returns its ID.
func (w *optionWorld) id(path string, body object) string {
	w.t.Helper()
	return w.want(201, "POST", path, body)["id"].(string)
}

func newOptionWorld(t *testing.T) *optionWorld {
	free := graphsim.Quota{Max: 1e9, Seconds: 1}
	tiers := []graphsim.Tier{{Quota: free}}
	s, c := start(t, graphsim.Options{Exchange: graphsim.ExchangeOptions{EventsDelta: true, ChildFoldersDelta: true, PostAttachments: true, TaskAttachments: true, ListDefaultContacts: true},
		Teams:  graphsim.TeamsOptions{ExportOptions: true, MessagesDelta: true},
		Limits: graphsim.Limits{Rules: []graphsim.Rule{}, Identity: tiers, IdentityWrites: free, SharePointMinute: tiers, SharePointTenant: tiers}},
		graphsim.TenantSpec{Users: 6, MailsPerUser: 6, ContactsPerUser: 4, EventsPerUser: 4, TasksPerUser: 4, ThreadsPerGroup: 3, FilesPerUser: 4,
			Groups: 6, Sites: 3, Subsites: 24, Libraries: 1, Lists: 2, ListItems: 4, Pages: 3, Channels: 2, ClosedChannels: 4, Chats: 2, Messages: 4, Rooms: 2, Partner: true})
	s.AddTenant(graphsim.TenantSpec{Domain: "one.example"})
	s.AddTenant(graphsim.TenantSpec{Domain: "two.example"})
	c.tenant.Consent(roles("MailboxSettings.ReadWrite", "Tasks.ReadWrite.All", "MailboxConfigItem.ReadWrite", "Place.Read.All",
		"Group-Conversation.Read.All", "Calendars.ReadWrite", "Contacts.ReadWrite", "Mail.ReadWrite", "Sites.FullControl.All",
		"Sites.Manage.All", "Files.ReadWrite.All", "Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "Chat.Read.All",
		"ChannelMessage.Read.All", "DelegatedAdminRelationship.Read.All", "User.ReadWrite.All", "Directory.Read.All",
		"MailboxItem.ImportExport.All", "MailboxItem.ReadWrite.All", "MailboxFolder.ReadWrite.All")...)
	c.token = c.mustToken()
	w := &optionWorld{client: c, seen: map[string]map[string]bool{}}
	own := c.token
	c.operator("Calendars.Read Group.Read.All")
	w.person, c.token = c.token, own
	w.mail()
	w.calendar()
	w.people()
	w.store()
	w.directory()
	w.files()
	w.office()
	return w
}

func (w *optionWorld) mail() {
	user := w.tenant.Users()[0].ID
	me := "users/" + user
	w.put(`users/\{user\}`, user)
	for i := range 2 {
		w.id(me+"/mailFolders/inbox/childFolders", object{"displayName": fmt.Sprintf("Below %d", i)})
		w.id(me+"/mailFolders/inbox/childFolders", object{"displayName": fmt.Sprintf("Hidden %d", i), "isHidden": true})
		w.id(me+"/mailFolders/inbox/messageRules", object{"displayName": fmt.Sprintf("r%d", i), "sequence": i + 1, "actions": object{"delete": true}})
		w.id(me+"/mailFolders/inbox/userConfigurations", object{"id": fmt.Sprintf("My.App%d", i), "binaryData": "AAE="})
		w.id(me+"/outlook/masterCategories", object{"displayName": fmt.Sprintf("c%d", i), "color": "preset0"})
	}
	w.put(`mailFolders/\{folder\}`, w.get(me + "/mailFolders/inbox")["id"].(string))
	message := w.id(me+"/mailFolders/inbox/messages", object{"subject": "attached", "body": object{"contentType": "html", "content": "<p>x</p>"},
		"singleValueExtendedProperties": []any{object{"id": "Integer 0x0E07", "value": "4"}}})
	w.id(me+"/mailFolders/inbox/messages", object{"subject": "second", "importance": "high"})
	w.put(`users/[^/]+/(mailFolders/[^/]+/)?messages/\{message\}`, message)
	w.attach(me + "/messages/" + message)
	w.put(`messageRules/\{rule\}`, w.first(me+"/mailFolders/inbox/messageRules"))
	w.put(`userConfigurations/\{configuration\}`, "My.App0")
	w.put(`masterCategories/\{category\}`, w.first(me+"/outlook/masterCategories"))
	w.put(`messages/[^/]+/attachments/\{attachment\}`, w.first(me+"/messages/"+message+"/attachments"))
}

// attach adds two attachments of different kinds.
func (w *optionWorld) attach(to string) {
	w.id(to+"/attachments", object{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentType": "text/plain", "contentBytes": "YWJj"})
	w.id(to+"/attachments", object{"@odata.type": "#microsoft.graph.itemAttachment", "name": "m", "item": object{
		"@odata.type": "#microsoft.graph.message", "subject": "inner"}})
}

func (w *optionWorld) first(list string) string { return values(w.get(list))[0]["id"].(string) }

func (w *optionWorld) calendar() {
	me := "users/" + w.tenant.Users()[0].ID
	calendar := w.get(me + "/calendar")["id"].(string)
	w.id(me+"/calendars", object{"name": "Second"})
	w.id(me+"/calendarGroups", object{"name": "Mine"})
	event := w.event(me, object{"recurrence": weekly["recurrence"], "start": object{"dateTime": "2026-03-23T09:00:00", "timeZone": "UTC"}})
	w.event(me, object{"subject": "another"})
	w.want(200, "PATCH", me+"/events/"+event, object{"singleValueExtendedProperties": []any{object{"id": "Integer 0x0E07", "value": "4"}}})
	w.event(me, object{"subject": "later", "isAllDay": false, "importance": "high"})
	w.attach(me + "/events/" + event)
	w.put(`users/[^/]+/.*events/\{event\}`, event)
	w.put(`calendars/\{calendar\}`, calendar)
	w.put(`calendarGroups/\{calendarGroup\}`, w.first(me+"/calendarGroups"))
	w.put(`events/[^/]+/attachments/\{attachment\}`, w.first(me+"/events/"+event+"/attachments"))
}

func (w *optionWorld) people() {
	me := "users/" + w.tenant.Users()[0].ID
	folder := w.id(me+"/contactFolders", object{"displayName": "Two"})
	w.id(me+"/contactFolders", object{"displayName": "Three"})
	var inFolder, plain string
	for i := range 2 {
		w.id(me+"/contactFolders/"+folder+"/childFolders", object{"displayName": fmt.Sprintf("C%d", i)})
		inFolder = w.id(me+"/contactFolders/"+folder+"/contacts", object{"givenName": fmt.Sprintf("G%d", i), "surname": "S",
			"singleValueExtendedProperties": []any{object{"id": "Integer 0x0E07", "value": "4"}}})
		plain = w.id(me+"/contacts", object{"givenName": fmt.Sprintf("P%d", i),
			"singleValueExtendedProperties": []any{object{"id": "Integer 0x0E07", "value": "4"}}})
	}
	for _, path := range []string{"/contactFolders/" + folder + "/contacts/" + inFolder, "/contacts/" + plain} {
		resp := w.do("PUT", me+path+"/photo/$value", []byte("\xff\xd8\xff\xe0"), "Content-Type", "image/jpeg")
		resp.Body.Close()
	}
	w.put(`contactFolders/\{folder\}`, folder)
	w.put(`contactFolders/[^/]+/contacts/\{contact\}`, inFolder)
	w.put(`users/[^/]+/contacts/\{contact\}`, plain)
	list := w.first(me + "/todo/lists")
	w.id(me+"/todo/lists", object{"displayName": "L"})
	task := w.id(me+"/todo/lists/"+list+"/tasks", object{"title": "t"})
	w.id(me+"/todo/lists/"+list+"/tasks", object{"title": "u", "importance": "high"})
	at := me + "/todo/lists/" + list + "/tasks/" + task
	for i := range 2 {
		w.id(at+"/checklistItems", object{"displayName": fmt.Sprintf("step %d", i)})
		w.id(at+"/linkedResources", object{"displayName": fmt.Sprintf("link %d", i), "applicationName": "a", "externalId": fmt.Sprint(i)})
	}
	for name, bytes := range map[string]string{"a.txt": "YWJj", "b.png": "YWJjZGVm"} {
		w.id(at+"/attachments", object{"@odata.type": "#microsoft.graph.taskFileAttachment", "name": name, "contentType": "text/plain", "contentBytes": bytes})
	}
	w.put(`tasks/[^/]+/attachments/\{attachment\}`, w.first(at+"/attachments"))
	w.put(`todo/lists/\{list\}`, list)
	w.put(`tasks/\{task\}`, task)
	w.put(`checklistItems/\{step\}`, w.first(at+"/checklistItems"))
	w.put(`linkedResources/\{link\}`, w.first(at+"/linkedResources"))
}

// store is the same mailbox as the import and export family shows it.
func (w *optionWorld) store() {
	box := newExchangeBox(w.client, "users/"+w.tenant.Users()[0].ID)
	inbox := box.folder("inbox")
	w.want(201, "POST", box.root+"/folders", object{"displayName": "Below the Inbox", "parentFolderId": inbox})
	w.put(`mailboxes/\{mailbox\}`, strings.TrimPrefix(box.root, "admin/exchange/mailboxes/"))
	w.put(`mailboxes/[^/]+/folders/\{folder\}`, inbox)
	w.put(`mailboxes/[^/]+/folders/[^/]+/items/\{item\}`, box.itemIDs(inbox)[0])
}

func (w *optionWorld) directory() {
	users, groups := w.tenant.Users(), w.tenant.Groups()
	must(w.t, w.tenant.DeleteUser(users[3].ID))
	must(w.t, w.tenant.DeleteUser(users[4].ID))
	for i := range 2 {
		id, err := w.tenant.NewGroup(fmt.Sprintf("Away %d", i))
		must(w.t, err)
		must(w.t, w.tenant.DeleteGroup(id))
	}
	for _, inner := range groups[1:4] {
		must(w.t, w.tenant.AddMember(groups[0].ID, inner.ID))
	}
	for _, u := range users[:3] {
		for _, g := range groups[:3] {
			_ = w.tenant.AddMember(g.ID, u.ID) // who is one already
		}
	}
	for i := range 4 {
		app := w.want(201, "POST", "applications", object{"displayName": fmt.Sprintf("App %d", i)})
		sp := w.want(201, "POST", "servicePrincipals", object{"appId": app["appId"]})
		if i >= 2 {
			w.want(204, "DELETE", "servicePrincipals/"+sp["id"].(string), nil)
			w.want(204, "DELETE", "applications/"+app["id"].(string), nil)
			continue
		}
		graph := w.get("servicePrincipals(appId='00000003-0000-0000-c000-000000000000')?$select=id,appRoles")
		for _, role := range graph["appRoles"].([]any)[:2] {
			w.want(201, "POST", "servicePrincipals/"+graph["id"].(string)+"/appRoleAssignedTo",
				object{"principalId": sp["id"], "resourceId": graph["id"], "appRoleId": role.(object)["id"]})
		}
		w.put(`applications/\{id\}`, app["id"].(string))
		w.putBefore(`servicePrincipals/\{id\}`, "/appRoleAssignedTo", graph["id"].(string))
		w.put(`servicePrincipals/\{id\}`, sp["id"].(string))
	}
	for _, kind := range []string{"user", "group", "application", "servicePrincipal"} {
		w.putBefore(`deletedItems/\{id\}`, "/microsoft.graph."+kind, w.first("directory/deletedItems/microsoft.graph."+kind))
	}
	w.put(`deletedItems/\{id\}`, users[3].ID)
	w.put(`groups/\{group\}`, groups[0].ID)
	w.put(`delegatedAdminRelationships/\{relationship\}`, w.first("tenantRelationships/delegatedAdminRelationships"))
	must(w.t, w.tenant.AddPost(groups[0].ID, "Topic", "<p>first</p>"))
	must(w.t, w.tenant.AddPost(groups[0].ID, "Topic", "<p>second</p>", graphsim.AttachmentSpec{Name: "b.pdf", Size: 9}, graphsim.AttachmentSpec{Name: "a.txt", Data: []byte("abc")}))
	group := "groups/" + groups[0].ID
	for i, more := range []object{weekly, {}, {"subject": "later", "importance": "high"}} {
		properties := object{"subject": "s", "start": object{"dateTime": "2026-03-23T09:00:00", "timeZone": "UTC"}, "end": object{"dateTime": "2026-03-23T10:00:00", "timeZone": "UTC"},
			"singleValueExtendedProperties": []any{object{"id": "Integer 0x0E07", "value": "4"}}}
		maps.Copy(properties, more)
		id, err := w.tenant.NewEvent(groups[0].ID, "", properties)
		must(w.t, err)
		if i == 0 {
			w.put(`groups/[^/]+/events/\{event\}`, id)
		}
	}
	conversation, thread := "", ""
	for _, v := range values(w.get(group + "/threads")) {
		if v["topic"] == "Topic" {
			thread = v["id"].(string)
		}
	}
	for _, v := range values(w.get(group + "/conversations")) {
		if v["topic"] == "Topic" {
			conversation = v["id"].(string)
		}
	}
	w.put(`conversations/\{conversation\}`, conversation)
	w.put(`threads/\{thread\}`, thread)
	for _, post := range values(w.get(group + "/threads/" + thread + "/posts")) {
		if post["hasAttachments"] == true {
			w.put(`posts/\{post\}`, post["id"].(string))
		}
	}
}

func (w *optionWorld) files() {
	drive := w.tenant.Users()[0].Drive
	base := "drives/" + url.PathEscape(drive)
	item := w.want(201, "PUT", base+"/root:/Options:/content", []byte("one"))["id"].(string)
	w.want(200, "PUT", base+"/items/"+item+"/content", []byte("two"))
	w.want(201, "POST", base+"/items/"+item+"/createLink", object{"type": "view", "scope": "organization"})
	w.put(`drives/\{drive\}`, drive)
	w.putBefore(`items/\{item\}`, "/children", "root")
	w.putBefore(`items/\{item\}`, "/delta", "root")
	w.put(`items/\{item\}`, item)
	w.put(`versions/\{version\}`, "1.0")
	w.put(`permissions/\{permission\}`, w.first(base+"/items/"+item+"/permissions"))
}

func (w *optionWorld) office() {
	site := w.tenant.Groups()[0].Site
	top, _, _ := w.round("sites/getAllSites")
	for _, s := range top {
		if below := values(w.get("sites/" + url.PathEscape(s["id"].(string)) + "/sites")); len(below) > 0 {
			w.putBefore(`sites/\{site\}`, "/sites", s["id"].(string))
		}
	}
	w.put(`sites/\{site\}`, site)
	at := "sites/" + url.PathEscape(site)
	var list string
	for _, l := range values(w.get(at + "/lists")) {
		switch l["list"].(object)["template"] {
		case "genericList":
			list = l["id"].(string)
		case "documentLibrary":
			w.putBefore(`lists/\{list\}`, "/drive", l["id"].(string))
		}
	}
	w.put(`lists/\{list\}`, list)
	w.put(`items/\{row\}`, "1")
	w.want(200, "PATCH", at+"/lists/"+list+"/items/1/fields", object{"Title": "changed"})
	w.put(`columns/\{column\}`, w.first(at+"/lists/"+list+"/columns"))
	w.put(`pages/\{page\}`, w.first(at+"/pages"))
	var team graphsim.GroupInfo
	var teams []string
	for _, g := range w.tenant.Groups() {
		if g.Team {
			team = g
			teams = append(teams, g.ID)
		}
	}
	for _, channel := range []string{"Closed Channel 2", "Closed Channel 4"} {
		must(w.t, w.tenant.ShareChannel(teams[0], channel, team.ID))
	}
	channels, err := w.tenant.Channels(team.ID)
	must(w.t, err)
	message, err := w.tenant.PostMessage(team.ID, channels[0].ID, graphsim.PostSpec{Body: "<p>root</p>", Pictures: [][]byte{[]byte("GIF1"), []byte("GIF2")}})
	must(w.t, err)
	var reply string
	for range 2 { // the delta does not reach the world's own messages for ever
		_, err = w.tenant.PostMessage(team.ID, channels[0].ID, graphsim.PostSpec{})
		must(w.t, err)
	}
	for range 2 {
		reply, err = w.tenant.PostMessage(team.ID, channels[0].ID, graphsim.PostSpec{Body: "<p>answer</p>", ReplyTo: message, Pictures: [][]byte{[]byte("GIF1"), []byte("GIF2")}})
		must(w.t, err)
	}
	w.put(`teams/\{team\}`, team.ID)
	w.put(`channels/\{channel\}`, channels[0].ID)
	w.put(`channels/[^/]+/messages/\{message\}`, message)
	w.put(`replies/\{reply\}`, reply)
	at = "teams/" + team.ID + "/channels/" + url.PathEscape(channels[0].ID) + "/messages/" + message
	w.put(`channels/[^/]+/messages/[^/]+/hostedContents/\{hosted\}`, w.first(at+"/hostedContents"))
	w.put(`replies/[^/]+/hostedContents/\{hosted\}`, w.first(at+"/replies/"+reply+"/hostedContents"))
	chats, err := w.tenant.Chats(w.tenant.Users()[0].ID)
	must(w.t, err)
	w.put(`chats/\{chat\}`, chats[0])
	message, err = w.tenant.PostMessage(chats[0], "", graphsim.PostSpec{Body: "<p>hi</p>", Pictures: [][]byte{[]byte("GIF1"), []byte("GIF2")}})
	must(w.t, err)
	w.put(`chats/[^/]+/messages/\{message\}`, message)
	at = "chats/" + url.PathEscape(chats[0]) + "/messages/" + message
	w.put(`chats/[^/]+/messages/[^/]+/hostedContents/\{hosted\}`, w.first(at+"/hostedContents"))
}
