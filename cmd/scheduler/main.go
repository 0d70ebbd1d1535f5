// Command scheduler is the scheduler of a Tenantry fleet.
package main

import (
	"os"

	"github.com/tenantry/tenantry/internal/app"
)

func main() { os.Exit(app.Main(app.RoleScheduler, os.Args[1:], os.Stderr)) }
