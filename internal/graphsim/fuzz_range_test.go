package graphsim_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// FuzzContentRange sends any Range to a download URL and any Content-Range with a
// fragment of any length to an upload session: a 2xx answer is one the header allows.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-0", "bytes=-5", "bytes=-0", "bytes=5-", "bytes=9-5", "bytes=0-1,2-3", "bytes=99-", "bytes=a-b", "",
		"bytes 0-9/10", "bytes 0-9/9", "bytes 5-9/10", "bytes 0-4/10", "bytes 9-0/10", "bytes 0-9/*", "bytes */10",
		"bytes 0-9223372036854775807/9223372036854775807", "bytes 0-99999999999999999999/5", "bytes -1-9/10"} {
		for _, n := range []int{0, 5, 10} {
			f.Add(seed, n)
		}
	}
	unlimited := []graphsim.Tier{{Quota: graphsim.Quota{Max: 1 << 40, Seconds: 60}}}
	s, err := graphsim.Start(graphsim.Options{Limits: graphsim.Limits{
		SharePointMinute: unlimited, SharePointDay: unlimited, SharePointTenant: unlimited}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	tenant := s.AddTenant(graphsim.TenantSpec{Users: 1})
	tenant.Consent()
	user := tenant.Users()[0].ID
	content := "0123456789"
	id, err := tenant.PutFile(user, "f.txt", []byte(content))
	if err != nil {
		f.Fatal(err)
	}
	// One token serves all: asking for one each time is refused as a loop.
	transport := &http.Transport{}
	f.Cleanup(transport.CloseIdleConnections)
	token := ""
	var once sync.Once
	f.Fuzz(func(t *testing.T, header string, n int) {
		if strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Skip("net/http refuses to send such a header")
		}
		once.Do(func() { token = newClient(t, s, tenant).token })
		c := &client{t: t, s: s, tenant: tenant, token: token, http: &http.Client{Transport: transport}}
		link := c.get("users/" + user + "/drive/items/" + id)["@microsoft.graph.downloadUrl"].(string)
		checkDownload(t, c.do("GET", link, nil, "Range", header), header, content)
		session := c.want(200, "POST", "users/"+user+"/drive/root:/up.bin:/createUploadSession",
			object{"item": object{"@microsoft.graph.conflictBehavior": "replace"}})["uploadUrl"].(string)
		size := min(max(n, 0), 1000)
		checkFragment(t, c.do("PUT", session, bytes.Repeat([]byte("x"), size), "Content-Range", header), header, size)
		c.do("DELETE", session, nil).Body.Close() // the simulator holds so many sessions and no more
	})
}

func checkDownload(t *testing.T, resp *http.Response, header, content string) {
	t.Helper()
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if string(data) != content {
			t.Errorf("Range %q: 200 with %q", header, data)
		}
	case http.StatusPartialContent:
		var from, to, total int
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total); err != nil {
			t.Fatalf("Range %q: Content-Range %q", header, resp.Header.Get("Content-Range"))
		}
		if total != len(content) || from > to || to >= total || string(data) != content[from:to+1] {
			t.Errorf("Range %q: %q is not %d-%d", header, data, from, to)
		}
	case http.StatusRequestedRangeNotSatisfiable:
	default:
		t.Errorf("Range %q: %d", header, resp.StatusCode)
	}
}

var wholeRange = regexp.MustCompile(`^bytes (\d+)-(\d+)/(\d+)$`)

// checkFragment: the first fragment of a session is taken only if it begins at 0, has
// the length it says and, unless it is the last, is a multiple of 320 KiB.
func checkFragment(t *testing.T, resp *http.Response, header string, size int) {
	t.Helper()
	resp.Body.Close()
	if resp.StatusCode >= 500 {
		t.Fatalf("Content-Range %q with %d bytes: %d", header, size, resp.StatusCode)
	}
	m := wholeRange.FindStringSubmatch(header)
	right := m != nil && size > 0
	if right {
		last, errLast := strconv.Atoi(m[2])
		total, errTotal := strconv.Atoi(m[3])
		first, errFirst := strconv.Atoi(m[1])
		right = errFirst == nil && errLast == nil && errTotal == nil && first == 0 && last == size-1 && total == size
	}
	if right != (resp.StatusCode < 300) {
		t.Errorf("Content-Range %q with %d bytes: %d", header, size, resp.StatusCode)
	}
}
