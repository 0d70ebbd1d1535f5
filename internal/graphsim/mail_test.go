package graphsim_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func TestMailInitialRoundEqualsTruth(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{PageSize: 7}, graphsim.TenantSpec{Users: 2, MailsPerUser: 120})
	user := c.tenant.Users()[0].ID
	truth, err := c.tenant.MailTruth(user)
	if err != nil {
		t.Fatal(err)
	}
	if len(truth) != 120 {
		t.Fatalf("truth has %d messages, want 120", len(truth))
	}
	folders, _, pages := c.round("users/" + user + "/mailFolders/delta")
	if pages < 2 {
		t.Errorf("folders came in %d pages, want several", pages)
	}
	seen := map[string]object{}
	for _, f := range folders {
		messages, link, _ := c.round("users/" + user + "/mailFolders/" + f["id"].(string) + "/messages/delta")
		if link == "" {
			t.Fatalf("no deltaLink for %v", f["displayName"])
		}
		for id, m := range ids(messages) {
			seen[id] = m
		}
	}
	for _, want := range truth {
		if m := seen[want.ID]; m == nil || m["subject"] != want.Subject {
			t.Errorf("message %s %q is not in the delta", want.ID, want.Subject)
		}
	}
	if len(seen) != len(truth) {
		t.Errorf("delta has %d messages, truth %d", len(seen), len(truth))
	}
}

func TestMailChangesShowInDelta(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, MailsPerUser: 60})
	user := c.tenant.Users()[0].ID
	inbox := "users/" + user + "/mailFolders/inbox/messages/delta"
	archive := "users/" + user + "/mailFolders/archive/messages/delta"
	items, inboxLink, _ := c.round(inbox)
	_, archiveLink, _ := c.round(archive)
	moved, deleted, edited := items[0]["id"].(string), items[1]["id"].(string), items[2]["id"].(string)

	must(t, c.tenant.MoveMail(user, moved, "archive"))
	must(t, c.tenant.DeleteMail(user, deleted))
	must(t, c.tenant.EditMail(user, edited, map[string]any{"subject": "edited"}))
	fresh, err := c.tenant.NewMail(user, graphsim.MailSpec{Subject: "fresh"})
	must(t, err)

	changes, next, _ := c.round(inboxLink)
	got := ids(changes)
	if len(got) != 4 || len(changes) != 4 {
		t.Fatalf("inbox shows %d changes, want 4: %v", len(changes), changes)
	}
	for _, id := range []string{moved, deleted} {
		if got[id]["@removed"] == nil {
			t.Errorf("%s is not removed from the inbox", id)
		}
	}
	if got[edited]["subject"] != "edited" || got[fresh]["subject"] != "fresh" {
		t.Errorf("edited or new message is missing: %v", got)
	}
	if changes, _, _ := c.round(archiveLink); len(changes) != 1 || changes[0]["id"] != moved {
		t.Errorf("archive shows %v, want the moved message under its immutable ID", changes)
	}
	if changes, _, _ := c.round(next); len(changes) != 0 {
		t.Errorf("a second round shows %d changes, want none", len(changes))
	}
	// Replaying a link shows the same again.
	if again, _, _ := c.round(inboxLink); len(again) != 4 {
		t.Errorf("a replayed link shows %d changes, want 4", len(again))
	}
}

func TestRegularIDsDieWithAMove(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, MailsPerUser: 20})
	user := c.tenant.Users()[0].ID
	immutable := c.get("users/" + user + "/mailFolders/inbox/messages?$top=1")["value"].([]any)[0].(object)["id"].(string)
	c.prefer = "x"
	regular := c.get("users/" + user + "/mailFolders/inbox/messages?$top=1")["value"].([]any)[0].(object)["id"].(string)
	if regular == immutable {
		t.Fatal("the two kinds of ID are the same")
	}
	must(t, c.tenant.MoveMail(user, immutable, "archive"))
	if code := c.refused(404, "GET", "users/"+user+"/messages/"+regular, nil); code != "ErrorItemNotFound" {
		t.Errorf("code %s", code)
	}
	c.get("users/" + user + "/messages/" + immutable)
}

func TestMailDeltaTokens(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, MailsPerUser: 20})
	user := c.tenant.Users()[0].ID
	base := "users/" + user + "/mailFolders/inbox/messages/delta"
	_, link, _ := c.round(base + "?$select=subject")
	latest, _, _ := c.round(base + "?$deltatoken=latest")
	if len(latest) != 0 {
		t.Errorf("latest shows %d messages", len(latest))
	}
	tampered := strings.Replace(link, "deltatoken=", "deltatoken=AAAA", 1)
	for _, dead := range []string{tampered, base + "?$deltatoken=nonsense"} {
		resp := c.do("GET", dead, nil)
		if resp.StatusCode != http.StatusGone || resp.Header.Get("Location") == "" {
			t.Errorf("%s: %d %v", dead, resp.StatusCode, resp.Header)
		}
		resp.Body.Close()
	}
	c.tenant.ExpireDelta()
	if code := c.refused(410, "GET", link, nil); code != "SyncStateNotFound" {
		t.Errorf("code %s", code)
	}
}

// TestRestoreIsTruth reads every message of one user, writes it into an empty
// mailbox as a restore does, and compares the truths.
func TestRestoreIsTruth(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, MailsPerUser: 150})
	from := c.tenant.Users()[0].ID
	to, err := c.tenant.NewUser("Restored")
	must(t, err)
	messages, _, _ := c.round("users/" + from + "/messages?$top=50")
	for _, m := range messages {
		c.restore(from, to, m)
	}
	compareMail(t, c, from, to)
}

// compareMail holds what was restored for one user against the truth of another.
func compareMail(t *testing.T, c *client, from, to string) {
	t.Helper()
	want, err := c.tenant.MailTruth(from)
	must(t, err)
	got, err := c.tenant.MailTruth(to)
	must(t, err)
	restored := map[string]int{}
	for _, m := range got {
		restored[m.Digest+fmt.Sprint(m.Attachments)]++
	}
	for _, m := range want {
		if restored[m.Digest+fmt.Sprint(m.Attachments)] == 0 {
			t.Errorf("not restored as it was: %+v", m)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d messages restored of %d", len(got), len(want))
	}
}

func (c *client) restore(from, to string, m object) {
	c.t.Helper()
	id := m["id"].(string)
	body := object{}
	for _, name := range []string{"subject", "body", "from", "sender", "toRecipients", "ccRecipients", "bccRecipients", "replyTo",
		"isRead", "flag", "categories", "importance", "internetMessageId", "inferenceClassification"} {
		body[name] = m[name]
	}
	if m["isDraft"] == false {
		body["singleValueExtendedProperties"] = []object{{"id": "Integer 0x0E07", "value": "4"},
			{"id": "SystemTime 0x0039", "value": m["sentDateTime"]}, {"id": "SystemTime 0x0E06", "value": m["receivedDateTime"]}}
	}
	made := c.want(201, "POST", "users/"+to+"/mailFolders/inbox/messages", body)["id"].(string)
	attachments, _, _ := c.round("users/" + from + "/messages/" + id + "/attachments?$select=id,name,size")
	for _, a := range attachments {
		path := "users/" + from + "/messages/" + id + "/attachments/" + a["id"].(string)
		full := c.get(path + "?$expand=microsoft.graph.itemattachment/item")
		if a["size"].(float64) >= 3<<20 {
			c.uploadAttachment(to, made, full, c.bytes(path+"/$value"))
			continue
		}
		delete(full, "@odata.context")
		c.want(201, "POST", "users/"+to+"/messages/"+made+"/attachments", full)
	}
}

func (c *client) bytes(target string) []byte {
	c.t.Helper()
	resp := c.do("GET", target, nil)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		c.t.Fatalf("GET %s: %d %v", target, resp.StatusCode, err)
	}
	return data
}

func (c *client) uploadAttachment(user, message string, a object, data []byte) {
	c.t.Helper()
	session := c.want(201, "POST", "users/"+user+"/messages/"+message+"/attachments/createUploadSession",
		object{"AttachmentItem": object{"attachmentType": "file", "name": a["name"], "size": len(data), "contentType": a["contentType"]}})
	target := session["uploadUrl"].(string)
	for at := 0; at < len(data); at += 2 << 20 {
		end := min(at+2<<20, len(data))
		resp := c.do("PUT", target, data[at:end], "Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, end-1, len(data)))
		resp.Body.Close()
		switch {
		case end < len(data) && resp.StatusCode != 200:
			c.t.Fatalf("fragment: %d", resp.StatusCode)
		case end == len(data) && (resp.StatusCode != 201 || !strings.Contains(resp.Header.Get("Location"), "Attachments('")):
			c.t.Fatalf("last fragment: %d %v", resp.StatusCode, resp.Header)
		}
	}
}

func TestAttachmentRules(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	data := bytes.Repeat([]byte("tenantry"), 1000)
	id, err := c.tenant.NewMail(user, graphsim.MailSpec{Attachments: []graphsim.AttachmentSpec{{Name: "a.txt", Data: data}}})
	must(t, err)
	base := "users/" + user + "/messages/" + id + "/attachments"
	items, _, _ := c.round(base + "?$select=id,name,size,isInline")
	if len(items) != 1 || items[0]["contentBytes"] != nil || items[0]["size"] != float64(len(data)) {
		t.Fatalf("attachments: %v", items)
	}
	if got := c.bytes(base + "/" + items[0]["id"].(string) + "/$value"); !bytes.Equal(got, data) {
		t.Error("$value differs from what was attached")
	}
	picture := object{"@odata.type": "#microsoft.graph.fileAttachment", "name": "p", "contentId": "p@1", "isInline": true, "contentBytes": data}
	c.want(201, "POST", base, picture)
	for query, want := range map[string]any{"name": nil, "name,microsoft.graph.fileAttachment/contentId": "p@1"} {
		items, _, _ = c.round(base + "?$select=" + query)
		if len(items) != 2 || items[1]["contentId"] != want || items[1]["size"] != nil {
			t.Errorf("$select=%s: %v", query, items)
		}
	}
	ref := c.want(201, "POST", base, object{"@odata.type": "#microsoft.graph.referenceAttachment", "name": "link"})
	c.refused(405, "GET", base+"/"+ref["id"].(string)+"/$value", nil)
	small := object{"AttachmentItem": object{"attachmentType": "file", "name": "s", "size": 10}}
	if code := c.refused(400, "POST", base+"/createUploadSession", small); code != "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize" {
		t.Errorf("code %s", code)
	}
	large := object{"@odata.type": "#microsoft.graph.fileAttachment", "name": "l", "contentBytes": make([]byte, 3<<20)}
	if resp := c.do("POST", base, large); resp.StatusCode != 413 {
		t.Errorf("3 MB by POST: %d", resp.StatusCode)
	} else {
		resp.Body.Close()
	}
}

func TestFoldersAndExtendedProperties(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := "users/" + c.tenant.Users()[0].ID
	folder := c.want(201, "POST", user+"/mailFolders", object{"displayName": "Restored"})["id"].(string)
	if code := c.refused(409, "POST", user+"/mailFolders", object{"displayName": "restored"}); code != "ErrorFolderExists" {
		t.Errorf("code %s", code)
	}
	const prop = "String {00020329-0000-0000-C000-000000000046} Name Origin"
	c.want(201, "POST", user+"/mailFolders/"+folder+"/messages", object{"subject": "s",
		"singleValueExtendedProperties": []object{{"id": prop, "value": "it's"}}})
	path := user + "/mailFolders/" + folder + "/messages?$select=id&$expand=" +
		strings.ReplaceAll("singleValueExtendedProperties($filter=id eq '"+prop+"')", " ", "%20")
	items, _, _ := c.round(path)
	got := items[0]["singleValueExtendedProperties"].([]any)[0].(object)
	if got["id"] != prop || got["value"] != "it's" {
		t.Errorf("property %v", got)
	}
	if items[0]["subject"] != nil {
		t.Error("$select is not obeyed")
	}
	c.refused(400, "POST", user+"/messages", object{"subjekt": "s"})
	c.refused(400, "POST", user+"/messages", object{"internetMessageHeaders": []object{{"name": "Received", "value": "x"}}})
	resp := c.do("DELETE", user+"/mailFolders/"+folder, nil)
	resp.Body.Close()
	if resp.StatusCode != 204 {
		t.Errorf("delete folder: %d", resp.StatusCode)
	}
}

func TestMIMEHasTheAttachments(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	id, err := c.tenant.NewMail(user, graphsim.MailSpec{Subject: "Ä subject", Attachments: []graphsim.AttachmentSpec{{Name: "a.txt", Size: 5000, Seed: 3}}})
	must(t, err)
	mime := c.bytes("users/" + user + "/messages/" + id + "/$value")
	if !bytes.Contains(mime, []byte("Subject: =?utf-8?q?")) || !bytes.Contains(mime, []byte("filename=a.txt")) {
		t.Errorf("MIME: %.400s", mime)
	}
}

func TestSizeOfATenant(t *testing.T) {
	s, _ := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	before := allocated()
	tenant := s.AddTenant(graphsim.TenantSpec{Domain: "big.example", Users: 60, MailsPerUser: 100, FilesPerUser: 20})
	if bytes := allocated() - before; bytes > 60*100*100 { // 100 bytes a mail: less than any of its parts
		t.Errorf("AddTenant takes %d bytes: it makes contents that nobody has asked for", bytes)
	}
	var sum, attached int64
	messages := 0
	for _, u := range tenant.Users()[:4] {
		truth, err := tenant.MailTruth(u.ID)
		must(t, err)
		messages += len(truth)
		for _, m := range truth {
			for _, a := range m.Attachments {
				attached++
				sum += a.Size
			}
		}
	}
	t.Logf("%d messages, %d attachments of %d MB", messages, attached, sum>>20)
	if messages != 400 || attached == 0 {
		t.Errorf("%d messages with %d attachments", messages, attached)
	}
}

// allocated is how many bytes the process has asked for so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// Measurements need mails that are all alike.
func TestEqualMails(t *testing.T) {
	s, _ := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	tenant := s.AddTenant(graphsim.TenantSpec{Domain: "equal.example", Users: 1, MailsPerUser: 1000, MailSize: 5_000, AttachmentSize: 40_000})
	truth, err := tenant.MailTruth(tenant.Users()[0].ID)
	must(t, err)
	attached, seen := 0, map[string]int{}
	for _, m := range truth {
		for _, a := range m.Attachments {
			if a.Size != 40_000 {
				t.Fatalf("an attachment of %d bytes", a.Size)
			}
			attached++
			seen[a.SHA256]++
		}
	}
	if len(truth) != 1000 || attached < 150 || attached > 250 {
		t.Errorf("%d of %d mails have an attachment", attached, len(truth))
	}
	shared := 0
	for _, n := range seen {
		if n > 1 {
			shared += n
		}
	}
	if shared < 10 || shared > attached/2 {
		t.Errorf("of %d attachments %d are there several times", attached, shared)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
