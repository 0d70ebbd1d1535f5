package catalog

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Targets are what a policy names besides kinds. An exclusion is stronger than everything
// that includes.
type Targets struct {
	Chosen        []tenantry.ResourceID // these resources
	Groups        []string              // the users in these groups, and in groups of theirs; Entra object IDs
	Exclude       []tenantry.ResourceID // but not these
	ExcludeGroups []string              // nor the users in these groups
	// ExcludeSubkinds leaves out these kinds of mailboxes, groups and sites.
	ExcludeSubkinds []tenantry.Subkind
}

// MaxTargets bounds each list of Targets.
const MaxTargets = 10_000

// The roles of rows of policy_targets.
const (
	roleChosen        = "chosen"
	roleGroup         = "group"
	roleExcluded      = "excluded"
	roleExcludedGroup = "excluded_group"
	roleExcludedKind  = "excluded_subkind"
)

func (s Targets) empty() bool { return len(s.Chosen) == 0 && len(s.Groups) == 0 }

// Names reports whether a group is among the targets or exclusions.
func (s Targets) Names(group string) bool {
	return slices.Contains(s.Groups, group) || slices.Contains(s.ExcludeGroups, group)
}

func (s Targets) equal(o Targets) bool {
	ours, theirs := s.roles(), o.roles()
	for role, list := range ours {
		if !slices.Equal(slices.Compact(slices.Sorted(slices.Values(list))), slices.Compact(slices.Sorted(slices.Values(theirs[role])))) {
			return false
		}
	}
	return true
}

var groupID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (s Targets) validate() error {
	for role, list := range s.roles() {
		if len(list) > MaxTargets {
			return tenantry.Errorf(tenantry.Invalid, "policy: %d %s are more than %d", len(list), role, MaxTargets)
		}
		for _, subject := range list {
			if subject == "" {
				return tenantry.Errorf(tenantry.Invalid, "policy: one of %s is empty", role)
			}
			if (role == roleGroup || role == roleExcludedGroup) && !groupID.MatchString(subject) {
				return tenantry.Errorf(tenantry.Invalid, "policy: %s %q is no Entra object ID in small letters", role, subject)
			}
			if role == roleExcludedKind && !tenantry.Subkind(subject).Known() {
				return tenantry.Errorf(tenantry.Invalid, "policy: there is no kind %q of mailbox, group or site", subject)
			}
		}
	}
	return nil
}

// roles are the lists as they are stored.
func (s Targets) roles() map[string][]string {
	return map[string][]string{
		roleChosen: texts(s.Chosen), roleExcluded: texts(s.Exclude), roleGroup: s.Groups, roleExcludedGroup: s.ExcludeGroups,
		roleExcludedKind: texts(s.ExcludeSubkinds),
	}
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, word := range list {
		out[i] = string(word)
	}
	return out
}

// readTargets reads what all policies of the tenant name.
func (t *Tenant) readTargets(ctx context.Context, db bun.IDB) (map[tenantry.PolicyID]Targets, error) {
	var found []struct {
		Policy  tenantry.PolicyID
		Role    string
		Subject string
	}
	err := db.NewRaw("SELECT policy, role, subject FROM policy_targets WHERE tenant = ? ORDER BY policy, role, subject", t.id).Scan(ctx, &found)
	out := map[tenantry.PolicyID]Targets{}
	for _, row := range found {
		s := out[row.Policy]
		switch row.Role {
		case roleChosen:
			s.Chosen = append(s.Chosen, tenantry.ResourceID(row.Subject))
		case roleExcluded:
			s.Exclude = append(s.Exclude, tenantry.ResourceID(row.Subject))
		case roleGroup:
			s.Groups = append(s.Groups, row.Subject)
		case roleExcludedGroup:
			s.ExcludeGroups = append(s.ExcludeGroups, row.Subject)
		case roleExcludedKind:
			s.ExcludeSubkinds = append(s.ExcludeSubkinds, tenantry.Subkind(row.Subject))
		}
		out[row.Policy] = s
	}
	return out, err
}

// writeTargets makes the rows of a policy what it names.
func (t *Tenant) writeTargets(ctx context.Context, tx bun.Tx, p Policy) error {
	if _, err := exec(ctx, tx, "DELETE FROM policy_targets WHERE tenant = ? AND policy = ?", t.id, p.ID); err != nil {
		return err
	}
	var fresh rows
	for role, list := range p.Targets.roles() {
		for _, subject := range slices.Compact(slices.Sorted(slices.Values(list))) {
			fresh = append(fresh, []any{t.id, p.ID, role, subject})
		}
	}
	for chunk := range slices.Chunk(fresh, batch) {
		if _, err := exec(ctx, tx, "INSERT INTO policy_targets (tenant, policy, role, subject) VALUES ?", chunk); err != nil {
			return err
		}
	}
	return t.forgetMembers(ctx, tx)
}

// forgetMembers drops the members of groups that no policy names any more.
func (t *Tenant) forgetMembers(ctx context.Context, tx bun.Tx) error {
	for _, table := range []bun.Safe{"group_members", "member_lists"} {
		_, err := exec(ctx, tx, `DELETE FROM ? WHERE tenant = ? AND grp NOT IN (
			SELECT subject FROM policy_targets WHERE tenant = ? AND role IN ('group', 'excluded_group'))`, table, t.id, t.id)
		if err != nil {
			return err
		}
	}
	return nil
}

// MemberList is what is known of the members of a group that policies name.
type MemberList struct {
	Group   string    // Entra object ID
	At      time.Time // of the last listing; zero: there was none
	Members int64     // users that were listed
	Problem string    // why the last listing failed, for a person
}

// MemberLists lists the groups that policies of the tenant name, by ID.
func (t *Tenant) MemberLists(ctx context.Context) ([]MemberList, error) {
	var found []struct {
		Subject string
		At      int64
		Problem string
		N       int64
	}
	err := t.c.read(ctx, "list groups of policies of tenant "+string(t.id), &found, `
		SELECT s.subject, coalesce(l.at, 0) AS at, coalesce(l.problem, '') AS problem,
			(SELECT count(*) FROM group_members m WHERE m.tenant = ?0 AND m.grp = s.subject) AS n
		FROM (SELECT DISTINCT subject FROM policy_targets WHERE tenant = ?0 AND role IN ('group', 'excluded_group')) s
		LEFT JOIN member_lists l ON l.tenant = ?0 AND l.grp = s.subject ORDER BY s.subject`, t.id)
	out := make([]MemberList, len(found))
	for i, row := range found {
		out[i] = MemberList{row.Subject, fromMicros(row.At), row.N, row.Problem}
	}
	return out, err
}

// ApplyMembers stores who is in a group, and enrols by it, in one transaction. The first
// listing counts as that of the moment in which the policies that name the group were
// activated. With a problem the members stay as they were known. A group that no policy
// names is left alone.
func (t *Tenant) ApplyMembers(ctx context.Context, group string, members []tenantry.ResourceID, problem string, now time.Time) error {
	op := fmt.Sprintf("apply the members of group %s of tenant %s", group, t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		var named []int
		err := scan(ctx, tx, &named, `SELECT 1 FROM policy_targets
			WHERE tenant = ? AND subject = ? AND role IN ('group', 'excluded_group') LIMIT 1`, t.id, group)
		if err != nil || len(named) == 0 {
			return err
		}
		if problem != "" {
			_, err := exec(ctx, tx, `INSERT INTO member_lists (tenant, grp, at, problem) VALUES (?, ?, 0, ?)
				ON CONFLICT (tenant, grp) DO UPDATE SET problem = excluded.problem`, t.id, group, problem)
			return err
		}
		return t.applyMembers(ctx, tx, group, members, now)
	})
}

func (t *Tenant) applyMembers(ctx context.Context, tx bun.Tx, group string, members []tenantry.ResourceID, now time.Time) error {
	var listed []int64
	if err := scan(ctx, tx, &listed, "SELECT at FROM member_lists WHERE tenant = ? AND grp = ? AND at > 0", t.id, group); err != nil {
		return err
	}
	var before []tenantry.ResourceID
	if err := scan(ctx, tx, &before, "SELECT resource FROM group_members WHERE tenant = ? AND grp = ?", t.id, group); err != nil {
		return err
	}
	left, joined := difference(before, members), difference(members, before)
	for chunk := range slices.Chunk(left, batch) {
		if _, err := exec(ctx, tx, "DELETE FROM group_members WHERE tenant = ? AND grp = ? AND resource IN (?)", t.id, group, bun.List(chunk)); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(joined, batch) {
		var fresh rows
		for _, id := range chunk {
			fresh = append(fresh, []any{t.id, group, id})
		}
		if _, err := exec(ctx, tx, "INSERT INTO group_members (tenant, grp, resource) VALUES ?", fresh); err != nil {
			return err
		}
	}
	_, err := exec(ctx, tx, `INSERT INTO member_lists (tenant, grp, at, problem) VALUES (?, ?, ?, '')
		ON CONFLICT (tenant, grp) DO UPDATE SET at = excluded.at, problem = ''`, t.id, group, micros(now))
	if err != nil {
		return err
	}
	var joins act
	if len(listed) == 0 {
		joins = takeInMembers(group)
	}
	e, err := t.enroller(ctx, tx, now, joins)
	if err != nil {
		return err
	}
	if err := e.named(ctx, slices.Concat(left, joined)); err != nil {
		return err
	}
	return e.finish(ctx)
}

// difference lists, sorted, what is in a and not in b.
func difference(a, b []tenantry.ResourceID) []tenantry.ResourceID {
	in := make(map[tenantry.ResourceID]bool, len(b))
	for _, id := range b {
		in[id] = true
	}
	var out []tenantry.ResourceID
	for _, id := range a {
		if !in[id] {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
