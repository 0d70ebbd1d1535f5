package api

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tenantry/tenantry/internal/catalog"
)

// notProtected are the reasons of Coverage.Unprotected, each a column of its own in the file: a sheet that is made
// every month has the same columns every month.
var notProtected = []catalog.Standing{
	catalog.StandingNoPolicy, catalog.StandingDraft, catalog.StandingAwaitsHour, catalog.StandingLater,
	catalog.StandingWorkloads, catalog.StandingNotEnabled, catalog.StandingQuota, catalog.StandingNoSeat,
}

// coverageHead names the columns of a file of coverage.
func coverageHead() []string {
	head := []string{"at", "tenant", "name", "region", "eligible", "covered", "within_objective", "stale", "never_backed_up", "paused", "excluded", "unprotected"}
	for _, reason := range notProtected {
		head = append(head, string(reason))
	}
	return head
}

// coverageCells are the cells of one tenant; unprotected is the sum of the reasons behind it.
func coverageCells(at time.Time, c catalog.Coverage) []string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	cells := []string{
		stamp(at), string(c.Tenant), c.Name, c.Region, number(c.Eligible), number(c.Covered), number(c.Within), number(c.Stale),
		number(c.Never), number(c.Paused), number(c.Excluded), number(c.Eligible - c.Covered - c.Excluded),
	}
	for _, reason := range notProtected {
		cells = append(cells, number(c.Unprotected[reason]))
	}
	return cells
}

// coverageFile answers with one line for each tenant. They are counted before the file begins: what fails is told as
// everywhere.
func (s *service) coverageFile(ctx context.Context, name string, tenants ...catalog.Coverage) *huma.StreamResponse {
	at := s.Now()
	return streamed(ctx, fmt.Sprintf("%s-%s.csv", name, at.UTC().Format(time.DateOnly)), coverageHead(), func(_ context.Context, line func(...string) error) error {
		for _, c := range tenants {
			if err := line(coverageCells(at, c)...); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *service) fetchCoverage(ctx context.Context, in *tenantInput) (*huma.StreamResponse, error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	c, err := t.Coverage(ctx, s.Now())
	if err != nil {
		return nil, err
	}
	return s.coverageFile(ctx, "coverage-"+string(in.Tenant), c), nil
}

func (s *service) fetchFleetCoverage(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
	_, tenants, err := s.Catalog.Fleet().Coverage(ctx, s.Now())
	if err != nil {
		return nil, err
	}
	return s.coverageFile(ctx, "coverage", tenants...), nil
}
