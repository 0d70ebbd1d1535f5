package api_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// certificatePEM makes a certificate with its key that ends after a while.
func certificatePEM(t *testing.T, now time.Time, life time.Duration) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// Whatever becomes of a credential that somebody gives, it is shown nowhere: not in an answer, a log, the audit
// log, nor anywhere in the database.
func TestCredentialsAreNeverShown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	const secret = "v8Q~hush-hush.Credential_1234"
	certificate := certificatePEM(t, h.clock.Now(), 10*24*time.Hour)
	lines := strings.Split(certificate, "\n")
	secrets := []string{secret, lines[len(lines)-4]} // a line of the private key
	var seen []string
	for _, path := range []string{"/v1/tenants/" + string(id) + "/credentials", "/v1/credentials"} {
		for _, b := range []map[string]any{
			{"kind": "secret", "client_id": contosoGUID, "secret": secret, "label": "first"},
			{"kind": "certificate", "client_id": contosoGUID, "certificate": certificate, "purpose": "restore"},
			{"kind": "secret", "client_id": "nonsense", "secret": secret},
			{"kind": "federated", "client_id": contosoGUID, "secret": secret},
			{"kind": "certificate", "client_id": contosoGUID, "certificate": certificate[:len(certificate)-300]},
			{"kind": "certificate", "client_id": contosoGUID, "secret": secret, "unknown": 1},
			{"kind": "secret", "secret": secret},
			{"kind": "secret", "client_id": contosoGUID, "secret": []string{secret}},
			{"kind": "secret", "client_id": contosoGUID, "secret": strings.Repeat(secret, 100)},
			{"kind": "secret", "client_id": contosoGUID, "secret": secret, "expires": "2020-01-01T00:00:00Z"},
		} {
			seen = append(seen, string(h.call("POST", path, b).body))
		}
		broken := h.request("POST", path, `{"kind": "secret", "secret": "`+secret+`", `)
		broken.Header.Set("Authorization", "Bearer "+h.token)
		broken.Header.Set("Content-Type", "application/json")
		seen = append(seen, string(h.send(broken).body), string(h.want(http.StatusOK, "GET", path, nil).body))
	}
	seen = append(seen, string(h.want(http.StatusOK, "GET", "/v1/audit", nil).body))
	for _, entry := range h.logs.All() {
		text, err := json.Marshal(entry.ContextMap())
		must(t, err)
		seen = append(seen, entry.Message+string(text))
	}
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(h.file + suffix)
		must(t, err)
		seen = append(seen, string(text))
	}
	for _, text := range seen {
		for _, s := range secrets {
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("shown: ...%s", text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
	own, err := h.catalog.Tenant(id).Credentials(t.Context())
	must(t, err)
	if len(own) != 2 || len(own[0].Wrapped) == 0 || own[0].Fingerprint == "" || own[1].KeyID == "" {
		t.Errorf("credentials: %+v", own)
	}
}

// Credentials are warned about before they end, and a tenant's own application is the one that is consented to.
func TestCredentialLife(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id)
	if r := h.call("POST", base+"/consent", map[string]any{"purpose": "restore"}); r.status != http.StatusConflict {
		t.Errorf("consent to no application: %d %s", r.status, r.body)
	}
	h.want(201, "POST", base+"/credentials", map[string]any{"kind": "certificate", "client_id": contosoGUID, "certificate": certificatePEM(t, h.clock.Now(), 10*24*time.Hour)})
	h.want(201, "POST", base+"/credentials", map[string]any{"kind": "federated", "client_id": fabrikamGUID, "purpose": "restore"})
	if r := h.want(200, "GET", base+"/credentials", nil); !strings.Contains(r.text("items.1.warning"), "ends on 2026-12-01") || r.field("items.0.warning") != nil {
		t.Errorf("warnings: %s", r.body)
	}
	for purpose, client := range map[string]string{"backup": contosoGUID, "restore": fabrikamGUID} {
		if link := h.want(200, "POST", base+"/consent", map[string]any{"purpose": purpose}).text("url"); !strings.Contains(link, "client_id="+client) {
			t.Errorf("consent of %s: %s", purpose, link)
		}
	}
	scope := h.catalog.Tenant(id)
	must(t, scope.SetRoles(t.Context(), []string{"Mail.Read"}))
	must(t, scope.SetRestoreRoles(t.Context(), []string{"Mail.ReadWrite"}))
	if r := h.want(200, "GET", base+"/workloads", nil); r.field("items.0.restore.ready") != true || r.field("items.0.backup.ready") != true || r.field("items.1.restore.ready") != false {
		t.Errorf("readiness: %s", r.body)
	}
	list, err := scope.Credentials(t.Context())
	must(t, err)
	must(t, scope.RaiseAlarm(t.Context(), catalog.AlarmCredential, list[0].ID, "ends", h.clock.Now()))
	h.want(204, "DELETE", base+"/credentials/"+list[0].ID, nil)
	if alarms, err := scope.Alarms(t.Context()); err != nil || len(alarms) != 0 {
		t.Errorf("alarms of a credential that is gone: %v, %v", alarms, err)
	}
	runs, err := scope.Runs(t.Context(), "", 10)
	must(t, err)
	if len(runs) == 0 || runs[0].Action != tenantry.Connect {
		t.Errorf("a changed credential is not proved: %+v", runs)
	}
}

// A certificate that a registration made is rotated on demand, once; credentials that somebody gave us are theirs.
func TestRotateNow(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	base, scope := "/v1/tenants/"+string(id)+"/credentials", h.catalog.Tenant(id)
	refused := func(word string) {
		t.Helper()
		r := h.call("POST", base+"/rotate", nil)
		h.problemWith(r, 409, tenantry.Conflict, word)
		if r.text("code") != "not_rotated_here" {
			t.Errorf("code: %s", r.body)
		}
	}
	refused("the provider's application")
	own := h.want(201, "POST", base, map[string]any{"kind": "federated", "client_id": contosoGUID}).text("id")
	refused("customer's own")
	must(t, scope.RemoveCredential(t.Context(), own))
	registered := catalog.Credential{
		ID: "c-registered", Purpose: tenantry.ToBackup, Kind: catalog.Certificate, ClientID: contosoGUID, ObjectID: fabrikamGUID,
		AddedAt: h.clock.Now(), ExpiresAt: h.clock.Now().Add(300 * 24 * time.Hour),
	}
	must(t, scope.AddCredential(t.Context(), registered))
	first := h.want(200, "POST", base+"/rotate", nil)
	if first.text("id") != registered.ID || first.field("rotating") == nil || first.field("rotates") != true {
		t.Errorf("asked once: %s", first.body)
	}
	h.clock.Add(time.Minute)
	if again := h.want(200, "POST", base+"/rotate", nil); again.text("rotating") != first.text("rotating") {
		t.Errorf("asked again: %s, first %s", again.body, first.body)
	}
	runs, err := scope.Runs(t.Context(), "", 10)
	must(t, err)
	syncs := 0
	for _, r := range runs {
		if r.Action == tenantry.Sync {
			syncs++
		}
	}
	if syncs != 1 {
		t.Errorf("%d syncs for two requests", syncs)
	}
	h.clock.Add(301 * 24 * time.Hour)
	refused("has ended")
}
