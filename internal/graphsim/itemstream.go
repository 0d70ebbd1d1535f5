package graphsim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// The stream that an item is exported as. To clients it is opaque, and nothing in it can be
// altered; any simulator reads what another has written:
//
//	"GSITEM1\n" | length of the head, 4 bytes big-endian | head, JSON | bytes of what the
//	head refers to, in its order | SHA-256 of all before
const streamMagic = "GSITEM1\n"

// streamHead is an item without the bytes of its files.
type streamHead struct {
	Type string      `json:"type"` // IPM.Note ...
	Mail *streamMail `json:"mail,omitempty"`
	Item *streamPIM  `json:"item,omitempty"`
}

type streamMail struct {
	Charset                 string `json:",omitempty"`
	Subject, BodyType, Body string
	From, Sender            *address
	To, CC, BCC, ReplyTo    []address
	Sent, Received, Created time.Time
	IsRead, IsDraft         bool
	Flag                    [4]string // status, start, due, completed
	Categories              []string
	Importance, Inference   string
	MessageID               string
	Headers                 [][2]string
	Conversation            uint64
	Properties              map[string]string
	Receipts                [2]bool
	Attachments             []streamAttachment
	LastAttachment          uint32
	MIME                    *int64 // length
}

type streamAttachment struct {
	Number                      uint32
	Kind, Name, Type, ContentID string
	Inline                      bool
	Modified                    time.Time
	Data                        *int64 // length
	Item                        *streamMail
	JSON                        []byte
}

type streamPIM struct {
	Values         props
	Created        time.Time
	Properties     map[string]string
	Attachments    []streamAttachment // nil and empty differ in an exception
	LastAttachment uint32
	Photo          *int64 // length
	PhotoType      string
	Exceptions     map[string]*streamPIM
	Cancelled      []string
	Series         bool
	Parts          map[string]streamEntries
}

type streamEntries struct {
	Last    uint64
	Entries []streamEntry
}

type streamEntry struct {
	Number uint64
	Values props
	Made   time.Time
}

// itemStream is an item on its way out. It holds what does not change, so it is written
// without a lock.
type itemStream struct {
	head  []byte
	blobs []content
}

// exported makes the stream of an item as it is now.
func (i storeItem) exported() (*itemStream, error) {
	w, head := &itemStream{}, streamHead{Type: i.folder().class().itemType}
	if i.mail != nil {
		head.Mail = w.mail(i.box.content(i.mail))
	} else {
		c := i.box.contentOf(i.pim)
		if i.pim.kind == eventKind && c.values["organizer"] == "" { // in another mailbox it is somebody else
			c = c.clone()
			c.values["organizer"] = addressJSON(&i.box.self)
		}
		head.Item = w.pim(c)
	}
	var err error
	w.head, err = json.Marshal(head)
	return w, err
}

func (w *itemStream) blob(c content) *int64 {
	if c == nil {
		return nil
	}
	w.blobs = append(w.blobs, c)
	size := c.size()
	return &size
}

func (w *itemStream) mail(c *mailContent) *streamMail {
	return &streamMail{Subject: c.subject, BodyType: c.bodyType, Body: c.text(), Charset: c.charset, From: c.from, Sender: c.sender, To: c.to, CC: c.cc, BCC: c.bcc,
		ReplyTo: c.replyTo, Sent: c.sent, Received: c.received, Created: c.created, IsRead: c.isRead, IsDraft: c.isDraft,
		Flag: [4]string{c.flag.status, c.flag.start, c.flag.due, c.flag.completed}, Categories: c.categories, Importance: c.importance,
		Inference: c.inference, MessageID: c.messageID, Headers: c.headers, Conversation: c.conversation, Properties: c.properties,
		Receipts: c.receipts, Attachments: w.attachments(c.attachments), LastAttachment: c.lastAttachment, MIME: w.blob(c.mime)}
}

func (w *itemStream) attachments(list []*attachment) []streamAttachment {
	if list == nil {
		return nil
	}
	out := make([]streamAttachment, len(list))
	for i, a := range list {
		out[i] = streamAttachment{Number: a.number, Kind: a.kind, Name: a.name, Type: a.contentType, ContentID: a.contentID,
			Inline: a.inline, Modified: a.modified, Data: w.blob(a.data), JSON: a.itemJSON}
		if a.item != nil {
			out[i].Item = w.mail(a.item)
		}
	}
	return out
}

func (w *itemStream) pim(c *pimContent) *streamPIM {
	p := &streamPIM{Values: c.values, Created: c.created, Properties: c.properties, Attachments: w.attachments(c.attachments),
		LastAttachment: c.lastAttachment, Photo: w.blob(c.photo), PhotoType: c.photoType, Parts: map[string]streamEntries{}}
	for name, list := range c.parts {
		entries := streamEntries{Last: list.last}
		for _, e := range list.entries {
			entries.Entries = append(entries.Entries, streamEntry{e.number, e.values, e.made})
		}
		p.Parts[name] = entries
	}
	if c.series == nil {
		return p
	}
	p.Series, p.Cancelled, p.Exceptions = true, c.series.cancelled, map[string]*streamPIM{}
	for _, date := range slices.Sorted(maps.Keys(c.series.exceptions)) { // bytes are in the order of dates
		p.Exceptions[date] = w.pim(c.series.exceptions[date])
	}
	return p
}

// size is how many bytes the stream has.
func (w *itemStream) size() int64 {
	n := int64(len(streamMagic) + 4 + len(w.head) + sha256.Size)
	for _, c := range w.blobs {
		n += c.size()
	}
	return n
}

// writeTo writes the stream.
func (w *itemStream) writeTo(out io.Writer) error {
	sum := sha256.New()
	both := io.MultiWriter(out, sum)
	if _, err := both.Write(append(binary.BigEndian.AppendUint32([]byte(streamMagic), uint32(len(w.head))), w.head...)); err != nil {
		return err
	}
	for _, c := range w.blobs {
		if err := copyContent(both, c); err != nil {
			return err
		}
	}
	_, err := out.Write(sum.Sum(nil))
	return err
}

func copyContent(to io.Writer, c content) (err error) {
	rd, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rd.Close()) }()
	_, err = io.CopyN(to, rd, c.size())
	return err
}

// errStream is a stream that no export gave.
var errStream = errors.New("the stream is not one of an export")

// readStream reads a stream as a whole; the bytes of files are kept by the server. It gives
// the class, and the content of that class.
func (s *Server) readStream(data []byte) (*itemClass, *mailContent, *pimContent, error) {
	const fixed = len(streamMagic) + 4
	end := len(data) - sha256.Size
	if end < fixed || !bytes.HasPrefix(data, []byte(streamMagic)) {
		return nil, nil, nil, errStream
	}
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:]) {
		return nil, nil, nil, errStream
	}
	length := int(binary.BigEndian.Uint32(data[len(streamMagic):]))
	if length > end-fixed {
		return nil, nil, nil, errStream
	}
	var head streamHead
	if err := json.Unmarshal(data[fixed:fixed+length], &head); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", errStream, err)
	}
	class := classOf(func(k itemClass) bool { return k.itemType == head.Type })
	r := &streamReader{s: s, rest: data[fixed+length : end]}
	var mail *mailContent
	var pim *pimContent
	switch {
	case class == nil || (class == &itemClasses[mailClass]) != (head.Mail != nil) || (head.Mail == nil) == (head.Item == nil):
		return nil, nil, nil, errStream
	case head.Mail != nil:
		mail = r.mail(head.Mail, 0)
	default:
		pim = r.pim(head.Item, 0)
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = errStream
	}
	return class, mail, pim, r.err
}

// streamReader takes the bytes of files in the order of the head. The first error stays.
type streamReader struct {
	s    *Server
	rest []byte
	err  error
}

func (r *streamReader) blob(length *int64) content {
	if length == nil || r.err != nil {
		return nil
	}
	if *length < 0 || *length > int64(len(r.rest)) {
		r.err = errStream
		return nil
	}
	var kept content
	kept, r.err = r.s.keep(r.rest[:*length])
	r.rest = r.rest[*length:]
	return kept
}

func (r *streamReader) mail(m *streamMail, depth int) *mailContent {
	if depth > maxDepth {
		r.err = errStream
		return &mailContent{}
	}
	c := &mailContent{subject: m.Subject, bodyType: m.BodyType, body: m.Body, charset: m.Charset, from: m.From, sender: m.Sender, to: m.To, cc: m.CC, bcc: m.BCC,
		replyTo: m.ReplyTo, sent: m.Sent, received: m.Received, created: m.Created, isRead: m.IsRead, isDraft: m.IsDraft,
		flag: flag{m.Flag[0], m.Flag[1], m.Flag[2], m.Flag[3]}, categories: m.Categories, importance: m.Importance,
		inference: m.Inference, messageID: m.MessageID, headers: m.Headers, conversation: m.Conversation, properties: m.Properties,
		receipts: m.Receipts, lastAttachment: m.LastAttachment}
	c.attachments = r.attachments(m.Attachments, depth)
	c.mime = r.blob(m.MIME)
	return c
}

func (r *streamReader) attachments(list []streamAttachment, depth int) []*attachment {
	if list == nil {
		return nil
	}
	out := make([]*attachment, len(list))
	for i, a := range list {
		out[i] = &attachment{number: a.Number, kind: a.Kind, name: a.Name, contentType: a.Type, contentID: a.ContentID,
			inline: a.Inline, modified: a.Modified, data: r.blob(a.Data), itemJSON: a.JSON}
		if a.Item != nil {
			out[i].item = r.mail(a.Item, depth+1)
		}
	}
	return out
}

func (r *streamReader) pim(p *streamPIM, depth int) *pimContent {
	if depth > 1 || p == nil || p.Values == nil { // an exception has none of its own
		r.err = errStream
		return &pimContent{values: props{}}
	}
	c := &pimContent{values: p.Values, created: p.Created, properties: p.Properties, lastAttachment: p.LastAttachment,
		photoType: p.PhotoType, parts: map[string]entryList{}}
	c.attachments = r.attachments(p.Attachments, 0)
	c.photo = r.blob(p.Photo)
	for name, entries := range p.Parts {
		list := entryList{last: entries.Last}
		for _, e := range entries.Entries {
			list.entries = append(list.entries, &listEntry{number: e.Number, values: e.Values, made: e.Made})
		}
		c.parts[name] = list
	}
	if !p.Series {
		return c
	}
	c.series = &series{exceptions: map[string]*pimContent{}, cancelled: slices.Clone(p.Cancelled)}
	for _, date := range slices.Sorted(maps.Keys(p.Exceptions)) {
		c.series.exceptions[date] = r.pim(p.Exceptions[date], depth+1)
	}
	return c
}
