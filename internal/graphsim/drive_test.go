package graphsim_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func (c *client) drive(user string) string {
	c.t.Helper()
	return "drives/" + url.PathEscape(c.get("users/" + user + "/drive")["id"].(string))
}

func TestDriveInitialRoundEqualsTruth(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{PageSize: 6}, graphsim.TenantSpec{Users: 1, FilesPerUser: 30})
	user := c.tenant.Users()[0].ID
	drive := c.drive(user)
	items, link, pages := c.round("users/" + user + "/drive/root/delta")
	if link == "" || pages < 3 {
		t.Fatalf("%d pages, deltaLink %q", pages, link)
	}
	truth, err := c.tenant.DriveTruth(user)
	must(t, err)
	got := ids(items)
	if len(got) != len(truth)+1 { // and the root
		t.Errorf("%d items, truth has %d", len(got), len(truth))
	}
	for _, want := range truth {
		item := got[want.ID]
		if item == nil {
			t.Fatalf("%s is missing", want.Path)
		}
		if item["parentReference"].(object)["path"] != nil || item["cTag"] != nil {
			t.Errorf("delta shows path or cTag: %v", item)
		}
		if want.Folder {
			continue
		}
		if item["size"] != float64(want.Size) {
			t.Errorf("%s has size %v, want %d", want.Path, item["size"], want.Size)
		}
		if data := c.download(drive + "/items/" + want.ID); sha(data) != want.SHA256 {
			t.Errorf("%s: content differs from the truth", want.Path)
		}
	}
}

// download follows the redirect of a file's content, without the token.
func (c *client) download(item string, headers ...string) []byte {
	c.t.Helper()
	resp := c.do("GET", item+"/content", nil)
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		c.t.Fatalf("content: %d", resp.StatusCode)
	}
	resp = c.do("GET", resp.Header.Get("Location"), nil, headers...)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		c.t.Fatalf("download: %d %v", resp.StatusCode, err)
	}
	return data
}

func TestDriveChangesShowInDelta(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	put := func(path, data string) string {
		id, err := c.tenant.PutFile(user, path, []byte(data))
		must(t, err)
		return id
	}
	moved, gone := put("a/one.txt", "1"), put("b/two.txt", "2")
	_, link, _ := c.round("users/" + user + "/drive/root/delta")
	must(t, c.tenant.MoveFile(user, "a/one.txt", "c/eins.txt"))
	must(t, c.tenant.DeleteFile(user, "b"))
	changes, _, _ := c.round(link)
	got := ids(changes)
	if got[moved]["name"] != "eins.txt" {
		t.Errorf("the moved file shows as %v", got[moved])
	}
	parent := got[moved]["parentReference"].(object)["id"].(string)
	if got[parent]["name"] != "c" {
		t.Errorf("its new folder is not in the page: %v", got)
	}
	deleted := 0
	for _, item := range changes {
		if item["deleted"] != nil {
			deleted++
			if item["name"] != nil {
				t.Errorf("a deleted item shows a name: %v", item)
			}
		}
	}
	// The folder, and its file if the folder's number is even.
	if deleted == 0 || (got[gone] != nil) != (deleted == 2) {
		t.Errorf("%d deletions: %v", deleted, changes)
	}
}

func TestDownloadURLs(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	data := bytes.Repeat([]byte("0123456789"), 100)
	id, err := c.tenant.PutFile(user, "f.bin", data)
	must(t, err)
	item := c.drive(user) + "/items/" + id
	if got := c.download(item, "Range", "bytes=10-19"); string(got) != "0123456789" {
		t.Errorf("range gives %q", got)
	}
	resp := c.do("GET", item+"/content", nil)
	resp.Body.Close()
	location := resp.Header.Get("Location")
	if !strings.HasPrefix(location, s.FilesURL()) {
		t.Fatalf("location %s is not on the files port", location)
	}
	c.refused(401, "GET", location, nil, "Authorization", "Bearer x")
	c.refused(401, "GET", strings.Replace(location, "/download/", "/download/AA", 1), nil)
	etag := c.get(item)["eTag"].(string)
	resp = c.do("GET", item+"/content", nil, "If-None-Match", etag)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotModified {
		t.Errorf("If-None-Match: %d", resp.StatusCode)
	}
}

func TestDownloadURLsExpire(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	id, err := c.tenant.PutFile(user, "f.bin", []byte("x"))
	must(t, err)
	resp := c.do("GET", c.drive(user)+"/items/"+id+"/content", nil)
	resp.Body.Close()
	s.Advance(6 * time.Minute)
	c.refused(401, "GET", resp.Header.Get("Location"), nil)
}

func TestDriveWrites(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	drive := c.drive(user)
	folder := c.want(201, "POST", drive+"/root/children", object{"name": "New (1)", "folder": object{}})["id"].(string)
	if code := c.refused(409, "POST", drive+"/items/root/children", object{"name": "new (1)", "folder": object{}}); code != "nameAlreadyExists" {
		t.Errorf("code %s", code)
	}
	name := url.PathEscape("plan #1 (ü).txt")
	file := c.want(201, "PUT", drive+"/items/"+folder+":/"+name+":/content", []byte("hello"))
	if hash := file["file"].(object)["hashes"].(object)["quickXorHash"]; hash != "aCgDG9jwBgAAAAAABQAAAAAAAAA=" {
		t.Errorf("quickXorHash %v", hash)
	}
	c.refused(409, "PUT", drive+"/items/"+folder+":/"+name+":/content?@microsoft.graph.conflictBehavior=fail", []byte("x"))
	renamed := c.want(201, "PUT", drive+"/items/"+folder+":/"+name+":/content?@microsoft.graph.conflictBehavior=rename", []byte("x"))
	if renamed["name"] != "plan #1 (ü) 1.txt" {
		t.Errorf("renamed to %v", renamed["name"])
	}
	byPath := c.get(drive + "/root:/" + url.PathEscape("New (1)") + "/" + name)
	if byPath["id"] != file["id"] {
		t.Errorf("by path: %v", byPath["id"])
	}
	patched := c.want(200, "PATCH", drive+"/items/"+file["id"].(string), object{
		"fileSystemInfo": object{"lastModifiedDateTime": "2020-01-02T03:04:05Z"}, "parentReference": object{"id": c.get(drive + "/root")["id"]}})
	if patched["fileSystemInfo"].(object)["lastModifiedDateTime"] != "2020-01-02T03:04:05Z" {
		t.Errorf("patched: %v", patched)
	}
	children, _, _ := c.round(drive + "/items/" + folder + "/children")
	if len(children) != 1 {
		t.Errorf("children: %v", children)
	}
	resp := c.do("DELETE", drive+"/items/"+folder, nil)
	resp.Body.Close()
	c.refused(404, "GET", drive+"/items/"+folder, nil)
}

func TestUploadSessionRules(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	drive := c.drive(user)
	data := bytes.Repeat([]byte("abcdefgh"), 90_000) // 720,000 bytes: two units and a rest
	session := func(conflict string) string {
		return c.want(200, "POST", drive+"/root:/up.bin:/createUploadSession", object{"item": object{
			"@microsoft.graph.conflictBehavior": conflict, "fileSystemInfo": object{"lastModifiedDateTime": "2021-02-03T04:05:06Z"}}})["uploadUrl"].(string)
	}
	put := func(target string, from, to int) *http.Response {
		resp := c.do("PUT", target, data[from:to], "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(data)))
		resp.Body.Close()
		return resp
	}
	const unit = 320 << 10
	target := session("fail")
	for _, tc := range []struct{ from, to, want int }{
		{0, 1000, 400}, {unit, 2 * unit, 416}, {0, unit, 202}, {0, unit, 416}, {unit, 2 * unit, 202}, {2 * unit, len(data), 201},
	} {
		if resp := put(target, tc.from, tc.to); resp.StatusCode != tc.want {
			t.Errorf("fragment %d-%d: %d, want %d", tc.from, tc.to, resp.StatusCode, tc.want)
		}
	}
	if resp := put(target, 0, unit); resp.StatusCode != 404 {
		t.Errorf("a finished session answers %d", resp.StatusCode)
	}
	truth, err := c.tenant.DriveTruth(user)
	must(t, err)
	if len(truth) != 1 || truth[0].SHA256 != sha(data) || truth[0].Modified.Format(time.RFC3339) != "2021-02-03T04:05:06Z" {
		t.Errorf("truth: %+v", truth)
	}
	// A name that is taken is found at the commit, and the session survives it.
	target = session("fail")
	put(target, 0, 2*unit)
	if resp := put(target, 2*unit, len(data)); resp.StatusCode != 409 {
		t.Errorf("commit on a taken name: %d", resp.StatusCode)
	}
	state := c.get(target)
	if state["expirationDateTime"] == nil {
		t.Errorf("the session did not survive: %v", state)
	}
	c.refused(401, "PUT", target, data[:unit], "Authorization", "Bearer x")
	resp := c.do("DELETE", target, nil)
	resp.Body.Close()
	c.refused(404, "GET", target, nil)
}

func TestDrivesOfOthers(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 3, NoDrive: 1, Unlicensed: 1, Groups: 1, Sites: 1, FilesPerUser: 4})
	users := c.tenant.Users()
	if users[0].Drive == "" || users[1].Drive != "" || users[2].Mailbox {
		t.Fatalf("users: %+v", users)
	}
	if code := c.refused(404, "GET", "users/"+users[1].ID+"/drive", nil); code != "ResourceNotFound" {
		t.Errorf("code %s", code)
	}
	if code := c.refused(404, "GET", "users/"+users[2].ID+"/mailFolders", nil); code != "MailboxNotEnabledForRESTAPI" {
		t.Errorf("code %s", code)
	}
	group := c.tenant.Groups()[0]
	items, _, _ := c.round("groups/" + group.ID + "/drive/root/delta")
	if len(items) < 5 {
		t.Errorf("the group's drive has %d items", len(items))
	}
	site := c.get("groups/" + group.ID + "/sites/root")
	byName := c.get("sites/" + url.PathEscape(site["id"].(string)) + "/drive")
	if byName["id"] != group.Drive {
		t.Errorf("drive %v, want %s", byName["id"], group.Drive)
	}
}
