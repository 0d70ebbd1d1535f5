package graphsim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// ScriptSpec describes a change script: changes to a tenant that go on while
// clients read it. The same script on the same tenant makes the same changes, as
// far as clients change nothing themselves.
type ScriptSpec struct {
	Seed int64 `json:"seed"`
	// Count is how many steps it takes; a step that finds nothing to change counts.
	Count int `json:"count"`
	// Rate is the steps a second (wall clock); 0 takes them as fast as they go.
	Rate float64 `json:"rate"`
	// Directory is how many steps of a hundred change users, groups, memberships and
	// sites; the others change mail, files and what else users and groups have.
	Directory int `json:"directory"`
}

// ScriptState is how far a script has come.
type ScriptState struct {
	ScriptSpec
	Step    int    `json:"step"`
	Changed int    `json:"changed"`
	Running bool   `json:"running"`
	Error   string `json:"error,omitempty"` // what ended it early
}

// script is the change script of a tenant, at most one at a time.
type script struct {
	mu    sync.Mutex
	state ScriptState
	stop  context.CancelFunc
	ended chan struct{} // closed at its end; nil before the first
}

// maxScript bounds a script, so that one that is forgotten ends.
const maxScript = 10_000_000

// StartScript begins a script; it ends by itself, by StopScript, or with the
// server. Errors: one is running, or its numbers are out of range.
func (t *Tenant) StartScript(spec ScriptSpec) error {
	if spec.Count < 1 || spec.Count > maxScript || spec.Rate < 0 || spec.Directory < 0 || spec.Directory > 100 {
		return errors.New("graphsim: a script takes 1 to 10,000,000 steps, at a rate of 0 or more, 0 to 100 of a hundred in the directory")
	}
	t.script.mu.Lock()
	defer t.script.mu.Unlock()
	if t.script.state.Running {
		return errors.New("graphsim: a script is running")
	}
	ctx, stop := context.WithCancel(t.s.serving.ctx)
	ended := make(chan struct{})
	t.script.state, t.script.stop, t.script.ended = ScriptState{ScriptSpec: spec, Running: true}, stop, ended
	t.s.serving.Go(func() {
		defer close(ended)
		defer stop()
		t.runScript(ctx, spec)
	})
	return nil
}

// Script tells how far the last script has come.
func (t *Tenant) Script() ScriptState {
	t.script.mu.Lock()
	defer t.script.mu.Unlock()
	return t.script.state
}

// StopScript ends the script that is running, if any, and waits for its last step.
func (t *Tenant) StopScript() {
	t.script.mu.Lock()
	stop, ended := t.script.stop, t.script.ended
	t.script.mu.Unlock()
	if ended != nil {
		stop()
		<-ended
	}
}

func (t *Tenant) runScript(ctx context.Context, spec ScriptSpec) {
	var err error
	began := time.Now()
	for step := 0; step < spec.Count && err == nil; step++ {
		if spec.Rate > 0 && !wait(ctx, time.Until(began.Add(time.Duration(float64(step)/spec.Rate*float64(time.Second))))) || ctx.Err() != nil {
			break
		}
		var changed int
		changed, err = t.scriptStep(spec, step)
		t.script.mu.Lock()
		t.script.state.Step, t.script.state.Changed = step+1, t.script.state.Changed+changed
		t.script.mu.Unlock()
	}
	t.script.mu.Lock()
	defer t.script.mu.Unlock()
	t.script.state.Running = false
	if err != nil {
		t.script.state.Error = err.Error()
	}
}

func (t *Tenant) scriptStep(spec ScriptSpec, step int) (changed int, err error) {
	seed := mix(uint64(spec.Seed), t.seed, uint64(step))
	r := newRand(seed)
	if r.IntN(100) < spec.Directory {
		did, err := t.churnDirectory(r)
		if did {
			changed = 1
		}
		return changed, err
	}
	return t.Churn(int64(seed), 1)
}

// churnDirectory changes a user, a group or a site.
func (t *Tenant) churnDirectory(r *rand.Rand) (did bool, err error) {
	switch r.IntN(5) {
	case 0:
		return t.churnSites(r)
	case 1:
		return t.churnGroups(r)
	}
	return t.churnUsers(r)
}

// byState picks the objects that are there, and those that can be restored.
func byState[T any](all []T, state func(T) State) (active, deleted []T) {
	for _, one := range all {
		switch state(one) {
		case Active:
			active = append(active, one)
		case Deleted:
			deleted = append(deleted, one)
		}
	}
	return active, deleted
}

// churnUsers adds, renames, deletes or restores a user. The last user stays.
func (t *Tenant) churnUsers(r *rand.Rand) (did bool, err error) {
	active, deleted := t.usersNow()
	switch dice := r.IntN(10); {
	case dice < 4:
		_, err := t.NewUser("")
		return err == nil, err
	case dice < 6 && active.count > 0:
		name, _ := person(r.Uint64(), 0)
		return true, t.EditUser(t.drawUser(r, active).ID, name)
	case dice < 8 && active.count > 1:
		return true, t.DeleteUser(t.drawUser(r, active).ID)
	case dice >= 8 && deleted.count > 0:
		return true, t.RestoreUser(t.drawUser(r, deleted).ID)
	}
	return false, nil
}

// usersNow lists the users who are active now, and who can be restored.
func (t *Tenant) usersNow() (active, deleted roll) {
	t.purgeExpired()
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.users.without(slices.Clone(t.users.gone)), rollOf(t.users.deleted())
}

// churnGroups adds, renames, deletes or restores a group, or changes who is in it.
func (t *Tenant) churnGroups(r *rand.Rand) (did bool, err error) {
	active, deleted := byState(t.Groups(), func(g GroupInfo) State { return g.State })
	switch dice := r.IntN(10); {
	case dice < 2:
		_, err := t.NewGroup(fmt.Sprintf("Team %d", r.IntN(1_000_000)))
		return err == nil, err
	case dice < 7 && len(active) > 0:
		return t.churnMembers(r, pick(r, active).ID)
	case dice < 8 && len(active) > 0:
		return true, t.EditGroup(pick(r, active).ID, fmt.Sprintf("Group %d", r.IntN(1_000_000)))
	case dice < 9 && len(active) > 1:
		return true, t.DeleteGroup(pick(r, active).ID)
	case dice == 9 && len(deleted) > 0:
		return true, t.RestoreGroup(pick(r, deleted).ID)
	}
	return false, nil
}

// churnMembers lets a user join a group, or leave it.
func (t *Tenant) churnMembers(r *rand.Rand, group string) (did bool, err error) {
	active, _ := t.usersNow()
	if active.count == 0 {
		return false, nil
	}
	u := t.drawUser(r, active).ID
	if t.isMemberByID(group, u) {
		return true, t.RemoveMember(group, u)
	}
	return true, t.AddMember(group, u)
}

func (t *Tenant) isMemberByID(group, user string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	g := t.groups.find(group)
	m, ok := t.memberByID(user)
	return g != nil && ok && t.isMember(g, m)
}

// churnSites adds, deletes or restores a team site.
func (t *Tenant) churnSites(r *rand.Rand) (did bool, err error) {
	ofTeams := slices.DeleteFunc(t.addedSites(), func(s SiteInfo) bool { return s.Owner != "" || s.Group != "" })
	active, deleted := byState(ofTeams, func(s SiteInfo) State { return s.State })
	switch dice := r.IntN(10); {
	case dice < 4:
		_, err := t.NewSite(fmt.Sprintf("Site %d", r.IntN(1_000_000)))
		return err == nil, err
	case dice < 7 && len(active) > 0:
		return true, t.DeleteSite(pick(r, active).ID)
	case len(deleted) > 0:
		return true, t.RestoreSite(pick(r, deleted).ID)
	}
	return false, nil
}
