package servertest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports that no system gives to clients by itself: a connection that a neighbour opens cannot take one
// before its server is up, or while it is down, nor can one that asks for it be connected to itself.
const lowestPort, highestPort = 10_000, 32_000

// Addr returns an address, "127.0.0.1:port", where nothing listens. Until the end of the test no other
// test of any process is given it, whether a server comes, goes, comes back, or never comes.
func Addr(t testing.TB) string {
	t.Helper()
	for range 1_000 {
		port := strconv.Itoa(lowestPort + rand.IntN(highestPort-lowestPort)) //nolint:gosec // which one says nothing
		addr := net.JoinHostPort("127.0.0.1", port)
		// The same port of another loopback address is the sign that it is taken: it ends with this process.
		sign, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
		if err != nil {
			continue
		}
		if probe, err := net.Listen("tcp", addr); err == nil {
			_ = probe.Close()
			t.Cleanup(func() { _ = sign.Close() })
			return addr
		}
		_ = sign.Close()
	}
	t.Fatal("found no free port of 127.0.0.1")
	return ""
}
