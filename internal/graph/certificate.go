package graph

import (
	"os"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// readCertificate reads a PEM file that holds a certificate and its RSA key. Errors
// are Invalid and name the key "certificate"; they never show the content.
func readCertificate(file string) ([]byte, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "certificate: %w", err)
	}
	if _, err := tenantry.ReadCertificate(pem); err != nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "certificate: in %s: %w", file, err)
	}
	return pem, nil
}
