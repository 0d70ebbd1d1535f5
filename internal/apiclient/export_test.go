package apiclient

import (
	"net/http"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// NewOver is New over another transport.
func NewOver(t http.RoundTripper, address string, token tenantry.Secret) (*ClientWithResponses, error) {
	return newOver(&http.Client{Transport: t}, address, token)
}
