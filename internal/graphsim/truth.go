package graphsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MailTruth is what a restore of one message has to bring back.
type MailTruth struct {
	ID      string `json:"id"`   // immutable
	Path    string `json:"path"` // of the folder, by names; "/" in a name is %2F
	Subject string `json:"subject"`
	// Digest is the SHA-256 (hex) over everything that must come back: subject,
	// body, from, sender, recipients, reply-to, sent and received times (to the
	// second, not of drafts), read, draft, flag, categories, importance and the
	// Internet message ID; neither IDs nor change keys nor modification times.
	// The times of a draft and its sender are the service's, so they are left out.
	Digest      string            `json:"digest"`
	MessageID   string            `json:"messageId"`  // as in the mail's header
	BodySHA256  string            `json:"bodySha256"` // of the text alone, for what keeps no more than a mail's own form
	Attachments []AttachmentTruth `json:"attachments"`
	// Seen is what a mail program shows of it beside. Only for tests in the same process.
	Seen Shown[MailSeen] `json:"-"`
}

// MailSeen is the head of a mail. People are "name <address>".
type MailSeen struct {
	From, Sender         string
	To, CC, BCC, ReplyTo []string
	Sent                 time.Time // zero: of a draft, it is the service's
	HTML                 bool
}

func seen(c *mailContent) MailSeen {
	one := func(a *address) string {
		if a == nil {
			return ""
		}
		return a.Name + " <" + a.Address + ">"
	}
	all := func(list []address) (out []string) {
		for i := range list {
			out = append(out, one(&list[i]))
		}
		return out
	}
	s := MailSeen{From: one(c.from), Sender: one(c.sender), To: all(c.to), CC: all(c.cc), BCC: all(c.bcc), ReplyTo: all(c.replyTo), HTML: c.bodyType == "html"}
	if !c.isDraft {
		s.Sent = c.sent.UTC().Truncate(time.Second)
	}
	return s
}

// AttachmentTruth is one attachment. Of a file, SHA256 and Size are those of its
// bytes; of an embedded message, of its canonical form; of anything else, of its name.
type AttachmentTruth struct {
	Name      string `json:"name"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Kind      string `json:"kind"` // file, item or reference
	Inline    bool   `json:"inline,omitempty"`
	ContentID string `json:"contentId,omitempty"`
}

// FolderTruth is a mail folder.
type FolderTruth struct {
	ID     string `json:"id"`
	Path   string `json:"path"`
	Hidden bool   `json:"hidden,omitempty"`
	Items  int    `json:"items"`
}

// MailTruth returns every message of a user's visible folders, whatever the state
// of the user: that of a purged user stays known. Ordered by path and ID.
func (t *Tenant) MailTruth(user string) ([]MailTruth, error) {
	b, err := t.openMailbox(user)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []MailTruth{}
	for _, f := range b.order {
		if f.gone || !f.visible() {
			continue
		}
		for _, m := range f.items {
			truth, err := b.truth(m)
			if err != nil {
				return nil, err
			}
			list = append(list, truth)
		}
	}
	slices.SortFunc(list, func(x, y MailTruth) int { return strings.Compare(x.Path+"\x00"+x.ID, y.Path+"\x00"+y.ID) })
	return list, nil
}

func (b *mailbox) truth(m *message) (MailTruth, error) {
	c := b.content(m)
	attachments, err := attachmentTruths(c)
	body := sha256.Sum256([]byte(c.text()))
	return MailTruth{MessageID: c.messageID, BodySHA256: hex.EncodeToString(body[:]), ID: b.messageID(m, true), Path: m.folder.path(), Subject: c.subject, Digest: digest(c),
		Attachments: attachments, Seen: Shown[MailSeen]{seen(c)}}, err
}

// canonicalMail is the form that digests are computed over.
type canonicalMail struct {
	Subject, BodyType, Body         string
	From, Sender                    *address
	To, CC, BCC, ReplyTo            []address
	Sent, Received                  string
	IsRead, IsDraft                 bool
	Flag, FlagStart, FlagDue, Ended string
	Categories                      []string
	Importance, MessageID           string
}

func canonicalForm(c *mailContent) []byte {
	form := canonicalMail{Subject: c.subject, BodyType: c.bodyType, Body: c.text(), From: c.from, Sender: c.sender,
		To: orEmpty(c.to), CC: orEmpty(c.cc), BCC: orEmpty(c.bcc), ReplyTo: orEmpty(c.replyTo), IsRead: c.isRead, IsDraft: c.isDraft,
		Flag: c.flag.status, FlagStart: compact(c.flag.start), FlagDue: compact(c.flag.due), Ended: compact(c.flag.completed),
		Categories: orEmpty(c.categories), Importance: c.importance, MessageID: c.messageID}
	if c.isDraft {
		form.From, form.Sender = nil, nil
	} else {
		form.Sent = c.sent.UTC().Truncate(time.Second).Format(time.RFC3339)
		form.Received = c.received.UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	data, _ := json.Marshal(form) // plain texts cannot fail
	return data
}

// orEmpty makes "none" one thing, however it was written.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// compact is JSON without the white space and order a client happened to write.
func compact(raw string) string {
	var v map[string]string
	if raw == "" || json.Unmarshal([]byte(raw), &v) != nil {
		return raw
	}
	data, _ := json.Marshal(v)
	return string(data)
}

func digest(c *mailContent) string {
	sum := sha256.Sum256(canonicalForm(c))
	return hex.EncodeToString(sum[:])
}

func attachmentTruths(c *mailContent) ([]AttachmentTruth, error) {
	return truthOfAttachments(c.attachments)
}

func truthOfAttachments(attachments []*attachment) ([]AttachmentTruth, error) {
	list := []AttachmentTruth{}
	for _, a := range attachments {
		truth := AttachmentTruth{Name: a.name, Kind: a.kind, Inline: a.inline, ContentID: a.contentID}
		switch {
		case a.data != nil:
			sha, _, err := fingerprint(a.data)
			if err != nil {
				return nil, err
			}
			truth.SHA256, truth.Size = sha, a.data.size()
		case a.item != nil:
			inner, err := attachmentTruths(a.item)
			if err != nil {
				return nil, err
			}
			form := canonicalForm(a.item)
			for _, sub := range inner {
				form = fmt.Appendf(form, "\n%s %s", sub.Name, sub.SHA256)
			}
			truth.set(form)
		default:
			truth.set([]byte(a.name))
		}
		list = append(list, truth)
	}
	slices.SortFunc(list, func(x, y AttachmentTruth) int { return strings.Compare(x.Name+x.SHA256, y.Name+y.SHA256) })
	return list, nil
}

func (t *AttachmentTruth) set(form []byte) {
	sum := sha256.Sum256(form)
	t.SHA256, t.Size = hex.EncodeToString(sum[:]), int64(len(form))
}

// FolderTruth returns every visible mail folder of a user, by path.
func (t *Tenant) FolderTruth(user string) ([]FolderTruth, error) {
	b, err := t.openMailbox(user)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []FolderTruth{}
	for _, f := range b.order {
		if !f.gone && f.visible() && f.wellKnown != "msgfolderroot" {
			list = append(list, FolderTruth{ID: f.id(), Path: f.path(), Hidden: f.hidden, Items: len(f.items)})
		}
	}
	slices.SortFunc(list, func(x, y FolderTruth) int { return strings.Compare(x.Path, y.Path) })
	return list, nil
}
