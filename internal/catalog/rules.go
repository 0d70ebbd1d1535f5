package catalog

import (
	"cmp"
	"slices"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Reach is how a policy reaches a resource. The nearer reach decides which of several
// policies protects a workload: whoever is named is meant more than whoever is among many.
type Reach string

// The reaches, nearest first.
const (
	ReachChosen Reach = "chosen" // named by itself
	ReachGroup  Reach = "group"  // a member of a group that is named
	ReachKind   Reach = "kind"   // one of all resources of its kind
	ReachNone   Reach = ""       // not at all
)

var reachRank = map[Reach]int{ReachChosen: 0, ReachGroup: 1, ReachKind: 2, ReachNone: 3}

// comparePrecedence is the one rule by which one of several policies protects a workload
// of a resource: the nearest reach, of these the oldest policy, of these the lowest ID. It
// is a total order of policies.
func comparePrecedence(a Policy, reachA Reach, b Policy, reachB Reach) int {
	return cmp.Or(cmp.Compare(reachRank[reachA], reachRank[reachB]), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// Standing is why a resource is protected, or why not.
type Standing string

// The standings of active resources. Of several reasons the one that is nearest to
// protection counts: the order of standingRank.
const (
	StandingCovered    Standing = "covered"         // a policy protects at least one of its workloads
	StandingNoSeat     Standing = "no_seat"         // seats are assigned by hand, and it has none
	StandingQuota      Standing = "quota"           // the hard quota of seats is used up
	StandingAwaitsHour Standing = "awaits_hour"     // taken in at the policy's time of day
	StandingLater      Standing = "came_later"      // the policy took in those who were there, once
	StandingDraft      Standing = "draft"           // only a draft covers it
	StandingWorkloads  Standing = "other_workloads" // a policy covers it, but backs up nothing that it has
	StandingExcluded   Standing = "excluded"        // a policy excludes it, and none covers it
	StandingNoPolicy   Standing = "no_policy"       // no policy covers it
	StandingNotEnabled Standing = "not_enabled"     // no workload that it has is enabled for the tenant
	StandingNothing    Standing = "nothing"         // it has no data that could be backed up
	standingNone       Standing = ""                // it is not active
)

var standingRank = map[Standing]int{
	StandingNoSeat: 1, StandingQuota: 1, StandingAwaitsHour: 2, StandingLater: 3, StandingDraft: 4, StandingWorkloads: 5,
	StandingExcluded: 6, StandingNoPolicy: 7, StandingNotEnabled: 8, StandingNothing: 9,
}

// nearer returns the one of two reasons that counts.
func nearer(a, b Standing) Standing {
	if standingRank[b] < standingRank[a] {
		return b
	}
	return a
}

// plan is a policy with its lists as sets.
type plan struct {
	Policy
	chosen, excluded       map[tenantry.ResourceID]bool
	groups, excludedGroups map[string]bool
}

func newPlan(p Policy) plan {
	return plan{
		Policy: p, chosen: setOf(p.Targets.Chosen), excluded: setOf(p.Targets.Exclude),
		groups: setOf(p.Targets.Groups), excludedGroups: setOf(p.Targets.ExcludeGroups),
	}
}

func setOf[T comparable](list []T) map[T]bool {
	set := make(map[T]bool, len(list))
	for _, item := range list {
		set[item] = true
	}
	return set
}

// reach is how the plan reaches a resource that is in groups, and whether it excludes it.
func (p plan) reach(r resourceRow, groups []string) (reach Reach, excluded bool) {
	switch {
	case p.chosen[r.ID]:
		reach = ReachChosen
	case slices.ContainsFunc(groups, func(g string) bool { return p.groups[g] }):
		reach = ReachGroup
	case slices.Contains(p.Kinds, r.Kind):
		reach = ReachKind
	}
	return reach, p.excluded[r.ID] || slices.Contains(p.Targets.ExcludeSubkinds, r.subkind()) || slices.ContainsFunc(groups, func(g string) bool { return p.excludedGroups[g] })
}

// covers is whether the plan means the resource.
func (p plan) covers(r resourceRow, groups []string) bool {
	reach, excluded := p.reach(r, groups)
	return reach != ReachNone && !excluded
}

// The causes of enrolments.
const (
	causeActivation = "activation" // it was there when the policy was activated
	causePerson     = "person"     // somebody activated the policy for it
	causeSync       = "sync"       // found by a sync, or by a group's members
	causeHour       = "hour"       // at the policy's time of day
	causeChange     = "change"     // a change of the policy reached it
)

// act is what somebody just did: for which policies it takes in a resource that they
// cover, and by which cause; "" for those it does not. nil is nothing.
type act func(p plan, r resourceRow, groups []string) (cause string)

// takeIn takes in everybody whom the policy covers.
func takeIn(id tenantry.PolicyID, cause string) act {
	return func(p plan, _ resourceRow, _ []string) string {
		if p.ID == id {
			return cause
		}
		return ""
	}
}

// takeInThese takes in some by name.
func takeInThese(id tenantry.PolicyID, only []tenantry.ResourceID) act {
	chosen := setOf(only)
	return func(p plan, r resourceRow, _ []string) string {
		if p.ID == id && chosen[r.ID] {
			return causePerson
		}
		return ""
	}
}

// takeInAdded takes in whom a change of an active policy reaches that it did not reach before.
func takeInAdded(old, next Policy) act {
	before := newPlan(old)
	return func(p plan, r resourceRow, groups []string) string {
		if p.ID == next.ID && p.State == PolicyActive && !before.covers(r, groups) {
			return causeChange
		}
		return ""
	}
}

// takeInMembers takes in the members of a group that is listed for the first time.
func takeInMembers(group string) act {
	return func(p plan, _ resourceRow, groups []string) string {
		if p.State == PolicyActive && p.Enrol == EnrolPresent && p.groups[group] && slices.Contains(groups, group) {
			return causeActivation
		}
		return ""
	}
}

// facts are what is known of one resource.
type facts struct {
	resourceRow
	has      []tenantry.Workload // of its workloads, those that are enabled
	groups   []string            // that policies name and it is a member of
	enrolled map[tenantry.PolicyID]bool
}

// verdict is what the rules make of the facts about a resource, but for its seat.
type verdict struct {
	wins   map[tenantry.Workload]plan           // who protects which workload
	taken  map[tenantry.PolicyID]string         // policies that take it in now, by cause
	reason Standing                             // if nobody protects it, why
	told   map[tenantry.PolicyID]policyStanding // each policy's part in it
}

type policyStanding struct {
	reach    Reach
	excluded bool
	enrolled bool
	standing Standing
}

// judge applies the rules to one resource. It is pure.
func judge(plans []plan, f facts, joins act) verdict {
	v := verdict{
		wins: map[tenantry.Workload]plan{}, taken: map[tenantry.PolicyID]string{}, reason: StandingNoPolicy,
		told: map[tenantry.PolicyID]policyStanding{},
	}
	if f.State != tenantry.Active {
		v.reason = standingNone
		return v
	}
	switch {
	case f.Workloads == "":
		v.reason = StandingNothing
	case len(f.has) == 0:
		v.reason = StandingNotEnabled
	}
	reaches := map[tenantry.Workload]Reach{}
	for _, p := range plans {
		told := v.meet(p, f, joins)
		v.told[p.ID] = told
		if len(f.has) > 0 {
			v.reason = nearer(v.reason, told.standing)
		}
		if told.standing != StandingCovered {
			continue
		}
		for _, w := range p.Workloads {
			best, taken := v.wins[w]
			if slices.Contains(f.has, w) && (!taken || comparePrecedence(p.Policy, told.reach, best.Policy, reaches[w]) < 0) {
				v.wins[w], reaches[w] = p, told.reach
			}
		}
	}
	return v
}

// meet is one policy's part in what becomes of a resource. It takes the resource in, if it does.
func (v verdict) meet(p plan, f facts, joins act) policyStanding {
	told := policyStanding{standing: StandingNoPolicy, enrolled: f.enrolled[p.ID]}
	told.reach, told.excluded = p.reach(f.resourceRow, f.groups)
	switch {
	case told.reach == ReachNone:
		return told
	case told.excluded:
		told.standing = StandingExcluded
		return told
	}
	if !told.enrolled {
		cause := ""
		if joins != nil {
			cause = joins(p, f.resourceRow, f.groups)
		}
		if cause == "" && p.State == PolicyActive && p.Enrol == EnrolAutomatic {
			cause = causeSync
		}
		if cause != "" {
			v.taken[p.ID], told.enrolled = cause, true
		}
	}
	told.standing = p.standingOf(told.enrolled, f.has)
	return told
}

// standingOf is what the policy makes of a resource that it covers.
func (p plan) standingOf(enrolled bool, has []tenantry.Workload) Standing {
	switch {
	case !enrolled && p.State == PolicyDraft:
		return StandingDraft
	case !enrolled && p.Enrol == EnrolDaily:
		return StandingAwaitsHour
	case !enrolled:
		return StandingLater
	case !slices.ContainsFunc(p.Workloads, func(w tenantry.Workload) bool { return slices.Contains(has, w) }):
		return StandingWorkloads
	}
	return StandingCovered
}
