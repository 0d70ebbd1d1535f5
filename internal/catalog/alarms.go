package catalog

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Alarm is a shared cause that stops admission while it is in force.
type Alarm struct {
	Cause, Detail string // cause: credential, bucket, redis, catalog, graph, key
	Since, Until  time.Time
	Times         int // how often it was reported since
}

// AlarmMemory is how long an alarm that ran out is still the same one when its cause is
// reported again: meanwhile a probe runs, and fails. Until then nobody has shown that it
// is over, unless it was resumed.
const AlarmMemory = time.Minute

// Pause stops admission for a shared cause with one alarm: a further report while it is in
// force, or within AlarmMemory after, counts, and may prolong it. Later ones begin anew.
func (f *Fleet) Pause(ctx context.Context, cause, detail string, until, now time.Time) error {
	return f.c.one(ctx, "pause for "+cause, nil, `
		INSERT INTO alarms AS old (cause, detail, since, until, times) VALUES (?0, ?1, ?2, ?3, 1)
		ON CONFLICT (cause) DO UPDATE SET detail = excluded.detail,
			since = CASE WHEN old.until <= ?4 THEN excluded.since ELSE old.since END,
			times = CASE WHEN old.until <= ?4 THEN 1 ELSE old.times + 1 END,
			until = CASE WHEN old.until > excluded.until THEN old.until ELSE excluded.until END`,
		cause, detail, micros(now), micros(until), micros(now.Add(-AlarmMemory)))
}

// Resume lifts the pause of a cause, if there is one.
func (f *Fleet) Resume(ctx context.Context, cause string) error {
	return f.c.one(ctx, "resume after "+cause, nil, "DELETE FROM alarms WHERE cause = ?", cause)
}

// Paused lists the causes in force, by name.
func (f *Fleet) Paused(ctx context.Context, now time.Time) ([]Alarm, error) {
	var found []struct {
		Cause, Detail string
		Since, Until  int64
		Times         int
	}
	err := f.c.read(ctx, "list pauses", &found, "SELECT cause, detail, since, until, times FROM alarms WHERE until > ? ORDER BY cause", micros(now))
	if err != nil {
		return nil, err
	}
	out := make([]Alarm, len(found))
	for i, row := range found {
		out[i] = Alarm{Cause: row.Cause, Detail: row.Detail, Since: fromMicros(row.Since), Until: fromMicros(row.Until), Times: row.Times}
	}
	return out, nil
}

// SaveMirror keeps a small JSON document under a name (throttle counters), so that losing
// Redis loses no count. The last one saved counts.
func (f *Fleet) SaveMirror(ctx context.Context, name string, doc []byte, now time.Time) error {
	return f.c.one(ctx, "save mirror "+name, nil, `INSERT INTO mirrors (name, doc, at) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET doc = excluded.doc, at = excluded.at`, name, doc, micros(now))
}

// LoadMirror returns the document of a name and when it was saved. NotFound.
func (f *Fleet) LoadMirror(ctx context.Context, name string) (doc []byte, at time.Time, err error) {
	op := "load mirror " + name
	var found []struct {
		Doc []byte
		At  int64
	}
	if err := f.c.read(ctx, op, &found, "SELECT doc, at FROM mirrors WHERE name = ?", name); err != nil {
		return nil, time.Time{}, err
	}
	if len(found) == 0 {
		return nil, time.Time{}, tenantry.Errorf(tenantry.NotFound, "%s: there is none", op)
	}
	return found[0].Doc, fromMicros(found[0].At), nil
}
