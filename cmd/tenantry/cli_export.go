package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func exportCommand(c *connection) *cobra.Command {
	var n apiclient.NewExport
	var form, to string
	command := c.action("export TENANT RESOURCE WORKLOAD SNAPSHOT", "Make files of a snapshot, or of part of it, and fetch them", 4,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			seq, err := snapshotArg(args[3])
			if err != nil {
				return err
			}
			n.Resource, n.Workload, n.Snapshot, n.Form = args[1], apiclient.NewExportWorkload(args[2]), seq, apiclient.NewExportForm(form)
			if err := c.toApart(to); err != nil {
				return err
			}
			answer, err := client.StartExportWithResponse(cmd.Context(), args[0], n)
			if err != nil {
				return err
			}
			if err := watched(cmd, client, answer.JSON201); err != nil {
				return err
			}
			return fetchExport(cmd, client, args[0], answer.JSON201.Id, to)
		})
	command.Flags().StringArrayVar(&n.Items, "item", nil, "ID of a folder or item, repeatable (default everything)")
	command.Flags().StringVar(&form, "form", "zip", "zip (every item as eml, ics, vcf or file), mbox, ics, vcf (all in one file), or item (the one chosen)")
	command.Flags().BoolVar(&n.Json, "json", false, "in a zip: beside every item the JSON that Microsoft sent")
	toFlag(command, &to)
	command.AddCommand(exportFetch(c))
	return command
}

func exportFetch(c *connection) *cobra.Command {
	var to string
	command := c.action("fetch TENANT RUN", "Fetch what an earlier export made", 2,
		func(cmd *cobra.Command, client *apiclient.ClientWithResponses, args []string) error {
			if err := c.toApart(to); err != nil {
				return err
			}
			return fetchExport(cmd, client, args[0], args[1], to)
		})
	toFlag(command, &to)
	return command
}

func toFlag(command *cobra.Command, to *string) {
	command.Flags().StringVar(to, "to", "", "FILE to write, - for standard output (default the file's own name, here)")
}

// toApart refuses a file and JSON in one stream.
func (c *connection) toApart(to string) error {
	if to == "-" && c.format == asJSON {
		return tenantry.Errorf(tenantry.Invalid, "--to - and --output json both want the standard output")
	}
	return nil
}

// fetchExport writes the file of an export whole or not at all.
func fetchExport(cmd *cobra.Command, client *apiclient.ClientWithResponses, tenant, run, to string) error {
	answer, err := client.GetExportWithResponse(cmd.Context(), tenant, run)
	if err != nil {
		return err
	}
	archive := answer.JSON200
	if to == "-" {
		return fetchRanges(cmd.Context(), client, tenant, run, archive.Size, cmd.OutOrStdout())
	}
	if to == "" {
		// A name from elsewhere: it must not leave this folder.
		to = strings.TrimLeft(filepath.Base(strings.ReplaceAll(visible(archive.Name), `\`, "_")), ".")
	}
	partial := to + ".part"
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return tenantry.E(tenantry.Invalid, "write "+to, err)
	}
	err = fetchRanges(cmd.Context(), client, tenant, run, archive.Size, f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		// Unlike a renaming, a link does not replace what is there.
		err = os.Link(partial, to)
	}
	if removeErr := os.Remove(partial); err == nil {
		err = removeErr
	}
	if err != nil {
		return fmt.Errorf("fetch %s: %w", to, err)
	}
	cmd.PrintErrln("wrote", to)
	return nil
}

const (
	// rangeBytes is fetched by one request, which the API's client bounds in time.
	rangeBytes = 64 << 20
	rangeTries = 5 // in a row without a byte
)

// fetchRanges goes on where a connection broke.
func fetchRanges(ctx context.Context, client *apiclient.ClientWithResponses, tenant, run string, size int64, to io.Writer) error {
	for at, failures := int64(0), 0; at < size; {
		n, err := fetchRange(ctx, client, tenant, run, at, min(at+rangeBytes, size), to)
		at += n
		if n > 0 {
			failures = 0
		}
		if err == nil {
			continue
		}
		if failures++; failures == rangeTries || tenantry.KindOf(err) != tenantry.Transient {
			return err
		}
	}
	return nil
}

func fetchRange(ctx context.Context, client *apiclient.ClientWithResponses, tenant, run string, from, to int64, out io.Writer) (int64, error) {
	answer, err := client.FetchExport(ctx, tenant, run, func(_ context.Context, r *http.Request) error {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
		return nil
	})
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusPartialContent {
		return 0, tenantry.Errorf(tenantry.Internal, "fetch an export: the server does not answer with a range, but %s", answer.Status)
	}
	w := &fileWriter{w: out}
	n, err := io.Copy(w, io.LimitReader(answer.Body, to-from))
	switch {
	case w.err != nil:
		return n, tenantry.E(tenantry.Invalid, "write the file", w.err)
	case err != nil, n < to-from:
		return n, tenantry.Errorf(tenantry.Transient, "fetch an export: the connection broke after %d of %d bytes: %v", n, to-from, err)
	}
	return n, nil
}

// fileWriter tells errors of the file from those of the network.
type fileWriter struct {
	w   io.Writer
	err error
}

func (f *fileWriter) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.err = err
	return n, err
}
