package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bench is the whole measurement.
type bench struct {
	tree    tree
	dir     string // for repositories and lists
	ours    ours
	kopia   kopia
	restic  restic
	million int // items of the large series
	figures figures
}

// figures are values by name, one of each round.
type figures map[string][]float64

func (f figures) add(name string, value float64) { f[name] = append(f[name], value) }

// median returns the middle one of a figure's values.
func (f figures) median(name string) float64 {
	sorted := slices.Sorted(slices.Values(f[name]))
	if len(sorted)%2 == 1 {
		return sorted[len(sorted)/2]
	}
	return (sorted[len(sorted)/2-1] + sorted[len(sorted)/2]) / 2
}

// round measures everything once. The tools take turns; who begins changes from round to round, so
// that no one always finds the machine as another has left it.
func (b *bench) round(ctx context.Context, number int) error {
	dir := filepath.Join(b.dir, "round")
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := b.tree.change(0); err != nil {
		return err
	}
	tools := []tool{b.ours, b.kopia, b.restic}
	first := number % len(tools)
	tools = append(tools[first:], tools[:first]...)
	full := map[string]measured{}
	for _, t := range tools {
		home := filepath.Join(dir, t.name())
		if err := os.MkdirAll(home, 0o700); err != nil {
			return err
		}
		if err := t.prepare(ctx, home); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		m, err := t.backup(ctx, home, b.tree.root)
		if err != nil {
			return err
		}
		full[t.name()] = m
	}
	if err := b.noteFull(dir, full); err != nil {
		return err
	}
	if err := b.restore(ctx, dir); err != nil {
		return err
	}
	return b.incremental(ctx, dir, number, tools)
}

func (b *bench) noteFull(dir string, full map[string]measured) error {
	size := map[string]float64{}
	for _, t := range []tool{b.ours, b.kopia, b.restic} {
		n, err := sizeOf(t.stored(filepath.Join(dir, t.name())))
		if err != nil {
			return err
		}
		size[t.name()] = n
		b.figures.add("repo."+t.name()+"_full_cpu_s", full[t.name()].cpu)
		b.figures.add("repo."+t.name()+"_full_wall_s", full[t.name()].wall)
		b.figures.add("repo."+t.name()+"_size_mb", n/1e6)
		b.figures.add("repo."+t.name()+"_rss_mb", full[t.name()].rss)
	}
	input, err := sizeOf(b.tree.root)
	if err != nil {
		return err
	}
	b.figures.add("repo.full_cpu_vs_kopia", full["ours"].cpu/full["kopia"].cpu)
	b.figures.add("repo.full_cpu_vs_restic", full["ours"].cpu/full["restic"].cpu)
	b.figures.add("repo.size_vs_kopia", size["ours"]/size["kopia"])
	b.figures.add("repo.rss_mb", full["ours"].values["rss_kb"]*1024/1e6)
	b.figures.add("repo.full_mb_per_core_s", input/1e6/full["ours"].cpu)
	return nil
}

// incremental changes some mails and lets every tool find them out; ours is told of them too, in a
// copy of its repository, and in another one as a machine that has never seen the series: whose cache has nothing.
func (b *bench) incremental(ctx context.Context, dir string, number int, tools []tool) error {
	home, told, cold := filepath.Join(dir, "ours"), filepath.Join(dir, "told"), filepath.Join(dir, "cold")
	for _, copied := range []string{told, cold} {
		if err := os.CopyFS(copied, os.DirFS(home)); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(copied, "keys.json"), 0o600); err != nil { // CopyFS leaves that to umask
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(cold, oursCache)); err != nil {
		return err
	}
	paths, err := b.tree.change(number + 1)
	if err != nil {
		return err
	}
	list := filepath.Join(dir, "changed")
	if err := os.WriteFile(list, []byte(strings.Join(paths, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	before, err := sizeOf(b.ours.stored(told))
	if err != nil {
		return err
	}
	cost := map[string]measured{}
	if cost["told"], err = b.ours.run(ctx, told, 2, "told", b.tree.root, list); err != nil {
		return err
	}
	after, err := sizeOf(b.ours.stored(told))
	if err != nil {
		return err
	}
	cached, err := sizeOf(filepath.Join(told, oursCache))
	if err != nil {
		return err
	}
	if cost["cold"], err = b.ours.run(ctx, cold, 2, "told", b.tree.root, list); err != nil {
		return err
	}
	for _, t := range tools {
		if t.name() == "ours" {
			cost["walked"], err = b.ours.run(ctx, home, 2, "walked", b.tree.root)
		} else {
			cost[t.name()], err = t.backup(ctx, filepath.Join(dir, t.name()), b.tree.root)
		}
		if err != nil {
			return err
		}
	}
	b.figures.add("repo.incr_growth_kb", (after-before)/1e3)
	b.figures.add("repo.incr_told_cpu_s", cost["told"].cpu)
	b.figures.add("repo.incr_walked_cpu_s", cost["walked"].cpu)
	b.figures.add("repo.kopia_incr_cpu_s", cost["kopia"].cpu)
	b.figures.add("repo.restic_incr_cpu_s", cost["restic"].cpu)
	b.figures.add("repo.incr_told_cpu_vs_kopia", cost["told"].cpu/cost["kopia"].cpu)
	b.figures.add("repo.incr_walked_cpu_vs_kopia", cost["walked"].cpu/cost["kopia"].cpu)
	b.figures.add("repo.incr_put", max(cost["told"].values["put"], cost["walked"].values["put"]))
	b.figures.add("repo.incr_get", cost["told"].values["get"])
	b.figures.add("repo.incr_cold_get", cost["cold"].values["get"])
	b.figures.add("repo.incr_rss_mb", cost["told"].values["rss_kb"]*1024/1e6)
	b.figures.add("repo.incr_cold_rss_mb", cost["cold"].values["rss_kb"]*1024/1e6)
	b.figures.add("repo.cache_mb", cached/1e6)
	b.figures.add("repo.incr_list", cost["told"].values["list"])
	return nil
}

// restore reads the full backup back.
func (b *bench) restore(ctx context.Context, dir string) error {
	m, err := b.ours.cold(ctx, filepath.Join(dir, "ours"), 0, "restore", b.tree.sums)
	if err != nil {
		return err
	}
	b.figures.add("repo.restore_cpu_s", m.cpu)
	b.figures.add("repo.restore_mb_per_core_s", m.values["restored_bytes"]/1e6/m.cpu)
	return nil
}

// large measures how a series of many items is opened.
func (b *bench) large(ctx context.Context, rounds int) error {
	dir := filepath.Join(b.dir, "large")
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := b.ours.cold(ctx, dir, 1, "fill", fmt.Sprint(b.million)); err != nil {
		return err
	}
	for range rounds {
		m, err := b.ours.cold(ctx, dir, 2, "open", fmt.Sprint(b.million))
		if err != nil {
			return err
		}
		b.figures.add("repo.open_million_ms", m.values["open_us"]/1e3)
		b.figures.add("repo.open_million_get", m.values["get"])
		b.figures.add("repo.open_million_rss_mb", m.values["rss_kb"]*1024/1e6)
	}
	return nil
}
