package tenantry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIDsSortByTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		years := rapid.Int64Range(0, int64(200*365*24*time.Hour/time.Microsecond))
		a, b := time.UnixMicro(years.Draw(t, "a")), time.UnixMicro(years.Draw(t, "b"))
		if a.Before(b) && NewTaskID(a) >= NewTaskID(b) {
			t.Fatalf("the task of %v sorts behind the one of %v", a, b)
		}
		if floor := TaskIDFloor(a); NewTaskID(a) < floor || (b.Before(a) && NewTaskID(b) >= floor) {
			t.Fatalf("%s does not bound the tasks of %v and %v", floor, a, b)
		}
	})
}

func TestSiteResourceSurvivesARenamedHost(t *testing.T) {
	before := SiteResource("contoso.sharepoint.example,1111,2222")
	after := SiteResource("fabrikam.sharepoint.example,1111,2222")
	if before != after || before != "s-1111-2222" {
		t.Fatalf("%s became %s", before, after)
	}
}

func TestKindOf(t *testing.T) {
	until := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	throttled := &Error{Kind: Throttled, Op: "read page", Code: "TooManyRequests", Until: until, Err: io.ErrUnexpectedEOF}
	wrapped := fmt.Errorf("back up mailbox: %w", throttled)
	if KindOf(wrapped) != Throttled || CodeOf(wrapped) != "TooManyRequests" || !UntilOf(wrapped).Equal(until) {
		t.Fatalf("%v lost its kind, code or time", wrapped)
	}
	if !errors.Is(wrapped, io.ErrUnexpectedEOF) || wrapped.Error() != "back up mailbox: read page: unexpected EOF" {
		t.Fatalf("the cause of %q is gone", wrapped)
	}
	for err, want := range map[error]Kind{
		nil: "", context.Canceled: Canceled, context.DeadlineExceeded: Transient, io.EOF: Internal,
		E(Absent, "open drive", nil): Absent, Errorf(Denied, "read %s: %w", "x", io.EOF): Denied,
	} {
		if got := KindOf(err); got != want {
			t.Errorf("%v is %q, expected %q", err, got, want)
		}
	}
	if text := Errorf(Denied, "read %s: %w", "x", io.EOF).Error(); text != "read x: EOF" {
		t.Errorf("the cause is said twice: %q", text)
	}
}

func TestSecretNeverShows(t *testing.T) {
	s := NewSecret("hunter2")
	encoded, err := json.Marshal(map[string]any{"secret": s, "nested": struct{ S Secret }{s}})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), string(encoded)} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("the secret shows in %s", shown)
		}
	}
	if s.Reveal() != "hunter2" || s.IsZero() || !(Secret{}).IsZero() {
		t.Error("the secret itself is wrong")
	}
}

func TestServiceOf(t *testing.T) {
	for _, test := range []struct {
		action   Action
		workload Workload
		want     Service
	}{
		{Connect, "", Identity},
		{Sync, "", Identity},
		{Backup, Mailbox, Outlook},
		{Backup, GroupContent, Outlook},
		{Backup, Drive, SharePoint},
		{Backup, SiteContent, SharePoint},
		{Backup, TeamContent, Teams},
		{Restore, Mailbox, Outlook},
		{Restore, Drive, SharePoint},
		{Verify, Drive, NoService},
		{Backup, "unheard of", NoService},
	} {
		if got := ServiceOf(test.action, test.workload); got != test.want {
			t.Errorf("%s of %q meets %q, want %q", test.action, test.workload, got, test.want)
		}
	}
}
