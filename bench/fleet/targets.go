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
	{"fleet.goodput_ratio", true, 0.95, "The account book refills 96 % of a limit, so that no window ever sees more than all of it. Of the rest a part is lost while nobody comes for it in time: a bucket holds a fifth of a second of a scaled minute, and on a machine with other work sleeps take longer (0.92 to 0.95 were seen on one with ten times as much to do as it has cores)."},
	{"fleet.throttled_ratio", false, 0.001, ""},
	{"fleet.makespan_ratio", false, 1.10, ""},
	{"fleet.small_slowdown", false, 1.25, "On a machine with other work the two runs of 4,000 tasks differ by more than the giant does (0.88 to 1.13 were seen in a row): run it on a quiet one."},
	{"fleet.jain", true, 0.99, ""},
	{"scheduler.peak_hour_ratio", false, 1.25, ""},
	{"queue.efficiency", true, 0.3, "What a task costs in CPU is printed beside the table: three to three and a half times what it costs raw asynq, of which Postgres and the fleet's own processes have the largest parts. On a machine with other work the fleet loses more than raw asynq, whose one Redis is all that it waits for (0.21 to 0.24 were seen on one with six times as much to do as it has cores): run it on a quiet one."},
	{"queue.start_p99_ms", false, 200, "On a machine with other work the slowest of a hundred waits for the CPU: run it on a quiet one."},
	{"queue.recover_s", false, 40, ""},
	{"scheduler.million_tick_s", false, 1, ""},
	{"scheduler.million_rss_mb", false, 512, ""},
	{"throttle.calls_per_redis_call", true, 20, "Blocks live for seconds: on a machine with other work fewer requests are made of each. A tenant at its limit is asked for once per four requests or so, since a block of the smallest tenants' SharePoint minute holds 17 units at most (a third of the 4 % slack) and the processes take turns."},
	{"mail.requests_per_item", false, 0.3, ""},
	{"mail.items_per_core_s", true, 2500, ""},
	{"drive.mb_per_core_s", true, 80, "A quarter is compression of what compresses, a fifth the folder that packs are written to; both grow with the load of the machine."},
	{"mailbox.unchanged_per_core_s", true, 40, ""},
	{"worker.rss_mb", false, 400, ""},
	{"api.requests_per_core_s", true, 2000, ""},
	{"api.fleet_overview_ms", false, 200, ""},
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
