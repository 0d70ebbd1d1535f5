package graphsim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// hasOffice reports whether the world has lists, messages or libraries to churn.
func (s TenantSpec) hasOffice() bool {
	return s.Lists+s.Messages+s.Libraries+s.ThreadsPerGroup+s.Pages > 0
}

// churnOffice changes something of a group that has a site, a list item, a page, a file of
// one of its libraries, a post or a message of its team; or a message of the user's chats.
func (t *Tenant) churnOffice(r *rand.Rand, u UserInfo) (bool, error) {
	if t.spec.Chats > 0 && t.spec.Messages > 0 && r.IntN(4) == 0 {
		return t.churnChat(r, u.ID)
	}
	groups := slices.DeleteFunc(t.Groups(), func(g GroupInfo) bool { return g.State != Active || g.Site == "" })
	if len(groups) == 0 {
		return false, nil
	}
	g := pick(r, groups)
	if t.spec.Pages > 0 && r.IntN(4) == 0 {
		return t.churnPage(r, g.Site)
	}
	switch dice := r.IntN(3); {
	case dice == 0 && t.spec.Lists > 0:
		return t.churnList(r, g.Site)
	case dice == 1 && g.Team && t.spec.Messages > 0:
		return t.churnMessages(r, g.ID)
	case dice == 1 && g.Unified && t.spec.ThreadsPerGroup > 0:
		return true, t.AddPost(g.ID, sentence(r, 3), "<p>"+sentence(r, 12)+"</p>")
	}
	drives, err := t.Drives(g.Site)
	if err != nil {
		return false, err
	}
	if t.spec.Pages > 0 { // their files change with the pages
		drives = slices.Delete(drives, pagesLibrary, pagesLibrary+1)
	}
	return t.churnDrive(r, UserInfo{ID: pick(r, drives).ID})
}

func (t *Tenant) churnList(r *rand.Rand, site string) (did bool, err error) {
	err = t.withSite(site, func(st *siteStore) error {
		lists := slices.DeleteFunc(slices.Clone(st.lists), func(l *list) bool { return l.drive != "" || l.system })
		if len(lists) == 0 {
			return nil
		}
		did = pick(r, lists).churn(r, t.s.o.SharePoint.VersionLimit)
		return nil
	})
	return did, err
}

// churn adds, changes or deletes one item.
func (l *list) churn(r *rand.Rand, limit int) bool {
	title := map[string]json.RawMessage{"Title": json.RawMessage(quoted("churn " + strconv.Itoa(r.IntN(1_000_000))))}
	if len(l.items) == 0 || r.IntN(3) == 0 {
		l.add(title, time.Now().UTC().Truncate(time.Second))
		return true
	}
	item := pick(r, l.items)
	switch {
	case item.deleted:
		return false
	case r.IntN(4) == 0:
		l.remove(item)
	default:
		l.edit(item, title, limit)
	}
	return true
}

// churnPage adds, edits, publishes or deletes a page of a site.
func (t *Tenant) churnPage(r *rand.Rand, site string) (did bool, err error) {
	spec := PageSpec{Name: fmt.Sprintf("Churn-%d.aspx", r.IntN(1_000_000_000)), Title: sentence(r, 3),
		HTML: "<p>" + sentence(r, 20+r.IntN(60)) + "</p>", Draft: r.IntN(3) == 0}
	dice := r.IntN(10)
	err = t.withPages(site, func(s pageShelf) error {
		did = true
		switch {
		case len(s.pages) == 0 || dice < 3:
			_, err := s.create(spec)
			return err
		case dice < 8:
			return s.change(pick(r, s.pages), spec)
		}
		return s.remove(pick(r, s.pages))
	})
	return did, err
}

func (t *Tenant) churnMessages(r *rand.Rand, team string) (bool, error) {
	tm, err := t.openTeam(team)
	if err != nil {
		return false, err
	}
	ch := pick(r, tm.channels)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.churn(r, true), nil
}

func (t *Tenant) churnChat(r *rand.Rand, user string) (bool, error) {
	ids, err := t.Chats(user)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	v, err := t.openChat(pick(r, ids))
	if err != nil {
		return false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.churn(r, false), nil
}

// churn posts, answers (where messages have replies), edits or deletes one message.
func (v *conversation) churn(r *rand.Rand, replies bool) bool {
	if len(v.people) == 0 {
		return false
	}
	from, text := pick(r, v.people), "<p>"+sentence(r, 12)+"</p>"
	if len(v.order) == 0 || r.IntN(3) == 0 {
		v.post(nil, from, "", text)
		return true
	}
	m := pick(r, v.order)
	switch {
	case m.deleted != nil:
		return false
	case replies && r.IntN(3) == 0 && m.root == nil:
		v.post(m, from, "", text)
	case r.IntN(3) == 0:
		v.remove(m)
	default:
		v.edit(m, text)
	}
	return true
}
