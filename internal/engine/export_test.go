package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-vcard"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// parts serves stored parts from memory.
type parts map[string]string

func (p parts) entry(kind string) repository.Entry {
	e := repository.Entry{ID: "id-1", Kind: kind, Name: "name"}
	for name, content := range p {
		e.Parts = append(e.Parts, repository.Part{Name: name, Size: int64(len(content))})
	}
	return e
}

func (p parts) open(_ context.Context, part repository.Part, _ int64) (io.ReadCloser, error) {
	content, ok := p[part.Name]
	if !ok {
		return nil, tenantry.Errorf(tenantry.Corrupt, "no part %s", part.Name)
	}
	return io.NopCloser(strings.NewReader(content)), nil
}

const exportedMail = `{"subject":"Gr\u00fc\u00dfe \ud83d\ude00","body":{"contentType":"html","content":"<p>line one\nline two\r\n</p>\u00e4"},
"from":{"emailAddress":{"name":"Ann \"A\" Other","address":"ann@contoso.example"}},"sender":{"emailAddress":{"name":"Bob","address":"bob@contoso.example"}},
"toRecipients":[{"emailAddress":{"name":"J\u00f6rg","address":"joerg@x.example"}}],"ccRecipients":[],"replyTo":[{"emailAddress":{"address":"r@x.example"}}],
"internetMessageId":"<abc.123@contoso.example>","sentDateTime":"2026-03-01T10:20:30Z","importance":"high","categories":["Red","Blue"],
"internetMessageHeaders":[{"name":"Received","value":"from a\r\nInjected: yes"},{"name":"Content-Type","value":"evil/type"}]}`

// What is read from an exported mail is what the message had, byte for byte.
func TestWriteMail(t *testing.T) {
	embedded := "Subject: inside\r\nMIME-Version: 1.0\r\n\r\nhello\r\n"
	p := parts{
		"attachments.json": `[{"id":"a1","@odata.type":"#microsoft.graph.fileAttachment","name":"r\u00e9sum\u00e9.bin","contentType":"application/x-thing"},
			{"id":"a2","@odata.type":"#microsoft.graph.itemAttachment","name":"inside"},
			{"id":"a3","@odata.type":"#microsoft.graph.referenceAttachment","name":"link"},
			{"id":"a4","@odata.type":"#microsoft.graph.fileAttachment","name":"lost.pdf"},
			{"id":"a5","@odata.type":"#microsoft.graph.fileAttachment","name":"logo.png","contentType":"image/png","isInline":true,"contentId":"logo@1"}]`,
		"a1": "\x00\x01binary\n\r\xff", "a2": embedded, "a5": "png",
	}
	var out bytes.Buffer
	if err := WriteMail(t.Context(), &out, p.entry("message"), []byte(exportedMail), p.open); err != nil {
		t.Fatal(err)
	}
	r, err := mail.CreateReader(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := r.Header.Subject()
	from, _ := r.Header.AddressList("From")
	to, _ := r.Header.AddressList("To")
	date, _ := r.Header.Date()
	if subject != "Grüße 😀" || from[0].Name != `Ann "A" Other` || from[0].Address != "ann@contoso.example" || to[0].Name != "Jörg" ||
		!date.Equal(time.Date(2026, 3, 1, 10, 20, 30, 0, time.UTC)) || r.Header.Get("Message-Id") != "<abc.123@contoso.example>" {
		t.Errorf("headers came back as %v", r.Header.Map())
	}
	if r.Header.Has("Injected") || !strings.Contains(r.Header.Get("Received"), "Injected") {
		t.Errorf("a header made another one: %v", r.Header.Map())
	}
	if got := r.Header.Get("X-Tenantry-Missing"); got != "lost.pdf" {
		t.Errorf("missing: %q", got)
	}
	var got []string
	for {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part.Body)
		if err != nil {
			t.Fatal(err)
		}
		name := part.Header.Get("Content-Id")
		if h, ok := part.Header.(*mail.AttachmentHeader); ok {
			name, _ = h.Filename()
		}
		got = append(got, fmt.Sprintf("%s %q", name, body))
	}
	want := []string{` "<p>line one\nline two\r\n</p>ä"`, fmt.Sprintf("résumé.bin %q", p["a1"]), fmt.Sprintf("inside %q", embedded)}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("part %d is %q, expected %q", i, got, want[i])
		}
	}
	if len(got) != 5 || !strings.HasPrefix(got[3], "link.link.json ") || got[4] != `<logo@1> "png"` {
		t.Errorf("the parts are %q", got)
	}
}

// Whatever a stored message holds, writing it ends in a mail that can be read, or an error.
// TestWriteMailAsItWasKept: MIME that was kept is not made anew.
func TestWriteMailAsItWasKept(t *testing.T) {
	kept := parts{"message.eml": "Subject: signed\r\n\r\n\x00 bytes", "attachments.json": `[]`}
	var out bytes.Buffer
	if err := WriteMail(t.Context(), &out, kept.entry("message"), []byte(exportedMail), kept.open); err != nil || out.String() != kept["message.eml"] {
		t.Errorf("%q: %v", out.String(), err)
	}
}

func TestWriteMailAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		raw := fmt.Sprintf(`{"subject":%q,"body":{"content":%q},"from":{"emailAddress":{"name":%q,"address":%q}},"internetMessageId":%q,"categories":[%q]}`,
			jsonText(text.Draw(t, "subject")), jsonText(text.Draw(t, "body")), jsonText(text.Draw(t, "name")), jsonText(text.Draw(t, "address")),
			jsonText(text.Draw(t, "id")), jsonText(text.Draw(t, "category")))
		var out bytes.Buffer
		if err := WriteMail(context.Background(), &out, repository.Entry{}, []byte(raw), parts{}.open); err != nil {
			if kind := tenantry.KindOf(err); kind != tenantry.Corrupt && kind != tenantry.Poison {
				t.Fatalf("%v", err)
			}
			return
		}
		r, err := mail.CreateReader(&out)
		if err != nil {
			t.Fatalf("cannot be read again: %v", err)
		}
		if part, err := r.NextPart(); err != nil {
			t.Fatal(err)
		} else if _, err := io.Copy(io.Discard, part.Body); err != nil {
			t.Fatal(err)
		}
	})
}

// jsonText keeps what %q writes within JSON.
func jsonText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r > 0x7e {
			return 'x'
		}
		return r
	}, s)
}

func TestWriteEvent(t *testing.T) {
	raw := `{"id":"e1","iCalUId":"uid-1","subject":"Weekly; sync","body":{"contentType":"text","content":"a,b\r\nc\rd"},"categories":["two\r\nlines"],
		"start":{"dateTime":"2026-03-02T09:00:00.0000000","timeZone":"UTC"},"end":{"dateTime":"2026-03-02T10:00:00.0000000","timeZone":"UTC"},
		"isReminderOn":true,"reminderMinutesBeforeStart":15,"organizer":{"emailAddress":{"name":"Ann","address":"ann@x.example"}},
		"attendees":[{"type":"optional","status":{"response":"accepted"},"emailAddress":{"name":"Bob","address":"bob@x.example"}}],
		"recurrence":{"pattern":{"type":"weekly","interval":2,"daysOfWeek":["monday"],"firstDayOfWeek":"sunday"},"range":{"type":"numbered","numberOfOccurrences":5}}}`
	p := parts{"series.json": `{"cancelledOccurrences":["OID.e1.2026-03-16"],"exceptionOccurrences":[{"subject":"moved","originalStart":"2026-03-30T09:00:00Z",
		"start":{"dateTime":"2026-03-31T09:00:00","timeZone":"Pacific Standard Time"},"end":{"dateTime":"2026-03-31T10:00:00","timeZone":"Pacific Standard Time"}}]}`}
	var out bytes.Buffer
	if err := WriteEvent(t.Context(), &out, p.entry("event"), []byte(raw), p.open); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	cal, err := ical.NewDecoder(strings.NewReader(text)).Decode()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	events := cal.Events()
	if len(events) != 2 {
		t.Fatalf("%d events\n%s", len(events), text)
	}
	set, err := events[0].RecurrenceSet(time.UTC)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	days := ""
	for _, at := range set.All() {
		days += at.Format(" 01-02T15")
	}
	if days != " 03-02T09 03-30T09 04-13T09 04-27T09" {
		t.Errorf("it recurs on%s\n%s", days, text)
	}
	if d, _ := events[0].Props.Text("DESCRIPTION"); d != "a,b\nc\nd" {
		t.Errorf("described as %q", d)
	}
	for _, want := range []string{"RECURRENCE-ID:20260330T090000Z", "TZID=Pacific Standard Time:20260331T090000", "PARTSTAT=ACCEPTED", "TRIGGER:-PT900S", "ORGANIZER;CN=Ann:mailto:ann@x.example"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

func TestRecurrences(t *testing.T) {
	for rule, c := range map[string]graphRecurrence{
		"FREQ=DAILY;INTERVAL=3":                                recurring("daily", 3, nil, "", 0, 0),
		"FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=31":                recurring("absoluteMonthly", 1, nil, "", 31, 0),
		"FREQ=MONTHLY;INTERVAL=1;BYSETPOS=-1;BYDAY=FR":         recurring("relativeMonthly", 1, []string{"friday"}, "last", 0, 0),
		"FREQ=YEARLY;INTERVAL=1;BYMONTH=2;BYMONTHDAY=29":       recurring("absoluteYearly", 0, nil, "", 29, 2),
		"FREQ=YEARLY;INTERVAL=1;BYSETPOS=2;BYMONTH=5;BYDAY=SU": recurring("relativeYearly", 1, []string{"sunday"}, "second", 0, 5),
	} {
		got, err := c.rule()
		if err != nil || got.RRuleString() != rule {
			t.Errorf("got %v, %v, expected %s", got, err, rule)
		}
	}
	for _, bad := range []graphRecurrence{recurring("hourly", 1, nil, "", 0, 0), recurring("weekly", 1, []string{"someday"}, "", 0, 0), recurring("relativeMonthly", 1, nil, "fifth", 0, 0)} {
		if _, err := bad.rule(); tenantry.KindOf(err) != tenantry.Poison {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func recurring(kind string, interval int, days []string, index string, day, month int) (r graphRecurrence) {
	r.Pattern.Type, r.Pattern.Interval, r.Pattern.DaysOfWeek, r.Pattern.Index = kind, interval, days, index
	r.Pattern.DayOfMonth, r.Pattern.Month = day, month
	return r
}

func TestWriteContact(t *testing.T) {
	raw := `{"id":"c1","displayName":"Ann Other","givenName":"Ann","surname":"Other","companyName":"Contoso","mobilePhone":"+1 2",
		"emailAddresses":[{"address":"ann@x.example"},{"address":"a@y.example"}],"birthday":"1980-05-06T00:00:00Z","personalNotes":"one\ntwo",
		"homeAddress":{"street":"1 Way","city":"Town"}}`
	p := parts{"photo": "\xff\xd8\xff\xe0jpeg"}
	var out bytes.Buffer
	if err := WriteContact(t.Context(), &out, p.entry("contact"), []byte(raw), p.open); err != nil {
		t.Fatal(err)
	}
	card, err := vcard.NewDecoder(&out).Decode()
	if err != nil {
		t.Fatal(err)
	}
	if card.Value("FN") != "Ann Other" || card.Name().FamilyName != "Other" || len(card.Values("EMAIL")) != 2 || card.Value("BDAY") != "19800506" ||
		card.Value("NOTE") != "one\ntwo" || card.Address().Locality != "Town" || !strings.HasPrefix(card.Value("PHOTO"), "data:image/jpeg;base64,") {
		t.Errorf("came back as %v", card)
	}
}

func TestFolderTarget(t *testing.T) {
	dir := t.TempDir()
	target, err := NewFolderTarget(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	ctx := t.Context()
	root, err := target.Folder(ctx, "", repository.Entry{ID: "r", Name: "root", Kind: KindFolder}, nil)
	if err != nil || root != "" {
		t.Fatalf("%q, %v", root, err)
	}
	sub, err := target.Folder(ctx, root, repository.Entry{ID: "f", Name: "../..", Kind: KindFolder, Parent: "r"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := parts{"content": "bytes"}
	file := p.entry("file")
	file.Name, file.Modified = "report.txt", time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 2 {
		w, err := target.Item(ctx, sub, file, []byte("{}"), p.open)
		if err != nil || w.Existed != (i == 1) {
			t.Errorf("run %d: %+v, %v", i, w, err)
		}
	}
	broken := file
	broken.Name, broken.Parts = "broken.txt", []repository.Part{{Name: "content"}}
	if _, err := target.Item(ctx, sub, broken, nil, parts{}.open); tenantry.KindOf(err) != tenantry.Corrupt {
		t.Errorf("a part that cannot be read: %v", err)
	}
	other := repository.Entry{ID: "x", Kind: "todoTask", Name: "a/b"}
	if _, err := target.Item(ctx, "", other, []byte(`{"a":1}`), parts{}.open); err != nil {
		t.Error(err)
	}
	var found []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			found = append(found, rel)
		}
		return err
	})
	want := []string{"_.._ [252f10c836]/broken.txt.json", "_.._ [252f10c836]/report.txt", "_.._ [252f10c836]/report.txt.json", "a_b [2d711642b7].json"}
	if !slices.Equal(found, want) {
		t.Errorf("written: %q", found)
	}
	info, err := os.Stat(filepath.Join(dir, sub, "report.txt"))
	if err != nil || !info.ModTime().Equal(file.Modified) || info.Size() != 5 {
		t.Errorf("%+v, %v", info, err)
	}
}

// Whatever an item is called, its file lies directly in its folder, and two items never meet.
func TestSafeNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", ".", "..", "con", "COM1.txt", "a/b", `\\x`, "a ", ".tmp-x", strings.Repeat("ä", 300)})).Draw(t, "name")
		got := safeName(name, "id", ".eml", rapid.Bool().Draw(t, "marked"))
		if got == "" || len(got) > 255 || strings.ContainsAny(got, "/\\\x00") || got == "." || got == ".." || strings.HasPrefix(got, ".tmp-") || !filepath.IsLocal(got) {
			t.Fatalf("%q became %q", name, got)
		}
		if safeName(name, "id", "", true) == safeName(name, "other", "", true) {
			t.Fatalf("two items share the name %q", got)
		}
	})
}

// A message and a thread become pages that show what was written, and can neither run nor load anything.
func TestWritePosts(t *testing.T) {
	p := parts{"hosted/h1": "\x89PNG\r\n\x1a\nrest", "posts.json": `[
		{"receivedDateTime":"2026-03-01T10:00:00Z","from":{"emailAddress":{"name":"Ann <b>","address":"a@x.example"}},"body":{"contentType":"text","content":"a < b"}},
		{"receivedDateTime":"2026-03-02T10:00:00Z","from":{"emailAddress":{"address":"b@x.example"}},"body":{"contentType":"html","content":"<p>two</p>"}}]`}
	chat := `{"subject":null,"createdDateTime":"2026-03-01T09:00:00Z","replyToId":"1","from":{"user":{"displayName":"Ann"}},"body":{"contentType":"html",
		"content":"<p>look</p><img src=\"https://graph.example/v1.0/teams/t/channels/c/messages/1/hostedContents/h1/$value\"><img src=\"https://graph.example/hostedContents/lost/$value\">"}}`
	for name, test := range map[string]struct {
		write func(context.Context, io.Writer, repository.Entry, []byte, OpenPart) error
		raw   string
		has   []string
		hasNo []string
	}{
		"message": {WriteChat, chat, []string{"<p>look</p>", "data:image/png;base64,iVBORw0KGgp", "<b>Ann</b>", "(reply)", "default-src 'none'", "hostedContents/lost"}, []string{"hostedContents/h1"}},
		"thread":  {WriteThread, `{}`, []string{"Ann &lt;b&gt;", "<pre>a &lt; b</pre>", "<p>two</p>", "b@x.example", "default-src 'none'"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := test.write(t.Context(), &out, p.entry("x"), []byte(test.raw), p.open); err != nil {
				t.Fatal(err)
			}
			for _, want := range test.has {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in %s", want, &out)
				}
			}
			for _, not := range test.hasNo {
				if strings.Contains(out.String(), not) {
					t.Errorf("%q is in %s", not, &out)
				}
			}
		})
	}
	if err := WriteChat(t.Context(), io.Discard, p.entry("x"), []byte("nothing"), p.open); tenantry.KindOf(err) != tenantry.Corrupt {
		t.Error(err)
	}
}
