package main

import "fmt"

// figure is one that is printed: its unit, and what it has to reach, if anything.
type figure struct {
	name, unit string
	bound      float64 // 0: none
	least      bool    // the figure has to be bound or more; else bound or less
	reason     string  // why it misses, as far as is known
}

// printed are the figures in the order in which they are printed: those that were asked for, then what
// they are made of.
var printed = []figure{
	{name: "repo.full_cpu_vs_kopia", unit: "ratio", bound: 0.80},
	{name: "repo.full_cpu_vs_restic", unit: "ratio", bound: 0.65},
	{name: "repo.size_vs_kopia", unit: "ratio", bound: 0.95},
	{name: "repo.incr_told_cpu_vs_kopia", unit: "ratio", bound: 0.10},
	{name: "repo.incr_walked_cpu_vs_kopia", unit: "ratio"},
	{name: "repo.incr_put", unit: "requests", bound: 3},
	{name: "repo.rss_mb", unit: "MB", bound: 300},
	{name: "repo.full_mb_per_core_s", unit: "MB/s"},
	{name: "repo.restore_mb_per_core_s", unit: "MB/s", bound: 250, least: true},
	{name: "repo.open_million_ms", unit: "ms"},
	{name: "repo.ours_full_cpu_s", unit: "s"},
	{name: "repo.kopia_full_cpu_s", unit: "s"},
	{name: "repo.restic_full_cpu_s", unit: "s"},
	{name: "repo.ours_full_wall_s", unit: "s"},
	{name: "repo.kopia_full_wall_s", unit: "s"},
	{name: "repo.restic_full_wall_s", unit: "s"},
	{name: "repo.ours_size_mb", unit: "MB"},
	{name: "repo.kopia_size_mb", unit: "MB"},
	{name: "repo.restic_size_mb", unit: "MB"},
	{name: "repo.kopia_rss_mb", unit: "MB"},
	{name: "repo.restic_rss_mb", unit: "MB"},
	{name: "repo.incr_told_cpu_s", unit: "s"},
	{name: "repo.incr_walked_cpu_s", unit: "s"},
	{name: "repo.kopia_incr_cpu_s", unit: "s"},
	{name: "repo.restic_incr_cpu_s", unit: "s"},
	{name: "repo.incr_get", unit: "requests", bound: 1},
	{name: "repo.incr_cold_get", unit: "requests"},
	{name: "repo.incr_rss_mb", unit: "MB"},
	{name: "repo.incr_cold_rss_mb", unit: "MB"},
	{name: "repo.cache_mb", unit: "MB"},
	{name: "repo.incr_list", unit: "requests"},
	{name: "repo.incr_growth_kb", unit: "KB"},
	{name: "repo.restore_cpu_s", unit: "s"},
	{name: "repo.open_million_get", unit: "requests"},
	{name: "repo.open_million_rss_mb", unit: "MB"},
}

// verdict says in a line whether a figure reaches what it has to; "" if it has to reach nothing.
func (f figure) verdict(value float64) string {
	if f.bound == 0 {
		return ""
	}
	passed, sign := value <= f.bound, "<="
	if f.least {
		passed, sign = value >= f.bound, ">="
	}
	if passed {
		return fmt.Sprintf("PASS `%s` %.3g %s %.3g", f.name, value, sign, f.bound)
	}
	line := fmt.Sprintf("MISS `%s` %.3g, has to be %s %.3g.", f.name, value, sign, f.bound)
	if f.reason != "" {
		line += " " + f.reason
	}
	return line
}
