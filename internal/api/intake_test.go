package api_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes as they are and reads the answer to a request of the method; with cut it says that no more bytes come.
func (h *house) raw(t *testing.T, method, text string, cut bool, more ...io.Reader) reply {
	t.Helper()
	c, err := net.Dial("tcp", h.server.Listener.Addr().String())
	must(t, err)
	defer func() { _ = c.Close() }()
	must(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, io.MultiReader(append([]io.Reader{strings.NewReader(text)}, more...)...))
		if err == nil && cut {
			err = c.(*net.TCPConn).CloseWrite()
		}
		sent <- err
	}()
	r, err := http.NewRequest(method, "/", http.NoBody)
	must(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(c), r)
	must(t, err)
	body, _ := io.ReadAll(answer.Body) // cut when the server hangs up on what is still sent
	_ = answer.Body.Close()
	_ = c.Close()
	<-sent // refused is a fine end, too
	return reply{answer.StatusCode, answer.Header, body}
}

// head is the head of a request with a token.
func (h *house) head(method, target string, headers ...string) string {
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: api.example", "Authorization: Bearer " + h.token, "Connection: close"}, headers...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

const aTenant = `{"name":"A","directory":"a.example.com"}`

// Whatever is strange about a request, the answer is a problem with a stable code, and nothing has changed.
func TestStrangeRequests(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := string(h.addConnected("Contoso", contosoGUID))
	before := h.watch().contents()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(aTenant))
	must(t, err)
	must(t, z.Close())
	length := fmt.Sprintf("Content-Length: %d", len(aTenant))
	const asJSON = "Content-Type: application/json"
	post := func(headers ...string) string {
		return h.head("POST", "/v1/tenants", append(headers, length)...) + aTenant
	}
	for name, c := range map[string]struct {
		method, text string
		status       int
		code         string
	}{
		"OPTIONS":                       {"OPTIONS", h.head("OPTIONS", "/v1/tenants"), 405, "method_not_allowed"},
		"OPTIONS of everything":         {"OPTIONS", h.head("OPTIONS", "*"), 404, "unknown_path"},
		"TRACE":                         {"TRACE", h.head("TRACE", "/v1/tenants"), 405, "method_not_allowed"},
		"a method of nobody":            {"BREW", h.head("BREW", "/v1/tenants"), 405, "method_not_allowed"},
		"a method in small letters":     {"get", h.head("get", "/v1/tenants"), 405, "method_not_allowed"},
		"DELETE of a listing":           {"DELETE", h.head("DELETE", "/v1/tenants"), 405, "method_not_allowed"},
		"HEAD of nothing":               {"HEAD", h.head("HEAD", "/v1/nothing"), 404, ""},
		"an unknown path":               {"GET", h.head("GET", "/v1/nothing"), 404, "unknown_path"},
		"an unknown version":            {"GET", h.head("GET", "/v2/tenants"), 404, "unknown_path"},
		"a slash behind":                {"GET", h.head("GET", "/v1/tenants/"), 404, "unknown_path"},
		"two slashes":                   {"GET", h.head("GET", "/v1//tenants"), 404, "unknown_path"},
		"two slashes before":            {"GET", h.head("GET", "//v1/tenants"), 404, "unknown_path"},
		"a step up":                     {"GET", h.head("GET", "/v1/tenants/../tenants"), 404, "unknown_path"},
		"a step up, escaped":            {"GET", h.head("GET", "/v1/tenants/%2e%2e/audit"), 404, "not_found"},
		"a step down":                   {"POST", h.head("POST", "/v1/./tenants", asJSON, length) + aTenant, 404, "unknown_path"},
		"capital letters":               {"GET", h.head("GET", "/V1/tenants"), 404, "unknown_path"},
		"gzip":                          {"POST", h.head("POST", "/v1/tenants", asJSON, "Content-Encoding: gzip", fmt.Sprintf("Content-Length: %d", packed.Len())) + packed.String(), 415, "unsupported_media_type"},
		"another character set":         {"POST", post("Content-Type: application/json; charset=utf-16"), 415, "unsupported_media_type"},
		"Latin letters":                 {"POST", post(`Content-Type: application/json; charset="iso-8859-1"`), 415, "unsupported_media_type"},
		"a form":                        {"POST", post("Content-Type: application/x-www-form-urlencoded"), 415, "unsupported_media_type"},
		"no media type at all":          {"POST", post("Content-Type: ;;"), 415, "unsupported_media_type"},
		"two media types":               {"POST", post(asJSON, "Content-Type: text/plain"), 400, "header_repeated"},
		"two tokens":                    {"GET", h.head("GET", "/v1/tenants", "Authorization: Bearer tenantry_other"), 400, "header_repeated"},
		"two idempotency keys":          {"POST", post(asJSON, "Idempotency-Key: a", "Idempotency-Key: b"), 400, "header_repeated"},
		"two ETags on lines":            {"PATCH", h.head("PATCH", "/v1/tenants/"+id, asJSON, `If-Match: "a"`, `If-Match: *`, length) + aTenant, 400, "header_repeated"},
		"a huge header":                 {"GET", h.head("GET", "/v1/tenants", "X-Huge: "+strings.Repeat("x", 70<<10)), 431, "headers_too_large"},
		"many headers":                  {"GET", h.head("GET", "/v1/tenants", strings.Repeat("X-Many: yes\r\n", 9_000)+"X-Last: yes"), 431, "headers_too_large"},
		"a huge address":                {"GET", h.head("GET", "/v1/tenants?after="+strings.Repeat("x", 70<<10)), 431, "headers_too_large"},
		"a body shorter than announced": {"POST", h.head("POST", "/v1/tenants", asJSON, "Content-Length: 1000") + aTenant, 400, "malformed_body"},
		"a body longer than announced":  {"POST", h.head("POST", "/v1/tenants", asJSON, "Content-Length: 20") + aTenant, 400, "malformed_body"},
		"chunks that are none":          {"POST", h.head("POST", "/v1/tenants", asJSON, "Transfer-Encoding: chunked") + "zz\r\n" + aTenant, 400, "malformed_body"},
		"chunks that are cut":           {"POST", h.head("POST", "/v1/tenants", asJSON, "Transfer-Encoding: chunked") + "28\r\n" + aTenant[:10], 400, "malformed_body"},
	} {
		got := h.raw(t, c.method, c.text, c.code == "malformed_body")
		if c.method != "HEAD" { // which shows no code
			got.holdsCode(t, name)
		}
		if got.status != c.status || got.text("code") != c.code || c.method != "HEAD" && got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s %.300s", name, got.status, got.header.Get("Content-Type"), got.body)
		}
		if c.status == http.StatusMethodNotAllowed && !strings.Contains(got.header.Get("Allow"), "GET") {
			t.Errorf("%s: Allow %q", name, got.header.Get("Allow"))
		}
	}
	if h.watch().contents() != before {
		t.Error("something changed")
	}
}

// What is strange but clear is taken.
func TestClearRequests(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i, kind := range []string{"application/json", "Application/JSON; Charset=UTF-8", ""} {
		body := fmt.Sprintf(`{"name":"A","directory":"a%d.example.com"}`, i)
		headers := []string{fmt.Sprintf("Content-Length: %d", len(body)), "Content-Encoding: identity"}
		if kind != "" {
			headers = append(headers, "Content-Type: "+kind)
		}
		if got := h.raw(t, "POST", h.head("POST", "/v1/tenants", headers...)+body, false); got.status != http.StatusCreated {
			t.Errorf("%q: %d %s", kind, got.status, got.body)
		}
	}
	for _, accept := range []string{"application/xml", "text/html", "json", "nonsense", "application/json;q=0", "*/*"} {
		got := h.raw(t, "GET", h.head("GET", "/v1/tenants", "Accept: "+accept), false)
		if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" || got.text("items.0.name") != "A" {
			t.Errorf("Accept %s: %d %s %s", accept, got.status, got.header.Get("Content-Type"), got.body)
		}
	}
	if got := h.raw(t, "HEAD", h.head("HEAD", "/v1/tenants"), false); got.status != http.StatusOK || len(got.body) != 0 {
		t.Errorf("HEAD: %d %s", got.status, got.body)
	}
	if got := h.raw(t, "POST", h.head("POST", "/v1/pools", "Transfer-Encoding: chunked")+"10\r\n{\"name\":\"munich\"\r\n1\r\n}\r\n0\r\n\r\n", false); got.status != http.StatusCreated {
		t.Errorf("chunked: %d %s", got.status, got.body)
	}
}

// A body that is larger than any is refused when its bound is reached, however it comes; one that does not come is not waited for.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const asJSON = "Content-Type: application/json"
	megabytes := strings.Repeat("x", 10<<20)
	for name, text := range map[string]string{
		"announced": h.head("POST", "/v1/tenants", asJSON, fmt.Sprintf("Content-Length: %d", len(megabytes)+10)),
		"in chunks": h.head("POST", "/v1/tenants", asJSON, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n", len(megabytes)+10),
	} {
		got := h.raw(t, "POST", text, false, strings.NewReader(`{"name":"`+megabytes+`"`))
		if got.status != http.StatusRequestEntityTooLarge || got.text("code") != "too_large" {
			t.Errorf("10 MB %s: %d %.300s", name, got.status, got.body)
		}
	}
	never, write := io.Pipe()
	defer func() { _ = write.Close() }()
	go func() { _, _ = write.Write([]byte(`{"name":`)) }() // and no more
	c, err := net.Dial("tcp", h.server.Listener.Addr().String())
	must(t, err)
	defer func() { _ = c.Close() }()
	must(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	go func() {
		_, _ = io.Copy(c, io.MultiReader(strings.NewReader(h.head("POST", "/v1/tenants", asJSON, "Content-Length: 100")), never))
	}()
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	_ = answer.Body.Close()
	if got := (reply{answer.StatusCode, answer.Header, body}); got.status != http.StatusRequestTimeout || got.text("code") != "request_timeout" {
		t.Errorf("a body that does not come: %d %s", got.status, got.body)
	}
}
