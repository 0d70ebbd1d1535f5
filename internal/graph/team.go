package graph

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

const (
	// exportPage is the most messages that one page of an export holds ("channel: getAllMessages").
	exportPage = 50
	// channelProperties leave out what changes with every message.
	channelProperties = "id,displayName,description,createdDateTime,membershipType,webUrl,isArchived"
)

// teamRead is a request of one of throttle's kinds; resource is the team or channel that has a limit of its own
// for it, "" if none has.
func (t *Tenant) teamRead(op, kind, resource string, query url.Values, path ...string) call {
	cost := throttle.Call{Tenant: t.id, Service: tenantry.Teams, Kind: kind, Resource: resource, Reserve: t.reserve}
	return t.client.build.plain(op, http.MethodGet, cost, query, append([]string{"teams"}, path...)...)
}

// teamPage reads a page of a list that belongs to Teams.
func (t *Tenant) teamPage(ctx context.Context, c call, link string) (RawPage, error) {
	if link != "" {
		var err error
		if c, err = t.client.linked(c, link); err != nil {
			return RawPage{}, err
		}
	}
	return t.page(ctx, c, false)
}

// Team returns a team with its settings.
func (t *Tenant) Team(ctx context.Context, team string) (jsontext.Value, error) {
	const op = "read a team"
	if err := given(op, team); err != nil {
		return nil, err
	}
	return t.document(ctx, t.teamRead(op, throttle.TeamsTeam, team, nil, team))
}

// TeamMembers lists the members of a team.
func (t *Tenant) TeamMembers(ctx context.Context, team, link string) (RawPage, error) {
	const op = "list the members of a team"
	if err := given(op, team); err != nil {
		return RawPage{}, err
	}
	return t.teamPage(ctx, t.teamRead(op, throttle.TeamsMembers, team, nil, team, "members"), link)
}

// Channels lists the channels that a team hosts: standard, private and shared ones.
func (t *Tenant) Channels(ctx context.Context, team, link string) (RawPage, error) {
	const op = "list the channels of a team"
	if err := given(op, team); err != nil {
		return RawPage{}, err
	}
	return t.teamPage(ctx, t.teamRead(op, throttle.TeamsChannels, team, url.Values{"$select": {channelProperties}}, team, "channels"), link)
}

// ChannelMembers lists the members of a private or shared channel.
func (t *Tenant) ChannelMembers(ctx context.Context, team, channel, link string) (RawPage, error) {
	const op = "list the members of a channel"
	if err := given(op, team, channel); err != nil {
		return RawPage{}, err
	}
	return t.teamPage(ctx, t.teamRead(op, throttle.TeamsOther, channel, nil, team, "channels", channel, "members"), link)
}

// FilesFolder returns the folder in which a channel keeps its files: its parentReference names the drive, which
// for private and shared channels is one of their own.
func (t *Tenant) FilesFolder(ctx context.Context, team, channel string) (jsontext.Value, error) {
	const op = "find the files of a channel"
	if err := given(op, team, channel); err != nil {
		return nil, err
	}
	return t.document(ctx, t.teamRead(op, throttle.TeamsOther, channel,
		url.Values{"$select": {"id,name,webUrl,parentReference,folder"}}, team, "channels", channel, "filesFolder"))
}

// Drive returns a drive.
func (t *Tenant) Drive(ctx context.Context, drive string) (jsontext.Value, error) {
	const op = "read a drive"
	if err := given(op, drive); err != nil {
		return nil, err
	}
	return t.document(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false),
		url.Values{"$select": {strings.Join(driveProperties, ",")}}, "drives", drive))
}

// ChannelMessages exports the messages and replies of all channels of a team that changed after since (zero:
// all of them), by the time at which they were written: the call that is meant for exports, and has ten times
// the quota of others. What was deleted is in it, and says so.
func (t *Tenant) ChannelMessages(ctx context.Context, team string, since time.Time, link string) (RawPage, error) {
	const op = "export the messages of a team"
	if err := given(op, team); err != nil {
		return RawPage{}, err
	}
	query := url.Values{"$top": {strconv.Itoa(exportPage)}}
	if !since.IsZero() {
		query.Set("$filter", "lastModifiedDateTime gt "+since.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	return t.teamPage(ctx, t.teamRead(op, throttle.TeamsExport, "", query, team, "channels", "getAllMessages"), link)
}

// HostedContent streams what a message, or a reply to it, holds: a picture in its text.
func (t *Tenant) HostedContent(ctx context.Context, team, channel, message, reply, content string) (io.ReadCloser, error) {
	const op = "read a picture of a message"
	if err := given(op, team, channel, message, content); err != nil {
		return nil, err
	}
	path := []string{team, "channels", channel, "messages", message}
	if reply != "" {
		path = append(path, "replies", reply)
	}
	c := t.teamRead(op, throttle.TeamsHosted, channel, nil, append(path, "hostedContents", content, "$value")...)
	c.header.Set("Accept", "*/*")
	c.stream = true
	a, err := t.open(ctx, c)
	if err != nil {
		return nil, err
	}
	return a, nil
}
