package repository

import (
	"bytes"
	"cmp"
	"iter"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// KindFolder is the Kind of entries that are places, not items: they do not count
// as items of a snapshot. Neither does any entry with a Collection.
const KindFolder = "folder"

// Part is separate content of an entry: an attachment, a file's bytes.
type Part struct {
	Name   string // attachment ID or "content"
	Size   int64  // plain bytes
	Digest []byte // BLAKE3 of the plain bytes, keyed by the tenant
	Ref    Ref
}

// Entry is one item of a series' index, keyed by its immutable ID. Times are kept to
// the microsecond and come back in UTC. All strings must be UTF-8; in Name, Problem, From and To,
// which are for people, other bytes are replaced.
type Entry struct {
	ID         string
	Parent     string // ID of the containing folder, "" for a root
	Kind       string // "folder", "message", "file", ...: the workload's word
	Name       string // what a person recognises: subject, file name
	ETag       string // version at the source, to know content again
	Modified   time.Time
	Size       int64     // payload bytes at the source
	Collection string    // if not "", the delta collection whose items lie in this entry
	Generation int64     // generation of the round that saw it last (see engine)
	From       string    // who sent it: an address, where the workload knows one
	To         string    // who received it: names and addresses, where the workload knows them
	Date       time.Time // when it was received, where the workload knows
	Problem    string    // why it could not be saved, "" if it was
	ProblemAt  time.Time
	// ProblemKind is the class of the problem. Good is the sequence number of the snapshot that was the newest
	// when the item could not be saved any more, if that has it whole; 0 if none has.
	ProblemKind tenantry.Kind
	Good        int64
	Payload     Ref // the raw bytes Graph sent, byte-identical
	Parts       []Part
}

// CompareStored orders entries by where their payloads lie, so that neighbours share a frame: who
// reads many sorts them first, and opens each frame once.
func CompareStored(a, b Entry) int {
	p, q := &a.Payload, &b.Payload
	return cmp.Or(bytes.Compare(p.pack[:], q.pack[:]), cmp.Compare(p.frame, q.frame), cmp.Compare(p.offset, q.offset))
}

// refs yields where the entry's payload and parts are.
func (e *Entry) refs() iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		if !yield(e.Payload) {
			return
		}
		for i := range e.Parts {
			if !yield(e.Parts[i].Ref) {
				return
			}
		}
	}
}

// counts is what one entry adds to a snapshot's counts.
func (e *Entry) counts() tenantry.Counts {
	var c tenantry.Counts
	if !e.Place() {
		c.Items = 1
	}
	if e.Problem != "" {
		c.Skipped = 1
	}
	c.Bytes = e.Payload.plainSize()
	for i := range e.Parts {
		c.Bytes += e.Parts[i].Size
	}
	return c
}

// plainSize is how many bytes r points at; 0 where only reading would tell (payloads are
// never that large).
func (r Ref) plainSize() int64 {
	if r.depth > 0 {
		return 0
	}
	n := int64(r.length)
	for i := range r.chunks {
		n += int64(r.chunks[i].size)
	}
	return n
}

// minus returns c less d, field by field.
func minus(c, d tenantry.Counts) tenantry.Counts {
	return c.Add(tenantry.Counts{Items: -d.Items, Total: -d.Total, Skipped: -d.Skipped, Bytes: -d.Bytes, Stored: -d.Stored})
}

// appendEntry appends e's encoding to dst.
func appendEntry(dst []byte, e *Entry) ([]byte, error) {
	m := &pb.Entry{
		Id: e.ID, Parent: e.Parent, Kind: e.Kind, Name: validText(e.Name), Etag: e.ETag,
		Modified: toMicros(e.Modified), Size: e.Size, Collection: e.Collection, Generation: e.Generation,
		Problem: validText(e.Problem), ProblemAt: toMicros(e.ProblemAt), Payload: e.Payload.message(),
		From: validText(e.From), To: validText(e.To), Date: toMicros(e.Date), ProblemKind: string(e.ProblemKind), Good: e.Good,
	}
	for i := range e.Parts {
		p := &e.Parts[i]
		m.Parts = append(m.Parts, &pb.Part{Name: p.Name, Size: p.Size, Digest: p.Digest, Ref: p.Ref.message()})
	}
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, m)
	if err != nil {
		return dst, tenantry.Errorf(tenantry.Invalid, "encode item %q: %w", e.ID, err)
	}
	return out, nil
}

// validText is a text of others as it is stored.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// decodeEntry is the inverse of appendEntry.
func decodeEntry(data []byte) (Entry, error) {
	var m pb.Entry
	if err := proto.Unmarshal(data, &m); err != nil {
		return Entry{}, tenantry.E(tenantry.Corrupt, "decode an index entry", err)
	}
	return toEntry(&m)
}

func toEntry(m *pb.Entry) (Entry, error) {
	e := Entry{
		ID: m.Id, Parent: m.Parent, Kind: m.Kind, Name: m.Name, ETag: m.Etag,
		Modified: fromMicros(m.Modified), Size: m.Size, Collection: m.Collection, Generation: m.Generation,
		Problem: m.Problem, ProblemAt: fromMicros(m.ProblemAt), From: m.From, To: m.To, Date: fromMicros(m.Date),
		ProblemKind: tenantry.Kind(m.ProblemKind), Good: m.Good,
	}
	var err error
	if e.Payload, err = toRef(m.Payload); err != nil {
		return Entry{}, err
	}
	for _, p := range m.Parts {
		ref, err := toRef(p.Ref)
		if err != nil {
			return Entry{}, err
		}
		e.Parts = append(e.Parts, Part{Name: p.Name, Size: p.Size, Digest: p.Digest, Ref: ref})
	}
	return e, nil
}

// toMicros keeps the zero time apart from 1970.
func toMicros(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return proto.Int64(t.UnixMicro())
}

func fromMicros(us *int64) time.Time {
	if us == nil {
		return time.Time{}
	}
	return time.UnixMicro(*us).UTC()
}

// Place reports whether the entry is a place that holds items and no item itself:
// places are not counted.
func (e Entry) Place() bool { return e.Kind == KindFolder || e.Collection != "" }
