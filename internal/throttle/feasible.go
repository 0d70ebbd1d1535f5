package throttle

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Demand is what a number of a tenant's resources ask of one service.
type Demand struct {
	Service   tenantry.Service
	Resources int64
	Units     float64 // of each: resource units (identity, SharePoint), else requests
	// UploadBytes are those that are sent to each.
	UploadBytes float64
}

// Feasibility is how soon the accounts of a tenant can pay for demands.
type Feasibility struct {
	// Takes is how long at least it takes from full accounts on, with nothing else drawing
	// on them; Binding is the account that makes it so, "" if none does.
	Takes    time.Duration
	Binding  string
	Accounts []AccountTime // in the order of the limits' table
}

// AccountTime is what demands ask of one account.
type AccountTime struct {
	Name   string
	Units  float64       // that are asked for; of a mailbox's account, by the mailbox that asks for most
	Limit  int64         // in Window
	Window time.Duration // of the limit
	Takes  time.Duration // until it has given them all
}

// Feasibility tells how long it takes until the accounts of a tenant have paid for all of
// demands: a lower bound, since it leaves out the time that requests take, the reserve of
// restores and what other applications draw. Pure.
//
// A bucket gives at its rate. A ring gives its limit at once, and again when that has left
// its window; meanwhile the bucket beside it goes on to bound the last of it. Mailboxes
// have accounts of their own, and are served side by side.
func (l Limits) Feasibility(size Size, demands []Demand) Feasibility {
	bills := l.bills(size, demands)
	var f Feasibility
	for _, b := range bills {
		f.Accounts = append(f.Accounts, AccountTime{
			Name: b.Name, Units: b.units, Limit: b.Limit, Window: time.Duration(b.Window) * time.Millisecond, Takes: b.takes(b.units),
		})
		if takes := last(b, bills); takes > f.Takes {
			f.Takes, f.Binding = takes, b.Name
		}
	}
	return f
}

// bill is an account and what is asked of it.
type bill struct {
	account
	units    float64
	bytes    bool // that units are; nobody but a restore asks for them, all the time
	services []tenantry.Service
}

// bills lists the accounts that demands draw on.
func (l Limits) bills(size Size, demands []Demand) (list []*bill) {
	for _, d := range demands {
		if d.Resources <= 0 || d.Units <= 0 {
			continue
		}
		for _, a := range l.accounts(Call{Service: d.Service, Mailbox: "any", Units: 1, UploadBytes: int64(min(1, d.UploadBytes))}, size) {
			i := slices.IndexFunc(list, func(b *bill) bool { return b.Name == a.Name })
			if i < 0 {
				i, list = len(list), append(list, &bill{account: a})
			}
			b := list[i]
			b.services = append(b.services, d.Service)
			each := d.Units
			if b.bytes = a.Name == outlookUpload || a.Name == sharePointIn; b.bytes {
				each = d.UploadBytes
			}
			if strings.HasPrefix(a.Name, "outlook/") {
				b.units = max(b.units, each)
			} else {
				b.units += each * float64(d.Resources)
			}
		}
	}
	return list
}

// takes is how long the account needs to give so much.
func (b *bill) takes(units float64) time.Duration {
	switch {
	case b.bytes && units <= float64(b.Limit):
		return 0
	case b.bytes:
		return duration(units / float64(b.Limit) * float64(b.Window))
	case b.Ring:
		return duration(float64(b.rounds()) * float64(b.Window))
	}
	if units <= b.Cap {
		return 0
	}
	return duration(units / b.Rate)
}

// rounds is how many windows of a ring must pass before it can give the last of it.
func (b *bill) rounds() int64 {
	return int64(max(0, math.Ceil(b.units/float64(b.Limit))-1))
}

// last is when the last of a bill is paid. After a ring's last window has passed, what is
// left goes at the rate of the slowest bucket of the same requests.
func last(b *bill, bills []*bill) time.Duration {
	takes := b.takes(b.units)
	if !b.Ring || b.bytes || b.rounds() == 0 {
		return takes
	}
	left, rest := b.units-float64(b.rounds()*b.Limit), time.Duration(0)
	for _, other := range bills {
		if !other.Ring && slices.Contains(other.services, b.services[0]) {
			rest = max(rest, other.takes(left))
		}
	}
	return longest(takes, rest)
}

// longest adds, and stays at the longest time there is.
func longest(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// duration is a time of so many ms.
func duration(ms float64) time.Duration {
	if ns := ms * float64(time.Millisecond); ns < math.MaxInt64 {
		return time.Duration(ns)
	}
	return math.MaxInt64
}
