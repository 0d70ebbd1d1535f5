package tenantry_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestReferenceIsReadAsItIsSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := tenantry.NewReference()
		said := r.String()
		if len(said) != 12 || said[4] != '-' || said[8] != '-' {
			t.Fatalf("%q is not four, three and three digits", said)
		}
		for _, text := range []string{said, strings.ReplaceAll(said, "-", ""), " " + strings.ReplaceAll(said, "-", " ") + " ", strings.ReplaceAll(said, "-", ".")} {
			if got, err := tenantry.ParseReference(text); err != nil || got != r {
				t.Fatalf("%q is read as %v, %v", text, got, err)
			}
		}
		digits := []byte(strings.ReplaceAll(said, "-", ""))
		at := rapid.IntRange(0, 9).Draw(t, "at")
		misheard := append([]byte{}, digits...)
		misheard[at] = '0' + (misheard[at]-'0'+byte(rapid.IntRange(1, 9).Draw(t, "by")))%10
		refuse(t, string(misheard))
		if at > 0 && digits[at] != digits[at-1] {
			digits[at], digits[at-1] = digits[at-1], digits[at]
			refuse(t, string(digits))
		}
	})
}

func TestWhatIsNoReference(t *testing.T) {
	for _, text := range []string{"", "-", "0000-000-000", "12345", "123456789012345678901234567890", "4827-730-19x", "４827-730-196"} {
		refuse(t, text)
	}
	if got := tenantry.Reference(0).String(); got != "" {
		t.Errorf("none is shown as %q", got)
	}
}

func refuse(t rapid.TB, text string) {
	t.Helper()
	if got, err := tenantry.ParseReference(text); tenantry.KindOf(err) != tenantry.Invalid {
		t.Fatalf("%q is read as %v, %v", text, got, err)
	}
}
