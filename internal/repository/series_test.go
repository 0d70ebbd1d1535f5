package repository_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestSnapshotReadsBack(t *testing.T) {
	backends(t, func(t *testing.T, p place) {
		ctx := t.Context()
		r := p.open(t)
		w := begin(t, r, 1, "task-1")
		folder := repository.Entry{
			ID: "folder-1", Kind: repository.KindFolder, Name: "Inbox", Collection: "folder-1", Modified: time.Unix(0, 0).UTC(),
		}
		must(t, w.Put(ctx, folder))
		broken := repository.Entry{
			ID: "broken", Parent: "folder-1", Kind: "message", Name: "caf\xe9", Problem: "ErrorCorruptData", ProblemAt: noon, ProblemKind: tenantry.Poison, Good: 7, Generation: 3,
		}
		must(t, w.Put(ctx, broken))
		small, large := noise(1, 100_000), noise(2, 1_000_000)
		var want repository.Entry
		for i := range 40 {
			want = message(t, w, i, small, large, nil)
		}
		w.SetCursor("folder-1", repository.Cursor{Link: "https://delta", Generation: 2, Complete: true})
		sealed := seal(t, w)
		if again := seal(t, w); again.Seq != sealed.Seq {
			t.Errorf("sealed twice: %d and %d", sealed.Seq, again.Seq)
		}

		// A second process sees it.
		other := p.open(t)
		rd := snapshot(t, other, sealed.Seq)
		diff(t, "snapshot", rd.Snapshot(), sealed)
		for i := 0; i < 40; i += 5 {
			checkMessage(t, rd, i, small, large, nil)
		}
		got, ok, err := rd.Lookup(ctx, want.ID)
		if err != nil || !ok {
			t.Fatalf("Lookup: %v, %v", ok, err)
		}
		diff(t, "entry", got, want)
		got, _, _ = rd.Lookup(ctx, "broken")
		broken.Name = "caf\uFFFD"
		diff(t, "entry with a problem", got, broken)
		got, _, _ = rd.Lookup(ctx, "folder-1")
		diff(t, "folder", got, folder)
		if _, ok, err := rd.Lookup(ctx, "nothing"); ok || err != nil {
			t.Errorf("Lookup of nothing: %v, %v", ok, err)
		}
		all := ids(t, rd)
		if len(all) != 42 || !slices.IsSorted(all) {
			t.Errorf("%d entries, sorted: %v", len(all), slices.IsSorted(all))
		}
		wantCounts := tenantry.Counts{Items: 41, Skipped: 1, Bytes: 40 * 1_100_000, Stored: sealed.Counts.Stored}
		for i := range 40 {
			wantCounts.Bytes += int64(len(mail(i, 2000)))
		}
		diff(t, "counts", sealed.Counts, wantCounts)
		if sealed.Counts.Stored < 1_000_000 || sealed.Counts.Stored > 6_000_000 {
			t.Errorf("%d bytes stored: the large attachment is to be stored once, the small ones 40 times", sealed.Counts.Stored)
		}
		live, err := other.Snapshots(ctx, mailbox)
		must(t, err)
		diff(t, "live snapshots", live, []repository.Snapshot{sealed})
		checked, err := other.Check(ctx, mailbox, sealed.Seq, func(p repository.Problem) { t.Errorf("problem: %+v", p) })
		must(t, err)
		if checked.Items != 42 || checked.Faults != 0 || checked.Bytes < 1_000_000 {
			t.Errorf("checked %+v", checked)
		}
	})
}

func TestChildren(t *testing.T) {
	t.Parallel()
	r := folder(t).open(t)
	w := begin(t, r, 1, "task-1")
	for _, e := range []struct{ id, parent, name string }{
		{"1", "", "root"}, {"5", "1", "b"}, {"4", "1", "b"}, {"3", "1", "c"}, {"2", "1", "a"}, {"6", "2", "x"},
	} {
		must(t, w.Put(t.Context(), repository.Entry{ID: e.id, Parent: e.parent, Name: e.name}))
	}
	rd := snapshot(t, r, seal(t, w).Seq)
	for parent, want := range map[string]string{"": "1", "1": "2 4 5 3", "2": "6", "3": ""} {
		var got []string
		for e, err := range rd.Children(t.Context(), parent) {
			must(t, err)
			got = append(got, e.ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("children of %q: %q, expected %q", parent, got, want)
		}
	}
}

// What a run costs in requests is a promise to those who pay for them (DESIGN 9).
func TestRequestsPerRun(t *testing.T) {
	t.Parallel()
	p := folder(t)
	store := blobtest.NewFaulty(p.store(t))
	r := openOver(t, p, store)
	w := begin(t, r, 1, "task-1")
	for i := range 2000 {
		message(t, w, i)
	}
	w.SetCursor("folder-1", repository.Cursor{Link: "1", Complete: true})
	seal(t, w)
	w.Close()
	puts := func() int { return store.Count(blobtest.OpPut, blobtest.OpPutIfAbsent) }

	store.ResetCounts()
	w = begin(t, r, 2, "task-2")
	must(t, w.Checkpoint(t.Context()))
	if store.Count() != 2 || w.Stored() != 0 {
		t.Errorf("beginning and a checkpoint without news: %d requests, %d bytes", store.Count(), w.Stored())
	}
	w.SetCursor("folder-1", repository.Cursor{Link: "1", Complete: true})
	seal(t, w)
	if puts() != 1 || store.Count() != 3 {
		t.Errorf("an unchanged run: %d PUT of %d requests, expected 1 of 3 (LIST, GET, PUT)", puts(), store.Count())
	}
	w.Close()

	// New mails: filters in the manifest tell that they are new.
	gets, folds := 0, 0
	for run := range 10 {
		store.ResetCounts()
		w = begin(t, r, int64(3+run), tenantry.TaskID(fmt.Sprint("new-", run)))
		for i := range 50 {
			if _, ok, err := w.Lookup(t.Context(), messageID(5000+50*run+i)); err != nil || ok {
				t.Fatalf("Lookup: %v, %v", ok, err)
			}
			e := message(t, w, 5000+50*run+i)
			e.ETag = fmt.Sprintf("%x", noise(5000+50*run+i, 24)) // as hard to compress as Microsoft's
			must(t, w.Put(t.Context(), e))
		}
		w.SetCursor("folder-1", repository.Cursor{Link: fmt.Sprint(run), Complete: true})
		seal(t, w)
		w.Close()
		gets += store.Count(blobtest.OpGet)
		if puts() == 3 {
			folds++
			gets -= store.Count(blobtest.OpGet) - 1 // folding reads what it folds
		}
		if puts() > 3 || store.Count(blobtest.OpList) != 1 || store.Count(blobtest.OpStat) != 0 || store.Count(blobtest.OpGet) > 12 {
			t.Errorf("+50 mails: %d PUT, %d LIST, %d GET, %d HEAD", puts(),
				store.Count(blobtest.OpList), store.Count(blobtest.OpGet), store.Count(blobtest.OpStat))
		}
	}
	if gets > 10 || folds == 0 || folds > 5 {
		t.Errorf("ten runs of 50 new mails: %d GET without those of %d folds", gets, folds)
	}

	// Changed ones cost a look into the index beside: a small segment is read whole, at once.
	store.ResetCounts()
	w = begin(t, r, 20, "changed")
	for i := range 50 {
		if _, ok, err := w.Lookup(t.Context(), messageID(i)); err != nil || !ok {
			t.Fatalf("Lookup: %v, %v", ok, err)
		}
		message(t, w, i)
	}
	seal(t, w)
	if puts() > 3 || store.Count(blobtest.OpGet) > 2 {
		t.Errorf("50 mails changed: %d PUT, %d GET", puts(), store.Count(blobtest.OpGet))
	}
}

// However long a series goes on, a run of 50 mails is at most three PUT: also those that write what has gathered as a
// run of the index, and those that fold runs.
func TestRequestsOfManyRuns(t *testing.T) {
	t.Parallel()
	p := folder(t)
	store := blobtest.NewFaulty(p.store(t))
	r := openOver(t, p, store)
	w := begin(t, r, 1, "task-1")
	const base = 3000
	for i := range base {
		message(t, w, i)
	}
	seal(t, w)
	w.Close()
	puts := map[int]int{}
	for run := range 24 {
		store.ResetCounts()
		w = begin(t, r, int64(2+run), tenantry.TaskID(fmt.Sprint("run-", run)))
		for i := range 50 {
			seed := base + 50*run + i // a new one
			if run%2 == 1 {
				seed = (run*977 + i*61) % base // a changed one
			}
			e := message(t, w, seed)
			e.ETag = fmt.Sprintf("%x", noise(50*run+i, 24)) // as hard to compress as Microsoft's
			must(t, w.Put(t.Context(), e))
		}
		seal(t, w)
		w.Close()
		n, gets := store.Count(blobtest.OpPut, blobtest.OpPutIfAbsent), store.Count(blobtest.OpGet)
		puts[n]++
		if n > 3 || store.Count(blobtest.OpList) != 1 || store.Count(blobtest.OpStat) != 0 || gets > 8 {
			t.Errorf("run %d of 50 mails: %d PUT, %d LIST, %d GET, %d HEAD", run, n,
				store.Count(blobtest.OpList), gets, store.Count(blobtest.OpStat))
		}
	}
	if puts[3] < 2 || puts[2] < 12 {
		t.Errorf("runs by their PUT: %v", puts)
	}
	if got := len(ids(t, snapshot(t, r, 25))); got != base+12*50 {
		t.Errorf("%d items, expected %d", got, base+12*50)
	}
}

func TestSmallChangesStayInTheManifest(t *testing.T) {
	t.Parallel()
	p := folder(t)
	store := blobtest.NewFaulty(p.store(t))
	r := openOver(t, p, store)
	var want []string
	for run := int64(1); run <= 12; run++ {
		store.ResetCounts()
		w := begin(t, r, run, tenantry.TaskID(fmt.Sprint("task-", run)))
		for i := range 20 {
			id := fmt.Sprintf("%s-%d-%02d", messageID(0), run, i)
			must(t, w.Put(t.Context(), repository.Entry{ID: id, Parent: "folder", Name: string(mail(i, 60))}))
			want = append(want, id)
		}
		if run > 1 {
			must(t, w.Remove(t.Context(), want[0]))
			want = want[1:]
		}
		s := seal(t, w)
		w.Close()
		if n := store.Count(blobtest.OpPut, blobtest.OpPutIfAbsent); n > 2 || (run == 1 && n != 1) {
			t.Errorf("run %d: %d PUT", run, n)
		}
		slices.Sort(want)
		diff(t, fmt.Sprintf("entries after run %d", run), ids(t, snapshot(t, r, s.Seq)), want)
		if s.Counts.Items != int64(len(want)) {
			t.Errorf("run %d: %d items counted, there are %d", run, s.Counts.Items, len(want))
		}
	}
	// Earlier snapshots are as they were.
	if n := len(ids(t, snapshot(t, r, 1))); n != 20 {
		t.Errorf("snapshot 1 has %d entries now", n)
	}
}

func TestSharedContentIsStoredOnce(t *testing.T) {
	t.Parallel()
	p := folder(t)
	r := p.open(t)
	content := noise(3, 5<<20)
	w := begin(t, r, 1, "task-1")
	message(t, w, 1, content)
	first := w.Stored()
	message(t, w, 2, content)
	if w.Stored() != first {
		t.Errorf("the same attachment again added %d bytes", w.Stored()-first)
	}
	// A change in the middle stores only its surroundings.
	changed := slices.Concat(content[:2<<20], []byte("inserted"), content[2<<20:])
	message(t, w, 3, changed)
	if added := w.Stored() - first; added > 5<<20/2 {
		t.Errorf("an insertion of 8 bytes added %d bytes", added)
	}
	rd := snapshot(t, r, seal(t, w).Seq)
	checkMessage(t, rd, 1, content)
	checkMessage(t, rd, 2, content)
	checkMessage(t, rd, 3, changed)

	// Another resource of the tenant shares it.
	other := mailbox
	other.Resource = "u-2"
	w2, err := r.Begin(t.Context(), other, repository.Fence{Epoch: 1, Task: "task-2"})
	must(t, err)
	defer w2.Close()
	if _, err := w2.PutContent(t.Context(), bytes.NewReader(content)); err != nil || w2.Stored() != 0 {
		t.Errorf("another mailbox stored %d bytes of it again, %v", w2.Stored(), err)
	}
	// A small payload and a large one come back as well.
	large := noise(9, 300<<10)
	ref, err := w2.PutPayload(t.Context(), large)
	must(t, err)
	must(t, w2.Put(t.Context(), repository.Entry{ID: "large", Payload: ref}))
	s, err := w2.Seal(t.Context(), noon)
	must(t, err)
	rd2, err := r.OpenSnapshot(t.Context(), other, s.Seq)
	must(t, err)
	defer rd2.Close()
	e, _, err := rd2.Lookup(t.Context(), "large")
	must(t, err)
	if got, err := rd2.Payload(t.Context(), e); err != nil || !bytes.Equal(got, large) {
		t.Errorf("large payload: %d bytes, %v", len(got), err)
	}
	all, err := r.List(t.Context())
	must(t, err)
	diff(t, "series", all, []tenantry.Series{mailbox, other})
	tenants, err := repository.Tenants(t.Context(), p.store(t))
	must(t, err)
	diff(t, "tenants", tenants, []tenantry.TenantID{tenant})
}

// A file of many chunks has a short reference, and streams.
func TestManyChunks(t *testing.T) {
	t.Parallel()
	r := folder(t).open(t)
	w := begin(t, r, 1, "task-1")
	content := noise(4, 48<<20)
	part, err := w.PutContent(t.Context(), bytes.NewReader(content))
	must(t, err)
	part.Name = "content"
	encoded, err := part.Ref.MarshalBinary()
	must(t, err)
	if len(encoded) > 100 {
		t.Errorf("the reference to 48 MiB takes %d bytes", len(encoded))
	}
	e := repository.Entry{ID: "file", Kind: "file", Name: "disk.img", Parts: []repository.Part{part}}
	must(t, w.Put(t.Context(), e))
	s := seal(t, w)
	rd := snapshot(t, r, s.Seq)
	if got := readPart(t, rd, e, part); !bytes.Equal(got, content) {
		t.Errorf("%d bytes came back different", len(got))
	}
	checked, err := r.Check(t.Context(), mailbox, s.Seq, func(p repository.Problem) { t.Errorf("problem: %+v", p) })
	must(t, err)
	if checked.Chunks < 65 || checked.Bytes < 48<<20 {
		t.Errorf("checked %+v", checked)
	}
	// Left early, it stops reading.
	stream, err := rd.Open(t.Context(), e, part)
	must(t, err)
	if _, err := io.ReadFull(stream, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	must(t, stream.Close())
	ctx, cancel := context.WithCancel(t.Context())
	stream, err = rd.Open(ctx, e, part)
	must(t, err)
	defer stream.Close()
	cancel()
	if _, err := io.Copy(io.Discard, stream); tenantry.KindOf(err) != tenantry.Canceled {
		t.Errorf("a stream whose context ended: %v", err)
	}
}

// A source that breaks off is an error, never a shorter file.
func TestContentThatBreaksOff(t *testing.T) {
	t.Parallel()
	r := folder(t).open(t)
	w := begin(t, r, 1, "task-1")
	for _, n := range []int{0, 10, 128 << 10, 1 << 20, 6 << 20} {
		for _, cause := range []error{io.ErrUnexpectedEOF, tenantry.Errorf(tenantry.Throttled, "wait")} {
			src := io.MultiReader(bytes.NewReader(noise(5, n)), iotestErr{cause})
			if _, err := w.PutContent(t.Context(), src); !errors.Is(err, cause) {
				t.Errorf("after %d bytes: %v, expected %v", n, err, cause)
			}
		}
	}
	if _, err := w.PutContent(t.Context(), strings.NewReader("goes on")); err != nil {
		t.Errorf("the writer is void after a source's error: %v", err)
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

// Everything that may run at once, at once, with packs being cut.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	r := folder(t).open(t)
	w := begin(t, r, 1, "task-1")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 30 {
				seed := worker*1000 + i
				message(t, w, seed, noise(seed, 100_000), noise(seed%7, 200_000))
				if _, ok, err := w.Lookup(t.Context(), messageID(seed)); !ok || err != nil {
					t.Errorf("Lookup: %v, %v", ok, err)
				}
				w.SetCursor(fmt.Sprint(worker), repository.Cursor{Generation: int64(i)})
				_ = w.Pending()
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			must(t, w.Checkpoint(t.Context()))
			n := 0
			for _, err := range w.Entries(t.Context()) {
				must(t, err)
				n++
			}
		}
	})
	wg.Wait()
	if w.Pending() > 40<<20 {
		t.Errorf("%d bytes pending", w.Pending())
	}
	rd := snapshot(t, r, seal(t, w).Seq)
	for worker := range 4 {
		wg.Go(func() {
			for i := range 30 {
				seed := worker*1000 + i
				checkMessage(t, rd, seed, noise(seed, 100_000), noise(seed%7, 200_000))
			}
		})
	}
	wg.Wait()
}

func TestRefSurvivesEncoding(t *testing.T) {
	r := folder(t).open(t)
	w := begin(t, r, 1, "task-1")
	small, err := w.PutPayload(t.Context(), []byte("small"))
	must(t, err)
	large, err := w.PutContent(t.Context(), bytes.NewReader(noise(1, 2<<20)))
	must(t, err)
	for _, ref := range []repository.Ref{{}, small, large.Ref} {
		text, err := ref.MarshalText()
		must(t, err)
		var got repository.Ref
		must(t, got.UnmarshalText(text))
		if !got.Equal(ref) || got.IsZero() != ref.IsZero() {
			t.Errorf("%s came back different", text)
		}
	}
	var ref repository.Ref
	wantKind(t, ref.UnmarshalText([]byte("%%%")), tenantry.Invalid)
}

func TestBadInput(t *testing.T) {
	p := folder(t)
	r := p.open(t)
	ctx := t.Context()
	for _, s := range []tenantry.Series{
		{}, {Tenant: "t-2", Resource: "u-1", Workload: "mailbox"}, {Tenant: tenant, Resource: "../x", Workload: "mailbox"},
		{Tenant: tenant, Resource: "u-1"}, {Tenant: tenant, Resource: "a/b", Workload: "mailbox"},
	} {
		_, err := r.Begin(ctx, s, repository.Fence{Epoch: 1, Task: "t"})
		wantKind(t, err, tenantry.Invalid)
		_, err = r.Head(ctx, s)
		wantKind(t, err, tenantry.Invalid)
	}
	_, err := r.Begin(ctx, mailbox, repository.Fence{Task: "t"})
	wantKind(t, err, tenantry.Invalid)
	_, err = repository.Open(ctx, p.store(t), p.ring(t), "../t")
	wantKind(t, err, tenantry.Invalid)
	_, err = repository.OpenExisting(ctx, p.store(t), p.ring(t), "t-new")
	wantKind(t, err, tenantry.NotFound)
	_, err = r.OpenSnapshot(ctx, mailbox, 1)
	wantKind(t, err, tenantry.NotFound)
	head, err := r.Head(ctx, mailbox)
	if err != nil || head.Seq != 0 {
		t.Errorf("head of an empty series: %+v, %v", head, err)
	}
	w := begin(t, r, 1, "t")
	wantKind(t, w.Put(ctx, repository.Entry{}), tenantry.Invalid)
	wantKind(t, w.Put(ctx, repository.Entry{ID: "\xff"}), tenantry.Invalid)
	must(t, w.Checkpoint(ctx))
	seal(t, w)
	wantKind(t, w.Put(ctx, repository.Entry{ID: "late"}), tenantry.Conflict)
	w.Close()
	wantKind(t, w.Checkpoint(ctx), tenantry.Canceled)
}
