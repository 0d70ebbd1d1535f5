package graphsim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// exchangeRule is a rule of the documentation and how it is held: a mailbox of its
// own for each.
type exchangeRule struct {
	name  string
	o     graphsim.ExchangeOptions
	check func(t *testing.T, c *client, user string)
}

// mails delivers messages and returns their immutable IDs.
func (c *client) mails(user string, subjects ...string) (list []string) {
	c.t.Helper()
	for _, subject := range subjects {
		id, err := c.tenant.NewMail(user, graphsim.MailSpec{Subject: subject, Body: "<p>" + subject + "</p>"})
		must(c.t, err)
		list = append(list, id)
	}
	return list
}

func codeIs(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("code %s, want %s", got, want)
	}
}

func listed(items []object, property string) string {
	var list []string
	for _, item := range items {
		list = append(list, fmt.Sprint(item[property]))
	}
	return strings.Join(list, ",")
}

func TestConformanceExchange(t *testing.T) {
	t.Parallel()
	servers := map[graphsim.ExchangeOptions]*graphsim.Server{}
	number := 0
	for _, rules := range [][]exchangeRule{folderRules, messageRules, attachmentRules, contactRules, eventRules, otherRules, importExportRules} {
		for _, rule := range rules {
			if servers[rule.o] == nil {
				servers[rule.o], _ = start(t, graphsim.Options{Exchange: rule.o}, graphsim.TenantSpec{})
			}
			number++
			s, domain := servers[rule.o], fmt.Sprintf("rule%d.example", number)
			t.Run(rule.name, func(t *testing.T) {
				t.Parallel()
				tenant := s.AddTenant(graphsim.TenantSpec{Users: 1, Domain: domain})
				tenant.Consent(roles("MailboxSettings.ReadWrite", "Tasks.ReadWrite.All", "MailboxConfigItem.ReadWrite",
					"MailboxFolder.ReadWrite.All", "MailboxItem.ReadWrite.All", "MailboxItem.ImportExport.All", "Group-Conversation.Read.All")...)
				rule.check(t, newClient(t, s, tenant), "users/"+tenant.Users()[0].ID)
			})
		}
	}
}

var folderRules = []exchangeRule{
	{name: "mailFolders lists the folders under the root, hidden ones only when asked for", check: func(t *testing.T, c *client, user string) {
		made := c.want(201, "POST", user+"/mailFolders", object{"displayName": "H", "isHidden": true})
		plain, _, _ := c.round(user + "/mailFolders?$top=100")
		all, _, _ := c.round(user + "/mailFolders?$top=100&includeHiddenFolders=true")
		id := made["id"].(string)
		if ids(plain)[id] != nil || ids(all)[id] == nil || len(all) <= len(plain) {
			t.Errorf("%d plain, %d with hidden folders", len(plain), len(all))
		}
		c.want(201, "POST", user+"/mailFolders/inbox/childFolders", object{"displayName": "Below"})
		if again, _, _ := c.round(user + "/mailFolders?$top=100"); strings.Contains(listed(again, "displayName"), "Below") {
			t.Error("a folder of the Inbox is listed under the root")
		}
	}},
	{name: "childFolders takes includeHiddenFolders too", check: func(t *testing.T, c *client, user string) {
		c.want(201, "POST", user+"/mailFolders/inbox/childFolders", object{"displayName": "Quiet", "isHidden": true})
		plain, _, _ := c.round(user + "/mailFolders/inbox/childFolders?$top=100")
		all, _, _ := c.round(user + "/mailFolders/inbox/childFolders?$top=100&includeHiddenFolders=true")
		if strings.Contains(listed(plain, "displayName"), "Quiet") || !strings.Contains(listed(all, "displayName"), "Quiet") {
			t.Errorf("plain %s, all %s", listed(plain, "displayName"), listed(all, "displayName"))
		}
	}},
	{name: "well-known names stand for IDs", check: func(t *testing.T, c *client, user string) {
		for _, name := range []string{"archive", "deleteditems", "drafts", "inbox", "junkemail", "msgfolderroot", "outbox",
			"recoverableitemsdeletions", "sentitems", "conversationhistory"} {
			f := c.get(user + "/mailFolders/" + name)
			if c.get(user + "/mailFolders/" + f["id"].(string))["displayName"] != f["displayName"] {
				t.Errorf("%s is not the folder of its ID", name)
			}
		}
	}},
	{name: "a name that is taken is ErrorFolderExists", check: func(t *testing.T, c *client, user string) {
		c.want(201, "POST", user+"/mailFolders", object{"displayName": "Twice"})
		codeIs(t, c.refused(409, "POST", user+"/mailFolders", object{"displayName": "twice"}), "ErrorFolderExists")
		c.want(201, "POST", user+"/mailFolders/inbox/childFolders", object{"displayName": "Twice"})
	}},
	{name: "folder delta tells of new, renamed, moved and deleted folders", check: func(t *testing.T, c *client, user string) {
		_, link, _ := c.round(user + "/mailFolders/delta")
		a := c.want(201, "POST", user+"/mailFolders", object{"displayName": "A"})["id"].(string)
		b := c.want(201, "POST", user+"/mailFolders", object{"displayName": "B"})["id"].(string)
		c.want(200, "PATCH", user+"/mailFolders/"+a, object{"displayName": "A2"})
		c.want(201, "POST", user+"/mailFolders/"+b+"/move", object{"destinationId": a})
		changes, link, _ := c.round(link)
		if got := ids(changes); got[a]["displayName"] != "A2" || got[b]["parentFolderId"] != a {
			t.Errorf("changes: %v", changes)
		}
		c.want(204, "POST", user+"/mailFolders/"+b+"/permanentDelete", nil)
		if changes, _, _ := c.round(link); len(changes) == 0 || ids(changes)[b]["@removed"] == nil {
			t.Errorf("the deleted folder: %v", changes)
		}
	}},
	{name: "folder delta leaves the root and hidden folders out where it is not documented", check: func(t *testing.T, c *client, user string) {
		folders, _, _ := c.round(user + "/mailFolders/delta")
		root := c.get(user + "/mailFolders/msgfolderroot")["id"].(string)
		if ids(folders)[root] != nil || strings.Contains(listed(folders, "isHidden"), "true") {
			t.Errorf("%v", folders)
		}
	}},
	{name: "folder delta shows them when the switch says so", o: graphsim.ExchangeOptions{DeltaShowsRoot: true, DeltaShowsHidden: true},
		check: func(t *testing.T, c *client, user string) {
			folders, _, _ := c.round(user + "/mailFolders/delta")
			root := c.get(user + "/mailFolders/msgfolderroot")["id"].(string)
			if ids(folders)[root] == nil || !strings.Contains(listed(folders, "isHidden"), "true") {
				t.Errorf("%v", folders)
			}
		}},
	{name: "childFolders delta is not offered", check: func(t *testing.T, c *client, user string) {
		c.refused(400, "GET", user+"/mailFolders/inbox/childFolders/delta", nil)
	}},
	{name: "childFolders delta tracks one folder when the switch says so", o: graphsim.ExchangeOptions{ChildFoldersDelta: true},
		check: func(t *testing.T, c *client, user string) {
			_, link, _ := c.round(user + "/mailFolders/archive/childFolders/delta")
			made := c.want(201, "POST", user+"/mailFolders/archive/childFolders", object{"displayName": "In"})
			c.want(201, "POST", user+"/mailFolders", object{"displayName": "Elsewhere"})
			changes, _, _ := c.round(link)
			if ids(changes)[made["id"].(string)]["displayName"] != "In" {
				t.Errorf("%v", changes)
			}
		}},
	{name: "a search folder shows messages of others and is in no delta", check: func(t *testing.T, c *client, user string) {
		c.mails(strings.TrimPrefix(user, "users/"), "found 1", "other", "found 2")
		made := c.want(201, "POST", user+"/mailFolders", object{"@odata.type": "microsoft.graph.mailSearchFolder", "displayName": "Finds",
			"includeNestedFolders": true, "sourceFolderIds": []any{"inbox"}, "filterQuery": "startswith(subject,'found')"})
		id := made["id"].(string)
		if made["@odata.type"] != "#microsoft.graph.mailSearchFolder" || made["totalItemCount"] != 2.0 {
			t.Errorf("%v", made)
		}
		if found, _, _ := c.round(user + "/mailFolders/" + id + "/messages"); listed(found, "subject") != "found 2,found 1" {
			t.Errorf("found %s", listed(found, "subject"))
		}
		if folders, _, _ := c.round(user + "/mailFolders/delta"); ids(folders)[id] != nil {
			t.Error("the search folder is in the delta")
		}
	}},
	{name: "distinguished folders can be neither moved nor deleted", check: func(t *testing.T, c *client, user string) {
		c.refused(403, "DELETE", user+"/mailFolders/inbox", nil)
		c.refused(403, "POST", user+"/mailFolders/inbox/move", object{"destinationId": "archive"})
	}},
	{name: "isHidden is said at creation only", check: func(t *testing.T, c *client, user string) {
		id := c.want(201, "POST", user+"/mailFolders", object{"displayName": "Seen"})["id"].(string)
		c.refused(400, "PATCH", user+"/mailFolders/"+id, object{"displayName": "Seen", "isHidden": true})
	}},
	{name: "a folder is copied with all below it", check: func(t *testing.T, c *client, user string) {
		c.mails(strings.TrimPrefix(user, "users/"), "one")
		from := c.want(201, "POST", user+"/mailFolders", object{"displayName": "From"})["id"].(string)
		c.want(201, "POST", user+"/mailFolders/"+from+"/childFolders", object{"displayName": "Inner"})
		twin := c.want(201, "POST", user+"/mailFolders/"+from+"/copy", object{"destinationId": "archive"})
		if twin["childFolderCount"] != 1.0 || twin["id"] == from {
			t.Errorf("%v", twin)
		}
	}},
}

var messageRules = []exchangeRule{
	{name: "delta refuses options that are not documented", check: func(t *testing.T, c *client, user string) {
		base := user + "/mailFolders/inbox/messages/delta?"
		for _, bad := range []string{"$search=%22x%22", "$filter=isRead%20eq%20true", "$filter=receivedDateTime%20lt%202026-01-01T00:00:00Z",
			"$orderby=subject", "$orderby=receivedDateTime", "changeType=moved"} {
			c.refused(400, "GET", base+bad, nil)
		}
	}},
	{name: "delta with a filter on receivedDateTime lists newer messages, newest first", check: func(t *testing.T, c *client, user string) {
		id := strings.TrimPrefix(user, "users/")
		c.mails(id, "a", "b")
		c.prefer = `IdType="ImmutableId", odata.maxpagesize=1`
		got, _, pages := c.round(user + "/mailFolders/inbox/messages/delta?$filter=receivedDateTime%20ge%202026-01-01T00:00:00Z&$orderby=receivedDateTime%20desc")
		if len(got) != 2 || pages != 2 {
			t.Errorf("%d messages in %d pages", len(got), pages)
		}
		none, _, _ := c.round(user + "/mailFolders/inbox/messages/delta?$filter=receivedDateTime%20gt%202099-01-01T00:00:00Z")
		if len(none) != 0 {
			t.Errorf("%d messages of the future", len(none))
		}
	}},
	{name: "a filtered delta lists at most 5,000 messages", check: func(t *testing.T, c *client, user string) {
		id := strings.TrimPrefix(user, "users/")
		for range 5_003 {
			_, err := c.tenant.NewMail(id, graphsim.MailSpec{Subject: "s", Body: "b"})
			must(t, err)
		}
		c.prefer = "odata.maxpagesize=1000"
		base := user + "/mailFolders/inbox/messages/delta?$select=id"
		all, _, _ := c.round(base)
		some, _, _ := c.round(base + "&$filter=receivedDateTime%20ge%202020-01-01T00:00:00Z")
		if len(all) != 5_003 || len(some) != 5_000 {
			t.Errorf("%d messages, %d with a filter", len(all), len(some))
		}
	}},
	{name: "$top of a first delta call holds for the round", check: func(t *testing.T, c *client, user string) {
		c.mails(strings.TrimPrefix(user, "users/"), "a", "b", "c")
		page := c.get(user + "/mailFolders/inbox/messages/delta?$top=1")
		rest, _, pages := c.round(page["@odata.nextLink"].(string))
		if len(values(page)) != 1 || len(rest) != 2 || pages != 2 {
			t.Errorf("%d messages, then %d in %d pages", len(values(page)), len(rest), pages)
		}
	}},
	{name: "IDs are case-sensitive", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "one")[0]
		c.get(user + "/messages/" + id)
		codeIs(t, c.refused(400, "GET", user+"/messages/"+strings.ToUpper(id), nil), "ErrorInvalidIdMalformed")
	}},
	{name: "a draft that is sent gets another ID, the immutable one too", check: func(t *testing.T, c *client, user string) {
		c.tenant.Consent(roles("Mail.Send", "Mail.ReadWrite")...)
		c.token = c.mustToken()
		id := c.want(201, "POST", user+"/messages", object{"subject": "goes", "toRecipients": []any{object{"emailAddress": object{"address": "a@b.example"}}}})["id"].(string)
		resp := c.do("POST", user+"/messages/"+id+"/send", nil)
		resp.Body.Close()
		sent := values(c.get(user + "/mailFolders/sentitems/messages"))
		if resp.StatusCode != 202 || len(sent) != 1 || sent[0]["subject"] != "goes" || sent[0]["id"] == id {
			t.Errorf("%d %v", resp.StatusCode, sent)
		}
	}},
	{name: "several relations and several extended properties are expanded at once", check: func(t *testing.T, c *client, user string) {
		made := c.want(201, "POST", user+"/messages", object{"subject": "x", "singleValueExtendedProperties": []any{
			object{"id": "Integer 0x0E07", "value": "4"}, object{"id": "String 0x1234", "value": "v"}}})
		path := user + "/messages/" + made["id"].(string)
		c.want(201, "POST", path+"/attachments", object{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": []byte("abc")})
		got := c.get(query(path, "$expand=attachments($select=name),singleValueExtendedProperties($filter=id eq 'Integer 0x0E07' or id eq 'String 0x1234')"))
		attachments, properties := got["attachments"].([]any), got["singleValueExtendedProperties"].([]any)
		if len(attachments) != 1 || attachments[0].(object)["name"] != "a.txt" || attachments[0].(object)["contentBytes"] != nil || len(properties) != 2 {
			t.Errorf("%v", got)
		}
		for _, bad := range []string{"attachments($filter=name eq 'a')", "attachments($top=1)", "singleValueExtendedProperties($select=id)"} {
			c.refused(400, "GET", query(path, "$expand="+bad), nil)
		}
	}},
	{name: "changeType picks created, updated or deleted messages", check: func(t *testing.T, c *client, user string) {
		id := strings.TrimPrefix(user, "users/")
		old := c.mails(id, "old", "gone")
		links := map[string]string{}
		for _, kind := range []string{"created", "updated", "deleted"} {
			_, links[kind], _ = c.round(user + "/mailFolders/inbox/messages/delta?changeType=" + kind)
		}
		fresh := c.mails(id, "fresh")
		must(t, c.tenant.EditMail(id, old[0], map[string]any{"isRead": true}))
		must(t, c.tenant.DeleteMail(id, old[1]))
		for kind, want := range map[string]string{"created": fresh[0], "updated": old[0], "deleted": old[1]} {
			if got, _, _ := c.round(links[kind]); len(got) != 1 || got[0]["id"] != want {
				t.Errorf("%s: %v", kind, got)
			}
		}
	}},
	{name: "a removal says deleted; a move is one here and an addition there", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "moves")[0]
		_, inbox, _ := c.round(user + "/mailFolders/inbox/messages/delta")
		_, archive, _ := c.round(user + "/mailFolders/archive/messages/delta")
		c.want(201, "POST", user+"/messages/"+id+"/move", object{"destinationId": "archive"})
		left, _, _ := c.round(inbox)
		came, _, _ := c.round(archive)
		if len(left) != 1 || left[0]["@removed"].(object)["reason"] != "deleted" || len(came) != 1 || came[0]["id"] != id {
			t.Errorf("left %v, came %v", left, came)
		}
	}},
	{name: "immutable IDs survive a move, the others do not", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "moves")[0]
		c.prefer = "x"
		regular := c.get(user + "/messages/" + id)["id"].(string)
		moved := c.want(201, "POST", user+"/messages/"+regular+"/move", object{"destinationId": "archive"})["id"].(string)
		codeIs(t, c.refused(404, "GET", user+"/messages/"+regular, nil), "ErrorItemNotFound")
		c.get(user + "/messages/" + id)
		c.get(user + "/messages/" + moved)
	}},
	{name: "translateExchangeIds translates up to 1,000 IDs", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "one")[0]
		body := object{"inputIds": []any{id}, "sourceIdType": "restImmutableEntryId", "targetIdType": "restId"}
		regular := c.want(200, "POST", user+"/translateExchangeIds", body)["value"].([]any)[0].(object)["targetId"].(string)
		c.prefer = "x"
		if regular == id || c.get(user + "/messages/" + regular)["id"] != regular {
			t.Errorf("translated to %s", regular)
		}
		body["inputIds"] = make([]string, 1001)
		c.refused(400, "POST", user+"/translateExchangeIds", body)
	}},
	{name: "a plain list has 10 messages a page and takes $top to 1,000", check: func(t *testing.T, c *client, user string) {
		c.mails(strings.TrimPrefix(user, "users/"), strings.Split("a,b,c,d,e,f,g,h,i,j,k,l", ",")...)
		if got := c.get(user + "/messages")["value"].([]any); len(got) != 10 {
			t.Errorf("%d messages", len(got))
		}
		if got := c.get(user + "/messages?$top=12&$orderby=subject")["value"].([]any); len(got) != 12 || got[0].(object)["subject"] != "a" {
			t.Errorf("%d messages", len(got))
		}
	}},
	{name: "internetMessageHeaders and uniqueBody come only when selected", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "one")[0]
		plain := c.get(user + "/messages/" + id)
		asked := c.get(user + "/messages/" + id + "?$select=internetMessageHeaders,uniqueBody")
		if plain["internetMessageHeaders"] != nil || plain["uniqueBody"] != nil || asked["internetMessageHeaders"] == nil || asked["uniqueBody"] == nil {
			t.Errorf("plain %v, asked %v", plain, asked)
		}
	}},
	{name: "outlook.body-content-type is obeyed and echoed", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "one")[0]
		resp := c.do("GET", user+"/messages/"+id, nil, "Prefer", `outlook.body-content-type="text"`)
		if applied := resp.Header.Get("Preference-Applied"); !strings.Contains(applied, "outlook.body-content-type") {
			t.Errorf("applied %q", applied)
		}
		if body := decode[object](t, resp)["body"].(object); body["contentType"] != "text" || body["content"] != "one" {
			t.Errorf("body %v", body)
		}
	}},
	{name: "POST makes a draft, from JSON and from MIME in Base64", check: func(t *testing.T, c *client, user string) {
		if made := c.want(201, "POST", user+"/mailFolders/archive/messages", object{"subject": "x"}); made["isDraft"] != true {
			t.Errorf("%v", made)
		}
		mime := []byte("RnJvbTogYUBiLmV4YW1wbGUNClN1YmplY3Q6IG0NCg0KaGkNCg==")
		if made := c.want(201, "POST", user+"/mailFolders/archive/messages", mime, "Content-Type", "text/plain"); made["isDraft"] != true || made["subject"] != "m" {
			t.Errorf("%v", made)
		}
		c.refused(400, "POST", user+"/messages", []byte("%%%"), "Content-Type", "text/plain")
	}},
	{name: "PidTagMessageFlags and times make a message look received", check: func(t *testing.T, c *client, user string) {
		made := c.want(201, "POST", user+"/mailFolders/inbox/messages", object{"subject": "restored", "isRead": true,
			"singleValueExtendedProperties": []any{object{"id": "Integer 0x0E07", "value": "4"},
				object{"id": "SystemTime 0x0039", "value": "2026-01-31T09:00:00Z"}, object{"id": "SystemTime 0x0E06", "value": "2026-01-31T09:00:03Z"}}})
		if made["isDraft"] != false || made["sentDateTime"] != "2026-01-31T09:00:00Z" || made["receivedDateTime"] != "2026-01-31T09:00:03Z" {
			t.Errorf("%v", made)
		}
	}},
	{name: "extended properties are read one by one, and found by a filter", check: func(t *testing.T, c *client, user string) {
		id := "String {8ECCC264-6880-4EBE-992F-8888D2EEAA1D} Name Source"
		made := c.want(201, "POST", user+"/messages", object{"subject": "p", "singleValueExtendedProperties": []any{object{"id": id, "value": "v"}}})
		path := user + "/messages/" + made["id"].(string)
		expanded := c.get(path + "?$expand=singleValueExtendedProperties($filter=id%20eq%20'" + strings.ReplaceAll(id, " ", "%20") + "')")
		if c.get(path)["singleValueExtendedProperties"] != nil || expanded["singleValueExtendedProperties"] == nil {
			t.Errorf("%v", expanded)
		}
		filter := strings.ReplaceAll("singleValueExtendedProperties/Any(ep: ep/id eq '"+id+"' and ep/value eq 'v')", " ", "%20")
		if found, _, _ := c.round(user + "/messages?$filter=" + filter); len(found) != 1 {
			t.Errorf("%d found", len(found))
		}
		c.refused(400, "POST", user+"/messages", object{"singleValueExtendedProperties": []any{object{"id": "nonsense", "value": "v"}}})
	}},
	{name: "copy makes a message of its own; permanentDelete leaves nothing", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "one")[0]
		twin := c.want(201, "POST", user+"/messages/"+id+"/copy", object{"destinationId": "archive"})["id"].(string)
		c.want(204, "POST", user+"/messages/"+id+"/permanentDelete", nil)
		if left, _, _ := c.round(user + "/messages"); len(left) != 1 || left[0]["id"] != twin {
			t.Errorf("%v", left)
		}
	}},
	{name: "sending needs Mail.Send", check: func(t *testing.T, c *client, user string) {
		mail := object{"message": object{"subject": "s", "toRecipients": []any{object{"emailAddress": object{"address": "a@b.example"}}}}}
		c.refused(403, "POST", user+"/sendMail", mail)
		c.tenant.Consent(roles("Mail.Send")...)
		c.token = c.mustToken()
		c.want(202, "POST", user+"/sendMail", mail)
		sent, err := c.tenant.SentTruth(strings.TrimPrefix(user, "users/"))
		must(t, err)
		if len(sent) != 1 || sent[0].Kind != "mail" {
			t.Errorf("sent %v", sent)
		}
	}},
	{name: "a mailbox over its quota takes nothing and has no delta", check: func(t *testing.T, c *client, user string) {
		must(t, c.tenant.FillMailbox(strings.TrimPrefix(user, "users/"), true))
		codeIs(t, c.refused(507, "POST", user+"/messages", object{"subject": "x"}), "ErrorQuotaExceeded")
		codeIs(t, c.refused(507, "GET", user+"/mailFolders/inbox/messages/delta", nil), "ErrorQuotaExceeded")
		c.get(user + "/mailFolders/inbox/messages")
	}},
	{name: "an If-Match that is old is 412", check: func(t *testing.T, c *client, user string) {
		id := c.mails(strings.TrimPrefix(user, "users/"), "one")[0]
		etag := c.get(user + "/messages/" + id)["@odata.etag"].(string)
		c.want(200, "PATCH", user+"/messages/"+id, object{"isRead": true}, "If-Match", etag)
		c.refused(412, "PATCH", user+"/messages/"+id, object{"isRead": false}, "If-Match", etag)
	}},
}
