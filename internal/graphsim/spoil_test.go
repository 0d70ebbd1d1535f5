package graphsim_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func names(items []map[string]any) (list []string) {
	for _, item := range items {
		list = append(list, item["id"].(string))
	}
	return list
}

// A page may name entries twice or in another order; what it says is the same.
func TestFaultDuplicateAndReorder(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{Seed: 5}, graphsim.TenantSpec{Users: 20})
	right, _, _ := c.round("users/delta")
	for _, kind := range []graphsim.FaultKind{graphsim.FaultDuplicate, graphsim.FaultReorder} {
		s.Clear("")
		inject(t, s, graphsim.Fault{Path: "users/delta", Kind: kind})
		got, link, _ := c.round("users/delta")
		if !strings.Contains(link, "deltatoken") {
			t.Errorf("%s: deltaLink %q", kind, link)
		}
		if slices.Equal(names(got), names(right)) {
			t.Errorf("%s: nothing has changed", kind)
		}
		if len(ids(got)) != len(right) || (kind == graphsim.FaultDuplicate) != (len(got) > len(right)) {
			t.Errorf("%s: %d entries, %d different ones of %d", kind, len(got), len(ids(got)), len(right))
		}
	}
}

// An expired token is refused in the way of the collection, and only where there is one.
func TestFaultExpired(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, FilesPerUser: 1})
	user := c.tenant.Users()[0].ID
	id, err := c.tenant.PutFile(user, "f", []byte("content"))
	must(t, err)
	inject(t, s, graphsim.Fault{Kind: graphsim.FaultExpired})
	for path, code := range map[string]string{
		"users/delta": "syncStateNotFound", "users/" + user + "/mailFolders/inbox/messages/delta": "SyncStateNotFound",
		"users/" + user + "/drive/root/delta": "resyncRequired",
	} {
		_, link, _ := c.round(path) // the first round carries no token
		resp := c.do("GET", link, nil)
		body := decode[object](t, resp)
		if resp.StatusCode != 410 || body["error"].(object)["code"] != code || resp.Header.Get("Location") == "" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, body)
		}
	}
	resp := c.do("GET", c.drive(user)+"/items/"+id+"/content", nil)
	resp.Body.Close()
	resp = c.do("GET", resp.Header.Get("Location"), nil)
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("download: %d", resp.StatusCode)
	}
	s.Clear("")
	inject(t, s, graphsim.Fault{Kind: graphsim.FaultToken, Count: 1})
	resp = c.do("GET", "users", nil)
	resp.Body.Close()
	if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("token: %d %v", resp.StatusCode, resp.Header)
	}
}

// A body that stalls arrives whole, or ends with a client that does not wait.
func TestFaultStall(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 30})
	whole := c.bytes("users")
	inject(t, s, graphsim.Fault{Path: "^/users$", Kind: graphsim.FaultStall, Delay: time.Millisecond, Count: 1})
	if got := c.bytes("users"); string(got) != string(whole) {
		t.Errorf("%d bytes of %d", len(got), len(whole))
	}
	inject(t, s, graphsim.Fault{Path: "^/users$", Kind: graphsim.FaultStall, Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", s.URL()+"/v1.0/users", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req) // the head is there
	must(t, err)
	cancel()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the body did not stall")
	}
	resp.Body.Close()
}

// A part of a batch may fail under an outer 200, and the batch as a whole, too.
func TestFaultInBatch(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	parts := object{"requests": []object{{"id": "1", "method": "GET", "url": "/users"}, {"id": "2", "method": "GET", "url": "/groups"}}}
	for kind, want := range map[graphsim.FaultKind]float64{graphsim.FaultStatus: 503, graphsim.FaultReset: 502, graphsim.FaultHTML: 503} {
		s.Clear("")
		inject(t, s, graphsim.Fault{Path: "^/users$", Kind: kind})
		for _, p := range c.want(200, "POST", "$batch", parts)["responses"].([]any) {
			part := p.(object)
			if part["id"] == "1" && part["status"] != want || part["id"] == "2" && part["status"] != 200.0 {
				t.Errorf("%s: %v", kind, part)
			}
		}
	}
	s.Clear("")
	inject(t, s, graphsim.Fault{Path: `^/\$batch$`, Status: 504})
	c.refused(504, "POST", "$batch", parts)
}

// A file that moves while the drive is listed is told by the next round.
func TestFaultMoveFile(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{PageSize: 5}, graphsim.TenantSpec{Users: 1, FilesPerUser: 20})
	path := "users/" + c.tenant.Users()[0].ID + "/drive/root/delta"
	inject(t, s, graphsim.Fault{Path: "root/delta$", Nth: 2, Kind: graphsim.FaultMove})
	_, link, _ := c.round(path)
	moved, _, _ := c.round(link)
	files := 0
	for _, item := range moved {
		if item["file"] != nil {
			files++
		}
	}
	if files != 1 {
		t.Errorf("the next round tells of %d files", files)
	}
}
