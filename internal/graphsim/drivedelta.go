package graphsim

import (
	"net/http"
	"net/url"
	"time"
)

// driveDelta tracks a drive, from its root only.
func driveDelta(c *call) error {
	d, err := c.lockDrive()
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	if c.param("item") != "root" && c.param("item") != d.root.id {
		return fail(http.StatusBadRequest, "invalidRequest", "Parameter 'DeltaToken' not supported for this request.")
	}
	round := &driveRound{c: c, d: d, since: c.since(), ancestors: c.r.Header.Get("deltaExcludeParent") == "",
		hierarchical: c.prefer("hierarchicalsharing"), marks: d.marksSharing(c)}
	src := deltaSource{collection: d.id, generation: d.generation, log: &d.log,
		list: round.list, observe: func(from uint64) { round.from = from }, render: round.changes}
	return c.deltaPage(src, deltaOptions{nextParam: "token", deltaParam: "token", pageSize: c.pageSize(200, 1000),
		stale: d.stale})
}

// since is the point in time that a token may be instead of one that was given out:
// such a round lists what was touched from then on (driveItem: delta). The time
// travels in the cursor.
func (c *call) since() time.Time {
	extra := url.Values{}
	if text := c.deltaToken(); text != "" {
		if _, err := time.Parse(time.RFC3339, text); err == nil {
			c.query.Del("token")
			extra.Set("since", text)
		}
	}
	at, _ := time.Parse(time.RFC3339, c.bake(extra, "$expand").Get("since")) // zero: from the beginning
	return at
}

// stale is the answer to a token the drive does not know any more.
func (d *drive) stale(location string) *apiError {
	if d.upload {
		return staleKeepBoth(location)
	}
	return staleDrive(location)
}

func staleKeepBoth(location string) *apiError {
	return fail(http.StatusGone, "resyncRequired", "Resync required. Upload any local items that the service did not return.").
		with("Location", location).withInner("resyncChangesUploadDifferences")
}

// marksSharing reports whether the round annotates items that are shown because of
// their permissions: only with all preferences that this takes, and on business
// drives (driveItem: delta).
func (d *drive) marksSharing(c *call) bool {
	for _, value := range []string{"deltashowsharingchanges", "deltashowremovedasdeleted", "deltatraversepermissiongaps", "hierarchicalsharing"} {
		if !c.prefer(value) {
			return false
		}
	}
	return d.kind() == "business" || d.t.s.o.SharePoint.LibrarySharingChanges
}

// driveRound shows a drive to a delta round. Its methods run under the drive's lock.
type driveRound struct {
	c                              *call
	d                              *drive
	ancestors, hierarchical, marks bool
	since                          time.Time
	from                           uint64 // where in the log the page begins
}

func (r *driveRound) show(item *driveItem) []byte {
	v := itemView{sel: r.c.sel, delta: true, hierarchical: r.hierarchical}
	if r.marks {
		v.marked = func(item *driveItem) bool { return item.sharingChanged > r.from }
	}
	return r.c.renderItem(r.d, item, v)
}

// list goes through what is there, by age; of a round since a point in time,
// through what was touched from then on.
func (r *driveRound) list(after uint64, limit int) (items [][]byte, reached uint64, more bool) {
	marks := r.marks
	r.marks = false
	defer func() { r.marks = marks }()
	partial := !r.since.IsZero()
	for reached = after; reached < uint64(len(r.d.order)); reached++ {
		if len(items) >= limit {
			return items, reached, true
		}
		item := r.d.order[reached]
		switch {
		case !partial && !item.deleted:
			items = append(items, r.show(item))
		case partial && !item.touched.Before(r.since):
			items = append(items, r.changes([]string{item.id})...)
		}
	}
	return items, reached, false
}

// changes shows changed items, each after its parent chain unless that is not
// wanted, none twice.
func (r *driveRound) changes(ids []string) (items [][]byte) {
	for _, item := range r.d.withAncestors(ids, r.ancestors) {
		items = append(items, r.show(item))
	}
	return items
}

// withAncestors returns changed items behind their parents. An item that went with a
// folder which is told alone is in the log only if it had changed before: then it has to
// be told, for the client may know it at another place.
func (d *drive) withAncestors(ids []string, ancestors bool) (list []*driveItem) {
	seen := map[*driveItem]bool{}
	var add func(*driveItem)
	add = func(item *driveItem) {
		if item == nil || seen[item] {
			return
		}
		seen[item] = true
		if ancestors && !item.deleted {
			add(item.parent)
		}
		list = append(list, item)
	}
	for _, id := range ids {
		add(d.items[id])
	}
	return list
}
