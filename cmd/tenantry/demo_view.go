package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// view prints what the demo does: for each step what was expected, what was seen and
// the command that repeats it.
type view struct {
	out   io.Writer
	begun time.Time
	steps int
}

func (v *view) step(format string, args ...any) {
	v.steps++
	fmt.Fprintf(v.out, "\n%2d  %s\n", v.steps, fmt.Sprintf(format, args...))
}

func (v *view) repeat(format string, args ...any) {
	fmt.Fprintf(v.out, "    repeat    %s\n", fmt.Sprintf(format, args...))
}

func (v *view) note(format string, args ...any) {
	fmt.Fprintf(v.out, "              %s\n", fmt.Sprintf(format, args...))
}

// expect prints both sides and fails when they differ.
func (v *view) expect(expected, seen string) error {
	fmt.Fprintf(v.out, "    expected  %s\n    seen      %s\n", expected, seen)
	if expected != seen {
		return fmt.Errorf("step %d: expected %q, saw %q", v.steps, expected, seen)
	}
	return nil
}

// table prints rows under a header, numbers to the right.
func (v *view) table(header []string, rows [][]string) {
	fmt.Fprintln(v.out)
	w := tabwriter.NewWriter(v.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\t\n", strings.Join(header, "\t"))
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t\n", strings.Join(row, "\t"))
	}
	_ = w.Flush()
}

// byteSize shows bytes as people read them.
func byteSize(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 4 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[prefix])
}
