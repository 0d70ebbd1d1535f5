package api

import (
	"errors"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// complaints gathers what is wrong with the fields of a request, so that one refusal names them all. Its zero
// value has none.
type complaints struct {
	found []*huma.ErrorDetail
	other error
}

// add takes what a check of fields returned, and reports whether it was nothing. An error that is about no field
// outweighs all that are.
func (c *complaints) add(err error) bool {
	var p *Problem
	switch {
	case err == nil:
		return true
	case errors.As(err, &p) && p.Kind == tenantry.Invalid && p.Code == Code(tenantry.Invalid) && len(p.Errors) > 0:
		c.found = append(c.found, p.Errors...)
	case c.other == nil:
		c.other = err
	}
	return false
}

// err is the refusal that names every field, nil if there is nothing to say.
func (c *complaints) err() error {
	if c.other != nil || len(c.found) == 0 {
		return c.other
	}
	p := newProblem(tenantry.Invalid, "")
	said := make([]string, 0, maxComplaints)
	for i, one := range c.found {
		if i == maxComplaints {
			p.Errors = append(p.Errors, andMore(len(c.found)-i))
			break
		}
		p.Errors = append(p.Errors, one)
		said = append(said, one.Location+": "+one.Message)
	}
	p.Detail = shortTo(strings.Join(said, "; "), maxDetail)
	return p
}

// andMore stands for complaints that are not named.
func andMore(n int) *huma.ErrorDetail {
	return &huma.ErrorDetail{Message: fmt.Sprintf("and %d more", n)}
}
