// Package workload owns what mailboxes, drives, sites, groups and teams are to a backup: how their changes are
// read from Graph as an engine.Source, and how items are written back as an engine.Target.
//
// # What is stored of a mailbox
//
// At its root are parts of our own, each read and refused by itself, since a permission may be missing
// for one of them:
//
//	part:mail       folders and messages, by the folders' and each folder's delta, or by lists of versions where
//	                there is none; hidden folders, looked for once a day; what can be recovered, if a policy wants it
//	part:contacts   contact folders, compared by a list; contacts by each folder's delta
//	part:calendars  the calendars that the mailbox owns, and their events: read whole once, then compared
//	                by a list of change keys (a delta is documented for a window of the primary calendar
//	                alone), of which only those that changed are read
//	part:tasks      To Do lists that the mailbox owns, compared by a list; tasks by each list's delta. The list
//	                of flagged mails is left out, since those are mails
//	part:settings   the mailbox's settings, the rules of its inbox and its categories, each read whole; that there is an
//	                in-place archive, which v1.0 does not reach, if a policy wants to know
//
// Folders, messages, contacts, events, tasks, rules, categories and settings are entries whose payload is the JSON that Graph sent, byte for byte. A folder
// that has a well-known name carries it as an empty part "wellKnown=inbox", since its JSON knows only
// what its owner's language calls it. A contact's picture is its part "photo". A series of events has the
// part "series.json", its cancelled and exceptional occurrences; lists of these' own attachments are
// parts "<id>/attachments.json". What belongs to a task comes with it, or is its parts "checklistItems.json" and
// "linkedResources.json"; the files attached to it are "attachments.json" and a part for each. Where the folders lie that a rule names is its
// part "folders.json". The parts of a message or an event with attachments are
//
//	attachments.json   the list of attachments as Graph sent it, without their content: a JSON array
//	<id>               a file attachment's bytes, or an item attachment as MIME
//	<id>.json          an item attachment, expanded
//	message.eml        the message as MIME: of signed and encrypted ones, and where a policy wants it
//
// A reference attachment has no content of its own: the list says all that Graph knows of it.
//
// # What is stored of drives
//
// Each drive of a user is an entry "drive:ID", under which lies its root and all that is in it, read by the
// drive's own delta. Every item is an entry with its JSON; a file has the part "content", held against the
// quickXorHash that the service names. An item with permissions of its own has them as a part
// "permissions.json", and a file of which versions are wanted has "versions.json" and "version/3.0". A
// shortcut to another drive is stored, not followed; a notebook is a package, whose sections are files.
//
// # What is stored of a site
//
// The site and the sites below it are entries "site:ID". Under each lie its drives, as above, its lists
// "list:SITE|LIST", whose items are read by the list's delta, or compared where it has none, and its pages
// "page:SITE|PAGE", of which those are read that changed. A list is the JSON of "Get list" with its columns,
// and has the part "contentTypes.json"; of a library that is all, its files are a drive's. What the service
// keeps for itself (system lists) is left out. Graph v1.0 says of an item's attachments only that there are
// some: such an item has a problem. The files of pages in the pages library are saved, and come back
// with the pages. The files of its libraries come with their rows in the list that a library is, "listItem" in their
// JSON: the values of its columns and the content type. The drive has that list as its part "library.json", so that a
// single file knows its columns. Where Graph refuses to show rows, an entry "columns of files" says so.
//
// # What is stored of a group
//
// Under "part:conversations" each thread is an item with its posts as one part "posts.json" and their
// attachments as "attachments/<post>", where Microsoft lets an application have them; else one entry says
// that it does not. Under "part:calendar" lie single events, exceptions and the masters of series, as the
// calendar view of an application shows them. Neither can be written back by one. An entry "groupSite:ID" names the
// site of the group, which is a resource of its own: its files, lists and pages are backed up and restored there.
//
// # What is stored of a team
//
// The team with its settings, its members, and its channels, each with the folder of its files and, if it is
// private or shared, its members. Messages and replies come from the export of all channels and lie in
// theirs; pictures in the text are parts "hosted/<id>". Files are read by the drives in which channels really
// keep them, each once; that of a private or shared channel lies under the channel and is restored
// into such a channel alone. They come with their values in the columns of the library, which is described, as in a site,
// by the part "library.json" of their drive; where Graph refuses that, an entry "columns of files" says so.
//
// # Restoring
//
// A restored message, contact or event carries a property that names the item and version it was made
// from. A repeated restore finds it by that; nothing is ever sent: messages are created, not submitted,
// and events are created without attendees, who would be invited. Who took part stays in two properties
// beside it. A task cannot carry a property, and is found by what it says. A mailbox has settings already:
// only a restore that replaces, to the original place, writes them. A rule that forwards is restored switched off,
// as are automatic replies, and every rule that is restored into a folder. A series is made on the clock of its original time zone, so that it does not move when
// clocks change. A restored file
// is found by its name, its size and its hash. Its values in the columns of a library are written behind it, and then
// its times, which that changes; what it looks up in lists comes last. Its content type is kept, and not written:
// where it is not the one that new files get, a problem of the file names it. What a restore cannot bring back whole is named
// with its item: links, files of tasks of 3 MB and more, notebooks, which come back as folders of their sections, pages beside
// those that should be replaced. What holds for many items is said once, at its end (notes.go).
package workload
