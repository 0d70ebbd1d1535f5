package main

import "fmt"

// target is what a figure has to reach, and why it may not, as far as is known.
type target struct {
	name   string
	least  bool // the figure has to be bound or more; else bound or less
	bound  float64
	reason string
}

var targets = []target{
	{"fleet.goodput_ratio", true, 0.95, "The account book refills 96 % of a limit, so that no window ever sees more than all of it; the rest is lost at the beginning and the end of a run, and weighs less the more windows it has."},
	{"fleet.throttled_ratio", false, 0.001, ""},
	{"fleet.makespan_ratio", false, 1.10, ""},
	{"fleet.small_slowdown", false, 1.25, "On a machine with other work the two runs of 4,000 tasks differ by more than the giant does (0.85 to 1.39 were seen in a row): run it on a quiet one."},
	{"fleet.jain", true, 0.99, ""},
	{"scheduler.peak_hour_ratio", false, 1.25, ""},
	{"queue.efficiency", true, 0.3, ""},
	{"queue.start_p99_ms", false, 200, "On a machine with other work the slowest of a hundred waits for the CPU (24 to 213 ms were seen in a row): run it on a quiet one."},
	{"queue.recover_s", false, 40, ""},
	{"scheduler.million_tick_s", false, 1, ""},
	{"scheduler.million_rss_mb", false, 512, ""},
	{"throttle.calls_per_redis_call", true, 20, "A block of the smallest tenants' SharePoint minute holds 17 units at most (a third of the 4 % slack), and a mailbox task begins with a call for its permits."},
	{"mail.requests_per_item", false, 0.3, ""},
	{"mail.items_per_core_s", true, 2500, ""},
	{"drive.mb_per_core_s", true, 80, ""},
	{"mailbox.unchanged_per_core_s", true, 40, ""},
	{"worker.rss_mb", false, 400, ""},
}

// missed says in a line each which figures did not reach their target.
func missed(measured map[string]float64) (lines []string) {
	for _, t := range targets {
		value, ok := measured[t.name]
		if !ok || t.least && value >= t.bound || !t.least && value <= t.bound {
			continue
		}
		word := "at most"
		if t.least {
			word = "at least"
		}
		line := fmt.Sprintf("Missed: `%s` is %.4g and has to be %s %.4g.", t.name, value, word, t.bound)
		if t.reason != "" {
			line += " " + t.reason
		}
		lines = append(lines, line)
	}
	return lines
}
