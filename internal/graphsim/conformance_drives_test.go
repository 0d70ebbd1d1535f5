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

// rule is one documented sentence and how it is checked, in a tenant of its own.
type rule struct {
	name  string
	check func(c *world)
}

// world is a tenant for one rule, with a user whose drive is under test.
type world struct {
	*client
	user, drive string
}

// conform checks rules in tenants of one simulator.
func conform(t *testing.T, o graphsim.Options, spec graphsim.TenantSpec, rules []rule) {
	t.Helper()
	s, _ := start(t, o, graphsim.TenantSpec{})
	for i, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			spec.Domain = fmt.Sprintf("rule%d.example", i)
			tenant := s.AddTenant(spec)
			tenant.Consent()
			w := &world{client: newClient(t, s, tenant)}
			w.user = tenant.Users()[0].ID
			w.drive = "drives/" + url.PathEscape(tenant.Users()[0].Drive)
			r.check(w)
		})
	}
}

func (w *world) put(path, data string) string {
	w.t.Helper()
	id, err := w.tenant.PutFile(w.user, path, []byte(data))
	must(w.t, err)
	return id
}

func (w *world) item(id string) string { return w.drive + "/items/" + id }

// same fails unless two values are equal.
func (w *world) same(what string, got, want any) {
	w.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// status sends a request and checks the status alone.
func (w *world) status(want int, method, target string, body any, headers ...string) http.Header {
	w.t.Helper()
	resp := w.do(method, target, body, headers...)
	data, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != want {
		w.t.Errorf("%s %s: %d, want %d: %.200s", method, target, resp.StatusCode, want, data)
	}
	return resp.Header
}

// inner is the code of innerError of a refusal.
func (w *world) inner(status int, method, target string, body any, headers ...string) any {
	w.t.Helper()
	return w.want(status, method, target, body, headers...)["error"].(object)["innerError"].(object)["code"]
}

// changes follows a round with extra headers and returns the last state of each item.
func (w *world) changes(target string, headers ...string) (map[string]object, string) {
	w.t.Helper()
	got := map[string]object{}
	for {
		page := w.want(200, "GET", target, nil, headers...)
		for _, v := range page["value"].([]any) {
			got[v.(object)["id"].(string)] = v.(object)
		}
		if next, more := page["@odata.nextLink"].(string); more {
			target = next
			continue
		}
		return got, page["@odata.deltaLink"].(string)
	}
}

const fullSharing = "deltashowremovedasdeleted, deltatraversepermissiongaps, deltashowsharingchanges, hierarchicalsharing"

func TestConformanceDriveDelta(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{PageSize: 7}, graphsim.TenantSpec{Users: 2, FilesPerUser: 20, Groups: 1, Libraries: 2}, []rule{
		{"a first call enumerates the whole hierarchy", func(w *world) {
			got, _ := w.changes(w.drive + "/root/delta")
			truth, err := w.tenant.DriveTruth(w.user)
			must(w.t, err)
			w.same("items", len(got), len(truth)+1)
		}},
		{"token=latest answers nothing but a deltaLink from now", func(w *world) {
			page := w.get(w.drive + "/root/delta?token=latest")
			w.same("items", len(page["value"].([]any)), 0)
			id := w.put("new.txt", "x")
			got, _ := w.changes(page["@odata.deltaLink"].(string))
			if got[id] == nil {
				w.t.Error("the change after it is not told")
			}
		}},
		{"the function form takes a token as well", func(w *world) {
			page := w.get(w.drive + "/root/delta(token='latest')")
			w.same("items", len(page["value"].([]any)), 0)
		}},
		{"a token that is a time tells the changes since then", func(w *world) {
			since := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
			id := w.put("late/new.txt", "x")
			got, link := w.changes(w.drive + "/root/delta?token=" + url.QueryEscape(since))
			if got[id] == nil || len(got) > 3 {
				w.t.Errorf("%d items: %v", len(got), got[id])
			}
			got, _ = w.changes(link)
			w.same("items after it", len(got), 0)
		}},
		{"a round ends with a deltaLink instead of a nextLink", func(w *world) {
			_, link, pages := w.round(w.drive + "/root/delta")
			if link == "" || pages < 2 {
				w.t.Errorf("%d pages, deltaLink %q", pages, link)
			}
		}},
		{"parentReference has no path and cTag is left out", func(w *world) {
			got, _ := w.changes(w.drive + "/root/delta")
			for _, item := range got {
				if item["parentReference"].(object)["path"] != nil || item["cTag"] != nil {
					w.t.Errorf("%v", item)
				}
			}
		}},
		{"renaming a folder does not return its descendants", func(w *world) {
			id := w.put("a/b/c.txt", "x")
			_, link := w.changes(w.drive + "/root/delta")
			must(w.t, w.tenant.MoveFile(w.user, "a", "z"))
			got, _ := w.changes(link)
			if got[id] != nil {
				w.t.Error("the file below was told")
			}
			w.same("items", len(got), 2) // the folder and the root above it
		}},
		{"a deleted item has the facet and neither name nor cTag", func(w *world) {
			id := w.put("x.txt", "x")
			_, link := w.changes(w.drive + "/root/delta")
			must(w.t, w.tenant.DeleteFile(w.user, "x.txt"))
			got, _ := w.changes(link)
			if got[id]["deleted"] == nil || got[id]["name"] != nil || got[id]["cTag"] != nil {
				w.t.Errorf("%v", got[id])
			}
		}},
		{"a deleted folder is told alone or with all below it", func(w *world) {
			for i := range 2 { // neighbours in number: one of each kind
				w.put(fmt.Sprintf("gone%d/f.txt", i), "x")
			}
			w.put("odd.txt", "shifts the numbers")
			for i := range 2 {
				w.put(fmt.Sprintf("more%d/f.txt", i), "x")
			}
			_, link := w.changes(w.drive + "/root/delta")
			told := map[int]bool{}
			for _, name := range []string{"gone0", "more0"} {
				must(w.t, w.tenant.DeleteFile(w.user, name))
				var got map[string]object
				got, link = w.changes(link)
				told[len(got)] = true
			}
			w.same("folder alone, folder and file", told, map[int]bool{1: true, 2: true})
		}},
		{"changed items come with their parent chain", func(w *world) {
			id := w.put("p/q/f.txt", "1")
			_, link := w.changes(w.drive + "/root/delta")
			w.put("p/q/f.txt", "2")
			got, _ := w.changes(link)
			w.same("items", len(got), 4)
			got, _ = w.changes(link, "deltaExcludeParent", "true")
			w.same("items without parents", len(got), 1)
			w.same("the file", got[id]["name"], "f.txt")
		}},
		{"a reset is 410 with a Location that starts a new enumeration", func(w *world) {
			_, link := w.changes(w.drive + "/root/delta")
			for _, kind := range []struct {
				keepBoth bool
				code     string
			}{{false, "resyncChangesApplyDifferences"}, {true, "resyncChangesUploadDifferences"}} {
				must(w.t, w.tenant.ResyncDrive(w.user, kind.keepBoth))
				w.same("code", w.refused(410, "GET", link, nil), "resyncRequired")
				w.same("inner code", w.inner(410, "GET", link, nil), kind.code)
				location := w.status(410, "GET", link, nil).Get("Location")
				if got, _ := w.changes(location); len(got) < 20 {
					w.t.Errorf("the new enumeration has %d items", len(got))
				}
			}
		}},
		{"hierarchicalsharing shows the root of a hierarchy and own sharing only", func(w *world) {
			file, other := w.put("s/f.txt", "x"), w.put("s/g.txt", "x")
			_, err := w.tenant.LinkFile(w.user, "s", "view", "organization")
			must(w.t, err)
			must(w.t, w.tenant.IsolateFile(w.user, "s/g.txt", false))
			plain, _ := w.changes(w.drive + "/root/delta")
			w.same("inherited sharing", plain[file]["shared"].(object)["scope"], "organization")
			got, _ := w.changes(w.drive+"/root/delta", "Prefer", "hierarchicalsharing")
			root := w.get(w.drive + "/root")["id"].(string)
			w.same("the file that inherits", got[file]["shared"], nil)
			w.same("the unique item without links", got[other]["shared"], map[string]any{})
			w.same("the unshared root", got[root]["shared"], map[string]any{})
		}},
		{"sharing changes are marked only with all four preferences", func(w *world) {
			id := w.put("f.txt", "x")
			_, link := w.changes(w.drive + "/root/delta")
			_, err := w.tenant.ShareFile(w.user, "f.txt", w.tenant.Users()[1].ID, "write")
			must(w.t, err)
			got, _ := w.changes(link, "Prefer", "deltashowsharingchanges")
			w.same("with one", got[id]["@microsoft.graph.sharedChanged"], nil)
			got, next := w.changes(link, "Prefer", fullSharing)
			w.same("with all", got[id]["@microsoft.graph.sharedChanged"], "True")
			w.put("f.txt", "y")
			got, _ = w.changes(next, "Prefer", fullSharing)
			w.same("of a later content", got[id]["@microsoft.graph.sharedChanged"], nil)
		}},
		{"sharing changes are marked on business drives only", func(w *world) {
			group := w.tenant.Groups()[0]
			id, err := w.tenant.PutFile(group.ID, "f.txt", []byte("x"))
			must(w.t, err)
			_, link := w.changes("groups/" + group.ID + "/drive/root/delta")
			_, err = w.tenant.LinkFile(group.ID, "f.txt", "edit", "organization")
			must(w.t, err)
			got, _ := w.changes(link, "Prefer", fullSharing)
			w.same("mark", got[id]["@microsoft.graph.sharedChanged"], nil)
			w.same("shared", got[id]["shared"].(object)["scope"], "organization")
		}},
		{"delta of a folder is not supported", func(w *world) {
			w.put("d/f.txt", "x")
			folder := w.get(w.drive + "/root:/d:")["id"].(string)
			w.same("code", w.refused(400, "GET", w.item(folder)+"/delta", nil), "invalidRequest")
		}},
	})
}

func TestConformanceDrives(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, NoDrive: 1, Groups: 1, Libraries: 2, DriveQuota: 5_000_000}, []rule{
		{"a OneDrive is business, a site's library documentLibrary", func(w *world) {
			w.same("driveType", w.get("users/" + w.user + "/drive")["driveType"], "business")
			w.same("driveType", w.get("groups/" + w.tenant.Groups()[0].ID + "/drive")["driveType"], "documentLibrary")
		}},
		{"every library of a site is a drive, system ones only when selected", func(w *world) {
			site := "sites/" + url.PathEscape(w.tenant.Groups()[0].Site)
			plain, _, _ := w.round(site + "/drives")
			all, _, _ := w.round(site + "/drives?$select=id,name,system")
			w.same("libraries", len(plain), 4)
			w.same("with system", len(all), 5)
			for _, each := range plain {
				if got := w.get("drives/" + url.PathEscape(each["id"].(string)))["name"]; got != each["name"] {
					w.t.Errorf("%v by its ID is %v", each["name"], got)
				}
			}
		}},
		{"libraries are told apart", func(w *world) {
			list, err := w.tenant.Drives(w.tenant.Groups()[0].ID)
			must(w.t, err)
			_, err = w.tenant.PutFile(list[3].ID, "only here.txt", []byte("x"))
			must(w.t, err)
			w.status(200, "GET", "drives/"+url.PathEscape(list[3].ID)+"/root:/only%20here.txt", nil)
			w.status(404, "GET", "drives/"+url.PathEscape(list[0].ID)+"/root:/only%20here.txt", nil)
		}},
		{"drive ids are opaque and case-sensitive", func(w *world) {
			w.status(404, "GET", strings.ToUpper(w.drive[:12])+strings.ToLower(w.drive[12:]), nil)
			w.status(404, "GET", "drives/b!nonsense", nil)
		}},
		{"sharePointIds of a drive has a capital P", func(w *world) {
			got := w.get(w.drive + "?$select=id,sharePointIds")["sharePointIds"].(object)
			if got["siteId"] == nil || got["listId"] == nil || got["tenantId"] != w.tenant.ID() {
				w.t.Errorf("%v", got)
			}
			id := w.put("f.txt", "x")
			if got := w.get(w.item(id) + "?$select=id,sharepointIds")["sharepointIds"].(object); got["listItemId"] == nil {
				w.t.Errorf("%v", got)
			}
		}},
		{"a user without OneDrive answers 404", func(w *world) {
			w.same("code", w.refused(404, "GET", "users/"+w.tenant.Users()[1].ID+"/drive", nil), "ResourceNotFound")
		}},
		{"an item is found by path from the root and from an item", func(w *world) {
			id := w.put("a b/ü#.txt", "x")
			folder := w.get(w.drive + "/root:/a%20b")["id"].(string)
			w.same("from root", w.get(w.drive + "/root:/a%20b/" + url.PathEscape("ü#.txt"))["id"], id)
			w.same("from folder", w.get(w.item(folder) + ":/" + url.PathEscape("ü#.txt") + ":")["id"], id)
			w.same("of the user", w.get("users/" + w.user + "/drive/root:/a%20b:/children")["value"].([]any)[0].(object)["id"], id)
		}},
		{"quota tells used and remaining", func(w *world) {
			w.put("f.bin", strings.Repeat("x", 4_800_000))
			quota := w.get(w.drive)["quota"].(object)
			w.same("used", quota["used"], 4.8e6)
			w.same("state", quota["state"], "nearing")
		}},
		{"a full drive answers 507 quotaLimitReached", func(w *world) {
			w.put("f.bin", strings.Repeat("x", 4_800_000))
			w.same("put", w.refused(507, "PUT", w.drive+"/root:/g.bin:/content", bytes.Repeat([]byte("y"), 300_000)), "quotaLimitReached")
			w.same("session", w.refused(507, "POST", w.drive+"/root:/h.bin:/createUploadSession",
				object{"item": object{"fileSize": 300_000}}), "quotaLimitReached")
		}},
		{"eTag follows everything and cTag the content", func(w *world) {
			id := w.put("f.txt", "x")
			before := w.get(w.item(id))
			after := w.want(200, "PATCH", w.item(id), object{"name": "g.txt"})
			if before["eTag"] == after["eTag"] || before["cTag"] != after["cTag"] {
				w.t.Errorf("%v %v, %v %v", before["eTag"], after["eTag"], before["cTag"], after["cTag"])
			}
			written := w.want(200, "PUT", w.item(id)+"/content", []byte("y"))
			if written["cTag"] == before["cTag"] {
				w.t.Error("cTag did not follow the content")
			}
			w.same("cTag of a folder", w.get(w.drive + "/root")["cTag"], nil)
		}},
		{"If-Match that is not the state answers 412", func(w *world) {
			id := w.put("f.txt", "x")
			stale := w.get(w.item(id))["eTag"].(string)
			w.put("f.txt", "y")
			w.same("patch", w.refused(412, "PATCH", w.item(id), object{"name": "z"}, "If-Match", stale), "resourceModified")
			w.refused(412, "PUT", w.item(id)+"/content", []byte("z"), "If-Match", stale)
			w.refused(412, "DELETE", w.item(id), nil, "If-Match", stale)
			w.refused(412, "POST", w.item(id)+"/createUploadSession", object{}, "If-Match", stale)
			w.status(204, "DELETE", w.item(id), nil, "If-Match", w.get(w.item(id))["eTag"].(string))
		}},
		{"publication and sharepointIds are shown on $select only", func(w *world) {
			id := w.put("f.txt", "x")
			plain := w.get(w.item(id))
			if plain["publication"] != nil || plain["sharepointIds"] != nil {
				w.t.Errorf("%v", plain)
			}
			w.same("level", w.get(w.item(id) + "?$select=id,publication")["publication"].(object)["level"], "published")
		}},
		{"a package is neither file nor folder and has its parts below it", func(w *world) {
			id, err := w.tenant.NewNotebook(w.user, "Notes")
			must(w.t, err)
			item := w.get(w.item(id))
			if item["package"].(object)["type"] != "oneNote" || item["folder"] != nil || item["file"] != nil {
				w.t.Errorf("%v", item)
			}
			parts, _, _ := w.round(w.item(id) + "/children")
			w.same("parts", len(parts), 2)
			// Whether they are downloadable is not documented: by default they are not.
			w.status(503, "GET", w.item(parts[0]["id"].(string))+"/content", nil)
		}},
		{"a shortcut has a remoteItem and no content", func(w *world) {
			target, err := w.tenant.PutFile(w.tenant.Groups()[0].ID, "there.txt", []byte("x"))
			must(w.t, err)
			id, err := w.tenant.NewShortcut(w.user, "here", w.tenant.Groups()[0].ID, "there.txt")
			must(w.t, err)
			item := w.get(w.item(id))
			w.same("target", item["remoteItem"].(object)["id"], target)
			if item["file"] != nil || item["folder"] != nil {
				w.t.Errorf("%v", item)
			}
			w.status(400, "GET", w.item(id)+"/content", nil)
		}},
		{"an infected file is listed and not given out", func(w *world) {
			id := w.put("bad.exe", "x")
			link := w.get(w.item(id))["@microsoft.graph.downloadUrl"].(string)
			must(w.t, w.tenant.InfectFile(w.user, "bad.exe"))
			if w.get(w.item(id))["malware"] == nil {
				w.t.Error("no facet")
			}
			w.same("content", w.refused(403, "GET", w.item(id)+"/content", nil), "malwareDetected")
			w.same("header", w.status(403, "GET", link, nil).Get("X-Virus-Infected"), "true")
		}},
		{"$expand=permissions and $expand=children", func(w *world) {
			w.put("d/f.txt", "x")
			_, err := w.tenant.LinkFile(w.user, "d", "view", "organization")
			must(w.t, err)
			item := w.get(w.drive + "/root:/d:?$expand=permissions,children")
			w.same("permissions", len(item["permissions"].([]any)), 2)
			w.same("children", len(item["children"].([]any)), 1)
		}},
	})
}

func TestConformanceDriveDownload(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1}, []rule{
		{"content is a redirect to another host", func(w *world) {
			id := w.put("f.txt", "hello")
			location := w.status(302, "GET", w.item(id)+"/content", nil).Get("Location")
			if !strings.HasPrefix(location, w.s.FilesURL()) {
				w.t.Errorf("Location %s", location)
			}
		}},
		{"the download host takes no Authorization", func(w *world) {
			id := w.put("f.txt", "hello")
			link := w.get(w.item(id))["@microsoft.graph.downloadUrl"].(string)
			w.status(401, "GET", link, nil, "Authorization", "Bearer "+w.token)
			w.status(200, "GET", link, nil)
		}},
		{"$select hides the download URL unless it names it", func(w *world) {
			id := w.put("f.txt", "hello")
			if w.get(w.item(id) + "?$select=id,name")["@microsoft.graph.downloadUrl"] != nil {
				w.t.Error("shown")
			}
			if w.get(w.item(id) + "?$select=id,@microsoft.graph.downloadUrl")["@microsoft.graph.downloadUrl"] == nil {
				w.t.Error("hidden")
			}
		}},
		{"a range of the download URL answers 206 with Content-Range", func(w *world) {
			id := w.put("f.txt", "0123456789")
			link := w.get(w.item(id))["@microsoft.graph.downloadUrl"].(string)
			w.same("Content-Range", w.status(206, "GET", link, nil, "Range", "bytes=2-4").Get("Content-Range"), "bytes 2-4/10")
			w.status(416, "GET", link, nil, "Range", "bytes=10-")
			w.status(200, "GET", link, nil, "Range", "bytes=0-1,3-4")
		}},
		{"a range of an empty file answers 416", func(w *world) {
			id := w.put("f.txt", "")
			link := w.get(w.item(id))["@microsoft.graph.downloadUrl"].(string)
			w.status(416, "GET", link, nil, "Range", "bytes=0-")
			w.status(200, "GET", link, nil)
		}},
		{"If-None-Match with eTag or cTag answers 304", func(w *world) {
			id := w.put("f.txt", "x")
			item := w.get(w.item(id))
			w.status(304, "GET", w.item(id)+"/content", nil, "If-None-Match", item["eTag"].(string))
			w.status(304, "GET", w.item(id)+"/content", nil, "If-None-Match", item["cTag"].(string))
			w.status(302, "GET", w.item(id)+"/content", nil, "If-None-Match", `"other"`)
		}},
		{"a folder has no content", func(w *world) { w.status(400, "GET", w.drive+"/root/content", nil) }},
		{"versions are listed newest first and the old ones have content", func(w *world) {
			id := w.put("f.txt", "one")
			w.put("f.txt", "two")
			w.put("f.txt", "three")
			list, _, _ := w.round(w.item(id) + "/versions")
			w.same("versions", []any{list[0]["id"], list[1]["id"], list[2]["id"]}, []any{"3.0", "2.0", "1.0"})
			w.same("sizes", []any{list[0]["size"], list[2]["size"]}, []any{5, 3})
			w.same("content", string(w.download(w.item(id)+"/versions/1.0")), "one")
			w.status(400, "GET", w.item(id)+"/versions/3.0/content", nil) // not documented
			w.status(404, "GET", w.item(id)+"/versions/9.0/content", nil)
		}},
		{"restoreVersion answers 204 and makes a new version", func(w *world) {
			id := w.put("f.txt", "one")
			w.put("f.txt", "two")
			w.status(204, "POST", w.item(id)+"/versions/1.0/restoreVersion", nil)
			w.same("content", string(w.download(w.item(id))), "one")
			list, _, _ := w.round(w.item(id) + "/versions")
			w.same("versions", len(list), 3)
		}},
		{"DELETE takes the item away", func(w *world) {
			id := w.put("f.txt", "x")
			link := w.get(w.item(id))["@microsoft.graph.downloadUrl"].(string)
			w.status(204, "DELETE", w.item(id), nil)
			w.same("item", w.refused(404, "GET", w.item(id), nil), "itemNotFound")
			w.status(404, "GET", link, nil)
			w.status(501, "POST", w.item(id)+"/restore", object{}) // consumer only in 2021
		}},
		{"permanentDelete takes the item away", func(w *world) {
			id := w.put("f.txt", "x")
			w.status(204, "POST", w.item(id)+"/permanentDelete", nil)
			w.status(404, "GET", w.item(id), nil)
		}},
	})
}

func TestConformanceDrivePermissions(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, Groups: 1}, []rule{
		{"the list is effective, inherited ones say from where", func(w *world) {
			id := w.put("d/f.txt", "x")
			_, err := w.tenant.LinkFile(w.user, "d", "edit", "organization")
			must(w.t, err)
			list, _, _ := w.round(w.item(id) + "/permissions")
			w.same("permissions", len(list), 2) // the owner's and the link
			for _, p := range list {
				if p["inheritedFrom"] == nil {
					w.t.Errorf("%v", p)
				}
			}
		}},
		{"invite grants by object id, address or alias", func(w *world) {
			id := w.put("f.txt", "x")
			other, group := w.tenant.Users()[1], w.tenant.Groups()[0]
			for _, who := range []object{{"objectId": other.ID}, {"email": other.PrincipalName}, {"objectId": group.ID}} {
				answer := w.want(200, "POST", w.item(id)+"/invite", object{"recipients": []object{who}, "roles": []string{"read"},
					"requireSignIn": true, "sendInvitation": false, "retainInheritedPermissions": true, "expirationDateTime": nil})
				w.same("granted", len(answer["value"].([]any)), 1)
			}
			truth, err := w.tenant.DriveTruth(w.user)
			must(w.t, err)
			w.same("truth", len(truth[0].Permissions), 3)
			w.same("first grantee", truth[0].Permissions[0].Grantees, []string{other.ID})
		}},
		{"an unknown recipient answers noResolvedUsers", func(w *world) {
			id := w.put("f.txt", "x")
			w.same("code", w.inner(400, "POST", w.item(id)+"/invite",
				object{"recipients": []object{{"email": "nobody@elsewhere.example"}}, "roles": []string{"read"}}), "noResolvedUsers")
		}},
		{"sendInvitation sends mail, which a restore must not", func(w *world) {
			id := w.put("f.txt", "x")
			body := object{"recipients": []object{{"objectId": w.tenant.Users()[1].ID}}, "roles": []string{"read"}, "sendInvitation": true}
			w.want(200, "POST", w.item(id)+"/invite", body)
			drives, err := w.tenant.Drives(w.user)
			must(w.t, err)
			w.same("mails", drives[0].Invitations, 1)
		}},
		{"retainInheritedPermissions false cuts the inheritance", func(w *world) {
			id := w.put("d/f.txt", "x")
			_, err := w.tenant.LinkFile(w.user, "d", "view", "organization")
			must(w.t, err)
			w.want(200, "POST", w.item(id)+"/invite", object{"recipients": []object{{"objectId": w.tenant.Users()[1].ID}},
				"roles": []string{"write"}, "retainInheritedPermissions": false})
			list, _, _ := w.round(w.item(id) + "/permissions")
			w.same("permissions", len(list), 2) // the owner's and the new one
		}},
		{"createLink makes a link once", func(w *world) {
			id := w.put("f.txt", "x")
			body := object{"type": "view", "scope": "organization"}
			first := w.want(201, "POST", w.item(id)+"/createLink", body)
			again := w.want(200, "POST", w.item(id)+"/createLink", body)
			w.same("id", again["id"], first["id"])
			if first["link"].(object)["webUrl"] == nil || first["shareId"] == nil {
				w.t.Errorf("%v", first)
			}
			w.same("facet", w.get(w.item(id))["shared"].(object)["scope"], "organization")
			w.same("anonymous", w.inner(403, "POST", w.item(id)+"/createLink", object{"type": "view", "scope": "anonymous"}), "sharingDisabled")
		}},
		{"secrets of links are for those who may create them", func(w *world) {
			id := w.put("f.txt", "x")
			_, err := w.tenant.LinkFile(w.user, "f.txt", "view", "anonymous")
			must(w.t, err)
			w.tenant.Consent("Files.Read.All")
			w.token = w.mustToken()
			for _, p := range w.get(w.item(id) + "/permissions")["value"].([]any) {
				if link, _ := p.(object)["link"].(object); link["webUrl"] != nil || p.(object)["shareId"] != nil {
					w.t.Errorf("%v", p)
				}
			}
		}},
		{"a permission is deleted where it stands", func(w *world) {
			id := w.put("d/f.txt", "x")
			folder := w.get(w.drive + "/root:/d")["id"].(string)
			grant, err := w.tenant.ShareFile(w.user, "d", w.tenant.Users()[1].ID, "read")
			must(w.t, err)
			w.status(403, "DELETE", w.item(id)+"/permissions/"+grant, nil)
			w.status(204, "DELETE", w.item(folder)+"/permissions/"+grant, nil)
			w.status(404, "GET", w.item(folder)+"/permissions/"+grant, nil)
			w.same("facet", w.get(w.item(folder))["shared"], nil)
		}},
	})
}
