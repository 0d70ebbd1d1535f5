package graphsim

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// What a world may be at most: enough for any provider, and too little to be asked for by
// a slip of the hand.
const (
	maxTenants = 100_000
	maxCount   = 10_000_000 // of anything that a tenant's numbers count
	maxSpread  = 4
)

var (
	guidForm   = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	domainForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$`)
)

// Check says what is wrong with a description of a tenant: the error names the field as in
// its JSON form.
func (s TenantSpec) Check() error {
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		name := strings.Split(v.Type().Field(i).Tag.Get("json"), ",")[0]
		most, unit := int64(maxCount), ""
		switch name {
		case "fileSize", "attachmentSize", "driveQuota":
			most, unit = 1<<50, " bytes"
		case "libraries":
			most = 250
		case "libraryColumns":
			most = int64(len(libraryColumns))
		case "languages":
			most = int64(maxLanguages)
		case "charsets":
			most, unit = 100, " of a hundred"
		}
		if field := v.Field(i); field.CanInt() && (field.Int() < 0 || field.Int() > most) {
			return fmt.Errorf("%s is %d: it has to be between 0 and %d%s", name, field.Int(), most, unit)
		}
	}
	licensed := s.Users - s.Unlicensed
	switch {
	case s.Spread < 0 || s.Spread > maxSpread:
		return fmt.Errorf("spread is %g: it has to be between 0 and %d", s.Spread, maxSpread)
	case licensed < 0:
		return fmt.Errorf("unlicensed is %d: there are %d users", s.Unlicensed, s.Users)
	case s.NoDrive > licensed:
		return fmt.Errorf("noDrive is %d: there are %d licensed users", s.NoDrive, licensed)
	case s.Domain != "" && !domainForm.MatchString(s.Domain):
		return fmt.Errorf("domain %q is no domain name", s.Domain)
	case s.ID != "" && !guidForm.MatchString(s.ID):
		return fmt.Errorf("id %q is no GUID", s.ID)
	}
	return nil
}

// Check says what is wrong with a description of a world, naming the field.
func (w World) Check() error {
	switch {
	case w.Tenants < 0 || w.Tenants > maxTenants:
		return fmt.Errorf("tenants is %d: it has to be between 0 and %d", w.Tenants, maxTenants)
	case w.Spread < 0 || w.Spread > maxSpread:
		return fmt.Errorf("spread is %g: it has to be between 0 and %d", w.Spread, maxSpread)
	}
	if err := w.Tenant.Check(); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	taken := map[string]bool{}
	for i, t := range w.Also {
		domain := strings.ToLower(t.Domain)
		switch err := t.Check(); {
		case err != nil:
			return fmt.Errorf("also[%d]: %w", i, err)
		case domain == "" || taken[domain]:
			return fmt.Errorf("also[%d]: domain %q: each of these tenants needs one of its own", i, t.Domain)
		}
		taken[domain] = true
	}
	for i := range w.Tenants {
		if domain := worldDomain(i); taken[domain] {
			return fmt.Errorf("also: domain %q is that of one of the %d tenants", domain, w.Tenants)
		}
	}
	return nil
}

// check refuses options that make no sense.
func (o Options) check() error {
	for name, d := range map[string]time.Duration{"TokenLife": o.TokenLife, "ConsentDelay": o.ConsentDelay, "RegistrationDelay": o.RegistrationDelay,
		"LinkLife": o.LinkLife, "Latency": o.Latency, "Exchange.ImportSessionLife": o.Exchange.ImportSessionLife} {
		if d < 0 {
			return fmt.Errorf("graphsim: %s is negative", name)
		}
	}
	for name, n := range map[string]int64{"PageSize": int64(o.PageSize), "Exchange.MaxItemSize": o.Exchange.MaxItemSize,
		"SharePoint.VersionLimit": int64(o.SharePoint.VersionLimit)} {
		if n < 0 {
			return fmt.Errorf("graphsim: %s is negative", name)
		}
	}
	if o.Clock < 0 {
		return errors.New("graphsim: Clock runs backwards")
	}
	return nil
}
