package workload

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	kindMessage = "message"

	// maxMailPage messages come with their bodies, some megabytes in all. Above a few hundred the
	// service answers with 504.
	maxMailPage = 100
	minMailPage = 10
	// slowPage is how long a page may take before smaller ones are asked for.
	slowPage = 15 * time.Second

	// mimePart is a message as MIME.
	mimePart = "message.eml"
)

// mailSource reads the mail of one mailbox. Its methods may be called side by side, but for one folder one after
// the other.
type mailSource[P Pages] struct {
	api         MailReader[P]
	user        string
	options     tenantry.BackupOptions
	attachments attachmentSource[P]
	size        *pageSize // of messages

	mu    sync.Mutex // guards what follows
	root  string
	names map[string]string
}

func newMailSource[P Pages](api MailReader[P], user string, o tenantry.BackupOptions) *mailSource[P] {
	return &mailSource[P]{
		api: api, user: user, options: o, size: &pageSize{n: maxMailPage, min: minMailPage, max: maxMailPage},
		attachments: attachmentSource[P]{api: api, user: user, of: ofMessage},
	}
}

// pageSize follows what the service answers in time. Safe for concurrent use.
type pageSize struct {
	mu          sync.Mutex
	n, min, max int
}

func (s *pageSize) get() int { s.mu.Lock(); defer s.mu.Unlock(); return s.n }

// atMost asks for no more than n from now on; false if that was so already.
func (s *pageSize) atMost(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.n
	s.n = min(before, max(n, s.min))
	return s.n < before
}

// learn follows an answer: where a page came in a smaller portion than was asked for, or took long, the larger
// one is not asked for again at once.
func (s *pageSize) learn(asked, got int, last bool, took time.Duration) {
	if took > slowPage || !last && got < asked/2 {
		s.atMost(asked / 2)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n = min(s.n+s.n/4+1, s.max)
}

// sized reads a page in a size that the service answers in time: where it fails, in half of it, and then in the
// least. Each read has been tried patiently, so that there are no more tries than that.
func sized[P Pages](s *pageSize, read func(size int) (P, error)) (P, error) {
	for next := s.get() / 2; ; next = s.min {
		size, started := s.get(), time.Now()
		got, err := read(size)
		if tenantry.KindOf(err) == tenantry.Transient && s.atMost(next) {
			continue
		}
		if err == nil {
			s.learn(size, len(page(got).Items), page(got).Done, time.Since(started))
		}
		return got, err
	}
}

type message struct {
	ID          string    `json:"id"`
	ETag        string    `json:"@odata.etag"`
	ChangeKey   string    `json:"changeKey"`
	Removed     *struct{} `json:"@removed"`
	Subject     string    `json:"subject"`
	Parent      string    `json:"parentFolderId"`
	Modified    string    `json:"lastModifiedDateTime"`
	Received    string    `json:"receivedDateTime"`
	From        person    `json:"from"`
	To          []person  `json:"toRecipients"`
	Cc          []person  `json:"ccRecipients"`
	Bcc         []person  `json:"bccRecipients"`
	Attachments bool      `json:"hasAttachments"`
	Headers     []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"internetMessageHeaders"`
}

// contentType is the type of the message as it came, without parameters; "" if its headers do not tell.
func (m *message) contentType() string {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, "Content-Type") {
			kind, _, _ := strings.Cut(strings.ToLower(h.Value), ";")
			return strings.TrimSpace(kind)
		}
	}
	return ""
}

// person is somebody who sent, received or is invited.
type person struct {
	Address struct {
		Name    string `json:"name"`
		Address string `json:"address"`
	} `json:"emailAddress"`
}

// String is what a search looks through.
func (p *person) String() string { return strings.TrimSpace(p.Address.Name + " " + p.Address.Address) }

// maxPeople bounds what an index keeps of the recipients of one item, in bytes: those of a mail to everybody would fill it.
const maxPeople = 2 << 10

// people is what a search for a recipient looks through: as many as there is room for.
func people(lists ...[]person) string {
	var b strings.Builder
	for _, list := range lists {
		for i := range list {
			text := list[i].String()
			switch {
			case text == "":
				continue
			case b.Len()+len(text) > maxPeople:
				return b.String()
			case b.Len() > 0:
				b.WriteString(", ")
			}
			b.WriteString(text)
		}
	}
	return b.String()
}

// mayHaveAttachments reports whether it is worth a request to ask for attachments. hasAttachments does not
// count those that are shown within the text: the text refers to them, or the message is of a type that
// holds more than text. The usual pair of a plain and an HTML text is not: only what its HTML refers to
// can be hidden in it, and most mail is of this type.
func (m *message) mayHaveAttachments(raw jsontext.Value) bool {
	if m.Attachments || bytes.Contains(raw, []byte("cid:")) || bytes.Contains(raw, []byte("CID:")) {
		return true
	}
	kind := m.contentType()
	return strings.Contains(kind, "/") && !strings.HasPrefix(kind, "text/") && kind != "multipart/alternative"
}

// sealedTypes are those of which nothing but the MIME itself keeps what a signature covers or a key opens.
var sealedTypes = []string{"multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}

// A folder is read by its delta. Where there is none, because the cloud has no such function or the mailbox
// is over its quota, it is compared by a list: whole the first time, then of versions alone.
//
//	"" ----delta----> link ----delta----> link
//	 |                 |                    ^
//	 | no delta        | over quota         | the quota is kept again
//	 v                 v                    |
//	listing, whole -> listing of versions --+
type mailListing struct {
	Whole bool   `json:"whole,omitzero"` // the pages show whole messages
	Next  string `json:"next,omitzero"`  // page of the list; "" the first
	Quota bool   `json:"quota,omitzero"` // the delta may come back
	Delta string `json:"delta,omitzero"` // where it goes on then; "" from the beginning
}

const listingLink = "listing "

func (l mailListing) link() (string, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return "", tenantry.E(tenantry.Internal, "write the link of a list", err)
	}
	return listingLink + string(text), nil
}

// messages reads a page of a folder.
func (s *mailSource[P]) messages(ctx context.Context, folder, link string) (engine.Page, error) {
	text, listed := strings.CutPrefix(link, listingLink)
	if !listed {
		p, err := s.delta(ctx, folder, link)
		if !withoutDelta(err, link) {
			return p, err
		}
		return s.list(ctx, folder, mailListing{Whole: link == "", Quota: tenantry.KindOf(err) == tenantry.Capacity, Delta: link})
	}
	var l mailListing
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return engine.Page{}, tenantry.E(tenantry.Resync, "read the link of a list", err)
	}
	if l.Quota && l.Next == "" {
		p, err := s.delta(ctx, folder, l.Delta)
		switch {
		case withoutDelta(err, l.Delta):
		case err == nil && l.Delta == "":
			return engine.Page{}, tenantry.Errorf(tenantry.Resync, "read a mail folder: its delta is back")
		default:
			return p, err
		}
	}
	return s.list(ctx, folder, l)
}

// withoutDelta reports whether an error means that there is no delta: a mailbox over its quota has none for a
// while, and some clouds have no such function.
func withoutDelta(err error, link string) bool {
	kind := tenantry.KindOf(err)
	return kind == tenantry.Capacity || kind == tenantry.Invalid && link == ""
}

func (s *mailSource[P]) delta(ctx context.Context, folder, link string) (engine.Page, error) {
	got, err := sized(s.size, func(size int) (P, error) { return s.api.MessageChanges(ctx, s.user, folder, link, size) })
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		if err := s.message(list, folder, raw); err != nil {
			return engine.Page{}, err
		}
	}
	return list.page(p.Next, p.Done), nil
}

// versionsOfMail is what tells whether a message changed.
const versionsOfMail = "id,changeKey,parentFolderId"

// list reads a page of a folder's list.
func (s *mailSource[P]) list(ctx context.Context, folder string, l mailListing) (engine.Page, error) {
	var got P
	var err error
	if l.Whole {
		got, err = sized(s.size, func(size int) (P, error) { return s.api.MessageList(ctx, s.user, folder, l.Next, size) })
	} else {
		got, err = s.api.Messages(ctx, s.user, folder, versionsOfMail, "", l.Next)
	}
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		if l.Whole {
			err = s.message(list, folder, raw)
		} else {
			err = s.version(list, folder, raw)
		}
		if err != nil {
			return engine.Page{}, err
		}
	}
	l.Next, l.Whole = p.Next, l.Whole && !p.Done
	next, err := l.link()
	out := list.page(next, p.Done)
	out.Listed = true
	return out, err
}

// version adds a message of which the page shows no more than its version.
func (s *mailSource[P]) version(list *changes, folder string, raw jsontext.Value) error {
	var m message
	if err := m.parse(raw); err != nil {
		return err
	}
	list.put(engine.Item{
		ID: m.ID, Parent: m.parent(folder), Kind: kindMessage, ETag: m.version(raw),
		Load: func(ctx context.Context) (engine.Item, error) {
			raw, err := s.api.Message(ctx, s.user, m.ID)
			if err != nil {
				return engine.Item{}, err
			}
			var whole message
			if err := whole.parse(raw); err != nil {
				return engine.Item{}, err
			}
			return s.item(folder, &whole, raw), nil
		},
	})
	return nil
}

func (m *message) parse(raw jsontext.Value) error {
	if err := parse("a message", raw, m); err != nil {
		return err
	}
	if m.ID == "" {
		return tenantry.Errorf(tenantry.Internal, "read a message: it has no ID")
	}
	return nil
}

func (m *message) parent(folder string) string { return orElse(m.Parent, folder) }

func (m *message) version(raw []byte) string {
	if m.ETag != "" {
		return m.ETag
	}
	return version(m.ChangeKey, "", raw)
}

func (s *mailSource[P]) message(list *changes, folder string, raw jsontext.Value) error {
	var m message
	if err := m.parse(raw); err != nil {
		return err
	}
	if m.Removed != nil {
		list.remove(m.ID)
		return nil
	}
	list.put(s.item(folder, &m, raw))
	return nil
}

// item is a message as the engine takes it; m was read from raw.
func (s *mailSource[P]) item(folder string, m *message, raw jsontext.Value) engine.Item {
	item := engine.Item{
		ID: m.ID, Parent: m.parent(folder), Kind: kindMessage, Name: m.Subject, ETag: m.version(raw),
		Modified: instant(m.Modified), Size: int64(len(raw)), Raw: raw, From: m.From.String(), To: people(m.To, m.Cc, m.Bcc), Date: instant(m.Received),
	}
	if s.wantsMIME(m) || m.mayHaveAttachments(raw) {
		item.Parts = func(ctx context.Context) ([]engine.ItemPart, error) { return s.parts(ctx, m, raw) }
	}
	return item
}

func (s *mailSource[P]) wantsMIME(m *message) bool {
	return s.options.MIME || slices.Contains(sealedTypes, m.contentType())
}

// parts reads what a message's JSON does not have: its attachments, and the message as MIME where that is
// wanted, or an attachment shows that it is sealed.
func (s *mailSource[P]) parts(ctx context.Context, m *message, raw jsontext.Value) ([]engine.ItemPart, error) {
	var parts []engine.ItemPart
	sealed := false
	if m.mayHaveAttachments(raw) {
		var err error
		if parts, sealed, err = s.attachments.sealedParts(ctx, m.ID, attachmentsPart); err != nil {
			return nil, err
		}
	}
	if sealed || s.wantsMIME(m) {
		who := new(identity)
		if err := parse("a message", raw, who); err != nil {
			return nil, err
		}
		parts = append(parts, engine.ItemPart{
			// Being read or flagged is a new version of a message, not of its MIME.
			Name: mimePart, Version: "mime " + who.fingerprint(),
			Open: func(ctx context.Context) (io.ReadCloser, error) { return s.api.MessageMIME(ctx, s.user, m.ID) },
		})
	}
	return parts, nil
}

// reread reads the parts of a message of which nothing but the ID is known.
func (s *mailSource[P]) reread(ctx context.Context, id string) ([]engine.ItemPart, error) {
	raw, err := s.api.Message(ctx, s.user, id)
	if err != nil {
		return nil, err
	}
	var m message
	if err := m.parse(raw); err != nil {
		return nil, err
	}
	return s.parts(ctx, &m, raw)
}

// instant reads a time; zero if it is not one, which is not worth losing an item over.
func instant(s string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, s)
	return t
}
