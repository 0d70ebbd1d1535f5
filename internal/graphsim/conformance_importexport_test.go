package graphsim_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// exchangeBox is a mailbox as the import and export family names it.
type exchangeBox struct {
	*client
	user, root string
}

func newExchangeBox(c *client, user string) *exchangeBox {
	c.t.Helper()
	id := c.get(user + "/settings/exchange")["primaryMailboxId"].(string)
	return &exchangeBox{client: c, user: strings.TrimPrefix(user, "users/"), root: "admin/exchange/mailboxes/" + id}
}

// folder finds a folder by name anywhere below the root.
func (b *exchangeBox) folder(name string) string {
	b.t.Helper()
	items, _, _ := b.round(b.root + "/folders/delta")
	for _, f := range items {
		if f["displayName"] == name || f["wellKnownName"] == name {
			return f["id"].(string)
		}
	}
	b.t.Fatalf("no folder %s", name)
	return ""
}

func (b *exchangeBox) export(ids ...string) []object {
	b.t.Helper()
	var list []object
	for _, v := range b.want(200, "POST", b.root+"/exportItems", object{"itemIds": ids})["value"].([]any) {
		list = append(list, v.(object))
	}
	return list
}

func (b *exchangeBox) session() string {
	b.t.Helper()
	return b.want(200, "POST", b.root+"/createImportSession", nil)["importUrl"].(string)
}

// put posts an import and returns the status and the answer.
func (b *exchangeBox) put(url string, body object) (int, object) {
	b.t.Helper()
	resp := b.do("POST", url, body)
	return resp.StatusCode, decode[object](b.t, resp)
}

func (b *exchangeBox) itemIDs(folder string) (list []string) {
	b.t.Helper()
	items, _, _ := b.round(b.root + "/folders/" + folder + "/items?$top=500")
	for _, item := range items {
		list = append(list, item["id"].(string))
	}
	return list
}

// inboxItem delivers a message and returns its ID in this family.
func (b *exchangeBox) inboxItem(subject string) (folder, id string) {
	b.t.Helper()
	b.mails(b.user, subject)
	folder = b.folder("inbox")
	all := b.itemIDs(folder)
	return folder, all[len(all)-1]
}

var importExportRules = []exchangeRule{
	{name: "settings/exchange tells the mailbox ID and takes no options", check: func(t *testing.T, c *client, user string) {
		if id, _ := c.get(user + "/settings/exchange")["primaryMailboxId"].(string); !strings.HasPrefix(id, "MBX:") || !strings.Contains(id, "@") {
			t.Errorf("mailbox ID %q", id)
		}
		c.refused(400, "GET", user+"/settings/exchange?$select=primaryMailboxId", nil)
		must(t, c.tenant.ArchiveMailbox(strings.TrimPrefix(user, "users/"), true))
		if answer := c.get(user + "/settings/exchange"); answer["inPlaceArchiveMailboxId"] != nil {
			t.Errorf("v1.0 tells of an archive: %v", answer)
		}
		c.refused(404, "GET", "admin/exchange/mailboxes/MBX:nobody@nowhere/folders", nil)
	}},
	{name: "folders lists the direct children of the root by $skip, ten at first, of every type", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		page := c.get(b.root + "/folders?$count=true")
		if next, _ := page["@odata.nextLink"].(string); len(page["value"].([]any)) != 10 || !strings.Contains(next, "skip=10") {
			t.Errorf("%d folders, next %s", len(page["value"].([]any)), next)
		}
		items, _, _ := c.round(b.root + "/folders")
		if float64(len(items)) != page["@odata.count"] {
			t.Errorf("%d folders, counted %v", len(items), page["@odata.count"])
		}
		types := map[any]bool{}
		for _, f := range items {
			types[f["type"]] = true
			if f["displayName"] == "Projects" {
				t.Error("a folder of the Inbox is among the root's")
			}
		}
		for _, want := range []string{"IPF.Note", "IPF.Contact", "IPF.Appointment", "IPF.Task"} {
			if !types[want] {
				t.Errorf("no folder of the type %s", want)
			}
		}
		found := c.get(b.root + "/folders?$filter=type+eq+'IPF.Appointment'&$select=wellKnownName&$orderby=displayName")["value"].([]any)
		if len(found) == 0 || !slices.ContainsFunc(found, func(v any) bool { return v.(object)["wellKnownName"] == "calendar" }) {
			t.Errorf("calendars %v", found)
		}
		expanded := c.get(b.root + "/folders/" + b.folder("inbox") + "?$expand=childFolders($select=displayName)")
		if below := expanded["childFolders"].([]any); len(below) != int(expanded["childFolderCount"].(float64)) || len(below) == 0 {
			t.Errorf("%v expanded, %v counted", below, expanded["childFolderCount"])
		}
	}},
	{name: "folders shows hidden folders and the children of every folder", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		b.folder("Conversation Action Settings")
		items, _, _ := c.round(b.root + "/folders/" + b.folder("inbox") + "/childFolders")
		if listed(items, "displayName") != "Projects" {
			t.Errorf("below the Inbox: %s", listed(items, "displayName"))
		}
	}},
	{name: "folder delta tells what was made, renamed and deleted, and takes $select alone", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		_, link, _ := c.round(b.root + "/folders/delta")
		made := map[string]string{}
		for _, kind := range []string{"IPF.Note", "IPF.Appointment", "IPF.Task"} {
			made[kind] = c.want(201, "POST", b.root+"/folders", object{"displayName": "New " + kind, "type": kind})["id"].(string)
		}
		made["IPF.Contact"] = c.want(201, "POST", b.root+"/folders", object{"displayName": "New people", "type": "IPF.Contact",
			"parentFolderId": b.folder("contacts")})["id"].(string)
		changed, link, _ := c.round(link)
		if len(changed) != 4 {
			t.Errorf("changes %v", changed)
		}
		for kind, id := range made {
			if got := ids(changed)[id]; got == nil || got["type"] != kind {
				t.Errorf("%s: %v", kind, got)
			}
			c.want(200, "PATCH", b.root+"/folders/"+id, object{"displayName": "Renamed " + kind})
			c.want(204, "DELETE", b.root+"/folders/"+id, nil)
		}
		changed, _, _ = c.round(link)
		for _, id := range made {
			if got := ids(changed)[id]; got == nil || got["@removed"] == nil {
				t.Errorf("deleted folder: %v", got)
			}
		}
		c.refused(400, "GET", b.root+"/folders/delta?$filter=type+eq+'IPF.Note'", nil)
		c.refused(409, "POST", b.root+"/folders", object{"displayName": "inbox"})
		c.refused(403, "DELETE", b.root+"/folders/"+b.folder("calendar"), nil)
		c.refused(400, "POST", b.root+"/folders", object{"displayName": "x", "type": "IPF.StickyNote"})
		c.refused(400, "POST", b.root+"/folders", object{"displayName": "x", "type": "IPF.Contact"})
		within, _, _ := c.round(b.root + "/folders/" + b.folder("inbox") + "/childFolders/delta?$select=displayName")
		if listed(within, "displayName") != "Projects" {
			t.Errorf("childFolders/delta: %v", within)
		}
	}},
	{name: "items shows every kind in one shape", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		c.want(201, "POST", user+"/contacts", object{"givenName": "Ann", "categories": []string{"A"}})
		c.want(201, "POST", user+"/events", object{"subject": "Review", "start": object{"dateTime": "2026-11-20T10:00:00", "timeZone": "UTC"}, "end": object{"dateTime": "2026-11-20T11:00:00", "timeZone": "UTC"}})
		for folder, kind := range map[string]string{"contacts": "IPM.Contact", "calendar": "IPM.Appointment"} {
			item := c.get(b.root + "/folders/" + b.folder(folder) + "/items")["value"].([]any)[0].(object)
			for _, name := range []string{"id", "size", "changeKey", "categories", "createdDateTime", "lastModifiedDateTime"} {
				if item[name] == nil {
					t.Errorf("%s has no %s", kind, name)
				}
			}
			if got := c.get(b.root + "/folders/" + b.folder(folder) + "/items/" + item["id"].(string)); got["type"] != kind || got["size"].(float64) <= 0 {
				t.Errorf("%s: %v", kind, got)
			}
		}
	}},
	{name: "item delta takes $filter and $orderby on receivedDateTime as messages have them", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		inbox := b.folder("inbox")
		from := time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
		c.mails(b.user, "one", "two")
		delta := b.root + "/folders/" + inbox + "/items/delta"
		recent, link, _ := c.round(delta + "?$filter=receivedDateTime+ge+" + from + "&$orderby=receivedDateTime+desc&$select=size")
		if len(recent) != 2 || recent[0]["size"] == nil || recent[0]["changeKey"] != nil {
			t.Errorf("recent %v", recent)
		}
		c.refused(400, "GET", delta+"?$filter=size+gt+3", nil)
		c.refused(400, "GET", delta+"?$orderby=receivedDateTime+asc", nil)
		c.refused(400, "GET", delta+"?$expand=attachments", nil)
		c.want(204, "DELETE", b.root+"/folders/"+inbox+"/items/"+recent[0]["id"].(string), nil)
		changed, _, _ := c.round(link)
		if len(changed) != 1 || changed[0]["@removed"] == nil || changed[0]["id"] != recent[0]["id"] {
			t.Errorf("after a deletion: %v", changed)
		}
		if truth, err := c.tenant.MailTruth(b.user); err != nil || len(truth) != 1 {
			t.Errorf("%d messages left: %v", len(truth), err)
		}
	}},
	{name: "exportItems takes at most 20 items", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		_, id := b.inboxItem("again")
		many := slices.Repeat([]string{id}, 20)
		if got := len(b.export(many...)); got != 20 {
			t.Errorf("%d of 20 exported", got)
		}
		c.refused(400, "POST", b.root+"/exportItems", object{"itemIds": append(many, id)})
		c.refused(400, "POST", b.root+"/exportItems", object{"itemIds": []string{}})
	}},
	{name: "what cannot be exported has an error in its place", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		inbox, id := b.inboxItem("gone")
		_, kept := b.inboxItem("there")
		c.want(204, "DELETE", b.root+"/folders/"+inbox+"/items/"+id, nil)
		list := b.export(id, kept, "nonsense")
		if len(list) != 3 || list[0]["data"] != nil || list[1]["data"] == nil || list[2]["error"] == nil {
			t.Fatalf("answers %v", list)
		}
		codeIs(t, list[0]["error"].(object)["code"].(string), "ErrorItemNotFound")
		codeIs(t, list[2]["error"].(object)["code"].(string), "ErrorInvalidIdMalformed")
	}},
	{name: "items of another mailbox are not exported", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		other, err := c.tenant.NewUser("Other")
		must(t, err)
		_, id := newExchangeBox(c, "users/"+other).inboxItem("theirs")
		if got := b.export(id)[0]; got["error"] == nil {
			t.Errorf("exported %v", got)
		}
	}},
	{name: "an import session takes items without a token, as often as it lives", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		inbox, id := b.inboxItem("twice")
		session := c.want(200, "POST", b.root+"/createImportSession", nil)
		url := session["importUrl"].(string)
		if !strings.HasPrefix(url, c.s.FilesURL()+"/api/gv1.0/Mailboxes('MBX:") || !strings.Contains(url, "/importItem?authtoken=") {
			t.Errorf("importUrl %s", url)
		}
		if at, err := time.Parse(time.RFC3339, session["expirationDateTime"].(string)); err != nil || at.Before(time.Now()) {
			t.Errorf("expires %v: %v", at, err)
		}
		body := object{"FolderId": inbox, "Mode": "create", "Data": b.export(id)[0]["data"]}
		for range 2 {
			if status, answer := b.put(url, body); status != 200 || answer["itemId"] == nil || answer["changeKey"] == nil {
				t.Errorf("%d %v", status, answer)
			}
		}
		if got := len(b.itemIDs(inbox)); got != 3 {
			t.Errorf("%d messages, want 3", got)
		}
		resp := c.do("POST", url, body, "Authorization", "Bearer "+c.token)
		resp.Body.Close()
		if resp.StatusCode != 401 {
			t.Errorf("with a token: %d", resp.StatusCode)
		}
		if status, _ := b.put(strings.Replace(url, "authtoken=", "authtoken=A", 1), body); status != 401 {
			t.Errorf("with another authtoken: %d", status)
		}
	}},
	{name: "create with ItemId or ChangeKey is an error, update needs both", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		inbox, id := b.inboxItem("first")
		exported, url := b.export(id)[0], b.session()
		for _, body := range []object{
			{"Mode": "create", "ItemId": id}, {"Mode": "create", "ChangeKey": exported["changeKey"]}, {"Mode": "update"},
			{"Mode": "update", "ItemId": id}, {"Mode": "replace"}, {"Mode": "create", "Data": "&"}, {"Mode": "create", "Data": "AAAA"},
		} {
			body["FolderId"] = inbox
			if body["Data"] == nil {
				body["Data"] = exported["data"]
			}
			if status, answer := b.put(url, body); status != 400 || answer["error"] == nil {
				t.Errorf("%v: %d %v", body["Mode"], status, answer)
			}
		}
	}},
	{name: "update takes the place of the item whose ChangeKey matches", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		inbox, id := b.inboxItem("before")
		exported, url := b.export(id)[0], b.session()
		must(t, c.tenant.EditMail(b.user, c.immutableOf(b.user, "before"), map[string]any{"subject": "after"}))
		body := object{"FolderId": inbox, "Mode": "update", "ItemId": id, "ChangeKey": exported["changeKey"], "Data": exported["data"]}
		status, answer := b.put(url, body)
		if status != 412 {
			t.Errorf("with an old ChangeKey: %d %v", status, answer)
		}
		body["ChangeKey"] = c.get(b.root + "/folders/" + inbox + "/items/" + id)["changeKey"]
		status, answer = b.put(url, body)
		if status != 200 || answer["itemId"] != id || answer["changeKey"] == body["ChangeKey"] {
			t.Errorf("%d %v", status, answer)
		}
		if got := c.immutableOf(b.user, "before"); got == "" || len(b.itemIDs(inbox)) != 1 {
			t.Errorf("the message did not become what it was")
		}
	}},
	{name: "an item does not go into a folder of another type", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		_, id := b.inboxItem("mail")
		if status, _ := b.put(b.session(), object{"FolderId": b.folder("calendar"), "Mode": "create", "Data": b.export(id)[0]["data"]}); status != 400 {
			t.Errorf("a message in a calendar: %d", status)
		}
	}},
	{name: "the stream cannot be altered", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		inbox, id := b.inboxItem("sealed")
		data, err := base64.StdEncoding.DecodeString(b.export(id)[0]["data"].(string))
		must(t, err)
		url := b.session()
		for _, at := range []int{0, 9, len(data) / 2, len(data) - 1} {
			bad := bytes.Clone(data)
			bad[at] ^= 1
			if status, _ := b.put(url, object{"FolderId": inbox, "Mode": "create", "Data": bad}); status != 400 {
				t.Errorf("byte %d changed: %d", at, status)
			}
		}
	}},
	{name: "the family shares IDs with Outlook's only where a switch says so", check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		c.mails(b.user, "mine")
		id := c.get(user + "/mailFolders/inbox/messages")["value"].([]any)[0].(object)["id"].(string)
		if b.export(id)[0]["error"] == nil || b.folder("inbox") == c.get(user + "/mailFolders/inbox")["id"] {
			t.Error("an ID of the Outlook family was taken")
		}
	}},
	{name: "with one ID space both families name the same", o: graphsim.ExchangeOptions{OneIDSpace: true}, check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		c.prefer = ""
		c.mails(b.user, "ours")
		id := c.get(user + "/mailFolders/inbox/messages")["value"].([]any)[0].(object)["id"].(string)
		if got := b.export(id)[0]; got["data"] == nil || b.folder("inbox") != c.get(user + "/mailFolders/inbox")["id"] {
			t.Errorf("export %v", got)
		}
	}},
	{name: "a session that takes one item is refused a second", o: graphsim.ExchangeOptions{OneImportPerSession: true, ImportSessionCreated: true}, check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		inbox, id := b.inboxItem("once")
		url := c.want(201, "POST", b.root+"/createImportSession", nil)["importUrl"].(string)
		body := object{"FolderId": inbox, "Mode": "create", "Data": b.export(id)[0]["data"]}
		first, _ := b.put(url, body)
		second, _ := b.put(url, body)
		if first != 200 || second != 401 {
			t.Errorf("%d, then %d", first, second)
		}
	}},
	{name: "an item over the size limit has an error in its place", o: graphsim.ExchangeOptions{MaxItemSize: 3_000}, check: func(t *testing.T, c *client, user string) {
		b := newExchangeBox(c, user)
		small, err := c.tenant.NewMail(b.user, graphsim.MailSpec{Subject: "small", Body: "x"})
		must(t, err)
		_, err = c.tenant.NewMail(b.user, graphsim.MailSpec{Subject: "large", Body: strings.Repeat("x", 4_000)})
		must(t, err)
		list := b.export(b.itemIDs(b.folder("inbox"))...)
		if len(list) != 2 || list[0]["data"] == nil || list[1]["error"] == nil {
			t.Errorf("small %s: %v", small, list)
		}
	}},
}

// immutableOf finds a message by its subject; "" when there is none.
func (c *client) immutableOf(user, subject string) string {
	c.t.Helper()
	truth, err := c.tenant.MailTruth(user)
	must(c.t, err)
	for _, m := range truth {
		if m.Subject == subject {
			return m.ID
		}
	}
	return ""
}

// TestExportImportLosesNothing carries everything in a mailbox into another one of another
// tenant and holds the truth of both against each other: by digest, attachments included.
func TestExportImportLosesNothing(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, MailsPerUser: 60, ContactsPerUser: 8, EventsPerUser: 12, TasksPerUser: 6, Domain: "from.example"})
	c.tenant.Consent()
	from := c.tenant.Users()[0].ID
	user := "users/" + from
	embedded := object{"@odata.type": "#microsoft.graph.itemAttachment", "name": "card", "item": object{"@odata.type": "#microsoft.graph.contact", "givenName": "Eve"}}
	mail := c.want(201, "POST", user+"/mailFolders/inbox/messages", object{"subject": "draft", "singleValueExtendedProperties": []object{{"id": "String 0x0070", "value": "topic"}}})
	c.want(201, "POST", user+"/messages/"+mail["id"].(string)+"/attachments", embedded)
	c.want(201, "POST", user+"/mailFolders/inbox/messages", []byte(base64.StdEncoding.EncodeToString([]byte("Subject: =?utf-8?q?M=C3=BCsli?=\r\n\r\nbody\r\n"))), "Content-Type", "text/plain")
	there := s.AddTenant(graphsim.TenantSpec{Domain: "to.example"})
	there.Consent()
	to, err := there.NewUser("To")
	must(t, err)
	source, target := newExchangeBox(c, user), newExchangeBox(newClient(t, s, there), "users/"+to)
	carry(t, source, target)

	same := func(kind string, truth func(*graphsim.Tenant, string) ([]string, error)) {
		t.Helper()
		want, err := truth(c.tenant, from)
		must(t, err)
		got, err := truth(there, to)
		must(t, err)
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%d %s (-want +got):\n%.2000s", len(want), kind, diff)
		}
	}
	same("messages", func(tenant *graphsim.Tenant, user string) ([]string, error) {
		return forms(tenant.MailTruth, user, func(m *graphsim.MailTruth) { m.ID = "" })
	})
	same("contacts", func(tenant *graphsim.Tenant, user string) ([]string, error) {
		return forms(tenant.ContactTruth, user, func(x *graphsim.ContactTruth) { x.ID = "" })
	})
	same("events", func(tenant *graphsim.Tenant, user string) ([]string, error) {
		all, err := tenant.EventTruth(user)
		own := slices.DeleteFunc(all, func(e graphsim.EventTruth) bool { return e.Shared })
		return forms(func(string) ([]graphsim.EventTruth, error) { return own, err }, user, func(x *graphsim.EventTruth) { x.ID = "" })
	})
	same("tasks", func(tenant *graphsim.Tenant, user string) ([]string, error) {
		return forms(tenant.TaskTruth, user, func(x *graphsim.TaskTruth) { x.ID = "" })
	})
	if sent, err := there.SentTruth(to); err != nil || len(sent) > 0 {
		t.Errorf("the import sent %v: %v", sent, err)
	}
}

// forms writes each truth as text, without what a copy has of its own.
func forms[T any](truth func(string) ([]T, error), user string, strip func(*T)) ([]string, error) {
	list, err := truth(user)
	out := make([]string, len(list))
	for i := range list {
		strip(&list[i])
		data, err := json.Marshal(list[i])
		if err != nil {
			return nil, err
		}
		out[i] = string(data)
	}
	return out, err
}

// carry exports all that a mailbox holds, twenty items at a time, and imports it into
// folders of the same names.
func carry(t *testing.T, from, to *exchangeBox) {
	t.Helper()
	session := to.session()
	folders, _, _ := from.round(from.root + "/folders/delta")
	there, _, _ := to.round(to.root + "/folders/delta")
	twins := map[string]string{}
	for _, f := range folders {
		id, parent := f["id"].(string), twins[fmt.Sprint(f["parentFolderId"])]
		for _, other := range there {
			if f["wellKnownName"] != nil && f["wellKnownName"] == other["wellKnownName"] || f["wellKnownName"] == nil && parent == "" &&
				f["displayName"] == other["displayName"] && f["type"] == other["type"] {
				twins[id] = other["id"].(string)
			}
		}
		for _, other := range there {
			if twins[id] == "" && other["parentFolderId"] == parent && other["displayName"] == f["displayName"] {
				twins[id] = other["id"].(string)
			}
		}
		if twins[id] == "" {
			body := object{"displayName": f["displayName"], "type": f["type"]}
			if parent != "" {
				body["parentFolderId"] = parent
			}
			twins[id] = to.want(201, "POST", to.root+"/folders", body)["id"].(string)
		}
		for chunk := range slices.Chunk(from.itemIDs(id), 20) {
			for _, item := range from.export(chunk...) {
				if status, answer := to.put(session, object{"FolderId": twins[id], "Mode": "create", "Data": item["data"]}); status != http.StatusOK {
					t.Fatalf("import into %v: %d %v", f["displayName"], status, answer)
				}
			}
		}
	}
}

// TestImportCountsAgainstTheMailbox holds that export and import draw on the accounts that
// Outlook's other requests draw on, the bytes of an import included.
func TestImportCountsAgainstTheMailbox(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{Limits: graphsim.Limits{Mailbox: graphsim.Quota{Max: 12, Seconds: 600}, MailboxUpload: graphsim.Quota{Max: 40_000, Seconds: 300}}},
		graphsim.TenantSpec{Users: 2})
	users := c.tenant.Users()
	b := newExchangeBox(c, "users/"+users[0].ID)
	inbox, id := b.inboxItem("small")
	url, data := b.session(), b.export(id)[0]["data"]
	if status, answer := b.put(url, object{"FolderId": inbox, "Mode": "create", "Data": strings.Repeat("A", 60_000)}); status != 429 {
		t.Errorf("60 KB against 40: %d %v", status, answer)
	}
	for range 12 {
		resp := c.do("POST", url, object{"FolderId": inbox, "Mode": "create", "Data": data})
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	codeIs(t, c.refused(429, "GET", b.root+"/folders", nil), "ApplicationThrottled")
	codeIs(t, c.refused(429, "GET", "users/"+users[0].ID+"/messages", nil), "ApplicationThrottled")
	c.get("users/" + users[1].ID + "/messages")
}

// TestImportSessionExpires puts the clock forward past a session's life.
func TestImportSessionExpires(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	b := newExchangeBox(c, "users/"+c.tenant.Users()[0].ID)
	inbox, id := b.inboxItem("late")
	url, data := b.session(), b.export(id)[0]["data"]
	s.Advance(16 * time.Minute)
	if status, _ := b.put(url, object{"FolderId": inbox, "Mode": "create", "Data": data}); status != 401 {
		t.Errorf("after its life: %d", status)
	}
}

// TestImportExportRoles holds which role opens what.
func TestImportExportRoles(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	b := newExchangeBox(c, "users/"+c.tenant.Users()[0].ID)
	inbox, id := b.inboxItem("secret")
	for _, rule := range []struct {
		role, method, path string
		body               any
		status             int
	}{
		{"MailboxFolder.Read.All", "GET", "/folders", nil, 200},
		{"MailboxFolder.Read.All", "POST", "/folders", object{"displayName": "x"}, 403},
		{"MailboxFolder.ReadWrite.All", "POST", "/folders", object{"displayName": "x"}, 201},
		{"MailboxFolder.Read.All", "GET", "/folders/" + inbox + "/items", nil, 403},
		{"MailboxItem.Read.All", "GET", "/folders/" + inbox + "/items", nil, 200},
		{"MailboxItem.Read.All", "POST", "/exportItems", object{"itemIds": []string{id}}, 403},
		{"MailboxItem.Export.All", "POST", "/exportItems", object{"itemIds": []string{id}}, 200},
		{"MailboxItem.Export.All", "POST", "/createImportSession", nil, 403},
		{"MailboxItem.ImportExport.All", "POST", "/exportItems", object{"itemIds": []string{id}}, 200},
		{"MailboxItem.ImportExport.All", "POST", "/createImportSession", nil, 200},
		{"MailboxItem.Read.All", "DELETE", "/folders/" + inbox + "/items/" + id, nil, 403},
		{"MailboxItem.ReadWrite.All", "DELETE", "/folders/" + inbox + "/items/" + id, nil, 204},
	} {
		c.tenant.Consent(rule.role)
		resp := newClient(t, s, c.tenant).do(rule.method, b.root+rule.path, rule.body)
		resp.Body.Close()
		if resp.StatusCode != rule.status {
			t.Errorf("%s %s with %s: %d, want %d", rule.method, rule.path, rule.role, resp.StatusCode, rule.status)
		}
	}
}
