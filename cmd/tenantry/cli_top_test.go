package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestTop(t *testing.T) {
	o := newOffice(t)
	tenant, user := o.connected()
	o.json("runs", "start", tenant, "--resource", user)
	out := o.shows([]string{"connected=1", "interactive=2", "sharepoint/minute", "72%"}, "top")
	if row := strings.Fields(strings.Split(out, "\n")[3]); row[0] != tenant || row[1] != "Contoso" || row[2] != "3" || row[3] != "0" {
		t.Errorf("want two backups and a sync to be ready:\n%s", out)
	}
	if got := at(o.json("top"), "items.0.tightest.name"); got != "sharepoint/minute" {
		t.Errorf("the tightest account is %v", got)
	}
	if _, err := o.run("top", "--every", "1ms"); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("too often: %v", err)
	}
}

// A terminal is drawn until somebody leaves; what passes is shown meanwhile.
func TestTopGoesOn(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	cmd := &cobra.Command{}
	var screen strings.Builder
	cmd.SetOut(&screen)
	cmd.SetContext(ctx)
	draws := 0
	err := refreshed(cmd, time.Millisecond, func(out io.Writer) error {
		switch draws++; draws {
		case 1:
			_, _ = io.WriteString(out, "first")
			return nil
		case 2:
			return tenantry.Errorf(tenantry.Transient, "the api is away")
		}
		leave()
		return nil
	})
	if err != nil || !strings.Contains(screen.String(), "first") || !strings.Contains(screen.String(), "tenantry: the api is away") || strings.Count(screen.String(), clearScreen) < 3 {
		t.Errorf("%v after %q", err, screen.String())
	}
	refused := tenantry.Errorf(tenantry.Unauthorized, "revoked")
	if err := refreshed(cmd, time.Millisecond, func(io.Writer) error { return refused }); tenantry.KindOf(err) != tenantry.Unauthorized {
		t.Errorf("a refusal: %v", err)
	}
}
