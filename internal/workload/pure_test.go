package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The vectors were computed by two implementations written from Microsoft's description.
func TestQuickXorVectors(t *testing.T) {
	all, ramp := make([]byte, 256), make([]byte, 5000)
	for i := range all {
		all[i] = byte(i)
	}
	for i := range ramp {
		ramp[i] = byte(7*i + 3)
	}
	for want, in := range map[string][]byte{
		"AAAAAAAAAAAAAAAAAAAAAAAAAAA=": nil,
		"SgAAAAAAAAAAAAAAAQAAAAAAAAA=": []byte("J"),
		"aCgDG9jwBgAAAAAABQAAAAAAAAA=": []byte("hello"),
		"bMSlbysmxJL6S75XwfMcQZOpcr4=": []byte("The quick brown fox jumps over the lazy dog"),
		"QkGEfSisZcA7k+FCh71r2dbCayY=": all,
		"AAAAAAAAAAAAAAAA6AMAAAAAAAA=": make([]byte, 1000),
		"4/GMmuF3EXP3HLUJvgacVA3BgPg=": ramp,
	} {
		var q quickXor
		_, _ = q.Write(in)
		if got := q.Sum(); got != want {
			t.Errorf("%.20q: %s, not %s", in, got, want)
		}
	}
}

func TestQuickXorInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "bytes")
		var whole, pieces quickXor
		_, _ = whole.Write(in)
		for rest := in; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			_, _ = pieces.Write(rest[:n])
			rest = rest[n:]
		}
		if whole.Sum() != pieces.Sum() {
			t.Fatal("the hash depends on how it was written")
		}
	})
}

func BenchmarkQuickXor(b *testing.B) {
	buf := make([]byte, 1<<20)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		var q quickXor
		_, _ = q.Write(buf)
	}
}

func TestCheckedDownload(t *testing.T) {
	const hello = "aCgDG9jwBgAAAAAABQAAAAAAAAA="
	for name, c := range map[string]struct {
		body, hash string
		size       int64
		kind       tenantry.Kind
	}{
		"right":                  {"hello", hello, 5, ""},
		"without a hash":         {"jello", "", 5, ""},
		"another content":        {"jello", hello, 5, tenantry.Conflict},
		"shorter than was named": {"hell", "", 5, tenantry.Conflict},
		"longer than was named":  {"hello!", "", 5, tenantry.Conflict},
	} {
		_, err := io.ReadAll(&checked{Reader: strings.NewReader(c.body), size: c.size, want: c.hash})
		if tenantry.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// drivePages is a drive whose delta is one page.
type drivePages struct {
	DriveReader[page]
	items []string
}

func (d drivePages) DriveChanges(context.Context, string, string) (page, error) {
	p := page{Next: "delta", Done: true}
	for _, item := range d.items {
		p.Items = append(p.Items, jsontext.Value(item))
	}
	return p, nil
}

func (d drivePages) Download(context.Context, string, string, string, int64) (io.ReadCloser, error) {
	return nil, tenantry.Errorf(tenantry.Poison, "malwareDetected")
}

func TestDrivePage(t *testing.T) {
	items := []string{
		`{"id":"r","name":"root","root":{},"folder":{},"parentReference":{"driveId":"d","id":"outside"}}`,
		`{"id":"f","name":"Papers","eTag":"1","folder":{},"parentReference":{"id":"r"}}`,
		`{"id":"a","name":"old.txt","eTag":"1","size":1,"file":{},"parentReference":{"id":"f"}}`,
		`{"id":"a","name":"a.txt","eTag":"2","size":5,"file":{"hashes":{"quickXorHash":"H"}},"parentReference":{"id":"f"},"lastModifiedDateTime":"2026-11-19T10:00:00Z"}`,
		`{"id":"n","name":"Notes","eTag":"1","package":{"type":"oneNote"},"parentReference":{"id":"f"}}`,
		`{"id":"s","name":"Theirs","eTag":"1","remoteItem":{"id":"x"},"folder":{},"parentReference":{"id":"f"}}`,
		`{"id":"v","name":"bad.exe","eTag":"1","size":9,"file":{},"malware":{"description":"EICAR"},"parentReference":{"id":"f"}}`,
		`{"id":"b","deleted":{"state":"deleted"}}`,
		`{"id":"c","name":"c","eTag":"1","file":{},"size":0,"parentReference":{"id":"f"}}`,
		`{"id":"c","deleted":{}}`,
		`{"id":"g","deleted":{}}`,
		`{"id":"g","name":"back","eTag":"1","folder":{},"parentReference":{"id":"r"}}`,
	}
	p, err := NewDriveSource(drivePages{items: items}, "u", tenantry.BackupOptions{}).Page(t.Context(), "drive:d", "")
	if err != nil {
		t.Fatal(err)
	}
	type seen struct{ ID, Parent, Kind, Name, Content, Problem string }
	var got []seen
	for _, i := range p.Items {
		got = append(got, seen{i.ID, i.Parent, i.Kind, i.Name, i.Content, i.Problem})
		if i.ETag == "" || !slices.Contains(items, string(i.Raw)) || i.Collection != "" {
			t.Errorf("%+v", i)
		}
	}
	want := []seen{
		{"drive:d/r", "drive:d", "folder", "root", "", ""},
		{"drive:d/f", "drive:d/r", "folder", "Papers", "", ""},
		{"drive:d/a", "drive:d/f", "file", "a.txt", "quickxor:H:5", ""},
		{"drive:d/n", "drive:d/f", "package", "Notes", "", ""},
		{"drive:d/s", "drive:d/f", "shortcut", "Theirs", "", ""},
		{"drive:d/v", "drive:d/f", "file", "bad.exe", "", "the service reports malware: EICAR"},
		{"drive:d/g", "drive:d/r", "folder", "back", "", ""},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(p.Removed, []string{"drive:d/b", "drive:d/c"}) || !p.Done || p.Next != "delta" {
		t.Errorf("%+v", p)
	}
}

func TestDriveItemWithoutID(t *testing.T) {
	for _, item := range []string{`{"name":"x"}`, `[]`, `"x"`} {
		_, err := NewDriveSource(drivePages{items: []string{item}}, "u", tenantry.BackupOptions{}).Page(t.Context(), "drive:d", "")
		if tenantry.KindOf(err) != tenantry.Internal {
			t.Errorf("%s: %v", item, err)
		}
	}
}

const rawMail = `{"@odata.etag":"W/\"1\"","id":"m1","changeKey":"k","subject":"Quarter \"end\"","hasAttachments":true,
 "isRead":true,"isDraft":false,"sentDateTime":"2026-01-31T09:00:00Z","receivedDateTime":"2026-01-31T09:00:03Z",
 "isDeliveryReceiptRequested":null,"internetMessageId":"<1@x>","body":{"contentType":"html","content":"<p>x</p>"},
 "parentFolderId":"f","webLink":"https://x","toRecipients":[{"emailAddress":{"address":"b@x"}}]}`

func TestRestoredMessage(t *testing.T) {
	m, err := newRestored(repository.Entry{ID: "m1"}, []byte(rawMail))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(m.body, &got); err != nil {
		t.Fatalf("%v: %s", err, m.body)
	}
	properties := map[string]any{}
	for _, p := range got["singleValueExtendedProperties"].([]any) {
		p := p.(map[string]any)
		properties[p["id"].(string)] = p["value"]
	}
	delete(got, "singleValueExtendedProperties")
	want := map[string]any{
		"subject": `Quarter "end"`, "isRead": true, "internetMessageId": "<1@x>",
		"body":         map[string]any{"contentType": "html", "content": "<p>x</p>"},
		"toRecipients": []any{map[string]any{"emailAddress": map[string]any{"address": "b@x"}}},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(m.mark.String()) != markLength {
		t.Errorf("the mark %s has not %d characters", m.mark, markLength)
	}
	if diff := gocmp.Diff(map[string]any{
		markProperty: m.mark.String(), propFlags: "4", propSent: "2026-01-31T09:00:00Z", propReceived: "2026-01-31T09:00:03Z",
	}, properties); diff != "" {
		t.Error(diff)
	}
}

// TestMarks: the same version has the same mark, another one only the same item.
func TestMarks(t *testing.T) {
	of := func(raw string, digest ...byte) mark {
		m, err := newRestored(repository.Entry{ID: "m1", Parts: []repository.Part{{Name: "a", Digest: digest}}}, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return m.mark
	}
	first := of(rawMail, 1)
	if again := of(strings.Replace(rawMail, `"k"`, `"k2"`, 1), 1); again != first {
		t.Error("a change key makes another version")
	}
	for _, other := range []mark{of(rawMail, 2), of(strings.Replace(rawMail, "Quarter", "Year", 1), 1)} {
		if other == first || other.item != first.item {
			t.Errorf("%v against %v", other, first)
		}
	}
}

func TestDraftsStayDrafts(t *testing.T) {
	m, err := newRestored(repository.Entry{ID: "m1"}, []byte(strings.Replace(rawMail, `"isDraft":false`, `"isDraft":true`, 1)))
	if err != nil || bytes.Contains(m.body, []byte(propFlags)) {
		t.Errorf("%v: %s", err, m.body)
	}
}

// TestSameMessage holds what counts as the original: reading it changes its key, not what it is.
func TestSameMessage(t *testing.T) {
	print := func(raw string) string {
		var i identity
		if err := parse("a message", jsontext.Value(raw), &i); err != nil {
			t.Fatal(err)
		}
		return i.fingerprint()
	}
	first := print(rawMail)
	for change, same := range map[[2]string]bool{
		{`"changeKey":"k"`, `"changeKey":"k2"`}:             true,
		{`"isRead":true`, `"isRead":false`}:                 true,
		{`Quarter`, `Year`}:                                 false,
		{`"hasAttachments":true`, `"hasAttachments":false`}: false,
		{`"isDraft":false`, `"isDraft":true`}:               false,
	} {
		if got := print(strings.Replace(rawMail, change[0], change[1], 1)); (got == first) != same {
			t.Errorf("%s: same is %t", change[1], got == first)
		}
	}
}

func TestWritableItem(t *testing.T) {
	var in map[string]jsontext.Value
	err := parse("an item", jsontext.Value(`{"@odata.type":"#microsoft.graph.message","@odata.context":"x","id":"1","subject":"s","changeKey":"k",
		"attachments":[{"@odata.type":"#microsoft.graph.itemAttachment","id":"2","size":3,"name":"n","item":{"id":"4","subject":"inner"}}]}`), &in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := writableItem(in, 0)
	want := `{"@odata.type":"#microsoft.graph.message","attachments":[{"@odata.type":"#microsoft.graph.itemAttachment","item":{"subject":"inner"},"name":"n"}],"subject":"s"}`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\n%s", err, got, want)
	}
}

// uploads is a mailbox that has one attachment already and notes which ones it is given.
type uploads struct {
	AttachmentWriter[page]
	calls []string
}

func (u *uploads) Attachments(context.Context, string, string, string, string) (page, error) {
	return page{Items: []jsontext.Value{[]byte(`{"id":"9","name":"there.txt","size":7}`)}, Done: true}, nil
}

func (u *uploads) UploadAttachment(_ context.Context, _, _, _, name, contentType, contentID string, inline bool, f tenantry.Upload) error {
	u.calls = append(u.calls, fmt.Sprint(name, " ", contentType, " ", contentID, " ", inline, " ", f.Size))
	return nil
}

// TestAttachmentsThatAreMissing: only those are added, inline ones with the ID that the text names; and
// what cannot be written is told.
func TestAttachmentsThatAreMissing(t *testing.T) {
	const list = `[{"@odata.type":"#microsoft.graph.fileAttachment","id":"1","name":"there.txt","size":5},
		{"@odata.type":"#microsoft.graph.fileAttachment","id":"2","name":"logo.png","contentType":"image/png","isInline":true,"contentId":"c1","size":9},
		{"@odata.type":"#microsoft.graph.fileAttachment","id":"3","name":"bad.ole","size":9},
		{"@odata.type":"#microsoft.graph.referenceAttachment","id":"4","name":"Shared.docx"}]`
	e := repository.Entry{ID: "m1", Kind: kindMessage, Parts: []repository.Part{
		{Name: attachmentsPart, Size: int64(len(list))}, {Name: "1", Size: 4}, {Name: "2", Size: 3},
	}}
	open := func(_ context.Context, p repository.Part, _ int64) (io.ReadCloser, error) {
		if p.Name == attachmentsPart {
			return io.NopCloser(strings.NewReader(list)), nil
		}
		return io.NopCloser(strings.NewReader("png")), nil
	}
	api := &uploads{}
	err := attachmentTarget[page]{api: api}.attach(t.Context(), "m", false, e, attachmentsPart, open)
	if tenantry.KindOf(err) != tenantry.Poison || !strings.Contains(err.Error(), "bad.ole") || !strings.Contains(err.Error(), "Shared.docx") {
		t.Error(err)
	}
	if diff := gocmp.Diff([]string{"logo.png image/png c1 true 3"}, api.calls); diff != "" {
		t.Error(diff)
	}
}

// fileless is a mailbox whose tasks have no files.
type fileless struct{ TaskWriter[page] }

func (fileless) TaskParts(context.Context, string, string, string, string, string) (page, error) {
	return page{Done: true}, nil
}

// TestFilesOfTasksThatWereNotSaved are named, each time.
func TestFilesOfTasksThatWereNotSaved(t *testing.T) {
	const list = `[{"id":"1","name":"lost.png","size":5},{"id":"2","name":"also.png","size":5}]`
	e := repository.Entry{ID: "t1", Kind: kindTask, Parts: []repository.Part{{Name: attachmentsPart, Size: int64(len(list))}}}
	open := func(context.Context, repository.Part, int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(list)), nil
	}
	want, err := newRestoredTask(t.Context(), e, []byte(`{"id":"t1","title":"paint"}`), open)
	if err != nil {
		t.Fatal(err)
	}
	target := newTaskTarget(fileless{}, "u", "", "", &notes{})
	for range 2 {
		err := target.attach(t.Context(), "l", "t1", want, open)
		if tenantry.KindOf(err) != tenantry.Poison || !strings.Contains(err.Error(), "lost.png") || !strings.Contains(err.Error(), "also.png") {
			t.Error(err)
		}
	}
}

func TestNamesOfCopies(t *testing.T) {
	part := repository.Part{Digest: []byte{1, 2, 3}}
	for name, want := range map[string]string{"a.txt": "a (restored).txt", "a.tar.gz": "a.tar (restored).gz", ".profile": ".profile (restored)", "noext": "noext (restored)"} {
		got := names(name, part)
		if got[0] != name || got[1] != want || !slices.Equal(got, names(name, part)) || len(got) != 3 || got[2] == got[1] {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestSameFile(t *testing.T) {
	item := func(raw string) (d driveItem) {
		if err := parse("an item", jsontext.Value(raw), &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	stored := item(`{"id":"1","name":"a.txt","size":5,"file":{"hashes":{"quickXorHash":"H"}},"fileSystemInfo":{"lastModifiedDateTime":"2026-01-01T00:00:00Z"}}`)
	office := stored
	office.Name = "a.docx"
	const at = `"fileSystemInfo":{"lastModifiedDateTime":"2026-01-01T00:00:00.5Z"}`
	for name, c := range map[string]struct {
		d     driveItem
		there string
		want  bool
	}{
		"the same bytes":            {stored, `{"id":"2","size":5,"file":{"hashes":{"quickXorHash":"H"}}}`, true},
		"another size":              {stored, `{"id":"2","size":6,"file":{"hashes":{"quickXorHash":"H"}}}`, false},
		"other bytes, same time":    {stored, `{"id":"2","size":5,"file":{"hashes":{"quickXorHash":"J"}},` + at + `}`, false},
		"no hash yet, same time":    {stored, `{"id":"2","size":5,"file":{},` + at + `}`, true},
		"no hash yet, another time": {stored, `{"id":"2","size":5,"file":{}}`, false},
		"Office, altered within":    {office, `{"id":"2","size":9,"file":{"hashes":{"quickXorHash":"J"}},` + at + `}`, true},
		"a folder":                  {stored, `{"id":"2","size":5,"folder":{},` + at + `}`, false},
	} {
		if got := sameFile(item(c.there), c.d, repository.Part{Size: 5}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestPageSizeFollowsTheService(t *testing.T) {
	s := &pageSize{n: maxMailPage, min: minMailPage, max: maxMailPage}
	for range 10 {
		s.learn(s.get(), 3, false, 0)
	}
	if s.get() != minMailPage {
		t.Errorf("%d after short pages", s.get())
	}
	for range 20 {
		s.learn(s.get(), s.get(), false, 0)
	}
	if s.get() != maxMailPage {
		t.Errorf("%d after full ones", s.get())
	}
	s.learn(s.get(), 0, true, 0) // an end is no sign
	if s.get() != maxMailPage {
		t.Errorf("%d after an end", s.get())
	}
	s.learn(s.get(), s.get(), false, slowPage+1)
	if s.get() != maxMailPage/2 {
		t.Errorf("%d after a slow one", s.get())
	}
	asked := []int{}
	_, err := sized(s, func(size int) (page, error) {
		asked = append(asked, size)
		return page{}, tenantry.Errorf(tenantry.Transient, "busy")
	})
	if tenantry.KindOf(err) != tenantry.Transient || !slices.Equal(asked, []int{50, 25, 10}) {
		t.Errorf("%v: %v", asked, err)
	}
}

func TestPresencesAreBounded(t *testing.T) {
	var p presences
	first := p.of("0")
	for i := range 100 {
		p.of(string(rune('a' + i)))
	}
	if len(p.order) > maxPresences || len(p.byID) != len(p.order) || p.of("0") == first {
		t.Errorf("%d folders are remembered", len(p.byID))
	}
}

func FuzzPayloads(f *testing.F) {
	f.Add([]byte(rawMail))
	f.Add([]byte(`{"id":"r","root":{}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !jsontext.Value(raw).IsValid() {
			t.Skip()
		}
		if m, err := newRestored(repository.Entry{ID: "x"}, raw); err == nil && !jsontext.Value(m.body).IsValid(jsontext.AllowDuplicateNames(true)) {
			t.Errorf("%s makes %s", raw, m.body)
		}
		s := &driveTree[page]{}
		_ = s.item(newChanges(1), "d", raw, told{})
		box := &mailSource[page]{}
		_, _ = box.message(newChanges(1), "f", raw), box.folder(newChanges(1), "", raw, false)
	})
}

// TestWhereAttachmentsHide: hasAttachments leaves out those within the text.
func TestWhereAttachmentsHide(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"hasAttachments":true}`:                  true,
		`{"body":{"content":"<img src='cid:1'>"}}`: true,
		`{"body":{"content":"<img src='CID:1'>"}}`: true,
		`{"internetMessageHeaders":[{"name":"content-type","value":"Multipart/Mixed; boundary=x"}]}`:       true,
		`{"internetMessageHeaders":[{"name":"Content-Type","value":"application/pdf"}]}`:                   true,
		`{"internetMessageHeaders":[{"name":"Content-Type","value":"multipart/alternative; boundary=x"}]}`: false,
		`{"internetMessageHeaders":[{"name":"Content-Type","value":"text/plain"}]}`:                        false,
		`{"internetMessageHeaders":[{"name":"Content-Type","value":"text"}]}`:                              false,
		`{"internetMessageHeaders":null}`:                                                                  false,
	} {
		var m message
		if err := parse("a message", jsontext.Value(raw), &m); err != nil {
			t.Fatal(err)
		}
		if got := m.mayHaveAttachments(jsontext.Value(raw)); got != want {
			t.Errorf("%s: %v", raw, got)
		}
	}
}

// TestLostFilesAreNamed: an item of a list that had files attached must not come back as if it were whole.
func TestLostFilesAreNamed(t *testing.T) {
	for raw, want := range map[string]int{
		`{"fields":{"Title":"a","Attachments":true}}`:  1,
		`{"fields":{"Title":"a","Attachments":false}}`: 0,
		`{"fields":{"Title":"a"}}`:                     0,
		`{"fields":null}`:                              0,
	} {
		var r fileRow
		if err := parse("a list item", jsontext.Value(raw), &r); err != nil {
			t.Fatal(err)
		}
		if got := lostFiles(r.Fields); len(got) != want {
			t.Errorf("%s: %q", raw, got)
		}
	}
}
