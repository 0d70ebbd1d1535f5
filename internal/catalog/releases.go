package catalog

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Two releases of the programs run on one schema while a fleet is upgraded, so that a migration only adds:
//
//	release N    uses the old column
//	release N+1  adds the new one, writes both, reads either
//	release N+2  drops the old one ("contract"), which no program of N+1 needs
//
// A program accepts a schema that is newer than its own, up to one release: whoever migrates to a release writes
// down the last migration of the release before, and a program that does not know that one refuses to start.

// released are the last migrations of the releases, the oldest first. Whoever makes a release adds its own.
var released = []int64{10}

// previous is the last migration of the release before this one.
func previous() int64 { return released[len(released)-1] }

// raiseFloor says that programs older than the release before this one can no longer use the schema.
func raiseFloor(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, fmt.Sprintf("UPDATE schema_floor SET migration = %d WHERE migration < %d", previous(), previous()))
	return err
}

// checkFloor returns Invalid when this program, which knows migrations up to newest, is too old for the schema.
func checkFloor(ctx context.Context, db *sql.DB, newest int64) error {
	var floor int64
	if err := db.QueryRowContext(ctx, "SELECT migration FROM schema_floor").Scan(&floor); err != nil {
		return wrap("read which programs the catalog is for", err)
	}
	if newest < floor {
		return tenantry.Errorf(tenantry.Invalid, "open catalog: its schema is for programs that know migration %d, and this one knows none after %d: "+
			"it is more than one release too old, start a newer one", floor, newest)
	}
	return nil
}

// checkOld returns Invalid when the schema is older than this program.
func checkOld(version, newest int64) error {
	if version < newest {
		return tenantry.Errorf(tenantry.Invalid, "open catalog: its schema is at migration %d, and this program needs %d: run tenantry migrate first", version, newest)
	}
	return nil
}
