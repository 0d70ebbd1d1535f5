package tenantry

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"time"
)

// FleetOwner is the name under which the provider's own credentials are wrapped: a tenant's ID never is like it.
const FleetOwner TenantID = "fleet"

// CredentialSecret is what is secret in a credential. It is stored only wrapped, and names the credential, so that
// no other's can be put into its place.
type CredentialSecret struct {
	ID          string
	Secret      Secret // a client secret
	Certificate Secret // PEM of a certificate and its RSA key
}

type credentialSecretJSON struct {
	ID          string `json:"id"`
	Secret      string `json:"secret,omitempty"`
	Certificate string `json:"certificate,omitempty"`
}

// Seal returns the bytes to wrap.
func (s CredentialSecret) Seal() ([]byte, error) {
	return json.Marshal(credentialSecretJSON{s.ID, s.Secret.Reveal(), s.Certificate.Reveal()})
}

// OpenCredentialSecret is the inverse of Seal. Corrupt if the bytes are of another credential than the named.
func OpenCredentialSecret(plain []byte, id string) (CredentialSecret, error) {
	var s credentialSecretJSON
	if err := json.Unmarshal(plain, &s); err != nil || s.ID != id {
		return CredentialSecret{}, Errorf(Corrupt, "what is stored of credential %s is not its secret", id)
	}
	return CredentialSecret{s.ID, NewSecret(s.Secret), NewSecret(s.Certificate)}, nil
}

// Certificate is a certificate with its key, as Entra takes it.
type Certificate struct {
	DER         []byte
	Key         *rsa.PrivateKey
	From, Ends  time.Time
	Fingerprint string // SHA-256, hexadecimal
}

// ReadCertificate reads the PEM of a certificate and its RSA key. Errors are Invalid and never show the content.
func ReadCertificate(pem []byte) (Certificate, error) {
	pair, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return Certificate{}, Errorf(Invalid, "no certificate with its key: %w", err)
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return Certificate{}, Errorf(Invalid, "the key is not RSA, which Entra asks for")
	}
	sum := sha256.Sum256(pair.Certificate[0])
	return Certificate{
		DER: pair.Certificate[0], Key: key, From: pair.Leaf.NotBefore, Ends: pair.Leaf.NotAfter, Fingerprint: hex.EncodeToString(sum[:]),
	}, nil
}
