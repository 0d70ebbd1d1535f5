package repository

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

const (
	patrolFolder = "v/"
	// maxPatrol bounds what is noted of a patrol, maxPatrolDamage the damage in it.
	maxPatrol       = 4 << 20
	maxPatrolDamage = 1000
	// patrolReaders is how many objects are read at once: packs and segments of some 10 MiB.
	patrolReaders = 4
	// maxPatrolled bounds one object: what is larger was not written by us.
	maxPatrolled = 512 << 20
	// patrolNoted is after how many bytes it is noted how far a patrol has come.
	patrolNoted = 256 << 20
)

// PatrolRound is the time within which a patrol reads everything once.
const PatrolRound = 30 * 24 * time.Hour

// Damaged is an object that cannot be opened.
type Damaged struct {
	Object string // its name within the tenant
	Reason string
}

// Patrolled says what one day's share of a patrol has read.
type Patrolled struct {
	Objects, Bytes int64
	Left           int64     // bytes of this round that are still to be read
	Done           bool      // the share was read; false: told to stop
	RoundEnded     time.Time // when everything had been read once the last time; zero: never yet
	Sound          bool      // a round has just ended, and nothing was damaged in it
	Damaged        []Damaged // found in this share, at most 1000
}

// Patrol reads the share of a day of all objects of the tenant and proves each by itself, every
// byte: so much that within PatrolRound everything is read once, whatever the tenant has and however
// many days were missed. Where it was, and what it found, is kept in the bucket and taken up by
// the next call; losing that begins the round anew. It runs beside everything else, of which there
// should be one at a time: two read the same twice.
//
// An object that is missing is not seen by it: that is for CheckQuick. Memory: some objects at a
// time. Closing stop ends it in good order.
func (r *Repository) Patrol(ctx context.Context, stop <-chan struct{}) (Patrolled, error) {
	p := &patrol{repo: r, stop: stop}
	out, err := p.run(ctx)
	if err != nil {
		return out, tenantry.Errorf(tenantry.KindOf(err), "patrol tenant %s: %w", r.tenant, err)
	}
	return out, nil
}

type patrol struct {
	repo  *Repository
	stop  <-chan struct{}
	at    *pb.Patrol
	out   Patrolled
	noted int64 // bytes that were read when it was noted last
}

func (p *patrol) run(ctx context.Context) (Patrolled, error) {
	var err error
	now := p.repo.now()
	if p.at, err = p.repo.lastPatrol(ctx); err != nil {
		return p.out, err
	}
	if p.at.Begun == 0 {
		p.at.Begun = now.UnixMicro()
	}
	left, err := p.left(ctx)
	if err != nil {
		return p.out, err
	}
	share := dayShare(left, now.Sub(time.UnixMicro(p.at.Begun)))
	p.out.Left = left
	err = p.read(ctx, share)
	if p.out.Left = max(0, left-p.out.Bytes); err == nil && p.out.Done && p.out.Left == 0 {
		p.out.Sound = len(p.at.Damaged) == 0
		p.at = &pb.Patrol{Ended: p.repo.now().UnixMicro(), Begun: p.repo.now().UnixMicro()}
	}
	if p.at.Ended > 0 {
		p.out.RoundEnded = time.UnixMicro(p.at.Ended)
	}
	if noteErr := p.repo.notePatrol(context.WithoutCancel(ctx), p.at); err == nil {
		err = noteErr
	}
	return p.out, err
}

// dayShare is how much of what is left is read in a day, so that the round ends in time.
func dayShare(left int64, elapsed time.Duration) int64 {
	days := int64((PatrolRound - elapsed) / (24 * time.Hour))
	return left/max(1, days) + 1
}

// left sums up what is still to be read.
func (p *patrol) left(ctx context.Context) (sum int64, err error) {
	for info, err := range p.repo.store.List(ctx, p.repo.object("")) {
		if err != nil {
			return 0, err
		}
		if p.due(info) {
			sum += info.Size
		}
	}
	return sum, nil
}

func (p *patrol) due(info blob.Info) bool {
	name := strings.TrimPrefix(info.Key, p.repo.object(""))
	return name > p.at.After && !strings.HasPrefix(name, patrolFolder)
}

// read reads on in the order of names until the share is read.
func (p *patrol) read(ctx context.Context, share int64) error {
	var batch []blob.Info
	for info, err := range p.repo.store.List(ctx, p.repo.object("")) {
		if err != nil {
			return err
		}
		if !p.due(info) {
			continue
		}
		if p.out.Bytes >= share {
			p.out.Done = true
			return p.readBatch(ctx, batch)
		}
		select {
		case <-p.stop:
			return p.readBatch(ctx, batch)
		default:
		}
		p.out.Bytes += info.Size
		if batch = append(batch, info); len(batch) < 4*patrolReaders {
			continue
		}
		if err := p.readBatch(ctx, batch); err != nil {
			return err
		}
		batch = batch[:0]
	}
	p.out.Done = true
	return p.readBatch(ctx, batch)
}

// readBatch reads some objects, several at once, and moves on behind them.
func (p *patrol) readBatch(ctx context.Context, batch []blob.Info) error {
	if len(batch) == 0 {
		return nil
	}
	faults := make([]error, len(batch))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(patrolReaders)
	for i, info := range batch {
		group.Go(func() error {
			err := p.repo.patrolObject(inner, info.Key)
			if abort(inner, err) {
				return err
			}
			faults[i] = err
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, info := range batch {
		name := strings.TrimPrefix(info.Key, p.repo.object(""))
		p.out.Objects++
		p.at.After = name
		p.at.Objects++
		p.at.Bytes += info.Size
		if faults[i] != nil {
			p.found(name, faults[i])
		}
	}
	if p.out.Bytes-p.noted < patrolNoted {
		return nil
	}
	p.noted = p.out.Bytes
	return p.repo.notePatrol(ctx, p.at)
}

func (p *patrol) found(name string, fault error) {
	if len(p.out.Damaged) < maxPatrolDamage {
		p.out.Damaged = append(p.out.Damaged, Damaged{Object: name, Reason: fault.Error()})
	}
	if len(p.at.Damaged) < maxPatrolDamage {
		p.at.Damaged = append(p.at.Damaged, &pb.Damaged{Object: name, Reason: fault.Error(), Found: p.repo.now().UnixMicro()})
	}
}

// patrolObject reads and proves one object; one that went away meanwhile is nobody's fault. What
// does not prove is read once more: it may have been damaged on its way.
func (r *Repository) patrolObject(ctx context.Context, key string) error {
	name := strings.TrimPrefix(key, r.object(""))
	var fault error
	for range 2 {
		body, err := blob.ReadAll(ctx, r.store, key, maxPatrolled)
		if isNotFound(err) {
			return nil
		}
		if fault = err; err == nil {
			_, fault = r.inspect(name, body)
		}
		if tenantry.KindOf(fault) != tenantry.Corrupt {
			return fault
		}
	}
	return objectError(key, fault)
}

// lastPatrol returns how far the patrol has come: the newest note that can be read.
func (r *Repository) lastPatrol(ctx context.Context) (*pb.Patrol, error) {
	for info, err := range r.store.List(ctx, r.object(patrolFolder)) {
		if err != nil {
			return nil, err
		}
		body, err := blob.ReadAll(ctx, r.store, info.Key, maxPatrol)
		if isNotFound(err) {
			continue
		}
		if err != nil && tenantry.KindOf(err) != tenantry.Corrupt {
			return nil, err
		}
		if at, openErr := r.openPatrol(strings.TrimPrefix(info.Key, r.object("")), body); err == nil && openErr == nil {
			return at, nil
		} // an older one, or the round anew
	}
	return &pb.Patrol{}, nil
}

func (r *Repository) openPatrol(name string, body []byte) (*pb.Patrol, error) {
	if len(body) < headerSize {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it is cut short at %d bytes", len(body))
	}
	b, err := r.keys.openBox(name, kindPatrol, body[:headerSize])
	if err != nil {
		return nil, err
	}
	plain, err := b.open(body[headerSize:], 0, maxPatrol)
	if err != nil {
		return nil, err
	}
	at := &pb.Patrol{}
	if err := proto.Unmarshal(plain, at); err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "decode it", err)
	}
	return at, nil
}

// notePatrol writes how far a patrol has come, and removes the notes before; what a lock keeps stays.
func (r *Repository) notePatrol(ctx context.Context, at *pb.Patrol) error {
	name := patrolFolder + fmt.Sprintf("%019d", math.MaxInt64-r.now().UnixMicro())
	b, err := r.keys.newBox(name, kindPatrol)
	if err != nil {
		return err
	}
	plain, err := marshal(at)
	if err != nil {
		return err
	}
	err = r.store.PutIfAbsent(ctx, r.object(name), b.seal(slices.Clone(b.header[:]), plain, 0))
	if err != nil && !errors.Is(err, blob.ErrExists) {
		return err
	}
	for info, err := range r.store.List(ctx, r.object(patrolFolder)) {
		if err != nil {
			return err
		}
		if info.Key <= r.object(name) {
			continue
		}
		if err := r.store.Delete(ctx, info.Key); err != nil && !errors.Is(err, blob.ErrLocked) {
			return err
		}
	}
	return nil
}

// Affected returns, for objects that are damaged, of each series that needs one of them the newest
// live snapshot that does. It reads the index of each series that may, and no content.
func (r *Repository) Affected(ctx context.Context, damaged []Damaged) (map[tenantry.Series]int64, error) {
	chunks, packs := map[chunkKey]bool{}, map[string]bool{}
	only := map[string]bool{} // series by name, unless there are chunks
	for _, d := range damaged {
		if k, ok := parseChunkName(d.Object); ok && strings.HasPrefix(d.Object, "c/") {
			chunks[k] = true
		} else if parts := strings.Split(d.Object, "/"); len(parts) == 5 && parts[0] == "r" && parts[3] != "m" {
			packs[d.Object] = true
			only[strings.Join(parts[:3], "/")+"/"] = true
		}
	}
	out := map[tenantry.Series]int64{}
	if len(chunks)+len(packs) == 0 {
		return out, nil
	}
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if len(chunks) == 0 && !only[seriesName(s)] {
			continue
		}
		seq, err := r.affected(ctx, s, chunks, packs)
		if err != nil && tenantry.KindOf(err) != tenantry.Corrupt {
			return nil, r.fail(s, err)
		}
		if seq > 0 {
			out[s] = seq
		}
	}
	return out, nil
}

// affected returns the newest live snapshot of a series that needs one of the objects; 0 if none does. A
// snapshot whose index cannot be read counts.
func (r *Repository) affected(ctx context.Context, s tenantry.Series, chunks map[chunkKey]bool, objects map[string]bool) (int64, error) {
	live, err := r.Snapshots(ctx, s)
	if err != nil {
		return 0, err
	}
	for _, snapshot := range live {
		m, err := r.readManifest(ctx, s, snapshot.Seq)
		if tenantry.KindOf(err) == tenantry.Corrupt || isNotFound(err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		hit := slices.ContainsFunc(m.Segments, func(meta *pb.Segment) bool { return objects[segmentName(s, packID(meta.Id))] })
		err = r.references(ctx, s, past{manifests: map[int64]manifest{m.Seq: m}}, func(ref Ref) {
			hit = hit || ref.length > 0 && objects[packName(s, ref.pack)]
			for i := range ref.chunks {
				hit = hit || chunks[ref.chunks[i].key()]
			}
		})
		if abort(ctx, err) {
			return 0, err
		}
		if hit || err != nil {
			return snapshot.Seq, nil
		}
	}
	return 0, nil
}
