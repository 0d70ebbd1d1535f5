package graphsim_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func TestConformanceDriveUpload(t *testing.T) {
	t.Parallel()
	const unit = 320 << 10
	data := bytes.Repeat([]byte("abcdefgh"), 90_000)
	send := func(w *world, want int, target string, from, to int) http.Header {
		w.t.Helper()
		return w.status(want, "PUT", target, data[from:to], "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(data)))
	}
	session := func(w *world, path string, item object) string {
		w.t.Helper()
		return w.want(200, "POST", w.drive+"/root:/"+path+":/createUploadSession", object{"item": item})["uploadUrl"].(string)
	}
	conform(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1}, []rule{
		{"PUT replaces by default and the URL says otherwise", func(w *world) {
			target := w.drive + "/root:/f.txt:/content"
			w.want(201, "PUT", target, []byte("1"))
			w.want(200, "PUT", target, []byte("2"))
			w.same("code", w.refused(409, "PUT", target+"?@microsoft.graph.conflictBehavior=fail", []byte("3")), "nameAlreadyExists")
			w.same("name", w.want(201, "PUT", target+"?@microsoft.graph.conflictBehavior=rename", []byte("4"))["name"], "f 1.txt")
			w.status(400, "PUT", target+"?@microsoft.graph.conflictBehavior=explode", []byte("5"))
		}},
		{"PUT takes up to 250 MB", func(w *world) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(w.s.URL(), "http://"))
			must(w.t, err)
			defer conn.Close()
			_, err = fmt.Fprintf(conn, "PUT /v1.0/%s/root:/big.bin:/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n",
				w.drive, w.token, 250<<20+1)
			must(w.t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must(w.t, err)
			resp.Body.Close()
			w.same("status", resp.StatusCode, http.StatusRequestEntityTooLarge)
		}},
		{"writing content resets lastModified, PATCH sets it", func(w *world) {
			id := w.want(201, "PUT", w.drive+"/root:/f.txt:/content", []byte("1"))["id"].(string)
			const old = "2020-01-02T03:04:05Z"
			times := func(item object) object { return item["fileSystemInfo"].(object) }
			got := w.want(200, "PATCH", w.item(id), object{"fileSystemInfo": object{"createdDateTime": old, "lastModifiedDateTime": old}})
			w.same("patched", times(got)["lastModifiedDateTime"], old)
			got = w.want(200, "PUT", w.item(id)+"/content", []byte("2"))
			if times(got)["lastModifiedDateTime"] == old || times(got)["createdDateTime"] != old {
				w.t.Errorf("%v", got["fileSystemInfo"])
			}
		}},
		{"the application becomes the author", func(w *world) {
			item := w.want(201, "PUT", w.drive+"/root:/f.txt:/content", []byte("1"))
			if item["createdBy"].(object)["application"] == nil || item["lastModifiedBy"].(object)["application"] == nil {
				w.t.Errorf("%v", item)
			}
		}},
		{"createUploadSession without Sites.ReadWrite.All answers 403", func(w *world) {
			w.tenant.Consent("Files.ReadWrite.All")
			w.token = w.mustToken()
			w.status(403, "POST", w.drive+"/root:/f:/createUploadSession", object{})
			w.status(201, "PUT", w.drive+"/root:/f:/content", []byte("x"))
		}},
		{"fragments are multiples of 320 KiB, in order, with one total", func(w *world) {
			target := session(w, "f.bin", object{})
			send(w, 400, target, 0, 1000)
			send(w, 416, target, unit, 2*unit)
			send(w, 202, target, 0, unit)
			send(w, 416, target, 0, unit)
			w.status(400, "PUT", target, data[unit:2*unit], "Content-Range", fmt.Sprintf("bytes %d-%d/%d", unit, 2*unit-1, len(data)+1))
			w.status(400, "PUT", target, data[unit:2*unit])
			send(w, 202, target, unit, 2*unit)
			send(w, 201, target, 2*unit, len(data))
			w.same("content", sha(w.download(w.drive+"/root:/f.bin:")), sha(data))
		}},
		{"GET tells what is expected, and a session is resumed there", func(w *world) {
			target := session(w, "f.bin", object{"fileSize": len(data)})
			send(w, 202, target, 0, unit)
			state := w.get(target)
			w.same("expected", state["nextExpectedRanges"], []string{fmt.Sprintf("%d-", unit)})
			if _, err := time.Parse(time.RFC3339, state["expirationDateTime"].(string)); err != nil {
				w.t.Error(err)
			}
			send(w, 201, target, unit, len(data))
		}},
		{"a fragment must be below 60 MiB", func(w *world) {
			target := session(w, "f.bin", object{})
			const size = 60 << 20
			w.status(413, "PUT", target, make([]byte, size), "Content-Range", fmt.Sprintf("bytes 0-%d/%d", size-1, 2*size))
		}},
		{"a session takes no Authorization", func(w *world) {
			target := session(w, "f.bin", object{})
			w.status(401, "PUT", target, data[:unit], "Authorization", "Bearer "+w.token,
				"Content-Range", fmt.Sprintf("bytes 0-%d/%d", unit-1, len(data)))
		}},
		{"the default conflict behaviour of a session is fail, at the commit, and it survives", func(w *world) {
			w.put("taken.bin", "x")
			target := session(w, "taken.bin", object{})
			send(w, 202, target, 0, 2*unit)
			w.same("code", w.refused(409, "PUT", target, data[2*unit:], "Content-Range",
				fmt.Sprintf("bytes %d-%d/%d", 2*unit, len(data)-1, len(data))), "nameAlreadyExists")
			w.status(200, "GET", target, nil)
			item := w.want(201, "PUT", w.drive+"/root:/taken.bin", object{"name": "taken.bin",
				"@microsoft.graph.conflictBehavior": "rename", "@microsoft.graph.sourceUrl": target})
			w.same("name", item["name"], "taken 1.bin")
			w.status(404, "GET", target, nil)
		}},
		{"replace and rename work in a session", func(w *world) {
			id := w.put("f.bin", "x")
			target := session(w, "f.bin", object{"@microsoft.graph.conflictBehavior": "replace"})
			send(w, 202, target, 0, 2*unit)
			send(w, 200, target, 2*unit, len(data))
			w.same("size", w.get(w.item(id))["size"], len(data))
			target = session(w, "f.bin", object{"@microsoft.graph.conflictBehavior": "rename"})
			send(w, 202, target, 0, 2*unit)
			send(w, 201, target, 2*unit, len(data))
			w.status(200, "GET", w.drive+"/root:/f%201.bin", nil)
		}},
		{"deferCommit waits for an empty POST", func(w *world) {
			target := w.want(200, "POST", w.drive+"/root:/f.bin:/createUploadSession",
				object{"item": object{}, "deferCommit": true})["uploadUrl"].(string)
			w.status(400, "POST", target, nil)
			send(w, 202, target, 0, 2*unit)
			send(w, 202, target, 2*unit, len(data))
			w.status(404, "GET", w.drive+"/root:/f.bin", nil)
			w.status(201, "POST", target, nil)
			w.status(200, "GET", w.drive+"/root:/f.bin", nil)
		}},
		{"fileSystemInfo of a session is kept", func(w *world) {
			target := session(w, "f.bin", object{"fileSystemInfo": object{"lastModifiedDateTime": "2021-02-03T04:05:06Z"}})
			send(w, 202, target, 0, 2*unit)
			send(w, 201, target, 2*unit, len(data))
			got := w.get(w.drive + "/root:/f.bin")["fileSystemInfo"].(object)
			w.same("modified", got["lastModifiedDateTime"], "2021-02-03T04:05:06Z")
		}},
		{"DELETE cancels a session with 204, and a lost one answers 404", func(w *world) {
			target := session(w, "f.bin", object{})
			w.status(204, "DELETE", target, nil)
			send(w, 404, target, 0, unit)
		}},
		{"a broken fragment is discarded as a whole", func(w *world) {
			target := session(w, "f.bin", object{})
			_, err := w.s.Inject(graphsim.Fault{Method: "PUT", Path: "^/upload/", Kind: graphsim.FaultReset, Count: 1})
			must(w.t, err)
			req, err := http.NewRequestWithContext(w.t.Context(), "PUT", target, bytes.NewReader(data[:unit]))
			must(w.t, err)
			req.Header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", unit-1, len(data)))
			if resp, err := w.http.Do(req); err == nil {
				resp.Body.Close()
				w.t.Fatal("the fragment was not broken")
			}
			w.same("expected", w.get(target)["nextExpectedRanges"], []string{"0-"})
		}},
		{"a folder is made below another and conflicts by name", func(w *world) {
			body := object{"name": "x", "folder": object{}, "@microsoft.graph.conflictBehavior": "fail"}
			id := w.want(201, "POST", w.drive+"/root/children", body)["id"].(string)
			w.same("code", w.refused(409, "POST", w.drive+"/root/children", body), "nameAlreadyExists")
			body["@microsoft.graph.conflictBehavior"] = "rename"
			w.same("renamed", w.want(201, "POST", w.drive+"/root/children", body)["name"], "x 1")
			body["@microsoft.graph.conflictBehavior"] = "replace"
			w.same("replaced", w.want(200, "POST", w.drive+"/root/children", body)["id"], id)
		}},
		{"PATCH renames and moves", func(w *world) {
			id := w.put("a/f.txt", "x")
			folder := w.want(201, "POST", w.drive+"/root/children", object{"name": "b", "folder": object{}})["id"]
			w.want(200, "PATCH", w.item(id), object{"name": "g.txt", "parentReference": object{"id": folder}})
			w.same("by path", w.get(w.drive + "/root:/b/g.txt")["id"], id)
			top := w.get(w.drive + "/root:/a")["id"].(string)
			w.status(400, "PATCH", w.item(folder.(string)), object{"parentReference": object{"id": folder}})
			w.status(404, "PATCH", w.item(top), object{"parentReference": object{"id": "01NONE"}})
		}},
	})
}

func TestConformanceSharePointSwitches(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{SharePoint: graphsim.SharePointOptions{CurrentVersionContent: true, NotebookContent: true, ExternalSharing: true,
		RestoreDeleted: true, LateHashes: true, VersionLimit: 2, LibrarySharingChanges: true}}, graphsim.TenantSpec{Users: 1, Groups: 1}, []rule{
		{"CurrentVersionContent", func(w *world) {
			id := w.put("f.txt", "one")
			w.same("content", string(w.download(w.item(id)+"/versions/1.0")), "one")
		}},
		{"NotebookContent", func(w *world) {
			id, err := w.tenant.NewNotebook(w.user, "N")
			must(w.t, err)
			parts, _, _ := w.round(w.item(id) + "/children")
			w.status(302, "GET", w.item(parts[0]["id"].(string))+"/content", nil)
		}},
		{"ExternalSharing", func(w *world) {
			id := w.put("f.txt", "x")
			w.want(201, "POST", w.item(id)+"/createLink", object{"type": "view", "scope": "anonymous"})
			w.want(200, "POST", w.item(id)+"/invite", object{"recipients": []object{{"email": "a@b.example"}}, "roles": []string{"read"}})
		}},
		{"RestoreDeleted", func(w *world) {
			id := w.put("d/f.txt", "x")
			folder := w.get(w.drive + "/root:/d")["id"].(string)
			_, link := w.changes(w.drive + "/root/delta")
			w.status(204, "DELETE", w.item(folder), nil)
			w.want(200, "POST", w.item(folder)+"/restore", object{})
			w.same("file", w.get(w.drive + "/root:/d/f.txt")["id"], id)
			got, _ := w.changes(link)
			w.same("told", got[id]["name"], "f.txt")
		}},
		{"LateHashes", func(w *world) {
			id := w.put("f.txt", "hello")
			hash := func() any { return w.get(w.item(id))["file"].(object)["hashes"].(object)["quickXorHash"] }
			w.same("before", hash(), nil)
			w.download(w.item(id))
			w.same("after", hash(), "aCgDG9jwBgAAAAAABQAAAAAAAAA=")
		}},
		{"VersionLimit", func(w *world) {
			id := w.put("f.txt", "1")
			for i := range 5 {
				w.put("f.txt", fmt.Sprint(i))
			}
			list, _, _ := w.round(w.item(id) + "/versions")
			w.same("versions", len(list), 3)
		}},
		{"LibrarySharingChanges", func(w *world) {
			group := w.tenant.Groups()[0].ID
			id, err := w.tenant.PutFile(group, "f.txt", []byte("x"))
			must(w.t, err)
			_, link := w.changes("groups/" + group + "/drive/root/delta")
			_, err = w.tenant.LinkFile(group, "f.txt", "edit", "organization")
			must(w.t, err)
			got, _ := w.changes(link, "Prefer", fullSharing)
			w.same("mark", got[id]["@microsoft.graph.sharedChanged"], "True")
		}},
	})
}

// The mutations of drives are reachable over the control interface's shape.
func TestDriveMutations(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2})
	owner, other := c.tenant.Users()[0], c.tenant.Users()[1]
	for _, m := range []string{
		`{"op":"putFile","path":"a/f.txt","data":"eA=="}`,
		`{"op":"shareFile","path":"a","to":"` + other.ID + `","properties":{"role":"write"}}`,
		`{"op":"linkFile","path":"a/f.txt","properties":{"type":"view","scope":"anonymous"}}`,
		`{"op":"isolateFile","path":"a/f.txt","properties":{"keep":true}}`,
		`{"op":"infectFile","path":"a/f.txt"}`,
		`{"op":"touchFile","path":"a/f.txt","properties":{"modified":"2020-01-01T00:00:00Z"}}`,
		`{"op":"newNotebook","path":"a/Notes"}`,
		`{"op":"newShortcut","path":"link","id":"` + owner.ID + `","to":"a/f.txt"}`,
		`{"op":"resyncDrive","properties":{"keepBoth":true}}`,
	} {
		var in graphsim.Mutation
		must(t, json.Unmarshal([]byte(m), &in))
		in.User = owner.ID
		if _, err := c.tenant.Apply(in); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	}
	truth, err := c.tenant.DriveTruth(owner.ID)
	must(t, err)
	byPath := map[string]graphsim.FileTruth{}
	for _, f := range truth {
		byPath[f.Path] = f
	}
	file := byPath["a/f.txt"]
	if file.Malware == "" || !file.Unique || len(file.Permissions) != 2 || file.Modified.Year() != 2020 {
		t.Errorf("%+v", file)
	}
	if byPath["a/Notes"].Package != "oneNote" || !strings.HasSuffix(byPath["link"].Shortcut, "/"+file.ID) {
		t.Errorf("%+v", truth)
	}
	must(t, c.tenant.UnshareFile(owner.ID, "a", ""))
}
