package graphsim_test

import (
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// teamOf is the first team of a tenant.
func (w *world) teamOf() graphsim.GroupInfo {
	w.t.Helper()
	for _, g := range w.tenant.Groups() {
		if g.Team {
			return g
		}
	}
	w.t.Fatal("no team")
	return graphsim.GroupInfo{}
}

func (w *world) channels() (team string, list []graphsim.ChannelInfo) {
	w.t.Helper()
	team = w.teamOf().ID
	list, err := w.tenant.Channels(team)
	must(w.t, err)
	return team, list
}

// messages is the path of the messages of General.
func (w *world) messages() (team, path string) {
	w.t.Helper()
	team, list := w.channels()
	return team, "teams/" + team + "/channels/" + url.PathEscape(list[0].ID) + "/messages"
}

func (w *world) post(team string, spec graphsim.PostSpec) string {
	w.t.Helper()
	id, err := w.tenant.PostMessage(team, "", spec)
	must(w.t, err)
	return id
}

// teamsClock makes the second of "one request per second and channel" a millisecond.
const teamsClock = 100_000

func TestConformanceTeams(t *testing.T) {
	t.Parallel()
	spec := graphsim.TenantSpec{Users: 5, Groups: 5, Channels: 1, ClosedChannels: 2, Chats: 1, Messages: 30}
	conform(t, graphsim.Options{Clock: teamsClock, Teams: graphsim.TeamsOptions{ExportOptions: true, MessagesDelta: true}}, spec, []rule{
		{"a group that is no team answers 404", func(w *world) {
			w.same("id", w.get("teams/" + w.teamOf().ID)["id"], w.teamOf().ID)
			w.status(404, "GET", "teams/"+w.tenant.Groups()[1].ID, nil)
		}},
		{"channels are standard, private and shared", func(w *world) {
			kinds := map[string]int{}
			team, _ := w.channels()
			for _, path := range []string{"channels", "allChannels"} {
				list, _, _ := w.round("teams/" + team + "/" + path)
				for _, ch := range list {
					kinds[ch["membershipType"].(string)]++
				}
			}
			w.same("kinds, listed twice", kinds, map[string]int{"standard": 4, "private": 2, "shared": 2})
			w.status(200, "GET", "teams/"+team+"/incomingChannels", nil)
		}},
		{"a shared channel is among the incoming channels of the team it is shared with", func(w *world) {
			var teams []string
			for _, g := range w.tenant.Groups() {
				if g.Team {
					teams = append(teams, g.ID)
				}
			}
			host, guest := teams[0], teams[1]
			for range 2 {
				_, err := w.tenant.Apply(graphsim.Mutation{Op: "shareChannel", User: host, Folder: "Closed Channel 2", To: guest})
				must(w.t, err)
			}
			own, _, _ := w.round("teams/" + host + "/channels")
			incoming, _, _ := w.round("teams/" + guest + "/incomingChannels")
			w.same("incoming", len(incoming), 1)
			w.same("the host's channel", ids(own)[incoming[0]["id"].(string)], incoming[0])
			back, _, _ := w.round("teams/" + host + "/incomingChannels")
			w.same("of the host", len(back), 0)
			if w.tenant.ShareChannel(host, "Closed Channel 1", guest) == nil || w.tenant.ShareChannel(host, "General", guest) == nil {
				w.t.Error("a channel that is not shared was shared")
			}
		}},
		{"filesFolder of a standard channel is in the team's library", func(w *world) {
			team, list := w.channels()
			folder := w.get("teams/" + team + "/channels/" + url.PathEscape(list[1].ID) + "/filesFolder")
			w.same("drive", folder["parentReference"].(object)["driveId"], w.teamOf().Drive)
			w.same("name", folder["name"], list[1].Name)
		}},
		{"filesFolder of private and shared channels is on a site of their own", func(w *world) {
			team, list := w.channels()
			seen := map[any]bool{w.teamOf().Drive: true}
			for _, ch := range list[2:] {
				folder := w.get("teams/" + team + "/channels/" + url.PathEscape(ch.ID) + "/filesFolder")
				id := folder["parentReference"].(object)["driveId"]
				if seen[id] {
					w.t.Errorf("%s shares a drive", ch.Name)
				}
				seen[id] = true
				w.status(200, "GET", "drives/"+url.PathEscape(id.(string))+"/items/"+folder["id"].(string)+"/children", nil)
				w.status(200, "GET", "sites/"+url.PathEscape(ch.Site), nil)
			}
		}},
		{"members of teams and channels are users of the tenant", func(w *world) {
			team, list := w.channels()
			for _, path := range []string{"", "/channels/" + url.PathEscape(list[0].ID)} {
				members, _, _ := w.round("teams/" + team + path + "/members")
				if len(members) == 0 || members[0]["userId"] == nil {
					w.t.Errorf("%v", members)
				}
			}
		}},
		{"messages of a channel are roots, replies are listed below them", func(w *world) {
			team, path := w.messages()
			root := w.post(team, graphsim.PostSpec{Body: "<p>root</p>", Subject: "s"})
			reply := w.post(team, graphsim.PostSpec{Body: "<p>reply</p>", ReplyTo: root})
			list, _, _ := w.round(path)
			got := ids(list)
			if got[root] == nil || got[reply] != nil {
				w.t.Errorf("root %v, reply %v", got[root], got[reply])
			}
			replies, _, _ := w.round(path + "/" + root + "/replies")
			w.same("replies", len(replies), 1)
			w.same("replyToId", w.get(path + "/" + root + "/replies/" + reply)["replyToId"], root)
			w.status(404, "GET", path+"/"+list[3]["id"].(string)+"/replies/"+reply, nil)
			expanded, _, _ := w.round(path + "?$expand=replies")
			w.same("expanded", len(ids(expanded)[root]["replies"].([]any)), 1)
		}},
		{"pages of messages are at most 50", func(w *world) {
			_, path := w.messages()
			w.same("page", len(w.get(path + "?$top=3")["value"].([]any)), 3)
			all, _, pages := w.round(path + "?$top=3")
			if len(all) < 15 || pages != (len(all)+2)/3 {
				w.t.Errorf("%d messages on %d pages", len(all), pages)
			}
		}},
		{"new messages do not shift the pages of a list", func(w *world) {
			team, path := w.messages()
			page := w.get(path + "?$top=5")
			w.post(team, graphsim.PostSpec{})
			next, _, _ := w.round(page["@odata.nextLink"].(string))
			for _, v := range page["value"].([]any) {
				if ids(next)[v.(object)["id"].(string)] != nil {
					w.t.Error("a message is on two pages")
				}
			}
		}},
		{"delta tells new, edited and deleted messages, without replies", func(w *world) {
			team, path := w.messages()
			old, gone, answered := w.post(team, graphsim.PostSpec{}), w.post(team, graphsim.PostSpec{}), w.post(team, graphsim.PostSpec{})
			items, link, _ := w.round(path + "/delta")
			truth, err := w.tenant.TeamTruth(team)
			must(w.t, err)
			roots := 0
			for _, m := range truth {
				if m.ReplyTo == "" && m.Channel == "General" && reached(m) {
					roots++
				}
			}
			w.same("first round", len(items), roots)
			fresh := w.post(team, graphsim.PostSpec{Body: "<p>new</p>"})
			reply := w.post(team, graphsim.PostSpec{ReplyTo: answered})
			must(w.t, w.tenant.EditMessage(team, "", old, "<p>edited</p>"))
			must(w.t, w.tenant.DeleteMessage(team, "", gone))
			changes, _, _ := w.round(link)
			got := ids(changes)
			w.same("changes", len(got), 3)
			if got[fresh] == nil || got[reply] != nil {
				w.t.Errorf("new %v, reply %v", got[fresh], got[reply])
			}
			w.same("edited", got[old]["body"].(object)["content"], "<p>edited</p>")
			if got[old]["lastEditedDateTime"] == nil || got[gone]["deletedDateTime"] == nil || got[gone]["body"].(object)["content"] != "" {
				w.t.Errorf("%v %v", got[old], got[gone])
			}
		}},
		{"options of the first delta call hold for the round", func(w *world) {
			team, path := w.messages()
			root := w.post(team, graphsim.PostSpec{})
			w.post(team, graphsim.PostSpec{ReplyTo: root})
			w.post(team, graphsim.PostSpec{})
			w.post(team, graphsim.PostSpec{})
			page := w.get(path + "/delta?$top=2&$expand=replies")
			w.same("page", len(page["value"].([]any)), 2)
			found, _, _ := w.round(page["@odata.nextLink"].(string))
			for _, m := range page["value"].([]any) {
				found = append(found, m.(object))
			}
			w.same("replies", len(ids(found)[root]["replies"].([]any)), 1)
		}},
		{"delta filters by lastModifiedDateTime gt alone", func(w *world) {
			team, path := w.messages()
			since := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
			id := w.post(team, graphsim.PostSpec{})
			got, _, _ := w.round(path + "/delta?$filter=" + url.QueryEscape("lastModifiedDateTime gt "+since))
			w.same("messages", len(got), 1)
			w.same("id", got[0]["id"], id)
			w.status(400, "GET", path+"/delta?$filter="+url.QueryEscape("lastModifiedDateTime lt "+since), nil)
			w.status(400, "GET", path+"/delta?$filter="+url.QueryEscape("subject eq 'x'"), nil)
			w.status(400, "GET", path+"/delta?$top=51", nil)
		}},
		{"getAllMessages tells messages and replies of all channels", func(w *world) {
			team, _ := w.channels()
			truth, err := w.tenant.TeamTruth(team)
			must(w.t, err)
			for _, path := range []string{"getAllMessages", "getAllMessages()", "allMessages"} {
				all, _, _ := w.round("teams/" + team + "/channels/" + path + "?$top=7")
				w.same(path, len(ids(all)), len(truth))
				for _, m := range truth {
					if got := ids(all)[m.ID]; got["channelIdentity"].(object)["channelId"] != m.Place {
						w.t.Fatalf("%v", got)
					}
				}
			}
		}},
		{"getAllMessages takes the model, $top and a range of lastModifiedDateTime", func(w *world) {
			team, _ := w.channels()
			base := "teams/" + team + "/channels/getAllMessages?"
			id := w.post(team, graphsim.PostSpec{})
			now := time.Now().UTC()
			between := "lastModifiedDateTime gt " + now.Add(-time.Minute).Format(time.RFC3339) + " and lastModifiedDateTime lt " + now.Add(time.Minute).Format(time.RFC3339)
			all, _, _ := w.round(base + "model=B&$filter=" + url.QueryEscape(between))
			w.same("messages", len(all), 1)
			w.same("id", all[0]["id"], id)
			w.status(400, "GET", base+"model=C", nil)
			w.status(400, "GET", base+"$orderby=createdDateTime", nil)
			w.status(400, "GET", base+"$filter="+url.QueryEscape("from eq 'x'"), nil)
		}},
		{"hosted contents are fetched by $value", func(w *world) {
			team, path := w.messages()
			id := w.post(team, graphsim.PostSpec{Body: "<p>look</p>", Pictures: [][]byte{[]byte("png1"), []byte("png2")}})
			message := w.get(path + "/" + id)
			list, _, _ := w.round(path + "/" + id + "/hostedContents")
			w.same("contents", len(list), 2)
			resp := w.do("GET", path+"/"+id+"/hostedContents/"+list[1]["id"].(string)+"/$value", nil)
			defer resp.Body.Close()
			data, err := io.ReadAll(resp.Body)
			must(w.t, err)
			w.same("bytes", string(data), "png2")
			if !strings.Contains(message["body"].(object)["content"].(string), "/hostedContents/"+list[0]["id"].(string)+"/$value") {
				w.t.Errorf("%v", message["body"])
			}
		}},
		{"chats of a user and their messages", func(w *world) {
			chats, _, _ := w.round("users/" + w.user + "/chats")
			w.same("chats", len(chats), 2)
			all, _, _ := w.round("users/" + w.user + "/chats/getAllMessages?model=A&$top=50")
			truth, err := w.tenant.ChatTruth(w.user)
			must(w.t, err)
			w.same("messages", len(ids(all)), len(truth))
			one := "chats/" + url.PathEscape(chats[0]["id"].(string))
			members, _, _ := w.round(one + "/members")
			w.same("members", len(members), 2)
			messages, _, _ := w.round(one + "/messages")
			w.same("of one", len(messages), 30)
			w.same("chatId", messages[0]["chatId"], chats[0]["id"])
			w.status(404, "GET", "chats/19:nobody/messages", nil)
		}},
		{"an application does not post", func(w *world) {
			_, path := w.messages()
			body := object{"body": object{"content": "x"}, "from": object{"user": object{"id": w.user}}}
			w.status(403, "POST", path, body)
			w.tenant.Consent("Teamwork.Migrate.All")
			w.token = w.mustToken()
			w.status(403, "POST", path, body)
		}},
		{"missing roles answer 403", func(w *world) {
			team, path := w.messages()
			w.tenant.Consent("Team.ReadBasic.All")
			w.token = w.mustToken()
			w.status(200, "GET", "teams/"+team, nil)
			w.status(403, "GET", path, nil)
			w.status(403, "GET", "users/"+w.user+"/chats", nil)
		}},
		{"the truth digests text and pictures", func(w *world) {
			team, _ := w.channels()
			id := w.post(team, graphsim.PostSpec{Body: "<p>a</p>", Pictures: [][]byte{[]byte("png")}})
			find := func() graphsim.MessageTruth {
				truth, err := w.tenant.TeamTruth(team)
				must(w.t, err)
				for _, m := range truth {
					if m.ID == id {
						return m
					}
				}
				w.t.Fatal("message is not in the truth")
				return graphsim.MessageTruth{}
			}
			before := find()
			w.same("picture", before.Hosted[0].SHA256, sha([]byte("png")))
			must(w.t, w.tenant.EditMessage(team, "General", id, "<p>b</p>"))
			if find().Digest == before.Digest {
				w.t.Error("an edit does not show")
			}
			must(w.t, w.tenant.DeleteMessage(team, "General", id))
			if after := find(); !after.Deleted || after.Hosted != nil {
				w.t.Errorf("%+v", after)
			}
		}},
	})
}

func TestConformanceTeamSwitches(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{Clock: teamsClock, Teams: graphsim.TeamsOptions{DeltaTellsReplies: true, MessagesDelta: true, Import: true}},
		graphsim.TenantSpec{Users: 2, Groups: 1, Messages: 5}, []rule{
			{"DeltaTellsReplies", func(w *world) {
				team, path := w.messages()
				root := w.post(team, graphsim.PostSpec{})
				_, link, _ := w.round(path + "/delta")
				w.post(team, graphsim.PostSpec{ReplyTo: root})
				changes, _, _ := w.round(link)
				w.same("changes", len(changes), 1)
				w.same("root", changes[0]["id"], root)
			}},
			{"Import", func(w *world) {
				w.tenant.Consent(append([]string{"Teamwork.Migrate.All"}, graphsim.DefaultRoles...)...)
				w.token = w.mustToken()
				_, path := w.messages()
				answer := w.want(201, "POST", path, object{"createdDateTime": "2024-05-06T07:08:09.123Z",
					"from": object{"user": object{"id": w.user}}, "body": object{"content": "<p>old</p>"},
					"hostedContents": []object{{"contentBytes": "cG5n"}}})
				w.same("created", answer["createdDateTime"], "2024-05-06T07:08:09.123Z")
				id := answer["id"].(string)
				w.want(201, "POST", path+"/"+id+"/replies", object{"from": object{"user": object{"id": w.user}}, "body": object{"content": "re"}})
				w.status(400, "POST", path, object{"body": object{"content": "from nobody"}})
			}},
		})
}

func TestConformanceTeamDefaults(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{Clock: teamsClock}, graphsim.TenantSpec{Users: 2, Groups: 1, Chats: 1, Messages: 5}, []rule{
		{"an export takes neither model nor $filter unless the switch says so", func(w *world) {
			team, _ := w.channels()
			for _, base := range []string{"teams/" + team + "/channels/", "users/" + w.user + "/chats/"} {
				w.status(200, "GET", base+"getAllMessages", nil)
				w.status(400, "GET", base+"getAllMessages?model=A", nil)
				w.status(400, "GET", base+"getAllMessages?"+url.Values{"$filter": {"lastModifiedDateTime gt 2026-01-01T00:00:00Z"}}.Encode(), nil)
			}
		}},
		{"messages of a channel have no delta unless the switch says so", func(w *world) {
			_, path := w.messages()
			w.status(400, "GET", path+"/delta", nil)
		}},
		{"posting is refused unless channels are in migration mode", func(w *world) {
			w.tenant.Consent(append([]string{"Teamwork.Migrate.All"}, graphsim.DefaultRoles...)...)
			w.token = w.mustToken()
			_, path := w.messages()
			w.status(403, "POST", path, object{"body": object{"content": "x"}, "from": object{"user": object{"id": w.user}}})
		}},
		{"messages of a chat have no replies", func(w *world) {
			chats, _, _ := w.round("users/" + w.user + "/chats")
			one := "chats/" + url.PathEscape(chats[0]["id"].(string)) + "/messages"
			messages, _, _ := w.round(one)
			w.status(400, "GET", one+"/"+messages[0]["id"].(string)+"/replies", nil)
			w.status(400, "GET", one+"?$expand=replies", nil)
		}},
	})
}

func TestTeamMutations(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, Groups: 1, Chats: 1})
	team := c.tenant.Groups()[0].ID
	id, err := c.tenant.Apply(graphsim.Mutation{Op: "postMessage", User: team, Folder: "General",
		Properties: object{"body": "<p>x</p>", "pictures": []string{"cG5n"}}})
	must(t, err)
	if _, err := c.tenant.Apply(graphsim.Mutation{Op: "editMessage", User: team, ID: id, Properties: object{"body": "<p>y</p>"}}); err != nil {
		t.Error(err)
	}
	chats, err := c.tenant.Chats(c.tenant.Users()[0].ID)
	must(t, err)
	if len(chats) != 1 {
		t.Fatalf("chats: %v", chats)
	}
	said, err := c.tenant.Apply(graphsim.Mutation{Op: "postMessage", User: chats[0]})
	must(t, err)
	if _, err := c.tenant.Apply(graphsim.Mutation{Op: "deleteMessage", User: chats[0], ID: said}); err != nil {
		t.Error(err)
	}
	truth, err := c.tenant.TeamTruth(team)
	must(t, err)
	if len(truth) != 1 || truth[0].Hosted[0].Size != 3 {
		t.Errorf("%+v", truth)
	}
	spoken, err := c.tenant.ChatTruth(c.tenant.Users()[1].ID)
	must(t, err)
	if len(spoken) != 1 || !spoken[0].Deleted {
		t.Errorf("%+v", spoken)
	}
}
