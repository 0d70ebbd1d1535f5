package catalog

import (
	"fmt"
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

// words keeps one copy of each text that many rows share.
type words map[string]string

// wordsMax bounds how many texts are kept: a column that turns out to have more is scanned as any other.
const wordsMax = 1_000

// to returns what a row's column can be scanned into, for text.
func (w words) to(text *string) word { return word{text, w} }

// word implements pgtype.BytesScanner and sql.Scanner.
type word struct {
	text  *string
	known words
}

// ScanBytes takes bytes that are the driver's.
func (w word) ScanBytes(raw []byte) error {
	if text, ok := w.known[string(raw)]; ok {
		*w.text = text
		return nil
	}
	*w.text = string(raw)
	if len(w.known) < wordsMax {
		w.known[*w.text] = *w.text
	}
	return nil
}

// Scan takes what the driver made of a column.
func (w word) Scan(src any) error {
	switch src := src.(type) {
	case string:
		*w.text = src
	case []byte:
		return w.ScanBytes(src)
	default:
		return fmt.Errorf("cannot scan %T into a word", src)
	}
	return nil
}
