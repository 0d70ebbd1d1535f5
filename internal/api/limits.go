package api

import (
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// strangerRate and strangerBurst bound what an address may ask without a valid token:
	// wrong tokens, sign-ins and consent callbacks are each a read or write of SQL.
	strangerRate, strangerBurst = 5, 30
	// limitersMax bounds how many callers are remembered. Beyond it the longest idle go.
	limitersMax = 10_000
)

// limiters is a token bucket for each caller. It is safe for concurrent use.
type limiters struct {
	rate  rate.Limit
	burst int

	mu sync.Mutex
	of map[string]*limiter
}

type limiter struct {
	bucket *rate.Limiter
	used   time.Time
}

// newLimiters lets every caller send perSecond requests a second and burst at once; 0
// lets everything through.
func newLimiters(perSecond float64, burst int) *limiters {
	return &limiters{rate: rate.Limit(perSecond), burst: burst, of: map[string]*limiter{}}
}

// take returns 0 if the caller may go on, else how long to wait.
func (l *limiters) take(caller string, now time.Time) time.Duration {
	if l.rate == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.of[caller]
	if one == nil {
		if len(l.of) >= limitersMax {
			l.forget()
		}
		one = &limiter{bucket: rate.NewLimiter(l.rate, l.burst)}
		l.of[caller] = one
	}
	one.used = now
	if one.bucket.AllowN(now, 1) {
		return 0
	}
	missing := 1 - one.bucket.TokensAt(now)
	return max(time.Duration(math.Ceil(missing/float64(l.rate)*1000))*time.Millisecond, time.Millisecond)
}

// forget drops the half that was idle longest; a caller that comes back has a full bucket.
func (l *limiters) forget() {
	var newest, oldest time.Time
	for _, one := range l.of {
		if one.used.After(newest) {
			newest = one.used
		}
		if oldest.IsZero() || one.used.Before(oldest) {
			oldest = one.used
		}
	}
	middle := oldest.Add(newest.Sub(oldest) / 2)
	for name, one := range l.of {
		if !one.used.After(middle) {
			delete(l.of, name)
		}
	}
}

// tooMany is the answer to a caller that sends too much.
func tooMany(wait time.Duration) *Problem {
	p := newProblem(tenantry.Transient, "too many requests: slow down").because(codeRate)
	p.Title, p.retryAfter = "Too many requests", max(wait, time.Second)
	return p
}

// bounded limits a route that needs no token, by the address that asks.
func (s *service) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := s.strangers.take(remoteAddress(r.RemoteAddr), s.Now()); wait > 0 {
			writeProblem(w, tooMany(wait))
			return
		}
		next.ServeHTTP(w, r)
	})
}
