package graphsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-vcard"
)

// The value of an embedded contact is a vCard, that of an embedded event an iCalendar ("Get
// attachment"). Which of their properties they carry is not documented: those that the
// formats have a word for.

// embeddedSchema is the type of an embedded item that is no message, nil for one that the
// page does not name.
func embeddedSchema(kind string) *schema {
	kind = strings.ToLower(kind[strings.LastIndexByte(kind, '.')+1:])
	for _, s := range []*schema{contactSchema, eventSchema} {
		if s.name == strings.Trim(kind, `"`) {
			return s
		}
	}
	return nil
}

// checkEmbedded refuses an embedded contact or event with what its type does not have.
func checkEmbedded(in map[string]json.RawMessage) error {
	s := embeddedSchema(string(in["@odata.type"]))
	if s == nil {
		return nil
	}
	return s.read(in, props{})
}

// writeEmbedded answers with the value of an embedded item that is no message.
func (c *call) writeEmbedded(raw json.RawMessage) error {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(raw, &in); err != nil {
		return fmt.Errorf("read embedded item: %w", err)
	}
	s, v := embeddedSchema(string(in["@odata.type"])), props{}
	if s == nil {
		return fail(http.StatusMethodNotAllowed, "ErrorInvalidRequest", "The item has no form of its own.")
	}
	if err := s.read(in, v); err != nil {
		return err
	}
	if s == contactSchema {
		return c.writeCard(v)
	}
	return c.writeCalendar(v)
}

func (c *call) writeCard(v props) error {
	var b bytes.Buffer
	if err := vcard.NewEncoder(&b).Encode(contactCard(v)); err != nil {
		return fmt.Errorf("write vCard: %w", err)
	}
	return c.stream("text/vcard; charset=utf-8", bytesContent(b.Bytes()))
}

func contactCard(v props) vcard.Card {
	card := vcard.Card{}
	card.SetValue(vcard.FieldVersion, "3.0")
	texts := map[string]string{vcard.FieldFormattedName: "displayName", vcard.FieldNickname: "nickName", vcard.FieldTitle: "jobTitle",
		vcard.FieldRole: "profession", vcard.FieldNote: "personalNotes", vcard.FieldURL: "businessHomePage"}
	for field, name := range texts {
		if text := v.text(name); text != "" {
			card.SetValue(field, text)
		}
	}
	if card.Value(vcard.FieldFormattedName) == "" {
		card.SetValue(vcard.FieldFormattedName, strings.TrimSpace(v.text("givenName")+" "+v.text("surname")))
	}
	card.SetName(&vcard.Name{FamilyName: v.text("surname"), GivenName: v.text("givenName"), AdditionalName: v.text("middleName"),
		HonorificPrefix: v.text("title"), HonorificSuffix: v.text("generation")})
	if company := v.text("companyName"); company != "" {
		card.SetValue(vcard.FieldOrganization, strings.TrimSuffix(company+";"+v.text("department"), ";"))
	}
	if day, err := time.Parse(time.RFC3339, v.text("birthday")); err == nil {
		card.SetValue(vcard.FieldBirthday, day.UTC().Format(time.DateOnly))
	}
	var categories []string
	v.into("categories", &categories)
	if len(categories) > 0 {
		card.SetCategories(categories)
	}
	addReaches(card, v)
	return card
}

// addReaches writes telephones, addresses of mail and of post.
func addReaches(card vcard.Card, v props) {
	add := func(field, kind, value string) {
		if value != "" {
			card.Add(field, &vcard.Field{Value: value, Params: vcard.Params{vcard.ParamType: {kind}}})
		}
	}
	var addresses []address
	v.into("emailAddresses", &addresses)
	for _, a := range addresses {
		add(vcard.FieldEmail, "internet", a.Address)
	}
	for name, kind := range map[string]string{"businessPhones": vcard.TypeWork, "homePhones": vcard.TypeHome} {
		var phones []string
		v.into(name, &phones)
		for _, number := range phones {
			add(vcard.FieldTelephone, kind, number)
		}
	}
	add(vcard.FieldTelephone, vcard.TypeCell, v.text("mobilePhone"))
	for name, kind := range map[string]string{"businessAddress": vcard.TypeWork, "homeAddress": vcard.TypeHome} {
		var a struct{ Street, City, State, PostalCode, CountryOrRegion string }
		v.into(name, &a)
		if a.Street+a.City+a.State+a.PostalCode+a.CountryOrRegion != "" {
			card.AddAddress(&vcard.Address{Field: &vcard.Field{Params: vcard.Params{vcard.ParamType: {kind}}}, StreetAddress: a.Street,
				Locality: a.City, Region: a.State, PostalCode: a.PostalCode, Country: a.CountryOrRegion})
		}
	}
}

func (c *call) writeCalendar(v props) error {
	calendar := ical.NewCalendar()
	calendar.Props.SetText(ical.PropVersion, "2.0")
	calendar.Props.SetText(ical.PropProductID, "-//graphsim//EN")
	calendar.Children = append(calendar.Children, calendarEvent(v).Component)
	var b bytes.Buffer
	if err := ical.NewEncoder(&b).Encode(calendar); err != nil {
		return fmt.Errorf("write iCalendar: %w", err)
	}
	return c.stream("text/calendar; charset=utf-8", bytesContent(b.Bytes()))
}

func calendarEvent(v props) *ical.Event {
	event := ical.NewEvent()
	event.Props.SetText(ical.PropUID, guid(mixString(9, hashJSON(v))))
	event.Props.SetDateTime(ical.PropDateTimeStamp, epoch)
	event.Props.SetText(ical.PropSummary, v.text("subject"))
	for property, name := range map[string]string{ical.PropDateTimeStart: "start", ical.PropDateTimeEnd: "end"} {
		switch z := v.zoned(name); {
		case z.DateTime == "":
		case v.boolean("isAllDay"):
			event.Props.SetDate(property, z.at())
		default:
			event.Props.SetDateTime(property, z.at().UTC())
		}
	}
	var body struct{ ContentType, Content string }
	v.into("body", &body)
	if body.ContentType == "html" {
		body.Content = stripTags(body.Content)
	}
	var place struct{ DisplayName string }
	v.into("location", &place)
	for property, text := range map[string]string{ical.PropDescription: body.Content, ical.PropLocation: place.DisplayName} {
		if text != "" {
			event.Props.SetText(property, text)
		}
	}
	if rule := recurrenceOf(v); rule != nil {
		event.Props.Set(&ical.Prop{Name: ical.PropRecurrenceRule, Value: rule.OrigOptions.RRuleString(), Params: ical.Params{}})
	}
	var people []recipient
	v.into("attendees", &people)
	for _, p := range people {
		if p.EmailAddress != nil {
			event.Props.Add(&ical.Prop{Name: ical.PropAttendee, Value: "mailto:" + p.EmailAddress.Address, Params: ical.Params{ical.ParamCommonName: {p.EmailAddress.Name}}})
		}
	}
	return event
}
