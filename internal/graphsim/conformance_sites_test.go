package graphsim_test

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// site is the path of the site of the first group, and its ID.
func (w *world) site() (path, id string) {
	id = w.tenant.Groups()[0].Site
	return "sites/" + url.PathEscape(id), id
}

// list makes a list of its own with a text, a unique and a lookup column.
func (w *world) list() (path, name string) {
	w.t.Helper()
	site, _ := w.site()
	answer := w.want(201, "POST", site+"/lists", object{"displayName": "Own", "list": object{"template": "genericList"}, "columns": []object{
		{"name": "Note", "text": object{}}, {"name": "Code", "text": object{}, "enforceUniqueValues": true},
		{"name": "Size", "number": object{}}, {"name": "Next", "lookup": object{"columnName": "Title"}}}})
	return site + "/lists/" + answer["id"].(string), answer["id"].(string)
}

func TestConformanceSites(t *testing.T) {
	t.Parallel()
	spec := graphsim.TenantSpec{Users: 1, Groups: 1, Sites: 1, Lists: 2, ListItems: 12, Pages: 2}
	conform(t, graphsim.Options{}, spec, []rule{
		{"a site is found by id, by path and as root", func(w *world) {
			path, id := w.site()
			site := w.get(path)
			w.same("id", site["id"], id)
			web, err := url.Parse(site["webUrl"].(string))
			must(w.t, err)
			w.same("by path", w.get("sites/" + web.Host + ":" + web.Path)["id"], id)
			w.status(200, "GET", "sites/root", nil)
			w.status(404, "GET", "sites/nothing", nil)
		}},
		{"lists have a template, libraries documentLibrary, system ones only when selected", func(w *world) {
			path, _ := w.site()
			plain, _, _ := w.round(path + "/lists")
			all, _, _ := w.round(path + "/lists?$select=id,name,system,list")
			templates := map[any]int{}
			for _, l := range plain {
				templates[l["list"].(object)["template"]]++
			}
			w.same("templates", templates, map[any]int{"documentLibrary": 1, "webPageLibrary": 1, "genericList": 2})
			w.same("with system", len(all), len(plain)+2)
		}},
		{"a library's list leads to its drive", func(w *world) {
			path, _ := w.site()
			lists, _, _ := w.round(path + "/lists")
			w.same("drive", w.get(path + "/lists/" + lists[0]["id"].(string) + "/drive")["id"], w.tenant.Groups()[0].Drive)
			w.status(404, "GET", path+"/lists/"+lists[3]["id"].(string)+"/drive", nil)
		}},
		{"columns have one type facet each", func(w *world) {
			path, name := w.list()
			columns, _, _ := w.round(path + "/columns")
			w.same("columns", len(columns), 5)
			w.same("lookup", columns[4]["lookup"].(object)["columnName"], "Title")
			w.status(400, "POST", path+"/columns", object{"name": "Two", "text": object{}, "number": object{}})
			id := w.want(201, "POST", path+"/columns", object{"name": "Extra", "boolean": object{}})["id"].(string)
			w.same("patched", w.want(200, "PATCH", path+"/columns/"+id, object{"displayName": "More"})["displayName"], "More")
			w.status(400, "PATCH", path+"/columns/"+id, object{"text": object{}})
			w.status(204, "DELETE", path+"/columns/"+id, nil)
			lists, err := w.tenant.Lists(w.tenant.Groups()[0].ID)
			must(w.t, err)
			for _, l := range lists {
				if l.ID == name && len(l.Columns) != 5 {
					w.t.Errorf("%v", l.Columns)
				}
			}
		}},
		{"contentTypes have ids like 0x01", func(w *world) {
			path, _ := w.list()
			types, _, _ := w.round(path + "/contentTypes")
			w.same("id", types[0]["id"], "0x01")
		}},
		{"items show values only with $expand=fields", func(w *world) {
			path, _ := w.list()
			id := w.want(201, "POST", path+"/items", object{"fields": object{"Title": "x", "Size": 3}})["id"].(string)
			w.same("plain", w.get(path + "/items/" + id)["fields"], nil)
			items, _, _ := w.round(path + "/items?$expand=fields")
			w.same("expanded", items[0]["fields"].(object)["Size"], 3)
			items, _, _ = w.round(path + "/items?$expand=fields($select=Title)")
			w.same("selected", items[0]["fields"].(object)["Size"], nil)
			w.same("alone", w.get(path + "/items/" + id + "/fields")["Title"], "x")
		}},
		{"pages of items", func(w *world) {
			site, _ := w.site()
			lists, _, _ := w.round(site + "/lists")
			items, _, pages := w.round(site + "/lists/" + lists[2]["id"].(string) + "/items?$top=5")
			w.same("items, pages", fmt.Sprint(len(items), " ", pages), "12 3")
		}},
		{"values are held against the columns", func(w *world) {
			path, _ := w.list()
			for _, fields := range []object{{"Nothing": 1}, {"Size": "three"}, {"Note": 3}, {"NextLookupId": "99"}, {"Next": "x"}} {
				w.same(fmt.Sprint(fields), w.refused(400, "POST", path+"/items", object{"fields": fields}), "invalidRequest")
			}
			first := w.want(201, "POST", path+"/items", object{"fields": object{"Title": "a", "Code": "1"}})["id"]
			w.status(400, "POST", path+"/items", object{"fields": object{"Code": "1"}})
			w.status(201, "POST", path+"/items", object{"fields": object{"NextLookupId": first}})
		}},
		{"PATCH of fields takes If-Match", func(w *world) {
			path, _ := w.list()
			item := path + "/items/" + w.want(201, "POST", path+"/items", object{"fields": object{"Title": "a"}})["id"].(string)
			etag := w.get(item)["eTag"].(string)
			w.same("patched", w.want(200, "PATCH", item+"/fields", object{"Title": "b"}, "If-Match", etag)["Title"], "b")
			w.same("stale", w.refused(412, "PATCH", item+"/fields", object{"Title": "c"}, "If-Match", etag), "resourceModified")
			w.same("null removes", w.want(200, "PATCH", item+"/fields", object{"Title": nil})["Title"], nil)
		}},
		{"an item keeps its versions with fields", func(w *world) {
			path, _ := w.list()
			item := path + "/items/" + w.want(201, "POST", path+"/items", object{"fields": object{"Title": "a"}})["id"].(string)
			w.want(200, "PATCH", item+"/fields", object{"Title": "b"})
			versions, _, _ := w.round(item + "/versions?$expand=fields")
			w.same("versions", len(versions), 2)
			w.same("old", versions[1]["fields"].(object)["Title"], "a")
		}},
		{"attachments of list items have no endpoint", func(w *world) {
			path, _ := w.list()
			item := path + "/items/" + w.want(201, "POST", path+"/items", object{"fields": object{"Title": "a"}})["id"].(string)
			w.status(400, "GET", item+"/attachments", nil)
		}},
		{"delta of items: latest, changes, deletions and options that last", func(w *world) {
			path, name := w.list()
			_, site := w.site()
			kept, err := w.tenant.NewListItem(site, name, object{"Title": "a"})
			must(w.t, err)
			gone, err := w.tenant.NewListItem(site, name, object{"Title": "b"})
			must(w.t, err)
			latest := w.get(path + "/items/delta?token=latest")
			w.same("latest", len(latest["value"].([]any)), 0)
			got, link := w.changes(path + "/items/delta?$expand=fields&$top=1")
			w.same("fields on every page", fmt.Sprint(got[kept]["fields"].(object)["Title"], got[gone]["fields"].(object)["Title"]), "ab")
			must(w.t, w.tenant.EditListItem(site, name, kept, object{"Title": "c"}))
			must(w.t, w.tenant.DeleteListItem(site, name, gone))
			got, _ = w.changes(link)
			w.same("edited", got[kept]["fields"].(object)["Title"], "c")
			w.same("deleted", got[gone]["deleted"], map[string]any{"state": "deleted"})
			if got[gone]["contentType"] == nil || got[gone]["fields"] != nil {
				w.t.Errorf("%v", got[gone])
			}
		}},
		{"a reset of items is 410 of either kind", func(w *world) {
			path, name := w.list()
			_, site := w.site()
			_, link := w.changes(path + "/items/delta")
			for both, code := range map[bool]string{false: "resyncChangesApplyDifferences", true: "resyncChangesUploadDifferences"} {
				must(w.t, w.tenant.ResyncList(site, name, both))
				w.same("code", w.inner(410, "GET", link, nil), code)
				w.changes(w.status(410, "GET", link, nil).Get("Location"))
			}
		}},
		{"lists are made, changed and deleted with Sites.Manage.All", func(w *world) {
			path, _ := w.list()
			site, _ := w.site()
			w.same("taken", w.refused(409, "POST", site+"/lists", object{"displayName": "own"}), "nameAlreadyExists")
			w.same("renamed", w.want(200, "PATCH", path, object{"displayName": "Other"})["displayName"], "Other")
			w.status(204, "DELETE", path, nil)
			w.status(404, "GET", path, nil)
			w.tenant.Consent("Sites.ReadWrite.All")
			w.token = w.mustToken()
			w.status(403, "POST", site+"/lists", object{"displayName": "Third"})
			lists, _, _ := w.round(site + "/lists")
			w.status(201, "POST", site+"/lists/"+lists[2]["id"].(string)+"/items", object{"fields": object{"Title": "x"}})
		}},
		{"a file's row is reached through its drive", func(w *world) {
			w.put("f.txt", "x")
			row := w.drive + "/root:/f.txt:/listItem"
			w.same("name", w.get(row + "?$expand=fields")["fields"].(object)["FileLeafRef"], "f.txt")
			w.want(200, "PATCH", row+"/fields", object{"Title": "t"})
			w.same("title", w.get(row + "/fields")["Title"], "t")
			w.status(400, "PATCH", row+"/fields", object{"Other": "t"})
			w.want(200, "PATCH", row+"/fields", object{"Title": nil})
			w.same("no title", w.get(row + "/fields")["Title"], nil)
			w.status(404, "GET", w.drive+"/root/listItem", nil)
		}},
		{"a library has columns, and a delta shows values with $expand=listItem($expand=fields)", func(w *world) {
			site, id := w.site()
			drives, err := w.tenant.Drives(id)
			must(w.t, err)
			drive := "drives/" + url.PathEscape(drives[0].ID)
			list := w.get(drive + "?$select=sharePointIds")["sharePointIds"].(object)["listId"].(string)
			w.status(201, "POST", site+"/lists/"+list+"/columns", object{"name": "Client", "text": object{}})
			_, err = w.tenant.PutFile(drives[0].ID, "Plans/a.txt", []byte("a"))
			must(w.t, err)
			const expanded = "/root/delta?$expand=listItem($expand=fields)"
			_, since, _ := w.round(drive + expanded)
			w.want(200, "PATCH", drive+"/root:/Plans/a.txt:/listItem/fields", object{"Client": "Contoso"})
			w.status(400, "PATCH", drive+"/root:/Plans/a.txt:/listItem/fields", object{"Client": 7})
			changed, _, _ := w.round(since)
			for _, item := range changed {
				row, shown := item["listItem"].(object)
				if shown == (item["root"] != nil) {
					w.t.Errorf("%v is shown as the row %v", item["name"], row)
				}
				if item["name"] == "a.txt" {
					w.same("value", row["fields"].(object)["Client"], "Contoso")
					w.same("type", row["contentType"].(object)["name"], "Document")
				}
			}
			plain, _, _ := w.round(drive + "/root/delta")
			w.same("not asked for", plain[1]["listItem"], nil)
			truth, err := w.tenant.DriveTruth(drives[0].ID)
			must(w.t, err)
			at := slices.IndexFunc(truth, func(f graphsim.FileTruth) bool { return f.Path == "Plans/a.txt" })
			w.same("truth", truth[at].Fields["Client"], `"Contoso"`)
			if time.Since(truth[at].Modified) > time.Hour {
				w.t.Errorf("modified %s", truth[at].Modified)
			}
		}},
		{"pages have a canvas on $expand only", func(w *world) {
			site, id := w.site()
			pages, _, _ := w.round(site + "/pages")
			w.same("pages", len(pages), 2)
			one := site + "/pages/" + pages[0]["id"].(string)
			w.same("plain", w.get(one + "/microsoft.graph.sitePage")["canvasLayout"], nil)
			full := w.get(one + "/microsoft.graph.sitePage?$expand=canvasLayout")
			if full["canvasLayout"].(object)["horizontalSections"] == nil || full["pageLayout"] != "article" {
				w.t.Errorf("%v", full)
			}
			drives, err := w.tenant.Drives(id)
			must(w.t, err)
			w.status(200, "GET", "drives/"+url.PathEscape(drives[1].ID)+"/root:/"+pages[0]["name"].(string), nil)
		}},
		{"a page that was read without annotations can be posted, then published", func(w *world) {
			site, id := w.site()
			pages, _, _ := w.round(site + "/pages")
			full := w.want(200, "GET", site+"/pages/"+pages[0]["id"].(string)+"/microsoft.graph.sitePage?$expand=canvasLayout", nil,
				"Accept", "application/json;odata.metadata=none")
			if full["@odata.etag"] != nil || full["@odata.type"] != nil {
				w.t.Errorf("%v", full)
			}
			full["@odata.type"], full["name"] = "#microsoft.graph.sitePage", "copy.aspx"
			made := w.want(201, "POST", site+"/pages", full)
			w.same("draft", made["publishingState"].(object)["level"], "draft")
			w.status(204, "POST", site+"/pages/"+made["id"].(string)+"/microsoft.graph.sitePage/publish", nil)
			truth, err := w.tenant.PageTruth(id)
			must(w.t, err)
			if truth[2].Digest != truth[0].Digest || !truth[2].Published {
				w.t.Errorf("%+v\n%+v", truth[0], truth[2])
			}
			drives, err := w.tenant.Drives(id)
			must(w.t, err)
			w.status(200, "GET", "drives/"+url.PathEscape(drives[1].ID)+"/root:/copy.aspx", nil)
		}},
	})
}

// Churn reaches lists, libraries and channels, and what it does shows in the truth.
func TestOfficeChurn(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, Groups: 1, Lists: 1, ListItems: 5, Messages: 5, Libraries: 1})
	group := c.tenant.Groups()[0]
	state := func() [3]string {
		items, err := c.tenant.ListTruth(group.Site)
		must(t, err)
		messages, err := c.tenant.TeamTruth(group.ID)
		must(t, err)
		var files []graphsim.FileTruth
		drives, err := c.tenant.Drives(group.Site)
		must(t, err)
		for _, d := range drives {
			part, err := c.tenant.DriveTruth(d.ID)
			must(t, err)
			files = append(files, part...)
		}
		return [3]string{fmt.Sprint(items), fmt.Sprint(messages), fmt.Sprint(files)}
	}
	before := state()
	changed, err := c.tenant.Churn(1, 300)
	must(t, err)
	after := state()
	for i, what := range []string{"list", "messages", "files"} {
		if before[i] == after[i] {
			t.Errorf("%d changes left the %s alone", changed, what)
		}
	}
}

// The truth of sites and teams is told line by line over the control interface.
func TestOfficeTruthOverHTTP(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, Groups: 1, Lists: 1, ListItems: 3, Pages: 2, Messages: 4, Chats: 1})
	group, user := c.tenant.Groups()[0], c.tenant.Users()[0].ID
	for path, lines := range map[string]int{
		"sites/" + url.PathEscape(group.Site) + "/lists": 5, "sites/" + url.PathEscape(group.Site) + "/listItems": 3,
		"sites/" + url.PathEscape(group.Site) + "/pages": 2, "sites/" + url.PathEscape(group.Site) + "/drives": 3,
		"groups/" + group.ID + "/channels": 1, "groups/" + group.ID + "/messages": 4, "users/" + user + "/chats": 4,
	} {
		resp := c.do("GET", s.AdminURL()+"/_sim/truth/"+c.tenant.ID()+"/"+path, nil)
		data, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		if got := bytes.Count(data, []byte("\n")); resp.StatusCode != 200 || got != lines {
			t.Errorf("%s: %d with %d lines, want %d: %.200s", path, resp.StatusCode, got, lines, data)
		}
	}
}
