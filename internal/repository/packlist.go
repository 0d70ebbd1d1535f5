package repository

import (
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// packList is the packs of a series.
type packList struct {
	packs []*pb.Pack // that were committed, in the order of their numbers; some that were not may be among them
	// byID has those that may be there, also under the name of the pack that they stand for.
	byID map[packID][]*pb.Pack
	// previous is, of packs with changes that were looked at, the one before them that has some.
	previous map[*pb.Pack][]byte
}

// add makes a pack known under its name, and that of the pack it stands for.
func (l packList) add(p *pb.Pack) {
	names := [][]byte{p.Id}
	if len(p.StandsFor) > 0 {
		names = append(names, p.StandsFor)
	}
	for _, name := range names {
		if id, err := toPackID(name); err == nil {
			l.byID[id] = append(l.byID[id], p)
		}
	}
}

// of returns the packs that a manifest's runs list.
func (l packList) of(m *pb.Manifest) []*pb.Pack {
	inline := map[packID]bool{}
	for _, p := range m.Inline.GetPacks() {
		inline[packID(p.Id)] = true
	}
	return slices.DeleteFunc(slices.Clone(l.packs), func(p *pb.Pack) bool { return p.Number > m.PackNumber || inline[packID(p.Id)] })
}

// changesOf returns the packs whose changes make the runs of a manifest, in the order in which they were made: the chain
// of which the manifest names the last. So what was never committed is not among them, and none is missing.
func (w *Writer) changesOf(ctx context.Context, l packList, m *pb.Manifest) ([]*pb.Pack, error) {
	var chain []*pb.Pack
	for at := m.Changed; len(at) > 0; {
		id, err := toPackID(at)
		if err != nil {
			return nil, err
		}
		p, err := w.standing(ctx, l, id)
		if err == nil && uint64(len(chain)) > m.PackNumber {
			err = tenantry.Errorf(tenantry.Corrupt, "series %s: packs with changes of the index refer to each other", w.series)
		}
		if err != nil {
			return nil, err
		}
		chain, at = append(chain, p), l.previous[p]
	}
	slices.Reverse(chain)
	return chain, nil
}

// standing returns the pack of a name, or one that stands for it, and sees to it that the one before is known.
func (w *Writer) standing(ctx context.Context, l packList, id packID) (*pb.Pack, error) {
	err := objectError(w.repo.object(packName(w.series, id)), tenantry.Errorf(tenantry.Corrupt, "it is missing, and its changes of the index are needed"))
	for _, p := range l.byID[id] {
		if _, known := l.previous[p]; known {
			return p, nil
		}
		footer, readErr := w.footerOf(ctx, p)
		if readErr == nil {
			l.previous[p] = footer.Previous
			return p, nil
		}
		if err = readErr; abort(ctx, err) {
			break
		}
	}
	return nil, err
}

// committedPacks returns the packs of a series. Manifests and what can be read of runs say which were
// committed; what they do not say is told by the packs themselves.
func (w *Writer) committedPacks(ctx context.Context) (packList, error) {
	known, err := w.namedPacks(ctx)
	if err != nil {
		return packList{}, err
	}
	taken := map[uint64]bool{}
	for _, p := range known {
		taken[p.Number] = true
	}
	l := packList{packs: slices.Collect(maps.Values(known)), byID: map[packID][]*pb.Pack{}, previous: map[*pb.Pack][]byte{}}
	for _, p := range known {
		l.add(p)
	}
	for info, err := range w.repo.store.List(ctx, w.repo.object(seriesName(w.series)+"p/")) {
		if err != nil {
			return packList{}, err
		}
		name := strings.TrimPrefix(info.Key, w.repo.object(""))
		if known[name] != nil {
			continue
		}
		p, err := w.strayPack(ctx, name, info.Size)
		if abort(ctx, err) {
			return packList{}, objectError(info.Key, err)
		}
		if err != nil {
			continue // it is missed where it is needed
		}
		l.add(p)
		// One whose number is taken, or too high, is of an owner that never committed it.
		if !taken[p.Number] && p.Number <= w.head.PackNumber {
			l.packs = append(l.packs, p)
		}
	}
	slices.SortFunc(l.packs, func(a, b *pb.Pack) int { return cmp.Compare(a.Number, b.Number) })
	return l, nil
}

// namedPacks collects, by name, the packs that the manifests of the series name, themselves and in the
// segments that can be read.
func (w *Writer) namedPacks(ctx context.Context) (map[string]*pb.Pack, error) {
	known := map[string]*pb.Pack{}
	add := func(p *pb.Pack) {
		if p.Number <= w.head.PackNumber {
			known[packName(w.series, packID(p.Id))] = p
		}
	}
	listed, err := w.repo.listManifests(ctx, w.series, false)
	if err != nil {
		return nil, err
	}
	seen := map[packID]bool{}
	for _, info := range listed {
		seq, err := manifestSeq(info.Key)
		if err != nil {
			return nil, err
		}
		m, err := w.repo.readManifest(ctx, w.series, seq)
		if err != nil {
			if abort(ctx, err) && !isNotFound(err) {
				return nil, err
			}
			continue
		}
		rd, err := w.repo.readerOf(w.series, m)
		if err != nil {
			return nil, err
		}
		for _, p := range rd.inline.packs {
			add(p)
		}
		err = rd.readablePacks(ctx, seen, add)
		rd.Close()
		if err != nil {
			return nil, err
		}
	}
	return known, nil
}

// readablePacks yields the packs in those segments that were not seen before and can be read.
func (rd *Reader) readablePacks(ctx context.Context, seen map[packID]bool, yield func(*pb.Pack)) error {
	for _, meta := range rd.head.Segments {
		one := &Reader{repo: rd.repo, series: rd.series, head: manifest{Manifest: &pb.Manifest{Segments: []*pb.Segment{meta}}}}
		err := one.scanNew(ctx, seen, []byte{packSpace}, func(value []byte) error {
			p, err := decodePack(value)
			if err == nil {
				yield(p)
			}
			return err
		})
		if abort(ctx, err) {
			return err
		}
	}
	return nil
}

// strayPack reads what a pack says of itself that nothing names.
func (w *Writer) strayPack(ctx context.Context, name string, size int64) (*pb.Pack, error) {
	id, err := parsePackID(name[strings.LastIndexByte(name, '/')+1:])
	if err != nil {
		return nil, err
	}
	if size < headerSize+frameOverhead+trailerSize {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it is cut short at %d bytes", size)
	}
	trailer, err := w.repo.readRange(ctx, name, size-trailerSize, trailerSize)
	if err != nil {
		return nil, err
	}
	p := &pb.Pack{Id: id[:], Size: size, Footer: int64(binary.BigEndian.Uint32(trailer))}
	footer, err := w.footerOf(ctx, p)
	if err != nil {
		return nil, err
	}
	p.Number, p.Changes, p.StandsFor = footer.Number, int64(len(footer.Delta.GetChanges())), footer.StandsFor
	return p, nil
}

// footerOf reads the footer of a pack, with the changes of the index in it.
func (w *Writer) footerOf(ctx context.Context, p *pb.Pack) (*pb.Footer, error) {
	name := packName(w.series, packID(p.Id))
	_, plain, err := w.repo.readEnd(ctx, name, kindPack, p.Size, p.Footer)
	if err != nil {
		return nil, objectError(w.repo.object(name), err)
	}
	var footer pb.Footer
	if err := proto.Unmarshal(plain, &footer); err != nil {
		return nil, objectError(w.repo.object(name), tenantry.E(tenantry.Corrupt, "decode its footer", err))
	}
	return &footer, nil
}
