package workload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// writable are the properties of a message that can be given at its creation. What is not among them is
// either the service's (IDs, change keys, times, previews) or given as a MAPI property.
var writable = []string{
	"subject", "body", "importance", "categories", "isRead", "flag", "inferenceClassification",
	"isDeliveryReceiptRequested", "isReadReceiptRequested", "internetMessageId",
	"sender", "from", "toRecipients", "ccRecipients", "bccRecipients", "replyTo",
}

// The MAPI properties (MS-OXPROPS) that make a created message look received instead of drafted.
const (
	propFlags    = "Integer 0x0E07"    // PidTagMessageFlags
	propSent     = "SystemTime 0x0039" // PidTagClientSubmitTime
	propReceived = "SystemTime 0x0E06" // PidTagMessageDeliveryTime
	// notDraft leaves MSGFLAG_UNSENT out; the value is that of a tool in the field (exchange.md 2.5).
	notDraft = "4"
)

// restored is an item to be created.
type restored struct {
	id          string // of the original
	kind        string // the type of an event, which it keeps for life as far as its owner knows
	mark        mark
	fingerprint string
	body        []byte
}

// replaces has the item say, from its creation on, what it is written to replace.
func (m *restored) replaces(id string) {
	m.body = slices.Concat(bytes.TrimSuffix(m.body, []byte(propertiesEnd)), []byte(","+property(replacesProperty, id)+propertiesEnd))
}

func newRestored(e repository.Entry, raw []byte) (*restored, error) {
	have, who, err := readStored("a stored message", raw)
	if err != nil {
		return nil, err
	}
	fields := keep(have, writable)
	m := &restored{id: e.ID, fingerprint: who.fingerprint(), mark: markOf(e, fields)}
	properties := []string{property(markProperty, m.mark.String())}
	if !who.Draft {
		properties = append(properties, property(propFlags, notDraft))
	}
	for _, p := range [][2]string{{propSent, "sentDateTime"}, {propReceived, "receivedDateTime"}} {
		var when string
		if json.Unmarshal(have[p[1]], &when) == nil && when != "" {
			properties = append(properties, property(p[0], when))
		}
	}
	m.body = withProperties(fields, properties...)
	return m, nil
}

// markOf names the version of an entry: what is written of it, and its separate content.
func markOf(e repository.Entry, fields string) mark {
	content := [][]byte{[]byte(fields)}
	for _, p := range e.Parts {
		if p.Name != mimePart { // which a service may write anew each time
			content = append(content, p.Digest)
		}
	}
	return mark{item: shortHash([]byte(e.ID)), version: shortHash(content...)}
}

// keep writes the named members of an object as they stand, each with a comma behind it; nulls are left out.
func keep(have map[string]jsontext.Value, names []string) string {
	var b strings.Builder
	for _, name := range names {
		if v, ok := have[name]; ok && v.Kind() != 'n' {
			b.WriteString(quote(name) + ":" + string(v) + ",")
		}
	}
	return b.String()
}

func property(id, value string) string {
	return `{"id":` + quote(id) + `,"value":` + quote(value) + `}`
}

func quote(s string) string {
	b, err := jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil { // only of invalid UTF-8
		return `""`
	}
	return string(b)
}

// maxList bounds what is read of a list of attachments, and of an expanded one.
const maxList = 64 << 20

// attachmentTarget adds attachments to a user's messages or events.
type attachmentTarget[P Pages] struct {
	api  AttachmentWriter[P]
	user string
	of   string
	said *notes
}

// attach adds the attachments that the item does not have yet, of those in the list that is e's part of
// that name. A fresh one, made just now, has none. What cannot be written is told at the end, as Poison, when all the others are there.
func (t attachmentTarget[P]) attach(ctx context.Context, item string, fresh bool, e repository.Entry, name string, open engine.OpenPart) error {
	parts := map[string]repository.Part{}
	for _, p := range e.Parts {
		parts[p.Name] = p
	}
	listed, ok := parts[name]
	if !ok {
		return nil
	}
	raw, err := readAll(ctx, func(ctx context.Context) (io.ReadCloser, error) { return open(ctx, listed, 0) }, maxList)
	if err != nil {
		return err
	}
	var list []attachment
	if err := parse("a stored list of attachments", raw, &list); err != nil {
		return err
	}
	if t.of == ofMessage && slices.ContainsFunc(list, attachment.sealed) {
		t.said.say(sealedNote)
	}
	if !fresh {
		if list, err = t.missing(ctx, item, list); err != nil {
			return err
		}
	}
	var lost []string
	for _, a := range list {
		part, ok := parts[a.ID]
		switch {
		case !ok && a.Type != fileAttachment && a.Type != itemAttachment:
			lost = append(lost, a.Name+" (a link, which Graph cannot write)")
		case !ok:
			lost = append(lost, a.Name+" (its content was not saved)")
		default:
			if err := t.addAttachment(ctx, item, a, part, parts[a.ID+jsonSuffix], open); err != nil {
				return err
			}
		}
	}
	if len(lost) > 0 {
		return tenantry.Errorf(tenantry.Poison, "restored without the attachments %s", strings.Join(lost, ", "))
	}
	return nil
}

// missing returns those of list that the item does not have. Attachments are matched by name and
// size first; what is left then by name alone, since a service may count sizes anew.
func (t attachmentTarget[P]) missing(ctx context.Context, item string, list []attachment) ([]attachment, error) {
	var have []attachment
	err := walk(func(link string) (P, error) { return t.api.Attachments(ctx, t.user, t.of, item, link) }, func(raw jsontext.Value) error {
		var a attachment
		if err := parse("an attachment", raw, &a); err != nil {
			return err
		}
		have = append(have, a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, same := range []func(a, b attachment) bool{
		func(a, b attachment) bool { return a.Name == b.Name && a.Size == b.Size },
		func(a, b attachment) bool { return a.Name == b.Name },
	} {
		list = slices.DeleteFunc(slices.Clone(list), func(a attachment) bool {
			at := slices.IndexFunc(have, func(b attachment) bool { return same(a, b) })
			if at >= 0 {
				have = slices.Delete(have, at, at+1)
			}
			return at >= 0
		})
	}
	return list, nil
}

func (t attachmentTarget[P]) addAttachment(ctx context.Context, item string, a attachment, part, expanded repository.Part, open engine.OpenPart) error {
	if a.Type == itemAttachment {
		body, err := t.itemAttachment(ctx, a, expanded, open)
		if err != nil {
			return err
		}
		return t.api.AddAttachment(ctx, t.user, t.of, item, body)
	}
	return t.api.UploadAttachment(ctx, t.user, t.of, item, a.Name, a.ContentType, a.ContentID, a.Inline, uploadOf(part, open))
}

// itemAttachment makes an item attachment of its expanded JSON, less what the service writes itself.
func (t attachmentTarget[P]) itemAttachment(ctx context.Context, a attachment, expanded repository.Part, open engine.OpenPart) ([]byte, error) {
	raw, err := readAll(ctx, func(ctx context.Context) (io.ReadCloser, error) { return open(ctx, expanded, 0) }, maxList)
	if err != nil {
		return nil, err
	}
	var outer struct {
		Item map[string]jsontext.Value `json:"item"`
	}
	if err := parse("a stored item attachment", raw, &outer); err != nil {
		return nil, err
	}
	item, err := writableItem(outer.Item, 0)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"@odata.type":%s,"name":%s,"item":%s}`, quote(itemAttachment), quote(a.Name), item), nil
}

// readOnly are the properties of an embedded item and of its attachments that only the service writes.
var readOnly = []string{
	"id", "changeKey", "createdDateTime", "lastModifiedDateTime", "parentFolderId", "webLink", "bodyPreview",
	"uniqueBody", "conversationId", "conversationIndex", "hasAttachments", "iCalUId", "size",
}

// maxNesting is how deep items may be attached to one another; Graph expands 30 levels.
const maxNesting = 30

// writableItem writes an embedded item, or an attachment of one, without what only the service writes.
func writableItem(object map[string]jsontext.Value, depth int) (jsontext.Value, error) {
	if depth > 2*maxNesting {
		return nil, tenantry.Errorf(tenantry.Invalid, "write an item attachment: it is nested too deep")
	}
	for name, value := range object {
		switch {
		case slices.Contains(readOnly, name) || strings.Contains(name, "@odata.") && name != "@odata.type":
			delete(object, name)
		case name == "item":
			var inner map[string]jsontext.Value
			if err := rewrite(object, name, &inner, func() (jsontext.Value, error) { return writableItem(inner, depth+1) }); err != nil {
				return nil, err
			}
		case name == "attachments" && value.Kind() == '[':
			var list []map[string]jsontext.Value
			err := rewrite(object, name, &list, func() (jsontext.Value, error) {
				var values []jsontext.Value
				for _, inner := range list {
					v, err := writableItem(inner, depth+1)
					if err != nil {
						return nil, err
					}
					values = append(values, v)
				}
				return array(values), nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	v, err := json.Marshal(object, json.Deterministic(true))
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "write an item attachment", err)
	}
	return v, nil
}

// rewrite reads a member, and puts what with makes of it in its place.
func rewrite(object map[string]jsontext.Value, name string, into any, with func() (jsontext.Value, error)) error {
	if err := parse("a stored item attachment", object[name], into); err != nil {
		return err
	}
	v, err := with()
	object[name] = v
	return err
}
