package formattest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
	"google.golang.org/protobuf/proto"

	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// NewReader unwraps the tenant's keys ("The object key").
func NewReader(bucket Bucket, keys KeyFile, tenant string) (*Reader, error) {
	name, err := newestKey(bucket)
	if err != nil {
		return nil, err
	}
	body := bucket[name]
	if len(body) < 8+32 || string(body[:4]) != "TNRK" || binary.BigEndian.Uint32(body[4:]) != 1 {
		return nil, fmt.Errorf("object %s is no key object of version 1", name)
	}
	end := len(body) - 32
	if sum := blake3.Sum256(body[:end]); !bytes.Equal(sum[:], body[end:]) {
		return nil, fmt.Errorf("object %s: wrong checksum", name)
	}
	var object pb.KeyObject
	if err := proto.Unmarshal(body[8:end], &object); err != nil {
		return nil, err
	}
	for _, k := range keys.Tenants[tenant] {
		if k.ID != object.WrappingKeyId {
			continue
		}
		var fingerprint [16]byte
		blake3.DeriveKey("tenantry 2026 wrapping key name v1", k.Key, fingerprint[:])
		if k.ID != fmt.Sprintf("file-%x", fingerprint) {
			return nil, fmt.Errorf("wrapping key %s has another fingerprint", k.ID)
		}
		plain, err := openGCM(k.Key, object.Wrapped, []byte("tenantry wrap v1 "+tenant+" "+k.ID))
		if err != nil {
			return nil, err
		}
		return unwrapped(bucket, plain)
	}
	return nil, fmt.Errorf("no wrapping key %s of tenant %s", object.WrappingKeyId, tenant)
}

// newestKey finds the generation of the key object that counts.
func newestKey(bucket Bucket) (string, error) {
	name, newest := "", 0
	for candidate := range bucket {
		generation := 0
		if candidate == "key" {
			generation = 1
		} else if digits, ok := strings.CutPrefix(candidate, "key."); ok && len(digits) == 10 {
			generation, _ = strconv.Atoi(digits)
		}
		if generation > newest {
			name, newest = candidate, generation
		}
	}
	if newest == 0 {
		return "", fmt.Errorf("there is no key object")
	}
	return name, nil
}

func unwrapped(bucket Bucket, plain []byte) (*Reader, error) {
	var m pb.KeyMaterial
	if err := proto.Unmarshal(plain, &m); err != nil {
		return nil, err
	}
	r := &Reader{bucket: bucket, data: map[uint16][]byte{}, hash: make([]byte, 32)}
	for _, d := range m.DataKeys {
		r.data[uint16(d.Number)] = d.Key
	}
	blake3.DeriveKey("tenantry 2026 content hash v1", m.HashSecret, r.hash)
	return r, nil
}

// keyed is BLAKE3 keyed by the hash key.
func (r *Reader) keyed(body []byte) []byte {
	h, err := blake3.NewKeyed(r.hash)
	if err != nil {
		return nil
	}
	_, _ = h.Write(body)
	return h.Sum(nil)
}

// object is a sealed object ("Sealed objects").
type object struct {
	name   string
	body   []byte
	header []byte
	key    []byte
}

func (r *Reader) open(name string, kind byte) (*object, error) {
	body, ok := r.bucket[name]
	if !ok {
		return nil, fmt.Errorf("object %s is missing", name)
	}
	if len(body) < 8 || string(body[:4]) != "TNRY" || body[4] != 2 || body[5] != kind {
		return nil, fmt.Errorf("object %s: not a header of kind %c", name, kind)
	}
	data, ok := r.data[binary.BigEndian.Uint16(body[6:])]
	if !ok {
		return nil, fmt.Errorf("object %s: unknown data key", name)
	}
	key, err := hkdf.Key(sha256.New, data, nil, "tenantry object v1 "+name, 32)
	return &object{name: name, body: body, header: body[:8], key: key}, err
}

// frame opens a sealed frame.
func (o *object) frame(stored []byte, number uint32) ([]byte, error) {
	ad := append(slices.Clone(o.header), o.name...)
	packed, err := openGCM(o.key, stored, binary.BigEndian.AppendUint32(ad, number))
	if err != nil {
		return nil, fmt.Errorf("object %s, frame %d: %w", o.name, number, err)
	}
	var h zstd.Header
	if err := h.Decode(packed); err != nil {
		return nil, fmt.Errorf("object %s, frame %d: %w", o.name, number, err)
	}
	if h.HasCheckSum {
		return nil, fmt.Errorf("object %s, frame %d: it has a zstd checksum", o.name, number)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	plain, err := d.DecodeAll(packed, nil)
	if err == nil && (h.HasFCS && h.FrameContentSize != uint64(len(plain)) || !h.HasFCS && len(plain) >= 256) {
		err = fmt.Errorf("object %s, frame %d: %d bytes and another content size, or none", o.name, number, len(plain))
	}
	return plain, err
}

// end opens the sealed frame before the trailer of a pack or segment, and says where it begins.
func (o *object) end() (plain []byte, begin int, err error) {
	n := len(o.body)
	if n < 16 || !bytes.Equal(o.body[n-4:], o.header[4:]) {
		return nil, 0, fmt.Errorf("object %s: its trailer does not repeat the header", o.name)
	}
	begin = n - 8 - int(binary.BigEndian.Uint32(o.body[n-8:]))
	if begin < 8 {
		return nil, 0, fmt.Errorf("object %s: its end is longer than it", o.name)
	}
	plain, err = o.frame(o.body[begin:n-8], lastFrame)
	return plain, begin, err
}

// lastFrame is the number of the frame that ends a pack or segment.
const lastFrame = 1<<32 - 1

func openGCM(key, stored, ad []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(stored) < 12+16 {
		return nil, fmt.Errorf("a sealed frame of %d bytes", len(stored))
	}
	return gcm.Open(nil, stored[:12], stored[12:], ad)
}

// pack is a pack's frames, opened ("Packs").
type pack struct{ frames [][]byte }

// pack reads the pack that a record of the space `p` describes.
func (r *Reader) pack(folder string, record *pb.Pack) (*pack, error) {
	o, err := r.open(fmt.Sprintf("%sp/%x", folder, record.Id), 'p')
	if err != nil {
		return nil, err
	}
	plain, begin, err := o.end()
	if err != nil {
		return nil, err
	}
	var footer pb.Footer
	if err := proto.Unmarshal(plain, &footer); err != nil {
		return nil, err
	}
	if record.Size != int64(len(o.body)) || record.Footer != int64(len(o.body)-8-begin) || record.Number != footer.Number ||
		record.Changes != 0 && record.Changes != int64(len(footer.Delta.GetChanges())) || !bytes.Equal(record.StandsFor, footer.StandsFor) {
		return nil, fmt.Errorf("object %s is not what the index says: %v", o.name, record)
	}
	p, at := &pack{}, 8
	for i, f := range footer.Frames {
		if at+int(f.Stored) > begin {
			return nil, fmt.Errorf("object %s: frame %d passes the footer", o.name, i)
		}
		plain, err := o.frame(o.body[at:at+int(f.Stored)], uint32(i))
		if err == nil && len(plain) != int(f.Plain) {
			err = fmt.Errorf("object %s: frame %d has %d bytes, not %d", o.name, i, len(plain), f.Plain)
		}
		if err != nil {
			return nil, err
		}
		p.frames, at = append(p.frames, plain), at+int(f.Stored)
	}
	if at != begin {
		return nil, fmt.Errorf("object %s: its frames end at %d, its footer begins at %d", o.name, at, begin)
	}
	return p, nil
}
