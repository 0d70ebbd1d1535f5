package graphsim

// DefaultRoles is what a consent grants unless it names roles: the application permissions
// that open everything a tenant holds, to read it and to bring it back. Sending mail,
// registering applications, granting roles and a partner's view of customers are not in it.
var DefaultRoles = []string{
	"User.Read.All", "Group.Read.All", "Organization.Read.All", "MailboxSettings.ReadWrite",
	"Mail.ReadWrite", "Calendars.ReadWrite", "Contacts.ReadWrite", "Tasks.ReadWrite.All",
	"Files.ReadWrite.All", "Sites.ReadWrite.All", "User.DeleteRestore.All", "Group.ReadWrite.All",
	"Team.ReadBasic.All", "Channel.ReadBasic.All", "ChannelMessage.Read.All",
	"TeamMember.Read.All", "Chat.Read.All", "Sites.Manage.All", "Group-Conversation.Read.All", "MailboxConfigItem.ReadWrite",
	"MailboxFolder.ReadWrite.All", "MailboxItem.ReadWrite.All", "MailboxItem.ImportExport.All", "Place.Read.All",
}

// Which roles open a route; any one of them suffices. Source: the permission
// lists of the Graph reference.
var (
	rolesUsers  = []string{"User.Read.All", "User.ReadWrite.All", "Directory.Read.All"}
	rolesGroups = []string{"Group.Read.All", "Group.ReadWrite.All", "GroupMember.Read.All", "Directory.Read.All"}
	// Without members, groups can be read with less.
	rolesGroupList    = append([]string{"Group.ReadBasic.All"}, rolesGroups...)
	rolesMembers      = append([]string{"GroupMember.ReadBasic.All", "GroupMember.ReadWrite.All"}, rolesGroups...)
	rolesPlaces       = []string{"Place.Read.All", "Place.ReadWrite.All"}
	rolesCustomers    = []string{"DelegatedAdminRelationship.Read.All", "DelegatedAdminRelationship.ReadWrite.All"}
	rolesPurge        = []string{"User.DeleteRestore.All", "Group.ReadWrite.All", "Application.ReadWrite.All"}
	rolesApplications = []string{"Application.Read.All", "Application.ReadWrite.All", "Application.ReadWrite.OwnedBy", "Directory.Read.All"}
	// Roles of Graph are granted with AppRoleAssignment.ReadWrite.All, accompanied by the
	// right to read applications ("servicePrincipal: grant an appRoleAssignment").
	rolesApplicationsWrite = []string{"Application.ReadWrite.All", "Application.ReadWrite.OwnedBy"}
	rolesAssign            = []string{"AppRoleAssignment.ReadWrite.All"}
	rolesOrganization      = []string{"Organization.Read.All", "User.Read.All", "Directory.Read.All"}
	rolesSkus              = []string{"Organization.Read.All", "LicenseAssignment.Read.All", "Directory.Read.All"}
	rolesDeleted           = []string{"User.Read.All", "Group.Read.All", "Directory.Read.All", "Application.Read.All", "Application.ReadWrite.All"}
	rolesRestore           = []string{"User.DeleteRestore.All", "Group.ReadWrite.All", "Application.ReadWrite.All"}
	rolesSettings          = []string{"MailboxSettings.Read", "MailboxSettings.ReadWrite"}
	rolesMail              = []string{"Mail.Read", "Mail.ReadWrite"}
	rolesMailWrite         = []string{"Mail.ReadWrite"}
	rolesContacts          = []string{"Contacts.Read", "Contacts.ReadWrite"}
	rolesCalendars         = []string{"Calendars.Read", "Calendars.ReadWrite"}
	rolesContactsWrite     = []string{"Contacts.ReadWrite"}
	rolesCalendarsWrite    = []string{"Calendars.ReadWrite"}
	rolesFiles             = []string{"Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All", "Sites.ReadWrite.All", "Sites.FullControl.All"}
	rolesFilesWrite        = []string{"Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All"}
	rolesSites             = []string{"Sites.Read.All", "Sites.ReadWrite.All", "Sites.FullControl.All"}
	// Files.ReadWrite.All is not enough for upload sessions without a user.
	rolesUploadSession = []string{"Sites.ReadWrite.All", "Sites.FullControl.All"}
)
