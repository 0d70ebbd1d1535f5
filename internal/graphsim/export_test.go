package graphsim

import (
	"reflect"
	"slices"
)

// RouteInfo is a route as tests of its query options see it.
type RouteInfo struct {
	Method, Pattern string
	Options         []string
	// Single is a route that answers with one object.
	Single bool
	// Properties are those of the objects, by lower-case name; nil of a route that takes
	// no option which names them, and of open types.
	Properties map[string]PropertyInfo
	Type       string // of the objects
	Handler    uintptr
}

// PropertyInfo is a property as query options see it.
type PropertyInfo struct{ Navigation, Filter, Order, SingleOnly bool }

// Routes returns every route.
func Routes() (list []RouteInfo) {
	for _, sized := range newRouter().bySize {
		for _, rt := range sized {
			info := RouteInfo{Method: rt.method, Pattern: rt.pattern, Options: slices.Clone(rt.takes.names), Single: rt.takes.single,
				Handler: reflect.ValueOf(rt.handle).Pointer()}
			if of := rt.takes.of; of != nil && !of.open {
				info.Properties, info.Type = map[string]PropertyInfo{}, of.name
				for name, p := range of.properties {
					info.Properties[name] = PropertyInfo{p.kind == navigationProperty, p.filter, p.order, p.single}
				}
			}
			list = append(list, info)
		}
	}
	return list
}

// ChurnDirectory makes one change of a script that changes the directory alone.
func (t *Tenant) ChurnDirectory(seed int64, step int) (int, error) {
	return t.scriptStep(ScriptSpec{Seed: seed, Directory: 100}, step)
}
