package repository

import (
	"bytes"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// The index is one sorted table of keys of three spaces, told apart by their first byte:
//
//	'i' ID                         -> Entry, by its ID
//	'n' parent 0 name 0 ID         -> the same Entry, in the order of a folder's listing
//	'p' ID of a pack (16 bytes)    -> Pack
//
// In the 'n' space 0 and 1 within a text are escaped as 1 1 and 1 2, which keeps the order,
// and of a name the first 512 bytes count.
const (
	idSpace    = 'i'
	placeSpace = 'n'
	packSpace  = 'p'
)

const (
	// maxNameKey is how many bytes of a name its order considers.
	maxNameKey = 512
	// maxID bounds IDs: what Microsoft sends has below 400 bytes.
	maxID = 4 << 10
)

func idKey(id string) []byte { return append([]byte{idSpace}, id...) }

func packKey(id packID) []byte { return append([]byte{packSpace}, id[:]...) }

// folderKey is how the places of all children of a parent begin.
func folderKey(parent string) []byte {
	key := append(make([]byte, 0, len(parent)+maxNameKey/2), placeSpace)
	return append(appendEscaped(key, parent), 0)
}

// placeKey is where an entry stands in the order of listings.
func placeKey(parent, name, id string) []byte {
	key := appendEscaped(folderKey(parent), name[:min(len(name), maxNameKey)])
	return appendEscaped(append(key, 0), id)
}

func appendEscaped(dst []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case 0, 1:
			dst = append(dst, 1, c+1)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// checkIDs returns Invalid for an entry whose texts cannot be keys.
func checkIDs(e *Entry) error {
	if e.ID == "" {
		return tenantry.Errorf(tenantry.Invalid, "put an entry without ID")
	}
	if len(e.ID) > maxID || len(e.Parent) > maxID {
		return tenantry.Errorf(tenantry.Invalid, "put an entry whose ID has %d bytes, its parent's %d; %d are possible", len(e.ID), len(e.Parent), maxID)
	}
	return nil
}

// record is one row of a sorted table. A dead one says that older tables are wrong to have
// the key.
type record struct {
	key, value []byte
	dead       bool
}

func byKey(a, b record) int { return bytes.Compare(a.key, b.key) }
