// Command graphsim runs a simulated Microsoft 365 (internal/graphsim) as a process
// of its own. It prints one line of JSON when it serves: the URLs, the
// application, the tenants.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}

// command wires flags to the simulator; it serves until the context ends.
func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{Use: "graphsim", Short: "A simulated Microsoft 365", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), f, cmd.OutOrStdout()) }}
	f.register(cmd.Flags())
	return cmd
}

func run(ctx context.Context, f flags, out io.Writer) error {
	if err := f.resolve(); err != nil {
		return err
	}
	server, err := graphsim.Start(f.options)
	if err != nil {
		return err
	}
	ready := announcement{URL: server.URL(), FilesURL: server.FilesURL(), AdminURL: server.AdminURL(), ProxyURL: server.ProxyURL(), ClientID: f.options.ClientID}
	for _, t := range server.AddWorld(f.world) {
		if f.consent {
			t.Consent()
		}
		ready.Tenants = append(ready.Tenants, t.ID())
	}
	if f.caOut != "" {
		if err := os.WriteFile(f.caOut, server.CertificateAuthority(), 0o600); err != nil {
			return errors.Join(fmt.Errorf("write certificate: %w", err), server.Close())
		}
	}
	if err := json.NewEncoder(out).Encode(ready); err != nil {
		return errors.Join(err, server.Close())
	}
	<-ctx.Done()
	return server.Close()
}
