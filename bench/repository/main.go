// Command repository measures the repository against restic and kopia: the same files, in the same
// run, in turn; medians of the rounds. CPU is user and system time of the whole process, from its start to its end.
//
// Input: 20,000 mails of 7.5 KB, every fifth with an attachment of 40 KB beside it (compressed already, as
// documents and pictures are; 30 % of them show one of 100 documents), and 200 MB of files of 2 MB, half
// Go source, half random. It follows from a seed and the Go release.
//
// Ours is bench/repository/ours, which uses the repository as the engine does; kopia is built from
// bench/peers; restic is the distribution's. All three compress with zstd at its default level (ours what files
// hold at the fastest), encrypt, and write into a folder. Then 50 mails change: kopia and restic have to find out, and
// so has ours ("walked"); as Microsoft's delta names what has changed, ours is also told. All three have made the full
// backup on the same machine and have what their caches kept of it; "cold" is ours told with an empty one, as a machine that
// has never seen the series.
//
// It prints "name value unit" lines, and PASS or MISS below for what the table of the project asks.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	quick := flag.Bool("quick", false, "measure little: to see that everything works")
	rounds := flag.Int("rounds", 3, "how often everything is measured")
	programs := flag.String("programs", ".bin", "folder with kopia")
	profile := flag.String("profile", "", "folder for CPU profiles of ours")
	longest := flag.Duration("longest", 20*time.Minute, "give up after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *longest)
	defer cancel()
	if err := run(ctx, *quick, *rounds, *programs, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "bench repository:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, quick bool, rounds int, programs, profile string) (err error) {
	if rounds < 1 {
		return fmt.Errorf("%d rounds measure nothing", rounds)
	}
	dir, err := os.MkdirTemp("", "tenantry-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bench{dir: dir, million: 1_000_000, figures: figures{}}
	in := whole
	if quick {
		in, b.million = small, 50_000
	}
	if err := b.find(ctx, programs, profile); err != nil {
		return err
	}
	if b.tree, err = makeTree(in, filepath.Join(dir, "tree"), filepath.Join(dir, "sums")); err != nil {
		return err
	}
	for number := range rounds {
		if err := b.round(ctx, number); err != nil {
			return err
		}
	}
	if err := b.large(ctx, rounds); err != nil {
		return err
	}
	b.print(rounds)
	return b.versions(ctx)
}

// find finds the peers and builds ours.
func (b *bench) find(ctx context.Context, programs, profile string) (err error) {
	if b.kopia.program, err = filepath.Abs(filepath.Join(programs, "kopia")); err != nil {
		return err
	}
	if _, err := os.Stat(b.kopia.program); err != nil {
		return fmt.Errorf("kopia is not built (make bench-repository does): %w", err)
	}
	if b.restic.program, err = exec.LookPath("restic"); err != nil {
		return fmt.Errorf("restic is not installed (make bench-repository does): %w", err)
	}
	if profile != "" {
		if b.ours.profile, err = filepath.Abs(profile); err != nil {
			return err
		}
	}
	b.ours.program = filepath.Join(b.dir, "ours-program")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.ours.program, "./bench/repository/ours")
	build.Stderr = os.Stderr
	return build.Run()
}

// print prints the median of every figure, then the verdicts.
func (b *bench) print(rounds int) {
	for _, f := range printed {
		fmt.Printf("%s %.4g %s\n", f.name, b.figures.median(f.name), f.unit)
	}
	fmt.Printf("# Medians of %d rounds; ratios are those within a round.\n", rounds)
	fmt.Println("# incr: after the full backup on the same machine, with what its cache has, as restic and kopia; cold: the cache is empty,")
	fmt.Println("# as on a machine that has never seen the series. A folder's listing does not tell what is in a file: in S3 incr_get is one less.")
	for _, f := range printed {
		if verdict := f.verdict(b.figures.median(f.name)); verdict != "" {
			fmt.Println("#", verdict)
		}
	}
}

// versions says what was measured.
func (b *bench) versions(ctx context.Context) error {
	restic, err := exec.CommandContext(ctx, b.restic.program, "version").Output()
	if err != nil {
		return fmt.Errorf("restic version: %w", err)
	}
	kopia, err := exec.CommandContext(ctx, b.kopia.program, "--version").Output()
	if err != nil {
		return fmt.Errorf("kopia --version: %w", err)
	}
	first := func(said []byte) string { return strings.Split(string(said), " ")[0] }
	fmt.Printf("# Measured against restic %s and kopia %s.\n", first(bytes.TrimPrefix(restic, []byte("restic "))), first(kopia))
	return nil
}
