package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// measured is what one process cost.
type measured struct {
	cpu    float64            // seconds, user and system
	wall   float64            // seconds
	rss    float64            // MB, the most it had, as the kernel tells its parent
	values map[string]float64 // what it printed itself, as "name value"
}

// measure runs a program to its end. It passes on nothing of the environment but env and where
// programs are.
func measure(ctx context.Context, env []string, program string, args ...string) (measured, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}, env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		return measured{}, fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, complaints.Bytes())
	}
	m := measured{
		wall: time.Since(begun).Seconds(),
		cpu:  (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(),
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.rss = float64(usage.Maxrss) * 1024 / 1e6
	}
	m.values = values(out.String())
	return m, nil
}

// values reads lines of a name and a number; others are for people.
func values(text string) map[string]float64 {
	found := map[string]float64{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			if number, err := strconv.ParseFloat(value, 64); err == nil {
				found[name] = number
			}
		}
	}
	return found
}

// sizeOf is how many bytes the files under a folder have together.
func sizeOf(root string) (total float64, err error) {
	err = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += float64(info.Size())
		}
		return err
	})
	return total, err
}
