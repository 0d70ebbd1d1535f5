package servertest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is what the kernel counts CPU time in on every Linux (USER_HZ).
const clockTick = 10 * time.Millisecond

// CPU is the user and system time that the server has used so far. Linux only: it reads /proc.
func (s *RedisServer) CPU() time.Duration { return CPU(s.cmd.Process.Pid) }

// CPU is the user and system time that the server and its sessions have used so far. Linux
// only: it reads /proc.
func (s *PostgresServer) CPU() time.Duration { return CPU(s.cmd.Process.Pid) }

// CPU is the user and system time that a process and all below it have used so far, those
// that have ended with it. 0 for a process that is not there. Linux only: it reads /proc.
func CPU(root int) (sum time.Duration) {
	type process struct {
		parent int
		used   time.Duration
	}
	all := map[int]process{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			parent, used := stat(pid)
			all[pid] = process{parent, used}
		}
	}
	for pid, p := range all {
		for at := pid; at > 1; at = all[at].parent {
			if at == root {
				sum += p.used
				break
			}
		}
	}
	return sum
}

// stat is what the kernel says of a process: its parent, and the CPU time of it and of its
// children that have ended.
func stat(pid int) (parent int, used time.Duration) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	_, rest, _ := strings.Cut(string(data), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	const parentAt, firstTime, lastTime = 1, 11, 14
	if len(fields) <= lastTime {
		return 0, 0
	}
	parent, _ = strconv.Atoi(fields[parentAt])
	for _, field := range fields[firstTime : lastTime+1] {
		n, _ := strconv.ParseInt(field, 10, 64)
		used += time.Duration(n) * clockTick
	}
	return parent, used
}
