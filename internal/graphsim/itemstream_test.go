package graphsim

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// FuzzItemStream reads streams whose digest is right and whose inside is anything: nothing
// panics, and what is taken is of the class it says.
func FuzzItemStream(f *testing.F) {
	s, err := Start(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	for _, head := range []string{`{}`, `{"type":"IPM.Note"}`, `{"type":"IPM.Note","mail":{}}`, `{"type":"IPM.Contact","mail":{}}`,
		`{"type":"IPM.Contact","item":{"Values":{"givenName":"\"A\""},"Photo":3}}`, `{"type":"IPM.Note","mail":{"MIME":-1}}`,
		`{"type":"IPM.Appointment","item":{"Values":{},"Series":true,"Exceptions":{"2026-01-01":null}}}`,
		`{"type":"IPM.Task","item":{"Values":{},"Parts":{"checklistItems":{"Entries":[{}]}}}}`} {
		f.Add([]byte(head), []byte("abc"))
	}
	f.Fuzz(func(t *testing.T, head, rest []byte) {
		data := append(binary.BigEndian.AppendUint32([]byte(streamMagic), uint32(len(head))), head...)
		data = append(data, rest...)
		sum := sha256.Sum256(data)
		class, mail, pim, err := s.readStream(append(data, sum[:]...))
		if err == nil && (mail != nil) == (pim != nil) || err == nil && (class == &itemClasses[mailClass]) != (mail != nil) {
			t.Errorf("class %v, mail %v, item %v", class, mail, pim)
		}
	})
}
