package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// corpusBudget is what both sides are told that SharePoint and Exchange allow: the documented
// 1,250 units of a small tenant, and 18,750 in five minutes over all applications, would stretch a tree
// of ten thousand files over half an hour, and 10,000 requests in ten minutes the restore of two thousand
// items of one mailbox over more than two minutes. All other limits stay as documented.
const corpusBudget = 600_000

// TestRealInput backs up real mails and a tree of real files, restores them into another
// mailbox and drive, and compares every byte.
//
// Files are the source of the Go installation and, as a user may keep them in a drive, the mails,
// calendars and contacts of the corpus themselves: size and SHA-256 of what is on this disk against
// the simulator's account of the restored drive. Mails: the simulator's digest of everything that must come back (subject, body, people,
// times, flags, categories, Internet message ID) and each attachment's name, content ID, size and
// SHA-256, of the original against the restored message; and the MIME of both as a parser reads it (sameMIME),
// since Graph takes messages as JSON and the service writes their MIME anew. Contacts and calendars of the mailbox: the
// simulator's digest of every property that can be written, pictures and attachments by their SHA-256,
// exceptions and cancellations of series by their dates; and nothing was sent.
func TestRealInput(t *testing.T) {
	t.Parallel()
	mails := corpus(t)
	tree := realFiles(t)
	f := newFleet(t, "--tenants", "1", "--users", "2", "--mails", "0", "--files-per-user", "0", "--groups", "0", "--sites", "0",
		"--corpus", os.Getenv("TENANTRY_CORPUS"), "--files", tree, "--limits", simulatedLimits(t))
	f.scheduler("scheduler")
	f.worker("worker", "TENANTRY_LIMITS_FILE="+f.limits())
	tn := f.connect(f.simTenants()[0])
	var users []simUser
	f.simulate("GET", "/tenants/"+tn.sim.ID+"/users", nil, &users)
	from, to := users[0], users[1]

	started := time.Now()
	done := f.awaitDone(tn, f.backup(tn, f.policy(tn)))
	t.Logf("backed up %d items, %d bytes read, in %v", done.Progress.Items, done.Progress.Bytes, time.Since(started).Round(time.Millisecond))

	f.restoreTo(tn, from, to, "drive")
	f.sameFiles(tn, tree, to)
	switch {
	case mails > 0:
		want := under(f.truths(tn, from.ID, "mail"), "Corpus")
		if len(want) != mails {
			t.Fatalf("the simulator serves %d mails, the corpus has %d", len(want), mails)
		}
		f.restoreTo(tn, from, to, "mailbox")
		got := under(f.truths(tn, to.ID, "mail"), "Restored/Corpus")
		same(t, "mails of the corpus", want, got)
		t.Logf("compared %d mails by their digest and that of each attachment", len(want))
		f.sameMIME(tn, from, want, to, got)
		f.samePeopleAndEvents(tn, from, to)
	default:
		t.Run("mails", func(t *testing.T) {
			t.Skip("SKIPPED: set TENANTRY_CORPUS to a folder with mail/*.eml, calendar/*.ics and contacts/*.vcf to run on real mails")
		})
	}
}

// realFiles is a folder of real files: the Go source, and the corpus if there is one.
func realFiles(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	from := map[string]string{"go": goSource(t)}
	if dir := os.Getenv("TENANTRY_CORPUS"); dir != "" {
		for _, kind := range []string{"mail", "calendar", "contacts"} {
			from[kind] = filepath.Join(dir, kind)
		}
	}
	for name, dir := range from {
		if err := os.CopyFS(filepath.Join(tree, name), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// goSource is the source of the Go installation that runs the tests: a tree of some ten thousand
// files of every size that is on every machine.
func goSource(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "src")
}

// samePeopleAndEvents holds the contacts and events of the corpus, restored into another mailbox, against
// the original ones.
func (f *fleet) samePeopleAndEvents(tn tenant, from, to simUser) {
	f.t.Helper()
	want, got := personal(f, tn, from), personal(f, tn, to)
	for kind, prefixes := range map[string][2]string{"contacts": {"", "Contacts/Restored/"}, "events": {"", "Restored - "}} {
		same(f.t, kind+" of the corpus", within(want[kind], prefixes[0]), within(got[kind], prefixes[1]))
		f.t.Logf("compared %d %s", len(want[kind]), kind)
	}
	for _, u := range []simUser{from, to} {
		if sent := f.truths(tn, u.ID, "sent"); len(sent) > 0 {
			f.t.Errorf("%s has sent %d messages", u.Name, len(sent))
		}
	}
}

// personal is what a mailbox holds of contacts and events, each with all that must come back as its content.
func personal(f *fleet, tn tenant, u simUser) map[string][]truth {
	f.t.Helper()
	kinds := map[string][]truth{}
	for _, kind := range []string{"contacts", "events"} {
		for _, line := range f.truthLines(tn, u.ID, kind) {
			var x map[string]any
			if err := json.Unmarshal(line, &x); err != nil {
				f.t.Fatal(err)
			}
			path := fmt.Sprint(x["path"])
			if kind == "events" {
				path = fmt.Sprint(x["calendar"])
			}
			for _, own := range []string{"id", "path", "calendar", "attendees"} {
				delete(x, own) // attendees are kept, not invited
			}
			content, err := json.Marshal(x)
			if err != nil {
				f.t.Fatal(err)
			}
			kinds[kind] = append(kinds[kind], truth{Path: path, Digest: string(content)})
		}
	}
	return kinds
}

// within keeps what lies in places that begin with prefix, with the rest of their names.
func within(all []truth, prefix string) []truth {
	var kept []truth
	for _, x := range all {
		if rest, ok := strings.CutPrefix(x.Path, prefix); ok {
			x.Path = rest
			kept = append(kept, x)
		}
	}
	return kept
}

// corpus counts the mails of the corpus; none without one. It has to have contacts and calendars, too.
func corpus(t *testing.T) (mails int) {
	t.Helper()
	dir := os.Getenv("TENANTRY_CORPUS")
	if dir == "" {
		return 0
	}
	count := func(pattern string) int {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	for _, pattern := range []string{"mail/*.eml", "calendar/*.ics", "contacts/*.vcf"} {
		if count(pattern) == 0 {
			t.Fatalf("TENANTRY_CORPUS is %q, which has no %s", dir, pattern)
		}
	}
	return count("mail/*.eml")
}

// simulatedLimits writes the file that gives the simulator its larger budget.
func simulatedLimits(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "limits.json")
	text := fmt.Sprintf(`{"sharePointMinute":[{"max":%[1]d,"seconds":60}],"sharePointTenant":[{"max":%[1]d,"seconds":300}],"mailbox":{"max":%[1]d,"seconds":600}}`, corpusBudget)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// limits writes the file that tells workers of the simulator's larger budget.
func (f *fleet) limits() string {
	f.t.Helper()
	file := filepath.Join(f.dir, "limits.yaml")
	text := fmt.Sprintf("sharepoint: {tiers: [{minute: {amount: %[1]d, window: 1m}, day: {amount: 1200000, window: 24h}, tenant: {amount: %[1]d, window: 5m}}]}\noutlook: {requests: {amount: %[1]d, window: 10m}}\n", corpusBudget)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return file
}

// restoreTo restores all of a user's newest snapshot into a new folder of another user.
func (f *fleet) restoreTo(tn tenant, from, to simUser, workload string) {
	f.t.Helper()
	source := f.userOf(tn, from.ID)
	snaps := f.snapshots(tn, source, workload)
	if len(snaps) != 1 || snaps[0].Counts.Skipped > 0 {
		f.t.Fatalf("the snapshots of the %s: %+v", workload, snaps)
	}
	started := time.Now()
	r := f.awaitDone(tn, f.restore(tn, map[string]any{"resource": source.ID, "workload": workload, "snapshot": snaps[0].Seq,
		"to": f.userOf(tn, to.ID).ID, "folder": "Restored"}))
	if r.Progress.Skipped > 0 {
		f.t.Fatalf("restore of the %s: %+v: %+v", workload, r, list[task](f, "/tenants/"+tn.ID+"/runs/"+r.ID+"/tasks"))
	}
	f.t.Logf("restored the %s: %d items in %v", workload, r.Progress.Items, time.Since(started).Round(time.Millisecond))
}

// sameFiles holds a restored drive against the files on this disk.
func (f *fleet) sameFiles(tn tenant, tree string, user simUser) {
	f.t.Helper()
	var want []truth
	var bytes int64
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == tree || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		x := truth{Path: strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(tree)), Folder: d.IsDir()}
		if !x.Folder {
			x.Size, x.SHA256, err = digestOf(path)
			bytes += x.Size
		}
		want = append(want, x)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	var got []truth
	for _, x := range under(f.truths(tn, user.ID, "drive"), "Restored/Files") {
		if x.Path != "" { // the top itself
			got = append(got, truth{Path: x.Path, Size: x.Size, SHA256: x.SHA256, Folder: x.Folder})
		}
	}
	same(f.t, "real files", want, got)
	f.t.Logf("compared %d files and folders, %d bytes, with what is on this disk", len(want), bytes)
}

func digestOf(path string) (size int64, sum string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	h := sha256.New()
	size, err = io.Copy(h, file)
	return size, hex.EncodeToString(h.Sum(nil)), err
}
