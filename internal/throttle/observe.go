package throttle

import (
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Observer is told what a book lets wait and what Microsoft answers. Called from several
// goroutines; must not block.
type Observer interface {
	// Waited tells how long a call waited in place before it was granted, and for which
	// account in the end (see AccountOf).
	Waited(account string, d time.Duration)
	// Throttled tells of an answer of Microsoft that asks to wait.
	Throttled(service tenantry.Service, status int)
}

// Observe sets who is told. Call it before the book is used.
func (b *Book) Observe(o Observer) { b.observer = o }

// silent is the observer of a book that nobody observes.
type silent struct{}

func (silent) Waited(string, time.Duration)    {}
func (silent) Throttled(tenantry.Service, int) {}

// AccountNames lists what AccountOf can return with the documented kinds of requests to
// Teams, Answered, and Unavailable, sorted: the values of a label.
func AccountNames() []string {
	names := append(slices.Clone(accountNames), Answered, Unavailable, "cooldown/mailbox")
	for kind := range Documented().Teams.Kinds {
		names = append(names, appTeams+kind, teamsTenant+kind, teamsResource+kind)
	}
	for _, s := range []tenantry.Service{tenantry.Identity, tenantry.Outlook, tenantry.SharePoint, tenantry.Teams} {
		names = append(names, "cooldown/tenant/"+string(s), "cooldown/app/"+string(s))
	}
	slices.Sort(names)
	return names
}
