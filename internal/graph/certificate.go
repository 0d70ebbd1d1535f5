package graph

import (
	"crypto/rsa"
	"crypto/tls"
	"os"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// loadSigner reads a PEM file that holds a certificate and its RSA key. Errors
// are Invalid and name the key "certificate"; they never show the content.
func loadSigner(file string) (*signer, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "certificate: no certificate with its key in %s: %w", file, err)
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return nil, tenantry.Errorf(tenantry.Invalid, "certificate: the key in %s is not RSA, which Entra asks for", file)
	}
	return newSigner(pair.Certificate[0], key), nil
}
