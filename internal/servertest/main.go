package servertest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// A goroutine that was told to end is given this long: a client of Redis that was killed sleeps a second between its
// tries to reach it, and a slow machine has other things to do.
const endTimeout = time.Minute

// Main is a package's TestMain: it runs the tests and fails if they left goroutines behind that do not end.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := leaks(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines were left behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func leaks() error {
	deadline := time.Now().Add(endTimeout)
	for {
		err := goleak.Find() // looks again for a moment by itself
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
