package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// mailboxKinds are what a mailbox holds besides settings, and how the simulator's truth names where each thing
// lies.
var mailboxKinds = map[string]string{"mail": "path", "contacts": "path", "events": "calendar", "todo": "list"}

// TestMailboxOfEverything takes a mailbox with mail, contacts, calendars, tasks, rules and categories through a first
// backup, in which its worker is killed, and three incrementals, all under faults. The last snapshot, restored to its
// original places in an empty mailbox, and the others, restored to folders of their own there, are the truth of their
// times, but for what the service itself cannot keep: links among attachments, which v1.0 cannot write
// (referenceAttachment resource type), and attendees, who would be invited ("Create event"). Nothing is sent.
func TestMailboxOfEverything(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "1", "--users", "1", "--mails", "90", "--contacts", "25", "--events", "25", "--tasks", "20",
		"--files-per-user", "0", "--groups", "0", "--sites", "0", "--page-size", "20", "--limits", simulatedLimits(t))
	f.scheduler("scheduler")
	f.worker("first", f.little()...)
	tn := f.connect(f.simTenants()[0])
	from := f.simUsers(tn)[0]
	source := f.userOf(tn, from.ID)
	for _, path := range []string{"/messages/delta", "/contacts/delta", "/events", "/tasks/delta", "/attachments"} {
		f.fault(map[string]any{"path": path, "kind": "cut", "every": 7, "count": 4})
		f.fault(map[string]any{"path": path, "status": 503, "every": 11, "count": 3})
	}
	f.fault(map[string]any{"path": "/messages/delta", "kind": "gone", "nth": 9})

	var truths []map[string][]string
	var seqs []int64
	for round := range 4 {
		if round > 0 {
			f.simulate("POST", "/tenants/"+tn.sim.ID+"/churn", map[string]any{"seed": round, "n": 60}, nil)
		}
		r := f.backupOf(tn, []string{"mailbox"}, source)
		if round == 0 {
			trial{fleet: f, tn: tn}.killedAt("/messages/[^/]+/attachments")
		}
		f.awaitDone(tn, r)
		truths, seqs = append(truths, f.mailboxTruth(tn, from, "")), append(seqs, f.latest(tn, source, "mailbox").Seq)
	}
	to := simUser{ID: f.mutate(tn, "newUser", map[string]any{"name": "Empty"}), Name: "Empty"}
	f.refresh(tn)
	for round, want := range slices.Backward(truths) {
		folder := fmt.Sprint("Back", round)
		if round == len(truths)-1 {
			folder = ""
		}
		f.awaitDone(tn, f.restore(tn, map[string]any{"resource": source.ID, "workload": "mailbox", "snapshot": seqs[round],
			"to": "u-" + to.ID, "folder": folder}))
		got := f.mailboxTruth(tn, to, folder)
		for _, kind := range slices.Sorted(maps.Keys(want)) {
			if !slices.Equal(want[kind], got[kind]) {
				t.Errorf("snapshot %d, %s: %d of %d came back; %s", seqs[round], kind, len(got[kind]), len(want[kind]), firstDifference(want[kind], got[kind]))
			}
		}
		t.Logf("snapshot %d: %d mails, %d contacts, %d events, %d tasks are as they were", seqs[round], len(want["mail"]), len(want["contacts"]),
			len(want["events"]), len(want["todo"]))
	}
	for _, u := range []simUser{from, to} {
		if sent := f.truths(tn, u.ID, "sent"); len(sent) > 0 {
			t.Errorf("%s has sent %d messages", u.Name, len(sent))
		}
	}
}

// mailboxTruth is what a mailbox holds of each kind, in folders, calendars and lists that were restored to a
// folder, or all that is its own, a line each.
func (f *fleet) mailboxTruth(tn tenant, u simUser, folder string) map[string][]string {
	f.t.Helper()
	below := map[string]string{"mail": folder + "/", "contacts": "Contacts/" + folder + "/", "events": folder + " - ", "todo": folder + " - "}
	all := map[string][]string{}
	for kind, place := range mailboxKinds {
		all[kind] = []string{}
		for _, line := range f.truthLines(tn, u.ID, kind) {
			var x map[string]any
			if err := json.Unmarshal(line, &x); err != nil {
				f.t.Fatal(err)
			}
			at, inside := fmt.Sprint(x[place]), true
			if folder != "" {
				at, inside = strings.CutPrefix(at, below[kind])
			}
			if !inside || x["shared"] == true {
				continue
			}
			delete(x, "id")
			delete(x, "attendees")
			x[place] = at
			withoutLinks(x)
			text, err := json.Marshal(x)
			if err != nil {
				f.t.Fatal(err)
			}
			all[kind] = append(all[kind], string(text))
		}
		slices.Sort(all[kind])
	}
	return all
}

// withoutLinks takes what Graph cannot write out of the attachments of an item and of its exceptions.
func withoutLinks(x map[string]any) {
	if list, ok := x["attachments"].([]any); ok {
		x["attachments"] = slices.DeleteFunc(list, func(a any) bool { m, _ := a.(map[string]any); return isLink(m) })
	}
	exceptions, _ := x["exceptions"].([]any)
	for _, e := range exceptions {
		if exception, ok := e.(map[string]any); ok {
			withoutLinks(exception)
		}
	}
}

func firstDifference(want, got []string) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return "missing " + want[i]
		case i >= len(want):
			return "surplus " + got[i]
		case want[i] != got[i]:
			return "expected " + want[i] + "\nsaw " + got[i]
		}
	}
	return "nothing differs"
}
