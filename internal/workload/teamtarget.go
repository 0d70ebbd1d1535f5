package workload

import (
	"context"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// teamTarget writes the files of a team.
type teamTarget[P Pages] struct {
	api  TeamWriter[P]
	team string
	req  tenantry.RestoreRequest
	// values writes what files have in the columns of libraries, as it does in sites.
	values *siteTarget[P]

	mu       sync.Mutex // guards what follows
	channels []channel
	library  *driveTarget[P]            // of the team
	own      map[string]*driveTarget[P] // by channel: of its own drive
	driveOf  map[string]*driveTarget[P] // by the ID of a stored drive: where it goes
}

// NewTeamTarget returns the target that writes the files of a team's channels; team is the Entra object ID of its
// group. Files of standard channels go into the team's library, those of a private or shared channel into
// that channel, by its ID or its name, and nowhere else. Messages, members and settings are not
// written: Microsoft lets an application write messages only into channels that are being migrated.
func NewTeamTarget[P Pages](api TeamWriter[P], team string, req tenantry.RestoreRequest) engine.Target {
	t := &teamTarget[P]{
		api: api, team: team, req: req, values: newSiteTarget(api, "", req),
		own: map[string]*driveTarget[P]{}, driveOf: map[string]*driveTarget[P]{},
	}
	t.values.siteOf = t.siteOf
	t.library = t.newDrive()
	return t
}

// newDrive returns what writes files, and their values where there are columns for them: who has none needs no permission
// for lists.
func (t *teamTarget[P]) newDrive() *driveTarget[P] {
	d := newDriveTarget(t.api, ofGroup, t.team, t.req)
	d.describe, d.said = t.values.describe, t.values.said
	d.find = func(ctx context.Context, drive, folder, name string) (jsontext.Value, error) {
		if t.values.hasColumns() {
			return t.api.LibraryChild(ctx, drive, folder, name)
		}
		return t.api.DriveChild(ctx, drive, folder, name)
	}
	return d
}

// siteOf is the site of a drive: the team's, or that of a private or shared channel.
func (t *teamTarget[P]) siteOf(ctx context.Context, _, drive string) (string, error) {
	raw, err := t.api.Drive(ctx, drive)
	if err != nil {
		return "", err
	}
	ids, err := readLibraryIDs(raw)
	if err == nil && ids.site() == "" {
		err = tenantry.Errorf(tenantry.Internal, "find the site of a drive: the answer does not name it")
	}
	return ids.site(), err
}

// Begin makes a library ready for the files of a stored one: it gets the columns that it has not.
func (t *teamTarget[P]) Begin(ctx context.Context, id string, e repository.Entry, open engine.OpenPart) error {
	if within(e.ID) != "" && strings.HasPrefix(e.ID, driveID) {
		return t.drive(e.ID).Begin(ctx, id, e, open)
	}
	return t.values.Begin(ctx, id, e, open)
}

// End writes what files look up in lists.
func (t *teamTarget[P]) End(ctx context.Context, lacks engine.Lacks) error {
	return t.values.connect(ctx, lacks)
}

// Notes says what became of much of what was written, and is no fault of single files.
func (t *teamTarget[P]) Notes() string { return t.values.said.text() }

// Folder finds the channel that stands for e, or finds or makes a folder of files.
func (t *teamTarget[P]) Folder(ctx context.Context, parent string, e repository.Entry, raw []byte) (string, error) {
	if err := knownConflict(t.req.Conflict); err != nil {
		return "", err
	}
	switch {
	case strings.HasPrefix(e.ID, channelID):
		return t.channel(ctx, e, raw)
	case strings.HasPrefix(e.ID, messagesID):
		return e.ID, nil // messages lie in their channels
	case !strings.HasPrefix(e.ID, driveID):
		return "", tenantry.Errorf(tenantry.Invalid, "restore into a team: there is no way to write a %s", e.Kind)
	case within(e.ID) != "":
		return t.drive(e.ID).Folder(ctx, parent, e, raw)
	}
	d := t.library
	if in, ok := strings.CutPrefix(parent, channelID); ok {
		var err error
		if d, err = t.ownDrive(ctx, in); err != nil {
			return "", err
		}
	}
	t.mu.Lock()
	t.driveOf[e.ID] = d
	t.mu.Unlock()
	return d.Folder(ctx, "", e, raw)
}

// channel finds the channel that stands for a stored one. A standard channel need not be there: its files are
// the team's.
func (t *teamTarget[P]) channel(ctx context.Context, e repository.Entry, raw []byte) (string, error) {
	var stored channel
	if err := parse("a stored channel", raw, &stored); err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.channels == nil {
		err := walk(func(link string) (P, error) { return t.api.Channels(ctx, t.team, link) }, func(raw jsontext.Value) error {
			var c channel
			err := parse("a channel", raw, &c)
			t.channels = append(t.channels, c)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	for _, same := range []func(channel) bool{
		func(c channel) bool { return c.ID == stored.ID },
		func(c channel) bool {
			return strings.EqualFold(c.DisplayName, stored.DisplayName) && c.Membership == stored.Membership
		},
	} {
		for _, c := range t.channels {
			if same(c) {
				return channelID + c.ID, nil
			}
		}
	}
	if stored.standard() {
		return channelID, nil
	}
	return "", tenantry.Errorf(tenantry.NotFound, "restore the %s channel %s: the team has none of that name", stored.Membership, e.Name)
}

// ownDrive returns what writes into the drive of a private or shared channel.
func (t *teamTarget[P]) ownDrive(ctx context.Context, channel string) (*driveTarget[P], error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d, ok := t.own[channel]; ok {
		return d, nil
	}
	folder, err := t.api.FilesFolder(ctx, t.team, channel)
	if err != nil {
		return nil, err
	}
	var f struct {
		Parent struct {
			Drive string `json:"driveId"`
		} `json:"parentReference"`
	}
	if err := parse("the folder of a channel", folder, &f); err != nil {
		return nil, err
	}
	if f.Parent.Drive == "" {
		return nil, tenantry.Errorf(tenantry.Internal, "find the files of a channel: the answer names no drive")
	}
	d := t.newDrive()
	d.only = f.Parent.Drive
	t.own[channel] = d
	return d, nil
}

// drive returns what writes into the drive that an item's own is restored to.
func (t *teamTarget[P]) drive(id string) *driveTarget[P] {
	tree, _ := treeOf(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if d, ok := t.driveOf[tree]; ok {
		return d
	}
	return t.library
}

// Item writes a file, unless it is there.
func (t *teamTarget[P]) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	switch {
	case strings.HasPrefix(e.ID, driveID):
		return t.drive(e.ID).Item(ctx, folder, e, raw, open)
	case e.Kind == kindChat:
		return engine.Written{}, tenantry.Errorf(tenantry.Poison, "not written: Microsoft lets an application write messages only into channels that are being migrated; export it")
	}
	return engine.Written{}, tenantry.Errorf(tenantry.Poison, "not written: members and settings of a team are saved to be read")
}

// Finish ends a folder of files as NewDriveTarget says.
func (t *teamTarget[P]) Finish(ctx context.Context, id string, e repository.Entry, raw []byte, open engine.OpenPart) error {
	if !strings.HasPrefix(e.ID, driveID) {
		return nil
	}
	return t.drive(e.ID).Finish(ctx, id, e, raw, open)
}
