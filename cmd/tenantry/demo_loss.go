package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sort"
	"strings"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/graphsim"
)

// restoredFolder is where a lost user's mail goes in another user's mailbox.
const restoredFolder = "Mail of a lost user"

// loseAndRestore deletes a mailbox folder, a drive folder and a user in the simulator,
// restores them, and compares every restored item with what the simulator had.
func (d *demo) loseAndRestore(ctx context.Context) error {
	if err := d.loseMailFolder(ctx, d.tenants[0]); err != nil {
		return err
	}
	if err := d.loseDriveFolder(ctx, d.tenants[1]); err != nil {
		return err
	}
	return d.loseUser(ctx, d.tenants[2])
}

func (d *demo) loseMailFolder(ctx context.Context, p *protected) error {
	user, folder, err := fullestMailFolder(p.sim)
	if err != nil {
		return err
	}
	d.step("%s of %s deletes the mail folder %q; it is restored to its place", user.Name, p.Name, folder.Path)
	before, err := mailUnder(p.sim, user.ID, folder.Path)
	if err != nil {
		return err
	}
	links, err := linked(p.sim, user.ID, folder.Path)
	if err != nil {
		return err
	}
	if err := p.sim.DeleteMailFolder(user.ID, folder.ID); err != nil {
		return err
	}
	if err := d.restoreSeries(ctx, p, user.ID, "mailbox", links, apiclient.NewRestore{Items: []string{folder.ID}, Original: true}); err != nil {
		return err
	}
	after, err := mailUnder(p.sim, user.ID, folder.Path)
	if err != nil {
		return err
	}
	return d.compare(before, after)
}

func (d *demo) loseDriveFolder(ctx context.Context, p *protected) error {
	user, folder, err := fullestDriveFolder(p.sim)
	if err != nil {
		return err
	}
	d.step("%s of %s deletes the folder %q of the drive; it is restored to its place", user.Name, p.Name, folder.Path)
	before, err := filesUnder(p.sim, user.ID, folder.Path)
	if err != nil {
		return err
	}
	if err := p.sim.DeleteFile(user.ID, folder.Path); err != nil {
		return err
	}
	if err := d.restoreSeries(ctx, p, user.ID, "drive", 0, apiclient.NewRestore{Items: []string{"drive:" + user.Drive + "/" + folder.ID}, Original: true}); err != nil {
		return err
	}
	after, err := filesUnder(p.sim, user.ID, folder.Path)
	if err != nil {
		return err
	}
	return d.compare(before, after)
}

func (d *demo) loseUser(ctx context.Context, p *protected) error {
	users := mailboxUsers(p.sim)
	if len(users) < 2 {
		return errors.New("the tenant has too few users")
	}
	lost, heir := users[0], users[1]
	d.step("%s of %s is deleted; the mail goes to %s, into the folder %q", lost.Name, p.Name, heir.Name, restoredFolder)
	before, err := mailUnder(p.sim, lost.ID, "")
	if err != nil {
		return err
	}
	if err := p.sim.DeleteUser(lost.ID); err != nil {
		return err
	}
	if _, err := d.api.RefreshTenantWithResponse(ctx, p.Id); err != nil {
		return err
	}
	if err := d.synced(ctx, p); err != nil {
		return err
	}
	resource, err := d.api.GetResourceWithResponse(ctx, p.Id, "u-"+lost.ID)
	if err != nil {
		return err
	}
	if err := d.expect(lost.Name+" is inactive", lost.Name+" is "+string(resource.JSON200.State)); err != nil {
		return err
	}
	links, err := linked(p.sim, lost.ID, "")
	if err != nil {
		return err
	}
	if err := d.restoreSeries(ctx, p, lost.ID, "mailbox", links, apiclient.NewRestore{To: "u-" + heir.ID, Folder: restoredFolder}); err != nil {
		return err
	}
	after, err := mailUnder(p.sim, heir.ID, restoredFolder)
	if err != nil {
		return err
	}
	return d.compare(before, after)
}

// restoreSeries restores from the newest snapshot of a user's workload. links is how many
// mails it has to report for their links to cloud files.
func (d *demo) restoreSeries(ctx context.Context, p *protected, user, workload string, links int64, r apiclient.NewRestore) error {
	r.Resource, r.Workload = "u-"+user, apiclient.NewRestoreWorkload(workload)
	newest, ok, err := d.snapshot(ctx, p, r.Resource, workload)
	if err == nil && !ok {
		err = fmt.Errorf("%s of %s has no snapshot", workload, user)
	}
	if err != nil {
		return err
	}
	r.Snapshot = newest.Seq
	run, err := d.restore(ctx, p, r)
	if err != nil {
		return err
	}
	if links != 0 || run.Progress.Skipped != 0 {
		const reported = "mails reported for links to cloud files, which Graph cannot write: %d"
		if err := d.expect(fmt.Sprintf(reported, links), fmt.Sprintf(reported, run.Progress.Skipped)); err != nil {
			return err
		}
	}
	args := []string{"restore", p.Id, r.Resource, workload, fmt.Sprint(r.Snapshot)}
	for _, item := range r.Items {
		args = append(args, "--item", item)
	}
	if r.Original {
		args = append(args, "--original")
	}
	if r.To != "" {
		args = append(args, "--to", r.To, "--folder", r.Folder)
	}
	d.repeat("%s", command(args...))
	return nil
}

// compare holds what came back against what there was: both map a place to its content.
func (d *demo) compare(before, after []string) error {
	sort.Strings(before)
	sort.Strings(after)
	d.restored += len(before)
	left := map[string]int{}
	for _, line := range after {
		left[line]++
	}
	first := ""
	for _, line := range before {
		if left[line] > 0 {
			left[line]--
			d.identical++
		} else if first == "" {
			first = line
		}
	}
	err := d.expect(fmt.Sprintf("%d items, every byte as it was", len(before)),
		// A surplus shows in the count.
		fmt.Sprintf("%d items, %s", len(after), map[bool]string{true: "every byte as it was", false: "first difference: " + first}[first == ""]))
	if err == nil && len(before) == 0 {
		err = errors.New("there was nothing to restore")
	}
	return err
}

// mailUnder describes every mail below a folder ("": the whole mailbox), one line each:
// its place relative to the folder, and digests of all its content.
func mailUnder(t *graphsim.Tenant, user, folder string) ([]string, error) {
	all, err := t.MailTruth(user)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, m := range all {
		if rest, ok := below(m.Path, folder); ok {
			attached, _ := splitLinks(m.Attachments)
			lines = append(lines, fmt.Sprintf("%s|%s|%s|%v", rest, m.Subject, m.Digest, attached))
		}
	}
	return lines, nil
}

// splitLinks parts the attachments that carry content from links to files in a cloud:
// Graph v1.0 cannot write such a link, so a restore reports each message that had one.
func splitLinks(all []graphsim.AttachmentTruth) (attached []graphsim.AttachmentTruth, links int) {
	for _, a := range all {
		if a.Kind == "reference" {
			links++
		} else {
			attached = append(attached, a)
		}
	}
	return attached, links
}

// linked counts the mails below a folder that carry a link to a file in a cloud.
func linked(t *graphsim.Tenant, user, folder string) (n int64, err error) {
	all, err := t.MailTruth(user)
	for _, m := range all {
		_, in := below(m.Path, folder)
		if _, links := splitLinks(m.Attachments); in && links > 0 {
			n++
		}
	}
	return n, err
}

// filesUnder describes every file and folder below a folder of a drive.
func filesUnder(t *graphsim.Tenant, owner, folder string) ([]string, error) {
	all, err := t.DriveTruth(owner)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, f := range all {
		if rest, ok := below(f.Path, folder); ok {
			if f.Folder {
				lines = append(lines, rest+"/")
				continue
			}
			lines = append(lines, fmt.Sprintf("%s|%d|%s|%s", rest, f.Size, f.SHA256, f.Modified.UTC()))
		}
	}
	return lines, nil
}

// below returns place relative to folder, if it lies in it.
func below(place, folder string) (string, bool) {
	if folder == "" {
		return place, true
	}
	rest, ok := strings.CutPrefix(place, folder)
	if !ok || (rest != "" && rest[0] != '/') {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

// mailboxUsers are the users of a tenant who have a mailbox now.
func mailboxUsers(t *graphsim.Tenant) []graphsim.UserInfo {
	var users []graphsim.UserInfo
	for _, u := range t.Users() {
		if u.Mailbox && u.State == graphsim.Active {
			users = append(users, u)
		}
	}
	return users
}

// fullestMailFolder finds a folder below another one with many mails: those at the top,
// such as the inbox, cannot all be deleted.
func fullestMailFolder(t *graphsim.Tenant) (user graphsim.UserInfo, best graphsim.FolderTruth, err error) {
	for _, u := range mailboxUsers(t) {
		folders, err := t.FolderTruth(u.ID)
		if err != nil {
			return user, best, err
		}
		for _, f := range folders {
			if f.Items > best.Items && !f.Hidden && strings.Contains(f.Path, "/") {
				user, best = u, f
			}
		}
	}
	if best.Items == 0 {
		err = errors.New("no user has a mail folder of their own with mails")
	}
	return user, best, err
}

// fullestDriveFolder finds the top folder with the most in it over all drives.
func fullestDriveFolder(t *graphsim.Tenant) (user graphsim.UserInfo, best graphsim.FileTruth, err error) {
	most := 0
	for _, u := range mailboxUsers(t) {
		if u.Drive == "" {
			continue
		}
		all, err := t.DriveTruth(u.ID)
		if err != nil {
			return user, best, err
		}
		inside := map[string]int{}
		for _, f := range all {
			inside[strings.SplitN(f.Path, "/", 2)[0]]++
		}
		for _, f := range all {
			if f.Folder && path.Dir(f.Path) == "." && inside[f.Path] > most {
				user, best, most = u, f, inside[f.Path]
			}
		}
	}
	if most < 2 {
		err = errors.New("no drive has a folder with files")
	}
	return user, best, err
}

// simulatedDirectory counts what the sync has to find: users, groups of every kind, and sites that
// are not personal.
func simulatedDirectory(t *graphsim.Tenant) (users, groups, sites int) {
	users, groups = len(t.Users()), len(t.Groups())
	for _, s := range t.Sites() {
		if s.Owner == "" {
			sites++
		}
	}
	return users, groups, sites
}

// simulatedItems counts the mails, contacts, events, settings and files that snapshots of all users have to hold.
func simulatedItems(t *graphsim.Tenant) (items int64, err error) {
	for _, u := range t.Users() {
		if u.State != graphsim.Active {
			continue
		}
		if u.Mailbox {
			mails, err := t.MailTruth(u.ID)
			if err != nil {
				return 0, err
			}
			settings, err := t.SettingTruth(u.ID)
			if err != nil {
				return 0, err
			}
			contacts, err := t.ContactTruth(u.ID)
			if err != nil {
				return 0, err
			}
			events, err := t.EventTruth(u.ID)
			if err != nil {
				return 0, err
			}
			items += int64(len(mails) + len(settings) + len(contacts) + len(events))
		}
		if u.Drive != "" {
			all, err := t.DriveTruth(u.ID)
			if err != nil {
				return 0, err
			}
			for _, f := range all {
				if !f.Folder {
					items++
				}
			}
		}
	}
	return items, nil
}
