package graphsim

import (
	"fmt"
	"math"
)

// World describes a provider's customers by a few numbers: what it holds follows
// from them and the server's seed alone, and takes memory only where somebody
// looks. Groups and team sites are laid out when a tenant is first asked for, mailboxes
// and drives when their first request comes; users, bodies and files are computed each
// time they are read.
type World struct {
	// Tenants is how many there are; Tenant is what each is made from, its Domain,
	// Name and ID left out.
	Tenants int        `json:"tenants"`
	Tenant  TenantSpec `json:"tenant"`
	// Spread gives tenants different sizes, with a heavy tail: it is the sigma of a
	// log-normal distribution whose mean is Tenant.Users. 0 makes all the same size,
	// 1 makes one in twenty over three times the mean. Tenant.Spread does the same
	// for what each user has.
	Spread float64 `json:"spread"`
	// Also are tenants that are described each by itself, after the others.
	Also []TenantSpec `json:"also"`
}

// worldDomain is the domain of a world's tenant.
func worldDomain(i int) string { return fmt.Sprintf("tenant%d.example", i+1) }

// AddWorld makes the tenants of a world: tenant1.example, tenant2.example, ...
// and those that are described by themselves. They have not consented yet. What Check
// refuses makes a world that nobody described.
func (s *Server) AddWorld(w World) []*Tenant {
	list := make([]*Tenant, 0, w.Tenants+len(w.Also))
	for i := range w.Tenants {
		spec := w.Tenant
		spec.ID, spec.Name, spec.Domain = "", "", worldDomain(i)
		if w.Spread > 0 {
			factor := heavyTail(mix(s.seed, 'w', uint64(i)), w.Spread)
			spec.Users = max(1, int(float64(spec.Users)*factor))
			spec.Groups, spec.Sites = scaled(spec.Groups, factor), scaled(spec.Sites, factor)
			spec.Shared, spec.Unlicensed, spec.NoDrive = scaled(spec.Shared, factor), scaled(spec.Unlicensed, factor), scaled(spec.NoDrive, factor)
		}
		list = append(list, s.AddTenant(spec))
	}
	for _, spec := range w.Also {
		list = append(list, s.AddTenant(spec))
	}
	return list
}

func scaled(n int, factor float64) int { return int(math.Round(float64(n) * factor)) }

// maxTail bounds how much larger than the mean anything is.
const maxTail = 30

// heavyTail is a log-normally distributed factor with the mean 1.
func heavyTail(seed uint64, sigma float64) float64 {
	z := newRand(seed).NormFloat64()
	return min(maxTail, math.Exp(sigma*z-sigma*sigma/2))
}

// share is how many of something the owner with that ordinal has, where the mean is
// given by the tenant's spec.
func (t *Tenant) share(kind byte, ordinal uint64, mean int) int {
	if t.spec.Spread <= 0 || mean == 0 {
		return mean
	}
	return scaled(mean, heavyTail(mix(t.seed, uint64(kind), ordinal), t.spec.Spread))
}
