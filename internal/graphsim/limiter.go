package graphsim

import (
	"cmp"
	"sync"
	"time"
)

// account is what is counted together: one kind of limit of one application (""
// is all of them together), tenant ("" all) and resource ("" all).
type account struct{ kind, app, tenant, resource string }

// draw is what one request takes from one account.
type draw struct {
	account
	Quota
	units int64
	// most is how much of the quota this request may use; 0 is all of it.
	most int64
	// refuse makes the answer for a request that this account refuses.
	refuse func(wait time.Duration) *apiError
	// tell is called with what is used after the draw, whatever becomes of it.
	tell func(told)
}

func (d *draw) bound() int64 { return cmp.Or(d.most, d.Max) }

// told is how an account stands after a draw: used is the worse count, left what may still
// be drawn until reset is over, when the fixed window ends. (What is left of the sliding
// window is not there anew at any one time, so it cannot be told with a reset.)
type told struct {
	used, left int64
	reset      time.Duration
}

// limiter counts every account. Safe for concurrent use.
type limiter struct {
	table   Limits
	rules   *ruleBook
	elapsed func() time.Duration

	mu       sync.Mutex
	meters   map[account]*meter
	inFlight map[account]int
	nextIdle int // how many meters make it look for idle ones
	accounts accountBook
}

func newLimiter(table Limits, elapsed func() time.Duration) *limiter {
	return &limiter{table: table, rules: newRuleBook(table.Rules), elapsed: elapsed, nextIdle: idleMeters,
		meters: map[account]*meter{}, inFlight: map[account]int{}}
}

// idleMeters is how many accounts are counted before the limiter forgets those
// with nothing in their windows; a forgotten one begins at the zero it stood at.
const idleMeters = 10_000

// take charges a request to all its accounts, also to those that refuse it: what
// is throttled counts too. It returns the answer of the account that refuses it
// for longest, or nil. Unless the request goes on, it is not noted as used.
func (l *limiter) take(draws []draw, goesOn bool) *apiError {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.elapsed()
	var refusing *draw
	var longest time.Duration
	for i := range draws {
		d := &draws[i]
		m := l.meter(d.account, d.window(), now)
		m.add(now, d.units)
		used, wait := m.used(now), time.Duration(0)
		if most := d.bound(); used > most {
			wait = m.wait(now, most-d.units)
			l.accounts.throttled(d, now)
		}
		if d.tell != nil {
			d.tell(m.told(now, d.Max, wait))
		}
		if wait > longest {
			refusing, longest = d, wait
		}
	}
	if refusing != nil {
		return refusing.refuse(longest)
	}
	for i := range draws {
		if !goesOn {
			break
		}
		l.accounts.used(&draws[i], now)
	}
	return nil
}

// count is take where nobody can be refused any more.
func (l *limiter) count(draws []draw, goesOn bool) { _ = l.take(draws, goesOn) }

// usedNow is how much of an account is used, without drawing on it.
func (l *limiter) usedNow(a account, q Quota) (used int64, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.elapsed()
	m := l.meters[a]
	if m == nil {
		return 0, 0
	}
	if used = m.used(now); used > q.Max {
		wait = m.wait(now, q.Max)
	}
	return used, wait
}

func (l *limiter) meter(a account, window time.Duration, now time.Duration) *meter {
	m := l.meters[a]
	if m == nil {
		if len(l.meters) >= l.nextIdle {
			l.forgetIdle(now)
		}
		m = &meter{window: window}
		l.meters[a] = m
	}
	return m
}

func (l *limiter) forgetIdle(now time.Duration) {
	for a, m := range l.meters {
		if m.used(now) == 0 {
			delete(l.meters, a)
		}
	}
	l.nextIdle = max(idleMeters, 2*len(l.meters))
}

// enter counts a request in flight, unless that many are already.
func (l *limiter) enter(a account, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight[a] >= most {
		l.accounts.throttled(&draw{account: a, Quota: Quota{int64(most), 1}}, l.elapsed())
		return false
	}
	l.inFlight[a]++
	return true
}

func (l *limiter) leave(a account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight[a]--; l.inFlight[a] == 0 {
		delete(l.inFlight, a)
	}
}
