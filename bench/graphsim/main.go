// Command graphsim measures the simulator as a process of its own: how fast it
// starts with many tenants, how much memory it then holds, and what one core of it
// serves. It builds the program, keeps it to one processor (GOMAXPROCS=1) and
// divides what was served by the CPU time the process used meanwhile, so that
// other load on the machine does not count. Linux only, for it reads /proc.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var p plan
	flag.IntVar(&p.tenants, "tenants", 1000, "tenants of the world")
	flag.IntVar(&p.users, "users", 1000, "users of each tenant")
	flag.IntVar(&p.requests, "requests", 40_000, "small requests to make")
	flag.Int64Var(&p.megabytes, "megabytes", 1500, "content to download")
	flag.IntVar(&p.clients, "clients", 8, "clients at a time")
	flag.Parse()
	if err := p.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench graphsim:", err)
		os.Exit(1)
	}
}
