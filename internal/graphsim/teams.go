package graphsim

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// TeamsOptions is how Teams behaves where the documentation leaves it open. The zero
// value is what is harder on a client.
type TeamsOptions struct {
	// ExportOptions lets getAllMessages take a licensing model and a filter by
	// lastModifiedDateTime, MessagesDelta offers the delta of a channel's messages.
	ExportOptions bool
	MessagesDelta bool
	// DeltaTellsReplies makes the delta of a channel's messages tell of a message
	// again when its replies change.
	DeltaTellsReplies bool
	// Import takes messages of an application with Teamwork.Migrate.All, as if every
	// channel were in migration mode; otherwise posting is refused.
	Import bool
}

// The kinds of channels ("channel resource type").
const (
	standardChannel = "standard"
	privateChannel  = "private"
	sharedChannel   = "shared"
)

// team is the channels of a group. Its list of channels never changes.
type team struct {
	t        *Tenant
	group    *entry
	channels []*channel
	// incoming are the channels that other teams share with it, under the office's lock.
	incoming []incomingChannel
}

type incomingChannel struct {
	host *team
	*channel
}

// channel is one channel of a team; site is the one of its own that a private or
// shared channel keeps its files in.
type channel struct {
	*conversation
	name, membership string
	created          time.Time
	site             *entry
}

// openTeam returns the team of a group, whatever its state.
func (t *Tenant) openTeam(id string) (*team, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.groups.find(id)
	if e == nil || !e.team {
		return nil, fmt.Errorf("graphsim: %q is no team", id)
	}
	t.office.mu.Lock()
	defer t.office.mu.Unlock()
	return lazily(&t.office.teams, e.id, func() *team { return t.newTeam(e) }), nil
}

// newTeam lays a team out: General, the other standard channels, and one channel for
// each site that populate made for it, private and shared in turn.
func (t *Tenant) newTeam(e *entry) *team {
	tm := &team{t: t, group: e}
	people := t.teamPeople(e)
	add := func(name, membership string, site *entry) {
		id := channelID(mixString(t.seed, e.id+"/"+name))
		ch := &channel{conversation: newConversation(t, id, people), name: name, membership: membership, created: e.created(), site: site}
		ch.fill(t.spec.Messages, true)
		tm.channels = append(tm.channels, ch)
	}
	add("General", standardChannel, nil)
	for i := range t.spec.Channels {
		add(fmt.Sprintf("Channel %d", i+1), standardChannel, nil)
	}
	for i, id := range e.channelSites {
		add(fmt.Sprintf("Closed Channel %d", i+1), []string{privateChannel, sharedChannel}[i%2], t.sites.find(id))
	}
	return tm
}

func channelID(seed uint64) string {
	raw := fmt.Appendf(nil, "%016x", mix(seed))
	return "19:" + hex.EncodeToString(raw) + "@thread.tacv2"
}

// addChannelSites makes the sites of a team's private and shared channels. Called
// under the tenant's lock, when the group is made.
func (t *Tenant) addChannelSites(e *entry) {
	if !e.team {
		return
	}
	for i := range t.spec.ClosedChannels {
		site := t.addSite(fmt.Sprintf("%s-Closed Channel %d", e.name, i+1), nil, nil)
		e.channelSites = append(e.channelSites, site.id)
	}
}

// maxTeamPeople bounds the members that are looked at to lay a team out.
const maxTeamPeople = 100

// teamPeople returns some of a group's members, at least one user of the tenant.
func (t *Tenant) teamPeople(e *entry) []*entry {
	var people []*entry
	for place := 0; place < t.users.size() && len(people) < maxTeamPeople; place++ {
		if m := (ref{&t.users, place}); t.isMember(e, m) && m.entry().licensed {
			people = append(people, t.users.keep(place))
		}
	}
	if people == nil && t.users.size() > 0 {
		people = []*entry{t.users.keep(0)}
	}
	return people
}

// Which roles open the routes of Teams (permission tables of the channel, chat and
// chatMessage pages).
var (
	rolesTeams           = []string{"Team.ReadBasic.All", "Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All"}
	rolesChannels        = []string{"Channel.ReadBasic.All", "Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All"}
	rolesTeamMembers     = []string{"TeamMember.Read.All", "Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All"}
	rolesChannelMessages = []string{"ChannelMessage.Read.All"}
	rolesChats           = []string{"Chat.Read.All", "Chat.ReadWrite.All"}
	rolesImport          = []string{"Teamwork.Migrate.All"}
)

func teamRoutes() []route {
	get := func(pattern string, roles []string, handle func(*call) error, options ...string) route {
		return route{method: "GET", pattern: pattern, service: teams, takes: takes(nil, options...), roles: roles, handle: handle}
	}
	return []route{
		get("teams/{team}", rolesTeams, getTeam, "$select"),
		get("teams/{team}/members", rolesTeamMembers, listTeamMembers, "$top", "$skiptoken"),
		get("teams/{team}/channels", rolesChannels, listChannels, "$select"),
		get("teams/{team}/allChannels", rolesChannels, listChannels, "$select"),
		get("teams/{team}/incomingChannels", rolesChannels, listIncomingChannels, "$select"),
		get("teams/{team}/channels/getAllMessages", rolesChannelMessages, getAllChannelMessages, "model", "$top", "$filter", "$skiptoken"),
		get("teams/{team}/channels/allMessages", rolesChannelMessages, getAllChannelMessages, "model", "$top", "$filter", "$skiptoken"),
		get("teams/{team}/channels/{channel}", rolesChannels, getChannel, "$select"),
		get("teams/{team}/channels/{channel}/members", rolesTeamMembers, listChannelMembers, "$top", "$skiptoken"),
		{method: "GET", pattern: "teams/{team}/channels/{channel}/filesFolder", service: sharePoint, units: 1, roles: rolesFiles,
			takes: takesOne(nil, "$select"), handle: getFilesFolder},
	}
}

// withTeam calls do with the team of a request, if its group is active.
func (c *call) withTeam(do func(*team) error) error {
	c.t.mu.RLock()
	e := c.t.groups.active(c.param("team"))
	c.t.mu.RUnlock()
	if e == nil || !e.team {
		return fail(http.StatusNotFound, "NotFound", "No team found with Group Id %s", c.param("team"))
	}
	tm, err := c.t.openTeam(e.id)
	if err != nil {
		return err
	}
	return do(tm)
}

// withChannel calls do with the channel of a request, under its lock.
func (c *call) withChannel(do func(*team, *channel) error) error {
	return c.withTeam(func(tm *team) error {
		for _, ch := range tm.channels {
			if ch.id == c.param("channel") {
				ch.mu.Lock()
				defer ch.mu.Unlock()
				return do(tm, ch)
			}
		}
		return fail(http.StatusNotFound, "NotFound", "The channel could not be found.")
	})
}

func getTeam(c *call) error {
	return c.withTeam(func(tm *team) error {
		o := newObject(c.sel)
		o.str("id", tm.group.id)
		o.str("displayName", tm.group.name)
		o.str("description", tm.group.name)
		o.instant("createdDateTime", tm.group.created())
		o.str("visibility", "private")
		o.boolean("isArchived", false)
		o.str("tenantId", c.t.id)
		o.str("internalId", tm.channels[0].id)
		o.str("webUrl", "https://teams.example/l/team/"+tm.channels[0].id+"/conversations?groupId="+tm.group.id)
		return c.json(http.StatusOK, o.done())
	})
}

func (c *call) renderChannel(tm *team, ch *channel) []byte {
	o := newObject(c.sel)
	o.str("id", ch.id)
	o.str("displayName", ch.name)
	o.nullable("description", "")
	o.instant("createdDateTime", ch.created)
	o.str("membershipType", ch.membership)
	o.str("tenantId", c.t.id)
	o.boolean("isArchived", false)
	o.str("webUrl", "https://teams.example/l/channel/"+ch.id+"?groupId="+tm.group.id)
	return o.done()
}

// listChannels lists the channels of a team, all of which it hosts.
func listChannels(c *call) error {
	return c.withTeam(func(tm *team) error {
		items := make([][]byte, len(tm.channels))
		for i, ch := range tm.channels {
			items[i] = c.renderChannel(tm, ch)
		}
		return c.page(items, "", "")
	})
}

// listIncomingChannels lists the channels that other teams share with this one.
func listIncomingChannels(c *call) error {
	return c.withTeam(func(tm *team) error {
		var items [][]byte
		for _, in := range tm.sharedWith() {
			items = append(items, c.renderChannel(in.host, in.channel))
		}
		return c.page(items, "", "")
	})
}

func (tm *team) sharedWith() []incomingChannel {
	tm.t.office.mu.Lock()
	defer tm.t.office.mu.Unlock()
	return slices.Clone(tm.incoming)
}

// ShareChannel shares a shared channel of a team, by ID or name, with another team of the
// tenant, which lists it among its incoming channels from then on.
func (t *Tenant) ShareChannel(owner, name, with string) error {
	ch, err := t.channelOf(owner, name)
	if err != nil {
		return err
	}
	if ch.membership != sharedChannel {
		return fmt.Errorf("graphsim: channel %q is %s, not %s", ch.name, ch.membership, sharedChannel)
	}
	host, err := t.openTeam(owner)
	if err != nil {
		return err
	}
	guest, err := t.openTeam(with)
	if err != nil {
		return err
	}
	t.office.mu.Lock()
	defer t.office.mu.Unlock()
	if host != guest && !slices.ContainsFunc(guest.incoming, func(in incomingChannel) bool { return in.channel == ch }) {
		guest.incoming = append(guest.incoming, incomingChannel{host, ch})
	}
	return nil
}

func getChannel(c *call) error {
	return c.withChannel(func(tm *team, ch *channel) error { return c.json(http.StatusOK, c.renderChannel(tm, ch)) })
}

func listTeamMembers(c *call) error {
	return c.withTeam(func(tm *team) error { return c.answerPeople(tm.channels[0].people) })
}

func listChannelMembers(c *call) error {
	return c.withChannel(func(_ *team, ch *channel) error { return c.answerPeople(ch.people) })
}

func (c *call) answerPeople(people []*entry) error {
	return c.skipPage(len(people), c.pageSize(100, 999), "$skiptoken", func(i int) []byte {
		u := people[i]
		o := newObject(c.sel)
		o.str("@odata.type", "#microsoft.graph.aadUserConversationMember")
		o.str("id", strings.ReplaceAll(guid(mixString(u.ordinal, u.id)), "-", ""))
		roles := []string{}
		if i == 0 {
			roles = []string{"owner"}
		}
		o.strings("roles", roles)
		o.str("displayName", u.name)
		o.str("userId", u.id)
		o.str("email", c.t.principalName(u))
		o.str("tenantId", c.t.id)
		return o.done()
	})
}

// getFilesFolder answers the folder a channel keeps its files in: a folder of the
// team's library, or of the channel's own site for private and shared ones. It is
// made when it is first asked for.
func getFilesFolder(c *call) error {
	var ch *channel
	home := ""
	err := c.withChannel(func(tm *team, found *channel) error {
		ch, home = found, tm.group.site
		return nil
	})
	if err != nil {
		return err
	}
	c.t.mu.RLock()
	site := c.t.sites.find(home)
	if ch.site != nil {
		site = ch.site
	}
	c.t.mu.RUnlock()
	if site == nil || site.state != Active {
		return itemNotFound()
	}
	return c.t.withDrive(site.id, func(d *drive) error {
		folder, err := d.folders(ch.name)
		if err != nil {
			return err
		}
		return c.answerItem(http.StatusOK, d, folder)
	})
}

// ChannelInfo is a channel as tests want to know it.
type ChannelInfo struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Membership string `json:"membership"`
	Site       string `json:"site,omitempty"` // of private and shared channels
}

// Channels returns the channels of a team, General first. Errors: a group that is no team.
func (t *Tenant) Channels(group string) ([]ChannelInfo, error) {
	tm, err := t.openTeam(group)
	if err != nil {
		return nil, err
	}
	list := make([]ChannelInfo, len(tm.channels))
	for i, ch := range tm.channels {
		list[i] = ChannelInfo{ID: ch.id, Name: ch.name, Membership: ch.membership}
		if ch.site != nil {
			list[i].Site = ch.site.id
		}
	}
	return list, nil
}

// channelOf finds a channel of a team by its ID or name; "" is General.
func (t *Tenant) channelOf(group, name string) (*channel, error) {
	tm, err := t.openTeam(group)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(tm.channels, func(ch *channel) bool { return name == "" || ch.id == name || ch.name == name })
	if at < 0 {
		return nil, fmt.Errorf("graphsim: team %s has no channel %q", group, name)
	}
	return tm.channels[at], nil
}
