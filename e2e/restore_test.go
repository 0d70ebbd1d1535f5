package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestRestores brings back mailboxes and drives through the API, whole and in part, into
// other places and their own, after losses and edits, and holds the outcome against the
// simulator's truth. Mailboxes and drives are changed by one subtest each.
func TestRestores(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "5", "--mails", "40", "--files-per-user", "12", "--groups", "0", "--sites", "0")
	f.scheduler("scheduler")
	f.worker("worker")
	tn := f.connect(f.simTenants()[0])
	f.awaitDone(tn, f.backup(tn, f.policy(tn)))
	users := f.simUsers(tn)
	t.Run("whole mailbox", func(t *testing.T) { restoreWhole(f.within(t), tn, users[0], users[1], "mailbox") })
	t.Run("whole drive", func(t *testing.T) { restoreWhole(f.within(t), tn, users[0], users[1], "drive") })
	t.Run("parts of a mailbox", func(t *testing.T) { restoreMailParts(f.within(t), tn, users[2]) })
	t.Run("parts of a drive", func(t *testing.T) { restoreDriveParts(f.within(t), tn, users[2]) })
	t.Run("incremental mailbox", func(t *testing.T) { incrementalMail(f.within(t), tn, users[3], users[4]) })
	t.Run("incremental drive", func(t *testing.T) { incrementalDrive(f.within(t), tn, users[3], users[4]) })
}

// restoreWhole restores a whole snapshot into a new folder of another user, twice: the
// second time changes nothing.
func restoreWhole(f *fleet, tn tenant, from, to simUser, workload string) {
	source := f.userOf(tn, from.ID)
	seq := f.latest(tn, source, workload).Seq
	f.complete(tn, source, workload, seq)
	want, others := relative(f.truths(tn, from.ID, truthOf(workload))), f.truths(tn, to.ID, truthOf(workload))
	ask := map[string]any{"resource": source.ID, "workload": workload, "snapshot": seq, "to": "u-" + to.ID, "folder": "Restored"}
	for range 2 {
		done := f.awaitDone(tn, f.restore(tn, ask))
		now := f.truths(tn, to.ID, truthOf(workload))
		same(f.t, workload, writable(want), under(now, "Restored"))
		f.told(done, want)
		same(f.t, "what was there before", others, outside(now, "Restored"))
	}
	same(f.t, "the source", want, relative(f.truths(tn, from.ID, truthOf(workload))))
}

// restoreMailParts loses a folder and a message and brings each back to its place.
func restoreMailParts(f *fleet, tn tenant, u simUser) {
	r := f.userOf(tn, u.ID)
	seq := f.latest(tn, r, "mailbox").Seq
	before := f.truths(tn, u.ID, "mail")
	inbox := byName(f.t, f.children(tn, r, "mailbox", seq, byName(f.t, f.children(tn, r, "mailbox", seq, ""), "Mail").ID), "Inbox")
	projects := byName(f.t, f.children(tn, r, "mailbox", seq, inbox.ID), "Projects")
	inProjects := f.children(tn, r, "mailbox", seq, projects.ID)
	if at := slices.IndexFunc(inProjects, func(x item) bool { return x.Kind == "message" }); at < 0 {
		f.t.Error("the folder has no message to search for")
	} else {
		finds(f, tn, r, seq, inProjects[at])
	}

	lost := len(under(before, "Inbox/Projects"))
	if lost < 2 {
		f.t.Fatalf("the folder to lose has %d messages", lost)
	}
	f.mutate(tn, "deleteMailFolder", map[string]any{"user": u.ID, "folder": projects.ID})
	if n := len(f.truths(tn, u.ID, "mail")); n != len(before)-lost {
		f.t.Fatalf("%d messages are left of %d, expected %d lost", n, len(before), lost)
	}
	f.bringBack(tn, r, "mailbox", seq, before, projects.ID)

	message := at(before, "Inbox")[0]
	f.mutate(tn, "deleteMail", map[string]any{"user": u.ID, "id": message.ID})
	f.bringBack(tn, r, "mailbox", seq, before, message.ID)
	f.unchanged(tn, r, "mailbox", seq, before)
}

// finds searches for a message that lies in a folder, in its snapshot and in all of the tenant.
func finds(f *fleet, tn tenant, r resource, seq int64, message item) {
	query := "text=" + url.QueryEscape(strings.ToUpper(message.Name)) + "&kind=message"
	type found struct {
		item
		Resource string `json:"resource"`
		Snapshot int64  `json:"snapshot"`
	}
	here := list[found](f, fmt.Sprintf("/tenants/%s/resources/%s/workloads/mailbox/snapshots/%d/search?folder=%s&%s",
		tn.ID, r.ID, seq, url.QueryEscape(message.Parent), query))
	if !slices.ContainsFunc(here, func(x found) bool { return x.ID == message.ID }) {
		f.t.Errorf("%q is not found in its folder among %d", message.Name, len(here))
	}
	all := list[found](f, "/tenants/"+tn.ID+"/search?workload=mailbox&"+query)
	if !slices.ContainsFunc(all, func(x found) bool { return x.ID == message.ID && x.Resource == r.ID && x.Snapshot == seq }) {
		f.t.Errorf("%q is not found in the tenant among %d", message.Name, len(all))
	}
}

// restoreDriveParts does the same with a folder and a file of a drive.
func restoreDriveParts(f *fleet, tn tenant, u simUser) {
	r := f.userOf(tn, u.ID)
	seq := f.latest(tn, r, "drive").Seq
	before := f.truths(tn, u.ID, "drive")
	var folder, file truth
	for _, x := range before {
		if x.Folder && len(under(before, x.Path)) > 0 {
			folder = x
		}
		if !x.Folder {
			file = x
		}
	}
	f.mutate(tn, "deleteFile", map[string]any{"user": u.ID, "path": folder.Path})
	f.bringBack(tn, r, "drive", seq, before, u.inDrive(folder))
	f.mutate(tn, "deleteFile", map[string]any{"user": u.ID, "path": file.Path})
	f.bringBack(tn, r, "drive", seq, before, u.inDrive(file))
	f.unchanged(tn, r, "drive", seq, before)
}

// bringBack restores one item or folder to its original place, twice, and fails unless
// everything is as it was, both times.
func (f *fleet) bringBack(tn tenant, r resource, workload string, seq int64, before []truth, id string) {
	f.t.Helper()
	ask := map[string]any{"resource": r.ID, "workload": workload, "snapshot": seq, "items": []string{id}}
	for range 2 {
		f.awaitDone(tn, f.restore(tn, ask))
		same(f.t, workload+" in its place", writable(before), writable(f.truths(tn, strings.TrimPrefix(r.ID, "u-"), truthOf(workload))))
	}
}

// unchanged backs up what was brought back, and fails unless both snapshots, restored in
// place, find everything there: what a restore made counts as what it was made from.
func (f *fleet) unchanged(tn tenant, r resource, workload string, first int64, want []truth) {
	f.t.Helper()
	for _, seq := range []int64{f.secondBackup(tn, r, workload, first), first} {
		for _, conflict := range []string{"copy", "replace"} {
			f.awaitDone(tn, f.restore(tn, map[string]any{"resource": r.ID, "workload": workload, "snapshot": seq, "conflict": conflict}))
			same(f.t, workload+" restored over itself", writable(want), writable(f.truths(tn, strings.TrimPrefix(r.ID, "u-"), truthOf(workload))))
		}
	}
}

// incrementalMail changes a mailbox in every way between two backups. The second snapshot
// is the mailbox as it is now, the first as it was; and the first brings back what was
// changed as skip, copy and replace say.
func incrementalMail(f *fleet, tn tenant, u, to simUser) {
	r := f.userOf(tn, u.ID)
	first := f.latest(tn, r, "mailbox").Seq
	before := f.truths(tn, u.ID, "mail")
	inbox, sent := at(before, "Inbox"), at(before, "Sent Items")
	edited := inbox[0]
	made := f.mutate(tn, "newMailFolder", map[string]any{"user": u.ID, "parent": "inbox", "name": "Neu/100%"})
	for op, fields := range map[string]map[string]any{
		"newMail":    {"mail": map[string]any{"subject": "arrived", "attachments": []any{map[string]any{"name": "a.bin", "size": 200_000, "seed": 7}}}},
		"editMail":   {"id": edited.ID, "properties": map[string]any{"subject": "edited", "isRead": true}},
		"moveMail":   {"id": inbox[1].ID, "folder": made},
		"deleteMail": {"id": inbox[2].ID},
	} {
		fields["user"] = u.ID
		f.mutate(tn, op, fields)
	}
	f.mutate(tn, "moveMail", map[string]any{"user": u.ID, "id": sent[0].ID, "folder": "deleteditems"})
	projects := f.folderID(tn, r, first, "Inbox", "Projects")
	f.mutate(tn, "moveFolder", map[string]any{"user": u.ID, "folder": projects, "parent": "archive"})
	f.mutate(tn, "deleteMailFolder", map[string]any{"user": u.ID, "folder": f.folderID(tn, r, first, "プロジェクト")})
	after := f.truths(tn, u.ID, "mail")

	second := f.secondBackup(tn, r, "mailbox", first)
	f.restoredAs(tn, r, "mailbox", second, to, "Now", after)
	f.restoredAs(tn, r, "mailbox", first, to, "Before", before)

	put := func(conflict string) []truth {
		f.t.Helper()
		f.awaitDone(tn, f.restore(tn, map[string]any{
			"resource": r.ID, "workload": "mailbox", "snapshot": first, "items": []string{edited.ID}, "conflict": conflict,
		}))
		return f.truths(tn, u.ID, "mail")
	}
	same(f.t, "skip", after, put("skip"))
	copied := append(slices.Clone(after), writable([]truth{edited})...)
	same(f.t, "copy", copied, put("copy"))
	same(f.t, "copy again", copied, put("copy"))
	f.awaitDone(tn, f.restore(tn, map[string]any{
		"resource": r.ID, "workload": "mailbox", "snapshot": first, "to": "u-" + to.ID, "folder": "Now", "items": []string{edited.ID}, "conflict": "replace",
	}))
	replaced := slices.DeleteFunc(slices.Clone(after), func(x truth) bool { return x.ID == edited.ID })
	same(f.t, "replace", writable(relative(append(replaced, edited))), under(f.truths(tn, to.ID, "mail"), "Now"))
}

// incrementalDrive does the same with a drive.
func incrementalDrive(f *fleet, tn tenant, u, to simUser) {
	r := f.userOf(tn, u.ID)
	first := f.latest(tn, r, "drive").Seq
	before := f.truths(tn, u.ID, "drive")
	plain := slices.DeleteFunc(files(before), func(x truth) bool { return x.Size == 0 })
	edited, moved, deleted := plain[0], plain[1], plain[2]
	text := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	put := func(op, path string, fields map[string]any) {
		f.t.Helper()
		fields = maps.Clone(fields)
		if fields == nil {
			fields = map[string]any{}
		}
		fields["user"], fields["path"] = u.ID, path
		f.mutate(tn, op, fields)
	}
	put("putFile", edited.Path, map[string]any{"data": text("edited since")})
	put("moveFile", moved.Path, map[string]any{"to": "Neu & alt/100% moved.bin"})
	put("deleteFile", deleted.Path, nil)
	put("putFile", "Neu & alt/tief/new.bin", map[string]any{"size": 700_000, "seed": 9})
	put("putFile", "Neu & alt/empty.txt", map[string]any{"data": ""})
	for _, x := range f.truths(tn, u.ID, "drive") {
		if x.Folder && !strings.Contains(x.Path, "/") && !strings.HasPrefix(edited.Path, x.Path+"/") && x.Path != "Neu & alt" {
			put("moveFile", x.Path, map[string]any{"to": "Neu & alt/" + x.Path + " moved"})
			break
		}
	}
	after := f.truths(tn, u.ID, "drive")

	second := f.secondBackup(tn, r, "drive", first)
	f.restoredAs(tn, r, "drive", second, to, "Now", after)
	f.restoredAs(tn, r, "drive", first, to, "Before", before)

	back := func(conflict string) []truth {
		f.t.Helper()
		f.awaitDone(tn, f.restore(tn, map[string]any{
			"resource": r.ID, "workload": "drive", "snapshot": first, "items": []string{u.inDrive(edited)}, "conflict": conflict,
		}))
		return f.truths(tn, u.ID, "drive")
	}
	same(f.t, "skip", after, back("skip"))
	copyOf := edited
	dot := strings.LastIndexByte(edited.Path, '.')
	copyOf.Path = edited.Path[:dot] + " (restored)" + edited.Path[dot:]
	copied := append(slices.Clone(after), copyOf)
	same(f.t, "copy", copied, back("copy"))
	same(f.t, "copy again", copied, back("copy"))
	replaced := slices.DeleteFunc(copied, func(x truth) bool { return x.Path == edited.Path })
	replaced = append(replaced, edited)
	same(f.t, "replace", replaced, back("replace"))
	same(f.t, "replace again", replaced, back("replace"))
}

// secondBackup backs the resource up again and returns the new snapshot, which has to be
// complete beside the first.
func (f *fleet) secondBackup(tn tenant, r resource, workload string, first int64) int64 {
	f.t.Helper()
	var started run
	f.must("POST", "/tenants/"+tn.ID+"/runs", map[string]any{"resources": []string{r.ID}, "workloads": []string{workload}}, &started)
	f.awaitDone(tn, started)
	all := f.snapshots(tn, r, workload)
	if len(all) != 2 || all[1].Seq != first {
		f.t.Fatalf("%s has the snapshots %+v, expected a second beside %d", r.Name, all, first)
	}
	f.complete(tn, r, workload, all[0].Seq)
	return all[0].Seq
}

// restoredAs restores a whole snapshot into a folder of a user and fails unless that holds want.
func (f *fleet) restoredAs(tn tenant, r resource, workload string, seq int64, to simUser, folder string, want []truth) {
	f.t.Helper()
	done := f.awaitDone(tn, f.restore(tn, map[string]any{
		"resource": r.ID, "workload": workload, "snapshot": seq, "to": "u-" + to.ID, "folder": folder,
	}))
	f.told(done, want)
	same(f.t, workload+" restored to "+folder, writable(relative(want)), under(f.truths(tn, to.ID, truthOf(workload)), folder))
}

// folderID finds a mail folder of a snapshot by the names on the way to it from the part that is mail.
func (f *fleet) folderID(tn tenant, r resource, seq int64, names ...string) (id string) {
	f.t.Helper()
	for _, name := range append([]string{"Mail"}, names...) {
		id = byName(f.t, f.children(tn, r, "mailbox", seq, id), name).ID
	}
	return id
}

// outside keeps what does not lie in the folder path.
func outside(all []truth, folder string) []truth {
	return slices.DeleteFunc(slices.Clone(all), func(x truth) bool {
		return x.Path == folder || strings.HasPrefix(x.Path, folder+"/")
	})
}

// writable is what a restore can bring back: Graph has no way to attach a link.
func writable(all []truth) []truth {
	all = slices.Clone(all)
	for i := range all {
		kept := slices.DeleteFunc(all[i].attachments(), isLink)
		if all[i].Attachments != nil {
			all[i].Attachments, _ = json.Marshal(kept)
		}
	}
	return all
}

// told fails unless a restore of everything in want says of each item that came back
// without a link that it did, and of no other.
func (f *fleet) told(done run, want []truth) {
	f.t.Helper()
	var lacking int64
	for _, x := range want {
		if slices.ContainsFunc(x.attachments(), isLink) {
			lacking++
		}
	}
	if done.Progress.Skipped != lacking {
		f.t.Errorf("the restore tells of %d items that it could not bring back whole, expected %d: %+v", done.Progress.Skipped, lacking, done.Problems)
	}
}

// attachment is one attachment in the simulator's truth.
type attachment map[string]any

func isLink(a attachment) bool { return a["kind"] == "reference" }

func (x truth) attachments() []attachment {
	list := []attachment{}
	_ = json.Unmarshal(x.Attachments, &list) // drives have none
	return list
}
