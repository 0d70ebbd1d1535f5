package app

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func placeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "places.yaml")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// A region has what its file and the environment say, the rest is the fleet's.
func TestRegionsAreRead(t *testing.T) {
	file := placeFile(t, "au:\n  bucket: s3://au\n  lock-mode: compliance\n  escrow: none\n  s3-access-key: id\neu-1:\n  bucket: s3://eu\n  pool: paris\n  key-file: eu.keys\n  escrow: none\n")
	t.Setenv("TENANTRY_REGION_AU_S3_SECRET_KEY", "hidden")
	t.Setenv("TENANTRY_REGION_EU_1_BUCKET", "s3://from-env")
	c, err := Load(RoleWorker, []string{"-client-id", "id", "-client-secret", "s", "-bucket", "file:home", "-key-file", "home.keys", "-region", "au", "-regions-file", file}, &bytes.Buffer{})
	must(t, err)
	if names := c.RegionNames(); !slices.Equal(names, []string{"default", "au", "eu-1"}) {
		t.Fatalf("regions %v", names)
	}
	au, err := c.In("au")
	must(t, err)
	if au.Bucket != "s3://au" || au.LockMode != "compliance" || au.S3SecretKey.Reveal() != "hidden" || au.KeyFile != "home.keys" || au.pool() != "au" || au.Region != "au" || !au.sameKeys(c) {
		t.Errorf("au is %+v", au)
	}
	eu, err := c.In("eu-1")
	must(t, err)
	if eu.Bucket != "s3://from-env" || eu.LockMode != "" || eu.pool() != "paris" || eu.sameKeys(c) || !eu.S3SecretKey.IsZero() {
		t.Errorf("eu-1 is %+v", eu)
	}
	home, err := c.In("")
	must(t, err)
	if home.Bucket != "file:home" || home.Region != "default" || home.pool() != "main" {
		t.Errorf("default is %+v", home)
	}
	if _, err := c.In("mars"); tenantry.KindOf(err) != tenantry.NotFound {
		t.Errorf("a region that is not there: %v", err)
	}
}

// What is wrong with a region or a cloud is named.
func TestPlacesNameTheKey(t *testing.T) {
	for _, test := range []struct{ regions, clouds, region, want string }{
		{"au:\n  pool: au\n", "", "", "regions-file: au: bucket"},
		{"au:\n  bucket: s3://b\n", "", "au", "regions-file: au: escrow"},
		{"au:\n  bucket: ftp://b\n", "", "", "regions-file: au: bucket"},
		{"au:\n  bucket: file:home\n", "", "", "another one than that of the region default"},
		{"au:\n  bucket: file:b\n  pool: \"../x\"\n", "", "", "regions-file: au: pool"},
		{"au:\n  bucket: file:b\n  slots-backup: 3\n", "", "", "slots-backup is no key of it"},
		{"AU:\n  bucket: file:b\n", "", "", "regions-file: AU: name"},
		{"default:\n  bucket: file:b\n", "", "", "regions-file: default: name"},
		{"au:\n  bucket: file:b\n  time-zone: Sydney\n", "", "", "regions-file: au: time-zone"},
		{"au:\n  bucket: file:b\n  time-zone: Local\n", "", "", "regions-file: au: time-zone"},
		{"au: [1]\n", "", "", "regions-file"},
		{"", "", "mars", "region is \"mars\""},
		{"", "china:\n  client-id: \"\"\n", "", "clouds-file: china: client-id"},
		{"", "mars:\n  client-id: a\n", "", "clouds-file: mars: cloud"},
		{"", "global:\n  client-id: a\n", "", "clouds-file: global: name"},
	} {
		args := []string{"-client-id", "id", "-bucket", "file:home"}
		role := RoleAPI
		if test.region != "" {
			role, args = RoleWorker, append(args, "-client-secret", "s", "-region", test.region)
		}
		if test.regions != "" {
			args = append(args, "-regions-file", placeFile(t, test.regions))
		}
		if test.clouds != "" {
			args = append(args, "-clouds-file", placeFile(t, test.clouds))
		}
		_, err := Load(role, args, &bytes.Buffer{})
		if tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q %q: %v, want %q", test.regions, test.clouds, err, test.want)
		}
	}
}

// A worker needs the credentials of the clouds that it serves, and of no other.
func TestServedClouds(t *testing.T) {
	clouds := placeFile(t, "china:\n  client-id: a\n")
	t.Setenv("TENANTRY_CLOUD_CHINA_CLIENT_SECRET", "")
	for _, test := range []struct {
		serves, secret, china string
		want                  string // "": it is taken
	}{
		{"", "s", "c", ""},
		{"", "s", "", "clouds-file: china: client-secret"},
		{"", "", "c", "client-secret"},
		{"global", "s", "", ""},
		{"china", "", "c", ""},
		{"china", "s", "", "clouds-file: china: client-secret"},
		{"global, china", "s", "c", ""},
		{"gcchigh", "s", "c", "serves-clouds"},
		{"global,", "s", "c", "serves-clouds"},
	} {
		t.Setenv("TENANTRY_CLOUD_CHINA_CLIENT_SECRET", test.china)
		_, err := Load(RoleWorker, []string{"-client-id", "id", "-bucket", "file:home", "-client-secret", test.secret, "-clouds-file", clouds, "-serves-clouds", test.serves}, &bytes.Buffer{})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// A region whose bucket does not open tells workers outside so, keeps its keys, and harms no other.
func TestRegionsBehindTheDoor(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "blocked")
	must(t, os.WriteFile(blocked, nil, 0o600))
	file := placeFile(t, "au:\n  bucket: file:"+filepath.Join(blocked, "au")+"\n  key-file: "+filepath.Join(dir, "au.keys")+"\n")
	c, err := Load(RoleAPI, []string{"-client-id", "id", "-bucket", "file:" + filepath.Join(dir, "home"), "-key-file", filepath.Join(dir, "home.keys"), "-regions-file", file}, &bytes.Buffer{})
	must(t, err)
	all, err := openRegions(t.Context(), c, nil, zap.NewNop())
	must(t, err)
	home, err := all.Store(t.Context(), "default")
	must(t, err)
	must(t, home.Put(t.Context(), "t-here/object", nil))
	for region, code := range map[string]string{"au": "bucket", "mars": "region"} {
		if _, err := all.Store(t.Context(), region); tenantry.KindOf(err) != tenantry.Shared || tenantry.CodeOf(err) != code {
			t.Errorf("the bucket of %s: %v, want it shared, for want of the %s", region, err, code)
		}
	}
	keys, err := all.Keys("au")
	must(t, err)
	wrapped, keyID, err := keys.Wrap(t.Context(), "t-au", make([]byte, 32))
	must(t, err)
	others, err := all.Keys("default")
	must(t, err)
	if _, err := others.Unwrap(t.Context(), "t-au", keyID, wrapped); err == nil {
		t.Error("the default region's keys open what another region's have wrapped")
	}
	if _, err := all.Keys("mars"); tenantry.KindOf(err) != tenantry.Shared {
		t.Errorf("keys of a region that is not there: %v", err)
	}
}

// Tenants follow the time zone of their region, which is that of the fleet for no other region; those that have one of
// their own do not.
func TestTenantsFollowTheirRegionsZone(t *testing.T) {
	cat, err := catalog.Open(t.Context(), catalogtest.SQLite(t))
	must(t, err)
	t.Cleanup(func() { _ = cat.Close() })
	fleet := cat.Fleet()
	for _, region := range []string{"au", "eu"} {
		must(t, fleet.AddPool(t.Context(), catalog.Pool{Name: region, Region: region, AddedAt: time.Now()}))
	}
	for id, region := range map[tenantry.TenantID]string{"t-home": "", "t-au": "au", "t-own": "au", "t-eu": "eu"} {
		must(t, fleet.AddTenant(t.Context(), catalog.TenantRow{ID: id, Directory: string(id) + ".example", Region: region, Pool: cmp.Or(region, catalog.MainPool)}))
	}
	must(t, cat.Tenant("t-own").SetPlanning(t.Context(), catalog.Planning{TimeZone: "UTC"}, time.Now()))
	follows := func(file string, want map[tenantry.TenantID]string) {
		t.Helper()
		c, err := Load(RoleAPI, []string{"-client-id", "id", "-bucket", "file:home", "-time-zone", "Europe/Vienna", "-regions-file", placeFile(t, file)}, &bytes.Buffer{})
		must(t, err)
		for range 2 { // again changes nothing
			must(t, followOnce(t.Context(), cat, c, zap.NewNop()))
		}
		for id, zone := range want {
			p, err := cat.Tenant(id).Planning(t.Context())
			must(t, err)
			if p.TimeZone != zone || p.OfRegion != (id != "t-own") {
				t.Errorf("%s has the zone %s, of its region %v; want %s", id, p.TimeZone, p.OfRegion, zone)
			}
		}
	}
	follows("au:\n  bucket: s3://au\n  time-zone: Australia/Sydney\neu:\n  bucket: s3://eu\n",
		map[tenantry.TenantID]string{"t-home": "Europe/Vienna", "t-au": "Australia/Sydney", "t-own": "UTC", "t-eu": "UTC"})
	follows("au:\n  bucket: s3://au\n  time-zone: Australia/Perth\neu:\n  bucket: s3://eu\n  time-zone: Europe/Paris\n",
		map[tenantry.TenantID]string{"t-home": "Europe/Vienna", "t-au": "Australia/Perth", "t-own": "UTC", "t-eu": "Europe/Paris"})
}

// The files in the manual are files that programs take.
func TestManualsPlaces(t *testing.T) {
	manual, err := os.ReadFile("../../docs/OPERATIONS.md")
	must(t, err)
	seen := map[string]bool{}
	for _, block := range strings.Split(string(manual), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		key := map[string]string{"au:": "-regions-file", "china:": "-clouds-file"}[strings.SplitN(text, "\n", 2)[0]]
		if key == "" {
			continue
		}
		seen[key] = true
		c, err := Load(RoleAPI, []string{"-client-id", "id", "-bucket", "file:home", key, placeFile(t, text)}, &bytes.Buffer{})
		must(t, err)
		if len(c.regions)+len(c.clouds) != 1 {
			t.Errorf("%s has %d regions and %d clouds", key, len(c.regions), len(c.clouds))
		}
	}
	if len(seen) != 2 {
		t.Errorf("the manual has examples of %v", seen)
	}
}
