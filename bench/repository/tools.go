package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
)

// tool is one of those that are compared. Each keeps everything in a folder of its own, which is
// new in each round.
type tool interface {
	name() string
	// prepare makes an empty repository in dir; it is not measured.
	prepare(ctx context.Context, dir string) error
	// backup backs the tree up into the repository in dir.
	backup(ctx context.Context, dir, tree string) (measured, error)
	// stored is where in dir the repository lies, without caches and settings.
	stored(dir string) string
}

// ours is bench/repository/ours, built.
type ours struct {
	program string
	profile string // folder for CPU profiles, if any
}

func (ours) name() string { return "ours" }

func (ours) prepare(context.Context, string) error { return nil }

func (ours) stored(dir string) string { return filepath.Join(dir, "store") }

func (o ours) backup(ctx context.Context, dir, tree string) (measured, error) {
	return o.run(ctx, dir, 1, "full", tree)
}

func (o ours) run(ctx context.Context, dir string, epoch int, command ...string) (measured, error) {
	args := []string{"-dir", dir, "-epoch", strconv.Itoa(epoch), "-cache", filepath.Join(dir, oursCache)}
	return o.measure(ctx, args, command)
}

// cold is run without the cache that a worker has beside it.
func (o ours) cold(ctx context.Context, dir string, epoch int, command ...string) (measured, error) {
	return o.measure(ctx, []string{"-dir", dir, "-epoch", strconv.Itoa(epoch)}, command)
}

// oursCache is where in its folder ours has its cache, as restic and kopia have theirs beside their repositories.
const oursCache = "cache"

func (o ours) measure(ctx context.Context, args, command []string) (measured, error) {
	if o.profile != "" {
		args = append(args, "-cpuprofile", filepath.Join(o.profile, command[0]+".prof"))
	}
	return measure(ctx, nil, o.program, append(args, command...)...)
}

// kopia as it is installed, with the compression that we use (its default is none) and without
// the maintenance that it would run beside some backups.
type kopia struct{ program string }

func (kopia) name() string { return "kopia" }

func (kopia) stored(dir string) string { return filepath.Join(dir, "store") }

func (kopia) env(dir string) []string {
	return []string{
		"HOME=" + dir, "KOPIA_PASSWORD=bench", "KOPIA_CONFIG_PATH=" + filepath.Join(dir, "kopia.config"),
		"KOPIA_CACHE_DIRECTORY=" + filepath.Join(dir, "cache"), "KOPIA_LOG_DIR=" + filepath.Join(dir, "log"),
		"KOPIA_CHECK_FOR_UPDATES=false",
	}
}

func (k kopia) prepare(ctx context.Context, dir string) error {
	store := k.stored(dir)
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"repository", "create", "filesystem", "--path", store, "--no-use-keyring"},
		{"policy", "set", "--global", "--compression", "zstd"},
	} {
		if _, err := measure(ctx, k.env(dir), k.program, args...); err != nil {
			return err
		}
	}
	return nil
}

func (k kopia) backup(ctx context.Context, dir, tree string) (measured, error) {
	return measure(ctx, k.env(dir), k.program, "snapshot", "create", "--no-progress", "--no-auto-maintenance", tree)
}

// restic as Debian packs it, with its defaults.
type restic struct{ program string }

func (restic) name() string { return "restic" }

func (restic) stored(dir string) string { return filepath.Join(dir, "store") }

func (r restic) env(dir string) []string {
	return []string{
		"HOME=" + dir, "RESTIC_PASSWORD=bench", "RESTIC_REPOSITORY=" + r.stored(dir), "RESTIC_CACHE_DIR=" + filepath.Join(dir, "cache"),
	}
}

func (r restic) prepare(ctx context.Context, dir string) error {
	_, err := measure(ctx, r.env(dir), r.program, "init")
	return err
}

func (r restic) backup(ctx context.Context, dir, tree string) (measured, error) {
	return measure(ctx, r.env(dir), r.program, "backup", "--quiet", tree)
}
