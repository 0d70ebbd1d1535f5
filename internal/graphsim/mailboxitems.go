package graphsim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// storeItem is an item of any class: a message, or a contact, an event or a task.
type storeItem struct {
	box  *mailbox
	mail *message
	pim  *pimItem
}

// items are what lies in the folder, oldest first.
func (f storeFolder) items() []storeItem {
	list := make([]storeItem, 0, f.count())
	if f.mail != nil {
		for _, m := range f.mail.items {
			list = append(list, storeItem{box: f.box, mail: m})
		}
		return list
	}
	for _, it := range f.shelf.items {
		list = append(list, storeItem{box: f.box, pim: it})
	}
	return list
}

func (f storeFolder) count() int {
	if f.mail != nil {
		return len(f.mail.items)
	}
	return len(f.shelf.items)
}

func (i storeItem) folder() storeFolder {
	if i.mail != nil {
		return storeFolder{box: i.box, mail: i.mail.folder}
	}
	return storeFolder{box: i.box, shelf: i.pim.shelf}
}

// place is the number, the moves and the revision of the item.
func (i storeItem) place() (number uint64, moves, revision uint32) {
	if i.mail != nil {
		return i.mail.number, i.mail.moves, i.mail.revision
	}
	return i.pim.number, i.pim.moves, i.pim.revision
}

// storeItemID is an item's ID in this family. It changes with a move: mailboxItem is not
// among the types with immutable IDs ("Obtain immutable identifiers").
func (b *mailbox) storeItemID(class *itemClass, number uint64, moves uint32) string {
	if b.t.s.o.Exchange.OneIDSpace {
		return b.itemID(class.outlookItem, number, moves)
	}
	return b.itemID(class.item, number, moves)
}

func (i storeItem) id() string {
	number, moves, _ := i.place()
	return i.box.storeItemID(i.folder().class(), number, moves)
}

func (i storeItem) changeKey() string {
	number, _, revision := i.place()
	return changeKey(number, revision)
}

// received is when a message arrived; other items have been there since they were made.
func (i storeItem) received() time.Time {
	if i.mail != nil {
		return i.box.content(i.mail).received
	}
	return i.box.contentOf(i.pim).created
}

// storeItem finds an item of this mailbox by its ID in this family.
func (b *mailbox) storeItem(id string) (storeItem, error) {
	kind, number, moves, ok := b.parseID(id)
	if !ok {
		return storeItem{}, fail(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
	}
	class := classOf(func(k itemClass) bool {
		return kind == k.item || b.t.s.o.Exchange.OneIDSpace && kind == k.outlookItem
	})
	i := storeItem{box: b}
	switch {
	case class == nil:
		return i, mailItemNotFound()
	case class == &itemClasses[mailClass]:
		i.mail = b.messages[number]
	default:
		i.pim = b.store().items[number]
	}
	if i.mail == nil && (i.pim == nil || i.pim.kind != class.outlookItem) || !i.folder().shown() {
		return i, mailItemNotFound()
	}
	if _, now, _ := i.place(); now != moves {
		return i, mailItemNotFound()
	}
	return i, nil
}

// mailboxItemType is the mailboxItem resource type; that items can be filtered and sorted
// by when they were received stands on the page of their delta.
var mailboxItemType = func() *entityType {
	t := newType("mailboxItem", []string{"id", "type", "changeKey"}, kinds{numberProperty: {"size"},
		timeProperty: {"createdDateTime", "lastModifiedDateTime"}, collectionProperty: {"categories"}})
	t.properties["receiveddatetime"] = property{kind: timeProperty, filter: true, order: true, hidden: true}
	return t
}()

// mailboxFolderType is the mailboxFolder resource type.
var mailboxFolderType = newType("mailboxFolder", []string{"id", "displayName", "parentFolderId", "type", "wellKnownName", "parentMailboxUrl"},
	kinds{numberProperty: {"childFolderCount", "totalItemCount"}, navigationProperty: {"childFolders", "items"}})

func (i storeItem) render(sel selection) []byte {
	o := newObject(sel)
	o.str("@odata.etag", `W/"`+i.changeKey()+`"`)
	o.str("id", i.id())
	o.str("type", i.folder().class().itemType)
	if o.sel.has("size") {
		o.num("size", i.size())
	}
	o.str("changeKey", i.changeKey())
	if i.mail != nil {
		c := i.box.content(i.mail)
		o.strings("categories", c.categories)
		o.instant("createdDateTime", c.created)
		o.instant("lastModifiedDateTime", i.mail.modified)
		return o.done()
	}
	c := i.box.contentOf(i.pim)
	categories := c.values["categories"]
	setDefault(&categories, "[]")
	o.raw("categories", categories)
	o.instant("createdDateTime", c.created)
	o.instant("lastModifiedDateTime", i.pim.modified)
	return o.done()
}

// size is how many bytes the item has, without what its properties take.
func (i storeItem) size() int64 {
	if i.mail != nil {
		return mailSize(i.box.content(i.mail))
	}
	c := i.box.contentOf(i.pim)
	n := int64(1_000)
	for _, value := range c.values {
		n += int64(len(value))
	}
	if c.photo != nil {
		n += c.photo.size()
	}
	return n + attachmentSizes(c.attachments)
}

func mailSize(c *mailContent) int64 {
	return int64(1_000+len(c.subject)+len(c.text())) + attachmentSizes(c.attachments)
}

func attachmentSizes(list []*attachment) (n int64) {
	for _, a := range list {
		if a.item != nil {
			n += mailSize(a.item)
		} else {
			n += a.size()
		}
	}
	return n
}

// withStoreItem calls do with the item of the request, under the mailbox's lock.
func (c *call) withStoreItem(do func(storeItem) error) error {
	return c.withStoreFolder(func(f storeFolder) error {
		i, err := f.box.storeItem(c.param("item"))
		if err != nil {
			return err
		}
		if i.folder() != f {
			return mailItemNotFound()
		}
		return do(i)
	})
}

func listStoreItems(c *call) error {
	return c.withStoreFolder(func(f storeFolder) error {
		list := f.items()
		var decoded []any
		return c.list(listing{count: len(list), usual: 10, most: 1000, param: "$skip",
			render: func(i int) []byte { return list[i].render(c.sel) },
			value: func(i int, path string) any {
				if strings.EqualFold(path, "receivedDateTime") {
					return list[i].received()
				}
				if decoded == nil {
					decoded = make([]any, len(list))
				}
				if decoded[i] == nil {
					_ = json.Unmarshal(list[i].render(nil), &decoded[i]) // our own
				}
				return member(decoded[i], path)
			}})
	})
}

func getStoreItem(c *call) error {
	return c.withStoreItem(func(i storeItem) error { return c.entity(http.StatusOK, i.render(c.sel)) })
}

// deleteStoreItem removes an item for good; that it can be had back from a folder for
// deleted ones is not documented.
func deleteStoreItem(c *call) error {
	return c.withStoreItem(func(i storeItem) error {
		if i.mail != nil {
			i.box.discard(i.mail)
		} else {
			i.box.dropItem(i.pim)
		}
		return c.empty(http.StatusNoContent)
	})
}

// storeItemsDelta tracks the items of one folder ("mailboxItem: delta"): $filter and
// $orderby as message: delta has them.
func storeItemsDelta(c *call) error {
	return c.withStoreFolder(func(f storeFolder) (err error) {
		if err := f.box.checkRoom(); err != nil {
			return err
		}
		round := itemRound{folder: f, call: c}
		if token := c.deltaToken(); token == "" || token == "latest" {
			if round.deltaMail, err = c.readDeltaMail(); err != nil {
				return err
			}
			c.extra = round.encode()
		} else {
			cur, _ := c.s.unseal(token)
			round.deltaMail = decodeDeltaMail(cur.Extra)
		}
		src := deltaSource{collection: "items/" + f.id(), generation: f.box.generation, log: f.log(), list: round.list, render: round.changes}
		return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleMail})
	})
}

// itemRound is a round over one folder's items.
type itemRound struct {
	deltaMail
	folder storeFolder
	call   *call
}

func (r itemRound) show(i storeItem) []byte {
	return append([]byte(`{"@odata.type":"#microsoft.graph.mailboxItem",`), i.render(r.call.sel)[1:]...)
}

// list goes through the items by their number; where $filter or $orderby ask for it, from
// the newest to the oldest, by an ordinal made of time and number.
func (r itemRound) list(after uint64, limit int) (page [][]byte, reached uint64, more bool) {
	type ranked struct {
		storeItem
		key uint64
	}
	newest := r.newest || !r.since.IsZero()
	var all []ranked
	for _, i := range r.folder.items() {
		number, _, _ := i.place()
		x := ranked{i, number}
		if newest {
			received := i.received()
			if !r.lists(received) {
				continue
			}
			x.key = uint64(max(0, received.Unix()))<<20 | number&0xfffff
		}
		all = append(all, x)
	}
	if newest {
		slices.SortFunc(all, func(x, y ranked) int { return cmp.Compare(y.key, x.key) })
	}
	if !r.since.IsZero() {
		all = all[:min(len(all), maxFiltered)]
	}
	for _, x := range all {
		if after != 0 && (newest && x.key >= after || !newest && x.key <= after) {
			continue
		}
		if len(page) == limit {
			return page, reached, true
		}
		page, reached = append(page, r.show(x.storeItem)), x.key
	}
	return page, reached, false
}

func (r itemRound) changes(keys []string) (page [][]byte) {
	b, class := r.folder.box, r.folder.class()
	for _, key := range keys {
		number, moves := parseMessageKey(key)
		id := b.storeItemID(class, number, moves)
		i, err := b.storeItem(id)
		switch {
		case err != nil || i.folder() != r.folder:
			page = append(page, []byte(`{"@odata.type":"#microsoft.graph.mailboxItem","id":`+quoted(id)+`,"@removed":{"reason":"deleted"}}`))
		case r.lists(i.received()):
			page = append(page, r.show(i))
		}
	}
	return page
}
