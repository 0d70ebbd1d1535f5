package repository

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestArchivesComeBack(t *testing.T) {
	repo := testRepository(t)
	for name, size := range map[string]int{"empty": 0, "small": 10, "part": archivePart, "parts": 2*archivePart + 12345} {
		content := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{1}).Read(content) // never fails
		w, err := repo.CreateArchive(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, iotest.OneByteReader(bytes.NewReader(content[:min(size, 100)]))); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content[min(size, 100):]); err != nil {
			t.Fatal(err)
		}
		if _, err := repo.Archive(t.Context(), name); tenantry.KindOf(err) != tenantry.NotFound {
			t.Errorf("%s is there before it is whole: %v", name, err)
		}
		if _, err := w.Finish("file.zip", time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		r, a, err := repo.OpenArchive(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, content) || a.Size != int64(size) || a.Name != "file.zip" {
			t.Errorf("%s: %d bytes of %d, %+v, %v", name, len(got), size, a, err)
		}
		if at := size / 3; size > 0 {
			if _, err := r.Seek(int64(at), io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content[at:]) {
				t.Errorf("%s from byte %d: %d bytes, %v", name, at, len(got), err)
			}
		}
	}
}

// Two attempts may run at once, because the first one's worker was only believed dead.
func TestTheFirstAttemptIsTheArchive(t *testing.T) {
	repo := testRepository(t)
	var all []*ArchiveWriter
	for _, text := range []string{"first", "second"} {
		w, err := repo.CreateArchive(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	for _, w := range all {
		a, err := w.Finish("name", time.Unix(1, 0))
		if err != nil || a.Attempt != all[0].attempt {
			t.Errorf("ended as %+v: %v", a, err)
		}
	}
	r, _, err := repo.OpenArchive(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "first" {
		t.Errorf("read %q: %v", got, err)
	}
	if n := archiveObjects(t, repo); n != 2 {
		t.Errorf("%d objects are left, expected a part and an end", n)
	}
}

func TestDamagedArchivesAreRefused(t *testing.T) {
	repo := testRepository(t)
	w, err := repo.CreateArchive(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, archivePart+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish("name", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	// A part in the place of another does not open; one that is missing is told.
	first, second := repo.object(partName("one", w.attempt, 0)), repo.object(partName("one", w.attempt, 1))
	body, err := repo.store.Get(t.Context(), second, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close(), repo.store.Put(t.Context(), first, text)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r, _, err := repo.OpenArchive(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); tenantry.KindOf(err) != tenantry.Corrupt {
			t.Errorf("read to the end: %v", err)
		}
		if err := repo.store.Delete(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"", "../key", "a/b", "ä"} {
		if _, err := repo.Archive(t.Context(), id); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("ID %q: %v", id, err)
		}
	}
}

func TestOldArchivesAreRemoved(t *testing.T) {
	repo := testRepository(t)
	w, err := repo.CreateArchive(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "text"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish("name", time.Now()); err != nil {
		t.Fatal(err)
	}
	if freed, err := repo.RemoveArchives(t.Context(), time.Now().Add(-time.Hour)); err != nil || freed.Objects != 0 {
		t.Errorf("removed %+v: %v", freed, err)
	}
	if freed, err := repo.RemoveArchives(t.Context(), time.Now().Add(time.Hour)); err != nil || freed.Objects != 2 || archiveObjects(t, repo) != 0 {
		t.Errorf("removed %+v: %v", freed, err)
	}
}

func archiveObjects(t *testing.T, repo *Repository) (n int) {
	t.Helper()
	for _, err := range repo.store.List(t.Context(), repo.object(archiveFolder)) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
