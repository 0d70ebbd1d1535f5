package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// vaultWith makes a bucket with one drive of one file and returns where it and its keys are.
func vaultWith(t *testing.T) (bucket, keys string) {
	t.Helper()
	dir := t.TempDir()
	bucket, keys = "file://"+filepath.Join(dir, "bucket"), filepath.Join(dir, "tenantry.keys")
	store, err := blob.Open(t.Context(), bucket, blob.S3Options{})
	must(t, err)
	ring, err := repository.OpenKeyFile(keys, true)
	must(t, err)
	repo, err := repository.Open(t.Context(), store, ring, "t-1")
	must(t, err)
	w, err := repo.Begin(t.Context(), tenantry.Series{Tenant: "t-1", Resource: "u-1", Workload: "drive"}, repository.Fence{Epoch: 1, Task: "task-1"})
	must(t, err)
	defer w.Close()
	part, err := w.PutContent(t.Context(), strings.NewReader("what was saved"))
	must(t, err)
	part.Name = "content"
	raw, err := w.PutPayload(t.Context(), []byte(`{"name":"report.txt"}`))
	must(t, err)
	must(t, w.Put(t.Context(), repository.Entry{ID: "f", Kind: "folder", Name: "Plans"}))
	must(t, w.Put(t.Context(), repository.Entry{ID: "i", Parent: "f", Kind: "file", Name: "report.txt", ETag: "1", Payload: raw, Parts: []repository.Part{part}}))
	_, err = w.Seal(t.Context(), time.Now())
	must(t, err)
	return bucket, keys
}

// direct executes a command line that talks to no fleet.
func direct(t *testing.T, line ...string) (string, error) {
	t.Helper()
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(line)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func says(t *testing.T, words []string, line ...string) {
	t.Helper()
	out, err := direct(t, line...)
	if err != nil {
		t.Fatalf("tenantry %s: %v\n%s", strings.Join(line, " "), err, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("tenantry %s does not say %q:\n%s", strings.Join(line, " "), w, out)
		}
	}
}

func fails(t *testing.T, kind tenantry.Kind, word string, line ...string) {
	t.Helper()
	out, err := direct(t, line...)
	if tenantry.KindOf(err) != kind || !strings.Contains(err.Error(), word) {
		t.Errorf("tenantry %s: %v (%s), expected %s with %q\n%s", strings.Join(line, " "), err, tenantry.KindOf(err), kind, word, out)
	}
}

func TestRescue(t *testing.T) {
	bucket, keys := vaultWith(t)
	to := filepath.Join(t.TempDir(), "out")
	says(t, []string{"t-1", "yes", "1"}, "rescue", "--from", bucket, "--key", keys)
	says(t, []string{"u-1", "drive"}, "rescue", "--from", bucket, "--key", keys, "t-1")
	says(t, []string{"SNAPSHOT", "1"}, "rescue", "--from", bucket, "--key", keys, "t-1", "u-1", "drive")
	says(t, []string{"1 items of snapshot 1"}, "rescue", "--from", bucket, "--key", keys, "t-1", "--to", to)
	got, err := os.ReadFile(filepath.Join(to, "t-1", "u-1", "drive", "1", "Plans", "report.txt"))
	if err != nil || string(got) != "what was saved" {
		t.Errorf("rescued %q, %v", got, err)
	}
	fails(t, tenantry.Conflict, "not empty", "rescue", "--from", bucket, "--key", keys, "t-1", "--to", to)
	says(t, []string{"restored into"}, "rescue", "--from", bucket, "--key", keys, "t-1", "--to", to, "--resume")
	for _, how := range []string{"quick", "full"} {
		says(t, []string{"snapshot 1, 2 items", " 0 faults"}, "rescue", "--from", bucket, "--key", keys, "t-1", "--check", how)
	}
	fails(t, tenantry.Invalid, "quick or full", "rescue", "--from", bucket, "--key", keys, "t-1", "--check", "slow")
	fails(t, tenantry.NotFound, "no such series", "rescue", "--from", bucket, "--key", keys, "t-1", "u-2")
	fails(t, tenantry.NotFound, "no folder", "rescue", "--from", "file:/nowhere/at/all", "--key", keys)
	fails(t, tenantry.NotFound, "key file", "rescue", "--from", bucket, "--key", keys+".lost")
	_, otherKeys := vaultWith(t)
	says(t, []string{"t-1", "no", "no wrapping key"}, "rescue", "--from", bucket, "--key", otherKeys)
}

func TestKeys(t *testing.T) {
	bucket, keys := vaultWith(t)
	at := func(line ...string) []string {
		return append([]string{"keys", "--bucket", bucket, "--key-file", keys}, line...)
	}
	dir := t.TempDir()
	copied, receipt := filepath.Join(dir, "escrow"), filepath.Join(dir, "receipt")
	says(t, []string{"t-1", "yes"}, at("list")...)
	says(t, []string{"generation             2", "earlier wrapping keys"}, at("rotate", "t-1")...)
	says(t, []string{"data keys", "2"}, at("rotate", "t-1", "--data")...)
	says(t, []string{"destroyed file-"}, at("retire", "t-1")...)
	says(t, []string{"keys of 1 tenants"}, at("escrow", "--to", copied)...)
	says(t, []string{"recovers all 1"}, at("check-escrow", "--from", copied, "--receipt", receipt)...)
	if text, err := os.ReadFile(receipt); err != nil || !strings.Contains(string(text), "t-1") {
		t.Errorf("receipt: %s, %v", text, err)
	}
	cert := filepath.Join(dir, "cert.json")
	fails(t, tenantry.Invalid, "--confirm t-1", at("shred", "t-1", "--certificate", cert)...)
	says(t, []string{"Certificate of destruction", "Destroyed  wrapping key file-", "no longer opens"},
		at("shred", "t-1", "--confirm", "t-1", "--certificate", cert, "--sign-key", filepath.Join(dir, "sign.pem"))...)
	fails(t, tenantry.WrongKey, "1 of 1", at("list")...)
	says(t, []string{"Signed by", "Certificate of destruction"}, "keys", "verify-certificate", cert)
	text, err := os.ReadFile(cert)
	must(t, err)
	must(t, os.WriteFile(cert, bytes.Replace(text, []byte(`"tenant":"t-1"`), []byte(`"tenant":"t-2"`), 1), 0o600))
	fails(t, tenantry.Corrupt, "was changed", "keys", "verify-certificate", cert)
	// An escrow copy of before still opens it: the certificate says so.
	says(t, []string{"t-1", "yes"}, "rescue", "--from", bucket, "--key", copied)
}

func TestRebuildSnapshots(t *testing.T) {
	bucket, keys := vaultWith(t)
	dsn := catalogtest.SQLite(t)
	cat, err := catalog.Open(t.Context(), dsn)
	must(t, err)
	stale := catalog.SnapshotRow{Seq: 1, Time: time.Now(), Task: "task-0", Counts: tenantry.Counts{Items: 99}}
	must(t, cat.Tenant("t-1").MirrorSnapshots(t.Context(), "u-1", tenantry.Drive, []catalog.SnapshotRow{stale}))
	must(t, cat.Close())
	rebuild := []string{"snapshots", "rebuild", "--bucket", bucket, "--key-file", keys, "--catalog", dsn}
	fails(t, tenantry.Corrupt, "1 of 1 tenants", rebuild...)
	fails(t, tenantry.Invalid, "is not TENANT=DIRECTORY", append(rebuild, "--adopt", "t-1")...)
	says(t, []string{"t-1", "1"}, append(rebuild, "--adopt", "t-1=Contoso.example=Contoso Ltd")...)
	says(t, []string{"t-1", "1"}, rebuild...) // it is known now
	cat, err = catalog.Open(t.Context(), dsn)
	must(t, err)
	defer cat.Close()
	rows, err := cat.Tenant("t-1").Snapshots(t.Context(), "u-1", tenantry.Drive, 0, 0)
	if err != nil || len(rows) != 1 || rows[0].Task != "task-1" || rows[0].Counts.Items != 1 {
		t.Errorf("mirrored: %+v, %v", rows, err)
	}
	row, err := cat.Tenant("t-1").Get(t.Context())
	if err != nil || row.Name != "Contoso Ltd" || row.Directory != "contoso.example" || row.State != tenantry.TenantPending {
		t.Errorf("adopted: %+v, %v", row, err)
	}
	r, err := cat.Tenant("t-1").Resource(t.Context(), "u-1")
	if err != nil || r.Kind != tenantry.User || r.State != tenantry.Gone || r.ObjectID != "1" {
		t.Errorf("adopted: %+v, %v", r, err)
	}
	_, otherKeys := vaultWith(t)
	fails(t, tenantry.Corrupt, "1 of 1 tenants", "snapshots", "rebuild", "--bucket", bucket, "--key-file", otherKeys, "--catalog", dsn)
}
