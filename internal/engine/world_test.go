package engine_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// node is one folder or item of the model.
type node struct {
	id, parent, name string
	folder, moved    bool
	version, content int
	moves            int
}

func (n node) etag() string { return fmt.Sprint("v", n.version) }
func (n node) raw() string {
	return fmt.Sprintf(`{"ID":%q,"parent":%q,"name":%q,"version":%d}`, n.id, n.parent, n.name, n.version)
}
func (n node) text() string { return fmt.Sprintf("content %d of %s", n.content, n.id) }

// event is the last thing that happened to an ID in a collection.
type event struct {
	seq     int
	present bool
}

// world is a mailbox (scoped) or a drive that changes while it is read, and a delta server that
// tells the truth about it in as awkward a way as the rules of delta queries allow.
type world struct {
	mu     sync.Mutex
	rnd    *rand.Rand
	scoped bool
	lists  bool // folders have no delta: they are listed, after the first time by versions alone
	stale  bool // enumerations page through the state at their first page
	seq    int
	nodes  map[string]node
	dead   map[string]node // removed folders, which may come back
	log    map[string]map[string]event
	born   map[string]int  // collections that came back: links from before are void
	frozen [][]engine.Item // enumerations under way when stale

	pageSize  int
	mutations int // how many changes the current run will still meet under way
	faults    int // how many faults are left
	killed    bool
	downloads int
	stuck     map[string]bool // items whose content answers Transient for good: their list (true), or what is in it
	cold      map[string]bool // those of them that answer as throttled
	busy      int             // how many items will be throttled once, each another
	hit       map[string]bool // those that were
	dry       int             // how many contents will be throttled, whatever they are
	broke     int             // how many contents our own account book will refuse
}

func newWorld(seed uint64, scoped bool) *world {
	w := &world{
		rnd: rand.New(rand.NewPCG(seed, 1)), scoped: scoped, nodes: map[string]node{}, dead: map[string]node{},
		log: map[string]map[string]event{}, born: map[string]int{},
	}
	w.stale = w.rnd.IntN(2) == 0
	return w
}

func (w *world) collection(n node) string {
	if !w.scoped || n.folder {
		return engine.RootCollection
	}
	return n.parent
}

func (w *world) note(collection, id string, present bool) {
	if w.log[collection] == nil {
		w.log[collection] = map[string]event{}
	}
	w.seq++
	w.log[collection][id] = event{w.seq, present}
}

func (w *world) put(n node) {
	old, ok := w.nodes[n.id]
	if ok && w.collection(old) != w.collection(n) {
		defer w.note(w.collection(old), n.id, false)
	}
	if ok && old.parent != n.parent {
		n.moved = true
		n.moves++
	}
	w.nodes[n.id] = n
	w.note(w.collection(n), n.id, true)
}

func (w *world) drop(id string) {
	n := w.nodes[id]
	w.remove(id)
	w.note(w.collection(n), id, false)
	if n.folder {
		w.dead[id] = n
	}
}

// late reports whether a folder changed after what it holds, which may thus be listed before it.
func (w *world) late(folder node) bool {
	for id, n := range w.nodes {
		if n.parent == folder.id && w.log[w.collection(n)][id].seq < w.log[w.collection(folder)][folder.id].seq {
			return true
		}
	}
	return false
}

// remove takes a node and all below it away. What lay below may be told or not, unless nobody could
// know: it was moved there, or is a folder that may not have been listed.
func (w *world) remove(id string) {
	for _, c := range slices.Sorted(maps.Keys(w.nodes)) {
		n, ok := w.nodes[c]
		if !ok || n.parent != id {
			continue
		}
		told := n.moved || w.late(n) || w.rnd.IntN(2) == 0
		w.remove(c)
		w.dead[c] = n
		delete(w.log[w.collection(n)], c)
		if told && (n.folder || !w.scoped) {
			w.note(w.collection(n), c, false)
		}
	}
	delete(w.nodes, id)
	if w.scoped {
		delete(w.log, id)
	}
}

func (w *world) pick(want func(node) bool) (node, bool) {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(w.nodes)) {
		if want(w.nodes[id]) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return node{}, false
	}
	return w.nodes[ids[w.rnd.IntN(len(ids))]], true
}

func isFolder(n node) bool { return n.folder }
func isItem(n node) bool   { return !n.folder }

func (w *world) under(id, ancestor string) bool {
	for ; id != ""; id = w.nodes[id].parent {
		if id == ancestor {
			return true
		}
	}
	return false
}

// change does one random thing to the model.
func (w *world) change() {
	folder, hasFolder := w.pick(isFolder)
	item, hasItem := w.pick(isItem)
	switch op := w.rnd.IntN(20); {
	case op < 2 || !hasFolder:
		parent := ""
		if hasFolder && w.rnd.IntN(3) > 0 {
			parent = folder.id
		}
		w.put(node{id: fmt.Sprint("f", w.seq), parent: parent, name: "folder", folder: true})
	case op < 8 || !hasItem:
		w.put(node{id: fmt.Sprint("m", w.seq), parent: folder.id, name: "item"})
	case op < 10: // new content
		item.version++
		item.content++
		w.put(item)
	case op < 12: // new metadata
		item.version++
		item.name += "'"
		w.put(item)
	case op < 16: // move, which some servers count as a new version
		item.parent = folder.id
		item.version += w.rnd.IntN(2)
		w.put(item)
	case op < 17:
		to, _ := w.pick(isFolder)
		if !w.under(to.id, folder.id) {
			folder.parent, folder.version = to.id, folder.version+1
			w.put(folder)
		}
	case op < 18:
		w.drop(item.id)
	case op < 19:
		w.drop(folder.id)
	default:
		w.revive()
	}
}

// revive brings a removed folder back under its old ID; what it held stays away, and is told.
func (w *world) revive() {
	for _, id := range slices.Sorted(maps.Keys(w.dead)) {
		n := w.dead[id]
		if _, ok := w.nodes[n.parent]; !n.folder || !ok && n.parent != "" {
			continue
		}
		delete(w.dead, id)
		n.version++
		w.put(n)
		w.born[id] = w.seq
		w.tellDead(id)
		return
	}
}

func (w *world) tellDead(parent string) {
	for _, id := range slices.Sorted(maps.Keys(w.dead)) {
		if n := w.dead[id]; n.parent == parent {
			delete(w.dead, id)
			if n.folder || !w.scoped {
				w.note(engine.RootCollection, id, false)
			}
			w.tellDead(id)
		}
	}
}

// fault draws a fault for a call, if one is left.
func (w *world) fault(odds int) bool {
	if w.faults == 0 || w.rnd.IntN(odds) > 0 {
		return false
	}
	w.faults--
	return true
}

func (w *world) meddle() {
	for w.mutations > 0 && w.rnd.IntN(3) == 0 {
		w.mutations--
		w.change()
	}
}

func (w *world) Tree(string) (string, bool) { return engine.RootCollection, !w.scoped }

func (w *world) Page(_ context.Context, collection, link string) (engine.Page, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.meddle()
	switch {
	case w.fault(8):
		w.killed = true
		return engine.Page{}, tenantry.Errorf(tenantry.Canceled, "killed")
	case w.fault(8):
		return engine.Page{}, tenantry.Errorf(tenantry.Throttled, "slow down")
	case link != "" && w.fault(6):
		return engine.Page{}, tenantry.Errorf(tenantry.Resync, "link expired")
	case collection != "" && w.fault(10):
		return engine.Page{}, tenantry.Errorf(tenantry.NotFound, "no such folder, they say")
	}
	if _, ok := w.nodes[collection]; collection != "" && !ok {
		return engine.Page{}, tenantry.Errorf(tenantry.NotFound, "no such folder")
	}
	if since := seqOf(link); link != "" && !w.lists && since < w.born[collection] {
		return engine.Page{}, tenantry.Errorf(tenantry.Resync, "the link is of an older folder")
	}
	if w.lists && collection != engine.RootCollection {
		return w.listPage(collection, link), nil
	}
	return w.page(collection, link), nil
}

// listPage serves links "l<offset>" of whole items and "v<offset>" of their versions. It counts from the
// front as it is now, as services do: what is removed under way lets others slip through between two pages.
func (w *world) listPage(collection, link string) engine.Page {
	form, offset := "l", 0
	if link != "" {
		form = link[:1]
		_, _ = fmt.Sscanf(link[1:], "%d", &offset)
	}
	var items []engine.Item
	for _, id := range slices.Sorted(maps.Keys(w.nodes)) {
		n := w.nodes[id]
		if w.collection(n) != collection {
			continue
		}
		item := w.item(n)
		if form == "v" {
			item = engine.Item{ID: id, Parent: n.parent, Kind: "item", ETag: n.etag(), Load: func(context.Context) (engine.Item, error) {
				return w.load(id)
			}}
		}
		items = append(items, item)
	}
	start, end := min(offset, len(items)), min(offset+w.pageSize, len(items))
	p := engine.Page{Items: items[start:end], Done: end == len(items), Next: fmt.Sprint(form, end), Listed: true}
	if p.Done {
		p.Next = "v0"
	}
	return p
}

// load is the whole item, wherever it is by now.
func (w *world) load(id string) (engine.Item, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.meddle()
	if w.fault(12) {
		return engine.Item{}, tenantry.Errorf(tenantry.Transient, "cut")
	}
	n, ok := w.nodes[id]
	if !ok {
		return engine.Item{}, tenantry.Errorf(tenantry.NotFound, "no such item")
	}
	return w.item(n), nil
}

func seqOf(link string) (since int) {
	_, _ = fmt.Sscanf(link[strings.LastIndexAny(link, "ti.")+1:], "%d", &since)
	return since
}

// page serves links of three forms: "" (from the start), "t<seq>" (changes since seq),
// "i<start>.<seq>" (the same within an enumeration that began at start), "s<n>.<offset>.<seq>" (frozen enumeration n).
func (w *world) page(collection, link string) engine.Page {
	var n, offset, since int
	if _, err := fmt.Sscanf(link, "s%d.%d.%d", &n, &offset, &since); err == nil {
		return w.frozenPage(n, offset, since)
	}
	if link == "" && w.stale {
		var items []engine.Item
		for _, id := range slices.Sorted(maps.Keys(w.nodes)) {
			if w.collection(w.nodes[id]) == collection {
				items = append(items, w.item(w.nodes[id]))
			}
		}
		w.frozen = append(w.frozen, items)
		return w.frozenPage(len(w.frozen)-1, 0, w.seq)
	}
	start := w.seq // an enumeration owes removals only of what it may have shown itself
	if _, err := fmt.Sscanf(link, "i%d.%d", &start, &since); err != nil && link != "" {
		start, since = 0, seqOf(link)
	}
	var ids []string
	for id, e := range w.log[collection] {
		if e.seq > since {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return w.log[collection][a].seq - w.log[collection][b].seq })
	p := engine.Page{Done: len(ids) <= w.pageSize}
	last := w.seq
	if !p.Done {
		ids = ids[:w.pageSize]
		last = w.log[collection][ids[len(ids)-1]].seq
	}
	listed := map[string]bool{}
	for _, id := range ids {
		if listed[id] = true; w.log[collection][id].present {
			p.Items = append(p.Items, w.item(w.nodes[id]))
		} else if w.log[collection][id].seq > start {
			p.Removed = append(p.Removed, id)
		}
	}
	// Some servers repeat what has not changed since it was told.
	told := func(n node) bool {
		return w.collection(n) == collection && !listed[n.id] && w.log[collection][n.id].seq <= since
	}
	if n, ok := w.pick(told); ok && w.rnd.IntN(4) == 0 {
		p.Items = append(p.Items, w.item(n))
	}
	if p.Next = fmt.Sprintf("t%d", last); start > 0 && !p.Done {
		p.Next = fmt.Sprintf("i%d.%d", start, last)
	}
	return p
}

func (w *world) frozenPage(n, offset, since int) engine.Page {
	items := w.frozen[n]
	end := min(offset+w.pageSize, len(items))
	p := engine.Page{Items: items[offset:end], Done: end == len(items)}
	if p.Next = fmt.Sprintf("t%d", since); !p.Done {
		p.Next = fmt.Sprintf("s%d.%d.%d", n, end, since)
	}
	return p
}

// item shows a node the way its service does: a drive knows a hash of its content, mail does not.
func (w *world) item(n node) engine.Item {
	item := engine.Item{ID: n.id, Parent: n.parent, Kind: "item", Name: n.name, ETag: n.etag(), Raw: []byte(n.raw())}
	if n.folder {
		item.Kind = engine.KindFolder
		if w.scoped {
			item.Collection = n.id
		}
		return item
	}
	if !w.scoped {
		item.Content = n.text()
	}
	item.Parts = func(context.Context) ([]engine.ItemPart, error) { return w.parts(n.id) }
	return item
}

// stick makes up to n items answer Transient for good, and all others well.
func (w *world) stick(n int) {
	w.stuck, w.cold, w.hit = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for range n {
		if item, ok := w.pick(isItem); ok {
			w.stuck[item.id] = w.rnd.IntN(2) == 0
			// More, with nothing else to read, look like a tenant that is throttled.
			if len(w.cold) < 5 && w.rnd.IntN(2) == 0 {
				w.cold[item.id] = true
			}
		}
	}
}

// answered is a cause that came from the service.
type answered struct{}

func (answered) Error() string { return "the service" }
func (answered) Answered() int { return 503 }

func (w *world) never(id string) error {
	if w.cold[id] {
		return tenantry.E(tenantry.Throttled, "never", answered{})
	}
	return tenantry.Errorf(tenantry.Transient, "never")
}

// refusal throttles content that is not to blame for it.
func (w *world) refusal(id string) error {
	_, stuck := w.stuck[id]
	switch {
	case w.broke > 0 && w.rnd.IntN(2) == 0:
		w.broke--
		return tenantry.Errorf(tenantry.Throttled, "busy, says the account book")
	case stuck:
		return nil
	case w.dry > 0:
		w.dry--
	case w.busy > 0 && !w.hit[id]:
		w.busy--
		w.hit[id] = true
	default:
		return nil
	}
	return tenantry.E(tenantry.Throttled, "busy", answered{})
}

// Locate tells where an item is, as a mailbox does.
func (w *world) Locate(e repository.Entry) func(context.Context) (string, error) {
	if e.Kind != "item" || !w.scoped {
		return nil
	}
	return func(context.Context) (string, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		defer w.meddle()
		if w.fault(12) {
			return "", tenantry.Errorf(tenantry.Transient, "cut")
		}
		n, ok := w.nodes[e.ID]
		if !ok {
			return "", tenantry.Errorf(tenantry.NotFound, "no such item")
		}
		return n.parent, nil
	}
}

func (w *world) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	if e.Kind != "item" {
		return nil
	}
	return func(context.Context) ([]engine.ItemPart, error) { return w.parts(e.ID) }
}

func (w *world) parts(id string) ([]engine.ItemPart, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.meddle()
	if w.fault(12) {
		return nil, tenantry.Errorf(tenantry.Transient, "cut")
	}
	n, ok := w.nodes[id]
	if !ok {
		return nil, tenantry.Errorf(tenantry.NotFound, "no such item")
	}
	if err := w.refusal(id); err != nil {
		return nil, err
	}
	if w.stuck[id] {
		return nil, w.never(id)
	}
	return []engine.ItemPart{{Name: "content", Version: fmt.Sprint(n.content), Open: func(context.Context) (io.ReadCloser, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, stuck := w.stuck[id]; stuck {
			return nil, w.never(id)
		}
		w.downloads++
		return io.NopCloser(strings.NewReader(n.text())), nil
	}}}, nil
}

// Quiet: what has a delta answers with one empty page at rest.
func (w *world) Quiet(collection, _ string) bool {
	return collection != engine.RootCollection && !w.lists
}
