package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-vcard"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// What a person sees of mails, contacts and events, in a line each: of what the simulator has, and of files that were
// rescued, as the parsers of other programs read them.

// headOf describes the head of a mail.
func headOf(s graphsim.MailSeen) string {
	if s.Sender == s.From {
		s.Sender = ""
	}
	date := ""
	if !s.Sent.IsZero() {
		date = s.Sent.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("from %s by %s to %q cc %q bcc %q reply to %q at %s html %v", s.From, s.Sender, s.To, s.CC, s.BCC, s.ReplyTo, date, s.HTML)
}

// readHead reads the head of a mail.
func readHead(h *mail.Header, isHTML bool) (graphsim.MailSeen, error) {
	s := graphsim.MailSeen{HTML: isHTML}
	var from, sender []string
	for name, to := range map[string]*[]string{"From": &from, "Sender": &sender, "To": &s.To, "Cc": &s.CC, "Bcc": &s.BCC, "Reply-To": &s.ReplyTo} {
		list, err := h.AddressList(name)
		if err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
		for _, a := range list {
			*to = append(*to, a.Name+" <"+a.Address+">")
		}
	}
	s.From, s.Sender = strings.Join(from, ", "), strings.Join(sender, ", ")
	if h.Get("X-Unsent") != "" {
		return s, nil // a draft's date is the service's
	}
	var err error
	s.Sent, err = h.Date()
	return s, err
}

func isHTML(part *mail.Part) bool {
	h, ok := part.Header.(*mail.InlineHeader)
	if !ok {
		return false
	}
	kind, _, err := h.ContentType()
	return err == nil && kind == "text/html"
}

func truthContacts(all []graphsim.ContactTruth) []string {
	lines := make([]string, len(all))
	for i, c := range all {
		lines[i] = cardLine(c.Card.Of, c.Photo)
	}
	return lines
}

// cardLine describes a contact.
func cardLine(card vcard.Card, photo string) string {
	texts := []string{card.Value(vcard.FieldFormattedName), card.Value(vcard.FieldNickname), card.Value(vcard.FieldOrganization), card.Value(vcard.FieldTitle),
		card.Value(vcard.FieldNote), card.Value(vcard.FieldURL), strings.ReplaceAll(card.Value(vcard.FieldBirthday), "-", "")}
	if n := card.Name(); n != nil {
		texts = append(texts, n.FamilyName, n.GivenName, n.AdditionalName, n.HonorificPrefix, n.HonorificSuffix)
	}
	var reaches []string
	for _, f := range card[vcard.FieldTelephone] {
		reaches = append(reaches, "tel "+strings.Join(f.Params.Types(), " ")+" "+f.Value)
	}
	for _, f := range card[vcard.FieldEmail] {
		reaches = append(reaches, "mail "+f.Value)
	}
	for _, a := range card.Addresses() {
		if kind := strings.Join(a.Params.Types(), " "); kind != "other" {
			reaches = append(reaches, "post "+kind+" "+strings.Join([]string{a.StreetAddress, a.Locality, a.Region, a.PostalCode, a.Country}, ", "))
		}
	}
	slices.Sort(reaches)
	return fmt.Sprintf("contact %q %q categories %q photo %s", texts, reaches, card.Categories(), photo)
}

func truthEvents(all []graphsim.EventTruth) []string {
	var lines []string
	for _, e := range all {
		if e.Shared {
			continue // another's calendar, which is backed up with its owner's
		}
		lines = append(lines, eventLine(e.Form.Of, e.Cancelled, len(e.Exceptions)))
	}
	return lines
}

// instances is how many instances of a series are compared.
const instances = 20

// eventLine describes an event, or a series by its first instances without those that were cancelled.
func eventLine(e *ical.Event, cancelled []string, exceptions int) string {
	text := func(name string) string {
		s, err := e.Props.Text(name)
		if err != nil {
			return err.Error()
		}
		return strings.Join(strings.Fields(html.UnescapeString(s)), " ")
	}
	body := text(ical.PropDescription)
	if prop := e.Props.Get("X-ALT-DESC"); prop != nil {
		s, _ := prop.Text()
		body = strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(s, " "))), " ")
	}
	var people []string
	for _, p := range e.Props.Values(ical.PropAttendee) {
		people = append(people, p.Params.Get(ical.ParamCommonName)+" <"+strings.TrimPrefix(p.Value, "mailto:")+">")
	}
	slices.Sort(people)
	start, startErr := e.DateTimeStart(time.UTC)
	end, endErr := e.DateTimeEnd(time.UTC)
	var when []string
	if set, err := e.RecurrenceSet(time.UTC); err != nil {
		when = append(when, err.Error())
	} else if set != nil {
		next := set.Iterator()
		for at, ok := next(); ok && len(when) < instances; at, ok = next() {
			if !slices.Contains(cancelled, at.Format(time.DateOnly)) {
				when = append(when, at.UTC().Format(time.RFC3339))
			}
		}
	}
	return fmt.Sprintf("event %q at %q from %s to %s %v%v series %q exceptions %d with %q: %s", text(ical.PropSummary), text(ical.PropLocation),
		start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339), startErr, endErr, when, exceptions, people, body)
}

var tags = regexp.MustCompile(`<[^>]*>`)

// rescuedCards describes every contact and event below a folder.
func rescuedCards(dir string) ([]string, error) {
	var lines []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		read := map[string]func(*os.File) (string, error){".vcf": readCard, ".ics": readEvent}[filepath.Ext(path)]
		if read == nil {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		line, err := read(f)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		lines = append(lines, line)
		return nil
	})
	return lines, err
}

func readCard(f *os.File) (string, error) {
	card, err := vcard.NewDecoder(f).Decode()
	if err != nil {
		return "", err
	}
	photo := ""
	if _, data, ok := strings.Cut(card.Value(vcard.FieldPhoto), ";base64,"); ok {
		picture, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return "", err
		}
		photo = fmt.Sprintf("%x", sha256.Sum256(picture))
	}
	return cardLine(card, photo), nil
}

func readEvent(f *os.File) (string, error) {
	calendar, err := ical.NewDecoder(f).Decode()
	if err != nil {
		return "", err
	}
	events := calendar.Events()
	if len(events) == 0 {
		return "", fmt.Errorf("there is no event in it")
	}
	return eventLine(&events[0], nil, len(events)-1), nil
}
