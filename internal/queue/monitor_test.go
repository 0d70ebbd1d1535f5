package queue

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func startMonitor(t *testing.T) (*httptest.Server, *Client) {
	t.Helper()
	o := Options{URL: servertest.Redis(t)}
	h, stop, err := Monitor(o, "/queues", func(_ context.Context, r Ref) string {
		return "mailbox of Ada in " + string(r.Tenant)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return srv, newClient(t, o)
}

func call(t *testing.T, method, url string, header map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestMonitorShowsThePage(t *testing.T) {
	srv, _ := startMonitor(t)
	resp, page := call(t, "GET", srv.URL+"/queues", nil)
	if resp.StatusCode != http.StatusOK || !strings.Contains(page, "Asynq - Monitoring") {
		t.Fatalf("%s\n%s", resp.Status, page)
	}
	policy := resp.Header.Get("Content-Security-Policy")
	for _, s := range inlineScript.FindAllStringSubmatch(page, -1) {
		sum := sha256.Sum256([]byte(s[1]))
		if hash := base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(policy, hash) {
			t.Errorf("the policy forbids the page's own script %.60s", s[1])
		}
	}
	if strings.Contains(policy, "http") || !strings.Contains(policy, "font-src 'self'") {
		t.Errorf("the policy lets something foreign in: %s", policy)
	}
	for _, asset := range []string{"main.5adda2da.chunk.js", "2.83624df2.chunk.js"} {
		resp, _ := call(t, "GET", srv.URL+"/queues/static/js/"+asset, nil)
		if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Content-Type"), "javascript") {
			t.Errorf("%s: %s %s", asset, resp.Status, resp.Header.Get("Content-Type"))
		}
	}
}

// A browser asks no other host for anything that the page names: nothing leaves, and nothing is refused in its console.
func TestMonitorAsksNobodyElse(t *testing.T) {
	srv, _ := startMonitor(t)
	asked := regexp.MustCompile(`(?i)(?:href|src|srcset|action)\s*=\s*"?([^"\s>]+)|url\(["']?([^"')]+)|@import\s+["']([^"']+)`)
	for _, path := range []string{"/queues", "/queues/", "/queues/index.html", "/queues/queues/backup", "/queues/nothing"} {
		resp, page := call(t, "GET", srv.URL+path, nil)
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || !strings.Contains(page, "<title>Asynq - Monitoring</title>") {
			t.Fatalf("%s: %s %.200s", path, resp.Header.Get("Content-Type"), page)
		}
		own := 0
		for _, found := range asked.FindAllStringSubmatch(page, -1) {
			for _, address := range found[1:] {
				if strings.Contains(address, "//") {
					t.Errorf("%s asks for %s", path, address)
				} else if address != "" {
					own++
				}
			}
		}
		if own < 5 {
			t.Errorf("%s names %d files of its own", path, own)
		}
	}
	page := `<link rel="a" href="https://x.example/f.css"/><LINK href=//y.example/g><link rel="icon" href="/queues/i.png"/>`
	if left := string(foreignLink.ReplaceAll([]byte(page), nil)); left != `<link rel="icon" href="/queues/i.png"/>` {
		t.Errorf("left of the links: %s", left)
	}
}

func TestMonitorShowsTheDescription(t *testing.T) {
	srv, c := startMonitor(t)
	enqueue(t, c, Backup, Ref{Tenant: "t-7", Task: "x", Admission: 3}, Pending)
	_, body := call(t, "GET", srv.URL+"/queues/api/queues/backup/pending_tasks", nil)
	var got struct {
		Tasks []struct {
			ID      string `json:"id"`
			Payload string `json:"payload"`
		} `json:"tasks"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Tasks) != 1 || got.Tasks[0].ID != "x:3" || got.Tasks[0].Payload != "mailbox of Ada in t-7" {
		t.Errorf("%s", body)
	}
	if text := formatter(nil).FormatPayload("alien", []byte("secret")); strings.Contains(text, "secret") {
		t.Errorf("a payload that is not ours is shown: %s", text)
	}
}

func TestMonitorWrites(t *testing.T) {
	srv, c := startMonitor(t)
	if _, err := c.Depth(t.Context()); err != nil { // registers the queues
		t.Fatal(err)
	}
	host := strings.TrimPrefix(srv.URL, "http://")
	pause, page := "/queues/api/queues/backup:pause", "/queues/index.html"
	cases := []struct {
		name, method, path string
		header             map[string]string
		status             int
	}{
		{"says nothing", "POST", pause, nil, 403},
		{"foreign origin", "POST", pause, map[string]string{"Origin": "https://evil.example"}, 403},
		{"opaque origin", "POST", pause, map[string]string{"Origin": "null"}, 403},
		{"foreign fetch", "POST", pause, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"sibling host", "POST", pause, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"typed in", "POST", pause, map[string]string{"Sec-Fetch-Site": "none"}, 403},
		{"headers disagree", "POST", pause, map[string]string{"Origin": srv.URL, "Sec-Fetch-Site": "cross-site"}, 403},
		{"foreign referer", "POST", pause, map[string]string{"Referer": "https://evil.example/" + host}, 403},
		{"foreign delete", "DELETE", "/queues/api/queues/backup", map[string]string{"Origin": "https://evil.example"}, 403},
		{"write elsewhere", "POST", page, map[string]string{"Origin": srv.URL}, 405},
		{"unknown method", "PUT", pause, map[string]string{"Origin": srv.URL}, 405},
		{"options", "OPTIONS", pause, map[string]string{"Origin": "https://evil.example"}, 405},
		{"by origin", "POST", pause, map[string]string{"Origin": srv.URL}, 204},
		{"by fetch metadata", "POST", "/queues/api/queues/backup:resume", map[string]string{"Sec-Fetch-Site": "same-origin"}, 204},
		{"by referer", "POST", pause, map[string]string{"Referer": srv.URL + "/queues/"}, 204},
	}
	for _, tc := range cases {
		resp, body := call(t, tc.method, srv.URL+tc.path, tc.header)
		if resp.StatusCode != tc.status {
			t.Errorf("%s: %s %s, want %d", tc.name, resp.Status, body, tc.status)
		}
		if cors := resp.Header.Get("Access-Control-Allow-Origin"); cors != "" {
			t.Errorf("%s: lets %q read", tc.name, cors)
		}
		paused, err := c.Paused(t.Context())
		if want := tc.name == "by origin" || tc.name == "by referer"; err != nil || (len(paused) == 1) != want {
			t.Errorf("after %q paused are %v, %v", tc.name, paused, err)
		}
	}
}

func TestMonitorInvalid(t *testing.T) {
	for _, root := range []string{"", "queues", "/"} {
		if _, _, err := Monitor(Options{URL: "127.0.0.1:1"}, root, nil); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("root %q: %v", root, err)
		}
	}
	if _, _, err := Monitor(Options{}, "/queues", nil); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("no address: %v", err)
	}
}
