// Command worker is the worker of a Tenantry fleet.
package main

import (
	"os"

	"github.com/tenantry/tenantry/internal/app"
)

func main() { os.Exit(app.Main(app.RoleWorker, os.Args[1:], os.Stderr)) }
