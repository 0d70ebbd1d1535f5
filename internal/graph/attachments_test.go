package graph

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// TestContentsAreTakenOut: content is what its Base64 says however JSON writes that, and the rest of the attachment
// stays, to the byte.
func TestContentsAreTakenOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "content")
		encoded := base64.StdEncoding.EncodeToString(want)
		switch rapid.IntRange(0, 2).Draw(t, "escaped") {
		case 1:
			encoded = strings.ReplaceAll(encoded, "/", `\/`)
		case 2:
			encoded = strings.ReplaceAll(encoded, "+", `\u002b`)
		}
		item := jsontext.Value(`{"id":"a","contentBytes":"` + encoded + `","size":1}`)
		list, contents, err := takeContents([]jsontext.Value{item, jsontext.Value(`{"id":"b","contentBytes":null}`)})
		if err != nil {
			t.Fatal(err)
		}
		if got := contents["a"]; !bytes.Equal(got, want) || len(contents) != 1 {
			t.Fatalf("%s holds %x, want %x", item, got, want)
		}
		if string(list[0]) != `{"id":"a","size":1}` || string(list[1]) != `{"id":"b"}` {
			t.Fatalf("what is left is %s", list)
		}
	})
}

func TestContentsThatAreNoneAreRefused(t *testing.T) {
	for _, encoded := range []string{`"A"`, `"AA=A"`, `"ÄÄÄÄ"`, `"AAA\u0000"`} {
		item := jsontext.Value(`{"id":"a","contentBytes":` + encoded + `}`)
		if _, contents, err := takeContents([]jsontext.Value{item}); err == nil {
			t.Errorf("%s was read as %x", item, contents["a"])
		}
	}
}
