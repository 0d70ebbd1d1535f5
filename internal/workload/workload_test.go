package workload_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
	"github.com/tenantry/tenantry/internal/workload"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// unmetered lets every call through: limits are tested elsewhere.
type unmetered struct{}

func (unmetered) Acquire(ctx context.Context, _ throttle.Call) (*throttle.Permit, error) {
	return new(throttle.Permit), ctx.Err()
}

// company is a simulated customer, our connection to it, and its repository in a folder.
type company struct {
	sim   *graphsim.Server
	truth *graphsim.Tenant
	graph *graph.Tenant
	repo  *repository.Repository
	store blob.Store
	users []graphsim.UserInfo
	epoch atomic.Int64
}

func newCompany(t *testing.T, spec graphsim.TenantSpec, o graphsim.Options) *company {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED because of -short: needs the Graph simulator and a repository")
	}
	c := &company{}
	var err error
	c.sim, err = graphsim.Start(o)
	must(t, err)
	t.Cleanup(func() { _ = c.sim.Close() })
	c.truth = c.sim.AddTenant(spec)
	c.truth.Consent()
	c.users = c.truth.Users()
	client, err := graph.New(graph.Config{
		GraphURL: c.sim.URL(), LoginURL: c.sim.URL(), ClientID: graphsim.DefaultClientID, Secret: tenantry.NewSecret(graphsim.DefaultSecret),
	}, unmetered{})
	must(t, err)
	t.Cleanup(client.Close)
	c.graph = client.Tenant("t-1", c.truth.ID())
	dir := t.TempDir()
	store, err := blob.OpenFolder(filepath.Join(dir, "store"))
	must(t, err)
	t.Cleanup(func() {
		if closer, ok := any(store).(io.Closer); ok {
			_ = closer.Close()
		}
	})
	c.store = store
	ring, err := repository.OpenKeyFile(filepath.Join(dir, "keys.json"), true)
	must(t, err)
	c.repo, err = repository.Open(t.Context(), store, ring, "t-1")
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%s)", err, tenantry.KindOf(err))
	}
}

// backup runs a task to its end, however many slices that takes.
func (c *company) backup(t *testing.T, s tenantry.Series, src func() engine.Source, l engine.Limits) engine.Outcome {
	t.Helper()
	task := tenantry.NewTaskID(time.Now())
	for range 50 {
		w, err := c.repo.Begin(t.Context(), s, repository.Fence{Epoch: c.epoch.Add(1), Task: task})
		must(t, err)
		out, err := engine.Backup(t.Context(), src(), w, l, nil, nil)
		w.Close()
		switch kind := tenantry.KindOf(err); {
		case kind == tenantry.Transient || kind == tenantry.Throttled: // a worker would wait
			t.Log("slice ended:", err)
		case err != nil:
			t.Fatalf("%v (%s)", err, kind)
		case out.Done:
			return out
		}
	}
	t.Fatal("the backup does not come to an end")
	return engine.Outcome{}
}

// struck sees that every fault did its part, and ends them.
func (c *company) struck(t *testing.T) {
	t.Helper()
	for _, f := range c.sim.Faults() {
		if f.Struck == 0 {
			t.Errorf("the fault %s on %s did not strike (%d requests matched)", f.Kind, f.Path, f.Matched)
		}
	}
	c.sim.Clear("")
}

func (c *company) restore(t *testing.T, s tenantry.Series, seq int64, dst func() engine.Target, req tenantry.RestoreRequest) engine.Outcome {
	t.Helper()
	snap, err := c.repo.OpenSnapshot(t.Context(), s, seq)
	must(t, err)
	defer snap.Close()
	for range 50 {
		out, err := engine.Restore(t.Context(), snap, dst(), req, engine.Limits{}, nil, nil)
		switch kind := tenantry.KindOf(err); {
		case kind == tenantry.Transient || kind == tenantry.Throttled:
			t.Log("slice ended:", err)
		case err != nil:
			t.Fatalf("%v (%s)", err, kind)
		case out.Done:
			return out
		}
	}
	t.Fatal("the restore does not come to an end")
	return engine.Outcome{}
}

func (c *company) mailbox(user int) func() engine.Source {
	return func() engine.Source {
		return workload.NewMailboxSource(c.graph, c.users[user].ID, tenantry.BackupOptions{})
	}
}

func (c *company) drive(user int) func() engine.Source {
	return func() engine.Source {
		return workload.NewDriveSource(c.graph, c.users[user].ID, tenantry.BackupOptions{})
	}
}

func (c *company) series(user int, w tenantry.Workload) tenantry.Series {
	return tenantry.Series{Tenant: "t-1", Resource: tenantry.UserResource(c.users[user].ID), Workload: w}
}

// mail is what a restore has to bring back of a message, in a form that compares.
type mail struct {
	Path, Subject, Digest string
	Attachments           []graphsim.AttachmentTruth
}

// mails returns a user's messages below a folder, with their paths from there.
func (c *company) mails(t *testing.T, user int, below string) []mail {
	t.Helper()
	list, err := c.truth.MailTruth(c.users[user].ID)
	must(t, err)
	var mails []mail
	for _, m := range list {
		path, ok := strings.CutPrefix(m.Path, below)
		if !ok {
			continue
		}
		attachments := slices.DeleteFunc(slices.Clone(m.Attachments), func(a graphsim.AttachmentTruth) bool { return a.Kind == "reference" })
		mails = append(mails, mail{path, m.Subject, m.Digest, attachments})
	}
	slices.SortFunc(mails, func(a, b mail) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Digest, b.Digest), strings.Compare(fmt.Sprint(a.Attachments), fmt.Sprint(b.Attachments)))
	})
	return mails
}

func equal[T any](t *testing.T, want, got T) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("expected (-), got (+):\n%s", diff[:min(len(diff), 4000)])
	}
}

func TestMailboxThereAndBack(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, MailsPerUser: 120}, graphsim.Options{PageSize: 20})
	s := c.series(0, tenantry.Mailbox)
	out := c.backup(t, s, c.mailbox(0), engine.Limits{CheckpointBytes: 64 << 10})
	want := c.mails(t, 0, "")
	if out.Counts.Items < int64(len(want)) || out.Counts.Skipped > 0 {
		t.Errorf("%+v for %d messages", out, len(want))
	}
	dst := func() engine.Target {
		return workload.NewMailboxTarget(c.graph, c.users[1].ID, "Back again", "")
	}
	for range 2 { // twice: no duplicates
		out := c.restore(t, s, out.Snapshot.Seq, dst, tenantry.RestoreRequest{})
		for _, p := range out.Problems {
			if !strings.Contains(p.Reason, "a link, which Graph cannot write") {
				t.Errorf("%+v", p)
			}
		}
		equal(t, want, c.mails(t, 1, "Back again/"))
	}
}

// TestMailboxFollowsChanges backs up, lets the mailbox change, backs up again under faults, and restores
// both snapshots: each is the truth of its time.
func TestMailboxFollowsChanges(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 3, MailsPerUser: 60}, graphsim.Options{PageSize: 15})
	s := c.series(0, tenantry.Mailbox)
	first := c.backup(t, s, c.mailbox(0), engine.Limits{})
	before := c.mails(t, 0, "")

	for _, f := range []graphsim.Fault{
		{Path: `/messages/delta`, Kind: graphsim.FaultMove, Every: 3, Count: 3},
		{Path: `/messages/delta`, Kind: graphsim.FaultGone, Nth: 4},
		{Path: `/messages/delta`, Kind: graphsim.FaultCut, Nth: 6},
		{Path: `/messages/delta`, Kind: graphsim.FaultEmpty, Nth: 9},
		{Path: `/attachments`, Kind: graphsim.FaultReset, Every: 7, Count: 5},
	} {
		_, err := c.sim.Inject(f)
		must(t, err)
	}
	_, err := c.truth.Churn(7, 120)
	must(t, err)
	second := c.backup(t, s, c.mailbox(0), engine.Limits{CheckpointBytes: 16 << 10})
	c.struck(t)
	c.truth.ExpireDelta()
	third := c.backup(t, s, c.mailbox(0), engine.Limits{})
	after := c.mails(t, 0, "")
	if second.Counts.Items == 0 || third.Counts.Items < int64(len(after)) {
		t.Errorf("second %+v, third %+v", second, third)
	}
	restored := func(seq int64, folder string) []mail {
		c.restore(t, s, seq, func() engine.Target { return workload.NewMailboxTarget(c.graph, c.users[2].ID, folder, "") }, tenantry.RestoreRequest{})
		return c.mails(t, 2, folder+"/")
	}
	equal(t, before, restored(first.Snapshot.Seq, "First"))
	equal(t, after, restored(third.Snapshot.Seq, "Third"))

	idle := c.backup(t, s, c.mailbox(0), engine.Limits{})
	if idle.Counts.Items > 0 || idle.Counts.Bytes > 0 {
		t.Errorf("a mailbox at rest: %+v", idle)
	}
}

// TestMailboxRestoreIsCutAnywhere lets writes fail before and after they took effect: whatever is lost,
// the next slice completes it, and nothing is there twice.
func TestMailboxRestoreIsCutAnywhere(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, MailsPerUser: 80}, graphsim.Options{})
	s := c.series(0, tenantry.Mailbox)
	out := c.backup(t, s, c.mailbox(0), engine.Limits{})
	for _, f := range []graphsim.Fault{
		{Method: "POST", Path: `/messages$`, Kind: graphsim.FaultLost, Every: 11, Count: 4},
		{Method: "POST", Path: `/attachments$`, Kind: graphsim.FaultLost, Every: 5, Count: 3},
		{Method: "POST", Path: `/attachments$`, Kind: graphsim.FaultReset, Every: 7, Count: 3},
		{Method: "POST", Path: `/childFolders$`, Kind: graphsim.FaultLost, Nth: 2},
	} {
		_, err := c.sim.Inject(f)
		must(t, err)
	}
	c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewMailboxTarget(c.graph, c.users[1].ID, "Back", "") }, tenantry.RestoreRequest{})
	c.struck(t)
	equal(t, c.mails(t, 0, ""), c.mails(t, 1, "Back/"))
}

// TestMailboxInPlace restores to where it came from: what is there stays one, what was deleted comes
// back, what was changed stands beside its old version.
func TestMailboxInPlace(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 40}, graphsim.Options{})
	s, user := c.series(0, tenantry.Mailbox), c.users[0].ID
	out := c.backup(t, s, c.mailbox(0), engine.Limits{})
	before := c.mails(t, 0, "")
	list, err := c.truth.MailTruth(user)
	must(t, err)
	inbox := slices.DeleteFunc(list, func(m graphsim.MailTruth) bool { return m.Path != "Inbox" })
	for _, m := range inbox[:3] {
		must(t, c.truth.DeleteMail(user, m.ID))
	}
	must(t, c.truth.EditMail(user, inbox[3].ID, map[string]any{"isRead": true})) // the same to its owner
	must(t, c.truth.EditMail(user, inbox[4].ID, map[string]any{"subject": "changed"}))
	for _, conflict := range []string{"skip", "copy", "copy"} {
		c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewMailboxTarget(c.graph, user, "", conflict) }, tenantry.RestoreRequest{})
		want := len(before)
		if conflict == "copy" {
			want++ // the changed one, and its old version
		}
		if got := c.mails(t, 0, ""); len(got) != want {
			t.Errorf("%s: %d messages, not %d", conflict, len(got), want)
		}
	}
	c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewMailboxTarget(c.graph, user, "", "replace") },
		tenantry.RestoreRequest{Items: []string{inbox[4].ID}})
	for _, m := range c.mails(t, 0, "Inbox") {
		if m.Subject == "changed" {
			return // its old version stands beside it, which an earlier restore made: nothing to replace
		}
	}
	t.Error("the changed message is gone")
}

// inDrive is the ID that an item of a drive has in a snapshot.
func inDrive(drive, item string) string { return "drive:" + drive + "/" + item }

// file is what a restore has to bring back of a drive.
type file struct {
	Path, SHA256 string
	Size         int64
	Modified     time.Time
}

func (c *company) files(t *testing.T, user int, below string) []file {
	t.Helper()
	list, err := c.truth.DriveTruth(c.users[user].Drive)
	must(t, err)
	var files []file
	for _, f := range list {
		if path, ok := strings.CutPrefix(f.Path, below); ok {
			files = append(files, file{path, f.SHA256, f.Size, f.Modified.Truncate(time.Second)})
		}
	}
	return files
}

func TestDriveThereAndBack(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, FilesPerUser: 60}, graphsim.Options{PageSize: 15})
	s, drive := c.series(0, tenantry.Drive), c.users[0].Drive
	_, err := c.truth.PutFile(drive, "Papers/empty.txt", nil)
	must(t, err)
	_, err = c.truth.PutFile(drive, "Papers/large.bin", slices.Repeat([]byte("0123456789abcdef"), 400_000))
	must(t, err)
	for _, f := range []graphsim.Fault{
		{Path: `/root/delta`, Kind: graphsim.FaultGone, Nth: 3},
		{Path: `^/download/`, Kind: graphsim.FaultCut, Every: 9, Count: 5},
	} {
		_, err := c.sim.Inject(f)
		must(t, err)
	}
	first := c.backup(t, s, c.drive(0), engine.Limits{CheckpointBytes: 256 << 10})
	c.struck(t)
	before := c.files(t, 0, "")
	must(t, c.truth.MoveFile(drive, "Papers", "Old papers"))
	must(t, c.truth.DeleteFile(drive, "Old papers/empty.txt"))
	_, err = c.truth.Churn(3, 100)
	must(t, err)
	second := c.backup(t, s, c.drive(0), engine.Limits{})
	after := c.files(t, 0, "")

	for folder, want := range map[string]struct {
		seq   int64
		files []file
	}{"First": {first.Snapshot.Seq, before}, "Second": {second.Snapshot.Seq, after}} {
		for range 2 { // twice: no duplicates
			out := c.restore(t, s, want.seq, func() engine.Target {
				return workload.NewDriveTarget(c.graph, c.users[1].ID, tenantry.RestoreRequest{Folder: folder, Conflict: ""})
			}, tenantry.RestoreRequest{})
			if len(out.Problems) > 0 || out.Notes != "" {
				t.Errorf("%q %+v", out.Notes, out.Problems)
			}
			equal(t, want.files, c.files(t, 1, folder+"/"))
		}
	}
	snap, err := c.repo.OpenSnapshot(t.Context(), s, second.Snapshot.Seq)
	must(t, err)
	defer snap.Close()
	checked, err := engine.Verify(t.Context(), snap, engine.Limits{}, nil, nil)
	if err != nil || !checked.Done || len(checked.Problems) > 0 || checked.Counts.Items != second.Snapshot.Counts.Items {
		t.Errorf("%+v %v", checked, err)
	}
}

// TestDriveConflicts restores over a file that has changed since.
func TestDriveConflicts(t *testing.T) {
	for conflict, want := range map[string][]string{
		"skip":    {"a.txt new"},
		"replace": {"a.txt old"},
		"copy":    {"a (restored).txt old", "a.txt new"},
		"":        {"a (restored).txt old", "a.txt new"},
	} {
		t.Run(orNone(conflict), func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 1}, graphsim.Options{})
			s, drive := c.series(0, tenantry.Drive), c.users[0].Drive
			sums := map[string]string{}
			for _, text := range []string{"new", "old"} {
				_, err := c.truth.PutFile(drive, "a.txt", []byte(text))
				must(t, err)
				for _, f := range c.files(t, 0, "") {
					sums[f.SHA256] = text
				}
			}
			out := c.backup(t, s, c.drive(0), engine.Limits{})
			_, err := c.truth.PutFile(drive, "a.txt", []byte("new"))
			must(t, err)
			for range 2 {
				c.restore(t, s, out.Snapshot.Seq, func() engine.Target {
					return workload.NewDriveTarget(c.graph, c.users[0].ID, tenantry.RestoreRequest{Conflict: conflict})
				}, tenantry.RestoreRequest{})
				var got []string
				for _, f := range c.files(t, 0, "") {
					got = append(got, f.Path+" "+sums[f.SHA256])
				}
				equal(t, want, got)
			}
		})
	}
}

func orNone(s string) string { return cmp.Or(s, "none") }

// TestBadContentHeals lets one file and one attachment be unreadable in the first run only: both are
// recorded, and saved by the second though nothing has changed.
func TestBadContentHeals(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, MailsPerUser: 40, FilesPerUser: 10}, graphsim.Options{})
	for _, f := range []graphsim.Fault{
		{Path: `/content$`, Status: 400, Code: "malwareDetected", Nth: 3},
		{Path: `/attachments/[^/]+/\$value$`, Status: 500, Code: "ErrorCannotOpenFileAttachment", Nth: 2},
	} {
		_, err := c.sim.Inject(f)
		must(t, err)
	}
	for _, w := range []struct {
		series tenantry.Series
		src    func() engine.Source
	}{{c.series(0, tenantry.Mailbox), c.mailbox(0)}, {c.series(0, tenantry.Drive), c.driveAsked(0)}} {
		if out := c.backup(t, w.series, w.src, engine.Limits{}); out.Counts.Skipped != 1 || len(out.Problems) != 1 {
			t.Errorf("%s, first: %+v", w.series.Workload, out)
		}
		if out := c.backup(t, w.series, w.src, engine.Limits{}); out.Counts.Skipped != 0 || out.Counts.Bytes == 0 {
			t.Errorf("%s, second: %+v", w.series.Workload, out)
		}
		out := c.backup(t, w.series, w.src, engine.Limits{})
		if w.series.Workload == tenantry.Drive {
			c.restore(t, w.series, out.Snapshot.Seq, func() engine.Target {
				return workload.NewDriveTarget(c.graph, c.users[1].ID, tenantry.RestoreRequest{Folder: "Back", Conflict: ""})
			}, tenantry.RestoreRequest{})
			equal(t, c.files(t, 0, ""), c.files(t, 1, "Back/"))
		} else {
			c.restore(t, w.series, out.Snapshot.Seq, func() engine.Target { return workload.NewMailboxTarget(c.graph, c.users[1].ID, "Back", "") }, tenantry.RestoreRequest{})
			equal(t, c.mails(t, 0, ""), c.mails(t, 1, "Back/"))
		}
	}
	c.struck(t)
}

// unaddressed is a tenant whose pages tell no addresses of contents: each file is asked for by its ID.
type unaddressed struct{ *graph.Tenant }

func (u unaddressed) DriveChanges(ctx context.Context, drive, link string) (graph.RawPage, error) {
	p, err := u.Tenant.DriveChanges(ctx, drive, link)
	p.Addresses = nil
	return p, err
}

func (c *company) driveAsked(user int) func() engine.Source {
	return func() engine.Source {
		return workload.NewDriveSource(unaddressed{c.graph}, c.users[user].ID, tenantry.BackupOptions{})
	}
}

// unserved is a drive of which one file is not served. The simulator could answer 503 as well, but the
// client's own retries would take a minute.
type unserved struct {
	*graph.Tenant
	file string
}

func (u unserved) Download(ctx context.Context, drive, item, address string, offset int64) (io.ReadCloser, error) {
	if item == u.file {
		return nil, tenantry.Errorf(tenantry.Transient, "503")
	}
	return u.Tenant.Download(ctx, drive, item, address, offset)
}

// TestContentThatIsNeverServed lets one file answer 503 for good: all others are saved, the run comes to
// its end, and the next one has the file, since the service has recovered.
func TestContentThatIsNeverServed(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, FilesPerUser: 10}, graphsim.Options{})
	s, drive := c.series(0, tenantry.Drive), c.users[0].Drive
	stuck, err := c.truth.PutFile(drive, "Notes/section.one", []byte("a section"))
	must(t, err)
	src := func() engine.Source {
		return workload.NewDriveSource(unserved{c.graph, stuck}, c.users[0].ID, tenantry.BackupOptions{})
	}
	out := c.backup(t, s, src, engine.Limits{})
	if len(out.Problems) != 1 || out.Problems[0].ID != inDrive(drive, stuck) || out.Snapshot.Counts.Items < 11 {
		t.Errorf("%+v", out)
	}
	if out = c.backup(t, s, c.drive(0), engine.Limits{}); len(out.Problems) > 0 || out.Snapshot.Counts.Skipped > 0 {
		t.Errorf("%+v", out)
	}
	c.restore(t, s, out.Snapshot.Seq, func() engine.Target {
		return workload.NewDriveTarget(c.graph, c.users[1].ID, tenantry.RestoreRequest{Folder: "Back", Conflict: ""})
	}, tenantry.RestoreRequest{})
	equal(t, c.files(t, 0, ""), c.files(t, 1, "Back/"))
}

// TestContentThatIsThrottledForGood lets one file answer 503 with a time to come back at, for good: every
// slice that asks for it parks, but all others are saved and the run comes to its end, with the file's last
// good version. The next run has the new one, since the service has recovered.
func TestContentThatIsThrottledForGood(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, FilesPerUser: 10}, graphsim.Options{})
	s, drive := c.series(0, tenantry.Drive), c.users[0].Drive
	stuck, err := c.truth.PutFile(drive, "Notes/section.one", []byte("a section"))
	must(t, err)
	c.backup(t, s, c.drive(0), engine.Limits{})
	_, err = c.truth.PutFile(drive, "Notes/section.one", []byte("a new section"))
	must(t, err)
	_, err = c.truth.PutFile(drive, "Notes/zero.one", []byte("another"))
	must(t, err)
	_, err = c.sim.Inject(graphsim.Fault{
		Path: "/items/" + stuck + "/content$", Status: 503, Code: "serviceNotAvailable", Headers: map[string]string{"Retry-After": "120"},
	})
	must(t, err)
	out := c.backup(t, s, c.driveAsked(0), engine.Limits{})
	if out.Snapshot.Counts.Skipped != 1 || c.sim.Faults()[0].Struck != 3 {
		t.Errorf("%+v, struck %+v", out, c.sim.Faults())
	}
	snap, err := c.repo.OpenSnapshot(t.Context(), s, out.Snapshot.Seq)
	must(t, err)
	defer snap.Close()
	e, _, err := snap.Lookup(t.Context(), inDrive(drive, stuck))
	must(t, err)
	if !strings.Contains(e.Problem, "503") || len(e.Parts) != 1 || e.Parts[0].Size != int64(len("a section")) {
		t.Errorf("%+v", e)
	}
	c.struck(t)
	if out = c.backup(t, s, c.drive(0), engine.Limits{}); len(out.Problems) > 0 || out.Snapshot.Counts.Skipped > 0 {
		t.Errorf("%+v", out)
	}
	c.restore(t, s, out.Snapshot.Seq, func() engine.Target {
		return workload.NewDriveTarget(c.graph, c.users[1].ID, tenantry.RestoreRequest{Folder: "Back", Conflict: ""})
	}, tenantry.RestoreRequest{})
	equal(t, c.files(t, 0, ""), c.files(t, 1, "Back/"))
}

// TestMailboxOfAnother restores to the original places of another user: well-known folders stand for
// each other, and no folder is there twice.
func TestMailboxOfAnother(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, MailsPerUser: 30}, graphsim.Options{})
	s := c.series(0, tenantry.Mailbox)
	out := c.backup(t, s, c.mailbox(0), engine.Limits{})
	folders, err := c.truth.FolderTruth(c.users[1].ID)
	must(t, err)
	mine, theirs := len(c.mails(t, 0, "Inbox")), len(c.mails(t, 1, "Inbox"))
	for range 2 {
		c.restore(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewMailboxTarget(c.graph, c.users[1].ID, "", "") }, tenantry.RestoreRequest{})
	}
	if got := len(c.mails(t, 1, "Inbox")); got != mine+theirs || mine == 0 {
		t.Errorf("the inbox has %d messages, of %d and %d", got, mine, theirs)
	}
	var again []string
	list, err := c.truth.FolderTruth(c.users[1].ID)
	must(t, err)
	for _, f := range list {
		again = append(again, f.Path)
	}
	unique := slices.Compact(slices.Clone(again))
	if len(unique) != len(again) || len(again) < len(folders) {
		t.Errorf("folders %q", again)
	}
}

func TestAnUnknownConflictIsInvalid(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 1}, graphsim.Options{})
	for _, dst := range []engine.Target{
		workload.NewMailboxTarget(c.graph, c.users[0].ID, "Back", "merge"), workload.NewDriveTarget(c.graph, c.users[0].ID, tenantry.RestoreRequest{Folder: "Back", Conflict: "merge"}),
	} {
		_, err := dst.Folder(t.Context(), "", repository.Entry{}, []byte(`{"id":"x","name":"x","displayName":"x","folder":{}}`))
		if tenantry.KindOf(err) != tenantry.Invalid {
			t.Error(err)
		}
	}
}
