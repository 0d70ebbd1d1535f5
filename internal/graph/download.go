package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// maxResumes is how often in a row, without a byte between, a download is
	// taken up again where it broke.
	maxResumes = 5
	// maxLinks is how often in a row a download address is asked for again that
	// its host no longer takes.
	maxLinks = 3
)

const opDownload = "download a file"

// Download streams a file's content from offset on (bytes). A stream that is cut
// is taken up again where it broke; one whose file changed meanwhile fails with
// Conflict. Poison: Microsoft found malware in it. Errors of Read are of the
// kinds of every call. The caller closes.
//
// address is what a page of the drive's delta has just told (RawPage.Addresses), which
// saves asking for one; "" if it did not, or that is long ago. One that its host does
// not take any more is replaced; so is one on a host that is not of this cloud.
func (t *Tenant) Download(ctx context.Context, drive, item, address string, offset int64) (io.ReadCloser, error) {
	return t.download(ctx, drive, item, &download{link: address, at: offset, path: []string{"drives", drive, "items", item, "content"}})
}

// DownloadVersion is Download, from the beginning, of an old version of a file.
func (t *Tenant) DownloadVersion(ctx context.Context, drive, item, version string) (io.ReadCloser, error) {
	if err := given(opDownload, version); err != nil {
		return nil, err
	}
	return t.download(ctx, drive, item, &download{path: []string{"drives", drive, "items", item, "versions", version, "content"}})
}

func (t *Tenant) download(ctx context.Context, drive, item string, d *download) (io.ReadCloser, error) {
	if err := given(opDownload, drive, item); err != nil {
		return nil, err
	}
	if d.at < 0 {
		return nil, tenantry.Errorf(tenantry.Invalid, "%s: the offset is negative", opDownload)
	}
	if d.t, d.ctx = t, ctx; !t.client.at.contentLink(d.link) {
		d.link = ""
	}
	if err := d.connect(); err != nil {
		return nil, t.judged(ctx, err, t.client.build.plain("probe a file", http.MethodGet, t.sharePoint(oneItem, false), onlyID, "drives", drive, "items", item))
	}
	return d, nil
}

// download reads one file over as many connections as it takes.
//
//	no address ──content──▶ address ──GET, Range──▶ reading ──▶ done
//	     ▲                     │  401 403 404 410      │
//	     └─────────────────────┘◀────── cut ───────────┘
type download struct {
	t    *Tenant
	ctx  context.Context // of Download: it bounds what Read does
	path []string

	at       int64  // the next byte
	link     string // pre-authenticated; "" while none is good
	version  string // ETag of the content that the first bytes came from
	body     *answer
	resumes  int
	finished error
}

// Read is for one goroutine.
func (d *download) Read(p []byte) (int, error) {
	for d.finished == nil {
		if d.body == nil {
			if err := d.connect(); err != nil {
				d.finished = err
				break
			}
		}
		n, err := d.body.Read(p)
		d.at += int64(n)
		if n > 0 {
			d.resumes = 0
		}
		switch {
		case errors.Is(err, io.EOF):
			d.finished = io.EOF
		case err != nil:
			d.cut(err)
		}
		if n > 0 || d.finished == nil && err == nil {
			return n, nil
		}
	}
	return 0, d.finished
}

// cut ends a connection that broke, and the download if that keeps happening.
func (d *download) cut(err error) {
	d.body.end()
	d.body = nil
	d.resumes++
	if d.resumes > maxResumes || d.ctx.Err() != nil || tenantry.KindOf(err) != tenantry.Transient {
		d.finished = err
	}
}

// Close ends the download.
func (d *download) Close() error {
	if d.body != nil {
		d.body.end()
		d.body = nil
	}
	if d.finished == nil {
		d.finished = tenantry.E(tenantry.Canceled, opDownload, errors.New("closed"))
	}
	return nil
}

// connect opens the content at d.at, with a new address as long as the host does
// not take the one we have.
func (d *download) connect() error {
	for n := 1; ; n++ {
		err := d.locate()
		if err == nil && d.body == nil {
			err = d.get()
		}
		if err == nil || n == maxLinks || !stale(err) {
			return err
		}
		d.link = ""
	}
}

// stale reports whether a content host refused an address: they are good for
// minutes, and for one use perhaps.
func stale(err error) bool {
	f := faultOf(err)
	if f == nil || !f.open || f.code != "" && kindOf(f) == tenantry.Poison {
		return false
	}
	switch f.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// locate asks Graph for a download address. Should Graph send the content itself,
// that is read.
func (d *download) locate() error {
	if d.link != "" {
		return nil
	}
	c := d.t.client.build.plain(opDownload, http.MethodGet, d.t.sharePoint(oneItem, false), nil, d.path...)
	c.header.Set("Accept", "*/*")
	c.header.Set("Accept-Encoding", "identity")
	c.stream = true
	a, err := d.t.open(d.ctx, c)
	if err != nil {
		return err
	}
	if a.resp.StatusCode < http.StatusMultipleChoices {
		return d.begin(a)
	}
	defer a.end()
	d.link = a.resp.Header.Get("Location")
	if !d.t.client.at.contentLink(d.link) {
		d.link = ""
		return wrong(tenantry.Internal, codeForeign, opDownload, "the download address is not on a content host of this cloud: refused")
	}
	return nil
}

// get asks the content host, without a bearer token, for d.at and what follows.
func (d *download) get() error {
	cost := d.t.sharePoint(oneItem, false)
	// Compressed on the way, a range would count other bytes than ours.
	header := http.Header{"Accept-Encoding": {"identity"}}
	if d.at > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.at))
	}
	a, err := d.t.open(d.ctx, call{op: opDownload, method: http.MethodGet, url: d.link, header: header, cost: cost, open: true, stream: true})
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable && d.at > 0 {
		return d.pastEnd(err)
	}
	if err != nil {
		return err
	}
	return d.begin(a)
}

// pastEnd decides what a refused range means: at the very end, that all is read.
func (d *download) pastEnd(err error) error {
	if f := faultOf(err); f != nil && f.size == d.at {
		d.finished = io.EOF
		return nil
	}
	return tenantry.E(tenantry.Conflict, opDownload, err)
}

// begin checks that an answer continues what was read so far, and makes it the
// body.
func (d *download) begin(a *answer) error {
	err := d.pay(a.resp.ContentLength)
	if err == nil {
		err = d.continues(a)
	}
	if err != nil {
		a.end()
		return err
	}
	d.body = a
	return nil
}

// pay draws the bytes that are about to be read from what the tenant may send us.
func (d *download) pay(bytes int64) error {
	if bytes <= 0 {
		return nil
	}
	cost := d.t.sharePoint(covered, false)
	cost.DownloadBytes = bytes
	permit, err := d.t.client.limiter.Acquire(d.ctx, cost)
	if err != nil {
		return err
	}
	permit.Release()
	return nil
}

func (d *download) continues(a *answer) error {
	switch a.resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
	default:
		return wrong(tenantry.Transient, codeIncomplete, opDownload, "the answer is "+a.resp.Status)
	}
	version := a.resp.Header.Get("ETag")
	if d.version != "" && version != "" && version != d.version {
		return wrong(tenantry.Conflict, "resourceModified", opDownload, "the file changed while it was read")
	}
	if version != "" {
		d.version = version
	}
	skip := d.at
	if a.resp.StatusCode == http.StatusPartialContent {
		start, ok := rangeStart(a.resp.Header.Get("Content-Range"))
		if !ok || start > d.at {
			return wrong(tenantry.Transient, codeIncomplete, opDownload, "the answer is another range than was asked for")
		}
		skip = d.at - start
	}
	// A host that ignores the range sends all of it.
	if _, err := io.CopyN(io.Discard, a, skip); errors.Is(err, io.EOF) {
		return wrong(tenantry.Conflict, "resourceModified", opDownload, "the file ends before the offset")
	} else if err != nil {
		return err
	}
	return nil
}

// rangeStart reads "bytes 100-199/200" or "bytes 100-199/*".
func rangeStart(header string) (int64, bool) {
	text, ok := strings.CutPrefix(header, "bytes ")
	if !ok {
		return 0, false
	}
	first, _, ok := strings.Cut(text, "-")
	if !ok {
		return 0, false
	}
	start, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	return start, err == nil && start >= 0
}
