package repository

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"math/rand/v2"
	"os"
	"testing"
)

// TestLaneOf: what is compressed already goes apart from what is not, whatever its header looks like.
func TestLaneOf(t *testing.T) {
	noise := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	source, err := os.ReadFile("content.go")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 3 {
		_, _ = z.Write(source)
		_, _ = z.Write(noise[:20<<10])
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		want    lane
	}{
		"nothing":              {nil, contentLane},
		"a little":             {noise[:denseSample-1], contentLane},
		"random":               {noise, denseLane},
		"gzip":                 {packed.Bytes(), denseLane},
		"text, then random":    {append(source[:4<<10:4<<10], noise...), denseLane},
		"source":               {source, contentLane},
		"base64":               {[]byte(base64.StdEncoding.EncodeToString(noise)), contentLane},
		"one byte, many times": {make([]byte, 64<<10), contentLane},
	} {
		if got := laneOf(c.content); got != c.want {
			t.Errorf("%s: lane %d, want %d", name, got, c.want)
		}
	}
}
