package graph

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // G505: the header x5t is the SHA-1 of a certificate by its definition (RFC 7515, 4.1.7)
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// proofAudience is what a proof of possession is for ("Generate proof of possession tokens for rolling keys").
const proofAudience = "00000002-0000-0000-c000-000000000000"

// proofLife is how long one is good for: ten minutes at most.
const proofLife = 5 * time.Minute

// KeyRoller changes the certificates of the application that it speaks as. That takes no permission, but a proof
// signed by a certificate of the application that is still good ("application: addKey", "application: removeKey").
type KeyRoller struct{ t *Tenant }

// KeyRoller returns what rolls the keys of an application registered in a tenant, in whose name it speaks.
func (c *Client) KeyRoller(id tenantry.TenantID, directory string, app Application) *KeyRoller {
	return &KeyRoller{c.Tenant(id, directory).With(&app)}
}

// AddKey gives the application, named by its object ID, another certificate, under a name; holder is one it has. It
// returns the new one's ID at Microsoft, or "" where neither the answer says it nor the application may read itself.
// Repeated after a lost answer it may add the same certificate twice, which harms nothing.
func (k *KeyRoller) AddKey(ctx context.Context, objectID, name string, holder, fresh tenantry.Certificate) (string, error) {
	proof, err := possession(objectID, holder, time.Now())
	if err != nil {
		return "", err
	}
	path := "/applications/" + url.PathEscape(objectID)
	in := map[string]any{
		"keyCredential":      keyCredential{"AsymmetricX509Cert", "Verify", name, fresh.DER, fresh.From.UTC(), fresh.Ends.UTC()},
		"passwordCredential": nil, "proof": proof,
	}
	var out struct {
		KeyID string `json:"keyId"`
	}
	r := Registrar{k.t}
	if err := r.request(ctx, "add a certificate to the application", http.MethodPost, path+"/addKey", nil, in, &out); err != nil {
		return "", err
	}
	if out.KeyID != "" {
		return out.KeyID, nil
	}
	keys, err := r.keys(ctx, path)
	if err != nil {
		return "", nil //nolint:nilerr // it was added: that its ID cannot be read is no failure
	}
	for _, key := range keys {
		if bytes.Equal(key.Key, fresh.DER) {
			return key.ID, nil
		}
	}
	return "", nil
}

// RemoveKey takes a certificate from the application, by its ID at Microsoft; holder is another one, which stays.
// Invalid: there is none of that ID.
func (k *KeyRoller) RemoveKey(ctx context.Context, objectID, keyID string, holder tenantry.Certificate) error {
	proof, err := possession(objectID, holder, time.Now())
	if err != nil {
		return err
	}
	r := Registrar{k.t}
	return r.request(ctx, "remove a certificate from the application", http.MethodPost,
		"/applications/"+url.PathEscape(objectID)+"/removeKey", nil, map[string]string{"keyId": keyID, "proof": proof}, nil)
}

// possession proves that we hold a certificate's key. The issuer is the application's object ID, not its client ID.
// Which header names the certificate is not documented: RS256 with x5t and kid is what Microsoft's libraries send.
func possession(objectID string, holder tenantry.Certificate, now time.Time) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"aud": proofAudience, "iss": objectID, "nbf": now.Unix(), "exp": now.Add(proofLife).Unix(),
	})
	sum := sha1.Sum(holder.DER) //nolint:gosec // G401: see the import
	token.Header["x5t"] = base64.RawURLEncoding.EncodeToString(sum[:])
	token.Header["kid"] = strings.ToUpper(hex.EncodeToString(sum[:]))
	signed, err := token.SignedString(holder.Key)
	if err != nil {
		return "", tenantry.E(tenantry.Internal, "prove that a certificate is ours", err)
	}
	return signed, nil
}

// knownKey is a certificate as an application shows it.
type knownKey struct {
	ID   string `json:"keyId"`
	Name string `json:"displayName"`
	Key  []byte `json:"key"`

	raw json.RawMessage // whole: a change sends back what it keeps
}

// keys reads the certificates of the application under a path.
func (r *Registrar) keys(ctx context.Context, path string) ([]knownKey, error) {
	const op = "read the application's certificates"
	var has struct {
		Keys []json.RawMessage `json:"keyCredentials"`
	}
	if err := r.request(ctx, op, http.MethodGet, path+"?$select=keyCredentials", nil, nil, &has); err != nil {
		return nil, err
	}
	keys := make([]knownKey, len(has.Keys))
	for i, raw := range has.Keys {
		if err := json.Unmarshal(raw, &keys[i]); err != nil {
			return nil, misread(op, err)
		}
		keys[i].raw = raw
	}
	return keys, nil
}
