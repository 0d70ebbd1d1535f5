package catalog

import (
	"strings"
	"unicode/utf8"

	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

// Names and subjects come from Microsoft 365 as anybody wrote them. No database keeps NUL,
// and Postgres nothing that is not UTF-8: such characters become U+FFFD, so that one
// subject cannot keep a task from being settled.

type postgresDialect struct{ *pgdialect.Dialect }

// AppendString writes a literal.
func (d postgresDialect) AppendString(b []byte, s string) []byte {
	return d.Dialect.AppendString(b, storable(s))
}

type sqliteDialect struct{ *sqlitedialect.Dialect }

// AppendString writes a literal.
func (d sqliteDialect) AppendString(b []byte, s string) []byte {
	return d.Dialect.AppendString(b, storable(s))
}

func storable(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
