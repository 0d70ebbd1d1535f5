package repository_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestDistrust holds that a damaged chunk is named, is shared by nobody once it is distrusted, and
// that content which is stored anew can be read while the damage stays.
func TestDistrust(t *testing.T) {
	t.Parallel()
	p := folder(t)
	ctx := t.Context()
	content := make([]byte, 300<<10)
	_, _ = rand.NewChaCha8([32]byte{11}).Read(content)
	store := func(epoch int64, task tenantry.TaskID) int64 {
		t.Helper()
		w := begin(t, p.open(t), epoch, task)
		defer w.Close()
		part, err := w.PutContent(ctx, bytes.NewReader(content))
		must(t, err)
		part.Name = "a"
		must(t, w.Put(ctx, repository.Entry{ID: "item", Parts: []repository.Part{part}}))
		return seal(t, w).Seq
	}
	before := store(1, "task-1")
	var chunk string
	for _, info := range objects(t, p.store(t)) {
		if strings.Contains(info.Key, "/c/") {
			chunk = info.Key
		}
	}
	body, err := blob.ReadAll(ctx, p.store(t), chunk, 10<<20)
	must(t, err)
	body[len(body)/2] ^= 1
	must(t, p.store(t).Put(ctx, chunk, body))

	err = readAll(ctx, p.open(t), before)
	wantKind(t, err, tenantry.Corrupt)
	name := repository.DamagedObject(err)
	if string(tenant)+"/"+name != chunk {
		t.Fatalf("the damaged object is %q, not %q: %v", name, chunk, err)
	}
	if err := readAll(ctx, p.open(t), store(2, "task-2")); repository.DamagedObject(err) != name {
		t.Fatalf("without being distrusted the chunk is shared: %v", err)
	}
	repo := p.open(t)
	for i, want := range []int{1, 0} {
		if n, err := repo.Distrust(ctx, []string{name, name, "r/u/mailbox/p/00", "c/none"}); n != want || err != nil {
			t.Fatalf("distrusted %d, %v at try %d", n, err, i)
		}
	}
	healed := store(3, "task-3")
	must(t, readAll(ctx, p.open(t), healed))
	wantKind(t, readAll(ctx, p.open(t), before), tenantry.Corrupt)

	// The list goes with its chunks, and not before.
	lists := func() (n int) {
		for _, info := range objects(t, p.store(t)) {
			if strings.Contains(info.Key, "/g/bad.") {
				n++
			}
		}
		return n
	}
	collect := func() {
		t.Helper()
		_, err := p.open(t).Collect(ctx)
		must(t, err)
	}
	if collect(); lists() != 1 {
		t.Fatalf("%d lists while the chunk is there", lists())
	}
	must(t, p.store(t).Delete(ctx, chunk))
	if collect(); lists() != 0 {
		t.Fatalf("%d lists when no chunk of them is left", lists())
	}
}
