package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Pool is a pool of workers: what a tenant belongs to, and the only workers that do its work.
type Pool struct {
	Name    string         `json:"name" example:"munich"`
	Region  string         `json:"region" doc:"Data region that it works for: tenants of others cannot belong to it" example:"default"`
	Note    string         `json:"note,omitempty"`
	Added   *time.Time     `json:"added,omitempty"`
	Tenants int64          `json:"tenants" doc:"That belong to it"`
	Workers int            `json:"workers" doc:"That live"`
	Slots   map[string]int `json:"slots" nullable:"false" doc:"What they can run at once, by queue"`
}

// NewPool is what adds a pool.
type NewPool struct {
	Name   string `json:"name" pattern:"^[a-z][a-z0-9-]{0,39}$" doc:"Its workers are started with it: -pool NAME" example:"munich"`
	Region string `json:"region,omitempty" pattern:"^[a-z][a-z0-9-]{0,39}$" default:"default" doc:"Data region that it works for, for good (list-regions); its workers are started with it: -region NAME"`
	Note   string `json:"note,omitempty" maxLength:"200"`
}

type addPoolInput struct{ Body NewPool }

func (in *addPoolInput) audit() (tenantry.TenantID, any) { return "", in.Body }

type removePoolInput struct {
	Pool string `path:"pool" maxLength:"40" doc:"Name of the pool"`
}

func (in *removePoolInput) audit() (tenantry.TenantID, any) { return "", in.Pool }

type listPoolsInput struct{}

// PoolChoice names a pool.
type PoolChoice struct {
	Pool string `json:"pool" pattern:"^[a-z][a-z0-9-]{0,39}$" example:"munich" doc:"main, or one that was added"`
}

type setPoolInput struct {
	TenantPath
	IfMatch
	Body PoolChoice
}

func (in *setPoolInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

func (s *service) poolRoutes() {
	const tag, all = "fleet", "/v1/pools"
	write(s, post(http.StatusCreated, "add-pool", tag, all, "Add a pool of workers"), s.addPool)
	read(s, get("list-pools", tag, all, "List the pools, and their workers that live"), s.listPools)
	write(s, remove("remove-pool", tag, all+"/{pool}", "Remove a pool to which no tenant belongs"), s.removePool)
	write(s, operation(http.MethodPut, http.StatusOK, "set-pool", "tenants", "/v1/tenants/{tenant}/pool", "Have the tenant's work done by the workers of a pool"), s.setPool)
}

func (s *service) addPool(ctx context.Context, in *addPoolInput) (*created[Pool], error) {
	region, err := s.Places.region(cmp.Or(in.Body.Region, catalog.DefaultRegion))
	if err != nil {
		return nil, err
	}
	p := catalog.Pool{Name: in.Body.Name, Region: region, Note: in.Body.Note, AddedAt: s.Now()}
	if err := s.Catalog.Fleet().AddPool(ctx, p); err != nil {
		return nil, taken(err, "body.name", p.Name, "a pool of this name is there already")
	}
	return &created[Pool]{"/v1/pools/" + p.Name, Pool{Name: p.Name, Region: p.Region, Note: p.Note, Added: when(p.AddedAt), Slots: map[string]int{}}}, nil
}

func (s *service) listPools(ctx context.Context, _ *listPoolsInput) (*body[Page[Pool]], error) {
	rows, err := s.Catalog.Fleet().Pools(ctx)
	if err != nil {
		return nil, err
	}
	processes, err := s.Catalog.Fleet().Processes(ctx)
	if err != nil {
		return nil, err
	}
	of := func(row catalog.Pool) Pool {
		p := Pool{Name: row.Name, Region: row.Region, Note: row.Note, Added: when(row.AddedAt), Tenants: row.Tenants, Slots: map[string]int{}}
		for _, process := range processes {
			if process.Role == "worker" && process.Pool == row.Name {
				p.Workers++
				for queue, n := range process.Slots {
					p.Slots[queue] += n
				}
			}
		}
		return p
	}
	return paged(rows, len(rows), of, nil), nil
}

func (s *service) removePool(ctx context.Context, in *removePoolInput) (*struct{}, error) {
	return nil, s.Catalog.Fleet().RemovePool(ctx, in.Pool)
}

func (s *service) setPool(ctx context.Context, in *setPoolInput) (*versioned[Tenant], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, t, in.IfMatch, settingsOf(t), func(ctx context.Context) error {
		return s.Catalog.Fleet().ChangeTenant(ctx, in.Tenant, catalog.TenantChange{Pool: &in.Body.Pool}, s.Now())
	})
	if err != nil {
		return nil, s.Places.refused(err, "", in.Body.Pool, true)
	}
	s.wake(ctx) // what waits is done there
	return s.getTenant(ctx, &tenantInput{in.TenantPath})
}
