package repository_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
)

// A picture that stands under every mail is stored once by a writer, whatever it commits meanwhile.
func TestSmallContentIsStoredOnce(t *testing.T) {
	t.Parallel()
	r := folder(t).open(t)
	w := begin(t, r, 1, "task-1")
	logo := noise(1, 40<<10)
	first := message(t, w, 1, logo)
	must(t, w.Checkpoint(t.Context()))
	before := w.Stored()
	for seed := 2; seed < 40; seed++ {
		if e := message(t, w, seed, logo, noise(seed, 3000)); !e.Parts[0].Ref.Equal(first.Parts[0].Ref) {
			t.Fatalf("message %d has a logo of its own", seed)
		}
	}
	rd := snapshot(t, r, seal(t, w).Seq)
	if added := w.Stored() - before; added > 38*4000+20<<10 {
		t.Errorf("38 mails with the logo and 3,000 bytes each added %d bytes", added)
	}
	for seed := 2; seed < 40; seed++ {
		checkMessage(t, rd, seed, logo, noise(seed, 3000))
	}
}

// How much is remembered is bounded, and what was not used for long goes first.
func TestRecentContentIsBounded(t *testing.T) {
	t.Parallel()
	r := folder(t).open(t)
	w := begin(t, r, 1, "task-1")
	put := func(n int) repository.Ref {
		content := bytes.Repeat([]byte{byte(n), byte(n >> 8), 7}, 700)
		part, err := w.PutContent(t.Context(), bytes.NewReader(content))
		must(t, err)
		return part.Ref
	}
	often, rare := put(0), put(1)
	for n := 2; n < repository.MaxRecent+2; n++ {
		put(n)
		if n%1000 == 0 && !put(0).Equal(often) {
			t.Fatalf("after %d others, what is used often was stored anew", n)
		}
	}
	if put(1).Equal(rare) {
		t.Error("everything is remembered")
	}
}

// What a sweep may have deleted is not referred to again, even by the writer that swept.
func TestSweptContentIsStoredAnew(t *testing.T) {
	t.Parallel()
	p := folder(t)
	a := aging(t, p)
	old := a.snapshot(t, mailbox, []int{1})
	w := a.writer(t, mailbox)
	logo := noise(1, 40<<10)
	message(t, w, 2, logo)
	must(t, w.Checkpoint(t.Context()))
	must(t, w.Remove(t.Context(), messageID(2)))
	must(t, w.Checkpoint(t.Context()))
	if _, err := w.Prune(t.Context(), []int64{old}); err != nil {
		t.Fatal(err)
	}
	a.pass(4 * time.Hour)
	message(t, w, 3)
	must(t, w.Checkpoint(t.Context()))
	a.pass(4 * time.Hour)
	freed, err := w.Sweep(t.Context())
	must(t, err)
	if freed.Bytes < 40<<10 {
		t.Fatalf("the sweep left the logo where it was: it freed %d bytes", freed.Bytes)
	}
	message(t, w, 4, logo)
	rd := snapshot(t, a.Repository, seal(t, w).Seq)
	checkMessage(t, rd, 4, logo)
}

// Payloads share frames with payloads alone: reading them costs nothing of the content between.
func TestPayloadsLieTogether(t *testing.T) {
	t.Parallel()
	p := folder(t)
	store := blobtest.NewFaulty(p.store(t))
	r := openOver(t, p, store)
	w := begin(t, r, 1, "task-1")
	const mails = 120
	for seed := range mails {
		message(t, w, seed, noise(seed, 50<<10))
	}
	rd := snapshot(t, r, seal(t, w).Seq)
	var entries []repository.Entry
	for e, err := range rd.Entries(t.Context()) {
		must(t, err)
		entries = append(entries, e)
	}
	store.ResetCounts()
	for _, e := range entries {
		if _, err := rd.Payload(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	// The pack's footer, and its one frame of 240 KB of payloads.
	if n := store.Count(blobtest.OpGet); n > 3 {
		t.Errorf("%d GET for %d payloads", n, len(entries))
	}
	for seed := range mails {
		checkMessage(t, rd, seed, noise(seed, 50<<10))
	}
}
