// Command tenantry is the operator's command line: it talks to a fleet over its REST
// API, makes the first token, and shows the whole way from consent to a compared
// restore on one machine (demo).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/app"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root := rootCommand()
	root.SetContext(ctx)
	err := execute(root)
	stop()
	if err != nil {
		complain(os.Stderr, err, outputWanted(os.Args))
		os.Exit(exitCode(err))
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "tenantry",
		Short:         "Back up Microsoft 365 tenants",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(initCommand(), migrateCommand(), demoCommand(), workerCommand(), rescueCommand(), keysCommand())
	root.AddCommand(clientCommands()...)
	return root
}

func initCommand() *cobra.Command {
	return configured("init [keys as for bin/api: -config FILE, -catalog DSN, -key-file FILE, ...]",
		"Make catalog and key file, and print a new API token",
		"Makes the catalog and the key file if they are not there, and prints a new API token.\n"+
			"The token is shown once. Keep a copy of the key file elsewhere: without it no backup can be read.",
		func(cmd *cobra.Command, cfg app.Config) error {
			token, err := app.Init(cmd.Context(), cfg, "init")
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token.Reveal())
			return err
		})
}

func migrateCommand() *cobra.Command {
	return configured("migrate [-config FILE, -catalog DSN]",
		"Bring the catalog's schema to what this release needs",
		"Brings the catalog's schema to what this release needs, as every program does at its start.\n"+
			"Programs of the release before go on working with the new schema.",
		func(cmd *cobra.Command, cfg app.Config) error { return app.Migrate(cmd.Context(), cfg) })
}

// configured is a command over the fleet's configuration, with the flags that its programs have.
func configured(use, short, long string, run func(*cobra.Command, app.Config) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := app.Load(app.RoleInit, args, cmd.OutOrStdout())
			if errors.Is(err, flag.ErrHelp) {
				return nil
			}
			if err != nil {
				return tenantry.Errorf(tenantry.Invalid, "%w", err)
			}
			return run(cmd, cfg)
		},
	}
}

// workerCommand runs a worker in a process of its own for the demo, which kills it.
func workerCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "demo-worker",
		Hidden:             true,
		DisableFlagParsing: true,
		Run: func(_ *cobra.Command, args []string) {
			os.Exit(app.Main(app.RoleWorker, args, os.Stderr))
		},
	}
}
