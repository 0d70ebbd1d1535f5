package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tenantry/tenantry/internal/gateway"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// enrolTime bounds an enrolment.
const enrolTime = time.Minute

// tokenBytes bounds the file of a token.
const tokenBytes = 4096

const enrolHelp = `Makes this machine a worker of a pool, by a one-time token (tenantry pools enrol POOL).

  worker enrol -url https://backup.example.com -token-file FILE [-identity FILE] [-pool POOL] [-name NAME] [-ca FILE]

The token is read from a file, or with - from standard input: never from the command line, which others on the
machine can see. What makes the machine a worker is written to the identity, mode 0600, which is what the worker is started
with afterwards: worker -identity FILE. Interrupted, it is run again with the same token.

`

// Enrol runs `worker enrol` and returns its exit code: 0 when the machine has joined, 1 after a failure, 2 for wrong arguments.
func Enrol(args []string, in io.Reader, out io.Writer) int {
	e, tokenFile, caFile, err := enrolment(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(out, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, enrolTime)
	defer cancel()
	id, err := join(ctx, e, tokenFile, caFile, in)
	if err != nil {
		_, _ = fmt.Fprintln(out, "worker enrol:", err)
		return 1
	}
	_, _ = fmt.Fprintf(out, "This machine is worker %s of the pool %s now. Start it: worker -identity %s\n", id.Worker, id.Pool, e.File)
	return 0
}

// enrolment reads the arguments.
func enrolment(args []string, out io.Writer) (e gateway.Enrolment, tokenFile, caFile string, err error) {
	fs := flag.NewFlagSet("worker enrol", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	name, _ := os.Hostname() // without one it has to be given
	fs.StringVar(&e.URL, "url", "", "`URL` of the API")
	fs.StringVar(&tokenFile, "token-file", "", "`FILE` with the one-time token, - for standard input")
	fs.StringVar(&e.File, "identity", "/var/lib/tenantry/identity.json", "`FILE` to write")
	fs.StringVar(&e.Pool, "pool", "", "`POOL` that the token has to be for; empty: whichever it is for")
	fs.StringVar(&e.Name, "name", name, "`NAME` of this machine, as the provider sees it")
	fs.StringVar(&caFile, "ca", "", "PEM `FILE` with the authorities that the API's certificate may come from; empty: the system's")
	err = fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(out, enrolHelp)
		fs.SetOutput(out)
		fs.PrintDefaults()
	case err != nil:
	case fs.NArg() > 0:
		err = fmt.Errorf("worker enrol: unexpected argument %q: see -help", fs.Arg(0))
	case e.URL == "":
		err = errors.New("worker enrol: -url is missing: see -help")
	case tokenFile == "":
		err = errors.New("worker enrol: -token-file is missing: a token never stands on a command line")
	}
	return e, tokenFile, caFile, err
}

// join reads the files and joins.
func join(ctx context.Context, e gateway.Enrolment, tokenFile, caFile string, in io.Reader) (gateway.Identity, error) {
	if tokenFile != "-" {
		file, err := os.Open(filepath.Clean(tokenFile))
		if err != nil {
			return gateway.Identity{}, err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, tokenBytes))
	if err != nil {
		return gateway.Identity{}, fmt.Errorf("read the token: %w", err)
	}
	e.Token = tenantry.NewSecret(strings.TrimSpace(string(text)))
	if caFile != "" {
		pem, err := os.ReadFile(filepath.Clean(caFile))
		if err != nil {
			return gateway.Identity{}, err
		}
		e.CA = string(pem)
	}
	return gateway.Enrol(ctx, e)
}
