package workload

import (
	"slices"
	"strings"
	"sync"
)

// notes are what holds for much of what a restore wrote, each once. The zero value is ready; safe for concurrent use.
type notes struct {
	mu   sync.Mutex
	said []string
}

// What a restore says once, however many items it holds for.
const (
	attendeesNote = "attendees and organizers of restored events are kept in properties, and nobody is invited"
	tasksNote     = "restored tasks get the time of the restore as that of their creation"
	sealedNote    = "signed and encrypted mails are restored as Exchange shows them: the mail that their signature is of is whole in an export"
	rulesNote     = "restored rules are switched off: they were restored into a folder"
	settingsNote  = "the settings of the mailbox were left: only a restore that replaces, to the original places, writes them"
	versionsNote  = "old versions of files are not written: they are exported"
	pagesNote     = "pages that are written get the time of the restore and the application as author"
	// rowsNote is told before a restore, too (package api).
	rowsNote = "list items that are written get the time of the restore and the application as author"
)

func (n *notes) say(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.said, text) {
		n.said = append(n.said, text)
	}
}

// text is all that was said, in an order that does not depend on which item came first.
func (n *notes) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(slices.Sorted(slices.Values(n.said)), "; ")
}
