package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Licensing is how a tenant's seats are counted.
type Licensing struct {
	Mode      catalog.SeatMode    `json:"mode" enum:"automatic,manual" doc:"automatic: whoever is to be protected and needs a seat gets one; manual: those alone are protected who were given one"`
	SoftQuota int64               `json:"soft_quota" minimum:"0" maximum:"10000000" doc:"From so many seats on there is an alarm; 0: none"`
	HardQuota int64               `json:"hard_quota" minimum:"0" maximum:"10000000" doc:"Newcomers beyond so many seats are listed unprotected, and there is an alarm; 0: no end"`
	Take      []catalog.SeatClass `json:"take" nullable:"false" maxItems:"9" enum:"user,shared,room,equipment,unlicensed,group,team,site,departed" uniqueItems:"true" doc:"Which kinds of resource take a seat; the others are protected without. departed: who had a seat and left Microsoft 365, while backups are stored"`
	Used      int64               `json:"used" readOnly:"true" doc:"Seats that are taken now"`
}

type licensingInput struct {
	TenantPath
	IfMatch
	Body NewLicensing
}

// NewLicensing sets how a tenant's seats are counted.
type NewLicensing struct {
	Mode      string              `json:"mode" enum:"automatic,manual" doc:"automatic: whoever is to be protected and needs a seat gets one; manual: those alone are protected who were given one"`
	SoftQuota int64               `json:"soft_quota,omitempty" minimum:"0" maximum:"10000000" doc:"From so many seats on there is an alarm; 0: none"`
	HardQuota int64               `json:"hard_quota,omitempty" minimum:"0" maximum:"10000000" doc:"Newcomers beyond so many seats are listed unprotected, and there is an alarm; 0: no end"`
	Take      []catalog.SeatClass `json:"take" nullable:"false" maxItems:"9" enum:"user,shared,room,equipment,unlicensed,group,team,site,departed" uniqueItems:"true" doc:"Which kinds of resource take a seat; the others are protected without" example:"[\"user\"]"`
}

func (in *licensingInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

// SeatChange names who is given a seat, or loses it.
type SeatChange struct {
	Resources []tenantry.ResourceID `json:"resources" nullable:"false" minItems:"1" maxItems:"500" uniqueItems:"true" example:"u-0f1e2d3c-4b5a-4697-8877-665544332211"`
}

type seatsInput struct {
	TenantPath
	Body SeatChange
}

func (in *seatsInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

// Seat is a seat as a month saw it.
type Seat struct {
	Resource   tenantry.ResourceID `json:"resource"`
	Name       string              `json:"name"`
	Address    string              `json:"address"`
	Rule       catalog.SeatClass   `json:"rule" doc:"The kind of resource by which it takes a seat"`
	AssignedBy string              `json:"assigned_by,omitempty" doc:"Who assigned it; absent: by itself"`
	Since      *time.Time          `json:"since,omitempty"`
	Until      *time.Time          `json:"until,omitempty" doc:"Absent: it has it still"`
}

func seatOf(r catalog.SeatRow) Seat {
	return Seat{Resource: r.Resource, Name: r.Name, Address: r.Address, Rule: r.Rule, AssignedBy: r.Actor, Since: when(r.Since), Until: when(r.Until)}
}

// SeatCount is how many seats a tenant had in a month, by rule.
type SeatCount struct {
	Tenant tenantry.TenantID `json:"tenant"`
	Name   string            `json:"name"`
	Rule   catalog.SeatClass `json:"rule"`
	Seats  int64             `json:"seats" doc:"Resources that had one at any time of the month"`
}

// MonthQuery names a month.
type MonthQuery struct {
	Month string `query:"month" pattern:"^20[0-9]{2}-(0[1-9]|1[0-2])$" patternDescription:"month, YYYY-MM" doc:"Of UTC; without it the present one" example:"2026-11"`
}

func (q MonthQuery) month(now time.Time) (int, time.Month, error) {
	if q.Month == "" {
		return now.UTC().Year(), now.UTC().Month(), nil
	}
	at, err := time.Parse("2006-01", q.Month)
	if err != nil {
		return 0, 0, invalid("query.month", q.Month, "must be a month, YYYY-MM")
	}
	return at.Year(), at.Month(), nil
}

type listSeatsInput struct {
	TenantPath
	MonthQuery
	PageQuery
}

type countSeatsInput struct {
	MonthQuery
	PageQuery
}

type seatFileInput struct {
	TenantPath
	MonthQuery
}

type countFileInput struct{ MonthQuery }

func (s *service) seatRoutes() {
	const tag, one = "licences", "/v1/tenants/{tenant}"
	read(s, get("get-licensing", tag, one+"/licensing", "Show how a tenant's seats are counted, and how many are taken"), s.getLicensing)
	write(s, operation(http.MethodPut, http.StatusOK, "set-licensing", tag, one+"/licensing", "Set how a tenant's seats are counted"), s.setLicensing)
	read(s, get("list-seats", tag, one+"/seats", "List who had a seat in a month, and by which rule"), s.listSeats)
	read(s, csvFile(get("fetch-seats", tag, one+"/seats.csv", "Fetch who had a seat in a month, as CSV")), s.fetchSeats)
	write(s, post(http.StatusOK, "assign-seats", tag, one+"/seats/assign", "Give seats by hand; all named get one, or none does"), s.assignSeats)
	write(s, post(http.StatusOK, "revoke-seats", tag, one+"/seats/revoke", "Take seats by hand"), s.revokeSeats)
	read(s, get("count-seats", tag, "/v1/seats", "Count the seats of all tenants in a month, by rule"), s.countSeats)
	read(s, csvFile(get("fetch-seat-counts", tag, "/v1/seats.csv", "Fetch the seats of all tenants in a month, as CSV; with a column for the data region where the fleet has several")), s.fetchSeatCounts)
}

func csvFile(op huma.Operation) huma.Operation {
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The file", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: "string"}}},
	}}
	return op
}

func (s *service) getLicensing(ctx context.Context, in *tenantInput) (*versioned[Licensing], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	l, used, err := t.Licensing(ctx)
	return &versioned[Licensing]{etagOf(l), Licensing{
		Mode: l.Mode, SoftQuota: l.Soft, HardQuota: l.Hard, Take: append([]catalog.SeatClass{}, l.Take...), Used: used,
	}}, err
}

func (s *service) setLicensing(ctx context.Context, in *licensingInput) (*versioned[Licensing], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	n := in.Body
	if n.SoftQuota > 0 && n.HardQuota > 0 && n.SoftQuota > n.HardQuota {
		return nil, invalid("body.soft_quota", n.SoftQuota, "must not be above hard_quota")
	}
	l := catalog.Licensing{Mode: catalog.SeatMode(n.Mode), Soft: n.SoftQuota, Hard: n.HardQuota, Take: n.Take}
	err = s.change(ctx, t, in.IfMatch, func(ctx context.Context) (any, error) { now, _, err := t.Licensing(ctx); return now, err },
		func(ctx context.Context) error { return t.SetLicensing(ctx, l, s.Now()) })
	if err != nil {
		return nil, err
	}
	s.wake(ctx)
	return s.getLicensing(ctx, &tenantInput{in.TenantPath})
}

func (s *service) assignSeats(ctx context.Context, in *seatsInput) (*versioned[Licensing], error) {
	return s.handSeats(ctx, in, func(t *catalog.Tenant) error {
		return t.AssignSeats(ctx, in.Body.Resources, callerOf(ctx).key(), s.Now())
	})
}

func (s *service) revokeSeats(ctx context.Context, in *seatsInput) (*versioned[Licensing], error) {
	return s.handSeats(ctx, in, func(t *catalog.Tenant) error { return t.RevokeSeats(ctx, in.Body.Resources, s.Now()) })
}

func (s *service) handSeats(ctx context.Context, in *seatsInput, change func(*catalog.Tenant) error) (*versioned[Licensing], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if err := present(ctx, t, "body.resources", in.Body.Resources); err != nil {
		return nil, err
	}
	if err := change(t); err != nil {
		return nil, err
	}
	s.wake(ctx)
	return s.getLicensing(ctx, &tenantInput{in.TenantPath})
}

func (s *service) listSeats(ctx context.Context, in *listSeatsInput) (*body[Page[Seat]], error) {
	year, month, err := in.month(s.Now())
	if err != nil {
		return nil, err
	}
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.Seats(ctx, year, month, tenantry.ResourceID(in.After), in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, seatOf, func(r catalog.SeatRow) string { return string(r.Resource) }), nil
}

// countSeats pages by whole tenants: one without seats has no entry, and still counts.
func (s *service) countSeats(ctx context.Context, in *countSeatsInput) (*body[Page[SeatCount]], error) {
	year, month, err := in.month(s.Now())
	if err != nil {
		return nil, err
	}
	tenants, err := s.Catalog.Fleet().Tenants(ctx, tenantry.TenantID(in.After), in.Limit+1)
	if err != nil {
		return nil, err
	}
	rows, err := s.Catalog.Fleet().SeatCounts(ctx, year, month, tenantry.TenantID(in.After), in.Limit)
	if err != nil {
		return nil, err
	}
	page := paged(rows, len(rows), func(r catalog.SeatCount) SeatCount { return SeatCount(r) }, nil)
	if len(tenants) > in.Limit {
		page.Body.Next = string(tenants[in.Limit-1].ID)
	}
	return page, nil
}

// fileTime bounds how long a file of seats may be read.
const fileTime = time.Hour

func (s *service) fetchSeats(ctx context.Context, in *seatFileInput) (*huma.StreamResponse, error) {
	year, month, err := in.month(s.Now())
	if err != nil {
		return nil, err
	}
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("seats-%s-%d-%02d.csv", in.Tenant, year, month)
	head := []string{"tenant", "month", "resource", "name", "address", "rule", "assigned_by", "since", "until"}
	return streamed(ctx, name, head, func(ctx context.Context, line func(...string) error) error {
		for after := tenantry.ResourceID(""); ; {
			rows, err := t.Seats(ctx, year, month, after, filePage)
			if err != nil {
				return err
			}
			for _, r := range rows {
				err := line(string(in.Tenant), fmt.Sprintf("%d-%02d", year, month), string(r.Resource), r.Name, r.Address,
					string(r.Rule), r.Actor, stamp(r.Since), stamp(r.Until))
				if err != nil {
					return err
				}
			}
			if len(rows) < filePage {
				return nil
			}
			after = rows[len(rows)-1].Resource
		}
	}), nil
}

// filePage is how many rows of a file are read at once.
const filePage = 1000

func (s *service) fetchSeatCounts(ctx context.Context, in *countFileInput) (*huma.StreamResponse, error) {
	year, month, err := in.month(s.Now())
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("seats-%d-%02d.csv", year, month)
	head, regional := []string{"tenant", "name", "month", "rule", "seats"}, len(s.Places.Pools) > 1
	if regional {
		head = append(head, "region")
	}
	return streamed(ctx, name, head, func(ctx context.Context, line func(...string) error) error {
		fleet := s.Catalog.Fleet()
		for after := tenantry.TenantID(""); ; {
			tenants, err := fleet.Tenants(ctx, after, filePage)
			if err != nil || len(tenants) == 0 {
				return err
			}
			rows, err := fleet.SeatCounts(ctx, year, month, after, filePage)
			if err != nil {
				return err
			}
			regions := map[tenantry.TenantID]string{}
			for _, t := range tenants {
				regions[t.ID] = t.Region
			}
			for _, r := range rows {
				cells := []string{string(r.Tenant), r.Name, fmt.Sprintf("%d-%02d", year, month), string(r.Rule), strconv.FormatInt(r.Seats, 10)}
				if regional {
					cells = append(cells, regions[r.Tenant])
				}
				if err := line(cells...); err != nil {
					return err
				}
			}
			after = tenants[len(tenants)-1].ID
		}
	}), nil
}

// streamed answers with a CSV file that is written while it is read from SQL. Where that fails the
// connection is cut: what was sent must not look whole.
func streamed(ctx context.Context, name string, head []string, fill func(context.Context, func(...string) error) error) *huma.StreamResponse {
	long, cancel := context.WithTimeout(context.WithoutCancel(ctx), fileTime)
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer cancel()
		stop := context.AfterFunc(c.Context(), func() {
			if gaveUp(c.Context()) {
				cancel()
			}
		})
		defer stop()
		_, w := humago.Unwrap(c)
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
		if err := writeCSV(&patient{ResponseWriter: w}, head, func(line func(...string) error) error { return fill(long, line) }); err != nil {
			panic(http.ErrAbortHandler)
		}
	}}
}

func writeCSV(w io.Writer, head []string, fill func(func(...string) error) error) error {
	out := csv.NewWriter(w)
	if err := out.Write(head); err != nil {
		return err
	}
	err := fill(func(cells ...string) error {
		for i, cell := range cells {
			cells[i] = harmless(cell)
		}
		return out.Write(cells)
	})
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// harmless keeps a spreadsheet from taking a customer's text for a formula (OWASP, "CSV Injection").
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
