package tenantry

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"
)

// Reference names a run to people: nine random digits and one that checks them, shown as
// 4827-730-196 so that it can be said on the phone. 0 is none: runs of older releases have
// none. One in a thousand million is the same by chance: the catalog draws another for a
// restore or an export, and looking up that of another run may find two, and shows both.
type Reference int64

// referenceDigits is how many digits a reference has, with the one that checks.
const referenceDigits = 10

// NewReference returns a fresh random reference.
func NewReference() Reference {
	n, err := rand.Int(rand.Reader, big.NewInt(1e9))
	if err != nil {
		panic(err) // never since Go 1.24: rand.Reader does not fail
	}
	digits := fmt.Sprintf("%0*d", referenceDigits-1, n.Int64())
	return Reference(n.Int64()*10 + int64(damm(digits)))
}

// ParseReference reads a reference as somebody wrote it down: spaces, dots and dashes do not
// matter. Invalid: it is not one, or a digit was misheard or two changed places.
func ParseReference(text string) (Reference, error) {
	digits := strings.NewReplacer(" ", "", "-", "", ".", "").Replace(text)
	var n int64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, Errorf(Invalid, "reference %q has something else than digits", text)
		}
		if n = n*10 + int64(c-'0'); n >= 1e10 {
			break
		}
	}
	if len(digits) != referenceDigits {
		return 0, Errorf(Invalid, "reference %q does not have %d digits", text, referenceDigits)
	}
	if n == 0 || damm(digits) != 0 {
		return 0, Errorf(Invalid, "reference %q is none: a digit is wrong, or two have changed places", text)
	}
	return Reference(n), nil
}

// String shows the reference as it is said: four, three and three digits; "" for none.
func (r Reference) String() string {
	if r <= 0 {
		return ""
	}
	digits := fmt.Sprintf("%0*d", referenceDigits, int64(r))
	return digits[:4] + "-" + digits[4:7] + "-" + digits[7:]
}

// damm is the check digit of digits, 0 over digits that end in theirs: H. Michael Damm's
// totally anti-symmetric quasigroup of order 10, which finds every wrong digit and every two
// neighbours that changed places.
func damm(digits string) byte {
	table := [10]string{
		"0317598642", "7092154863", "4206871359", "1750983426", "6123045978",
		"3674209581", "5869720134", "8945362017", "9438617205", "2581436790",
	}
	check := byte(0)
	for _, c := range []byte(digits) {
		check = table[check][c-'0'] - '0'
	}
	return check
}
