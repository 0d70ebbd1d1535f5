package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// TestSeen holds that what the demo compares tells apart what a person would.
func TestSeen(t *testing.T) {
	dir := t.TempDir()
	see := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "\n", "\r\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".eml") {
			line, err := readMail(filepath.Join(dir, name), "Inbox")
			if err != nil {
				t.Fatal(err)
			}
			return line
		}
		lines, err := rescuedCards(dir)
		if err != nil || len(lines) != 1 {
			t.Fatalf("%q, %v", lines, err)
		}
		return lines[0]
	}
	for name, c := range map[string]struct {
		text    string
		changes []string // one word by another, each of which shows
	}{
		"a.vcf": {"BEGIN:VCARD\nVERSION:4.0\nFN:Zoe Ray\nN:Ray;Zoe;;;\nEMAIL:zoe@x.example\nTEL;TYPE=work:+49 1\nORG:Contoso;Sales\nBDAY:19800131\nPHOTO:data:image/png;base64,AAAA\nEND:VCARD\n",
			[]string{"FN:Zoe -> FN:Zoë", "Ray;Zoe -> Roy;Zoe", "zoe@x -> zoe@y", "+49 1 -> +49 2", "TYPE=work -> TYPE=home", "Sales -> Legal", "0131 -> 0130", "AAAA -> AAAB"}},
		"a.ics": {"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VEVENT\nUID:1\nDTSTAMP:20260101T000000Z\nDTSTART:20260302T090000Z\nDTEND:20260302T100000Z\nSUMMARY:Sync\n" +
			"LOCATION:Room 1\nDESCRIPTION:Bring it\nATTENDEE;CN=Bob:mailto:bob@x.example\nRRULE:FREQ=WEEKLY;COUNT=5\nEXDATE:20260316T090000Z\nEND:VEVENT\nEND:VCALENDAR\n",
			[]string{"T090000Z -> T080000Z", "T100000Z -> T103000Z", "Sync -> Talk", "Room 1 -> Room 2", "Bring -> Leave", "CN=Bob -> CN=Rob", "bob@x -> rob@x", "COUNT=5 -> COUNT=6", "20260316 -> 20260323"}},
		"a.eml": {"From: Ann <ann@x.example>\nTo: Bob <bob@x.example>\nCc: Cid <cid@x.example>\nSubject: Hello\nDate: Mon, 02 Mar 2026 09:00:00 +0000\n" +
			"Message-Id: <1@x>\nContent-Type: text/plain\n\nBody\n",
			[]string{"Ann < -> Anna <", "ann@ -> eve@", "Bob < -> Rob <", "bob@ -> rob@", "cid@ -> sid@", "Hello -> Bye", "09:00:00 -> 10:00:00", "<1@x> -> <2@x>", "text/plain -> text/html", "Body -> Bo"}},
	} {
		was := see(name, c.text)
		for _, change := range c.changes {
			from, to, _ := strings.Cut(change, " -> ")
			if changed := strings.Replace(c.text, from, to, 1); changed == c.text || see(name, changed) == was {
				t.Errorf("%s: %q does not show in %s", name, change, was)
			}
		}
		_ = os.Remove(filepath.Join(dir, name))
	}
	if headOf(graphsim.MailSeen{From: "a", Sender: "a"}) != headOf(graphsim.MailSeen{From: "a"}) {
		t.Error("who sends for himself has no other sender")
	}
}
