package graphsim

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pimStore is what a mailbox holds besides mail: contacts, calendars, tasks. It is
// laid out when it is first asked for, and guarded by the mailbox's lock.
type pimStore struct {
	shelves    map[uint64]*shelf
	order      []*shelf // by age
	items      map[uint64]*pimItem
	lastNumber uint64
	allFolders *changeLog          // of the mailbox
	logs       map[byte]*changeLog // of shelves, by kind
	contacts   *shelf              // the default ones
	calendar   *shelf
	tasks      *shelf
	rules      entryList
	categories entryList
	settings   props
	sent       []SentTruth
}

// shelf is what items lie in: a contact folder, a calendar, a task list. Its
// number never changes, so its ID does not either.
type shelf struct {
	kind     byte
	number   uint64
	name     string
	parent   *shelf // of a contact folder
	values   props  // what else clients can set
	group    uint64 // of a calendar: its calendar group
	foreign  *address
	revision uint32
	gone     bool
	items    []*pimItem // by number
	log      changeLog  // of pimKey
}

// pimItem is a contact, an event or series, or a task. Its content is generated
// until somebody changes it.
type pimItem struct {
	kind     byte // contactKind, eventKind or taskKind
	number   uint64
	shelf    *shelf
	moves    uint32 // part of the ID that is not immutable
	revision uint32
	own      *pimContent
	modified time.Time
}

// pimContent is what an item says. It does not change once an item shows it.
type pimContent struct {
	values         props
	created        time.Time
	properties     map[string]string // single-value extended properties
	attachments    []*attachment
	lastAttachment uint32
	photo          content // of a contact
	photoType      string
	series         *series              // of a series master
	parts          map[string]entryList // of a task
}

func (c *pimContent) clone() *pimContent {
	twin := *c
	twin.values, twin.properties = maps.Clone(c.values), maps.Clone(c.properties)
	twin.attachments = slices.Clone(c.attachments)
	twin.parts = maps.Clone(c.parts)
	twin.series = c.series.clone()
	return &twin
}

func (c *pimContent) add(a *attachment) {
	c.lastAttachment++
	a.number = c.lastAttachment
	if a.modified.IsZero() {
		a.modified = c.created
	}
	c.attachments = append(c.attachments, a)
}

// The kinds of IDs. Of items, the small letter is the kind of the immutable ID.
const (
	contactKind       = 'C'
	eventKind         = 'E'
	occurrenceKind    = 'O'
	taskKind          = 'T'
	contactFolderKind = 'D'
	calendarKind      = 'K'
	calendarGroupKind = 'G'
	taskListKind      = 'L'

	immutable = 'a' - 'A'
)

func (b *mailbox) shelfID(s *shelf) string { return b.itemID(s.kind, s.number, 0) }

func (b *mailbox) pimID(it *pimItem, unchanging bool) string {
	if unchanging {
		return b.itemID(it.kind+immutable, it.number, 0)
	}
	return b.itemID(it.kind, it.number, it.moves)
}

// pimKey is how a shelf's log names an item while it lies there.
func pimKey(it *pimItem) string {
	return strconv.FormatUint(it.number, 10) + "." + strconv.FormatUint(uint64(it.moves), 10)
}

// store is what the mailbox holds besides mail, laid out on first use.
func (b *mailbox) store() *pimStore {
	if b.pim == nil {
		b.pim = &pimStore{allFolders: &b.allFolders, shelves: map[uint64]*shelf{}, items: map[uint64]*pimItem{}, logs: map[byte]*changeLog{}}
		b.layOutPIM()
	}
	return b.pim
}

func (p *pimStore) log(kind byte) *changeLog {
	if p.logs[kind] == nil {
		p.logs[kind] = &changeLog{}
	}
	return p.logs[kind]
}

// putShelf adds a shelf without a note: what the seed lays out is not a change.
func (p *pimStore) putShelf(s *shelf) *shelf {
	p.lastNumber++
	s.number = p.lastNumber
	p.shelves[s.number] = s
	p.order = append(p.order, s)
	return s
}

func (p *pimStore) noteShelf(s *shelf) {
	s.revision++
	p.log(s.kind).note(strconv.FormatUint(s.number, 10))
	p.allFolders.note(shelfKey(s))
}

// list returns the shelves of a kind that are there, by age.
func (p *pimStore) list(kind byte, keep func(*shelf) bool) (list []*shelf) {
	for _, s := range p.order {
		if s.kind == kind && !s.gone && (keep == nil || keep(s)) {
			list = append(list, s)
		}
	}
	return list
}

func (p *pimStore) below(kind byte, parent *shelf) []*shelf {
	return p.list(kind, func(s *shelf) bool { return s.parent == parent })
}

func (p *pimStore) named(kind byte, parent *shelf, name string) *shelf {
	for _, s := range p.below(kind, parent) {
		if strings.EqualFold(s.name, name) {
			return s
		}
	}
	return nil
}

// put adds an item without a note.
func (p *pimStore) put(kind byte, s *shelf, own *pimContent, modified time.Time) *pimItem {
	p.lastNumber++
	it := &pimItem{kind: kind, number: p.lastNumber, own: own, modified: modified}
	p.items[it.number] = it
	s.insert(it)
	return it
}

func (s *shelf) place(number uint64) (int, bool) {
	return slices.BinarySearchFunc(s.items, number, func(it *pimItem, n uint64) int {
		switch {
		case it.number < n:
			return -1
		case it.number > n:
			return 1
		}
		return 0
	})
}

func (s *shelf) insert(it *pimItem) {
	at, _ := s.place(it.number)
	s.items = slices.Insert(s.items, at, it)
	it.shelf = s
}

func (s *shelf) remove(it *pimItem) {
	if at, ok := s.place(it.number); ok {
		s.items = slices.Delete(s.items, at, at+1)
	}
	it.shelf = nil
}

// The changes. All note what they did in the logs and are what both Graph and the
// Go methods end in.

func (p *pimStore) addItem(kind byte, s *shelf, c *pimContent) *pimItem {
	it := p.put(kind, s, c, time.Now().UTC())
	s.log.note(pimKey(it))
	return it
}

func (b *mailbox) editItem(it *pimItem, change func(*pimContent) error) error {
	own := b.contentOf(it).clone()
	if err := change(own); err != nil {
		return err
	}
	it.own, it.modified = own, time.Now().UTC()
	it.revision++
	it.shelf.log.note(pimKey(it))
	return nil
}

func (b *mailbox) moveItem(it *pimItem, to *shelf) {
	if it.shelf == to {
		return
	}
	it.shelf.log.note(pimKey(it))
	it.shelf.remove(it)
	it.moves++
	it.revision++
	it.modified = time.Now().UTC()
	to.insert(it)
	to.log.note(pimKey(it))
}

// dropItem removes an item so that no client sees it any more.
func (b *mailbox) dropItem(it *pimItem) {
	it.shelf.log.note(pimKey(it))
	it.shelf.remove(it)
	delete(b.store().items, it.number)
}

// dropShelf removes a shelf with all it holds.
func (b *mailbox) dropShelf(s *shelf) {
	p := b.store()
	for _, child := range p.below(s.kind, s) {
		b.dropShelf(child)
	}
	for len(s.items) > 0 {
		b.dropItem(s.items[len(s.items)-1])
	}
	s.gone = true
	p.noteShelf(s)
}

// contentOf is what an item says; generated unless somebody wrote it.
func (b *mailbox) contentOf(it *pimItem) *pimContent {
	if it.own != nil {
		return it.own
	}
	switch it.kind {
	case contactKind:
		return b.generateContact(it.number)
	case taskKind:
		return b.generateTask(it.number)
	}
	return b.generateEvent(it.number)
}

// findShelf finds a shelf of a kind by ID.
func (b *mailbox) findShelf(kind byte, id string) (*shelf, error) {
	given, number, _, ok := b.parseID(id)
	if !ok {
		return nil, fail(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
	}
	s := b.store().shelves[number]
	if given != kind || s == nil || s.kind != kind || s.gone {
		return nil, mailItemNotFound()
	}
	return s, nil
}

// findItem finds an item of a kind by either form of its ID.
func (b *mailbox) findItem(kind byte, id string) (*pimItem, error) {
	given, number, moves, ok := b.parseID(id)
	if !ok {
		return nil, fail(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
	}
	it := b.store().items[number]
	if it == nil || it.kind != kind || (given != kind && given != kind+immutable) || (given == kind && it.moves != moves) {
		return nil, mailItemNotFound()
	}
	return it, nil
}

// pimView is how a request wants items shown.
type pimView struct {
	sel       selection
	immutable bool
	text      bool // Prefer: outlook.body-content-type="text"
	zone      string
	loc       *time.Location
	expand    []expansion
}

// pimView reads what a request says about how it wants items; zones that nobody
// knows are refused.
func (c *call) pimView() (pimView, error) {
	v := pimView{sel: c.sel, immutable: c.prefer("IdType=ImmutableId"), text: c.prefer("outlook.body-content-type=text"),
		zone: "UTC", loc: time.UTC, expand: c.expand}
	if name := c.preferred("outlook.timezone"); name != "" {
		loc, err := zone(name)
		if err != nil {
			return v, err
		}
		v.zone, v.loc = name, loc
		c.applied(`outlook.timezone="` + name + `"`)
	}
	return v, nil
}

// preferred returns the value of a Prefer header's key=value.
func (c *call) preferred(key string) string {
	for part := range c.preferences {
		if name, value, ok := strings.Cut(part, "="); ok && strings.EqualFold(name, key) {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

func (v pimView) expands(name string) (options url.Values, ok bool) { return expanded(v.expand, name) }

// expanded returns the options of a relation that $expand names.
func expanded(list []expansion, name string) (options url.Values, ok bool) {
	for _, e := range list {
		if strings.EqualFold(e.name, name) {
			return e.options, true
		}
	}
	return nil, false
}

// renderHead writes what every Outlook item begins with.
func (b *mailbox) renderHead(o *object, it *pimItem, c *pimContent, v pimView) {
	key := changeKey(it.number, it.revision)
	o.str("@odata.etag", `W/"`+key+`"`)
	o.str("id", b.pimID(it, v.immutable))
	o.instant("createdDateTime", c.created)
	o.instant("lastModifiedDateTime", it.modified.UTC().Truncate(time.Second).Add(time.Duration(it.number%3)*123_456_700))
	o.str("changeKey", key)
}

// renderProperties writes the extended properties that $expand asks for.
func (v pimView) renderProperties(o *object, c *pimContent) {
	if options, ok := v.expands("singleValueExtendedProperties"); ok {
		renderProperties(o, c.properties, options)
	}
}

// renderProperties writes those extended properties that the filter of $expand names and
// that are there: there is no way to get all of them ("Extended properties overview").
func renderProperties(o *object, properties map[string]string, options url.Values) {
	var found []string
	for _, id := range quotedTexts(options.Get("$filter")) {
		if value, ok := properties[id]; ok {
			found = append(found, `{"id":`+quoted(id)+`,"value":`+quoted(value)+`}`)
		}
	}
	if len(found) > 0 {
		o.always("singleValueExtendedProperties")
		o.b = append(o.b, "["+strings.Join(found, ",")+"]"...)
	}
}

// checkMatch holds an If-Match header against an item.
func (c *call) checkMatch(it *pimItem) error {
	match := c.r.Header.Get("If-Match")
	if match == "" || match == "*" || match == `W/"`+changeKey(it.number, it.revision)+`"` {
		return nil
	}
	return fail(http.StatusPreconditionFailed, "ErrorIrresolvableConflict",
		"The send or update operation could not be performed because the change key does not match the current change key for the item.")
}

// pimDelta serves a round over the items of a shelf.
func (c *call) pimDelta(b *mailbox, s *shelf, kind byte, v pimView, render func(*pimItem, pimView) []byte) error {
	if err := b.checkRoom(); err != nil {
		return err
	}
	typed := func(it *pimItem) []byte {
		v.sel = c.sel
		return append([]byte(`{"@odata.type":"#microsoft.graph.`+entityNames[kind]+`",`), render(it, v)[1:]...)
	}
	src := deltaSource{collection: b.shelfID(s), generation: b.generation, log: &s.log,
		list: func(after uint64, limit int) (page [][]byte, reached uint64, more bool) {
			at, found := s.place(after)
			if found {
				at++
			}
			end := min(at+limit, len(s.items))
			for _, it := range s.items[at:end] {
				page, reached = append(page, typed(it)), it.number
			}
			return page, reached, end < len(s.items)
		},
		render: func(keys []string) (page [][]byte) {
			shown := map[string]bool{}
			for _, key := range keys {
				number, moves := parseMessageKey(key)
				it := b.store().items[number]
				id := b.pimID(&pimItem{kind: kind, number: number, moves: moves}, v.immutable)
				switch here := it != nil && it.shelf == s && (v.immutable || it.moves == moves); {
				case shown[id]:
				case here:
					page = append(page, typed(it))
				default:
					page = append(page, removedItem(kind, id))
				}
				shown[id] = true
			}
			return page
		},
	}
	return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleMail})
}

var entityNames = map[byte]string{contactKind: "contact", eventKind: "event", taskKind: "todoTask"}

func removedItem(kind byte, id string) []byte {
	return []byte(`{"@odata.type":"#microsoft.graph.` + entityNames[kind] + `","id":` + quoted(id) + `,"@removed":{"reason":"deleted"}}`)
}

// shelfDelta serves a round over the shelves of a kind.
func (c *call) shelfDelta(b *mailbox, kind byte, tracks func(*shelf) bool, render func(*shelf, selection) []byte) error {
	p := b.store()
	src := deltaSource{collection: b.owner.id + "/shelves/" + string(kind), generation: b.generation, log: p.log(kind),
		list: func(after uint64, limit int) (page [][]byte, reached uint64, more bool) {
			for _, s := range p.list(kind, tracks) {
				if s.number <= after {
					continue
				}
				if len(page) == limit {
					return page, reached, true
				}
				page, reached = append(page, render(s, c.sel)), s.number
			}
			return page, reached, false
		},
		render: func(keys []string) (page [][]byte) {
			for _, key := range keys {
				number, _ := strconv.ParseUint(key, 10, 64)
				s := p.shelves[number]
				if !s.gone && (tracks == nil || tracks(s)) {
					page = append(page, render(s, c.sel))
				} else {
					page = append(page, []byte(`{"id":`+quoted(b.shelfID(s))+`,"@removed":{"reason":"deleted"}}`))
				}
			}
			return page
		},
	}
	return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleMail})
}

// pathsTo multiplies an operation over the paths that lead to the same items.
func pathsTo(bases []string, operations ...route) (list []route) {
	for _, base := range bases {
		for _, r := range operations {
			r.pattern = strings.TrimSuffix(base+"/"+r.pattern, "/")
			list = append(list, r)
		}
	}
	return list
}

// validation is how Outlook refuses a value that makes no sense.
func validation(format string, args ...any) *apiError {
	return fail(http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation: %s", fmt.Sprintf(format, args...))
}
