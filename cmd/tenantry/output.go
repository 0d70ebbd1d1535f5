package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// output is how a command shows what it found: as a table for people, or as JSON for
// programs. JSON is what the API answered, with its field names, whatever the table leaves
// out; pages of a listing are put together. Commands print tables only: they need not know.
type output struct{ format string }

const (
	asTable = "table"
	asJSON  = "json"
)

func (o *output) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&o.format, "output", "o", asTable, "table, or json as the API has it")
}

// run runs a command that asks the API, and prints what that answered last if JSON is wanted.
func (o *output) run(cmd *cobra.Command, client *apiclient.ClientWithResponses, run func() error) error {
	switch o.format {
	case asTable:
		return run()
	case asJSON:
	default:
		return tenantry.Errorf(tenantry.Invalid, "--output %q is neither %s nor %s", o.format, asTable, asJSON)
	}
	heard := &answers{}
	if asked, ok := client.ClientInterface.(*apiclient.Client); ok {
		asked.Client = &listener{asked.Client, heard}
	}
	out, ctx := cmd.OutOrStdout(), cmd.Context()
	cmd.SetOut(io.Discard)
	cmd.SetContext(context.WithValue(ctx, answersKey{}, heard))
	err := run()
	cmd.SetOut(out)
	cmd.SetContext(ctx)
	if printErr := heard.print(out, err == nil); err == nil {
		err = printErr
	}
	return err
}

// rows prints what a command found that asks no API: a table, or objects by the words of its
// header.
func (o *output) rows(out io.Writer, header string, rows [][]string) error {
	if o.format != asJSON {
		return tableTo(out, header, rows)
	}
	return (&answers{found: objects(header, rows)}).print(out, true)
}

// fields is rows for one thing, as name and value.
func (o *output) fields(cmd *cobra.Command, pairs ...string) error {
	if o.format != asJSON {
		return fields(cmd, pairs...)
	}
	found := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		found[strings.ReplaceAll(pairs[i], " ", "_")] = pairs[i+1]
	}
	return (&answers{found: found}).print(cmd.OutOrStdout(), true)
}

type answersKey struct{}

// answers is what JSON output shows.
type answers struct {
	path   string
	merged map[string]json.RawMessage // what the API answered last
	found  any                        // what stands in its place
}

// conclude says what a command has found, where that is not the API's last answer.
func conclude(cmd *cobra.Command, found any) {
	if a, ok := cmd.Context().Value(answersKey{}).(*answers); ok {
		a.found = found
	}
}

// print prints what there is to show: after a failure only what the command concluded.
func (a *answers) print(out io.Writer, succeeded bool) error {
	found := a.found
	if found == nil && succeeded && a.merged != nil {
		found = a.merged
	}
	if found == nil {
		return nil
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(found)
}

// hear takes an answer. One of the same path goes on with the page before: lists are put
// together, and the rest is the newer's.
func (a *answers) hear(path string, body []byte) {
	var answer map[string]json.RawMessage
	if json.Unmarshal(body, &answer) != nil {
		return
	}
	_, paged := a.merged["next"]
	if path != a.path || !paged {
		a.path, a.merged = path, answer
		return
	}
	for name, value := range answer {
		a.merged[name] = joined(a.merged[name], value)
	}
	if _, more := answer["next"]; !more {
		delete(a.merged, "next")
	}
}

// joined is a list with another behind it; what is no list is replaced.
func joined(before, after json.RawMessage) json.RawMessage {
	var first, rest []json.RawMessage
	if json.Unmarshal(before, &first) != nil || json.Unmarshal(after, &rest) != nil {
		return after
	}
	both, err := json.Marshal(append(first, rest...))
	if err != nil {
		return after
	}
	return both
}

// listener tells what the API answers.
type listener struct {
	next  apiclient.HttpRequestDoer
	heard *answers
}

// Do sends the request on.
func (l *listener) Do(r *http.Request) (*http.Response, error) {
	answer, err := l.next.Do(r)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return answer, nil
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close() // read to its end, or the error is known
	if err != nil {
		return nil, tenantry.E(tenantry.Transient, r.Method+" "+r.URL.Path, err)
	}
	l.heard.hear(r.URL.Path, body)
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// outputWanted finds the output format in a command line that may not be valid.
func outputWanted(args []string) string {
	for i, arg := range args {
		switch {
		case arg == "-o"+asJSON, arg == "-o="+asJSON, arg == "--output="+asJSON,
			(arg == "-o" || arg == "--output") && i+1 < len(args) && args[i+1] == asJSON:
			return asJSON
		}
	}
	return asTable
}

// objects are the rows of a table as JSON has them, by the words of its header.
func objects(header string, rows [][]string) []map[string]string {
	names := strings.Fields(strings.ReplaceAll(strings.ToLower(header), "-", "_"))
	found := make([]map[string]string, len(rows))
	for i, row := range rows {
		found[i] = map[string]string{}
		for j, cell := range row[:min(len(row), len(names))] {
			found[i][names[j]] = cell
		}
	}
	return found
}
