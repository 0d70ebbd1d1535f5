package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// topCommand shows the tenants with the most to do, again and again on a terminal.
func topCommand(c *connection) *cobra.Command {
	var once bool
	var every time.Duration
	var rows int64
	command := c.action("top", "Show the tenants with the most to do: backlog, what it waits for, budget", 0,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, _ []string) error {
			if every < time.Second {
				return tenantry.Errorf(tenantry.Invalid, "--every %v is less than a second", every)
			}
			out := cmd.OutOrStdout()
			if once || c.format == asJSON || !isTerminal(out) {
				return showTop(cmd, client, out, rows)
			}
			return refreshed(cmd, every, func(out io.Writer) error { return showTop(cmd, client, out, rows) })
		})
	command.Flags().BoolVar(&once, "once", false, "show it once (always so where there is no terminal)")
	command.Flags().DurationVar(&every, "every", 2*time.Second, "refresh so often")
	command.Flags().Int64Var(&rows, "tenants", 20, "show so many tenants")
	return command
}

// clearScreen goes home and wipes what is below (ECMA-48, CUP and ED).
const clearScreen = "\x1b[H\x1b[2J"

// refreshed draws until it is interrupted. What passes is shown and tried again.
func refreshed(cmd *cobra.Command, every time.Duration, draw func(io.Writer) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		var screen bytes.Buffer
		if err := draw(&screen); err != nil {
			if exitCode(err) != exitLater {
				return err
			}
			fmt.Fprintln(&screen, "tenantry:", err)
		}
		if _, err := fmt.Fprint(cmd.OutOrStdout(), clearScreen, screen.String()); err != nil {
			return tenantry.E(tenantry.Invalid, "write to the terminal", err)
		}
		select {
		case <-cmd.Context().Done():
			return nil // this is how one leaves it
		case <-tick.C:
		}
	}
}

func showTop(cmd *cobra.Command, client *apiclient.ClientWithResponses, out io.Writer, rows int64) error {
	fleet, err := client.GetFleetWithResponse(cmd.Context())
	if err != nil {
		return err
	}
	busy, err := client.ListBacklogsWithResponse(cmd.Context(), &apiclient.ListBacklogsParams{Limit: &rows})
	if err != nil {
		return err
	}
	f := fleet.JSON200
	fmt.Fprintf(out, "%s  tenants %s  waiting %s  in flight %s  processes %s  alarms %d\n\n", time.Now().Format(time.TimeOnly),
		cmp.Or(slotList(f.Tenants), "-"), cmp.Or(slotList(f.Ready), "-"), cmp.Or(slotList(f.InFlight), "-"), cmp.Or(slotList(f.Processes), "-"), len(f.Alarms))
	var lines [][]string
	for _, b := range busy.JSON200.Items {
		lines = append(lines, topRow(b))
	}
	return tableTo(out, "TENANT NAME READY RUNNING WAITING WAITS-FOR OLDEST BUDGET LEFT COOLING-UNTIL", lines)
}

func topRow(b apiclient.Backlog) []string {
	row := []string{b.Tenant, b.Name, count(b.Ready), count(b.InFlight), count(b.Waiting), waitsText(b.Waits), age(b.OldestAt)}
	if a := b.Tightest; a.Name != "" {
		row = append(row, a.Name, fmt.Sprintf("%.0f%%", 100*float64(a.Left)/float64(max(a.Limit, 1))), when(a.CoolingUntil))
	} else {
		row = append(row, "", "", "")
	}
	return row
}

// waitsText lists what tasks wait for, the most first.
func waitsText(waits map[string]int64) string {
	kinds := slices.SortedFunc(maps.Keys(waits), func(a, b string) int {
		return cmp.Or(cmp.Compare(waits[b], waits[a]), cmp.Compare(a, b))
	})
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%s=%d", kind, waits[kind])
	}
	return strings.Join(kinds, " ")
}

// age is how long ago something was, to the second.
func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return max(time.Since(t), 0).Round(time.Second).String()
}
