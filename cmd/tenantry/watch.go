package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// lineEvery is how often a watched run has a line where there is no terminal, unless its tasks
// or its state have changed.
const lineEvery = 10 * time.Second

// started shows a run that was just started, and waits for it if it is watched.
func started(cmd *cobra.Command, client *apiclient.ClientWithResponses, run *apiclient.Run, watch bool) error {
	if watch {
		return watched(cmd, client, run)
	}
	return showRun(cmd, run)
}

// watched shows progress until the run has ended, then the run: a bar on a terminal, lines
// elsewhere. A run that failed or was canceled is an error, so that scripts notice.
func watched(cmd *cobra.Command, client *apiclient.ClientWithResponses, run *apiclient.Run) error {
	last, err := followed(cmd, client, run)
	if err != nil {
		return err
	}
	conclude(cmd, last)
	if err := showRun(cmd, last); err != nil {
		return err
	}
	return endedBadly(last)
}

// awaited follows a run whose result is shown in its place.
func awaited(cmd *cobra.Command, client *apiclient.ClientWithResponses, run *apiclient.Run) error {
	last, err := followed(cmd, client, run)
	if err != nil {
		return err
	}
	return endedBadly(last)
}

// followed shows how a run gets on, until it has ended.
func followed(cmd *cobra.Command, client *apiclient.ClientWithResponses, run *apiclient.Run) (*apiclient.Run, error) {
	var p runProgress = &runLines{out: cmd.ErrOrStderr()}
	if isTerminal(cmd.ErrOrStderr()) {
		p = newRunBar(cmd, run)
	}
	last, err := apiclient.WatchRun(cmd.Context(), client, run.Tenant, run.Id, p.show)
	p.stop()
	return last, err
}

// endedBadly says so of a run that has not done what it was for.
func endedBadly(last *apiclient.Run) error {
	switch last.State {
	case apiclient.RunStateFailed, apiclient.RunStateCanceled:
		return &tenantry.Error{Kind: tenantry.Conflict, Code: codeRun, Op: fmt.Sprintf("run %s has %s", last.Id, ended[last.State])}
	}
	return nil
}

var ended = map[apiclient.RunState]string{apiclient.RunStateFailed: "failed", apiclient.RunStateCanceled: "been canceled"}

// runProgress shows how a run gets on. Both are called by one goroutine.
type runProgress interface {
	show(run *apiclient.Run)
	stop()
}

// runLines prints a line when tasks have ended or the state has changed, and now and then.
type runLines struct {
	out  io.Writer
	line string
	at   time.Time
}

func (p *runLines) show(run *apiclient.Run) {
	line := fmt.Sprintf("%s %s: %d/%d tasks", run.Action, run.State, tasksEnded(run), run.Tasks)
	if run.State == apiclient.RunStateRunning && !run.CanceledAt.IsZero() {
		line += ", being canceled"
	}
	if line == p.line && time.Since(p.at) < lineEvery {
		return
	}
	p.line, p.at = line, time.Now()
	fmt.Fprintln(p.out, line+", "+progressText(run))
}

func (*runLines) stop() {}

func tasksEnded(run *apiclient.Run) int64 {
	return run.TasksDone + run.TasksFailed + run.TasksCanceled
}

func progressText(run *apiclient.Run) string {
	text := progress(run.Progress) + " items, " + byteSize(run.Progress.Bytes)
	if f := found(run.Progress); f != "" {
		text += " (found " + f + ")"
	}
	if r := rate(run.Estimate); r != "" {
		text += ", " + r
	}
	return text
}

// runBar shows the tasks of a run as a bar and its items as text. Only show's goroutine
// writes text; the bar's own reads it through a channel of one.
type runBar struct {
	bars *mpb.Progress
	bar  *mpb.Bar
	text chan string
}

func newRunBar(cmd *cobra.Command, run *apiclient.Run) *runBar {
	b := &runBar{bars: mpb.NewWithContext(cmd.Context(), mpb.WithOutput(cmd.ErrOrStderr()), mpb.WithWidth(40)), text: make(chan string, 1)}
	shown := ""
	b.bar = b.bars.AddBar(max(run.Tasks, 1),
		mpb.PrependDecorators(decor.Name(string(run.Action)+" "), decor.CountersNoUnit("%d/%d tasks")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			select {
			case shown = <-b.text:
			default:
			}
			return shown
		})))
	return b
}

func (b *runBar) show(run *apiclient.Run) {
	select {
	case <-b.text: // not shown yet: newer text takes its place
	default:
	}
	b.text <- progressText(run)
	b.bar.SetTotal(max(run.Tasks, 1), false)
	b.bar.SetCurrent(tasksEnded(run))
}

func (b *runBar) stop() {
	b.bar.Abort(false)
	b.bars.Wait()
}
