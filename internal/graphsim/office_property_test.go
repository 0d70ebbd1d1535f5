package graphsim_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// reader is a client of collections without a delta: it asks again whatever failed, and
// follows every nextLink.
type reader struct{ *mirror }

func newReader(c *client) reader { return reader{&mirror{c: c}} }

// get asks until there is an answer; status is 200 or 404.
func (r reader) get(t *rapid.T, target string) (status int, body object) {
	r.next = target
	for range 200 {
		switch status, _, body = r.ask(); {
		case body != nil && (status == 200 || status == 404):
			return status, body
		case body != nil && status >= 400 && status < 500 && status != 429: // not cut
			t.Fatalf("GET %s: %d %v", target, status, body)
		}
	}
	t.Fatalf("GET %s fails for good", target)
	return 0, nil
}

// all lists a collection, page by page; between is called after each.
func (r reader) all(t *rapid.T, target string, between func()) (list []object) {
	for target != "" {
		status, page := r.get(t, target)
		if status != 200 {
			t.Fatalf("GET %s: %d", target, status)
		}
		list = append(list, values(page)...)
		target, _ = page["@odata.nextLink"].(string)
		between()
	}
	return list
}

// unreliableAt makes every request to a path fail now and then, in all the ways that
// unreliable makes a delta fail but that of lost tokens.
func unreliableAt(t *testing.T, s *graphsim.Server, tenant, path string) {
	t.Helper()
	for _, f := range []graphsim.Fault{
		{Kind: graphsim.FaultStatus, Status: 503, Probability: 0.05},
		{Kind: graphsim.FaultHTML, Probability: 0.03},
		{Kind: graphsim.FaultReset, Probability: 0.03},
		{Kind: graphsim.FaultLost, Probability: 0.03},
		{Kind: graphsim.FaultCut, Probability: 0.05},
	} {
		f.Path, f.Tenant = path, tenant
		_, err := s.Inject(f)
		must(t, err)
	}
}

// changer takes the steps of a script between the pages that a client reads.
type changer struct {
	t      *rapid.T
	tenant *graphsim.Tenant
	seed   int64
	left   int
}

func newChanger(t *rapid.T, tenant *graphsim.Tenant) *changer {
	return &changer{t, tenant, rapid.Int64Range(0, 1<<40).Draw(t, "seed"), rapid.IntRange(20, 300).Draw(t, "steps")}
}

func (c *changer) step() {
	n := min(c.left, rapid.IntRange(1, 15).Draw(c.t, "changes"))
	if _, err := c.tenant.Churn(c.seed+int64(c.left), n); err != nil {
		c.t.Fatal(err)
	}
	c.left -= n
	if n > 0 && rapid.IntRange(0, 19).Draw(c.t, "expire") == 19 {
		c.tenant.ExpireDelta()
	}
}

// drawScript starts a script of changes, which goes on while the client reads.
func drawScript(t *rapid.T, tenant *graphsim.Tenant) {
	spec := graphsim.ScriptSpec{Seed: rapid.Int64().Draw(t, "seed"), Count: rapid.IntRange(20, 200).Draw(t, "steps"), Rate: 20_000}
	if err := tenant.StartScript(spec); err != nil {
		t.Fatal(err)
	}
}

// waitForScript is over when the script has taken its last step.
func waitForScript(t *rapid.T, tenant *graphsim.Tenant) {
	for tenant.Script().Running {
		time.Sleep(time.Millisecond)
	}
	if state := tenant.Script(); state.Error != "" || state.Step != state.Count {
		t.Fatalf("script %+v", state)
	}
}

// worlds runs a property in that many worlds; rapid would make a hundred.
func worlds(t *testing.T, s *graphsim.Server, most int, spec graphsim.TenantSpec, property func(*rapid.T, *client)) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > most {
			return
		}
		spec.Domain = fmt.Sprintf("world%d.example", n)
		tenant := s.AddTenant(spec)
		tenant.Consent(roles("ChannelMessage.Read.All", "Chat.Read.All")...)
		s.Clear("")
		property(rt, newClient(t, s, tenant))
	})
}

// canonical is JSON in one form; "" of nothing.
func canonical(v any) string {
	if v == nil {
		return ""
	}
	data, _ := json.Marshal(v) // it was read from JSON
	return string(data)
}

func hexDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// pageReader keeps the pages of a site: it lists them and reads anew those whose eTag changed.
type pageReader struct {
	reader
	site        string
	tags, pages map[string]string // by ID: the eTag, and what the page is
}

func (p *pageReader) round(t *rapid.T) {
	seen := map[string]bool{}
	base := p.c.s.URL() + "/v1.0/sites/" + url.PathEscape(p.site) + "/pages"
	for _, item := range p.all(t, base, func() {}) {
		id := item["id"].(string)
		seen[id] = true
		if p.tags[id] == item["eTag"] {
			continue
		}
		status, full := p.get(t, base+"/"+id+"/microsoft.graph.sitePage?$expand=canvasLayout")
		if status != 200 {
			delete(seen, id) // deleted since
			continue
		}
		p.tags[id] = full["eTag"].(string)
		p.pages[id] = fmt.Sprintln(full["name"], full["title"], full["publishingState"].(object)["level"] == "published",
			hexDigest(fmt.Sprintf("%s\n%s\n%s\n%s", full["title"], full["pageLayout"], canonical(full["titleArea"]), canonical(full["canvasLayout"]))))
	}
	gone := func(id string, _ string) bool { return !seen[id] }
	maps.DeleteFunc(p.tags, gone)
	maps.DeleteFunc(p.pages, gone)
}

// Whatever a script does to the pages of a site: who lists them and reads what changed ends
// with the truth, and so does who follows the delta of the library that holds their files.
func TestPagesEqualTruth(t *testing.T) {
	t.Parallel()
	s, _ := start(t, graphsim.Options{PageSize: 3}, graphsim.TenantSpec{})
	kinds := map[string]int{}
	worlds(t, s, 25, graphsim.TenantSpec{Users: 1, NoDrive: 1, Groups: 1, Pages: 4}, func(rt *rapid.T, c *client) {
		site := c.tenant.Groups()[0].Site
		drives, err := c.tenant.Drives(site)
		must(t, err)
		unreliable(t, s, c.tenant.ID())
		unreliableAt(t, s, c.tenant.ID(), "/pages")
		before, err := c.tenant.PageTruth(site)
		must(t, err)
		p := &pageReader{reader: newReader(c), site: site, tags: map[string]string{}, pages: map[string]string{}}
		files := newMirror(c, s.URL()+"/v1.0/drives/"+drives[1].ID+"/root/delta")
		drawScript(rt, c.tenant)
		for c.tenant.Script().Running {
			p.round(rt)
			if _, err := files.page(); err != nil {
				rt.Fatal(err)
			}
		}
		waitForScript(rt, c.tenant)
		p.round(rt)
		if err := files.settle(); err != nil {
			rt.Fatal(err)
		}
		truth, err := c.tenant.PageTruth(site)
		must(t, err)
		want, names := map[string]string{}, map[string]bool{}
		for _, page := range truth {
			want[page.ID] = fmt.Sprintln(page.Name, page.Title, page.Published, page.Digest)
			names[page.Name] = true
		}
		if diff := gocmp.Diff(want, p.pages); diff != "" {
			rt.Fatal(diff)
		}
		held := map[string]bool{}
		for _, item := range files.items {
			if item["file"] != nil {
				held[item["name"].(string)] = true
			}
		}
		if diff := gocmp.Diff(names, held); diff != "" {
			rt.Fatal("files of pages: ", diff)
		}
		countChanges(kinds, before, truth)
	})
	for _, kind := range []string{"made", "deleted", "edited", "left a draft"} {
		if kinds[kind] == 0 {
			t.Errorf("in no world a page was %s: %v", kind, kinds)
		}
	}
}

// countChanges notes what became of pages.
func countChanges(kinds map[string]int, before, after []graphsim.PageTruth) {
	was := map[string]string{}
	for _, page := range before {
		was[page.ID] = page.Digest
	}
	for _, page := range after {
		switch digest, known := was[page.ID]; {
		case !known:
			kinds["made"]++
		case digest != page.Digest:
			kinds["edited"]++
		}
		if !page.Published {
			kinds["left a draft"]++
		}
		delete(was, page.ID)
	}
	kinds["deleted"] += len(was)
}

// picture is how a message shows what it hosts; the truth has the text without it.
var picture = regexp.MustCompile(`<p><img src="[^"]*/hostedContents/[^"]*/\$value" style="width:120px"></p>`)

// saidIn is what a client believes of a message, in the words of the truth.
func saidIn(m object) string {
	replyTo, _ := m["replyToId"].(string)
	subject, _ := m["subject"].(string)
	text := subject + "\n" + picture.ReplaceAllString(m["body"].(object)["content"].(string), "")
	place, _ := m["chatId"].(string)
	if of, ok := m["channelIdentity"].(object); ok {
		place = of["channelId"].(string)
	}
	deleted := m["deletedDateTime"] != nil
	if deleted {
		text = ""
	}
	return fmt.Sprintln(place, replyTo, m["from"].(object)["user"].(object)["id"], deleted, hexDigest(text))
}

// saidTruth is the same of the truth.
func saidTruth(list []graphsim.MessageTruth, which func(graphsim.MessageTruth) bool) map[string]string {
	said := map[string]string{}
	for _, m := range list {
		if which(m) {
			said[m.Place+m.ID] = fmt.Sprintln(m.Place, m.ReplyTo, m.From, m.Deleted, m.Digest)
		}
	}
	return said
}

// reached tells whether the delta of messages reaches a message, or the one it answers: it
// goes back eight months.
func reached(m graphsim.MessageTruth) bool {
	root, err := strconv.ParseInt(cmp.Or(m.ReplyTo, m.ID), 10, 64)
	return err == nil && time.UnixMilli(root).After(time.Now().AddDate(0, -8, 0))
}

// talk is the world of the properties of messages: nothing but conversations changes.
var talk = graphsim.TenantSpec{Users: 3, NoDrive: 3, Groups: 1, Channels: 1, Chats: 1, Messages: 14}

// Whatever a script says, edits and deletes in a channel: a delta client ends with the truth
// of what delta reaches, replies included.
func TestChannelDeltaEqualsTruth(t *testing.T) {
	for name, tellsReplies := range map[string]bool{"replies are told with their root": true, "replies are listed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := start(t, graphsim.Options{PageSize: 4, Limits: graphsim.Limits{Rules: []graphsim.Rule{}},
				Teams: graphsim.TeamsOptions{MessagesDelta: true, DeltaTellsReplies: tellsReplies}}, graphsim.TenantSpec{})
			kinds := map[string]int{}
			worlds(t, s, 15, talk, func(rt *rapid.T, c *client) {
				team := c.tenant.Groups()[0].ID
				channels, err := c.tenant.Channels(team)
				must(t, err)
				unreliable(t, s, c.tenant.ID())
				unreliableAt(t, s, c.tenant.ID(), "/replies")
				base := s.URL() + "/v1.0/teams/" + team + "/channels/" + url.PathEscape(channels[0].ID) + "/messages"
				m := newMirror(c, base+"/delta?$top=4&$expand=replies")
				for change := newChanger(rt, c.tenant); change.left > 0; change.step() {
					if _, err := m.page(); err != nil {
						rt.Fatal(err)
					}
				}
				if err := m.settle(); err != nil {
					rt.Fatal(err)
				}
				got := map[string]string{}
				for id, root := range m.items {
					got[channels[0].ID+id] = saidIn(root)
					replies, _ := root["replies"].([]any)
					if !tellsReplies {
						replies = nil
						for _, reply := range newReader(c).all(rt, base+"/"+id+"/replies?$top=2", func() {}) {
							replies = append(replies, reply)
						}
					}
					for _, reply := range replies {
						got[channels[0].ID+reply.(object)["id"].(string)] = saidIn(reply.(object))
					}
				}
				truth, err := c.tenant.TeamTruth(team)
				must(t, err)
				want := saidTruth(truth, func(m graphsim.MessageTruth) bool { return m.Place == channels[0].ID && reached(m) })
				if diff := gocmp.Diff(want, got); diff != "" {
					rt.Fatal(diff)
				}
				countMessages(kinds, truth)
			})
			everyKind(t, kinds)
		})
	}
}

// countMessages notes what became of messages, everyKind wants each in one world at least.
func countMessages(kinds map[string]int, list []graphsim.MessageTruth) {
	for _, m := range list {
		fresh := m.Created.After(time.Now().Add(-time.Hour))
		kinds["said"] += btoi(fresh && m.ReplyTo == "")
		kinds["answered"] += btoi(fresh && m.ReplyTo != "")
		kinds["edited"] += btoi(m.Modified != m.Created && !m.Deleted)
		kinds["deleted"] += btoi(m.Deleted)
	}
}

func everyKind(t *testing.T, kinds map[string]int) {
	t.Helper()
	for _, kind := range []string{"said", "answered", "edited", "deleted"} {
		if kinds[kind] == 0 {
			t.Errorf("in no world a message was %s: %v", kind, kinds)
		}
	}
}

// exporter is a client of getAllMessages. With the filter it asks for what changed since its
// last export began, for what changes under way may be told or not; without it, for all.
type exporter struct {
	reader
	path     string
	filtered bool
	since    time.Time
	said     map[string]string
	hosted   map[string]object // messages that show pictures
}

// overlap is by how much exports overlap, for times of change are in milliseconds.
const overlap = time.Second

func (e *exporter) round(t *rapid.T, between func()) {
	began := time.Now()
	options := url.Values{"$top": {"5"}}
	if e.filtered {
		options.Set("model", "A")
		if !e.since.IsZero() {
			options.Set("$filter", "lastModifiedDateTime gt "+e.since.Add(-overlap).UTC().Format(time.RFC3339Nano))
		}
	}
	for _, m := range e.all(t, e.c.s.URL()+"/v1.0/"+e.path+"?"+options.Encode(), between) {
		said := saidIn(m)
		var key string
		if _, err := fmt.Sscan(said, &key); err != nil {
			t.Fatal(err)
		}
		key += m["id"].(string)
		e.said[key] = said
		delete(e.hosted, key)
		if picture.MatchString(m["body"].(object)["content"].(string)) {
			e.hosted[key] = m
		}
	}
	e.since = began
}

// pictures fetches what messages show and holds it against the truth.
func (e *exporter) pictures(t *rapid.T, truth []graphsim.MessageTruth) {
	shown := 0
	for _, m := range truth {
		if len(m.Hosted) == 0 {
			continue
		}
		shown++
		message := e.hosted[m.Place+m.ID]
		if message == nil {
			t.Fatalf("message %s shows no picture", m.ID)
		}
		links := regexp.MustCompile(`src="([^"]*)"`).FindAllStringSubmatch(message["body"].(object)["content"].(string), -1)
		if len(links) != len(m.Hosted) {
			t.Fatalf("message %s shows %d pictures of %d", m.ID, len(links), len(m.Hosted))
		}
		for i, link := range links {
			if got := sha(e.c.bytes(link[1])); got != m.Hosted[i].SHA256 {
				t.Fatalf("picture %d of message %s: %s", i, m.ID, got)
			}
		}
	}
	if shown != len(e.hosted) {
		t.Fatalf("%d messages show pictures, the truth is %d", len(e.hosted), shown)
	}
}

// Whatever a script says, edits and deletes: the exports of a team and of a user's chats end
// with the truth, those of all and those of what changed.
func TestExportsEqualTruth(t *testing.T) {
	for name, filtered := range map[string]bool{"of all": false, "of what changed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := start(t, graphsim.Options{Limits: graphsim.Limits{Rules: []graphsim.Rule{}}, Teams: graphsim.TeamsOptions{ExportOptions: filtered}}, graphsim.TenantSpec{})
			kinds := map[string]int{}
			worlds(t, s, 12, talk, func(rt *rapid.T, c *client) {
				team, user := c.tenant.Groups()[0].ID, c.tenant.Users()[1].ID
				unreliableAt(t, s, c.tenant.ID(), "getAllMessages")
				var exports [2]*exporter
				for i, path := range []string{"teams/" + team + "/channels/getAllMessages", "users/" + user + "/chats/getAllMessages"} {
					exports[i] = &exporter{reader: newReader(c), path: path, filtered: filtered, said: map[string]string{}, hosted: map[string]object{}}
				}
				for change := newChanger(rt, c.tenant); change.left > 0; {
					exports[0].round(rt, change.step)
					exports[1].round(rt, change.step)
				}
				for i, truth := range []func(string) ([]graphsim.MessageTruth, error){c.tenant.TeamTruth, c.tenant.ChatTruth} {
					exports[i].round(rt, func() {})
					list, err := truth([]string{team, user}[i])
					must(t, err)
					want := saidTruth(list, func(graphsim.MessageTruth) bool { return true })
					if diff := gocmp.Diff(want, exports[i].said); diff != "" {
						rt.Fatal(diff)
					}
					s.Clear("")
					exports[i].pictures(rt, list)
					countMessages(kinds, list)
				}
			})
			everyKind(t, kinds)
		})
	}
}

// Nobody's chats change when users come.
func TestChatsStayWhenUsersCome(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 3, Chats: 1, Messages: 2})
	for i, u := range c.tenant.Users() {
		before, err := c.tenant.Chats(u.ID)
		must(t, err)
		id, err := c.tenant.NewUser("")
		must(t, err)
		after, err := c.tenant.Chats(u.ID)
		must(t, err)
		late, err := c.tenant.Chats(id)
		must(t, err)
		if !slices.Equal(before, after) || len(before) != 2 || len(late) != 0 {
			t.Errorf("user %d: %v, then %v; who came later: %v", i, before, after, late)
		}
	}
}
