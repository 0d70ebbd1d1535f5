package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// resources draws resources of whose fields some are as new.
func resources() *rapid.Generator[Resource] {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "user", "O'Hara <\"&>", "\u2028\x00\x1f", "\xff\xfe", "Å🙂"}))
	return rapid.Custom(func(t *rapid.T) Resource {
		at := rapid.Custom(func(t *rapid.T) time.Time {
			return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "micros")).UTC()
		})
		return Resource{
			ID: tenantry.ResourceID(text.Draw(t, "id")), Kind: tenantry.ResourceKind(text.Draw(t, "kind")),
			ObjectID: text.Draw(t, "object"), Name: text.Draw(t, "name"), Address: text.Draw(t, "address"),
			MailboxKind: text.Draw(t, "mailbox"), Subkind: tenantry.Subkind(text.Draw(t, "subkind")), Dynamic: rapid.Bool().Draw(t, "dynamic"),
			Site: tenantry.ResourceID(text.Draw(t, "site")), Licensed: rapid.Bool().Draw(t, "licensed"),
			State: tenantry.LifeState(text.Draw(t, "state")), StateAt: rapid.Ptr(at, true).Draw(t, "at"),
			Workloads: rapid.SampledFrom([][]tenantry.Workload{nil, {}, {tenantry.Mailbox}, {tenantry.Mailbox, "a\"b"}}).Draw(t, "workloads"),
			Standing:  catalog.Standing(text.Draw(t, "standing")),
		}
	})
}

// A page of resources says what encoding/json would say of it, to the byte but for how characters are escaped.
func TestPagesOfResources(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		page := Page[Resource]{Items: rapid.SliceOfN(resources(), 0, 5).Draw(t, "items"), Next: rapid.String().Draw(t, "next")}
		if rapid.Bool().Draw(t, "nil") {
			page.Items = nil
		}
		var ours, theirs bytes.Buffer
		if err := marshal(&ours, page); err != nil {
			t.Fatal(err)
		}
		if err := huma.DefaultJSONFormat.Marshal(&theirs, page); err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal(ours.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, ours.Bytes())
		}
		if err := json.Unmarshal(theirs.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Whatever fields a resource has, its pages have them.
func TestPagesOfResourcesAreWhole(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	full := Resource{StateAt: &at, Workloads: []tenantry.Workload{tenantry.Mailbox}}
	for i, v := 0, reflect.ValueOf(&full).Elem(); i < v.NumField(); i++ {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(v.Type().Field(i).Name)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int64:
			f.SetInt(7)
		}
	}
	want := Page[Resource]{Items: []Resource{full, full}, Next: full.Name}
	var written bytes.Buffer
	if err := marshal(&written, want); err != nil {
		t.Fatal(err)
	}
	var got Page[Resource]
	if err := json.Unmarshal(written.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}
