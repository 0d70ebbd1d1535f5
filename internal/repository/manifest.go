package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/blake3"
	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// maxManifest bounds a manifest in the bucket: 100,000 cursors, and snapshots that are kept.
const maxManifest = 64 << 20

// Cursor is how far one delta collection has been read. It is part of a manifest.
type Cursor struct {
	Link       string // nextLink within a round, deltaLink after it; "" = from the start
	Generation int64  // rises with every resync of this collection
	Complete   bool   // a whole round has been read: Link is a deltaLink
}

// Snapshot is one sealed restore point.
type Snapshot struct {
	Seq    int64
	Time   time.Time // UTC, to the microsecond
	Task   tenantry.TaskID
	Nonce  []byte
	Counts tenantry.Counts // items in the snapshot, bytes of payload, skipped = entries with a problem
}

// lean drops the filters of the segments, which only look-ups need and which can be megabytes: who holds many manifests
// at once holds them so.
func (m manifest) lean() manifest {
	for _, s := range m.Segments {
		s.Filter, s.Prints = nil, nil
	}
	return m
}

// Head is what the newest manifest of a series says.
type Head struct {
	Seq    int64 // 0: the series is empty
	Epoch  int64
	Sealed bool
	Task   tenantry.TaskID
	Live   []Snapshot // newest first
}

// seriesName is where a series lies within its tenant, ending with a slash.
func seriesName(s tenantry.Series) string {
	return "r/" + string(s.Resource) + "/" + string(s.Workload) + "/"
}

// manifestName names a manifest so that the newest comes first in a listing.
func manifestName(s tenantry.Series, seq int64) string {
	return fmt.Sprintf("%sm/%019d", seriesName(s), math.MaxInt64-seq)
}

// manifestSeq is the inverse of manifestName for the last segment of a key.
func manifestSeq(key string) (int64, error) {
	last := key[strings.LastIndexByte(key, '/')+1:]
	n, err := strconv.ParseInt(last, 10, 64)
	if err != nil || len(last) != 19 || n < 0 {
		return 0, tenantry.Errorf(tenantry.Corrupt, "%s is not the name of a manifest", key)
	}
	return math.MaxInt64 - n, nil
}

func packName(s tenantry.Series, id packID) string { return seriesName(s) + "p/" + id.String() }

// manifest is a manifest as it was read, with the digest its child will carry.
type manifest struct {
	*pb.Manifest
	digest []byte
	stored int64 // bytes that the object has
}

// Head reads the newest manifest of a series: one LIST, one GET.
func (r *Repository) Head(ctx context.Context, s tenantry.Series) (Head, error) {
	if err := r.check(s); err != nil {
		return Head{}, err
	}
	m, err := r.readHead(ctx, s)
	if err != nil {
		return Head{}, err
	}
	return Head{
		Seq: m.Seq, Epoch: m.Epoch, Sealed: m.Sealed, Task: tenantry.TaskID(m.Task), Live: toSnapshots(m.Live),
	}, nil
}

// readHead returns the newest manifest, or one of sequence number 0 for an empty series.
func (r *Repository) readHead(ctx context.Context, s tenantry.Series) (manifest, error) {
	for info, err := range r.store.List(ctx, r.object(seriesName(s)+"m/")) {
		if err != nil {
			return manifest{}, r.fail(s, err)
		}
		seq, err := manifestSeq(info.Key)
		if err != nil {
			return manifest{}, r.fail(s, err)
		}
		m, err := r.readListed(ctx, s, seq, info)
		if errors.Is(err, blob.ErrNotFound) {
			// The head is never deleted; whoever deletes old ones may only do so once there is a newer.
			err = tenantry.Errorf(tenantry.Transient, "manifest %s went away while it was read", info.Key)
		}
		return m, r.fail(s, err)
	}
	return manifest{Manifest: &pb.Manifest{Version: formatVersion}}, nil
}

// readManifest reads one manifest. blob.ErrNotFound if there is none.
func (r *Repository) readManifest(ctx context.Context, s tenantry.Series, seq int64) (manifest, error) {
	_, m, err := r.fetchManifest(ctx, s, seq)
	return m, err
}

func (r *Repository) fetchManifest(ctx context.Context, s tenantry.Series, seq int64) (body []byte, m manifest, err error) {
	name := manifestName(s, seq)
	if body, err = blob.ReadAll(ctx, r.store, r.object(name), maxManifest); err != nil {
		return nil, manifest{}, err
	}
	if m, err = r.openManifest(s, seq, body); err != nil {
		return nil, manifest{}, tenantry.Errorf(tenantry.KindOf(err), "object %s: %w", r.object(name), err)
	}
	return body, m, nil
}

func (r *Repository) openManifest(s tenantry.Series, seq int64, body []byte) (manifest, error) {
	if len(body) < headerSize {
		return manifest{}, tenantry.Errorf(tenantry.Corrupt, "it is cut short at %d bytes", len(body))
	}
	b, err := r.keys.openBox(manifestName(s, seq), kindManifest, body[:headerSize])
	if err != nil {
		return manifest{}, err
	}
	plain, err := b.open(body[headerSize:], 0, maxPlain)
	if err != nil {
		return manifest{}, err
	}
	m := &pb.Manifest{}
	if err := proto.Unmarshal(plain, m); err != nil {
		return manifest{}, tenantry.E(tenantry.Corrupt, "decode it", err)
	}
	if m.Version != formatVersion {
		return manifest{}, tenantry.Errorf(tenantry.Invalid, "it has format version %d, this program reads %d", m.Version, formatVersion)
	}
	if m.Seq != seq {
		return manifest{}, tenantry.Errorf(tenantry.Corrupt, "it says that it is number %d", m.Seq)
	}
	for _, seg := range m.Segments {
		if len(seg.Id) != len(packID{}) || len(seg.First) == 0 || bytes.Compare(seg.First, seg.Last) > 0 {
			return manifest{}, tenantry.Errorf(tenantry.Corrupt, "it names an index segment that cannot be")
		}
	}
	digest := blake3.Sum256(body)
	return manifest{Manifest: m, digest: digest[:], stored: int64(len(body))}, nil
}

// sealManifest is the inverse of openManifest.
func (r *Repository) sealManifest(s tenantry.Series, m *pb.Manifest) ([]byte, error) {
	plain, err := marshal(m)
	if err != nil {
		return nil, err
	}
	b, err := r.keys.newBox(manifestName(s, m.Seq), kindManifest)
	if err != nil {
		return nil, err
	}
	return b.seal(append([]byte(nil), b.header[:]...), plain, 0), nil
}

func marshal(m proto.Message) ([]byte, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, "encode "+string(m.ProtoReflect().Descriptor().Name()), err)
	}
	return data, nil
}

func toCounts(c *pb.Counts) tenantry.Counts {
	return tenantry.Counts{
		Items: c.GetItems(), Total: c.GetTotal(), Skipped: c.GetSkipped(), Bytes: c.GetBytes(), Stored: c.GetStored(),
	}
}

func countsMessage(c tenantry.Counts) *pb.Counts {
	return &pb.Counts{Items: c.Items, Total: c.Total, Skipped: c.Skipped, Bytes: c.Bytes, Stored: c.Stored}
}

func toSnapshots(live []*pb.Snapshot) []Snapshot {
	out := make([]Snapshot, len(live))
	for i, s := range live {
		out[i] = toSnapshot(s)
	}
	return out
}

func toSnapshot(s *pb.Snapshot) Snapshot {
	return Snapshot{
		Seq: s.Seq, Time: time.UnixMicro(s.Time).UTC(), Task: tenantry.TaskID(s.Task), Nonce: s.Nonce, Counts: toCounts(s.Counts),
	}
}
