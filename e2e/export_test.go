package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-vcard"
	"github.com/google/go-cmp/cmp"
)

// TestExports makes files of a mailbox and a drive by the command line, and holds them against
// the simulator's truth.
func TestExports(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "1", "--mails", "60", "--contacts", "15", "--events", "15", "--files-per-user", "20", "--groups", "0", "--sites", "0")
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
	t.Run("calendars in one file", func(t *testing.T) {
		var got, want []string
		from := ical.NewDecoder(bytes.NewReader(exportedFile(f.within(t), tn, r, "mailbox", "ics")))
		for cal, err := from.Decode(); !errors.Is(err, io.EOF); cal, err = from.Decode() {
			if err != nil {
				t.Fatal(err)
			}
			for _, event := range cal.Events() {
				if event.Props.Get(ical.PropRecurrenceID) == nil { // its series is there, too
					subject, err := event.Props.Text(ical.PropSummary)
					if err != nil {
						t.Errorf("%v: %v", event.Props, err)
					}
					got = append(got, subject)
				}
			}
		}
		for _, line := range f.truthLines(tn, u.ID, "events") {
			var x graphsimEvent
			if err := json.Unmarshal(line, &x); err != nil {
				t.Fatal(err)
			}
			if !x.Shared {
				want = append(want, x.Subject)
			}
		}
		sameTexts(t, want, got)
	})
	t.Run("contacts in one file", func(t *testing.T) {
		var got, want []string
		from := vcard.NewDecoder(bytes.NewReader(exportedFile(f.within(t), tn, r, "mailbox", "vcf")))
		for card, err := from.Decode(); !errors.Is(err, io.EOF); card, err = from.Decode() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, card.Value(vcard.FieldFormattedName))
		}
		for _, line := range f.truthLines(tn, u.ID, "contacts") {
			var x struct{ Name string }
			if err := json.Unmarshal(line, &x); err != nil {
				t.Fatal(err)
			}
			want = append(want, x.Name)
		}
		sameTexts(t, want, got)
	})
	t.Run("search as a task", func(t *testing.T) {
		all, want := f.truths(tn, u.ID, "mail"), 0
		for _, x := range all {
			if strings.Contains(strings.ToLower(x.Subject), strings.ToLower(all[0].Subject)) {
				want++
			}
		}
		out := f.within(t).run("tenantry", "search", "-o", "json", "--kind", "message", "--all-snapshots", "--limit", "500", "--", tn.ID, all[0].Subject)
		var found struct {
			Items []struct{ Resource, Kind string }
		}
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		n := 0
		for _, x := range found.Items {
			if x.Resource == r.ID && x.Kind == "message" {
				n++
			}
		}
		if n != want {
			t.Errorf("%d mails found of %d:\n%s", n, want, out)
		}
	})
	t.Run("two snapshots compared", func(t *testing.T) {
		first := f.latest(tn, r, "mailbox").Seq
		all := f.truths(tn, u.ID, "mail")
		gone, edited := all[0], all[1]
		f.mutate(tn, "deleteMail", map[string]any{"user": u.ID, "id": gone.ID})
		f.mutate(tn, "editMail", map[string]any{"user": u.ID, "id": edited.ID, "properties": map[string]any{"subject": "said otherwise"}})
		added := f.mutate(tn, "newMail", map[string]any{"user": u.ID, "mail": map[string]any{"subject": "just come"}})
		second := f.within(t).secondBackup(tn, r, "mailbox", first)
		var page struct {
			Items []struct{ What, Kind, Name, ID string }
		}
		out := f.within(t).run("tenantry", "compare", "-o", "json", tn.ID, r.ID, "mailbox", fmt.Sprint(first), fmt.Sprint(second))
		if err := json.Unmarshal([]byte(out), &page); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		got := map[string]string{}
		for _, x := range page.Items {
			if x.Kind == "message" { // a folder counts its messages
				got[x.ID] = x.What + " " + x.Name
			}
		}
		want := map[string]string{gone.ID: "removed " + gone.Subject, edited.ID: "changed said otherwise", added: "added just come"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// graphsimEvent is what the simulator tells of an event.
type graphsimEvent struct {
	Subject string
	Shared  bool // it lies in somebody else's calendar
}

// exportedFile exports the newest snapshot as one file of that form.
func exportedFile(f *fleet, tn tenant, r resource, workload, form string) []byte {
	f.t.Helper()
	to := filepath.Join(f.t.TempDir(), "all."+form)
	f.run("tenantry", "export", tn.ID, r.ID, workload, fmt.Sprint(f.latest(tn, r, workload).Seq), "--form", form, "--to", to)
	text, err := os.ReadFile(to)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

// sameTexts holds texts against one another, each as often as it is there.
func sameTexts(t *testing.T, want, got []string) {
	t.Helper()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("%d of %d: %s", len(got), len(want), diff)
	}
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
