package repository

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/klauspost/compress"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

const (
	// frameSize is how many plain bytes are grouped into one frame: more compresses
	// little better and makes reading one item dearer.
	frameSize = 1 << 20
	// contentFrame is the same for frames of content, which compresses no better among more of its like, and
	// denseFrame for content that does not compress at all.
	contentFrame = 512 << 10
	denseFrame   = 256 << 10
	// packSize is when a pack is cut. With the last frames it may be two frames larger.
	packSize = 8 << 20
	// smallContent is the first size that goes into shared chunks instead of a pack.
	smallContent = 128 << 10
)

const (
	footerFrames = 1
	footerDelta  = 2
)

// lane says which bytes may share a frame. Payloads are text and compress best among their like. Content that is
// compressed already would only push what is not out of the compressor's window, and has it search longer.
type lane int

const (
	payloadLane lane = iota
	contentLane
	denseLane
	lanes
)

// room is how many plain bytes a lane's frames have, tight how many where the writers of the process fill too many
// at once: none is too small for what goes into packs.
var (
	room  = [lanes]int{payloadLane: frameSize, contentLane: contentFrame, denseLane: denseFrame}
	tight = [lanes]int{payloadLane: frameSize / 4, contentLane: smallContent, denseLane: smallContent}
)

const (
	// denseSample is how much of a content is looked at; less than that tells nothing.
	denseSample = 2 << 10
	// denseEstimate bounds what compress.Estimate says of bytes that are compressed already ("above 0.1 are likely to
	// be compressible"); what it says of text is 0.2 and more.
	denseEstimate = 0.1
)

// laneOf says with what a content is best compressed, by a sample from its middle: headers are often text. A wrong guess
// costs some compression, nothing else.
func laneOf(b []byte) lane {
	if len(b) < denseSample {
		return contentLane
	}
	from := (len(b) - denseSample) / 2
	if compress.Estimate(b[from:from+denseSample]) < denseEstimate {
		return denseLane
	}
	return contentLane
}

// frameBuffers are by lane, and by whether they have all the room.
var frameBuffers [lanes][2]sync.Pool

// packer fills one pack. Not safe for concurrent use.
type packer struct {
	id      packID
	box     *box
	filling [lanes]filling
	sealed  []sealedFrame // by number; of none while they are being filled
	frames  []*pb.Frame
	stored  int   // bytes of header and sealed frames
	held    int64 // of packBytes
}

// sealedFrame is a frame in a borrowed buffer.
type sealedFrame struct {
	data   []byte
	buffer *[]byte
}

// filling is the frame that is being filled in a lane.
type filling struct {
	number uint32
	plain  []byte // empty: there is none, and no number is taken
}

func newPacker(k *keys, s tenantry.Series) (*packer, error) {
	p := &packer{stored: headerSize}
	_, _ = rand.Read(p.id[:])
	b, err := k.newBox(packName(s, p.id), kindPack)
	if err != nil {
		return nil, err
	}
	p.box = b
	return p, nil
}

// add appends plain bytes, fewer than smallContent, and says where they are.
func (p *packer) add(l lane, b []byte) Ref {
	f := &p.filling[l]
	if len(f.plain)+len(b) > cap(f.plain) {
		p.seal(l)
	}
	if len(f.plain) == 0 {
		f.number = uint32(len(p.frames))
		p.frames, p.sealed = append(p.frames, nil), append(p.sealed, sealedFrame{})
	}
	if f.plain == nil {
		f.plain = frameBuffer(l)
	}
	r := Ref{pack: p.id, frame: f.number, offset: uint32(len(f.plain)), length: uint32(len(b))}
	f.plain = append(f.plain, b...)
	return r
}

// seal ends the frame being filled in a lane.
func (p *packer) seal(l lane) {
	f := &p.filling[l]
	if len(f.plain) == 0 {
		return
	}
	by := contentEncoder
	if l == payloadLane {
		by = encoder
	}
	stored, buffer := p.box.sealBorrowed(by(), nil, f.plain, f.number)
	p.sealed[f.number] = sealedFrame{stored, buffer}
	p.frames[f.number] = &pb.Frame{Stored: uint32(len(stored)), Plain: uint32(len(f.plain))}
	p.stored += len(stored)
	p.held += int64(len(stored))
	packBytes.Add(int64(len(stored)))
	f.plain = f.plain[:0]
}

// size is how many bytes the pack has grown to, the frames being filled uncompressed.
func (p *packer) size() int64 {
	if len(p.frames) == 0 {
		return 0
	}
	n := p.stored
	for l := range p.filling {
		n += len(p.filling[l].plain)
	}
	return int64(n)
}

// full reports whether it is time to cut: because of this pack, or because all of the process are too many.
func (p *packer) full() bool {
	return p.stored >= packSize || p.stored >= earlyPack && packBytes.Load() > processPacks
}

// release gives the memory of the pack back; once it was called, it does nothing.
func (p *packer) release() {
	packBytes.Add(-p.held)
	p.held, p.sealed = 0, nil
	p.recycle()
}

// recycle gives the buffers of the frames back, which nothing is added to any more.
func (p *packer) recycle() {
	for l := range p.filling {
		if buffer := p.filling[l].plain; buffer != nil {
			p.filling[l].plain = nil
			frameBytes.Add(-int64(cap(buffer)))
			frameBuffers[l][sizeClass(lane(l), cap(buffer))].Put(&buffer)
		}
	}
}

// frameBuffer returns an empty buffer with room for a frame: a smaller one where the process has many.
func frameBuffer(l lane) []byte {
	size := room[l]
	if frameBytes.Add(int64(size)) > processFrames {
		frameBytes.Add(int64(tight[l] - size))
		size = tight[l]
	}
	if buffer, ok := frameBuffers[l][sizeClass(l, size)].Get().(*[]byte); ok {
		return (*buffer)[:0]
	}
	return make([]byte, 0, size)
}

func sizeClass(l lane, size int) int {
	if size == room[l] {
		return 0
	}
	return 1
}

// chained is where a pack with changes stands among the others: behind previous, and in the place of another one.
type chained struct {
	previous  []byte // ID of a pack; empty: none
	standsFor string // ID of a pack; empty: its own
}

// cut ends the pack with a footer that carries an encoded IndexDelta of so many changes, or none.
func (p *packer) cut(number uint64, delta []byte, changes int, at chained) ([]byte, *pb.Pack, error) {
	for l := range lanes {
		p.seal(l)
	}
	p.recycle()
	said := &pb.Footer{Frames: p.frames, Number: number}
	if changes > 0 {
		said.Previous, said.StandsFor = at.previous, []byte(at.standsFor)
	}
	footer, err := marshal(said)
	if err != nil {
		return nil, nil, err
	}
	if changes > 0 {
		footer = appendBytes(footer, footerDelta, delta)
	}
	object := make([]byte, 0, p.stored+maxSealed(len(footer))+trailerSize)
	object = append(object, p.box.header[:]...)
	for _, frame := range p.sealed {
		object = append(object, frame.data...)
		giveBack(frame.buffer)
	}
	p.sealed = nil
	object, sealed := p.box.end(object, footer)
	return object, &pb.Pack{Id: p.id[:], Number: number, Size: int64(len(object)), Footer: sealed, Changes: int64(changes), StandsFor: said.StandsFor}, nil
}

// packReader knows where the frames of a stored pack are. Safe for concurrent use.
type packReader struct {
	name    string
	box     *box
	offsets []int64 // of each frame in the object, and of the footer
	plain   []uint32
}

// openPack reads a pack's footer: one ranged GET.
func (r *Repository) openPack(ctx context.Context, s tenantry.Series, p *pb.Pack) (*packReader, error) {
	id, err := toPackID(p.Id)
	if err != nil {
		return nil, err
	}
	name := packName(s, id)
	pr, err := r.readFooter(ctx, name, p)
	if err != nil {
		return nil, objectError(r.object(name), err)
	}
	return pr, nil
}

func (r *Repository) readFooter(ctx context.Context, name string, p *pb.Pack) (*packReader, error) {
	b, footer, err := r.readEnd(ctx, name, kindPack, p.Size, p.Footer)
	if err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	pr := &packReader{name: name, box: b, offsets: []int64{headerSize}}
	if err := pr.parse(footer); err != nil {
		return nil, err
	}
	if pr.offsets[len(pr.offsets)-1] != p.Size-trailerSize-p.Footer {
		return nil, tenantry.Errorf(tenantry.Corrupt, "its frames do not end where its footer begins")
	}
	return pr, nil
}

// parse fills the frame table from a footer; its delta is walked over, not decoded.
func (pr *packReader) parse(footer []byte) error {
	for len(footer) > 0 {
		field, typ, n := protowire.ConsumeTag(footer)
		if n < 0 {
			return tenantry.Errorf(tenantry.Corrupt, "its footer is not well-formed")
		}
		m := protowire.ConsumeFieldValue(field, typ, footer[n:])
		if m < 0 {
			return tenantry.Errorf(tenantry.Corrupt, "its footer is not well-formed")
		}
		if field == footerFrames && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(footer[n:])
			var f pb.Frame
			if err := proto.Unmarshal(value, &f); err != nil {
				return tenantry.E(tenantry.Corrupt, "decode its frame table", err)
			}
			pr.offsets = append(pr.offsets, pr.offsets[len(pr.offsets)-1]+int64(f.Stored))
			pr.plain = append(pr.plain, f.Plain)
		}
		footer = footer[n+m:]
	}
	return nil
}

// frame reads and opens one frame, into a borrowed buffer if there is one as large: one ranged GET.
func (r *Repository) frame(ctx context.Context, pr *packReader, number uint32) (plain []byte, buffer *[]byte, err error) {
	if int(number) >= len(pr.plain) {
		return nil, nil, tenantry.Errorf(tenantry.Corrupt, "object %s: it has no frame %d", r.object(pr.name), number)
	}
	begin := pr.offsets[number]
	size := pr.offsets[number+1] - begin
	sealed, into := borrow(headerSize+size), borrow(int64(pr.plain[number]))
	defer giveBack(sealed)
	stored, err := r.readFramesInto(ctx, pr.box, begin, size, *sealed)
	if err != nil {
		giveBack(into)
		return nil, nil, objectError(r.object(pr.name), err)
	}
	plain, err = pr.box.openInto(*into, stored, number, int(pr.plain[number]))
	if err == nil && len(plain) != int(pr.plain[number]) {
		err = tenantry.Errorf(tenantry.Corrupt, "it holds %d bytes, expected %d", len(plain), pr.plain[number])
	}
	if err != nil {
		giveBack(into)
		return nil, nil, objectError(r.object(pr.name), fmt.Errorf("frame %d: %w", number, err))
	}
	return plain, into, nil
}

// readRange reads exactly n bytes of an object. An object that is absent or shorter is
// Corrupt: only named objects are read.
func (r *Repository) readRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	return r.readRangeInto(ctx, name, offset, n, nil)
}

// readRangeInto is readRange into a buffer, if that has room for so much.
func (r *Repository) readRangeInto(ctx context.Context, name string, offset, n int64, into []byte) ([]byte, error) {
	body, err := r.store.Get(ctx, r.object(name), offset, n)
	if err != nil {
		return nil, missing(err)
	}
	defer body.Close()
	if n <= int64(len(into)) {
		return readExactly(body, n, into[:0:n])
	}
	return readExactly(body, n, make([]byte, 0, min(n, believed)))
}

// missing turns ErrNotFound of an object that must be there into Corrupt.
func missing(err error) error {
	if isNotFound(err) {
		return tenantry.E(tenantry.Corrupt, "it is missing", blob.ErrNotFound)
	}
	return err
}
