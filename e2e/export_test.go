package e2e

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-message/mail"
)

// TestExports makes files of a mailbox and a drive by the command line, and holds them against
// the simulator's truth.
func TestExports(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "1", "--mails", "60", "--files-per-user", "20", "--groups", "0", "--sites", "0")
	f.scheduler("scheduler")
	f.worker("worker")
	tn := f.connect(f.simTenants()[0])
	f.awaitDone(tn, f.backup(tn, f.policy(tn)))
	u := f.simUsers(tn)[0]
	r := f.userOf(tn, u.ID)

	t.Run("drive", func(t *testing.T) {
		seq := f.latest(tn, r, "drive").Seq
		want := map[string]int{} // a digest, how often
		for _, x := range files(f.truths(tn, u.ID, "drive")) {
			want[x.SHA256]++
		}
		for _, file := range exported(f.within(t), tn, r, "drive", seq) {
			sum := sha256.Sum256(file)
			want[hex.EncodeToString(sum[:])]--
		}
		for sum, n := range want {
			if n != 0 {
				t.Errorf("%d files of digest %s are missing (or too many)", n, sum)
			}
		}
	})
	t.Run("mailbox", func(t *testing.T) {
		seq := f.latest(tn, r, "mailbox").Seq
		want := map[string]int{}
		all := f.truths(tn, u.ID, "mail")
		for _, x := range all {
			want[x.Subject]++
		}
		for name, file := range exported(f.within(t), tn, r, "mailbox", seq) {
			if path.Ext(name) != ".eml" {
				continue
			}
			m, err := mail.CreateReader(strings.NewReader(string(file)))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			subject, _ := m.Header.Subject()
			want[subject]--
		}
		for subject, n := range want {
			if n != 0 {
				t.Errorf("%d mails %q are missing (or too many)", n, subject)
			}
		}
		to := filepath.Join(t.TempDir(), "all.mbox")
		f.within(t).run("tenantry", "export", tn.ID, r.ID, "mailbox", strconv.FormatInt(seq, 10), "--form", "mbox", "--to", to)
		text, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count("\n"+string(text), "\nFrom "); n != len(all) {
			t.Errorf("the mailbox file has %d messages of %d", n, len(all))
		}
	})
	t.Run("search as a task", func(t *testing.T) {
		all, want := f.truths(tn, u.ID, "mail"), 0
		for _, x := range all {
			if strings.Contains(strings.ToLower(x.Subject), strings.ToLower(all[0].Subject)) {
				want++
			}
		}
		out := f.within(t).run("tenantry", "search", "--kind", "message", "--all-snapshots", "--limit", "500", "--", tn.ID, all[0].Subject)
		n := 0
		for line := range strings.Lines(out) {
			if row := strings.Fields(line); len(row) > 3 && row[0] == r.ID && row[3] == "message" {
				n++
			}
		}
		if n != want {
			t.Errorf("%d mails found of %d:\n%s", n, want, out)
		}
	})
}

// exported exports a snapshot as a zip and returns the files in it.
func exported(f *fleet, tn tenant, r resource, workload string, seq int64, flags ...string) map[string][]byte {
	f.t.Helper()
	to := filepath.Join(f.t.TempDir(), "export.zip")
	f.run("tenantry", append([]string{"export", tn.ID, r.ID, workload, fmt.Sprint(seq), "--to", to}, flags...)...)
	archive, err := zip.OpenReader(to)
	if err != nil {
		f.t.Fatal(err)
	}
	defer archive.Close()
	all := map[string][]byte{}
	for _, entry := range archive.File {
		if strings.HasSuffix(entry.Name, "/") {
			continue
		}
		body, err := entry.Open()
		if err != nil {
			f.t.Fatal(err)
		}
		if all[entry.Name], err = io.ReadAll(body); err != nil {
			f.t.Fatalf("%s: %v", entry.Name, err)
		}
	}
	return all
}
