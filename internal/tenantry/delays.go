package tenantry

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Delays is what work waited for. Queue, Worker, Graph while parked, and Retry hold no
// slot; Graph in place and Storage are parts of a slice, and may overlap each other.
type Delays struct {
	Queue   time.Duration `json:"queue,omitempty"`   // ready, until its turn came
	Worker  time.Duration `json:"worker,omitempty"`  // admitted, until a worker had a slot for it
	Storage time.Duration `json:"storage,omitempty"` // calls of the bucket were under way
	Retry   time.Duration `json:"retry,omitempty"`   // backing off after a failure, an alarm, a missing consent
	// Graph is what was waited for Microsoft, by the account that could not give:
	// "sharepoint/minute", "cooldown/mailbox", ... (see package throttle).
	Graph map[string]time.Duration `json:"graph,omitempty"`
}

// OtherAccounts is the name under which Delays keeps the accounts beyond MaxAccounts.
const OtherAccounts = "other"

// MaxAccounts is how many accounts Delays.Add keeps apart: those waited for longest.
const MaxAccounts = 8

// Add returns the sum of d and e. Of its accounts the MaxAccounts largest keep their
// names; the rest is summed as OtherAccounts.
func (d Delays) Add(e Delays) Delays {
	sum := Delays{
		Queue: d.Queue + e.Queue, Worker: d.Worker + e.Worker, Storage: d.Storage + e.Storage, Retry: d.Retry + e.Retry,
	}
	if len(d.Graph)+len(e.Graph) == 0 {
		return sum
	}
	sum.Graph = maps.Clone(d.Graph)
	if sum.Graph == nil {
		sum.Graph = map[string]time.Duration{}
	}
	for account, wait := range e.Graph {
		sum.Graph[account] += wait
	}
	names := slices.SortedFunc(maps.Keys(sum.Graph), func(a, b string) int {
		return cmp.Or(cmp.Compare(sum.Graph[b], sum.Graph[a]), cmp.Compare(a, b))
	})
	names = slices.DeleteFunc(names, func(name string) bool { return name == OtherAccounts })
	for _, name := range names[min(MaxAccounts, len(names)):] {
		sum.Graph[OtherAccounts] += sum.Graph[name]
		delete(sum.Graph, name)
	}
	return sum
}

// GraphTotal is the sum over all accounts.
func (d Delays) GraphTotal() (sum time.Duration) {
	for _, wait := range d.Graph {
		sum += wait
	}
	return sum
}

// Meter measures what one slice of a task waits for and spends, where it happens: rooms
// below the worker find it in their context (MeterOf). It measures elapsed time in which
// at least one of the slice's calls waited for a thing, so that eight calls that wait a
// second together cost a second. All methods are safe for concurrent use, and do nothing
// on a nil Meter: what nobody measures.
type Meter struct {
	now func() time.Time

	mu      sync.Mutex
	storage stopwatch
	graph   map[string]*stopwatch
	units   map[Service]int64
}

// NewMeter returns a meter that reads zero. now is its clock, for the monotonic part.
func NewMeter(now func() time.Time) *Meter {
	return &Meter{now: now, graph: map[string]*stopwatch{}, units: map[Service]int64{}}
}

// stopwatch runs while anybody waits.
type stopwatch struct {
	waiting int
	since   time.Time
	sum     time.Duration
}

func (w *stopwatch) start(now time.Time) {
	if w.waiting++; w.waiting == 1 {
		w.since = now
	}
}

func (w *stopwatch) stop(now time.Time) {
	if w.waiting--; w.waiting == 0 {
		w.sum += now.Sub(w.since)
	}
}

// read is what it shows at a time, running or not.
func (w *stopwatch) read(now time.Time) time.Duration {
	if w.waiting > 0 {
		return w.sum + now.Sub(w.since)
	}
	return w.sum
}

// Graph begins a wait for an account of Microsoft's; call the function at its end, once.
// The names of accounts are few (see Delays).
func (m *Meter) Graph(account string) (end func()) {
	if m == nil {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.graph[account]
	if w == nil {
		w = &stopwatch{}
		m.graph[account] = w
	}
	return m.run(w)
}

// Storage begins a call of the bucket; call the function at its end, once.
func (m *Meter) Storage() (end func()) {
	if m == nil {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.run(&m.storage)
}

// run starts a stopwatch, with mu held.
func (m *Meter) run(w *stopwatch) (end func()) {
	w.start(m.now())
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		w.stop(m.now())
	}
}

// Spend counts what a request cost: resource units, or requests where Microsoft counts those.
func (m *Meter) Spend(s Service, units int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.units[s] += units
}

// Read returns what was measured so far.
func (m *Meter) Read() (Delays, map[Service]int64) {
	if m == nil {
		return Delays{}, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	d := Delays{Storage: m.storage.read(now)}
	if len(m.graph) > 0 {
		d.Graph = make(map[string]time.Duration, len(m.graph))
	}
	for account, w := range m.graph {
		d.Graph[account] = w.read(now)
	}
	return d, maps.Clone(m.units)
}

type meterKey struct{}

// WithMeter returns a context whose calls the meter measures.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

// MeterOf returns the meter of a context; nil, which measures nothing, if it has none.
func MeterOf(ctx context.Context) *Meter {
	m, _ := ctx.Value(meterKey{}).(*Meter)
	return m
}
