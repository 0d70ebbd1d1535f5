// Package engine owns how a series is backed up, restored, browsed and verified. It knows the
// rules of delta reading and nothing of Microsoft 365 or of buckets: workloads are a [Source]
// and a [Target], the repository is a [Series] and a [Snapshot].
//
// # Backup
//
// A source has collections, each with a delta or a list of its own. [RootCollection] shows the others: a mailbox
// its parts, each of which lists folders, which are collections again; a user the drives. What is apart
// (Item.Apart) is read by itself, with all that it lists: its space. A collection that lists what lies in
// it at any depth, and that nothing enters or leaves, is a tree (Source.Tree): a drive, a list, the
// messages of a team. A collection's cursor is
//
//	(none) --first page--> reading --last page--> swept? --> complete --+
//	                          ^  |                                      | next run: changes only
//	                          |  +-- link expired: generation+1, ""     |
//	                          +------------- delta link expired --------+
//
// and a run is
//
//	for each space: read its top, then every folder that this lists ("a round")
//	   something was removed or enumerated: one more round, at most maxRounds more
//	ask once more for content that could not be read
//	sweep what completed enumerations did not see and what hangs under removed folders
//	seal
//
// The rules that keep it right whatever moves, dies or repeats:
//
//   - The index key is the immutable ID. A removal from folder F counts only while the index says
//     that the item lies in F: a move is an addition there and a removal here, in either order. In a tree
//     it counts at once.
//   - A page's changes become durable with the cursor behind it or before it, never after. A page
//     that is read twice finds its versions stored and changes nothing.
//   - A collection without a delta is listed: what its list does not show is gone, and has the round
//     repeated, since lists that shrink under way skip items. Lists that items move between are read before what
//     lists them, and again but for the last: no list tells where an item went (lists.go).
//   - A collection that is refused keeps what is stored of it, and its entry says why. Only when every
//     part of a source is refused, the source is.
//   - What was removed and shown nowhere else lies, if it only moved, in a collection that was read before:
//     only those are read again. Where that is more than a few items, and the source can tell (Locator), the items
//     are asked for themselves first: most are gone.
//   - A round over a space that saw a removal, or enumerated a collection anew, is followed
//     by another: the item that left an unread folder may lie in one that was read before.
//   - An enumeration after the first marks what it sees with its generation. Only when it has come
//     to its end is the unseen dropped, at the end of the run.
//   - A folder that cannot be found is believed gone only once a fresh enumeration of what lists it
//     does not show it.
//   - One bad item is data: it is stored with its reason and its last good version, and tried again in
//     the next run. One that answers Transient, or is throttled while others are not, is set aside first
//     and asked for in a few slices.
package engine
