package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// damaged makes a repository with one snapshot of five messages, each with a shared and
// a small attachment.
func damaged(t *testing.T) (place, blob.Store, int64) {
	t.Helper()
	p := folder(t)
	w := begin(t, p.open(t), 1, "task-1")
	for i := range 5 {
		message(t, w, i, noise(i, 200_000), noise(i, 1000))
	}
	s := seal(t, w)
	return p, p.store(t), s.Seq
}

func objects(t *testing.T, s blob.Store) []blob.Info {
	t.Helper()
	var all []blob.Info
	for info, err := range s.List(t.Context(), string(tenant)+"/") {
		must(t, err)
		all = append(all, info)
	}
	return all
}

// readAll reads every byte of a snapshot and returns the first error.
func readAll(ctx context.Context, r *repository.Repository, seq int64) error {
	rd, err := r.OpenSnapshot(ctx, mailbox, seq)
	if err != nil {
		return err
	}
	defer rd.Close()
	for e, err := range rd.Entries(ctx) {
		if err != nil {
			return err
		}
		if _, err := rd.Payload(ctx, e); err != nil {
			return err
		}
		for _, p := range e.Parts {
			stream, err := rd.Open(ctx, e, p)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, stream)
			_ = stream.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Whichever object is damaged, however: an error that names it, never other bytes.
func TestDamageIsNamed(t *testing.T) {
	t.Parallel()
	p, store, seq := damaged(t)
	for _, info := range objects(t, store) {
		body, err := blob.ReadAll(t.Context(), store, info.Key, 10<<20)
		must(t, err)
		harms := map[string][]byte{"cut": body[:len(body)/2], "one byte short": body[:len(body)-1], "empty": {}}
		for _, at := range []int{0, 4, 5, 7, 8, 30, len(body) / 2, len(body) - 40, len(body) - 9, len(body) - 5, len(body) - 1} {
			flipped := bytes.Clone(body)
			flipped[at] ^= 0x10
			part := "body"
			if at < 8 {
				part = "header"
			}
			harms[fmt.Sprintf("%s byte %d flipped", part, at)] = flipped
		}
		harms["missing"] = nil
		for name, harm := range harms {
			if harm == nil {
				must(t, store.Delete(t.Context(), info.Key))
			} else {
				must(t, store.Put(t.Context(), info.Key, harm))
			}
			r, err := repository.Open(t.Context(), store, p.ring(t), tenant)
			if err == nil {
				err = readAll(t.Context(), r, seq)
			}
			switch kind := tenantry.KindOf(err); {
			case name == "missing" && strings.Contains(info.Key, "/m/"):
				wantKind(t, err, tenantry.NotFound)
			case err == nil && strings.Contains(info.Key, "/p/") && strings.HasPrefix(name, "header"):
				// The header of a pack is repeated in its trailer; reading uses that one.
			case kind != tenantry.Corrupt && kind != tenantry.WrongKey && kind != tenantry.Invalid:
				t.Errorf("%s of %s: %v (%s)", name, info.Key, err, kind)
			case !strings.Contains(err.Error(), info.Key):
				t.Errorf("%s of %s is not named: %v", name, info.Key, err)
			case !strings.HasSuffix(info.Key, "/key") && !strings.Contains(err.Error(), mailbox.String()):
				t.Errorf("%s of %s: the series is not named: %v", name, info.Key, err)
			}
		}
		must(t, store.Put(t.Context(), info.Key, body))
	}
	r := p.open(t)
	must(t, readAll(t.Context(), r, seq))
}

func TestCheckFindsTheItem(t *testing.T) {
	t.Parallel()
	p, inner, seq := damaged(t)
	store := blobtest.NewFaulty(inner)
	r := openOver(t, p, store)
	rd := snapshot(t, r, seq)
	e, _, err := rd.Lookup(t.Context(), messageID(3))
	must(t, err)

	var chunkKey string // the shared attachment of message 3
	probe := blobtest.NewFaulty(inner)
	probed := openOver(t, p, probe)
	probe.Add(&blobtest.Fault{Ops: []blobtest.Op{blobtest.OpGet}, Key: "/c/", Mode: blobtest.Flip})
	prd := snapshot(t, probed, seq)
	stream, err := prd.Open(t.Context(), e, e.Parts[0])
	must(t, err)
	_, err = io.Copy(io.Discard, stream)
	must(t, stream.Close())
	wantKind(t, err, tenantry.Corrupt)
	for _, word := range []string{mailbox.String(), messageID(3), "Report 3", "/c/"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in %v", word, err)
		}
	}
	for _, info := range objects(t, inner) {
		if strings.Contains(err.Error(), info.Key) {
			chunkKey = info.Key
		}
	}
	must(t, inner.Delete(t.Context(), chunkKey))
	var found []repository.Problem
	checked, err := r.Check(t.Context(), mailbox, seq, func(p repository.Problem) { found = append(found, p) })
	must(t, err)
	if len(found) != 1 || found[0].Item != messageID(3) || !strings.Contains(found[0].Reason, chunkKey) || checked.Faults != 1 {
		t.Errorf("found %+v, checked %+v", found, checked)
	}
	// The others are still read.
	checkMessage(t, rd, 2, noise(2, 200_000), noise(2, 1000))

	// A store that cannot be reached is not damage.
	store.Add(&blobtest.Fault{Ops: []blobtest.Op{blobtest.OpGet}, Key: "/p/", After: 1, Mode: blobtest.Fail})
	_, err = r.Check(t.Context(), mailbox, seq, func(p repository.Problem) { t.Errorf("reported %+v", p) })
	wantKind(t, err, tenantry.Transient)
}

// An object at another object's place does not open: names are bound.
func TestObjectsCannotBeSwapped(t *testing.T) {
	t.Parallel()
	p, store, seq := damaged(t)
	var chunks []blob.Info
	for _, info := range objects(t, store) {
		if strings.Contains(info.Key, "/c/") {
			chunks = append(chunks, info)
		}
	}
	other, err := blob.ReadAll(t.Context(), store, chunks[1].Key, 10<<20)
	must(t, err)
	must(t, store.Put(t.Context(), chunks[0].Key, other))
	wantKind(t, readAll(t.Context(), p.open(t), seq), tenantry.Corrupt)
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	p, store, _ := damaged(t)
	otherPath := filepath.Join(t.TempDir(), "other.json")
	other, err := repository.OpenKeyFile(otherPath, true)
	must(t, err)
	_, err = repository.Open(t.Context(), store, other, tenant)
	wantKind(t, err, tenantry.WrongKey)
	if !strings.Contains(err.Error(), string(tenant)+"/key") {
		t.Errorf("the key object is not named: %v", err)
	}
	// A key that is not the one of its name.
	text, err := os.ReadFile(p.keyFile)
	must(t, err)
	i := bytes.Index(text, []byte(`"key": "`)) + len(`"key": "`)
	text[i] = map[bool]byte{true: 'B', false: 'A'}[text[i] == 'A']
	must(t, os.WriteFile(otherPath, text, 0o600))
	spoilt, err := repository.OpenKeyFile(otherPath, false)
	must(t, err)
	_, err = repository.Open(t.Context(), store, spoilt, tenant)
	wantKind(t, err, tenantry.WrongKey)
	if !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), "wrapping key file-") {
		t.Errorf("the key is not named: %v", err)
	}

	// Without its key object, a repository is not begun anew beside its content.
	must(t, store.Delete(t.Context(), string(tenant)+"/key"))
	_, err = repository.Open(t.Context(), store, p.ring(t), tenant)
	wantKind(t, err, tenantry.Corrupt)
}

func TestNothingIsReadableInTheBucket(t *testing.T) {
	t.Parallel()
	p := folder(t)
	w := begin(t, p.open(t), 1, "task-1")
	secret := bytes.Repeat([]byte("the secret subject "), 20_000)
	part, err := w.PutContent(t.Context(), bytes.NewReader(secret))
	must(t, err)
	ref, err := w.PutPayload(t.Context(), secret[:1000])
	must(t, err)
	must(t, w.Put(t.Context(), repository.Entry{ID: "secret-id", Name: "the secret subject", Payload: ref, Parts: []repository.Part{part}}))
	w.SetCursor("secret-collection", repository.Cursor{Link: "https://secret"})
	seal(t, w)
	for _, info := range objects(t, p.store(t)) {
		body, err := blob.ReadAll(t.Context(), p.store(t), info.Key, 10<<20)
		must(t, err)
		if bytes.Contains(body, []byte("secret")) || strings.Contains(info.Key, "secret") {
			t.Errorf("%s shows what it holds", info.Key)
		}
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	_, err := repository.OpenKeyFile(path, false)
	wantKind(t, err, tenantry.NotFound)
	ring, err := repository.OpenKeyFile(path, true)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	again, err := repository.OpenKeyFile(path, true) // opened before there is any key
	must(t, err)
	for _, tenant := range []tenantry.TenantID{"a", "b"} {
		wrapped, id, err := ring.Wrap(t.Context(), tenant, []byte("key"))
		must(t, err)
		got, err := again.Unwrap(t.Context(), tenant, id, wrapped)
		if err != nil || string(got) != "key" {
			t.Errorf("unwrapped %q, %v", got, err)
		}
		_, id2, err := again.Wrap(t.Context(), tenant, []byte("key"))
		if err != nil || id2 != id {
			t.Errorf("the second wrap made another wrapping key: %s, %s, %v", id, id2, err)
		}
		_, err = ring.Unwrap(t.Context(), tenant, "no-such", wrapped)
		wantKind(t, err, tenantry.WrongKey)
		_, err = ring.Unwrap(t.Context(), "c", id, wrapped)
		wantKind(t, err, tenantry.WrongKey)
		wrapped[len(wrapped)-1] ^= 1
		_, err = ring.Unwrap(t.Context(), tenant, id, wrapped)
		wantKind(t, err, tenantry.Corrupt) // it is the right key
	}
	must(t, os.Chmod(path, 0o644))
	_, err = repository.OpenKeyFile(path, true)
	wantKind(t, err, tenantry.Invalid)
	must(t, os.WriteFile(path, []byte("{"), 0o600))
	must(t, os.Chmod(path, 0o600))
	_, err = repository.OpenKeyFile(path, true)
	wantKind(t, err, tenantry.Invalid)
}

// TestSpoiltEntries holds that what is damaged of one tenant in a key file, in whichever way, is
// refused for that tenant alone, and neither lost nor repaired when the file is written.
func TestSpoiltEntries(t *testing.T) {
	key := `"key": "` // the first one is of tenant a: names are sorted
	for _, c := range []struct {
		name  string
		spoil func(text string) string
	}{
		{"another key", func(s string) string { return strings.Replace(s, key, key+"AAAA", 1) }},
		{"no base64", func(s string) string { return strings.Replace(s, key, key+"*", 1) }},
		{"another name", func(s string) string { return strings.Replace(s, `"file-`, `"file-x`, 1) }},
		{"no text", func(s string) string { return strings.Replace(s, key, `"key": 7, "was": "`, 1) }},
		{"no entry", func(s string) string { return regexp.MustCompile(`(?s)\{\s*"id".*?\}`).ReplaceAllString(s, "7") }},
		{"no list", func(s string) string { return strings.Replace(s, `"a": [`, `"a": 7, "was": [`, 1) }},
		{"null", func(s string) string { return strings.Replace(s, `"a": [`, `"a": null, "was": [`, 1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			ring, err := repository.OpenKeyFile(path, true)
			must(t, err)
			ctx := t.Context()
			wrappedA, idA, err := ring.Wrap(ctx, "a", []byte("key of a"))
			must(t, err)
			text, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, []byte(c.spoil(string(text))), 0o600))

			again, err := repository.OpenKeyFile(path, true)
			must(t, err)
			_, _, err = again.Wrap(ctx, "b", []byte("key of b")) // writes the file
			must(t, err)
			for _, r := range []repository.KeyManager{ring, again} {
				_, err = r.Unwrap(ctx, "a", idA, wrappedA)
				wantKind(t, err, tenantry.WrongKey)
				if !strings.Contains(err.Error(), "wrapping key "+idA+" of tenant a is damaged") {
					t.Errorf("the error does not name the key: %v", err)
				}
				_, _, err = r.Wrap(ctx, "a", []byte("another"))
				wantKind(t, err, tenantry.WrongKey)
			}
			text, err = os.ReadFile(path)
			must(t, err)
			if strings.Contains(string(text), "file-x") { // put right by hand
				must(t, os.WriteFile(path, []byte(strings.Replace(string(text), "file-x", "file-", 1)), 0o600))
				got, err := again.Unwrap(ctx, "a", idA, wrappedA)
				if err != nil || string(got) != "key of a" {
					t.Errorf("a repaired entry gives %q, %v", got, err)
				}
			}
			names, err := again.WrappingKeys(ctx, "a")
			must(t, err)
			for _, id := range names {
				_, err := again.Destroy(ctx, "a", id)
				must(t, err)
			}
			text, err = os.ReadFile(path)
			if err != nil || strings.Contains(string(text), `"a"`) || !strings.Contains(string(text), `"b"`) {
				t.Errorf("after the shred of a (%v) the file holds %s", err, text)
			}
		})
	}
}
