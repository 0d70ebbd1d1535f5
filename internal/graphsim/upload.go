package graphsim

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// uploadTarget is what an upload session ends in: an attachment or a file.
type uploadTarget interface {
	// fragmentRule refuses a fragment of that many bytes; last says whether it
	// is the one that completes the upload.
	fragmentRule(size int64, last bool) *apiError
	// finish stores the bytes. A session whose finish fails survives.
	finish(s *Server, data content) (*uploadResult, error)
}

// uploadResult is the answer to the fragment that completes an upload.
type uploadResult struct {
	status   int
	location string
	body     []byte
}

// uploadLife is how long a session waits for its next fragment.
const uploadLife = 15 * time.Minute

// upload is one session: fragments are appended to a file in order.
type upload struct {
	id       string
	total    int64
	target   uploadTarget
	deferred bool

	expires atomic.Int64 // Unix nanoseconds

	mu       sync.Mutex
	file     *os.File
	received int64
	done     bool
}

// extend gives the session its full time again.
func (u *upload) extend(s *Server) {
	u.expires.Store(time.Now().Add(s.realWait(uploadLife)).UnixNano())
}

func (u *upload) expiry() time.Time { return time.Unix(0, u.expires.Load()).UTC() }

func (u *upload) expired() bool { return time.Now().After(u.expiry()) }

// uploadBook holds the open sessions. Safe for concurrent use.
type uploadBook struct {
	mu   sync.Mutex
	open map[string]*upload
}

// maxUploads bounds the sessions open at once.
const maxUploads = 10_000

// start opens a session; total may be unknown (-1) until the first fragment.
func (b *uploadBook) start(s *Server, total int64, target uploadTarget) (*upload, error) {
	b.sweep(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open = map[string]*upload{}
	}
	if len(b.open) >= maxUploads {
		return nil, fail(http.StatusServiceUnavailable, "serviceNotAvailable", "Too many upload sessions.")
	}
	u := &upload{id: newID(), total: total, target: target}
	u.extend(s)
	b.open[u.id] = u
	return u, nil
}

// sweep ends the sessions that nobody came back to.
func (b *uploadBook) sweep(s *Server) {
	b.mu.Lock()
	var stale []*upload
	for _, u := range b.open {
		if u.expired() {
			stale = append(stale, u)
		}
	}
	b.mu.Unlock()
	for _, u := range stale {
		u.mu.Lock()
		u.close(s)
		u.mu.Unlock()
	}
}

func (b *uploadBook) find(id string) *upload {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.open[id]
	if u == nil || u.expired() {
		return nil
	}
	return u
}

func (b *uploadBook) drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, id)
}

// OpenUpload is an upload session as the control interface shows it: without its address.
type OpenUpload struct {
	Received int64     `json:"received"` // bytes
	Total    int64     `json:"total"`    // bytes, -1 while unknown
	Expires  time.Time `json:"expires"`
}

// OpenUploads lists the upload sessions that are open, in no order.
func (s *Server) OpenUploads() []OpenUpload {
	list := []OpenUpload{}
	for _, u := range s.uploads.all() {
		u.mu.Lock()
		if !u.done && !u.expired() {
			list = append(list, OpenUpload{u.received, u.total, u.expiry()})
		}
		u.mu.Unlock()
	}
	return list
}

// EndUploads ends all upload sessions, as their time does.
func (s *Server) EndUploads() {
	for _, u := range s.uploads.all() {
		u.mu.Lock()
		u.close(s)
		u.mu.Unlock()
	}
}

func (b *uploadBook) all() []*upload {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.open))
}

var contentRange = regexp.MustCompile(`^bytes (\d+)-(\d+)/(\d+)$`)

// serveUpload is the upload URL of a session: PUT fragments, GET the state,
// DELETE to cancel, POST to commit a deferred one.
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request, id string) {
	requestID := newID()
	u := s.uploads.find(id)
	if u == nil {
		fail(http.StatusNotFound, "itemNotFound", "The upload session was not found.").withInner("uploadSessionNotFound").write(w, requestID, requestID)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	var err error
	switch r.Method {
	case http.MethodPut:
		err = u.put(s, w, r)
	case http.MethodGet:
		u.answerState(w, http.StatusOK)
	case http.MethodPost:
		err = u.commit(s, w)
	case http.MethodDelete:
		u.close(s)
		w.WriteHeader(http.StatusNoContent)
	default:
		err = fail(http.StatusMethodNotAllowed, "invalidRequest", "The method is not allowed here.")
	}
	if err != nil {
		asAPIError(err).write(w, requestID, requestID)
	}
}

func (u *upload) put(s *Server, w http.ResponseWriter, r *http.Request) error {
	m := contentRange.FindStringSubmatch(r.Header.Get("Content-Range"))
	if m == nil {
		return fail(http.StatusBadRequest, "invalidRequest", "The Content-Range header is missing or malformed.")
	}
	first, _ := strconv.ParseInt(m[1], 10, 64)
	last, _ := strconv.ParseInt(m[2], 10, 64)
	total, _ := strconv.ParseInt(m[3], 10, 64)
	size := last - first + 1
	switch {
	case (u.total >= 0 && total != u.total) || size <= 0 || last >= total || r.ContentLength != size:
		return fail(http.StatusBadRequest, "invalidRequest", "The fragment does not match the declared length.").withInner("fragmentLengthMismatch")
	case first < u.received:
		return fail(http.StatusRequestedRangeNotSatisfiable, "invalidRange", "The range was received already.").withInner("fragmentOverlap")
	case first > u.received:
		return fail(http.StatusRequestedRangeNotSatisfiable, "invalidRange", "The range is out of order.").withInner("fragmentOutOfOrder")
	}
	if refused := u.target.fragmentRule(size, last == total-1); refused != nil {
		return refused
	}
	u.total = total
	if err := u.append(s, r, size); err != nil {
		return err
	}
	if u.received < u.total || u.deferred {
		u.answerState(w, u.stateStatus())
		return nil
	}
	return u.commit(s, w)
}

// stateStatus: drives answer 202 to a fragment, Outlook 200.
func (u *upload) stateStatus() int {
	if _, ok := u.target.(*attachmentUpload); ok {
		return http.StatusOK
	}
	return http.StatusAccepted
}

// append stores a fragment as a whole or not at all.
func (u *upload) append(s *Server, r *http.Request, size int64) error {
	if u.file == nil {
		f, err := os.CreateTemp(s.spill, "session-")
		if err != nil {
			return fmt.Errorf("store fragment: %w", err)
		}
		u.file = f
	}
	n, err := io.Copy(io.NewOffsetWriter(u.file, u.received), io.LimitReader(r.Body, size))
	if err != nil || n != size {
		return fail(http.StatusBadRequest, "invalidRequest", "IO error during request payload read")
	}
	u.received += size
	u.extend(s)
	return nil
}

func (u *upload) answerState(w http.ResponseWriter, status int) {
	ranges := []string{}
	if u.received < u.total || u.total < 0 {
		ranges = append(ranges, strconv.FormatInt(u.received, 10)+"-")
	}
	writeJSON(w, status, map[string]any{"expirationDateTime": formatTime(u.expiry()), "nextExpectedRanges": ranges,
		"NextExpectedRanges": ranges})
}

func (u *upload) commit(s *Server, w http.ResponseWriter) error {
	if u.received < u.total || u.file == nil {
		return fail(http.StatusBadRequest, "invalidRequest", "The upload is not complete.").withInner("uploadSessionIncomplete")
	}
	result, err := u.target.finish(s, fileContent{path: u.file.Name(), length: u.total})
	if err != nil {
		return err
	}
	u.done = true
	u.close(s)
	if result.location != "" {
		w.Header().Set("Location", result.location)
	}
	if len(result.body) > 0 {
		w.Header().Set("Content-Type", jsonType)
	}
	w.WriteHeader(result.status)
	_, _ = w.Write(result.body) // the client has gone
	return nil
}

// close ends the session; the bytes stay if they are somebody's content now.
func (u *upload) close(s *Server) {
	s.uploads.drop(u.id)
	if u.file == nil {
		return
	}
	_ = u.file.Close()
	if !u.done {
		_ = os.Remove(u.file.Name())
	}
}

// filesRoot is the root of download and upload URLs as the client reaches it: the
// host of the request with the other port.
func (c *call) filesRoot() string {
	if c.r.TLS != nil { // through the proxy
		return "https://" + strings.TrimSuffix(c.t.personalHost(), ".example") + ".com"
	}
	host := c.r.Host
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	port := c.s.filesAddr[strings.LastIndexByte(c.s.filesAddr, ':'):]
	return "http://" + host + port
}
