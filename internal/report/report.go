package report

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Sender hands mails to a mail server (*SMTP is one). Called from one goroutine. It returns an error for each
// mail, nil for those that the server has taken: Transient says later (greylisting, a full mailbox), Denied that
// the server refuses this one for good, Shared that the server cannot be used at all, whatever the mail. It returns
// before ctx's deadline.
type Sender interface {
	Send(ctx context.Context, mails []catalog.Mail) []error
}

// Observer is told what became of mails: "sent", "deferred", "refused". It must not block.
type Observer interface {
	Mailed(what string)
}

// Logger is what this package says for operators (zap's SugaredLogger has it).
type Logger interface {
	Infow(msg string, kv ...any)
	Warnw(msg string, kv ...any)
}

// Config is what a notifier works with.
type Config struct {
	Catalog *catalog.Catalog
	Sender  Sender
	Process tenantry.ProcessID // who sends
	Log     Logger
	// Observer may be nil.
	Observer Observer
	// Settle is how long trouble waits for its like before it is told (default 2 minutes).
	Settle time.Duration
	// Lease is how long a batch of mails is this process's to send (default 2 minutes); sending ends after half of it.
	// When the process dies, its mails are sent by another after that.
	Lease time.Duration
	// Now is the clock (default time.Now).
	Now func() time.Time
}

// Notifier tells people by mail. Round is called from one goroutine at a time.
type Notifier struct {
	cfg   Config
	fleet *catalog.Fleet
	away  time.Time // the mail server cannot be used before
	tries int       // how often in a row it could not
}

const (
	defaultSettle = 2 * time.Minute
	defaultLease  = 2 * time.Minute
)

// New returns a notifier. Invalid if a part is missing.
func New(cfg Config) (*Notifier, error) {
	if cfg.Catalog == nil || cfg.Sender == nil || cfg.Log == nil || cfg.Process == "" {
		return nil, tenantry.Errorf(tenantry.Invalid, "report: catalog, sender, process and log are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Settle == 0 {
		cfg.Settle = defaultSettle
	}
	if cfg.Lease == 0 {
		cfg.Lease = defaultLease
	}
	if cfg.Observer == nil {
		cfg.Observer = silent{}
	}
	return &Notifier{cfg: cfg, fleet: cfg.Catalog.Fleet()}, nil
}

type silent struct{}

func (silent) Mailed(string) {}

// Round tells what there is to tell, under the leader's fence, and sends what waits. It is bounded: what is left
// comes with the next round. Fenced when another scheduler leads; other errors pass by themselves, and one
// part that fails does not keep the others.
func (n *Notifier) Round(ctx context.Context, fence int64) error {
	var errs []error
	for _, step := range []func(context.Context, int64) error{n.firstBackups, n.reports, n.troubles, n.deliver} {
		if ctx.Err() != nil {
			break
		}
		err := step(ctx, fence)
		if tenantry.KindOf(err) == tenantry.Fenced {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// audience is who is told about a tenant.
type audience []catalog.NoticeRow

func (n *Notifier) audience(ctx context.Context, tenant tenantry.TenantID) (audience, error) {
	if tenant == "" {
		row, err := n.fleet.Notices(ctx)
		return audience{row}, err
	}
	return n.cfg.Catalog.Tenant(tenant).Notices(ctx)
}

// ofEnabling is who is told of the first backup of a workload: who was named when it was enabled, else as is set
// for the tenant. What is stopped for the tenant is stopped for these, too.
func (a audience) ofEnabling(named *tenantry.Notices) tenantry.Notices {
	var whole tenantry.Notices
	for _, row := range a {
		if row.Policy == "" {
			whole = row.Settings
		}
	}
	if named == nil || whole.Stopped {
		return whole
	}
	return *named
}

// ofProblems is who is told of trouble of a tenant: those who are set for the tenant, else all those together who
// are set for its policies, at the times of the first of them.
func (a audience) ofProblems() tenantry.Notices {
	var all tenantry.Notices
	for _, row := range a {
		switch s := row.Settings; {
		case !s.Problems:
		case row.Policy == "":
			return s
		case s.Speaks():
			to := append(slices.Clone(all.To), s.To...)
			if len(all.To) == 0 {
				all = s
			}
			all.To = unique(to)
		}
	}
	return all
}

// unique drops addresses that are there twice, and those beyond what one setting may have.
func unique(addresses []string) (out []string) {
	seen := map[string]bool{}
	for _, address := range addresses {
		if !seen[address] && len(out) < tenantry.MaxAddresses {
			seen[address] = true
			out = append(out, address)
		}
	}
	return out
}

// mails makes one mail of a letter for each address.
func mails(l letter, to tenantry.Notices, m catalog.Mail) ([]catalog.Mail, error) {
	var out []catalog.Mail
	var err error
	if m.Subject, m.Plain, m.HTML, err = l.render(); err != nil {
		return nil, err
	}
	for _, address := range to.To {
		m.To = address
		out = append(out, m)
	}
	return out, nil
}
