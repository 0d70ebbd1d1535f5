// Package workload owns what a mailbox and a drive are to a backup: how their changes are read from
// Graph as an engine.Source, and how items are written back as an engine.Target.
//
// # What is stored of a mailbox
//
// Folders and messages are entries whose payload is the JSON that Graph sent, byte for byte. A folder
// that has a well-known name carries it as an empty part "wellKnown=inbox", since its JSON knows only
// what its owner's language calls it. The parts of a message with attachments are
//
//	attachments.json   the list of attachments as Graph sent it, without their content: a JSON array
//	<id>               a file attachment's bytes, or an item attachment as MIME
//	<id>.json          an item attachment, expanded
//
// A reference attachment has no content of its own: the list says all that Graph knows of it.
//
// # What is stored of a drive
//
// Every item is an entry with its JSON; a file has the part "content", held against the
// quickXorHash that the service names. A shortcut to another drive is stored, not followed.
//
// # Restoring
//
// A restored message carries a property that names the item and version it was made from. A repeated
// restore finds it by that; nothing is ever sent: messages are created, not submitted. A restored file
// is found by its name, its size and its hash.
package workload
