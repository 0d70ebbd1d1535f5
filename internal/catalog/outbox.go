package catalog

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// A mail is written down before it is sent, in the transaction that notes what it tells:
//
//	waiting --ClaimMails--> sending --SettleMail--> sent
//	                           | ^         |------> failed: refused for good, or too old
//	                           v |         '------> waiting: later, with its reason
//	                  its owner died: the lease ends, and the next leader claims it
//
// A process that dies between the server's answer and SettleMail has its mail sent once more, with the same
// Message-ID: at least once, and whoever reads can tell that it is the same.

// MailState is where a mail stands.
type MailState string

// The states of a mail.
const (
	MailWaiting MailState = "waiting"
	MailSending MailState = "sending"
	MailSent    MailState = "sent"
	MailFailed  MailState = "failed"
)

const (
	// keepMails is how long ended mails are kept, and with them the memory of what was told.
	keepMails = 60 * day
	// maxWaiting bounds the mails of one tenant that wait: further ones are refused.
	maxWaiting = 500
)

// Mail is one mail to one address.
type Mail struct {
	ID                       string // begins with its time
	Key                      string // what it tells: to each address once
	Tenant                   tenantry.TenantID
	Policy                   tenantry.PolicyID
	Event                    string // accepted, ..., report, problems, digest, alarm, test
	To, Subject, Plain, HTML string
	State                    MailState
	Attempts                 int
	NotBefore                time.Time
	Owner                    tenantry.ProcessID // who sends it
	Reason                   string             // why it waits or failed, for a person
	CreatedAt, EndedAt       time.Time
}

type mailRow struct {
	bun.BaseModel `bun:"table:outbox"`

	ID         string
	Key        string
	Tenant     tenantry.TenantID
	Policy     tenantry.PolicyID
	Event      string
	Recipient  string
	Subject    string
	Plain      string
	HTML       string `bun:"html"`
	State      MailState
	Attempts   int
	NotBefore  int64
	Owner      tenantry.ProcessID
	LeaseUntil int64
	Reason     string
	CreatedAt  int64
	EndedAt    int64
}

const mailColumns bun.Safe = `id, key, tenant, policy, event, recipient, subject, plain, html, state, attempts, not_before, owner,
	lease_until, reason, created_at, ended_at`

func (r mailRow) mail() Mail {
	return Mail{
		ID: r.ID, Key: r.Key, Tenant: r.Tenant, Policy: r.Policy, Event: r.Event, To: r.Recipient, Subject: r.Subject, Plain: r.Plain,
		HTML: r.HTML, State: r.State, Attempts: r.Attempts, NotBefore: fromMicros(r.NotBefore), Owner: r.Owner, Reason: r.Reason,
		CreatedAt: fromMicros(r.CreatedAt), EndedAt: fromMicros(r.EndedAt),
	}
}

func mailsOf(found []mailRow) []Mail {
	out := make([]Mail, len(found))
	for i, row := range found {
		out[i] = row.mail()
	}
	return out
}

// putMails writes mails down, each key once, and returns how many are new. Those beyond maxWaiting of their
// tenant are left out.
func putMails(ctx context.Context, tx bun.Tx, mails []Mail, now time.Time) (int64, error) {
	fresh := int64(0)
	for i, m := range mails { // their IDs keep their order
		row := mailRow{
			ID: string(tenantry.NewTaskID(now.Add(time.Duration(i) * time.Microsecond))), Key: m.Key + " " + m.To, Tenant: m.Tenant, Policy: m.Policy, Event: m.Event, Recipient: m.To,
			Subject: m.Subject, Plain: m.Plain, HTML: m.HTML, State: MailWaiting, NotBefore: micros(now), CreatedAt: micros(now),
		}
		n, err := exec(ctx, tx, `INSERT INTO outbox (?0) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, ?11, '', 0, '', ?11, 0
			WHERE (SELECT count(*) FROM outbox WHERE tenant = ?3 AND state IN ('waiting', 'sending')) < ?12
			ON CONFLICT (key) DO NOTHING`, mailColumns, row.ID, row.Key, row.Tenant, row.Policy, row.Event, row.Recipient,
			row.Subject, row.Plain, row.HTML, row.State, row.CreatedAt, maxWaiting)
		if err != nil {
			return fresh, err
		}
		fresh += n
	}
	return fresh, nil
}

// Mails lists the mails about the tenant, newest first, below an ID ("" all), without their text; limit 0
// is 100, at most 1000.
func (t *Tenant) Mails(ctx context.Context, before string, limit int) ([]Mail, error) {
	return t.c.mails(ctx, "list mails of tenant "+string(t.id), t.id, before, limit)
}

// Mails lists the mails to the provider, as Tenant.Mails does.
func (f *Fleet) Mails(ctx context.Context, before string, limit int) ([]Mail, error) {
	return f.c.mails(ctx, "list mails to the provider", "", before, limit)
}

func (c *Catalog) mails(ctx context.Context, op string, tenant tenantry.TenantID, before string, limit int) ([]Mail, error) {
	var found []mailRow
	err := c.read(ctx, op, &found, `SELECT id, key, tenant, policy, event, recipient, subject, state, attempts, not_before, owner, reason,
		created_at, ended_at FROM outbox WHERE tenant = ?0 AND (?1 = '' OR id < ?1) ORDER BY id DESC LIMIT ?2`, tenant, before, page(limit))
	return mailsOf(found), err
}

// PutMail writes a mail down that somebody has asked for. Conflict: its key was used before, or too many wait.
func (t *Tenant) PutMail(ctx context.Context, m Mail, now time.Time) error {
	m.Tenant = t.id
	return t.c.putMail(ctx, m, now)
}

// PutMail is Tenant.PutMail for the provider.
func (f *Fleet) PutMail(ctx context.Context, m Mail, now time.Time) error {
	m.Tenant = ""
	return f.c.putMail(ctx, m, now)
}

func (c *Catalog) putMail(ctx context.Context, m Mail, now time.Time) error {
	const op = "write a mail down"
	return c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		n, err := putMails(ctx, tx, []Mail{m}, now)
		if err == nil && n == 0 {
			return tenantry.Errorf(tenantry.Conflict, "%s: it was asked for before, or too many wait already", op)
		}
		return err
	})
}

// ClaimMails takes at most limit mails whose time has come, or whose owner's lease has ended, for a process and
// for lease by the database's clock; guarded by the leader's fence (Fenced).
func (f *Fleet) ClaimMails(ctx context.Context, fence int64, p tenantry.ProcessID, limit int, lease time.Duration, now time.Time) ([]Mail, error) {
	var found []mailRow
	err := f.c.write(ctx, "claim mails", func(ctx context.Context, tx bun.Tx) error {
		found = nil
		if err := f.c.fence(ctx, tx, fence); err != nil {
			return err
		}
		return scan(ctx, tx, &found, `UPDATE outbox SET state = 'sending', attempts = attempts + 1, owner = ?0, lease_until = ?1 + ?2
			WHERE id IN (SELECT id FROM outbox WHERE state IN ('waiting', 'sending') AND not_before <= ?3
				AND (state = 'waiting' OR lease_until <= ?1) ORDER BY not_before, id LIMIT ?4 ?5)
			RETURNING ?6`, p, f.c.now(), lease.Microseconds(), micros(now), limit, f.c.lock(skipTaken), mailColumns)
	})
	slices.SortFunc(found, func(a, b mailRow) int { return cmp.Compare(a.ID, b.ID) })
	return mailsOf(found), err
}

// SettleMail says what became of a claimed mail: sent, failed, or waiting until notBefore, with the reason.
// Fenced: somebody else has claimed it meanwhile.
func (f *Fleet) SettleMail(ctx context.Context, m Mail, state MailState, notBefore time.Time, reason string, now time.Time) error {
	op := "settle mail " + m.ID
	ended := int64(0)
	if state == MailSent || state == MailFailed {
		ended = micros(now)
	}
	return f.c.one(ctx, op, tenantry.Errorf(tenantry.Fenced, "%s: it was claimed anew", op), `
		UPDATE outbox SET state = ?, not_before = ?, reason = ?, owner = '', lease_until = 0, ended_at = ?
		WHERE id = ? AND state = 'sending' AND owner = ? AND attempts = ?`, state, max(micros(notBefore), micros(m.CreatedAt)), reason, ended, m.ID, m.Owner, m.Attempts)
}

// WaitingMails counts the mails that wait or are being sent.
func (f *Fleet) WaitingMails(ctx context.Context) (int, error) {
	var n int
	err := f.c.read(ctx, "count mails", &n, "SELECT count(*) FROM outbox WHERE state IN ('waiting', 'sending')")
	return n, err
}

// purgeMails removes mails that ended before a time, and what is left of deleted policies.
func (c *Catalog) purgeMails(ctx context.Context, before time.Time) error {
	err := c.purge(ctx, "expire mails", `DELETE FROM outbox WHERE id IN (
		SELECT id FROM outbox WHERE id < ? AND state IN ('sent', 'failed') LIMIT ?)`, tenantry.TaskIDFloor(before), purgeBatch)
	if err != nil {
		return err
	}
	return c.purge(ctx, "forget deleted policies", `DELETE FROM notices WHERE (tenant, policy) IN (SELECT n.tenant, n.policy FROM notices n
		WHERE n.policy <> '' AND NOT EXISTS (SELECT 1 FROM policies p WHERE p.tenant = n.tenant AND p.id = n.policy AND p.state <> 'deleted') LIMIT ?)`, purgeBatch)
}
