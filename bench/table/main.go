// Command table writes what a benchmark printed into docs/BENCHMARKS.md:
//
//	go run ./bench/table -section graphsim go run ./bench/graphsim
//
// It runs the command behind its flags (without one it reads standard input),
// repeats its lines of "name value unit" on standard output, and replaces the table of that section, which it finds between
// two markers; a section that is not there is added at the end. So every benchmark
// keeps its own table in one page, and nobody writes figures by hand. A line with
// a comment sign in front stands below the table as a remark; any other line is an
// error. After an error, the command's own included, nothing is written.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

func main() {
	file := flag.String("file", "docs/BENCHMARKS.md", "page to write into")
	section := flag.String("section", "", "name of the table, one word")
	flag.Parse()
	in, wait, err := source(flag.Args())
	if err == nil {
		err = run(*file, *section, &complete{Reader: in, wait: wait}, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

// source starts a command and returns its output and how to wait for its end.
func source(command []string) (in io.Reader, wait func() error, err error) {
	if len(command) == 0 {
		return os.Stdin, func() error { return nil }, nil
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return out, cmd.Wait, cmd.Start()
}

// complete turns the end of a command that failed into an error of its output.
type complete struct {
	io.Reader
	wait func() error
}

func (c *complete) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != io.EOF {
		return n, err
	}
	if failed := c.wait(); failed != nil {
		return n, fmt.Errorf("the benchmark: %w", failed)
	}
	c.wait = func() error { return nil }
	return n, io.EOF
}

func run(file, section string, in io.Reader, out io.Writer) error {
	if section == "" || strings.ContainsAny(section, " \t<>") {
		return fmt.Errorf("-section %q is not one word", section)
	}
	measured, err := read(in, out)
	if err != nil {
		return err
	}
	page, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	next, err := replace(string(page), section, measured.table(section))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(next), 0o644)
}

// results is what one run of a benchmark measured.
type results struct {
	rows    [][3]string // name, value, unit
	remarks []string
}

// read takes the lines apart, and repeats them for whoever watches.
func read(in io.Reader, out io.Writer) (r results, err error) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		fmt.Fprintln(out, line)
		if remark, ok := strings.CutPrefix(line, "#"); ok {
			r.remarks = append(r.remarks, strings.TrimSpace(remark))
			continue
		}
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return results{}, fmt.Errorf("line %q is not a name, a value and a unit", line)
		}
		if _, err := strconv.ParseFloat(fields[1], 64); err != nil {
			return results{}, fmt.Errorf("line %q: the value is no number", line)
		}
		r.rows = append(r.rows, [3]string(fields))
	}
	if len(r.rows) == 0 && lines.Err() == nil {
		return results{}, errors.New("nothing was measured")
	}
	return r, lines.Err()
}

func (r results) table(section string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Written by `make bench-%s` on %s/%s with %d cores.\n\n", section, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	b.WriteString("| measure | value | unit |\n| --- | ---: | --- |\n")
	for _, row := range r.rows {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", row[0], row[1], row[2])
	}
	for _, remark := range r.remarks {
		fmt.Fprintf(&b, "\n%s\n", remark)
	}
	return b.String()
}

// replace puts a table between the markers of its section, which are made when
// they are not there.
func replace(page, section, table string) (string, error) {
	begin, end := "<!-- bench:"+section+" -->\n", "<!-- /bench:"+section+" -->\n"
	if page == "" {
		page = "# Benchmarks\n\nThe tables are written by the commands they name, never by hand. The machines are noisy: trust ratios.\n"
	}
	before, rest, found := strings.Cut(page, begin)
	if !found {
		return page + "\n## " + section + "\n\n" + begin + table + end, nil
	}
	_, after, closed := strings.Cut(rest, end)
	if !closed {
		return "", fmt.Errorf("section %s does not end with %s", section, strings.TrimSpace(end))
	}
	return before + begin + table + end + after, nil
}
