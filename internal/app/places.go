package app

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"
	"gopkg.in/yaml.v3"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A fleet has one region, default, and one cloud, unless files name more of them:
//
//	# regions.yaml               # clouds.yaml
//	au:                          china:
//	  bucket: s3://...             client-id: ...
//	  pool: sydney                 certificate: china.pem
//
// Each has the keys of the configuration that differ there. An environment variable is stronger than the file:
// TENANTRY_REGION_AU_BUCKET, TENANTRY_CLOUD_CHINA_CLIENT_SECRET.

// storageFlags are the keys of a region's storage.
func (c *Config) storageFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Bucket, "bucket", c.Bucket,
		"`URL` of the storage: file:FOLDER, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME with credentials from AWS_* as usual")
	fs.StringVar(&c.S3AccessKey, "s3-access-key", c.S3AccessKey, "`ID` of the key that opens an S3 bucket, instead of credentials from AWS_*")
	fs.Var((*secretFlag)(&c.S3SecretKey), "s3-secret-key", "`SECRET` of s3-access-key; better in the environment or the file than on the command line")
	fs.StringVar(&c.LockMode, "lock-mode", c.LockMode, "`MODE` of object locks on everything that is written: empty (none), governance or compliance; needs a bucket made with object locks")
	fs.DurationVar(&c.LockFor, "lock-for", c.LockFor, "`TIME` that objects are locked from their last use on: as long as the longest snapshot is to be kept")
	fs.StringVar(&c.KeyFile, "key-file", c.KeyFile, "`FILE` with the wrapping key of every tenant; without it no backup can be read: keep a copy elsewhere")
	fs.StringVar(&c.KMSFleet, "kms-fleet", c.KMSFleet, "`NAME` of this fleet in AWS KMS, which then holds the wrapping keys instead of key-file")
	fs.StringVar(&c.KMSRegion, "kms-region", c.KMSRegion, "`REGION` of KMS; empty: as AWS programs find it")
	fs.StringVar(&c.KMSEndpoint, "kms-endpoint", c.KMSEndpoint, "`URL` of KMS instead of AWS's own")
	fs.StringVar(&c.Escrow, "escrow", c.Escrow, "`FILE` with the receipt of a tested escrow copy of the keys (tenantry keys check-escrow), or none to run without; a worker on a bucket needs either")
}

// regionFlags are the keys of a region in the regions file.
func (c *Config) regionFlags(fs *flag.FlagSet) {
	c.storageFlags(fs)
	fs.StringVar(&c.Pool, "pool", c.Pool, "")
	fs.StringVar(&c.TimeZone, "time-zone", c.TimeZone, "")
}

// cloudFlags are the keys of the application in a cloud.
func (c *Config) cloudFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.GraphURL, "graph-url", c.GraphURL, "`URL` of Graph instead of the cloud's, for a simulator")
	fs.StringVar(&c.LoginURL, "login-url", c.LoginURL, "`URL` of the login host instead of the cloud's, for a simulator")
	fs.StringVar(&c.ClientID, "client-id", c.ClientID, "`ID` of the Entra application (api, worker, scheduler); no secret")
	fs.Var((*secretFlag)(&c.ClientSecret), "client-secret", "`SECRET` of the application (worker); better in the environment or the file than on the command line")
	fs.StringVar(&c.ClientSecretEnds, "client-secret-ends", c.ClientSecretEnds, "`DATE` on which client-secret ends (YYYY-MM-DD), as Entra shows it: you are warned 30 days and a week before (worker)")
	fs.StringVar(&c.Certificate, "certificate", c.Certificate, "PEM `FILE` with the application's certificate and key, instead of a secret (worker)")
	fs.StringVar(&c.FederatedTokenFile, "federated-token-file", c.FederatedTokenFile, "`FILE` with a token of an issuer that the application trusts, read for every sign-in, instead of a secret; tenants' federated credentials use it, too (worker)")
}

// readPlaces reads the files that name more regions and clouds.
func (c *Config) readPlaces() error {
	regions, err := readPlaceFile("regions-file", c.RegionsFile)
	if err != nil {
		return err
	}
	clouds, err := readPlaceFile("clouds-file", c.CloudsFile)
	if err != nil {
		return err
	}
	base := *c
	base.regions, base.clouds = nil, nil
	c.regions, c.clouds = map[string]Config{}, map[string]Config{}
	for name, keys := range regions {
		r := base
		r.Region, r.Bucket, r.S3AccessKey, r.S3SecretKey, r.Pool = name, "", "", tenantry.Secret{}, name
		r.TimeZone = ""
		fs := flag.NewFlagSet("regions-file: "+name, flag.ContinueOnError)
		r.regionFlags(fs)
		if err := place(fs, "TENANTRY_REGION_", name, keys); err != nil {
			return err
		}
		c.regions[name] = r
	}
	for name, keys := range clouds {
		at := base
		at.Cloud, at.GraphURL, at.LoginURL, at.ClientID, at.ClientSecret = name, "", "", "", tenantry.Secret{}
		at.ClientSecretEnds, at.Certificate, at.FederatedTokenFile = "", "", ""
		fs := flag.NewFlagSet("clouds-file: "+name, flag.ContinueOnError)
		at.cloudFlags(fs)
		if err := place(fs, "TENANTRY_CLOUD_", name, keys); err != nil {
			return err
		}
		c.clouds[name] = at
	}
	return nil
}

// place sets the keys of one region or cloud: the environment first, then what the file has beside it.
func place(fs *flag.FlagSet, prefix, name string, keys map[string]string) error {
	fs.SetOutput(io.Discard)
	env := prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	if err := ff.Parse(fs, nil, ff.WithEnvVarPrefix(env)); err != nil {
		return tenantry.Errorf(tenantry.Invalid, "configuration: %s: %w", fs.Name(), err)
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if fs.Lookup(key) == nil {
			return tenantry.Errorf(tenantry.Invalid, "configuration: %s: %s is no key of it", fs.Name(), key)
		}
		if given[key] {
			continue
		}
		if err := fs.Set(key, keys[key]); err != nil {
			return tenantry.Errorf(tenantry.Invalid, "configuration: %s: %s cannot be what the file says", fs.Name(), key)
		}
	}
	return nil
}

func readPlaceFile(key, file string) (map[string]map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	var places map[string]map[string]string
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, &places)
	}
	if err != nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "configuration: %s is %q; it may be the path of a readable YAML file, names with keys of the configuration each: %w", key, file, err)
	}
	return places, nil
}

// validatePlaces checks the regions and clouds that the files name. A worker needs those it is for, and no other.
func (c Config) validatePlaces(role Role, bad complain) {
	for _, name := range slices.Sorted(maps.Keys(c.regions)) {
		if role == RoleWorker && name != c.Region {
			continue
		}
		c.validateRegion(name, role, func(key, value, may string) { bad("regions-file: "+name+": "+key, value, may) })
	}
	for _, name := range slices.Sorted(maps.Keys(c.clouds)) {
		at := c.clouds[name]
		bad := func(key, value, may string) { bad("clouds-file: "+name+": "+key, value, may) }
		if name == c.Cloud {
			bad("name", name, "another cloud than the fleet's own, which is cloud")
		}
		if at.ClientID == "" {
			bad("client-id", "", "the application (client) ID that Entra shows in that cloud")
		}
		at.validateGraph(bad)
		if role == RoleWorker && c.serves(name) {
			at.validateCredential(bad)
		}
	}
	for name := range strings.SplitSeq(c.ServesClouds, ",") {
		if _, known := c.at(strings.TrimSpace(name)); c.ServesClouds != "" && (!known || strings.TrimSpace(name) == "") {
			bad("serves-clouds", c.ServesClouds, "empty, or some of "+strings.Join(c.cloudNames(), ", "))
			break
		}
	}
	if _, err := c.In(c.DefaultRegion); err != nil {
		bad("default-region", c.DefaultRegion, c.regionNames())
	}
	if _, err := c.In(c.Region); err != nil {
		bad("region", c.Region, c.regionNames())
	}
}

func (c Config) validateRegion(name string, role Role, bad complain) {
	r := c.regions[name]
	if !poolName.MatchString(name) || name == catalog.DefaultRegion {
		bad("name", name, "lower-case letters, digits and dashes, at most 40; default is the one of the keys beside the file")
	}
	if !poolName.MatchString(r.Pool) {
		bad("pool", r.Pool, "a name of lower-case letters, digits and dashes, at most 40")
	}
	validateZone(r.TimeZone, bad)
	r.validateStorage(bad)
	if role == RoleWorker {
		r.validateEscrow(bad)
	}
	where := func(c Config) string { url, _, _ := strings.Cut(c.Bucket, "?"); return strings.TrimRight(url, "/") }
	others := maps.Clone(c.regions)
	others[catalog.DefaultRegion] = c
	for _, other := range slices.Sorted(maps.Keys(others)) {
		if other != name && others[other].Bucket != "" && others[other].S3AccessKey == r.S3AccessKey && sameEndpoint(r.Bucket, others[other].Bucket) && where(others[other]) == where(r) {
			bad("bucket", redactURL(r.Bucket), "another one than that of the region "+other)
		}
	}
}

// validateZone checks the name of a time zone; "" is none.
func validateZone(name string, bad complain) {
	if zone, err := time.LoadLocation(name); err != nil || zone == time.Local {
		bad("time-zone", name, "the IANA name of a time zone, for example Australia/Sydney")
	}
}

// sameEndpoint reports whether two storage URLs have the same parameters.
func sameEndpoint(a, b string) bool {
	_, a, _ = strings.Cut(a, "?")
	_, b, _ = strings.Cut(b, "?")
	return a == b
}

func (c Config) regionNames() string {
	return fmt.Sprintf("one of %s: regions-file names others", strings.Join(c.RegionNames(), ", "))
}

// RegionNames lists the data regions that the configuration has, the default one first.
func (c Config) RegionNames() []string {
	return append([]string{catalog.DefaultRegion}, slices.Sorted(maps.Keys(c.regions))...)
}

// In returns the configuration as it is in a data region: its storage, its keys, its pool. "" is the default region.
// NotFound: there is none of that name.
func (c Config) In(region string) (Config, error) {
	if region == "" || region == catalog.DefaultRegion {
		c.Region = catalog.DefaultRegion
		return c, nil
	}
	r, ok := c.regions[region]
	if !ok {
		return Config{}, &tenantry.Error{Kind: tenantry.NotFound, Code: "region", Err: fmt.Errorf("the data region %q is not in this program's configuration", region)}
	}
	r.regions, r.clouds = c.regions, c.clouds
	if c.Pool != "" {
		r.Pool = c.Pool
	}
	return r, nil
}

// poolOf is the pool that a region's tenants get who name none.
func (c Config) poolOf(region string) string {
	if r, ok := c.regions[region]; ok {
		return r.Pool
	}
	return catalog.MainPool
}

// pool is the one whose work a worker does.
func (c Config) pool() string { return cmp.Or(c.Pool, catalog.MainPool) }

// cloudNames lists the clouds in which the fleet has an application, its own first.
func (c Config) cloudNames() []string {
	return append([]string{c.Cloud}, slices.Sorted(maps.Keys(c.clouds))...)
}

// serves reports whether a worker serves the tenants in a cloud of cloudNames.
func (c Config) serves(cloud string) bool {
	if c.ServesClouds == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(c.ServesClouds, ","), func(name string) bool { return strings.TrimSpace(name) == cloud })
}

// at returns the configuration as it is in a cloud; "" is the fleet's own.
func (c Config) at(cloud string) (Config, bool) {
	if cloud == "" || cloud == c.Cloud {
		return c, true
	}
	in, ok := c.clouds[cloud]
	return in, ok
}

// sameKeys reports whether the region's keys are those of the whole fleet, by which the provider's own credentials
// in the catalog are wrapped.
func (c Config) sameKeys(fleet Config) bool {
	return c.KeyFile == fleet.KeyFile && c.KMSFleet == fleet.KMSFleet && c.KMSRegion == fleet.KMSRegion && c.KMSEndpoint == fleet.KMSEndpoint
}
