package e2e

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
	"golang.org/x/text/encoding/htmlindex"
)

// graphClient asks the simulated Graph as the application does: for what the product itself has no need of.
type graphClient struct{ base, token string }

func (f *fleet) graphOf(tn tenant) graphClient {
	f.t.Helper()
	answer, err := http.PostForm(f.sim+"/"+tn.sim.ID+"/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"},
		"client_id": {clientID}, "client_secret": {clientSecret}, "scope": {f.sim + "/.default"}})
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	var token struct {
		Token       string `json:"access_token"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil || token.Token == "" {
		f.t.Fatalf("a token of %s: %v %s", tn.Name, err, token.Description)
	}
	return graphClient{base: f.sim + "/v1.0", token: token.Token}
}

// mime returns a message as MIME, which is what $value shows.
func (g graphClient) mime(user, id string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, g.base+"/users/"+user+"/messages/"+url.PathEscape(id)+"/$value", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	req.Header.Set("Prefer", `IdType="ImmutableId"`)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return body, err
}

// sameMIME compares mails as a parser reads them: each file of the corpus, byte for byte, with the MIME that
// the simulator serves of the mail that was backed up, and that MIME with the one of the restored mail. What
// Graph keeps of a mail has to be there again: the headers that its message resource has, every byte of its
// body, every byte of its attachments. It keeps one body, so that the plain text beside an HTML body is gone, as are
// headers that it has no property for. A mail that is malformed by the parser's own account may be another
// one to the service; the log names those.
func (f *fleet) sameMIME(tn tenant, from simUser, want []truth, to simUser, got []truth) {
	f.t.Helper()
	g := f.graphOf(tn)
	files := mailFiles(f.t)
	byContent := func(a, b truth) int { return cmp.Or(cmp.Compare(a.content(), b.content()), cmp.Compare(a.ID, b.ID)) }
	slices.SortFunc(want, byContent)
	slices.SortFunc(got, byContent)
	var parts, bytes, malformed, otherwise int
	for i := range want {
		original, err := g.mime(from.ID, want[i].ID)
		if err != nil {
			f.t.Fatalf("MIME of the mail %q: %v", want[i].Subject, err)
		}
		sum := sha256.Sum256(original)
		names := files[sum]
		if len(names) == 0 {
			f.t.Fatalf("MIME of the mail %q: no file of the corpus has these %d bytes", want[i].Subject, len(original))
		}
		files[sum] = names[1:]
		restored, err := g.mime(to.ID, got[i].ID)
		if err != nil {
			f.t.Fatalf("MIME of the restored mail %q: %v", got[i].Subject, err)
		}
		a, b := readMIME(original), readMIME(restored)
		if b.err != nil {
			f.t.Errorf("%s: the restored mail is no MIME: %v", names[0], b.err)
			continue
		}
		parts, bytes = parts+len(b.leaves), bytes+len(restored)
		if a.err != nil {
			malformed++
		}
		switch difference := a.difference(b); {
		case difference != "" && a.err == nil:
			f.t.Errorf("%s: %s", names[0], difference)
		case difference != "":
			otherwise++
			f.t.Logf("%s is malformed (%v), and read otherwise: %s", names[0], a.err, difference)
		}
	}
	for _, names := range files {
		for _, name := range names {
			f.t.Errorf("%s: no mail of the mailbox has its bytes", name)
		}
	}
	f.t.Logf("compared the MIME of %d mails: %d parts, %d bytes; %d are malformed, of which the parser reads %d otherwise than the service",
		len(want), parts, bytes, malformed, otherwise)
}

// mailFiles are the files of the corpus by their SHA-256. Some are there twice.
func mailFiles(t *testing.T) map[[sha256.Size]byte][]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(os.Getenv("TENANTRY_CORPUS"), "mail", "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[[sha256.Size]byte][]string{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(raw)
		files[sum] = append(files[sum], filepath.Base(path))
	}
	return files
}

// reading is what a parser makes of a mail.
type reading struct {
	header map[string][]string // of the headers that Graph keeps, what each occurrence says; those that make no sense are left out
	leaves []leaf              // in their order
	err    error               // the first thing that is not as it should be
}

// leaf is a part that holds no others.
type leaf struct {
	kind  string   // of its content; "" for what is neither text nor an embedded mail
	text  string   // of a text that is shown: decoded from its charset
	bytes string   // its content as it was before any encoding for transport
	mail  *reading // an embedded mail
}

// readMIME reads a mail. The parser leaves the bytes of parts in their charset, since attachments are not text to
// Graph. The line that precedes a mail in an mbox is no part of it.
func readMIME(raw []byte) *reading {
	r := &reading{header: map[string][]string{}}
	if bytes.HasPrefix(raw, []byte("From ")) {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	e, err := message.ReadWithOptions(bytes.NewReader(raw), &message.ReadOptions{MaxHeaderBytes: -1})
	r.note(err)
	if e == nil {
		return r
	}
	r.readHeader(e.Header)
	r.note(e.Walk(func(_ []int, part *message.Entity, err error) error {
		r.note(err)
		if part != nil {
			r.note(r.readPart(part))
		}
		return nil
	}))
	return r
}

func (r *reading) note(err error) {
	if r.err == nil && err != nil && !message.IsUnknownCharset(err) {
		r.err = err
	}
}

var words = mime.WordDecoder{CharsetReader: func(charset string, in io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(in), nil
}}

func (r *reading) readHeader(h message.Header) {
	add := func(name, value string) {
		if value = strings.Join(strings.Fields(value), " "); value != "" { // folds are not part of a value
			r.header[name] = append(r.header[name], value)
		}
	}
	for _, v := range h.Values("Subject") {
		if subject, err := words.DecodeHeader(v); err == nil {
			add("Subject", subject)
		}
	}
	for _, v := range h.Values("Date") {
		if date, err := mail.ParseDate(v); err == nil {
			add("Date", date.UTC().Truncate(time.Second).String())
		}
	}
	for _, v := range h.Values("Message-Id") {
		add("Message-ID", v)
	}
	for _, v := range h.Values("Importance") {
		if v = strings.ToLower(v); v == "high" || v == "low" {
			add("Importance", v)
		}
	}
	for _, name := range []string{"From", "To", "Cc", "Bcc", "Reply-To"} {
		add(name, people(h.Values(name), name == "From"))
	}
}

// people lists who is named in all occurrences of a header; one: the first of them, since a message
// resource has one sender.
func people(headers []string, one bool) string {
	parser := mail.AddressParser{WordDecoder: &words}
	var all []string
	for _, v := range headers {
		list, err := parser.ParseList(v)
		if err != nil {
			return ""
		}
		for _, a := range list {
			all = append(all, cmp.Or(a.Name, a.Address)+" <"+a.Address+">")
		}
	}
	if one && len(all) > 1 {
		all = all[:1]
	}
	return strings.Join(all, ", ")
}

func (r *reading) readPart(part *message.Entity) error {
	kind, params, err := part.Header.ContentType()
	if strings.HasPrefix(kind, "multipart/") && params["boundary"] != "" {
		return err // its parts come by themselves
	}
	content, readErr := io.ReadAll(part.Body)
	disposition, more, _ := part.Header.ContentDisposition()
	name := cmp.Or(more["filename"], params["name"])
	if len(content) == 0 && name == "" {
		return errors.Join(err, readErr) // nothing to keep
	}
	shown := disposition != "attachment" && name == ""
	x := leaf{bytes: string(content)}
	switch {
	case shown && (kind == "text/plain" || kind == "text/html"):
		x.kind, x.text = kind, decoded(params["charset"], content)
	case kind == "message/rfc822":
		x.kind, x.mail = kind, readMIME(content)
		r.note(x.mail.err)
	}
	r.leaves = append(r.leaves, x)
	return errors.Join(err, readErr)
}

func decoded(charset string, content []byte) string {
	if e, err := htmlindex.Get(charset); err == nil {
		if text, err := e.NewDecoder().Bytes(content); err == nil {
			content = text
		}
	}
	return strings.ToValidUTF8(string(content), "\uFFFD")
}

// body returns the one text that Graph keeps as a message's body, the HTML if there is one, and all the
// other leaves.
func (r *reading) body() (text string, others []leaf) {
	others = slices.Clone(r.leaves)
	at := -1
	for _, kind := range []string{"text/html", "text/plain"} {
		if at < 0 {
			at = slices.IndexFunc(others, func(x leaf) bool { return x.kind == kind })
		}
	}
	if at < 0 {
		return "", others
	}
	text = others[at].text
	return text, slices.Delete(others, at, at+1)
}

// difference says in what a restored mail is not as this one; "" if it is.
func (r *reading) difference(restored *reading) string {
	var d []string
	for _, name := range slices.Sorted(maps.Keys(r.header)) {
		if now := restored.header[name]; len(now) != 1 || !slices.Contains(r.header[name], now[0]) {
			d = append(d, fmt.Sprintf("%s is %q, was %q", name, now, r.header[name]))
		}
	}
	text, attached := r.body()
	have, there := restored.body()
	if have != text {
		d = append(d, fmt.Sprintf("the body has %d bytes, had %d", len(have), len(text)))
	}
	for _, x := range attached {
		at := slices.IndexFunc(there, x.same)
		switch {
		case at >= 0:
			there = slices.Delete(there, at, at+1)
		case x.text == "": // another form of the body may be left out
			d = append(d, fmt.Sprintf("there is no %s", x))
		}
	}
	for _, x := range there {
		d = append(d, fmt.Sprintf("there was no %s", x))
	}
	return strings.Join(d, "; ")
}

// same compares the content of two attachments.
func (x leaf) same(y leaf) bool {
	if x.mail != nil && y.mail != nil {
		return x.mail.difference(y.mail) == ""
	}
	return x.bytes == y.bytes
}

func (x leaf) String() string {
	if x.mail != nil {
		return fmt.Sprintf("embedded mail of %d bytes, %q", len(x.bytes), x.mail.header["Subject"])
	}
	return fmt.Sprintf("attachment of %d bytes", len(x.bytes))
}
