// Command fleet measures a whole fleet against the table of `make bench-fleet`, or one of
// its workers against that of `make bench-workload` (-suite workload), or its api against
// that of `make bench-api` (-suite api): real Redis
// and Postgres, the simulated Microsoft 365 as a process of its own, an api, a scheduler
// and four workers. Goodput, makespan and fairness are computed from the simulator's
// counters alone.
//
// The measurements are benchmarks beside the code that they measure; this command runs
// them one after the other, passes on their lines of "name value unit", and says below
// which of the figures missed what it has to reach, and why, as far as is known.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"time"
)

// quickEnv makes the benchmarks small, for development: their figures mean little.
const quickEnv = "TENANTRY_BENCH_QUICK"

type benchmark struct{ pkg, name string }

// suites name the benchmarks of each table, in the order in which they run.
var suites = map[string][]benchmark{
	"fleet": {
		{"./bench/fleet", "BenchmarkFleet"},
		{"./internal/app", "BenchmarkEfficiency"},
		{"./internal/scheduler", "BenchmarkMillionTick"},
	},
	"workload": {{"./bench/fleet", "BenchmarkWorkload"}},
	"api":      {{"./bench/fleet", "BenchmarkAPI"}},
}

func main() {
	quick := flag.Bool("quick", false, "measure little: to see that everything works")
	suite := flag.String("suite", "fleet", "what to measure: fleet, workload or api")
	only := flag.String("only", "", "run the benchmark of this name alone")
	longest := flag.Duration("longest", 10*time.Minute, "give up after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *longest)
	defer cancel()
	if *quick {
		_ = os.Setenv(quickEnv, "1")
	}
	if err := measureAll(ctx, *suite, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench fleet:", err)
		os.Exit(1)
	}
}

func measureAll(ctx context.Context, suite, only string) error {
	if suites[suite] == nil {
		return fmt.Errorf("there is no suite %q", suite)
	}
	measured := map[string]float64{}
	for _, b := range suites[suite] {
		if only != "" && only != b.name {
			continue
		}
		if err := pass(ctx, b.pkg, b.name, measured); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	fmt.Println("# One token asks for everything: the api's limit of requests by token was off (api-rate 0).")
	for _, line := range missed(measured) {
		fmt.Println("#", line)
	}
	return nil
}

var (
	figure = regexp.MustCompile(`^([a-z]+\.\w+) (-?[0-9.]+) \S+$`)
	remark = regexp.MustCompile(`^# `)
)

// pass runs one benchmark and passes on its figures and remarks.
func pass(ctx context.Context, pkg, name string, measured map[string]float64) error {
	cmd := exec.CommandContext(ctx, "go", "test", pkg, "-run", "^$", "-bench", "^"+name+"$", "-benchtime", "1x", "-timeout", "0") // ctx ends it
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		switch found := figure.FindStringSubmatch(line); {
		case found != nil:
			measured[found[1]], _ = strconv.ParseFloat(found[2], 64)
			fmt.Println(line)
		case remark.MatchString(line):
			fmt.Println(line)
		default:
			fmt.Fprintln(os.Stderr, line)
		}
	}
	return cmd.Wait()
}
