package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	defaultURL  = "http://127.0.0.1:8080"
	defaultRows = 1000 // rows a listing shows unless --limit says otherwise
	pageRows    = 500  // the most the API gives at once
	timeLayout  = "2006-01-02 15:04"
)

// clientCommands are the commands that talk to a fleet over its REST API.
func clientCommands() []*cobra.Command {
	c := &connection{}
	commands := []*cobra.Command{
		tenantsCommand(c), workloadsCommand(c), credentialsCommand(c), poolsCommand(c), regionsCommand(c), workersCommand(c), resourcesCommand(c), policiesCommand(c), seatsCommand(c), coverageCommand(c), runsCommand(c),
		snapshotsCommand(c), browseCommand(c), compareCommand(c), searchCommand(c), exportCommand(c), restoreCommand(c), verifyCommand(c), repairCommand(c),
		fleetCommand(c), topCommand(c), alarmsCommand(c), processesCommand(c), holdsCommand(c), pruneCommand(c), noticesCommand(c), tokensCommand(c), whoamiCommand(c), auditCommand(c),
		loginCommand(c), logoutCommand(c),
	}
	for _, command := range commands {
		c.addFlags(command)
		eachBelow(command, c.completes)
	}
	return commands
}

// eachBelow calls f with every command that can be run, of command and those below it.
func eachBelow(command *cobra.Command, f func(*cobra.Command)) {
	if command.Runnable() {
		f(command)
	}
	for _, below := range command.Commands() {
		eachBelow(below, f)
	}
}

// connection says which fleet to talk to, as whom, and how to show what it answers.
type connection struct {
	output
	url, token string
	limit      int
}

func (c *connection) addFlags(command *cobra.Command) {
	flags := command.PersistentFlags()
	flags.StringVar(&c.url, "url", "", "address of the API (TENANTRY_URL, else "+defaultURL+")")
	flags.StringVar(&c.token, "token", "", "token of the API (better: TENANTRY_TOKEN, which other users cannot see)")
	flags.IntVar(&c.limit, "limit", defaultRows, "show at most so many rows")
	c.output.addFlags(flags)
}

// client reads flags and environment when the command runs, not before.
func (c *connection) client() (*apiclient.ClientWithResponses, error) {
	address, token := c.address(), tenantry.NewSecret(cmp.Or(c.token, os.Getenv("TENANTRY_TOKEN")))
	if token.IsZero() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var err error
		if token, err = signedIn(ctx, address); err != nil {
			return nil, err
		}
	}
	if token.IsZero() {
		return nil, tenantry.Errorf(tenantry.Invalid, "no token: set TENANTRY_TOKEN to what tenantry init printed, give --token, or run tenantry login")
	}
	return apiclient.New(address, token)
}

// address is where the API is.
func (c *connection) address() string {
	return strings.TrimRight(cmp.Or(c.url, os.Getenv("TENANTRY_URL"), defaultURL), "/")
}

// group is a command that only has others below it: by itself it shows them.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(below...)
	return command
}

// action is a command with so many arguments, run with a client. Its table becomes JSON, and
// its arguments are completed and resolved, by themselves: see output and placeholders.
func (c *connection) action(use, short string, args int, run func(*cobra.Command, *apiclient.ClientWithResponses, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			words := placeholders(use)
			if err := resolve(cmd.Context(), client, words, args); err != nil {
				return err
			}
			if err := resolveFlags(cmd.Context(), client, words, args, cmd.Flags()); err != nil {
				return err
			}
			return c.run(cmd, client, func() error { return run(cmd, client, args) })
		},
	}
}

// pager names one page to ask for.
type pager struct {
	after *string
	limit *int64
}

// all reads page after page until the limit of rows; more tells that there are others.
func all[T any](limit int, fetch func(pager) (items []T, next string, err error)) (rows []T, more bool, err error) {
	var after *string
	for {
		size := int64(min(pageRows, max(limit-len(rows), 1)))
		items, next, err := fetch(pager{after, &size})
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, items...)
		if next == "" || len(rows) >= limit {
			return rows, next != "", nil
		}
		after = &next
	}
}

// asking is one page that a listing asks the API for.
type asking struct {
	pager
	ctx    context.Context
	client *apiclient.ClientWithResponses
	args   []string
}

// listing is a command that lists what the API has, page by page, a row each.
func listing[T any](c *connection, use, short, header string, fetch func(asking) (items []T, next string, err error), row func(T) []string) *cobra.Command {
	return c.action(use, short, len(placeholders(use)), func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
		found, more, err := all(c.limit, func(p pager) ([]T, string, error) { return fetch(asking{p, cmd.Context(), client, args}) })
		if err != nil {
			return err
		}
		rows := make([][]string, len(found))
		for i, one := range found {
			rows[i] = row(one)
		}
		return table(cmd, header, rows, more)
	})
}

// table prints rows under a header.
func table(cmd *cobra.Command, header string, rows [][]string, more bool) error {
	if err := tableTo(cmd.OutOrStdout(), header, rows); err != nil {
		return err
	}
	if more {
		cmd.PrintErrln("There are more: raise --limit.")
	}
	return nil
}

// tableTo prints all rows there are, on a terminal in grey what is not backed up (unless NO_COLOR says no: no-color.org).
func tableTo(out io.Writer, header string, rows [][]string) error {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	line(w, strings.Fields(header))
	for _, row := range rows {
		line(w, row)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	shown := text.String()
	if isTerminal(out) && os.Getenv("NO_COLOR") == "" {
		shown = greyed(shown, header, rows)
	}
	_, err := io.WriteString(out, shown)
	return err
}

// greyed puts the rows of a table into grey that are of something inactive or gone.
func greyed(text, header string, rows [][]string) string {
	state := slices.Index(strings.Fields(header), "STATE")
	if state < 0 {
		return text
	}
	lines := strings.Split(text, "\n") // the header, and one for each row
	for i, row := range rows {
		if s := tenantry.LifeState(row[state]); s == tenantry.Inactive || s == tenantry.Gone {
			lines[i+1] = "\x1b[90m" + lines[i+1] + "\x1b[0m"
		}
	}
	return strings.Join(lines, "\n")
}

// line prints one row. Cells hold customers' text: what would steer a terminal is
// replaced.
func line(w io.Writer, cells []string) {
	shown := make([]string, len(cells))
	for i, cell := range cells {
		shown[i] = cmp.Or(visible(cell), "-")
	}
	_, _ = fmt.Fprintln(w, strings.Join(shown, "\t")) // kept by tabwriter until Flush
}

func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// fields prints one thing as name and value, line by line, leaving out what is empty.
func fields(cmd *cobra.Command, pairs ...string) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			line(w, pairs[i:i+2])
		}
	}
	return w.Flush()
}

// when shows a time in the zone of whoever looks.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(timeLayout)
}

func count(n int64) string { return fmt.Sprint(n) }

// given is a query parameter that is left out when it is empty.
func given[T ~string](value string) *T {
	if value == "" {
		return nil
	}
	v := T(value)
	return &v
}

// words turns flag values into the generated type of an enumeration.
func words[T ~string](values []string) []T {
	var list []T
	for _, v := range values {
		list = append(list, T(v))
	}
	return list
}
