package app

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A worker warns of the provider's own credentials, given by the API or configured, before they end; what is put
// right is over.
func TestExpiryWatch(t *testing.T) {
	dir := t.TempDir()
	cat, err := catalog.Open(t.Context(), "sqlite://"+filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cat.Close() }()
	fleet := cat.Fleet()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	days := func(n int) time.Time { return now.AddDate(0, 0, n) }
	token := func(ends time.Time) string {
		file := filepath.Join(dir, "token")
		body := base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(`{"exp":%d}`, ends.Unix())))
		if err := os.WriteFile(file, []byte("e30."+body+".c2ln\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	looks := func(what string, cfg Config, want ...string) {
		t.Helper()
		cfg.ClientID = "app"
		if err := (expiryWatch{fleet, cfg, zap.NewNop()}).look(t.Context(), now); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		list, err := fleet.Warnings(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range list {
			got = append(got, w.Cause+" "+w.Subject)
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s: warnings %q, want %q", what, got, want)
		}
	}
	secret := Config{ClientSecret: tenantry.NewSecret("sesame")}
	looks("a secret that nobody knows the end of", secret)
	secret.ClientSecretEnds = days(31).Format(time.DateOnly)
	looks("a secret", secret)
	secret.ClientSecretEnds = days(20).Format(time.DateOnly)
	looks("a secret that ends", secret, "credential client-secret")
	secret.ClientSecretEnds = days(6).Format(time.DateOnly)
	looks("a secret that ends this week", secret, "credential_last client-secret")
	secret.ClientSecretEnds = days(-1).Format(time.DateOnly)
	looks("a secret that has ended", secret, "credential_last client-secret")
	secret.ClientSecretEnds = days(365).Format(time.DateOnly)
	looks("a new secret", secret)

	cert := Config{Certificate: filepath.Join(dir, "app.pem")}
	written := writeCertificate(t, cert.Certificate, days(10))
	looks("a certificate that ends", cert, "credential certificate/"+written)
	if err := fleet.EndWarning(t.Context(), catalog.AlarmCredential, "certificate/"+written); err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, cert.Certificate, days(400))
	looks("a new certificate", cert)

	looks("a federated token", Config{FederatedTokenFile: token(now.Add(time.Minute))})
	looks("a federated token that nobody renews", Config{FederatedTokenFile: token(now)}, "credential_last federated-token-file")
	looks("a federated token again", Config{FederatedTokenFile: token(now.Add(time.Hour))})
	looks("no federated token", Config{FederatedTokenFile: filepath.Join(dir, "none")}, "credential_last federated-token-file")
	looks("a federated token again", Config{FederatedTokenFile: token(now.Add(time.Hour))})

	// What the API was given takes the place of what is configured.
	given := catalog.Credential{ID: "c-1", Purpose: tenantry.ToBackup, Kind: catalog.ClientSecret, ClientID: "other", ExpiresAt: days(12), AddedAt: now}
	if err := fleet.AddCredential(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	secret.ClientSecretEnds = days(6).Format(time.DateOnly)
	looks("one that was given and ends", secret, "credential c-1")
	if err := fleet.CredentialTold(t.Context(), "c-1", "AADSTS7000215", now); err != nil {
		t.Fatal(err)
	}
	looks("one that is refused", secret, "credential_last c-1")
}

// Tokens that are none are no reason to fail, or to warn.
func TestTokenEnds(t *testing.T) {
	for _, token := range []string{"", "a.b", "a.b.c", "e30.e30.c2ln", "e30.eyJleHAiOi0xfQ.c2ln", "e30.eyJleHAiOiJ4In0.c2ln", strings.Repeat(".", 1000)} {
		if ends, ok := tokenEnds(token); ok {
			t.Errorf("%.20q ends at %s", token, ends)
		}
	}
	if ends, ok := tokenEnds("e30.eyJleHAiOjE3OTAwMDAwMDB9.c2ln"); !ok || ends.Unix() != 1790000000 {
		t.Errorf("it ends at %s, %v", ends, ok)
	}
}

// writeCertificate writes a certificate that ends at a time, with its key, and returns how its fingerprint begins.
func writeCertificate(t *testing.T, file string, ends time.Time) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: ends.AddDate(-1, 0, 0), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, err := tenantry.ReadCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Fingerprint[:16]
}
