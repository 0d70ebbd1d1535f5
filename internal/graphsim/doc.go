// Package graphsim is a simulated Microsoft 365: real HTTP on loopback that
// answers as Microsoft's login host and as Graph v1.0 do, with tenants made from
// a seed. It owns tokens and consent, the directory, mailboxes, drives, delta
// rounds, the service limits, faults on demand, and the truth: what a restore has
// to bring back, computed from the simulator's own state and not from its answers.
// It imports nothing of the product and shares no code with it, so that a wrong
// idea in the one is not repeated by the other.
//
// # Where things are
//
// Start serves three ports. The first is login host and Graph at once (URL); the
// second serves the pre-authenticated download and upload URLs, which must not be
// given an Authorization header; the third, on loopback only, is the control
// interface below (AdminURL). Each Graph request
// passes, in this order:
//
//	bearer -> route -> fault -> role -> query options -> limits -> handler
//
// Query options are read in one place (odata.go): a route says which it takes and of
// which type its objects are (route.takes), and everything else is refused. $filter is
// parsed by OData's grammar (filter.go), lists are filtered, sorted, counted and cut by
// call.list. /beta answers as /v1.0 does, and for routes marked so.
//
// Of a tenant's directory, groups and team sites are held in memory; users and their sites
// are computed from the seed when they are looked at, and kept when they are named by
// themselves (seeded.go). A mailbox, a drive, the lists of a site or the channels of a team
// are laid out from the seed when they are first asked for; message bodies, attachments and
// file bytes are generated each time they are read, unless a client wrote them.
//
// # Directory and registration
//
// Users, groups, sites, applications and service principals live as follows, where
// Retention says how long deleted ones last:
//
//	active <--[restore]--> deleted --[time is over, or purge]--> gone
//
// A group's site lives and dies with it; a deleted site can be read by its ID and does not
// say that it is deleted. An application takes its service principal along, which does not
// come back with it. Roles that a service principal is given are in tokens issued from
// then on.
//
// # Delta
//
// Every tracked collection has a log of the objects that changed. A round's first
// call lists what is there, ordered by age; the link at its end names the place in
// the log where the round began, so what changed under way is told again by the
// next round:
//
//	(no token) -> page -> page -> deltaLink -> changes -> deltaLink ...
//	                        |                     |
//	                   410 or 40X <--------- token unknown, too old, or expired by ExpireDelta
//
// A message that moves leaves a removal in one folder and an addition in another,
// without an order between them. Moved messages keep their immutable ID. A page
// never names an object twice, a round may.
//
// Deleting a folder of a drive reports its descendants as deleted too when the
// folder's number is even, and the folder alone when it is odd: both are seen in
// the field, and a client has to cope with either.
//
// # Import and export
//
// The family below /admin/exchange/mailboxes shows mail, contacts, events and tasks as items
// of one shape and gives each out as a stream (itemstream.go) that another mailbox takes in
// without loss; nobody is invited by it. An importUrl is on the port of pre-authenticated
// URLs and carries who may use it, and until when.
//
// # Files, lists and teams
//
// A site has several libraries, each a drive whose ID names site and library; a
// personal site has one. A change of a file keeps what it was as a version:
//
//	write -> current -> write -> version 1.0, current -> restoreVersion -> version 2.0, current
//
// Permissions stand on items and hold for what is below them, up to an item that
// inherits none. Lists, pages, channels and chats belong to the office of a tenant. A page
// and its file in the library of pages change together.
// What the documentation leaves open is a field of SharePointOptions or TeamsOptions,
// whose zero value is what is harder on a client.
//
// # Limits
//
// Limits is one table, readable at /_sim/limits; a file can override any number
// (LoadLimits). A request draws on several accounts at once: the application, the
// tenant, the mailbox, and the rules its path matches. Each account is counted in a
// fixed and in a sliding window at once and the worse count decides; a throttled
// request counts too. Of an identity quota requests of low priority have a smaller share than
// others (Priorities). What each account was allowed, used and refused is kept window
// by window (Accounts). Options.Clock lets the windows, and the life of links, run
// faster than the wall clock; Retry-After is then in real seconds with a fraction.
//
// # Control interface
//
// Everything the Go methods do is reachable over HTTP as JSON, for the simulator
// that runs as its own process (cmd/graphsim). {t} is a tenant's ID or domain.
//
//	GET    /_sim/tenants                        all tenants
//	POST   /_sim/tenants                        TenantSpec -> {"id": ...}; "consent": true consents at once
//	GET    /_sim/tenants/{t}/users              []UserInfo; likewise groups, sites
//	POST   /_sim/tenants/{t}/consent            {"roles": [...]} ([] or no body: DefaultRoles)
//	POST   /_sim/tenants/{t}/revoke             {"tokens": true} refuses issued tokens as well
//	POST   /_sim/tenants/{t}/refuse             {"code": 53003, "times": 1} answers token requests with AADSTS53003
//	POST   /_sim/tenants/{t}/challenge          challenges the tokens of clients that declared cp1
//	POST   /_sim/device                         {"userCode": ..., "decline": false, "tenant": ..., "roles": [...]} signs a person in
//	POST   /_sim/tenants/{t}/mutate             Mutation -> {"id": ...}
//	POST   /_sim/tenants/{t}/churn              {"seed": 1, "n": 100}
//	POST   /_sim/tenants/{t}/script             ScriptSpec: changes while clients read; GET its state, DELETE ends it
//	POST   /_sim/tenants/{t}/expire             every delta token issued so far is refused
//	GET    /_sim/truth/{t}/users/{id}/mail      JSON lines of MailTruth
//	GET    /_sim/truth/{t}/users/{id}/contacts  JSON lines of ContactTruth; likewise events, and calendars,
//	                                            contactFolders, todoLists (CalendarTruth), todo, settings, sent;
//	                                            posts of a group
//	GET    /_sim/truth/{t}/users/{id}/drive     JSON lines of FileTruth; likewise groups, sites, drives
//	GET    /_sim/truth/{t}/users/{id}/drives    JSON lines of DriveInfo: the libraries of the site
//	GET    /_sim/truth/{t}/sites/{id}/lists     JSON lines of ListTruth
//	GET    /_sim/truth/{t}/sites/{id}/listItems JSON lines of ListItemTruth: of all lists
//	GET    /_sim/truth/{t}/sites/{id}/pages     JSON lines of PageTruth
//	GET    /_sim/truth/{t}/groups/{id}/members  JSON lines of object IDs
//	GET    /_sim/truth/{t}/groups/{id}/channels JSON lines of ChannelInfo
//	GET    /_sim/truth/{t}/groups/{id}/messages JSON lines of MessageTruth: of all channels
//	GET    /_sim/truth/{t}/users/{id}/chats     JSON lines of MessageTruth: of all chats
//	GET    /_sim/truth/{t}/users/{id}/folders   JSON lines of FolderTruth
//	GET    /_sim/truth/...?at=monday            what was kept of it at that moment
//	POST   /_sim/moments                        Moment -> {"kept": n}; DELETE forgets all
//	GET    /_sim/faults                         []Fault with how often each struck
//	POST   /_sim/faults                         Fault -> {"id": ...}
//	DELETE /_sim/faults[/{id}]                  removes one or all
//	GET    /_sim/limits                         Limits in force
//	GET    /_sim/accounts?kind=&tenant=         []AccountUsage: usage against allowance, per window
//	GET    /_sim/uploads                        []OpenUpload; DELETE ends them all, as their time does
//	POST   /_sim/advance                        {"seconds": 600} puts the clock forward
//	GET    /_sim/stats                          Stats; DELETE sets them to zero
package graphsim
