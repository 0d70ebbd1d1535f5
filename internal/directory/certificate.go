package directory

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// certificateLife is that of the certificates of a registered application: a year at most ("Add a certificate to an
// app using Microsoft Graph").
const certificateLife = 360 * 24 * time.Hour

// makeCertificate makes a key that never leaves us unwrapped, and its certificate, and completes the credential.
func (d *Directory) makeCertificate(ctx context.Context, t tenantry.TenantID, c catalog.Credential) (catalog.Credential, error) {
	now := d.cfg.Now()
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails since Go 1.24
	text, err := newPair("Tenantry "+string(t), id, now)
	if err != nil {
		return c, tenantry.E(tenantry.Internal, "make a certificate", err)
	}
	read, err := tenantry.ReadCertificate([]byte(text.Reveal()))
	if err != nil {
		return c, err
	}
	c.ID, c.Kind, c.AddedAt = "c-"+hex.EncodeToString(id), catalog.Certificate, now
	c.Fingerprint, c.ExpiresAt = read.Fingerprint, read.Ends
	plain, err := tenantry.CredentialSecret{ID: c.ID, Certificate: text}.Seal()
	if err != nil {
		return c, tenantry.E(tenantry.Internal, "seal a certificate", err)
	}
	c.Wrapped, c.KeyID, err = d.cfg.Keys.Wrap(ctx, t, plain)
	return c, err
}

// newPair is the PEM of a new certificate and its RSA key.
func newPair(name string, serial []byte, now time.Time) (tenantry.Secret, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return tenantry.Secret{}, err
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tenantry.Secret{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tenantry.Secret{}, err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return tenantry.NewSecret(string(text)), nil
}

// openCredential unwraps a credential of the tenant.
func (d *Directory) openCredential(ctx context.Context, t tenantry.TenantID, c catalog.Credential) (tenantry.CredentialSecret, error) {
	plain, err := d.cfg.Keys.Unwrap(ctx, t, c.KeyID, c.Wrapped)
	if err != nil {
		return tenantry.CredentialSecret{}, err
	}
	return tenantry.OpenCredentialSecret(plain, c.ID)
}
