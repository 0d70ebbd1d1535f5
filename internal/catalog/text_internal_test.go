package catalog

import (
	"fmt"
	"testing"
)

// A word is the text of the row that was read last, whatever the driver gives, and never changes with the driver's memory.
func TestWords(t *testing.T) {
	t.Parallel()
	known, text := words{}, ""
	raw := []byte("active")
	ok(t, known.to(&text).ScanBytes(raw))
	first := text
	copy(raw, "++++++")
	if ok(t, known.to(&text).ScanBytes([]byte("active"))); first != "active" || text != "active" {
		t.Errorf("read %q and %q", first, text)
	}
	for _, src := range []any{"gone", []byte("gone")} {
		text = ""
		if ok(t, known.to(&text).Scan(src)); text != "gone" {
			t.Errorf("scanned %q from %T", text, src)
		}
	}
	if err := known.to(&text).Scan(nil); err == nil {
		t.Error("scanned nothing")
	}
	for i := range 3 * wordsMax {
		want := fmt.Sprint(i)
		if ok(t, known.to(&text).ScanBytes([]byte(want))); text != want {
			t.Fatalf("read %q instead of %q", text, want)
		}
	}
	if len(known) > wordsMax {
		t.Errorf("%d words are kept", len(known))
	}
}
