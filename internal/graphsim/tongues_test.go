package graphsim_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// Contacts, events, tasks and files of a world speak its languages, in their own letters, and
// a client reads them and finds them by name as they are.
func TestWorldSpeaksItsLanguages(t *testing.T) {
	t.Parallel()
	letters := map[string]string{"German": "ßäöü", "French": "éèçœ", "Polish": "łżźćśę", "Russian": "жщяёи", "Greek": "ωψλου", "Japanese": "会議東京佐藤です", "Chinese": "经认资们长刘张陈欧阳", "Korean": "회의검토서울김"}
	speaks := func(texts []string, language string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.ContainsAny(text, letters[language]) })
	}
	for most, name := range []string{"German", "French", "Polish", "Russian", "Greek", "Japanese", "Chinese", "Korean"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := start(t, graphsim.Options{Exchange: graphsim.ExchangeOptions{ListDefaultContacts: true}}, graphsim.TenantSpec{Users: 1,
				ContactsPerUser: 90, EventsPerUser: 90, TasksPerUser: 60, FilesPerUser: 150, FileSize: 1, Languages: most + 1})
			user := c.tenant.Users()[0].ID
			contacts, err := c.tenant.ContactTruth(user)
			must(t, err)
			events, err := c.tenant.EventTruth(user)
			must(t, err)
			tasks, err := c.tenant.TaskTruth(user)
			must(t, err)
			files, err := c.tenant.DriveTruth(user)
			must(t, err)
			var people, subjects, titles, names []string
			for _, contact := range contacts {
				people = append(people, contact.Name)
			}
			for _, event := range events {
				subjects = append(subjects, event.Subject)
			}
			for _, task := range tasks {
				titles = append(titles, task.Title)
			}
			for i, file := range files {
				names = append(names, file.Path)
				if i%10 == 0 {
					segments := strings.Split(file.Path, "/")
					for i := range segments {
						segments[i] = url.PathEscape(segments[i])
					}
					if got := c.get("users/" + user + "/drive/root:/" + strings.Join(segments, "/")); got["id"] != file.ID {
						t.Errorf("%s is %v", file.Path, got["id"])
					}
				}
			}
			for what, texts := range map[string][]string{"contacts": people, "events": subjects, "tasks": titles, "files": names} {
				if !speaks(texts, name) {
					t.Errorf("%s speak no %s: %q", what, name, texts)
				}
				if most < 3 && speaks(texts, "Russian") {
					t.Errorf("%s speak Russian, which is not among the first %d languages", what, most+1)
				}
			}
			shown, _, _ := c.round("users/" + user + "/contacts?$top=200")
			if len(shown) == 0 {
				t.Error("no contacts are shown")
			}
			for _, contact := range shown {
				if !slices.Contains(people, contact["displayName"].(string)) {
					t.Errorf("contact %v is not in the truth", contact["displayName"])
				}
				for _, mail := range contact["emailAddresses"].([]any) {
					if address := mail.(object)["address"].(string); strings.ContainsFunc(address, func(r rune) bool { return r > unicode.MaxASCII }) || address[0] == '.' || strings.Contains(address, ".@") {
						t.Errorf("address %q", address)
					}
				}
			}
		})
	}
}

// A Japanese name is written in one, the family's first, and says how it sounds.
func TestJapaneseNames(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, ContactsPerUser: 120, Languages: 6})
	found := 0
	all, _, _ := c.round("users/" + c.tenant.Users()[0].ID + "/contacts?$top=200&$select=displayName,givenName,surname,yomiGivenName,yomiSurname")
	for _, contact := range all {
		if contact["yomiGivenName"] == nil {
			continue
		}
		found++
		if contact["displayName"] != fmt.Sprint(contact["surname"], contact["givenName"]) || contact["yomiSurname"] == nil {
			t.Errorf("%v", contact)
		}
	}
	if found == 0 {
		t.Errorf("none of %d contacts is Japanese", len(all))
	}
}
