package graphsim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

var attachmentRules = []exchangeRule{
	{name: "an item attachment shows its item only with $expand, and MIME as $value", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "holds")[0]
		base := user + "/messages/" + id + "/attachments"
		inner := object{"@odata.type": "#microsoft.graph.message", "subject": "inner", "body": object{"contentType": "text", "content": "in"}}
		made := c.want(201, "POST", base, object{"@odata.type": "#microsoft.graph.itemAttachment", "name": "inner", "item": inner})
		path := base + "/" + made["id"].(string)
		expanded := c.get(path + "?$expand=microsoft.graph.itemattachment/item")
		if c.get(path)["item"] != nil || expanded["item"].(object)["subject"] != "inner" {
			t.Errorf("%v", expanded)
		}
		if mime := string(c.bytes(path + "/$value")); !strings.Contains(mime, "Subject: inner") {
			t.Errorf("MIME %q", mime)
		}
	}},
	{name: "an item attachment shows its item when expanded, thirty levels deep", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "holds")[0]
		item := object{"@odata.type": "#microsoft.graph.message", "subject": "level 32"}
		for level := 31; level >= 1; level-- {
			item = object{"@odata.type": "#microsoft.graph.message", "subject": fmt.Sprintf("level %d", level), "attachments": []any{
				object{"@odata.type": "#microsoft.graph.itemAttachment", "name": "inner", "item": item}}}
		}
		base := user + "/messages/" + id + "/attachments"
		made := c.want(201, "POST", base, object{"@odata.type": "#microsoft.graph.itemAttachment", "name": "outer", "item": item})
		deepest, here := "", c.get(base+"/"+made["id"].(string)+"?$expand=microsoft.graph.itemattachment/item")
		for here != nil {
			inner, ok := here["item"].(object)
			if !ok {
				break
			}
			deepest = inner["subject"].(string)
			list, _ := inner["attachments"].([]any)
			if len(list) == 0 {
				break
			}
			here = list[0].(object)
		}
		if deepest != "level 30" {
			t.Errorf("shown down to %s", deepest)
		}
	}},
	{name: "an instance of a series has attachments and upload sessions of its own", check: func(t *testing.T, c *client, user string) {
		id := c.event(user, weekly)
		instances, _, _ := c.round(march(user + "/events/" + id + "/instances"))
		one := user + "/events/" + instances[1]["id"].(string)
		c.want(201, "POST", one+"/attachments", object{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": []byte("abc")})
		c.refused(400, "POST", one+"/attachments/createUploadSession", object{"AttachmentItem": object{"attachmentType": "file", "name": "small", "size": 1000}})
		c.uploadTo(one, object{"name": "big", "contentType": "x/y"}, make([]byte, 3<<20))
		list, _, _ := c.round(one + "/attachments?$select=name")
		of, _, _ := c.round(user + "/events/" + id + "/attachments")
		if listed(list, "name") != "a,big" || len(of) != 0 {
			t.Errorf("%v at the instance, %v at its series", listed(list, "name"), of)
		}
	}},
	{name: "a reference attachment has no value: 405", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "holds")[0]
		made := c.want(201, "POST", user+"/messages/"+id+"/attachments", object{"@odata.type": "#microsoft.graph.referenceAttachment", "name": "l"})
		c.refused(405, "GET", user+"/messages/"+id+"/attachments/"+made["id"].(string)+"/$value", nil)
	}},
	{name: "an upload session is for 3 MB and more, its ranges are in order and below 4 MB", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "holds")[0]
		base := user + "/messages/" + id + "/attachments/createUploadSession"
		item := func(size int) object {
			return object{"AttachmentItem": object{"attachmentType": "file", "name": "a.bin", "size": size, "isInline": true, "contentId": "c1"}}
		}
		codeIs(t, c.refused(400, "POST", base, item(1000)), "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize")
		c.refused(413, "POST", base, item(151<<20))
		session := c.want(201, "POST", base, item(5<<20))
		put := func(status int, size int, span string) {
			t.Helper()
			resp := c.do("PUT", session["uploadUrl"].(string), make([]byte, size), "Content-Range", span)
			resp.Body.Close()
			if resp.StatusCode != status {
				t.Errorf("%s: %d, want %d", span, resp.StatusCode, status)
			}
		}
		put(413, 4<<20, "bytes 0-4194303/5242880")
		put(416, 1<<20, "bytes 1048576-2097151/5242880")
		put(200, 3<<20, "bytes 0-3145727/5242880")
		put(201, 2<<20, "bytes 3145728-5242879/5242880")
		list, _, _ := c.round(user + "/messages/" + id + "/attachments?$select=name,size,isInline")
		if len(list) != 1 || list[0]["size"] != 5242880.0 || list[0]["isInline"] != true {
			t.Errorf("%v", list)
		}
	}},
	{name: "a session can be cancelled", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "holds")[0]
		url := c.want(201, "POST", user+"/messages/"+id+"/attachments/createUploadSession",
			object{"AttachmentItem": object{"attachmentType": "file", "name": "a", "size": 4 << 20}})["uploadUrl"].(string)
		c.want(204, "DELETE", url, nil)
		c.refused(404, "PUT", url, []byte("x"), "Content-Range", "bytes 0-0/4194304")
	}},
	{name: "events have attachments and upload sessions too", check: func(t *testing.T, c *client, user string) {
		id := c.event(user, object{})
		c.want(201, "POST", user+"/events/"+id+"/attachments", object{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": []byte("abc")})
		c.uploadTo(user+"/events/"+id, object{"name": "big", "contentType": "x/y"}, make([]byte, 3<<20))
		list, _, _ := c.round(user + "/events/" + id + "/attachments?$select=name")
		if listed(list, "name") != "a,big" || c.get(user + "/events/" + id)["hasAttachments"] != true {
			t.Errorf("%v", list)
		}
	}},
}

var contactRules = []exchangeRule{
	{name: "contactFolders lists what is under the default folder", check: func(t *testing.T, c *client, user string) {
		if list, _, _ := c.round(user + "/contactFolders"); len(list) != 0 {
			t.Errorf("%v", list)
		}
		made := c.want(201, "POST", user+"/contactFolders", object{"displayName": "More"})
		contact := c.want(201, "POST", user+"/contacts", object{"givenName": "Ann"})
		if made["parentFolderId"] != contact["parentFolderId"] {
			t.Error("the folder is not under that of the contacts")
		}
	}},
	{name: "contactFolders shows the default folder when the switch says so", o: graphsim.ExchangeOptions{ListDefaultContacts: true},
		check: func(t *testing.T, c *client, user string) {
			list, _, _ := c.round(user + "/contactFolders")
			tracked, _, _ := c.round(user + "/contactFolders/delta")
			if listed(list, "displayName") != "Contacts" || listed(tracked, "displayName") != "Contacts" {
				t.Errorf("%v %v", list, tracked)
			}
		}},
	{name: "folders nest, and their delta tells of changes", check: func(t *testing.T, c *client, user string) {
		_, link, _ := c.round(user + "/contactFolders/delta")
		a := c.want(201, "POST", user+"/contactFolders", object{"displayName": "A"})["id"].(string)
		b := c.want(201, "POST", user+"/contactFolders/"+a+"/childFolders", object{"displayName": "B"})["id"].(string)
		changes, link, _ := c.round(link)
		if len(changes) != 2 || ids(changes)[b]["parentFolderId"] != a {
			t.Errorf("%v", changes)
		}
		codeIs(t, c.refused(409, "POST", user+"/contactFolders", object{"displayName": "a"}), "ErrorFolderExists")
		c.want(204, "DELETE", user+"/contactFolders/"+a, nil)
		if changes, _, _ := c.round(link); len(changes) != 2 || ids(changes)[b]["@removed"] == nil {
			t.Errorf("%v", changes)
		}
	}},
	{name: "child folders of contacts are not tracked", check: func(t *testing.T, c *client, user string) {
		id := c.want(201, "POST", user+"/contactFolders", object{"displayName": "More"})["id"].(string)
		c.refused(400, "GET", user+"/contactFolders/"+id+"/childFolders/delta", nil)
	}},
	{name: "contact delta takes $select only", check: func(t *testing.T, c *client, user string) {
		folder := c.want(201, "POST", user+"/contacts", object{"givenName": "Ann", "surname": "Bee"})["parentFolderId"].(string)
		base := user + "/contactFolders/" + folder + "/contacts/delta?"
		for _, bad := range []string{"$filter=givenName%20eq%20'x'", "$orderby=givenName", "$search=%22x%22", "$expand=photo", "$top=1"} {
			c.refused(400, "GET", base+bad, nil)
		}
		list, link, _ := c.round(base + "$select=displayName")
		if len(list) != 1 || list[0]["displayName"] != "Ann Bee" || list[0]["surname"] != nil {
			t.Errorf("%v", list)
		}
		c.want(200, "PATCH", user+"/contacts/"+list[0]["id"].(string), object{"givenName": "Anna"})
		if changes, _, _ := c.round(link); len(changes) != 1 {
			t.Errorf("%v", changes)
		}
	}},
	{name: "a contact's photo is put and read as its value, and changes the contact", check: func(t *testing.T, c *client, user string) {
		made := c.want(201, "POST", user+"/contacts", object{"givenName": "Ann"})
		path := user + "/contacts/" + made["id"].(string)
		c.refused(404, "GET", path+"/photo/$value", nil)
		resp := c.do("PUT", path+"/photo/$value", []byte("\xff\xd8photo"), "Content-Type", "image/jpeg")
		resp.Body.Close()
		if string(c.bytes(path+"/photo/$value")) != "\xff\xd8photo" || c.get(path)["changeKey"] == made["changeKey"] {
			t.Errorf("photo: %d", resp.StatusCode)
		}
	}},
	{name: "unknown properties and more than three addresses are refused", check: func(t *testing.T, c *client, user string) {
		c.refused(400, "POST", user+"/contacts", object{"givenNames": "x"})
		mail := object{"name": "n", "address": "a@b.example"}
		c.refused(400, "POST", user+"/contacts", object{"emailAddresses": []any{mail, mail, mail, mail}})
	}},
}

// event makes an event and returns its immutable ID.
func (c *client) event(user string, more object) string {
	c.t.Helper()
	body := object{"subject": "s", "start": object{"dateTime": "2026-03-23T09:00:00", "timeZone": "W. Europe Standard Time"},
		"end": object{"dateTime": "2026-03-23T10:00:00", "timeZone": "W. Europe Standard Time"}}
	for name, value := range more {
		body[name] = value
	}
	return c.want(201, "POST", user+"/events", body)["id"].(string)
}

var weekly = object{"recurrence": object{"pattern": object{"type": "weekly", "interval": 1, "daysOfWeek": []any{"monday"}},
	"range": object{"type": "numbered", "startDate": "2026-03-23", "numberOfOccurrences": 4}}}

func march(path string) string {
	return path + "?startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-05-01T00:00:00Z&$top=50"
}

var eventRules = []exchangeRule{
	{name: "events lists single events and masters, instances and calendarView the occurrences", check: func(t *testing.T, c *client, user string) {
		id := c.event(user, weekly)
		single := c.event(user, object{"subject": "one"})
		events, _, _ := c.round(user + "/events")
		instances, _, _ := c.round(march(user + "/events/" + id + "/instances"))
		view, _, _ := c.round(march(user + "/calendarView"))
		if len(events) != 2 || len(instances) != 4 || len(view) != 5 || ids(events)[id]["type"] != "seriesMaster" || ids(view)[single]["type"] != "singleInstance" {
			t.Errorf("%d events, %d instances, %d in view", len(events), len(instances), len(view))
		}
	}},
	{name: "a series keeps its clock when summer time begins", check: func(t *testing.T, c *client, user string) {
		instances, _, _ := c.round(march(user + "/events/" + c.event(user, weekly) + "/instances"))
		first, second := instances[0]["start"].(object)["dateTime"], instances[1]["start"].(object)["dateTime"]
		if first != "2026-03-23T08:00:00.0000000" || second != "2026-03-30T07:00:00.0000000" {
			t.Errorf("%v, %v", first, second)
		}
	}},
	{name: "times are UTC unless outlook.timezone is preferred", check: func(t *testing.T, c *client, user string) {
		id := c.event(user, object{})
		if start := c.get(user + "/events/" + id)["start"].(object); start["dateTime"] != "2026-03-23T08:00:00.0000000" || start["timeZone"] != "UTC" {
			t.Errorf("%v", start)
		}
		event := c.want(200, "GET", user+"/events/"+id, nil, "Prefer", `outlook.timezone="Tokyo Standard Time"`)
		if start := event["start"].(object); start["dateTime"] != "2026-03-23T17:00:00.0000000" || event["originalStartTimeZone"] != "W. Europe Standard Time" {
			t.Errorf("%v", event)
		}
		c.refused(400, "GET", user+"/events/"+id, nil, "Prefer", `outlook.timezone="Nowhere"`)
	}},
	{name: "a changed occurrence is an exception, a deleted one is cancelled", check: func(t *testing.T, c *client, user string) {
		id := c.event(user, weekly)
		instances, _, _ := c.round(march(user + "/events/" + id + "/instances"))
		c.want(200, "PATCH", user+"/events/"+instances[1]["id"].(string), object{"subject": "changed"})
		c.want(204, "DELETE", user+"/events/"+instances[2]["id"].(string), nil)
		master := c.get(user + "/events/" + id + "?$select=cancelledOccurrences&$expand=exceptionOccurrences")
		cancelled, exceptions := master["cancelledOccurrences"].([]any), master["exceptionOccurrences"].([]any)
		if len(cancelled) != 1 || cancelled[0] != "OID."+id+".2026-04-06" || len(exceptions) != 1 || exceptions[0].(object)["subject"] != "changed" ||
			exceptions[0].(object)["type"] != "exception" || exceptions[0].(object)["seriesMasterId"] != id {
			t.Errorf("%v", master)
		}
		if left, _, _ := c.round(march(user + "/events/" + id + "/instances")); listed(left, "subject") != "s,changed,s" {
			t.Errorf("%v", listed(left, "subject"))
		}
	}},
	{name: "calendarView needs a range and refuses createdDateTime in $select", check: func(t *testing.T, c *client, user string) {
		c.refused(400, "GET", user+"/calendarView", nil)
		c.refused(400, "GET", march(user+"/calendarView")+"&$select=createdDateTime", nil)
	}},
	{name: "calendarView delta takes no OData options and reports outside changes as removed", check: func(t *testing.T, c *client, user string) {
		base := user + "/calendarView/delta?startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-04-01T00:00:00Z"
		for _, bad := range []string{"$select=subject", "$expand=attachments", "$filter=subject%20eq%20'x'", "$orderby=subject", "$search=%22x%22"} {
			c.refused(400, "GET", base+"&"+bad, nil)
		}
		inside := c.event(user, object{})
		_, link, _ := c.round(base)
		outside := c.event(user, object{"start": object{"dateTime": "2026-06-01T09:00:00", "timeZone": "UTC"}, "end": object{"dateTime": "2026-06-01T10:00:00", "timeZone": "UTC"}})
		c.want(200, "PATCH", user+"/events/"+inside, object{"subject": "new"})
		changes, _, _ := c.round(link)
		if got := ids(changes); got[inside]["subject"] != "new" || got[outside]["@removed"] == nil {
			t.Errorf("%v", changes)
		}
	}},
	{name: "calendarView delta shows a series with its instances and takes cancelled ones away", check: func(t *testing.T, c *client, user string) {
		id := c.event(user, weekly)
		list, link, _ := c.round(user + "/calendarView/delta?startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-05-01T00:00:00Z")
		if len(list) != 5 || ids(list)[id]["type"] != "seriesMaster" {
			t.Errorf("%v", list)
		}
		instance := list[2]["id"].(string)
		c.want(204, "DELETE", user+"/events/"+instance, nil)
		if changes, _, _ := c.round(link); ids(changes)[instance]["@removed"] == nil {
			t.Errorf("%v", changes)
		}
	}},
	{name: "events delta is not offered, since it is not documented", check: func(t *testing.T, c *client, user string) {
		c.refused(400, "GET", user+"/events/delta", nil)
	}},
	{name: "events delta tracks a calendar when the switch says so", o: graphsim.ExchangeOptions{EventsDelta: true}, check: func(t *testing.T, c *client, user string) {
		_, link, _ := c.round(user + "/events/delta")
		id := c.event(user, weekly)
		if changes, _, _ := c.round(link); len(changes) != 1 || changes[0]["id"] != id {
			t.Errorf("%v", changes)
		}
	}},
	{name: "creating with attendees sends invitations, without it sends nothing", check: func(t *testing.T, c *client, user string) {
		id := strings.TrimPrefix(user, "users/")
		c.event(user, object{})
		if sent, err := c.tenant.SentTruth(id); err != nil || len(sent) != 0 {
			t.Errorf("%v %v", sent, err)
		}
		meeting := c.event(user, object{"attendees": []any{object{"emailAddress": object{"address": "a@b.example"}}}})
		c.want(204, "DELETE", user+"/events/"+meeting, nil)
		sent, err := c.tenant.SentTruth(id)
		must(t, err)
		if len(sent) != 2 || sent[0].Kind != "invitation" || sent[1].Kind != "cancellation" || sent[0].To[0] != "a@b.example" {
			t.Errorf("%v", sent)
		}
	}},
	{name: "a transactionId makes a repeated POST harmless", check: func(t *testing.T, c *client, user string) {
		first := c.event(user, object{"transactionId": "t1"})
		if again := c.event(user, object{"transactionId": "t1"}); again != first {
			t.Error("the event was made twice")
		}
		if other := c.event(user, object{"transactionId": "t2"}); other == first {
			t.Error("another transaction gave the same event")
		}
	}},
	{name: "calendars say who owns them; one shared by others cannot be written", check: func(t *testing.T, c *client, user string) {
		made := c.want(201, "POST", user+"/calendars", object{"name": "Second", "color": "lightRed"})
		list, _, _ := c.round(user + "/calendars")
		if listed(list, "name") != "Calendar,Second" || listed(list, "isDefaultCalendar") != "true,false" || list[1]["color"] != "lightRed" {
			t.Errorf("%v", list)
		}
		c.want(201, "POST", user+"/calendars/"+made["id"].(string)+"/events", object{"subject": "there",
			"start": object{"dateTime": "2026-03-23T09:00:00", "timeZone": "UTC"}, "end": object{"dateTime": "2026-03-23T10:00:00", "timeZone": "UTC"}})
		if events, _, _ := c.round(user + "/events"); len(events) != 0 {
			t.Errorf("%d events in the default calendar", len(events))
		}
		groups, _, _ := c.round(user + "/calendarGroups")
		if in, _, _ := c.round(user + "/calendarGroups/" + groups[0]["id"].(string) + "/calendars"); len(in) != 2 {
			t.Errorf("%d calendars in the group", len(in))
		}
		tenant := c.s.AddTenant(graphsim.TenantSpec{Users: 2, EventsPerUser: 1, Domain: "shares.example"})
		tenant.Consent()
		other := newClient(t, c.s, tenant)
		owner := "users/" + tenant.Users()[1].ID
		for _, calendar := range mustList(other.round(owner + "/calendars")) {
			if calendar["canEdit"] == false {
				other.refused(403, "POST", owner+"/calendars/"+calendar["id"].(string)+"/events", object{"subject": "x"})
				return
			}
		}
		t.Error("no calendar shared by others")
	}},
	{name: "an all-day event is the same date in every zone, and begins at midnight", check: func(t *testing.T, c *client, user string) {
		day := func(date string) object {
			return object{"dateTime": date + "T00:00:00", "timeZone": "Pacific Standard Time"}
		}
		id := c.event(user, object{"isAllDay": true, "start": day("2026-03-23"), "end": day("2026-03-24")})
		if start := c.get(user + "/events/" + id)["start"].(object)["dateTime"]; start != "2026-03-23T00:00:00.0000000" {
			t.Errorf("starts %v", start)
		}
		c.refused(400, "POST", user+"/events", object{"isAllDay": true, "start": object{"dateTime": "2026-03-23T09:00:00", "timeZone": "UTC"}, "end": day("2026-03-24")})
	}},
	{name: "what makes no sense is refused", check: func(t *testing.T, c *client, user string) {
		c.refused(400, "POST", user+"/events", object{"subject": "no time"})
		late := object{"dateTime": "2026-03-24T09:00:00", "timeZone": "UTC"}
		c.refused(400, "POST", user+"/events", object{"start": late, "end": object{"dateTime": "2026-03-23T09:00:00", "timeZone": "UTC"}})
		c.refused(400, "POST", user+"/events", object{"start": late, "end": late, "recurrence": object{"pattern": object{"type": "weekly"},
			"range": object{"type": "noEnd", "startDate": "2026-03-24"}}})
		c.refused(400, "POST", user+"/events", object{"start": object{"dateTime": "2026-03-24T09:00:00", "timeZone": "Mars"}, "end": late})
	}},
}

func mustList(items []object, _ string, _ int) []object { return items }

var otherRules = []exchangeRule{
	{name: "rules belong to the Inbox", check: func(t *testing.T, c *client, user string) {
		rule := object{"displayName": "r", "sequence": 2, "actions": object{"delete": true}}
		made := c.want(201, "POST", user+"/mailFolders/inbox/messageRules", rule)
		c.want(200, "PATCH", user+"/mailFolders/inbox/messageRules/"+made["id"].(string), object{"isEnabled": false})
		if list, _, _ := c.round(user + "/mailFolders/inbox/messageRules"); len(list) != 1 || list[0]["isEnabled"] != false {
			t.Errorf("%v", list)
		}
		c.refused(400, "POST", user+"/mailFolders/archive/messageRules", rule)
		c.want(204, "DELETE", user+"/mailFolders/inbox/messageRules/"+made["id"].(string), nil)
	}},
	{name: "a category's name is unique and stays", check: func(t *testing.T, c *client, user string) {
		made := c.want(201, "POST", user+"/outlook/masterCategories", object{"displayName": "Red", "color": "preset0"})
		c.refused(409, "POST", user+"/outlook/masterCategories", object{"displayName": "red"})
		c.refused(400, "PATCH", user+"/outlook/masterCategories/"+made["id"].(string), object{"displayName": "Blue"})
		c.want(200, "PATCH", user+"/outlook/masterCategories/"+made["id"].(string), object{"color": "preset3"})
	}},
	{name: "mailbox settings are read as a whole and one by one, and written", check: func(t *testing.T, c *client, user string) {
		c.want(200, "PATCH", user+"/mailboxSettings", object{"timeZone": "Tokyo Standard Time",
			"automaticRepliesSetting": object{"status": "alwaysEnabled", "internalReplyMessage": "away"}})
		settings := c.get(user + "/mailboxSettings")
		if settings["timeZone"] != "Tokyo Standard Time" || c.get(user + "/mailboxSettings/automaticRepliesSetting")["status"] != "alwaysEnabled" ||
			c.get(user + "/mailboxSettings/timeZone")["value"] != "Tokyo Standard Time" || settings["workingHours"] == nil {
			t.Errorf("%v", settings)
		}
		c.refused(400, "PATCH", user+"/mailboxSettings", object{"timeZone": "Mars"})
	}},
	{name: "hidden configuration items are kept by folder", check: func(t *testing.T, c *client, user string) {
		path := user + "/mailFolders/inbox/userConfigurations"
		c.want(201, "POST", path, object{"id": "My.App", "binaryData": "AAE="})
		c.refused(409, "POST", path, object{"id": "My.App"})
		if c.get(path + "/My.App")["binaryData"] != "AAE=" {
			t.Error("not kept")
		}
	}},
	{name: "To Do has lists, tasks and deltas of both; completing sets the time", check: func(t *testing.T, c *client, user string) {
		_, lists, _ := c.round(user + "/todo/lists/delta")
		list := c.want(201, "POST", user+"/todo/lists", object{"displayName": "L"})["id"].(string)
		if changes, _, _ := c.round(lists); len(changes) != 1 {
			t.Errorf("%v", changes)
		}
		tasks := user + "/todo/lists/" + list + "/tasks"
		_, link, _ := c.round(tasks + "/delta")
		id := c.want(201, "POST", tasks, object{"title": "t", "checklistItems": []any{object{"displayName": "step"}}})["id"].(string)
		if done := c.want(200, "PATCH", tasks+"/"+id, object{"status": "completed"}); done["completedDateTime"] == nil {
			t.Errorf("%v", done)
		}
		if steps, _, _ := c.round(tasks + "/" + id + "/checklistItems"); listed(steps, "displayName") != "step" {
			t.Errorf("%v", steps)
		}
		if changes, _, _ := c.round(link); len(changes) != 1 || changes[0]["id"] != id {
			t.Errorf("%v", changes)
		}
	}},
	{name: "conversations of groups are read only for applications", check: func(t *testing.T, c *client, _ string) {
		id, err := c.tenant.NewGroup("Talk")
		must(t, err)
		must(t, c.tenant.AddPost(id, "Topic", "<p>first</p>"))
		must(t, c.tenant.AddPost(id, "Topic", "<p>second</p>"))
		group := "groups/" + id
		conversations, _, _ := c.round(group + "/conversations")
		threads, _, _ := c.round(group + "/threads")
		if listed(conversations, "topic") != "Topic" || len(threads) != 1 {
			t.Fatalf("%v %v", conversations, threads)
		}
		path := group + "/threads/" + threads[0]["id"].(string)
		posts, _, _ := c.round(path + "/posts")
		truth, err := c.tenant.PostTruth(id)
		must(t, err)
		if len(posts) != 2 || len(truth) != 2 || truth[1].Body != sha([]byte(posts[1]["body"].(object)["content"].(string))) {
			t.Errorf("%v %v", posts, truth)
		}
		c.refused(403, "POST", group+"/threads", object{"topic": "x"})
		c.refused(403, "POST", path+"/reply", object{"post": object{}})
		c.refused(403, "GET", path+"/posts/"+posts[0]["id"].(string)+"/attachments", nil)
		c.refused(403, "GET", group+"/events", nil)
		c.round(march(group + "/calendarView"))
	}},
}
