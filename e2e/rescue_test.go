package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-message/mail"

	"github.com/tenantry/tenantry/internal/servertest"
)

// TestRescue loses SQL and Redis of a fleet with two tenants in a bucket with versions and locks. A key file that has
// the keys of one tenant opens that one and not the other; its mailboxes and drives are rescued with bucket and
// key file alone, and compared. Then the list of snapshots is made anew from the bucket, and the API restores from it.
func TestRescue(t *testing.T) {
	t.Parallel()
	f := newFleetOn(t, programs, servertest.S3Locks, "--tenants", "2", "--users", "2", "--mails", "15", "--files-per-user", "4", "--groups", "0", "--sites", "0")
	f.env = append(f.env, "TENANTRY_LOCK_MODE=governance", "TENANTRY_LOCK_FOR=48h")
	f.scheduler("scheduler")
	f.worker("worker")
	var tenants []tenant
	var runs []run
	for _, sim := range f.simTenants() {
		tn := f.connect(sim)
		tenants, runs = append(tenants, tn), append(runs, f.backup(tn, f.policy(tn)))
	}
	for i, tn := range tenants {
		f.awaitDone(tn, runs[i])
	}
	open, shut := tenants[0], tenants[1]
	users := f.simUsers(open)
	f.die()

	key := f.keyOf(open)
	shown, err := f.rescue(key)
	says(t, "the list of tenants", opens(shown, open.ID), "yes")
	says(t, "the list of tenants", opens(shown, shut.ID), "no")
	if err != nil {
		t.Errorf("list the tenants: %v", err)
	}
	if shown, err := f.rescue(key, shut.ID, "--to", filepath.Join(f.dir, "nothing")); err == nil {
		t.Errorf("a tenant is rescued without its key: %s", shown)
	}
	to := filepath.Join(f.dir, "rescued")
	if shown, err := f.rescue(key, open.ID, "--to", to); err != nil {
		t.Fatalf("rescue: %v\n%s", err, shown)
	}
	for _, u := range users {
		sameLines(t, "mails of "+u.Name, f.mailsOf(open, u), rescuedMails(t, filepath.Join(to, open.ID, "u-"+u.ID, "mailbox")))
		sameLines(t, "files of "+u.Name, f.filesOf(open, u), rescuedFiles(t, filepath.Join(to, open.ID, "u-"+u.ID, "drive")))
	}

	f.begin()
	adopt := []string{"snapshots", "rebuild"}
	for _, tn := range tenants {
		adopt = append(adopt, "--adopt", tn.ID+"="+tn.sim.Domain+"="+tn.sim.Name)
	}
	says(t, "rebuild", f.run("tenantry", adopt...), open.ID, shut.ID)
	f.scheduler("scheduler")
	f.worker("worker")
	f.enable(open)
	f.consentAs(open, open.sim.ID, "accept")
	f.awaitState(&open, "connected")
	f.awaitSyncs(open, 1)
	restoreWhole(f, open, users[0], users[1], "drive")
	if r := f.resources(shut, "state=gone"); len(r) == 0 {
		t.Error("of the other tenant the rebuilt catalog knows no resource")
	}
}

// keyOf writes a key file that has the keys of one tenant of the fleet's.
func (f *fleet) keyOf(tn tenant) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "keys"))
	if err != nil {
		f.t.Fatal(err)
	}
	var doc struct {
		Version int                        `json:"version"`
		Tenants map[string]json.RawMessage `json:"tenants"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Tenants) != 2 {
		f.t.Fatalf("the key file has the keys of %d tenants: %v", len(doc.Tenants), err)
	}
	doc.Tenants = map[string]json.RawMessage{tn.ID: doc.Tenants[tn.ID]}
	if text, err = json.Marshal(doc); err != nil {
		f.t.Fatal(err)
	}
	path := filepath.Join(f.dir, "one.keys")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// rescue runs "tenantry rescue" where nothing says a word of the fleet but bucket and key file.
func (f *fleet) rescue(key string, args ...string) (string, error) {
	f.t.Helper()
	bucket := fmt.Sprintf("s3://%s/e2e?endpoint=%s&region=%s", f.s3.Bucket, url.QueryEscape(f.s3.Endpoint), f.s3.Region)
	cmd := exec.Command(f.program("tenantry"), append([]string{"rescue", "--from", bucket, "--key", key}, args...)...)
	cmd.Dir = f.dir
	cmd.Env = []string{"HOME=" + f.dir, "AWS_ACCESS_KEY_ID=" + f.s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + f.s3.SecretKey}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// opens is what a list of tenants says of one.
func opens(list, tenant string) string {
	for line := range strings.Lines(list) {
		if strings.HasPrefix(line, tenant) {
			return line
		}
	}
	return ""
}

// mailsOf describes the mails of a user as rescuedMails does.
func (f *fleet) mailsOf(tn tenant, u simUser) (lines []string) {
	f.t.Helper()
	for _, text := range f.truthLines(tn, u.ID, "mail") {
		var m struct {
			Subject, MessageID, BodySHA256 string
			Attachments                    []struct{ Kind, SHA256 string }
		}
		if err := json.Unmarshal(text, &m); err != nil {
			f.t.Fatal(err)
		}
		var files []string
		for _, a := range m.Attachments {
			if a.Kind == "file" { // others have no one form in a mail
				files = append(files, a.SHA256)
			}
		}
		lines = append(lines, mailLine(m.MessageID, m.Subject, m.BodySHA256, files))
	}
	return lines
}

func mailLine(id, subject, body string, files []string) string {
	slices.Sort(files)
	return fmt.Sprintf("%s %q %s %v", strings.Trim(id, "<>"), strings.TrimSpace(subject), body, files)
}

// rescuedMails reads the mails below a folder as a mail program does.
func rescuedMails(t *testing.T, dir string) (lines []string) {
	t.Helper()
	eachFile(t, dir, func(path string, body []byte) {
		if filepath.Ext(path) != ".eml" {
			return
		}
		r, err := mail.CreateReader(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("read %s: %v", path, err)
		}
		text, files := "", []string(nil)
		for first := true; ; first = false {
			part, err := r.NextPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("read %s: %v", path, err)
			}
			content, err := io.ReadAll(part.Body)
			if err != nil {
				t.Fatalf("read %s: %v", path, err)
			}
			switch kind := part.Header.Get("Content-Type"); {
			case first:
				text = sha(content)
			case !strings.HasPrefix(kind, "message/rfc822") && !strings.Contains(part.Header.Get("Content-Disposition"), ".link.json"):
				files = append(files, sha(content))
			}
		}
		subject, err := r.Header.Subject()
		if err != nil {
			t.Fatalf("read the subject of %s: %v", path, err)
		}
		lines = append(lines, mailLine(r.Header.Get("Message-Id"), subject, text, files))
	})
	return lines
}

// filesOf describes the files of a user as rescuedFiles does.
func (f *fleet) filesOf(tn tenant, u simUser) (lines []string) {
	f.t.Helper()
	for _, x := range f.truths(tn, u.ID, "drive") {
		if !x.Folder {
			lines = append(lines, filepath.Base(x.Path)+" "+x.SHA256)
		}
	}
	return lines
}

func rescuedFiles(t *testing.T, dir string) (lines []string) {
	t.Helper()
	eachFile(t, dir, func(path string, body []byte) { lines = append(lines, filepath.Base(path)+" "+sha(body)) })
	return lines
}

// eachFile visits the files below a folder.
func eachFile(t *testing.T, dir string, visit func(path string, body []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err == nil {
			visit(path, body)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sha(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// sameLines fails unless both hold the same, and something, in whatever order.
func sameLines(t *testing.T, what string, want, got []string) {
	t.Helper()
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(want, got) {
		t.Errorf("%s: %d are rescued of %d:\n%s\nexpected\n%s", what, len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
