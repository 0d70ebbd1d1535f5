package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/emersion/go-vcard"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

type graphPlace struct {
	Street     string `json:"street"`
	City       string `json:"city"`
	State      string `json:"state"`
	Country    string `json:"countryOrRegion"`
	PostalCode string `json:"postalCode"`
}

// graphContact is what a vCard has of Graph's contact resource.
type graphContact struct {
	ID             string    `json:"id"`
	DisplayName    string    `json:"displayName"`
	GivenName      string    `json:"givenName"`
	MiddleName     string    `json:"middleName"`
	Surname        string    `json:"surname"`
	Title          string    `json:"title"`
	Generation     string    `json:"generation"`
	NickName       string    `json:"nickName"`
	CompanyName    string    `json:"companyName"`
	Department     string    `json:"department"`
	JobTitle       string    `json:"jobTitle"`
	Notes          string    `json:"personalNotes"`
	HomePage       string    `json:"businessHomePage"`
	SpouseName     string    `json:"spouseName"`
	Birthday       time.Time `json:"birthday"`
	Modified       time.Time `json:"lastModifiedDateTime"`
	Categories     []string  `json:"categories"`
	IMAddresses    []string  `json:"imAddresses"`
	BusinessPhones []string  `json:"businessPhones"`
	HomePhones     []string  `json:"homePhones"`
	MobilePhone    string    `json:"mobilePhone"`
	EmailAddresses []struct {
		Name    string `json:"name"`
		Address string `json:"address"`
	} `json:"emailAddresses"`
	HomeAddress     graphPlace `json:"homeAddress"`
	BusinessAddress graphPlace `json:"businessAddress"`
	OtherAddress    graphPlace `json:"otherAddress"`
}

// WriteContact writes a contact as a vCard 4.0 (RFC 6350), with its picture.
func WriteContact(ctx context.Context, w io.Writer, e repository.Entry, raw []byte, open OpenPart) error {
	var c graphContact
	if err := json.Unmarshal(raw, &c); err != nil {
		return tenantry.E(tenantry.Corrupt, "read a stored contact", err)
	}
	card := c.card(e.Name)
	photo, ok, err := readPart(ctx, e, exportPhoto, open)
	if err != nil {
		return err
	}
	if ok && len(photo) > 0 {
		card.SetValue(vcard.FieldPhoto, "data:"+http.DetectContentType(photo)+";base64,"+base64.StdEncoding.EncodeToString(photo))
	}
	if err := vcard.NewEncoder(w).Encode(card); err != nil {
		return tenantry.E(tenantry.Poison, "write a contact as vCard", err)
	}
	return nil
}

func (c *graphContact) card(name string) vcard.Card {
	card := vcard.Card{}
	card.SetValue(vcard.FieldFormattedName, firstText(c.DisplayName, name, c.CompanyName, "(no name)"))
	card.SetName(&vcard.Name{
		FamilyName: c.Surname, GivenName: c.GivenName, AdditionalName: c.MiddleName, HonorificPrefix: c.Title, HonorificSuffix: c.Generation,
	})
	for field, value := range map[string]string{
		vcard.FieldUID: c.ID, vcard.FieldNickname: c.NickName, vcard.FieldTitle: c.JobTitle, vcard.FieldNote: c.Notes, vcard.FieldURL: c.HomePage,
	} {
		if value != "" {
			card.SetValue(field, value)
		}
	}
	if c.CompanyName != "" || c.Department != "" {
		card.SetValue(vcard.FieldOrganization, strings.TrimSuffix(c.CompanyName+";"+c.Department, ";"))
	}
	if c.Birthday.Year() > 1 {
		card.SetValue(vcard.FieldBirthday, c.Birthday.Format("20060102"))
	}
	if !c.Modified.IsZero() {
		card.SetRevision(c.Modified)
	}
	if len(c.Categories) > 0 {
		card.SetCategories(c.Categories)
	}
	for _, m := range c.EmailAddresses {
		if m.Address != "" {
			card.AddValue(vcard.FieldEmail, m.Address)
		}
	}
	for _, address := range c.IMAddresses {
		card.AddValue(vcard.FieldIMPP, address)
	}
	if c.SpouseName != "" {
		addTyped(card, vcard.FieldRelated, c.SpouseName, "spouse")
	}
	c.phones(card)
	for kind, p := range map[string]graphPlace{vcard.TypeHome: c.HomeAddress, vcard.TypeWork: c.BusinessAddress, "other": c.OtherAddress} {
		if p != (graphPlace{}) {
			card.AddAddress(&vcard.Address{
				Field:         &vcard.Field{Params: vcard.Params{vcard.ParamType: {kind}}},
				StreetAddress: p.Street, Locality: p.City, Region: p.State, PostalCode: p.PostalCode, Country: p.Country,
			})
		}
	}
	vcard.ToV4(card)
	return card
}

func (c *graphContact) phones(card vcard.Card) {
	for _, n := range c.BusinessPhones {
		addTyped(card, vcard.FieldTelephone, n, vcard.TypeWork)
	}
	for _, n := range c.HomePhones {
		addTyped(card, vcard.FieldTelephone, n, vcard.TypeHome)
	}
	if c.MobilePhone != "" {
		addTyped(card, vcard.FieldTelephone, c.MobilePhone, vcard.TypeCell)
	}
}

func addTyped(card vcard.Card, field, value, kind string) {
	card.Add(field, &vcard.Field{Value: value, Params: vcard.Params{vcard.ParamType: {kind}}})
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if strings.TrimSpace(t) != "" {
			return t
		}
	}
	return ""
}
