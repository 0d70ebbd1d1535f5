package graphsim

import (
	"slices"
	"sync"
)

// office is what the sites and teams of a tenant hold besides files: lists, pages,
// channels and chats. Each is laid out from the seed when it is first asked for.
type office struct {
	mu    sync.Mutex
	teams map[string]*team         // by group ID
	chats map[string]*conversation // by chat ID
	sites map[string]*siteStore    // by site ID
}

// expire makes the delta tokens of all that was laid out unknown.
func (o *office) expire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, tm := range o.teams {
		for _, ch := range tm.channels {
			ch.expire()
		}
	}
	for _, st := range o.sites {
		st.expire()
	}
}

// lazily returns the value of a key, making it if it is missing.
func lazily[V any](m *map[string]V, key string, make func() V) V {
	if v, ok := (*m)[key]; ok {
		return v
	}
	if *m == nil {
		*m = map[string]V{}
	}
	v := make()
	(*m)[key] = v
	return v
}

// officeRoutes are the routes of drives, sites and teams.
func officeRoutes() []route {
	return slices.Concat(driveRoutes(), driveWriteRoutes(), versionRoutes(), permissionRoutes(),
		libraryItemRoutes(),
		listRoutes(), pageRoutes(), teamRoutes(), chatRoutes(), chatMessageRoutes())
}
