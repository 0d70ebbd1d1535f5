package graphsim

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxFiltered is how many messages a tracked folder with a $filter lists at most
// (message: delta).
const maxFiltered = 5_000

// deltaMail is what the first call of a round over messages asked for; the tokens
// carry it.
type deltaMail struct {
	since  time.Time // zero: no filter
	strict bool      // gt instead of ge
	newest bool      // $orderby=receivedDateTime desc
	change string    // created, updated or deleted; "" is all
	expand string
}

// readDeltaMail reads the options of a first call. Only these are documented:
// $filter on receivedDateTime with ge or gt, $orderby=receivedDateTime desc, and
// changeType (message: delta; Get incremental changes to messages).
func (c *call) readDeltaMail() (d deltaMail, err error) {
	if f := c.filter; f != nil {
		since, isTime := instantOf(f.value)
		if f.op != "compare" || !strings.EqualFold(f.path, "receivedDateTime") || (f.name != "ge" && f.name != "gt") || !isTime {
			return d, fail(http.StatusBadRequest, "ErrorInvalidUrlQueryFilter", "The filter of a tracked folder is receivedDateTime ge or gt a value.")
		}
		d.since, d.strict = since, f.name == "gt"
	}
	for _, by := range c.order {
		if len(c.order) > 1 || !strings.EqualFold(by.path, "receivedDateTime") || !by.desc {
			return d, fail(http.StatusBadRequest, "ErrorInvalidUrlQuery", "A tracked folder is ordered by receivedDateTime desc only.")
		}
		d.newest = true
	}
	d.change, d.expand = c.query.Get("changeType"), c.query.Get("$expand")
	if !slices.Contains([]string{"", "created", "updated", "deleted"}, d.change) {
		return d, fail(http.StatusBadRequest, "ErrorInvalidUrlQuery", "The changeType '%s' is none of created, updated and deleted.", d.change)
	}
	return d, nil
}

func (d deltaMail) encode() string {
	q := url.Values{}
	if !d.since.IsZero() {
		q.Set("since", d.since.UTC().Format(time.RFC3339Nano))
	}
	for name, on := range map[string]bool{"strict": d.strict, "newest": d.newest} {
		if on {
			q.Set(name, "1")
		}
	}
	for name, value := range map[string]string{"change": d.change, "expand": d.expand} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q.Encode()
}

func decodeDeltaMail(s string) (d deltaMail) {
	q, _ := url.ParseQuery(s) // our own
	d.since, _ = time.Parse(time.RFC3339Nano, q.Get("since"))
	d.strict, d.newest, d.change, d.expand = q.Has("strict"), q.Has("newest"), q.Get("change"), q.Get("expand")
	return d
}

// lists reports whether a round shows an item that is there, by when it was received.
func (d deltaMail) lists(received time.Time) bool {
	return d.since.IsZero() || received.After(d.since) || (!d.strict && received.Equal(d.since))
}

// messagesDelta tracks the messages of one folder. A message that moved away is a
// removal here and an addition there.
func messagesDelta(c *call) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	f, err := b.folder(c.param("folder"))
	if err != nil || f.search {
		return fail(http.StatusNotFound, "ErrorSyncFolderNotFound", "The specified folder could not be found in the store.")
	}
	if err := b.checkRoom(); err != nil {
		return err
	}
	round := folderRound{box: b, folder: f, view: c.mailView(), call: c}
	if token := c.deltaToken(); token == "" || token == "latest" {
		if round.deltaMail, err = c.readDeltaMail(); err != nil {
			return err
		}
		c.extra = round.encode()
	} else {
		cur, _ := c.s.unseal(token)
		round.deltaMail, round.from = decodeDeltaMail(cur.Extra), cur.From
	}
	if round.expand != "" {
		c.query.Set("$expand", round.expand)
		_ = c.parseExpand(c.rt) // it was well formed in the first call
		round.view.expand = c.expand
	}
	// Links name the entities the way Outlook does.
	c.canonical = "users/" + url.PathEscape(c.param("user")) + "/mailFolders('" + f.id() + "')/messages/delta"
	src := deltaSource{collection: f.id(), generation: b.generation, log: &f.log, list: round.list, render: round.changes}
	return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleMail})
}

// folderRound is a round over one folder's messages.
type folderRound struct {
	deltaMail
	box    *mailbox
	folder *mailFolder
	view   mailView
	call   *call
	from   uint64 // where the round is in the folder's log
}

func (r folderRound) show(m *message) []byte {
	r.view.sel = r.call.sel
	return r.box.renderTyped(m, r.view)
}

func (r folderRound) list(after uint64, limit int) (page [][]byte, reached uint64, more bool) {
	if r.change != "" && r.change != "created" {
		return nil, after, false
	}
	if r.newest || !r.since.IsZero() {
		return r.listNewest(after, limit)
	}
	at, found := r.folder.place(after)
	if found {
		at++
	}
	end := min(at+limit, len(r.folder.items))
	for _, m := range r.folder.items[at:end] {
		page, reached = append(page, r.show(m)), m.number
	}
	return page, reached, end < len(r.folder.items)
}

// listNewest lists by the time of arrival, newest first, what the filter lets pass.
// The ordinal is that time with a part of the number, so that a page goes on rightly
// after a message was removed.
func (r folderRound) listNewest(after uint64, limit int) (page [][]byte, reached uint64, more bool) {
	type ranked struct {
		m   *message
		key uint64
	}
	var all []ranked
	for _, m := range r.folder.items {
		if content := r.box.content(m); r.lists(content.received) {
			all = append(all, ranked{m, uint64(max(0, content.received.Unix()))<<20 | m.number&0xfffff})
		}
	}
	slices.SortFunc(all, func(x, y ranked) int { return cmp.Compare(y.key, x.key) })
	if !r.since.IsZero() {
		all = all[:min(len(all), maxFiltered)]
	}
	for _, x := range all {
		if after != 0 && x.key >= after {
			continue
		}
		if len(page) == limit {
			return page, reached, true
		}
		page, reached = append(page, r.show(x.m)), x.key
	}
	return page, reached, false
}

// changes tells what the folder says of messages that changed.
func (r folderRound) changes(keys []string) (items [][]byte) {
	shown := map[string]bool{}
	for _, key := range keys {
		number, moves := parseMessageKey(key)
		m := r.box.messages[number]
		here := m != nil && m.folder == r.folder && (r.view.immutable || m.moves == moves)
		id := r.box.itemID(regularMessage, number, moves)
		if r.view.immutable {
			id = r.box.itemID(immutableMessage, number, 0)
		}
		if shown[id] {
			continue
		}
		shown[id] = true
		switch {
		case !here && (r.change == "" || r.change == "deleted"):
			items = append(items, removedMessage(id))
		case here && r.lists(r.box.content(m).received) && (r.change == "" || r.change == r.kindOf(key, number)):
			items = append(items, r.show(m))
		}
	}
	return items
}

// kindOf says whether a message that is here came in this round: its first note in
// the folder's log is the one that put it there, unless the seed did.
func (r folderRound) kindOf(key string, number uint64) string {
	first := uint64(slices.Index(r.folder.log.ids, key))
	if seeded := number <= r.box.seeded && strings.HasSuffix(key, ".0"); !seeded && first >= r.from {
		return "created"
	}
	return "updated"
}

// staleMail is what Outlook answers to a dead token: an error code on a 40X.
func staleMail(location string) *apiError {
	return fail(http.StatusGone, "SyncStateNotFound", "The sync state generation is not found; please make a full sync.").with("Location", location)
}

// renderTyped is render with the type annotation that delta pages carry.
func (b *mailbox) renderTyped(m *message, v mailView) []byte {
	return append([]byte(`{"@odata.type":"#microsoft.graph.message",`), b.render(m, v)[1:]...)
}
