// Package app owns how a program of the fleet is put together: configuration, what
// opens in which order, health, telemetry and the graceful stop. It wires
// implementations into the interfaces of the rooms below and holds no logic of its own.
//
// Start opens what a role needs from the ground up (catalog, Redis, storage, Graph,
// then the role itself) and Stop closes it in the opposite order, so that nothing is
// used after it was closed.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // policies name time zones; images may have none

	"go.uber.org/zap"
)

// Main runs a program of the fleet until it is told to stop and returns its exit
// code: 0 after a clean stop, 1 after a failure, 2 for a wrong configuration.
func Main(role Role, args []string, out io.Writer) int {
	if role == RoleWorker && len(args) > 0 && args[0] == "enrol" {
		return Enrol(args[1:], os.Stdin, out)
	}
	cfg, err := Load(role, args, out)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(out, err)
		return 2
	}
	log, err := newLogger(cfg, role, out)
	if err != nil {
		_, _ = fmt.Fprintln(out, err)
		return 2
	}
	defer func() { _ = log.Sync() }()
	if err := runUntilSignal(role, cfg, log); err != nil {
		log.Error("stopped with an error", zap.Error(err))
		return 1
	}
	return 0
}

func runUntilSignal(role Role, cfg Config, log *zap.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	p, err := Start(ctx, role, cfg, log)
	if err != nil {
		return err
	}
	var failure error
	select {
	case <-ctx.Done():
		stop() // a second signal ends the process at once
		log.Info("stopping")
	case failure = <-p.failed:
	}
	grace, cancel := context.WithTimeout(context.Background(), cfg.DrainTime+10*time.Second)
	defer cancel()
	return errors.Join(failure, p.Stop(grace))
}

// Program is a running program of the fleet.
type Program struct {
	// Addr is the address it serves on.
	Addr string

	log    *zap.Logger
	stops  []func(context.Context) error
	failed chan error
}

// Start starts the program of the given role and returns when it runs. The context
// bounds only the start.
func Start(ctx context.Context, role Role, cfg Config, log *zap.Logger) (*Program, error) {
	p := &Program{log: log, failed: make(chan error, 8)}
	var err error
	switch role {
	case RoleAPI:
		err = p.startAPI(ctx, cfg)
	case RoleWorker:
		err = p.startWorker(ctx, cfg)
	case RoleScheduler:
		err = p.startScheduler(ctx, cfg)
	default:
		err = fmt.Errorf("no such role: %q", role)
	}
	if err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return nil, errors.Join(err, p.Stop(stopCtx))
	}
	log.Info("started", zap.String("listen", p.Addr))
	return p, nil
}

// Stop ends the program: what was started last stops first. A worker gets until the
// context ends to bring its slices to a checkpoint.
func (p *Program) Stop(ctx context.Context) error {
	var errs []error
	for i := len(p.stops) - 1; i >= 0; i-- {
		errs = append(errs, p.stops[i](ctx))
	}
	p.stops = nil
	return errors.Join(errs...)
}

// onStop registers what Stop does; the last registered goes first.
func (p *Program) onStop(f func(context.Context) error) { p.stops = append(p.stops, f) }

// closes registers a closer that needs no context.
func (p *Program) closes(f func() error) {
	p.onStop(func(context.Context) error { return f() })
}

// serve serves the handler on addr until Stop; with TLS unless secure is nil.
func (p *Program) serve(addr string, secure *tls.Config, h http.Handler) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	p.Addr = l.Addr().String()
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          zap.NewStdLog(p.log),
		// "OPTIONS *" is for the handler, too.
		DisableGeneralOptionsHandler: true,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.failed <- fmt.Errorf("serve on %s: %w", addr, err)
		}
	}()
	p.onStop(func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		<-done
		return err
	})
	return nil
}

// background runs f until Stop, which waits for it.
func (p *Program) background(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	p.onStop(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}
