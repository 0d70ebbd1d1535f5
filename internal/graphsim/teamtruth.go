package graphsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// MessageTruth is one message of a channel or a chat.
type MessageTruth struct {
	ID       string    `json:"id"`
	Place    string    `json:"place"`             // ID of the channel or chat
	Channel  string    `json:"channel,omitempty"` // its name
	ReplyTo  string    `json:"replyTo,omitempty"`
	From     string    `json:"from"` // object ID
	Created  time.Time `json:"created"`
	Modified time.Time `json:"modified"`
	Deleted  bool      `json:"deleted,omitempty"`
	// Digest is the SHA-256 (hex) over subject and HTML, without the addresses of the
	// pictures, which Hosted has; of a deleted message, over nothing.
	Digest string            `json:"digest"`
	Hosted []AttachmentTruth `json:"hosted,omitempty"`
}

// TeamTruth returns every message of every channel of a team, by channel and age,
// the deleted ones too. Errors: a group that is no team.
func (t *Tenant) TeamTruth(group string) ([]MessageTruth, error) {
	tm, err := t.openTeam(group)
	if err != nil {
		return nil, err
	}
	list := []MessageTruth{}
	for _, ch := range tm.channels {
		part, err := ch.truth()
		if err != nil {
			return nil, err
		}
		for i := range part {
			part[i].Channel = ch.name
		}
		list = append(list, part...)
	}
	return list, nil
}

// ChatTruth returns every message of the chats of a user, by chat and age.
func (t *Tenant) ChatTruth(user string) ([]MessageTruth, error) {
	ids, err := t.Chats(user)
	if err != nil {
		return nil, err
	}
	list := []MessageTruth{}
	for _, id := range ids {
		v, err := t.openChat(id)
		if err != nil {
			return nil, err
		}
		part, err := v.truth()
		if err != nil {
			return nil, err
		}
		list = append(list, part...)
	}
	return list, nil
}

func (v *conversation) truth() (list []MessageTruth, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.order {
		truth := MessageTruth{ID: m.id, Place: v.id, From: m.from.id, Created: time.UnixMilli(m.at).UTC(),
			Modified: m.modified, Deleted: m.deleted != nil}
		if m.root != nil {
			truth.ReplyTo = m.root.id
		}
		sum := sha256.Sum256(nil)
		if m.deleted == nil {
			sum = sha256.Sum256([]byte(m.subject + "\n" + m.text()))
		}
		truth.Digest = hex.EncodeToString(sum[:])
		for _, h := range m.shownContents() {
			sha, _, err := fingerprint(h.data)
			if err != nil {
				return nil, err
			}
			truth.Hosted = append(truth.Hosted, AttachmentTruth{Name: h.id, Size: h.data.size(), SHA256: sha, Kind: "hosted"})
		}
		list = append(list, truth)
	}
	return list, nil
}

// PostSpec is a message to post. The zero value of a field is made up.
type PostSpec struct {
	ReplyTo  string   `json:"replyTo"` // ID of a root message
	From     string   `json:"from"`    // object ID of a user; default: the first who is there
	Subject  string   `json:"subject"`
	Body     string   `json:"body"` // HTML
	Pictures [][]byte `json:"pictures"`
}

// conversationAt finds a channel of a team (by ID or name), or a chat (channel "")
// when owner is a chat's ID.
func (t *Tenant) conversationAt(owner, channel string) (*conversation, error) {
	if strings.HasPrefix(owner, "19:") {
		return t.openChat(owner)
	}
	ch, err := t.channelOf(owner, channel)
	if err != nil {
		return nil, err
	}
	return ch.conversation, nil
}

// PostMessage posts to a channel of a team, by ID or name ("" is General), or to a
// chat by its ID, and returns the message's ID.
func (t *Tenant) PostMessage(owner, channel string, spec PostSpec) (string, error) {
	v, err := t.conversationAt(owner, channel)
	if err != nil {
		return "", err
	}
	t.mu.RLock()
	from := t.users.find(spec.From)
	t.mu.RUnlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if from == nil && len(v.people) > 0 {
		from = v.people[0]
	}
	if from == nil {
		return "", fmt.Errorf("graphsim: nobody is there to post")
	}
	var root *chatMessage
	if spec.ReplyTo != "" {
		if root, err = v.find(spec.ReplyTo); err != nil {
			return "", err
		}
	}
	pictures := make([]content, len(spec.Pictures))
	for i, data := range spec.Pictures {
		pictures[i] = bytesContent(data)
	}
	setDefault(&spec.Body, "<p>Hello</p>")
	return v.post(root, from, spec.Subject, spec.Body, pictures...).id, nil
}

// withChatMessage calls do with a message of a channel or chat, under its lock.
func (t *Tenant) withChatMessage(owner, channel, id string, do func(*conversation, *chatMessage)) error {
	v, err := t.conversationAt(owner, channel)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	m, err := v.find(id)
	if err == nil {
		do(v, m)
	}
	return err
}

// EditMessage changes the text of a message.
func (t *Tenant) EditMessage(owner, channel, id, body string) error {
	return t.withChatMessage(owner, channel, id, func(v *conversation, m *chatMessage) { v.edit(m, body) })
}

// DeleteMessage deletes a message: it stays listed, without its content.
func (t *Tenant) DeleteMessage(owner, channel, id string) error {
	return t.withChatMessage(owner, channel, id, func(v *conversation, m *chatMessage) { v.remove(m) })
}

// applyTeam makes a change of a channel or chat; known is false for another op. User
// is the team or the chat, Folder the channel, To the team that it is shared with.
func (t *Tenant) applyTeam(m Mutation) (id string, known bool, err error) {
	known = true
	switch strings.ToLower(m.Op) {
	case "postmessage":
		var spec PostSpec
		var data []byte
		if data, err = json.Marshal(m.Properties); err == nil {
			if err = json.Unmarshal(data, &spec); err == nil {
				id, err = t.PostMessage(m.User, m.Folder, spec)
			}
		}
	case "editmessage":
		body, _ := m.Properties["body"].(string)
		err = t.EditMessage(m.User, m.Folder, m.ID, body)
	case "deletemessage":
		err = t.DeleteMessage(m.User, m.Folder, m.ID)
	case "sharechannel":
		err = t.ShareChannel(m.User, m.Folder, m.To)
	default:
		known = false
	}
	return id, known, err
}
