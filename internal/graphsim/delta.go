package graphsim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// changeLog remembers which objects of one collection changed, in order. Position
// n is the place after the first n changes, so position 0 is what the seed laid
// out. Guarded by the lock of the collection's owner.
type changeLog struct{ ids []string }

func (l *changeLog) note(id string)   { l.ids = append(l.ids, id) }
func (l *changeLog) position() uint64 { return uint64(len(l.ids)) }

// between returns up to limit distinct objects that changed in (from, upto], and
// the position they reach.
func (l *changeLog) between(from, upto uint64, limit int) (ids []string, reached uint64) {
	seen := map[string]bool{}
	for reached = from; reached < upto && len(ids) < limit; reached++ {
		if id := l.ids[reached]; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, reached
}

// cursor is what a nextLink or deltaLink carries, opaque to the client: signed, so
// that an altered one is as unknown as one of another server.
type cursor struct {
	Collection string `json:"c"`
	Generation int    `json:"g,omitempty"`
	// Listing is the part of a first round that goes through what is there.
	Listing bool   `json:"l,omitempty"`
	After   uint64 `json:"a,omitempty"` // listing: the last ordinal returned
	From    uint64 `json:"f,omitempty"` // position in the log reached so far
	Upto    uint64 `json:"u,omitempty"` // position in the log where this round ends
	Final   bool   `json:"d,omitempty"` // a deltaLink: the next call starts a round
	Select  string `json:"s,omitempty"` // options of the first call, baked in
	Top     int    `json:"t,omitempty"`
	Extra   string `json:"x,omitempty"`
	Issued  int64  `json:"i"` // simulated seconds
	Serial  uint64 `json:"n"` // no two links are the same, even when nothing changed
}

func (s *Server) seal(c cursor) string {
	c.Issued, c.Serial = int64(s.elapsed()/time.Second), s.sealed.Add(1)
	data, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(append(s.sign(data), data...))
}

func (s *Server) unseal(token string) (c cursor, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(data) < signatureSize || !hmac.Equal(data[:signatureSize], s.sign(data[signatureSize:])) {
		return cursor{}, false
	}
	return c, json.Unmarshal(data[signatureSize:], &c) == nil
}

const signatureSize = 12

func (s *Server) sign(data []byte) []byte {
	mac := hmac.New(sha256.New, s.signingKey)
	mac.Write(data)
	return mac.Sum(nil)[:signatureSize]
}

// deltaSource is a collection as a delta round sees it. All methods are called
// under the lock of the collection's owner.
type deltaSource struct {
	collection string
	generation int
	log        *changeLog
	// list returns up to limit objects with an ordinal above after, by age, and
	// the ordinal it reached; more is false at the end.
	list func(after uint64, limit int) (items [][]byte, reached uint64, more bool)
	// observe, if not nil, is told where in the log a page of changes begins.
	observe func(from uint64)
	// render returns what the collection now says of an object that changed; it
	// may be several objects (with ancestors) or none.
	render func(ids []string) [][]byte
}

// deltaOptions is how a kind of collection spells delta.
type deltaOptions struct {
	nextParam, deltaParam string
	life                  time.Duration // of tokens; 0 is unlimited
	pageSize              int
	// stale is the answer for a token that cannot be used; location is the URL
	// that starts a new enumeration.
	stale func(location string) *apiError
}

// deltaPage serves one page of a round. link makes URLs from a query.
func (c *call) deltaPage(src deltaSource, o deltaOptions) error {
	cur, err := c.deltaCursor(src, o)
	if err != nil {
		return err
	}
	if cur.Top > 0 && !c.prefersPageSize() {
		o.pageSize = cur.Top
	}
	var items [][]byte
	more := false
	switch {
	case cur.Listing:
		items, cur.After, more = src.list(cur.After, o.pageSize)
	case cur.From < cur.Upto:
		var ids []string
		if src.observe != nil {
			src.observe(cur.From)
		}
		ids, cur.From = src.log.between(cur.From, cur.Upto, o.pageSize)
		items, more = src.render(ids), cur.From < cur.Upto
	}
	if more {
		return c.page(items, c.link(o.nextParam, c.s.seal(cur)), "")
	}
	final := cursor{Collection: src.collection, Generation: src.generation, Final: true,
		From: cur.From, Select: cur.Select, Top: cur.Top, Extra: cur.Extra}
	return c.page(items, "", c.link(o.deltaParam, c.s.seal(final)))
}

// deltaCursor reads the token of the request, or begins a round.
func (c *call) deltaCursor(src deltaSource, o deltaOptions) (cursor, error) {
	token := c.deltaToken()
	fresh := cursor{Collection: src.collection, Generation: src.generation, From: src.log.position(),
		Select: c.query.Get("$select"), Extra: c.extra}
	if c.top > 0 {
		fresh.Top = o.pageSize
	}
	switch token {
	case "":
		fresh.Listing = true
		return fresh, nil
	case "latest":
		fresh.Upto = fresh.From
		return fresh, nil
	}
	cur, ok := c.s.unseal(token)
	age := c.s.elapsed() - time.Duration(cur.Issued)*time.Second
	if !ok || c.tokenTooOld || cur.Collection != src.collection || cur.Generation != src.generation ||
		cur.From > src.log.position() || cur.Upto > src.log.position() || (o.life > 0 && age > o.life) {
		return cursor{}, o.stale(c.root() + c.canonical + "?" + o.deltaParam + "=")
	}
	if cur.Final {
		cur.Final, cur.Upto = false, src.log.position()
	}
	c.sel = parseSelect(cur.Select)
	c.extra = cur.Extra
	return cur, nil
}

// deltaToken finds the token under any of the names that Graph accepts.
func (c *call) deltaToken() string {
	for name, values := range c.query {
		switch strings.ToLower(name) {
		case "$deltatoken", "$skiptoken", "token":
			if values[0] != "" {
				return values[0]
			}
		}
	}
	return ""
}

func staleDirectory(location string) *apiError {
	return fail(http.StatusGone, "syncStateNotFound", "Sync state generation is not found; please make a full sync.").
		with("Location", location)
}

func staleDrive(location string) *apiError {
	return fail(http.StatusGone, "resyncRequired", "Resync required. Replace any local items with the server's version.").
		with("Location", location).withInner("resyncChangesApplyDifferences")
}

// bake puts options of the first call into the tokens of its round, or takes them from
// the token that continues one: all options are part of the links ("Use delta query").
// Extra values travel with them.
func (c *call) bake(extra url.Values, names ...string) url.Values {
	baked := url.Values{}
	token := c.deltaToken()
	if cur, ok := c.s.unseal(token); ok && token != "" {
		c.extra = cur.Extra
		baked, _ = url.ParseQuery(cur.Extra) // our own
	} else {
		for _, name := range names {
			if c.query.Has(name) {
				baked[name] = c.query[name]
			}
		}
		for name, values := range extra {
			baked[name] = values
		}
		c.extra = baked.Encode()
	}
	if baked.Has("$expand") && len(c.expand) == 0 {
		c.query.Set("$expand", baked.Get("$expand"))
		_ = c.parseExpand(c.rt) // it was well formed in the first call
	}
	return baked
}

// expands reports whether $expand names a relation.
func (c *call) expands(relation string) bool {
	return slices.ContainsFunc(c.expand, func(e expansion) bool { return strings.EqualFold(e.name, relation) })
}
