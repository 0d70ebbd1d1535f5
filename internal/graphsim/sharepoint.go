package graphsim

import "net/http"

// SharePointOptions is how sites and drives behave where the documentation leaves
// it open or a tenant's settings decide. The zero value is what is harder on a client.
type SharePointOptions struct {
	// VersionLimit is how many old versions of a file or list item are kept; default 100.
	VersionLimit int
	// CurrentVersionContent serves the current version's bytes among the versions.
	CurrentVersionContent bool
	// NotebookContent serves the parts of OneNote notebooks as files.
	NotebookContent bool
	// ExternalSharing lets links be anonymous and invitations go to strangers.
	ExternalSharing bool
	// RestoreDeleted lets the recycle bin give items back.
	RestoreDeleted bool
	// LibrarySharingChanges marks changes of permissions in the delta of site
	// libraries, as it does in that of OneDrives.
	LibrarySharingChanges bool
	// LateHashes leaves the hash of a file out until it was downloaded once, which
	// the hashes page says may happen.
	LateHashes bool
}

func (o SharePointOptions) withDefaults() SharePointOptions {
	setDefault(&o.VersionLimit, 100)
	return o
}

// applySharePoint makes a change of a drive, a list, a page or a team; known is false
// for another op.
func (t *Tenant) applySharePoint(m Mutation) (id string, known bool, err error) {
	for _, apply := range []func(Mutation) (string, bool, error){t.applyDrive, t.applyList, t.applyPage, t.applyTeam} {
		if id, known, err = apply(m); known {
			return id, true, err
		}
	}
	return "", false, nil
}

// sharePointTruth answers with what a site, a drive or a team is; known is false for
// another kind of truth.
func (t *Tenant) sharePointTruth(w http.ResponseWriter, r *http.Request, owner, kind string) (known bool) {
	switch kind {
	case "drive":
		writeLines(w, r, t.DriveTruth, owner)
	case "drives":
		writeLines(w, r, t.Drives, owner)
	case "lists":
		writeLines(w, r, t.Lists, owner)
	case "listItems":
		writeLines(w, r, t.ListTruth, owner)
	case "pages":
		writeLines(w, r, t.PageTruth, owner)
	case "members":
		writeLines(w, r, t.Members, owner)
	case "channels":
		writeLines(w, r, t.Channels, owner)
	case "messages":
		writeLines(w, r, t.TeamTruth, owner)
	case "chats":
		writeLines(w, r, t.ChatTruth, owner)
	default:
		return false
	}
	return true
}
