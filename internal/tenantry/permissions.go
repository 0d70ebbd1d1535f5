package tenantry

import "slices"

// Purpose is what a permission is asked for.
type Purpose string

// The purposes of permissions.
const (
	ToList    Purpose = "list"    // the tenant itself: users, groups, licences
	ToBackup  Purpose = "backup"  // read a workload
	ToRestore Purpose = "restore" // write a workload
)

// Permission is an application permission of Microsoft Graph and what it is for.
type Permission struct {
	Name     string   `json:"name"`
	Purpose  Purpose  `json:"purpose"`
	Workload Workload `json:"workload,omitempty"` // none: the tenant itself
	For      string   `json:"for"`                // what fails without it, for a person
	Wider    []string `json:"-"`                  // permissions that include it
	// Partial says that without it the rest of the workload goes on.
	Partial bool `json:"partial,omitempty"`
}

// Granted reports whether the roles of a token hold the permission or one that includes it.
func (p Permission) Granted(roles []string) bool {
	return slices.Contains(roles, p.Name) || slices.ContainsFunc(p.Wider, func(r string) bool { return slices.Contains(roles, r) })
}

var (
	directoryWide = []string{"Directory.Read.All", "Directory.ReadWrite.All"}
	filesRead     = []string{"Files.ReadWrite.All", "Sites.Read.All", "Sites.ReadWrite.All", "Sites.Manage.All", "Sites.FullControl.All"}
	filesWrite    = []string{"Sites.ReadWrite.All", "Sites.Manage.All", "Sites.FullControl.All"}
	sitesWrite    = []string{"Sites.Manage.All", "Sites.FullControl.All"}
)

// permissions is the one list of what the fleet asks for (Graph permissions reference). Mail.Send and
// whatever could grant permissions are not in it, and never will be. Group conversations and messages of
// teams cannot be written by an application.
var permissions = []Permission{
	{"User.Read.All", ToList, "", "list users and their licences", append([]string{"User.ReadWrite.All"}, directoryWide...), false},
	{"Group.Read.All", ToList, "", "list groups and teams", append([]string{"Group.ReadWrite.All"}, directoryWide...), false},
	{"Organization.Read.All", ToList, "", "know whose tenant it is and what is licensed", append([]string{"Organization.ReadWrite.All"}, directoryWide...), false},

	{"Mail.Read", ToBackup, Mailbox, "read mail", []string{"Mail.ReadWrite"}, false},
	{"MailboxSettings.Read", ToBackup, Mailbox, "know shared mailboxes, rooms and equipment; read rules and settings", []string{"MailboxSettings.ReadWrite"}, true},
	{"Contacts.Read", ToBackup, Mailbox, "read contacts", []string{"Contacts.ReadWrite"}, true},
	{"Calendars.Read", ToBackup, Mailbox, "read calendars", []string{"Calendars.ReadWrite"}, true},
	{"Tasks.Read.All", ToBackup, Mailbox, "read tasks", []string{"Tasks.ReadWrite.All"}, true},
	{"Files.Read.All", ToBackup, Drive, "read files of OneDrive", filesRead, false},
	{"Sites.Read.All", ToBackup, SiteContent, "list sites and read their lists, pages and files", append([]string{"Sites.ReadWrite.All"}, sitesWrite...), false},
	{"Group-Conversation.Read.All", ToBackup, GroupContent, "read conversations of groups", []string{"Group-Conversation.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All"}, false},
	{"Team.ReadBasic.All", ToBackup, TeamContent, "know teams", []string{"Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}, false},
	{"Channel.ReadBasic.All", ToBackup, TeamContent, "list channels", []string{"Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}, false},
	{"ChannelMessage.Read.All", ToBackup, TeamContent, "read messages of channels", nil, true},
	{"TeamMember.Read.All", ToBackup, TeamContent, "list members of teams", []string{"TeamMember.ReadWrite.All"}, true},
	{"Files.Read.All", ToBackup, TeamContent, "read files of channels", filesRead, true},

	{"Mail.ReadWrite", ToRestore, Mailbox, "write mail back", nil, false},
	{"Contacts.ReadWrite", ToRestore, Mailbox, "write contacts back", nil, true},
	{"Calendars.ReadWrite", ToRestore, Mailbox, "write calendars back", nil, true},
	{"Tasks.ReadWrite.All", ToRestore, Mailbox, "write tasks back", nil, true},
	{"MailboxSettings.ReadWrite", ToRestore, Mailbox, "write rules and settings back", nil, true},
	{"Files.ReadWrite.All", ToRestore, Drive, "write files back", filesWrite, false},
	{"Sites.ReadWrite.All", ToRestore, SiteContent, "write lists and pages back", sitesWrite, false},
	{"Files.ReadWrite.All", ToRestore, SiteContent, "write files of sites back", []string{"Sites.FullControl.All"}, false},
	{"Sites.Manage.All", ToRestore, SiteContent, "make lists that are gone", []string{"Sites.FullControl.All"}, true},
	{"Files.ReadWrite.All", ToRestore, TeamContent, "write files of channels back", filesWrite, false},
}

// Permissions lists everything the fleet may ask for, by purpose and workload.
func Permissions() []Permission { return slices.Clone(permissions) }

// PermissionsFor lists what one purpose of one workload takes; a workload of "" is the tenant itself.
func PermissionsFor(purpose Purpose, w Workload) []Permission {
	var list []Permission
	for _, p := range permissions {
		if p.Purpose == purpose && p.Workload == w {
			list = append(list, p)
		}
	}
	return list
}

// Missing names the permissions of the list that the roles do not grant: those without which nothing
// works, and those without which a part does not.
func Missing(list []Permission, roles []string) (needed, partial []string) {
	for _, p := range list {
		switch {
		case p.Granted(roles):
		case p.Partial:
			partial = append(partial, p.Name)
		default:
			needed = append(needed, p.Name)
		}
	}
	return needed, partial
}

// Workloads lists all workloads, in the order in which people are shown them.
func Workloads() []Workload {
	return []Workload{Mailbox, Drive, SiteContent, GroupContent, TeamContent}
}

// KindOfWorkload is the kind of resource that has a workload.
func KindOfWorkload(w Workload) ResourceKind {
	switch w {
	case SiteContent:
		return Site
	case GroupContent, TeamContent:
		return Group
	}
	return User
}

// EnableState is where a workload of a tenant stands on its way to being protected:
//
//	unauthorised <--[the consent gives or loses a permission]--> authorised
//	authorised --[enabled]--> enabling --[a sync begins]--> listing --[it ends]--> ready
//	unauthorised --[enabled; then the consent gives what was missing]--> enabling
//	enabling | listing | ready --[the consent lost a permission]--> failed
//	listing | ready --[the sync cannot list it]--> failed
//	failed --[enabled again, or a sync finds its permissions]--> enabling
//	any --[disabled]--> authorised | unauthorised
//
// Nothing of a workload is protected before it is enabled and has its permissions.
type EnableState string

// The states of a workload of a tenant.
const (
	Unauthorised EnableState = "unauthorised"
	Authorised   EnableState = "authorised"
	Enabling     EnableState = "enabling"
	Listing      EnableState = "listing"
	Ready        EnableState = "ready"
	Failed       EnableState = "failed"
)
