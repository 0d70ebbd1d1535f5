package engine

import (
	"bytes"
	"io"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
)

// mboxFrame writes a message into a mailbox file in the way of mboxrd (RFC 4155 names the family): a line that
// says from whom and when, lines that look like one quoted, line feeds alone, and an empty line behind.
func mboxFrame(e repository.Entry, w io.Writer) io.WriteCloser {
	from := "MAILER-DAEMON"
	if fields := strings.Fields(e.From); len(fields) > 0 {
		from = oneLine(fields[len(fields)-1]) // the address comes last
	}
	m := &mboxWriter{w: w}
	_, m.err = io.WriteString(w, "From "+from+" "+firstTime(e.Date, e.Modified, time.Unix(0, 0)).UTC().Format(time.ANSIC)+"\n")
	return m
}

// mboxWriter takes a message apart into lines.
type mboxWriter struct {
	w      io.Writer
	line   []byte
	within bool // line goes on with one that was too long
	err    error
}

// longLine bounds the memory for a line.
const longLine = 64 << 10

// Write implements io.Writer.
func (m *mboxWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && m.err == nil {
		size := bytes.IndexByte(p, '\n') + 1
		whole := size > 0
		if !whole {
			size = min(len(p), longLine)
		}
		m.line, p, n = append(m.line, p[:size]...), p[size:], n+size
		if whole || len(m.line) >= longLine {
			m.put(whole)
		}
	}
	return n, m.err
}

// put writes the line at hand.
func (m *mboxWriter) put(whole bool) {
	line := m.line
	if bytes.HasSuffix(line, []byte("\r\n")) {
		line = append(line[:len(line)-2], '\n')
	}
	if !m.within && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
		line = append([]byte{'>'}, line...)
	}
	if m.err == nil {
		_, m.err = m.w.Write(line)
	}
	m.line, m.within = m.line[:0], !whole
}

// Close implements io.Closer.
func (m *mboxWriter) Close() error {
	end := "\n"
	if len(m.line) > 0 {
		m.put(false)
		end = "\n\n"
	}
	if m.err == nil {
		_, m.err = io.WriteString(m.w, end)
	}
	return m.err
}

const (
	calendarHead = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Tenantry//export//EN\r\n"
	calendarTail = "END:VCALENDAR\r\n"
)

// calendarFrame takes the events out of the calendar of one, which is small, to go into that of all.
func calendarFrame(_ repository.Entry, w io.Writer) io.WriteCloser { return &eventsOf{w: w} }

type eventsOf struct {
	w   io.Writer
	all bytes.Buffer
}

func (e *eventsOf) Write(p []byte) (int, error) { return e.all.Write(p) }

// Close implements io.Closer.
func (e *eventsOf) Close() error {
	text := e.all.Bytes()
	begin, end := bytes.Index(text, []byte("BEGIN:VEVENT\r\n")), bytes.LastIndex(text, []byte(calendarTail))
	if begin < 0 || end < begin {
		return nil // an event that could not be written
	}
	_, err := e.w.Write(text[begin:end])
	return err
}
