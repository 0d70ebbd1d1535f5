package graphsim

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
)

// TestNoOptionPassesSilently walks all routes: each declares the options that it takes,
// and every other option, of OData or not, is refused before its handler runs.
func TestNoOptionPassesSilently(t *testing.T) {
	for _, list := range newRouter().bySize {
		for _, rt := range list {
			if rt.takes == nil {
				t.Errorf("%s %s does not say which options it takes", rt.method, rt.pattern)
				continue
			}
			for _, name := range append(slices.Clone(systemOptions), "$nonsense", "nonsense") {
				if slices.Contains(rt.takes.names, name) {
					continue
				}
				c := &call{r: httptest.NewRequest(http.MethodGet, "/", nil), rt: rt, query: url.Values{name: {"1"}}}
				if err := c.parseOptions(rt); err == nil {
					t.Errorf("%s %s lets %s pass", rt.method, rt.pattern, name)
				}
			}
		}
	}
}

// TestNoMisspeltPropertyPasses holds $select and $expand of each typed route against its
// type: a name that is not there is refused, wherever it is asked for.
func TestNoMisspeltPropertyPasses(t *testing.T) {
	typed := 0
	for _, list := range newRouter().bySize {
		for _, rt := range list {
			naming := slices.ContainsFunc(rt.takes.names, func(name string) bool {
				return slices.Contains([]string{"$select", "$expand", "$filter", "$orderby"}, name)
			})
			if naming && rt.takes.of == nil {
				t.Errorf("%s %s names properties of no type", rt.method, rt.pattern)
			}
			if rt.takes.of == nil || rt.takes.of.open {
				continue
			}
			typed++
			for _, name := range []string{"$select", "$expand", "$orderby"} {
				if !slices.Contains(rt.takes.names, name) {
					continue
				}
				c := &call{r: httptest.NewRequest(http.MethodGet, "/", nil), rt: rt, query: url.Values{name: {"recievedDateTime"}}}
				if err := c.parseOptions(rt); err == nil {
					t.Errorf("%s %s takes %s=recievedDateTime", rt.method, rt.pattern, name)
				}
			}
		}
	}
	if typed < 190 {
		t.Errorf("only %d routes know their type", typed)
	}
}
