package api

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// Foreign text that reaches a row or a page has no control characters and an end.
func TestPrintable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := printable(rapid.OneOf(rapid.String(), rapid.StringN(0, 2000, -1), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text"))
		if n := utf8.RuneCountInString(text); n > reasonMax+1 {
			t.Fatalf("%d characters", n)
		}
		for _, r := range text {
			if unicode.IsControl(r) || !unicode.IsPrint(r) {
				t.Fatalf("%q is in %q", r, text)
			}
		}
		if printable(text) != text && utf8.RuneCountInString(text) <= reasonMax {
			t.Fatalf("not stable: %q becomes %q", text, printable(text))
		}
	})
}

// What passes as a directory can stand in a URL path as it is.
func TestDirectoryPatterns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"contoso.com": true, "a.b.onmicrosoft.com": true, "xn--mnchen-3ya.de": true,
		"11111111-1111-4111-8111-111111111111": true,
		"":                                     false, "common": false, "organizations": false, "contoso": false, "-a.com": false,
		"a..com": false, "a.com/": false, "a.com?x": false, "a b.com": false, "11111111-1111-4111-8111-11111111111": false,
		"11111111-1111-4111-8111-111111111111\n": false, "a.com\n": false,
	} {
		if got := guidPattern.MatchString(text) || domainPattern.MatchString(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
