package graphsim

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
