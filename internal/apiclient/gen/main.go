// Command gen writes the OpenAPI 3.0 document of the API to the named file: what
// oapi-codegen reads.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/tenantry/tenantry/internal/api"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one argument, the file to write, got %d", len(args))
	}
	doc, err := api.OpenAPI()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, doc, "", "  "); err != nil {
		return fmt.Errorf("indent the document: %w", err)
	}
	out.WriteByte('\n')
	return os.WriteFile(args[0], out.Bytes(), 0o644)
}
