package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const clientSecret = "bench-secret"

// simulator is the program under measure.
type simulator struct {
	cmd       *exec.Cmd
	startTime time.Duration // from fork to the line that says it serves
	ready     struct {
		URL      string   `json:"url"`
		AdminURL string   `json:"adminUrl"`
		ClientID string   `json:"clientId"`
		Tenants  []string `json:"tenants"`
	}
}

func startSimulator(ctx context.Context, binary string, p plan) (*simulator, error) {
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/graphsim")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build graphsim: %w", err)
	}
	s := &simulator{cmd: exec.CommandContext(ctx, binary, "--addr", "127.0.0.1:0", "--client-secret", clientSecret, "--consent", "--corpus", "",
		"--tenants", strconv.Itoa(p.tenants), "--users", strconv.Itoa(p.users), "--mails", strconv.Itoa(mails), "--files-per-user", strconv.Itoa(files))}
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start graphsim: %w", err)
	}
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&s.ready); err != nil {
		return nil, errors.Join(fmt.Errorf("graphsim said nothing: %w", err), s.stop())
	}
	s.startTime = time.Since(began)
	return s, nil
}

// stop interrupts the program and waits for it.
func (s *simulator) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// cpuDuring returns the CPU time the program used while do ran.
func (s *simulator) cpuDuring(do func() error) (time.Duration, error) {
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := s.cpu()
	return after - before, err
}

// clockTick is what the kernel counts CPU time in on every Linux (USER_HZ).
const clockTick = time.Second / 100

// cpu is the user and system time the program has used.
func (s *simulator) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("read CPU time: %q", data)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}

// resident is the memory the program holds now, in megabytes.
func (s *simulator) resident() (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0, fmt.Errorf("read memory: %q", data)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return float64(pages*int64(os.Getpagesize())) / 1e6, err
}
