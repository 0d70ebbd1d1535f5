package workload_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// groupOf is the first group that is like that.
func (c *company) groupOf(t *testing.T, like func(graphsim.GroupInfo) bool) graphsim.GroupInfo {
	t.Helper()
	groups := c.truth.Groups()
	at := slices.IndexFunc(groups, like)
	if at < 0 {
		t.Fatalf("%+v", groups)
	}
	return groups[at]
}

// entries reads every entry of a snapshot, with its payload and the parts that are wanted.
func (c *company) entries(t *testing.T, s tenantry.Series, seq int64, visit func(e repository.Entry, raw []byte, part func(name string) []byte)) {
	t.Helper()
	snap, err := c.repo.OpenSnapshot(t.Context(), s, seq)
	must(t, err)
	defer snap.Close()
	for e, err := range snap.Entries(t.Context()) {
		must(t, err)
		var raw []byte
		if e.Problem == "" || e.ETag != "" {
			raw, err = snap.Payload(t.Context(), e)
			must(t, err)
		}
		visit(e, raw, func(name string) []byte {
			for _, p := range e.Parts {
				if p.Name == name {
					body, err := snap.Open(t.Context(), e, p)
					must(t, err)
					defer body.Close()
					data, err := io.ReadAll(body)
					must(t, err)
					return data
				}
			}
			t.Fatalf("%s has no part %s", e.ID, name)
			return nil
		})
	}
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// savedPosts are the posts of a snapshot as the truth tells them.
func (c *company) savedPosts(t *testing.T, s tenantry.Series, seq int64) (posts []string) {
	t.Helper()
	c.entries(t, s, seq, func(e repository.Entry, _ []byte, part func(string) []byte) {
		if e.Kind != "thread" {
			return
		}
		var list []struct {
			Received string `json:"receivedDateTime"`
			From     struct {
				EmailAddress struct{ Address string } `json:"emailAddress"`
			} `json:"from"`
			Body struct{ Content string } `json:"body"`
		}
		must(t, json.Unmarshal(part("posts.json"), &list))
		for _, p := range list {
			posts = append(posts, fmt.Sprint(e.Name, p.From.EmailAddress.Address, sum(p.Body.Content)))
		}
	})
	slices.Sort(posts)
	return posts
}

func (c *company) truePosts(t *testing.T, group string) (posts []string) {
	t.Helper()
	list, err := c.truth.PostTruth(group)
	must(t, err)
	for _, p := range list {
		posts = append(posts, fmt.Sprint(p.Topic, p.From, p.Body))
	}
	slices.Sort(posts)
	return posts
}

// TestGroupThereAndNotBack saves conversations and the calendar of a group, follows a new post without reading
// other threads again, and says why nothing is written back.
func TestGroupThereAndNotBack(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		t.Run(fmt.Sprint("attachments ", allowed), func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 3, Groups: 2, ThreadsPerGroup: 40, EventsPerUser: 6},
				graphsim.Options{Exchange: graphsim.ExchangeOptions{PostAttachments: allowed}})
			group := c.groupOf(t, func(g graphsim.GroupInfo) bool { return g.Unified })
			s := tenantry.Series{Tenant: "t-1", Resource: tenantry.GroupResource(group.ID), Workload: tenantry.GroupContent}
			src := func() engine.Source { return workload.NewGroupSource(c.graph, group.ID) }
			for _, f := range []graphsim.Fault{
				{Path: `/threads$`, Kind: graphsim.FaultCut, Nth: 1},
				{Path: `/posts$`, Kind: graphsim.FaultReset, Every: 11, Count: 2},
			} {
				_, err := c.sim.Inject(f)
				must(t, err)
			}
			out := c.backup(t, s, src, engine.Limits{})
			c.struck(t)
			if refused := len(out.Problems) == 1 && strings.Contains(out.Problems[0].Reason, "applications"); refused == allowed || allowed && len(out.Problems) > 0 {
				t.Errorf("%+v", out.Problems)
			}
			equal(t, c.truePosts(t, group.ID), c.savedPosts(t, s, out.Snapshot.Seq))
			posts := c.watch(t, "/posts$")
			must(t, c.truth.AddPost(group.ID, "a new thread", "<p>news</p>"))
			out = c.backup(t, s, src, engine.Limits{})
			equal(t, c.truePosts(t, group.ID), c.savedPosts(t, s, out.Snapshot.Seq))
			if n := posts(); n > 2 { // the new thread, and the look for attachments
				t.Errorf("%d threads were read for one post", n)
			}
			if idle := c.backup(t, s, src, engine.Limits{}); idle.Counts.Items+idle.Counts.Bytes > 0 {
				t.Errorf("a group at rest: %+v", idle)
			}
			events, sites := 0, 0
			c.entries(t, s, out.Snapshot.Seq, func(e repository.Entry, raw []byte, _ func(string) []byte) {
				if e.Kind == "groupSite" {
					sites++
					if e.ID != "groupSite:"+group.Site || e.Name == "" || !bytes.Contains(raw, []byte(group.Site)) {
						t.Errorf("the site of %+v is %+v: %s", group, e, raw)
					}
				}
				if e.Kind == "event" {
					events++
					if !bytes.Contains(raw, []byte(`"subject"`)) {
						t.Errorf("%s: %s", e.ID, raw)
					}
				}
			})
			if events == 0 || sites != 1 {
				t.Errorf("%d events and %d sites were saved", events, sites)
			}
			snap, err := c.repo.OpenSnapshot(t.Context(), s, out.Snapshot.Seq)
			must(t, err)
			defer snap.Close()
			back, err := engine.Restore(t.Context(), snap, workload.NewGroupTarget(), tenantry.RestoreRequest{}, engine.Limits{}, nil, nil)
			if err != nil || len(back.Problems) != 2 || !strings.Contains(back.Problems[0].Reason, "lets no application") {
				t.Errorf("%+v %v", back, err)
			}
		})
	}
}

// TestPostsOfTheSameSecond: a thread tells the second of its last post. One that comes in that second behind the reading,
// and looks like it, is saved by the next backup, be that at once or when the second is long over; a thread that had none
// is read once more, and then left alone.
func TestPostsOfTheSameSecond(t *testing.T) {
	for _, later := range []time.Duration{0, time.Hour} {
		t.Run(later.String(), func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 2, Groups: 2}, graphsim.Options{})
			group := c.groupOf(t, func(g graphsim.GroupInfo) bool { return g.Unified })
			s := tenantry.Series{Tenant: "t-1", Resource: tenantry.GroupResource(group.ID), Workload: tenantry.GroupContent}
			second := time.Now().Truncate(time.Second)
			now := second
			saved := func() engine.Outcome {
				t.Helper()
				out := c.backup(t, s, func() engine.Source {
					src := workload.NewGroupSource(c.graph, group.ID)
					src.(interface{ SetNow(func() time.Time) }).SetNow(func() time.Time { return now })
					return src
				}, engine.Limits{})
				equal(t, c.truePosts(t, group.ID), c.savedPosts(t, s, out.Snapshot.Seq))
				return out
			}
			post := func() { t.Helper(); must(t, c.truth.AddPostAt(group.ID, "vote", "<p>+1</p>", second)) }
			post()
			saved()
			if idle := saved(); idle.Counts.Items+idle.Counts.Bytes > 0 {
				t.Errorf("nothing new in that second: %+v", idle)
			}
			post()
			now = now.Add(later)
			saved()
			now = second.Add(time.Hour)
			saved()
			posts := c.watch(t, "/posts$")
			if idle := saved(); idle.Counts.Items+idle.Counts.Bytes > 0 {
				t.Errorf("a group at rest: %+v", idle)
			}
			if n := posts(); n != 0 {
				t.Errorf("%d threads of a group at rest were read", n)
			}
		})
	}
}

// TestGroupWhoseSiteIsNotTold goes on with the site that was told before, as long as SharePoint does not answer, and
// without one where it may not be known or is gone; conversations are saved all the same.
func TestGroupWhoseSiteIsNotTold(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, Groups: 2, ThreadsPerGroup: 3},
		graphsim.Options{Exchange: graphsim.ExchangeOptions{PostAttachments: true}})
	group := c.groupOf(t, func(g graphsim.GroupInfo) bool { return g.Unified })
	s := tenantry.Series{Tenant: "t-1", Resource: tenantry.GroupResource(group.ID), Workload: tenantry.GroupContent}
	saved := func(topic, code string) (site string) {
		t.Helper()
		if code != "" {
			_, err := c.sim.Inject(graphsim.Fault{Path: `/sites/root$`, Status: 400, Code: code})
			must(t, err)
		}
		must(t, c.truth.AddPost(group.ID, topic, "<p>news</p>"))
		out := c.backup(t, s, func() engine.Source { return workload.NewGroupSource(c.graph, group.ID) }, engine.Limits{})
		if code != "" {
			c.struck(t)
		}
		if len(out.Problems) > 0 {
			t.Errorf("%s: %+v", code, out.Problems)
		}
		equal(t, c.truePosts(t, group.ID), c.savedPosts(t, s, out.Snapshot.Seq))
		c.entries(t, s, out.Snapshot.Seq, func(e repository.Entry, raw []byte, _ func(string) []byte) {
			if e.Kind == "groupSite" && e.Name != "" && bytes.Contains(raw, []byte(group.Site)) {
				site = e.ID
			}
		})
		return site
	}
	told := "groupSite:" + group.Site
	for n, step := range []struct {
		code, want string
	}{
		{"invalidRequest", ""}, {"", told}, {"invalidRequest", told}, {"invalidRequest", told}, {"", told},
		{"accessDenied", ""}, {"", told}, {"itemNotFound", ""}, {"invalidRequest", ""},
	} {
		if got := saved(fmt.Sprint("topic ", n), step.code); got != step.want {
			t.Errorf("answered %q: the site is %q, not %q", step.code, got, step.want)
		}
	}
}

// savedMessages are the messages of a snapshot as the truth tells them.
func (c *company) savedMessages(t *testing.T, s tenantry.Series, seq int64) (messages []string) {
	t.Helper()
	c.entries(t, s, seq, func(e repository.Entry, raw []byte, part func(string) []byte) {
		if e.Kind != "chatMessage" {
			return
		}
		var m struct {
			ID, ReplyToID, Subject string
			From                   struct{ User struct{ ID string } }
			DeletedDateTime        *string
			ChannelIdentity        struct{ ChannelID string }
			Body                   struct{ Content string }
		}
		dec := json.NewDecoder(bytes.NewReader(raw)) // names in any case
		must(t, dec.Decode(&m))
		text, _, _ := strings.Cut(m.Body.Content, `<p><img src="http`)
		digest := sum(m.Subject + "\n" + text)
		if m.DeletedDateTime != nil {
			digest = sum("")
		}
		line := fmt.Sprint(m.ChannelIdentity.ChannelID, m.ID, m.ReplyToID, m.From.User.ID, m.DeletedDateTime != nil, digest)
		for _, p := range e.Parts {
			line += " " + p.Name + sum(string(part(p.Name)))
		}
		messages = append(messages, line)
	})
	slices.Sort(messages)
	return messages
}

func (c *company) trueMessages(t *testing.T, team string) (messages []string) {
	t.Helper()
	list, err := c.truth.TeamTruth(team)
	must(t, err)
	for _, m := range list {
		line := fmt.Sprint(m.Place, m.ID, m.ReplyTo, m.From, m.Deleted, m.Digest)
		for _, h := range m.Hosted {
			line += " hosted/" + h.Name + h.SHA256
		}
		messages = append(messages, line)
	}
	slices.Sort(messages)
	return messages
}

// TestTeamThereAndBack saves channels, messages with pictures, and files by their real drives; follows changes
// under faults; and restores files into another team, those of closed channels into closed channels alone.
func TestTeamThereAndBack(t *testing.T) {
	for _, filtered := range []bool{false, true} {
		t.Run(fmt.Sprint("filtered ", filtered), func(t *testing.T) { teamThereAndBack(t, graphsim.TeamsOptions{ExportOptions: filtered}) })
	}
}

func teamThereAndBack(t *testing.T, o graphsim.TeamsOptions) {
	c := newCompany(t, graphsim.TenantSpec{Users: 4, Groups: 8, Channels: 1, ClosedChannels: 2, Messages: 30, FilesPerUser: 5}, graphsim.Options{Teams: o, Clock: 1000})
	var teams []graphsim.GroupInfo
	for _, g := range c.truth.Groups() {
		if g.Team {
			teams = append(teams, g)
		}
	}
	if len(teams) < 2 {
		t.Fatalf("%+v", c.truth.Groups())
	}
	team, other := teams[0], teams[1]
	s := tenantry.Series{Tenant: "t-1", Resource: tenantry.GroupResource(team.ID), Workload: tenantry.TeamContent}
	src := func() engine.Source { return workload.NewTeamSource(c.graph, team.ID, tenantry.BackupOptions{}) }
	_, err := c.truth.PostMessage(team.ID, "", graphsim.PostSpec{Subject: "Look", Pictures: [][]byte{[]byte("png")}})
	must(t, err)
	first := c.backup(t, s, src, engine.Limits{})
	if len(first.Problems) > 0 {
		t.Errorf("%+v", first.Problems)
	}
	before := c.trueMessages(t, team.ID)
	equal(t, before, c.savedMessages(t, s, first.Snapshot.Seq))

	id, err := c.truth.PostMessage(team.ID, "Closed Channel 1", graphsim.PostSpec{Body: "<p>secret</p>"})
	must(t, err)
	_, err = c.truth.PostMessage(team.ID, "Closed Channel 1", graphsim.PostSpec{ReplyTo: id, Pictures: [][]byte{[]byte("png 2"), []byte("png 3")}})
	must(t, err)
	list, err := c.truth.TeamTruth(team.ID)
	must(t, err)
	must(t, c.truth.EditMessage(team.ID, list[0].Channel, list[0].ID, "<p>edited</p>"))
	must(t, c.truth.DeleteMessage(team.ID, list[1].Channel, list[1].ID))
	channels, err := c.truth.Channels(team.ID)
	must(t, err)
	for _, ch := range channels {
		site := ch.Site
		if site == "" {
			site = team.Site
		}
		_, err := c.truth.PutFile(site, ch.Name+"/"+ch.Name+".txt", []byte(ch.Name))
		must(t, err)
	}
	for _, f := range []graphsim.Fault{
		{Path: `getAllMessages`, Kind: graphsim.FaultCut, Nth: 1},
		{Path: `/root/delta`, Kind: graphsim.FaultGone, Nth: 1},
		{Path: `hostedContents`, Kind: graphsim.FaultReset, Nth: 1},
	} {
		_, err := c.sim.Inject(f)
		must(t, err)
	}
	second := c.backup(t, s, src, engine.Limits{})
	if len(second.Problems) > 0 {
		t.Errorf("%+v", second.Problems)
	}
	c.struck(t)
	equal(t, c.trueMessages(t, team.ID), c.savedMessages(t, s, second.Snapshot.Seq))
	equal(t, before, c.savedMessages(t, s, first.Snapshot.Seq))
	drives := map[string]int{}
	c.entries(t, s, second.Snapshot.Seq, func(e repository.Entry, _ []byte, _ func(string) []byte) {
		if drive, _, ok := strings.Cut(e.ID, "/"); ok && strings.HasPrefix(drive, "drive:") {
			drives[drive]++
		}
	})
	if len(drives) != 3 { // the team's, and one of each closed channel
		t.Errorf("%d drives: %v", len(drives), drives)
	}

	for range 2 {
		out := c.restore(t, s, second.Snapshot.Seq, func() engine.Target {
			return workload.NewTeamTarget(c.graph, other.ID, tenantry.RestoreRequest{Folder: "Back"})
		}, tenantry.RestoreRequest{})
		for _, p := range out.Problems {
			if !strings.HasPrefix(p.Reason, "not written: ") && !strings.Contains(p.Reason, ": not written: ") {
				t.Errorf("%+v", p)
			}
		}
	}
	theirs, err := c.truth.Channels(other.ID)
	must(t, err)
	for i, ch := range channels {
		from, to := ch.Site, theirs[i].Site
		if from == "" {
			from, to = team.Site, other.Site
		}
		equal(t, c.tree(t, from, ""), c.tree(t, to, "Back/"))
	}
}

// tree is what a restore has to bring back of the default drive of an owner.
func (c *company) tree(t *testing.T, owner, below string) (files []string) {
	t.Helper()
	list, err := c.truth.DriveTruth(owner)
	must(t, err)
	for _, f := range list {
		if path, ok := strings.CutPrefix(f.Path, below); ok {
			files = append(files, fmt.Sprint(path, " ", f.Size, f.SHA256, f.Modified.Unix()))
		}
	}
	return files
}

// TestTeamWithoutPermissions saves what it may of a team when members and messages are refused, and says what is
// missing; the next run, which is given all, has it.
func TestTeamWithoutPermissions(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, Groups: 4, ClosedChannels: 1, Messages: 4, FilesPerUser: 3}, graphsim.Options{Clock: 1000})
	team := c.groupOf(t, func(g graphsim.GroupInfo) bool { return g.Team })
	s := tenantry.Series{Tenant: "t-1", Resource: tenantry.GroupResource(team.ID), Workload: tenantry.TeamContent}
	src := func() engine.Source { return workload.NewTeamSource(c.graph, team.ID, tenantry.BackupOptions{}) }
	for _, path := range []string{`/members$`, `getAllMessages`} {
		_, err := c.sim.Inject(graphsim.Fault{Path: path, Status: 403, Code: "Forbidden"})
		must(t, err)
	}
	out := c.backup(t, s, src, engine.Limits{})
	c.struck(t)
	var names []string
	for _, p := range out.Problems {
		names = append(names, p.Name)
	}
	equal(t, []string{"Members", "Messages"}, names)
	if out = c.backup(t, s, src, engine.Limits{}); len(out.Problems) > 0 {
		t.Errorf("%+v", out.Problems)
	}
	equal(t, c.trueMessages(t, team.ID), c.savedMessages(t, s, out.Snapshot.Seq))

	// A channel that does not say any more where its files are keeps what was saved of them.
	whole := c.saved(t, s, out.Snapshot.Seq)
	_, err := c.sim.Inject(graphsim.Fault{Path: `/filesFolder$`, Status: 403, Code: "accessDenied"})
	must(t, err)
	for range 2 {
		out = c.backup(t, s, src, engine.Limits{})
		equal(t, whole, c.saved(t, s, out.Snapshot.Seq))
		if len(out.Problems) == 0 {
			t.Error("nothing is said of it")
		}
	}
	c.struck(t)
	if out = c.backup(t, s, src, engine.Limits{}); out.Snapshot.Counts.Skipped > 0 {
		t.Errorf("%+v", out)
	}
	equal(t, whole, c.saved(t, s, out.Snapshot.Seq))
}
