package workload

import (
	"bytes"
	"cmp"
	"context"
	"html"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	kindTeam    = "team"
	kindMembers = "members"
	kindChat    = "chatMessage"

	channelID       = "channel:"
	membersPart     = "members.json"
	filesFolderPart = "filesFolder.json"
	hostedPart      = "hosted/" // and the ID of a picture

	// noColumns precedes, in the ID of the entry that says that there are none, the drive whose columns were not shown.
	noColumns = "columns:"

	standardChannel = "standard" // membershipType of a channel that is open to the team

	// since precedes the time of the last export of messages, and in the middle of one the time at which it began.
	since = "since "
	// exportOverlap is how far an export reaches back before the last one began: clocks differ, and what is
	// told twice changes nothing.
	exportOverlap = 5 * time.Minute
)

// teamSource reads a team.
type teamSource[P Pages] struct {
	driveTree[P]
	api  TeamReader[P]
	team string
	now  func() time.Time
}

// NewTeamSource returns the source of a team; team is the Entra object ID of its group. Its messages are read by
// the export of all channels, if Microsoft allows of what changed since the last one began. Files are read by the drives in which
// the channels really keep them, each once: those of standard channels share one, a private or shared channel
// has its own.
func NewTeamSource[P Pages](api TeamReader[P], team string, o tenantry.BackupOptions) engine.Source {
	return &teamSource[P]{newDriveTree[P](api, o), api, team, time.Now}
}

// Tree says that messages stay in their team and files in their drive.
func (s *teamSource[P]) Tree(id string) (string, bool) { return treeOf(id) }

// Page reads a page of one collection.
func (s *teamSource[P]) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	switch {
	case strings.HasPrefix(collection, driveID):
		return s.libraryPage(ctx, s.api, collection, link)
	case strings.HasPrefix(collection, messagesID):
		return s.messages(ctx, link)
	}
	return s.contents(ctx, link)
}

// channelDrives says, by channel, in which drive it keeps its files. It is what the link of a team remembers: a
// channel that does not tell any more, though it is there, must not lose what was saved of it.
type channelDrives map[string]knownDrive

type knownDrive struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Parent string `json:"parent,omitempty"`
	// Columns is the version of the list that the drive is, and Read when it was read.
	Columns string    `json:"columns,omitempty"`
	Read    time.Time `json:"read,omitzero"`
}

// columnsAge is how long the columns of a drive are believed: they change seldom, and a team at rest shall be cheap.
const columnsAge = 20 * time.Hour

// of is what is known of a drive, by whatever channel.
func (d channelDrives) of(drive string) knownDrive {
	for _, known := range d {
		if known.ID == drive {
			return known
		}
	}
	return knownDrive{}
}

// contents lists the team, its members, its channels, and the drives in which they keep files.
func (s *teamSource[P]) contents(ctx context.Context, link string) (engine.Page, error) {
	list, before, now := newChanges(8), channelDrives{}, channelDrives{}
	if link != "" {
		if err := parse("the link of a team", jsontext.Value(link), &before); err != nil {
			before = channelDrives{} // it only remembers
		}
	}
	raw, err := s.api.Team(ctx, s.team)
	if err != nil {
		return engine.Page{}, err
	}
	n, err := newNamed("a team", raw)
	if err != nil {
		return engine.Page{}, err
	}
	list.put(engine.Item{ID: kindTeam, Kind: kindTeam, Name: n.DisplayName, ETag: digest(raw), Raw: raw})
	members, err := collect(func(link string) (P, error) { return s.api.TeamMembers(ctx, s.team, link) })
	switch tenantry.KindOf(err) {
	case "":
		raw = array(members)
		list.put(engine.Item{ID: kindMembers, Kind: kindMembers, Name: "Members", ETag: digest(raw), Raw: raw})
	case tenantry.Denied: // a permission of its own, without which the rest can be read
		list.put(engine.Item{ID: kindMembers, Kind: kindMembers, Name: "Members", Problem: refusedMembers(err), ProblemKind: tenantry.Denied})
	default:
		return engine.Page{}, err
	}
	tree := messagesID + s.team
	list.put(engine.Item{ID: tree, Kind: engine.KindFolder, Name: "Messages", ETag: "1", Collection: tree, Apart: true})
	err = walk(func(link string) (P, error) { return s.api.Channels(ctx, s.team, link) }, func(raw jsontext.Value) error {
		return s.channel(ctx, list, raw, before, now)
	})
	if err != nil {
		return engine.Page{}, err
	}
	next, err := json.Marshal(now, json.Deterministic(true))
	p := list.whole()
	p.Next = string(next)
	return p, err
}

func refusedMembers(err error) string {
	return "Microsoft refuses to name them (" + tenantry.CodeOf(err) + "): is TeamMember.Read.All consented to?"
}

type channel struct {
	named
	Membership string `json:"membershipType"`
}

func (c *channel) standard() bool { return c.Membership == "" || c.Membership == standardChannel }

// channel adds a channel, and the drive in which it keeps its files: below the channel if it is its own.
func (s *teamSource[P]) channel(ctx context.Context, list *changes, raw jsontext.Value, before, now channelDrives) error {
	var c channel
	switch err := parse("a channel", raw, &c); {
	case err != nil:
		return err
	case c.ID == "":
		return tenantry.Errorf(tenantry.Internal, "read a channel: it has no ID")
	}
	item := engine.Item{ID: channelID + c.ID, Kind: engine.KindFolder, Name: c.DisplayName, Raw: raw}
	var parts []engine.ItemPart
	if !c.standard() {
		members, err := collect(func(link string) (P, error) { return s.api.ChannelMembers(ctx, s.team, c.ID, link) })
		switch tenantry.KindOf(err) {
		case "":
			parts = append(parts, bytesPart(membersPart, array(members)))
		case tenantry.NotFound, tenantry.Denied: // of the latter the team's own members tell
		default:
			return err
		}
	}
	folder, err := s.api.FilesFolder(ctx, s.team, c.ID)
	switch tenantry.KindOf(err) {
	case "":
		parts = append(parts, bytesPart(filesFolderPart, folder))
		if err := s.files(ctx, list, c, folder, before, now); err != nil {
			return err
		}
	case tenantry.NotFound, tenantry.Absent, tenantry.Denied:
		if known, ok := before[c.ID]; ok {
			now[c.ID] = known
			list.keep(known)
		} else if tenantry.KindOf(err) == tenantry.Denied { // else nobody has looked at its files yet
			parts = append(parts, engine.ItemPart{Name: filesFolderPart, Open: func(context.Context) (io.ReadCloser, error) { return nil, err }})
		}
	default:
		return err
	}
	versions := bytes.Clone(raw)
	for _, p := range parts {
		versions = append(versions, p.Name+p.Version...)
	}
	item.ETag = digest(versions)
	item.Parts = func(context.Context) ([]engine.ItemPart, error) { return parts, nil }
	list.put(item)
	return nil
}

// keep adds a drive that is no longer told of, so that what was saved of it stays; it is asked itself what
// has become of it.
func (c *changes) keep(d knownDrive) {
	if _, told := c.last[driveID+d.ID]; !told {
		c.put(engine.Item{ID: driveID + d.ID, Parent: d.Parent, Kind: engine.KindFolder, Name: d.Name, Collection: driveID + d.ID, Apart: true,
			Problem: "Microsoft does not name it as the place of a channel's files any more", ProblemKind: tenantry.NotFound})
	}
}

// files adds the drive of a channel.
func (s *teamSource[P]) files(ctx context.Context, list *changes, c channel, folder jsontext.Value, before, now channelDrives) error {
	var f struct {
		Parent struct {
			Drive string `json:"driveId"`
		} `json:"parentReference"`
	}
	if err := parse("the folder of a channel", folder, &f); err != nil {
		return err
	}
	if f.Parent.Drive == "" {
		return nil
	}
	if known := list.last[driveID+f.Parent.Drive]; known != nil && known.Problem == "" {
		now[c.ID] = now.of(f.Parent.Drive)
		return nil
	}
	raw, err := s.api.Drive(ctx, f.Parent.Drive)
	if err != nil {
		return err
	}
	parent := ""
	if !c.standard() {
		parent = channelID + c.ID
	}
	was := before.of(f.Parent.Drive)
	if age := s.now().Sub(was.Read); was.Columns != "" && age >= 0 && age < columnsAge {
		item, err := s.listed(parent, raw)
		item.ETag = digest(append([]byte(item.ETag), was.Columns...))
		item.Parts = func(ctx context.Context) ([]engine.ItemPart, error) { // the drive itself has changed
			ids, err := readLibraryIDs(raw)
			if err != nil {
				return nil, err
			}
			whole, err := s.api.List(ctx, ids.site(), ids.List)
			return []engine.ItemPart{bytesPart(libraryPart, whole)}, err
		}
		list.put(item)
		now[c.ID] = knownDrive{f.Parent.Drive, item.Name, parent, was.Columns, was.Read}
		return err
	}
	libraries, err := s.columns(ctx, list, raw, f.Parent.Drive)
	if err != nil {
		return err
	}
	item, err := s.library(parent, raw, libraries)
	list.put(item)
	known := knownDrive{ID: f.Parent.Drive, Name: item.Name, Parent: parent}
	for _, whole := range libraries {
		known.Columns, known.Read = bytesPart(libraryPart, whole).Version, s.now().UTC()
	}
	now[c.ID] = known
	return err
}

// columns reads the list that a drive is, by its ID. Where that is refused, files are saved with their values, and an
// entry says that there is nothing which describes those.
func (s *teamSource[P]) columns(ctx context.Context, list *changes, raw jsontext.Value, drive string) (map[string]jsontext.Value, error) {
	ids, err := readLibraryIDs(raw)
	if err != nil || ids.site() == "" || ids.List == "" {
		return nil, err
	}
	whole, err := s.api.List(ctx, ids.site(), ids.List)
	switch kind := tenantry.KindOf(err); kind {
	case "":
		return map[string]jsontext.Value{ids.List: whole}, nil
	case tenantry.NotFound, tenantry.Denied, tenantry.Absent, tenantry.Invalid:
		list.put(engine.Item{
			ID: noColumns + drive, Kind: kindOther, Name: noRows, ProblemKind: kind,
			Problem: "Microsoft does not describe them (" + tenantry.CodeOf(err) + "): is Sites.Read.All consented to?",
		})
		return nil, nil
	}
	return nil, err
}

// messages reads a page of the export: of what changed since the last one, or where Microsoft does not take
// that question, which its reference does not settle, of all there is.
func (s *teamSource[P]) messages(ctx context.Context, link string) (engine.Page, error) {
	began, after := s.now().UTC(), time.Time{}
	next, listed := strings.CutPrefix(link, listing)
	if !listed {
		next = ""
	}
	if text, ok := strings.CutPrefix(link, since); ok {
		at, rest, _ := strings.Cut(text, " ")
		when, err := time.Parse(time.RFC3339Nano, at)
		switch {
		case err != nil:
			return engine.Page{}, tenantry.E(tenantry.Resync, "read the link of an export", err)
		case rest == "":
			after = when.Add(-exportOverlap)
		default:
			began, next = when, rest
		}
	}
	got, err := s.api.ChannelMessages(ctx, s.team, after, next)
	if tenantry.KindOf(err) == tenantry.Invalid && !after.IsZero() {
		listed = true
		got, err = s.api.ChannelMessages(ctx, s.team, time.Time{}, "")
	}
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		if err := s.message(list, raw); err != nil {
			return engine.Page{}, err
		}
	}
	cursor := since + began.Format(time.RFC3339Nano)
	switch {
	case listed:
		out := list.page(listing+p.Next, p.Done)
		out.Listed = true
		return out, nil
	case p.Done:
		return list.page(cursor, true), nil
	}
	return list.page(cursor+" "+p.Next, false), nil
}

type chatMessage struct {
	ID       string `json:"id"`
	ReplyTo  string `json:"replyToId"`
	ETag     string `json:"etag"`
	Subject  string `json:"subject"`
	Created  string `json:"createdDateTime"`
	Modified string `json:"lastModifiedDateTime"`
	Channel  struct {
		ID string `json:"channelId"`
	} `json:"channelIdentity"`
	From struct {
		User struct {
			Name string `json:"displayName"`
		} `json:"user"`
		Application struct {
			Name string `json:"displayName"`
		} `json:"application"`
	} `json:"from"`
	Body struct {
		Content string `json:"content"`
	} `json:"body"`
}

// message adds a message or a reply.
func (s *teamSource[P]) message(list *changes, raw jsontext.Value) error {
	var m chatMessage
	switch err := parse("a message of a channel", raw, &m); {
	case err != nil:
		return err
	case m.ID == "" || m.Channel.ID == "":
		return tenantry.Errorf(tenantry.Internal, "read a message of a channel: it has no ID, or no channel")
	}
	item := engine.Item{
		ID: messagesID + s.team + "/" + m.Channel.ID + "/" + m.ID, Parent: channelID + m.Channel.ID, Kind: kindChat, Name: m.title(),
		ETag: cmp.Or(m.ETag, digest(raw)), Modified: instant(m.Modified), Date: instant(m.Created),
		From: cmp.Or(m.From.User.Name, m.From.Application.Name), Size: int64(len(raw)), Raw: raw,
	}
	if pictures := m.pictures(); len(pictures) > 0 {
		item.Parts = func(context.Context) ([]engine.ItemPart, error) { return s.pictures(m, pictures), nil }
	}
	list.put(item)
	return nil
}

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	hosted = regexp.MustCompile(`hostedContents/([^/"'\s]+)/\$value`)
)

// maxTitle is how much of a message without a subject names it, in runes.
const maxTitle = 80

// title is the subject of a message, or how it begins.
func (m *chatMessage) title() string {
	if m.Subject != "" {
		return m.Subject
	}
	text := strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(m.Body.Content, " "))), " ")
	if runes := []rune(text); len(runes) > maxTitle {
		return string(runes[:maxTitle]) + "…"
	}
	return text
}

// pictures are the IDs of what a message's text shows of its own.
func (m *chatMessage) pictures() []string {
	var ids []string
	for _, match := range hosted.FindAllStringSubmatch(m.Body.Content, -1) {
		ids = append(ids, match[1])
	}
	return ids
}

func (s *teamSource[P]) pictures(m chatMessage, ids []string) []engine.ItemPart {
	root, reply := m.ID, ""
	if m.ReplyTo != "" {
		root, reply = m.ReplyTo, m.ID
	}
	var parts []engine.ItemPart
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		parts = append(parts, engine.ItemPart{
			Name: hostedPart + id, Version: id, Fixed: true, // an edited message has others
			Open: func(ctx context.Context) (io.ReadCloser, error) {
				return s.api.HostedContent(ctx, s.team, m.Channel.ID, root, reply, id)
			},
		})
	}
	return parts
}

// Reread returns the parts of a file that could not be read before. A picture is asked for again when its message
// changes.
func (s *teamSource[P]) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	if strings.HasPrefix(e.ID, driveID) && within(e.ID) != "" {
		return s.driveTree.Reread(e)
	}
	return nil
}
