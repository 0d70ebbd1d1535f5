package graphsim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxView is the longest range a calendar view spans.
const maxView = 1825 * 24 * time.Hour

// viewRange reads startDateTime and endDateTime, which a view needs. A time
// without an offset is UTC (List calendarView).
func viewRange(start, end string) (from, to time.Time, err error) {
	if start == "" || end == "" {
		return from, to, fail(http.StatusBadRequest, "ErrorInvalidParameter",
			"This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.")
	}
	for text, t := range map[string]*time.Time{start: &from, end: &to} {
		if *t, err = parseViewTime(text); err != nil {
			return from, to, fail(http.StatusBadRequest, "ErrorInvalidParameter", "The value '%s' of the time window is no date and time.", text)
		}
	}
	if start == end {
		to = from
	}
	if to.Before(from) || to.Sub(from) > maxView {
		return from, to, fail(http.StatusBadRequest, "ErrorCalendarViewRangeTooBig", "The time window is longer than 1825 days, or ends before it begins.")
	}
	return from, to, nil
}

func parseViewTime(s string) (t time.Time, err error) {
	s = strings.ReplaceAll(s, " ", "+") // an unescaped plus
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.9999999", "2006-01-02T15:04", time.DateOnly} {
		if t, err = time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return t, err
}

func listInstances(c *call) error {
	return c.withEvent(func(b *mailbox, e eventRef) error {
		from, to, err := viewRange(c.query.Get("startDateTime"), c.query.Get("endDateTime"))
		if err != nil {
			return err
		}
		return c.showInstances(b, b.instances(e.item, from, to))
	})
}

// instances are the occurrences and exceptions of a series in a range, or the
// event itself when it is single.
func (b *mailbox) instances(it *pimItem, from, to time.Time) (list []eventRef) {
	c := b.contentOf(it)
	if c.series == nil {
		if touches(c.values.zoned("start").at(), c.values.zoned("end").at(), from, to) {
			list = append(list, eventRef{item: it})
		}
		return list
	}
	for _, o := range c.occurrences(from, to) {
		list = append(list, eventRef{item: it, at: &o})
	}
	return list
}

func (b *mailbox) startOf(e eventRef) time.Time {
	if e.at != nil {
		return e.at.start
	}
	return b.contentOf(e.item).values.zoned("start").at()
}

func (c *call) showInstances(b *mailbox, list []eventRef) error {
	v, err := c.pimView()
	if err != nil {
		return err
	}
	whole := v
	whole.sel = nil
	return c.list(listing{count: len(list), usual: 10, most: 1000, param: "$skip",
		render: func(i int) []byte { return b.renderEventRef(list[i], v) },
		full:   func(i int) []byte { return b.renderEventRef(list[i], whole) }})
}

// listCalendarView lists what happens in a range: single events, occurrences and
// exceptions, by start.
func listCalendarView(c *call) error {
	return c.withCalendar(func(b *mailbox, s *shelf) error { return c.calendarView(b, s) })
}

func (c *call) calendarView(b *mailbox, s *shelf) error {
	if c.sel.asked("createdDateTime") || c.sel.asked("lastModifiedDateTime") {
		return fail(http.StatusBadRequest, "ErrorInvalidProperty", "The property cannot be selected in a calendar view.")
	}
	from, to, err := viewRange(c.query.Get("startDateTime"), c.query.Get("endDateTime"))
	if err != nil {
		return err
	}
	var list []eventRef
	for _, it := range s.items {
		list = append(list, b.instances(it, from, to)...)
	}
	slices.SortStableFunc(list, func(x, y eventRef) int { return b.startOf(x).Compare(b.startOf(y)) })
	return c.showInstances(b, list)
}

// calendarViewDelta tracks a range of the primary calendar. It takes no OData
// option, and an event that changed outside the range is reported as removed
// (event: delta).
func calendarViewDelta(c *call) error {
	return c.withCalendar(func(b *mailbox, s *shelf) error {
		if s != b.store().calendar {
			return fail(http.StatusBadRequest, "ErrorInvalidUrlQuery", "Change tracking of a calendar view is for the primary calendar.")
		}
		v, err := c.pimView()
		if err != nil {
			return err
		}
		from, to, err := c.trackedRange()
		if err != nil {
			return err
		}
		view := rangeView{box: b, shelf: s, pimView: v, from: from, to: to}
		src := deltaSource{collection: b.shelfID(s) + "/view", generation: b.generation, log: &s.log, list: view.list, render: view.changes}
		return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleMail})
	})
}

// trackedRange is the range of a tracked view: that of the first call, which later
// ones carry in their token.
func (c *call) trackedRange() (from, to time.Time, err error) {
	if token := c.deltaToken(); token != "" {
		cur, _ := c.s.unseal(token)
		start, end, _ := strings.Cut(cur.Extra, "|")
		if start != "" {
			return viewRange(start, end)
		}
		return from, to, staleMail(c.root() + c.canonical)
	}
	from, to, err = viewRange(c.query.Get("startDateTime"), c.query.Get("endDateTime"))
	c.extra = formatTime(from) + "|" + formatTime(to)
	return from, to, err
}

// rangeView is a range of a calendar as a delta round sees it. A series is told of as a
// whole: its master, then all its instances in the range; when it goes, only the master
// is removed, and its instances with it.
type rangeView struct {
	box   *mailbox
	shelf *shelf
	pimView
	from, to time.Time
}

// list goes through the items by number. All instances of one series come in one
// page, with their master before them.
func (r rangeView) list(after uint64, limit int) (page [][]byte, reached uint64, more bool) {
	at, found := r.shelf.place(after)
	if found {
		at++
	}
	for _, it := range r.shelf.items[at:] {
		if len(page) >= limit {
			return page, reached, true
		}
		page, reached = append(page, r.item(it)...), it.number
	}
	return page, reached, false
}

func (r rangeView) item(it *pimItem) (page [][]byte) {
	list := r.box.instances(it, r.from, r.to)
	if len(list) > 0 && r.box.contentOf(it).series != nil {
		page = append(page, r.typed(r.box.renderEvent(it, r.pimView)))
	}
	for _, e := range list {
		page = append(page, r.typed(r.instance(e)))
	}
	return page
}

func (r rangeView) typed(event []byte) []byte {
	return append([]byte(`{"@odata.type":"#microsoft.graph.event",`), event[1:]...)
}

// instance writes an occurrence with little more than its times: what it shares
// with its series is in the master.
func (r rangeView) instance(e eventRef) []byte {
	v := r.pimView
	if e.at != nil && e.at.exception == nil {
		v.sel = parseSelect("id,type,seriesMasterId,start,end")
	}
	return r.box.renderEventRef(e, v)
}

func (r rangeView) changes(keys []string) (page [][]byte) {
	shown := map[string]bool{}
	for _, key := range keys {
		number, moves := parseMessageKey(key)
		it := r.box.store().items[number]
		id := r.box.pimID(&pimItem{kind: eventKind, number: number, moves: moves}, r.immutable)
		if shown[id] {
			continue
		}
		shown[id] = true
		var now [][]byte
		if it != nil && it.shelf == r.shelf && (r.immutable || it.moves == moves) {
			now = r.item(it)
			page = append(page, r.cancelled(it)...)
		}
		if now == nil {
			now = [][]byte{removedItem(eventKind, id)}
		}
		page = append(page, now...)
	}
	return page
}

// cancelled reports the instances in the range that a series no longer has.
func (r rangeView) cancelled(it *pimItem) (page [][]byte) {
	c := r.box.contentOf(it)
	if c.series == nil {
		return nil
	}
	for _, date := range c.series.cancelled {
		if at := c.original(date); !at.Before(r.from) && at.Before(r.to) {
			page = append(page, removedItem(eventKind, r.box.occurrenceID(it, date, r.immutable)))
		}
	}
	return page
}

// eventsDelta tracks a whole calendar: single events and masters. The v1.0 page
// does not show it, so it is there only when Options say so.
func eventsDelta(c *call) error {
	return c.withCalendar(func(b *mailbox, s *shelf) error {
		if !c.s.o.Exchange.EventsDelta {
			return fail(http.StatusBadRequest, "ErrorInvalidUrlQuery", "Change tracking is not supported for this collection of events.")
		}
		v, err := c.pimView()
		if err != nil {
			return err
		}
		return c.pimDelta(b, s, eventKind, v, b.renderEvent)
	})
}
