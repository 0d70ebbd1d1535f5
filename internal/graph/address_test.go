package graph

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAddressesAreTakenOut(t *testing.T) {
	const address = `"@microsoft.graph.downloadUrl":"https://x/\u0031"`
	for item, want := range map[string]string{
		`{` + address + `}`:                                            `{}`,
		`{ ` + address + ` , "id" : "a"}`:                              `{ "id" : "a"}`,
		`{"id":"a",` + address + `}`:                                   `{"id":"a"}`,
		`{"id":"a" , ` + address + ",\n\"x\":1}":                       "{\"id\":\"a\",\n\"x\":1}",
		`{` + address + `,` + address + `,"id":"a"}`:                   `{"id":"a"}`,
		`{"id":"a","in":{` + address + `}}`:                            `{"id":"a","in":{` + address + `}}`,
		`{"id":"a","name":"@microsoft.graph.downloadUrl"}`:             `{"id":"a","name":"@microsoft.graph.downloadUrl"}`,
		`{"id":"a","@microsoft.graph.downloadUrl":null,"id":"second"}`: `{"id":"a","id":"second"}`,
		`["@microsoft.graph.downloadUrl"]`:                             `["@microsoft.graph.downloadUrl"]`,
		`"@microsoft.graph.downloadUrl"`:                               `"@microsoft.graph.downloadUrl"`,
	} {
		p := RawPage{Items: []jsontext.Value{jsontext.Value(item)}}
		if err := p.takeAddresses(); err != nil {
			t.Errorf("%s: %v", item, err)
		}
		if got := string(p.Items[0]); got != want {
			t.Errorf("%s became %s, want %s", item, got, want)
		}
		if found := p.Addresses["a"]; strings.Contains(item, `"a"`) && item != want && !strings.Contains(item, "null") && found != "https://x/1" {
			t.Errorf("%s told of %q", item, p.Addresses)
		}
	}
}

// TestNothingElseIsTakenOut: whatever an item is, without addresses it is what it was, to the byte.
func TestNothingElseIsTakenOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		space := rapid.SampledFrom([]string{"", " ", "\n\t"})
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"id", "name", contentAddress, "size", "x"}), 0, 7).Draw(t, "names")
		var with, without []string
		for i, name := range names {
			value, err := json.Marshal(rapid.SampledFrom([]any{"a,}\"", 1.5, nil, map[string]any{contentAddress: "{"}, []any{1, "]"}}).Draw(t, "value"))
			if err != nil {
				t.Fatal(err)
			}
			member := fmt.Sprintf("%s%q%s:%s%s%s", space.Draw(t, "s"), name, space.Draw(t, "s"), space.Draw(t, "s"), value, space.Draw(t, "s"))
			with = append(with, member)
			if name != contentAddress {
				without = append(without, fmt.Sprint(i, name, string(value)))
			}
		}
		item := "{" + strings.Join(with, ",") + "}"
		rest, _, err := cutMember("test", jsontext.Value(item), contentAddress)
		if err != nil {
			t.Fatalf("%s: %v", item, err)
		}
		if !rest.IsValid(jsontext.AllowDuplicateNames(true)) {
			t.Fatalf("%s became %s", item, rest)
		}
		if !slices.Contains(names, contentAddress) && string(rest) != item {
			t.Fatalf("%s became %s", item, rest)
		}
		var got []string
		d := jsontext.NewDecoder(strings.NewReader(string(rest)), raw...)
		_, _ = d.ReadToken()
		for i := 0; d.PeekKind() != '}'; i++ {
			for i < len(names) && names[i] == contentAddress {
				i++
			}
			name, err := d.ReadToken()
			if err != nil {
				t.Fatal(err)
			}
			member := name.String()
			value, err := d.ReadValue()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(i, member, string(value)))
		}
		if diff := gocmp.Diff(without, got); diff != "" {
			t.Fatalf("%s became %s: %s", item, rest, diff)
		}
	})
}
