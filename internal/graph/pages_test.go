package graph

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// zeros is n zero bytes.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestPagesKeepEveryByte: numbers beyond float64, fractions of seconds, nulls,
// escapes, blanks, duplicate names: an item is what Graph sent.
func TestPagesKeepEveryByte(t *testing.T) {
	items := []string{
		`{"id":"1", "n":9007199254740993 ,"t":"2026-11-19T10:00:00.1234567Z","null":null}`,
		`{"id":"2","text":"\u00e9\ud83d\ude00é\/","id":"2","deep":{"a":[1e400,-0.0,[]]}}`,
		"{\"id\":\"3\",\"latin\":\"\xe9\"}",
		`{"id":"4","@removed":{"reason":"deleted"}}`,
		`"a string"`, `12.50`, `null`,
	}
	rapid.Check(t, func(t *rapid.T) {
		picked := rapid.SliceOf(rapid.SampledFrom(items)).Draw(t, "items")
		gap := rapid.SampledFrom([]string{"", " ", "\r\n\t"}).Draw(t, "gap")
		body := `{"@odata.context":"x",` + gap + `"value":[` + gap + strings.Join(picked, gap+","+gap) + `],"@odata.nextLink":"https:\/\/h\/n","@odata.deltaLink":"d"}` + gap
		s, err := splitPage(iotest.OneByteReader(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.items) != len(picked) || s.next != "https://h/n" || s.delta != "d" {
			t.Fatalf("%d items, next %q, delta %q", len(s.items), s.next, s.delta)
		}
		for i := range picked {
			if string(s.items[i]) != picked[i] {
				t.Fatalf("item %d is %s, want %s", i, s.items[i], picked[i])
			}
		}
		// However it is cut, it must not look complete.
		cut := rapid.IntRange(0, len(strings.TrimSpace(body))-1).Draw(t, "cut")
		if _, err := splitPage(strings.NewReader(body[:cut])); err == nil {
			t.Fatalf("a page cut at %d of %d passed", cut, len(body))
		}
	})
}

// BenchmarkSplitPage prints how many messages of 7.5 KB one core takes apart.
func BenchmarkSplitPage(b *testing.B) {
	const messages = 100
	item := `{"id":"AAMk","subject":"` + strings.Repeat("subject ", 10) + `","body":{"contentType":"html","content":"` + strings.Repeat("<p>text \u00e9</p>", 440) + `"}}`
	body := `{"value":[` + strings.Repeat(item+",", messages-1) + item + `],"@odata.deltaLink":"d"}`
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if s, err := splitPage(strings.NewReader(body)); err != nil || len(s.items) != messages {
			b.Fatal(len(s.items), err)
		}
	}
	b.ReportMetric(float64(messages*b.N)/b.Elapsed().Seconds(), "messages/s")
}

func TestPagesAreBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`{"value":["`), spaces{})
	_, err := splitPage(bounded(endless))
	e := misread("test", err)
	if e.Code != codeTooLarge {
		t.Errorf("%v", e)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestRounds(t *testing.T) {
	var base string
	m, tenant := newMicrosoft(t, nil, nil)
	base = m.graph.URL + "/v1.0"
	self := base + "/self?$skiptoken=1%2F2"
	m.graph.Config.Handler = tokenOr(m, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RequestURI() {
		case "/v1.0/self?$skiptoken=1%2F2":
			write(w, 200, `{"value":[],"@odata.nextLink":"`+self+`"}`)
		case "/v1.0/empty":
			write(w, 200, `{"value":[],"@odata.nextLink":"`+base+`/end"}`)
		case "/v1.0/end":
			write(w, 200, `{"value":[{"id":"9"}],"@odata.deltaLink":"`+base+`/delta"}`)
		default:
			write(w, 200, `{"value":[]}`)
		}
	})
	page, err := tenant.DriveChanges(t.Context(), "d", base+"/empty")
	if want := (RawPage{Next: base + "/end"}); err != nil || !cmp.Equal(page, want) {
		t.Errorf("an empty page is progress: %+v, %v", page, err)
	}
	page, err = tenant.DriveChanges(t.Context(), "d", page.Next)
	if err != nil || !page.Done || page.Next != base+"/delta" || len(page.Items) != 1 {
		t.Errorf("last page: %+v, %v", page, err)
	}
	_, err = tenant.DriveChanges(t.Context(), "d", self)
	if tenantry.CodeOf(err) != codeLinkLoop {
		t.Errorf("a loop: %v", err)
	}
	_, err = tenant.DriveChanges(t.Context(), "d", "")
	if tenantry.CodeOf(err) != codeIncomplete {
		t.Errorf("a delta without an end: %v", err)
	}
	page, err = tenant.DriveChildren(t.Context(), "d", "f", "")
	if err != nil || !page.Done || page.Next != "" {
		t.Errorf("a list ends without a link: %+v, %v", page, err)
	}
}

func tokenOr(m *microsoft, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			m.serveToken(w)
			return
		}
		m.note(r)
		h(w, r)
	}
}

// TestHeavyPagesShrink: a gateway that gives up on 50 messages may manage 10.
func TestHeavyPagesShrink(t *testing.T) {
	var base string
	m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Prefer"), "maxpagesize=50") {
			write(w, 504, "")
			return
		}
		write(w, 200, `{"value":[{"id":"m"}],"@odata.deltaLink":"`+base+`/v1.0/d"}`)
	}, nil)
	base = m.graph.URL
	page, err := tenant.MessageChanges(t.Context(), "u1", "f1", "", 50)
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	last := m.requests()[len(m.requests())-1]
	if got := last.header.Get("Prefer"); got != `IdType="ImmutableId", odata.maxpagesize=10` {
		t.Errorf("prefer is %q", got)
	}
	if order, err := url.ParseQuery(last.query); err != nil || order.Get("$orderby") != "receivedDateTime desc" {
		t.Errorf("a first round is asked for as %q, not newest first: %v", last.query, err)
	}
	if !strings.Contains(last.query, "internetMessageHeaders") || !strings.HasSuffix(last.path, "/users/u1/mailFolders/f1/messages/delta()") {
		t.Errorf("asked for %s?%s", last.path, last.query)
	}
	for _, c := range m.limiter.calls {
		if c.Mailbox != "u1" {
			t.Errorf("drawn on %+v", c)
		}
	}
}

// TestAttachmentsAreListedWithoutContent, but with what belongs to the derived
// type: without contentId inline pictures are lost.
func TestAttachmentsAreListedWithoutContent(t *testing.T) {
	m, tenant := newMicrosoft(t, answerWith(200, `{"value":[{"id":"a1"}]}`), nil)
	if page, err := tenant.Attachments(t.Context(), "u1", OfMessage, "m1", ""); err != nil || !page.Done || len(page.Items) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	query := m.requests()[0].query
	if !strings.Contains(query, "microsoft.graph.fileAttachment%2FcontentId") || strings.Contains(query, "contentBytes") {
		t.Errorf("asked for %s", query)
	}
}

func TestUserChangesAreWhole(t *testing.T) {
	const whole = `{"id":"u1","displayName":"Ann","userPrincipalName":"ann@contoso.example","mail":null,"accountEnabled":true,"userType":"Member",
		"assignedPlans":[{"service":"exchange","capabilityStatus":"Suspended"},{"service":"SharePoint","capabilityStatus":"Deleted"}]}`
	var base string
	m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/users/delta()":
			write(w, 200, `{"value":[{"id":"u2","displayName":"Bob"},`+whole+`,{"id":"u3","@removed":{"reason":"changed"}},{"id":"u4","mail":"x"}],
				"@odata.nextLink":"`+base+`/v1.0/users/delta?t=1"}`)
		case "/users/u2":
			write(w, 200, `{"id":"u2","displayName":"Bob","userPrincipalName":"bob@contoso.example","accountEnabled":false,"userType":"Guest","assignedPlans":[]}`)
		default:
			write(w, 404, `{"error":{"code":"Request_ResourceNotFound"}}`)
		}
	}, nil)
	base = m.graph.URL
	page, err := tenant.UserChanges(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	want := Changes[User]{Next: base + "/v1.0/users/delta?t=1", Items: []User{
		{ID: "u2", Name: "Bob", PrincipalName: "bob@contoso.example", Guest: true},
		{ID: "u1", Name: "Ann", PrincipalName: "ann@contoso.example", Enabled: true, Licensed: true, HasMailPlan: true},
		{ID: "u3", Removed: "changed"},
	}}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestTypedSurvivesOddAnswers: the SDK panics or returns nil on some of these.
func TestTypedSurvivesOddAnswers(t *testing.T) {
	for _, body := range []string{``, `null`, `[]`, `"x"`, `{"value":"x"}`, `{"value":[null]}`, `{"value":[{"id":5}]}`, `{"value":[{"assignedPlans":[null,3]}]}`, `<html>`} {
		_, tenant := newMicrosoft(t, answerWith(200, body), nil)
		if page, err := tenant.UserChanges(t.Context(), ""); err == nil {
			t.Errorf("%s passed: %+v", body, page)
		}
		if org, err := tenant.Organization(t.Context()); err == nil {
			t.Errorf("%s passed: %+v", body, org)
		}
	}
}

func TestBackoffIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1000).Draw(t, "n")
		if d := standardPolicy.backoff(n); d <= 0 || d > 5*time.Second {
			t.Fatalf("try %d waits %v", n, d)
		}
	})
}
