package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// keepLedger is how long a tenant's days stand in the ledger, and the sums of its runs:
// as long as the runs.
const keepLedger = keepRuns

// The entries of the ledger. Those of waits are microseconds, of graph by account; units
// are by service, and the last two, which tell what a backup costs, by workload.
const (
	entryQueue   = "queue"
	entryWorker  = "worker"
	entryStorage = "storage"
	entryRetry   = "retry"
	entryGraph   = "graph"
	entryUnits   = "units"
	entryBackups = "backups" // that were done
	entryCost    = "cost"    // units that backups drew on their own service

	// entryFailed counts tasks that failed for good, by action and kind of error. Beside those of runs and
	// days there is one of all time (no run, day 0), which only rises.
	entryFailed = "failed"
)

// Ledger is what a tenant's tasks waited for and spent, in a run or on a UTC day. What a
// slice spent whose worker died is not in it; the time it lost is (see Reap).
type Ledger struct {
	Day     time.Time                   // 00:00 UTC; zero for a run
	Delays  tenantry.Delays             // sums over tasks
	Units   map[tenantry.Service]int64  // resource units (identity, SharePoint) or requests
	Backups map[tenantry.Workload]int64 // backups that were done
	Cost    map[tenantry.Workload]int64 // units that backups drew on the service of their workload
}

type ledgerRow struct {
	Day     int64
	Entry   string
	Account string
	Amount  int64
}

// dayOf is the number of a UTC day since 1970.
func dayOf(t time.Time) int64 { return t.Unix() / int64(day/time.Second) }

// entryKey is what an entry of the ledger is known by.
type entryKey struct {
	tenant         tenantry.TenantID
	run            tenantry.RunID
	day            int64
	entry, account string
}

// sumEntries sums entries of settlements by those that the ledger has: of their runs, of their
// tenants' days, and failures of all time.
func sumEntries(settled []*settleAsk, of func(Task, Settlement) []ledgerRow) map[entryKey]int64 {
	sums := map[entryKey]int64{}
	for _, q := range settled {
		task := q.claim.Task
		for _, e := range of(task, q.Settlement) {
			if e.Amount <= 0 {
				continue
			}
			sums[entryKey{task.Tenant, "", dayOf(q.now), e.Entry, e.Account}] += e.Amount
			sums[entryKey{task.Tenant, task.Run, 0, e.Entry, e.Account}] += e.Amount
			if e.Entry == entryFailed {
				sums[entryKey{task.Tenant, "", 0, e.Entry, e.Account}] += e.Amount
			}
		}
	}
	return sums
}

// sortedEntries are the keys of sums in the order of the ledger's own: two transactions wait at
// most in one direction.
func sortedEntries(sums map[entryKey]int64) []entryKey {
	return slices.SortedFunc(maps.Keys(sums), compareEntries)
}

// enterLedger adds settlements to the ledgers of their runs and of their tenants' days, each
// entry once.
func enterLedger(settled []*settleAsk, of func(Task, Settlement) []ledgerRow) []step {
	sums := sumEntries(settled, of)
	return enterSums(sortedEntries(sums), sums)
}

// enterSums adds sums to the entries of sorted keys.
func enterSums(keys []entryKey, sums map[entryKey]int64) (steps []step) {
	for chunk := range slices.Chunk(keys, batch) {
		var values rows
		for _, k := range chunk {
			values = append(values, []any{k.tenant, k.run, k.day, k.entry, k.account, sums[k]})
		}
		steps = append(steps, step{
			query: `
				INSERT INTO ledger AS old (tenant, run, day, entry, account, amount) VALUES ?0
				ON CONFLICT (tenant, run, day, entry, account) DO UPDATE SET amount = old.amount + excluded.amount`,
			args: []any{values},
		})
	}
	return steps
}

func compareEntries(a, b entryKey) int {
	return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.run, b.run), cmp.Compare(a.day, b.day),
		cmp.Compare(a.entry, b.entry), cmp.Compare(a.account, b.account))
}

// entriesOf lists all that a settlement adds to a ledger.
func entriesOf(task Task, s Settlement) []ledgerRow {
	return append(waitsOf(task, s), countsOf(task, s)...)
}

// waitsOf lists what a settlement waited for.
func waitsOf(_ Task, s Settlement) []ledgerRow {
	d := s.Delays
	list := []ledgerRow{
		{Entry: entryQueue, Amount: d.Queue.Microseconds()}, {Entry: entryWorker, Amount: d.Worker.Microseconds()},
		{Entry: entryStorage, Amount: d.Storage.Microseconds()}, {Entry: entryRetry, Amount: d.Retry.Microseconds()},
	}
	for account, wait := range d.Graph {
		list = append(list, ledgerRow{Entry: entryGraph, Account: account, Amount: wait.Microseconds()})
	}
	return list
}

// countsOf lists what a settlement spent, and how it ended.
func countsOf(task Task, s Settlement) (list []ledgerRow) {
	for service, units := range s.Spent {
		list = append(list, ledgerRow{Entry: entryUnits, Account: string(service), Amount: units})
	}
	if s.State == TaskFailed {
		list = append(list, ledgerRow{Entry: entryFailed, Account: string(task.Action) + "/" + string(s.Kind), Amount: 1})
	}
	if task.Action == tenantry.Backup {
		list = append(list, ledgerRow{Entry: entryCost, Account: string(task.Workload), Amount: s.Spent[task.Service]})
		if s.State == TaskDone && s.Snapshot != nil {
			list = append(list, ledgerRow{Entry: entryBackups, Account: string(task.Workload), Amount: 1})
		}
	}
	return list
}

// add puts a row into the ledger that it is a part of. Entries of a later version are not
// for us.
func (l *Ledger) add(r ledgerRow) {
	wait := time.Duration(r.Amount) * time.Microsecond
	switch r.Entry {
	case entryQueue:
		l.Delays.Queue += wait
	case entryWorker:
		l.Delays.Worker += wait
	case entryStorage:
		l.Delays.Storage += wait
	case entryRetry:
		l.Delays.Retry += wait
	case entryGraph:
		put(&l.Delays.Graph, r.Account, wait)
	case entryUnits:
		put(&l.Units, tenantry.Service(r.Account), r.Amount)
	case entryBackups:
		put(&l.Backups, tenantry.Workload(r.Account), r.Amount)
	case entryCost:
		put(&l.Cost, tenantry.Workload(r.Account), r.Amount)
	}
}

func put[K comparable, V int64 | time.Duration](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] += value
}

// RunLedger is what the tasks of a run waited for and spent so far, as of their last
// settlements; waits at other processes are some seconds late (see tally). A run that is not
// there has an empty one.
func (t *Tenant) RunLedger(ctx context.Context, run tenantry.RunID) (Ledger, error) {
	var found []ledgerRow
	err := t.c.tally.read(func() error {
		return t.c.read(ctx, fmt.Sprintf("read ledger of run %s of tenant %s", run, t.id), &found,
			"SELECT day, entry, account, amount FROM ledger WHERE tenant = ? AND run = ? AND day = 0", t.id, run)
	}, func(k entryKey, amount int64) {
		if k.tenant == t.id && k.run == run && k.day == 0 {
			found = append(found, ledgerRow{k.day, k.entry, k.account, amount})
		}
	})
	var l Ledger
	for _, row := range found {
		l.add(row)
	}
	return l, err
}

// Ledger lists the tenant's UTC days from one to another, both included, that have entries,
// the newest first. Waits at other processes are some seconds late.
func (t *Tenant) Ledger(ctx context.Context, from, to time.Time) ([]Ledger, error) {
	var found []ledgerRow
	first, last := max(1, dayOf(from)), dayOf(to)
	err := t.c.tally.read(func() error {
		return t.c.read(ctx, "read ledger of tenant "+string(t.id), &found, `
			SELECT day, entry, account, amount FROM ledger WHERE tenant = ? AND run = '' AND day >= ? AND day <= ?`, t.id, first, last)
	}, func(k entryKey, amount int64) {
		if k.tenant == t.id && k.run == "" && k.day >= first && k.day <= last {
			found = append(found, ledgerRow{k.day, k.entry, k.account, amount})
		}
	})
	if err != nil {
		return nil, err
	}
	days := map[int64]*Ledger{}
	for _, row := range found {
		if days[row.Day] == nil {
			days[row.Day] = &Ledger{Day: time.Unix(row.Day*int64(day/time.Second), 0).UTC()}
		}
		days[row.Day].add(row)
	}
	list := make([]Ledger, 0, len(days))
	for _, number := range slices.Backward(slices.Sorted(maps.Keys(days))) {
		list = append(list, *days[number])
	}
	return list, nil
}

// FlowState is what is open of one flow of a tenant, and its pace.
type FlowState struct {
	Service tenantry.Service
	Open    int64   // unfinished tasks
	Seconds float64 // that a slice held its slot lately; 0 unknown
	Units   float64 // that such a slice cost; 0 unknown
}

// Flows lists the tenant's flows that have unfinished tasks, by service.
func (t *Tenant) Flows(ctx context.Context) ([]FlowState, error) {
	var found []FlowState
	// In the order of the indexes tasks_ready and tasks_flight.
	err := t.c.read(ctx, "read flows of tenant "+string(t.id), &found, `
		SELECT c.service, CAST(sum(c.n) AS bigint) AS open, coalesce(max(p.seconds), 0.0) AS seconds, coalesce(max(p.units), 0.0) AS units
		FROM (
			SELECT service, count(*) AS n FROM tasks WHERE tenant = ?0 AND waiting AND queue IN (?1) GROUP BY service
			UNION ALL
			SELECT service, count(*) AS n FROM tasks WHERE tenant = ?0 AND NOT waiting AND queue IN (?1) GROUP BY service
		) AS c LEFT JOIN paces p ON p.tenant = ?0 AND p.service = c.service
		GROUP BY c.service ORDER BY c.service`, t.id, allQueues)
	return found, err
}

// encodeDelays is how a task's row keeps its delays: JSON, "" for none.
func encodeDelays(d tenantry.Delays) string {
	text, err := json.Marshal(d)
	if err != nil || string(text) == "{}" {
		return ""
	}
	return string(text)
}

// decodeDelays is the inverse of encodeDelays. What it cannot read is none: a later
// version may have written it.
func decodeDelays(text string) (d tenantry.Delays) {
	if text == "" || json.Unmarshal([]byte(text), &d) != nil {
		return tenantry.Delays{}
	}
	return d
}
