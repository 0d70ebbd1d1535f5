package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

const (
	// smallFile is the largest file that is written by one PUT.
	smallFile = 4 << 20
	// driveFragment is one PUT of an upload session: a multiple of 320 KiB, as
	// OneDrive demands, and in the 5 to 10 MiB that it recommends. One is held in
	// memory per upload.
	driveFragment = 32 * 320 << 10
	// cancelTimeout bounds the clean-up of a session that failed.
	cancelTimeout = 10 * time.Second
)

// Upload writes a file into a folder and returns its
// item: one PUT up to 4 MiB, an upload session above. conflict says what happens
// to a file of that name: fail (Conflict), replace or rename. The times become
// those of the file system facet; zero times are left to Microsoft, who is also
// the only one to set authors.
//
// A session of more than 20 MiB that is interrupted is gone on with by the next call that asks for the same, see
// KeepSessions.
//
// After Transient the file may exist all the same: with rename, look for it
// before asking again. Capacity: the drive is full. Invalid: the content is not of
// its size.
func (t *Tenant) Upload(ctx context.Context, drive, parent, name, conflict string, created, modified time.Time, f tenantry.Upload) (jsontext.Value, error) {
	const op = "upload a file"
	if err := named(op, drive, parent, name); err != nil {
		return nil, err
	}
	switch conflict {
	case "fail", "replace", "rename":
	default:
		return nil, tenantry.Errorf(tenantry.Invalid, "%s: conflict: %q is none of fail, replace, rename", op, conflict)
	}
	if f.Size < 0 {
		return nil, tenantry.Errorf(tenantry.Invalid, "%s: the size is negative", op)
	}
	if f.Size <= smallFile {
		return t.putFile(ctx, drive, parent, name, conflict, newFileTimes(created, modified), f)
	}
	body, err := json.Marshal(map[string]any{"item": uploadable{
		Conflict: conflict, Name: name, Size: f.Size, Times: newFileTimes(created, modified)}})
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, op, err)
	}
	item, err := t.upload(ctx, session{
		op: op, size: f.Size, fragment: driveFragment, cost: t.sharePoint(oneWrite, true), once: conflict == "rename",
		name: sessionName("drive", drive, parent, name, conflict, f.Version),
		create: func(ctx context.Context) (string, time.Time, error) {
			return t.createSession(ctx, t.driveWrite(op, http.MethodPost, body, nil, child(drive, parent, name, "createUploadSession")...))
		},
	}, f)
	if err != nil {
		return nil, err
	}
	if _, err := idOf(op, item); err != nil {
		return nil, err
	}
	return item, nil
}

// uploadable is driveItemUploadableProperties.
type uploadable struct {
	Conflict string     `json:"@microsoft.graph.conflictBehavior"`
	Name     string     `json:"name"`
	Size     int64      `json:"fileSize"`
	Times    *fileTimes `json:"fileSystemInfo,omitempty"`
}

// fileTimes is fileSystemInfo: the client's times, which an upload resets unless
// they are given.
type fileTimes struct {
	Created  string `json:"createdDateTime,omitempty"`
	Modified string `json:"lastModifiedDateTime,omitempty"`
}

// newFileTimes returns nil if no time is given.
func newFileTimes(created, modified time.Time) *fileTimes {
	var times fileTimes
	if !created.IsZero() {
		times.Created = created.UTC().Format(time.RFC3339Nano)
	}
	if !modified.IsZero() {
		times.Modified = modified.UTC().Format(time.RFC3339Nano)
	}
	if times == (fileTimes{}) {
		return nil
	}
	return &times
}

// putFile writes a small file at once, and its times by a second request: the
// content request has no place for them.
func (t *Tenant) putFile(ctx context.Context, drive, parent, name, conflict string, times *fileTimes, f tenantry.Upload) (jsontext.Value, error) {
	const op = "upload a file"
	content, err := whole(ctx, op, f)
	if err != nil {
		return nil, err
	}
	c := t.driveWrite(op, http.MethodPut, content, url.Values{"@microsoft.graph.conflictBehavior": {conflict}}, child(drive, parent, name, "content")...)
	c.header.Set("Content-Type", "application/octet-stream")
	c.once = conflict == "rename"
	item, err := t.document(ctx, c)
	if err != nil || times == nil {
		return item, err
	}
	id, err := idOf(op, item)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"fileSystemInfo": times})
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, op, err)
	}
	return t.document(ctx, t.driveWrite("set a file's times", http.MethodPatch, body, nil, "drives", drive, "items", id))
}

// createSession returns the pre-authenticated address of a new upload session, and when it ends if nobody comes back to it.
func (t *Tenant) createSession(ctx context.Context, c call) (link string, ends time.Time, err error) {
	doc, err := t.document(ctx, c)
	if err != nil {
		return "", ends, err
	}
	var s struct {
		UploadURL string    `json:"uploadUrl"`
		Ends      time.Time `json:"expirationDateTime"`
	}
	if err := json.Unmarshal(doc, &s); err != nil {
		return "", ends, misread(c.op, err)
	}
	if !t.client.at.contentLink(s.UploadURL) {
		return "", ends, wrong(tenantry.Internal, codeForeign, c.op, "the upload address is not on a content host of this cloud: refused")
	}
	return s.UploadURL, s.Ends, nil
}

// session is an upload session under way.
type session struct {
	op       string
	name     string // of what is uploaded where: under it the session is kept
	create   func(context.Context) (link string, ends time.Time, err error)
	link     string // pre-authenticated
	mailbox  string // whose it is, "" is nobody's
	size     int64
	fragment int64
	cost     throttle.Call // of one fragment
	once     bool          // finishing twice would do harm: the last fragment is not repeated
	kept     bool
}

// upload enters a session, sends what it lacks, and returns what its last fragment answered. What interrupts a session
// that is kept leaves it to whoever comes next; any other one that fails is canceled.
func (t *Tenant) upload(ctx context.Context, s session, f tenantry.Upload) (jsontext.Value, error) {
	s.kept = t.sessions != nil && s.size > keptFrom*s.fragment
	from, err := t.enter(ctx, &s)
	if err != nil {
		return nil, err
	}
	item, err := t.rest(ctx, s, from, f)
	switch {
	case err == nil:
		t.forget(ctx, s)
		return item, nil
	case s.kept && interrupted(err):
		return nil, err
	}
	t.cancelSession(ctx, s)
	t.forget(ctx, s)
	return nil, err
}

// rest sends the content from a byte on.
func (t *Tenant) rest(ctx context.Context, s session, from int64, f tenantry.Upload) (jsontext.Value, error) {
	body, err := f.Open(ctx, from)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return t.fragments(ctx, s, from, body)
}

// fragments sends r, the content from byte at on, in order, one fragment in memory at a time.
func (t *Tenant) fragments(ctx context.Context, s session, at int64, r io.Reader) (jsontext.Value, error) {
	for at < s.size {
		// A buffer of its own for each: after an early answer net/http may still be sending
		// the one before.
		part := make([]byte, min(s.fragment, s.size-at))
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, unreadable(s.op, err)
		}
		if at+int64(len(part)) == s.size {
			if err := ended(s.op, r); err != nil {
				return nil, err
			}
		}
		item, done, err := t.fragment(ctx, s, at, part)
		if err != nil {
			return nil, err
		}
		at += int64(len(part))
		if done != (at == s.size) {
			return nil, wrong(tenantry.Transient, codeIncomplete, s.op, "the session ended before the file did, or after")
		}
		if done {
			return item, nil
		}
	}
	return nil, tenantry.Errorf(tenantry.Internal, "%s: a session for nothing", s.op)
}

// fragment sends one part until the session has all of it. After a failure the
// session says how much of it arrived: what it has must not be sent again (416).
func (t *Tenant) fragment(ctx context.Context, s session, at int64, part []byte) (item jsontext.Value, done bool, err error) {
	end := at + int64(len(part))
	from := at
	last := end == s.size
	err = t.client.policy.retry(ctx, s.once && last, func() error {
		item, done, err = t.put(ctx, s, from, part[from-at:])
		if err == nil || !resumable(err) {
			return err
		}
		next, statusErr := t.sessionStatus(ctx, s)
		switch {
		case statusErr != nil || next < from:
			return err
		case next >= end && !last:
			return nil // all of it arrived, only the answer did not
		case next > from && next < end:
			from = next
		}
		return err
	})
	return item, done, err
}

// resumable reports whether part of a fragment may have arrived.
func resumable(err error) bool {
	return tenantry.KindOf(err) == tenantry.Transient || statusOf(err) == http.StatusRequestedRangeNotSatisfiable
}

// put sends one range. done: it was the last, and item is what came of it.
func (t *Tenant) put(ctx context.Context, s session, from int64, part []byte) (item jsontext.Value, done bool, err error) {
	cost := s.cost
	cost.UploadBytes = int64(len(part))
	a, err := t.attempt(ctx, call{op: s.op, method: http.MethodPut, url: s.link, open: true, body: part, cost: cost, header: http.Header{
		"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, from+int64(len(part))-1, s.size)},
		"Content-Type":  {"application/octet-stream"},
	}})
	if err != nil {
		return nil, false, lost(err)
	}
	defer a.end()
	body, err := readAll(a)
	if err != nil {
		return nil, false, misread(s.op, err)
	}
	// The drive says 202 until it is done; Exchange says 200 with the ranges it
	// still wants, and 201 at the end.
	if a.resp.StatusCode == http.StatusAccepted || a.resp.StatusCode == http.StatusOK && len(wanted(body)) > 0 {
		return nil, false, nil
	}
	return jsontext.Value(bytes.TrimSpace(body)), true, nil
}

// lost makes of a session that is gone what it is: a reason to begin again. Its
// source cannot be read again here.
func lost(err error) error {
	switch statusOf(err) {
	case http.StatusNotFound, http.StatusGone, http.StatusUnauthorized, http.StatusForbidden:
		if tenantry.KindOf(err) != tenantry.Poison {
			return &tenantry.Error{Kind: tenantry.Transient, Code: tenantry.CodeOf(err), Op: "upload: the session is gone",
				Err: sessionLost{err}}
		}
	}
	return err
}

// sessionLost marks a session that is gone: it is no use to ask it again.
type sessionLost struct{ error }

func (e sessionLost) Unwrap() []error { return []error{e.error, errNoUse} }

// sessionStatus asks a session for the first byte it still wants.
func (t *Tenant) sessionStatus(ctx context.Context, s session) (int64, error) {
	cost := s.cost
	cost.Write, cost.UploadBytes = false, 0
	a, err := t.attempt(ctx, call{op: s.op, method: http.MethodGet, url: s.link, open: true, cost: cost})
	if err != nil {
		return 0, err
	}
	defer a.end()
	body, err := readAll(a)
	if err != nil {
		return 0, err
	}
	ranges := wanted(body)
	if len(ranges) == 0 {
		return 0, errors.New("the session names no range")
	}
	return ranges[0], nil
}

// wanted reads where the ranges begin that a session still wants. Drives spell
// it nextExpectedRanges, Exchange NextExpectedRanges; encoding/json takes both.
func wanted(body []byte) []int64 {
	var state struct {
		Ranges []string `json:"nextExpectedRanges"`
	}
	if json.Unmarshal(body, &state) != nil {
		return nil
	}
	var starts []int64
	for _, r := range state.Ranges {
		first, _, _ := strings.Cut(r, "-")
		if start, err := strconv.ParseInt(first, 10, 64); err == nil {
			starts = append(starts, start)
		}
	}
	return starts
}

// cancelSession drops what a failed session holds. Microsoft does so by itself
// after a while, so a failure here is nobody's.
func (t *Tenant) cancelSession(ctx context.Context, s session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	_ = t.deleteSession(ctx, s.op, s.link, s.cost)
}
