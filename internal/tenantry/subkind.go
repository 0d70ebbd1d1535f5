package tenantry

import "slices"

// Subkind says what kind of mailbox a user has, or what kind of group or site a resource stands for, as far as v1.0 of
// Microsoft Graph tells. Words of different kinds never mean the same thing, so that a policy can leave out any of them.
type Subkind string

// What a user's mailbox is for (mailboxSettings, userPurpose); "" while nobody has told.
const (
	MailboxOfUser      Subkind = "user"
	MailboxLinked      Subkind = "linked"
	MailboxShared      Subkind = "shared"
	MailboxOfRoom      Subkind = "room"
	MailboxOfEquipment Subkind = "equipment"
	MailboxOther       Subkind = "others"
)

// The kinds of group ("Overview of groups in Microsoft Graph"), and of Microsoft 365 groups those that are teams
// ("List all teams in an organization").
const (
	GroupMicrosoft365 Subkind = "microsoft365"
	GroupTeam         Subkind = "team"
	GroupSecurity     Subkind = "security"
	GroupMailSecurity Subkind = "mail_security"
	GroupDistribution Subkind = "distribution"
)

// The kinds of site. That a site is a communication site, a hub or that of a channel is nowhere in the resource type
// "site" of v1.0: SiteOther is all of these, and those that are nobody's in particular.
const (
	SiteRoot    Subkind = "root"       // the tenant's own ("Get a site", root)
	SiteOfGroup Subkind = "group_site" // of a Microsoft 365 group ("Get a site", of a group)
	SiteOfTeam  Subkind = "team_site"  // of one that is a team
	SiteSub     Subkind = "subsite"    // below another: it has no facet "root" ("site resource type")
	SiteOther   Subkind = "site"
)

// SubkindUnknown is a group or a site of which Microsoft has not told yet what it is.
const SubkindUnknown Subkind = "unknown"

// Subkinds are all words that there are: of mailboxes, of groups, of sites.
func Subkinds() []Subkind {
	return []Subkind{
		MailboxOfUser, MailboxLinked, MailboxShared, MailboxOfRoom, MailboxOfEquipment, MailboxOther,
		GroupMicrosoft365, GroupTeam, GroupSecurity, GroupMailSecurity, GroupDistribution,
		SiteRoot, SiteOfGroup, SiteOfTeam, SiteSub, SiteOther, SubkindUnknown,
	}
}

// Known reports whether there is such a word.
func (k Subkind) Known() bool { return slices.Contains(Subkinds(), k) }
