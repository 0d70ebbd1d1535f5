package repository_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// kmsServer speaks as much of the JSON protocol of AWS KMS as kmsRing uses, with real AES.
// It is a test of the protocol, not of KMS: no KMS can be run here.
type kmsServer struct {
	mu      sync.Mutex
	keys    map[string]*kmsKey // by ARN
	aliases map[string]string
	deny    bool
}

type kmsKey struct {
	aead    cipher.AEAD
	deleted time.Time
}

type kmsCall struct {
	KeyID                  string `json:"KeyId"`
	AliasName, TargetKeyID string
	CiphertextBlob         []byte
	EncryptionContext      map[string]string
	PendingWindowInDays    int
}

func startKMS(t *testing.T) (*kmsServer, repository.KeyManager) {
	t.Helper()
	k := &kmsServer{keys: map[string]*kmsKey{}, aliases: map[string]string{}}
	srv := httptest.NewServer(k)
	t.Cleanup(srv.Close)
	ring, err := repository.OpenKMS(t.Context(), repository.KMSOptions{
		Region: "eu-central-1", Endpoint: srv.URL, Fleet: "test", AccessKey: "a", SecretKey: tenantry.NewSecret("s"),
	})
	must(t, err)
	return k, ring
}

func (k *kmsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var in kmsCall
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256") {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	out, fault := k.answer(action, in)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if fault != "" {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]string{"__type": fault, "message": action}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (k *kmsServer) answer(action string, in kmsCall) (out any, fault string) {
	if k.deny {
		return nil, "AccessDeniedException"
	}
	switch action {
	case "CreateKey":
		arn := fmt.Sprintf("arn:aws:kms:eu-central-1:1:key/%d", len(k.keys)+1)
		secret := make([]byte, 32)
		_, _ = rand.Read(secret)
		block, _ := aes.NewCipher(secret)
		aead, _ := cipher.NewGCMWithRandomNonce(block)
		k.keys[arn] = &kmsKey{aead: aead}
		return map[string]any{"KeyMetadata": map[string]any{"Arn": arn, "KeyId": arn}}, ""
	case "CreateAlias", "UpdateAlias":
		if _, taken := k.aliases[in.AliasName]; taken && action == "CreateAlias" {
			return nil, "AlreadyExistsException"
		}
		k.aliases[in.AliasName] = in.TargetKeyID
		return map[string]any{}, ""
	}
	arn := in.KeyID
	if strings.HasPrefix(arn, "alias/") {
		arn = k.aliases[arn]
	}
	key, ok := k.keys[arn]
	if !ok {
		return nil, "NotFoundException"
	}
	if action == "DescribeKey" {
		meta := map[string]any{"Arn": arn, "KeyId": arn, "KeyState": "Enabled"}
		if !key.deleted.IsZero() {
			meta["KeyState"], meta["DeletionDate"] = "PendingDeletion", float64(key.deleted.Unix())
		}
		return map[string]any{"KeyMetadata": meta}, ""
	}
	if !key.deleted.IsZero() {
		return nil, "KMSInvalidStateException"
	}
	return key.use(action, arn, in)
}

func (key *kmsKey) use(action, arn string, in kmsCall) (out any, fault string) {
	bound, _ := json.Marshal(in.EncryptionContext)
	switch action {
	case "GenerateDataKey":
		plain := make([]byte, 32)
		_, _ = rand.Read(plain)
		return map[string]any{"KeyId": arn, "Plaintext": plain, "CiphertextBlob": key.aead.Seal(nil, nil, plain, bound)}, ""
	case "Decrypt":
		plain, err := key.aead.Open(nil, nil, in.CiphertextBlob, bound)
		if err != nil {
			return nil, "InvalidCiphertextException"
		}
		return map[string]any{"KeyId": arn, "Plaintext": plain}, ""
	case "ScheduleKeyDeletion":
		key.deleted = time.Now().AddDate(0, 0, in.PendingWindowInDays)
		return map[string]any{"KeyId": arn, "DeletionDate": float64(key.deleted.Unix())}, ""
	}
	return nil, "UnsupportedOperationException"
}

func TestKMS(t *testing.T) {
	server, ring := startKMS(t)
	wrapped, id, err := ring.Wrap(t.Context(), "t-1", []byte("key material"))
	must(t, err)
	got, err := ring.Unwrap(t.Context(), "t-1", id, wrapped)
	if err != nil || string(got) != "key material" {
		t.Fatalf("unwrapped %q, %v", got, err)
	}
	if _, again, err := ring.Wrap(t.Context(), "t-1", []byte("x")); err != nil || again != id {
		t.Errorf("a second wrap made the key %s beside %s, %v", again, id, err)
	}
	if _, other, err := ring.Wrap(t.Context(), "t@2", []byte("x")); err != nil || other == id {
		t.Errorf("two tenants share the key %s, %v", other, err)
	}
	_, err = ring.Unwrap(t.Context(), "t@2", id, wrapped) // of another tenant
	wantKind(t, err, tenantry.Corrupt)
	for i := range wrapped { // every bit counts: of the length, of KMS's part, of ours
		tampered := append([]byte{}, wrapped...)
		tampered[i] ^= 1
		if _, err := ring.Unwrap(t.Context(), "t-1", id, tampered); tenantry.KindOf(err) != tenantry.Corrupt {
			t.Fatalf("byte %d of %d tampered with: %v", i, len(wrapped), err)
		}
	}
	for _, short := range [][]byte{nil, {0}, binary.BigEndian.AppendUint32(nil, 1<<31)} {
		_, err = ring.Unwrap(t.Context(), "t-1", id, short)
		wantKind(t, err, tenantry.Corrupt)
	}
	_, err = ring.Unwrap(t.Context(), "t-1", id+"0", wrapped)
	wantKind(t, err, tenantry.WrongKey)

	final, err := ring.Destroy(t.Context(), "t-1", id)
	must(t, err)
	if days := time.Until(final).Hours() / 24; days < 6 || days > 8 {
		t.Errorf("the key can be saved for %.1f days", days)
	}
	again, err := ring.Destroy(t.Context(), "t-1", id)
	if err != nil || !again.Equal(final) {
		t.Errorf("destroyed twice: until %v, then %v, %v", final, again, err)
	}
	_, err = ring.Unwrap(t.Context(), "t-1", id, wrapped)
	wantKind(t, err, tenantry.WrongKey)
	_, _, err = ring.Wrap(t.Context(), "t-1", []byte("x"))
	wantKind(t, err, tenantry.WrongKey) // nobody begins anew by mistake

	server.mu.Lock()
	server.deny = true
	server.mu.Unlock()
	_, err = ring.Unwrap(t.Context(), "t@2", id, wrapped)
	wantKind(t, err, tenantry.Shared)
}

func TestKMSRefuses(t *testing.T) {
	for name, o := range map[string]repository.KMSOptions{
		"no fleet": {Region: "x"}, "a fleet with a slash": {Region: "x", Fleet: "a/b"}, "half of the credentials": {Region: "x", Fleet: "a", AccessKey: "a"},
	} {
		_, err := repository.OpenKMS(t.Context(), o)
		if tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
