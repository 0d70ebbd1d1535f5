package report

import (
	"embed"
	"html/template"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// letter is what a mail says, before it is text and HTML.
type letter struct {
	subject string
	title   string
	lines   []string
	tables  []table
	footer  string
}

// table is a table of a letter; its columns but the first are numbers.
type table struct {
	Caption string
	Header  []string
	rows    [][]string
}

// Rows is for the template.
func (t table) Rows() [][]string { return t.rows }

const (
	// subjectRunes is the longest subject.
	subjectRunes = 150
	// tableRows bounds a table; what is left out is said.
	tableRows = 50
)

//go:embed letter.html
var layouts embed.FS

// page is made of tables with inline styles, which is what Outlook draws, and loads nothing.
var page = template.Must(template.ParseFS(layouts, "letter.html"))

// clean makes one line of text that may stand in a header: what would end a line, steer a terminal, or turn
// the direction of writing is gone. Names of tenants and policies come from outside.
func clean(text string, runes int) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
	}), " ")
	if utf8.RuneCountInString(text) > runes {
		text = string([]rune(text)[:runes-1]) + "…"
	}
	return text
}

// render returns the subject, the text and the HTML of the letter.
func (l letter) render() (subject, plain, html string, err error) {
	for i, t := range l.tables {
		if more := len(t.rows) - tableRows; more > 0 {
			rest := append([]string{"and " + number(int64(more)) + " more"}, make([]string, len(t.Header)-1)...)
			l.tables[i].rows = append(t.rows[:tableRows:tableRows], rest)
		}
	}
	var out strings.Builder
	err = page.Execute(&out, map[string]any{"Title": l.title, "Lines": l.lines, "Tables": l.tables, "Footer": l.footer})
	if err != nil {
		return "", "", "", tenantry.E(tenantry.Internal, "write a mail", err)
	}
	return clean(l.subject, subjectRunes), l.text(), out.String(), nil
}

// text is the letter as plain text.
func (l letter) text() string {
	var out strings.Builder
	line := func(s string) { out.WriteString(clean(s, 1000) + "\n") }
	line(l.title)
	for _, s := range l.lines {
		out.WriteByte('\n')
		line(s)
	}
	for _, t := range l.tables {
		out.WriteByte('\n')
		line(t.Caption)
		w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		for _, row := range append([][]string{t.Header}, t.rows...) {
			cells := make([]string, len(row))
			for i, cell := range row {
				cells[i] = clean(cell, 200)
			}
			_, _ = w.Write([]byte("  " + strings.Join(cells, "\t") + "\n")) // a strings.Builder takes everything
		}
		_ = w.Flush()
	}
	out.WriteString("\n-- \n")
	line(l.footer)
	return out.String()
}
