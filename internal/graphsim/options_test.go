package graphsim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// optionWorld is a tenant in which every collection has at least two objects.
type optionWorld struct {
	*client
	rooms []room
	// seen are the properties that answers had, by route type.
	seen map[string]bool
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
	s, c := start(t, graphsim.Options{Exchange: graphsim.ExchangeOptions{EventsDelta: true, ChildFoldersDelta: true, PostAttachments: true, ListDefaultContacts: true},
		Teams:  graphsim.TeamsOptions{ExportOptions: true, MessagesDelta: true},
		Limits: graphsim.Limits{Rules: []graphsim.Rule{}, Identity: tiers, IdentityWrites: free, SharePointMinute: tiers, SharePointTenant: tiers}},
		graphsim.TenantSpec{Users: 6, MailsPerUser: 6, ContactsPerUser: 4, EventsPerUser: 4, TasksPerUser: 4, ThreadsPerGroup: 3, FilesPerUser: 4,
			Groups: 6, Sites: 3, Subsites: 8, Libraries: 1, Lists: 2, ListItems: 4, Pages: 3, Channels: 2, Chats: 2, Messages: 4, Rooms: 2, Partner: true})
	s.AddTenant(graphsim.TenantSpec{Domain: "one.example"})
	s.AddTenant(graphsim.TenantSpec{Domain: "two.example"})
	c.tenant.Consent(roles("MailboxSettings.ReadWrite", "Tasks.ReadWrite.All", "MailboxConfigItem.ReadWrite", "Place.Read.All",
		"Group-Conversation.Read.All", "Calendars.ReadWrite", "Contacts.ReadWrite", "Mail.ReadWrite", "Sites.FullControl.All",
		"Sites.Manage.All", "Files.ReadWrite.All", "Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "Chat.Read.All",
		"ChannelMessage.Read.All", "DelegatedAdminRelationship.Read.All", "User.ReadWrite.All", "Directory.Read.All",
		"MailboxItem.ImportExport.All", "MailboxItem.ReadWrite.All", "MailboxFolder.ReadWrite.All")...)
	c.token = c.mustToken()
	w := &optionWorld{client: c, seen: map[string]bool{}}
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
	must(w.t, w.tenant.AddPost(groups[0].ID, "Topic", "<p>first</p>"))
	must(w.t, w.tenant.AddPost(groups[0].ID, "Topic", "<p>second</p>"))
	group := "groups/" + groups[0].ID
	if view := values(w.get(query(group+"/calendarView", needed("calendarView")))); len(view) > 0 {
		w.put(`groups/[^/]+/events/\{event\}`, view[0]["id"].(string))
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
	w.put(`posts/\{post\}`, w.first(group+"/threads/"+thread+"/posts"))
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
	for _, g := range w.tenant.Groups() {
		if g.Team {
			team = g
		}
	}
	channels, err := w.tenant.Channels(team.ID)
	must(w.t, err)
	message, err := w.tenant.PostMessage(team.ID, channels[0].ID, graphsim.PostSpec{Body: "<p>root</p>", Pictures: [][]byte{[]byte("GIF1"), []byte("GIF2")}})
	must(w.t, err)
	var reply string
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

// ask sends a GET; its answer is nil unless it is JSON.
func (w *optionWorld) ask(path, options string) (int, object) {
	w.t.Helper()
	target := path
	if options != "" {
		target = query(path, options)
	}
	resp := w.do("GET", target, nil, eventual...)
	defer resp.Body.Close()
	var body object
	_ = json.NewDecoder(resp.Body).Decode(&body) // not everything is JSON
	return resp.StatusCode, body
}

// items are the objects of an answer: of a list those of its page.
func items(body object) []object {
	if _, list := body["value"].([]any); list {
		return values(body)
	}
	return []object{body}
}

// needed is what some paths cannot be asked without.
func needed(pattern string) string {
	if strings.Contains(pattern, "calendarView") || strings.HasSuffix(pattern, "/instances") {
		return "startDateTime=2025-06-01T00:00:00Z&endDateTime=2027-06-01T00:00:00Z"
	}
	if pattern == "sites" {
		return "search=*"
	}
	return ""
}

func with(options ...string) string {
	return strings.Join(slices.DeleteFunc(options, func(o string) bool { return o == "" }), "&")
}

// property is the spelling in an object of a property that is there and no annotation.
func spelling(list []object, lower string) string {
	for _, item := range list {
		for name, value := range item {
			if strings.EqualFold(name, lower) && value != nil {
				return name
			}
		}
	}
	return ""
}

// unproven are routes whose options this world cannot show: the handler is that of another
// route, which is asked.
var unproven = map[string]string{
	"directory/deletedItems":                                   "always refused: it needs a type",
	"groups/{group}/events":                                    "refused to applications",
	"groups/{group}/calendarView":                              "the handler of a user's calendarView",
	"groups/{group}/events/{event}":                            "the handler of a user's event",
	"users/{user}/drives":                                      "one drive; the handler of a site's drives",
	"teams/{team}/incomingChannels":                            "always empty",
	"groups/{group}/conversations/{conversation}/threads":      "one thread; the handler of a group's threads",
	"groups/{group}/threads/{thread}/posts/{post}/attachments": "posts of this world have none",
	"groups/{group}/conversations/{conversation}/threads/{thread}/posts/{post}/attachments": "posts of this world have none",
}

// heldElsewhere are options that a test of their own holds, by the end of the path and the
// option; their values are refused here unless they make sense.
var heldElsewhere = map[string]string{
	"users/delta $filter":              "$filter takes up to 50 ids and nothing else",
	"groups/delta $filter":             "$filter takes up to 50 ids and nothing else",
	"items/delta $filter":              "item delta takes $filter and $orderby on receivedDateTime as messages have them",
	"items/delta $orderby":             "item delta takes $filter and $orderby on receivedDateTime as messages have them",
	"messages/delta $filter":           "delta with a filter on receivedDateTime lists newer messages, newest first",
	"messages/delta $orderby":          "delta with a filter on receivedDateTime lists newer messages, newest first",
	"llMessages $filter":               "getAllMessages takes the model, $top and a range of lastModifiedDateTime",
	"llMessages model":                 "getAllMessages takes the model, $top and a range of lastModifiedDateTime",
	"attachments $expand":              "an item attachment shows its item when expanded, thirty levels deep",
	"attachments/{attachment} $expand": "an item attachment shows its item when expanded, thirty levels deep",
}

// TestEveryOptionIsHonoured asks every route for every option that it takes, and looks
// whether the answer is what the option says. An option that a route does not take is
// refused (TestNoOptionPassesSilently), so none passes silently.
func TestEveryOptionIsHonoured(t *testing.T) {
	t.Parallel()
	w := newOptionWorld(t)
	for _, rt := range graphsim.Routes() {
		if rt.Method != http.MethodGet || alias.MatchString(rt.Pattern) {
			continue
		}
		if _, not := unproven[rt.Pattern]; not {
			continue
		}
		path, ok := w.path(rt.Pattern)
		if !ok {
			t.Errorf("%s: nothing stands for %s", rt.Pattern, path)
			continue
		}
		status, plain := w.ask(path, needed(rt.Pattern))
		if status != http.StatusOK && status != http.StatusFound {
			t.Errorf("%s: %d %v", rt.Pattern, status, plain)
			continue
		}
		for _, option := range rt.Options {
			if message := w.honours(rt, path, plain, option); message != "" {
				t.Errorf("%s %s: %s", rt.Pattern, option, message)
			}
		}
	}
}

// alias are paths that are declared together with others, which are asked: what is addressed
// by path or through a calendar (driveItemRoutes, eventBases).
var alias = regexp.MustCompile(`@path|/calendar/|/calendars/\{calendar\}/|^users/\{user\}/chats/\{chat\}/messages`)

// honours returns what is wrong with the answer to an option, "" if nothing.
func (w *optionWorld) honours(rt graphsim.RouteInfo, path string, plain object, option string) string {
	for key := range heldElsewhere {
		if strings.HasSuffix(rt.Pattern+" "+option, key) {
			return ""
		}
	}
	q := question{optionWorld: w, rt: rt, path: path, plain: plain}
	check := map[string]func() string{"$select": q.selects, "$top": q.tops, "$skip": q.skips, "$count": q.counts, "$orderby": q.orders,
		"$filter": q.filters, "$expand": q.expands, "$search": q.searches, "$skiptoken": q.token("$skiptoken"),
		"$deltatoken": q.token("$deltatoken"), "token": q.token("token"), "includeHiddenFolders": q.hidden, "changeType": q.change,
		"startDateTime": q.times("startDateTime"), "endDateTime": q.times("endDateTime"), "search": q.finds}[option]
	if check == nil {
		return "no test knows this option"
	}
	return check()
}

// question is one route that is asked.
type question struct {
	*optionWorld
	rt    graphsim.RouteInfo
	path  string
	plain object
}

func (q question) options(more string) (int, object) {
	return q.ask(q.path, with(needed(q.rt.Pattern), more))
}

func (q question) selects() string {
	list := items(q.plain)
	for _, name := range slices.Sorted(maps.Keys(q.rt.Properties)) {
		picked := spelling(list, name)
		if picked == "" || picked == "id" || q.rt.Properties[name].Navigation || strings.HasPrefix(picked, "@") ||
			strings.HasSuffix(name, "datetime") { // which calendarView refuses
			continue
		}
		status, body := q.options("$select=" + picked)
		if status != http.StatusOK || spelling(items(body), picked) == "" {
			return fmt.Sprintf("$select=%s: %d %v", picked, status, body)
		}
		for _, item := range items(body) {
			for other := range item {
				if other != picked && other != "id" && !strings.Contains(other, "@") {
					return fmt.Sprintf("$select=%s shows %s", picked, other)
				}
			}
		}
		return ""
	}
	if q.rt.Properties == nil { // an open type
		_, body := q.options("$select=Title")
		if len(body) == 0 || body["ContentType"] != nil {
			return fmt.Sprint(body)
		}
		return ""
	}
	return "no property to select"
}

// tops follows two pages of one object each.
func (q question) tops() string {
	status, body := q.options("$top=1")
	if status != http.StatusOK || len(values(body)) != 1 {
		return fmt.Sprintf("%d %v", status, body)
	}
	if len(values(q.plain)) < 2 {
		return "the list is too short for a proof"
	}
	next, more := body["@odata.nextLink"].(string)
	if !more {
		return "no nextLink"
	}
	if status, body = q.ask(next, ""); status != http.StatusOK || len(values(body)) > 1 {
		return fmt.Sprintf("the next page has %d", len(values(body)))
	}
	return ""
}

func (q question) skips() string {
	status, body := q.options("$skip=1")
	all := values(q.plain)
	if len(all) < 2 {
		return "the list is too short for a proof"
	}
	if status != http.StatusOK || values(body)[0]["id"] != all[1]["id"] {
		return fmt.Sprintf("%d %v", status, body)
	}
	return ""
}

func (q question) counts() string {
	status, body := q.options("$count=true&$top=1")
	all, _, _ := q.round(query(q.path, with(needed(q.rt.Pattern), "$top=100")))
	if status != http.StatusOK || body["@odata.count"] != float64(len(all)) {
		return fmt.Sprintf("%d, @odata.count %v of %d", status, body["@odata.count"], len(all))
	}
	return ""
}

// scalar is a value that a filter can name.
func scalar(v any) (literal string, ok bool) {
	switch v := v.(type) {
	case bool:
		return fmt.Sprint(v), true
	case string:
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return v, true
		}
		return "'" + strings.ReplaceAll(v, "'", "''") + "'", true
	}
	return "", false
}

// counting makes an advanced query of one, where there is such a thing.
func (q question) counting() string {
	if slices.Contains(q.rt.Options, "$count") {
		return "$count=true"
	}
	return ""
}

func (q question) filters() string {
	if strings.HasSuffix(q.rt.Pattern, "/$count") {
		return q.counted("$filter=displayName eq 'no such value'")
	}
	for _, name := range slices.Sorted(maps.Keys(q.rt.Properties)) {
		picked := spelling(items(q.plain), name)
		if !q.rt.Properties[name].Filter || picked == "" {
			continue
		}
		want := values(q.plain)[len(values(q.plain))-1][picked]
		literal, ok := scalar(want)
		if !ok {
			continue
		}
		status, body := q.options(with("$filter="+picked+" eq "+literal, q.counting()))
		if status != http.StatusOK || len(values(body)) == 0 {
			return fmt.Sprintf("%s eq %s: %d %v", picked, literal, status, body)
		}
		for _, item := range values(body) {
			if got, shown := item[picked]; shown && got != want {
				return fmt.Sprintf("%s eq %s shows %v", picked, literal, got)
			}
		}
		if literal[0] == '\'' {
			if _, none := q.options(with("$filter="+picked+" eq 'no such value'", q.counting())); len(values(none)) > 0 {
				return picked + " eq 'no such value' finds something"
			}
			return ""
		}
	}
	return "no property to filter by"
}

func (q question) orders() string {
	for _, name := range slices.Sorted(maps.Keys(q.rt.Properties)) {
		picked := spelling(items(q.plain), name)
		if !q.rt.Properties[name].Order || picked == "" {
			continue
		}
		distinct := map[string]bool{}
		for _, item := range values(q.plain) {
			if text, ok := item[picked].(string); ok {
				distinct[text] = true
			}
		}
		if len(distinct) < 2 {
			continue
		}
		_, up := q.options(with("$orderby="+picked, q.counting()))
		_, down := q.options(with("$orderby="+picked+" desc", q.counting()))
		if a, b := sequence(up, picked), sequence(down, picked); !slices.IsSorted(a) || len(a) < 2 || slices.IsSorted(b) {
			return fmt.Sprintf("%s: up %v, down %v", picked, a, b)
		}
		return ""
	}
	return "no property to sort by"
}

func sequence(body object, property string) (list []string) {
	for _, item := range items(body) {
		text, _ := item[property].(string)
		list = append(list, strings.ToLower(text))
	}
	return list
}

// expands asks for each relation: it is there, or refused.
func (q question) expands() string {
	shown := 0
	for _, name := range slices.Sorted(maps.Keys(q.rt.Properties)) {
		if !q.rt.Properties[name].Navigation {
			continue
		}
		asked := name
		if name == "singlevalueextendedproperties" {
			asked = "singleValueExtendedProperties($filter=id eq 'Integer 0x0E07')"
		}
		status, body := q.options("$expand=" + asked)
		switch {
		case status == http.StatusBadRequest:
		case status != http.StatusOK:
			return fmt.Sprintf("$expand=%s: %d %v", asked, status, body)
		case spelling(items(body), name) == "":
			return "$expand=" + asked + " shows nothing"
		default:
			shown++
		}
	}
	if shown == 0 {
		return "nothing can be expanded"
	}
	return ""
}

// counted asks a /$count path for what is not there.
func (q question) counted(options string) string {
	resp := q.do("GET", query(q.path, options), nil, eventual...)
	defer resp.Body.Close()
	if data, _ := io.ReadAll(resp.Body); string(data) != "0" {
		return fmt.Sprintf("%s: %s", options, data)
	}
	return ""
}

func (q question) searches() string {
	if strings.HasSuffix(q.rt.Pattern, "/$count") {
		return q.counted(`$search="displayName:zzzzqq"`)
	}
	name := spelling(items(q.plain), "displayName")
	if name == "" {
		return "no displayName"
	}
	text := fmt.Sprint(values(q.plain)[0][name])
	word, _, _ := strings.Cut(text, " ")
	status, found := q.options(`$search="displayName:` + word + `"&$count=true`)
	_, none := q.options(`$search="displayName:zzzzqq"&$count=true`)
	if status != http.StatusOK || len(values(found)) == 0 || len(values(none)) > 0 {
		return fmt.Sprintf("%d: %d found, %d of nothing", status, len(values(found)), len(values(none)))
	}
	return ""
}

// token sends one that nobody gave out.
func (q question) token(name string) func() string {
	return func() string {
		if status, body := q.options(name + "=made-up"); status < 400 {
			return fmt.Sprintf("a made-up token answers %d %v", status, body)
		}
		return ""
	}
}

func (q question) hidden() string {
	_, all := q.options("includeHiddenFolders=true&$top=100")
	_, shown := q.options("$top=100")
	if len(values(all)) <= len(values(shown)) {
		return fmt.Sprintf("%d with hidden folders, %d without", len(values(all)), len(values(shown)))
	}
	return ""
}

func (q question) change() string {
	if status, _ := q.options("changeType=nonsense"); status != http.StatusBadRequest {
		return fmt.Sprint("nonsense answers ", status)
	}
	return ""
}

func (q question) times(name string) func() string {
	return func() string {
		bad := url.Values{"startDateTime": {"2025-06-01T00:00:00Z"}, "endDateTime": {"2027-06-01T00:00:00Z"}}
		if needed(q.rt.Pattern) == "" {
			bad = url.Values{}
		}
		bad.Set(name, "yesterday")
		if status, _ := q.ask(q.path+"?"+bad.Encode(), ""); status != http.StatusBadRequest {
			return fmt.Sprint("yesterday answers ", status)
		}
		return ""
	}
}

func (q question) finds() string {
	_, none := q.ask(q.path, "search=zzzzqq")
	if len(values(none)) > 0 || len(values(q.plain)) == 0 {
		return "it finds what is not there"
	}
	return ""
}
