package repository

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// An object is a header and sealed frames (docs/FORMAT.md, "Sealed objects").
const (
	magic         = "TNRY"
	formatVersion = 2
	headerSize    = 8
	// frameOverhead is a nonce of 12 bytes before and a tag of 16 after each frame.
	frameOverhead = 12 + 16
)

// objectKind is the header's byte that says what an object is.
type objectKind byte

const (
	kindManifest objectKind = 'm'
	kindPack     objectKind = 'p'
	kindSegment  objectKind = 's'
	kindChunk    objectKind = 'c'
	// kindCondemned is a list of chunks that are about to be deleted.
	kindCondemned objectKind = 'g'
	// kindPatrol is how far a patrol has come.
	kindPatrol objectKind = 'v'
	// kindArchive is a part of what was made for somebody to fetch.
	kindArchive objectKind = 'x'
)

// footerFrame is the frame number of a pack's footer, whatever the number of frames.
const footerFrame = 1<<32 - 1

// box seals and opens the frames of one object.
type box struct {
	aead   cipher.AEAD
	header [headerSize]byte
	name   string
}

// newBox returns the box of a new object, under the newest data key.
func (k *keys) newBox(name string, kind objectKind) (*box, error) {
	number, key := k.sealing()
	return boxFor(name, kind, number, key)
}

// openBox returns the box of a stored object, from its header or the half of it
// that a pack repeats in its trailer. The error says what is wrong, not where.
func (k *keys) openBox(name string, kind objectKind, header []byte) (*box, error) {
	if len(header) != headerSize || string(header[:4]) != magic {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it does not begin as one of our objects")
	}
	if header[4] != formatVersion {
		return nil, tenantry.Errorf(tenantry.Invalid, "it has format version %d, this program reads %d", header[4], formatVersion)
	}
	if objectKind(header[5]) != kind {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it is of kind %q, expected %q", header[5], byte(kind))
	}
	number := binary.BigEndian.Uint16(header[6:])
	key, ok := k.opening(number)
	if !ok {
		return nil, tenantry.Errorf(tenantry.WrongKey, "it is sealed under data key %d, which the repository's key object does not hold", number)
	}
	return boxFor(name, kind, number, key)
}

func boxFor(name string, kind objectKind, number uint16, dataKey []byte) (*box, error) {
	key, err := hkdf.Key(sha256.New, dataKey, nil, "tenantry object v1 "+name, 32)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "derive an object's key", err)
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	b := &box{aead: aead, name: name}
	copy(b.header[:], magic)
	b.header[4], b.header[5] = formatVersion, byte(kind)
	binary.BigEndian.PutUint16(b.header[6:], number)
	return b, nil
}

// newAEAD returns AES-256-GCM that draws a random nonce and puts it before the ciphertext.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "make a cipher", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "make a cipher", err)
	}
	return aead, nil
}

// bound is the associated data of a frame: header, name and frame number. A frame
// that is moved within an object or between objects does not open.
func (b *box) bound(frame uint32) []byte {
	ad := make([]byte, 0, headerSize+len(b.name)+4)
	ad = append(ad, b.header[:]...)
	ad = append(ad, b.name...)
	return binary.BigEndian.AppendUint32(ad, frame)
}

// seal compresses plain and appends it, sealed, to dst.
func (b *box) seal(dst, plain []byte, frame uint32) []byte {
	scratch := compressed(encoder(), plain)
	defer putScratch(scratch)
	dst = slices.Grow(dst, len(*scratch)+frameOverhead) // the cipher would make room for this frame alone, again and again
	return b.aead.Seal(dst, nil, *scratch, b.bound(frame))
}

// sealBorrowed compresses plain by an encoder and returns it, sealed, behind what goes before it, in a borrowed buffer.
func (b *box) sealBorrowed(e *zstd.Encoder, before, plain []byte, frame uint32) (sealed []byte, buffer *[]byte) {
	scratch := compressed(e, plain)
	defer putScratch(scratch)
	buffer = borrow(int64(len(before) + len(*scratch) + frameOverhead))
	sealed = append((*buffer)[:0], before...)
	return b.aead.Seal(sealed, nil, *scratch, b.bound(frame)), buffer
}

// maxSealed is how many bytes a sealed frame of so many plain bytes has at most: what does not compress
// grows by a header for each block of 128 KiB.
func maxSealed(plain int) int { return plain + plain/(128<<10)*3 + 64 + frameOverhead }

// compressedSize is how many bytes a frame of plain takes, compressed.
func compressedSize(plain []byte) int {
	scratch := compressed(encoder(), plain)
	defer putScratch(scratch)
	return len(*scratch)
}

// compressed compresses plain into a scratch, which putScratch takes back.
func compressed(e *zstd.Encoder, plain []byte) *[]byte {
	scratch := scratches.Get().(*[]byte)
	*scratch = e.EncodeAll(plain, (*scratch)[:0])
	return scratch
}

// putScratch keeps a scratch for the next one.
func putScratch(scratch *[]byte) {
	if cap(*scratch) <= maxScratch {
		scratches.Put(scratch)
	}
}

// authentic reports whether a stored frame is what was sealed.
func (b *box) authentic(stored []byte, frame uint32) bool {
	scratch := scratches.Get().(*[]byte)
	defer putScratch(scratch)
	packed, err := b.aead.Open((*scratch)[:0], nil, stored, b.bound(frame))
	if err == nil {
		*scratch = packed[:0]
	}
	return err == nil
}

// open returns the plain bytes of a frame, at most limit.
func (b *box) open(stored []byte, frame uint32, limit int) ([]byte, error) {
	return b.openInto(nil, stored, frame, limit)
}

// openInto is open into a buffer, whose content it overwrites, if that has room for the plain bytes.
func (b *box) openInto(into, stored []byte, frame uint32, limit int) ([]byte, error) {
	scratch := scratches.Get().(*[]byte)
	defer putScratch(scratch)
	packed, err := b.aead.Open((*scratch)[:0], nil, stored, b.bound(frame))
	if err != nil {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it does not authenticate: damaged, cut short or tampered with")
	}
	*scratch = packed[:0]
	size, err := decompressed(packed, limit)
	if err != nil {
		return nil, err
	}
	if size > cap(into) {
		into = make([]byte, size)
	}
	plain, err := decoder().DecodeAll(packed, into[:0:size]) // never more than that capacity
	if err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "it does not decompress", err)
	}
	return plain, nil
}

// decompressed returns how many plain bytes a zstd frame may have, from its header: what it claims, or
// the most that needs no claim. Corrupt for a claim above limit or of more than its bytes can hold.
func decompressed(packed []byte, limit int) (int, error) {
	var h zstd.Header
	if err := h.Decode(packed); err != nil {
		return 0, tenantry.E(tenantry.Corrupt, "it does not decompress", err)
	}
	if !h.HasFCS {
		return min(maxUnclaimed, limit), nil
	}
	if h.FrameContentSize > uint64(limit) || h.FrameContentSize > uint64(len(packed))*maxExpansion {
		return 0, tenantry.Errorf(tenantry.Corrupt, "it claims to decompress to %d bytes, more than %d or than %d bytes can hold", h.FrameContentSize, limit, len(packed))
	}
	return int(h.FrameContentSize), nil
}

const (
	// maxUnclaimed is up to which size our encoder writes frames without their content size.
	maxUnclaimed = 255
	// maxExpansion is what a byte of zstd can make at most: 4 bytes are a block of one byte repeated
	// 128 KiB times (RFC 8878, section 3.1.1.2).
	maxExpansion = 32 << 10
)

// maxScratch keeps a rare giant out of the pool.
const maxScratch = 8 << 20

var scratches = sync.Pool{New: func() any { return new([]byte) }}

// maxPlain bounds what any frame may decompress to: an index of about a million
// changed entries in one delta.
const maxPlain = 1 << 30

// processors is how many the process may use at most: later it may keep itself to fewer for a while.
var processors = runtime.GOMAXPROCS(0)

// encoder compresses payloads and indexes, contentEncoder what files and attachments hold. Most of that is compressed
// already; of what is not, the fastest level makes some 7 % more bytes in two thirds of the time, by a table that
// stays in a core's cache: that of the default one is five times as large, and dearer the more others run beside it.
var (
	encoder        = newEncoder(zstd.SpeedDefault, false)
	contentEncoder = newEncoder(zstd.SpeedFastest, true)
)

// newEncoder returns an encoder that is made when it is first asked for: stateless calls, safe for concurrent use. A
// window of 1 MiB is a whole frame; AES-GCM authenticates, so zstd's own checksum is off. Frugal is one that keeps
// 1 MiB of history for each core, not 2, and moves it more often within what is longer than that.
func newEncoder(level zstd.EncoderLevel, frugal bool) func() *zstd.Encoder {
	return sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false),
			zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(processors), zstd.WithLowerEncoderMem(frugal))
		if err != nil {
			panic("repository: zstd refuses constant options: " + err.Error())
		}
		return e
	})
}

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(processors), zstd.WithDecoderMaxMemory(maxPlain),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("repository: zstd refuses constant options: " + err.Error())
	}
	return d
})
