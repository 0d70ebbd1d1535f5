package repository_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
)

// patrolled is a repository with an object of every kind, and a clock.
type patrolled struct {
	t     *testing.T
	repo  *repository.Repository
	store blob.Store
	now   time.Time
}

func newPatrolled(t *testing.T) *patrolled {
	p := folder(t)
	damagedStore(t, p)
	d := &patrolled{t: t, repo: p.open(t), store: p.store(t), now: time.Now()}
	repository.SetClock(d.repo, func() time.Time { return d.now })
	_, err := d.repo.Distrust(t.Context(), []string{"c/" + strings.Repeat("00", 32) + ".0"})
	must(t, err)
	return d
}

// damagedStore fills a place with small items, enough of them for a run, and shared content.
func damagedStore(t *testing.T, p place) {
	w := begin(t, p.open(t), 1, "task-1")
	defer w.Close()
	r := rand.NewChaCha8([32]byte{3})
	for i := range 400 {
		raw := make([]byte, 2000)
		_, _ = r.Read(raw)
		ref, err := w.PutPayload(t.Context(), raw)
		must(t, err)
		must(t, w.Put(t.Context(), repository.Entry{ID: strings.Repeat("x", i%50) + string(rune('a'+i%26)) + time.Duration(i).String(), Payload: ref}))
	}
	large := make([]byte, 2<<20)
	_, _ = r.Read(large)
	part, err := w.PutContent(t.Context(), bytes.NewReader(large))
	must(t, err)
	part.Name = "large"
	must(t, w.Put(t.Context(), repository.Entry{ID: "large", Parts: []repository.Part{part}}))
	seal(t, w)
}

func (d *patrolled) day() repository.Patrolled {
	d.t.Helper()
	out, err := d.repo.Patrol(d.t.Context(), nil)
	must(d.t, err)
	if !out.Done {
		d.t.Fatalf("the share was not read: %+v", out)
	}
	return out
}

// inspected are the objects that a patrol reads.
func (d *patrolled) inspected() (list []blob.Info) {
	for _, info := range objects(d.t, d.store) {
		if !strings.Contains(info.Key, "/v/") {
			list = append(list, info)
		}
	}
	return list
}

// TestPatrolReadsEverythingOnceAMonth holds that a round reads each object once and ends in time, on
// every day or with days missed, with another process each day.
func TestPatrolReadsEverythingOnceAMonth(t *testing.T) {
	t.Parallel()
	for _, missed := range []int{0, 4, 29} {
		d := newPatrolled(t)
		begun, read, largest := d.now, int64(0), int64(0)
		for {
			out := d.day()
			read += out.Objects
			largest = max(largest, out.Bytes)
			if out.Left == 0 {
				if !out.Sound || len(out.Damaged) > 0 || !out.RoundEnded.Equal(d.now.Truncate(time.Microsecond)) {
					t.Errorf("the round ended: %+v", out)
				}
				break
			}
			d.now = d.now.Add(time.Duration(1+missed) * 24 * time.Hour)
		}
		if took := d.now.Sub(begun); took > repository.PatrolRound {
			t.Errorf("with %d days missed between, the round took %v", missed, took)
		}
		if all := int64(len(d.inspected())); read != all {
			t.Errorf("%d reads of %d objects", read, all)
		}
		notes := len(objects(t, d.store)) - len(d.inspected())
		if notes != 1 {
			t.Errorf("%d notes are kept", notes)
		}
	}
}

// TestPatrolFindsEveryDamage flips bits of every object there is: a patrol names each, and only those.
func TestPatrolFindsEveryDamage(t *testing.T) {
	t.Parallel()
	d := newPatrolled(t)
	rnd := rand.New(rand.NewPCG(5, 5))
	for _, info := range d.inspected() {
		whole, err := blob.ReadAll(t.Context(), d.store, info.Key, 64<<20)
		must(t, err)
		_, name, _ := strings.Cut(info.Key, "/")
		for try := range 40 {
			bit := rnd.IntN(8 * len(whole))
			switch try {
			case 0:
				bit = 0
			case 1:
				bit = 8*len(whole) - 1
			}
			body := bytes.Clone(whole)
			body[bit/8] ^= 1 << (bit % 8)
			if err := repository.Inspect(d.repo, name, body); err == nil {
				t.Fatalf("%s: bit %d was not noticed", name, bit)
			}
		}
		if err := repository.Inspect(d.repo, name, whole[:len(whole)-1]); err == nil {
			t.Errorf("%s: a byte that is missing was not noticed", name)
		}
		must(t, repository.Inspect(d.repo, name, whole))
	}

	var pack string
	for _, info := range d.inspected() {
		if strings.Contains(info.Key, "/p/") {
			pack = info.Key
		}
	}
	body, err := blob.ReadAll(t.Context(), d.store, pack, 64<<20)
	must(t, err)
	body[len(body)/2] ^= 4
	must(t, d.store.Put(t.Context(), pack, body))
	var found []repository.Damaged
	for left := int64(1); left > 0; d.now = d.now.Add(24 * time.Hour) {
		out := d.day()
		found = append(found, out.Damaged...)
		if left = out.Left; left == 0 && out.Sound {
			t.Error("a round with damage is called sound")
		}
	}
	if len(found) != 1 || string(tenant)+"/"+found[0].Object != pack {
		t.Fatalf("found %+v, expected %s", found, pack)
	}
	affected, err := d.repo.Affected(t.Context(), found)
	must(t, err)
	if len(affected) != 1 || affected[mailbox] == 0 {
		t.Errorf("affected: %v", affected)
	}
	if _, err = d.repo.Affected(t.Context(), []repository.Damaged{{Object: "c/" + strings.Repeat("11", 32) + ".0"}}); err != nil {
		t.Error(err)
	}
}

// TestPatrolStops holds that a patrol that is told to stop goes on where it was, and that one whose note
// is damaged begins anew instead of failing.
func TestPatrolStops(t *testing.T) {
	t.Parallel()
	d := newPatrolled(t)
	stop := make(chan struct{})
	close(stop)
	out, err := d.repo.Patrol(t.Context(), stop)
	if err != nil || out.Done || out.Objects != 0 {
		t.Fatalf("told to stop: %+v, %v", out, err)
	}
	d.now = d.now.Add(29 * 24 * time.Hour) // everything that is left is read in a day
	all := int64(len(d.inspected()))
	if out := d.day(); out.Objects != all || out.Left != 0 {
		t.Errorf("read %d of %d objects: %+v", out.Objects, all, out)
	}
	for _, info := range objects(t, d.store) {
		if strings.Contains(info.Key, "/v/") {
			must(t, d.store.Put(t.Context(), info.Key, []byte("damaged")))
		}
	}
	d.now = d.now.Add(24 * time.Hour)
	if out := d.day(); out.Objects == 0 || out.RoundEnded != (time.Time{}) {
		t.Errorf("after the note was lost: %+v", out)
	}
}
