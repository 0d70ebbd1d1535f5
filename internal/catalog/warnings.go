package catalog

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// ProviderWarning is what is wrong with something of the provider's (a credential that ends soon) before it holds
// anybody up. It lapses by itself when nobody has seen it for WarningMemory: who saw it may be gone.
type ProviderWarning struct {
	Cause   string // AlarmCredential, AlarmCredentialLast
	Subject string // which one
	Detail  string // what was seen last
	Since   time.Time
	Seen    time.Time // the last time
}

// WarningMemory is how long a warning stands after it was seen; whoever watches looks again well within it.
const WarningMemory = 3 * time.Hour

// Warn raises a warning, or notes what was seen of one that stands.
func (f *Fleet) Warn(ctx context.Context, w ProviderWarning, now time.Time) error {
	op := "warn the provider of " + w.Cause + " of " + w.Subject
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if _, err := exec(ctx, tx, "DELETE FROM provider_warnings WHERE seen <= ?", micros(now.Add(-WarningMemory))); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `INSERT INTO provider_warnings (cause, subject, detail, since, seen) VALUES (?0, ?1, ?2, ?3, ?3)
			ON CONFLICT (cause, subject) DO UPDATE SET detail = excluded.detail, seen = excluded.seen`, w.Cause, w.Subject, w.Detail, micros(now))
		return err
	})
}

// EndWarning ends a warning; none is fine.
func (f *Fleet) EndWarning(ctx context.Context, cause, subject string) error {
	return f.c.one(ctx, "end the warning "+cause+" of "+subject, nil, "DELETE FROM provider_warnings WHERE cause = ? AND subject = ?", cause, subject)
}

// Warnings lists the warnings that stand, by cause and subject, at most 1000.
func (f *Fleet) Warnings(ctx context.Context, now time.Time) ([]ProviderWarning, error) {
	var found []struct {
		Cause, Subject, Detail string
		Since, Seen            int64
	}
	err := f.c.read(ctx, "list warnings of the provider", &found, `SELECT cause, subject, detail, since, seen FROM provider_warnings
		WHERE seen > ? ORDER BY cause, subject LIMIT ?`, micros(now.Add(-WarningMemory)), maxPage)
	out := make([]ProviderWarning, len(found))
	for i, r := range found {
		out[i] = ProviderWarning{r.Cause, r.Subject, r.Detail, fromMicros(r.Since), fromMicros(r.Seen)}
	}
	return out, err
}
