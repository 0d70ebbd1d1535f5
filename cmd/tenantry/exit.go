package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// The exit codes, for scripts; docs/CLI.md lists them.
const (
	exitInternal    = 1   // something went wrong that nobody expected
	exitInvalid     = 2   // the command line, or what it asks for, is not valid
	exitNotFound    = 3   // the named thing does not exist
	exitForbidden   = 4   // no valid token, or it may not do this
	exitConflict    = 5   // the present state does not allow it
	exitLater       = 6   // try again later: the API is away, busy, or waits for something
	exitRun         = 7   // the watched run failed or was canceled
	exitDamaged     = 8   // what is stored is damaged, or the key does not open it
	exitInterrupted = 130 // by a signal, as shells have it
)

// codeRun marks the error of a watched run that did not end well.
const codeRun = "run"

// exitCodes is the one place where kinds become exit codes.
var exitCodes = map[tenantry.Kind]int{
	tenantry.Invalid: exitInvalid, tenantry.NotFound: exitNotFound,
	tenantry.Unauthorized: exitForbidden, tenantry.Forbidden: exitForbidden,
	tenantry.Conflict: exitConflict, tenantry.Reconnect: exitConflict, tenantry.Absent: exitConflict, tenantry.Fenced: exitConflict,
	tenantry.Capacity: exitConflict, tenantry.Denied: exitConflict,
	tenantry.Transient: exitLater, tenantry.Throttled: exitLater, tenantry.Shared: exitLater,
	tenantry.Corrupt: exitDamaged, tenantry.WrongKey: exitDamaged,
	tenantry.Canceled: exitInterrupted,
}

// exitCode is what the process ends with.
func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case tenantry.CodeOf(err) == codeRun:
		return exitRun
	}
	if code, ok := exitCodes[tenantry.KindOf(err)]; ok {
		return code
	}
	return exitInternal
}

// execute runs the command line. What is wrong with the line itself, which cobra finds before
// any command begins, is Invalid.
func execute(root *cobra.Command) error {
	began := false
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { // cobra itself looks at flags that miss only after it
		began = cmd.ValidateRequiredFlags() == nil && cmd.ValidateFlagGroups() == nil
		return nil
	}
	command, err := root.ExecuteC()
	switch {
	case err == nil || began:
		return err
	case command.Runnable():
		return tenantry.Errorf(tenantry.Invalid, "%v; usage: %s", err, command.UseLine())
	}
	return tenantry.Errorf(tenantry.Invalid, "%w", err)
}

// complain tells a person, or a program that asked for JSON, what went wrong.
func complain(to io.Writer, err error, output string) {
	if output == asJSON {
		problem := map[string]any{"kind": tenantry.KindOf(err), "detail": err.Error(), "exit": exitCode(err)}
		if code := tenantry.CodeOf(err); code != "" {
			problem["code"] = code
		}
		if encoded, encodeErr := json.Marshal(problem); encodeErr == nil {
			fmt.Fprintln(to, string(encoded))
			return
		}
	}
	fmt.Fprintln(to, "tenantry:", err)
}
