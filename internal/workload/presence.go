package workload

import (
	"crypto/sha256"
	"encoding/base64"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// markProperty names the version of the item that a restored message was made from. The GUID is ours:
// it makes the name a property set of its own.
const markProperty = "String {5d0e2ac5-2f0e-4a07-9f2b-6f2c7a3e9b14} Name TenantryItem"

// replacesProperty names the item that a restored one is written to replace, by its ID: who finds both knows that the
// restore did not come to remove the one.
const replacesProperty = "String {5d0e2ac5-2f0e-4a07-9f2b-6f2c7a3e9b14} Name TenantryReplaces"

// presenceSelect is what tells whether a message is the one that was backed up.
const presenceSelect = "id,changeKey,subject,sentDateTime,internetMessageId,isDraft,hasAttachments"

// mark names an item and its version: two short hashes.
type mark struct{ item, version string }

func (m mark) String() string { return m.item + "." + m.version }

func shortHash(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
		h.Write([]byte{0})
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// identity is what makes a message the same to its owner. Exchange gives it a new change key when it is
// merely read.
type identity struct {
	ID          string `json:"id"`
	ChangeKey   string `json:"changeKey"`
	Subject     string `json:"subject"`
	Sent        string `json:"sentDateTime"`
	MessageID   string `json:"internetMessageId"`
	Draft       bool   `json:"isDraft"`
	Attachments bool   `json:"hasAttachments"`
	Type        string `json:"type"` // of an event: a single one, a series
	Properties  []struct {
		ID    string `json:"id"`
		Value string `json:"value"`
	} `json:"singleValueExtendedProperties"`
}

// fingerprint is the identity in little memory: of a draft, which its owner still writes, any version
// counts as another message.
func (i *identity) fingerprint() string {
	if i.Draft || i.MessageID == "" {
		return shortHash([]byte(i.ChangeKey))
	}
	has := []byte{0}
	if i.Attachments {
		has[0] = 1
	}
	return shortHash([]byte(i.Subject), []byte(i.Sent), []byte(i.MessageID), has)
}

// presence is what is known to be in one folder of the target: some 100 bytes a message. Safe for
// concurrent use.
type presence struct {
	mu        sync.Mutex
	loaded    bool
	marks     map[string]string // by mark: the ID of the message that was made
	items     map[string]string // by marked item: any version of it
	originals map[string]string // by hash of the ID: fingerprint
	types     map[string]string // by the same: the type of an event
	several   map[string]bool   // marked items of which there are several versions
	replaced  map[string]string // by ID of the message that was made: of what it replaces; nil: not asked for
}

// load lists the folder, once. list shows its items with one of our properties.
func (p *presence) load(list func(property string, visit func(jsontext.Value) error) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded {
		return nil
	}
	p.marks, p.items, p.originals, p.types = map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}
	p.several = map[string]bool{}
	if err := list(markProperty, p.add); err != nil {
		return err
	}
	p.loaded = true
	return nil
}

func (p *presence) add(raw jsontext.Value) error {
	var m identity
	if err := parse("a message", raw, &m); err != nil {
		return err
	}
	for _, property := range m.Properties {
		if len(property.Value) == markLength {
			item := property.Value[:hashLength]
			if _, known := p.items[item]; known {
				p.several[item] = true
			}
			p.marks[property.Value], p.items[item] = m.ID, m.ID
		}
	}
	at := shortHash([]byte(m.ID))
	p.originals[at] = m.fingerprint()
	if m.Type != "" {
		p.types[at] = m.Type
	}
	return nil
}

// hashLength is that of 12 bytes in Base64.
const (
	hashLength = 16
	markLength = hashLength + 1 + hashLength
)

// made returns the message that an earlier restore made of this very version.
func (p *presence) made(m mark) (id string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ok = p.marks[m.String()]
	return id, ok
}

func (p *presence) note(m mark, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks[m.String()], p.items[m.item] = id, id
}

// rival returns the message that has the place of m: the original, or what was made of another version.
// same tells that it is as good as m.
func (p *presence) rival(m *restored) (id string, same bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if print, ok := p.originals[shortHash([]byte(m.id))]; ok {
		return m.id, print == m.fingerprint
	}
	return p.items[m.mark.item], false
}

// contested reports whether the folder has another version of m besides the one that was made of it.
func (p *presence) contested(m *restored) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	print, ok := p.originals[shortHash([]byte(m.id))]
	return ok && print != m.fingerprint || p.several[m.mark.item]
}

// replacedBy returns what the message id was made to replace, "" if nothing. It lists the folder once more, once.
func (p *presence) replacedBy(id string, list func(property string, visit func(jsontext.Value) error) error) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.replaced == nil {
		replaced := map[string]string{}
		err := list(replacesProperty, func(raw jsontext.Value) error {
			var m identity
			err := parse("a message", raw, &m)
			for _, property := range m.Properties {
				replaced[m.ID] = property.Value
			}
			return err
		})
		if err != nil {
			return "", err
		}
		p.replaced = replaced
	}
	return p.replaced[id], nil
}

// replaceable reports whether other is in the folder still, and in no place that m could have had itself: not the
// original, in the version that m is.
func (p *presence) replaceable(m *restored, other string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	print, ok := p.originals[shortHash([]byte(other))]
	return ok && (other != m.id || print != m.fingerprint)
}

// became says what the original of m is now, if that is another type of event than it was; "" if it is not, or is gone.
func (p *presence) became(m *restored) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.types[shortHash([]byte(m.id))]; now != m.kind && m.kind != "" {
		return now
	}
	return ""
}

// maxPresences is how many folders are remembered: those on the way down the tree, and a few. A folder
// that comes again later is listed again.
const maxPresences = 16

// presences keeps the folders that were used last. The caller locks.
type presences struct {
	order []string
	byID  map[string]*presence
}

func (p *presences) of(folder string) *presence {
	if known, ok := p.byID[folder]; ok {
		return known
	}
	if p.byID == nil {
		p.byID = map[string]*presence{}
	}
	if len(p.order) == maxPresences {
		delete(p.byID, p.order[0])
		p.order = p.order[1:]
	}
	p.order = append(p.order, folder)
	p.byID[folder] = &presence{}
	return p.byID[folder]
}
