package e2e

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTour runs the very lines of the README's tour, as an operator does: onboard a tenant by redirect, enable mail and
// then SharePoint, protect, back up and watch, restore, export, and read the mail about it; onboard another one by
// device code. Only the administrators' browsers are not the command line.
func TestTour(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "2", "--users", "2", "--mails", "12", "--files-per-user", "4", "--groups", "0", "--sites", "1", "--latency", "20ms")
	box := openBox(t)
	f.env = append(f.env, box.settings()...)
	f.scheduler("scheduler")
	f.worker("worker")
	sims := f.simTenants()
	contoso, fabrikam := tenant{Name: "Contoso", sim: sims[0]}, tenant{Name: "Fabrikam", sim: sims[1]}
	ada, bob := f.simUsers(contoso)[0], f.simUsers(fabrikam)[0]
	before := f.truths(contoso, ada.ID, "mail")

	// What the README names stands for what the simulator has; the policy's hour is far from now.
	w := &tourist{f: f, dir: t.TempDir(), means: strings.NewReplacer(
		"ada@contoso.com", ada.Address, "bob@fabrikam.com", bob.Address, "contoso.com", sims[0].Domain, "fabrikam.com", sims[1].Domain,
		"01:00 --time-zone Europe/Vienna", time.Now().UTC().Add(12*time.Hour).Format("15:04")+" --time-zone UTC",
	)}
	for _, line := range tour(t) {
		command := strings.Join(strings.Fields(line)[1:3], " ")
		switch said := ""; command {
		case "tenants consent":
			link := regexp.MustCompile(`https?://\S+`).FindString(w.run(line))
			says(t, "the administrator's page", f.browse(link+"&auto=accept&as="+sims[0].ID), "Consent received", "Contoso")
		case "tenants register":
			w.register(line, fabrikam)
		case "workloads list":
			eventually(t, line, func() (bool, string) {
				said = w.run(line)
				return !enabledAndNotReady.MatchString(said), said
			})
		case "runs start", "restore Contoso":
			if said = w.run(line); !strings.Contains(said, "done") || strings.Contains(said, "1 failed") {
				t.Errorf("%s says\n%s", line, said)
			}
		default:
			w.run(line)
		}
	}

	same(t, "restored mail", writable(relative(before)), under(f.truths(contoso, ada.ID, "mail"), "Restored"))
	archive, err := zip.OpenReader(filepath.Join(w.dir, "mail.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	mails := 0
	for _, entry := range archive.File {
		if strings.HasSuffix(entry.Name, ".eml") {
			mails++
		}
	}
	if mails != len(before) {
		t.Errorf("the export has %d mails of %d", mails, len(before))
	}
	box.await(ada.Address, "Contoso: Mailboxes: first backup is complete")
	box.await(ada.Address, "Contoso: backup report, all is well")
	// Two users have a mailbox and a drive each; of the other tenant mail alone is enabled, and one user was named.
	for name, tasks := range map[string]float64{"Contoso": 4, "Fabrikam": 1} {
		run := field(f.cli("runs", "list", name, "--action", "backup"), "items", 0)
		if field(run, "state") != "done" || field(run, "tasks_done") != tasks {
			t.Errorf("the backup of %s: %v", name, run)
		}
		if found := f.cli("runs", "find", field(run, "reference").(string)); field(found, "items", 0, "id") != field(run, "id") {
			t.Errorf("%v finds %v", field(run, "reference"), found)
		}
	}
	if top := f.cli("top", "--once"); field(top, "items", 0) != nil {
		t.Errorf("the fleet has nothing to do, and top shows %v", top)
	}
}

// enabledAndNotReady is a line of tenantry workloads list.
var enabledAndNotReady = regexp.MustCompile(`(?m)^\w+ +yes +(unauthorised|authorised|enabling|listing|failed)`)

// tour reads the commands of the README's tour.
func tour(t *testing.T) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("\n## A tour\n"))
	text, _, _ = bytes.Cut(text, []byte("\n## "))
	for line := range strings.Lines(string(text)) {
		if command, ok := strings.CutPrefix(line, "    tenantry "); ok {
			lines = append(lines, "tenantry "+strings.TrimSpace(command))
		}
	}
	if len(lines) < 15 {
		t.Fatalf("the README's tour has %d commands", len(lines))
	}
	return lines
}

// tourist types commands into a shell.
type tourist struct {
	f     *fleet
	dir   string
	means *strings.Replacer
}

func (w *tourist) shell(line string) *exec.Cmd {
	cmd := exec.CommandContext(w.f.t.Context(), "/bin/sh", "-c", w.means.Replace(line))
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "TENANTRY_URL="+w.f.api, "TENANTRY_TOKEN="+w.f.token, "PATH="+programs+":"+os.Getenv("PATH"))
	return cmd
}

// run types a line and returns all that is said.
func (w *tourist) run(line string) string {
	w.f.t.Helper()
	out, err := w.shell(line).CombinedOutput()
	if err != nil {
		w.f.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// register types a line that shows a code, enters that as the administrator, and waits for the end.
func (w *tourist) register(line string, tn tenant) {
	w.f.t.Helper()
	cmd := w.shell(line)
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := cmd.Start(); err != nil {
		w.f.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		_ = writer.Close()
		ended <- err
	}()
	var said strings.Builder
	scanner, entered := bufio.NewScanner(reader), false
	for scanner.Scan() {
		said.WriteString(scanner.Text() + "\n")
		if _, rest, ok := strings.Cut(scanner.Text(), "enters the code "); ok && !entered {
			code, _, _ := strings.Cut(rest, ",")
			w.f.enterCode(tn, code)
			entered = true
		}
	}
	if err := <-ended; err != nil || !entered || !strings.Contains(said.String(), "done") {
		w.f.t.Fatalf("%s: %v\n%s", line, err, said.String())
	}
}

// cli runs a command of the command line and returns what it shows as JSON.
func (f *fleet) cli(args ...string) map[string]any {
	f.t.Helper()
	var found map[string]any
	out := f.run("tenantry", append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		f.t.Fatalf("tenantry %s: %v in %s", strings.Join(args, " "), err, out)
	}
	return found
}

// field walks down what JSON shows, nil where there is nothing.
func field(found any, path ...any) any {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := found.(map[string]any)
			found = m[s]
		case int:
			list, _ := found.([]any)
			if s >= len(list) {
				return nil
			}
			found = list[s]
		}
	}
	return found
}
