package graphsim

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// A description that makes no sense is refused by the name of its field.
func TestDescriptionsAreChecked(t *testing.T) {
	for want, w := range map[string]World{
		"tenants":            {Tenants: -1},
		"spread is 9":        {Spread: 9},
		"tenant: users":      {Tenant: TenantSpec{Users: -1}},
		"tenant: unlicensed": {Tenant: TenantSpec{Users: 2, Unlicensed: 3}},
		"tenant: noDrive":    {Tenant: TenantSpec{Users: 3, Unlicensed: 2, NoDrive: 2}},
		"tenant: libraries":  {Tenant: TenantSpec{Libraries: 251}},
		"tenant: spread":     {Tenant: TenantSpec{Spread: -1}},
		"tenant: domain":     {Tenant: TenantSpec{Domain: "no domain"}},
		"tenant: id":         {Tenant: TenantSpec{ID: "7"}},
		"tenant: driveQuota": {Tenant: TenantSpec{DriveQuota: -1}},
		"tenant: languages":  {Tenant: TenantSpec{Languages: 9}},
		"tenant: charsets":   {Tenant: TenantSpec{Charsets: 101}},
		"also[0]: domain":    {Also: []TenantSpec{{Users: 1}}},
		"also[1]: domain":    {Also: []TenantSpec{{Domain: "a.example"}, {Domain: "A.example"}}},
		"also: domain":       {Tenants: 2, Also: []TenantSpec{{Domain: "tenant2.example"}}},
	} {
		if err := w.Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want an error of %s", err, want)
		}
	}
	good := World{Tenants: 2, Spread: 1, Tenant: TenantSpec{Users: 10, Unlicensed: 2, NoDrive: 8, Libraries: 250}, Also: []TenantSpec{{Domain: "contoso.example"}}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, o := range map[string]Options{"Clock": {Clock: -1}, "Latency": {Latency: -time.Second}, "PageSize": {PageSize: -1}} {
		if s, err := Start(o); err == nil {
			t.Errorf("%s: started: %v", want, s.Close())
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// A corpus with a folder of files puts them into the first user's drive.
func TestCorpusServesFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "files", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "files", "deep", "a.txt"), []byte("from the corpus"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Start(Options{Corpus: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tenant := s.AddTenant(TenantSpec{Users: 1})
	truth, err := tenant.DriveTruth(tenant.Users()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(truth, func(f FileTruth) bool { return f.Path == "Files/deep/a.txt" && f.Size == 15 }) {
		t.Errorf("the drive holds %v", truth)
	}
}

// What a tenant of 100,000 users with 20,000 mails each costs: at most 32 bytes for each
// user, the indexes by ID included, and nothing of what users have until somebody asks for
// theirs.
func TestWhatNobodyTouchesTakesNoMemory(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const users = 100_000
	tenant := s.AddTenant(TenantSpec{Users: users, MailsPerUser: 20_000, FilesPerUser: 1_000, Groups: 10, Sites: 10})
	before := live()
	tenant.Consent()
	if grown := live() - before; grown > 1<<20 {
		t.Errorf("a tenant nobody asked for took %d bytes", grown)
	}
	someone, drive, site := tenant.Users()[70_000].ID, tenant.Users()[60_000].Drive, tenant.Sites()[50_000].ID
	if m, err := tenant.Members(tenant.Groups()[0].ID); err != nil || len(m) < users/5 {
		t.Fatalf("%d members, %v", len(m), err)
	}
	of, _ := tenant.libraryByDrive(drive)
	if of == nil || tenant.sites.find(site) == nil || tenant.users.find(someone) == nil {
		t.Fatal("what was listed is not there")
	}
	laidOut := live()
	if each := float64(laidOut-before) / users; each > 32 {
		t.Errorf("the directory took %.1f bytes for each user", each)
	}
	if kept := len(tenant.users.seeded.kept) + len(tenant.sites.seeded.kept); kept > 5 {
		t.Errorf("%d users and sites are kept", kept)
	}
	if err := tenant.withMailbox(someone, func(b *mailbox) error { b.content(b.messages[b.seeded]); return nil }); err != nil {
		t.Fatal(err)
	}
	if grown := live() - laidOut; grown > 20<<20 || len(tenant.mailboxes) != 1 || len(tenant.drives) != 0 {
		t.Errorf("one mailbox took %d bytes; %d mailboxes and %d drives are there", grown, len(tenant.mailboxes), len(tenant.drives))
	}
}
