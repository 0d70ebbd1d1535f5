package workload

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	attachmentsPart = "attachments.json"
	jsonSuffix      = ".json" // an item attachment, expanded
)

// The types of attachment.
const (
	fileAttachment = "#microsoft.graph.fileAttachment"
	itemAttachment = "#microsoft.graph.itemAttachment"
)

type attachment struct {
	ID          string `json:"id"`
	Type        string `json:"@odata.type"`
	Name        string `json:"name"`
	ContentType string `json:"contentType"`
	Size        int64  `json:"size"`
	Inline      bool   `json:"isInline"`
	ContentID   string `json:"contentId"`
	Modified    string `json:"lastModifiedDateTime"`
}

// sealed reports whether it is what Exchange makes of a signed or encrypted mail.
func (a attachment) sealed() bool {
	return slices.Contains(sealedTypes, a.ContentType) || strings.EqualFold(a.Name, "smime.p7m")
}

// attachmentSource reads the attachments of a user's messages or events.
type attachmentSource[P Pages] struct {
	api  AttachmentReader[P]
	user string
	of   string
}

// parts lists the parts of an item: the list itself under the given name, and what each attachment holds.
// Small ones come with the list, in one request for all of them. The content of others is read one by one:
// with many at once the service fails.
func (s attachmentSource[P]) parts(ctx context.Context, item, name string) ([]engine.ItemPart, error) {
	parts, _, err := s.sealedParts(ctx, item, name)
	return parts, err
}

// sealedParts tells with the parts whether one of them is what Exchange makes of a signed or encrypted mail.
func (s attachmentSource[P]) sealedParts(ctx context.Context, item, name string) (parts []engine.ItemPart, sealed bool, err error) {
	list, contents, ok, err := s.api.SmallAttachments(ctx, s.user, s.of, item)
	if err == nil && !ok {
		list, err = s.list(ctx, item)
	}
	if err != nil || len(list) == 0 {
		return nil, false, err
	}
	parts = []engine.ItemPart{bytesPart(name, array(list))}
	for _, raw := range list {
		var a attachment
		if err := parse("an attachment", raw, &a); err != nil {
			return nil, false, err
		}
		sealed = sealed || a.sealed()
		parts = append(parts, s.part(item, a, raw, contents)...)
	}
	return parts, sealed, nil
}

func (s attachmentSource[P]) list(ctx context.Context, item string) (list []jsontext.Value, err error) {
	err = walk(func(link string) (P, error) { return s.api.Attachments(ctx, s.user, s.of, item, link) }, func(raw jsontext.Value) error {
		list = append(list, raw)
		return nil
	})
	return list, err
}

// part is what an attachment holds, at hand if contents has it.
func (s attachmentSource[P]) part(item string, a attachment, raw jsontext.Value, contents map[string][]byte) []engine.ItemPart {
	version := digest(raw)
	if content, ok := contents[a.ID]; ok && a.Type == fileAttachment {
		part := bytesPart(a.ID, content)
		part.Version = version
		return []engine.ItemPart{part}
	}
	content := engine.ItemPart{
		Name: a.ID, Size: a.Size, Version: version,
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			return s.api.AttachmentContent(ctx, s.user, s.of, item, a.ID)
		},
	}
	switch a.Type {
	case fileAttachment:
		return []engine.ItemPart{content}
	case itemAttachment:
		expanded := engine.ItemPart{
			Name: a.ID + jsonSuffix, Version: version,
			Open: func(ctx context.Context) (io.ReadCloser, error) {
				v, err := s.api.Attachment(ctx, s.user, s.of, item, a.ID)
				return io.NopCloser(bytes.NewReader(v)), err
			},
		}
		return []engine.ItemPart{expanded, content}
	}
	return nil // a reference, and whatever comes to be: the list has what there is
}

// bytesPart is a part whose content is at hand.
func bytesPart(name string, content []byte) engine.ItemPart {
	return engine.ItemPart{
		Name: name, Size: int64(len(content)), Version: digest(content),
		Open: func(context.Context) (io.ReadCloser, error) { return bytesBody(content), nil },
	}
}

func bytesBody(content []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(content)) }

// array joins values to a JSON array without touching them.
func array(list []jsontext.Value) []byte {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(v)
	}
	b.WriteByte(']')
	return []byte(b.String())
}

// storedPart reads a small part of an entry; ok is false if it has none of that name.
func storedPart(ctx context.Context, e repository.Entry, name string, open engine.OpenPart) (data []byte, ok bool, err error) {
	for _, p := range e.Parts {
		if p.Name == name {
			data, err = readAll(ctx, func(ctx context.Context) (io.ReadCloser, error) { return open(ctx, p, 0) }, maxList)
			return data, err == nil, err
		}
	}
	return nil, false, nil
}

// readAll reads a stored part that is small by its nature.
func readAll(ctx context.Context, open func(context.Context) (io.ReadCloser, error), limit int64) ([]byte, error) {
	body, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = tenantry.Errorf(tenantry.Invalid, "read a part: it is larger than %d bytes", limit)
	}
	return b, err
}
