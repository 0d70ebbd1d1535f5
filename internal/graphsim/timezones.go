package graphsim

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
	_ "time/tzdata" // the zones of the world, wherever the simulator runs
)

// windowsZones are the names Outlook uses and the place whose clock they follow
// (Unicode CLDR, windowsZones.xml, territory 001).
var windowsZones = map[string]string{
	"UTC": "UTC", "GMT Standard Time": "Europe/London", "Greenwich Standard Time": "Atlantic/Reykjavik",
	"W. Europe Standard Time": "Europe/Berlin", "Central Europe Standard Time": "Europe/Budapest",
	"Romance Standard Time": "Europe/Paris", "Central European Standard Time": "Europe/Warsaw",
	"W. Central Africa Standard Time": "Africa/Lagos", "Morocco Standard Time": "Africa/Casablanca",
	"GTB Standard Time": "Europe/Bucharest", "E. Europe Standard Time": "Europe/Chisinau", "FLE Standard Time": "Europe/Kiev",
	"Egypt Standard Time": "Africa/Cairo", "South Africa Standard Time": "Africa/Johannesburg", "Israel Standard Time": "Asia/Jerusalem",
	"Turkey Standard Time": "Europe/Istanbul", "Russian Standard Time": "Europe/Moscow", "Arab Standard Time": "Asia/Riyadh",
	"Arabic Standard Time": "Asia/Baghdad", "E. Africa Standard Time": "Africa/Nairobi", "Iran Standard Time": "Asia/Tehran",
	"Arabian Standard Time": "Asia/Dubai", "Afghanistan Standard Time": "Asia/Kabul", "Pakistan Standard Time": "Asia/Karachi",
	"West Asia Standard Time": "Asia/Tashkent", "India Standard Time": "Asia/Calcutta", "Sri Lanka Standard Time": "Asia/Colombo",
	"Nepal Standard Time": "Asia/Katmandu", "Central Asia Standard Time": "Asia/Bishkek", "Bangladesh Standard Time": "Asia/Dhaka",
	"Myanmar Standard Time": "Asia/Rangoon", "SE Asia Standard Time": "Asia/Bangkok", "China Standard Time": "Asia/Shanghai",
	"Singapore Standard Time": "Asia/Singapore", "Taipei Standard Time": "Asia/Taipei", "W. Australia Standard Time": "Australia/Perth",
	"Tokyo Standard Time": "Asia/Tokyo", "Korea Standard Time": "Asia/Seoul", "Cen. Australia Standard Time": "Australia/Adelaide",
	"AUS Central Standard Time": "Australia/Darwin", "E. Australia Standard Time": "Australia/Brisbane",
	"AUS Eastern Standard Time": "Australia/Sydney", "Tasmania Standard Time": "Australia/Hobart",
	"New Zealand Standard Time": "Pacific/Auckland", "Fiji Standard Time": "Pacific/Fiji", "Samoa Standard Time": "Pacific/Apia",
	"Hawaiian Standard Time": "Pacific/Honolulu", "Alaskan Standard Time": "America/Anchorage", "Pacific Standard Time": "America/Los_Angeles",
	"US Mountain Standard Time": "America/Phoenix", "Mountain Standard Time": "America/Denver", "Central Standard Time": "America/Chicago",
	"Canada Central Standard Time": "America/Regina", "Central Standard Time (Mexico)": "America/Mexico_City",
	"Central America Standard Time": "America/Guatemala", "Eastern Standard Time": "America/New_York", "US Eastern Standard Time": "America/Indianapolis",
	"SA Pacific Standard Time": "America/Bogota", "Atlantic Standard Time": "America/Halifax", "Venezuela Standard Time": "America/Caracas",
	"Newfoundland Standard Time": "America/St_Johns", "E. South America Standard Time": "America/Sao_Paulo",
	"Argentina Standard Time": "America/Buenos_Aires", "SA Eastern Standard Time": "America/Cayenne", "Pacific SA Standard Time": "America/Santiago",
	"Greenland Standard Time": "America/Godthab", "Azores Standard Time": "Atlantic/Azores", "Cape Verde Standard Time": "Atlantic/Cape_Verde",
}

// zone finds a time zone by its Windows or IANA name.
func zone(name string) (*time.Location, error) {
	place := name
	if known, ok := windowsZones[name]; ok {
		place = known
	}
	if place != "" && !strings.EqualFold(place, "local") {
		if loc, err := time.LoadLocation(place); err == nil {
			return loc, nil
		}
	}
	return nil, fail(http.StatusBadRequest, "TimeZoneNotSupportedException",
		"A valid TimeZone value must be specified. The following TimeZone value is not supported: '%s'.", name)
}

// zoned is a dateTimeTimeZone: what a clock in a zone shows.
type zoned struct {
	DateTime string `json:"dateTime"`
	TimeZone string `json:"timeZone"`
}

const zonedLayout = "2006-01-02T15:04:05.0000000"

// at is the moment a zoned time stands for; the zone must be known.
func (z zoned) at() time.Time {
	loc, err := zone(z.TimeZone)
	if err != nil {
		loc = time.UTC
	}
	t, _ := time.ParseInLocation("2006-01-02T15:04:05.9999999", z.DateTime, loc)
	return t
}

// in shows the moment on the clock of another zone.
func (z zoned) in(name string, loc *time.Location) zoned {
	return zoned{DateTime: z.at().In(loc).Format(zonedLayout), TimeZone: name}
}

func (z zoned) json() string {
	return `{"dateTime":` + quoted(z.DateTime) + `,"timeZone":` + quoted(z.TimeZone) + `}`
}

// zonedForm reads a dateTimeTimeZone; one that ends in Z is in UTC.
func zonedForm(raw json.RawMessage) (string, error) {
	if isNull(raw) {
		return "null", nil
	}
	in := zoned{TimeZone: "UTC"}
	if err := json.Unmarshal(raw, &in); err != nil {
		return "", err
	}
	loc, err := zone(in.TimeZone)
	if err != nil {
		return "", err
	}
	text, utc := strings.CutSuffix(in.DateTime, "Z")
	t, err := time.ParseInLocation("2006-01-02T15:04:05.9999999", text, time.UTC)
	if err != nil {
		t, err = time.ParseInLocation("2006-01-02T15:04", text, time.UTC)
	}
	if err != nil {
		return "", err
	}
	out := zoned{DateTime: t.Format(zonedLayout), TimeZone: in.TimeZone}
	if utc {
		out = zoned{DateTime: t.In(loc).Format(zonedLayout), TimeZone: in.TimeZone}
	}
	return out.json(), nil
}
