package graphsim_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-vcard"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// The value of an embedded contact is a vCard, that of an event an iCalendar, that of a
// message its MIME: each read by a library, and held against what was attached.
func TestValueOfEmbeddedItems(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := "users/" + c.tenant.Users()[0].ID
	mail := user + "/messages/" + c.want(201, "POST", user+"/messages", object{"subject": "holds"})["id"].(string)
	value := func(kind string, item object) *http.Response {
		t.Helper()
		item["@odata.type"] = "#microsoft.graph." + kind
		made := c.want(201, "POST", mail+"/attachments", object{"@odata.type": "#microsoft.graph.itemAttachment", "name": kind, "item": item})
		resp := c.do("GET", mail+"/attachments/"+made["id"].(string)+"/$value", nil)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", kind, resp.StatusCode)
		}
		return resp
	}

	resp := value("contact", object{"givenName": "Zoë", "surname": "O'Brien, Jr", "displayName": "Zoë; B", "companyName": "Ärzte & Co", "department": "R;D",
		"emailAddresses": []object{{"address": "zoe@partner.example", "name": "Zoë"}}, "mobilePhone": "+49 1", "businessPhones": []string{"2", "3"},
		"homeAddress": object{"street": "Weg 1\nHof", "city": "Łódź"}, "birthday": "1980-02-29T12:00:00Z", "categories": []string{"A", "B"}})
	card, err := vcard.NewDecoder(resp.Body).Decode()
	resp.Body.Close()
	must(t, err)
	name, place := card.Name(), card.Addresses()
	if card.Value(vcard.FieldVersion) != "3.0" || name.GivenName != "Zoë" || name.FamilyName != "O'Brien, Jr" || card.Value(vcard.FieldFormattedName) != "Zoë; B" ||
		card.Value(vcard.FieldEmail) != "zoe@partner.example" || len(card.Values(vcard.FieldTelephone)) != 3 || card.Value(vcard.FieldBirthday) != "1980-02-29" ||
		len(card.Categories()) != 2 || len(place) != 1 || place[0].Locality != "Łódź" || place[0].StreetAddress != "Weg 1\nHof" {
		t.Errorf("card %v", card)
	}
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/vcard") {
		t.Errorf("Content-Type %s", kind)
	}

	resp = value("event", object{"subject": "Prüfung, lang", "body": object{"contentType": "html", "content": "<p>Bring <b>it</b></p>"}, "location": object{"displayName": "Room 1"},
		"start": object{"dateTime": "2026-12-01T10:00:00", "timeZone": "W. Europe Standard Time"}, "end": object{"dateTime": "2026-12-01T11:00:00", "timeZone": "W. Europe Standard Time"},
		"recurrence": object{"pattern": object{"type": "weekly", "interval": 2, "daysOfWeek": []string{"tuesday"}}, "range": object{"type": "numbered", "startDate": "2026-12-01", "numberOfOccurrences": 4}},
		"attendees":  []object{{"emailAddress": object{"address": "bob@partner.example", "name": "Bob"}}}})
	calendar, err := ical.NewDecoder(resp.Body).Decode()
	resp.Body.Close()
	must(t, err)
	event := calendar.Events()[0]
	from, err := event.DateTimeStart(time.UTC)
	must(t, err)
	rule, err := event.Props.RecurrenceRule()
	must(t, err)
	if subject, _ := event.Props.Text(ical.PropSummary); subject != "Prüfung, lang" || !from.Equal(time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)) ||
		rule == nil || rule.Count != 4 || rule.Interval != 2 || event.Props.Get(ical.PropAttendee).Value != "mailto:bob@partner.example" {
		t.Errorf("event %v from %v, rule %v", event.Props, from, rule)
	}
	if text, _ := event.Props.Text(ical.PropDescription); text != "Bring it" {
		t.Errorf("description %q", text)
	}

	c.refused(400, "POST", mail+"/attachments", object{"@odata.type": "#microsoft.graph.itemAttachment", "name": "x",
		"item": object{"@odata.type": "#microsoft.graph.contact", "shoeSize": 43}})
}
