package graphsim

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"
)

// MailSpec describes a new message. The zero value is a generated one in the Inbox.
type MailSpec struct {
	Folder      string           `json:"folder"` // ID or well-known name
	Subject     string           `json:"subject"`
	Body        string           `json:"body"` // HTML
	Attachments []AttachmentSpec `json:"attachments"`
}

// AttachmentSpec describes a file attachment: Data, or Size bytes made from Seed,
// so that the same seed and size give the same bytes in every mailbox.
type AttachmentSpec struct {
	Name string `json:"name"`
	Data []byte `json:"data"` // Base64 in JSON
	Size int64  `json:"size"`
	Seed uint64 `json:"seed"`
}

// withMailbox calls do with a user's mailbox, locked.
func (t *Tenant) withMailbox(user string, do func(*mailbox) error) error {
	b, err := t.openMailbox(user)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return do(b)
}

// NewMail delivers a message and returns its immutable ID.
func (t *Tenant) NewMail(user string, spec MailSpec) (id string, err error) {
	err = t.withMailbox(user, func(b *mailbox) error {
		setDefault(&spec.Folder, "inbox")
		f, err := b.folder(spec.Folder)
		if err != nil {
			return err
		}
		m := b.addMessage(f, b.compose(spec))
		id = b.messageID(m, true)
		return nil
	})
	return id, err
}

// compose makes the content of a message that arrives now.
func (b *mailbox) compose(spec MailSpec) *mailContent {
	c := b.generateMail(firstMessage + mix(b.lastNumber, 'n')%10_000)
	c.isDraft, c.attachments, c.bodyImage = false, nil, ""
	c.received = time.Now().UTC().Truncate(time.Second)
	c.sent, c.created = c.received.Add(-2*time.Second), c.received
	c.messageID = fmt.Sprintf("<%s@%s>", newID(), b.t.spec.Domain)
	c.conversation, c.bodySeed = mix(b.seed, b.lastNumber)>>1, mix(b.seed, b.lastNumber, 'b')
	if spec.Subject != "" {
		c.subject = spec.Subject
	}
	if spec.Body != "" {
		c.body, c.bodySize = spec.Body, 0
	}
	for _, a := range spec.Attachments {
		c.add(a.file())
	}
	return c
}

func (a AttachmentSpec) file() *attachment {
	file := &attachment{kind: "file", name: a.Name, contentType: mimeType(a.Name), data: bytesContent(a.Data)}
	if a.Data == nil {
		file.data = seededContent{seed: mix(a.Seed), length: a.Size}
	}
	return file
}

// EditMail changes properties of a message, named as in Graph: {"isRead": true}.
func (t *Tenant) EditMail(user, id string, properties map[string]any) error {
	raw := map[string]json.RawMessage{}
	for name, value := range properties {
		data, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("graphsim: property %s: %w", name, err)
		}
		raw[name] = data
	}
	return t.withMailbox(user, func(b *mailbox) error {
		m, err := b.find(id)
		if err != nil {
			return err
		}
		return b.edit(m, func(c *mailContent) error { return c.apply(raw) })
	})
}

// MoveMail moves a message to another folder; its immutable ID stays.
func (t *Tenant) MoveMail(user, id, folder string) error {
	return t.withMailbox(user, func(b *mailbox) error {
		m, err := b.find(id)
		if err != nil {
			return err
		}
		to, err := b.folder(folder)
		if err != nil {
			return err
		}
		b.moveMessage(m, to)
		return nil
	})
}

// DeleteMail removes a message so that no client sees it any more.
func (t *Tenant) DeleteMail(user, id string) error {
	return t.withMailbox(user, func(b *mailbox) error {
		m, err := b.find(id)
		if err == nil {
			b.discard(m)
		}
		return err
	})
}

// NewMailFolder makes a folder below another ("" is the root) and returns its ID.
func (t *Tenant) NewMailFolder(user, parent, name string) (id string, err error) {
	err = t.withMailbox(user, func(b *mailbox) error {
		setDefault(&parent, "msgfolderroot")
		above, err := b.folder(parent)
		if err != nil {
			return err
		}
		f, err := b.addFolder(above, name, false)
		if err == nil {
			id = f.id()
		}
		return err
	})
	return id, err
}

// MoveFolder moves a mail folder below another.
func (t *Tenant) MoveFolder(user, folder, parent string) error {
	return t.withMailbox(user, func(b *mailbox) error {
		f, err := b.folder(folder)
		if err != nil {
			return err
		}
		above, err := b.folder(parent)
		if err != nil {
			return err
		}
		return b.moveFolder(f, above)
	})
}

// DeleteMailFolder removes a mail folder for good, with all it holds.
func (t *Tenant) DeleteMailFolder(user, folder string) error {
	return t.withMailbox(user, func(b *mailbox) error {
		f, err := b.folder(folder)
		if err != nil {
			return err
		}
		return b.dropFolder(f)
	})
}

// withDrive calls do with the drive of a user, group or site, locked.
func (t *Tenant) withDrive(owner string, do func(*drive) error) error {
	d, err := t.openDrive(owner)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return do(d)
}

// PutFile writes a file at a path from the root of the drive of a user, group or
// site, making the folders on the way, and returns its ID.
func (t *Tenant) PutFile(owner, name string, data []byte) (id string, err error) {
	kept, err := t.s.keep(data)
	if err != nil {
		return "", err
	}
	return t.putFile(owner, name, kept)
}

func (t *Tenant) putFile(owner, name string, data content) (id string, err error) {
	err = t.withDrive(owner, func(d *drive) error {
		dir, base := path.Split(strings.Trim(name, "/"))
		parent, err := d.folders(dir)
		if err != nil {
			return err
		}
		item, _, err := d.putFile(parent, base, data, onConflictReplace)
		if err == nil {
			id = item.id
		}
		return err
	})
	return id, err
}

// folders returns the folder at a path, making what is missing.
func (d *drive) folders(dir string) (*driveItem, error) {
	at := d.root
	for name := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		if name == "" {
			continue
		}
		next := at.children[fold(name)]
		if next == nil {
			var err error
			if next, err = d.addFolder(at, name); err != nil {
				return nil, err
			}
		}
		at = next
	}
	return at, nil
}

// MoveFile moves or renames a file or folder, from path to path.
func (t *Tenant) MoveFile(owner, from, to string) error {
	return t.withDrive(owner, func(d *drive) error {
		item := d.root.at(from)
		if item == nil {
			return itemNotFound()
		}
		dir, name := path.Split(strings.Trim(to, "/"))
		parent, err := d.folders(dir)
		if err != nil {
			return err
		}
		return d.move(item, parent, name)
	})
}

// DeleteFile deletes a file, or a folder with all below it, by path.
func (t *Tenant) DeleteFile(owner, name string) error {
	return t.withDrive(owner, func(d *drive) error {
		item := d.root.at(name)
		if item == nil {
			return itemNotFound()
		}
		return d.remove(item)
	})
}

// Mutation is one change as the control interface takes it: Op is the name of the
// Go method, the fields are its arguments.
type Mutation struct {
	Op         string         `json:"op"`
	User       string         `json:"user,omitempty"` // also the owner of a drive, or a group or site
	ID         string         `json:"id,omitempty"`   // of a message, folder, user, group or site
	Folder     string         `json:"folder,omitempty"`
	Parent     string         `json:"parent,omitempty"`
	Name       string         `json:"name,omitempty"`
	Path       string         `json:"path,omitempty"`
	To         string         `json:"to,omitempty"`
	Data       []byte         `json:"data,omitempty"`
	Size       int64          `json:"size,omitempty"` // instead of data: generated from seed
	Seed       uint64         `json:"seed,omitempty"`
	Mail       MailSpec       `json:"mail,omitzero"`
	Properties map[string]any `json:"properties,omitempty"`
}

// Apply makes one change and returns the ID of what it made, if anything.
func (t *Tenant) Apply(m Mutation) (id string, err error) {
	switch strings.ToLower(m.Op) {
	case "newmail":
		return t.NewMail(m.User, m.Mail)
	case "editmail":
		return "", t.EditMail(m.User, m.ID, m.Properties)
	case "movemail":
		return "", t.MoveMail(m.User, m.ID, m.Folder)
	case "deletemail":
		return "", t.DeleteMail(m.User, m.ID)
	case "newmailfolder":
		return t.NewMailFolder(m.User, m.Parent, m.Name)
	case "movefolder":
		return "", t.MoveFolder(m.User, m.Folder, m.Parent)
	case "deletemailfolder":
		return "", t.DeleteMailFolder(m.User, m.Folder)
	case "putfile":
		if m.Size > 0 {
			return t.putFile(m.User, m.Path, seededContent{seed: mix(m.Seed), length: m.Size})
		}
		return t.PutFile(m.User, m.Path, m.Data)
	case "movefile":
		return "", t.MoveFile(m.User, m.Path, m.To)
	case "deletefile":
		return "", t.DeleteFile(m.User, m.Path)
	}
	for _, apply := range []func(Mutation) (string, bool, error){t.applySharePoint, t.applyExchange} {
		if id, known, err := apply(m); known {
			return id, err
		}
	}
	return t.applyDirectory(m)
}

func (t *Tenant) applyDirectory(m Mutation) (string, error) {
	makers := map[string]func(string) (string, error){"newuser": t.NewUser, "newgroup": t.NewGroup, "newsite": t.NewSite}
	turns := map[string]func(string) error{
		"deleteuser": t.DeleteUser, "restoreuser": t.RestoreUser, "purgeuser": t.PurgeUser,
		"deletegroup": t.DeleteGroup, "restoregroup": t.RestoreGroup, "purgegroup": t.PurgeGroup,
		"deletesite": t.DeleteSite, "restoresite": t.RestoreSite, "purgesite": t.PurgeSite,
	}
	op := strings.ToLower(m.Op)
	if make := makers[op]; make != nil {
		return make(m.Name)
	}
	if turn := turns[op]; turn != nil {
		return "", turn(m.ID)
	}
	switch op {
	case "edituser":
		return "", t.EditUser(m.ID, m.Name)
	case "editgroup":
		return "", t.EditGroup(m.ID, m.Name)
	case "maketeam":
		return "", t.MakeTeam(m.ID)
	case "addmember":
		return "", t.AddMember(m.ID, m.User)
	case "removemember":
		return "", t.RemoveMember(m.ID, m.User)
	}
	return "", fmt.Errorf("graphsim: unknown op %q", m.Op)
}
