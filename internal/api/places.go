package api

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Places are the data regions and the clouds of Microsoft in which tenants may be. The zero value is one of each,
// default and global.
type Places struct {
	Region string            // of new tenants that name none
	Pools  map[string]string // the regions, and the pool of each region's tenants that name none
	Zones  map[string]string // and the time zone of each region that has one, an IANA name
	Cloud  string            // likewise of new tenants, and of those in the catalog that name none
	Clouds []Cloud           // in which the fleet has an application
}

// Cloud is one of Microsoft's separate installations.
type Cloud struct {
	Name    string   `json:"name" example:"gcchigh"`
	Default bool     `json:"default" doc:"New tenants are in it that name none"`
	Login   string   `json:"login,omitempty" doc:"Where administrators sign in"`
	Graph   string   `json:"graph,omitempty" doc:"Address of Microsoft Graph"`
	Lacks   []string `json:"lacks" nullable:"false" doc:"What Graph does not have there, and what is done instead"`
}

// Region is where data of tenants lies: a bucket of its own, opened by workers of its own pools alone.
type Region struct {
	Name    string   `json:"name" example:"au"`
	Default bool     `json:"default" doc:"New tenants belong to it that name none"`
	Pool    string   `json:"pool" doc:"Pool of its tenants that name none. It has to be added, with this region"`
	Zone    string   `json:"time_zone" doc:"IANA name: nights there are off-peak for its tenants that have no time zone of their own" example:"Australia/Sydney"`
	Pools   []string `json:"pools" nullable:"false" doc:"Pools that work for it"`
	Workers int      `json:"workers" doc:"That live, in all of its pools: without any its tenants wait"`
	Tenants int64    `json:"tenants" doc:"That belong to it"`
	Known   bool     `json:"known" doc:"This API has its bucket; false: tenants belong to it, and the configuration does not name it"`
}

// complete fills in what a fleet has that names nothing.
func (p Places) complete() Places {
	p.Region, p.Cloud = cmp.Or(p.Region, catalog.DefaultRegion), cmp.Or(p.Cloud, "global")
	if len(p.Pools) == 0 {
		p.Pools = map[string]string{catalog.DefaultRegion: catalog.MainPool}
	}
	if len(p.Clouds) == 0 {
		p.Clouds = []Cloud{{Name: p.Cloud}}
	}
	return p
}

// zone is the time zone of a region.
func (p Places) zone(region string) string { return cmp.Or(p.Zones[region], catalog.DefaultZone) }

// region checks the name of a region; "" is that of tenants that name none.
func (p Places) region(name string) (string, error) {
	name = cmp.Or(name, p.Region)
	if _, ok := p.Pools[name]; !ok {
		return "", invalid("body.region", name, "there is no such data region; there are: %s", strings.Join(slices.Sorted(maps.Keys(p.Pools)), ", "))
	}
	return name, nil
}

// cloud checks the name of a cloud; "" is that of tenants that name none.
func (p Places) cloud(name string) (string, error) {
	name = cmp.Or(name, p.Cloud)
	var names []string
	for _, c := range p.Clouds {
		if c.Name == name {
			return name, nil
		}
		names = append(names, c.Name)
	}
	return "", invalid("body.cloud", name, "the fleet has no application in such a cloud; it has in: %s", strings.Join(names, ", "))
}

// refused names the field in an error of the catalog about where a tenant is: all else was validated before. given
// says that the pool was named, in contrast to taken from the region.
func (p Places) refused(err error, region, pool string, given bool) error {
	if tenantry.KindOf(err) != tenantry.Invalid || tenantry.CodeOf(err) != "pool" {
		return err
	}
	if given {
		return invalid("body.pool", pool, "%s", cause(err))
	}
	return invalid("body.region", region, "the region has no pool of workers yet: %s; add it first, with this region, or name another one", cause(err))
}

// cause is what an error says apart from what was tried.
func cause(err error) string {
	var e *tenantry.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

type listPlacesInput struct{}

func (s *service) placeRoutes() {
	read(s, get("list-regions", "fleet", "/v1/regions", "List the data regions, and who works there"), s.listRegions)
	read(s, get("list-clouds", "fleet", "/v1/clouds", "List Microsoft's clouds in which the fleet has an application"), s.listClouds)
}

func (s *service) listRegions(ctx context.Context, _ *listPlacesInput) (*body[Page[Region]], error) {
	fleet := s.Catalog.Fleet()
	tenants, err := fleet.TenantsByRegion(ctx)
	if err != nil {
		return nil, err
	}
	pools, err := fleet.Pools(ctx)
	if err != nil {
		return nil, err
	}
	processes, err := fleet.Processes(ctx)
	if err != nil {
		return nil, err
	}
	names := maps.Clone(tenants)
	for name := range s.Places.Pools {
		names[name] += 0
	}
	rows := slices.Sorted(maps.Keys(names))
	of := func(name string) Region {
		pool, known := s.Places.Pools[name]
		r := Region{Name: name, Default: name == s.Places.Region, Pool: pool, Known: known, Tenants: tenants[name], Pools: []string{}, Zone: s.Places.zone(name)}
		for _, p := range pools {
			if p.Region != name {
				continue
			}
			r.Pools = append(r.Pools, p.Name)
			for _, process := range processes {
				if process.Role == "worker" && process.Pool == p.Name {
					r.Workers++
				}
			}
		}
		return r
	}
	return paged(rows, len(rows), of, nil), nil
}

func (s *service) listClouds(_ context.Context, _ *listPlacesInput) (*body[Page[Cloud]], error) {
	of := func(c Cloud) Cloud {
		c.Default, c.Lacks = c.Name == s.Places.Cloud, append([]string{}, c.Lacks...)
		return c
	}
	return paged(s.Places.Clouds, len(s.Places.Clouds), of, nil), nil
}

// setPlace fills in where a changed tenant goes: to the pool of its new region, unless it names one.
func (p Places) setPlace(c *catalog.TenantChange, now catalog.TenantRow) {
	if c.Region != nil && c.Pool == nil && *c.Region != now.Region {
		c.Pool = new(p.Pools[*c.Region])
	}
}
