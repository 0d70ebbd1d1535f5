package engine_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-vcard"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// mixed is a snapshot with something of each kind.
func mixed(t *testing.T) *memory {
	t.Helper()
	m := newMemory()
	put := func(e repository.Entry, raw string, content ...string) {
		t.Helper()
		raw = strings.Replace(raw, "{", fmt.Sprintf(`{"id":%q,`, e.ID), 1)
		ref, err := m.PutPayload(t.Context(), []byte(strings.Replace(raw, ",}", "}", 1)))
		if err != nil {
			t.Fatal(err)
		}
		e.Payload, e.ETag = ref, "v1"
		for _, c := range content {
			p, err := m.PutContent(t.Context(), strings.NewReader(c))
			if err != nil {
				t.Fatal(err)
			}
			p.Name = "content"
			e.Parts = append(e.Parts, p)
		}
		if err := m.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	day := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	put(repository.Entry{ID: "in", Kind: "folder", Name: "Inbox"}, `{}`)
	put(repository.Entry{ID: "empty", Parent: "in", Kind: "folder", Name: "Empty"}, `{}`)
	for i := range 3 {
		put(repository.Entry{ID: fmt.Sprint("m", i), Parent: "in", Kind: "message", Name: fmt.Sprint("Mail ", i), From: "Ann ann@contoso.example", Date: day},
			fmt.Sprintf(`{"subject":"Mail %d","body":{"contentType":"text","content":"From here\nto there %d"}}`, i, i))
	}
	for i := range 2 {
		put(repository.Entry{ID: fmt.Sprint("e", i), Parent: "in", Kind: "event", Name: "Event"},
			fmt.Sprintf(`{"subject":"Event %d","iCalUId":"uid-%d","start":{"dateTime":"2026-01-05T09:00:00","timeZone":"UTC"},"end":{"dateTime":"2026-01-05T10:00:00","timeZone":"UTC"}}`, i, i))
		put(repository.Entry{ID: fmt.Sprint("c", i), Parent: "in", Kind: "contact", Name: "Contact"}, fmt.Sprintf(`{"displayName":"Contact %d"}`, i))
	}
	put(repository.Entry{ID: "f", Kind: "file", Name: "note.txt"}, `{}`, "the file")
	put(repository.Entry{ID: "big", Kind: "file", Name: "big.bin"}, `{}`, strings.Repeat("0123456789abcdef", 200_000))
	return m
}

func export(t *testing.T, m *memory, req tenantry.ExportRequest) (string, string, engine.Outcome) {
	t.Helper()
	var b bytes.Buffer
	out, name, err := engine.Export(t.Context(), m, &b, req, engine.Limits{}, nil, nil)
	if err != nil || !out.Done {
		t.Fatalf("export %+v: %+v, %v", req, out, err)
	}
	return b.String(), name, out
}

func unzipped(t *testing.T, text string) map[string]string {
	t.Helper()
	r, err := zip.NewReader(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range r.File {
		body, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(body)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		if _, twice := files[f.Name]; twice {
			t.Errorf("%s is there twice", f.Name)
		}
		files[f.Name] = string(content)
	}
	return files
}

func TestExportZip(t *testing.T) {
	text, name, out := export(t, mixed(t), tenantry.ExportRequest{JSON: true})
	files := unzipped(t, text)
	kinds := map[string]int{}
	for name := range files {
		kinds[name[strings.LastIndexAny(name, "./")+1:]]++
	}
	// Seven items of a mailbox with their JSON, two files with theirs, two folders.
	if name != "export.zip" || out.Counts.Items != 9 || kinds["eml"] != 3 || kinds["ics"] != 2 || kinds["vcf"] != 2 || kinds["json"] != 9 || kinds[""] != 2 {
		t.Errorf("%s: %d items, %v", name, out.Counts.Items, kinds)
	}
	if files["note.txt"] != "the file" || len(files["big.bin"]) != 3_200_000 {
		t.Errorf("the files came as %q and %d bytes", files["note.txt"], len(files["big.bin"]))
	}
	text, _, out = export(t, mixed(t), tenantry.ExportRequest{Items: []string{"m1", "f"}})
	if files := unzipped(t, text); out.Counts.Items != 2 || len(files) != 3 { // with the folder above
		t.Errorf("a selection: %d items, %v", out.Counts.Items, files)
	}
}

func TestExportInOneFile(t *testing.T) {
	m := mixed(t)
	text, _, out := export(t, m, tenantry.ExportRequest{Form: engine.FormMbox})
	begins := strings.Count("\n"+text, "\nFrom ann@contoso.example Tue Nov  3 12:00:00 2026\n")
	if out.Counts.Items != 3 || out.Counts.Skipped != 0 || begins != 3 || strings.Contains(text, "\r") {
		t.Errorf("mbox: %+v, %d messages:\n%s", out.Counts, begins, text)
	}
	text, _, out = export(t, m, tenantry.ExportRequest{Form: engine.FormICS})
	calendar, err := ical.NewDecoder(strings.NewReader(text)).Decode()
	if err != nil || len(calendar.Events()) != 2 || out.Counts.Items != 2 {
		t.Errorf("calendar: %+v, %v:\n%s", out.Counts, err, text)
	}
	text, _, _ = export(t, m, tenantry.ExportRequest{Form: engine.FormVCF})
	var names []string
	for d := vcard.NewDecoder(strings.NewReader(text)); ; {
		card, err := d.Decode()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, card.PreferredValue(vcard.FieldFormattedName))
	}
	if slices.Sort(names); !slices.Equal(names, []string{"Contact 0", "Contact 1"}) {
		t.Errorf("address book: %v", names)
	}
	text, name, _ := export(t, m, tenantry.ExportRequest{Form: engine.FormItem, Items: []string{"f"}})
	if text != "the file" || name != "note.txt" {
		t.Errorf("one item: %s %q", name, text)
	}
}

// What mboxrd quotes comes back, whatever a text looks like and however it is cut.
func TestMboxQuotes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a\r\nFrom b\r\n>From c\r\n>> From d\r\n", "a\n>From b\n>>From c\n>> From d\n\n"},
		{"From a", ">From a\n\n"},
		{"", "\n"},
		{strings.Repeat("x", 200_000) + "From y\n", strings.Repeat("x", 200_000) + "From y\n\n"},
	} {
		for _, cut := range []int{1, 7, 1 << 20} {
			var b bytes.Buffer
			w := engine.MboxFrame(repository.Entry{}, &b)
			for rest := []byte(c.text); len(rest) > 0; {
				n := min(cut, len(rest))
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			_, got, _ := strings.Cut(b.String(), "\n")
			if got != c.want {
				t.Errorf("%.40q, by %d bytes: %.60q", c.text, cut, got)
			}
		}
	}
}

func TestExportRefuses(t *testing.T) {
	for _, req := range []tenantry.ExportRequest{
		{Form: "pst"}, {Form: engine.FormItem}, {Form: engine.FormItem, Items: []string{"f", "m1"}},
		{Form: engine.FormItem, Items: []string{"in"}}, {Form: engine.FormItem, Items: []string{"gone"}},
	} {
		if _, _, err := engine.Export(t.Context(), mixed(t), io.Discard, req, engine.Limits{}, nil, nil); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%+v: %v", req, err)
		}
	}
}

// One bad item is a problem, and leaves the archive in order; a sink that fails is the end.
func TestExportGoesOnPastOneBadItem(t *testing.T) {
	m := mixed(t)
	if err := m.Put(t.Context(), repository.Entry{ID: "bad", Kind: "file", Name: "bad", ETag: "v1", Parts: []repository.Part{{Name: "content", Size: 1, Digest: []byte("nowhere")}}}); err != nil {
		t.Fatal(err)
	}
	text, _, out := export(t, m, tenantry.ExportRequest{})
	if files := unzipped(t, text); len(out.Problems) != 1 || out.Problems[0].ID != "bad" || files["note.txt"] == "" || files["bad"] != "" {
		t.Errorf("problems %+v", out.Problems)
	}
	full := &fullSink{left: 1000}
	out, _, err := engine.Export(t.Context(), m, full, tenantry.ExportRequest{}, engine.Limits{}, nil, nil)
	if tenantry.KindOf(err) != tenantry.Shared || out.Done {
		t.Errorf("a sink that is full: %v", err)
	}
	drain := make(chan struct{})
	close(drain)
	if out, _, err := engine.Export(t.Context(), m, io.Discard, tenantry.ExportRequest{}, engine.Limits{}, drain, nil); err != nil || out.Done {
		t.Errorf("drained: %+v, %v", out, err)
	}
}

type fullSink struct{ left int }

func (f *fullSink) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, tenantry.Errorf(tenantry.Shared, "full")
	}
	return len(p), nil
}
