package graphsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Churn makes n random changes to mail and files of active users, to their contacts,
// calendars, tasks and chats and to the lists, pages, libraries, channels and conversations
// of groups where the tenant was made with any, decided by the
// seed and the state they meet: the same calls on the same tenant change the same
// things. It never touches the directory. Changes that find nothing to change are
// skipped; it returns how many were made.
func (t *Tenant) Churn(seed int64, n int) (changed int, err error) {
	r := newRand(mix(uint64(seed), t.seed))
	owners := t.mailboxOwners()
	if owners.count == 0 {
		return 0, nil
	}
	for range n {
		u := t.drawUser(r, owners)
		churn := t.churnMail
		if u.Drive != "" && r.IntN(3) == 0 {
			churn = t.churnDrive
		} else if t.spec.ContactsPerUser+t.spec.EventsPerUser+t.spec.TasksPerUser > 0 && r.IntN(3) == 0 {
			churn = t.churnPIM
		} else if t.spec.hasOffice() && r.IntN(3) == 0 {
			churn = t.churnOffice
		}
		did, err := churn(r, u)
		if err != nil {
			return changed, err
		}
		if did {
			changed++
		}
	}
	return changed, nil
}

// mailboxOwners lists the active users with a mailbox: all but the people without a licence.
func (t *Tenant) mailboxOwners() roll {
	t.purgeExpired()
	t.mu.RLock()
	defer t.mu.RUnlock()
	others := slices.Clone(t.users.gone)
	s := t.seats()
	for place := s.licensed; place < s.people; place++ {
		if t.users.isActive(place) {
			others = append(others, place)
		}
	}
	slices.Sort(others)
	return t.users.without(others)
}

func (t *Tenant) drawUser(r *rand.Rand, users roll) UserInfo {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.userInfo(users.at(r.IntN(users.count)))
}

func (t *Tenant) churnMail(r *rand.Rand, u UserInfo) (did bool, err error) {
	dice := r.IntN(100)
	if dice < 30 {
		spec := MailSpec{Subject: sentence(r, 4)}
		if r.IntN(4) == 0 {
			spec.Attachments = []AttachmentSpec{{Name: "churn.pdf", Size: int64(1_000 + r.IntN(400_000)), Seed: uint64(r.IntN(20))}}
		}
		_, err := t.NewMail(u.ID, spec)
		return err == nil, err
	}
	err = t.withMailbox(u.ID, func(b *mailbox) (err error) {
		did, err = b.churn(r, dice)
		return err
	})
	return did, err
}

// churn changes one message or folder.
func (b *mailbox) churn(r *rand.Rand, dice int) (bool, error) {
	var folders []*mailFolder
	for _, f := range b.order {
		if !f.gone && f.visible() && !f.hidden && f.wellKnown != "msgfolderroot" {
			folders = append(folders, f)
		}
	}
	from, to := pick(r, folders), pick(r, folders)
	if dice >= 94 {
		return b.churnFolder(r, from, to, dice)
	}
	if len(from.items) == 0 {
		return false, nil
	}
	m := pick(r, from.items)
	switch {
	case dice < 50:
		return true, b.edit(m, func(c *mailContent) error {
			c.isRead = !c.isRead
			c.categories = []string{pick(r, []string{"Blue category", "Later"})}
			return nil
		})
	case dice < 75:
		b.moveMessage(m, to)
	default:
		b.discard(m)
	}
	return true, nil
}

func (b *mailbox) churnFolder(r *rand.Rand, from, to *mailFolder, dice int) (bool, error) {
	switch {
	case dice < 97:
		_, err := b.addFolder(from, fmt.Sprintf("New %d", r.IntN(1_000_000_000)), false)
		return true, err
	case from.wellKnown != "":
		return false, nil
	case dice < 99:
		// A place that is taken or below itself is no reason to stop.
		return b.moveFolder(from, to) == nil, nil
	default:
		return true, b.dropFolder(from)
	}
}

func (t *Tenant) churnDrive(r *rand.Rand, u UserInfo) (did bool, err error) {
	err = t.withDrive(u.ID, func(d *drive) (err error) {
		did, err = d.churn(r)
		return err
	})
	return did, err
}

// churn changes one file or folder.
func (d *drive) churn(r *rand.Rand) (bool, error) {
	item := d.order[r.IntN(len(d.order))]
	folder := d.root
	if item.isFolder() && !item.deleted {
		folder = item
	}
	switch dice := r.IntN(11); {
	case dice == 10 && !item.deleted && item != d.root:
		d.churnSharing(r, item)
	case dice < 3 || item.deleted || item == d.root:
		_, _, err := d.putFile(folder, fmt.Sprintf("churn %d.txt", r.IntN(1_000_000)),
			seededContent{seed: r.Uint64(), length: int64(r.IntN(300_000))}, onConflictReplace)
		return true, err
	case dice < 6 && item.isFile():
		d.setContent(item, editedContent(r, item.data))
	case dice < 8:
		return d.move(item, d.anyFolder(r), fmt.Sprintf("moved %d %s", r.IntN(1_000_000), item.name)) == nil, nil
	default:
		return true, d.remove(item)
	}
	return true, nil
}

// churnSharing shares an item, or takes back what was shared.
func (d *drive) churnSharing(r *rand.Rand, item *driveItem) {
	if len(item.grants) > 0 {
		d.ungrant(item, pick(r, item.grants).id)
		return
	}
	kind := pick(r, []string{"view", "edit"})
	d.grant(item, &permission{roles: linkRoles(kind), linkType: kind, linkScope: "organization"})
}

// editedContent changes a file a little when it is generated, wholly otherwise.
func editedContent(r *rand.Rand, data content) content {
	seeded, ok := data.(seededContent)
	if !ok || seeded.length == 0 {
		return seededContent{seed: r.Uint64(), length: int64(1_000 + r.IntN(100_000))}
	}
	return seeded.edited(r.Int64N(seeded.length/blockSize+1), r.Uint64())
}

func (d *drive) anyFolder(r *rand.Rand) *driveItem {
	for range 8 {
		if item := d.order[r.IntN(len(d.order))]; item.isFolder() && !item.deleted {
			return item
		}
	}
	return d.root
}
