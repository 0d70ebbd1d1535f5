package graphsim

import (
	"fmt"
	"net/http"
	"strings"
)

// A tenant's chats are between two users each. The ID of a chat names both, so that
// a chat is found from its ID alone.

// chatID is the ID of the chat of two users.
func chatID(a, b string) string {
	if b < a {
		a, b = b, a
	}
	return "19:" + a + "_" + b + "@unq.gbl.spaces"
}

// chatsOf returns the IDs of a user's chats: with the next users by age, and with
// those before who have it with this one. Who came later has none, so that nobody's chats
// change when users are added. Called under the tenant's lock.
func (t *Tenant) chatsOf(e *entry) (list []string) {
	seen := map[string]bool{}
	n := t.spec.Users + t.spec.Shared + t.spec.Rooms + t.spec.Equipment
	if int(e.ordinal) > n {
		return nil
	}
	for step := range t.spec.Chats {
		for _, away := range []int{step + 1, -step - 1} {
			other := t.users.at(((int(e.ordinal)-1+away)%n + n) % n)
			if id := chatID(e.id, other.id); other.id != e.id && e.licensed && other.licensed && !seen[id] {
				seen[id] = true
				list = append(list, id)
			}
		}
	}
	return list
}

// openChat returns the chat with an ID, or an error if there is none.
func (t *Tenant) openChat(id string) (*conversation, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	pair := strings.Split(strings.TrimSuffix(strings.TrimPrefix(id, "19:"), "@unq.gbl.spaces"), "_")
	if len(pair) == 2 {
		a, b := t.users.find(pair[0]), t.users.find(pair[1])
		if a != nil && b != nil {
			for _, known := range t.chatsOf(a) {
				if known == id {
					return t.chat(id, a, b), nil
				}
			}
		}
	}
	return nil, fail(http.StatusNotFound, "NotFound", "The chat could not be found.")
}

// chat lays a chat out when it is first asked for. Called under the tenant's lock.
func (t *Tenant) chat(id string, a, b *entry) *conversation {
	t.office.mu.Lock()
	defer t.office.mu.Unlock()
	return lazily(&t.office.chats, id, func() *conversation {
		v := newConversation(t, id, []*entry{a, b})
		v.fill(t.spec.Messages, false)
		return v
	})
}

func chatRoutes() []route {
	get := func(pattern string, handle func(*call) error, options ...string) route {
		return route{method: "GET", pattern: pattern, service: teams, takes: takes(nil, options...), roles: rolesChats, handle: handle}
	}
	return []route{
		get("users/{user}/chats", listChats, "$top", "$skiptoken"),
		get("users/{user}/chats/getAllMessages", getAllChatMessages, "model", "$top", "$filter", "$skiptoken"),
		get("users/{user}/chats/allMessages", getAllChatMessages, "model", "$top", "$filter", "$skiptoken"),
		get("users/{user}/chats/{chat}", getChat),
		get("chats/{chat}", getChat),
		get("chats/{chat}/members", listChatMembers, "$top", "$skiptoken"),
	}
}

// userChats returns the chats of the user a request names.
func (c *call) userChats() ([]*conversation, error) {
	c.t.mu.RLock()
	e := c.t.userByKey(c.param("user"))
	var ids []string
	if e != nil {
		ids = c.t.chatsOf(e)
	}
	c.t.mu.RUnlock()
	if e == nil {
		return nil, directoryNotFound(c.param("user"))
	}
	list := make([]*conversation, len(ids))
	for i, id := range ids {
		var err error
		if list[i], err = c.t.openChat(id); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (c *call) renderChat(v *conversation) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	o := newObject(c.sel)
	o.str("id", v.id)
	o.raw("topic", "null")
	o.instant("createdDateTime", v.people[0].created())
	updated := v.people[0].created()
	for _, m := range v.order {
		if m.modified.After(updated) {
			updated = m.modified
		}
	}
	o.instant("lastUpdatedDateTime", updated)
	o.str("chatType", "oneOnOne")
	o.str("tenantId", c.t.id)
	o.str("webUrl", "https://teams.example/l/chat/"+v.id+"/0?tenantId="+c.t.id)
	return o.done()
}

func listChats(c *call) error {
	list, err := c.userChats()
	if err != nil {
		return err
	}
	return c.skipPage(len(list), c.pageSize(20, 50), "$skiptoken", func(i int) []byte { return c.renderChat(list[i]) })
}

func getChat(c *call) error {
	v, err := c.t.openChat(c.param("chat"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, c.renderChat(v))
}

func listChatMembers(c *call) error {
	v, err := c.t.openChat(c.param("chat"))
	if err != nil {
		return err
	}
	return c.answerPeople(v.people)
}

// Chats returns the IDs of a user's chats. Errors: an unknown user.
func (t *Tenant) Chats(user string) ([]string, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.users.find(user)
	if e == nil {
		return nil, fmt.Errorf("graphsim: no user %q", user)
	}
	return t.chatsOf(e), nil
}
