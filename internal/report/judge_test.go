package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const settle = 2 * time.Minute

var whoListens = tenantry.Notices{To: []string{"ada@contoso.com"}, Problems: true, Zone: "Europe/Vienna"}

// noon is noon of a Saturday in Vienna.
var noon = time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)

// diary plays rounds: it keeps what was stored, and what was told.
type diary struct {
	stored map[place]catalog.Trouble
	counts map[place]int64
	told   []string // "TENANT EVENT CAUSE N"
}

func newDiary() *diary {
	return &diary{stored: map[place]catalog.Trouble{}, counts: map[place]int64{}}
}

func (d *diary) round(now time.Time, tenants int64, who tenantry.Notices) {
	w := newWrong(nil, now, settle)
	for p, t := range d.stored {
		w.stored[p], w.counts[p] = t, 0
	}
	for p, n := range d.counts {
		w.count(p.tenant, p.cause, n)
	}
	w.share(tenants)
	for _, tenant := range w.tenants() {
		v := w.judge(tenant, who)
		for _, t := range v.changed {
			d.stored[place{t.Tenant, t.Cause}] = t
		}
		for event, list := range map[string][]catalog.Trouble{"now": v.atOnce, "digest": v.digest, "over": v.over} {
			for _, t := range list {
				d.told = append(d.told, fmt.Sprintf("%s %s %s %d", tenant, event, t.Cause, t.Untold))
			}
		}
	}
}

func (d *diary) expect(t *testing.T, what string, told ...string) {
	t.Helper()
	if strings.Join(d.told, "; ") != strings.Join(told, "; ") {
		t.Errorf("%s: told %q, want %q", what, d.told, told)
	}
	d.told = nil
}

func TestTroubleIsToldOnceADay(t *testing.T) {
	t.Parallel()
	d, denied := newDiary(), place{"t-a", "failed/backup/denied"}
	d.counts[denied] = 2
	d.round(noon, 1, whoListens)
	d.expect(t, "before its like may have come")
	d.counts[denied] = 3
	d.round(noon.Add(settle), 1, whoListens)
	d.expect(t, "at once", "t-a now failed/backup/denied 3")
	d.round(noon.Add(settle+time.Second), 1, whoListens)
	d.counts[denied] = 7
	d.round(noon.Add(time.Hour), 1, whoListens)
	d.round(noon.Add(2*time.Hour), 1, whoListens)
	d.expect(t, "the same day, again")
	d.counts[denied] = 9
	d.counts[place{"t-a", "failed/backup/corrupt"}] = 1
	d.round(noon.Add(3*time.Hour), 1, whoListens)
	d.round(noon.Add(3*time.Hour+settle), 1, whoListens)
	d.expect(t, "another cause", "t-a now failed/backup/corrupt 1")
	d.round(noon.Add(13*time.Hour), 1, whoListens)
	d.expect(t, "after midnight")
	morning := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC) // 07:00 in Vienna
	d.round(morning.Add(-time.Second), 1, whoListens)
	d.expect(t, "before the morning")
	d.round(morning, 1, whoListens)
	d.expect(t, "the next morning", "t-a digest failed/backup/denied 6")
	d.round(morning.Add(time.Hour), 1, whoListens)
	d.counts[denied] = 10
	d.round(morning.Add(2*time.Hour), 1, whoListens)
	d.round(morning.Add(2*time.Hour+settle), 1, whoListens)
	d.expect(t, "the next day", "t-a now failed/backup/denied 1")

	daily := whoListens
	daily.Report = tenantry.ReportDaily
	d.counts[denied] = 12
	d.round(morning.Add(3*time.Hour), 1, daily)
	d.round(morning.Add(24*time.Hour), 1, daily)
	d.expect(t, "whom the daily report tells")
	silent := whoListens
	silent.Stopped = true
	d.counts[denied] = 20
	d.round(morning.Add(48*time.Hour), 1, silent)
	d.round(morning.Add(49*time.Hour), 1, whoListens)
	d.expect(t, "what was stopped")
}

func TestStatesComeAndGo(t *testing.T) {
	t.Parallel()
	d, stale := newDiary(), place{"t-a", catalog.TroubleStale}
	d.counts[stale] = 4
	d.round(noon, 1, whoListens)
	d.counts[stale] = 0
	d.round(noon.Add(settle), 1, whoListens)
	d.expect(t, "what is over before it is told")
	d.counts[stale] = 2
	d.round(noon.Add(time.Hour), 1, whoListens)
	d.round(noon.Add(time.Hour+settle), 1, whoListens)
	d.expect(t, "at once", "t-a now stale 2")
	d.counts[stale] = 1
	d.round(noon.Add(2*time.Hour), 1, whoListens)
	d.counts[stale] = 5
	d.round(noon.Add(3*time.Hour), 1, whoListens)
	d.round(noon.Add(4*time.Hour), 1, whoListens)
	d.expect(t, "more of it, the same day")
	d.round(noon.Add(20*time.Hour), 1, whoListens)
	d.expect(t, "in the morning", "t-a digest stale 4")
}

func TestSharedCauseIsOneAlarm(t *testing.T) {
	t.Parallel()
	d, bucket := newDiary(), place{"", "shared/bucket"}
	d.counts[bucket] = 1
	d.round(noon, 5, whoListens)
	d.round(noon.Add(settle), 5, whoListens)
	d.expect(t, "at once", " now shared/bucket 1")
	d.counts[bucket] = 0
	d.round(noon.Add(time.Hour), 5, whoListens)
	d.expect(t, "its end", " over shared/bucket 0")
	for i := range 10 { // it flaps
		d.counts[bucket] = int64(i % 2)
		d.round(noon.Add(time.Hour+time.Duration(i)*5*time.Minute), 5, whoListens)
	}
	d.counts[bucket] = 0
	d.round(noon.Add(3*time.Hour), 5, whoListens)
	d.expect(t, "that it flaps")
}

// A consent that is revoked, or a kind of failure, at many tenants at once is one alarm to the provider.
func TestManyTenantsAreOneAlarm(t *testing.T) {
	t.Parallel()
	d := newDiary()
	for i := range 30 {
		d.counts[place{tenantry.TenantID(fmt.Sprint("t-", i)), catalog.TroubleDisconnected}] = 1
	}
	d.counts[place{"t-1", "failed/backup/denied"}] = 1
	d.round(noon, 100, whoListens)
	d.round(noon.Add(settle), 100, whoListens)
	d.expect(t, "at once", " now shared/many/disconnected 30", "t-1 now failed/backup/denied 1")
	for i := range 12 {
		d.round(noon.Add(time.Duration(i)*20*time.Minute), 100, whoListens)
	}
	d.expect(t, "later")
	d.round(time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC), 100, whoListens)
	if len(d.told) != 30 || !strings.HasSuffix(d.told[0], "digest disconnected 1") {
		t.Errorf("in the morning: %q", d.told)
	}

	few := newDiary()
	for i := range 9 {
		few.counts[place{tenantry.TenantID(fmt.Sprint("t-", i)), catalog.TroubleDisconnected}] = 1
	}
	few.round(noon, 100, whoListens)
	few.round(noon.Add(settle), 100, whoListens)
	if len(few.told) != 9 {
		t.Errorf("nine of a hundred tenants: %q", few.told)
	}
}

// Whatever comes when: nobody is told twice a day at once of one cause, and of what lasts nothing is lost, or told twice.
func TestNothingIsLostAndNothingStorms(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d, now := newDiary(), noon
		total, sums := map[place]int64{}, map[place]int64{}
		perDay := map[string]int{}
		for range rapid.IntRange(1, 60).Draw(t, "rounds") {
			now = now.Add(time.Duration(rapid.Int64Range(1, int64(9*time.Hour)).Draw(t, "pause")))
			p := place{
				rapid.SampledFrom([]tenantry.TenantID{"t-a", "t-b", "t-c", "t-d"}).Draw(t, "tenant"),
				rapid.SampledFrom([]string{"failed/backup/denied", "failed/restore/corrupt"}).Draw(t, "cause"),
			}
			n := rapid.Int64Range(0, 5).Draw(t, "more")
			total[p] += n
			d.counts[p] += n
			d.round(now, rapid.Int64Range(4, 40).Draw(t, "tenants"), whoListens)
			d.read(t, sums, perDay, now)
		}
		for range 3 { // everything is told by the second morning
			now = now.Add(24 * time.Hour)
			d.round(now, 4, whoListens)
			d.read(t, sums, perDay, now)
		}
		for p, n := range total {
			if sums[p] != n {
				t.Fatalf("%v: %d happened, %d were told", p, n, sums[p])
			}
		}
		for what, n := range perDay {
			if n > 1 {
				t.Fatalf("%s was told at once %d times", what, n)
			}
		}
	})
}

func (d *diary) read(t *rapid.T, sums map[place]int64, perDay map[string]int, now time.Time) {
	for _, line := range d.told {
		var tenant, event, cause string
		var n int64
		if _, err := fmt.Sscan(line, &tenant, &event, &cause, &n); err != nil {
			continue // the provider's
		}
		sums[place{tenantry.TenantID(tenant), cause}] += n
		if event == "now" {
			perDay[tenant+" "+cause+" "+now.In(whoListens.Location()).Format(time.DateOnly)]++
		}
	}
	d.told = nil
}

func TestJudgeMail(t *testing.T) {
	t.Parallel()
	now := noon
	fail := func(k tenantry.Kind) error { return tenantry.Errorf(k, "no") }
	for name, c := range map[string]struct {
		attempts int
		age      time.Duration
		err      error
		state    catalog.MailState
		wait     time.Duration
	}{
		"taken":                    {1, 0, nil, catalog.MailSent, 0},
		"refused":                  {1, 0, fail(tenantry.Denied), catalog.MailFailed, 0},
		"greylisted":               {1, 0, fail(tenantry.Transient), catalog.MailWaiting, time.Minute},
		"greylisted again":         {3, time.Hour, fail(tenantry.Transient), catalog.MailWaiting, 4 * time.Minute},
		"many times":               {400, time.Hour, fail(tenantry.Transient), catalog.MailWaiting, 2 * time.Hour},
		"server away":              {9, time.Hour, fail(tenantry.Shared), catalog.MailWaiting, awayFirst},
		"server away for too long": {9, giveUp, fail(tenantry.Shared), catalog.MailFailed, 0},
	} {
		m := catalog.Mail{Attempts: c.attempts, CreatedAt: now.Add(-c.age)}
		got := judgeMail(m, c.err, now)
		if got.state != c.state || !got.notBefore.Equal(now.Add(c.wait)) || (c.err != nil) != (got.reason != "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		number(0): "0", number(999): "999", number(1000): "1,000", number(-1234567): "-1,234,567",
		size(999): "999 B", size(1500): "1.5 KB", size(254_000_000): "254.0 MB", size(1 << 62): "4611.7 PB",
		share(1, 3): "33 %", share(0, 0): "0 %", share(999_999, 1_000_000): "99 %", share(7, 7): "100 %",
		amount(1, "thing", "things"): "1 thing", amount(2000, "thing", "things"): "2,000 things",
		clean("  a\r\n b\t", 10): "a b", clean("abcdef", 4): "abc…",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// Every kind of error, and every alarm, can be told.
	for kind, word := range kindWords {
		if got := causeWords(catalog.TroubleFailed + "backup/" + string(kind)); got != "Backups failed: "+word {
			t.Errorf("%s: %q", kind, got)
		}
	}
	for cause, want := range map[string]string{
		"failed/dance/odd": "dance failed: odd", "alarm/new_thing": "Alarm: new thing", "shared/other": "Everybody waits: other",
		"shared/many/stale": "Many tenants at once: Restore points are older than they may be", "odd_one": "odd one",
	} {
		if got := causeWords(cause); got != want {
			t.Errorf("%s: %q, want %q", cause, got, want)
		}
	}
}
