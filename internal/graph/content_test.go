package graph

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// random is n bytes that differ from place to place, the same ones each time.
func random(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{7})
	_, _ = rng.Read(b)
	return b
}

// serveFile serves content by ranges, with faults in turn before it settles.
type serveFile struct {
	content []byte
	etag    string
	plain   bool // ignores ranges
}

func (f serveFile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.plain {
		r.Header.Del("Range")
	}
	w.Header().Set("ETag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}

// cut serves the file but drops the connection after n bytes of the answer.
func (f serveFile) cut(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.ServeHTTP(&cutWriter{ResponseWriter: w, left: n}, r)
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func TestDownloads(t *testing.T) {
	content := random(3 << 20)
	file := serveFile{content: content, etag: `"1"`}
	changed := serveFile{content: content, etag: `"2"`}
	plain := serveFile{content: content, plain: true}
	for _, test := range []struct {
		name   string
		offset int64
		serve  http.HandlerFunc
		kind   tenantry.Kind
		links  int // times that Graph is asked for an address
	}{
		{"whole", 0, file.ServeHTTP, "", 1},
		{"from an offset", 1 << 20, file.ServeHTTP, "", 1},
		{"from an offset, range ignored", 1 << 20, plain.ServeHTTP, "", 1},
		{"from the end", 3 << 20, file.ServeHTTP, "", 1},
		{"beyond the end", 4 << 20, file.ServeHTTP, tenantry.Conflict, 1},
		{"beyond the end, range ignored", 4 << 20, plain.ServeHTTP, tenantry.Conflict, 1},
		{"cut twice", 0, inTurn(file.cut(1<<20), file.cut(1000), file.ServeHTTP), "", 1},
		{"cut, then the range is ignored", 0, inTurn(plain.cut(1<<20), plain.ServeHTTP), "", 1},
		{"cut, then changed", 0, inTurn(file.cut(1<<20), changed.ServeHTTP), tenantry.Conflict, 1},
		{"cut, then the address has ended", 0, inTurn(file.cut(1<<20), answerWith(404, ""), file.ServeHTTP), "", 2},
		{"address refused", 0, inTurn(answerWith(401, ""), answerWith(410, "<html>"), file.ServeHTTP), "", 3},
		{"address refused for good", 0, answerWith(403, ""), tenantry.Denied, 3},
		{"busy", 0, inTurn(answerWith(503, "<html>"), file.ServeHTTP), "", 1},
		{"throttled", 0, answerWith(429, "", "Retry-After", "60"), tenantry.Throttled, 1},
		{"infected", 0, answerWith(403, "", "X-Virus-Infected", "true"), tenantry.Poison, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			testDownload(t, content, "", test.offset, test.serve, test.kind, test.links)
		})
	}
}

// TestDownloadFromAnAddressThatIsKnown asks Graph for another one only if the one that is known does not serve, and
// sends nothing to a host that is not Microsoft's.
func TestDownloadFromAnAddressThatIsKnown(t *testing.T) {
	content := random(1 << 20)
	file := serveFile{content: content, etag: `"1"`}
	for _, test := range []struct {
		name, known string
		serve       http.HandlerFunc
		links       int
	}{
		{"good", "/known", file.ServeHTTP, 0},
		{"cut", "/known", inTurn(file.cut(1000), file.ServeHTTP), 0},
		{"ended", "/known", inTurn(answerWith(401, ""), file.ServeHTTP), 1},
		{"cut, then ended", "/known", inTurn(file.cut(1000), answerWith(404, ""), file.ServeHTTP), 1},
		{"of another cloud", "https://elsewhere.example/known", file.ServeHTTP, 1},
	} {
		t.Run(test.name, func(t *testing.T) { testDownload(t, content, test.known, 0, test.serve, "", test.links) })
	}
}

// TestDownloadsArePaidFor: a GET of an address costs what asking for one does.
func TestDownloadsArePaidFor(t *testing.T) {
	for known, want := range map[string]int{"": 2 * oneItem, "/known": oneItem} {
		var m *microsoft
		m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", m.content.URL+"/file")
			w.WriteHeader(302)
		}, serveFile{content: random(100), etag: `"1"`}.ServeHTTP)
		if known != "" {
			known = m.content.URL + known
		}
		body, err := tenant.Download(t.Context(), "d", "i", known, 0)
		if err == nil {
			_, err = io.ReadAll(body)
			body.Close()
		}
		wantKind(t, err, "")
		units := 0
		for _, c := range m.limiter.calls {
			if c.DownloadBytes == 0 {
				units += c.Units
			}
		}
		if units != want {
			t.Errorf("%d units from %q, want %d", units, known, want)
		}
	}
}

func testDownload(t *testing.T, content []byte, known string, offset int64, serve http.HandlerFunc, kind tenantry.Kind, links int) {
	t.Helper()
	var m *microsoft
	m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", m.content.URL+"/file?tempauth=x")
		w.WriteHeader(302)
	}, serve)
	if strings.HasPrefix(known, "/") {
		known = m.content.URL + known
	}
	body, err := tenant.Download(t.Context(), "d", "i", known, offset)
	var got []byte
	if err == nil {
		got, err = io.ReadAll(body)
		body.Close()
	}
	wantKind(t, err, kind)
	if kind == "" && !bytes.Equal(got, content[offset:]) {
		t.Errorf("%d bytes, %d wanted, or other ones", len(got), len(content[offset:]))
	}
	asked := 0
	for _, r := range m.requests() {
		if strings.HasPrefix(r.path, "/v1.0/") {
			asked++
		} else if r.header.Get("Authorization") != "" || r.header.Get("User-Agent") == "" {
			t.Errorf("the content host was sent %v", r.header)
		}
	}
	if asked != links {
		t.Errorf("Graph was asked %d times for an address, want %d", asked, links)
	}
}

// TestDownloadInManyPieces: a connection that breaks is no failure as long as
// something came.
func TestDownloadInManyPieces(t *testing.T) {
	content := random(20 << 10)
	testDownload(t, content, "", 0, serveFile{content: content}.cut(1<<10), "", 1)
}

func TestDownloadThatNeverProgresses(t *testing.T) {
	var m *microsoft
	m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", m.content.URL+"/file")
		w.WriteHeader(302)
	}, cutAfter(200, ""))
	body, err := tenant.Download(t.Context(), "d", "i", "", 0)
	if err == nil {
		_, err = io.ReadAll(body)
		body.Close()
	}
	wantKind(t, err, tenantry.Transient)
	if got := len(m.requests()); got > 2*(maxResumes+2) {
		t.Errorf("%d requests", got)
	}
}

// uploads is an upload session as OneDrive and Exchange keep one.
type uploads struct {
	mu        sync.Mutex
	got       []byte
	size      int64
	fault     func(put int) (status int, after bool) // 0: none; after: the bytes are taken all the same
	puts      int
	cancelled bool
	final     http.HandlerFunc
}

func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch r.Method {
	case http.MethodGet:
		write(w, 200, u.state())
		return
	case http.MethodDelete:
		u.cancelled = true
		w.WriteHeader(204)
		return
	}
	u.puts++
	status, after := 0, false
	if u.fault != nil {
		status, after = u.fault(u.puts)
	}
	if status != 0 && !after {
		w.WriteHeader(status)
		return
	}
	if refused := u.take(r); refused != 0 {
		write(w, refused, `{"error":{"code":"invalidRange"}}`)
		return
	}
	switch {
	case status != 0:
		w.WriteHeader(status)
	case int64(len(u.got)) == u.size:
		u.final(w, r)
	default:
		write(w, 202, u.state())
	}
}

func (u *uploads) state() string {
	return `{"expirationDateTime":"2030-01-01T00:00:00Z","nextExpectedRanges":["` + strconv.Itoa(len(u.got)) + `-"]}`
}

// take appends a range that fits.
func (u *uploads) take(r *http.Request) (refused int) {
	var from, to, size int64
	if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil || size != u.size {
		return 400
	}
	if from != int64(len(u.got)) {
		return 416
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || int64(len(body)) != to-from+1 || r.ContentLength != to-from+1 {
		return 400
	}
	if to+1 < size && len(body)%(320<<10) != 0 {
		return 400
	}
	u.got = append(u.got, body...)
	return 0
}

func TestUploads(t *testing.T) {
	content := random(int(2*driveFragment + 12345))
	item := answerWith(201, `{"id":"new","size":1}`)
	at := func(put, status int, after bool) func(int) (int, bool) {
		return func(n int) (int, bool) {
			if n == put {
				return status, after
			}
			return 0, false
		}
	}
	for _, test := range []struct {
		name     string
		conflict string
		fault    func(int) (int, bool)
		final    http.HandlerFunc
		kind     tenantry.Kind
		puts     int
	}{
		{"smooth", "fail", nil, item, "", 3},
		{"busy in the middle", "fail", at(2, 503, false), item, "", 4},
		{"answer lost in the middle", "fail", at(2, 500, true), item, "", 3},
		{"session lost", "fail", at(2, 404, false), item, tenantry.Transient, 2},
		{"throttled for long", "fail", func(int) (int, bool) { return 509, false }, item, tenantry.Throttled, 0},
		{"name taken at the end", "fail", nil, answerWith(409, `{"error":{"code":"nameAlreadyExists"}}`), tenantry.Conflict, 3},
		{"full at the end", "fail", nil, answerWith(507, `{"error":{"code":"quotaLimitReached"}}`), tenantry.Capacity, 3},
		{"rename, outcome unknown", "rename", at(3, 500, false), item, tenantry.Transient, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := &uploads{size: int64(len(content)), fault: test.fault, final: test.final}
			var m *microsoft
			m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if !strings.Contains(string(body), `"lastModifiedDateTime":"2026-02-03T04:05:06Z"`) || !strings.Contains(string(body), `"@microsoft.graph.conflictBehavior":"`+test.conflict+`"`) {
					t.Errorf("session asked for with %s", body)
				}
				write(w, 200, `{"uploadUrl":"`+m.content.URL+`/up?tempauth=x"}`)
			}, u.ServeHTTP)
			modified := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
			got, err := tenant.Upload(t.Context(), "d", "p", "a b#%.bin", test.conflict, time.Time{}, modified, stored(content))
			wantKind(t, err, test.kind)
			if err == nil && (!bytes.Equal(u.got, content) || string(got) != `{"id":"new","size":1}`) {
				t.Errorf("%d bytes arrived, item %s", len(u.got), got)
			}
			if test.puts != 0 && u.puts != test.puts {
				t.Errorf("%d PUTs, want %d", u.puts, test.puts)
			}
			if (err != nil) != u.cancelled {
				t.Errorf("cancelled: %v after %v", u.cancelled, err)
			}
			for _, r := range m.requests() {
				if strings.HasPrefix(r.path, "/up") && r.header.Get("Authorization") != "" {
					t.Error("the upload host was sent a token")
				}
			}
		})
	}
}

func TestUploadSizes(t *testing.T) {
	for _, size := range []int64{100, smallFile + 100} {
		for _, real := range []int64{size - 1, size + 1} {
			u := &uploads{size: size, final: answerWith(201, `{"id":"new"}`)}
			var m *microsoft
			m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
				write(w, 200, `{"id":"new","uploadUrl":"`+m.content.URL+`/up"}`)
			}, u.ServeHTTP)
			_, err := tenant.Upload(t.Context(), "d", "p", "n", "replace", time.Time{}, time.Time{}, sized(size, zeros(real)))
			wantKind(t, err, tenantry.Invalid)
			if int64(len(u.got)) == size {
				t.Errorf("a file of %d bytes was finished with %d", real, size)
			}
		}
	}
}

func TestSmallUpload(t *testing.T) {
	m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method == http.MethodPut && string(body) == "hello" && r.URL.RawQuery == "%40microsoft.graph.conflictBehavior=replace":
			write(w, 201, `{"id":"new"}`)
		case r.Method == http.MethodPatch && string(body) == `{"fileSystemInfo":{"createdDateTime":"2026-01-02T03:04:05.123Z"}}`:
			write(w, 200, `{"id":"new","patched":true}`)
		default:
			write(w, 400, "")
		}
	}, nil)
	created := time.Date(2026, 1, 2, 3, 4, 5, 123e6, time.UTC)
	item, err := tenant.Upload(t.Context(), "d", "p", "ä b.txt", "replace", created, time.Time{}, stored([]byte("hello")))
	if err != nil || string(item) != `{"id":"new","patched":true}` {
		t.Errorf("%s, %v", item, err)
	}
	if got := m.requests()[0].path; got != "/v1.0/drives/d/items/p:/ä b.txt:/content" {
		t.Errorf("path is %s", got)
	}
}

func TestAttachmentUpload(t *testing.T) {
	content := random(attachmentSessionFrom + 5<<20 + 7)
	u := &uploads{size: int64(len(content)), final: answerWith(201, "", "Location", "https://x/attachments('a')")}
	var m *microsoft
	m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/attachments") {
			body, _ := io.ReadAll(r.Body)
			if want := `{"@odata.type":"#microsoft.graph.fileAttachment","name":"s","isInline":true,"contentBytes":"AAA="}`; string(body) != want {
				t.Errorf("%s", body)
			}
			write(w, 201, `{"id":"a"}`)
			return
		}
		write(w, 201, `{"uploadUrl":"`+m.content.URL+`/up"}`)
	}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Range") != "" && r.ContentLength >= 4_000_000 {
			t.Errorf("a fragment of %d bytes", r.ContentLength)
		}
		u.ServeHTTP(w, r)
	})
	if err := tenant.UploadAttachment(t.Context(), "u1", OfMessage, "m1", "n", "", "", false, stored(content)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(u.got, content) {
		t.Errorf("%d bytes arrived", len(u.got))
	}
	var bytesDrawn int64
	for _, c := range m.limiter.calls {
		if c.Mailbox == "u1" && c.Write {
			bytesDrawn += c.UploadBytes
		}
	}
	if bytesDrawn < u.size {
		t.Errorf("%d bytes drawn on the mailbox, %d sent", bytesDrawn, u.size)
	}
	if err := tenant.UploadAttachment(t.Context(), "u1", OfMessage, "m1", "s", "", "", true, sized(2, zeros(2))); err != nil {
		t.Error(err)
	}
}
