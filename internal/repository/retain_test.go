package repository_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestRetain holds on a real server with locks that what an early backup stored is locked for a later
// snapshot that needs it, whatever kind of object it is; that what nothing needs is not; and that a second
// look moves nothing.
func TestRetain(t *testing.T) {
	t.Parallel()
	const lockFor = time.Hour
	p := lockServer(t)
	p.s3.Lock = blob.LockPolicy{Mode: blob.Governance, For: lockFor}
	ctx := t.Context()
	now := time.Now()

	w := begin(t, p.open(t), 1, "task-1")
	for i := range 300 { // a run of the index, and a pack with its changes
		ref, err := w.PutPayload(ctx, bytes.Repeat([]byte{byte(i), byte(i >> 8), 7}, 200))
		must(t, err)
		must(t, w.Put(ctx, repository.Entry{ID: hex.EncodeToString(noise(i+100, 60)), Name: hex.EncodeToString(noise(i+1000, 60)), Payload: ref}))
	}
	part, err := w.PutContent(ctx, bytes.NewReader(noise(5, 300<<10)))
	must(t, err)
	part.Name = "a"
	must(t, w.Put(ctx, repository.Entry{ID: "large", Parts: []repository.Part{part}}))
	_, err = w.Seal(ctx, now)
	must(t, err)
	needed := objects(t, p.store(t))

	w = begin(t, p.open(t), 2, "dead") // what is never committed is garbage
	_, err = w.PutContent(ctx, bytes.NewReader(noise(6, 300<<10)))
	must(t, err)
	w.Close()
	w = begin(t, p.open(t), 3, "task-3")
	later := now.Add(10 * lockFor)
	_, err = w.Seal(ctx, later) // nothing has changed
	must(t, err)

	repo := p.open(t)
	first, err := repo.Retain(ctx, mailbox)
	must(t, err)
	again, err := repo.Retain(ctx, mailbox)
	must(t, err)
	if first.Extended == 0 || again.Looked != first.Looked || again.Extended != 0 {
		t.Errorf("the first look: %+v, the second: %+v", first, again)
	}
	locker := p.store(t).(blob.Locker)
	extended := map[string]int{}
	for _, info := range objects(t, p.store(t)) {
		lock, err := locker.LockOf(ctx, info.Key, "")
		must(t, err)
		kind := strings.Split(strings.TrimPrefix(info.Key, string(tenant)+"/r/u-1/mailbox/"), "/")[0]
		covers := lock.Until.After(later.Add(lockFor))
		was := false
		for _, n := range needed {
			was = was || n.Key == info.Key
		}
		switch {
		case strings.HasSuffix(info.Key, "/key"): // the daily check of keys is for that
		case kind == "m" && was:
			if covers {
				t.Errorf("%s, the first snapshot, is locked until %v", info.Key, lock.Until)
			}
		case was && !covers:
			t.Errorf("%s is needed until %v and locked until %v", info.Key, later.Add(lockFor), lock.Until)
		case !was && kind != "m" && covers:
			t.Errorf("%s, which nothing needs, is locked until %v", info.Key, lock.Until)
		}
		if covers {
			extended[kind]++
		}
	}
	for _, kind := range []string{"p", "s", "m", string(tenant)} { // the last: chunks
		if extended[kind] == 0 {
			t.Errorf("no lock of %q was extended: %v", kind, extended)
		}
	}
	if n, err := folder(t).open(t).Retain(ctx, mailbox); err != nil || n.Looked != 0 {
		t.Errorf("where nothing is locked: %+v, %v", n, err)
	}
}

// lockServer is a place in a bucket with locks.
func lockServer(t *testing.T) place {
	srv := servertest.S3Locks(t)
	return place{
		url:     "s3://" + srv.Bucket + "?endpoint=" + srv.Endpoint,
		s3:      blob.S3Options{AccessKey: srv.AccessKey, SecretKey: tenantry.NewSecret(srv.SecretKey)},
		keyFile: t.TempDir() + "/keys.json",
	}
}

// TestRetainIsDueInTime holds that every series has its turn several times within the reserve of its locks.
func TestRetainIsDueInTime(t *testing.T) {
	t.Parallel()
	p := lockServer(t)
	p.s3.Lock = blob.LockPolicy{Mode: blob.Governance, For: 365 * 24 * time.Hour}
	repo := p.open(t)
	days := map[int]bool{}
	for n := range 20 {
		s := tenantry.Series{Tenant: tenant, Resource: tenantry.UserResource(time.Duration(n).String()), Workload: tenantry.Drive}
		last := -1
		for day := range 60 {
			if !repo.RetainDue(s, noon.Add(time.Duration(day)*24*time.Hour)) {
				continue
			}
			if last >= 0 && day-last > 8 || last < 0 && day > 8 {
				t.Errorf("series %d is due on day %d and then on day %d", n, last, day)
			}
			last = day
			days[day%7] = true
		}
	}
	if len(days) < 4 {
		t.Errorf("20 series have their turn on %d days of a week", len(days))
	}
	if folder(t).open(t).RetainDue(mailbox, noon) {
		t.Error("a folder has no locks")
	}
}
