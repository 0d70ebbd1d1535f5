package graph

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRoutesShowNobody(t *testing.T) {
	for _, c := range []struct {
		url, want string
		open      bool
	}{
		{"https://graph.microsoft.com/v1.0/users/delta?$select=id", "/v1.0/users/delta", false},
		{"https://graph.microsoft.com/v1.0/users/ada@contoso.com/mailFolders/inbox/messages/delta()?$deltatoken=x", "/v1.0/users/{id}/mailFolders/inbox/messages/delta()", false},
		{"https://graph.microsoft.com/v1.0/drives/b!x/root/delta(token='secret')", "/v1.0/drives/{id}/root/delta({arguments})", false},
		{"https://graph.microsoft.com/v1.0/drives/b!x/items/01:/A%2Fplan.docx:/content", "/v1.0/drives/{id}/items/{id}/{id}/content", false},
		{"https://graph.microsoft.com/v1.0/users/ada/messages(secret)", "/v1.0/users/{id}/messages({arguments})", false},
		{"https://content.example/secret?tempauth=x", "(content host)", true},
		{"https://graph\x00/", "(malformed)", false},
	} {
		if got := route(call{url: c.url, open: c.open}); got != c.want {
			t.Errorf("%s is %s, want %s", c.url, got, c.want)
		}
	}
	// Whatever stands in an address, only words of the closed set come out.
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[A-Za-z0-9@.:!'()=-]{1,20}`).Draw(t, "id")
		got := route(call{url: "https://graph.microsoft.com/v1.0/users/" + id + "/messages"})
		for segment := range strings.SplitSeq(strings.TrimPrefix(got, "/"), "/") {
			name, rest, _ := strings.Cut(segment, "(")
			if segment != "{id}" && (!nouns[name] || rest != "" && rest != ")" && rest != "{arguments})") {
				t.Fatalf("%q shows %q", got, segment)
			}
		}
	})
}
