package e2e

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/servertest"
)

// region is a second data region of a fleet: a bucket on a server of its own, keys of its own.
type region struct {
	s3   *servertest.S3Server
	file string // regions-file
	keys string
}

// region starts the region's server, and restarts the api with it.
func (f *fleet) region(name string) region {
	f.t.Helper()
	r := region{s3: servertest.S3(f.t), file: filepath.Join(f.dir, "regions.yaml"), keys: filepath.Join(f.dir, "keys-"+name)}
	bucket := fmt.Sprintf("s3://%s/%s?endpoint=%s&region=%s", r.s3.Bucket, name, url.QueryEscape(r.s3.Endpoint), r.s3.Region)
	text := fmt.Sprintf("%s:\n  bucket: %q\n  s3-access-key: %q\n  key-file: %q\n  escrow: none\n  time-zone: Australia/Sydney\n", name, bucket, r.s3.AccessKey, r.keys)
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.restartAPI("TENANTRY_REGIONS_FILE="+r.file, "TENANTRY_REGION_"+strings.ToUpper(name)+"_S3_SECRET_KEY="+r.s3.SecretKey)
	return r
}

// restartAPI starts the api anew with further settings.
func (f *fleet) restartAPI(env ...string) {
	f.t.Helper()
	old := f.started["api"]
	old.stop()
	f.started["api"] = spawn(f.t, "api", old.addr, f.api+"/readyz", append(slices.Clone(f.env), env...), f.program("api"), "-listen", old.addr)
}

// regional starts a worker of a region's pool. It is given nothing of the default region: neither its bucket, nor its
// keys, nor what opens them.
func (f *fleet) regional(r region, name string) *process {
	f.t.Helper()
	return f.worker(name, "TENANTRY_REGION="+name, "TENANTRY_REGIONS_FILE="+r.file,
		"TENANTRY_REGION_"+strings.ToUpper(name)+"_S3_SECRET_KEY="+r.s3.SecretKey,
		"TENANTRY_BUCKET=s3://nowhere", "TENANTRY_KEY_FILE="+filepath.Join(f.dir, "no-keys"),
		"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=")
}

// objects counts the objects in a bucket that a tenant has there.
func objects(t *testing.T, s *servertest.S3Server, of tenant) (n int) {
	t.Helper()
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, string(filepath.Separator)+of.ID+string(filepath.Separator)) {
			n++
		}
		return nil // a file may go while the walk comes by
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Two regions: each tenant's data is in its own bucket alone, put there by its own pool's workers, which have no
// other; what reads finds it; a bucket that is away harms its own tenants alone.
func TestTwoRegions(t *testing.T) {
	f := newFleet(t, "--tenants", "2", "--users", "2", "--mails", "4", "--files-per-user", "1", "--groups", "0", "--sites", "0")
	au := f.region("au")
	sims := f.simTenants()
	f.refused("POST", "/tenants", map[string]any{"name": "A", "directory": sims[1].Domain, "region": "mars"}, 422, "invalid", "body.region")
	f.refused("POST", "/tenants", map[string]any{"name": "A", "directory": sims[1].Domain, "region": "au"}, 422, "invalid", "body.region")
	f.refused("POST", "/pools", map[string]any{"name": "au", "region": "mars"}, 422, "invalid", "body.region")
	f.must("POST", "/pools", map[string]any{"name": "au", "region": "au"}, nil)
	f.refused("POST", "/tenants", map[string]any{"name": "A", "directory": sims[1].Domain, "region": "au", "pool": "main"}, 422, "invalid", "body.pool")
	f.misplaced("au", "works for the region")

	f.scheduler("scheduler")
	f.worker("main")
	f.regional(au, "au")
	home, away := f.add(sims[0]), tenant{sim: sims[1]}
	f.must("POST", "/tenants", map[string]any{"name": sims[1].Name, "directory": sims[1].Domain, "region": "au"}, &away)
	for _, tn := range []*tenant{&home, &away} {
		f.enable(*tn, "mailbox")
		f.consentAs(*tn, tn.sim.ID, "accept")
		f.awaitState(tn, "connected")
		f.awaitWorkload(*tn, "mailbox", "ready")
		user := f.resources(*tn, "kind=user&limit=100")[0]
		f.awaitDone(*tn, f.backupOf(*tn, []string{"mailbox"}, user))
		f.complete(*tn, user, "mailbox", f.latest(*tn, user, "mailbox").Seq)
	}
	if here, there := objects(t, f.s3, home), objects(t, au.s3, home); here == 0 || there != 0 {
		t.Errorf("%s has %d objects in its bucket, and %d in the other region's", home.Name, here, there)
	}
	if here, there := objects(t, au.s3, away), objects(t, f.s3, away); here == 0 || there != 0 {
		t.Errorf("%s has %d objects in its bucket, and %d in the other region's", away.Name, here, there)
	}
	f.refused("PATCH", "/tenants/"+away.ID, map[string]any{"region": "default"}, 409, "conflict", "its backups are there")
	f.refused("PUT", "/tenants/"+away.ID+"/pool", map[string]any{"pool": "main"}, 422, "invalid", "body.pool")
	says(t, "regions", f.run("tenantry", "regions", "list"), "au", "default", "Australia/Sydney")
	says(t, "coverage", f.run("tenantry", "coverage"), "REGION", "(all)", "au", "default")
	says(t, "planning", f.run("tenantry", "policies", "planning", away.ID), "Australia/Sydney", "the region")
	says(t, "planning", f.run("tenantry", "policies", "planning", home.ID), "UTC", "the region")
	says(t, "tenants", f.run("tenantry", "tenants", "show", away.ID), "au")
	f.restoresToAnother(away)
	f.withoutBucket(au, home, away)
}

// misplaced holds that a worker of a region's pool does not start with another region's bucket.
func (f *fleet) misplaced(pool, reason string) {
	f.t.Helper()
	cmd := exec.Command(f.program("worker"), "-listen", servertest.Addr(f.t), "-pool", pool)
	cmd.Env = append(append(os.Environ(), f.env...), "TENANTRY_CLIENT_SECRET="+clientSecret)
	out, err := cmd.CombinedOutput()
	if err == nil {
		f.t.Fatal("a worker started whose pool works for another region")
	}
	says(f.t, "worker", string(out), reason)
}

// restoresToAnother restores a mailbox into that of somebody else.
func (f *fleet) restoresToAnother(tn tenant) {
	f.t.Helper()
	users := f.resources(tn, "kind=user&limit=100")
	to := strings.TrimPrefix(users[1].ID, "u-")
	want := relative(f.truths(tn, strings.TrimPrefix(users[0].ID, "u-"), "mail"))
	f.awaitDone(tn, f.restore(tn, map[string]any{
		"resource": users[0].ID, "workload": "mailbox", "snapshot": f.latest(tn, users[0], "mailbox").Seq, "to": users[1].ID, "folder": "Restored",
	}))
	same(f.t, "mailbox", writable(want), under(f.truths(tn, to, "mail"), "Restored"))
}

// withoutBucket holds that a region whose bucket is away keeps its own tenants waiting, and nobody else, and that
// they go on when it is back.
func (f *fleet) withoutBucket(r region, home, away tenant) {
	f.t.Helper()
	r.s3.Stop()
	waits := f.backupOf(away, []string{"mailbox"}, f.resources(away, "kind=user&limit=100")...)
	f.awaitAlarm("bucket@au", r.s3.Bucket)
	for range 2 { // while the alarm is in force, and after it was probed in vain
		f.awaitDone(home, f.backupOf(home, []string{"mailbox"}, f.resources(home, "kind=user&limit=100")...))
	}
	f.must("GET", "/tenants/"+away.ID+"/runs/"+waits.ID, nil, &waits)
	if waits.State != "running" {
		f.t.Errorf("a backup without its bucket is %s", waits.State)
	}
	r.s3.Start()
	f.awaitDone(away, waits)
}
