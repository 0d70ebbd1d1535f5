package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// maxFailures is how many problems a rescue prints for one series.
const maxFailures = 20

// rescue restores from a bucket and a key alone: no SQL, no Redis, no API.
type rescue struct {
	output
	from, key          string
	kmsFleet, kmsURL   string
	kmsRegion          string
	tenant             string
	resource, workload string
	snapshot           int64
	items              []string
	to                 string
	json, resume       bool
	check              string

	out   io.Writer
	store blob.Store
	ring  repository.Keyring
}

func rescueCommand() *cobra.Command {
	var r rescue
	command := &cobra.Command{
		Use:   "rescue --from URL --key FILE [TENANT [RESOURCE [WORKLOAD]]]",
		Short: "Restore from a bucket and a key alone, when everything else is lost",
		Long: "Needs the bucket and the keys, nothing else: no SQL, no Redis, no API. It only reads the bucket.\n\n" +
			"Without --to it lists: which tenants the keys open, a tenant's series, a series' snapshots.\n" +
			"With --to it restores into a folder: mail as .eml, events as .ics, contacts as .vcf, files as they were,\n" +
			"and what has no such form as the .json that Microsoft sent.",
		Example: "  tenantry rescue --from s3://backups/fleet --key tenantry.keys\n" +
			"  tenantry rescue --from file:backups --key escrow.json TENANT u-1234 mailbox --to rescued",
		Args: cobra.MaximumNArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.out = cmd.OutOrStdout()
			r.tenant, r.resource, r.workload = arg(args, 0), arg(args, 1), arg(args, 2)
			return r.run(cmd.Context())
		},
	}
	flags := command.Flags()
	r.addFlags(flags)
	flags.StringVar(&r.from, "from", "", "`URL` of the storage: s3://BUCKET/PREFIX?endpoint=URL&region=NAME (credentials from AWS_*), or file:FOLDER")
	flags.StringVar(&r.key, "key", "", "`FILE` with the keys: the key file, a copy of it, or an escrow copy")
	flags.StringVar(&r.kmsFleet, "kms-fleet", "", "instead of a file: `NAME` of the fleet whose keys are in AWS KMS")
	flags.StringVar(&r.kmsRegion, "kms-region", "", "`REGION` of KMS")
	flags.StringVar(&r.kmsURL, "kms-endpoint", "", "`URL` of KMS instead of AWS's own")
	flags.StringVar(&r.to, "to", "", "restore into this `FOLDER`")
	flags.Int64Var(&r.snapshot, "snapshot", 0, "`NUMBER` of the snapshot (default the newest)")
	flags.StringArrayVar(&r.items, "item", nil, "`ID` of a folder or item, repeatable (default everything)")
	flags.BoolVar(&r.json, "json", false, "write the JSON that Microsoft sent beside every item, too")
	flags.BoolVar(&r.resume, "resume", false, "go on in a folder that a rescue has begun to fill: what is there stays")
	flags.StringVar(&r.check, "check", "", "instead of restoring, check the chosen snapshots: quick (every object is there) or full (every byte)")
	_ = command.MarkFlagRequired("from")
	return command
}

func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func (r *rescue) run(ctx context.Context) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	defer func() {
		if c, ok := r.store.(io.Closer); ok {
			_ = c.Close()
		}
	}()
	if r.tenant == "" {
		return r.tenants(ctx)
	}
	repo, err := repository.OpenExisting(ctx, r.store, r.ring, tenantry.TenantID(r.tenant))
	if err != nil {
		return err
	}
	all, err := repo.List(ctx)
	if err != nil {
		return err
	}
	var chosen []tenantry.Series
	for _, s := range all {
		if (r.resource == "" || s.Resource == tenantry.ResourceID(r.resource)) && (r.workload == "" || s.Workload == tenantry.Workload(r.workload)) {
			chosen = append(chosen, s)
		}
	}
	switch {
	case len(chosen) == 0:
		return tenantry.Errorf(tenantry.NotFound, "tenant %s has no such series: leave RESOURCE and WORKLOAD away to see what there is", r.tenant)
	case r.check != "" && r.to != "":
		return tenantry.Errorf(tenantry.Invalid, "give either --check or --to")
	case r.check != "":
		return r.each(ctx, chosen, func(s tenantry.Series) error { return r.verify(ctx, repo, s) })
	case r.to != "":
		return r.restoreAll(ctx, repo, chosen)
	case len(chosen) == 1 && r.resource != "":
		return r.snapshots(ctx, repo, chosen[0])
	}
	return r.series(ctx, repo, chosen)
}

// open opens bucket and keys for reading.
func (r *rescue) open(ctx context.Context) (err error) {
	if (r.key == "") == (r.kmsFleet == "") {
		return tenantry.Errorf(tenantry.Invalid, "give either --key FILE or --kms-fleet NAME")
	}
	if r.key != "" {
		r.ring, err = repository.OpenKeys(r.key)
	} else {
		r.ring, err = repository.OpenKMS(ctx, repository.KMSOptions{Fleet: r.kmsFleet, Region: r.kmsRegion, Endpoint: r.kmsURL})
	}
	if err != nil {
		return err
	}
	from, err := storageURL(r.from)
	if err != nil {
		return err
	}
	r.store, err = blob.Open(ctx, from, blob.S3Options{ReadOnly: true})
	return err
}

// storageURL takes a folder as people write it, which must exist: a typing error should
// not make an empty one.
func storageURL(from string) (string, error) {
	if u, err := url.Parse(from); err == nil && u.Scheme == "s3" {
		return from, nil
	}
	dir, err := filepath.Abs(strings.TrimPrefix(strings.TrimPrefix(from, "file://"), "file:"))
	if err != nil {
		return "", tenantry.E(tenantry.Invalid, "find the folder", err)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", tenantry.Errorf(tenantry.NotFound, "there is no folder %s", dir)
	}
	return (&url.URL{Scheme: "file", Path: dir}).String(), nil
}

// tenants says which tenants the keys open, and why not the others.
func (r *rescue) tenants(ctx context.Context) error {
	tenants, err := repository.Tenants(ctx, r.store)
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(tenants))
	for _, t := range tenants {
		repo, err := repository.OpenExisting(ctx, r.store, r.ring, t)
		switch tenantry.KindOf(err) {
		case tenantry.WrongKey, tenantry.Corrupt:
			rows = append(rows, []string{string(t), "no", "", err.Error()})
			continue
		}
		if err != nil {
			return err
		}
		series, err := repo.List(ctx)
		if err != nil {
			return err
		}
		rows = append(rows, []string{string(t), "yes", count(int64(len(series))), ""})
	}
	return r.rows(r.out, "TENANT OPENS SERIES WHY", rows)
}

func (r *rescue) series(ctx context.Context, repo *repository.Repository, all []tenantry.Series) error {
	rows := make([][]string, 0, len(all))
	for _, s := range all {
		live, err := repo.Snapshots(ctx, s)
		switch {
		case tenantry.KindOf(err) == tenantry.Corrupt:
			rows = append(rows, []string{string(s.Resource), string(s.Workload), "", "", "", err.Error()})
		case err != nil:
			return err
		case len(live) == 0:
			rows = append(rows, []string{string(s.Resource), string(s.Workload), "0", "", "", "never completed"})
		default:
			rows = append(rows, []string{string(s.Resource), string(s.Workload), count(int64(len(live))), when(live[0].Time), count(live[0].Counts.Items), ""})
		}
	}
	return r.rows(r.out, "RESOURCE WORKLOAD SNAPSHOTS NEWEST ITEMS PROBLEM", rows)
}

func (r *rescue) snapshots(ctx context.Context, repo *repository.Repository, s tenantry.Series) error {
	live, err := repo.Snapshots(ctx, s)
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(live))
	for _, one := range live {
		rows = append(rows, []string{count(one.Seq), when(one.Time), count(one.Counts.Items), byteSize(one.Counts.Bytes), count(one.Counts.Skipped)})
	}
	return r.rows(r.out, "SNAPSHOT TIME ITEMS BYTES SKIPPED", rows)
}

// restoreAll restores one series after the other; one that fails does not keep the rest.
func (r *rescue) restoreAll(ctx context.Context, repo *repository.Repository, all []tenantry.Series) error {
	if len(all) > 1 && (r.snapshot != 0 || len(r.items) > 0) {
		return tenantry.Errorf(tenantry.Invalid, "--snapshot and --item are of one series: name RESOURCE and WORKLOAD")
	}
	return r.each(ctx, all, func(s tenantry.Series) error { return r.restore(ctx, repo, s) })
}

// each does one thing with every series, whatever becomes of the others.
func (r *rescue) each(ctx context.Context, all []tenantry.Series, do func(tenantry.Series) error) error {
	var failed []error
	for _, s := range all {
		if err := do(s); err != nil {
			if ctx.Err() != nil {
				return err
			}
			failed = append(failed, err)
			_, _ = fmt.Fprintf(r.out, "%s: %v\n", s, err)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d series are not whole: %w", len(failed), len(all), errors.Join(failed...))
	}
	return nil
}

// restore brings one snapshot into <to>/<tenant>/<resource>/<workload>/<snapshot>.
func (r *rescue) restore(ctx context.Context, repo *repository.Repository, s tenantry.Series) error {
	seq, err := r.chosen(ctx, repo, s)
	if err != nil || seq == 0 {
		return err
	}
	snap, err := repo.OpenSnapshot(ctx, s, seq)
	if err != nil {
		return err
	}
	defer snap.Close()
	dir := filepath.Join(r.to, string(s.Tenant), string(s.Resource), string(s.Workload), fmt.Sprint(seq))
	if err := r.folder(dir); err != nil {
		return err
	}
	target, err := engine.NewFolderTarget(dir, r.json)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	out, err := engine.Restore(ctx, snap, target, tenantry.RestoreRequest{Items: r.items}, rescueLimits(), nil, func(tenantry.Counts) {})
	for !out.Done && err == nil { // a slice is over: what was written is found, and the rest goes on
		out, err = engine.Restore(ctx, snap, target, tenantry.RestoreRequest{Items: r.items}, rescueLimits(), nil, func(tenantry.Counts) {})
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(r.out, "%s: %d items of snapshot %d restored into %s\n", s, out.Counts.Items, seq, dir)
	return r.problems(s, out)
}

// chosen is the snapshot that was asked for; 0 if the series has none.
func (r *rescue) chosen(ctx context.Context, repo *repository.Repository, s tenantry.Series) (int64, error) {
	if r.snapshot != 0 {
		return r.snapshot, nil
	}
	live, err := repo.Snapshots(ctx, s)
	if err != nil {
		return 0, err
	}
	if len(live) == 0 {
		_, _ = fmt.Fprintf(r.out, "%s: no snapshot was ever completed\n", s)
		return 0, nil
	}
	return live[0].Seq, nil
}

// verify checks one snapshot.
func (r *rescue) verify(ctx context.Context, repo *repository.Repository, s tenantry.Series) error {
	check := map[string]func(context.Context, tenantry.Series, int64, func(repository.Problem)) (repository.Checked, error){
		"quick": repo.CheckQuick, "full": repo.Check,
	}[r.check]
	if check == nil {
		return tenantry.Errorf(tenantry.Invalid, "--check is %q; it may be quick or full", r.check)
	}
	seq, err := r.chosen(ctx, repo, s)
	if err != nil || seq == 0 {
		return err
	}
	done, err := check(ctx, s, seq, func(p repository.Problem) {
		_, _ = fmt.Fprintf(r.out, "  damaged: %s (%s): %s\n", visible(cmp.Or(p.Name, "no name")), p.Item, p.Reason)
	})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(r.out, "%s: snapshot %d, %d items, %s read, %d faults\n", s, seq, done.Items, byteSize(done.Bytes), done.Faults)
	if done.Faults > 0 {
		return tenantry.Errorf(tenantry.Corrupt, "%s: %d faults in snapshot %d", s, done.Faults, seq)
	}
	return nil
}

func rescueLimits() engine.Limits { return engine.Limits{Concurrency: 8} }

// folder makes a folder that is empty, or as a rescue left it.
func (r *rescue) folder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tenantry.E(tenantry.Invalid, "make folder "+dir, err)
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return tenantry.E(tenantry.Invalid, "look into folder "+dir, err)
	}
	if len(there) > 0 && !r.resume {
		return tenantry.Errorf(tenantry.Conflict, "folder %s is not empty: take another one, or give --resume to go on where a rescue stopped", dir)
	}
	return nil
}

// problems prints what could not be restored, and fails if there is anything.
func (r *rescue) problems(s tenantry.Series, out engine.Outcome) error {
	for i, p := range out.Problems {
		if i == maxFailures {
			_, _ = fmt.Fprintf(r.out, "  and %d more\n", out.Counts.Skipped-maxFailures)
			break
		}
		_, _ = fmt.Fprintf(r.out, "  not restored: %s (%s): %s\n", visible(cmp.Or(p.Name, "no name")), p.ID, p.Reason)
	}
	if out.Counts.Skipped > 0 {
		return tenantry.Errorf(tenantry.Corrupt, "%s: %d items could not be restored", s, out.Counts.Skipped)
	}
	return nil
}
