package workload_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// TestLostLinksCostAListing: when every delta link is lost the collections are listed anew, and nothing that is known is
// downloaded again: no content, no list of attachments, no item by itself.
func TestLostLinksCostAListing(t *testing.T) {
	const items = 100
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: items, ContactsPerUser: 10, EventsPerUser: 10, FilesPerUser: items}, graphsim.Options{})
	for name, src := range map[tenantry.Workload]func() engine.Source{tenantry.Mailbox: c.mailbox(0), tenantry.Drive: c.drive(0)} {
		t.Run(string(name), func(t *testing.T) {
			s := c.series(0, name)
			listed, read := c.watch(t, "(delta|/events|/lists)"), c.watch(t, "(/attachments|/content|^/download/|[$]value|/(messages|events)/[^/]{20,}$)")
			c.backup(t, s, src, engine.Limits{})
			first, known := listed(), read()
			if known == 0 {
				t.Error("a full backup reads no content")
			}
			c.truth.ExpireDelta()
			out := c.backup(t, s, src, engine.Limits{})
			if out.Counts.Items < items || len(out.Problems) > 0 || listed() == first {
				t.Errorf("%+v, %d pages", out, listed()-first)
			}
			if read() > known || out.Counts.Bytes > 0 {
				t.Errorf("%d contents were read again, %d bytes", read()-known, out.Counts.Bytes)
			}
			pages := listed()
			if out := c.backup(t, s, src, engine.Limits{}); out.Counts.Items > 0 || listed()-pages >= pages-first {
				t.Errorf("the links hold again: %+v, %d pages after %d", out.Counts, listed()-pages, pages-first)
			}
		})
	}
}

// narrow is a tenant whose service answers 503 to pages of more than so many messages or events.
type narrow struct {
	*graph.Tenant
	most int

	mu    sync.Mutex
	sizes []int // of messages, as they were asked for
}

func (n *narrow) refuse(size int) error {
	if size > n.most {
		return tenantry.Errorf(tenantry.Transient, "read page: 503")
	}
	return nil
}

func (n *narrow) MessageChanges(ctx context.Context, user, folder, link string, size int) (graph.RawPage, error) {
	n.mu.Lock()
	n.sizes = append(n.sizes, size)
	n.mu.Unlock()
	if err := n.refuse(size); err != nil {
		return graph.RawPage{}, err
	}
	return n.Tenant.MessageChanges(ctx, user, folder, link, size)
}

func (n *narrow) Events(ctx context.Context, user, calendar, sel, prop, link string, size int) (graph.RawPage, error) {
	if err := n.refuse(size); link == "" && err != nil { // the link of another page has its size in it
		return graph.RawPage{}, err
	}
	return n.Tenant.Events(ctx, user, calendar, sel, prop, link, size)
}

// TestPagesShrinkAndGrow: pages that the service does not answer are asked for in half the size, in the same slice, and
// grow again; the mailbox is backed up whole.
func TestPagesShrinkAndGrow(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 400, EventsPerUser: 60}, graphsim.Options{})
	n := &narrow{Tenant: c.graph, most: 30}
	src := func() engine.Source { return workload.NewMailboxSource(n, c.users[0].ID, tenantry.BackupOptions{}) }
	s := c.series(0, tenantry.Mailbox)
	out := c.backup(t, s, src, engine.Limits{})
	mails, err := c.truth.MailTruth(c.users[0].ID)
	must(t, err)
	events, err := c.truth.EventTruth(c.users[0].ID)
	must(t, err)
	if out.Counts.Items < int64(len(mails)+len(events)) || len(out.Problems) > 0 {
		t.Errorf("%+v of %d mails and %d events", out, len(mails), len(events))
	}
	least := slices.Min(n.sizes)
	grown := slices.ContainsFunc(n.sizes[slices.Index(n.sizes, least):], func(size int) bool { return size > least })
	if n.sizes[0] <= n.most || least > n.most || !grown {
		t.Errorf("pages of %v messages", n.sizes)
	}
	if out := c.backup(t, s, src, engine.Limits{}); out.Counts.Items > 0 || len(out.Problems) > 0 {
		t.Errorf("at rest: %+v", out)
	}
}
