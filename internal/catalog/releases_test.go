package catalog

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// contractions are what programs of the release before may not survive.
var contractions = map[string]*regexp.Regexp{
	"drops a table or a column": regexp.MustCompile(`(?is)^DROP (TABLE|VIEW)\b|^ALTER TABLE\b.*\bDROP\b`),
	"renames":                   regexp.MustCompile(`(?is)^ALTER\b.*\bRENAME\b`),
	"changes a column":          regexp.MustCompile(`(?is)^ALTER TABLE\b.*\bALTER\b`),
	"adds a constraint":         regexp.MustCompile(`(?is)^ALTER TABLE\b.*\bADD (CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN|EXCLUDE)\b`),
	"adds a column that old programs leave out": regexp.MustCompile(`(?is)^ALTER TABLE\b.*\bADD (COLUMN )?[a-z_]+ .*\bNOT NULL\b`),
	"makes what is there unique":                regexp.MustCompile(`(?is)^CREATE UNIQUE INDEX\b`),
}

var (
	withDefault = regexp.MustCompile(`(?i)\b(DEFAULT|GENERATED ALWAYS)\b`)
	onTable     = regexp.MustCompile(`(?is)^CREATE UNIQUE INDEX\b.*?\bON ([a-z_]+) \(([a-z_]+)(.*\bWHERE\b)?`)
	announced   = regexp.MustCompile(`(?m)^-- contracts: ([0-9]+)$`)
)

// upStatements are the statements of the part Up, without comments.
func upStatements(text string) []string {
	up, _, _ := strings.Cut(text, "-- +goose Down")
	_, up, _ = strings.Cut(up, "-- +goose Up")
	up = regexp.MustCompile(`--[^\n]*`).ReplaceAllString(up, "")
	var out []string
	for statement := range strings.SplitSeq(up, ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			out = append(out, statement)
		}
	}
	return out
}

// breaks tells what a migration does that programs of the release before may not survive.
func breaks(text string) (found []string) {
	statements := upStatements(text)
	fresh := func(table string) bool {
		return slices.ContainsFunc(statements, func(s string) bool { return strings.HasPrefix(s, "CREATE TABLE "+table+" ") })
	}
	added := func(table, column string) bool {
		return slices.ContainsFunc(statements, func(s string) bool { return strings.HasPrefix(s, "ALTER TABLE "+table+" ADD COLUMN "+column+" ") })
	}
	for _, s := range statements {
		for what, pattern := range contractions {
			if !pattern.MatchString(s) {
				continue
			}
			if strings.HasPrefix(what, "adds a column") && withDefault.MatchString(s) {
				continue
			}
			// Old programs write nothing to a new table, and the default to a new column, which a condition leaves out.
			if m := onTable.FindStringSubmatch(s); m != nil && (fresh(m[1]) || added(m[1], m[2]) && m[3] != "") {
				continue
			}
			found = append(found, what+": "+s)
		}
	}
	return found
}

// A migration only adds. One that contracts says so in a line "-- contracts: N", where N is the migration that made the
// old way unneeded, which has to be in a release already: its programs do without what is taken away.
func TestMigrationsOnlyAdd(t *testing.T) {
	t.Parallel()
	versions := map[string][]int64{}
	for _, dialect := range []string{"postgres", "sqlite"} {
		err := fs.WalkDir(migrations, "migrations/"+dialect, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			number, _, _ := strings.Cut(filepath.Base(path), "_")
			version, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				return err
			}
			versions[dialect] = append(versions[dialect], version)
			text, err := fs.ReadFile(migrations, path)
			if err != nil || version <= released[0] { // before there was a release
				return err
			}
			if broken := breaks(string(text)); len(broken) > 0 && !allowed(string(text)) {
				t.Errorf("%s is not for programs of the release before:\n  %s", path, strings.Join(broken, "\n  "))
			}
			return nil
		})
		ok(t, err)
	}
	if !slices.Equal(versions["postgres"], versions["sqlite"]) {
		t.Errorf("the databases have migrations %v and %v", versions["postgres"], versions["sqlite"])
	}
	if !slices.IsSorted(released) || !slices.Contains(versions["sqlite"], previous()) {
		t.Errorf("releases end with migrations %v, of which there are %v", released, versions["sqlite"])
	}
}

// allowed reports whether a migration names what it contracts, and that was released.
func allowed(text string) bool {
	m := announced.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	since, err := strconv.ParseInt(m[1], 10, 64)
	return err == nil && since <= previous()
}

// TestBreaks holds that the check above can fail.
func TestBreaks(t *testing.T) {
	t.Parallel()
	for statement, bad := range map[string]bool{
		"DROP TABLE tasks":                                                                                    true,
		"ALTER TABLE tasks DROP COLUMN kind":                                                                  true,
		"ALTER TABLE tasks\n    DROP kind":                                                                    true,
		"alter table tasks rename column kind to sort":                                                        true,
		"ALTER TABLE tasks RENAME TO jobs":                                                                    true,
		"ALTER TABLE tasks ADD COLUMN kind text NOT NULL":                                                     true,
		"ALTER TABLE tasks ADD COLUMN kind text NOT NULL DEFAULT ''":                                          false,
		"ALTER TABLE tasks ADD COLUMN kind text":                                                              false,
		"ALTER TABLE tasks ALTER COLUMN kind SET NOT NULL":                                                    true,
		"ALTER TABLE tasks ALTER COLUMN kind TYPE bigint":                                                     true,
		"ALTER TABLE tasks ADD CONSTRAINT one CHECK (kind <> '')":                                             true,
		"CREATE UNIQUE INDEX one ON tasks (kind)":                                                             true,
		"CREATE TABLE tasks (\n  kind text); CREATE UNIQUE INDEX one ON tasks (kind)":                         false,
		"ALTER TABLE tasks ADD COLUMN kind text NOT NULL DEFAULT ''; CREATE UNIQUE INDEX one ON tasks (kind)": true,
		"ALTER TABLE tasks ADD COLUMN kind text NOT NULL DEFAULT ''; CREATE UNIQUE INDEX one ON tasks (kind) WHERE kind <> ''": false,
		"CREATE INDEX some ON tasks (kind)":                          false,
		"DROP INDEX some":                                            false,
		"CREATE TABLE jobs (kind text NOT NULL) -- DROP TABLE tasks": false,
	} {
		text := "-- +goose Up\n" + statement + ";\n-- +goose Down\nDROP TABLE jobs;"
		if got := breaks(text); (len(got) > 0) != bad {
			t.Errorf("%s: found %q", statement, got)
		}
		if allowed(text) || !allowed(fmt.Sprintf("-- contracts: %d\n%s", previous(), text)) || allowed(fmt.Sprintf("-- contracts: %d\n%s", previous()+1, text)) {
			t.Errorf("%s: what may contract", statement)
		}
	}
}

// A program takes a schema that is newer by a release, and refuses one that is newer by more, or older if it may not
// migrate.
func TestSchemaOfAnotherRelease(t *testing.T) {
	t.Parallel()
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := dsn(t)
			if _, err := OpenAsIs(t.Context(), address); tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), "run tenantry migrate first") {
				t.Fatalf("an empty database, as it is: %v", err)
			}
			c, err := Open(t.Context(), address)
			ok(t, err)
			defer c.Close()
			var newest, floor int64
			ok(t, c.writer.QueryRow("SELECT max(version_id) FROM goose_db_version").Scan(&newest))
			ok(t, c.writer.QueryRow("SELECT migration FROM schema_floor").Scan(&floor))
			if floor != previous() {
				t.Errorf("the floor is %d, want %d", floor, previous())
			}
			works := func(what string, open func() (*Catalog, error)) {
				t.Helper()
				again, err := open()
				if err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				ok(t, again.Close())
			}
			asIs := func() (*Catalog, error) { return OpenAsIs(t.Context(), address) }
			usual := func() (*Catalog, error) { return Open(t.Context(), address) }
			works("its own schema, as it is", asIs)
			exec := func(query string, args ...any) {
				t.Helper()
				_, err := c.writer.Exec(query, args...)
				ok(t, err)
			}
			// The next release adds migrations, and raises the floor to this one.
			exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, ?)", newest+5, true)
			exec("UPDATE schema_floor SET migration = ?", newest)
			works("the next release's schema", usual)
			works("the next release's schema, as it is", asIs)
			// The one after that contracts.
			exec("UPDATE schema_floor SET migration = ?", newest+5)
			for _, open := range []func() (*Catalog, error){usual, asIs} {
				if _, err := open(); tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), "more than one release too old") {
					t.Errorf("a schema of two releases later: %v", err)
				}
			}
		})
	}
}
