package repository

import (
	"context"
	"errors"
	"time"

	"github.com/zeebo/blake3"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// SetKeyAge makes an opened repository's keys as old as d.
func SetKeyAge(r *Repository, d time.Duration) error {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	r.keys.fetched = time.Now().Add(-d)
	return nil
}

// ResumKeyObject gives a key object that was changed the checksum that fits.
func ResumKeyObject(body []byte) []byte {
	end := len(body) - 32
	sum := blake3.Sum256(body[:end])
	return append(body[:end:end], sum[:]...)
}

// SetClock makes a repository age its garbage by a clock of the test's.
func SetClock(r *Repository, now func() time.Time) { r.clock = now }

// CollectWith is Collect with so little memory for marks and lists.
func CollectWith(ctx context.Context, r *Repository, maxMark, maxCondemned int) (Collected, error) {
	return (&collector{repo: r, maxMark: maxMark, maxCondemned: maxCondemned}).step(ctx)
}

// WorthForgetting is how many packs are listed in vain before a sweep commits for them alone.
const WorthForgetting = worthForgetting

// MaxRecent is how many small contents a writer remembers.
const MaxRecent = maxRecent

// CheckIn is Check, or CheckQuick, in so many passes.
func CheckIn(ctx context.Context, r *Repository, s tenantry.Series, seq int64, passes int, quick bool, report func(Problem)) (Checked, error) {
	rd, err := r.OpenSnapshot(ctx, s, seq)
	if err != nil {
		return Checked{}, err
	}
	defer rd.Close()
	c := newChecker(rd, report)
	c.of, c.wholePacks = passes, quick
	how := c.checkAll
	if quick {
		how = c.lookAtAll
	}
	err = c.passes(ctx, how)
	return c.done, err
}

// Inspect proves a whole object by itself, as a patrol does.
func Inspect(r *Repository, name string, body []byte) error {
	known, err := r.inspect(name, body)
	if err == nil && !known {
		return errors.New("it is none of ours")
	}
	return err
}

// FlushIndex writes what has changed in the index as a run, and commits nothing.
func FlushIndex(ctx context.Context, w *Writer) error {
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.flush(ctx, false); err != nil {
		return err
	}
	return w.wait(ctx)
}

// ListedPacks names the packs that the newest state of a series lists.
func ListedPacks(ctx context.Context, r *Repository, s tenantry.Series) ([]string, error) {
	head, err := r.readHead(ctx, s)
	if err != nil {
		return nil, err
	}
	rd, err := r.readerOf(s, head)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	top, err := rd.inline.records([]byte{packSpace})
	if err != nil {
		return nil, err
	}
	var names []string
	for record, err := range rd.index.scan(ctx, top, []byte{packSpace}, nil) {
		if err != nil {
			return nil, err
		}
		p, err := decodePack(record.value)
		if err != nil {
			return nil, err
		}
		names = append(names, r.object(packName(s, packID(p.Id))))
	}
	return names, nil
}

// PacksWithChanges names the packs with changes of the index that one snapshot lists and an older one does not.
func PacksWithChanges(ctx context.Context, r *Repository, s tenantry.Series, newer, older int64) []string {
	m, err := r.readManifest(ctx, s, older)
	if err != nil {
		return nil
	}
	rd, err := r.OpenSnapshot(ctx, s, newer)
	if err != nil {
		return nil
	}
	defer rd.Close()
	var names []string
	_ = rd.readablePacks(ctx, map[packID]bool{}, func(p *pb.Pack) {
		if p.Changes > 0 && p.Number > m.PackNumber {
			names = append(names, packName(s, packID(p.Id)))
		}
	})
	return names
}

// IsList reports whether what a part refers to is a list of chunks.
func IsList(p Part) bool { return p.Ref.depth > 0 }

// ChunksOf is how many chunks a part has, if it is no list of them.
func ChunksOf(p Part) int { return len(p.Ref.chunks) }
