package graphsim

import (
	"bytes"
	"io"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The vectors were computed by two implementations written from the OneDrive page.
func TestQuickXorHash(t *testing.T) {
	ramp := make([]byte, 256)
	for i := range ramp {
		ramp[i] = byte(i)
	}
	long := make([]byte, 5000)
	for i := range long {
		long[i] = byte(7*i + 3)
	}
	for _, tc := range []struct {
		in   []byte
		want string
	}{
		{nil, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		{[]byte("J"), "SgAAAAAAAAAAAAAAAQAAAAAAAAA="},
		{[]byte("hello"), "aCgDG9jwBgAAAAAABQAAAAAAAAA="},
		{[]byte("The quick brown fox jumps over the lazy dog"), "bMSlbysmxJL6S75XwfMcQZOpcr4="},
		{ramp, "QkGEfSisZcA7k+FCh71r2dbCayY="},
		{make([]byte, 1000), "AAAAAAAAAAAAAAAA6AMAAAAAAAA="},
		{long, "4/GMmuF3EXP3HLUJvgacVA3BgPg="},
	} {
		q := &quickXorHash{}
		for chunk := range slices.Chunk(tc.in, 37) {
			_, _ = q.Write(chunk)
		}
		if got := q.base64(); got != tc.want {
			t.Errorf("%.20q: %s, want %s", tc.in, got, tc.want)
		}
	}
}

// Seeded content is the same bytes wherever a read begins, and an edit changes
// one block.
func TestSeededContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := seededContent{seed: rapid.Uint64().Draw(t, "seed"), length: rapid.Int64Range(1, 20_000).Draw(t, "length")}
		whole, err := readContent(c)
		if err != nil || int64(len(whole)) != c.length {
			t.Fatalf("%d bytes, %v", len(whole), err)
		}
		from := rapid.Int64Range(0, c.length-1).Draw(t, "from")
		rd, err := c.open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rd.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(rd)
		if err != nil || !bytes.Equal(rest, whole[from:]) {
			t.Fatalf("the bytes from %d differ: %v", from, err)
		}
		block := from / blockSize
		edited, err := readContent(c.edited(block, c.seed+1))
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(0); at < c.length; at += blockSize {
			end := min(at+blockSize, c.length)
			if same := bytes.Equal(edited[at:end], whole[at:end]); same == (at/blockSize == block) && end-at > 16 {
				t.Fatalf("block %d: same is %v after an edit of %d", at/blockSize, same, block)
			}
		}
	})
}

// Whatever comes when: a meter never counts less than the last whole window holds,
// nor more than everything since the fixed and the sliding window began; and
// after wait there is room.
func TestMeter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const window = 600 * time.Second
		m := &meter{window: window}
		type event struct {
			at time.Duration
			n  int64
		}
		var events []event
		now := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now += time.Duration(rapid.Int64Range(0, int64(200*time.Second)).Draw(t, "gap"))
			n := rapid.Int64Range(1, 50).Draw(t, "n")
			m.add(now, n)
			events = append(events, event{now, n})
			least, most := int64(0), int64(0)
			for _, e := range events {
				if e.at > now-window+window/slotCount {
					least += e.n
				}
				if e.at > now-window-window/slotCount || e.at/window == now/window {
					most += e.n
				}
			}
			if used := m.used(now); used < least || used > most {
				t.Fatalf("at %v %d are used, want %d to %d", now, used, least, most)
			}
		}
		limit := rapid.Int64Range(1, 100).Draw(t, "limit")
		if m.used(now) > limit {
			if after := now + m.wait(now, limit); m.used(after) > limit {
				t.Fatalf("after the wait %d are used of %d", m.used(after), limit)
			}
		}
	})
}

// Four requests of a mailbox are in flight: the fifth is refused, another mailbox
// is not, and room comes back with the end of one.
func TestMailboxConcurrency(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	tenant := s.AddTenant(TenantSpec{Users: 1})
	entered, leave := make(chan struct{}), make(chan struct{})
	held := &route{service: outlook, roles: []string{"r"}, handle: func(*call) error {
		entered <- struct{}{}
		<-leave
		return nil
	}}
	quick := &route{service: outlook, roles: []string{"r"}, handle: func(*call) error { return nil }}
	ask := func(user string, rt *route) error {
		return s.run(&call{s: s, t: tenant, r: httptest.NewRequest("GET", "/", nil), w: httptest.NewRecorder(),
			roles: []string{"r"}, params: map[string]string{"user": user}}, rt)
	}
	answers := make(chan error, 4)
	for range 4 {
		go func() { answers <- ask("a", held) }()
	}
	for range 4 {
		<-entered
	}
	if e := asAPIError(ask("a", quick)); e.status != 429 || e.code != "ApplicationThrottled" || e.header.Get("Retry-After") == "" {
		t.Errorf("the fifth request: %v", e)
	}
	if err := ask("b", quick); err != nil {
		t.Errorf("another mailbox: %v", err)
	}
	leave <- struct{}{}
	if err := <-answers; err != nil {
		t.Error(err)
	}
	if err := ask("a", quick); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	close(leave)
	for range 3 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}

// Four requests of a Bookings mailbox are in flight, of each apart.
func TestBookingsConcurrency(t *testing.T) {
	l := newLimiter(DocumentedLimits(), func() time.Duration { return 0 })
	c := &call{s: &Server{o: withDefaults(Options{})}, t: &Tenant{id: "t"}, app: "a"}
	enter := func(business string) *apiError {
		matches := l.rules.find("GET", []string{"solutions", "bookingBusinesses", business, "appointments"}, func(string) string { return "" })
		_, busy := l.enterAll(l.concurrencies(c, matches, false, account{}))
		return busy
	}
	for i := range 4 {
		if busy := enter("one"); busy != nil {
			t.Fatalf("request %d: %v", i, busy)
		}
	}
	if busy := enter("one"); busy == nil || busy.status != 429 {
		t.Errorf("the fifth: %v", busy)
	}
	if busy := enter("two"); busy != nil {
		t.Errorf("another mailbox: %v", busy)
	}
}

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]target{
		"users/delta()":                             {segments: []string{"users", "delta"}},
		"users/microsoft.graph.delta()":             {segments: []string{"users", "delta"}},
		"users('u1')/mailFolders('f=')/messages":    {segments: []string{"users", "u1", "mailFolders", "f=", "messages"}},
		"drives/d/root:/a%20b/c%23(1).txt:/content": {segments: []string{"drives", "d", "items", "root", "@path", "content"}, path: "a b/c#(1).txt"},
		"drives/d/items/i:/x.txt":                   {segments: []string{"drives", "d", "items", "i", "@path"}, path: "x.txt"},
		"drives/d/items/root%3A/x.txt%3A/content":   {segments: []string{"drives", "d", "items", "root", "@path", "content"}, path: "x.txt"},
		"drives/d/items/root:/delta():/content":     {segments: []string{"drives", "d", "items", "root", "@path", "content"}, path: "delta()"},
		"sites/host:/sites/a":                       {segments: []string{"sites", "host", "@path"}, path: "sites/a"},
	} {
		got, err := parseTarget(in)
		if err != nil {
			t.Fatal(err)
		}
		got.args = nil
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(target{})); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	got, err := parseTarget("drives/d/root/delta(token='x')")
	if err != nil || got.args.Get("token") != "x" {
		t.Errorf("function argument: %v %v", got.args, err)
	}
}

func TestQuotedTexts(t *testing.T) {
	got := quotedTexts(`a/any(ep: ep/id eq 'String {x} Name O''Brien' and ep/value eq '')`)
	if diff := cmp.Diff([]string{"String {x} Name O'Brien", ""}, got); diff != "" {
		t.Error(diff)
	}
}

// A tenant that nobody has asked for has no directory in memory, consented or not.
func TestDirectoryIsLaidOutWhenAskedFor(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tenant := s.AddTenant(TenantSpec{Users: 100_000, MailsPerUser: 20_000})
	tenant.Consent()
	if !tenant.Consented() || tenant.licences() != 100_000 || tenant.users.size() != 0 {
		t.Errorf("%d users are in memory", tenant.users.size())
	}
	if tenant.userCount() != 100_000 || len(tenant.mailboxes) != 0 {
		t.Errorf("%d users, %d mailboxes", tenant.userCount(), len(tenant.mailboxes))
	}
}

// Everything a tenant holds can be read and written with the roles that a consent grants by
// default; what cannot is named here.
func TestDefaultRolesOpenWhatATenantHolds(t *testing.T) {
	closed := regexp.MustCompile(`send$|sendMail$|^applications|^servicePrincipals|delegatedAdmin|^sites/\{site\}/permissions`)
	for _, list := range newRouter().bySize {
		for _, rt := range list {
			open := len(rt.roles) == 0 || slices.ContainsFunc(rt.roles, func(role string) bool { return slices.Contains(DefaultRoles, role) })
			migration := rt.method == "POST" && slices.Equal(rt.roles, []string{"Teamwork.Migrate.All"})
			if len(rt.roles) > 0 && open == (closed.MatchString(rt.pattern) || migration) {
				t.Errorf("%s %s: open %v, needs one of %v", rt.method, rt.pattern, open, rt.roles)
			}
		}
	}
}
