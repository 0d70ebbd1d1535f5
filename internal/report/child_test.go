package report

import (
	"bufio"
	"context"
	"crypto/x509"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A child of the test sends what waits, says so, and hangs before it could note that.
const childEnv = "TENANTRY_TEST_REPORT_CHILD"

// hanging stops after its mails were sent.
type hanging struct{ Sender }

func (h hanging) Send(ctx context.Context, mails []catalog.Mail) []error {
	out := h.Sender.Send(ctx, mails)
	fmt.Println("sent", out)
	select {} // until it is killed
}

// childMain plays the child, if this process is one.
func childMain() bool {
	args := strings.Split(os.Getenv(childEnv), " ")
	if len(args) < 3 {
		return false
	}
	fail := func(err error) {
		if err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	cat, err := catalog.Open(ctx, args[0])
	fail(err)
	pem, err := os.ReadFile(args[2])
	fail(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	sender, err := NewSMTP(SMTPOptions{Addr: args[1], TLS: StartTLS, Roots: roots, From: "backup@provider.example"})
	fail(err)
	n, err := New(Config{Catalog: cat, Sender: hanging{sender}, Process: "scheduler@1", Log: zap.NewNop().Sugar()})
	fail(err)
	fence, _, err := cat.Fleet().Lead(ctx, "scheduler@1", time.Hour)
	fail(err)
	fail(n.Round(ctx, fence))
	return true
}

// A scheduler is killed between the server's answer and its note: the mail is sent once more, as the same mail.
func TestKilledBetweenSendAndNote(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.ok(h.tenant.PutMail(t.Context(), catalog.Mail{Key: "k", To: ada, Subject: "once", Plain: "p", HTML: "h"}, h.now))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{h.dsn, h.office.addr, h.office.pemFile(t)}, " "))
	out, err := cmd.StdoutPipe()
	h.ok(err)
	h.ok(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || line != "sent [<nil>]\n" {
		t.Fatalf("the child said %q (%v)", line, err)
	}
	h.ok(h.cat.Fleet().Resign(t.Context(), "scheduler@1"))
	h.lead("scheduler@2")
	n := h.notifier("scheduler@2")
	h.ok(n.Round(t.Context(), h.fence))
	if taken := len(h.office.taken()); taken != 1 {
		t.Fatalf("%d mails before the dead scheduler's lease on it has ended", taken)
	}
	h.endLeases() // as two minutes on the database's clock do
	h.ok(n.Round(t.Context(), h.fence))
	if taken := len(h.office.taken()); taken != 2 {
		t.Fatalf("%d mails after the dead scheduler's lease on it has ended", taken)
	}
	first, _ := h.office.taken()[0].parsed(t)
	second, _ := h.office.taken()[1].parsed(t)
	if first.Get("Message-ID") != second.Get("Message-ID") || first.Get("Message-ID") == "" {
		t.Errorf("Message-IDs %q and %q", first.Get("Message-ID"), second.Get("Message-ID"))
	}
	list, err := h.tenant.Mails(t.Context(), "", 0)
	h.ok(err)
	if list[0].State != catalog.MailSent || list[0].Attempts != 2 {
		t.Errorf("the mail stands as %+v", list[0])
	}
	if err := n.Round(t.Context(), h.fence-1); tenantry.KindOf(err) != tenantry.Fenced {
		t.Errorf("a round under an old fence: %v", err)
	}
}

// endLeases ends the leases on all mails.
func (h *house) endLeases() {
	h.t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(h.dsn, "sqlite:"))
	h.ok(err)
	defer db.Close()
	ended, err := db.ExecContext(h.t.Context(), "PRAGMA busy_timeout = 60000; UPDATE outbox SET lease_until = 1 WHERE state = 'sending'")
	h.ok(err)
	if n, err := ended.RowsAffected(); n != 1 || err != nil {
		h.t.Fatalf("%d mails are leased (%v)", n, err)
	}
}
