package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// RawPage is one page of payloads, each byte-identical to what Graph sent. Items
// with an @removed annotation or a deleted facet are in it like any other; an
// empty page that is not Done is progress.
type RawPage struct {
	Items []jsontext.Value
	Next  string // the link to give next time
	Done  bool   // Next is a deltaLink (delta) or "" (list)
	// Addresses are where the contents of files can be read for some minutes without a token, by the item's ID: for
	// Download, never to be kept. Only a drive's delta has them.
	Addresses map[string]string
}

// maxPageBytes bounds the memory one page or one document may take. Exchange's
// largest message body is far below it; a page that is larger is asked for again
// in smaller portions where Graph allows that.
const maxPageBytes = 64 << 20

// Codes of our own, beside Graph's, for what only a client can see.
const (
	codeTooLarge   = "pageTooLarge" // an answer above maxPageBytes
	codeLinkLoop   = "nextLinkLoop" // a page that names itself as the next one
	codeForeign    = "foreignLink"  // an address outside the cloud
	codeIncomplete = "incomplete"   // an answer that is not what was asked for
)

// page reads one page. delta says which kind of round it belongs to: one that
// ends in a deltaLink, or one that just ends.
func (t *Tenant) page(ctx context.Context, c call, delta bool) (RawPage, error) {
	var page RawPage
	err := t.do(ctx, c, func(a *answer) error {
		split, err := splitPage(bounded(a))
		if err != nil {
			return misread(c.op, err)
		}
		page, err = t.client.follow(c, split, delta)
		return err
	})
	return page, unpoisoned(err)
}

// unpoisoned: what makes one item unreadable is no news of a whole page, and
// nobody can skip a page.
func unpoisoned(err error) error {
	if tenantry.KindOf(err) == tenantry.Poison {
		return withKind(err, tenantry.Internal)
	}
	return err
}

// follow turns the links of a page into where to go on.
func (c *Client) follow(call call, s splitted, delta bool) (RawPage, error) {
	page := RawPage{Items: s.items, Next: s.next}
	switch {
	case s.next != "" && s.next == call.url:
		return RawPage{}, wrong(tenantry.Transient, codeLinkLoop, call.op, "the next page is this page again")
	case s.next != "":
	case delta && s.delta == "":
		return RawPage{}, wrong(tenantry.Transient, codeIncomplete, call.op, "the page names neither a next page nor a delta link")
	default:
		page.Done, page.Next = true, s.delta
	}
	if page.Next != "" && !c.at.ownLink(page.Next) {
		return RawPage{}, wrong(tenantry.Internal, codeForeign, call.op, "the next page is not on a host of this cloud: refused")
	}
	return page, nil
}

func wrong(kind tenantry.Kind, code, op, text string) *tenantry.Error {
	return &tenantry.Error{Kind: kind, Code: code, Op: op, Err: errors.New(text)}
}

// linked is c for a stored or received link instead of its own address. A link of
// another host was stored for another cloud: it is no longer valid here.
func (c *Client) linked(call call, link string) (call, error) {
	if !c.at.ownLink(link) {
		return call, wrong(tenantry.Resync, codeForeign, call.op, "the link is not on a host of this cloud: refused")
	}
	call.method, call.url = http.MethodGet, link
	return call, nil
}

// splitted is a collection answer taken apart.
type splitted struct {
	items       []jsontext.Value
	next, delta string
}

// raw takes JSON as it is: what Graph sends is kept, not judged.
var raw = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// splitPage takes a collection answer apart as it streams in.
func splitPage(r io.Reader) (splitted, error) {
	var s splitted
	d := jsontext.NewDecoder(r, raw...)
	if err := expect(d, '{'); err != nil {
		return s, err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return s, err
		}
		switch name.String() {
		case "value":
			s.items, err = readArray(d)
		case "@odata.nextLink":
			s.next, err = readString(d)
		case "@odata.deltaLink":
			s.delta, err = readString(d)
		default:
			err = d.SkipValue()
		}
		if err != nil {
			return s, err
		}
	}
	if err := expect(d, '}'); err != nil {
		return s, err
	}
	return s, atEnd(d)
}

func readArray(d *jsontext.Decoder) ([]jsontext.Value, error) {
	if err := expect(d, '['); err != nil {
		return nil, err
	}
	var items []jsontext.Value
	for d.PeekKind() != ']' {
		v, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		items = append(items, v.Clone()) // the decoder reuses its buffer
	}
	return items, expect(d, ']')
}

func readString(d *jsontext.Decoder) (string, error) {
	token, err := d.ReadToken()
	if err != nil {
		return "", err
	}
	if token.Kind() != '"' {
		return "", fmt.Errorf("a link is %s, not a string", token.Kind())
	}
	return token.String(), nil
}

func expect(d *jsontext.Decoder, kind jsontext.Kind) error {
	token, err := d.ReadToken()
	if err == nil && token.Kind() != kind {
		err = fmt.Errorf("found %s where %s should be", token.Kind(), kind)
	}
	return err
}

// atEnd reads to the end of the body, so that the connection can be used again.
func atEnd(d *jsontext.Decoder) error {
	_, err := d.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errors.New("something follows the answer")
	}
	return err
}

// misread is the error of an answer that is not the JSON that was asked for: a
// connection that broke, a gateway's page, an answer above its bound.
func misread(op string, err error) *tenantry.Error {
	if errors.Is(err, errTooLarge) {
		return tooLarge(op)
	}
	var ours *tenantry.Error
	if errors.As(err, &ours) {
		return ours // the body broke: already ours
	}
	return &tenantry.Error{Kind: tenantry.Transient, Code: codeIncomplete, Op: op, Err: err}
}

func tooLarge(op string) *tenantry.Error {
	return &tenantry.Error{Kind: tenantry.Internal, Code: codeTooLarge, Op: op, Err: errTooLarge}
}

var errTooLarge = fmt.Errorf("the answer is larger than %d MiB", maxPageBytes>>20)

// bounded lets maxPageBytes of r pass and then fails: a page that is cut must
// not look complete.
func bounded(r io.Reader) io.Reader { return &boundedReader{r: r, left: maxPageBytes} }

type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

// document reads an answer that is one JSON value, byte-identical. Nothing (204,
// "null") is an error: whoever asks for a document needs it.
func (t *Tenant) document(ctx context.Context, c call) (jsontext.Value, error) {
	var doc jsontext.Value
	err := t.do(ctx, c, func(a *answer) error {
		d := jsontext.NewDecoder(bounded(a), raw...)
		v, err := d.ReadValue()
		if errors.Is(err, io.EOF) || err == nil && v.Kind() == 'n' {
			return wrong(tenantry.Transient, codeIncomplete, c.op, "the answer is empty")
		}
		if err == nil {
			doc = v.Clone()
			err = atEnd(d)
		}
		if err != nil {
			return misread(c.op, err)
		}
		return nil
	})
	return doc, err
}

// judged tells one bad item from a bad moment: a read that keeps failing with a
// bare 500, while the object that probe names can be read, is Poison.
func (t *Tenant) judged(ctx context.Context, err error, probe call) error {
	if statusOf(err) != http.StatusInternalServerError || tenantry.KindOf(err) != tenantry.Transient {
		return err
	}
	if _, probeErr := t.document(ctx, probe); probeErr != nil {
		return err
	}
	return &tenantry.Error{Kind: tenantry.Poison, Code: tenantry.CodeOf(err), Op: "this item alone fails", Err: err}
}

// accepted sends a request whose answer says nothing more than that it worked.
func (t *Tenant) accepted(ctx context.Context, c call) error {
	return t.do(ctx, c, func(a *answer) error {
		_, _ = io.Copy(io.Discard, io.LimitReader(a, maxFaultBody)) // for the connection's sake
		return nil
	})
}

// readAll reads a whole answer, within maxPageBytes.
func readAll(a *answer) ([]byte, error) { return io.ReadAll(bounded(a)) }
