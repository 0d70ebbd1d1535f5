package graphsim

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// address is a name and an SMTP address.
type address struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// flag is a follow-up flag; the times are as clients wrote them.
type flag struct {
	status                string
	start, due, completed string // dateTimeTimeZone objects in JSON, "" for none
}

// mailContent is everything about a message that a restore has to bring back, and
// a little more. It does not change once a message shows it.
type mailContent struct {
	subject   string
	bodyType  string // html or text
	body      string
	bodySeed  uint64 // generates body when it is ""
	bodySize  int
	bodyImage string
	language  int    // of the generated body
	charset   string // of the MIME form; "" is UTF-8

	from, sender         *address
	to, cc, bcc, replyTo []address
	sent, received       time.Time
	created              time.Time
	isRead, isDraft      bool
	flag                 flag
	categories           []string
	importance           string
	inference            string
	messageID            string
	headers              [][2]string
	conversation         uint64
	properties           map[string]string // single-value extended properties
	attachments          []*attachment
	lastAttachment       uint32
	receipts             [2]bool // delivery, read
	mime                 content // the bytes it came as, if it did
}

func (c *mailContent) clone() *mailContent {
	twin := *c
	twin.attachments = slices.Clone(c.attachments)
	twin.mime = nil // what is edited no longer is what came
	return &twin
}

func (c *mailContent) text() string {
	if c.body == "" && c.bodySize > 0 {
		return languages[c.language].htmlBody(c.bodySeed, c.bodySize, c.bodyImage)
	}
	return c.body
}

// attachment is one attachment of a message; it does not change.
type attachment struct {
	number      uint32
	kind        string // file, item or reference
	name        string
	contentType string
	contentID   string
	inline      bool
	modified    time.Time
	data        content      // file
	item        *mailContent // item
	itemJSON    []byte       // item that is no message, as a client wrote it
}

// layout is the folders of a new mailbox, parents first. share is how many of a
// hundred messages lie there.
var layout = []struct {
	wellKnown, name, parent string
	share                   int
	hidden                  bool
}{
	{wellKnown: "msgfolderroot", name: "Top of Information Store"},
	{wellKnown: "recoverableitemsdeletions", name: "Deletions"},
	{wellKnown: "inbox", name: "Inbox", parent: "msgfolderroot", share: 42},
	{wellKnown: "drafts", name: "Drafts", parent: "msgfolderroot", share: 3},
	{wellKnown: "sentitems", name: "Sent Items", parent: "msgfolderroot", share: 23},
	{wellKnown: "deleteditems", name: "Deleted Items", parent: "msgfolderroot", share: 5},
	{wellKnown: "junkemail", name: "Junk Email", parent: "msgfolderroot", share: 2},
	{wellKnown: "archive", name: "Archive", parent: "msgfolderroot", share: 6},
	{wellKnown: "outbox", name: "Outbox", parent: "msgfolderroot"},
	{wellKnown: "conversationhistory", name: "Conversation History", parent: "msgfolderroot"},
	{name: "Conversation Action Settings", parent: "msgfolderroot", hidden: true},
	{name: "Projects", parent: "inbox", share: 5},
	{name: "Ängström & Söhne", parent: "Projects", share: 6},
	{name: "2026/Q3 100%", parent: "Projects", share: 4},
	{name: "プロジェクト", parent: "msgfolderroot", share: 4},
	{name: "Empty", parent: "msgfolderroot"},
}

// newMailbox lays out a mailbox with that many messages.
func newMailbox(t *Tenant, e *entry, mails int) *mailbox {
	b := &mailbox{t: t, owner: e, seed: mixString(t.seed, e.id), folders: map[uint64]*mailFolder{},
		wellKnown: map[string]*mailFolder{}, messages: map[uint64]*message{}, uploads: map[string]*attachmentUpload{}}
	b.tag, b.self = uint32(b.seed), address{e.name, t.principalName(e)}
	byName := map[string]*mailFolder{}
	shares := make([]*mailFolder, 0, 100)
	for _, l := range layout {
		b.lastNumber++
		f := &mailFolder{box: b, number: b.lastNumber, name: l.name, wellKnown: l.wellKnown, hidden: l.hidden}
		f.parent = b.wellKnown[l.parent]
		if f.parent == nil {
			f.parent = byName[l.parent]
		}
		b.folders[f.number], byName[l.name] = f, f
		b.order = append(b.order, f)
		if l.wellKnown != "" {
			b.wellKnown[l.wellKnown] = f
		}
		for range l.share {
			shares = append(shares, f)
		}
	}
	if e == t.firstMailbox() {
		b.corpus = t.s.corpus
		b.addCorpus(b.corpus)
	}
	b.lastNumber = max(b.lastNumber, firstMessage-1)
	for i := range mails {
		b.lastNumber++
		m := &message{number: b.lastNumber, modified: mailTime(i)}
		m.folder = shares[mix(b.seed, m.number)%uint64(len(shares))]
		m.folder.items = append(m.folder.items, m)
		b.messages[m.number] = m
	}
	b.seeded = b.lastNumber
	return b
}

// newEmptyMailbox lays out the mailbox of somebody who was only just added.
func newEmptyMailbox(t *Tenant, e *entry) *mailbox {
	b := newMailbox(t, e, 0)
	b.bare = true
	return b
}

// firstMessage is the number of the first generated message; folders and the
// corpus lie below it.
const firstMessage = 100_001

// firstMailbox is the user whose mailbox and drive show the corpus.
func (t *Tenant) firstMailbox() *entry {
	if t.users.size() == 0 || !t.users.at(0).hasMailbox() {
		return nil
	}
	return t.users.keep(0)
}

func mailTime(i int) time.Time { return epoch.Add(-time.Duration(i)*47*time.Minute - time.Hour) }

// generateMail makes the content of a seeded message. The folder a message began
// in decides whether it was sent, received or is a draft.
func (b *mailbox) generateMail(number uint64) *mailContent {
	seed := mix(b.seed, number, 1)
	r := newRand(seed)
	when := mailTime(int(number - firstMessage)).Add(time.Duration(r.IntN(1800)) * time.Second)
	self := b.self
	c := &mailContent{
		subject: sentence(r, 2+r.IntN(8)), bodyType: "html", bodySeed: mix(seed, 2), bodySize: bodySize(r),
		sent: when, received: when.Add(time.Duration(1+r.IntN(90)) * time.Second), created: when,
		isRead: b.bornRead(number), importance: "normal", inference: pick(r, []string{"focused", "focused", "other"}),
		conversation: mix(seed, 3) >> 1, flag: flag{status: "notFlagged"},
		messageID: fmt.Sprintf("<%016X%08X@%s>", mix(seed, 4), uint32(seed), b.t.spec.Domain),
	}
	_ = r.IntN(4) // once said what is read; without it every seed would make another world
	b.address(c, r, self)
	switch f := b.bornIn(number); f.wellKnown {
	case "sentitems":
		c.from, c.sender = &self, &self
	case "drafts":
		c.from, c.sender, c.isDraft = &self, &self, true
	}
	b.speak(c, seed)
	b.decorate(c, r)
	if size := b.t.spec.MailSize; size > 0 {
		c.bodySize = size
	}
	if size := b.t.spec.AttachmentSize; size > 0 {
		b.attachEqual(c, seed, size)
	} else {
		b.attach(c, r, seed)
	}
	return c
}

// bornIn is the folder a seeded message was laid out in.
func (b *mailbox) bornIn(number uint64) *mailFolder {
	at := int(mix(b.seed, number) % 100)
	for i, l := range layout {
		if at -= l.share; at < 0 {
			return b.order[i]
		}
	}
	return b.order[0]
}

// bornRead reports whether a seeded message was laid out as read.
func (b *mailbox) bornRead(number uint64) bool {
	switch b.bornIn(number).wellKnown {
	case "sentitems", "drafts":
		return true
	}
	return mix(b.seed, number, 'r')%4 > 0
}

// bodySize spreads around 7 KB, with a long tail.
func bodySize(r *rand.Rand) int {
	switch n := r.IntN(20); {
	case n == 0:
		return 20_000 + r.IntN(40_000)
	case n < 6:
		return 6_000 + r.IntN(8_000)
	default:
		return 2_000 + r.IntN(4_000)
	}
}

func (b *mailbox) address(c *mailContent, r *rand.Rand, self address) {
	other := func() address {
		if b.t.spec.Users > 1 && r.IntN(3) > 0 {
			name, alias := person(b.t.seed, r.IntN(b.t.spec.Users))
			return address{name, alias + "@" + b.t.spec.Domain}
		}
		name, alias := person(mix(b.t.seed, 77), r.IntN(500))
		return address{name, alias + "@partner.example"}
	}
	from := other()
	c.from, c.sender = &from, &from
	c.to = []address{self}
	for range r.IntN(3) {
		c.to = append(c.to, other())
	}
	for range max(0, r.IntN(5)-2) {
		c.cc = append(c.cc, other())
	}
	if r.IntN(15) == 0 {
		c.replyTo = []address{other()}
	}
}

// decorate adds what only some messages have.
func (b *mailbox) decorate(c *mailContent, r *rand.Rand) {
	if r.IntN(8) == 0 {
		c.categories = []string{pick(r, []string{"Red category", "Kunde/Partner", "Vertraulich 🔒"})}
	}
	if r.IntN(10) == 0 {
		c.importance = "high"
	}
	switch r.IntN(12) {
	case 0:
		day := c.received.Add(72 * time.Hour).Truncate(24 * time.Hour).Format("2006-01-02T15:04:05.0000000")
		zoned := `{"dateTime":"` + day + `","timeZone":"UTC"}`
		c.flag = flag{status: "flagged", start: zoned, due: zoned}
	case 1:
		day := c.received.Truncate(24 * time.Hour).Format("2006-01-02T15:04:05.0000000")
		c.flag = flag{status: "complete", completed: `{"dateTime":"` + day + `","timeZone":"UTC"}`}
	}
	c.headers = [][2]string{
		{"Received", "from mail.partner.example (203.0.113.7) by " + b.t.spec.Domain + "; " + c.received.Format(time.RFC1123Z)},
		{"X-MS-Exchange-Organization-SCL", fmt.Sprint(r.IntN(6) - 1)},
		{"Message-ID", c.messageID},
	}
}

// attach gives one message in six attachments: some shared between the users of
// the tenant, some inline, some messages themselves, some links.
func (b *mailbox) attach(c *mailContent, r *rand.Rand, seed uint64) {
	if r.IntN(6) > 0 {
		return
	}
	switch n := r.IntN(20); {
	case n < 11:
		for range 1 + r.IntN(3) {
			c.add(b.newFile(r, seed))
		}
	case n < 14:
		c.add(b.sharedFile(uint64(r.IntN(8))))
	case n < 17:
		cid := fmt.Sprintf("image%03d.png@%08X", r.IntN(100), uint32(seed))
		c.bodyImage = cid
		c.add(&attachment{kind: "file", name: "image001.png", contentType: "image/png", contentID: cid, inline: true,
			data: seededContent{seed: mix(seed, 6) | 1, length: int64(2_000 + r.IntN(30_000))}})
	case n < 19:
		c.add(&attachment{kind: "item", name: "FW: " + sentence(r, 3), item: b.embedded(r, seed)})
	default:
		c.add(&attachment{kind: "reference", name: "Shared plan.xlsx"})
	}
}

// attachEqual gives one message in five a file of a size: see TenantSpec.AttachmentSize.
func (b *mailbox) attachEqual(c *mailContent, seed uint64, size int64) {
	drawn := mix(seed, 'a')
	if drawn%5 > 0 {
		return
	}
	data, name := seededContent{seed: mix(seed, 5), length: size}, "document.bin"
	if drawn/5%10 < 3 {
		n := drawn / 50 % 100
		data.seed, name = mix(b.t.seed, 'e', n), fmt.Sprintf("shared %d.bin", n+1)
	}
	c.add(&attachment{kind: "file", name: name, contentType: "application/octet-stream", data: data})
}

func (c *mailContent) add(a *attachment) {
	c.lastAttachment++
	a.number = c.lastAttachment
	if a.modified.IsZero() {
		a.modified = c.created
	}
	c.attachments = append(c.attachments, a)
}

var fileKinds = [][2]string{
	{".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
	{".pdf", "application/pdf"}, {".txt", "text/plain"}, {".jpg", "image/jpeg"},
	{".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
}

func (b *mailbox) newFile(r *rand.Rand, seed uint64) *attachment {
	kind := pick(r, fileKinds)
	var size int
	switch n := r.IntN(100); {
	case n < 60:
		size = 1_024 + r.IntN(32_000)
	case n < 90:
		size = 32_000 + r.IntN(170_000)
	case n < 98:
		size = 200_000 + r.IntN(800_000)
	default:
		size = 1_000_000 + r.IntN(4_000_000)
	}
	return &attachment{kind: "file", name: languages[b.t.tongue(seed)].sentence(r, 2) + kind[0], contentType: kind[1],
		data: seededContent{seed: mix(seed, 5, r.Uint64()), length: int64(size)}}
}

// sharedFile is one of the few documents that many users of a tenant were sent.
func (b *mailbox) sharedFile(n uint64) *attachment {
	seed := mix(b.t.seed, 'p', n)
	return &attachment{kind: "file", name: fmt.Sprintf("All hands %d.pdf", n+1), contentType: "application/pdf",
		data: seededContent{seed: seed, length: int64(60_000 + seed%500_000)}}
}

func (b *mailbox) embedded(r *rand.Rand, seed uint64) *mailContent {
	when := epoch.Add(-time.Duration(r.IntN(1_000_000)) * time.Second)
	from := address{"Embedded Sender", "sender@partner.example"}
	c := &mailContent{subject: sentence(r, 4), bodyType: "html", bodySeed: mix(seed, 8), bodySize: 2_500,
		from: &from, sender: &from, to: []address{b.self}, sent: when, received: when,
		created: when, isRead: true, importance: "normal", inference: "focused", flag: flag{status: "notFlagged"},
		messageID: fmt.Sprintf("<%016x@partner.example>", mix(seed, 9))}
	if r.IntN(2) == 0 {
		c.add(&attachment{kind: "file", name: "inner.txt", contentType: "text/plain",
			data: seededContent{seed: mix(seed, 10), length: 3_000}})
	}
	return c
}

func conversationID(n uint64) string {
	return "AAQkAGI2NGVhZTVlAQAQ" + base64.URLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, n))
}
