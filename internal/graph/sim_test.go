package graph

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// simulatedLicences puts a tenant into SharePoint's largest class: its limits, kept
// by the book, would make the tests wait.
const simulatedLicences = 60_000

// simulated is a tenant of a simulated Microsoft 365, spoken to through the real
// account book on a real Redis.
func simulated(t *testing.T, spec graphsim.TenantSpec, change ...func(*graphsim.Options)) (*graphsim.Server, *graphsim.Tenant, *Tenant) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED because of -short: needs redis-server and the simulator")
	}
	options := graphsim.Options{Seed: 3}
	for _, c := range change {
		c(&options)
	}
	sim, err := graphsim.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	spec.Licences = simulatedLicences
	tenant := sim.AddTenant(spec)
	rdb := redis.NewClient(&redis.Options{Addr: servertest.Redis(t)})
	book := throttle.New(rdb, graphsim.DefaultClientID, throttle.Documented(), func(tenantry.TenantID) throttle.Size {
		return throttle.Size{Users: int64(spec.Users), Licences: simulatedLicences}
	})
	if err := book.Resume(t.Context(), nil); err != nil { // a new installation
		t.Fatal(err)
	}
	client, err := New(Config{GraphURL: sim.URL(), LoginURL: sim.URL(), ClientID: graphsim.DefaultClientID,
		Secret: tenantry.NewSecret(graphsim.DefaultSecret)}, book)
	if err != nil {
		t.Fatal(err)
	}
	client.policy.first = time.Millisecond
	t.Cleanup(func() {
		client.Close()
		for _, err := range []error{book.Close(context.Background()), rdb.Close(), sim.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return sim, tenant, client.Tenant(testTenant, tenant.ID())
}

// round follows a round to its end and returns what it brought and where to go
// on next time.
func round[T any](t *testing.T, link string, page func(link string) (items []T, next string, done bool, err error)) ([]T, string) {
	t.Helper()
	var all []T
	for range 10_000 {
		items, next, done, err := page(link)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, items...)
		if done {
			return all, next
		}
		link = next
	}
	t.Fatal("a round without an end")
	return nil, ""
}

func rawRound(t *testing.T, link string, page func(string) (RawPage, error)) ([]jsontext.Value, string) {
	t.Helper()
	return round(t, link, func(link string) ([]jsontext.Value, string, bool, error) {
		p, err := page(link)
		return p.Items, p.Next, p.Done, err
	})
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestSimulatedDirectory(t *testing.T) {
	ctx := t.Context()
	_, sim, tenant := simulated(t, graphsim.TenantSpec{Name: "Contoso", Users: 250, Unlicensed: 3, NoDrive: 1, Shared: 2, Groups: 4, Sites: 2})
	_, err := tenant.Grant(ctx)
	wantKind(t, err, tenantry.Reconnect)
	_, err = tenant.Organization(ctx)
	wantKind(t, err, tenantry.Reconnect)

	sim.Consent()
	grant, err := tenant.Grant(ctx)
	if err != nil || grant.DirectoryID != sim.ID() || !slices.Contains(grant.Roles, "Mail.ReadWrite") {
		t.Fatalf("%+v, %v", grant, err)
	}
	if org, err := tenant.Organization(ctx); err != nil || org.ID != sim.ID() || org.Name != "Contoso" || len(org.Domains) == 0 {
		t.Errorf("%+v, %v", org, err)
	}
	if n, err := tenant.Licences(ctx); err != nil || n != simulatedLicences {
		t.Errorf("%d licences, %v", n, err)
	}

	users, link := round(t, "", func(link string) ([]User, string, bool, error) {
		p, err := tenant.UserChanges(ctx, link)
		return p.Items, p.Next, p.Done, err
	})
	truth := sim.Users()
	if len(users) != len(truth) {
		t.Fatalf("%d users, want %d", len(users), len(truth))
	}
	mail, files := 0, 0
	for _, u := range users {
		if u.HasMailPlan {
			mail++
		}
		if u.HasDrivePlan {
			files++
		}
		if u.ID == "" || u.PrincipalName == "" || u.Removed != "" || u.Licensed != (u.HasMailPlan || u.HasDrivePlan) {
			t.Errorf("%+v", u)
		}
	}
	if mail != 247 || files != 247 {
		t.Errorf("%d with a mail plan, %d with a drive plan, want 247", mail, files)
	}
	first, last := truth[0], truth[len(truth)-1]
	if kind, err := tenant.MailboxKind(ctx, first.ID); err != nil || kind != "user" {
		t.Errorf("%q, %v", kind, err)
	}
	if kind, err := tenant.MailboxKind(ctx, last.ID); err != nil || kind != "shared" {
		t.Errorf("%q, %v", kind, err)
	}
	for _, u := range append(truth[:5:5], truth[240:]...) {
		drive, err := tenant.DefaultDrive(ctx, OfUser, u.ID)
		if u.Drive == "" {
			wantKind(t, err, tenantry.Absent)
		} else if err != nil || drive != u.Drive {
			t.Errorf("%q, %v", drive, err)
		}
		if !u.Mailbox {
			_, err := tenant.MailFolderChanges(ctx, u.ID, "")
			wantKind(t, err, tenantry.Absent)
		}
	}

	lives := func(id string, want tenantry.LifeState) {
		t.Helper()
		if got, err := tenant.UserState(ctx, id); err != nil || got != want {
			t.Errorf("%s is %q, want %q, %v", id, got, want, err)
		}
	}
	lives(first.ID, tenantry.Active)
	if err := sim.DeleteUser(first.ID); err != nil {
		t.Fatal(err)
	}
	lives(first.ID, tenantry.Inactive)
	if err := sim.PurgeUser(truth[1].ID); err != nil {
		t.Fatal(err)
	}
	lives(truth[1].ID, tenantry.Gone)
	changed, _ := round(t, link, func(link string) ([]User, string, bool, error) {
		p, err := tenant.UserChanges(ctx, link)
		return p.Items, p.Next, p.Done, err
	})
	want := map[string]string{first.ID: "changed", truth[1].ID: "deleted"}
	for _, u := range changed {
		if u.Removed != want[u.ID] {
			t.Errorf("%s is removed as %q, want %q", u.ID, u.Removed, want[u.ID])
		}
		delete(want, u.ID)
	}
	if len(want) != 0 {
		t.Errorf("not heard of: %v", want)
	}
	testGroupsAndSites(t, sim, tenant)

	sim.ExpireDelta()
	_, err = tenant.UserChanges(ctx, link)
	wantKind(t, err, tenantry.Resync)
	sim.RevokeTokens()
	if _, err := tenant.Organization(ctx); err != nil {
		t.Errorf("a revoked token was not replaced: %v", err)
	}
}

func testGroupsAndSites(t *testing.T, sim *graphsim.Tenant, tenant *Tenant) {
	t.Helper()
	ctx := t.Context()
	groups, _ := round(t, "", func(link string) ([]Group, string, bool, error) {
		p, err := tenant.GroupChanges(ctx, link)
		return p.Items, p.Next, p.Done, err
	})
	byID := map[string]Group{}
	for _, g := range groups {
		byID[g.ID] = g
	}
	for _, g := range sim.Groups() {
		if got := byID[g.ID]; got.Unified != g.Unified || got.Team != g.Team || got.Name != g.Name || got.MailEnabled != g.Mail || got.Security != g.Secures || got.Dynamic != g.Dynamic {
			t.Errorf("%+v, want %+v", got, g)
		}
	}
	sites, _ := round(t, "", func(link string) ([]Site, string, bool, error) {
		p, err := tenant.SiteChanges(ctx, link)
		return p.Items, p.Next, p.Done, err
	})
	personal := map[string]bool{}
	for _, s := range sites {
		personal[s.ID] = s.Personal
	}
	for _, s := range sim.Sites() {
		if got, ok := personal[s.ID]; s.State == graphsim.Active && (!ok || got != (s.Owner != "")) {
			t.Errorf("site %s: listed %v, personal %v: %+v", s.ID, ok, got, s)
		}
	}
	site := sim.Sites()[len(sim.Sites())-1]
	// It can be read, deleted or not, until it is purged.
	for i, change := range []func(string) error{sim.DeleteSite, sim.PurgeSite, nil} {
		if got, err := tenant.SiteReadable(ctx, site.ID); err != nil || got != (i < 2) {
			t.Errorf("after %d changes the site is readable: %v, %v", i, got, err)
		}
		if change == nil {
			break
		}
		if err := change(site.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// folderIDs lists all folders below the root, hidden ones included.
func folderIDs(t *testing.T, tenant *Tenant, user, parent string) []string {
	t.Helper()
	items, _ := rawRound(t, "", func(link string) (RawPage, error) { return tenant.MailFolders(t.Context(), user, parent, link) })
	var ids []string
	for _, item := range items {
		id, err := idOf("test", item)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		ids = append(ids, folderIDs(t, tenant, user, id)...)
	}
	return ids
}

// TestMessageFolder finds a message where it lies, after it was moved and deleted, too, and none that is gone.
func TestMessageFolder(t *testing.T) {
	server, sim, tenant := simulated(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 10})
	sim.Consent()
	user := sim.Users()[0].ID
	mails, err := sim.MailTruth(user)
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := tenant.MailFolderID(t.Context(), user, "inbox")
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.MoveMail(user, mails[0].ID, inbox); err != nil {
		t.Fatal(err)
	}
	if got, err := tenant.MessageFolder(t.Context(), user, mails[0].ID); err != nil || got != inbox {
		t.Errorf("it lies in %q, %v; want %q", got, err, inbox)
	}
	if err := sim.DeleteMail(user, mails[0].ID); err != nil {
		t.Fatal(err)
	}
	deletions, err := tenant.MailFolderID(t.Context(), user, "recoverableitemsdeletions")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tenant.MessageFolder(t.Context(), user, mails[0].ID); err != nil || got != deletions {
		t.Errorf("what can be recovered lies in %q, %v; want %q", got, err, deletions)
	}
	if _, err := server.Inject(graphsim.Fault{Path: "/messages/", Status: 404, Code: "ErrorItemNotFound"}); err != nil {
		t.Fatal(err)
	}
	_, err = tenant.MessageFolder(t.Context(), user, mails[1].ID)
	wantKind(t, err, tenantry.NotFound)
}

// TestSimulatedMailbox reads a mailbox and holds it against the truth.
func TestSimulatedMailbox(t *testing.T) {
	ctx := t.Context()
	server, sim, tenant := simulated(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 120})
	sim.Consent()
	user := sim.Users()[0].ID
	truth, err := sim.MailTruth(user)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]graphsim.MailTruth{}
	for _, m := range truth {
		want[m.ID] = m
	}
	if _, err := server.Inject(graphsim.Fault{Path: "messages/delta", Kind: graphsim.FaultCut, Every: 5}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	links := map[string]string{}
	for _, folder := range folderIDs(t, tenant, user, "") {
		messages, link := rawRound(t, "", func(link string) (RawPage, error) { return tenant.MessageChanges(ctx, user, folder, link, 7) })
		links[folder] = link
		for _, raw := range messages {
			var m struct {
				ID       string `json:"id"`
				Has      bool   `json:"hasAttachments"`
				Headers  []any  `json:"internetMessageHeaders"`
				ParentID string `json:"parentFolderId"`
				Body     struct{ Content string }
			}
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			truth, ok := want[m.ID]
			if !ok || m.ParentID != folder || m.Body.Content == "" {
				t.Errorf("%s is not in the truth, or without body or parent: %.200s", m.ID, raw)
			}
			seen++
			if m.Has || len(truth.Attachments) > 0 {
				testAttachments(t, tenant, user, m.ID, truth.Attachments)
			}
		}
	}
	if seen != len(want) {
		t.Errorf("%d messages, want %d", seen, len(want))
	}
	inbox, err := tenant.MailFolderID(ctx, user, "inbox")
	if err != nil || links[inbox] == "" {
		t.Fatalf("%q, %v", inbox, err)
	}
	page, err := tenant.MessageChanges(ctx, user, inbox, links[inbox], 0)
	if err != nil || !page.Done || len(page.Items) != 0 {
		t.Errorf("nothing changed, but %d items, done %v, %v", len(page.Items), page.Done, err)
	}
	sim.ExpireDelta()
	_, err = tenant.MessageChanges(ctx, user, inbox, links[inbox], 0)
	wantKind(t, err, tenantry.Resync)
	wantStruck(t, server)
	if throttled := server.Stats().Tenants[sim.ID()].TotalThrottled(); throttled != 0 {
		t.Errorf("%d requests were throttled: the account book let them pass", throttled)
	}
}

// testSmallAttachments: what comes in one request is what comes in many, byte by byte.
func testSmallAttachments(t *testing.T, tenant *Tenant, user, message string, list []jsontext.Value, want []graphsim.AttachmentTruth) {
	t.Helper()
	small, contents, ok, err := tenant.SmallAttachments(t.Context(), user, OfMessage, message)
	if err != nil {
		t.Fatal(err)
	}
	var bytes int64
	sums := map[string]string{}
	for _, a := range want {
		bytes += a.Size
		sums[a.Name] = a.SHA256
	}
	if fits := bytes > 0 && bytes*4/3+4096 < maxSmallAttachments; fits && !ok {
		t.Errorf("%d bytes of attachments do not come in one request", bytes)
	}
	if !ok {
		return
	}
	for i, raw := range list {
		if string(raw) != string(small[i]) {
			t.Errorf("an attachment is %s by itself and %s with its content", raw, small[i])
		}
		var a struct{ ID, Name string }
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatal(err)
		}
		if content, ok := contents[a.ID]; ok && hex.EncodeToString(sha(content)) != sums[a.Name] {
			t.Errorf("%s has %d bytes that are not the truth's", a.Name, len(content))
		}
	}
}

func sha(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] }

func testAttachments(t *testing.T, tenant *Tenant, user, message string, want []graphsim.AttachmentTruth) {
	t.Helper()
	ctx := t.Context()
	list, _ := rawRound(t, "", func(link string) (RawPage, error) { return tenant.Attachments(ctx, user, OfMessage, message, link) })
	if len(list) != len(want) {
		t.Errorf("%d attachments, want %d", len(list), len(want))
		return
	}
	testSmallAttachments(t, tenant, user, message, list, want)
	byName := map[string]graphsim.AttachmentTruth{}
	for _, a := range want {
		byName[a.Name] = a
	}
	for _, raw := range list {
		var a struct {
			ID, Name, ContentBytes string
		}
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatal(err)
		}
		want, ok := byName[a.Name]
		if !ok || a.ContentBytes != "" {
			t.Errorf("%s, want %+v", raw, want)
		}
		switch want.Kind {
		case "file":
			body, err := tenant.AttachmentContent(ctx, user, OfMessage, message, a.ID)
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(body)
			body.Close()
			if err != nil || digestOf(content) != want.SHA256 {
				t.Errorf("%d bytes of %s, or others, %v", len(content), a.Name, err)
			}
		case "item":
			if doc, err := tenant.Attachment(ctx, user, OfMessage, message, a.ID); err != nil || !bytes.Contains(doc, []byte(`"item":{`)) {
				t.Errorf("%.200s, %v", doc, err)
			}
		}
	}
}

// TestSimulatedMailRestore writes to a mailbox and finds it again.
func TestSimulatedMailRestore(t *testing.T) {
	ctx := t.Context()
	server, sim, tenant := simulated(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 1})
	sim.Consent()
	tenant = tenant.Reserve()
	user := sim.Users()[0].ID
	folder, err := tenant.CreateMailFolder(ctx, user, "", "Restored", false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tenant.CreateMailFolder(ctx, user, "", "Restored", false)
	wantKind(t, err, tenantry.Conflict)

	const prop = "String {8ea7a04b-4a2f-4a0c-a0a1-3b1c1d1c5d11} Name TenantryKey"
	body := `{"subject":"restored","isRead":true,"body":{"contentType":"html","content":"<p>x</p>"},
		"from":{"emailAddress":{"name":"Ann","address":"ann@contoso.example"}},
		"singleValueExtendedProperties":[{"id":"Integer 0x0E07","value":"1"},{"id":"` + prop + `","value":"key-1"}]}`
	message, err := tenant.CreateMessage(ctx, user, folder, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	// The answer to a creation that was carried out is lost: it is not repeated.
	if _, err := server.Inject(graphsim.Fault{Method: "POST", Path: "/messages$", Kind: graphsim.FaultLost, Count: 1}); err != nil {
		t.Fatal(err)
	}
	_, err = tenant.CreateMessage(ctx, user, folder, []byte(body))
	wantKind(t, err, tenantry.Transient)
	found, _ := rawRound(t, "", func(link string) (RawPage, error) {
		return tenant.Messages(ctx, user, folder, "id,subject", prop, link)
	})
	if len(found) != 2 || !strings.Contains(string(found[0]), `"key-1"`) {
		t.Fatalf("%s", found)
	}

	big := random(4<<20 + 3)
	if err := tenant.UploadAttachment(ctx, user, OfMessage, message, "big.bin", "application/octet-stream", "", false, stored(big)); err != nil {
		t.Fatal(err)
	}
	if err := tenant.UploadAttachment(ctx, user, OfMessage, message, "pic.png", "image/png", "cid-1", true, stored([]byte("pic"))); err != nil {
		t.Fatal(err)
	}
	testAttachments(t, tenant, user, message, []graphsim.AttachmentTruth{
		{Name: "big.bin", Kind: "file", SHA256: digestOf(big)},
		{Name: "pic.png", Kind: "file", SHA256: digestOf([]byte("pic"))},
	})
	for range 2 {
		if err := tenant.DeleteMessage(ctx, user, message); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSimulatedDrive reads a drive, writes to it, and holds both against the
// truth.
func TestSimulatedDrive(t *testing.T) {
	ctx := t.Context()
	server, sim, tenant := simulated(t, graphsim.TenantSpec{Users: 1, FilesPerUser: 25})
	sim.Consent()
	user := sim.Users()[0].ID
	drive, err := tenant.DefaultDrive(ctx, OfUser, user)
	if err != nil {
		t.Fatal(err)
	}
	root, err := tenant.DriveRoot(ctx, drive)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Inject(graphsim.Fault{Path: "^/download/", Kind: graphsim.FaultCut, Every: 3}); err != nil {
		t.Fatal(err)
	}
	created, modified := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)
	folder, err := tenant.CreateDriveFolder(ctx, drive, root, "Neu & 100%", time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"recipients":[{"objectId":"x"}],"roles":["read"]}`, `{"recipients":[],"roles":["read"],"sendInvitation":true}`} {
		wantKind(t, tenant.Invite(ctx, drive, root, []byte(body)), tenantry.Invalid) // it would tell somebody
	}
	_, err = tenant.CreateDriveFolder(ctx, drive, root, "Neu & 100%", time.Time{}, time.Time{})
	wantKind(t, err, tenantry.Conflict)
	parent, err := idOf("test", folder)
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"empty #1.txt": 0, "small 50%.bin": 1000, "large+big.bin": 2*driveFragment + 77} {
		content := random(size)
		if _, err := tenant.Upload(ctx, drive, parent, name, "fail", created, modified, stored(content)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err := tenant.Upload(ctx, drive, parent, name, "fail", created, modified, stored(content))
		wantKind(t, err, tenantry.Conflict)
		if _, err := tenant.DriveChild(ctx, drive, parent, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = tenant.DriveChild(ctx, drive, parent, "no such file")
	wantKind(t, err, tenantry.NotFound)
	children, _ := rawRound(t, "", func(link string) (RawPage, error) { return tenant.DriveChildren(ctx, drive, parent, link) })
	if len(children) != 3 {
		t.Errorf("%d children", len(children))
	}
	testDriveTruth(t, sim, tenant, user, drive, modified)
	wantStruck(t, server)
}

// wantStruck fails if a fault that was to be survived never came.
func wantStruck(t *testing.T, server *graphsim.Server) {
	t.Helper()
	for _, f := range server.Faults() {
		if f.Struck == 0 {
			t.Errorf("%s on %s never struck: %d matched", f.Kind, f.Path, f.Matched)
		}
	}
}

func testDriveTruth(t *testing.T, sim *graphsim.Tenant, tenant *Tenant, user, drive string, modified time.Time) {
	t.Helper()
	ctx := t.Context()
	truth, err := sim.DriveTruth(user)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]graphsim.FileTruth{}
	for _, f := range truth {
		want[f.ID] = f
		if path.Dir(f.Path) == "Neu & 100%" && !f.Modified.Equal(modified) {
			t.Errorf("%s is of %v, want %v", f.Path, f.Modified, modified)
		}
	}
	addresses := map[string]string{}
	items, link := rawRound(t, "", func(link string) (RawPage, error) {
		p, err := tenant.DriveChanges(ctx, drive, link)
		maps.Copy(addresses, p.Addresses)
		return p, err
	})
	files := 0
	for _, raw := range items {
		var item struct {
			ID   string `json:"id"`
			Size int64  `json:"size"`
			File any    `json:"file"`
		}
		if err := json.Unmarshal(raw, &item); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte("downloadUrl")) {
			t.Errorf("a credential in what is backed up: %s", raw)
		}
		if item.File == nil {
			continue
		}
		files++
		if addresses[item.ID] == "" {
			t.Errorf("nobody told where %s is", item.ID)
		}
		offset := item.Size / 3
		body, err := tenant.Download(ctx, drive, item.ID, addresses[item.ID], 0)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(body)
		body.Close()
		if err != nil || digestOf(content) != want[item.ID].SHA256 {
			t.Errorf("%s: %d bytes of %d, or others, %v", want[item.ID].Path, len(content), item.Size, err)
			continue
		}
		if body, err = tenant.Download(ctx, drive, item.ID, "", offset); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(body)
		body.Close()
		if err != nil || !bytes.Equal(rest, content[offset:]) {
			t.Errorf("%s from %d: %d bytes, %v", want[item.ID].Path, offset, len(rest), err)
		}
	}
	if files != 28 {
		t.Errorf("%d files, want 28", files)
	}
	sim.ExpireDelta()
	_, err = tenant.DriveChanges(ctx, drive, link)
	wantKind(t, err, tenantry.Resync)
}

// TestSimulatedConcurrency: whatever a worker throws at one mailbox, Exchange
// never sees more than four requests at once, attachments' streams included.
func TestSimulatedConcurrency(t *testing.T) {
	server, sim, tenant := simulated(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 40},
		func(o *graphsim.Options) { o.Latency = 2 * time.Millisecond })
	sim.Consent()
	user := sim.Users()[0].ID
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for range 64 {
		wg.Go(func() {
			_, err := tenant.MailFolderChanges(t.Context(), user, "")
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	stats := server.Stats().Tenants[sim.ID()]
	if stats.TotalThrottled() != 0 || stats.Tokens != 1 {
		t.Errorf("%+v", stats)
	}
}
