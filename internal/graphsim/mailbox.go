package graphsim

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// mailbox is one user's mail. Everything in it is guarded by mu.
type mailbox struct {
	t     *Tenant
	owner *entry  // only its ID may be read without the tenant's lock
	self  address // the owner's as it was when the mailbox was laid out
	seed  uint64
	tag   uint32 // in every ID of this mailbox, so that a foreign ID is refused

	mu         sync.Mutex
	folders    map[uint64]*mailFolder
	order      []*mailFolder // by age
	wellKnown  map[string]*mailFolder
	folderLog  changeLog
	allFolders changeLog // of folders and shelves, for import and export
	messages   map[uint64]*message
	lastNumber uint64
	generation int
	uploads    map[string]*attachmentUpload
	pim        *pimStore       // nil until store lays it out
	seeded     uint64          // the last number that the seed gave
	full       bool            // over its quota
	archive    bool            // it has an in-place archive
	threads    []*thread       // of a group
	bare       bool            // without generated contacts and events
	corpus     *corpus         // of the first mailbox
	spent      map[uint64]bool // import sessions, where each takes one item
}

// mailFolder is a folder; its number never changes, so its ID does not either.
type mailFolder struct {
	box       *mailbox
	number    uint64
	name      string
	parent    *mailFolder
	wellKnown string
	hidden    bool
	search    bool // virtual: shows items of other folders
	query     *searchQuery
	gone      bool
	items     []*message // by number
	log       changeLog  // of messageKey

	configurations entryList // userConfigurations
}

// message is an item. Its content is generated from the seed until somebody
// changes it.
type message struct {
	number   uint64
	folder   *mailFolder
	moves    uint32 // part of the ID that is not immutable
	revision uint32
	own      *mailContent
	modified time.Time
}

// The kinds of Exchange IDs.
const (
	immutableMessage = 'I'
	regularMessage   = 'M'
	folderKind       = 'F'
	attachmentKind   = 'A'

	eventAttachmentKind = 'B'
	taskAttachmentKind  = 'K'
)

const (
	immutablePrefix = "AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A"
	regularPrefix   = "AAMkAGI2NGVhZTVlLTI1OGMtNDI4My1iZmE5LTA5OGJiYTgyYjQw"
)

func (b *mailbox) itemID(kind byte, number uint64, extra uint32) string {
	raw := make([]byte, 0, 18)
	raw = append(raw, kind)
	raw = binary.BigEndian.AppendUint32(raw, b.tag)
	raw = binary.BigEndian.AppendUint64(raw, number)
	raw = binary.BigEndian.AppendUint32(raw, extra)
	raw = append(raw, 0)
	prefix := regularPrefix
	if kind == immutableMessage || kind >= 'a' {
		prefix = immutablePrefix
	}
	return prefix + base64.URLEncoding.EncodeToString(raw)
}

func (b *mailbox) parseID(id string) (kind byte, number uint64, extra uint32, ok bool) {
	text, found := strings.CutPrefix(id, immutablePrefix)
	if !found {
		if text, found = strings.CutPrefix(id, regularPrefix); !found {
			return 0, 0, 0, false
		}
	}
	raw, err := base64.URLEncoding.DecodeString(text)
	if err != nil || len(raw) != 18 || binary.BigEndian.Uint32(raw[1:]) != b.tag {
		return 0, 0, 0, false
	}
	return raw[0], binary.BigEndian.Uint64(raw[5:]), binary.BigEndian.Uint32(raw[13:]), true
}

func (f *mailFolder) id() string { return f.box.itemID(folderKind, f.number, 0) }

func (b *mailbox) messageID(m *message, immutable bool) string {
	if immutable {
		return b.itemID(immutableMessage, m.number, 0)
	}
	return b.itemID(regularMessage, m.number, m.moves)
}

// messageKey is how a folder's log names a message while it is in that folder.
func messageKey(m *message) string {
	return strconv.FormatUint(m.number, 10) + "." + strconv.FormatUint(uint64(m.moves), 10)
}

func parseMessageKey(key string) (number uint64, moves uint32) {
	left, right, _ := strings.Cut(key, ".")
	number, _ = strconv.ParseUint(left, 10, 64)
	n, _ := strconv.ParseUint(right, 10, 32)
	return number, uint32(n)
}

// folder finds a folder by ID or well-known name.
func (b *mailbox) folder(id string) (*mailFolder, error) {
	if f := b.wellKnown[strings.ToLower(id)]; f != nil {
		return f, nil
	}
	kind, number, _, ok := b.parseID(id)
	if !ok {
		return nil, fail(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
	}
	f := b.folders[number]
	if kind != folderKind || f == nil || f.gone {
		return nil, mailItemNotFound()
	}
	return f, nil
}

// find finds a message by either kind of ID.
func (b *mailbox) find(id string) (*message, error) {
	kind, number, moves, ok := b.parseID(id)
	if !ok {
		return nil, fail(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
	}
	m := b.messages[number]
	if m == nil || (kind != regularMessage && kind != immutableMessage) || (kind == regularMessage && m.moves != moves) {
		return nil, mailItemNotFound()
	}
	return m, nil
}

func (f *mailFolder) place(number uint64) (int, bool) {
	return slices.BinarySearchFunc(f.items, number, func(m *message, n uint64) int {
		switch {
		case m.number < n:
			return -1
		case m.number > n:
			return 1
		}
		return 0
	})
}

func (f *mailFolder) insert(m *message) {
	at, _ := f.place(m.number)
	f.items = slices.Insert(f.items, at, m)
	m.folder = f
}

func (f *mailFolder) remove(m *message) {
	if at, ok := f.place(m.number); ok {
		f.items = slices.Delete(f.items, at, at+1)
	}
	m.folder = nil
}

// The changes of a mailbox. All are called under mu, note what they did in the
// logs, and are what both Graph and the Go methods end in.

func (b *mailbox) addFolder(parent *mailFolder, name string, hidden bool) (*mailFolder, error) {
	if b.childNamed(parent, name) != nil {
		return nil, fail(http.StatusConflict, "ErrorFolderExists", "A folder with the specified name already exists.")
	}
	b.lastNumber++
	f := &mailFolder{box: b, number: b.lastNumber, name: name, parent: parent, hidden: hidden}
	b.folders[f.number] = f
	b.order = append(b.order, f)
	b.noteFolder(f)
	return f, nil
}

func (b *mailbox) childNamed(parent *mailFolder, name string) *mailFolder {
	for _, f := range b.order {
		if f.parent == parent && !f.gone && strings.EqualFold(f.name, name) {
			return f
		}
	}
	return nil
}

func (b *mailbox) noteFolder(f *mailFolder) {
	b.folderLog.note(strconv.FormatUint(f.number, 10))
	b.allFolders.note(mailFolderKey(f))
}

func (b *mailbox) children(parent *mailFolder) []*mailFolder {
	var list []*mailFolder
	for _, f := range b.order {
		if f.parent == parent && !f.gone {
			list = append(list, f)
		}
	}
	return list
}

func (b *mailbox) moveFolder(f, parent *mailFolder) error {
	if f.wellKnown != "" {
		return fail(http.StatusForbidden, "ErrorMoveDistinguishedFolder", "Distinguished folders cannot be moved.")
	}
	for p := parent; p != nil; p = p.parent {
		if p == f {
			return fail(http.StatusBadRequest, "ErrorInvalidOperation", "A folder cannot be moved below itself.")
		}
	}
	if other := b.childNamed(parent, f.name); other != nil && other != f {
		return fail(http.StatusConflict, "ErrorFolderExists", "A folder with the specified name already exists.")
	}
	f.parent = parent
	b.noteFolder(f)
	return nil
}

// dropFolder removes a folder for good with all it holds.
func (b *mailbox) dropFolder(f *mailFolder) error {
	if f.wellKnown != "" {
		return fail(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
	}
	for _, child := range b.children(f) {
		if err := b.dropFolder(child); err != nil {
			return err
		}
	}
	for len(f.items) > 0 {
		b.moveMessage(f.items[len(f.items)-1], b.wellKnown["recoverableitemsdeletions"])
	}
	f.gone = true
	b.noteFolder(f)
	return nil
}

func (b *mailbox) addMessage(f *mailFolder, c *mailContent) *message {
	b.lastNumber++
	m := &message{number: b.lastNumber, own: c, modified: time.Now()}
	b.messages[m.number] = m
	f.insert(m)
	f.log.note(messageKey(m))
	return m
}

// edit gives change a copy of the message's content to alter.
func (b *mailbox) edit(m *message, change func(*mailContent) error) error {
	own := b.content(m).clone()
	if err := change(own); err != nil {
		return err
	}
	m.own, m.modified = own, time.Now()
	m.revision++
	m.folder.log.note(messageKey(m))
	return nil
}

func (b *mailbox) moveMessage(m *message, to *mailFolder) {
	if m.folder == to {
		return
	}
	m.folder.log.note(messageKey(m))
	m.folder.remove(m)
	m.moves++
	m.revision++
	m.modified = time.Now()
	to.insert(m)
	to.log.note(messageKey(m))
}

// discard moves a message to the dumpster, where no client sees it.
func (b *mailbox) discard(m *message) {
	b.moveMessage(m, b.wellKnown["recoverableitemsdeletions"])
}

func (b *mailbox) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.generation++
}

// checkRoom refuses what a mailbox over its quota cannot do: it takes nothing new,
// and delta fails in it.
func (b *mailbox) checkRoom() error {
	if !b.full {
		return nil
	}
	return fail(http.StatusInsufficientStorage, "ErrorQuotaExceeded", "The mailbox has exceeded its quota.")
}

// visible reports whether a folder hangs below the root that clients see.
func (f *mailFolder) visible() bool {
	for p := f; p != nil; p = p.parent {
		if p.wellKnown == "msgfolderroot" {
			return true
		}
	}
	return false
}

// path is the folder's place by names, "/" and "%" in a name escaped.
func (f *mailFolder) path() string {
	name := strings.NewReplacer("%", "%25", "/", "%2F").Replace(f.name)
	if f.parent == nil || f.parent.wellKnown == "msgfolderroot" {
		return name
	}
	return f.parent.path() + "/" + name
}

// content is what a message says; generated unless somebody wrote it.
func (b *mailbox) content(m *message) *mailContent {
	if m.own != nil {
		return m.own
	}
	return b.generateMail(m.number)
}

// openMailbox returns a user's mailbox, laid out on first use; any state of the
// user will do.
func (t *Tenant) openMailbox(user string) (*mailbox, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.users.find(user)
	if e == nil || !e.hasMailbox() {
		return nil, fmt.Errorf("graphsim: no mailbox of user %q", user)
	}
	return t.mailboxOf(e), nil
}

func (t *Tenant) mailboxOf(e *entry) *mailbox {
	b := t.mailboxes[e.id]
	if b == nil {
		b = newMailbox(t, e, t.share('m', e.ordinal, t.spec.MailsPerUser))
		t.mailboxes[e.id] = b
	}
	return b
}

func mailboxNotEnabled() *apiError {
	return fail(http.StatusNotFound, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise.")
}

// lockMailbox returns the mailbox a request names, locked.
func (c *call) lockMailbox() (*mailbox, error) {
	c.t.mu.Lock()
	e := c.t.userByKey(c.param("user"))
	if e == nil {
		c.t.mu.Unlock()
		return nil, fail(http.StatusNotFound, "ErrorInvalidUser", "The requested user '%s' is invalid.", c.param("user"))
	}
	if !e.hasMailbox() {
		c.t.mu.Unlock()
		return nil, mailboxNotEnabled()
	}
	b := c.t.mailboxOf(e)
	c.t.mu.Unlock()
	b.mu.Lock()
	return b, nil
}
