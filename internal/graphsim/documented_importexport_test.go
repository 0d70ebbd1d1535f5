package graphsim_test

var importExportPages = []page{
	{"Mailbox import and export: mailbox, mailboxFolder, mailboxItem", []documented{
		{"settings/exchange gives primaryMailboxId, without options", "settings/exchange tells the mailbox ID and takes no options"},
		{"folders: direct children of the root, pages by $skip of ten, all options", "folders lists the direct children of the root by $skip, ten at first, of every type"},
		{"childFolders; type shows folders of every class", "folders shows hidden folders and the children of every folder"},
		{"folder delta with $select; folders are made, renamed, deleted", "folder delta tells what was made, renamed and deleted, and takes $select alone"},
		{"every item in one shape", "items shows every kind in one shape"},
		{"item delta: $filter and $orderby on receivedDateTime, $select, $top", "item delta takes $filter and $orderby on receivedDateTime as messages have them"},
		{"ids are those of no other family unless a switch says so", "the family shares IDs with Outlook's only where a switch says so"},
		{"ids as the Outlook family's, on demand", "with one ID space both families name the same"},
		{"roles of each request", "TestImportExportRoles"},
		{"the global cloud alone", "TestConformanceClouds"},
		{"the bucket of Outlook, import included", "TestImportCountsAgainstTheMailbox"},
		{"not designed for backup", "[a position, not a behaviour]"},
		{"in-place archives", "[not in v1.0]"},
	}},
	{"mailbox: exportItems, exportItemResponse", []documented{
		{"at most 20 ids", "exportItems takes at most 20 items"},
		{"all of one mailbox", "items of another mailbox are not exported"},
		{"an error in the place of an item", "what cannot be exported has an error in its place"},
		{"the stream is opaque and cannot be modified", "the stream cannot be altered"},
		{"full fidelity, also across mailboxes", "TestExportImportLosesNothing"},
		{"a size limit is not documented", "an item over the size limit has an error in its place"},
	}},
	{"mailbox: createImportSession, Import an Exchange mailbox item", []documented{
		{"importUrl on Outlook's host, without Authorization, reusable", "an import session takes items without a token, as often as it lives"},
		{"it expires", "TestImportSessionExpires"},
		{"200, or 201 as in 2024; reuse is implied only", "a session that takes one item is refused a second"},
		{"create with ItemId or ChangeKey is an error; update needs both", "create with ItemId or ChangeKey is an error, update needs both"},
		{"update needs the ChangeKey that is", "update takes the place of the item whose ChangeKey matches"},
		{"an item fits its folder", "an item does not go into a folder of another type"},
	}},
}
