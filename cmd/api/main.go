// Command api is the api of a Tenantry fleet.
package main

import (
	"os"

	"github.com/tenantry/tenantry/internal/app"
)

func main() { os.Exit(app.Main(app.RoleAPI, os.Args[1:], os.Stderr)) }
