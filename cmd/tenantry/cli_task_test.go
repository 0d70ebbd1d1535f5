package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTaskShowsWhatItCouldNotTake prints of each item why, what was saved last, and when it is tried again.
func TestTaskShowsWhatItCouldNotTake(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"k1","run":"r1","action":"backup","queue":"backup","state":"done","attempt":0,"progress":{"items":5,"skipped":3},"problems":[
			{"item":"m1","name":"A mail","reason":"ErrorItemCorrupt","kind":"poison","last_good":7,"retry":"next_backup","next_try":"2026-11-22T01:00:00Z"},
			{"item":"m2","reason":"no access","kind":"denied","retry":"next_backup"},
			{"item":"f1","reason":"malware","kind":"poison","retry":"when_changed"}]}`))
	}))
	defer server.Close()
	t.Setenv("TENANTRY_URL", server.URL)
	t.Setenv("TENANTRY_TOKEN", "tenantry_x")
	out, err := (&office{t: t}).run("runs", "task", "t-1", "r1", "k1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5 (3 skipped)", "ErrorItemCorrupt", "poison", "snapshot 7", "2026-11-22", "next backup", "when it changes"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}
