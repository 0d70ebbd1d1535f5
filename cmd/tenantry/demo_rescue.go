package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-message/mail"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// rescueMailbox loses the whole fleet and rescues a mailbox with the bucket and the key
// file alone, in a process of its own that is told nothing else. What lies in the folder
// afterwards is read as any mail program would, and compared with what the simulator has.
func (d *demo) rescueMailbox(ctx context.Context) error {
	p := d.tenants[1]
	user := mailboxUsers(p.sim)[0]
	if d.keep {
		d.step("the mailbox of %s is rescued from the bucket with the key file alone (SQL and Redis stay: --keep)", user.Name)
	} else {
		d.step("SQL and Redis are deleted, nothing of the fleet runs; the mailbox of %s is rescued from the bucket with the key file alone", user.Name)
		if err := d.loseFleet(); err != nil {
			return err
		}
	}
	folder := filepath.Join(d.dir, "rescued")
	args := []string{"rescue", "--from", d.cfg.Bucket, "--key", d.cfg.KeyFile, p.Id, "u-" + user.ID, "mailbox", "--to", folder}
	if err := d.runSelf(ctx, args...); err != nil {
		return err
	}
	if err := d.compareRescued(p.sim, user.ID, folder); err != nil {
		return err
	}
	d.repeat("%s", command(args...))
	return nil
}

// compareRescued reads what was rescued as mail programs, address books and calendars do, and compares what they show.
func (d *demo) compareRescued(sim *graphsim.Tenant, user, folder string) error {
	mails, err := sim.MailTruth(user)
	if err != nil {
		return err
	}
	contacts, err := sim.ContactTruth(user)
	if err != nil {
		return err
	}
	events, err := sim.EventTruth(user)
	if err != nil {
		return err
	}
	expected := slices.Concat(truthMails(mails), truthContacts(contacts), truthEvents(events))
	seen, err := rescuedMails(folder, mails)
	if err != nil {
		return err
	}
	others, err := rescuedCards(folder)
	if err != nil {
		return err
	}
	d.note("%d mails by sender, recipients, subject, dates, bodies and attachments, %d contacts and %d events as programs read them", len(mails), len(contacts), len(events))
	return d.compare(expected, slices.Concat(seen, others))
}

// runSelf runs this program with an environment that says nothing of the fleet.
func (d *demo) runSelf(ctx context.Context, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TENANTRY_") })
	out, err := cmd.CombinedOutput()
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		d.note("%s", line)
	}
	return err
}

// truthMails describes what the simulator has as rescuedMails describes what was rescued.
func truthMails(truth []graphsim.MailTruth) []string {
	lines := make([]string, 0, len(truth))
	for _, m := range truth {
		var attached []string
		for _, a := range m.Attachments {
			if a.Kind == "file" { // links have no content, and mails within mails no one form
				attached = append(attached, fmt.Sprintf("%s %d %s", a.Name, a.Size, a.SHA256))
			}
		}
		slices.Sort(attached)
		lines = append(lines, mailLine(truthPlace(m.Path), m.Subject, m.MessageID, m.BodySHA256, attached, headOf(m.Seen.Of)))
	}
	return lines
}

func mailLine(place, subject, id, body string, attached []string, head string) string {
	return fmt.Sprintf("%s|%s|%s|%s|%v|%s", place, strings.TrimSpace(subject), strings.Trim(id, "<>"), body, attached, head)
}

// marked is what a rescue adds to names that a file system cannot have.
var marked = regexp.MustCompile(` \[[0-9a-f]{10}\]$`)

// truthPlace writes a folder's path as the names of a file system.
func truthPlace(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = place(strings.NewReplacer("%2F", "/", "%25", "%").Replace(part))
	}
	return strings.Join(parts, "/")
}

func place(name string) string {
	name = marked.ReplaceAllString(name, "")
	return strings.Trim(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name), ". _")
}

// rescuedMails reads every .eml below a folder. Places are those below the mailbox.
func rescuedMails(dir string, truth []graphsim.MailTruth) ([]string, error) {
	tops := map[string]bool{}
	for _, m := range truth {
		top, _, _ := strings.Cut(truthPlace(m.Path), "/")
		tops[top] = true
	}
	var lines []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".eml" {
			return err
		}
		rel, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		parts := strings.Split(rel, "/")
		for i := range parts {
			parts[i] = place(parts[i])
		}
		for len(parts) > 1 && !tops[parts[0]] { // tenant, resource, workload, snapshot
			parts = parts[1:]
		}
		line, err := readMail(path, strings.Join(parts, "/"))
		lines = append(lines, line)
		return err
	})
	return lines, err
}

// readMail describes one mail by what a mail program reads of it.
func readMail(path, where string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r, err := mail.CreateReader(f)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	subject, err := r.Header.Subject()
	if err != nil {
		return "", fmt.Errorf("read the subject of %s: %w", path, err)
	}
	body, html := "", false
	var attached []string
	for first := true; ; first = false {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		hash := sha256.New()
		size, err := io.Copy(hash, part.Body)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		sum := hex.EncodeToString(hash.Sum(nil))
		if first {
			body, html = sum, isHTML(part)
			continue
		}
		if name, ok := attachedFile(part); ok {
			attached = append(attached, fmt.Sprintf("%s %d %s", name, size, sum))
		}
	}
	slices.Sort(attached)
	head, err := readHead(&r.Header, html)
	if err != nil {
		return "", fmt.Errorf("read the head of %s: %w", path, err)
	}
	return mailLine(where, subject, r.Header.Get("Message-Id"), body, attached, headOf(head)), nil
}

// attachedFile names a part that is a file.
func attachedFile(part *mail.Part) (string, bool) {
	kind, name := "", ""
	switch h := part.Header.(type) {
	case *mail.AttachmentHeader:
		kind, _, _ = h.ContentType()
		name, _ = h.Filename()
	case *mail.InlineHeader:
		var params map[string]string
		kind, params, _ = h.ContentType()
		name = params["name"]
	}
	if kind == "message/rfc822" || strings.HasSuffix(name, ".link.json") {
		return "", false
	}
	return name, true
}
