package graphsim_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// proxied is a client that knows the proxy and the authority, and nothing else
// about the simulator.
func proxied(t *testing.T, s *graphsim.Server) *http.Client {
	t.Helper()
	proxy, err := url.Parse(s.ProxyURL())
	must(t, err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CertificateAuthority()) {
		t.Fatal("no authority")
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestProxyAnswersAsMicrosoft(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{ProxyAddr: "127.0.0.1:0"}, graphsim.TenantSpec{Users: 2})
	user := c.tenant.Users()[0].ID
	id, err := c.tenant.PutFile(user, "a.txt", []byte("hello"))
	must(t, err)
	client := proxied(t, s)
	resp, err := client.PostForm("https://login.microsoftonline.com/"+c.tenant.ID()+"/oauth2/v2.0/token",
		secretForm(graphsim.DefaultClientID, graphsim.DefaultSecret))
	must(t, err)
	token, _ := decode[object](t, resp)["access_token"].(string)
	get := func(target string) []byte {
		req, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		must(t, err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		must(t, err)
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s", target, resp.StatusCode, data)
		}
		return data
	}
	var users struct {
		Link string `json:"@odata.deltaLink"`
	}
	must(t, json.Unmarshal(get("https://graph.microsoft.com/v1.0/users/delta"), &users))
	if !strings.HasPrefix(users.Link, "https://graph.microsoft.com/v1.0/") {
		t.Errorf("deltaLink %s", users.Link)
	}
	// The redirect leads to the tenant's own SharePoint, without the token.
	if got := get("https://graph.microsoft.com/v1.0/users/" + user + "/drive/items/" + id + "/content"); string(got) != "hello" {
		t.Errorf("content %q", got)
	}
}

func TestProxyLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	s, _ := start(t, graphsim.Options{ProxyAddr: "127.0.0.1:0"}, graphsim.TenantSpec{})
	proxy := strings.TrimPrefix(s.ProxyURL(), "http://")
	for request, want := range map[string]int{
		"CONNECT example.com:443":                   http.StatusForbidden,
		"CONNECT graph.microsoft.com:80":            http.StatusForbidden,
		"CONNECT graph.microsoft.com.evil.test:443": http.StatusForbidden,
		"CONNECT a.b.sharepoint.com:443":            http.StatusForbidden,
		"CONNECT sharepoint.com:443":                http.StatusForbidden,
		"GET http://graph.microsoft.com/v1.0/users": http.StatusMethodNotAllowed,
		"CONNECT GRAPH.microsoft.com:443":           http.StatusOK,
	} {
		conn, err := net.Dial("tcp", proxy)
		must(t, err)
		_, host, _ := strings.Cut(request, " ")
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", request, strings.TrimSuffix(strings.TrimPrefix(host, "http://"), "/v1.0/users"))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		if resp.StatusCode != want {
			t.Errorf("%s: %d", request, resp.StatusCode)
		}
		must(t, conn.Close())
	}
	if _, err := graphsim.Start(graphsim.Options{ProxyAddr: "0.0.0.0:0"}); err == nil {
		t.Error("the proxy listens on every address")
	}
}

// Faults reach through the tunnel: a cut connection is a reset there, too.
func TestProxyFaults(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{ProxyAddr: "127.0.0.1:0"}, graphsim.TenantSpec{Users: 1})
	inject(t, s, graphsim.Fault{Path: "users/delta", Kind: graphsim.FaultReset})
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://graph.microsoft.com/v1.0/users/delta", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := proxied(t, s).Do(req)
	if err == nil {
		resp.Body.Close()
		t.Errorf("status %d", resp.StatusCode)
	}
	if s.Faults()[0].Struck == 0 {
		t.Error("the fault did not strike")
	}
}

// What a client from the field does against the documentation works through the proxy, as
// it does against Microsoft, and nowhere else: rclone sends its token to download URLs, and
// its upload sessions name no conflict behaviour where a file is replaced.
func TestProxyIsLenient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		strict, proxied  bool
		download, commit int
	}{
		"through the proxy":        {proxied: true, download: 200, commit: 200},
		"through the strict proxy": {proxied: true, strict: true, download: 401, commit: 409},
		"directly":                 {download: 401, commit: 409},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := start(t, graphsim.Options{ProxyAddr: "127.0.0.1:0", StrictProxy: c.strict}, graphsim.TenantSpec{Users: 1})
			user := w.tenant.Users()[0].ID
			_, err := w.tenant.PutFile(user, "a.txt", []byte("abc"))
			must(t, err)
			graph, hc := s.URL(), w.http
			if c.proxied {
				graph, hc = "https://graph.microsoft.com", proxied(t, s)
			}
			ask := func(method, target string, body string, header ...string) (int, map[string]any) {
				req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
				must(t, err)
				req.Header.Set("Authorization", "Bearer "+w.token)
				for i := 0; i < len(header); i += 2 {
					req.Header.Set(header[i], header[i+1])
				}
				resp, err := hc.Do(req)
				must(t, err)
				defer resp.Body.Close()
				var answer map[string]any
				_ = json.NewDecoder(resp.Body).Decode(&answer) // a file is no JSON
				return resp.StatusCode, answer
			}
			_, item := ask("GET", graph+"/v1.0/users/"+user+"/drive/root:/a.txt", "")
			if status, _ := ask("GET", item["@microsoft.graph.downloadUrl"].(string), ""); status != c.download {
				t.Errorf("a token on a download URL: %d, want %d", status, c.download)
			}
			_, session := ask("POST", graph+"/v1.0/users/"+user+"/drive/root:/a.txt:/createUploadSession", "")
			upload := session["uploadUrl"].(string)
			w.http, w.token = hc, ""
			resp := w.do("PUT", upload, []byte("xyz"), "Content-Range", "bytes 0-2/3")
			resp.Body.Close()
			if resp.StatusCode != c.commit {
				t.Errorf("a session that names no conflict behaviour: %d, want %d", resp.StatusCode, c.commit)
			}
		})
	}
}
