package workload_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// shared is what a restore has to bring back of the permissions of a drive's items.
func (c *company) shared(t *testing.T, drive, below string) []string {
	t.Helper()
	list, err := c.truth.DriveTruth(drive)
	must(t, err)
	var found []string
	for _, f := range list {
		path, ok := strings.CutPrefix(f.Path, below)
		for _, p := range f.Permissions {
			if ok {
				found = append(found, fmt.Sprint(path, p.Roles, p.Grantees, p.LinkType, p.LinkScope))
			}
		}
	}
	slices.Sort(found)
	return found
}

// parts are the names of what is stored of an entry beside its JSON.
func (c *company) parts(t *testing.T, s tenantry.Series, seq int64, id string) (e repository.Entry, names []string) {
	t.Helper()
	snap, err := c.repo.OpenSnapshot(t.Context(), s, seq)
	must(t, err)
	defer snap.Close()
	e, ok, err := snap.Lookup(t.Context(), id)
	must(t, err)
	if !ok {
		t.Fatalf("%s is not in the snapshot", id)
	}
	for _, p := range e.Parts {
		names = append(names, p.Name)
	}
	return e, names
}

// watch counts the requests whose path is like that, by a fault that never strikes.
func (c *company) watch(t *testing.T, path string) func() int {
	t.Helper()
	id, err := c.sim.Inject(graphsim.Fault{Path: path, Status: 500, Nth: 1 << 30})
	must(t, err)
	return func() int {
		for _, f := range c.sim.Faults() {
			if f.ID == id {
				return f.Matched
			}
		}
		return -1
	}
}

// TestDriveKeepsSharing saves permissions of items that have their own, alone, follows them without reading
// the file again, and makes them anew when that is asked for. Nobody is told.
func TestDriveKeepsSharing(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 3, FilesPerUser: 12}, graphsim.Options{})
	s, drive := c.series(0, tenantry.Drive), c.users[0].Drive
	shared, err := c.truth.PutFile(drive, "Plans/shared.txt", []byte("with others"))
	must(t, err)
	_, err = c.truth.ShareFile(drive, "Plans/shared.txt", c.users[1].ID, "write")
	must(t, err)
	_, err = c.truth.LinkFile(drive, "Plans", "view", "organization")
	must(t, err)
	permissions, content := c.watch(t, "/permissions$"), c.watch(t, "^/download/")
	first := c.backup(t, s, c.drive(0), engine.Limits{})
	if n := permissions(); n != 2 {
		t.Errorf("%d requests for permissions, of 2 items that have their own", n)
	}
	_, names := c.parts(t, s, first.Snapshot.Seq, inDrive(drive, shared))
	equal(t, []string{"content", "permissions.json"}, names)
	before := c.shared(t, drive, "")

	downloads := content()
	_, err = c.truth.ShareFile(drive, "Plans/shared.txt", c.users[2].ID, "read")
	must(t, err)
	second := c.backup(t, s, c.drive(0), engine.Limits{})
	if n := content() - downloads; n != 0 {
		t.Errorf("%d downloads for a permission", n)
	}
	after := c.shared(t, drive, "")
	if len(before) != 2 || len(after) != 3 {
		t.Fatalf("%q, then %q", before, after)
	}
	for seq, want := range map[int64][]string{first.Snapshot.Seq: before, second.Snapshot.Seq: after} {
		folder := fmt.Sprint("Back ", seq)
		for range 2 { // twice: none is there twice
			out := c.restore(t, s, seq, func() engine.Target {
				return workload.NewDriveTarget(c.graph, c.users[1].ID, tenantry.RestoreRequest{Folder: folder, Permissions: true})
			}, tenantry.RestoreRequest{})
			if len(out.Problems) > 0 {
				t.Errorf("%+v", out.Problems)
			}
			equal(t, want, c.shared(t, c.users[1].Drive, folder+"/"))
		}
	}
	c.restore(t, s, first.Snapshot.Seq, func() engine.Target {
		return workload.NewDriveTarget(c.graph, c.users[2].ID, tenantry.RestoreRequest{})
	}, tenantry.RestoreRequest{})
	if got := c.shared(t, c.users[2].Drive, ""); len(got) > 0 {
		t.Errorf("nobody wanted %q", got)
	}
	for _, u := range c.users {
		drives, err := c.truth.Drives(u.ID)
		must(t, err)
		if drives[0].Invitations > 0 {
			t.Errorf("%d invitations were sent", drives[0].Invitations)
		}
	}
}

// TestDriveKeepsVersions saves as many old versions as are wanted, and reads none of them twice.
func TestDriveKeepsVersions(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1}, graphsim.Options{})
	s, drive := c.series(0, tenantry.Drive), c.users[0].Drive
	var file string
	write := func(n int) {
		t.Helper()
		var err error
		file, err = c.truth.PutFile(drive, "a.txt", fmt.Appendf(nil, "version %d", n))
		must(t, err)
	}
	src := func() engine.Source {
		return workload.NewDriveSource(c.graph, c.users[0].ID, tenantry.BackupOptions{Versions: 2})
	}
	for n := range 4 {
		write(n)
	}
	content := c.watch(t, "^/download/")
	out := c.backup(t, s, src, engine.Limits{})
	_, names := c.parts(t, s, out.Snapshot.Seq, inDrive(drive, file))
	equal(t, []string{"content", "versions.json", "version/3.0", "version/2.0"}, names)
	downloads := content()
	write(4)
	out = c.backup(t, s, src, engine.Limits{})
	_, names = c.parts(t, s, out.Snapshot.Seq, inDrive(drive, file))
	equal(t, []string{"content", "versions.json", "version/4.0", "version/3.0"}, names)
	if n := content() - downloads; n != 2 {
		t.Errorf("%d downloads: the file and one old version are new", n)
	}
}

// TestOddThingsOfADrive: packages, shortcuts, malware and empty folders are each what they are.
func TestOddThingsOfADrive(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, FilesPerUser: 3}, graphsim.Options{SharePoint: graphsim.SharePointOptions{NotebookContent: true}})
	s, drive := c.series(0, tenantry.Drive), c.users[0].Drive
	notebook, err := c.truth.NewNotebook(drive, "Notes/Diary")
	must(t, err)
	_, err = c.truth.PutFile(c.users[1].Drive, "Theirs/a.txt", []byte("a"))
	must(t, err)
	shortcut, err := c.truth.NewShortcut(drive, "Theirs", c.users[1].Drive, "Theirs")
	must(t, err)
	bad, err := c.truth.PutFile(drive, "bad.exe", []byte("evil"))
	must(t, err)
	must(t, c.truth.InfectFile(drive, "bad.exe"))
	_, err = c.truth.PutFile(drive, "Empty/gone.txt", []byte("x"))
	must(t, err)
	must(t, c.truth.DeleteFile(drive, "Empty/gone.txt"))
	out := c.backup(t, s, c.drive(0), engine.Limits{})
	for id, want := range map[string]string{notebook: "package", shortcut: "shortcut", bad: "file"} {
		e, _ := c.parts(t, s, out.Snapshot.Seq, inDrive(drive, id))
		if e.Kind != want || (e.Problem != "") != (id == bad) {
			t.Errorf("%+v", e)
		}
	}
	restored := c.restore(t, s, out.Snapshot.Seq, func() engine.Target {
		return workload.NewDriveTarget(c.graph, c.users[1].ID, tenantry.RestoreRequest{Folder: "Back"})
	}, tenantry.RestoreRequest{})
	named := func(p engine.Problem) bool {
		return p.ID == inDrive(drive, notebook) && strings.Contains(p.Reason, "restored as a folder")
	}
	if !slices.ContainsFunc(restored.Problems, named) {
		t.Errorf("a notebook came back as a folder, which nobody is told: %+v", restored.Problems)
	}
	for _, p := range restored.Problems {
		if !named(p) && p.ID != inDrive(drive, shortcut) && p.ID != inDrive(drive, bad) && !strings.HasSuffix(p.Name, ".one") && !strings.HasSuffix(p.Name, ".onetoc2") {
			t.Errorf("%+v", p)
		}
	}
	var empty bool
	for _, f := range c.files(t, 1, "Back/") {
		empty = empty || f.Path == "Empty"
	}
	if !empty {
		t.Error("the empty folder is not there")
	}
}

// TestAddressesThatComeWithPages: files are read from where a page says, without asking for each, unless that is
// refused; the addresses are in nothing that is stored.
func TestAddressesThatComeWithPages(t *testing.T) {
	for name, fault := range map[string]graphsim.Fault{"taken": {}, "refused": {Path: "^/download/", Status: 401, Code: "unauthenticated", Every: 3}} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 2, FilesPerUser: 12}, graphsim.Options{})
			asked, read := c.watch(t, "/content$"), c.watch(t, "^/download/")
			refusals := 0
			if fault.Path != "" {
				_, err := c.sim.Inject(fault)
				must(t, err)
			}
			s := c.series(0, tenantry.Drive)
			// One after the other: side by side, both reads of a file might be one in three.
			out := c.backup(t, s, c.drive(0), engine.Limits{Concurrency: 1})
			if refusals = read() - 12; len(out.Problems) > 0 || asked() != refusals || (refusals > 0) != (fault.Path != "") {
				t.Errorf("%d files were asked for, %d of 12 reads refused: %+v", asked(), refusals, out.Problems)
			}
			snap, err := c.repo.OpenSnapshot(t.Context(), s, out.Snapshot.Seq)
			must(t, err)
			defer snap.Close()
			for e, err := range snap.Entries(t.Context()) {
				must(t, err)
				if raw, err := snap.Payload(t.Context(), e); err != nil || strings.Contains(string(raw), "downloadUrl") {
					t.Errorf("%s is stored with an address: %s %v", e.ID, raw, err)
				}
			}
			c.restore(t, s, out.Snapshot.Seq, func() engine.Target {
				return workload.NewDriveTarget(c.graph, c.users[1].ID, tenantry.RestoreRequest{Folder: "Back"})
			}, tenantry.RestoreRequest{})
			equal(t, c.files(t, 0, ""), c.files(t, 1, "Back/"))
		})
	}
}
